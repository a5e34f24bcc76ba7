"""What comes in over a connection, in small pieces, until it is worth handing on."""

from __future__ import annotations

import time
from typing import Any

#: One read from a connection, and what is collected before it is handed on; together below the contract's chunk.
_READ, _ENOUGH = 512 << 10, 256 << 10
#: A slow connection hands on what it has after this many seconds, so that the caller can watch its own deadline.
_IMPATIENT = 1.0


def read_some(raw: Any, most: int) -> bytes:
    """The next bytes of a response of urllib3, undecoded; empty at its end.

    ``read1`` hands over what one system call brought, so that nothing is lost when the next one fails; urllib3 before
    2.2 has only ``read``.
    """
    read, length = (raw.read1, _READ) if hasattr(raw, "read1") else (raw.read, 64 << 10)
    piece: bytes = read(min(length, most))
    return piece


class Held:
    """Small pieces, until they are worth handing on."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._since = 0.0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, piece: bytes) -> bool:
        """Keep a piece; whether it is time to take them all."""
        if not self._pieces:
            self._since = time.monotonic()
        self._pieces.append(piece)
        self._size += len(piece)
        return self._size >= _ENOUGH or time.monotonic() - self._since >= _IMPATIENT

    def take(self) -> bytes:
        """All of them as one."""
        chunk = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return chunk


def drain(answer: Any) -> None:
    """Be done with an answer of urllib3 whose body is of no interest; a short one is read: its connection is of use."""
    body = answer.headers.get("Content-Length", "")
    if getattr(answer, "_request_method", "") == "HEAD" or (body.isdigit() and int(body) < 1 << 16):
        answer.read(decode_content=False)
        answer.release_conn()
    else:
        answer.close()
