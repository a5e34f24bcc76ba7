"""What ``sha256sum`` and its relatives write: one digest and one name a line; see :mod:`restore_drill.checksums`."""

from __future__ import annotations

import re
from binascii import a2b_hex
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

from restore_drill.checksums import MANIFEST_NAMES, algorithm_of_name, parse_manifest
from restore_drill.manifests.base import (
    LISTS_ITSELF,
    Entry,
    Manifest,
    ManifestFormat,
    Source,
    entry_of,
    path_of,
    text_of,
    unusable,
)

#: The lines that ``sha256sum`` writes of files with plain names: read at once, which matters for a million of them.
_PLAIN_LINE = re.compile(r"^([0-9a-f]{64}) [ *](?:\./)?([^\r\n]+)$", re.MULTILINE)
#: A line of any kind that the parser knows.
_LINE = re.compile(
    rb"(?:\xef\xbb\xbf)?\\?"
    rb"(?:[0-9A-Fa-f]{8,128}(?:[ \t][ *]?[^\r\n]*)?|[A-Za-z0-9-]+ ?\([^\r\n]+\) ?= ?[0-9A-Fa-f]+)\r?"
)


_Value = TypeVar("_Value", bytes, Entry)


class SumsManifest(ManifestFormat):
    """``SHA256SUMS`` and its relatives, in the style of GNU coreutils, of BSD or of openssl."""

    name: ClassVar[str] = "sums"
    names: ClassVar[tuple[str, ...]] = MANIFEST_NAMES

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether the first line that is no comment is a digest line."""
        for line in head.split(b"\n"):
            if line.strip() and not line.startswith(b"#"):
                return _LINE.fullmatch(line) is not None
        return False

    def read(self, source: Source) -> Manifest:
        """Read all lines."""
        hint = algorithm_of_name(source.name)
        listed = _read_plain(source) if hint in ("", "sha256") else None
        if listed is not None:
            return _manifest(source, "sha256", listed)
        lines = parse_manifest(text_of(source.data), hint)
        algorithms = {line.algorithm for line in lines}
        if len(algorithms) == 1:
            found: dict[str, bytes] = {}
            for line in lines:
                _add(found, path_of(source.folder, line.name), bytes.fromhex(line.hexdigest))
            return _manifest(source, algorithms.pop(), found)
        entries: dict[str, Entry] = {}
        for line in lines:
            _add(entries, path_of(source.folder, line.name), entry_of([(line.algorithm, line.hexdigest)]))
        return _manifest(source, "", entries)


def _read_plain(source: Source) -> dict[str, bytes] | None:
    """A manifest that is as ``sha256sum`` writes it; ``None`` when any line is not."""
    listed: dict[str, bytes] = {}
    folder = source.folder
    for text in source.pieces():
        lines = _PLAIN_LINE.findall(text)
        if len(lines) != text.count("\n") + (not text.endswith("\n")) or "\\" in text:
            return None
        plain = not folder and "//" not in text and "/." not in text and "/\n" not in text and "\0" not in text
        for digest, name in lines:
            # What most names are, without a call for each of a million.
            path = name if plain and name[0] not in "./" and name[-1] != "/" else path_of(folder, name)
            value = a2b_hex(digest)
            if listed.setdefault(path, value) != value:
                raise _again(path)
    return listed or None


def _add(listed: dict[str, _Value], path: str, value: _Value) -> None:
    if listed.setdefault(path, value) != value:
        raise _again(path)


def _manifest(source: Source, plain: str, listed: Mapping[str, bytes] | Mapping[str, Entry]) -> Manifest:
    known: dict[str, Any] = dict(listed) if source.name in listed else cast("dict[str, Any]", listed)
    itself = known.pop(source.name, None) is not None
    return Manifest(source.name, known, plain=plain, notes=[LISTS_ITSELF] if itself else [])


def _again(name: str) -> Exception:
    return unusable("it lists a name again, with another digest", name)
