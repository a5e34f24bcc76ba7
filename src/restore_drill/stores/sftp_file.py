"""A file that is open on an SFTP server, read ahead of what has been handed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from restore_drill.stores.base import CHUNK

if TYPE_CHECKING:
    from restore_drill.stores.sftp_session import Reader, Session

#: Bytes that are asked for ahead of what has been handed on.
AHEAD = 4 << 20


class Status(NamedTuple):
    """What a server says of a name; ``mode`` is as in stat(2), 0 where it does not say."""

    mode: int
    size: int
    modified: int


def status_of(attributes: Any) -> Status:
    """The attributes of the library as ours."""
    return Status(attributes.permissions or 0, attributes.size or 0, attributes.mtime or 0)


class OpenedFile:
    """A file that is open on the server.

    Args:
        session: The connection.
        path: Where it lies.
        size: How many bytes it is meant to have.
    """

    def __init__(self, session: Session, path: bytes, size: int) -> None:
        self._session = session
        self._size = size
        self._file = session.run(lambda reader: reader.open(path))
        self._waiting: deque[tuple[int, Future[bytes]]] = deque()

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(self, *_: object) -> None:
        for _part, future in self._waiting:
            future.cancel()
        # Not waited for: a reader may be given up because the server does not answer.
        self._session.later(self._file.close)

    def status(self) -> Status:
        """What it is now."""

        async def look(_: Reader) -> Any:
            return await self._file.stat()

        return status_of(self._session.run(look))

    def blocks(self, position: int) -> Iterator[bytes]:
        """The bytes from a position, in order; the number of requests under way doubles up to :data:`AHEAD` bytes.

        Each is one request of the protocol: the library fills what is missing between several with zeros.
        """
        length = min(self._file.read_len or 1 << 15, CHUNK)
        asked, window, most = position, 2, max(2, AHEAD // length)
        while asked < self._size or self._waiting:
            while asked < self._size and len(self._waiting) < window:
                part = min(length, self._size - asked)
                self._waiting.append((part, self._session.begin(self._file.read(part, asked))))
                asked += part
            part, future = self._waiting[0]
            block = self._session.wait(future)
            self._waiting.popleft()
            window = min(most, window * 2)
            if block:
                yield block
            if len(block) != part:
                return
