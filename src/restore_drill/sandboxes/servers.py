"""A program that stays up beside the calls of a sandbox, in a process of its own over the same directory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from restore_drill.errors import CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.process import Completed
from restore_drill.quantities import format_duration
from restore_drill.sandboxes import programs
from restore_drill.sandboxes.calls import PendingCall
from restore_drill.sandboxes.running import outcome
from restore_drill.sandboxes.worker import Worker

_ASK_EVERY = 0.05
_SHOWN = 4000


class DirectoryServer:
    """A running program; a call that crashes the sandbox's other process does not touch it.

    Args:
        worker: Its own sandbox process.
        argv: The program and its arguments.
        environment: Variables besides the bare ones.
        why: Why the sandbox ended it, if it did.
    """

    def __init__(
        self,
        worker: Worker,
        argv: Sequence[str],
        environment: Mapping[str, str],
        why: Callable[[], RestoreDrillError | None],
    ) -> None:
        self._why = why
        self._worker = worker
        self._program = Path(argv[0]).name
        self._call = PendingCall(worker, programs.SERVE, math.inf, title=f"the server {self._program}")
        self._call.begin({"argv": list(argv), "environment": dict(environment)}, fed=True)
        self._completed: Completed | None = None

    def await_ready(self, ready: Callable[[], bool], deadline: float) -> None:
        """Wait until the server answers; ends it when it does not.

        Raises:
            ProgramMissing: It is not there.
            CouldNotVerify: It ended before it was ready.
            DeadlineExceeded: It was not ready in time.
        """
        until = time.monotonic() + deadline
        try:
            while not ready():
                if self._call.wait(min(until, time.monotonic() + _ASK_EVERY)):
                    break
                if time.monotonic() >= until:
                    self._give_up(deadline)
            if self._call.wait(time.monotonic()):
                self._report_end()
        except BaseException:
            self._worker.end()
            raise

    def ended(self) -> bool:
        """Whether it has ended on its own; returns at once."""
        return self._completed is not None or self._call.wait(time.monotonic())

    def stop(self) -> Completed:
        """End it in order, by force after ten seconds, and return what it wrote."""
        if self._completed is None:
            # Twice, because what it wrote must still be read and sent after it has been killed.
            self._call.end_feed(2 * programs.GRACE)
            self._completed = outcome(self._call, self._why)
            self._worker.end()
        return self._completed

    def _give_up(self, deadline: float) -> NoReturn:
        raise DeadlineExceeded(
            f"the server {self._program} was not ready within {format_duration(deadline)}",
            remedy="Raise the deadline if the backup is that big; otherwise look at the details.",
            details=_written(self.stop()),
        )

    def _report_end(self) -> NoReturn:
        completed = outcome(self._call, self._why)
        raise CouldNotVerify(
            f"the server {self._program} ended with status {completed.returncode} before it was ready",
            remedy="What it wrote is in the details.",
            details=_written(completed),
        )


def _written(completed: Completed) -> tuple[str, ...]:
    text = completed.stderr[-_SHOWN:] or completed.stdout[-_SHOWN:]
    return tuple(text.decode(errors="replace").splitlines())
