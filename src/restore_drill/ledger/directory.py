"""A ledger in a directory: one line an entry in ``ledger/entries.jsonl``, appended under a lock.

A writer that is killed leaves a whole entry, or a last line without an end; that one was never said to be finished, and
the next append puts it aside. ``head.json`` is written after the entry is on disk: it never knows more than there is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.ledger import statement
from restore_drill.ledger.base import FOLDER, Entry, Head, Kind, Ledger, Signer
from restore_drill.ledger.envelope import Link, read_link, seal, written
from restore_drill.whole_files import locked, write_whole

ENTRIES = "entries.jsonl"
HEAD = "head.json"
#: Bytes read at once, backwards.
_BLOCK = 1 << 18


class DirectoryLedger(Ledger):
    """Entries as lines of a file.

    Args:
        root: The state's directory.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self._path = self._folder / ENTRIES
        self._remarks: list[str] = []

    def where(self) -> str:
        """The file."""
        return str(self._path)

    def append(self, kind: Kind, content: Mapping[str, Any], signer: Signer | None = None) -> Entry:
        """Append a line; it is on disk, and its name too, when this returns."""
        plain = statement.plain(content)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(self._folder):
                return self._append(kind, plain, signer)
        except OSError as problem:
            raise self._unusable("written", problem) from problem

    def _append(self, kind: Kind, content: statement.Content, signer: Signer | None) -> Entry:
        descriptor, created = self._open()
        try:
            end = _put_torn_aside(descriptor, self._folder)
            last = self._last(descriptor, end)
            line = seal(statement.make(kind, content, last, self.hint()), signer)
            _write_all(descriptor, line + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if created:
            _sync_directory(self._folder)
            _sync_directory(self._folder.parent)
        entry = written(line, content.document, signer)
        write_head(self._folder, entry.head)
        return entry

    def _open(self) -> tuple[int, bool]:
        created = not self._path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags, 0o644), created

    def _last(self, descriptor: int, end: int) -> Link | None:
        found = _last_lines(descriptor, end, 1)
        return read_link(found[0], self.where()) if found else None

    def lines(self, first: int = 1) -> Iterator[bytes]:
        """Line by line; a last one without its end is left out, and remarked on."""
        self._remarks = []
        try:
            with self._path.open("rb", buffering=_BLOCK) as file:
                for place, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        self._remarks.append(_torn_remark(place, len(line)))
                    elif place >= first:
                        yield line[:-1]
        except FileNotFoundError:
            return
        except OSError as problem:
            raise self._unusable("read", problem) from problem
        aside = sum(1 for _ in self._folder.glob("torn-*"))
        if aside:
            self._remarks.append(f"{aside} unfinished line(s) of killed writers were put aside: {self._folder}/torn-*")

    def remarks(self) -> list[str]:
        """Lines that were never finished."""
        return list(self._remarks)

    def tail_lines(self, count: int) -> list[bytes]:
        """Read backwards from the file's end."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise self._unusable("read", problem) from problem
        try:
            return _last_lines(descriptor, _end_of_whole(descriptor, os.fstat(descriptor).st_size), count)
        except OSError as problem:
            raise self._unusable("read", problem) from problem
        finally:
            os.close(descriptor)

    def hint(self) -> Head | None:
        """``head.json``; one that cannot be understood is as good as none, since only entries count."""
        try:
            return parse_head((self._folder / HEAD).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise self._unusable("read", problem) from problem

    def _unusable(self, purpose: str, problem: OSError) -> CouldNotVerify:
        return CouldNotVerify(
            f"the ledger cannot be {purpose}: {problem.strerror or problem}",
            looked_at=self.where(),
            remedy="Check that the directory of state: is there, its permissions, and the space that is left.",
        )


def parse_head(raw: bytes) -> Head | None:
    """A head as it is written down, ``None`` when it is not one."""
    try:
        found = json.loads(raw)
        return Head.parse(f"{found['sequence']}:{found['digest']}")
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def head_json(head: Head) -> bytes:
    """A head as it is written down."""
    return json.dumps({"sequence": head.sequence, "digest": head.digest}).encode() + b"\n"


def write_head(folder: Path, head: Head) -> None:
    """Write the head down, whole or not at all."""
    write_whole(folder / HEAD, head_json(head))
    _sync_directory(folder)


def _torn_remark(place: int, size: int) -> str:
    return f"the last line ({place}, {size} bytes) was never finished: a writer was killed, or is writing just now"


def _last_lines(descriptor: int, end: int, count: int) -> list[bytes]:
    """The last lines of a file that ends with a newline, read backwards."""
    blocks: list[bytes] = []
    newlines, start = 0, end
    while start > 0 and newlines <= count:
        size = min(_BLOCK, start)
        start -= size
        block = os.pread(descriptor, size, start)
        newlines += block.count(b"\n")
        blocks.append(block)
    lines = b"".join(reversed(blocks)).split(b"\n")[:-1]
    return lines[-count:] if count else []


def _end_of_whole(descriptor: int, size: int) -> int:
    """Where the last whole line ends."""
    position = size
    while position > 0:
        start = max(position - _BLOCK, 0)
        newline = os.pread(descriptor, position - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0


def _put_torn_aside(descriptor: int, folder: Path) -> int:
    """Move a last line that has no end into a file of its own; returns where the whole lines end.

    Only who holds the lock may: nobody is writing it any more.
    """
    size = os.fstat(descriptor).st_size
    end = _end_of_whole(descriptor, size)
    if end < size:
        torn = os.pread(descriptor, size - end, end)
        write_whole(folder / f"torn-{end}-{hashlib.sha256(torn).hexdigest()[:12]}.part", torn)
        os.ftruncate(descriptor, end)
    return end


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:  # a disk that fills up takes a part, and refuses the next
        left = left[os.write(descriptor, left) :]


def _sync_directory(path: Path) -> None:
    """Have names of files on disk, too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
