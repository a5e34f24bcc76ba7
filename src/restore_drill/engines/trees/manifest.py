"""Compare a tree with the manifest inside it, both ways, on every core."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from restore_drill.checksums import WEAK, algorithm_of_name, parse_manifest
from restore_drill.engines.trees.walk import OPEN_DIRECTORY
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.links import resolve
from restore_drill.model import Stage

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20
#: A manifest is text with a line a file; beyond this it is something else.
_MOST_BYTES = 1 << 30
_MOST_BATCH = 64
#: The lines that ``sha256sum`` writes of files with plain names: read at once, which matters for a million of them.
_PLAIN_LINE = re.compile(r"^([0-9a-f]{64}) [ *](?:\./)?([^\r\n]+)$", re.MULTILINE)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The lines of a manifest, by path relative to the root of the tree.

    Attributes:
        name: Its own path.
        listed: Path → recorded digest in lower-case hexadecimal.
        algorithms: The algorithm of its digests, by their length in hexadecimal digits.
        order: The paths, those of a directory together.
    """

    name: str
    listed: dict[str, str]
    algorithms: dict[int, str]
    order: Sequence[str]

    @property
    def algorithm(self) -> str:
        """The algorithm of its digests, several joined by a plus sign."""
        return "+".join(sorted(self.algorithms.values()))

    def spans(self, workers: int) -> Iterator[Span]:
        """Slices of ``order``, small enough that no worker is left waiting for another."""
        size = max(1, min(_MOST_BATCH, len(self.order) // (8 * workers)))
        for start in range(0, len(self.order), size):
            yield start, min(start + size, len(self.order))

    def notes(self) -> list[str]:
        """What its algorithms are worth."""
        if not WEAK & set(self.algorithms.values()):
            return []
        counts = Counter(self.algorithms[len(digest)] for digest in self.listed.values())
        return [
            f"the manifest has {counts[name]} digests of {name}: collisions can be made" for name in WEAK & set(counts)
        ]


def read_manifest(root: int, name: str) -> Manifest:
    """Read a manifest of the tree.

    Raises:
        BackupFailed: It is not there, malformed, or names files outside the tree (stage ``content``).
    """
    algorithms, lines = _parse(_read_text(root, name), algorithm_of_name(name))
    folder = posixpath.dirname(posixpath.normpath(name))
    listed: dict[str, str] = {}
    for digest, listed_name in lines:
        path = _path_of(folder, listed_name)
        if listed.setdefault(path, digest) != digest:
            raise _unusable("it lists a name again, with another digest", listed_name)
    return Manifest(posixpath.normpath(name), listed, algorithms, sorted(listed))


def _parse(text: str, hint: str) -> tuple[dict[int, str], Iterable[tuple[str, str]]]:
    """The algorithms by length, and the lines as (digest, name)."""
    if hint in ("", "sha256"):
        plain = _PLAIN_LINE.findall(text)
        if plain and len(plain) == text.count("\n") + (not text.endswith("\n")):
            return {64: "sha256"}, plain
    entries = parse_manifest(text, hint)
    return {len(entry.hexdigest): entry.algorithm for entry in entries}, ((one.hexdigest, one.name) for one in entries)


def _read_text(root: int, name: str) -> str:
    try:
        path = resolve(root, os.fsencode(name))
    except ValueError as problem:
        raise _unusable("it is a link that leads outside the tree", name) from problem
    if path is None:
        raise _unusable("it is not in the tree", name)
    status = os.stat(path or b".", dir_fd=root, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
        raise _unusable("it is no file, or far too large", name)
    with os.fdopen(os.open(path, _OPEN, dir_fd=root), "rb") as file:
        return file.read().decode("utf-8", "surrogateescape")


def _path_of(folder: str, name: str) -> str:
    if not name:
        raise _unusable("a line names no file", name)
    if name.startswith("/"):
        raise _unusable("it lists absolute names; write it inside the directory (cd DIR && sha256sum …)", name)
    path = f"{folder}/{name}" if folder else name
    if "//" in path or "/." in path or path[0] == ".":
        path = posixpath.normpath(path)
    if path == ".." or path.startswith("../"):
        raise _unusable("it lists files outside the tree", name)
    return path


def _unusable(why: str, name: str) -> BackupFailed:
    return BackupFailed(
        why,
        remedy="Write the manifest where the backup is made: cd DIR && find . -type f -print0 | xargs -0 sha256sum.",
        stage=Stage.CONTENT,
        details=(ascii(name)[1:-1],),
    )


class Verifier:
    """Hashes the files that a manifest lists; forked copies of it share the work.

    Args:
        root: Descriptor of the tree's root.
    """

    def __init__(self, root: int, manifest: Manifest) -> None:
        self._root = root
        self._manifest = manifest
        self._buffer = bytearray(_PIECE)
        self._view = memoryview(self._buffer)
        self._near: tuple[str, int | None] = ("", None)
        self._seen = 0
        self._newest: int | None = None
        self._make = {length: getattr(hashlib, name) for length, name in manifest.algorithms.items()}

    def close(self) -> None:
        """Let go of the directory that was last looked into."""
        self._near, near = ("", None), self._near[1]
        if near is not None:
            os.close(near)

    def verify(self, span: Span) -> dict[str, Any]:
        """Hash a slice of the listed files: how many match, and the names of those that do not or are not there.

        What lies under a listed name itself is looked at here and nowhere else: ``seen`` are the bytes of these files,
        ``newest`` is when the last of them was modified (nanoseconds since the epoch, or ``None``).
        """
        verified, size = 0, 0
        self._seen, self._newest = 0, None
        answer: dict[str, Any] = {"mismatched": [], "missing": [], "through": []}
        for path in self._manifest.order[slice(*span)]:
            found = self._hash(path, self._manifest.listed[path], answer)
            if found is not None:
                verified += 1
                size += found
        seen = {"seen": self._seen, "newest": self._newest}
        return {"verified": verified, "bytes": size, **seen, **{key: names for key, names in answer.items() if names}}

    def _hash(self, path: str, expected: str, answer: dict[str, Any]) -> int | None:
        """The size of a file that matches, ``None`` for one that was put into the answer."""
        head, _, leaf = path.rpartition("/")
        try:
            parent = self._root if not head else self._enter(head)
            status = os.stat(leaf, dir_fd=parent, follow_symlinks=False) if parent is not None else None
        except FileNotFoundError:
            status = None
        if status is None or stat.S_ISLNK(status.st_mode):
            return self._hash_through_links(path, expected, answer)
        if stat.S_ISREG(status.st_mode):
            self._seen += status.st_size
            if self._newest is None or status.st_mtime_ns > self._newest:
                self._newest = status.st_mtime_ns
            if self._digest(leaf, parent, status.st_size, expected) == expected:
                return status.st_size
        answer["mismatched"].append(path)
        return None

    def _hash_through_links(self, path: str, expected: str, answer: dict[str, Any]) -> int | None:
        """``sha256sum`` follows links, so a manifest may list a file by a name that passes through some."""
        try:
            real = resolve(self._root, os.fsencode(path))
        except ValueError:
            real = None
        if real is None or os.fsdecode(real) == path:
            answer["missing"].append(path)
            return None
        status = os.stat(real, dir_fd=self._root, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and self._digest(real, self._root, status.st_size, expected) == expected:
            answer["through"].append(os.fsdecode(real))
            return status.st_size
        answer["mismatched"].append(path)
        return None

    def _enter(self, head: str) -> int | None:
        """The descriptor of a directory, reached without following a link; ``None`` where there is none."""
        if self._near[0] == head:
            return self._near[1]
        if self._near[1] is not None:
            os.close(self._near[1])
        descriptor: int | None = os.dup(self._root)
        for name in head.split("/"):
            parent = descriptor
            try:
                descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
            except (FileNotFoundError, NotADirectoryError):
                descriptor = None
            finally:
                if parent is not None:
                    os.close(parent)
            if descriptor is None:
                break
        self._near = (head, descriptor)
        return descriptor

    def _digest(self, name: str | bytes, parent: int | None, size: int, expected: str) -> str:
        try:
            descriptor = os.open(name, _OPEN, dir_fd=parent)
        except PermissionError as problem:
            raise CouldNotVerify(
                "a restored file cannot be read", stage=Stage.CONTENT, details=(ascii(name),)
            ) from problem
        try:
            count = os.readv(descriptor, [self._buffer])
            digest = self._make[len(expected)](self._view[:count])
            while count and size > count:
                size -= count
                count = os.readv(descriptor, [self._buffer])
                digest.update(self._view[:count])
            result: str = digest.hexdigest()
            return result
        finally:
            os.close(descriptor)
