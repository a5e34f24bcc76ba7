"""End in order: SIGTERM does what Ctrl-C does, so that restored data goes and reports are written."""

from __future__ import annotations

import contextlib
import signal
import threading
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
