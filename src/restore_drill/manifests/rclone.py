"""What ``rclone hashsum`` writes where it is not what ``sha256sum`` would: digests in base64, and marks of no digest.

Source: the documentation of ``rclone hashsum`` and the output of rclone 1.60. In hexadecimal and with a digest of every
file its lines are those of :mod:`restore_drill.manifests.sums`. A file whose digest the remote does not have is marked
``UNSUPPORTED``, ``ERROR`` or with blanks, which verifies nothing: such a list is refused. Names of the local backend
have control characters as their Unicode pictures (``␊``), quoted by ``‛`` where the picture itself is meant.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import ClassVar

from restore_drill import digests
from restore_drill.checksums import algorithm_of_name
from restore_drill.errors import BackupFailed
from restore_drill.manifests.base import Listing, Manifest, ManifestFormat, Source, entry_of, text_of, unusable

_REMEDY = "Write it with digests of every file: rclone hashsum sha256 --download REMOTE:PATH."
_BASE64 = re.compile(r"(?P<digest>[A-Za-z0-9_-]{22,86}={0,2})  (?P<name>.+)")
_MARK = re.compile(r" *(?:UNSUPPORTED|ERROR) *  (?P<name>.+)| {10,}(?P<blank>\S.*)")
_HEX = re.compile(r"[0-9a-f]{32,128}")
_PICTURE = re.compile("\u201b(.)|([\u2400-\u2421])", re.DOTALL)


class RcloneManifest(ManifestFormat):
    """``rclone hashsum sha256 --base64``."""

    name: ClassVar[str] = "rclone"
    names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the first line: a digest in base64, or a mark instead of one."""
        line = text_of(head.partition(b"\n")[0].rstrip(b"\r"))
        if _MARK.fullmatch(line):
            return True
        match = _BASE64.fullmatch(line)
        return match is not None and _hex(match["digest"]) != ""

    def read(self, source: Source) -> Manifest:
        """Read all lines."""
        listing = Listing(source, _REMEDY)
        hint = algorithm_of_name(source.name)
        for number, body in source.lines(_REMEDY):
            if mark := _MARK.fullmatch(body):
                raise unusable(
                    "it has no digest of a file: the remote could not give one",
                    mark["name"] or mark["blank"], remedy=_REMEDY,
                )  # fmt: skip
            match = _BASE64.fullmatch(body)
            digest = _hex(match["digest"]) if match else ""
            if match is None or not digest:
                raise _malformed(f"line {number} is none of rclone's")
            algorithm = digests.of_length(digests.canonical(hint), len(digest)) if hint else ""
            algorithm = algorithm or digests.BY_LENGTH.get(len(digest), "")
            if not algorithm:
                raise _malformed(f"line {number} has a digest of a length that no algorithm gives")
            listing.add(_PICTURE.sub(_plain, match["name"]), entry_of([(algorithm, digest)]))
        if not listing.entries:
            raise _malformed("it lists no file")
        return Manifest(source.name, listing.entries, notes=listing.notes)


def _hex(text: str) -> str:
    """A digest in URL-safe base64 (RFC 4648, section 5) in hexadecimal; ``""`` if it is none, or is hexadecimal."""
    if _HEX.fullmatch(text) or len(text) % 4:
        return ""
    try:
        value = base64.urlsafe_b64decode(text).hex()
    except (binascii.Error, ValueError):
        return ""
    return value if len(value) in digests.BY_LENGTH else ""


def _plain(match: re.Match[str]) -> str:
    quoted, picture = match.groups()
    if quoted:
        return quoted
    code = ord(picture) - 0x2400
    return "\x7f" if code == 0x21 else chr(code)


def _malformed(why: str) -> BackupFailed:
    return unusable(why, remedy=_REMEDY)
