from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from tests.support import sevenzip_builder

from restore_drill.archives.digest import DigestBook
from restore_drill.archives.members import TreeLimits, Type
from restore_drill.archives.sevenzip import SevenZipArchive
from restore_drill.archives.tree import TreeWriter
from restore_drill.disk import Workspace
from restore_drill.errors import BackupFailed
from restore_drill.testing.archive import ArchiveConformance, Entry, directory, entry, link, pieces, tree_of_everything


class TestSevenZip(ArchiveConformance):
    archive = SevenZipArchive
    types = frozenset(Type) - {Type.HARDLINK}

    def build(self, entries: Sequence[Entry]) -> bytes:
        return sevenzip_builder.of_entries(entries)

    def guarded(self, data: bytes) -> Iterable[range]:
        # The whole of it, but for the minor version of the format.
        return [range(7), range(8, len(data))]


def unpack(data: bytes, work: Path, limits: TreeLimits = TreeLimits()) -> dict[str, object]:  # noqa: B008
    tree = TreeWriter(work / "root", limits, book=DigestBook(str(work)))
    archive = SevenZipArchive()
    archive.workspace = Workspace(work)
    try:
        archive.unpack(pieces(data, 5000), tree)
        return tree.finish()
    finally:
        tree.close()
        assert [path.name for path in work.iterdir()] in (["root"], [])


SEVEN = ["7zz", "a", "-snl", "-mmt=1", "{to}", "."]
PROGRAMS = {
    "7zz": SEVEN,
    "7zz not solid": [*SEVEN, "-ms=off"],
    "7zz LZMA, plain header": [*SEVEN, "-mhc=off", "-m0=lzma"],
    "7zz bzip2": [*SEVEN, "-m0=bzip2"],
    "bsdtar": ["bsdtar", "--format", "7zip", "-cf", "{to}", "."],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_reads_what_programs_write(name: str, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    original, work, to = tmp_path / "original", tmp_path / "work", tmp_path / "archive.7z"
    program, *arguments = PROGRAMS[name]
    (original / "d" / "empty").mkdir(parents=True)
    work.mkdir()
    (original / "d" / "text").write_bytes(b"some text, compressible: " * 20_000)
    (original / "d" / "noise").write_bytes(os.urandom(300_000))
    (original / "d" / "text").chmod(0o750)
    (original / "ünï code").touch()
    (original / "d" / "link").symlink_to("text")
    command = [require_program(program), *(argument.format(to=to) for argument in arguments)]
    subprocess.run(command, cwd=original, check=True, capture_output=True)
    facts = unpack(to.read_bytes(), work)
    assert (facts["files"], facts["directories"], facts["links"]) == (3, 2, 1)
    for path in original.rglob("*"):
        found = work / "root" / path.relative_to(original)
        assert found.lstat().st_mode == path.lstat().st_mode
        assert found.is_dir() or found.read_bytes() == path.read_bytes()
        assert found.is_symlink() or abs(found.lstat().st_mtime_ns - path.lstat().st_mtime_ns) < 1000


def test_what_the_program_read_from_a_pipe_is_a_file_and_a_fifo_is_none(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    archive, good, bad = tmp_path / "dump.7z", tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    command = [require_program("7zz"), "a", "-sidump.sql", archive]
    subprocess.run(command, input=b"content", check=True, capture_output=True)
    assert unpack(archive.read_bytes(), good)["files"] == 1
    assert (good / "root" / "dump.sql").read_bytes() == b"content"
    assert stat.S_IMODE((good / "root" / "dump.sql").stat().st_mode) == 0o600
    empty = entry("f", b"")[0]._replace(type=Type.FIFO)
    with pytest.raises(BackupFailed, match="FIFO"):
        unpack(sevenzip_builder.of_entries([entry("a", b"x"), (empty, b"")]), bad)


def test_the_program_takes_what_we_take(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """Our own builder and reader could agree with each other and with nobody else."""
    entries = [one for one in tree_of_everything() if one[0].type is not Type.HARDLINK]
    (tmp_path / "archive.7z").write_bytes(sevenzip_builder.of_entries(entries))
    program = require_program("7zz")
    done = subprocess.run([program, "t", tmp_path / "archive.7z"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Everything is Ok" in done.stdout


@pytest.mark.parametrize(
    ("name", "says"), [("d\\file", "holds a backslash"), ("C:/file", "begins with a drive")], ids=["backslash", "drive"]
)
def test_names_of_windows_are_refused(name: str, says: str, tmp_path: Path) -> None:
    honest, other = tmp_path / "honest", tmp_path / "other"
    honest.mkdir()
    other.mkdir()
    twin = sevenzip_builder.of_entries([directory("d"), entry("d/file", b"x")], unix=False)
    assert unpack(twin, honest)["files"] == 1
    with pytest.raises(BackupFailed, match=says) as caught:
        unpack(sevenzip_builder.of_entries([entry(name, b"x")], unix=False), other)
    assert caught.value.details and name not in str(caught.value)


def test_a_bomb_is_refused_before_anything_is_written(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    program, archive = require_program("7zz"), tmp_path / "archive.7z"
    work = tmp_path / "work"
    work.mkdir()
    zeros = subprocess.Popen(["head", "-c", str(300 << 20), "/dev/zero"], stdout=subprocess.PIPE)
    command = [program, "a", "-mx=1", "-sizeros", archive]
    subprocess.run(command, stdin=zeros.stdout, check=True, capture_output=True)
    assert zeros.wait() == 0
    with pytest.raises(BackupFailed, match="more than 1000 times its stored size"):
        unpack(archive.read_bytes(), work)
    assert list((work / "root").iterdir()) == []


def test_a_link_is_a_link_only_within_the_tree(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    unpack(sevenzip_builder.of_entries([entry("a", b"x"), link("b", "a")]), good)
    assert (good / "root/b").readlink() == Path("a")
    with pytest.raises(BackupFailed, match="leads outside"):
        unpack(sevenzip_builder.of_entries([link("b", "../../a")]), bad)
