"""The contract of a manifest format: a file inside a tree that says what else the tree holds.

It is read inside a sandbox process, after the tree was restored there; comparing and hashing is not the format's part
(:mod:`restore_drill.engines.trees.manifest`). A format MUST

* recognise itself by its first bytes, never by a name alone, and never take another format's manifest for its own;
* read the whole of it: a line that means nothing is an error, as a manifest read past its damage proves nothing;
* record a digest of every regular file, or refuse: a file that nobody can verify is never a verified one;
* put every path through :meth:`Listing.path`, so that nothing outside the tree is ever looked at;
* raise :class:`BackupFailed` (stage ``content``) with no file name outside of the details.

Every format passes :class:`restore_drill.testing.manifest.ManifestConformance`.
"""

from __future__ import annotations

import os
import posixpath
import stat
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO, ClassVar, NamedTuple

from restore_drill import digests
from restore_drill.checksums import algorithm_of_name
from restore_drill.errors import BackupFailed
from restore_drill.links import resolve
from restore_drill.model import Stage
from restore_drill.registry import load, names

#: Enough of a manifest to recognise its format.
HEAD = 64 << 10
#: A manifest is text with a line a file; beyond this it is something else.
_MOST_BYTES = 1 << 30
_PIECE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SUMS = "sums"
#: What an entry can be: a regular file, a directory, a symbolic link, a device, FIFO or socket.
FILE, DIRECTORY, LINK, OTHER = "f", "d", "l", "o"


class Entry(NamedTuple):
    """What is recorded of one path.

    Attributes:
        algorithms: Of its digests; every one of them must match.
        digest: The digests, one after the other in the order of their algorithms.
        size: In bytes, ``-1`` when it is not recorded.
        kind: ``f``, ``d``, ``l`` or ``o``; see :data:`FILE` and the others.
        target: Of a symbolic link its text, ``None`` when it is not recorded.
        mode: Permission bits, ``-1`` when they are not recorded; a difference is noted and changes no verdict.
    """

    algorithms: tuple[str, ...] = ()
    digest: bytes = b""
    size: int = -1
    kind: str = FILE
    target: str | None = None
    mode: int = -1


def entry_of(digests_of: Iterable[tuple[str, str]], **more: Any) -> Entry:
    """An entry from its algorithms and hexadecimal digests; entries by the same algorithms share what names them."""
    pairs = list(digests_of)
    algorithms = tuple(name for name, _ in pairs)
    return Entry(_SHARED.setdefault(algorithms, algorithms), bytes.fromhex("".join(text for _, text in pairs)), **more)


_SHARED: dict[tuple[str, ...], tuple[str, ...]] = {}


@dataclass(slots=True)
class Manifest:
    """What a manifest says of its tree; every path is relative to the root of the tree.

    Attributes:
        name: Its own path.
        listed: Path → an entry, or the bare digest by the algorithm that ``plain`` names: of a million files it counts.
        plain: The algorithm of all digests that stand alone.
        kinds: What must not be in the tree without being listed.
        follows: A listed file may be reached through symbolic links inside the tree.
        lenient: A path prefix below which files need not be listed, and the one below it where they must.
        total: Bytes and number of the files below the second prefix, where they are recorded.
        notes: Remarks that change no verdict.
    """

    name: str
    listed: Mapping[str, bytes | Entry]
    plain: str = ""
    kinds: str = FILE
    follows: bool = True
    lenient: tuple[str, str] = ("", "")
    total: tuple[int, int] | None = None
    notes: list[str] = field(default_factory=list)

    def strongest(self) -> Counter[str]:
        """Algorithm → how many files have nothing stronger than a digest by it."""
        if self.plain:
            return Counter({self.plain: len(self.listed)})
        sets = Counter(
            entry.algorithms for entry in self.listed.values() if isinstance(entry, Entry) and entry.algorithms
        )
        found: Counter[str] = Counter()
        for algorithms, count in sets.items():
            found[max(algorithms, key=_worth)] += count
        return found

    def need_not_list(self, path: str) -> bool:
        """Whether a file may be in the tree without being listed."""
        around, within = self.lenient
        return bool(within) and path.startswith(around) and not path.startswith(within)


def _worth(algorithm: str) -> tuple[bool, int]:
    known = digests.find(algorithm)
    return not digests.is_weak(algorithm), known.length if known else 0


