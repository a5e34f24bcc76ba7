"""Run programs of this machine: emptied environment, a deadline, bounded output, nothing left running."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from restore_drill.errors import CouldNotVerify, DeadlineExceeded

#: The only variables a child gets unless the caller says otherwise.
BARE_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_OUTPUT_LIMIT = 4 * 2**20
_CANNOT_START = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)


class ProgramMissing(CouldNotVerify):
    """A program that a stage needs is not installed."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended: its status (negative: the signal) and what it wrote, cut at 4 MiB each."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str],
    *,
    deadline: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: The program and its arguments; never a shell line, never a secret.
        deadline: Seconds it may take.
        stdin: What it reads.
        environment: Its whole environment (default: :data:`BARE_ENVIRONMENT`).
        cwd: Where it runs.

    Raises:
        ProgramMissing: It is not installed, or this machine cannot run it.
        DeadlineExceeded: It, or something it started that writes for it, was still running at the deadline; it and its
            process group were killed.
    """
    child = _start(argv, environment, cwd)
    until = time.monotonic() + deadline
    try:
        output = _converse(child, argv[0], stdin, until)
        if not ends(child, until):
            raise _late(argv[0])
    finally:
        _kill(child)  # what it started and left behind, too
    return Completed(child.wait(), *output)


def find(name: str) -> str | None:
    """Where a program is installed, system directories included that a user's PATH may lack."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin:/sbin:/usr/local/sbin", *versioned_places()))
    return shutil.which(name, path=path)


def versioned_places() -> list[str]:
    """Where distributions keep programs of which several versions may be installed."""
    return [str(place) for place in sorted(Path("/usr").glob("lib/postgresql/*/bin"), reverse=True)]


def _start(argv: Sequence[str], environment: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - argv comes from this package or from the catalogue's own command
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(BARE_ENVIRONMENT if environment is None else environment),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as problem:
        if problem.errno not in _CANNOT_START:
            raise
        raise ProgramMissing(
            f"the program {argv[0]} cannot be started: {problem.strerror}", remedy=f"Install {Path(argv[0]).name}."
        ) from problem


def _converse(child: subprocess.Popen[bytes], program: str, stdin: bytes, until: float) -> tuple[bytes, bytes]:
    assert child.stdin and child.stdout and child.stderr  # noqa: S101 - all three are pipes
    collected: dict[int, bytearray] = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    order = list(collected)
    with selectors.DefaultSelector() as selector, contextlib.closing(child.stdout), contextlib.closing(child.stderr):
        for stream in (child.stdout, child.stderr):
            selector.register(stream, selectors.EVENT_READ)
        if stdin:
            # Or a child that waits for its output to be read would keep us from reading it.
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, selectors.EVENT_WRITE)
        else:
            child.stdin.close()
        left = memoryview(stdin)
        while selector.get_map():
            ready = selector.select(max(0.0, until - time.monotonic()))
            if not ready or time.monotonic() > until:
                raise _late(program)
            for key, _ in ready:
                if key.fileobj is child.stdin:
                    left = _write(selector, child, left)
                else:
                    _read(selector, key, collected[key.fd])
    return bytes(collected[order[0]]), bytes(collected[order[1]])


def ends(child: subprocess.Popen[bytes], until: float) -> bool:
    """Wait for the end until some ``time.monotonic()``, and say whether it came; the status is not collected.

    As long as that is kept, nobody else's group can have its number.
    """
    pause = 0.0005
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return True


def _late(program: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"the program {program} did not end in time")


def _write(selector: selectors.BaseSelector, child: subprocess.Popen[bytes], left: memoryview) -> memoryview:
    assert child.stdin  # noqa: S101 - a pipe
    try:
        left = left[os.write(child.stdin.fileno(), left[: 1 << 16]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        left = left[:0]
    if not left:
        selector.unregister(child.stdin)
        child.stdin.close()
    return left


def _read(selector: selectors.BaseSelector, key: selectors.SelectorKey, into: bytearray) -> None:
    data = os.read(key.fd, 1 << 16)
    if not data:
        selector.unregister(key.fileobj)
    else:
        into += data[: _OUTPUT_LIMIT - len(into)]


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()
