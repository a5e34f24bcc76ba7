r"""Recorded digests: the lines that ``sha256sum`` and its relatives write, and which bytes they speak of.

Formats: GNU coreutils (``<hex>  <name>``, ``<hex> *<name>``; what ``xxhsum`` writes of XXH3 begins with ``XXH3_``),
BSD and ``--tag`` (``SHA256 (name) = <hex>``), openssl dgst (``SHA2-256(name)= <hex>``), a bare digest. Lines end in LF,
CRLF or (``--zero``) NUL; a backslash leads where the name is escaped (coreutils manual, md5sum invocation). The text is
UTF-8, or UTF-16 with its mark, as PowerShell redirects. Blank lines and ``#`` comments are skipped. A line that is none
of these is an error: a manifest that is read past its damage proves nothing.

By which algorithm a digest is says its line, its file's own name, or the catalogue; where nothing does, the habit of
its length (64 digits are SHA-256). It is never tried which one fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from restore_drill import digests
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: Algorithms whose digests are enough only where the catalogue says so.
WEAK = frozenset(name for name in digests.ALGORITHMS if digests.is_weak(name))
#: Endings of files that hold digests, strongest first.
SIDECAR_SUFFIXES = (
    ".sha512", ".sha256", ".sha512sum", ".sha256sum", ".b2", ".blake2b", ".b3", ".blake3",
    ".sha1", ".md5", ".sha1sum", ".md5sum", ".xxh128", ".xxh3", ".xxh64", ".xxh",
)  # fmt: skip
#: Names of manifests, strongest first.
MANIFEST_NAMES = ("SHA512SUMS", "SHA256SUMS", "B2SUMS", "B3SUMS", "SHA1SUMS", "MD5SUMS", "XXH128SUMS")
#: Endings that stand for ``.tar`` and the ending of a codec.
_SHORT = {".tgz": ".gz", ".txz": ".xz", ".tzst": ".zst", ".tbz": ".bz2", ".tbz2": ".bz2"}

_GNU = re.compile(r"(?P<escaped>\\?)(?P<family>XXH3_)?(?P<digest>[0-9A-Fa-f]+) [ *](?P<name>.+)", re.DOTALL)
_BSD = re.compile(
    r"(?P<escaped>\\?)(?P<algorithm>[A-Za-z0-9_/-]+) ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9A-Fa-f]+)", re.DOTALL
)
_BARE = re.compile(r"(?P<digest>[0-9A-Fa-f]{8,128})(?:\s+-)?")
_ETAG = re.compile(r'"?[0-9A-Fa-f]{32}-\d+"?(?:\s.*)?')
#: What Windows prints for people to read, several lines for one digest.
_PRINTED = re.compile(r"(?P<certutil>\w+ hash of .*:|CertUtil: .*)|Algorithm\s*(?::\s*\w+|Hash\s+Path)\s*", re.I)
#: What a file's own name may say of the algorithm, known here or not.
_ALGORITHM = re.compile(
    r"sha512[-_/](?:224|256)|sha(?:512|384|256|224|1)|md5|sha3(?:[-_]?\d{3})?|blake(?:2[bs]?(?:[-_]?\d{3})?|3)"
    r"|xxh(?:ash|128|64|32|3(?:[-_](?:64|128))?)?(?=sums?|[^a-z]|\Z)|crc(?:32c?|64nvme|64)|(?<![^.])(?:b[23]|xxh)(?=(?:sums?)?\Z)",
    re.I,
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
        One digest a name: of a name that has several by different algorithms, the one that is worth most.

    Raises:
        BackupFailed: It is empty, a line cannot be read, an algorithm is unknown, or a name is listed twice with
            different digests of one algorithm (stage ``verify``).
    """
    best: dict[str, RecordedDigest] = {}
    others: dict[tuple[str, str], RecordedDigest] = {}
    read = [_parse_line(body, number, algorithm_hint) for number, body in _bodies(text.removeprefix("\ufeff"))]
    # xxhsum, rclone and openssl escape no backslash: where names are divided by slashes, it is a letter of the name.
    divided = any("/" in digest.name for _, digest, _ in read)
    for number, line, is_escaped in read:
        digest = line if is_escaped else _divide(line, divided=divided)
        known = best.setdefault(digest.name, digest)
        if known.algorithm != digest.algorithm:
            known = others.setdefault((digest.name, digest.algorithm), digest)
        if known != digest:
            raise _malformed(f"line {number} lists a name again, with another digest", (digest.name,))
        if _worth(best[digest.name]) < _worth(digest):
            replaced = best[digest.name]
            others[replaced.name, replaced.algorithm] = replaced
            best[digest.name] = digest
    if not best:
        raise _malformed("it holds no digest line")
    return list(best.values())


