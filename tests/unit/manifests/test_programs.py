"""What the real programs write is read, and their verdict on a tree is ours: on a good one and on each damaged one."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from restore_drill.errors import BackupFailed
from restore_drill.testing.manifest import compare, read

Require = Callable[[str], str]
#: Names that every one of the programs can hold.
NAMES = ("a", "d/b", "d/e/c,c", "d/ü", "x y/z", "100%25", "eq=a", "#hash", "back\\slash", "many/" + "n" * 200)


def run(argv: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "RCLONE_CONFIG": "/dev/null", "LC_ALL": "C.UTF-8"}
    return subprocess.run(list(map(str, argv)), cwd=cwd, capture_output=True, env=environment, timeout=60)


def output(argv: Sequence[str | Path], cwd: Path) -> bytes:
    done = run(argv, cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Program:
    """A program that writes a manifest and judges a tree by it."""

    name = ""
    needs: tuple[str, ...] = ()
    #: Where the tree's files lie below its root.
    below = ""

    def write(self, root: Path) -> str:
        """Put the manifest into the tree."""
        raise NotImplementedError

    def accepts(self, root: Path, name: str) -> bool:
        """The program's own verdict; the manifest itself is out of the way meanwhile."""
        place = root.parent / "aside"
        (root / name).rename(place)
        try:
            return self.judges(root, place)
        finally:
            place.rename(root / name)

    def judges(self, root: Path, place: Path) -> bool:
        raise NotImplementedError


class Hashdeep(Program):
    name, needs = "hashdeep", ("hashdeep",)
    options: tuple[str, ...] = ("-l",)
    names: tuple[str, ...] = ("-l",)

    def write(self, root: Path) -> str:
        data = output(["hashdeep", "-r", *self.options, "."], root)
        (root / "hashdeep.txt").write_bytes(data)
        return "hashdeep.txt"

    def judges(self, root: Path, place: Path) -> bool:
        return run(["hashdeep", "-r", "-a", *self.names, "-k", place, "."], root).returncode == 0


class HashdeepAbsolute(Hashdeep):
    name, options, names = "hashdeep with absolute names", ("-c", "sha1,sha256,tiger"), ()


class Mtree(Program):
    name, needs = "mtree", ("mtree",)
    keywords = "sha256,md5"

    def write(self, root: Path) -> str:
        data = output(["mtree", "-c", "-K", self.keywords, "-p", "."], root)
        (root / "app.mtree").write_bytes(data)
        return "app.mtree"

    def judges(self, root: Path, place: Path) -> bool:
        # Without times: those of directories move as files come and go.
        timeless = root.parent / "timeless"
        timeless.write_bytes(re.sub(rb" time=\S+", b"", place.read_bytes()))
        done = run(["mtree", "-p", ".", "-f", timeless], root)
        return done.returncode == 0 and not done.stdout  # what is missing or extra is said, and no error to it


class Bsdtar(Mtree):
    name, needs = "bsdtar", ("bsdtar", "mtree")

    def write(self, root: Path) -> str:
        options = ["--format=mtree", "--options=mtree:sha256,use-set"]
        (root / "app.mtree").write_bytes(output(["bsdtar", *options, "-cf", "-", "."], root))
        return "app.mtree"


class Bag(Program):
    name, below = "bagit", "data"

    def write(self, root: Path) -> str:
        for path in (root / "data").iterdir():
            path.rename(root / path.name)
        (root / "data").rmdir()
        output([sys.executable, "-m", "bagit", "--sha256", "--md5", "--quiet", root], root)
        return "bagit.txt"

    def accepts(self, root: Path, name: str) -> bool:
        return run([sys.executable, "-m", "bagit", "--validate", "--quiet", root], root).returncode == 0


class Rclone(Program):
    name, needs = "rclone", ("rclone",)
    options: tuple[str, ...] = ("--base64",)

    def write(self, root: Path) -> str:
        (root / "rclone.sums").write_bytes(output(["rclone", "hashsum", "sha256", *self.options, "."], root))
        return "rclone.sums"

    def judges(self, root: Path, place: Path) -> bool:
        lines = [line.split(b"  ", 1) for line in place.read_bytes().splitlines()]
        # It checks by hexadecimal digests only, and does not look for files that the list does not have.
        hexadecimal = [
            (digest if len(digest) == 64 else base64.urlsafe_b64decode(digest).hex().encode()) + b"  " + name
            for digest, name in lines
        ]
        (root.parent / "hexadecimal").write_bytes(b"\n".join([*hexadecimal, b""]))
        done = run(["rclone", "hashsum", "sha256", "-C", root.parent / "hexadecimal", "."], root)
        return done.returncode == 0 and sum(path.is_file() for path in root.rglob("*")) == len(lines)


