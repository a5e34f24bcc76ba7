"""Write the members of an archive below one directory, and nowhere else.

Every operation names one component relative to a directory that was opened without following a link, so that no
member, link or race can reach outside the root. What a member may be is judged in :mod:`.names` and :mod:`.members`.

What comes back: contents, holes, symbolic and hard links, permission bits and times to the nanosecond; owners by their
numbers when running as root; set-id bits, devices and FIFOs where the catalogue allows them; extended attributes and
access lists where the file system and this user can (:mod:`.attributes`). Directories that an archive only implies get
mode 0755 and the epoch as their time.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from restore_drill.archives.attributes import NOT_KEPT, Attributes, restore
from restore_drill.archives.digest import DigestBook, escape, file_line, hash_zeros, laid_out, unescape
from restore_drill.archives.directories import Directories, in_the_way
from restore_drill.archives.members import Buffer, Member, Tree, TreeLimits, Type
from restore_drill.archives.names import check_target, hostile, leads_outside, normalise
from restore_drill.archives.spool import SortedSpool
from restore_drill.archives.writing import cannot_write, copy_bytes, full, occupied
from restore_drill.links import resolve
from restore_drill.quantities import format_size

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Bytes written between two looks at the free space; a file costs at least a block.
_LOOK_EVERY = 32 << 20
_BLOCK = 4096
_MOST_ID = 2**32 - 2
_NOT_HELD = "a hard link refers to something that the archive did not hold before it"


class TreeWriter(Tree):
    """A tree on disk.

    Args:
        root: A directory that does not exist yet; its parent does, and is ours.
        limits: What is accepted.
        book: Collects the lines of the tree digest, or ``None`` when none is wanted.
        reserve: Bytes that must stay free on the disk.

    Raises:
        FileExistsError: The root is there already.
    """

    def __init__(self, root: Path, limits: TreeLimits, *, book: DigestBook | None = None, reserve: int = 0) -> None:
        super().__init__(limits)
        self.book = book
        self._reserve = reserve
        self._look_in = _LOOK_EVERY
        self._is_root = os.geteuid() == 0
        self._umask = os.umask(0)
        os.umask(self._umask)
        scratch = str(root.parent)
        self._through_links = SortedSpool(scratch)
        self._spool = SortedSpool(scratch)
        root.mkdir(mode=0o700)
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        #: What a new file belongs to without our doing; unknowable where directories hand down their group.
        self._given = (os.geteuid(), os.getegid()) if not status.st_mode & stat.S_ISGID else (-1, -1)
        self.directories_of = Directories(descriptor, self._spool, self._made)

    def _made(self, path: bytes) -> None:
        self.directories += 1
        if self.book:
            self.book.add(path, Type.DIRECTORY)

    def store(self, member: Member, data: Iterable[Buffer]) -> None:
        """Write an admitted member."""
        if member.type is Type.FILE:
            path, digest = self.put_file(member, data)
            self.record_file(path, member.size, digest)
            return
        try:
            if member.type is Type.DIRECTORY:
                self.directories_of.add(
                    member.name, member.mode & 0o7777, member.mtime, member.uid, member.gid, member.attributes
                )
            elif member.type is Type.SYMLINK:
                self._symbolic_link(member)
            elif member.type is Type.HARDLINK:
                self._hard_link(member)
            else:
                self._special(member)
        except OSError as problem:
            raise cannot_write(problem, member.name) from problem

    def put_file(self, member: Member, data: Iterable[Buffer]) -> tuple[bytes, str]:
        """Write a file."""
        digest = ""
        try:
            descriptor, mode, path = self._create(member)
            try:
                if self.book:
                    digest = self._write_and_hash(descriptor, member, data)
                else:
                    self._write(descriptor, member, data)
                self._dress(descriptor, member, mode)
            finally:
                os.close(descriptor)
        except OSError as problem:
            raise cannot_write(problem, member.name) from problem
        self._count(member.stored + _BLOCK)
        return path, digest

    def record_file(self, path: bytes, size: int, digest: str) -> None:
        """Take in its line of the tree digest."""
        if self.book:
            self.book.add_line(file_line(path, size, digest))

    def copy_file(self, member: Member, source: int) -> int:
        """Write an admitted file from an open one, within the kernel where that can be; returns the bytes copied."""
        try:
            descriptor, mode, _ = self._create(member)
            try:
                copied = copy_bytes(source, descriptor, member.size)
                self._dress(descriptor, member, mode)
            finally:
                os.close(descriptor)
        except OSError as problem:
            raise cannot_write(problem, member.name) from problem
        self._count(copied + _BLOCK)
        return copied

    def _create(self, member: Member) -> tuple[int, int, bytes]:
        parent, leaf, path = self._place(member)
        mode = member.mode & 0o777
        if not self._is_root and not mode & 0o400:
            mode |= 0o400
            self.note("files made readable for the drill")
        try:
            return os.open(leaf, _NEW, mode, dir_fd=parent), mode, path
        except FileExistsError as problem:
            raise occupied(parent, leaf, path) from problem

    def _place(self, member: Member) -> tuple[int, bytes, bytes]:
        place = self.directories_of.place(member.name)
        if not place[1]:
            raise hostile("a member other than a directory stands for the root", member.name)
        return place

    def _write(self, descriptor: int, member: Member, data: Iterable[Buffer]) -> None:
        if member.extents is None:
            for piece in data:
                self._write_piece(descriptor, piece)
            return
        for part in laid_out(member, data):
            if isinstance(part, int):
                os.lseek(descriptor, part, os.SEEK_CUR)
            else:
                self._write_piece(descriptor, part)
        os.ftruncate(descriptor, member.size)

    def _write_and_hash(self, descriptor: int, member: Member, data: Iterable[Buffer]) -> str:
        digest = hashlib.sha256()
        for part in laid_out(member, data):
            if isinstance(part, int):
                os.lseek(descriptor, part, os.SEEK_CUR)
                hash_zeros(digest, part)
            else:
                digest.update(part)
                self._write_piece(descriptor, part)
        if member.extents is not None:
            os.ftruncate(descriptor, member.size)
        return digest.hexdigest()

    def _write_piece(self, descriptor: int, piece: Buffer) -> None:
        written = os.write(descriptor, piece)
        if written == len(piece):
            return
        rest = memoryview(piece)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def _dress(self, descriptor: int, member: Member, mode: int) -> None:
        if self._is_root and (member.uid, member.gid) != self._given:
            self._own(descriptor, member.uid, member.gid)
        special = member.mode & 0o7000
        if member.attributes:
            restore(descriptor, member.attributes, mode | special, self.note, capabilities=self.limits.setuid)
        elif special or mode & self._umask:
            os.fchmod(descriptor, mode | special)
        os.utime(descriptor, ns=(member.mtime, member.mtime))

    def _own(self, what: int | bytes, uid: int, gid: int, parent: int | None = None) -> None:
        if not (0 <= uid <= _MOST_ID and 0 <= gid <= _MOST_ID):
            self.note("owners that this system cannot have, members")
            return
        try:
            if isinstance(what, int):
                os.fchown(what, uid, gid)
            else:
                os.chown(what, uid, gid, dir_fd=parent, follow_symlinks=False)
        except OSError as problem:
            if problem.errno not in (errno.EPERM, errno.EINVAL):
                raise
            self.note("owners not restored for lack of privilege, members")

    def _symbolic_link(self, member: Member) -> None:
        self._note_lost(member)
        parent, leaf, path = self._place(member)
        if check_target(path, member.target, outside=self.limits.outside_links):
            self._through_links.add(escape(path))
        try:
            os.symlink(member.target, leaf, dir_fd=parent)
        except FileExistsError as problem:
            raise occupied(parent, leaf, path) from problem
        if self._is_root and (member.uid, member.gid) != self._given:
            self._own(leaf, member.uid, member.gid, parent)
        os.utime(leaf, ns=(member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
        self.links += 1
        if self.book:
            self.book.add(path, Type.SYMLINK, member.target)
        self._count(_BLOCK)

    def _hard_link(self, member: Member) -> None:
        self.directories_of.trim()
        source = normalise(member.target)
        parent, leaf, path = self._place(member)
        source_head, _, source_leaf = source.rpartition(b"/")
        try:
            source_parent = self.directories_of.open(source_head, make=False)
            kind = in_the_way(source_parent, source_leaf) if source_leaf else "directory"
        except FileNotFoundError:
            kind = "nothing"
        if kind == "nothing":
            raise hostile(_NOT_HELD, path, "It was cut or put together wrongly: make a new backup.")
        if kind == "link":
            # Archivers write a hard link to a symbolic link when both names share an inode: it is one more such link.
            self._symbolic_link(member._replace(target=os.readlink(source_leaf, dir_fd=source_parent)))
            return
        if kind != "file":
            raise hostile("a hard link refers to something other than a regular file", path)
        try:
            os.link(source_leaf, leaf, src_dir_fd=source_parent, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError as problem:
            raise occupied(parent, leaf, path) from problem
        self.files += 1
        self.hard_links += 1
        self.bytes += os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_size
        if self.book:
            self.book.add_link(path, source)

    def _special(self, member: Member) -> None:
        if member.type is Type.SOCKET:
            self.note("sockets not kept")
            return
        self._note_lost(member)
        parent, leaf, path = self._place(member)
        kind = {Type.FIFO: stat.S_IFIFO, Type.CHARACTER: stat.S_IFCHR, Type.BLOCK: stat.S_IFBLK}[member.type]
        if self.book:
            self.book.add(path, member.type)
        self.specials += 1
        try:
            os.mknod(leaf, kind | member.mode & 0o777, os.makedev(*member.device), dir_fd=parent)
        except FileExistsError as problem:
            raise occupied(parent, leaf, path) from problem
        except PermissionError:
            self.note("devices not made for lack of privilege")
            return
        if self._is_root:
            self._own(leaf, member.uid, member.gid, parent)
        os.utime(leaf, ns=(member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def _note_lost(self, member: Member) -> None:
        """Links and devices cannot be opened to be given attributes; of those they may have, none is a user's."""
        if member.attributes:
            self.note(NOT_KEPT)

    def _count(self, written: int) -> None:
        self._look_in -= written
        if self._look_in > 0:
            return
        self._look_in = _LOOK_EVERY
        status = os.fstatvfs(self.directories_of.root)
        if status.f_bavail * status.f_frsize < self._reserve:
            raise full(f"less than {format_size(self._reserve)} would stay free")

    def finish(self) -> dict[str, Any]:
        """Apply what the archive says of directories, look at links again, and count."""
        for line in self._through_links:
            path = unescape(line)
            try:
                resolve(self.directories_of.root, path)
            except ValueError as problem:
                raise leads_outside("a symbolic link leads outside the tree through another link", path) from problem
        try:
            self.directories_of.complete(self._dress_directory)
        except OSError as problem:
            raise cannot_write(problem, b"") from problem
        digest = {"digest": self.book.finish()} if self.book else {}
        return {**self.summary(), **digest, "owners_restored": self._is_root and not self._owners_lost()}

    def _owners_lost(self) -> bool:
        return any(what.startswith("owners") for what in self._notes)

    def _dress_directory(
        self, descriptor: int, mode: int, mtime: int, uid: int, gid: int, attributes: Attributes
    ) -> None:
        if self._is_root and uid >= 0:
            self._own(descriptor, uid, gid)
        if not self._is_root and mode & 0o700 != 0o700:
            mode |= 0o700
            self.note("directories made accessible for the drill")
        if attributes:
            restore(descriptor, attributes, mode, self.note, capabilities=False)
        else:
            os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(mtime, mtime))

    def close(self) -> None:
        """Close descriptors and drop temporary files."""
        self.directories_of.close()
        for spool in (self._through_links, self._spool, self.book):
            if spool:
                spool.close()
