r"""The tree digest: one SHA-256 that is equal for a directory and for an archive of it.

It is taken over text lines in byte order, each ended by LF, after a first line ``restore-drill tree 1``:

* ``PATH TAB f TAB SIZE TAB SHA256`` for a regular file, its size in decimal, its digest in lower-case hexadecimal;
* ``PATH TAB d`` for a directory, also for one that an archive only implies; the root itself has no line;
* ``PATH TAB l TAB TARGET`` for a symbolic link;
* ``PATH TAB p``, ``c`` or ``b`` for a FIFO, a character or a block device.

A hard link has the line of what it is a link to. In paths and targets a backslash, a tab and a newline are written as
``\\``, ``\t`` and ``\n``. Times, modes, owners and sockets have no part in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from restore_drill.archives.members import SPECIAL, Buffer, Member, Tree, TreeLimits, Type
from restore_drill.archives.names import check_target, hostile, normalise
from restore_drill.archives.spool import SortedSpool

_ZEROS = bytes(1 << 20)
#: Parents remembered by the tree that writes nothing; a forgotten one costs a line that is dropped when sorted.
_PARENTS = 4096


class DigestBook:
    """Collects the lines of a tree.

    Args:
        directory: Where lines that do not fit into memory may lie meanwhile.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lines = SortedSpool(directory)
        self._links = SortedSpool(directory)

    def add_line(self, line: bytes) -> None:
        """Take in a line that was made elsewhere, by :func:`file_line`."""
        self._lines.add(line)

    def add(self, path: bytes, kind: Type, target: bytes | None = None) -> None:
        """Take in anything but a file or a hard link."""
        line = b"%s\t%s" % (escape(path), kind.encode())
        self._lines.add(line if target is None else b"%s\t%s" % (line, escape(target)))

    def add_link(self, path: bytes, target: bytes) -> None:
        """Take in a hard link; both names normalised."""
        self._links.add(b"%s\t%s" % (escape(target), escape(path)))

    def finish(self) -> str:
        """The digest, in hexadecimal.

        Raises:
            BackupFailed: Two members have one path, or a hard link refers to nothing.
        """
        digest = hashlib.sha256(b"restore-drill tree 1\n")
        for line in self.lines():
            digest.update(line + b"\n")
        return digest.hexdigest()

    def lines(self) -> Iterator[bytes]:
        """Every line in order, hard links resolved, directories that were named more than once as one."""
        self._resolve()
        before, key_before = b"", b""
        for line in self._lines:
            key = line[: line.index(b"\t") + 1]
            if line == before and line.endswith(b"\td"):
                continue
            if key == key_before:
                raise hostile("two members have the same path", unescape(key[:-1]))
            before, key_before = line, key
            yield line

    def _resolve(self) -> None:
        """Give every hard link the line of its target; links to links take another round."""
        known, pending = self._lines, self._links
        while pending.count:
            found, left = SortedSpool(self._directory), SortedSpool(self._directory)
            _join(known, pending, found, left)
            if not found.count:
                name = next(iter(left)).partition(b"\t")[2]
                raise hostile("a hard link refers to something that the archive did not hold before it", unescape(name))
            for line in found:
                self._lines.add(line)
            known, pending = found, left
        self._links = SortedSpool(self._directory)

    def close(self) -> None:
        """Drop everything."""
        self._lines.close()
        self._links.close()


def _join(known: SortedSpool, links: SortedSpool, found: SortedSpool, left: SortedSpool) -> None:
    lines = iter(known)
    line = next(lines, None)
    for link in links:
        target, _, path = link.partition(b"\t")
        while line is not None and line[: line.index(b"\t") + 1] < target + b"\t":
            line = next(lines, None)
        if line is not None and line.startswith(target + b"\t"):
            found.add(path + line[len(target) :])
        else:
            left.add(link)


