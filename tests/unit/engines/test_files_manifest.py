from __future__ import annotations

import hashlib
import os
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall

from restore_drill.engines.files_probe import examine, hash_tree
from restore_drill.engines.trees.manifest import read_manifest
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree in ``tmp_path/restored`` with names of every kind."""
    root = tmp_path / "restored"
    for name in ("a", "d/b", "d/e/c", "d/ü", "x y/z", "new\nline", "back\\slash", "many/" + "n" * 200):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode() * 300)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_bytes(b"bytes")
    (root / "large").write_bytes(os.urandom((3 << 20) + 17))
    (root / "empty").write_bytes(b"")
    return root


def write_manifest(root: Path, program: str = "sha256sum", name: str = "SHA256SUMS") -> Path:
    files = sorted(
        os.fsencode(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != name
    )
    listed = subprocess.run([program, *(b"./" + file for file in files)], cwd=root, check=True, capture_output=True)
    (root / name).write_bytes(listed.stdout)
    return root / name


def compared(root: Path, threads: int = 1, name: str = "SHA256SUMS", **more: Any) -> dict[str, Any]:
    call = DirectCall(root.parent)
    return hash_tree(call, root=root.name, manifest=name, threads=threads, **more)


def counts(found: dict[str, Any]) -> tuple[int, ...]:
    return tuple(found[key] for key in ("listed", "verified", "mismatched", "missing", "extra"))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_tree_that_matches(tree: Path, threads: int) -> None:
    write_manifest(tree)
    found = compared(tree, threads)
    assert counts(found) == (11, 11, 0, 0, 0)
    assert found["algorithm"] == "sha256" and found["notes"] == []
    assert found["bytes"] == sum(
        path.stat().st_size for path in tree.rglob("*") if path.is_file() and path.name != "SHA256SUMS"
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda root: (root / "d/b").write_bytes(b"D/b" * 300), (11, 10, 1, 0, 0)),
        (lambda root: os.truncate(root / "large", 3 << 20), (11, 10, 1, 0, 0)),
        (lambda root: (root / "empty").write_bytes(b"\n"), (11, 10, 1, 0, 0)),
        (lambda root: (root / "x y/z").unlink(), (11, 10, 0, 1, 0)),
        (lambda root: (root / "d").rename(root / "f"), (11, 8, 0, 3, 3)),
        (lambda root: (root / "d/more").write_bytes(b"1"), (11, 11, 0, 0, 1)),
        (lambda root: (root / "a").rename(root / "b"), (11, 10, 0, 1, 1)),
        (lambda root: ((root / "a").unlink(), (root / "a").mkdir()), (11, 10, 1, 0, 0)),
        (lambda root: ((root / "a").unlink(), os.mkfifo(root / "a")), (11, 10, 1, 0, 0)),
        (lambda root: ((root / "a").unlink(), (root / "a").symlink_to("/etc/hostname")), (11, 10, 0, 1, 0)),
        (lambda root: ((root / "a").unlink(), (root / "a").symlink_to("d/b")), (11, 10, 1, 0, 0)),
        (lambda root: ((root / "a").unlink(), (root / "a").symlink_to("a")), (11, 10, 0, 1, 0)),
    ],
)
def test_a_tree_that_does_not(
    tree: Path, threads: int, damage: Callable[[Path], object], expected: tuple[int, ...]
) -> None:
    write_manifest(tree)
    damage(tree)
    found = compared(tree, threads)
    assert counts(found) == expected
    assert len([line for line in found["details"] if " in " not in line or "manifest" in line]) == sum(expected[2:])


def test_what_the_manifest_need_not_list(tree: Path) -> None:
    write_manifest(tree)
    for name in ("lost+found/1", "cache/x.tmp", "y.tmp", "cache/y"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b"1")
    assert compared(tree)["extra"] == 4
    assert compared(tree, ignore=["lost+found/**", "**/*.tmp"])["extra"] == 1
    (tree / "a").unlink()
    assert compared(tree, ignore=["**"])["missing"] == 1


def test_links_and_directories_are_not_extra_files(tree: Path) -> None:
    write_manifest(tree)
    (tree / "link").symlink_to("a")
    (tree / "void").mkdir()
    assert compared(tree)["extra"] == 0


def test_files_listed_through_links_inside_the_tree(tree: Path) -> None:
    """As when it was written with ``sha256sum current/*``."""
    (tree / "current").symlink_to("d")
    (tree / "chain").symlink_to("current/b")
    (tree / "SUMS.sha256").write_bytes(
        subprocess.run(
            ["sha256sum", "current/b", "current/e/c", "chain"], cwd=tree, check=True, capture_output=True
        ).stdout
    )
    found = compared(tree, name="SUMS.sha256")
    assert counts(found) == (3, 3, 0, 0, 9)
    assert not any(line.startswith(("d/b ", "d/e/c ")) for line in found["details"])


def test_nothing_outside_the_tree_is_ever_read(tree: Path) -> None:
    secret = tree.parent / "secret"
    secret.write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    (tree / "out").symlink_to("..")
    (tree / "file").symlink_to(secret)
    (tree / "SHA256SUMS").write_text(f"{digest}  out/secret\n{digest}  file\n")
    assert counts(compared(tree))[:4] == (2, 0, 0, 2)
    (tree / "SHA256SUMS").unlink()
    (tree / "SHA256SUMS").symlink_to("../secret")
    with pytest.raises(BackupFailed, match="a link that leads outside"):
        compared(tree)


def test_a_manifest_in_a_directory_speaks_of_that_directory(tree: Path) -> None:
    write_manifest(tree / "d")
    found = compared(tree, name="./d/SHA256SUMS")
    assert counts(found)[:4] == (3, 3, 0, 0)
    assert found["extra"] == 8


@pytest.mark.parametrize(
    ("program", "algorithm"), [("sha1sum", "sha1"), ("md5sum", "md5"), ("sha512sum", "sha512"), ("sha224sum", "sha224")]
)
def test_other_algorithms(tree: Path, program: str, algorithm: str) -> None:
    name = f"{program.removesuffix('sum').upper()}SUMS"
    write_manifest(tree, program, name)
    found = compared(tree, name=name)
    assert counts(found) == (11, 11, 0, 0, 0)
    assert found["algorithm"] == algorithm
    assert bool(found["notes"]) is (algorithm in ("sha1", "md5"))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no digest line"), ("hello\n", "line 1 is not a digest line"),
        ("0" * 64 + "  /etc/passwd\n", "absolute names"),
        ("0" * 64 + "  ../x\n", "outside the tree"), ("0" * 64 + "  d/../../x\n", "outside the tree"),
        ("0" * 64 + "\n", "names no file"), ("0" * 64 + "  a\n" + "1" * 64 + "  a\n", "lists a name again"),
        ("0" * 64 + "  a\n" + "1" * 64 + "  d/../a\n", "lists a name again"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_used(tree: Path, text: str, cause: str) -> None:
    (tree / "SHA256SUMS").write_text(text)
    with pytest.raises(BackupFailed, match=cause) as caught:
        compared(tree)
    assert caught.value.stage is Stage.VERIFY
    facts = examine(DirectCall(tree.parent), root=tree.name, manifest="SHA256SUMS")
    assert list(facts["manifest"]) == ["problem", "remedy"] and facts["files"] == 12


@pytest.mark.parametrize("name", ["nothing", "d", "d/../../x", "../x"])
def test_a_manifest_that_is_not_there(tree: Path, name: str) -> None:
    with pytest.raises(BackupFailed, match=r"not in the tree|no file|outside"):
        compared(tree, name=name)


def test_the_deadline_is_kept(tree: Path) -> None:
    write_manifest(tree)
    call = DirectCall(tree.parent, until=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        hash_tree(call, root=tree.name, manifest="SHA256SUMS", threads=2)


def test_counts_and_globs_without_a_manifest(tree: Path) -> None:
    (tree / "link").symlink_to("a")
    newest = tree / "d/e/c"
    os.utime(newest, ns=(0, 4_000_000_000_500_000_000))
    facts = examine(
        DirectCall(tree.parent),
        root=tree.name,
        must_exist=["d/", "d/**", "*.nothing", "**/e/c"],
        must_not_exist=["**/*.tmp", "x y/*"],
    )
    assert {key: facts[key] for key in ("files", "directories", "links", "others", "newest")} == {
        "files": 11, "directories": 4, "links": 1, "others": 0, "newest": 4_000_000_000.5,
    }  # fmt: skip
    assert facts["bytes"] == sum(
        path.lstat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert facts["must_exist"] == {"d/": 1, "d/**": 4, "*.nothing": 0, "**/e/c": 1}
    assert facts["must_not_exist"] == {"**/*.tmp": 0, "x y/*": 1}
    assert "manifest" not in facts and "x y/z matches x y/*" in facts["details"]


def test_lines_by_several_algorithms_are_as_good_as_the_weakest(tree: Path) -> None:
    lines = write_manifest(tree).read_bytes().splitlines(keepends=True)
    weak = subprocess.run(["md5sum", "a"], cwd=tree, check=True, capture_output=True).stdout
    (tree / "SUMS").write_bytes(b"".join([line for line in lines if not line.endswith(b"  ./a\n")]) + weak)
    found = compared(tree, name="SUMS")
    assert counts(found) == (11, 11, 0, 0, 0) and found["algorithm"] == "md5"
    assert found["notes"] == ["the manifest has 1 digests of md5: collisions can be made"]
    (tree / "a").write_bytes(b"another")
    assert counts(compared(tree, name="SUMS")) == (11, 10, 1, 0, 0)


def test_a_list_of_very_many_files_takes_little_memory(tmp_path: Path) -> None:
    """Of each file its name, its digest and where they lie; the text of the list is never in memory as a whole."""
    root = tmp_path / "restored"
    root.mkdir()
    number = 12_000
    digest = hashlib.sha256(b"").hexdigest()
    names = [f"./some/directory/{one:06d}" for one in range(number)]
    (root / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name in names))
    head = "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n"
    (root / "hashdeep.txt").write_text(head + "".join(f"0,{digest[:32]},{digest},{name}\n" for name in names))
    for name, most in (("SHA256SUMS", 400), ("hashdeep.txt", 600)):
        descriptor = os.open(root, os.O_RDONLY)
        try:
            read_manifest(descriptor, name)  # what is imported and compiled once
            tracemalloc.start()
            manifest = read_manifest(descriptor, name)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            os.close(descriptor)
        assert len(manifest.listed) == number
        assert peak < number * most + (4 << 20), peak


