from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.unprivileged import as_nobody, open_directory

from restore_drill.sandboxes.removal import remove_tree


def _fill(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_bytes(b"x")
    (root / "a" / "empty").mkdir()
    os.mkfifo(root / "a" / "pipe")


def test_ordinary_tree(tmp_path: Path) -> None:
    root = tmp_path / "root"
    _fill(root)
    assert remove_tree(root) == []
    assert not root.exists()


def test_missing_directory_is_no_trouble(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "root") == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _fill(outside)
    root = tmp_path / "root"
    root.mkdir()
    (root / "to-directory").symlink_to(outside)
    (root / "to-file").symlink_to(outside / "a" / "b" / "file")
    (root / "broken").symlink_to("nowhere")
    os.link(outside / "a" / "b" / "file", root / "hard")
    assert remove_tree(root) == []
    assert not root.exists()
    assert (outside / "a" / "b" / "file").read_bytes() == b"x"


def test_link_in_place_of_the_directory_is_left(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _fill(outside)
    (tmp_path / "root").symlink_to(outside)
    assert remove_tree(tmp_path / "root") != []
    assert (outside / "a" / "b" / "file").exists()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    odd = root / os.fsdecode(b"\xff\xfe")
    odd.mkdir()
    (odd / "\n\x01").write_bytes(b"")
    assert remove_tree(root) == []
    assert not root.exists()


def test_tree_deeper_than_a_path_can_say(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(150):
        for name in ("d" * 100, "sibling"):
            os.mkdir(name, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert remove_tree(root) == []
    assert not root.exists()


def test_more_entries_than_one_batch(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(5000):
        (root / str(number)).touch()
    assert remove_tree(root) == []
    assert not root.exists()


def test_spared_names_stay(tmp_path: Path) -> None:
    root = tmp_path / "root"
    _fill(root)
    (root / "lock").touch()
    assert remove_tree(root, spare=frozenset({"lock"})) == []
    assert [path.name for path in root.iterdir()] == ["lock"]


def test_modes_keep_nobody_out() -> None:
    def act() -> None:
        for mode in (0o000, 0o444, 0o555, 0o111):
            root = base / f"root-{mode}"
            _fill(root)
            (root / "a" / "b" / "file").chmod(0o000)
            for path in (root / "a" / "b", root / "a" / "empty", root / "a", root):
                path.chmod(mode)
            assert remove_tree(root) == []
            assert not root.exists()

    with open_directory() as base:
        as_nobody(act)


def test_what_belongs_to_somebody_else_is_said_to_be_left() -> None:
    if os.geteuid() != 0:
        return  # nobody but root can make a file of another user's
    with open_directory() as base:
        root = base / "root"
        _fill(root)
        os.chown(root, 65534, 65534)
        left: list[str] = []

        def act() -> None:
            left.extend(remove_tree(root))
            assert sorted(line.removeprefix(str(root)) for line in left) == [
                "/a/b: Permission denied",
                "/a/empty: Permission denied",
                "/a/pipe: Permission denied",
            ]

        as_nobody(act)
        assert (root / "a" / "b" / "file").exists()


_MOUNT = """
import os, sys
from pathlib import Path
from restore_drill.sandboxes import kernel
from restore_drill.sandboxes.removal import remove_tree
root, outside = map(Path, sys.argv[1:])
try:
    kernel.unshare(kernel.NEWNS if os.geteuid() == 0 else kernel.NEWNS | kernel.NEWUSER)
except OSError:
    sys.exit(77)
import ctypes
libc = ctypes.CDLL(None)
assert libc.mount(None, b"/", None, 0x4000 | 1 << 18, None) == 0
assert libc.mount(bytes(outside), bytes(root / "a" / "b"), None, 0x1000, None) == 0
left = remove_tree(root)
assert len(left) == 1 and left[0].endswith("a/b: something is mounted there"), left
assert (outside / "precious").exists()
assert libc.umount2(bytes(root / "a" / "b"), 0) == 0
assert remove_tree(root) == []
"""


def test_what_is_mounted_is_not_touched(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    _fill(root)
    outside.mkdir()
    (outside / "precious").touch()
    script = [sys.executable, "-c", _MOUNT, str(root), str(outside)]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    # Where the kernel lets nobody mount, nobody can have mounted anything either.
    assert done.returncode in (0, 77), done.stderr
    assert (outside / "precious").exists()


@pytest.mark.parametrize("name", ["file", "pipe"])
def test_what_is_no_directory_is_left(tmp_path: Path, name: str) -> None:
    _fill(tmp_path)
    path = next(tmp_path.rglob(name))
    assert remove_tree(path) != []
    assert path.exists()
