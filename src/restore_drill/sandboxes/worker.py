"""The host's end of one sandbox process: frames in both directions, and its end."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes import launcher, protocol
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.launcher import Ending, Launcher

_RECEIVE = 96 << 10
_CRASH_LIMIT = 1 << 16


class Worker:
    """One sandbox process, which may end at any moment.

    Args:
        settings: Its paths.
        limits: What it may use.
        stdin: A descriptor for what programs that it starts read; -1 for nothing.
    """

    def __init__(self, settings: Mapping[str, Any], limits: Limits, stdin: int = -1) -> None:
        self.limits = limits
        self.ended = False
        self.spent = False
        self.busy = False
        self._inbox = protocol.Inbox()
        self._launcher: Launcher = launcher.current()
        self._line, theirs = socket.socketpair()
        readable, writable = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._crashes = open(readable, "rb", buffering=0)  # noqa: PTH123, SIM115 - closed with the process
        bounds = {"memory": limits.memory, "file_size": limits.file_size, "open_files": limits.open_files}
        try:
            self._line.setblocking(False)
            self._number = self._launcher.fork({**settings, "limits": bounds}, theirs, writable, stdin)
        except BaseException:
            self.let_go()
            raise
        finally:
            theirs.close()
            os.close(writable)

    @property
    def usable(self) -> bool:
        """Whether it waits for a call: it is there and has nothing unasked to say."""
        return not self.spent and self._line.fileno() >= 0 and not self._poll(select.POLLIN, 0.0)

    def send(self, data: bytes, until: float) -> None:
        """Send a whole frame.

        Raises:
            TimeoutError: It does not read.
            EOFError: It has ended.
        """
        self._send_rest(memoryview(data), until)

    def send_data(self, chunk: bytes | bytearray | memoryview, until: float) -> None:
        """Send fed bytes, in as many frames as it takes; raises as :meth:`send` does."""
        view = memoryview(chunk).cast("B")
        for start in range(0, len(view), protocol.DATA_LIMIT):
            part = view[start : start + protocol.DATA_LIMIT]
            header = protocol.HEADER.pack(protocol.DATA, len(part))
            sent = self._write(header, part)
            if sent < len(header):
                self._send_rest(memoryview(header)[sent:], until)
                sent = len(header)
            self._send_rest(part[sent - len(header) :], until)

    def receive(self, until: float) -> tuple[int, bytes]:
        """The next frame.

        Raises:
            TimeoutError: Nothing came in time.
            EOFError: It has ended.
            ProtocolError: It is not speaking our language.
        """
        while True:
            complete = self._inbox.take()
            if complete is not None:
                return complete
            if not self._poll(select.POLLIN, until - time.monotonic()):
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                try:
                    data = self._line.recv(_RECEIVE)
                except ConnectionResetError as problem:
                    raise EOFError from problem
                if not data:
                    raise EOFError
                self._inbox.add(data)

    def end(self, natural: float = 0.0) -> Ending:
        """End it and all that it started; safe to repeat.

        Args:
            natural: Seconds in which it is expected to end on its own.
        """
        try:
            ending = self._launcher.end(self._number, natural)
        except CouldNotVerify as problem:
            # When the zygote is gone, the kernel has ended its children.
            ending = Ending(gone=self._launcher.has_ended(), problem=problem.cause)
        self._line.close()
        self.ended = ending.gone
        return ending

    def kill(self) -> None:
        """End it from another thread than the one that talks to it, which finds out by itself."""
        with contextlib.suppress(CouldNotVerify):  # when the zygote is gone, the kernel has ended its children
            self._launcher.end(self._number)

    def crash_text(self) -> tuple[str, ...]:
        """What it wrote when it crashed; not for evidence."""
        data = None if self._crashes.closed else self._crashes.read(_CRASH_LIMIT)
        return tuple((data or b"").decode(errors="replace").splitlines())

    def let_go(self) -> None:
        """Close our ends, which ends a process that is waiting."""
        self._line.close()
        self._crashes.close()

    def _send_rest(self, view: memoryview, until: float) -> None:
        while view:
            view = view[self._write(view) :]
            if view and not self._poll(select.POLLOUT, until - time.monotonic()):
                raise TimeoutError

    def _write(self, *parts: bytes | memoryview) -> int:
        if self._line.fileno() < 0:
            raise EOFError
        try:
            return not self.spent and self._line.sendmsg(parts)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError) as problem:
            raise EOFError from problem

    def _poll(self, events: int, seconds: float) -> bool:
        if self._line.fileno() < 0:
            raise EOFError
        poller = select.poll()
        poller.register(self._line, events)
        return bool(poller.poll(None if seconds == math.inf else max(0, math.ceil(seconds * 1000))))
