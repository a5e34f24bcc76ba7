"""What the end of a sandbox process says of the bytes that it was reading."""

from __future__ import annotations

import signal
from typing import Final

from restore_drill.errors import BackupFailed, RestoreDrillError, SandboxDied
from restore_drill.model import Stage

#: How a process ends that read what its library cannot withstand.
_CRASHES: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})


def crashed(problem: SandboxDied, what: str, reader: str, stage: Stage) -> RestoreDrillError:
    """A crash while hostile bytes were read is the bytes' fault; an end by a limit says nothing about them."""
    if problem.signal not in _CRASHES:
        return problem
    return BackupFailed(
        f"reading {what} crashed {reader} ({signal.Signals(problem.signal).name})",
        remedy="It is damaged or was made to do that: use another copy, and do not open it outside of a sandbox.",
        stage=stage,
        details=problem.details,
    )
