"""What every manifest format must do: subclass :class:`ManifestConformance` in a test module, and pytest runs it.

::

    class TestMyFormat(ManifestConformance):
        manifest = MyManifest

        def write(self, root, lines):
            (root / "my.list").write_text(...)
            return "my.list"

``write`` must write whatever it is given, hostile names included: a writer that mends them would prove nothing.
"""

# ruff: noqa: S101 - assertions are what this is for

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from restore_drill.engines.files_probe import examine
from restore_drill.errors import BackupFailed
from restore_drill.manifests.base import HEAD, ManifestFormat, Source
from restore_drill.model import Stage
from restore_drill.registry import load, names
from restore_drill.sandboxes.base import Call

#: A path below the root of the tree, with the bytes that a manifest says are there.
Line = tuple[str, bytes]

_CONTENT = {
    "etc/app.toml": b'name = "orders"\n',
    "srv/a.bin": bytes(range(256)) * 5000,
    "srv/deep/er/b": b"b\n",
    "srv/empty": b"",
    "zz": b"last\n",
}
_HOSTILE = ("/etc/hostname", "../outside", "srv/../../outside", "..")
_DAMAGE: dict[str, tuple[Callable[[Path], object], tuple[int, int, int]]] = {
    "one byte": (lambda data: (data / "srv/a.bin").write_bytes(b"\1" + _CONTENT["srv/a.bin"][1:]), (1, 0, 0)),
    "longer": (lambda data: (data / "etc/app.toml").write_bytes(_CONTENT["etc/app.toml"] + b"\n"), (1, 0, 0)),
    "emptied": (lambda data: os.truncate(data / "srv/deep/er/b", 0), (1, 0, 0)),
    "no longer empty": (lambda data: (data / "srv/empty").write_bytes(b"\n"), (1, 0, 0)),
    "missing": (lambda data: (data / "zz").unlink(), (0, 1, 0)),
    "extra": (lambda data: (data / "srv/more").write_bytes(b"1"), (0, 0, 1)),
    "renamed": (lambda data: (data / "zz").rename(data / "zzz"), (0, 1, 1)),
    "a FIFO instead": (lambda data: _instead(data / "zz", os.mkfifo), (1, 0, 0)),
    "a directory instead": (lambda data: _instead(data / "zz", Path.mkdir), (1, 0, 0)),
}


def _instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


