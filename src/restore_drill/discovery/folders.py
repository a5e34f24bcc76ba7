"""Directories whose names carry the time: each is one snapshot, or holds one of several series."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from functools import cache

from restore_drill.checksums import MANIFEST_NAMES
from restore_drill.discovery.forms import choose_forms
from restore_drill.discovery.model import Heap, LeftOut, Point, Series
from restore_drill.discovery.names import Piece, Pieces, Variable, text_of
from restore_drill.manifests.base import usual_names
from restore_drill.model import Artifact
from restore_drill.patterns import PathPattern, PatternError

#: Different names inside dated directories; with more of them a directory is a tree of files.
_MOST_INSIDE = 100
#: With fewer files than this nothing is told by comparing their names; and how many names must be the same.
_FEW, _SHARED = 4, 0.2
#: What lists of digests are called, in lower case.
LISTS = frozenset(name.lower() for name in MANIFEST_NAMES) | {
    "checksums.txt", "sha256sums.txt", "sha256sum.txt", "sha512sums.txt", "md5sums.txt", "checksums.sha256",
    "manifest.sha256", "checksum.txt", "checksums", "sha256sum", "md5sum.txt",
}  # fmt: skip
#: What the names of backups end with.
BACKUP_ENDING = re.compile(
    r"\.(?:db|db3|sqlite3?|sql|dump|pgdump|tar|t[gxb]z2?|tzst|zip|7z|rdb|aof|csv|tsv|ndjson|jsonl|parquet|ldif|bak|backup"
    r"|snap(?:shot)?|gz|xz|zst|bz2|lz4?|age|gpg|pgp|asc|enc|bundle)\Z", re.I,
)  # fmt: skip


@dataclass(slots=True)
class Folder:
    """Directories whose names differ in their time alone, and what lies in them."""

    pieces: Pieces
    generations: dict[str, list[float]] = field(default_factory=dict)
    kept: dict[str, Heap] = field(default_factory=dict)
    files: int = 0
    overflow: bool = False
    newest: tuple[str, list[Artifact]] = ("", [])
    previous: tuple[str, list[Artifact]] = ("", [])
    manifests: dict[str, set[str]] = field(default_factory=dict)

    def add(self, artifact: Artifact, name: str, rest: Pieces, kind: str) -> None:
        """One more file: in the directory ``name``, and the pieces of its own name there."""
        self.files += 1
        known = self.generations.setdefault(name, [0, 0.0, 0.0])
        known[0] += 1
        known[1] += max(artifact.size, 0)
        known[2] = max(known[2], artifact.modified)
        if (file := artifact.key.removeprefix(name)) in _manifests():
            self.manifests.setdefault(name, set()).add(file)
        text = text_of(rest, kinds="{kind}") or artifact.key
        if not self.overflow:
            self.kept.setdefault(text, Heap((*self.pieces, *rest))).add(artifact, kind)
            self.overflow = len(self.kept) > _MOST_INSIDE
        if name > self.newest[0]:
            self.previous, self.newest = self.newest, (name, [])
        if name == self.newest[0] and len(self.newest[1]) < _MOST_INSIDE:
            self.newest[1].append(artifact)


@cache
def _manifests() -> frozenset[str]:
    return frozenset(usual_names())


def compiled(text: str | None) -> PathPattern | None:
    """The pattern, times without an offset read as UTC; ``None`` where a catalogue cannot have it."""
    try:
        return PathPattern(text, UTC) if text and text.isprintable() else None
    except PatternError:
        return None


def folder_end(pieces: Pieces) -> int | None:
    """The index of the literal in which the last dated (or rotated) directory ends; ``None`` where a name has it."""
    last = max((i for i, piece in enumerate(pieces) if _places(piece)), default=-1)
    if last < 0:
        return None
    for at in range(last + 1, len(pieces)):
        piece = pieces[at]
        if isinstance(piece, str) and "/" in piece:
            return at
    return None


def _places(piece: Piece) -> bool:
    return isinstance(piece, Variable) and piece.what in ("time", "rotation")


def cut(pieces: Pieces, at: int) -> tuple[Pieces, Pieces]:
    """The pieces of a directory, with its slash, and those behind it."""
    literal = pieces[at]
    assert isinstance(literal, str)  # noqa: S101 - found as one
    head, slash, tail = literal.partition("/")
    return (*pieces[:at], head + slash), (*([tail] if tail else []), *pieces[at + 1 :])


def spelled(key: str, rest: Pieces) -> str:
    """The directory of a key, given the pieces behind it."""
    depth = sum(piece.count("/") for piece in rest if isinstance(piece, str))
    return "/".join(key.split("/")[: len(key.split("/")) - depth - 1]) + "/"


def is_tree(folder: Folder) -> bool:
    """Whether a dated directory is one snapshot, and not a place for several backups."""
    texts = [text for text in folder.kept if text.lower() not in LISTS]
    if not texts:
        return False
    if any(text.rpartition("/")[2] in ("backup_manifest", "backup_label", "PG_VERSION", "toc.dat") for text in texts):
        return True
    backups = [text for text in texts if BACKUP_ENDING.search(text)]
    if len(backups) == len(texts):
        return any("/" in text for text in texts) and len(texts) > 8
    return len(backups) * 2 < len(texts) or any("/" in text for text in texts)


def tree(folder: Folder, left_out: list[LeftOut]) -> Iterator[Series]:
    """The series of directories that each are one snapshot."""
    heap = Heap(folder.pieces)
    for name, (_, size, modified) in folder.generations.items():
        heap.add(Artifact(name, int(size), modified))
    forms = choose_forms(heap)
    pattern = text_of(folder.pieces, forms) if forms is not None else None
    reader = compiled(pattern)
    if forms is None or pattern is None or reader is None:
        left_out.append(LeftOut(folder.newest[0], "a directory whose name says no time that can be read", folder.files))
        return
    if not _alike(folder):
        why = "dated directories whose files are others each time: an archive that grows, no generations of one backup"
        left_out.append(LeftOut(pattern, why, folder.files, int(heap.size)))
        return
    series = Series(
        folder.pieces, forms, count=len(folder.generations), size=heap.size, is_directory=True, pattern=pattern,
        inside=tuple(folder.newest[1]), inside_of=folder.newest[0], manifests=folder.manifests,
        is_rotated=reader.is_rotated,
    )  # fmt: skip
    for _, name, artifact, _ in heap.newest:
        if match := reader.match(name):
            stamp = match.taken_at.timestamp() if reader.has_time else artifact.modified
            series.points.append(Point(stamp, artifact))
    if series.is_rotated:
        series.points.sort(key=lambda point: (len(point.artifact.key), point.artifact.key))
    else:
        series.points.sort(key=lambda point: -point.stamp)
    if series.points:
        yield series


def _alike(folder: Folder) -> bool:
    """Whether the newest two directories hold files of the same names, as far as they were noted."""
    newest, previous = (
        {artifact.key.removeprefix(name) for artifact in artifacts}
        for name, artifacts in (folder.newest, folder.previous)
    )
    if min(len(newest), len(previous)) < _FEW:
        return True
    return len(newest & previous) >= _SHARED * min(len(newest), len(previous))
