"""The process that talks to a cloud on behalf of a store: obstore lives here, and nothing else.

obstore's threads do not survive a fork, and drills are forked; what hangs in it can be ended from outside. Requests and
answers pass over a socket as pickles: ``list``, ``look``, ``get``, each answered by any number of values and ``None``.
Started as a script, without anything of the package.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from typing import Any

#: Bytes of one ranged read, where several are under way, and what one answer holds at most.
PART, _CHUNK = 8 << 20, 1 << 20
#: Objects of a page; empty ones that are looked at at the same time.
_PAGE, _AT_ONCE = 1000, 8


#: Key, size, time of the last change (seconds since the epoch), ETag.
Seen = tuple[str, int, float, str]


class _Changed(Exception):
    """Another object has the name now."""


class _Objects:
    """What is asked of a container.

    Args:
        kind: The class of obstore.
        name: Of the bucket or container.
        given: Its other arguments; ``retries`` are for listings only: reads are taken up again by whoever asks.
    """

    def __init__(self, kind: str, name: str, given: Mapping[str, Any]) -> None:
        import obstore
        import obstore.store

        self._library = obstore
        arguments = dict(given)
        retries = arguments.pop("retries")
        make = getattr(obstore.store, kind)
        self._once = make(name, retry_config={"max_retries": 0}, **arguments)
        self._again = make(name, retry_config={"max_retries": retries}, **arguments)

    def list(self, folder: str) -> Iterator[list[Seen]]:
        """Everything in a folder and below it; an empty page where it takes its time."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for page in self._again.list(folder or None, chunk_size=_PAGE):
                full = [_seen(meta) for meta in page if meta["size"]]
                yield full
                # The library cuts the slash off that makes an empty object the marker of a directory.
                empty = [meta["path"] for meta in page if not meta["size"]]
                for start in range(0, len(empty), _PAGE // 10):
                    found = pool.map(self._find, empty[start : start + _PAGE // 10])
                    yield [each for each in found if each is not None]

    def look(self, key: str) -> Iterator[tuple[Seen, dict[str, str]]]:
        """One object and its attributes."""
        found = self._library.get(self._once, key, options={"head": True})
        yield _seen(found.meta), dict(found.attributes)

    def get(self, key: str, start: int, stop: int, size: int, etag: str, ranges: int) -> Iterator[bytes]:
        """The bytes of one version of an object, in order; an empty one where it takes its time."""
        if ranges > 1 and stop - start > PART:
            yield from self._by_ranges(key, start, stop, size, etag, ranges)
            return
        for piece in self._pieces(key, start, stop, size, etag):
            for at in range(0, len(piece), _CHUNK):
                yield piece[at : at + _CHUNK]

    def _by_ranges(self, key: str, start: int, stop: int, size: int, etag: str, ranges: int) -> Iterator[bytes]:
        starts = iter(range(start, stop, PART))
        waiting: deque[Future[list[bytes]]] = deque()
        arrived = [0]

        def fetch(at: int) -> list[bytes]:
            pieces = []
            for piece in self._pieces(key, at, min(at + PART, stop), size, etag):
                pieces.append(piece)
                arrived[0] += len(piece)
            return pieces

        with ThreadPoolExecutor(ranges) as pool:
            while True:
                for at in starts:
                    waiting.append(pool.submit(fetch, at))
                    if len(waiting) == ranges:
                        break
                if not waiting:
                    return
                before = arrived[0]
                while not wait([waiting[0]], timeout=1.0).done:
                    if arrived[0] > before:
                        before = arrived[0]
                        yield b""
                for piece in waiting.popleft().result():
                    for at in range(0, len(piece), _CHUNK):
                        yield piece[at : at + _CHUNK]

    def _pieces(self, key: str, start: int, stop: int, size: int, etag: str) -> Iterator[bytes]:
        options: Any = {"range": (start, stop)} if stop > start else {}
        if etag:
            options["if_match"] = f'"{etag}"'
        answer = self._library.get(self._once, key, options=options)
        seen = _seen(answer.meta)
        if seen[1] != size or (etag and seen[3] != etag):  # a server that knows no If-Match
            raise _Changed
        if stop > start:
            for piece in answer.stream(min_chunk_size=1):
                yield bytes(piece)

    def _find(self, key: str) -> Seen | None:
        try:
            (found, attributes) = next(self.look(key))
        except FileNotFoundError:
            return None
        return None if is_folder(attributes) else found


def is_folder(attributes: Mapping[str, str]) -> bool:
    """Whether an object of Azure stands for a directory (a hierarchical namespace, or a tool that makes one up)."""
    return any(name.lower() == "hdi_isfolder" and value.lower() == "true" for name, value in attributes.items())


def _seen(meta: Mapping[str, Any]) -> Seen:
    etag = str(meta.get("e_tag") or "").strip('"')
    return meta["path"], int(meta["size"]), meta["last_modified"].timestamp(), etag


def serve(line: Connection) -> None:
    """Answer requests until nobody asks any more."""
    path, kind, name, given = line.recv()
    sys.path[:] = path
    objects: _Objects | None = None
    while True:
        operation, arguments = line.recv()
        try:
            objects = objects or _Objects(kind, name, given)
            for answer in getattr(objects, operation)(*arguments):
                line.send(answer)
            line.send(None)
        except BrokenPipeError:
            return
        except Exception as problem:  # told to whoever asked; its text never leaves this package
            line.send(("problem", type(problem).__name__, str(problem)[: 1 << 15]))


if __name__ == "__main__":
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        sys.exit(0)
