"""Calls into the file system that may never come back, with a deadline.

A dead NFS server or FUSE daemon makes ``stat`` and ``read`` wait in the kernel, where no timeout reaches them. So each
call runs in a daemon thread; a caller whose call has not ended by its deadline goes on with an error and leaves the
thread behind. A hand-over costs about 20 µs: batch small calls.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from restore_drill.errors import DeadlineExceeded

_Result = TypeVar("_Result")


class Watched:
    """A set of threads that wait on behalf of their callers.

    Args:
        deadline: Seconds a call may take.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._idle: list[_Worker] = []
        weakref.finalize(self, _end, self._idle)

    def call(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run a function in another thread and wait for it.

        Raises:
            DeadlineExceeded: It did not end in time; its thread is left to itself.
            BaseException: Whatever the function raises.
        """
        worker = self._worker()
        # Only a worker that answered is used again: after a timeout or an interrupt its answer may still come.
        worker.inbox.put((function, arguments))
        try:
            result, problem = worker.outbox.get(timeout=self._deadline)
        except BaseException as interruption:
            worker.inbox.put(None)
            if isinstance(interruption, Empty):
                raise DeadlineExceeded(f"no answer within {self._deadline:g} s") from None
            raise
        self._idle.append(worker)
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # a traceback that refers to its own frame would outlive this call
        answer: _Result = result
        return answer

    def close(self) -> None:
        """End the threads that wait for work."""
        _end(self._idle)

    def _worker(self) -> _Worker:
        while self._idle:
            try:
                worker = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if worker.thread.is_alive():  # in a forked child it is not
                return worker
        return _Worker()


class _Worker:
    """One thread: a function in, its result or exception out."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self.outbox: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="restore-drill-store", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while (job := self.inbox.get()) is not None:
            function, arguments = job
            try:
                answer: tuple[Any, BaseException | None] = (function(*arguments), None)
            except BaseException as problem:  # handed on, unchanged, to the caller
                answer = (None, problem)
            self.outbox.put(answer)
            del job, function, arguments, answer


def _end(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().inbox.put(None)
