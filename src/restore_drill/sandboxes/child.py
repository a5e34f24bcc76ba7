"""The process in which hostile bytes are touched: confines itself, then serves one call after another."""

from __future__ import annotations

import errno
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.quantities import format_size
from restore_drill.sandboxes import confinement, kernel, protocol
from restore_drill.sandboxes.isolation import Isolation

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SQLITE_FULL = 13


class FeedAborted(BaseException):
    """The bytes that a function is fed ended in an error of their own; not for functions to catch."""


class ServedCall:
    """The :class:`~restore_drill.sandboxes.base.Call` a function is given.

    Args:
        line: The socket to the host.
        work: The work directory.
        request: The call as it was received.
    """

    def __init__(self, line: socket.socket, work: Path, request: Mapping[str, Any]) -> None:
        self.work = work
        self.until = float(request["until"])
        self._line = line
        self._feeding = bool(request["fed"])
        self._sending = threading.Lock()

    def chunks(self) -> Iterator[bytes]:
        """The bytes that the caller feeds, in order; to be consumed once."""
        while self._feeding:
            chunk = self._next()
            if chunk is not None:
                yield chunk

    def report(self, progress: Mapping[str, Any]) -> None:
        """Tell the caller how far the work is; dropped when the caller is not listening."""
        payload = protocol.dump(dict(progress))
        if len(payload) > protocol.PROGRESS_LIMIT:
            raise ValueError("a progress report is a few numbers")
        with self._sending:
            writable = select.poll()
            writable.register(self._line, select.POLLOUT)
            if writable.poll(0):
                self._line.sendall(protocol.frame(protocol.PROGRESS, payload))

    def fileno(self) -> int:
        """The socket's descriptor: readable when more of the feed, or its end, has come."""
        return self._line.fileno()

    def leave_feed(self) -> None:
        """Have the answer sent before the feed has ended; the process is then good for no other call."""
        self._feeding = False

    def answer(self, kind: int, payload: bytes) -> None:
        """Send the answer once the feed has ended."""
        try:
            for _ in self.chunks():
                pass
        except FeedAborted:
            pass
        with self._sending:
            self._line.sendall(protocol.HEADER.pack(kind, len(payload)))
            self._line.sendall(payload)

    def _next(self) -> bytes | None:
        kind, size = protocol.HEADER.unpack(receive(self._line, protocol.HEADER.size))
        if kind == protocol.DATA:
            return receive(self._line, size)
        self._feeding = False
        if kind == protocol.ABORT:
            raise FeedAborted
        return None


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that can be made before the fork, where memory is warm: the process to come is not slowed down by it.

    Attributes:
        line: The socket for calls.
        crashes: A pipe's writable end, which takes what a crash has to say.
        rules: A descriptor of the rules on where it may write, or -1 (a process with a view of its own makes them).
        message: What the host asked for: paths and limits.
        isolation: What is in force already.
        out_of_memory: The answer that needs no more memory.
        stdin: What programs that it starts read, or -1 for nothing.
    """

    line: socket.socket
    crashes: int
    rules: int
    message: Mapping[str, Any]
    isolation: Isolation
    out_of_memory: bytes
    stdin: int = -1

    def close(self) -> None:
        """Close all descriptors."""
        self.line.close()
        for descriptor in (self.crashes, self.rules, self.stdin):
            if descriptor >= 0:
                os.close(descriptor)


def prepare(message: Mapping[str, Any], descriptors: list[int], isolation: Isolation) -> Prepared:
    """Make what a process needs that is about to be forked; takes over the descriptors."""
    line, crashes, *more = descriptors
    rules = -1
    try:
        if "hide" not in message:
            rules = confinement.writing_rules(isolation, message["writable"])
    except OSError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    last_words = _out_of_memory(message["limits"])
    return Prepared(socket.socket(fileno=line), crashes, rules, message, isolation, last_words, *more)


def run(prepared: Prepared, inherited: Iterable[int]) -> NoReturn:
    """Confine the calling process, which was just forked, and serve calls in it.

    Args:
        prepared: What was made for it.
        inherited: Descriptors that it must not have.
    """
    status = 1
    try:
        os.dup2(prepared.crashes, 2)
        if prepared.stdin >= 0:
            os.dup2(prepared.stdin, 0)
            os.close(prepared.stdin)
        for descriptor in (*inherited, prepared.crashes):
            os.close(descriptor)
        try:
            _confine(prepared)
        except OSError as problem:
            _refuse(prepared, problem)
        else:
            _serve(prepared.line, prepared.message, prepared.out_of_memory)
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode()[-4000:])
    finally:
        os._exit(status)


def serve(line: socket.socket, message: Mapping[str, Any]) -> NoReturn:
    """Serve calls in a process that a container confines.

    Args:
        line: The socket for calls.
        message: Its ``work`` directory and ``limits``.
    """
    status = 1
    try:
        confinement.limit(*(message["limits"][name] for name in ("memory", "file_size", "open_files")))
        _serve(line, message, _out_of_memory(message["limits"]))
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode()[-4000:])
    finally:
        os._exit(status)


def receive(line: socket.socket, size: int) -> bytes:
    """Exactly that many bytes.

    Raises:
        EOFError: The host is gone.
    """
    data = line.recv(size, socket.MSG_WAITALL)
    while len(data) < size:
        more = line.recv(size - len(data), socket.MSG_WAITALL)
        if not more:
            raise EOFError
        data += more
    return data


def _confine(prepared: Prepared) -> None:
    kernel.end_with_parent(signal.SIGKILL)
    os.setsid()
    if prepared.isolation.processes == "shared":
        kernel.become_subreaper()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    rules = _arrange(prepared)
    tasks = prepared.message.get("tasks")
    if account := prepared.message.get("account"):
        apart = prepared.message.get("tasks_apart")
        if confinement.become(*account, apart=apart is not None):
            tasks = apart
        # A change of user undoes it.
        kernel.end_with_parent(signal.SIGKILL)
    else:
        confinement.drop_admin(prepared.isolation)
    # What functions print goes nowhere; descriptor 2 takes a crash's last words and never waits for a reader.
    sys.stderr = sys.stdout
    os.chdir(prepared.message["work"])
    if rules >= 0:
        kernel.obey(rules)
        os.close(rules)
    limits = prepared.message["limits"]
    confinement.limit(limits["memory"], limits["file_size"], limits["open_files"], tasks)
    gc.enable()


def _arrange(prepared: Prepared) -> int:
    """Make the process's own view of the file system, if it is to have one, and return its rules for writing."""
    message = prepared.message
    if "hide" not in message:
        return prepared.rules
    confinement.arrange(message["hide"], message["show"])
    return confinement.writing_rules(prepared.isolation, message["writable"])


