"""Functions for programs inside a sandbox: they run in its process and are called like any other."""

from __future__ import annotations

import base64
import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.process import BARE_ENVIRONMENT, Completed, ProgramMissing, ends
from restore_drill.sandboxes.child import FeedAborted, ServedCall

RUN = "restore_drill.sandboxes.programs:run"
SERVE = "restore_drill.sandboxes.programs:serve"
#: Seconds that a server has to end in order.
GRACE = 10.0
_OUTPUT_LIMIT = 4 * 2**20
_LOOK_AGAIN = 0.1
_CANNOT_START = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)


def run(call: ServedCall, argv: Sequence[str], deadline: float, environment: Mapping[str, str]) -> dict[str, Any]:  # noqa: ARG001 - every function is given its call
    """Run a program to its end within some seconds; what it reads is this process's own input.

    Its output is cut to the last 4 MiB of each stream.
    """
    until = time.monotonic() + deadline
    program = _start(argv, environment, stdin=None)
    streams = [stream for stream in (program.stdout, program.stderr) if stream]
    written = [bytearray() for _ in streams]
    try:
        with selectors.DefaultSelector() as selector:
            for stream, output in zip(streams, written, strict=True):
                selector.register(stream, selectors.EVENT_READ, output)
            while selector.get_map():
                if time.monotonic() > until or not _collect_ready(selector, max(0.0, until - time.monotonic())):
                    raise _late(argv[0])
        if not ends(program, until):
            raise _late(argv[0])
    finally:
        _kill(program)
    return encode(Completed(program.wait(), *(bytes(output) for output in written)))


def serve(call: ServedCall, argv: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a program until the feed ends; then end it in order, by force after :data:`GRACE` seconds.

    Its output is cut to the last 4 MiB of each stream.
    """
    try:
        server = _start(argv, environment, stdin=subprocess.DEVNULL)
        streams = [stream for stream in (server.stdout, server.stderr) if stream]
        written = [bytearray() for _ in streams]
        try:
            _watch(call, server, streams, written)
            _stop(server, streams, written)
        finally:
            _kill(server)
    finally:
        # The host feeds nothing and ends the feed only to stop the program: it must hear of an earlier end, too.
        call.leave_feed()
    return encode(Completed(server.wait(), *(bytes(output) for output in written)))


def encode(completed: Completed) -> dict[str, Any]:
    """A program's end as JSON values."""
    return {
        "returncode": completed.returncode,
        "stdout": base64.b64encode(completed.stdout[-_OUTPUT_LIMIT:]).decode(),
        "stderr": base64.b64encode(completed.stderr[-_OUTPUT_LIMIT:]).decode(),
    }


def decode(values: Mapping[str, Any]) -> Completed:
    """What :func:`encode` wrote."""
    return Completed(int(values["returncode"]), base64.b64decode(values["stdout"]), base64.b64decode(values["stderr"]))


def _environment() -> dict[str, str]:
    return {**BARE_ENVIRONMENT, **{name: os.environ[name] for name in ("HOME", "TMPDIR")}}


def _start(argv: Sequence[str], environment: Mapping[str, str], stdin: int | None) -> subprocess.Popen[bytes]:
    """Start a program in the current directory."""
    try:
        return subprocess.Popen(  # noqa: S603 - argv comes from this package or from the catalogue's own command
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_environment(), **environment},
            start_new_session=True,
        )
    except OSError as problem:
        if problem.errno == errno.EAGAIN:
            raise CouldNotVerify(
                f"the program {Path(argv[0]).name} cannot be started: its account has as many processes as it may",
                remedy="Raise sandbox.processes if the restored system needs more.",
            ) from problem
        if problem.errno not in _CANNOT_START:
            raise
        closed = "Let its account start it: the file, or a directory on the way to it, is closed to others."
        raise ProgramMissing(
            f"the program {argv[0]} cannot be started: {problem.strerror}",
            remedy=closed if problem.errno == errno.EACCES else f"Install {Path(argv[0]).name}.",
        ) from problem


def _watch(
    call: ServedCall, server: subprocess.Popen[bytes], streams: list[IO[bytes]], written: list[bytearray]
) -> None:
    """Collect output until the program ends or the feed does."""
    with selectors.DefaultSelector() as selector:
        selector.register(call, selectors.EVENT_READ)
        for stream, output in zip(streams, written, strict=True):
            selector.register(stream, selectors.EVENT_READ, output)
        while server.poll() is None:
            for key, _ in selector.select(_LOOK_AGAIN):
                if key.fileobj is call:
                    _end_of_feed(call)
                    return
                if not _collect(key.fd, key.data):
                    selector.unregister(key.fileobj)


def _end_of_feed(call: ServedCall) -> None:
    try:
        for _ in call.chunks():
            pass
    except FeedAborted:
        pass


def _stop(server: subprocess.Popen[bytes], streams: list[IO[bytes]], written: list[bytearray]) -> None:
    """Ask the program to end, and go on collecting output so that it never waits for us."""
    until = time.monotonic() + GRACE
    if server.poll() is None:
        server.terminate()
    with selectors.DefaultSelector() as selector:
        for stream, output in zip(streams, written, strict=True):
            selector.register(stream, selectors.EVENT_READ, output)
        while server.poll() is None and time.monotonic() < until:
            _collect_ready(selector, _LOOK_AGAIN)
        _kill(server)
        # What it wrote last is in the pipes; what others hold open brings no end of file.
        while _collect_ready(selector, 0):
            pass


def _late(name: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the program {Path(name).name} did not end in time",
        remedy="Raise the deadline if the backup is that big; otherwise find out what holds it up.",
    )


def _collect_ready(selector: selectors.BaseSelector, wait: float) -> bool:
    if not selector.get_map():
        time.sleep(wait)
        return False
    ready = selector.select(wait)
    for key, _ in ready:
        if not _collect(key.fd, key.data):
            selector.unregister(key.fileobj)
    return bool(ready)


def _collect(descriptor: int, output: bytearray) -> bool:
    data = os.read(descriptor, 1 << 16)
    output += data
    if len(output) > 2 * _OUTPUT_LIMIT or not data:
        del output[:-_OUTPUT_LIMIT]
    return bool(data)


def _kill(server: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        server.kill()
    server.wait()
