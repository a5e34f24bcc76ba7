"""Copy a directory generation (an rsync tree) into a sandbox, through the rules that archives pass through.

Nothing is written to the source; access times stay as they are where the user may ask for that. Symbolic links are
copied as links, names that share an inode within the generation as hard links, holes as holes, extended attributes and
access lists of files and directories (:mod:`.attributes`). What changes or
vanishes while it is read fails the backup: a generation that is still being written is no recovery point.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from restore_drill.archives.attributes import Attributes, of_file
from restore_drill.archives.digest import TreeDigest, escape, unescape
from restore_drill.archives.members import Member, Type
from restore_drill.archives.reading import (
    READ,
    cannot_read,
    changed,
    extents_of,
    open_quietly,
    pieces,
    reading,
    sparse_pieces,
)  # fmt: skip
from restore_drill.archives.spool import SortedSpool
from restore_drill.archives.tree import TreeWriter
from restore_drill.archives.unpack import Pulse, full_modes, open_tree
from restore_drill.forks import spread
from restore_drill.sandboxes.base import Call

#: Files and bytes that travel to a worker as one task.
_BATCH_FILES = 64
_BATCH_BYTES = 16 << 20
#: Inodes with several names that are remembered; beyond, further names become files of their own.
_MOST_INODES = 1_000_000
_TYPES = {
    stat.S_IFREG: Type.FILE, stat.S_IFDIR: Type.DIRECTORY, stat.S_IFLNK: Type.SYMLINK, stat.S_IFIFO: Type.FIFO,
    stat.S_IFCHR: Type.CHARACTER, stat.S_IFBLK: Type.BLOCK, stat.S_IFSOCK: Type.SOCKET,
}  # fmt: skip

Task = tuple[str, list[str]]


def copy_generation(
    call: Call,
    *,
    source: str,
    root: str,
    limits: Mapping[str, Any],
    digest: bool = False,
    discard: bool = False,
    reserve: int = 0,
    threads: int = 1,
) -> dict[str, Any]:
    """Copy a directory into the work directory.

    Args:
        call: Where this runs.
        source: The generation, as seen from inside the sandbox.
        root: A directory inside the work directory that does not exist yet. After an error it holds what had been
            written so far, which nobody may use.
        limits: The target's ``limits``: ``members``, ``bytes``, ``ratio``, ``allow``.
        digest: Compute the tree digest, equal to that of an archive of the same directory.
        discard: Write nothing, only compute the digest.
        reserve: Bytes that must stay free on the disk.
        threads: How many processes copy.

    Returns:
        What :meth:`restore_drill.archives.members.Tree.finish` returns.

    Raises:
        BackupFailed: It vanished or changed while it was read (stage ``fetch``), or breaks a rule (stage ``unpack``).
        CouldNotVerify: Something cannot be read, or the disk is too small.
    """
    with (
        full_modes(),
        closing(open_tree(call, root, limits, digest=digest, discard=discard, reserve=reserve)) as tree,
        closing(_Copying(_open_source(source), tree, SortedSpool(str(call.work)))) as copying,
    ):
        pulse = Pulse(call)
        for answer in spread(copying.tasks(), copying.copy, workers=threads, until=call.until):
            copying.record(answer)
            pulse.beat({"members": tree.files + tree.directories, "bytes": copying.copied})
        copying.link()
        return tree.finish()


def _open_source(source: str) -> int:
    try:
        return os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise cannot_read(problem, source) from problem


@dataclass(slots=True)
class _Copying:
    """One generation on its way: the walk and the book-keeping here, the files in the workers."""

    source: int
    tree: TreeWriter | TreeDigest
    links: SortedSpool
    copied: int = 0
    inodes: dict[tuple[int, int], str] = field(default_factory=dict)
    _near: tuple[str, int] = ("", -1)

    def tasks(self) -> Iterator[Task]:
        """Walk the source; makes directories and links, and leaves the files to be copied."""
        yield from self._directory("", os.dup(self.source))

    def _directory(self, path: str, descriptor: int) -> Iterator[Task]:
        try:
            before = os.fstat(descriptor)
            self.tree.add(_member(path or ".", before)._replace(attributes=self._attributes(descriptor, path)))
            below: list[str] = []
            yield from self._entries(path, descriptor, below)
            for name in below:
                inner = f"{path}/{name}" if path else name
                with reading(inner):
                    child = os.open(name, READ | os.O_DIRECTORY, dir_fd=descriptor)
                yield from self._directory(inner, child)
            if os.fstat(descriptor).st_mtime_ns != before.st_mtime_ns:
                raise changed(path)
        finally:
            os.close(descriptor)

    def _entries(self, path: str, descriptor: int, below: list[str]) -> Iterator[Task]:
        batch: list[str] = []
        size = 0
        with reading(path), os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                    continue
                inner = f"{path}/{entry.name}" if path else entry.name
                status = _status(entry, inner)
                if not self._is_to_be_copied(inner, status, descriptor, entry.name):
                    continue
                batch.append(entry.name)
                size += status.st_size
                if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
                    yield path, batch
                    batch, size = [], 0
        if batch:
            yield path, batch

    def _is_to_be_copied(self, path: str, status: os.stat_result, parent: int, name: str) -> bool:
        member = _member(path, status)
        if member.type is Type.FILE:
            if self._is_linked(path, status):
                return False
            self.tree.admit(member)
            return True
        if member.type is Type.SYMLINK:
            with reading(path):
                member = member._replace(target=os.fsencode(os.readlink(name, dir_fd=parent)))
        self.tree.add(member)
        return False

    def _is_linked(self, path: str, status: os.stat_result) -> bool:
        if status.st_nlink == 1:
            return False
        inode = (status.st_dev, status.st_ino)
        first = self.inodes.get(inode)
        if first is not None:
            self.links.add(b"%s\t%s" % (escape(os.fsencode(first)), escape(os.fsencode(path))))
        elif len(self.inodes) < _MOST_INODES:
            self.inodes[inode] = path
        return first is not None

    def copy(self, task: Task) -> dict[str, Any]:
        """Copy the files of one task; runs in a worker."""
        path, names = task
        parent = self._parent(path)
        done = []
        for name in names:
            inner = f"{path}/{name}" if path else name
            with reading(inner):
                descriptor = open_quietly(name, parent)
            try:
                done.append([name, *self._copy_one(inner, descriptor)])
            finally:
                os.close(descriptor)
        return {"path": path, "done": done, "notes": self.tree.take_notes()}

    def _copy_one(self, path: str, descriptor: int) -> tuple[int, str]:
        before = os.fstat(descriptor)
        member = _member(path, before)
        if member.type is not Type.FILE:
            raise changed(path)
        if found := self._attributes(descriptor, path):
            member = member._replace(attributes=found)
        if member.extents is not None:
            with reading(path):
                extents = extents_of(descriptor, before.st_size)
            member = member._replace(extents=extents, stored=sum(length for _, length in extents))
            _, digest = self.tree.put_file(member, sparse_pieces(descriptor, extents, path))
        elif isinstance(self.tree, TreeWriter) and not self.tree.book:
            digest = ""
            if self.tree.copy_file(member, descriptor) != before.st_size:
                raise changed(path)
        else:
            _, digest = self.tree.put_file(member, pieces(descriptor, before.st_size, path))
        after = os.fstat(descriptor)
        # The change time is left out: it moves when the next generation links to this file.
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise changed(path)
        return before.st_size, digest

    def _attributes(self, descriptor: int, path: str) -> Attributes:
        """What is read for a tree that writes nothing would be dropped."""
        if isinstance(self.tree, TreeDigest):
            return {}
        with reading(path):
            return of_file(descriptor)

    def _parent(self, path: str) -> int:
        if self._near[1] < 0 or self._near[0] != path:
            if self._near[1] >= 0:
                os.close(self._near[1])
            self._near = (path, self._descend(path))
        return self._near[1]

    def _descend(self, path: str) -> int:
        descriptor = os.dup(self.source)
        for name in filter(None, path.split("/")):
            parent = descriptor
            try:
                with reading(path):
                    descriptor = os.open(name, READ | os.O_DIRECTORY, dir_fd=parent)
            finally:
                os.close(parent)
        return descriptor

    def record(self, answer: Mapping[str, Any]) -> None:
        """Take in what a worker copied."""
        for name, size, digest in answer["done"]:
            self.copied += size
            if digest:
                path = f"{answer['path']}/{name}" if answer["path"] else name
                self.tree.record_file(os.fsencode(path), size, digest)
        for note, count in answer["notes"].items():
            self.tree.note(note, count)

    def link(self) -> None:
        """Make the hard links, now that what they refer to is there."""
        for line in self.links:
            target, _, path = line.partition(b"\t")
            self.tree.add(Member(unescape(path), Type.HARDLINK, target=unescape(target)))

    def close(self) -> None:
        """Close the source."""
        self.links.close()
        for descriptor in (self.source, self._near[1]):
            if descriptor >= 0:
                os.close(descriptor)


def _member(path: str, status: os.stat_result) -> Member:
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    size = status.st_size if kind is Type.FILE else 0
    on_disk = 512 * status.st_blocks
    has_holes = on_disk < size
    return Member(
        os.fsencode(path), kind, size, stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid, status.st_gid,
        b"", (os.major(status.st_rdev), os.minor(status.st_rdev)), on_disk if has_holes else size,
        () if has_holes else None,
    )  # fmt: skip


def _status(entry: os.DirEntry[str], path: str) -> os.stat_result:
    with reading(path):
        return entry.stat(follow_symlinks=False)
