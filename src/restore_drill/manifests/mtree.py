r"""A directory hierarchy as ``mtree`` describes it: every file, directory and link, with its keywords.

Sources: NetBSD and FreeBSD mtree(5) and mtree(8), vis(3), libarchive's mtree(5). Names are encoded by vis(3): ``\ooo``,
``\M-x``, ``\M^x``, ``\^x``, ``\s`` and the escapes of C. A name with a slash is a whole path, one without is an entry
of the directory that was entered last; ``..`` leaves it. ``/set`` and ``/unset`` change what is assumed, a backslash at
the end continues a line.

Type, size, digests and the target of a link are compared, and nothing may be in the tree that is not listed, neither
directory nor link. Differing permission bits are noted; owners, times, flags and numbers of links are not looked at.
"""

from __future__ import annotations

import re
from typing import ClassVar

from restore_drill.errors import BackupFailed
from restore_drill.manifests.base import (
    DIRECTORY,
    FILE,
    LINK,
    OTHER,
    Entry,
    Listing,
    Manifest,
    ManifestFormat,
    Source,
    algorithm,
    entry_of,
    unusable,
)

_REMEDY = (
    "Write it with digests when the backup is made: mtree -c -K sha256 -p DIR, or bsdtar --format=mtree "
    "--options='mtree:sha256' -cf FILE -C DIR ."
)
_KINDS = {
    "file": FILE, "dir": DIRECTORY, "link": LINK, "block": OTHER, "char": OTHER, "fifo": OTHER, "socket": OTHER,
}  # fmt: skip
#: Keywords that take files out of the comparison, or say that nothing is known of them.
_LEAVES_OUT = frozenset({"ignore", "optional", "nochange"})
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(?:=.*)?", re.DOTALL)
_VIS = re.compile(r"\\(?:([0-7]{3})|(M-|M\^|\^)(.)|(.))", re.DOTALL)
_C_STYLE = {
    "n": "\n", "r": "\r", "b": "\b", "a": "\a", "v": "\v", "t": "\t", "f": "\f", "s": " ", "0": "\0", "\\": "\\",
    "#": "#", "E": "\x1b", '"': '"', "'": "'", "*": "*", "?": "?", "[": "[", "]": "]", " ": " ", "=": "=",
}  # fmt: skip


class MtreeManifest(ManifestFormat):
    """``mtree -c -K sha256``, or ``bsdtar --format=mtree``."""

    name: ClassVar[str] = "mtree"
    names: ClassVar[tuple[str, ...]] = (".mtree", "mtree", "mtree.txt", "MANIFEST.mtree")

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By its signature, or by the keywords of the first line that is no comment."""
        if head.startswith(b"#mtree"):
            return True
        for line in head.split(b"\n"):
            words = line.split()
            if words and not words[0].startswith(b"#"):
                first, *more = words
                return first in (b"/set", b"/unset") or any(word.startswith((b"type=", b"size=")) for word in more)
        return False

    def read(self, source: Source) -> Manifest:
        """Read all lines."""
        reading = _Reading(Listing(source, _REMEDY))
        pending, first = "", 0
        for number, body in source.lines(_REMEDY):
            first = first if pending else number
            if body.endswith("\\") and not body.lstrip().startswith("#"):
                pending += f"{body[:-1]} "
                continue
            reading.line(pending + body, first)
            pending = ""
        if pending:
            raise _malformed("it was cut: its last line is to be continued")
        return reading.finish()


class _Reading:
    """What lines meant so far."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._defaults: dict[str, str] = {}
        self._here: list[str] = []

    def line(self, text: str, number: int) -> None:
        words = [word for word in re.split("[ \t]", text) if word]
        if not words or words[0].startswith("#"):
            return
        if words[0] == "/set":
            self._defaults |= _keywords(words[1:], number)
        elif words[0] == "/unset":
            for word in words[1:]:
                self._unset(word)
        elif words[0] == "..":
            if not self._here or len(words) > 1:
                raise _malformed(f"line {number} leaves a directory that was not entered")
            self._here.pop()
        elif words[0].startswith("/"):
            raise unusable("it lists absolute names", words[0], remedy=_REMEDY)
        else:
            self._entry(words[0], {**self._defaults, **_keywords(words[1:], number)}, number)

    def _unset(self, word: str) -> None:
        if word == "all":
            self._defaults.clear()
        self._defaults.pop(word, None)

    def _entry(self, word: str, keywords: dict[str, str], number: int) -> None:
        entry = _entry(keywords, number)
        name = unvis(word, number)
        if "/" in name:  # a whole path: the directory that was entered stays the same
            self._listing.add(name, entry)
            return
        if name == "..":
            raise unusable("it lists files outside the tree", name, remedy=_REMEDY)
        here = [*self._here, name]
        self._listing.add("/".join(here), entry)
        if entry.kind == DIRECTORY:
            self._here = here

    def finish(self) -> Manifest:
        listing = self._listing
        if not listing.entries:
            raise _malformed("it lists nothing")
        listing.entries.pop(listing.path("."), None)
        return Manifest(
            listing.source.name, listing.entries, kinds=FILE + DIRECTORY + LINK + OTHER, follows=False,
            notes=listing.notes,
        )  # fmt: skip