class Source:
    """A manifest file in its tree, and what lies beside it.

    Args:
        root: Descriptor of the tree's root.
        name: Path of the manifest, relative to the root; links are followed inside the tree.

    Raises:
        BackupFailed: It is not there, no regular file, or leads outside.
    """

    def __init__(self, root: int, name: str) -> None:
        self._root = root
        self.name = posixpath.normpath(name)
        self.folder = posixpath.dirname(self.name)
        with self._open(self.name, name) as file:
            #: Enough to recognise the format.
            self.head = file.read(HEAD)

    @property
    def data(self) -> bytes:
        """All of it."""
        with self._open(self.name, self.name) as file:
            return file.read()

    def pieces(self) -> Iterator[str]:
        """All of it as text in pieces of whole lines, for a format that need not have it in memory at once."""
        with self._open(self.name, self.name) as file:
            while piece := file.read(_PIECE):
                yield text_of(piece + file.readline())

    def lines(self, remedy: str) -> Iterator[tuple[int, str]]:
        """All of it line by line, each with its number from 1 and without its end.

        Args:
            remedy: What mends a manifest of this format.

        Raises:
            BackupFailed: The last line has no end.
        """
        with self._open(self.name, self.name) as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    raise unusable("it was cut: its last line has no end", remedy=remedy)
                yield number, text_of(line[:-1].removesuffix(b"\r"))

    def beside(self) -> list[str]:
        """The names of what lies in the same directory."""
        try:
            place = resolve(self._root, os.fsencode(self.folder))
        except ValueError:  # the manifest itself was found there, so only a change under our hands gives this
            place = None
        if place is None:
            return []
        descriptor = os.open(place or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            return sorted(os.listdir(descriptor))  # noqa: PTH208 - of a descriptor
        finally:
            os.close(descriptor)

    def read(self, name: str) -> bytes:
        """A file of the same directory.

        Raises:
            BackupFailed: As for the manifest itself.
        """
        with self._open(f"{self.folder}/{name}" if self.folder else name, name) as file:
            return file.read()

    def holds(self, path: str) -> bool:
        """Whether something is in the tree under a path from its root; links inside the tree are followed."""
        try:
            return resolve(self._root, os.fsencode(path)) is not None
        except ValueError:
            return False

    def _open(self, path: str, name: str) -> BinaryIO:
        try:
            real = resolve(self._root, os.fsencode(path))
        except ValueError as problem:
            raise unusable("it is a link that leads outside the tree", name) from problem
        if real is None:
            raise unusable("it is not in the tree", name)
        status = os.stat(real or b".", dir_fd=self._root, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise unusable("it is no file, or far too large", name)
        return os.fdopen(os.open(real, _OPEN, dir_fd=self._root), "rb")


class Listing:
    """Collects the entries of a manifest, and refuses what no honest one says.

    Args:
        remedy: How to write a manifest of this format that can be used.
    """

    def __init__(self, source: Source, remedy: str) -> None:
        self.source = source
        self._remedy = remedy
        self.entries: dict[str, Entry] = {}
        self.notes: list[str] = []

    def path(self, name: str) -> str:
        """The path from the root of the tree of a name in the manifest, ``""`` for the root itself.

        Raises:
            BackupFailed: It is empty, absolute, or leads outside the tree.
        """
        return path_of(self.source.folder, name)

    def add(self, name: str, entry: Entry) -> None:
        """Take in one entry. The manifest's own is passed over: it was written while the list was.

        Raises:
            BackupFailed: The name is hostile, is listed again with something else, or a file has no digest.
        """
        path = self.path(name)
        if path == self.source.name:
            if LISTS_ITSELF not in self.notes:
                self.notes.append(LISTS_ITSELF)
            return
        if entry.kind == FILE and not entry.algorithms:
            raise unusable("it lists a file without a digest that can be verified here", name, remedy=self._remedy)
        if self.entries.setdefault(path, entry) != entry:
            raise unusable("it lists a name again, with something else recorded", name, remedy=self._remedy)


LISTS_ITSELF = "the manifest lists itself: that line was passed over"


class ManifestFormat(ABC):
    """One way of writing a manifest.

    Attributes:
        names: What such a manifest is called where nobody says so, most trusted first.
    """

    name: ClassVar[str]
    names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a file that begins with these bytes (at most :data:`HEAD`) is of this format."""

    @abstractmethod
    def read(self, source: Source) -> Manifest:
        """Read all of it.

        Raises:
            BackupFailed: It is malformed, or names files outside the tree (stage ``content``).
        """


@cache
def algorithm(written: str) -> digests.Algorithm | None:
    """The algorithm that a manifest calls so, ``None`` for one that cannot be computed here."""
    return digests.find(digests.canonical(written))


@cache
def usual_names() -> tuple[str, ...]:
    """What manifests of every format are called where nobody says so, most trusted first."""
    known = [name for each in sorted(names("manifests"), key=_SUMS.__ne__) for name in load("manifests", each).names]
    weak = [name for name in known if _is_weak(name)]
    return (*(name for name in known if name not in weak), *weak)


def _is_weak(name: str) -> bool:
    stated = algorithm_of_name(name)
    return bool(stated) and digests.is_weak(digests.canonical(stated))


def path_of(folder: str, name: str) -> str:
    """The path from the root of the tree of a name in a manifest that lies in a folder of it.

    Raises:
        BackupFailed: It is empty, absolute, or leads outside the tree.
    """
    if not name:
        raise unusable("a line names no file", name)
    if name[0] == "/":
        raise unusable("it lists absolute names; write it inside the directory (cd DIR && sha256sum …)", name)
    if "\0" in name:
        raise unusable("it lists a name with a NUL byte, which no file has", name)
    path = f"{folder}/{name}" if folder else name
    if "//" in path or "/." in path or path[0] == "." or path[-1] == "/":
        path = posixpath.normpath(path)
    if path == ".." or path.startswith("../"):
        raise unusable("it lists files outside the tree", name)
    return "" if path == "." else path


def text_of(data: bytes) -> str:
    """A manifest's text; as in names of files, bytes that are not UTF-8 survive."""
    return data.decode("utf-8", "surrogateescape")


def unusable(why: str, name: str = "", *, remedy: str = "") -> BackupFailed:
    """The error for a manifest that proves nothing."""
    return BackupFailed(
        why,
        remedy=remedy
        or "Write the manifest where the backup is made: cd DIR && find . -type f -print0 | xargs -0 sha256sum.",
        stage=Stage.CONTENT,
        details=(ascii(name)[1:-1],) if name else (),
    )
