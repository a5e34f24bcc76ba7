"""Calls of our own functions in a container: this end of the process that serves them there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import restore_drill
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.sandboxes import protocol
from restore_drill.sandboxes.base import Limits, Need, SandboxOptions
from restore_drill.sandboxes.calls import PendingCall
from restore_drill.sandboxes.containers import spec
from restore_drill.sandboxes.containers.hijack import Hijack, StreamBroken
from restore_drill.sandboxes.containers.keeper import Keeper
from restore_drill.sandboxes.containers.making import House
from restore_drill.sandboxes.containers.programs import ContainerProgram
from restore_drill.sandboxes.launcher import Ending
from restore_drill.sandboxes.worker import Worker

LIBRARY: Final = f"{spec.ROOT}/library"
#: The oldest Python that this package runs with: an image is more likely to be there than one of the newest.
_PYTHON: Final = "3.11"
#: What reading and examining a restored tree needs of root's powers, as on this machine.
_POWERS: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID")
_PIECE: Final = 256 << 10
_CRASH_LIMIT: Final = 64 << 10
#: Seconds in which a process that was killed must be gone.
_KILLED: Final = 10.0
#: The call takes in all processes of the account but the one that makes it.
_KILL_ALL: Final = ("sh", "-c", "kill -KILL -1")
_SIGNALLED: Final = 128
#: Memory for what serves calls, besides theirs.
_SPARE: Final = 256 * 2**20


def need() -> Need:
    """What our functions need of an image; they run as this process's own user, whose files they work on."""
    return Need("python", _PYTHON, ("python3",), f"python:{_PYTHON}", user=f"{os.geteuid()}:{os.getegid()}")


def house(place: Path) -> House:
    """What is mounted for them: the sandbox's own directory under its own name, and this package."""
    package = Path(restore_drill.__file__).parent
    mounts = (
        spec.bind(str(place), str(place), read_only=False),
        spec.bind(str(package), f"{LIBRARY}/{package.name}", read_only=True),
    )
    return House(mounts, _POWERS if os.geteuid() == 0 else ())


def limits_of(limits: Limits, options: SandboxOptions) -> Limits:
    """What the container may use: each of the processes that a call may start has what a process may have."""
    memory = options.memory or limits.memory * max(1, limits.processes) + _SPARE
    return replace(limits, memory=memory)


class Inside:
    """Makes calls in a container, one at a time, in a process that is replaced when a call ends it.

    Args:
        keeper: The container.
        work: The work directory, which has the same name there.
        limits: What the process may use.
    """

    def __init__(self, keeper: Keeper, work: Path, limits: Limits) -> None:
        self._keeper = keeper
        self._settings = {"work": str(work), "scratch": str(work.parent / "tmp")}
        self._limits = limits
        self._worker: InsideWorker | None = None
        self._pending: PendingCall | None = None

    def submit(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        deadline: float,
        feed: Iterable[bytes] | None,
        progress: Callable[[Mapping[str, Any]], None] | None,
    ) -> PendingCall:
        """Start a call; one under way is waited for first. See :meth:`restore_drill.sandboxes.base.Sandbox.submit`."""
        if not protocol.is_function_name(function):
            raise UsageProblem(f"{function!r} does not name a function of a module", remedy="Write module:name.")
        if self._pending is not None:
            self._pending.settle()
        if self._worker is None or not self._worker.usable:
            if self._worker is not None:
                self._worker.end()
                self._worker.let_go()
            self._worker = InsideWorker(self._keeper, self._settings, self._limits)
        pending = self._pending = PendingCall(self._worker, function, deadline, progress)
        pending.begin(arguments, fed=feed is not None)
        if feed is not None:
            pending.feed(feed)
        return pending

    def close(self) -> None:
        """Let go of the process, which ends with its container."""
        if self._worker is not None:
            self._worker.ended = True
            self._worker.let_go()


class InsideWorker(Worker):
    """A process that serves calls in a container; to be used as one on this machine.

    Args:
        keeper: Its container.
        settings: Its paths: ``work`` and ``scratch``.
        limits: What it may use.
    """

    def __init__(self, keeper: Keeper, settings: Mapping[str, Any], limits: Limits) -> None:
        self.limits = limits
        self.ended = self.spent = self.busy = False
        self._keeper = keeper
        self._inbox = protocol.Inbox()
        bounds = {"memory": limits.memory, "file_size": limits.file_size, "open_files": limits.open_files}
        asked = json.dumps({**settings, "limits": bounds, "library": LIBRARY})
        script = f"{LIBRARY}/restore_drill/sandboxes/containers/serving.py"
        self._execution, self._hijack = keeper.open(["python3", "-I", "-B", script, asked])
        self._hijack.line.setblocking(True)
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        self._crashed = bytearray()
        self._over = threading.Event()
        threading.Thread(target=_send, args=(theirs, self._hijack), daemon=True).start()
        threading.Thread(target=self._receive_all, args=(theirs,), daemon=True).start()

    def end(self, natural: float = 0.0) -> Ending:
        """End it and all that it started; safe to repeat."""
        self._line.close()
        if self.ended:
            return Ending()
        on_its_own = bool(natural) and self._over.wait(natural)
        if not on_its_own:
            self.kill()
        try:
            status, _ = self._keeper.status(self._execution)
        except CouldNotVerify as problem:
            self.ended = True
            return Ending(problem=problem.cause)
        self.ended = True
        return Ending(_wait_status(status) if on_its_own else None)

    def kill(self) -> None:
        """End every process of the account; where that does not help, the container."""
        with contextlib.suppress(CouldNotVerify):
            ContainerProgram(self._keeper, _KILL_ALL, self._keeper.begin(_KILL_ALL, b"", None), _KILLED).result()
        if not self._over.wait(_KILLED):
            self._keeper.end(CouldNotVerify("the container was ended because a function in it would not stop"))
            self._over.wait(_KILLED)

    def crash_text(self) -> tuple[str, ...]:
        """What it wrote when it crashed; not for evidence."""
        return tuple(bytes(self._crashed).decode(errors="replace").splitlines())

    def let_go(self) -> None:
        """Close our ends, which ends a process that is waiting."""
        self._line.close()
        self._hijack.close()

    def _receive_all(self, line: socket.socket) -> None:
        """What it answers, and what it says when it crashes; in a thread of its own."""
        try:
            while (pieces := self._hijack.receive()) is not None:
                for stream, piece in pieces:
                    if stream == 1:
                        line.sendall(piece)
                    elif len(self._crashed) < _CRASH_LIMIT:
                        self._crashed += piece
        except (OSError, StreamBroken):
            pass
        self._over.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def _send(line: socket.socket, hijack: Hijack) -> None:
    """What it is told, in a thread of its own; the end of that ends it."""
    with contextlib.suppress(OSError):
        while data := line.recv(_PIECE):
            hijack.line.sendall(data)
    hijack.finish()


def _wait_status(status: int) -> int:
    """An exit status of the script as ``os.waitpid`` gives it of the process that it stands for."""
    number = status - _SIGNALLED
    return number if 0 < number < signal.NSIG else status << 8
