"""What every archive format must do: subclass :class:`ArchiveConformance` in a test module, and pytest runs it.

::

    class TestMyFormat(ArchiveConformance):
        archive = MyArchive

        def build(self, entries):
            return my_writer(entries)

``build`` must write whatever it is given, hostile names included: a writer that mends them would prove nothing.
"""

# ruff: noqa: S101, S311 - assertions are what this is for, and its random data is meant to be the same each time

from __future__ import annotations

import contextlib
import os
import random
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from restore_drill.archives.base import Archive
from restore_drill.archives.digest import DigestBook, TreeDigest
from restore_drill.archives.members import Member, TreeLimits, Type
from restore_drill.archives.tree import TreeWriter
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: A member and its data.
Entry = tuple[Member, bytes]

_NO_LIMITS = TreeLimits()
_TIME = 1_700_000_000 * 10**9


def entry(name: str | bytes, data: bytes = b"", **more: Any) -> Entry:
    """A member; a regular file unless ``type`` says otherwise. Times are whole seconds, which every format can hold."""
    path = name.encode() if isinstance(name, str) else name
    fields = {"type": Type.FILE, "size": len(data), "stored": len(data), "mtime": _TIME, **more}
    return Member(path, **fields), data


def directory(name: str, mode: int = 0o755) -> Entry:
    """A directory member."""
    return entry(name, type=Type.DIRECTORY, mode=mode)


def link(name: str, target: str, kind: Type = Type.SYMLINK) -> Entry:
    """A symbolic or hard link."""
    return entry(name, type=kind, mode=0o777, target=target.encode())


def tree_of_everything() -> list[Entry]:
    """An honest tree: directories, files of awkward sizes, links, odd but harmless names."""
    source = random.Random(7)
    entries = [directory("docs", 0o750), directory("docs/empty")]
    entries += [
        entry(f"docs/{size}.bin", source.randbytes(size), mode=0o600) for size in (0, 1, 511, 512, 513, 1024, 70_001)
    ]
    entries += [
        entry("docs/read only", b"text\n", mode=0o444),
        entry("docs/ünïcode …", b"text\n"),
        entry("docs/dev-disk-by\\x2duuid.swap", b"backslashes are not always traversal\n"),
        entry("docs/..but not up", b"dots\n"),
        entry("Docs-2/case", b"upper\n", mode=0o755),
        entry("docs-2/case", b"lower\n"),
        link("docs/near", "1.bin"),
        link("docs/up", "../docs-2/case"),
        link("docs/dangling", "nowhere"),
        link("docs-2/hard", "docs/513.bin", Type.HARDLINK),
    ]
    return entries


#: What is hostile → the members that do it; the last one is the culprit.
HOSTILE: dict[str, list[Entry]] = {
    "absolute": [entry("/outside/a")],
    "climbs": [entry("../outside/a")],
    "climbs in the middle": [entry("a/../../outside/a")],
    "climbs at the end": [directory("a/..")],
    "climbs by backslash": [entry("..\\outside\\a")],
    "climbs by mixed slashes": [entry("a/..\\../a")],
    "is the root": [entry(".", b"x")],
    "name too long": [entry("n" * 256)],
    "nested too deep": [entry("/".join(["d"] * 300))],
    "duplicate file": [entry("a", b"1"), entry("./a", b"2")],
    "duplicate link": [link("a", "b"), link("a", "c")],
    "file over directory": [directory("a"), entry("a", b"1")],
    "directory over file": [entry("a", b"1"), directory("a")],
    "below a file": [entry("a", b"1"), entry("a/b", b"2")],
    "absolute link": [link("a", "/outside")],
    "climbing link": [link("a", "../outside")],
    "climbing link in a directory": [link("d/a", "../../outside")],
    "link through a link": [link("d/e/up", ".."), link("a", "d/e/up/../..")],
    "link through a later link": [link("a", "d/x/.."), link("d/x", "..")],
    "write through a link": [directory("d"), link("a", "d"), entry("a/b", b"1")],
    "directory through a link": [directory("d"), link("a", "d"), directory("a/b")],
    "directory over a link": [directory("d"), link("a", "d"), directory("a")],
    "hard link to nothing": [link("a", "b", Type.HARDLINK)],
    "hard link that climbs": [link("a", "../outside/secret", Type.HARDLINK)],
    "hard link to an absolute name": [link("a", "/outside/secret", Type.HARDLINK)],
    "hard link to a directory": [directory("d"), link("a", "d", Type.HARDLINK)],
    "hard link through a link": [directory("d"), entry("d/f", b"1"), link("l", "d"), link("a", "l/f", Type.HARDLINK)],
    "set-user-id": [entry("a", b"1", mode=0o4755)],
    "set-group-id": [entry("a", b"1", mode=0o2755)],
    "sticky file": [entry("a", b"1", mode=0o1755)],
    "fifo": [entry("a", type=Type.FIFO)],
    "character device": [entry("a", type=Type.CHARACTER, device=(1, 3))],
    "block device": [entry("a", type=Type.BLOCK, device=(7, 0))],
}  # fmt: skip

