"""gpg as a filter: a home of its own for each message, status lines that decide, and nothing left behind.

What is secret reaches gpg through its standard input (a key) or a pipe of its own (a passphrase), never in arguments or
the environment. Keys that are imported lie, as gpg's agent keeps them, in a directory of mode 0700: in memory where the
machine has ``/dev/shm``. It is removed and the agent ended (by its process id) when the stream is; of a process that
was killed the next one does so, told by a lock that is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from restore_drill.codecs._gnupg_talk import Conversation, Told
from restore_drill.model import Stage
from restore_drill.process import BARE_ENVIRONMENT, Completed, ProgramMissing, find, run

_PREFIX = "restore-drill-gpg-"
#: Bytes: the name of a socket below it must stay under 108 (unix(7)).
_LONGEST_BASE = 50
#: Seconds in which gpg's helpers must end.
_HELPER = 60.0
#: Seconds that a home must be old before a free lock means that it was left behind.
_MADE = 60.0
_QUIET = ("--batch", "--no-tty", "--no-options", "--disable-dirmngr", "--no-auto-check-trustdb", "--lock-never")
_ALONE = ("--no-auto-key-retrieve", "--no-auto-key-locate", "--no-random-seed-file", "--trust-model", "always")
_DECRYPT = ("--skip-verify", "--no-symkey-cache", "--pinentry-mode", "loopback", "--output", "-", "--decrypt")
_ANSWER = 4096


class Home:
    """A directory in which one gpg keeps its keys; use it in a ``with`` statement."""

    def __init__(self) -> None:
        self.program = program()
        base = _base()
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._has_agent = False

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def import_key(self, key: bytes) -> Told:
        """Import what should be a private key, and say what gpg says of it."""
        self._has_agent = True
        done = run(
            [self.program, *self._options(), "--status-fd", "1", "--import"],
            deadline=_HELPER, stdin=key, environment=self._environment(),
        )  # fmt: skip
        told = Told(returncode=done.returncode, stderr=done.stderr)
        told.read(done.stdout)
        return told

    def decrypt(self, frames: Iterator[bytes], passphrase: str) -> Iterator[bytes | Told]:
        """What gpg writes, in chunks, and last what it said; exceptions of the frames pass through."""
        with Conversation(self._argv, self._environment(), passphrase) as conversation:
            yield from conversation.run(frames)
            yield conversation.end()

    def close(self) -> None:
        """End the agent and remove the directory."""
        try:
            if self._has_agent:
                self._end_agent()
        finally:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)

    def _argv(self, status: int, passphrase: int) -> list[str]:
        descriptors = ["--status-fd", str(status), "--passphrase-fd", str(passphrase)]
        return [self.program, *self._options(), *descriptors, *_DECRYPT]

    def _options(self) -> list[str]:
        return ["--homedir", str(self.path), *_QUIET, *_ALONE]

    def _environment(self) -> dict[str, str]:
        return {**BARE_ENVIRONMENT, "HOME": str(self.path)}

    def _end_agent(self) -> None:
        place = self._agent_socket()
        pid = _agent(place)
        if pid:
            _kill(pid)
        if place.parent != self.path and place.parent.name.startswith("d."):
            shutil.rmtree(place.parent, ignore_errors=True)  # made by gpg below /run/user, for this home alone

    def _agent_socket(self) -> Path:
        gpgconf = find("gpgconf")
        if gpgconf:
            argv = [gpgconf, "--homedir", str(self.path), "--list-dirs", "agent-socket"]
            done = run(argv, deadline=_HELPER, environment=self._environment())
            if done.returncode == 0 and done.stdout.strip():
                return Path(os.fsdecode(done.stdout.strip()))
        return self.path / "S.gpg-agent"


def program() -> str:
    """Where gpg is.

    Raises:
        ProgramMissing: It is not installed.
    """
    found = find("gpg")
    if found is None:
        raise ProgramMissing(
            "the program gpg is not installed, and OpenPGP is read with nothing else",
            remedy="Install GnuPG (Debian and Ubuntu: apt-get install gnupg; Fedora: dnf install gnupg2).",
            stage=Stage.UNPACK,
        )
    return found


@cache
def version(path: str) -> str:
    """Name and version of this gpg, for facts."""
    done: Completed = run([path, "--version"], deadline=_HELPER)
    words = done.stdout.decode("utf-8", "replace").partition("\n")[0].split()
    return f"gpg {words[-1]}" if words else "gpg"


def _base() -> Path:
    """In memory where that can be; where names are short, for the agent's socket has little room for one."""
    usual = Path(tempfile.gettempdir())
    for base in (Path("/dev/shm"), usual, Path("/tmp")):  # noqa: S108 - what is made in it is 0700, and has a name of its own
        if base.is_dir() and os.access(base, os.W_OK | os.X_OK) and len(os.fsencode(base)) <= _LONGEST_BASE:
            return base
    return usual


def _sweep(base: Path) -> None:
    """Remove homes of processes that were killed: their locks are free. An agent ends when its home is gone."""
    for path in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                state = os.fstat(descriptor)
                if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) != 0o700:
                    continue
                if state.st_mtime < time.time() - _MADE:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _agent(place: Path) -> int:
    """The process id of the agent behind a socket, 0 when there is none: the Assuan command GETINFO of gpg-agent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_HELPER)
        try:
            connection.connect(str(place))
            with connection.makefile("rwb") as lines:
                lines.readline(_ANSWER)  # the greeting
                lines.write(b"GETINFO pid\n")
                lines.flush()
                mark, _, pid = lines.readline(_ANSWER).strip().partition(b" ")
        except OSError:
            return 0
    return int(pid) if mark == b"D" and pid.isdigit() else 0


def _kill(pid: int) -> None:
    """End a process that is not our child, and wait until it has."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        with selectors.DefaultSelector() as selector:
            selector.register(process, selectors.EVENT_READ)
            selector.select(_HELPER)
    except ProcessLookupError:
        return
    finally:
        os.close(process)
