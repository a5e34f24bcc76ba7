"""A bag: ``bagit.txt``, a payload below ``data/``, and manifests of it by one or several algorithms.

Source: RFC 8493 (The BagIt File Packaging Format, version 1.0), and its drafts 0.93 to 0.97, which most programs still
write. Every payload file is listed in every payload manifest (before 1.0: in at least one) and nothing else lies below
``data/``; what a tag manifest lists is there and right; other tag files need not be listed. Digests by all algorithms
must match. A bag with files to be fetched from elsewhere (``fetch.txt``) is refused while one of them is not there.
"""

from __future__ import annotations

import re
from typing import ClassVar

from restore_drill import digests
from restore_drill.errors import BackupFailed
from restore_drill.manifests.base import Manifest, ManifestFormat, Source, entry_of, path_of, text_of, unusable

_REMEDY = "Make the bag with a program that validates it (bagit.py --validate DIR), and keep it as it is."
_MANIFEST = re.compile(r"(?P<tag>tag)?manifest-(?P<algorithm>[A-Za-z0-9_-]+)\.txt")
_LINE = re.compile(r"(?P<digest>[0-9A-Fa-f]+)[ \t]+\*?(?P<name>[^\r\n]+)")
_VERSION = re.compile(r"BagIt-Version:[ \t]*(?P<major>\d{1,3})\.(?P<minor>\d{1,3})[ \t]*")
_ENCODING = re.compile(r"Tag-File-Character-Encoding:[ \t]*(?P<name>[A-Za-z0-9._-]+)[ \t]*")
_OXUM = re.compile(r"^Payload-Oxum[ \t]*:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_LINE_BREAKS = {"%0a": "\n", "%0d": "\r"}
_ESCAPED = {**_LINE_BREAKS, "%25": "%"}


class BagitManifest(ManifestFormat):
    """``bagit.txt`` and what lies beside it."""

    name: ClassVar[str] = "bagit"
    names: ClassVar[tuple[str, ...]] = ("bagit.txt",)

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the first line of ``bagit.txt``."""
        return head.startswith(b"BagIt-Version:")

    def read(self, source: Source) -> Manifest:
        """Read the declaration and every manifest beside it."""
        bag = _Bag(source, _version(text_of(source.data)))
        beside = source.beside()
        for name in beside:
            if match := _MANIFEST.fullmatch(name):
                bag.take(name, match["algorithm"], is_tag=bool(match["tag"]))
        if not bag.payload:
            raise _malformed("there is no payload manifest (manifest-sha256.txt) beside it")
        total = _oxum(text_of(source.read("bag-info.txt"))) if "bag-info.txt" in beside else None
        if "fetch.txt" in beside:
            bag.notes.append("the bag has a fetch.txt: what it lists must be there as well")
            bag.check_fetched(text_of(source.read("fetch.txt")))
        return bag.manifest(total)


class _Bag:
    """The manifests of one bag."""

    def __init__(self, source: Source, version: tuple[int, int]) -> None:
        self._source = source
        self._version = version
        self._escaped = _ESCAPED if version >= (1, 0) else _LINE_BREAKS
        self._around = f"{source.folder}/" if source.folder else ""
        self._data = f"{self._around}data/"
        #: Manifest → path → digest.
        self.payload: dict[str, dict[str, tuple[str, str]]] = {}
        self._tags: dict[str, dict[str, tuple[str, str]]] = {}
        self.notes: list[str] = []

    def take(self, name: str, written: str, *, is_tag: bool) -> None:
        """Read one manifest."""
        algorithm = digests.find(digests.canonical(written))
        if algorithm is None:
            raise _malformed(f"it has a manifest by {written}, which cannot be computed here")
        found: dict[str, tuple[str, str]] = {}
        text = text_of(self._source.read(name))
        for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line)
            if match is None or len(match["digest"]) != algorithm.length:
                raise _malformed(f"line {number} of {_title(name)} is no line of a manifest")
            path = self._path(match["name"])
            if path.startswith(self._data) is is_tag:
                raise _malformed(
                    f"{_title(name)} lists {'files of the payload' if is_tag else 'files outside of data/'}", path
                )
            digest = (algorithm.name, match["digest"].lower())
            if found.setdefault(path, digest) != digest:
                raise _malformed(f"{_title(name)} lists a name again, with another digest", path)
        (self._tags if is_tag else self.payload)[name] = found

    def _path(self, name: str) -> str:
        plain = re.sub(r"%[0-9A-Fa-f]{2}", lambda found: self._escaped.get(found[0].lower(), found[0]), name)
        return path_of(self._source.folder, plain)

    def check_fetched(self, text: str) -> None:
        """Refuse what ``fetch.txt`` says outside of the payload manifests; the files themselves are listed there."""
        listed = set().union(*self.payload.values())
        for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
            parts = line.split(None, 2)
            if len(parts) != 3:
                raise _malformed(f"line {number} of fetch.txt is none")
            path = self._path(parts[2])
            if path not in listed:
                raise _malformed("fetch.txt lists files that no payload manifest has", path)
            if not self._source.holds(path):
                raise _malformed(
                    "the bag is incomplete: fetch.txt says that files of it must be fetched from elsewhere", path
                )

    def manifest(self, total: tuple[int, int] | None) -> Manifest:
        """All of them as one."""
        self._judge_completeness()
        if total is not None and total[1] != len(set().union(*self.payload.values())):
            raise _malformed("its Payload-Oxum states another number of files than its manifests list")
        merged: dict[str, list[tuple[str, str]]] = {}
        for found in (*self.payload.values(), *self._tags.values()):
            for path, digest in found.items():
                merged.setdefault(path, []).append(digest)
        return Manifest(
            self._source.name,
            {path: entry_of(pairs) for path, pairs in merged.items()},
            lenient=(self._around, self._data),
            total=total,
            notes=self.notes,
        )

    def _judge_completeness(self) -> None:
        """From 1.0 on every manifest lists all of the payload (section 2.2.1); a tag manifest the payload manifests."""
        everything = set().union(*self.payload.values())
        if self._version >= (1, 0):
            for name, found in self.payload.items():
                if len(found) != len(everything):
                    raise _malformed(f"{_title(name)} does not list every file of the payload that another one lists")
        for name, found in self._tags.items():
            if any(f"{self._around}{payload}" not in found for payload in self.payload):
                raise _malformed(f"{_title(name)} does not list every payload manifest")


def _version(text: str) -> tuple[int, int]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    version = _VERSION.fullmatch(lines[0])
    encoding = _ENCODING.fullmatch(lines[1]) if len(lines) == 2 else None
    if version is None or encoding is None:
        raise _malformed("bagit.txt is damaged: it must have two lines, the version and the encoding of tag files")
    found = int(version["major"]), int(version["minor"])
    if not (0, 93) <= found < (2, 0):
        raise _malformed(f"it is a bag of version {found[0]}.{found[1]}; versions 0.93 to 1.0 are known here")
    if encoding["name"].upper().replace("_", "-") not in ("UTF-8", "UTF8", "US-ASCII", "ASCII"):
        raise _malformed("its tag files are not in UTF-8")
    return found


def _oxum(text: str) -> tuple[int, int] | None:
    values = {value.strip() for value in _OXUM.findall(text.replace("\r\n", "\n"))}
    if not values:
        return None
    match = re.fullmatch(r"(\d{1,19})\.(\d{1,19})", values.pop())
    if match is None or values:
        raise _malformed("its Payload-Oxum cannot be read, or stands there twice")
    return int(match[1]), int(match[2])


def _title(name: str) -> str:
    """A manifest by its kind; the name of the algorithm was made by us of what is known."""
    match = _MANIFEST.fullmatch(name)
    return f"the {'tag' if match and match['tag'] else 'payload'} manifest" if match else name


def _malformed(why: str, path: str = "") -> BackupFailed:
    return unusable(why, path, remedy=_REMEDY)
