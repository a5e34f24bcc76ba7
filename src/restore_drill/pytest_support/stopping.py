"""End in order: SIGTERM does what Ctrl-C does, so that restored data goes and reports are written."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from types import FrameType


def raise_on_sigterm() -> None:
    """Turn SIGTERM into KeyboardInterrupt, once; a second signal while cleaning up does not break the clean-up."""
    if threading.current_thread() is not threading.main_thread():
        return
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def stop_workers(directory: Path) -> None:
    """Tell the workers of a run to end in order; xdist itself would wait for their present case.

    Args:
        directory: The run's directory, in which each has a slot ``progress.<worker>.<pid>``.
    """
    for slot in directory.glob("progress.gw*.*"):
        pid = slot.name.rpartition(".")[2]
        if pid.isdigit() and _is_child(int(pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)


def _is_child(pid: int) -> bool:
    """Whether a process is a child of this one: a number from a file is not trusted blindly."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[1] == str(os.getpid())
