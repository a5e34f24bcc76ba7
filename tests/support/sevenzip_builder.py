"""7z archives built field by field: one stream, stored as it is, and a header that is not compressed."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Sequence

from restore_drill.archives.members import Type
from restore_drill.testing.archive import Entry

_KINDS = {
    Type.FILE: stat.S_IFREG, Type.DIRECTORY: stat.S_IFDIR, Type.SYMLINK: stat.S_IFLNK, Type.FIFO: stat.S_IFIFO,
    Type.SOCKET: stat.S_IFSOCK, Type.CHARACTER: stat.S_IFCHR, Type.BLOCK: stat.S_IFBLK,
}  # fmt: skip
_EPOCH = 116_444_736_000_000_000


def number(value: int) -> bytes:
    """The longest form, which any number fits."""
    return b"\xff" + value.to_bytes(8, "little")


def bits(flags: Sequence[bool]) -> bytes:
    text = "".join("01"[flag] for flag in flags)
    return bytes(int(text[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8))


def of_entries(entries: Sequence[Entry], *, unix: bool = True) -> bytes:
    """An archive of these members."""
    contents = [member.target if member.type is Type.SYMLINK else data for member, data in entries]
    header = b"\x01" + _streams([data for data in contents if data]) + _files(entries, contents, unix=unix) + b"\0"
    data = b"".join(contents)
    start = struct.pack("<QQL", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<L", zlib.crc32(start)) + start + data + header


def _streams(contents: list[bytes]) -> bytes:
    if not contents:
        return b""
    total = number(sum(map(len, contents)))
    packed = b"\x06" + number(0) + number(1) + b"\x09" + total + b"\0"
    folder = b"\x07\x0b" + number(1) + b"\0" + number(1) + b"\x01\0" + b"\x0c" + total + b"\0"
    sizes = b"\x09" + b"".join(number(len(data)) for data in contents[:-1])
    crcs = b"\x0a\x01" + b"".join(struct.pack("<L", zlib.crc32(data)) for data in contents)
    return b"\x04" + packed + folder + b"\x08\x0d" + number(len(contents)) + sizes + crcs + b"\0\0"


def _files(entries: Sequence[Entry], contents: list[bytes], *, unix: bool) -> bytes:
    empty = [not data for data in contents]
    not_directories = [m.type is not Type.DIRECTORY for (m, _), bare in zip(entries, empty, strict=True) if bare]
    names = b"\0" + b"".join((member.name.decode() + "\0").encode("utf-16-le") for member, _ in entries)
    times = b"\x01\0" + b"".join(struct.pack("<Q", _EPOCH + member.mtime // 100) for member, _ in entries)
    modes = b"\x01\0"
    for member, _ in entries:
        mode = (_KINDS[member.type] | member.mode) << 16 | 0x8000
        modes += struct.pack("<L", (mode if unix else 0) | (0x10 if member.type is Type.DIRECTORY else 0x20))
    parts = ((0x0E, bits(empty)), (0x0F, bits(not_directories)), (0x11, names), (0x14, times), (0x15, modes))
    fields = b"".join(bytes([kind]) + number(len(data)) + data for kind, data in parts)
    return b"\x05" + number(len(entries)) + fields + b"\0"