def _keywords(words: list[str], number: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        if not _KEYWORD.fullmatch(word):
            raise _malformed(f"line {number} has something that is no keyword")
        key, _, value = word.partition("=")
        if key in _LEAVES_OUT:
            raise _malformed(f"line {number} says {key}: what it leaves out would be verified by nothing")
        found[key] = value
    return found


def _entry(keywords: dict[str, str], number: int) -> Entry:
    kind = _KINDS.get(keywords.get("type", "file"))
    if kind is None:
        raise _malformed(f"line {number} has an unknown type")
    size = keywords.get("size", "")
    mode = keywords.get("mode", "")
    if (size and not _is_number(size)) or (kind == LINK and keywords.get("link") == ""):
        raise _malformed(f"line {number} has a value that cannot be read")
    return entry_of(
        _digests(keywords, number) if kind == FILE else (),
        size=int(size) if size and kind == FILE else -1,
        kind=kind,
        target=unvis(keywords["link"], number) if kind == LINK and "link" in keywords else None,
        mode=int(mode, 8) & 0o7777 if re.fullmatch(r"[0-7]{1,7}", mode) and kind != LINK else -1,
    )


def _digests(keywords: dict[str, str], number: int) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for key, value in keywords.items():
        known = algorithm(key.removesuffix("digest"))
        if known is None:
            continue
        if len(value) != known.length or not re.fullmatch(r"[0-9A-Fa-f]+", value):
            raise _malformed(f"line {number} has an {known.name} digest of another length")
        if found.setdefault(known.name, value.lower()) != value.lower():
            raise _malformed(f"line {number} has two different digests by {known.name}")
    return sorted(found.items())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def unvis(text: str, number: int) -> str:
    """A name as it is on disk.

    Raises:
        BackupFailed: It has an escape that vis(3) does not write.
    """
    if "\\" not in text:
        return text
    raw, at = bytearray(), 0
    for match in _VIS.finditer(text):
        raw += text[at : match.start()].encode("utf-8", "surrogateescape")
        raw.append(_byte(match, number))
        at = match.end()
    if text.startswith("\\", at):  # _VIS matches every escape but one that ends the name
        raise _malformed(f"line {number} has a name that cannot be decoded")
    return bytes(raw + text[at:].encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _byte(match: re.Match[str], number: int) -> int:
    octal, prefix, char, plain = match.groups()
    if octal and int(octal, 8) < 256:
        return int(octal, 8)
    if prefix and char.isascii():
        code = ord(char)
        if prefix == "M-":
            return code | 0x80
        control = 0x7F if char == "?" else code & 0x1F
        return control | (0x80 if prefix == "M^" else 0)
    if plain in _C_STYLE:
        return ord(_C_STYLE[plain])
    raise _malformed(f"line {number} has a name that cannot be decoded")


def _malformed(why: str) -> BackupFailed:
    return unusable(why, remedy=_REMEDY)