def test_files_below_directories_are_counted(tree: Path) -> None:
    (tree / "d/link").symlink_to("b")
    below = ["d/", "d/e/", "many/", "nothing/", "a/"]
    assert examine(DirectCall(tree.parent), root=tree.name, below=below)["below"] == [3, 1, 1, 0, 0]


def test_names_that_differ_only_in_case_are_noted(tree: Path) -> None:
    """Also the walk that a manifest is compared with says so, and no name of them is in the note."""
    write_manifest(tree)
    assert examine(DirectCall(tree.parent), root=tree.name, must_exist=["a"])["notes"] == []
    for name in ("D/b", "many/STRASSE", "many/stra\u00dfe", "many/Strasse", "d/e/C"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b"1")
    for rule in ({"must_exist": ["a"]}, {"manifest": "SHA256SUMS"}):
        (note,) = examine(DirectCall(tree.parent), root=tree.name, **rule)["notes"]
        assert note.startswith("4 names differ only in case")


def test_a_glob_that_means_nothing_is_no_fault_of_the_backup(tree: Path) -> None:
    with pytest.raises(CouldNotVerify, match="between slashes"):
        examine(DirectCall(tree.parent), root=tree.name, must_exist=["**.tmp"])


def test_a_root_outside_the_work_directory_is_refused(tree: Path) -> None:
    with pytest.raises(CouldNotVerify, match="work directory"):
        examine(DirectCall(tree), root="../restored")
    with pytest.raises(CouldNotVerify, match="cannot be read"):
        examine(DirectCall(tree), root="nothing")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("when", [1_700_000_000, 4_000_000_000, -5_000])
