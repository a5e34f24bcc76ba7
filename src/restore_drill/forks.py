"""Spread work over forked copies of a process that has no other threads: tasks and answers are JSON values.

Hashing and copying many small files is bound by the interpreter; processes are not. What the work needs is inherited
at the fork, so that only names and digests travel.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from restore_drill import errors
from restore_drill.errors import CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage

_LENGTH = struct.Struct(">I")
#: Tasks a worker holds, one of them at work; more would only make the last ones uneven.
_IN_HAND = 2
_LONGEST_WAIT = 3600.0
#: prctl(2).
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Worker:
    pid: int
    channel: socket.socket
    in_hand: int = 0


def spread(
    tasks: Iterable[Any], work: Callable[[Any], Any], *, workers: int, until: float = float("inf")
) -> Iterator[Any]:
    """Yield the answers to all tasks, as they come.

    Args:
        tasks: Drawn one by one, in this process, when somebody is free; small (names, not contents).
        work: Called with each task in one of the workers, which are forked before the first task is drawn.
        workers: How many; with one the work is done here.
        until: ``time.monotonic()`` after which the workers are ended.

    Raises:
        RestoreDrillError: What ``work`` raised; the other workers are ended.
        DeadlineExceeded: Time was up.
        CouldNotVerify: A worker ended on its own.
    """
    if workers <= 1:
        yield from map(work, tasks)
        return
    crew = _Crew(until)
    try:
        crew.hire(workers, work)
        yield from crew.run(iter(tasks))
    finally:
        crew.dismiss()


class _Crew:
    """The workers of one job, from the parent's side."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def hire(self, count: int, work: Callable[[Any], Any]) -> None:
        parent = os.getpid()
        for _ in range(count):
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if not pid:
                ours.close()
                for worker in self._workers:
                    worker.channel.close()
                _serve(theirs, work, parent)
            theirs.close()
            worker = _Worker(pid, ours)
            self._workers.append(worker)
            self._selector.register(ours, selectors.EVENT_READ, worker)

    def run(self, tasks: Iterator[Any]) -> Iterator[Any]:
        for worker in self._workers * _IN_HAND:
            self._feed(worker, tasks)
        while any(worker.in_hand for worker in self._workers):
            for worker in self._ready():
                answer = _receive(worker.channel)
                if answer is None:
                    raise _ended(worker)
                worker.in_hand -= 1
                self._feed(worker, tasks)
                yield _open(answer)

    def _feed(self, worker: _Worker, tasks: Iterator[Any]) -> None:
        for task in tasks:
            try:
                _send(worker.channel, task)
            except OSError as problem:
                raise _ended(worker) from problem
            worker.in_hand += 1
            return

    def _ready(self) -> list[_Worker]:
        left = self._until - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the work did not end in time", remedy="Raise the target's deadlines.")
        return [key.data for key, _ in self._selector.select(min(left, _LONGEST_WAIT))]

    def dismiss(self) -> None:
        """End every worker: nothing is lost, as answers that matter have been received."""
        self._selector.close()
        for worker in self._workers:
            worker.channel.close()
            os.kill(worker.pid, signal.SIGKILL)
        for worker in self._workers:
            os.waitpid(worker.pid, 0)
        self._workers = []


def _serve(channel: socket.socket, work: Callable[[Any], Any], parent: int) -> NoReturn:
    status = 1
    try:
        end_with(parent, signal.SIGKILL)
        while (task := _receive(channel)) is not None:
            _send(channel, _answer(work, task))
        status = 0
    finally:
        os._exit(status)


def end_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel signal this process when its parent ends: it holds open whatever the parent's caller waits on."""
    with contextlib.suppress(ImportError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _answer(work: Callable[[Any], Any], task: Any) -> dict[str, Any]:
    try:
        return {"answer": work(task)}
    except RestoreDrillError as problem:
        return {
            "error": type(problem).__name__,
            "cause": problem.cause,
            "looked_at": problem.looked_at,
            "remedy": problem.remedy,
            "stage": problem.stage,
            "details": problem.details,
        }
    except BaseException:
        return {"crash": traceback.format_exc()}


def _open(answer: dict[str, Any]) -> Any:
    if "answer" in answer:
        return answer["answer"]
    if "crash" in answer:
        raise RuntimeError(f"a worker process failed:\n{answer['crash']}")
    kind = {"BackupFailed": errors.BackupFailed, "DeadlineExceeded": DeadlineExceeded}.get(
        answer["error"], CouldNotVerify
    )
    raise kind(
        answer["cause"],
        looked_at=answer["looked_at"],
        remedy=answer["remedy"],
        stage=Stage(answer["stage"]) if answer["stage"] else None,
        details=tuple(answer["details"]),
    )


def _ended(worker: _Worker) -> CouldNotVerify:
    return CouldNotVerify(
        "a worker process of the sandbox ended unexpectedly",
        remedy="Give the drill more memory, or fewer cores.",
        details=(f"process {worker.pid}",),
    )


def _send(channel: socket.socket, value: Any) -> None:
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    channel.sendall(_LENGTH.pack(len(body)) + body)


def _receive(channel: socket.socket) -> Any:
    head = _exactly(channel, _LENGTH.size)
    body = _exactly(channel, _LENGTH.unpack(head)[0]) if head else b""
    return json.loads(body) if body else None


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        try:
            part = channel.recv(min(size, 1 << 20))
        except ConnectionError:
            return b""
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
