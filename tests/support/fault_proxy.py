"""A TCP proxy that breaks HTTP connections on purpose: one request a connection, one fault a request."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import threading
from collections import deque
from dataclasses import dataclass


def answer(status: str, body: bytes, kind: str = "application/xml") -> bytes:
    """An HTTP answer of our own."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def refusal(status: str, code: str, more: str = "") -> bytes:
    """An error answer of S3 (API reference, "Error responses")."""
    return answer(
        status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()
    )


BUSY = refusal("503 Slow Down", "SlowDown")


@dataclass(frozen=True)
class Fault:
    """What happens to the answer to one request.

    Attributes:
        kind: ``cut`` (orderly end), ``reset``, ``stall`` (nothing more, connection open), ``mute`` (no answer at all),
            ``drip`` (small pieces with pauses), ``busy`` (503 SlowDown), ``answer`` (``text`` instead of the server's).
        after: Bytes of the body that still pass.
        piece: Bytes passed on at a time.
    """

    kind: str
    after: int = 0
    piece: int = 1 << 16
    text: bytes = b""


@dataclass(frozen=True)
class Request:
    """What a client asked for: its first line, where its range begins, and its condition."""

    line: str
    begin: int | None
    if_match: str


class FaultProxy:
    """Listens on a port of the loopback interface and passes everything on to one server.

    Attributes:
        faults: What happens to the next requests whose first line contains ``only``, in order; ``None`` is no fault.
        requests: The requests of that kind so far.
    """

    def __init__(self, upstream: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        self.faults: deque[Fault | None] = deque()
        self.otherwise: Fault | None = None
        self.only = ""
        self.requests: list[Request] = []
        self._upstream = upstream
        self._tls = tls
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more: further connections are refused."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), self._secured(connection) as client:
            head = _until_blank_line(client)
            if not head:
                return
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            fault = None
            if self.only in line:
                self.requests.append(_request(line, head))
                fault = self.faults.popleft() if self.faults else self.otherwise
            if fault and fault.kind in ("busy", "answer"):
                client.sendall(fault.text or BUSY)
                return
            with socket.create_connection(self._upstream, timeout=60) as server:
                # Unsigned headers may be changed: the server ends the connection after its answer.
                server.sendall(head[:-2] + b"Connection: close\r\n\r\n")
                self._relay(server, client, fault or Fault("none"))

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def _relay(self, server: socket.socket, client: socket.socket, fault: Fault) -> None:
        head = _until_blank_line(server)
        if fault.kind == "mute":
            self._wait(client)
            return
        client.sendall(head)
        left = fault.after if fault.kind in ("cut", "reset", "stall") else sys.maxsize
        while left and (piece := server.recv(min(fault.piece, left))):
            client.sendall(piece)
            left -= len(piece)
            if fault.kind == "drip":
                self._closing.wait(0.001)
        if fault.kind == "stall":
            self._wait(client)
        elif fault.kind == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _wait(self, client: socket.socket) -> None:
        """Keep the connection open until the client gives up."""
        client.settimeout(None)
        client.recv(1)


def _request(line: str, head: bytes) -> Request:
    lines = [header.decode("latin-1").partition(": ") for header in head.split(b"\r\n")[1:]]
    headers = {name.lower(): value for name, _, value in lines}
    begin = headers.get("range", "").removeprefix("bytes=").partition("-")[0]
    return Request(line, int(begin) if begin else None, headers.get("if-match", ""))


def _until_blank_line(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    return head