def test_a_tree_is_counted_alike_with_and_without_a_manifest(tree: Path, threads: int, when: int) -> None:
    """Listed files are looked at by who hashes them, others by the walk: each counts once."""
    write_manifest(tree)
    (tree / "a").write_bytes(b"another")
    (tree / "d" / "b").unlink()
    (tree / "d" / "b").symlink_to("e/c")
    (tree / "empty").unlink()
    os.mkfifo(tree / "empty")
    (tree / "x y" / "z").unlink()
    (tree / "x y" / "z").mkdir()
    (tree / "more").write_bytes(b"not listed")
    os.link(tree / "more", tree / "again")
    for path in tree.rglob("*"):
        os.utime(path, (0, -9_000), follow_symlinks=False)
    for newest in ("d/e/c", "more"):  # a listed one, and one that is not
        os.utime(tree / newest, (0, when))
        call = DirectCall(tree.parent)
        plain = examine(call, root=tree.name, threads=threads)
        listed = examine(call, root=tree.name, manifest="SHA256SUMS", threads=threads)
        assert listed["manifest"]["mismatched"] and listed["manifest"]["extra"]
        for name in ("files", "directories", "links", "others", "bytes", "newest"):
            assert listed[name] == plain[name], name
        assert plain["newest"] == when
        os.utime(tree / newest, (0, -9_000))


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_is_left_open(tree: Path, threads: int) -> None:
    write_manifest(tree)
    before = sorted(Path("/proc/self/fd").iterdir())
    compared(tree, threads)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
