"""Write tar archives block by block, honest and hostile ones: nothing is checked, mended or refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from restore_drill.archives.members import Member, Type

BLOCK = 512
END = bytes(2 * BLOCK)
USTAR = b"ustar\00000"
GNU = b"ustar  \0"
V7 = bytes(8)

FLAGS = {
    Type.FILE: b"0", Type.HARDLINK: b"1", Type.SYMLINK: b"2", Type.CHARACTER: b"3",
    Type.BLOCK: b"4", Type.DIRECTORY: b"5", Type.FIFO: b"6",
}  # fmt: skip


def octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    whole = value.to_bytes(width, "big", signed=True)
    return bytes([whole[0] | 0x80]) + whole[1:]


def number(value: int, width: int) -> bytes:
    return octal(value, width) if 0 <= value < 8 ** (width - 1) else base256(value, width)


def header(
    name: bytes,
    kind: bytes = b"0",
    size: int | bytes = 0,
    *,
    mode: int = 0o644,
    mtime: int | bytes = 1_700_000_000,
    uid: int = 0,
    gid: int = 0,
    target: bytes = b"",
    magic: bytes = USTAR,
    device: tuple[int, int] = (0, 0),
    tail: bytes = b"",
) -> bytes:
    """One header block; ``tail`` is what stands from byte 345 on, the prefix of ustar."""
    block = bytearray(BLOCK)
    fields = (
        (0, name), (100, octal(mode, 8)), (108, number(uid, 8)), (116, number(gid, 8)),
        (124, size if isinstance(size, bytes) else number(size, 12)),
        (136, mtime if isinstance(mtime, bytes) else number(mtime, 12)),
        (156, kind), (157, target), (257, magic), (329, octal(device[0], 8)), (337, octal(device[1], 8)), (345, tail),
    )  # fmt: skip
    for at, field in fields:
        block[at : at + len(field)] = field
    return sign(bytes(block))


def sign(block: bytes, *, signed: bool = False) -> bytes:
    """A block with the checksum that fits it."""
    blank = block[:148] + b" " * 8 + block[156:]
    total = sum(memoryview(blank).cast("b")) if signed else sum(blank)
    return block[:148] + b"%06o\0 " % total + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", **fields: object) -> bytes:
    """A header and its data."""
    fields.setdefault("size", len(data))
    return header(name, kind, **fields) + padded(data)  # type: ignore[arg-type]


def pax(records: Mapping[bytes, bytes] | Sequence[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """An extended header for the member that follows (or, with ``g``, for all)."""
    pairs = records.items() if isinstance(records, Mapping) else records
    return member(b"PaxHeaders/x", b"".join(record(key, value) for key, value in pairs), kind)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def long_name(text: bytes, kind: bytes = b"L") -> bytes:
    return member(b"././@LongLink", text + b"\0", kind, magic=GNU)


def archive(*parts: bytes) -> bytes:
    return b"".join(parts) + END


def build(entries: Iterable[tuple[Member, bytes]]) -> bytes:
    """An archive of members as the conformance suite describes them; long names in GNU's way."""
    return archive(*(part for one, data in entries for part in _parts(one, data)))


def _parts(one: Member, data: bytes) -> Iterable[bytes]:
    name = one.name
    if len(name) > 100:
        yield long_name(name)
    yield member(
        name[:100], data, FLAGS[one.type], mode=one.mode, mtime=one.mtime // 10**9, uid=one.uid, gid=one.gid,
        target=one.target, device=one.device, magic=GNU,
    )  # fmt: skip


def header_offsets(data: bytes) -> list[int]:
    """Where the headers of an honest archive lie."""
    offsets, at = [], 0
    while data[at : at + BLOCK].strip(b"\0"):
        offsets.append(at)
        size = int(data[at + 124 : at + 135], 8)
        at += BLOCK + size + -size % BLOCK
    return offsets