def _refuse(prepared: Prepared, problem: OSError) -> None:
    """Answer the first call with the reason why none is served: nothing hostile was touched."""
    _, size = protocol.HEADER.unpack(receive(prepared.line, protocol.HEADER.size))
    request = json.loads(receive(prepared.line, size))
    error = CouldNotVerify(
        f"a sandbox process cannot be cut off as it should be: {problem.strerror}",
        looked_at=str(problem.filename or ""),
        remedy="Look at what this machine or the container around it allows; see the details.",
        details=_trace(problem),
    )
    call = ServedCall(prepared.line, Path(prepared.message["work"]), request)
    call.answer(protocol.LAST_FAILURE, protocol.dump(protocol.encode_error(error)))


def _serve(line: socket.socket, message: Mapping[str, Any], out_of_memory: bytes) -> None:
    work, limits = Path(message["work"]), message["limits"]
    while True:
        try:
            kind, size = protocol.HEADER.unpack(receive(line, protocol.HEADER.size))
        except (EOFError, ConnectionResetError):
            return
        if kind != protocol.CALL:
            raise protocol.ProtocolError(f"a frame of type {kind} instead of a call")
        request = json.loads(receive(line, size))
        call = ServedCall(line, work, request)
        try:
            answer = _answer(call, request, limits)
        except MemoryError:
            answer = None
        if answer is None:
            # The words were prepared while there was memory; the next call gets a fresh process.
            call.answer(protocol.LAST_FAILURE, out_of_memory)
            return
        kind, payload = answer
        call.answer(protocol.BUSY_RESULT if kind == protocol.RESULT and _is_busy() else kind, payload)


