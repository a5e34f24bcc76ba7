"""zip as a tree (APPNOTE.TXT 6.3.10; :mod:`restore_drill.zips`): staged in the work directory, then read in one pass.

What comes back: contents, symbolic links, permission bits, times (from the Unix or NTFS field where there is one; what
MS-DOS kept has no zone and is taken for UTC) and, from Info-ZIP's field, owners. Names are bytes: UTF-8
where the archive says so, those of the Unix system that wrote it as they are, others translated from code page 437.
A name is never mended: where backslashes or drive letters mean directories, they are refused.
"""

from __future__ import annotations

import os
import re
import stat
from calendar import timegm
from collections.abc import Iterator
from typing import ClassVar

from restore_drill.archives.base import Archive
from restore_drill.archives.members import Member, Tree, Type
from restore_drill.archives.names import MAX_PATH, hostile
from restore_drill.disk import Workspace
from restore_drill.zips.ending import END, MEMBER, bad
from restore_drill.zips.entries import Entry, name_of
from restore_drill.zips.reader import ZipReader

_TYPES = {
    stat.S_IFLNK: Type.SYMLINK, stat.S_IFDIR: Type.DIRECTORY, stat.S_IFIFO: Type.FIFO, stat.S_IFSOCK: Type.SOCKET,
    stat.S_IFCHR: Type.CHARACTER, stat.S_IFBLK: Type.BLOCK,
}  # fmt: skip
#: Extra fields: NTFS times (APPNOTE 4.5.5), Info-ZIP's universal time and Unix owners ("UT" and "ux").
_NTFS, _TIME, _OWNER = 0x000A, 0x5455, 0x7875
_READ_ONLY = 0x01
_NANO = 10**9
#: From 1601, where the time of Windows begins, in its units of 100 ns.
_EPOCH_OF_WINDOWS = 116_444_736_000_000_000
_DRIVE = re.compile(rb"[A-Za-z]:")


class ZipArchive(Archive):
    """The zip archive."""

    name: ClassVar[str] = "zip"
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the first member's mark, or that of the end where there is no member."""
        return head.startswith((MEMBER, END))

    def unpack(self, chunks: Iterator[bytes], tree: Tree) -> None:
        """Stage the stream, then write every member into the tree."""
        whole = (self.workspace or Workspace.default()).stage(chunks)
        try:
            for entry, content in ZipReader(whole).members(tree.limits.members, tree.limits.ratio):
                _add(entry, content, tree)
        finally:
            whole.close()


def _add(entry: Entry, content: Iterator[bytes], tree: Tree) -> None:
    name, remark = name_of(entry)
    if remark:
        tree.note(remark)
    _refuse_foreign(entry, name)
    kind = Type.FILE if entry.is_file else Type.DIRECTORY if entry.is_directory else _TYPES.get(stat.S_IFMT(entry.mode))
    if kind is None:
        raise hostile("a member is of no known type", name)
    mode, (uid, gid) = _mode(entry, kind), _owner(entry)
    member = Member(name, kind, 0, mode, _mtime(entry), uid, gid)
    if kind is Type.FILE:
        tree.add(member._replace(size=entry.size, stored=entry.size), content)
        return
    data = _small(entry, content, name)
    if kind is Type.SYMLINK:
        member = member._replace(target=data)
    elif data:
        raise hostile("a member that cannot have any brings data along", name)
    elif kind in (Type.CHARACTER, Type.BLOCK):
        raise hostile("a member is a device, and zip does not say which", name, "Exclude devices from the backup.")
    tree.add(member)


def _refuse_foreign(entry: Entry, name: bytes) -> None:
    """Names that mean something else on the system that wrote them."""
    if entry.on_unix:
        return
    if b"\\" in name:
        raise hostile(
            "a member's name is divided by backslashes, which the format forbids",
            name,
            "Let the backup job use a tool that writes '/' (.NET 4.6.1 or later, 7-Zip, tar).",
        )
    if _DRIVE.match(name):
        raise hostile("a member's name begins with a drive", name, "Make the archive with relative names.")


def _small(entry: Entry, content: Iterator[bytes], name: bytes) -> bytes:
    if entry.size > MAX_PATH:
        raise hostile("a link or directory brings more data along than a path can have", name)
    return b"".join(content)


def _mode(entry: Entry, kind: Type) -> int:
    if entry.mode:
        return entry.mode & 0o7777 if kind is not Type.FILE or stat.S_IFMT(entry.mode) != stat.S_IFIFO else 0o600
    mode = 0o755 if kind is Type.DIRECTORY else 0o644
    return mode & ~0o222 if entry.attributes & _READ_ONLY and not entry.on_unix else mode


def _mtime(entry: Entry) -> int:
    """Nanoseconds since the epoch.

    Raises:
        BackupFailed: The time is one that no system has.
    """
    unix = entry.extra.get(_TIME, b"")
    if len(unix) >= 5 and unix[0] & 1:
        return int.from_bytes(unix[1:5], "little", signed=True) * _NANO
    windows = entry.extra.get(_NTFS, b"")
    if len(windows) >= 16 and windows[4:8] == b"\x01\0\x18\0":
        stamp = int.from_bytes(windows[8:16], "little")
        if stamp >= 1 << 63:
            raise bad("damaged: a member's time is out of range")
        return (stamp - _EPOCH_OF_WINDOWS) * 100
    time, date = entry.stamp
    day = (1980 + (date >> 9), max(date >> 5 & 15, 1), max(date & 31, 1))
    return timegm((*day, time >> 11, time >> 5 & 63, (time & 31) * 2)) * _NANO if day[1] <= 12 else 0


def _owner(entry: Entry) -> tuple[int, int]:
    """User and group; the drill's own where the archive does not say."""
    field = entry.extra.get(_OWNER, b"")
    if field[:1] == b"\x01":
        user, rest = _counted(field[1:])
        group, _ = _counted(rest)
        if user and group:
            return int.from_bytes(user, "little"), int.from_bytes(group, "little")
    return os.geteuid(), os.getegid()


def _counted(data: bytes) -> tuple[bytes, bytes]:
    """What a byte says the length of, and what follows it."""
    size = data[0] if data else 0
    return data[1 : 1 + size], data[1 + size :]
