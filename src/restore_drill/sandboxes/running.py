"""The host's side of a program that runs in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from restore_drill.errors import CouldNotVerify, RestoreDrillError, SandboxDied
from restore_drill.process import Completed
from restore_drill.quantities import format_size
from restore_drill.sandboxes import programs
from restore_drill.sandboxes.calls import PendingCall
from restore_drill.sandboxes.worker import Worker

#: Seconds more than a program's own deadline, in which its end is reported.
_MARGIN = 5.0
_SHOWN = 20


class RunningProgram:
    """A program under way; see :class:`restore_drill.sandboxes.base.Running`.

    Args:
        worker: Its own sandbox process.
        argv: The program and its arguments.
        deadline: Seconds until it is ended.
        environment: Variables besides the bare ones.
        retire: Called with the process when it has done its work.
        why: Why the sandbox ended it, if it did.
    """

    def __init__(
        self,
        worker: Worker,
        argv: Sequence[str],
        deadline: float,
        environment: Mapping[str, str],
        retire: Callable[[Worker], None],
        why: Callable[[], RestoreDrillError | None],
    ) -> None:
        self._worker = worker
        self._program = Path(argv[0]).name
        self._retire = retire
        self._why = why
        self._call = PendingCall(worker, programs.RUN, deadline + _MARGIN, title=f"the program {self._program}")
        self._call.begin({"argv": list(argv), "deadline": deadline, "environment": dict(environment)}, fed=False)

    def result(self) -> Completed:
        """Wait for its end; may be asked for again."""
        if not self._call.settled:
            # Nobody may have looked for longer than it had: what it says by now still counts.
            self._call.allow(_MARGIN)
            try:
                self._call.settle()
            finally:
                # With it goes whatever the program started and left behind.
                self._retire(self._worker)
        completed = outcome(self._call, self._why)
        if completed.returncode == -signal.SIGXFSZ:
            raise CouldNotVerify(
                f"the program {self._program} wrote a file beyond the sandbox's limit of "
                f"{format_size(self._worker.limits.file_size)}",
                remedy="Raise the limit if the backup is that big.",
                details=tuple(completed.stderr.decode(errors="replace").splitlines()[-_SHOWN:]),
            )
        return completed


def outcome(call: PendingCall, why: Callable[[], RestoreDrillError | None]) -> Completed:
    """How a program ended, or why the sandbox ended it."""
    try:
        return programs.decode(call.result())
    except SandboxDied as died:
        raise why() or died from None


def as_input(content: bytes) -> int:
    """A descriptor from which a program reads some bytes, or -1 for none: nobody has to stand by and feed it."""
    if not content:
        return -1
    writable = os.memfd_create("restore-drill-input")
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(writable, view) :]
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)
