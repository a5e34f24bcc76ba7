r"""Recorded digests: the lines that ``sha256sum`` and its relatives write, and which bytes they speak of.

Formats: GNU coreutils (``<hex>  <name>``, ``<hex> *<name>``), BSD and ``--tag`` (``SHA256 (name) = <hex>``), openssl
dgst (``SHA2-256(name)= <hex>``), a bare digest, with LF or CRLF; a leading backslash where the name is escaped
(coreutils manual, md5sum invocation). Blank lines and ``#`` comments are skipped.
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
#: Endings that stand for ``.tar`` and the ending of a codec.
_SHORT = {".tgz": ".gz", ".txz": ".xz", ".tzst": ".zst", ".tbz": ".bz2", ".tbz2": ".bz2"}

_GNU = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9A-Fa-f]+) [ *](?P<name>.+)", re.DOTALL)
_BSD = re.compile(
    r"(?P<escaped>\\?)(?P<algorithm>[A-Za-z0-9-]+) ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9A-Fa-f]+)", re.DOTALL
)
_BARE = re.compile(r"(?P<digest>[0-9A-Fa-f]{32,128})(?:\s+-)?")
_ETAG = re.compile(r'"?[0-9A-Fa-f]{32}-\d+"?(?:\s.*)?')
#: What a file's own name may say of the algorithm, known here or not.
_ALGORITHM = re.compile(
    r"sha(?:512|384|256|224|1)|md5|sha3[-_]?\d*|blake(?:2[bs]?|3)|(?<![^.])b[23](?=(?:sums?)?\Z)", re.I
)
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\r": "\r"}


@dataclass(frozen=True, slots=True)
class RecordedDigest:
    """One line: what the bytes called ``name`` (its parts divided by ``/``) should hash to; empty for a bare digest."""

    name: str
    algorithm: str
    hexdigest: str

    @property
    def basename(self) -> str:
        """The last component of the name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def is_absolute(self) -> bool:
        """Whether the name begins at a root or a drive."""
        return self.name.startswith("/") or re.match(r"[A-Za-z]:/", self.name) is not None


def parse_manifest(text: str, algorithm_hint: str = "") -> list[RecordedDigest]:
    """Read a sidecar or manifest.

    Args:
        text: Its whole content.
        algorithm_hint: The algorithm its own name states (``sha256``), checked against every line that states none.

    Returns:
        One digest a name: of a name that has several by different algorithms, the longest.

    Raises:
        BackupFailed: It is empty, a line cannot be read, an algorithm is unknown, or a name is listed twice with
            different digests of one algorithm (stage ``verify``).
    """
    found: dict[str, RecordedDigest] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        body = line.rstrip("\r")
        if not body.strip() or body.startswith("#"):
            continue
        digest = _parse_line(body, number, algorithm_hint)
        known = found.setdefault(digest.name, digest)
        if known.algorithm == digest.algorithm and known != digest:
            raise _malformed(f"line {number} lists a name again, with another digest", (digest.name,))
        if len(known.hexdigest) < len(digest.hexdigest):
            found[digest.name] = digest
    if not found:
        raise _malformed("it holds no digest line")
    return list(found.values())


def algorithm_of_name(name: str) -> str:
    """The algorithm that a sidecar's or manifest's own name states last (``md5-tests.db.sha256``), or ``""``."""
    found = _ALGORITHM.findall(name.rpartition("/")[2])
    return found[-1].lower() if found else ""


def strip_suffix(name: str, suffixes: Iterable[str]) -> str | None:
    """The name without one of these endings (the longest that fits), or ``None``."""
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return None


def decoded_name(name: str, suffixes: Iterable[str]) -> str | None:
    """The name of what a file decodes to, or ``None``. Where ``.gz`` is an ending, ``.tgz`` becomes ``.tar``."""
    known = tuple(suffixes)
    for short, whole in _SHORT.items():
        if whole in known and name.lower().endswith(short) and len(name) > len(short):
            return f"{name[: -len(short)]}.tar"
    return strip_suffix(name, known)


def _parse_line(line: str, number: int, hint: str) -> RecordedDigest:
    if match := _BSD.fullmatch(line):
        stated = re.sub(r"\Asha2-", "sha", match["algorithm"].lower()).replace("-", "")
        return _digest(_name(match), match["digest"], number, stated)
    if match := _GNU.fullmatch(line):
        return _digest(_name(match), match["digest"], number, hint)
    if match := _BARE.fullmatch(line.strip()):
        return _digest("", match["digest"], number, hint)
    if _ETAG.fullmatch(line.strip()):
        raise _malformed(f"line {number} is a multipart ETag of S3, which is not a digest of the object")
    raise _malformed(f"line {number} is not a digest line")


def _name(line: re.Match[str]) -> str:
    """The name in a line, ``""`` for standard input. A backslash of its own is always escaped, so others are DOS's."""
    name = _unescape(line["name"]) if line["escaped"] else line["name"].replace("\\", "/")
    return "" if name == "-" else name


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