#: The honest twins: what resembles a hostile member and must be taken.
HONEST: dict[str, list[Entry]] = {
    "current directory": [directory("."), directory("./a"), entry("./a/b", b"1")],
    "dots in a name": [entry("a/...", b"1"), entry("..a", b"2"), entry("a..", b"3")],
    "backslash in a name": [entry("a\\b", b"1")],
    "longest name": [entry("n" * 255, b"1")],
    "deep": [entry("/".join(["d"] * 250), b"1")],
    "directory twice": [directory("a"), directory("a/", 0o700), entry("a/b", b"1")],
    "link within": [directory("d"), link("d/a", "../e"), entry("e", b"1")],
    "link through a link within": [directory("d/e"), link("d/x", "e"), link("a", "d/x/../e")],
    "hard link": [entry("a", b"1"), link("b", "./a", Type.HARDLINK), link("c", "b", Type.HARDLINK)],
    "set-group-id directory": [directory("a", 0o2775), directory("tmp", 0o1777)],
    "implied directories": [entry("a/b/c", b"1"), directory("a/b", 0o700)],
}


class ArchiveConformance(ABC):
    """The rules for every archive format; the class attributes say what a format can hold."""

    archive: ClassVar[type[Archive]]
    #: Member types that :meth:`build` can write.
    types: ClassVar[frozenset[Type]] = frozenset(Type) - {Type.SOCKET}

    @abstractmethod
    def build(self, entries: Sequence[Entry]) -> bytes:
        """An archive of these members, in this order, names as they are."""

    def guarded(self, data: bytes) -> Iterable[range]:  # noqa: ARG002 - a format without checksums has none
        """Where in an archive a flipped bit must be noticed or change nothing; by default nowhere."""
        return ()

    def end(self, data: bytes) -> int:
        """How many bytes must be there before a cut may go unnoticed, as only padding is lost."""
        return len(data)

    def _build(self, entries: Sequence[Entry]) -> bytes:
        return self.build([one for one in entries if one[0].type in self.types])

    def _unpack(self, data: bytes, root: Path, limits: TreeLimits = _NO_LIMITS, chunk: int = 1 << 16) -> dict[str, Any]:
        tree = TreeWriter(root, limits, book=DigestBook(str(root.parent)))
        try:
            self.archive().unpack(pieces(data, chunk), tree)
            return tree.finish()
        finally:
            tree.close()

    def _digest(self, data: bytes, scratch: Path) -> str:
        tree = TreeDigest(TreeLimits(), str(scratch))
        try:
            self.archive().unpack(pieces(data, 1 << 16), tree)
            return str(tree.finish()["digest"])
        finally:
            tree.close()

    def test_recognises_itself_and_nothing_else(self) -> None:
        """By the first bytes; text, compressed data and noise are something else."""
        assert self.archive.recognises(self._build(tree_of_everything())[:1024])
        noise = random.Random(1).randbytes(1024)
        for other in (b"", b"x", b"hello, world\n" * 100, b"\x1f\x8b\x08" + bytes(1021), noise):
            assert not self.archive.recognises(other)

    def test_gives_back_what_was_put_in(self, tmp_path: Path) -> None:
        """Contents, links, modes, times and names."""
        entries = [one for one in tree_of_everything() if one[0].type in self.types]
        facts = self._unpack(self.build(entries), tmp_path / "root")
        for member, data in entries:
            check_member(tmp_path / "root", member, data)
        kinds = [member.type for member, _ in entries]
        assert facts["files"] == kinds.count(Type.FILE) + kinds.count(Type.HARDLINK)
        assert facts["links"] == kinds.count(Type.SYMLINK)
        assert facts["directories"] == len([path for path in (tmp_path / "root").rglob("*") if is_directory(path)])

    @pytest.mark.parametrize("chunk", [1, 7, 511, 512, 513, 4096, 10_240, 1 << 20])
    def test_does_not_care_how_the_stream_is_cut(self, tmp_path: Path, chunk: int) -> None:
        """Chunks of any size give the same tree, and the tree digest is the same with and without writing."""
        data = self._build(tree_of_everything())
        assert self._unpack(data, tmp_path / "root", chunk=chunk)["digest"] == self._digest(data, tmp_path)

    def test_an_empty_stream_is_no_archive(self, tmp_path: Path) -> None:
        """Nothing is not an archive without members."""
        self._refused(b"", tmp_path / "root")

    def test_every_cut_is_noticed(self, tmp_path: Path) -> None:
        """At every block and in many odd places; where only padding is lost, nothing else is."""
        data = self._build(tree_of_everything())
        digest = self._digest(data, tmp_path)
        source = random.Random(3)
        cuts = {*range(0, len(data), 512), *(source.randrange(len(data)) for _ in range(100)), len(data) - 1}
        for number, cut in enumerate(sorted(cuts)):
            if cut < self.end(data):
                self._refused(data[:cut], tmp_path / str(number))
            else:
                assert self._digest(data[:cut], tmp_path) == digest

    def test_what_follows_the_end_is_noticed(self, tmp_path: Path) -> None:
        """A newline, a block of text, noise, and another archive."""
        data = self._build(tree_of_everything())
        for number, more in enumerate((b"\n", b"x" * 512, random.Random(5).randbytes(5000), data)):
            self._refused(data + more, tmp_path / str(number))

    def test_flipped_bits_in_guarded_places_never_change_the_tree(self, tmp_path: Path) -> None:
        """Either the archive is refused, or what comes back is the same in every respect."""
        data = self._build(tree_of_everything())
        expected = look_at(tmp_path / "good", self._unpack(data, tmp_path / "good"))
        source = random.Random(11)
        places = [place for one in self.guarded(data) for place in one]
        for number, place in enumerate(source.sample(places, min(len(places), 400))):
            flipped = bytearray(data)
            flipped[place] ^= 1 << source.randrange(8)
            root = tmp_path / str(number)
            with contextlib.suppress(BackupFailed):
                assert look_at(root, self._unpack(bytes(flipped), root)) == expected

    def test_hostile_members_are_refused(self, tmp_path: Path) -> None:
        """Each kind that the format can hold, and nothing outside the tree is touched."""
        outcomes = {}
        held = {name: those for name, those in HOSTILE.items() if {member.type for member, _ in those} <= self.types}
        for number, (name, entries) in enumerate(held.items()):
            work = tmp_path / str(number)
            (work / "outside").mkdir(parents=True)
            (work / "outside" / "secret").write_bytes(b"secret")
            try:
                self._unpack(self.build(entries), work / "root")
                outcomes[name] = "taken"
            except BackupFailed as problem:
                outcomes[name] = "refused" if problem.stage is Stage.UNPACK and problem.details else "refused badly"
            assert [path.name for path in (work / "outside").iterdir()] == ["secret"]
            assert (work / "outside" / "secret").read_bytes() == b"secret"
            assert (work / "outside" / "secret").stat().st_nlink == 1
            assert sorted(path.name for path in work.iterdir()) == ["outside", "root"]
        assert outcomes == dict.fromkeys(held, "refused")

    @pytest.mark.parametrize("name", HONEST)
    def test_honest_look_alikes_are_taken(self, tmp_path: Path, name: str) -> None:
        """What resembles a hostile member is no reason for an alarm."""
        entries = [one for one in HONEST[name] if one[0].type in self.types]
        data = self.build(entries)
        facts = self._unpack(data, tmp_path / "root")
        assert facts["digest"] == self._digest(data, tmp_path)
        last = {os.path.normpath(member.name): (member, data) for member, data in entries}
        for member, content in last.values():
            check_member(tmp_path / "root", member, content)

    def test_too_many_members_are_refused(self, tmp_path: Path) -> None:
        """One member decides."""
        data = self.build([entry(f"f{number}", b"x") for number in range(10)])
        assert self._unpack(data, tmp_path / "good", TreeLimits(members=10))["members"] == 10
        assert "limits.members" in self._refused(data, tmp_path / "bad", TreeLimits(members=9)).remedy

    def test_too_many_bytes_are_refused(self, tmp_path: Path) -> None:
        """One byte decides."""
        data = self.build([entry(f"f{number}", b"x" * 1000) for number in range(10)])
        assert self._unpack(data, tmp_path / "good", TreeLimits(bytes=10_000))["bytes"] == 10_000
        assert "limits.bytes" in self._refused(data, tmp_path / "bad", TreeLimits(bytes=9_999)).remedy

    def _refused(self, data: bytes, root: Path, limits: TreeLimits = _NO_LIMITS) -> BackupFailed:
        with pytest.raises(BackupFailed) as caught:
            self._unpack(data, root, limits)
        assert caught.value.stage is Stage.UNPACK
        return caught.value


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The data in chunks of one size."""
    return (data[start : start + size] for start in range(0, len(data), size))


def check_member(root: Path, member: Member, data: bytes) -> None:
    """Assert that a member came back as it was described."""
    path = Path(os.fsdecode(os.path.join(os.fsencode(root), member.name)))  # noqa: PTH118 - bytes
    status = path.lstat()
    if member.type is Type.SYMLINK:
        assert os.fsencode(path.readlink()) == member.target
        assert status.st_mtime_ns == member.mtime
    elif member.type is Type.HARDLINK:
        assert status.st_ino == (root / os.fsdecode(member.target)).lstat().st_ino
    else:
        assert stat.S_ISDIR(status.st_mode) == (member.type is Type.DIRECTORY)
        assert stat.S_IMODE(status.st_mode) == member.mode
        assert status.st_mtime_ns == member.mtime
    if member.type is Type.FILE:
        assert path.read_bytes() == data


def look_at(root: Path, facts: dict[str, Any]) -> tuple[Any, ...]:
    """All that matters about a tree: its digest, and modes, times and owners of everything in it."""
    entries = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        owner = (status.st_uid, status.st_gid)
        entries.append((str(path.relative_to(root)), status.st_mode, status.st_mtime_ns, *owner, status.st_size))
    return facts["digest"], entries


def is_directory(path: Path) -> bool:
    """Whether it is a directory itself, and not a link to one."""
    return path.is_dir() and not path.is_symlink()
