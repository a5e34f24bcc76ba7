"""The host's side of the zygote: start it, have it fork and end sandbox processes, notice when it is gone."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.process import BARE_ENVIRONMENT
from restore_drill.sandboxes.isolation import Isolation

_SCRIPT = Path(__file__).with_name("zygote.py")
_MESSAGE_LIMIT = 96 << 10
#: Seconds in which the zygote must answer; it waits for a killed process no longer than that.
_PATIENCE = 40.0
_START_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a sandbox process ended.

    Attributes:
        status: As ``os.waitpid`` gives it; ``None`` when it was ended by us or never began.
        gone: Whether it and all that it started are gone.
        problem: Why there was none, or ``""``.
    """

    status: int | None = None
    gone: bool = True
    problem: str = ""


class Launcher:
    """One zygote. Use :func:`current`, which starts one when there is none."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._number = 0
        self._sandboxes = 0
        self._modules: list[str] = []
        self._path: list[str] = []
        self._isolation: Isolation | None = None
        self._errors = open(os.memfd_create("restore-drill-zygote"), "rb", buffering=0)  # noqa: PTH123, SIM115
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = self._start(theirs)
            self._send(
                {
                    "path": self._new_path(),
                    "dont_write_bytecode": sys.dont_write_bytecode,
                    # The kernel's notice is about the thread that started it, and only the main one lasts.
                    "end_with_parent": threading.current_thread() is threading.main_thread(),
                }
            )
        except BaseException:
            self._control.close()
            self._errors.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The zygote's process number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the zygote is still there."""
        return self._process.poll() is None

    def has_ended(self, seconds: float = 5.0) -> bool:
        """Whether the zygote ends within some seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def isolation(self) -> Isolation:
        """What sandbox processes are cut off from; waits for the zygote to be up.

        Raises:
            CouldNotVerify: It did not come up.
        """
        with self._lock:
            if self._isolation is None:
                answer = self._ask({"do": "describe"}, _START_PATIENCE)
                self._isolation = Isolation.from_facts(answer["isolation"])
            return self._isolation

    def fork(self, settings: Mapping[str, Any], line: socket.socket, crashes: int, stdin: int = -1) -> int:
        """Begin a sandbox process, without waiting for it, and return the number under which it can be ended.

        Args:
            settings: Paths and limits for :func:`restore_drill.sandboxes.child.run`.
            line: The socket on which it serves calls; our copy may be closed afterwards.
            crashes: A pipe's writable end for what it writes when it crashes; ditto.
            stdin: What programs that it starts read, ditto; -1 for nothing.
        """
        with self._lock:
            self._sandboxes += 1
            message = {"do": "fork", "sandbox": self._sandboxes, "path": self._new_path(), "modules": self._modules}
            self._send({**message, **settings}, (line.fileno(), crashes, *((stdin,) if stdin >= 0 else ())))
            return self._sandboxes

    def end(self, sandbox: int, natural: float = 0.0) -> Ending:
        """End a sandbox process and everything it started.

        Args:
            sandbox: Its number.
            natural: Seconds in which it is expected to end on its own, before it is killed.
        """
        with self._lock:
            answer = self._ask({"do": "end", "sandbox": sandbox, "natural": natural}, _PATIENCE + natural)
        return Ending(answer["status"], answer["gone"], answer["problem"])

    def remember(self, function: str) -> None:
        """Have later sandbox processes find the module of one of our own functions imported.

        Those for tests are not worth it: their package brings a whole test runner along.
        """
        module = function.partition(":")[0]
        own = module.startswith("restore_drill.") and not module.startswith("restore_drill.testing.")
        if own and module not in self._modules:
            self._modules.append(module)

    def stop(self) -> None:
        """End the zygote and with it every sandbox process."""
        self._control.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def forget(self) -> None:
        """Let go of it in a forked copy of this process, whose child it is not."""
        self._control.close()
        self._process.returncode = 0
        self._errors.close()

    def _new_path(self) -> list[str] | None:
        """Where modules are found, when that has changed since it was last asked for."""
        path = [entry for entry in sys.path if isinstance(entry, str)]
        if path == self._path:
            return None
        self._path = path
        return [os.path.abspath(entry) for entry in path]  # noqa: PTH100

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", str(_SCRIPT), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=dict(BARE_ENVIRONMENT),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )
        except OSError as problem:
            raise CouldNotVerify(
                f"the process that sandboxes are made from cannot be started: {problem.strerror}",
                looked_at=sys.executable or "sys.executable is empty",
                remedy="Run it with an ordinary Python interpreter.",
            ) from problem

    def _send(self, message: Mapping[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)
        except OSError as problem:
            raise self._gone(problem.strerror or "") from problem

    def _ask(self, message: Mapping[str, Any], patience: float) -> dict[str, Any]:
        """Send a request and wait for its answer; answers to questions that were interrupted are passed over."""
        self._number += 1
        number = self._number
        self._send({**message, "number": number})
        until = time.monotonic() + patience
        while True:
            try:
                self._control.settimeout(max(0.001, until - time.monotonic()))
                data = self._control.recv(_MESSAGE_LIMIT)
            except TimeoutError as problem:
                raise self._gone(f"no answer in {patience:.0f} s") from problem
            except OSError as problem:
                raise self._gone(problem.strerror or "") from problem
            finally:
                with contextlib.suppress(OSError):
                    self._control.settimeout(None)
            if not data:
                raise self._gone("")
            answer: dict[str, Any] = json.loads(data)
            if answer["number"] == number:
                return answer

    def _gone(self, why: str) -> CouldNotVerify:
        written: list[str] = []
        if not self._errors.closed:
            written = os.pread(self._errors.fileno(), 1 << 16, 0).decode(errors="replace").splitlines()
        return CouldNotVerify(
            "the process that sandboxes are made from has ended" + (f" ({why})" if why else ""),
            remedy="Look at the details; short of memory, run fewer drills at once.",
            details=tuple(written[-60:]),
        )


_current: Launcher | None = None
_starting = threading.Lock()


def current() -> Launcher:
    """The zygote of this process, started if there is none or it has ended.

    Raises:
        CouldNotVerify: It cannot be started.
    """
    global _current  # noqa: PLW0603 - one for each process is the point
    with _starting:
        if _current is None or not _current.alive:
            if _current is not None:
                _current.stop()
            _current = Launcher()
        return _current


def prestart() -> None:
    """Begin to start the zygote, without waiting for it; what goes wrong is reported where it is needed."""
    with contextlib.suppress(CouldNotVerify):
        current()


def stop() -> None:
    """End the zygote, if there is one, and every sandbox process; the next sandbox starts another."""
    global _current
    with _starting:
        launcher, _current = _current, None
        if launcher is not None:
            launcher.stop()


def _forget() -> None:
    global _current, _starting  # noqa: PLW0603 - as above
    _starting = threading.Lock()
    if _current is not None:
        _current.forget()
        _current = None


atexit.register(stop)
os.register_at_fork(after_in_child=_forget)