class ManifestConformance(ABC):
    """The contract of :class:`restore_drill.manifests.base.ManifestFormat`.

    Attributes:
        manifest: The format.
        below: The directory of the tree whose files it lists, ``""`` for all of it.
        awkward: Names that it can hold.
    """

    manifest: ClassVar[type[ManifestFormat]]
    below: ClassVar[str] = ""
    awkward: ClassVar[tuple[str, ...]] = (
        "a b", " leading", "-dash", "#hash", "*star", "100%25", "%0A", "comma,name", "eq=a", "back\\slash", "ünï",
        "(x) = y", "\udcff\udcfe", "tab\there", "new\nline", "return\rthere",
    )  # fmt: skip

    @abstractmethod
    def write(self, root: Path, lines: Iterable[Line]) -> str:
        """Write a manifest with these lines into a tree, with a SHA-256 each; returns its path in the tree."""

    def list_of(self, root: Path, name: str) -> Path:
        """The file that holds the lines, where that is another one."""
        return root / name

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """A small tree."""
        return self._grow(tmp_path / "restored", _CONTENT)

    def _grow(self, root: Path, content: dict[str, bytes]) -> Path:
        for name, data in content.items():
            path = root / self.below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return root

    def _lines(self, content: dict[str, bytes] = _CONTENT) -> list[Line]:
        return [(f"{self.below}/{name}" if self.below else name, data) for name, data in content.items()]

    def test_it_recognises_itself_and_nobody_else_does(self, tree: Path) -> None:
        """By what it holds."""
        head = (tree / self.write(tree, self._lines())).read_bytes()[:HEAD]
        assert self.manifest.recognises(head)
        assert [name for name in names("manifests") if load("manifests", name).recognises(head)] == [self.manifest.name]

    @pytest.mark.parametrize("head", [b"", b"\n", b"lorem ipsum\n", b"\0" * 600, b"PK\x03\x04", b"\x1f\x8b\x08"])
    def test_it_recognises_nothing_else(self, head: bytes) -> None:
        """Neither an empty file nor something else."""
        assert not self.manifest.recognises(head)

    @pytest.mark.parametrize("threads", [1, 2])
    def test_a_whole_tree_is_verified(self, tree: Path, threads: int) -> None:
        """Every file, with nothing missing and nothing too much."""
        found = compare(tree, self.write(tree, self._lines()), threads)
        assert _wrong(found) == (0, 0, 0), found
        assert found["manifest"]["verified"] == found["manifest"]["listed"] >= len(_CONTENT)
        assert found["manifest"]["algorithm"] == "sha256"

    @pytest.mark.parametrize("damage", _DAMAGE)
    def test_every_damage_is_found(self, tree: Path, damage: str) -> None:
        """Both ways, and told apart."""
        name = self.write(tree, self._lines())
        harm, expected = _DAMAGE[damage]
        harm(tree / self.below)
        found = compare(tree, name)
        assert _wrong(found) == expected, found

    def test_awkward_names(self, tree: Path) -> None:
        """What the format can hold is found again, and missed where it is not."""
        content = {name: name.encode("utf-8", "surrogateescape") for name in self.awkward}
        self._grow(tree, content)
        name = self.write(tree, self._lines({**_CONTENT, **content}))
        assert _wrong(compare(tree, name)) == (0, 0, 0), compare(tree, name)
        for victim in content:
            (tree / self.below / victim).unlink()
        assert _wrong(compare(tree, name)) == (0, len(content), 0)

    @pytest.mark.parametrize("hostile", _HOSTILE)
    def test_names_outside_the_tree_are_refused(self, tree: Path, hostile: str) -> None:
        """Before anything there is looked at, and named in the details only."""
        (tree.parent / "outside").write_bytes(b"secret")
        name = self.write(tree, [*self._lines(), (hostile, b"secret")])
        with pytest.raises(BackupFailed) as caught:
            read(tree, name)
        problem = caught.value
        assert problem.stage is Stage.CONTENT
        assert problem.remedy
        assert "\n" not in problem.cause
        assert hostile not in (problem.cause, problem.remedy) and "outside the tree" not in problem.remedy

    def test_a_link_leads_nowhere_outside(self, tree: Path) -> None:
        """Nothing outside is read, whatever a link inside says."""
        (tree.parent / "outside").write_bytes(b"secret")
        (tree / self.below / "link").symlink_to(os.path.relpath(tree.parent / "outside", tree / self.below))
        name = self.write(tree, [*self._lines(), *self._lines({"link": b"secret"})])
        found = compare(tree, name)
        assert sum(_wrong(found)) >= 1
        assert found["manifest"]["verified"] == found["manifest"]["listed"] - 1

    def test_a_name_with_two_digests_is_refused(self, tree: Path) -> None:
        """One of them must be wrong; listed again alike it is no contradiction."""
        name = self.write(tree, [*self._lines(), *self._lines({"zz": b"other\n"})])
        with pytest.raises(BackupFailed):
            read(tree, name)
        name = self.write(tree, [*self._lines(), *self._lines({"zz": _CONTENT["zz"]})])
        assert _wrong(compare(tree, name)) == (0, 0, 0)

    def test_a_cut_is_never_a_pass(self, tree: Path) -> None:
        """Wherever it is: it cannot be used, or files are missing from it."""
        name = self.write(tree, self._lines())
        place = self.list_of(tree, name)
        whole = place.read_bytes()
        last = whole.rstrip(b"\r\n")
        for cut in range(0, len(last), 3):
            place.write_bytes(last[:cut])
            found = compare(tree, name)
            assert "problem" in found["manifest"] or any(_wrong(found)), cut
        place.write_bytes(whole)
        assert _wrong(compare(tree, name)) == (0, 0, 0)

    def test_a_line_that_means_nothing_is_refused(self, tree: Path) -> None:
        """A list that is read past its damage proves nothing."""
        name = self.write(tree, self._lines())
        place = self.list_of(tree, name)
        whole = place.read_bytes().split(b"\n")
        place.write_bytes(b"\n".join([*whole[:-2], b"<<<<<<< HEAD", *whole[-2:]]))
        with pytest.raises(BackupFailed):
            read(tree, name)

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\0" * 4096, b"\xff" * 99])
    def test_what_is_no_manifest_is_refused(self, tree: Path, content: bytes) -> None:
        """Also where it was one once."""
        name = self.write(tree, self._lines())
        self.list_of(tree, name).write_bytes(content)
        found = compare(tree, name)
        assert "problem" in found["manifest"] or any(_wrong(found))


class _Call:
    """What a sandbox would hand to the function."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.until = float("inf")


def compare(root: Path, name: str, threads: int = 1) -> dict[str, Any]:
    """Compare a tree with the manifest in it; see :func:`restore_drill.engines.files_probe.examine`."""
    return examine(cast(Call, _Call(root.parent)), root=root.name, manifest=name, threads=threads)


def read(root: Path, name: str) -> None:
    """Only read a manifest.

    Raises:
        BackupFailed: It cannot be used.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        source = Source(descriptor, name)
        head = source.head
        formats = (load("manifests", each) for each in names("manifests"))
        next((each for each in formats if each.recognises(head)), load("manifests", "sums"))().read(source)
    finally:
        os.close(descriptor)


def sha256(data: bytes) -> str:
    """A digest as manifests have it."""
    return hashlib.sha256(data).hexdigest()


def _wrong(found: dict[str, Any]) -> tuple[int, int, int]:
    compared = found["manifest"]
    return compared["mismatched"], compared["missing"], compared["extra"]