class RcloneHexadecimal(Rclone):
    name, options = "rclone in hexadecimal", ()


class Coreutils(Program):
    name, needs = "sha256sum --tag", ("sha256sum",)

    def write(self, root: Path) -> str:
        files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        (root / "SHA256SUMS").write_bytes(output(["sha256sum", "--tag", *files], root))
        return "SHA256SUMS"

    def judges(self, root: Path, place: Path) -> bool:
        here = sum(path.is_file() for path in root.rglob("*"))
        done = run(["sha256sum", "--strict", "-c", place], root)
        return done.returncode == 0 and here == place.read_bytes().count(b"\n")


PROGRAMS = [Hashdeep, HashdeepAbsolute, Mtree, Bsdtar, Bag, Rclone, RcloneHexadecimal, Coreutils]
#: What is done to the tree → (mismatched, missing, extra).
DAMAGE: dict[str, tuple[Callable[[Path], object], tuple[int, int, int]]] = {
    "nothing": (lambda data: None, (0, 0, 0)),
    "changed": (lambda data: (data / "d/b").write_bytes(b"D/b" * 300), (1, 0, 0)),
    "cut": (lambda data: os.truncate(data / "many" / ("n" * 200), 17), (1, 0, 0)),
    "longer": (lambda data: (data / "a").write_bytes(b"a" * 300 + b"\0"), (1, 0, 0)),
    "missing": (lambda data: (data / "x y/z").unlink(), (0, 1, 0)),
    "extra": (lambda data: (data / "d/more").write_bytes(b"1"), (0, 0, 1)),
    "renamed": (lambda data: (data / "a").rename(data / "b"), (0, 1, 1)),
}


def grow(root: Path, below: str) -> Path:
    for name in NAMES:
        path = root / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 300)
    (root / below / "void").mkdir()
    (root / below / "link").symlink_to("void")  # nobody lists it as a file
    return root


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda kind: kind.name)
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require_program: Require
) -> tuple[Program, Path, str]:
    """A program, and a tree with its manifest that is copied for each damage."""
    program: Program = request.param()
    for name in program.needs:
        require_program(name)
    root = grow(tmp_path_factory.mktemp("manifests") / "tree", program.below)
    return program, root, program.write(root)


@pytest.mark.parametrize("damage", DAMAGE)
def test_their_verdict_is_ours(written: tuple[Program, Path, str], damage: str) -> None:
    program, original, name = written
    # In its own place: some of them write absolute names.
    kept = original.with_name("kept")
    shutil.copytree(original, kept, symlinks=True)
    try:
        harm, expected = DAMAGE[damage]
        harm(original / program.below)
        found = compare(original, name)
        assert wrong(found) == expected, found
        assert program.accepts(original, name) is (expected == (0, 0, 0))
    finally:
        shutil.rmtree(original)
        kept.rename(original)


def wrong(found: dict[str, Any]) -> tuple[int, int, int]:
    manifest = found["manifest"]
    return tuple(manifest[key] for key in ("mismatched", "missing", "extra"))  # type: ignore[return-value]


def test_mtree_sees_more_than_files(tmp_path: Path, require_program: Require) -> None:
    """Directories, links and what they point to, and where a file has become a link to one with the same bytes."""
    require_program("mtree")
    root = grow(tmp_path / "tree", "")
    name = Mtree().write(root)
    for harm, expected in (
        ((root / "new").mkdir, (0, 0, 1)),
        (lambda: (root / "link-too").symlink_to("a"), (0, 0, 2)),
        (lambda: ((root / "link").unlink(), (root / "link").symlink_to("many")), (1, 0, 2)),
        (lambda: ((root / "a").rename(root / "new/a"), (root / "a").symlink_to("new/a")), (2, 0, 3)),
        (lambda: ((root / "void").rmdir(), (root / "void").write_bytes(b"")), (3, 0, 3)),
    ):
        assert Mtree().accepts(root, name) is not any(wrong(compare(root, name)))
        harm()
        assert wrong(compare(root, name)) == expected
    assert not Mtree().accepts(root, name)


def test_mtree_holds_names_of_every_kind(tmp_path: Path, require_program: Require) -> None:
    """Both programs write names with escapes of their own, and modes that are noted where they differ."""
    root = grow(tmp_path / "tree", "")
    odd = [
        b"new\nline",
        b"\xff\xfe",
        b"tab\there",
        b" space",
        b"bell\x07",
        b"del\x7f",
        b"\xc2\x85",
        b"~\x1b^",
        b"*?[x]",
    ]
    for number, raw in enumerate(odd):
        Path(os.fsdecode(os.fsencode(root) + b"/d/" + raw)).write_bytes(b"%d" % number)
    for program in (Mtree, Bsdtar):
        for each in program.needs:
            require_program(each)
        name = program().write(root)
        found = compare(root, name)
        assert wrong(found) == (0, 0, 0), found["details"]
        assert not any("permission" in note for note in found["notes"])
        (root / "a").chmod(0o400)
        assert "1 entries have other permission bits than the manifest says" in compare(root, name)["notes"]
        (root / "a").chmod(0o644)
        (root / name).unlink()


