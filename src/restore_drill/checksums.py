r"""Recorded digests: the lines that ``sha256sum`` and its relatives write, and which bytes they speak of.

Formats: GNU coreutils (``<hex>  <name>``, ``<hex> *<name>``, a leading backslash when the name is escaped), BSD
``--tag`` (``SHA256 (name) = <hex>``), a bare digest, with LF or CRLF; blank lines and ``#`` comments are skipped.
A line that is none of these is an error: a manifest that is read past its damage proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: Hexadecimal digits → the algorithm that a digest of this length means unless something else is said.
_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
#: Algorithms for which collisions can be made; enough only where the catalogue says so.
WEAK = frozenset({"md5", "sha1"})
#: Endings of files that hold digests, strongest first.
SIDECAR_SUFFIXES = (".sha512", ".sha256", ".sha512sum", ".sha256sum", ".sha1", ".md5")
#: Names of manifests, strongest first.
MANIFEST_NAMES = ("SHA512SUMS", "SHA256SUMS", "SHA1SUMS", "MD5SUMS")

_GNU = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9A-Fa-f]+) [ *](?P<name>.+)")
_BSD = re.compile(r"(?P<algorithm>[A-Za-z0-9-]+) \((?P<name>.+)\) ?= ?(?P<digest>[0-9A-Fa-f]+)")
_BARE = re.compile(r"(?P<digest>[0-9A-Fa-f]{32,128})(?:\s+-)?")
_ETAG = re.compile(r'"?[0-9A-Fa-f]{32}-\d+"?(?:\s.*)?')
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\r": "\r"}


@dataclass(frozen=True, slots=True)
class RecordedDigest:
    """One line: what the bytes called ``name`` should hash to. ``name`` is empty for a bare digest."""

    name: str
    algorithm: str
    hexdigest: str

    @property
    def basename(self) -> str:
        """The last component of the name."""
        return self.name.replace("\\", "/").rsplit("/", 1)[-1]


def parse_manifest(text: str, algorithm_hint: str = "") -> list[RecordedDigest]:
    """Read a sidecar or manifest.

    Args:
        text: Its whole content.
        algorithm_hint: The algorithm its own name states (``sha256``), checked against every line.

    Raises:
        BackupFailed: It is empty, a line cannot be read, an algorithm is unknown, or a name is listed twice with
            different digests (stage ``verify``).
    """
    found: dict[str, RecordedDigest] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        body = line.rstrip("\r")
        if not body.strip() or body.startswith("#"):
            continue
        digest = _parse_line(body, number, algorithm_hint)
        if found.setdefault(digest.name, digest) != digest:
            raise _malformed(f"line {number} lists a name again, with another digest", (digest.name,))
    if not found:
        raise _malformed("it holds no digest line")
    return list(found.values())


def algorithm_of_name(name: str) -> str:
    """The algorithm that a sidecar's or manifest's own name states, or ``""``."""
    match = re.search(r"(sha512|sha384|sha256|sha224|sha1|md5)", name, re.IGNORECASE)
    return match[1].lower() if match else ""


def strip_suffix(name: str, suffixes: Iterable[str]) -> str | None:
    """The name without one of these endings (the longest that fits), or ``None``."""
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return None


def _parse_line(line: str, number: int, hint: str) -> RecordedDigest:
    if match := _BSD.fullmatch(line):
        return _digest(match["name"], match["digest"], number, match["algorithm"].lower().replace("-", ""))
    if match := _GNU.fullmatch(line):
        name = _unescape(match["name"]) if match["escaped"] else match["name"]
        return _digest("" if name == "-" else name, match["digest"], number, hint)
    if match := _BARE.fullmatch(line.strip()):
        return _digest("", match["digest"], number, hint)
    if _ETAG.fullmatch(line.strip()):
        raise _malformed(f"line {number} is a multipart ETag of S3, which is not a digest of the object")
    raise _malformed(f"line {number} is not a digest line")


def _digest(name: str, digest: str, number: int, stated: str) -> RecordedDigest:
    by_length = _BY_LENGTH.get(len(digest))
    if by_length is None:
        raise _malformed(f"line {number} has a digest of {len(digest)} hexadecimal digits, which no algorithm gives")
    if stated and stated not in _BY_LENGTH.values():
        raise _malformed(f"line {number} uses {stated}, an algorithm that is not known here")
    if stated and stated != by_length:
        raise _malformed(f"line {number} should be {stated} but has the length of {by_length}")
    return RecordedDigest(name.removeprefix("./"), by_length, digest.lower())


def _unescape(name: str) -> str:
    return re.sub(r"\\[\\nr]", lambda match: _ESCAPES[match[0]], name)


def _malformed(why: str, details: tuple[str, ...] = ()) -> BackupFailed:
    return BackupFailed(
        f"the recorded digest cannot be used: {why}",
        remedy="Write it with sha256sum when the backup is made.",
        stage=Stage.VERIFY,
        details=details,
    )
