"""What bytes are, told by how they begin; names and endings are never believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from restore_drill.archives.base import Archive
from restore_drill.codecs.base import Codec
from restore_drill.registry import load, names
from restore_drill.secrets import SecretReference

Decrypt = Mapping[str, Mapping[str, SecretReference]]


@cache
def _codecs() -> tuple[type[Codec], ...]:
    return tuple(load("codecs", name) for name in names("codecs"))


@cache
def _archives() -> tuple[type[Archive], ...]:
    return tuple(load("archives", name) for name in names("archives"))


def codec_detector(decrypt: Decrypt, fixed: tuple[str, ...] | None = None) -> Callable[[bytes, int], Codec | None]:
    """How to choose the codec of a layer: by its first bytes, or by the catalogue's own list.

    Args:
        decrypt: Key material by format.
        fixed: The layers from the outside in, where the catalogue states them.
    """

    def by_bytes(head: bytes, depth: int) -> Codec | None:  # noqa: ARG001 - the other detector needs it
        for kind in _codecs():
            if kind.recognises(head):
                return kind(decrypt.get(kind.name))
        return None

    def by_list(head: bytes, depth: int) -> Codec | None:  # noqa: ARG001 - as above
        if fixed is None or depth >= len(fixed):
            return None
        kind: type[Codec] = load("codecs", fixed[depth])
        return kind(decrypt.get(kind.name))

    return by_bytes if fixed is None else by_list


def archive_of(head: bytes) -> str | None:
    """The archive format that a stream with these first bytes has, or ``None``."""
    return next((kind.name for kind in _archives() if kind.recognises(head)), None)


def describe(head: bytes) -> str:
    """What unrecognised first bytes look like to a person."""
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head.strip(b"\0"):
        return "zero bytes" if head else "nothing"
    for beginning, name in (
        (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "an XML document"),
        (b"<error", "an error document of S3"), (b"{", "a JSON document"), (b"[", "a JSON document"),
        (b"sqlite format 3\0", "an SQLite database"), (b"\x1f\x8b", "gzip"), (b"\xfd7zxz", "xz"), (b"bzh", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "zstd"), (b"pk\x03\x04", "a zip archive"), (b"age-encryption.org/", "an age file"),
        (b"-----begin pgp", "an OpenPGP message"), (b"salted__", "an openssl enc file"),
        (b"pgdmp", "a pg_dump archive"),
        (b"redis", "a Redis dump"), (b"--", "an SQL script of another kind"),
    ):  # fmt: skip
        if text.startswith(beginning):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive"
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:512])
    return "plain text" if printable > 0.95 * min(len(head), 512) else "unknown binary data"
