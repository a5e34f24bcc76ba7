"""zip archives built field by field, so that each of them can be wrong in one way."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from restore_drill.archives.members import Type
from restore_drill.testing.archive import Entry

UNIX, FAT = 3, 0
STORED, DEFLATED = 0, 8
UTF8 = 0x800
_KINDS = {
    Type.FILE: stat.S_IFREG, Type.DIRECTORY: stat.S_IFDIR, Type.SYMLINK: stat.S_IFLNK, Type.FIFO: stat.S_IFIFO,
    Type.SOCKET: stat.S_IFSOCK, Type.CHARACTER: stat.S_IFCHR, Type.BLOCK: stat.S_IFBLK,
}  # fmt: skip


@dataclass
class Part:
    """One member as it should be; ``local`` and ``central`` replace fields of the two records."""

    name: bytes
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    host: int = UNIX
    flags: int = 0
    method: int = DEFLATED
    packed: bytes | None = None
    attributes: int | None = None
    extra: bytes = b""
    descriptor: bytes = b""
    behind: bytes = b""
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method != DEFLATED:
            return self.data
        deflate = zlib.compressobj(wbits=-15)
        return deflate.compress(self.data) + deflate.flush()

    def fields(self) -> dict[str, Any]:
        body = self.body()
        return {
            "name": self.name, "flags": self.flags, "method": self.method, "crc": zlib.crc32(self.data),
            "packed": len(body), "size": len(self.data), "extra": self.extra, "disk": 0,
        }  # fmt: skip


def local_record(part: Part) -> bytes:
    it = {**part.fields(), **part.local}
    numbers = (20, it["flags"], it["method"], 0, 0x5C21, it["crc"], it["packed"], it["size"])
    lengths = (len(it["name"]), len(it["extra"]))
    head = struct.pack("<4s5H3L2H", b"PK\x03\x04", *numbers, *lengths) + it["name"] + it["extra"]
    return head + part.body() + part.descriptor + part.behind


def central_record(part: Part, start: int) -> bytes:
    it = {**part.fields(), "start": start, **part.central}
    attributes = part.mode << 16 if part.attributes is None else part.attributes
    numbers = (20, part.host, 20, it["flags"], it["method"], 0, 0x5C21, it["crc"], it["packed"], it["size"])
    lengths = (len(it["name"]), len(it["extra"]), 0)
    head = struct.pack("<4s2B5H3L5H2L", b"PK\x01\x02", *numbers, *lengths, it["disk"], 0, attributes, it["start"])
    return head + it["name"] + it["extra"]


def build(
    parts: Iterable[Part], *, comment: bytes = b"", order: Sequence[int] | None = None, end: Mapping[str, int] = {}
) -> bytes:
    """An archive; ``order`` is that of the directory, ``end`` replaces fields of its last record."""
    parts, data, starts = list(parts), b"", []
    for part in parts:
        starts.append(len(data))
        data += local_record(part)
    directory = b"".join(central_record(parts[at], starts[at]) for at in order or range(len(parts)))
    it = {"disk": 0, "first": 0, "here": len(parts), "entries": len(parts), "size": len(directory), "start": len(data)}
    it |= end
    return data + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", *it.values(), len(comment)) + comment


def extra(kind: int, data: bytes) -> bytes:
    """One extra field."""
    return struct.pack("<2H", kind, len(data)) + data


def time_field(seconds: int) -> bytes:
    """Info-ZIP's time of change."""
    return extra(0x5455, b"\x01" + struct.pack("<l", seconds))


def of_entries(entries: Sequence[Entry]) -> bytes:
    """An archive as Info-ZIP writes it of these members."""
    parts = []
    for member, data in entries:
        name = member.name + b"/" if member.type is Type.DIRECTORY and not member.name.endswith(b"/") else member.name
        content = member.target if member.type is Type.SYMLINK else data
        method = STORED if member.type is not Type.FILE else DEFLATED
        time = time_field(member.mtime // 10**9)
        parts.append(Part(name, content, _KINDS[member.type] | member.mode, method=method, extra=time))
    return build(parts)


def of_tree(tree: Mapping[str, bytes], when: datetime) -> bytes:
    """An archive of these files."""
    time = time_field(int(when.timestamp()) - 60)
    return build(Part(name.encode(), data, extra=time) for name, data in tree.items())
