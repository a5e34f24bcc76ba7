"""What the conformance suite has a sandbox run: functions that behave, and functions that do not.

Standard library only, and apart from the suite itself: a sandbox process does not load a test runner.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_BLOCK = bytes(1 << 20)
_REMEMBERED: list[Any] = []


def echo(_call: Call, value: Any = None) -> Any:
    """Give back what was given."""
    return value


def process(_call: Call) -> int:
    """The number of the process that serves the call."""
    return os.getpid()


def remember(_call: Call, value: Any) -> list[Any]:
    """Keep a value for as long as the process lives, and give back what was kept before."""
    before = list(_REMEMBERED)
    _REMEMBERED.append(value)
    return before


def look_around(call: Call) -> dict[str, Any]:
    """Environment, open descriptors, directory and deadline as the function sees them."""
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return {
        "environment": dict(os.environ),
        # The directory that was listed had one, too, and it is closed again.
        "descriptors": [number for number in descriptors if _is_open(number)],
        "directory": str(Path.cwd()),
        "work": str(call.work),
        "left": call.until - time.monotonic(),
    }


def allocate(_call: Call, size: int) -> int:
    """Ask for that much memory."""
    return len(bytearray(size))


def write(_call: Call, path: str, size: int) -> int:
    """Write a file of that many bytes."""
    with Path(path).open("wb", buffering=0) as file:
        for start in range(0, size, len(_BLOCK)):
            file.write(_BLOCK[: size - start])
    return Path(path).stat().st_size


def try_to_write(_call: Call, path: str) -> str:
    """Name of the error with which a file cannot be made, or nothing."""
    try:
        Path(path).write_bytes(b"x")
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return ""


def try_to_read(_call: Call, path: str) -> str:
    """Name of the error with which a file cannot be read, or nothing."""
    try:
        Path(path).read_bytes()
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return ""


def try_to_connect(_call: Call, port: int) -> str:
    """Name of the error with which a port of this machine cannot be reached, or nothing."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return ""


def try_to_signal(_call: Call, process: int) -> str:
    """Name of the error with which a process cannot be signalled, or nothing."""
    try:
        os.kill(process, 0)
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return ""


def chatter(_call: Call, size: int) -> int:
    """Print a lot, in every way."""
    text = "x" * size
    print(text)  # noqa: T201
    print(text, file=sys.stderr)  # noqa: T201
    for descriptor in (1, 2):
        with contextlib.suppress(BlockingIOError):
            os.write(descriptor, text.encode())
    return size


def babble(call: Call) -> NoReturn:
    """Say what no correct process says, on the line to the host."""
    os.write(getattr(call, "fileno")(), b"GET / HTTP/1.1\r\n\r\n")  # noqa: B009 - the contract has no such method
    raise AssertionError("nobody listens any more")


def open_many(_call: Call, count: int) -> int:
    """Open that many files at once."""
    return len([Path(os.devnull).open("rb") for _ in range(count)])


def crash(_call: Call) -> bytes:
    """Read where no memory is."""
    return ctypes.string_at(0)


def abort(_call: Call) -> NoReturn:
    """End as a C library does that finds its own state damaged."""
    os.abort()


def leave(_call: Call, status: int) -> NoReturn:
    """End the process without a word."""
    os._exit(status)


def fail(_call: Call) -> NoReturn:
    """Raise what only a defect of ours raises."""
    raise TypeError("row 17 holds secret words")


def condemn(_call: Call) -> NoReturn:
    """Raise an error with all its parts."""
    raise BackupFailed(
        "the header is damaged",
        looked_at="the first page",
        remedy="Take another backup.",
        stage=Stage.RESTORE,
        details=("a file name", "another"),
    )


def run_out_of_space(_call: Call, condemn: bool) -> NoReturn:
    """Find the disk full, and perhaps draw the wrong conclusion from it."""
    problem = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if condemn:
        raise BackupFailed("a member cannot be written") from problem
    raise problem


def hang(_call: Call) -> None:
    """Never answer."""
    time.sleep(3600)


def answer_nonsense(call: Call) -> Any:
    """Answer with what is no JSON value."""
    return call


def leave_daemon(_call: Call, marker: str) -> bool:
    """Start a program that detaches itself as daemons do, and answer when it runs.

    Args:
        marker: An argument by which it can be recognised.
    """
    # The writable end closes by itself when the program starts.
    started, starting = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
            os.execv(sys.executable, [sys.executable, "-I", "-c", program, marker])  # noqa: S606
        os._exit(0)
    os.close(starting)
    return os.read(started, 1) == b""


def leave_thread(_call: Call) -> None:
    """Leave a thread that goes on."""
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


def digest(call: Call) -> dict[str, Any]:
    """Size and SHA-256 of what is fed."""
    found, size = hashlib.sha256(), 0
    for chunk in call.chunks():
        found.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": found.hexdigest()}


def count(call: Call, until: int) -> int:
    """Report each number up to a limit."""
    for number in range(until):
        call.report({"number": number})
    return until


def stop_feeding(call: Call, how: str) -> Any:
    """Do something after the first chunk: ``answer``, ``condemn``, ``crash``, ``hang``."""
    next(call.chunks())
    what: dict[str, Callable[[Call], Any]] = {"answer": echo, "condemn": condemn, "crash": crash, "hang": hang}
    return what[how](call)


def note_end(call: Call) -> int:
    """Count what is fed, and leave a note in the work directory when that is over, however it came about."""
    size = 0
    try:
        for chunk in call.chunks():
            size += len(chunk)
    finally:
        (call.work / "note").write_text("over")
    return size


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
