"""A TCP proxy that breaks connections of any protocol on purpose: one fault a connection."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Break:
    """What happens to a connection.

    Attributes:
        kind: ``cut`` (orderly end), ``reset``, ``stall`` (nothing more, connection open).
        after: Bytes of the server that still pass.
    """

    kind: str
    after: int = 0


class TcpProxy:
    """Listens on a port of the loopback interface and passes everything on to one server.

    Attributes:
        breaks: What happens to the next connections, in order; ``None`` is nothing.
        otherwise: What happens to those after them.
        connections: How many there were.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.breaks: deque[Break | None] = deque()
        self.otherwise: Break | None = None
        self.connections = 0
        self._upstream = upstream
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more, and end every connection."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream, timeout=60)
            except OSError:
                return
            server.settimeout(None)
            self.connections += 1
            fault = self.breaks.popleft() if self.breaks else self.otherwise
            self._open += [client, server]
            threading.Thread(target=self._serve, args=(client, server, fault), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket, fault: Break | None) -> None:
        """Pass everything on, in one thread: a socket that another one reads from cannot be reset."""
        left = fault.after if fault else sys.maxsize
        with contextlib.suppress(OSError, ValueError):
            while left:
                ready = select.select([client, server], [], [])[0]
                if client in ready:
                    if not (piece := client.recv(1 << 16)):
                        break
                    server.sendall(piece)
                if server in ready:
                    if not (piece := server.recv(min(1 << 16, left))):
                        break
                    client.sendall(piece)
                    left -= len(piece)
        if fault and fault.kind == "stall" and not left:
            return
        with contextlib.suppress(OSError):
            if fault and fault.kind == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server.close()
