"""Compare a tree with the manifest inside it, both ways, on every core."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from restore_drill import digests
from restore_drill.engines.trees.walk import OPEN_DIRECTORY
from restore_drill.errors import CouldNotVerify
from restore_drill.links import resolve
from restore_drill.manifests.base import DIRECTORY, FILE, LINK, OTHER, Entry, Manifest, Source
from restore_drill.model import Stage
from restore_drill.registry import load, names

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20
_MOST_BATCH = 64
#: The format whose reader says what is wrong where no format recognises anything.
_USUAL = "sums"

#: What every Python has, and makes without a call of ours between: it is asked for once a file.
_PLAIN: dict[str, Callable[..., digests.Hasher]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}

Span = tuple[int, int]


def read_manifest(root: int, name: str) -> Manifest:
    """Read a manifest of the tree, whatever its format.

    Raises:
        BackupFailed: It is not there, malformed, or names files outside the tree (stage ``content``).
    """
    source = Source(root, name)
    known = next((each for each in names("manifests") if load("manifests", each).recognises(source.head)), _USUAL)
    manifest: Manifest = load("manifests", known)().read(source)
    return manifest


def spans(count: int, workers: int) -> Iterator[Span]:
    """Slices of a list of files, small enough that no worker is left waiting for another."""
    size = max(1, min(_MOST_BATCH, count // (8 * workers)))
    for start in range(0, count, size):
        yield start, min(start + size, count)


class Verifier:
    """Hashes the files that a manifest lists; forked copies of it share the work.

    Args:
        root: Descriptor of the tree's root.
    """

    def __init__(self, root: int, manifest: Manifest) -> None:
        self._root = root
        self._listed = manifest.listed
        #: The paths, those of a directory together.
        self.order: Sequence[str] = sorted(manifest.listed)
        self._follows = manifest.follows
        self._counted = manifest.lenient[1] if manifest.total else None
        self._buffer = bytearray(_PIECE)
        self._view = memoryview(self._buffer)
        self._near: tuple[str, int | None] = ("", None)
        self._seen = 0
        self._newest: int | None = None
        self._modes = 0
        # Asked for before any work is done: this says which library is missing.
        used = {manifest.plain} if manifest.plain else set().union(*{entry.algorithms for entry in self._entries()})
        self._makers = {name: _maker(name) for name in used}
        self._make = self._makers.get(manifest.plain, hashlib.sha256)

    def _entries(self) -> Iterator[Entry]:
        return (entry for entry in self._listed.values() if isinstance(entry, Entry))

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
        verified, size, counted = 0, 0, 0
        self._seen, self._newest, self._modes = 0, None, 0
        answer: dict[str, Any] = {"mismatched": [], "missing": [], "through": []}
        for path in self.order[slice(*span)]:
            found = self._check(path, self._listed[path], answer)
            if found is not None:
                verified += 1
                size += found
                if self._counted and path.startswith(self._counted):
                    counted += found
        seen = {"seen": self._seen, "newest": self._newest, "counted": counted, "modes": self._modes}
        return {"verified": verified, "bytes": size, **seen, **{key: names for key, names in answer.items() if names}}

    def _check(self, path: str, expected: bytes | Entry, answer: dict[str, Any]) -> int | None:
        """The size of a file that matches, ``None`` for what was put into the answer."""
        head, _, leaf = path.rpartition("/")
        try:
            parent = self._root if not head else self._enter(head)
            status = os.stat(leaf, dir_fd=parent, follow_symlinks=False) if parent is not None else None
        except FileNotFoundError:
            status = None
        if self._follows and (status is None or stat.S_ISLNK(status.st_mode)):
            return self._check_through_links(path, expected, answer)
        if status is None:
            answer["missing"].append(path)
            return None
        if stat.S_ISREG(status.st_mode):
            self._seen += status.st_size
            if self._newest is None or status.st_mtime_ns > self._newest:
                self._newest = status.st_mtime_ns
            # What :meth:`_matches` says, without another call: most files of most trees come along here.
            if type(expected) is bytes and self._plain_digest(leaf, parent, status.st_size) == expected:
                return status.st_size
        if type(expected) is not bytes and self._matches(leaf, parent, status, expected):
            return status.st_size if stat.S_ISREG(status.st_mode) else 0
        answer["mismatched"].append(path)
        return None

    def _matches(self, leaf: str | bytes, parent: int | None, status: os.stat_result, expected: bytes | Entry) -> bool:
        if not isinstance(expected, Entry):
            return stat.S_ISREG(status.st_mode) and self._plain_digest(leaf, parent, status.st_size) == expected
        if _kind(status.st_mode) != expected.kind:
            return False
        if expected.mode not in (-1, stat.S_IMODE(status.st_mode)):
            self._modes += 1
        if expected.kind == LINK:
            return expected.target is None or _target(leaf, parent) == os.fsencode(expected.target)
        if expected.kind != FILE:
            return True
        if expected.size not in (-1, status.st_size):
            return False
        return self._digests(leaf, parent, status.st_size, expected.algorithms) == expected.digest

    def _check_through_links(self, path: str, expected: bytes | Entry, answer: dict[str, Any]) -> int | None:
        """``sha256sum`` follows links, so a manifest may list a file by a name that passes through some."""
        try:
            real = resolve(self._root, os.fsencode(path))
        except ValueError:
            real = None
        if real is None or os.fsdecode(real) == path:
            answer["missing"].append(path)
            return None
        status = os.stat(real, dir_fd=self._root, follow_symlinks=False)
        if self._matches(real, self._root, status, expected):
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

    def _plain_digest(self, name: str | bytes, parent: int | None, size: int) -> bytes:
        descriptor = _open(name, parent)
        try:
            count = os.readv(descriptor, [self._buffer])
            digest = self._make(self._view[:count])
            while count and size > count:
                size -= count
                count = os.readv(descriptor, [self._buffer])
                digest.update(self._view[:count])
            return digest.digest()
        finally:
            os.close(descriptor)

    def _digests(self, name: str | bytes, parent: int | None, size: int, algorithms: tuple[str, ...]) -> bytes:
        """The digests of a file by several algorithms, one after the other, in one pass."""
        made = [self._makers[algorithm]() for algorithm in algorithms]
        descriptor = _open(name, parent)
        try:
            while size > 0 and (count := os.readv(descriptor, [self._buffer])):
                size -= count
                for digest in made:
                    digest.update(self._view[:count])
        finally:
            os.close(descriptor)
        return b"".join(digest.digest() for digest in made)


def _maker(algorithm: str) -> Callable[..., digests.Hasher]:
    """What makes hashers of an algorithm.

    Raises:
        CouldNotVerify: A library is missing; the remedy names the extra.
    """
    if algorithm in _PLAIN:
        return _PLAIN[algorithm]
    digests.new(algorithm)
    known = digests.find(algorithm)
    return known.make if known else partial(digests.new, algorithm)


def _open(name: str | bytes, parent: int | None) -> int:
    try:
        return os.open(name, _OPEN, dir_fd=parent)
    except PermissionError as problem:
        raise CouldNotVerify("a restored file cannot be read", stage=Stage.CONTENT, details=(ascii(name),)) from problem


def _target(leaf: str | bytes, parent: int | None) -> bytes:
    return os.readlink(os.fsencode(leaf), dir_fd=parent)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISDIR(mode):
        return DIRECTORY
    return LINK if stat.S_ISLNK(mode) else OTHER
