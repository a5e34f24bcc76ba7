"""Archives that GNU tar, bsdtar and Python write come back as GNU tar itself brings them back."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import look, plain_tree, rich_tree

from restore_drill.errors import BackupFailed

Unpack = Callable[..., dict[str, Any]]
Require = Callable[[str], str]

GNU_SPARSE = [
    ["--format=gnu", "--sparse"],
    *(["--format=posix", "--sparse", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0")),
]
GNU_RICH = [["--format=gnu"], ["--format=oldgnu"], ["--format=posix"], *GNU_SPARSE]
GNU_PLAIN = [["--format=v7"], ["--format=ustar"], ["--format=gnu", "-b1"], ["--format=gnu", "-b126"]]
BSD_RICH = [["--format=pax"], ["--format=gnutar"]]
BSD_PLAIN = [["--format=ustar"], ["--format=pax"]]


def made_by(program: list[str], tree: Path, *names: str) -> bytes:
    return subprocess.run(
        [*program, "-c", "-f", "-", "-C", str(tree), *(names or (".",))], check=True, capture_output=True
    ).stdout


def extracted(tar: str, data: bytes, into: Path, *options: str) -> Path:
    into.mkdir()
    subprocess.run([tar, "-x", "-p", "--numeric-owner", "-f", "-", *options], cwd=into, input=data, check=True)
    return into


@pytest.mark.parametrize("options", GNU_RICH, ids=" ".join)
def test_what_gnu_tar_writes_of_a_rich_tree(
    tmp_path: Path, unpack: Unpack, require_program: Require, options: list[str]
) -> None:
    tar = require_program("tar")
    tree = rich_tree(tmp_path / "tree")
    data = made_by([tar, *options], tree)
    facts = unpack(data)
    ours, theirs = tmp_path / "work" / "root", extracted(tar, data, tmp_path / "theirs")
    assert look(ours) == look(theirs)
    exact = options[0] == "--format=posix"
    assert look(ours, seconds=not exact) == look(tree, seconds=not exact)
    assert facts["files"] == sum(1 for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    assert ours.stat().st_mode == tree.stat().st_mode


@pytest.mark.parametrize("options", GNU_PLAIN, ids=" ".join)
def test_what_gnu_tar_writes_of_a_plain_tree(
    tmp_path: Path, unpack: Unpack, require_program: Require, options: list[str]
) -> None:
    tar = require_program("tar")
    tree = plain_tree(tmp_path / "tree")
    unpack(made_by([tar, *options], tree))
    assert look(tmp_path / "work" / "root") == look(tree)


@pytest.mark.parametrize("options", BSD_RICH, ids=" ".join)
def test_what_bsdtar_writes_of_a_rich_tree(
    tmp_path: Path, unpack: Unpack, require_program: Require, options: list[str]
) -> None:
    bsdtar = require_program("bsdtar")
    tree = rich_tree(tmp_path / "tree")
    data = made_by([bsdtar, *options], tree)
    unpack(data)
    assert look(tmp_path / "work" / "root") == look(extracted(bsdtar, data, tmp_path / "theirs"))


@pytest.mark.parametrize("options", BSD_PLAIN, ids=" ".join)
def test_what_bsdtar_writes_of_a_plain_tree(
    tmp_path: Path, unpack: Unpack, require_program: Require, options: list[str]
) -> None:
    tree = plain_tree(tmp_path / "tree")
    unpack(made_by([require_program("bsdtar"), *options], tree))
    assert look(tmp_path / "work" / "root") == look(tree)


@pytest.mark.parametrize(
    ("form", "make"),
    [(tarfile.USTAR_FORMAT, plain_tree), (tarfile.GNU_FORMAT, rich_tree), (tarfile.PAX_FORMAT, rich_tree)],
)
def test_what_python_writes(
    tmp_path: Path, unpack: Unpack, require_program: Require, form: int, make: Callable[[Path], Path]
) -> None:
    tree = make(tmp_path / "tree")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        archive.add(tree, ".")
    unpack(out.getvalue())
    theirs = extracted(require_program("tar"), out.getvalue(), tmp_path / "theirs")
    assert look(tmp_path / "work" / "root") == look(theirs)


@pytest.mark.parametrize("options", GNU_SPARSE, ids=" ".join)
def test_holes_stay_holes(tmp_path: Path, unpack: Unpack, require_program: Require, options: list[str]) -> None:
    tree = rich_tree(tmp_path / "tree")
    data = made_by([require_program("tar"), *options], tree, "holes")
    assert len(data) < 100_000
    unpack(data)
    status = (tmp_path / "work" / "root" / "holes").stat()
    assert status.st_size == 9 << 20
    assert status.st_blocks * 512 < 1 << 20


def test_a_file_with_very_many_holes(tmp_path: Path, unpack: Unpack, require_program: Require) -> None:
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree" / "holes").open("wb") as file:
        for number in range(300):
            file.seek(number * 16_384)
            file.write(b"%4096d" % number)
    for number, options in enumerate(GNU_SPARSE):
        unpack(made_by([require_program("tar"), *options], tmp_path / "tree"), str(number))
        assert (tmp_path / "work" / str(number) / "holes").read_bytes() == (tmp_path / "tree" / "holes").read_bytes()


def test_the_root_entry_gives_the_root_its_mode_and_time(
    tmp_path: Path, unpack: Unpack, require_program: Require
) -> None:
    tree = plain_tree(tmp_path / "tree")
    tree.chmod(0o2751)
    os.utime(tree, ns=(10**18, 10**18))
    unpack(made_by([require_program("tar")], tree, "."))
    status = (tmp_path / "work" / "root").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o2751, 10**18)


def test_names_without_a_leading_dot_give_the_same_tree(
    tmp_path: Path, unpack: Unpack, require_program: Require
) -> None:
    tree = plain_tree(tmp_path / "tree")
    dotted = unpack(made_by([require_program("tar")], tree, "."), "a")
    bare = unpack(made_by([require_program("tar")], tree, "etc", "srv"), "b")
    files = unpack(made_by([require_program("tar")], tree, "etc/app.toml", "etc/hosts", "etc/link", "srv"), "c")
    assert dotted["digest"] == bare["digest"] == files["digest"]
    assert dotted["directories"] == files["directories"] == 4


def test_an_incremental_archive_restores_what_it_holds(
    tmp_path: Path, unpack: Unpack, require_program: Require
) -> None:
    tree = plain_tree(tmp_path / "tree")
    program = [require_program("tar"), f"--listed-incremental={tmp_path / 'snar'}"]
    full = unpack(made_by(program, tree), "full")
    (tree / "etc" / "new").write_bytes(b"new\n")
    later = unpack(made_by(program, tree), "later")
    assert full["files"] == 6 and later["files"] == 1
    assert (tmp_path / "work" / "later" / "etc" / "new").read_bytes() == b"new\n"
    assert any("incremental" in note for note in later["notes"])


def test_a_volume_label_is_no_member(tmp_path: Path, unpack: Unpack, require_program: Require) -> None:
    tree = plain_tree(tmp_path / "tree")
    for number, form in enumerate(("gnu", "posix")):
        data = made_by([require_program("tar"), f"--format={form}", "--label=nightly"], tree)
        assert unpack(data, str(number))["files"] == 6
        assert look(tmp_path / "work" / str(number)) == look(tree)


def test_parts_of_a_multi_volume_archive_are_refused(tmp_path: Path, unpack: Unpack, require_program: Require) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(60_000))
    volumes = [tmp_path / f"volume-{number}" for number in range(4)]
    command = [
        require_program("tar"),
        "-c",
        "-M",
        "-L",
        "30",
        *(f"--file={path}" for path in volumes),
        "-C",
        str(tree),
        ".",
    ]
    subprocess.run(command, check=True)
    with pytest.raises(BackupFailed, match="ends inside a member") as caught:
        unpack(volumes[0].read_bytes(), "0")
    assert "multi-volume archive (tar -M)" in caught.value.remedy
    with pytest.raises(BackupFailed, match="multi-volume"):
        unpack(volumes[1].read_bytes(), "1")


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_label_names_each_part_of_a_multi_volume_archive(
    tmp_path: Path, unpack: Unpack, require_program: Require, form: str
) -> None:
    (tmp_path / "big").write_bytes(os.urandom(60_000))
    volumes = [tmp_path / f"volume-{number}" for number in range(3)]
    names = [f"--file={path}" for path in volumes]
    options = [f"--format={form}", "-c", "-M", "-V", "weekly", "-L", "30", *names]
    subprocess.run([require_program("tar"), *options, "big"], check=True, cwd=tmp_path)
    for number, volume in enumerate(volumes):
        with pytest.raises(BackupFailed, match="one part of a multi-volume archive"):
            unpack(volume.read_bytes(), f"{number}")
    subprocess.run([require_program("tar"), *options[:5], "-L", "90", names[0], "big"], check=True, cwd=tmp_path)
    assert unpack(volumes[0].read_bytes(), "whole")["notes"] == ["volume labels passed over: 1"]


def test_an_appended_version_of_a_file_is_a_duplicate(tmp_path: Path, unpack: Unpack, require_program: Require) -> None:
    tar, tree, path = require_program("tar"), plain_tree(tmp_path / "tree"), tmp_path / "a.tar"
    subprocess.run([tar, "-cf", str(path), "-C", str(tree), "etc/hosts"], check=True)
    subprocess.run([tar, "-rf", str(path), "-C", str(tree), "etc/app.toml"], check=True)
    assert unpack(path.read_bytes(), "good")["files"] == 2
    subprocess.run([tar, "-rf", str(path), "-C", str(tree), "etc/hosts"], check=True)
    with pytest.raises(BackupFailed, match="same path"):
        unpack(path.read_bytes(), "bad")


def test_concatenated_archives_are_read_on_when_allowed(
    tmp_path: Path, unpack: Unpack, require_program: Require
) -> None:
    tar, tree = require_program("tar"), plain_tree(tmp_path / "tree")
    both = made_by([tar], tree, "etc") + made_by([tar], tree, "srv")
    with pytest.raises(BackupFailed, match="another archive or more members follow") as caught:
        unpack(both, "refused")
    assert "limits.concatenated" in caught.value.remedy
    unpack(both, "taken", concatenated=True)
    theirs = extracted(tar, both, tmp_path / "theirs", "--ignore-zeros")
    assert look(tmp_path / "work" / "taken") == look(theirs) == look(tree)


def test_absolute_names_are_refused(tmp_path: Path, unpack: Unpack, require_program: Require) -> None:
    tree = plain_tree(tmp_path / "tree")
    data = made_by([require_program("tar"), "-P"], tree, str(tree / "etc" / "hosts"))
    with pytest.raises(BackupFailed, match="absolute") as caught:
        unpack(data)
    assert str(tree) not in caught.value.cause + caught.value.remedy
    assert str(tree) in caught.value.details[0]


def test_where_all_readers_are_silent(tmp_path: Path, unpack: Unpack, require_program: Require) -> None:
    """Cut at a member's boundary, GNU tar lists a shorter archive and exits with 0."""
    tar, tree = require_program("tar"), plain_tree(tmp_path / "tree")
    data = made_by([tar], tree)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        cut = data[: archive.getmembers()[-2].offset]
    listed = subprocess.run([tar, "-tf", "-"], input=cut, capture_output=True, check=False)
    assert listed.returncode == 0 and listed.stdout
    with pytest.raises(BackupFailed, match="without end-of-archive blocks"):
        unpack(cut)
