"""7z as a tree (:mod:`restore_drill.sevenzips`): staged in the work directory, then read in one pass.

What comes back: contents, symbolic links, permission bits (where the archive was made on Unix) and times to 100 ns. The
format has no owners and no hard links. Names are UTF-16 in it: what was no UTF-8 on the system that wrote it was
changed then, and comes back as it was changed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import ClassVar

from restore_drill.archives.base import Archive
from restore_drill.archives.members import Member, Tree, Type
from restore_drill.archives.names import MAX_PATH, hostile
from restore_drill.disk import Workspace
from restore_drill.sevenzips.header import MAGIC, File, bad
from restore_drill.sevenzips.reader import SevenZipReader

_TYPES = {
    stat.S_IFLNK: Type.SYMLINK, stat.S_IFDIR: Type.DIRECTORY, stat.S_IFIFO: Type.FIFO, stat.S_IFSOCK: Type.SOCKET,
    stat.S_IFCHR: Type.CHARACTER, stat.S_IFBLK: Type.BLOCK,
}  # fmt: skip
_READ_ONLY = 0x01
#: From 1601, where the time of Windows begins, in its units of 100 ns.
_EPOCH_OF_WINDOWS = 116_444_736_000_000_000
_DRIVE = re.compile(rb"[A-Za-z]:")


class SevenZipArchive(Archive):
    """The 7z archive."""

    name: ClassVar[str] = "7z"
    suffixes: ClassVar[tuple[str, ...]] = (".7z",)

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the six magic bytes."""
        return head.startswith(MAGIC)

    def unpack(self, chunks: Iterator[bytes], tree: Tree) -> None:
        """Stage the stream, then write every member into the tree."""
        whole = (self.workspace or Workspace.default()).stage(chunks)
        try:
            reader = SevenZipReader(whole, tree.limits.members)
            if not reader.checked:
                tree.note("a content without a checksum of its own")
            for each, size, content in reader.members(tree.limits.ratio):
                _add(each, size, content, tree)
        finally:
            whole.close()


def _add(each: File, size: int, content: Iterator[bytes], tree: Tree) -> None:
    name = each.name
    if each.is_anti:
        raise hostile(
            "a member stands for one to be deleted", name, "Make a full archive instead of a differential one."
        )
    if each.is_link_of_windows:
        raise hostile("a member is a link that only Windows understands", name, "Exclude such links from the backup.")
    _refuse_foreign(each)
    kind = Type.FILE if each.is_file else Type.DIRECTORY if each.is_directory else _TYPES.get(stat.S_IFMT(each.mode))
    if kind is None:
        raise hostile("a member is of no known type", name)
    member = Member(name, kind, 0, _mode(each, kind), _mtime(each), os.geteuid(), os.getegid())
    if kind is Type.FILE:
        tree.add(member._replace(size=size, stored=size), content)
        return
    if size > MAX_PATH:
        raise hostile("a link or directory brings more data along than a path can have", name)
    data = b"".join(content)
    if kind is Type.SYMLINK:
        member = member._replace(target=data)
    elif data:
        raise hostile("a member that cannot have any brings data along", name)
    elif kind in (Type.CHARACTER, Type.BLOCK):
        raise hostile("a member is a device, and 7z does not say which", name, "Exclude devices from the backup.")
    tree.add(member)


def _refuse_foreign(each: File) -> None:
    """Names that mean something else on the system that wrote them."""
    if each.mode:
        return
    if b"\\" in each.name:
        raise hostile("a member's name holds a backslash, which divides names where it was written", each.name)
    if _DRIVE.match(each.name):
        raise hostile("a member's name begins with a drive", each.name, "Make the archive with relative names.")


def _mode(each: File, kind: Type) -> int:
    if each.mode:
        return each.mode & 0o7777
    mode = 0o755 if kind is Type.DIRECTORY else 0o644
    return mode & ~0o222 if each.attributes & _READ_ONLY else mode


def _mtime(each: File) -> int:
    """Nanoseconds since the epoch.

    Raises:
        BackupFailed: The time is one that no system has.
    """
    if each.mtime is None:
        return 0
    if each.mtime >= 1 << 63:
        raise bad("damaged: a member's time is out of range")
    return (each.mtime - _EPOCH_OF_WINDOWS) * 100
