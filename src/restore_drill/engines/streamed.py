"""Output of programs that may be of any length, read while they run. Runs inside the sandbox."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.process import BARE_ENVIRONMENT, ProgramMissing, find

_ERRORS_SHOWN: Final = 1 << 16
#: What programs write when the machine, and not the backup, is the trouble.
_SHORTAGES: Final = (
    "out of memory", "cannot allocate memory", "no space left on device", "disk quota exceeded", "file too large",
    "too many open files", "resource temporarily unavailable", "mdb_map_full",
)  # fmt: skip
#: How programs are ended that take too much.
_ENDED: Final = frozenset({-signal.SIGKILL, -signal.SIGXFSZ, -signal.SIGXCPU, -signal.SIGTERM})


class EndedInError(Exception):
    """A program ended with another status than 0.

    Attributes:
        status: Its status, negative for a signal.
        lines: What it wrote to its standard error, the last of it.
    """

    def __init__(self, status: int, text: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.lines = last_lines(text)


@contextlib.contextmanager
def streamed(
    argv: Sequence[str],
    *,
    until: float,
    environment: Mapping[str, str],
    cwd: Path,
    reads: IO[bytes] | None = None,
) -> Iterator[IO[bytes]]:
    """The output of a program, to be read to its end.

    Args:
        argv: The program and its arguments.
        until: ``time.monotonic()`` by which it must have ended after its output did.
        environment: Its whole environment.
        cwd: Where it runs; what it complains of is written to a file there.
        reads: What it reads.

    Raises:
        ProgramMissing: It is not installed.
        EndedInError: It ended in an error.
        DeadlineExceeded: It did not end.
    """
    with (cwd / f"{Path(argv[0]).name}-errors").open("w+b") as errors:
        try:
            child = subprocess.Popen(  # noqa: S603 - our own arguments
                list(argv), stdin=reads or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment,
                cwd=cwd,
            )  # fmt: skip
        except FileNotFoundError as problem:
            raise ProgramMissing(f"the program {argv[0]} is missing", remedy=f"Install {argv[0]}.") from problem
        assert child.stdout  # noqa: S101 - a pipe
        try:
            yield child.stdout
            child.stdout.close()
            child.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(f"{argv[0]} did not end in time", remedy="Raise the target's deadlines.") from None
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            errors.seek(0)
            raise EndedInError(child.returncode, errors.read(_ERRORS_SHOWN))


def shortage(status: int, text: str, name: str) -> CouldNotVerify | None:
    """What a program's end says of this machine: it ran out of something, which says nothing of the backup."""
    low = text.lower()
    if status not in _ENDED and not any(sign in low for sign in _SHORTAGES):
        return None
    return CouldNotVerify(
        f"{name} ran out of memory or disk, or was ended",
        remedy="Free space, or give --work-dir a larger disk; see the details.",
        details=last_lines(text.encode(errors="replace")),
    )


def environment(**more: str) -> dict[str, str]:
    """The whole environment of a program in the sandbox."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    return {**BARE_ENVIRONMENT, **kept, **more}


def last_lines(data: bytes) -> tuple[str, ...]:
    """The end of what a program wrote, for people."""
    return tuple(data[-8000:].decode(errors="replace").splitlines()[-20:])


def program(name: str, package: str) -> str:
    """Where a program is, system directories included.

    Raises:
        ProgramMissing: It is not installed.
    """
    path = find(name)
    if path is None:
        raise ProgramMissing(f"the program {name} is missing", remedy=f"Install it (Debian: {package}).")
    return path