def decode(raw: bytes) -> str:
    """A sidecar's or manifest's text; names that are not UTF-8 as surrogate escapes.

    Raises:
        BackupFailed: It begins with the mark of UTF-16 and is none (stage ``verify``).
    """
    if not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        # As names of files are read: one that is not UTF-8 is no reason to refuse the others.
        return raw.decode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-16")
    except UnicodeDecodeError as problem:
        raise _malformed("it is damaged UTF-16") from problem


def _bodies(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered; what ``--zero`` wrote has no line ends, no escapes and no comments."""
    if "\0" in text:
        yield from ((number, body) for number, body in enumerate(text.removesuffix("\0").split("\0"), 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        body = line.rstrip("\r")
        if body.strip() and not body.startswith("#"):
            yield number, body


def _worth(digest: RecordedDigest) -> tuple[bool, bool, int]:
    strength = digests.strength(digest.algorithm)
    return strength is digests.Strength.STRONG, strength is not digests.Strength.CHECKSUM, len(digest.hexdigest)


def algorithm_of_name(name: str) -> str:
    """The algorithm that a sidecar's or manifest's own name states last (``md5-tests.db.sha256``), or ``""``.

    One that is not known here comes back as it is written.
    """
    found = _ALGORITHM.findall(name.rpartition("/")[2])
    return digests.canonical(found[-1]) or found[-1].lower() if found else ""


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


def _parse_line(line: str, number: int, hint: str) -> tuple[int, RecordedDigest, bool]:
    """Its number, what it records, and whether it says itself which backslashes are letters of the name."""
    if match := _BSD.fullmatch(line):
        stated = digests.canonical(match["algorithm"]) or match["algorithm"].lower()
        return number, _digest(_name(match), match["digest"], number, stated, is_tag=True), bool(match["escaped"])
    if match := _GNU.fullmatch(line):
        stated = "xxh3" if match["family"] else hint
        return number, _digest(_name(match), match["digest"], number, stated), bool(match["escaped"])
    if match := _BARE.fullmatch(line.strip()):
        return number, _digest("", match["digest"], number, hint), True
    if _ETAG.fullmatch(line.strip()):
        raise _malformed(f"line {number} is a multipart ETag of S3, which is not a digest of the object")
    if match := _PRINTED.match(line):
        program = "certutil" if match["certutil"] else "Get-FileHash"
        raise _malformed(f"line {number} is what {program} prints for people; write the line DIGEST *NAME instead")
    raise _malformed(f"line {number} is not a digest line")


def _name(line: re.Match[str]) -> str:
    """The name in a line, ``""`` for standard input."""
    name = _unescape(line["name"]) if line["escaped"] else line["name"]
    return "" if name == "-" else name


def _divide(line: RecordedDigest, *, divided: bool) -> RecordedDigest:
    """With DOS's backslashes as slashes: those of a name that has a drive, or of a list that has no slash."""
    if "\\" not in line.name or (divided and not re.match(r"[A-Za-z]:|\\\\", line.name)):
        return line
    return replace(line, name=line.name.replace("\\", "/").removeprefix("./"))


def _digest(name: str, digest: str, number: int, stated: str, *, is_tag: bool = False) -> RecordedDigest:
    by_length = digests.BY_LENGTH.get(len(digest), "")
    if not stated and not by_length:
        raise _malformed(
            f"line {number} has a digest of {len(digest)} hexadecimal digits, and nothing says by which algorithm"
        )
    algorithm = digests.of_length(stated or by_length, len(digest))
    if stated and not digests.canonical(stated):
        raise _malformed(f"line {number} uses {stated}, an algorithm that is not known here")
    if not algorithm or (is_tag and algorithm != stated):
        raise _malformed(f"line {number} should be {stated} but has {len(digest)} hexadecimal digits")
    return RecordedDigest(name.removeprefix("./"), algorithm, digest.lower())


def _unescape(name: str) -> str:
    return re.sub(r"\\[\\nr]", lambda match: _ESCAPES[match[0]], name)


def _malformed(why: str, details: tuple[str, ...] = ()) -> BackupFailed:
    return BackupFailed(
        f"the recorded digest cannot be used: {why}",
        remedy="Write it with sha256sum when the backup is made.",
        stage=Stage.VERIFY,
        details=details,
    )
