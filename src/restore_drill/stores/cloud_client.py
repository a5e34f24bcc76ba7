"""Processes that talk to a cloud (:mod:`restore_drill.stores.cloud_worker`), one for each thing that is under way."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from restore_drill.stores.trying import Diagnosis, Nature

_SCRIPT = Path(__file__).with_name("cloud_worker.py")
#: What a start of Python may take on top of every deadline, on a machine that is busy (seconds).
_STARTING = 30.0


class CloudProblem(Exception):
    """What obstore raised: the name of its class, and a text that holds urls and must not be shown."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.text = text


class Workers:
    """Processes, started when they are needed and used again.

    Args:
        make: Gives what they are told first: the class of obstore, the name of the container, its other arguments
            (and ``alone``: whether the environment has no say in who asks).
        deadline: Seconds between two answers; the library's own deadlines are shorter.
    """

    def __init__(self, make: Callable[[], tuple[str, str, dict[str, Any]]], deadline: float) -> None:
        self._make = make
        self._deadline = deadline
        self._idle: list[_Worker] = []
        self._process = os.getpid()
        weakref.finalize(self, _end, self._idle)

    def ask(self, operation: str, *arguments: Any) -> Generator[Any, None, None]:
        """The answers to one request, as they come in.

        Raises:
            CloudProblem: The library's.
        """
        worker = self._worker()
        usable = False
        try:
            yield from worker.ask(operation, arguments, self._deadline)
            usable = True
        except CloudProblem as problem:
            usable = problem.kind not in ("Silent", "Ended")
            raise
        finally:
            if usable:
                self._idle.append(worker)
            else:  # given up in the middle: what it still sends is of no use to anybody
                worker.end()

    def close(self) -> None:
        """End those that wait for work."""
        _end(self._idle)

    def _worker(self) -> _Worker:
        if self._process != os.getpid():  # forked: they belong to the other process
            self._idle.clear()
            self._process = os.getpid()
        return self._idle.pop() if self._idle else _Worker(self._make())


class _Worker:
    def __init__(self, told: tuple[str, str, dict[str, Any]]) -> None:
        # Where the catalogue says who asks, what the library would read in the environment must not contradict it.
        hidden = ("AZURE_", "GOOGLE_") if told[2].pop("alone") else ()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        ours, theirs = socket.socketpair()
        with theirs:
            self._owner = os.getpid()
            self._process = subprocess.Popen(  # noqa: S603 - our own script; what is secret passes over the socket
                [sys.executable, "-I", str(_SCRIPT), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,
            )
        self._line = Connection(ours.detach())
        self._line.send(([os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)], *told))  # noqa: PTH100

    def ask(self, operation: str, arguments: tuple[Any, ...], deadline: float) -> Generator[Any, None, None]:
        try:
            self._line.send((operation, arguments))
            while True:
                if not self._line.poll(deadline + _STARTING):
                    raise CloudProblem("Silent", "")
                answer = self._line.recv()
                if answer is None:
                    return
                if isinstance(answer, tuple) and answer[0] == "problem":
                    raise CloudProblem(answer[1], answer[2])
                yield answer
        except (EOFError, OSError) as problem:
            raise CloudProblem("Ended", "") from problem

    def end(self) -> None:
        if self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._line.close()


def _end(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().end()


#: What becomes of the process itself.
OF_WORKER = {
    "Silent": Diagnosis(
        Nature.TIMEOUT, "the process that talks to the service is stuck", "Run it again; see whether DNS answers."
    ),
    "Ended": Diagnosis(
        Nature.AGAIN,
        "the process that talks to the service ended",
        "Is memory short on this machine? The kernel ends the largest process then.",
    ),
}
