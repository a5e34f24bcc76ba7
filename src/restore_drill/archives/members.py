"""What an archive holds, member by member, and the rules every tree applies before it accepts one."""

from __future__ import annotations

import stat
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from restore_drill.archives.attributes import KEPT, NOT_KEPT, Attributes
from restore_drill.archives.names import hostile
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.quantities import format_size

if TYPE_CHECKING:
    from restore_drill.archives.dumpdir import Listings
    from restore_drill.listings import Listing

Buffer = bytes | bytearray | memoryview

#: Apparent size is not judged against what is stored below this many bytes (as for decompression).
_RATIO_FREE = 256 << 20
ATTRIBUTES_DROPPED = NOT_KEPT
_NO_ATTRIBUTES: Attributes = {}
_SET_ID_OR_STICKY = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


class Type(StrEnum):
    """What a member is; the value stands for it in the tree digest."""

    FILE = "f"
    DIRECTORY = "d"
    SYMLINK = "l"
    HARDLINK = "h"
    FIFO = "p"
    CHARACTER = "c"
    BLOCK = "b"
    SOCKET = "s"


SPECIAL = frozenset({Type.FIFO, Type.CHARACTER, Type.BLOCK})


class Member(NamedTuple):
    """One member as an archive or a directory describes it.

    Attributes:
        name: As it stands there, before any check.
        size: Apparent bytes of a file.
        mode: Permission, set-id and sticky bits.
        mtime: Nanoseconds since the epoch.
        target: Of a symbolic link its text, of a hard link the name of an earlier member.
        device: Major and minor number.
        stored: Bytes of data that the archive holds for it.
        extents: Of a sparse file where its data lies, as (offset, length) ascending; ``None`` when it has no holes.
        attributes: Extended attributes and access lists that it carries, by the kernel's names.
    """

    name: bytes
    type: Type
    size: int = 0
    mode: int = 0o644
    mtime: int = 0
    uid: int = 0
    gid: int = 0
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    stored: int = 0
    extents: Iterable[tuple[int, int]] | None = None
    attributes: Attributes = _NO_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """What a tree accepts; see ``limits`` in the catalogue.

    Attributes:
        bytes: Most bytes of file data, ``None`` for as many as the disk holds.
        ratio: Most apparent bytes of files with holes, per byte the archive holds, beyond 256 MiB.
        concatenated: Read on after the end of the first archive.
    """

    members: int = 10_000_000
    bytes: int | None = None
    ratio: int = 1000
    outside_links: bool = False
    setuid: bool = False
    special_files: bool = False
    concatenated: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build them from the catalogue's ``limits`` as JSON values; unknown keys are ignored, ``allow`` is a list."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        return cls(**given, **{name.replace("-", "_"): True for name in values.get("allow", ())})


class Tree(ABC):
    """Takes members one by one: the rules, the limits and the counting that every kind of tree shares."""

    def __init__(self, limits: TreeLimits) -> None:
        self.limits = limits
        self.files = self.directories = self.links = self.hard_links = self.specials = self.bytes = 0
        self._members = self._data = self._apparent = self._stored = 0
        self._notes: Counter[str] = Counter()
        #: Where the lists of an incremental archive go, ``None`` when nobody will apply them.
        self.listings: Listings | None = None

    def list(self, listing: Listing) -> None:
        """Take in what an incremental archive says one of its directories held."""
        self.note("directories with the list of an incremental archive")
        if self.listings is not None:
            self.listings.add(listing)

    def add(self, member: Member, data: Iterable[Buffer] = ()) -> None:
        """Take one member in.

        Args:
            member: What the archive says of it.
            data: The bytes the archive holds for it, in pieces; exactly ``member.stored`` bytes, consumed here.

        Raises:
            BackupFailed: It is hostile, a duplicate, or exceeds a limit (stage ``unpack``).
            CouldNotVerify: It cannot be stored here (a full disk).
        """
        self.admit(member)
        self.store(member, data)

    def admit(self, member: Member) -> None:
        """Judge a member by its description alone and count it."""
        self._members += 1
        if self._members > self.limits.members:
            raise _exceeds(f"more than {self.limits.members} members", "limits.members")
        kind = member.type
        if kind is Type.FILE:
            self._admit_file(member)
        elif kind in SPECIAL and not self.limits.special_files:
            raise hostile(
                "a member is a device or a FIFO",
                member.name,
                "If they belong there, set limits.allow: [special-files]; else exclude them from the backup.",
            )

    def _admit_file(self, member: Member) -> None:
        if member.mode & _SET_ID_OR_STICKY and not self.limits.setuid:
            raise hostile(
                "a file has a set-user-id, set-group-id or sticky bit",
                member.name,
                "If such programs belong there, set limits.allow: [setuid].",
            )
        size = member.size
        self.files += 1
        self.bytes += size
        self._data += member.stored
        if self.limits.bytes is not None and self._data > self.limits.bytes:
            raise _exceeds(f"more than the {format_size(self.limits.bytes)} that limits.bytes allows", "limits.bytes")
        self._stored += 512 + member.stored
        if member.extents is not None:
            self._apparent += size
            if self._apparent > max(_RATIO_FREE, self.limits.ratio * self._stored):
                raise _exceeds(f"files with holes of more than {self.limits.ratio} times their data", "limits.ratio")

    @abstractmethod
    def store(self, member: Member, data: Iterable[Buffer]) -> None:
        """Put an admitted member where it belongs."""

    @abstractmethod
    def put_file(self, member: Member, data: Iterable[Buffer]) -> tuple[bytes, str]:
        """Store an admitted file; returns its path and its digest, ``""`` where none is computed.

        Nothing else changes, so that a forked copy of the tree may do it and this one :meth:`record_file` the result.
        """

    @abstractmethod
    def record_file(self, path: bytes, size: int, digest: str) -> None:
        """Remember what :meth:`put_file` returned."""

    def note(self, what: str, count: int = 1) -> None:
        """Remember something that changes no verdict; equal remarks are counted together."""
        self._notes[what] += count

    def take_notes(self) -> dict[str, int]:
        """The remarks since the last call, to be noted elsewhere."""
        taken, self._notes = dict(self._notes), Counter()
        return taken

    @abstractmethod
    def finish(self) -> dict[str, Any]:
        """Complete the tree after its last member and say what is in it (JSON values).

        ``files`` (every name of a hard-linked file counts), ``directories`` below the root, ``links`` (symbolic),
        ``hard_links``, ``attributes`` (members that got extended attributes or access lists), ``bytes`` (apparent),
        ``members``, ``notes``, and ``digest`` where it was asked for.

        Raises:
            BackupFailed: The tree as a whole breaks a rule.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of descriptors and temporary files; may be called at any time, and again."""

    def summary(self) -> dict[str, Any]:
        """The counts that :meth:`finish` returns."""
        return {
            "files": self.files,
            "directories": self.directories,
            "links": self.links,
            "hard_links": self.hard_links,
            "attributes": self._notes[KEPT],
            "bytes": self.bytes,
            "members": self._members,
            "notes": [f"{what}: {count}" for what, count in sorted(self._notes.items()) if what != KEPT],
        }


def _exceeds(what: str, option: str) -> BackupFailed:
    return BackupFailed(
        f"unpacking it would give {what}",
        remedy=f"If this backup really is like that, raise {option} of the target.",
        stage=Stage.UNPACK,
    )