def test_an_mtree_without_digests_verifies_nothing(tmp_path: Path, require_program: Require) -> None:
    require_program("bsdtar")
    root = grow(tmp_path / "tree", "")
    (root / "app.mtree").write_bytes(output(["bsdtar", "--format=mtree", "-cf", "-", "."], root))
    with pytest.raises(BackupFailed, match="without a digest") as caught:
        read(root, "app.mtree")
    assert "mtree:sha256" in caught.value.remedy


def test_a_bag_is_refused_where_bagit_refuses_it(tmp_path: Path) -> None:
    """What is wrong with the tag files and not with the payload."""
    program = Bag()
    root = grow(tmp_path / "bag", "data")
    assert program.write(root) == "bagit.txt" and program.accepts(root, "bagit.txt")
    info, sums = (root / "bag-info.txt").read_text(), (root / "manifest-sha256.txt").read_text()
    for path in root.glob("tagmanifest-*"):
        path.unlink()
    assert wrong(compare(root, "bagit.txt")) == (0, 0, 0) and program.accepts(root, "bagit.txt")
    payload = info.partition("Payload-Oxum: ")[2].split("\n")[0]
    octets, _, streams = payload.partition(".")
    for name, text, cause in (
        ("bag-info.txt", info.replace(payload, f"{int(octets) + 1}.{streams}"), "number of bytes"),
        ("bag-info.txt", info.replace(payload, f"{octets}.{int(streams) + 1}"), "number of files"),
        ("manifest-sha256.txt", sums.replace("  ", " ", 1).replace(sums[:64], "0" * 64), "differs"),
        ("bagit.txt", "BagIt-Version: 0.97\n", "two lines"),
    ):
        before = (root / name).read_bytes() if (root / name).exists() else None
        (root / name).write_text(text)
        found = compare(root, "bagit.txt")
        said = found["manifest"].get("problem") or " ".join(found["details"])
        assert cause in said, (name, said)
        assert not program.accepts(root, "bagit.txt"), name
        (root / name).unlink()
        if before is not None:
            (root / name).write_bytes(before)
    assert program.accepts(root, "bagit.txt")


def test_rclone_says_where_it_has_no_digest(tmp_path: Path, require_program: Require) -> None:
    """An encrypted remote has none, unless its files are downloaded for it."""
    require_program("rclone")
    root, store = tmp_path / "tree", tmp_path / "store"
    for name in ("a", "d/b"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    key = output(["rclone", "obscure", "of no value"], root).decode().strip()
    remote = f":crypt,remote={store},password={key}:"
    output(["rclone", "copy", root, remote], root)
    argv = ["rclone", "hashsum", "sha256", remote]
    without = run(argv, root)
    (root / "rclone.sums").write_bytes(without.stdout)
    with pytest.raises(BackupFailed):
        read(root, "rclone.sums")
    assert without.returncode
    data = output([*argv, "--download", "--base64"], root)
    (root / "rclone.sums").write_bytes(data)
    assert wrong(compare(root, "rclone.sums")) == (0, 0, 0)
    for mark in (b"                     UNSUPPORTED", b"                           ERROR", b" " * 44):
        for lines in ([mark + b"  a", data.splitlines()[1]], [data.splitlines()[1], mark + b"  a"]):
            (root / "rclone.sums").write_bytes(b"\n".join([*lines, b""]))
            with pytest.raises(BackupFailed, match="no digest of a file") as caught:
                read(root, "rclone.sums")
            assert "--download" in caught.value.remedy


def test_a_bag_that_waits_for_files_is_incomplete(tmp_path: Path) -> None:
    program = Bag()
    root = grow(tmp_path / "bag", "data")
    name = program.write(root)
    (root / "fetch.txt").write_text("https://example.org/b - data/d/b\n")
    found = compare(root, name)
    assert wrong(found) == (0, 0, 0) and any("fetch.txt" in note for note in found["notes"])
    (root / "data/d/b").unlink()
    with pytest.raises(BackupFailed, match="incomplete"):
        read(root, name)
    assert not program.accepts(root, name)
    (root / "fetch.txt").write_text("https://example.org/b - data/elsewhere\n")
    with pytest.raises(BackupFailed, match="no payload manifest has"):
        read(root, name)