def _answer(call: ServedCall, request: Mapping[str, Any], limits: Mapping[str, int]) -> tuple[int, bytes] | None:
    name = str(request["function"])
    try:
        value = _find(name)(call, **request["arguments"])
        return _result(name, value)
    except MemoryError:
        return None
    except FeedAborted:
        return protocol.FAILURE, protocol.dump(protocol.encode_error(CouldNotVerify("what it was fed broke off")))
    except BaseException as problem:
        if _exhausts_memory(problem):
            return None
        error = _explain(name, problem, limits)
    return protocol.FAILURE, protocol.dump(protocol.encode_error(error))


def _is_busy() -> bool:
    """Whether the call left something behind that runs; what it left orphaned is this process's child, too."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return threading.active_count() > 1
    return True


def _find(name: str) -> Callable[..., Any]:
    if not protocol.is_function_name(name):
        raise CouldNotVerify(f"{name!r} does not name a function of a module")
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function)
    if not callable(found):
        raise CouldNotVerify(f"{name} is not a function")
    return found  # type: ignore[no-any-return]


def _result(name: str, value: object) -> tuple[int, bytes]:
    try:
        payload = protocol.dump(value)
    except (TypeError, ValueError, RecursionError) as problem:
        raise CouldNotVerify(f"{name} answered with what is no JSON value", details=(str(problem),)) from problem
    if len(payload) > protocol.JSON_LIMIT:
        raise CouldNotVerify(
            f"the answer of {name} is larger than {format_size(protocol.JSON_LIMIT)}", remedy="Ask for less of it."
        )
    return protocol.RESULT, payload


def _explain(name: str, problem: BaseException, limits: Mapping[str, int]) -> RestoreDrillError:
    """The error to report: a limit that was hit, before anything that was concluded from the hit."""
    exhausted = _exhausted(problem, limits)
    if exhausted:
        return exhausted
    if isinstance(problem, RestoreDrillError):
        return problem
    if isinstance(problem, ImportError):
        missing = problem.name or str(problem)
        return CouldNotVerify(
            f"{name} needs {missing}, which cannot be imported",
            remedy=f"Install the package that has {missing}.",
            details=_trace(problem),
        )
    return CouldNotVerify(
        f"{name} raised {type(problem).__name__}",
        remedy="This is a defect of the program, not of the backup: report it with the details.",
        details=_trace(problem),
    )


def _exhausted(problem: BaseException, limits: Mapping[str, int]) -> RestoreDrillError | None:
    if isinstance(problem, RestoreDrillError) and not isinstance(problem, BackupFailed):
        return None
    for link in _causes(problem):
        number = link.errno if isinstance(link, OSError) else None
        if number in _FULL or getattr(link, "sqlite_errorcode", None) == _SQLITE_FULL:
            return CouldNotVerify(
                "the disk that holds the sandbox's work directory is full",
                remedy="Free some space there, or restore on a larger disk.",
                details=_trace(problem),
            )
        if number == errno.EFBIG:
            return CouldNotVerify(
                f"a file grew beyond the sandbox's limit of {format_size(limits['file_size'])}",
                remedy="Raise the limit if the backup is that big.",
                details=_trace(problem),
            )
        if number == errno.EMFILE:
            return CouldNotVerify(
                f"more files were open at once than the sandbox's limit of {limits['open_files']}",
                details=_trace(problem),
            )
    return None


def _exhausts_memory(problem: BaseException) -> bool:
    counts = isinstance(problem, BackupFailed) or not isinstance(problem, RestoreDrillError)
    return counts and any(
        isinstance(link, MemoryError) or (isinstance(link, OSError) and link.errno == errno.ENOMEM)
        for link in _causes(problem)
    )


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, as stated with ``raise … from``."""
    link: BaseException | None = problem
    for _ in range(20):
        if link is None:
            return
        yield link
        link = link.__cause__


def _out_of_memory(limits: Mapping[str, int]) -> bytes:
    return protocol.dump(
        protocol.encode_error(
            CouldNotVerify(
                f"more memory was needed than the sandbox's limit of {format_size(limits['memory'])}",
                remedy="Raise the limit if the backup needs it.",
            )
        )
    )


def _trace(problem: BaseException) -> tuple[str, ...]:
    return tuple("".join(traceback.format_exception(problem)).splitlines()[-60:])
