"""What bytes are, told by how they begin; names and endings are never believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from restore_drill.archives.base import Archive
from restore_drill.codecs.base import Codec, Given, StagedCodec
from restore_drill.registry import load, names

Decrypt = Mapping[str, Given]


@cache
def _codecs() -> tuple[type[Codec], ...]:
    return tuple(load("codecs", name) for name in names("codecs"))


@cache
def _archives() -> tuple[type[Archive], ...]:
    return tuple(load("archives", name) for name in names("archives"))


def codec_detector(
    decrypt: Decrypt, fixed: tuple[str, ...] | None = None, *, files: bool = True
) -> Callable[[bytes, int], Codec | None]:
    """How to choose the codec of a layer: by its first bytes, or by the catalogue's own list.

    Args:
        decrypt: Key material by format.
        fixed: The layers from the outside in, where the catalogue states them.
        files: What is restored may be a file; else an archive that could be a layer around one is none.
    """

    def by_bytes(head: bytes, depth: int) -> Codec | None:  # noqa: ARG001 - the other detector needs it
        for kind in _codecs():
            if kind.recognises(head) and (files or not _holds_files(kind)):
                return kind(decrypt.get(kind.name))
        return None

    def by_list(head: bytes, depth: int) -> Codec | None:  # noqa: ARG001 - as above
        if fixed is None or depth >= len(fixed):
            return None
        kind: type[Codec] = load("codecs", fixed[depth])
        return kind(decrypt.get(kind.name))

    return by_bytes if fixed is None else by_list


def _holds_files(kind: type[Codec]) -> bool:
    return issubclass(kind, StagedCodec) and kind.holds_files


def archive_of(head: bytes) -> str | None:
    """The archive format that a stream with these first bytes has, or ``None``."""
    return next((kind.name for kind in _archives() if kind.recognises(head)), None)


_UNPACK_BY_HAND = "Until then unpack and test it by hand."
_REPACK = f"Let the backup job write tar, zip, or the data itself, compressed by gzip, xz or zstd. {_UNPACK_BY_HAND}"
_RECOMPRESS = f"Let the backup job compress with gzip, xz, zstd, bzip2 or lz4. {_UNPACK_BY_HAND}"
_PACKET = "Let the backup job encrypt it (gpg -e or -c), or sign it beside (gpg --detach-sign), not inside a message."
_IMAGE = "An image of a disk is not read here: back up the files or the database in it."
#: Formats that are known by their first bytes and not read: magic → name and what to do.
_UNREAD: dict[bytes, tuple[str, str]] = {
    b"Rar!\x1a\x07": ("a rar archive", _REPACK),
    b"MSCF\0\0\0\0": ("a cabinet (cab)", _REPACK),
    b"xar!": ("a xar archive", _REPACK),
    b"!<arch>\ndebian-binary": ("a Debian package", _REPACK),
    b"!<arch>\n": ("an ar archive", _REPACK),
    b"070701": ("a cpio archive", _REPACK),
    b"070702": ("a cpio archive", _REPACK),
    b"070707": ("a cpio archive", _REPACK),
    b"\xc7\x71": ("a cpio archive", _REPACK),
    b"\x71\xc7": ("a cpio archive", _REPACK),
    b"\xed\xab\xee\xdb": ("an RPM package", _REPACK),
    b"PK\x07\x08": ("the first part of a split zip archive", "Join the parts: zip -s 0 FIRST.zip --out WHOLE.zip."),
    b"PK00PK": ("a zip archive with a mark of splitting", "Let the backup job write it without zip -s."),
    b"LZIP": ("lzip", _RECOMPRESS),
    b"\x89LZO\0\r\n\x1a\n": ("lzop", _RECOMPRESS),
    b"\x1f\x9d": ("compress (.Z)", _RECOMPRESS),
    b"\x1f\xa0": ("compress -H (.Z)", _RECOMPRESS),
    b"]\0\0": ("lzma (.lzma)", _RECOMPRESS),
    b"\xa3\x01": ("an OpenPGP message that is not encrypted", _PACKET),
    b"\xa3\x02": ("an OpenPGP message that is not encrypted", _PACKET),
    b"\xa3\x03": ("an OpenPGP message that is not encrypted", _PACKET),
    b"\x1f\x1e": ("pack (.z)", _RECOMPRESS),
    b"LRZI": ("lrzip", _RECOMPRESS),
    b"\xff\x06\0\0sNaPpY": ("snappy", _RECOMPRESS),
    b"QFI\xfb": ("a qcow2 disk image", _IMAGE),
    b"conectix": ("a VHD disk image", _IMAGE),
    b"vhdxfile": ("a VHDX disk image", _IMAGE),
    b"KDMV": ("a VMDK disk image", _IMAGE),
    b"LUKS\xba\xbe": ("a LUKS volume", _IMAGE),
    b"hsqs": ("a squashfs image", _IMAGE),
    b"TAPE\0": ("a Microsoft tape (NTBackup, SQL Server .bak)", "Restore it with the product that wrote it."),
}


def unread(head: bytes) -> tuple[str, str] | None:
    """A format that is known and not read: its name, and what to do about it."""
    return next((found for magic, found in _UNREAD.items() if head.startswith(magic)), None)


def describe(head: bytes) -> str:
    """What unrecognised first bytes look like to a person."""
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head.strip(b"\0"):
        return "zero bytes" if head else "nothing"
    if known := unread(head):
        return known[0]
    for beginning, name in (
        (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "an XML document"),
        (b"<error", "an error document of S3"), (b"{", "a JSON document"), (b"[", "a JSON document"),
        (b"sqlite format 3\0", "an SQLite database"), (b"\x1f\x8b", "gzip"), (b"\xfd7zxz", "xz"), (b"bzh", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "zstd"), (b"pk\x03\x04", "a zip archive"), (b"age-encryption.org/", "an age file"),
        (b"-----begin pgp", "an OpenPGP message"), (b"salted__", "an openssl enc file"),
        (b"pgdmp", "a pg_dump archive"), (b"\x04\x22m\x18", "lz4"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"redis", "a Redis dump"), (b"--", "an SQL script of another kind"),
    ):  # fmt: skip
        if text.startswith(beginning):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive"
    return "plain text" if is_text(head) else "unknown binary data"


def is_text(head: bytes) -> bool:
    """Whether a person could read these first bytes."""
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:512])
    return printable > 0.95 * min(len(head), 512)
