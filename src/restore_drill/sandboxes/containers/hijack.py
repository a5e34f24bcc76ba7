"""A connection that turns from HTTP into a program's streams.

Docker Engine's interface, ``POST /containers/{id}/attach`` and ``POST /exec/{id}/start``: after a head that says 101 or
200, what the client sends is the program's standard input, and what comes back are frames of eight bytes (stream, three
zeros, length in network order) and content ("Stream format" of the interface's reference). It is done here and not by
the client library, whose buffered reader may keep the first bytes of the stream when they arrive along with the head.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Any, Final

_HEADER: Final = struct.Struct("!BxxxI")
_HEAD_LIMIT: Final = 64 << 10
_RECEIVE: Final = 256 << 10
_STREAMS: Final = frozenset({0, 1, 2, 3})


class HijackRefused(Exception):
    """The engine did not hand the connection over.

    Args:
        message: What it said.
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class StreamBroken(Exception):
    """What came is no frame."""


class Hijack:
    """A stream of frames in, plain bytes out; the socket does not block.

    Args:
        line: A connected socket, which is taken over.
        path: Path and query of the request.
        body: Its JSON body, or ``None``.

    Raises:
        HijackRefused: The engine said no.
        OSError: The connection broke.
    """

    def __init__(self, line: socket.socket, path: str, body: Any = None) -> None:
        self.line = line
        self._left = 0
        self._stream = 0
        try:
            line.sendall(_request(path, body))
            self._early = self._head()  # what came along with the head
            self._waiting = bytearray()
            line.setblocking(False)
        except BaseException:
            line.close()
            raise

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.line.fileno()

    def receive(self) -> list[tuple[int, bytes]] | None:
        """What has come, by stream (1 output, 2 errors); ``None`` at the end.

        Raises:
            BlockingIOError: Nothing has come.
            StreamBroken: It is no stream of frames.
        """
        data, self._early = self._early, b""
        if not data:
            try:
                data = self.line.recv(_RECEIVE)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as problem:
                raise BlockingIOError from problem
            except (ConnectionError, ssl.SSLError, TimeoutError):
                return None
            if not data:
                return None
        self._waiting += data
        return list(self._frames())

    @property
    def pending(self) -> bool:
        """Whether more can be received although the socket is not readable."""
        return bool(self._early) or (isinstance(self.line, ssl.SSLSocket) and self.line.pending() > 0)

    def send(self, data: memoryview) -> int:
        """Send some of it, and say how much was taken.

        Raises:
            OSError: Nobody reads any more.
        """
        try:
            return self.line.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def finish(self) -> None:
        """End what the program reads, and go on receiving."""
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self.line, ssl.SSLSocket):
                # Sends the notice of our end; that the other side's has not come yet is as it should be.
                self.line.unwrap()
            else:
                self.line.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it in both directions, also for copies of the descriptor that other processes may hold."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_RDWR)
        self.line.close()

    def let_go(self) -> None:
        """Close our descriptor only; for a forked copy of the process that uses it."""
        with contextlib.suppress(OSError):
            socket.close(self.line.detach())

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """Cut what waits into pieces of one stream each; a header that is not whole yet goes on waiting."""
        position, size = 0, len(self._waiting)
        while position < size:
            if not self._left:
                if size - position < _HEADER.size:
                    break
                self._stream, self._left = _HEADER.unpack_from(self._waiting, position)
                if self._stream not in _STREAMS:
                    raise StreamBroken
                position += _HEADER.size
            piece = bytes(self._waiting[position : position + self._left])
            position += len(piece)
            self._left -= len(piece)
            if piece:
                yield self._stream, piece
        del self._waiting[:position]

    def _head(self) -> bytes:
        """Read the answer's head, and return what came behind it."""
        received = bytearray()
        while b"\r\n\r\n" not in received:
            data = self.line.recv(_RECEIVE)
            if not data or len(received) > _HEAD_LIMIT:
                raise HijackRefused("the connection was closed", 0)
            received += data
        head, _, rest = bytes(received).partition(b"\r\n\r\n")
        status = int(head[9:12]) if head[9:12].isdigit() else 0
        if status not in (101, 200):
            rest += self._body(head, len(rest))
            raise HijackRefused(_message(rest), status)
        return rest

    def _body(self, head: bytes, received: int) -> bytes:
        """The rest of a refusal: the connection stays open behind it, so that only its length tells its end."""
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        wanted = min(int(length[1]), _HEAD_LIMIT) - received if length else 0
        body = b""
        with contextlib.suppress(OSError):
            while len(body) < wanted and (data := self.line.recv(wanted - len(body))):
                body += data
        return body


def _request(path: str, body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1", "Host: docker", "Connection: Upgrade", "Upgrade: tcp",
        "Content-Type: application/json", f"Content-Length: {len(content)}", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + content


def _message(content: bytes) -> str:
    begin, end = content.find(b"{"), content.rfind(b"}")
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(content[begin : end + 1])["message"])
    return content[:200].decode(errors="replace")