class TreeDigest(Tree):
    """A tree that is not written anywhere: it only computes the digest.

    A symbolic link that leaves the tree through another link is not noticed here: that takes a finished tree.
    """

    def __init__(self, limits: TreeLimits, directory: str) -> None:
        super().__init__(limits)
        self._book = DigestBook(directory)
        self._parents: dict[bytes, None] = {}

    def store(self, member: Member, data: Iterable[Buffer]) -> None:
        """Hash a member."""
        path, kind = normalise(member.name), member.type
        if not path and kind is not Type.DIRECTORY:
            raise hostile("a member other than a directory stands for the root", member.name)
        self._imply(path.rpartition(b"/")[0])
        if kind is Type.FILE:
            self.record_file(path, member.size, content_digest(member, data))
        elif kind is Type.SYMLINK:
            check_target(path, member.target, outside=self.limits.outside_links)
            self.links += 1
            self._book.add(path, kind, member.target)
        elif kind is Type.HARDLINK:
            self._book.add_link(path, normalise(member.target))
        elif kind is Type.DIRECTORY:
            self._imply(path)
        elif kind in SPECIAL:
            self._book.add(path, kind)
        else:
            self.note("sockets not kept")

    def put_file(self, member: Member, data: Iterable[Buffer]) -> tuple[bytes, str]:
        """Hash a file."""
        return normalise(member.name), content_digest(member, data)

    def record_file(self, path: bytes, size: int, digest: str) -> None:
        """Take in its line."""
        self._book.add_line(file_line(path, size, digest))

    def _imply(self, path: bytes) -> None:
        while path and path not in self._parents:
            self._parents[path] = None
            if len(self._parents) > _PARENTS:
                del self._parents[next(iter(self._parents))]
            self._book.add(path, Type.DIRECTORY)
            path = path.rpartition(b"/")[0]

    def finish(self) -> dict[str, Any]:
        """The counts and the digest."""
        digest = hashlib.sha256(b"restore-drill tree 1\n")
        counts = dict.fromkeys(Type, 0)
        self.bytes = 0
        for line in self._book.lines():
            digest.update(line + b"\n")
            _, kind, *more = line.split(b"\t", 3)
            counts[Type(kind.decode())] += 1
            self.bytes += int(more[0]) if kind == b"f" else 0
        self.hard_links = counts[Type.FILE] + counts[Type.SYMLINK] - self.files - self.links
        self.files, self.directories, self.links = counts[Type.FILE], counts[Type.DIRECTORY], counts[Type.SYMLINK]
        self.specials = sum(counts[kind] for kind in SPECIAL)
        return {**self.summary(), "digest": digest.hexdigest()}

    def close(self) -> None:
        """Drop temporary files."""
        self._book.close()


def file_line(path: bytes, size: int, digest: str) -> bytes:
    """The line of a regular file."""
    return b"%s\tf\t%d\t%s" % (escape(path), size, digest.encode())


def content_digest(member: Member, data: Iterable[Buffer]) -> str:
    """SHA-256 of a file as it will be read, holes included, in hexadecimal."""
    digest = hashlib.sha256()
    for piece in laid_out(member, data):
        if isinstance(piece, int):
            hash_zeros(digest, piece)
        else:
            digest.update(piece)
    return digest.hexdigest()


def hash_zeros(digest: Any, length: int) -> None:
    """Feed a hole to a hash."""
    whole, rest = divmod(length, len(_ZEROS))
    for _ in range(whole):
        digest.update(_ZEROS)
    digest.update(memoryview(_ZEROS)[:rest])


def laid_out(member: Member, data: Iterable[Buffer]) -> Iterator[Buffer | int]:
    """A file from its first byte to its last: pieces of data, and holes as their length."""
    if member.extents is None:
        yield from data
        return
    at, rest = 0, memoryview(b"")
    pieces = iter(data)
    for offset, length in member.extents:
        if offset > at:
            yield offset - at
        at = offset
        while at < offset + length:
            rest = rest or memoryview(next(pieces))
            piece = rest[: offset + length - at]
            at, rest = at + len(piece), rest[len(piece) :]
            yield piece
    if member.size > at:
        yield member.size - at
    for _ in pieces:  # an empty rest: the archive's iterator learns that it was consumed
        pass


def escape(name: bytes) -> bytes:
    """A path or target as it stands in a line."""
    if b"\\" in name or b"\t" in name or b"\n" in name:
        return name.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n")
    return name


def unescape(text: bytes) -> bytes:
    """The inverse of :func:`escape`."""
    plain = {b"\\": b"\\", b"t": b"\t", b"n": b"\n"}
    parts, at = [], 0
    while (slash := text.find(b"\\", at)) >= 0:
        parts += [text[at:slash], plain[text[slash + 1 : slash + 2]]]
        at = slash + 2
    return b"".join([*parts, text[at:]])
