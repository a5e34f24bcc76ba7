"""The process that sandbox processes are forked from.

One for each host process, started as a script before anything hostile is near: single-threaded, with an emptied
environment, no descriptor but its control socket, in a session of its own. For each sandbox it forks a process that
serves calls (:mod:`restore_drill.sandboxes.child`), as the first one of a process namespace where the kernel allows
that: when it ends, the kernel ends everything in the namespace, however often it forked. Where there is none, that
process adopts its orphans, and when it ends they become the zygote's, which ends them one by one.

The control socket keeps message boundaries. The host sends JSON: paths first, then ``fork`` (not answered: a failure
shows as the end of the sandbox's own socket) with two or three descriptors, and ``end`` (answered). Its end ends
everything.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from restore_drill.sandboxes.isolation import Isolation

_MESSAGE_LIMIT = 96 << 10
#: Seconds in which a killed sandbox must be gone.
_KILL_PATIENCE = 10.0
#: Imported before forking, so that no sandbox process has to.
_USUAL = ("hashlib", "sqlite3", "stat", "restore_drill.sandboxes.child", "restore_drill.sandboxes.programs")


class Zygote:
    """Serves the control socket.

    Args:
        control: A connected socket that keeps message boundaries.
        hello: The host's first message.
    """

    def __init__(self, control: socket.socket, hello: dict[str, Any]) -> None:
        from restore_drill.sandboxes import confinement, kernel

        if hello["end_with_parent"]:
            kernel.end_with_parent(signal.SIGTERM)
        self._control = control
        self._sandboxes: dict[int, int] = {}
        self._problems: dict[int, str] = {}
        self.isolation: Isolation = confinement.isolate()
        self._own_processes = self.isolation.processes == "own"
        self._namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if self._own_processes else -1
        self._descriptors = [control.fileno(), *([self._namespace] if self._own_processes else [])]
        os.umask(0o077)
        faulthandler.enable(file=2)
        if not self._own_processes:
            # It has to end orphans itself, so that it must be told and not killed.
            signal.signal(signal.SIGTERM, _leave)
        if hello["end_with_parent"] or self.isolation.user_namespace:
            kernel.end_with_parent(signal.SIGKILL if self._own_processes else signal.SIGTERM)
        for name in _USUAL:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()

    def serve(self) -> None:
        """Do what the host asks until it is gone."""
        try:
            while True:
                message, descriptors = receive(self._control)
                if message is None:
                    return
                answer = self._handle(message, descriptors)
                if answer is not None:
                    self._control.send(json.dumps({"number": message["number"], **answer}).encode())
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._end_all()

    def _handle(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any] | None:
        if message["do"] == "fork":
            try:
                self._fork(message, descriptors)
            except (OSError, MemoryError) as problem:
                self._problems[message["sandbox"]] = str(problem) or type(problem).__name__
            return None
        if message["do"] == "end":
            return self._end(message["sandbox"], message["natural"])
        return {"isolation": self.isolation.facts()}

    def _fork(self, message: dict[str, Any], descriptors: list[int]) -> None:
        from restore_drill.sandboxes import child, kernel

        _prepare(message)
        prepared = child.prepare(message, descriptors, self.isolation)
        try:
            if self._own_processes:
                kernel.unshare(kernel.NEWPID)
            pid = os.fork() or child.run(prepared, self._descriptors)
        finally:
            prepared.close()
            if self._own_processes:
                kernel.enter(self._namespace, kernel.NEWPID)
        self._sandboxes[message["sandbox"]] = pid

    def _end_all(self) -> None:
        try:
            # When the host ends, its socket and the kernel's notice speak at the same time: one of them is enough.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        finally:
            for sandbox in list(self._sandboxes):
                self._end(sandbox, natural=0.0)

    def _end(self, number: int, natural: float) -> dict[str, Any]:
        """End a sandbox, after some seconds in which it is expected to end on its own, and say how it ended."""
        problem = self._problems.pop(number, "")
        pid = self._sandboxes.get(number)
        if pid is None:
            return {"status": None, "gone": True, "problem": problem}
        on_its_own = status = _reap(pid, natural) if natural else None
        if status is None:
            os.kill(pid, signal.SIGKILL)
            status = _reap(pid, _KILL_PATIENCE)
        gone = status is not None
        if gone:
            del self._sandboxes[number]
        return {"status": on_its_own, "gone": gone and self._end_strays(), "problem": problem}

    def _end_strays(self) -> bool:
        """End what a process without a namespace of its own left behind, which is our child now."""
        if self._own_processes:
            return True
        known = set(self._sandboxes.values())
        until = time.monotonic() + _KILL_PATIENCE
        while strays := set(_children()) - known:
            for stray in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stray, signal.SIGKILL)
                _reap(stray, 1.0)
            if time.monotonic() > until:
                return False
        return True


def receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and the descriptors that came with it; ``None`` when the host is gone."""
    data, descriptors, flags, _ = socket.recv_fds(control, _MESSAGE_LIMIT, 3, socket.MSG_CMSG_CLOEXEC)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise ValueError("a message of the host was cut")
    return (json.loads(data) if data else None), descriptors


def main(descriptor: int) -> None:
    """Read the first message, make the package importable and go on in it."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    # A host may have been started with SIGCHLD ignored, and what is ignored or blocked is inherited.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    hello, _ = receive(control)
    if hello is None:
        return
    sys.dont_write_bytecode = hello["dont_write_bytecode"]
    sys.path[:] = hello["path"]
    importlib.import_module("restore_drill.sandboxes.zygote").Zygote(control, hello).serve()


def _prepare(message: dict[str, Any]) -> None:
    """Have the child find, and not have to import, what it will be asked to call."""
    os.environ.update(HOME=message["scratch"], TMPDIR=message["scratch"])
    if message["path"] is not None:
        sys.path[:] = message["path"]
    missing = [name for name in message["modules"] if name not in sys.modules]
    for name in missing:
        # What cannot be imported is reported by the call that needs it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if missing:
        gc.collect()
        gc.freeze()


def _children() -> list[int]:
    """Our children's numbers in our own process namespace, which must be that of /proc."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:  # noqa: PTH123
        return [int(number) for number in file.read().split()]


def _reap(pid: int, seconds: float) -> int | None:
    """The status of a child that ends within some seconds, or ``None``."""
    until = time.monotonic() + seconds
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    try:
        return _reap_until(pid, until)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))


def _reap_until(pid: int, until: float) -> int | None:
    while True:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        if ended:
            return status
        left = until - time.monotonic()
        if left <= 0:
            return None
        signal.sigtimedwait({signal.SIGCHLD}, left)


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(int(sys.argv[1]))
