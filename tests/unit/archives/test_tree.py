from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.support.trees import IS_ROOT
from tests.support.unprivileged import as_nobody, open_directory

from restore_drill.archives.members import Member, TreeLimits, Type
from restore_drill.archives.tree import TreeWriter
from restore_drill.archives.writing import occupied
from restore_drill.errors import BackupFailed, CouldNotVerify


def written(
    root: Path, members: Iterable[tuple[Member, bytes]], limits: TreeLimits | None = None, reserve: int = 0
) -> dict[str, Any]:
    tree = TreeWriter(root, limits or TreeLimits(), reserve=reserve)
    try:
        for member, data in members:
            tree.add(member._replace(size=len(data), stored=len(data)), (data,) if data else ())
        return tree.finish()
    finally:
        tree.close()


def file(name: str, data: bytes = b"1", **more: Any) -> tuple[Member, bytes]:
    return Member(name.encode(), Type.FILE, **more), data


def other(name: str, kind: Type, **more: Any) -> tuple[Member, bytes]:
    return Member(name.encode(), kind, **more), b""


def test_what_only_a_catalogue_can_allow(tmp_path: Path) -> None:
    """Each is refused without the permission; see the conformance suite."""
    limits = TreeLimits(outside_links=True, setuid=True, special_files=True)
    facts = written(
        tmp_path / "root",
        [
            file("setuid", mode=0o4755), file("setgid", mode=0o2711), file("sticky", mode=0o1644),
            other("fifo", Type.FIFO, mode=0o640), other("null", Type.CHARACTER, mode=0o666, device=(1, 3)),
            other("loop", Type.BLOCK, device=(7, 9)), other("absolute", Type.SYMLINK, target=b"/etc/passwd"),
            other("climbing", Type.SYMLINK, target=b"../../x"),
        ],
        limits,
    )  # fmt: skip
    root = tmp_path / "root"
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("setuid", "setgid", "sticky")] == [
        0o4755,
        0o2711,
        0o1644,
    ]
    assert (root / "absolute").readlink() == Path("/etc/passwd") and (root / "climbing").readlink() == Path("../../x")
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode) and stat.S_IMODE((root / "fifo").stat().st_mode) == 0o640
    if (root / "null").exists():
        assert (root / "null").stat().st_rdev == os.makedev(1, 3)
        assert stat.S_ISBLK((root / "loop").stat().st_mode)
    else:
        assert facts["notes"] == ["devices not made for lack of privilege: 2"]


@pytest.mark.parametrize("target", [b"/etc", b"../elsewhere"])
def test_an_allowed_outside_link_is_never_followed(tmp_path: Path, target: bytes) -> None:
    (tmp_path / "elsewhere").mkdir()
    limits = TreeLimits(outside_links=True)
    for number, member in enumerate(
        (file("l/x"), other("l/x", Type.DIRECTORY), other("l/x", Type.SYMLINK, target=b"y"))
    ):
        with pytest.raises(BackupFailed, match="through a symbolic link"):
            written(tmp_path / str(number), [other("l", Type.SYMLINK, target=target), member], limits)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_sockets_are_left_out_and_counted(tmp_path: Path) -> None:
    facts = written(tmp_path / "root", [other("s", Type.SOCKET), other("d/s", Type.SOCKET), file("a")])
    assert facts["notes"] == ["sockets not kept: 2"] and facts["files"] == 1
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["a"]


def test_directories_get_their_last_words_once_they_are_full(tmp_path: Path) -> None:
    first, last = (other("d", Type.DIRECTORY, mode=mode, mtime=time) for mode, time in ((0o700, 5), (0o2550, 9)))
    inner = other("d/e", Type.DIRECTORY, mode=0o500, mtime=7)
    written(tmp_path / "root", [first, file("d/a"), inner, file("d/e/b"), last, file("d/e/c"), file("i/f")])
    found = {
        name: (stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        for name in ("d", "d/e", "i")
        if (status := (tmp_path / "root" / name).stat())
    }
    widened = 0 if IS_ROOT else 0o700
    assert found == {"d": (0o2550 | widened, 9), "d/e": (0o500 | widened, 7), "i": (0o755, 0)}


def test_more_directories_than_descriptors(tmp_path: Path) -> None:
    members = [file(f"d{number % 700}/e{number % 3}/f{number}") for number in range(2100)]
    deep = [file("/".join(f"{start}{level}" for level in range(200)) + "/f") for start in "abcz"]
    links = [
        other(f"links/{number}", Type.HARDLINK, target=f"d{number}/e{number % 3}/f{number}".encode())
        for number in range(700)
    ]
    before = len(list(Path("/proc/self/fd").iterdir()))
    facts = written(tmp_path / "root", [*members, *deep, *links])
    assert facts["files"] == 2804 and facts["directories"] == 700 + 2100 + 800 + 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_umask_takes_nothing_away(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        written(tmp_path / "root", [file("a", mode=0o666), other("d", Type.DIRECTORY, mode=0o777)])
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / "root" / name).stat().st_mode) for name in "ad"] == [0o666, 0o777]


def test_owners_are_restored_by_number_as_root_and_otherwise_not(tmp_path: Path) -> None:
    members = [
        file("a", uid=1234, gid=4321), other("d", Type.DIRECTORY, mode=0o755, uid=77, gid=88),
        other("l", Type.SYMLINK, target=b"a", uid=5, gid=6), file("own", uid=os.getuid(), gid=os.getgid()),
    ]  # fmt: skip
    facts = written(tmp_path / "root", members)
    found = {
        name: ((status := (tmp_path / "root" / name).lstat()).st_uid, status.st_gid) for name in ("a", "d", "l", "own")
    }
    own = (os.getuid(), os.getgid())
    assert facts["owners_restored"] is IS_ROOT
    assert found == (
        {"a": (1234, 4321), "d": (77, 88), "l": (5, 6), "own": own} if IS_ROOT else dict.fromkeys(found, own)
    )


def test_an_owner_that_cannot_be_is_noted(tmp_path: Path) -> None:
    facts = written(tmp_path / "root", [file("a", uid=-2), file("b", uid=2**40)])
    assert facts["files"] == 2
    assert facts["owners_restored"] is False
    assert facts["notes"] == (["owners that this system cannot have, members: 2"] if IS_ROOT else [])


def test_a_root_that_hands_its_group_down_does_not_change_owners(tmp_path: Path) -> None:
    tmp_path.chmod(0o2755)
    if IS_ROOT:
        os.chown(tmp_path, 0, 4444)
        tmp_path.chmod(0o2755)
    written(
        tmp_path / "root", [file("a", uid=os.getuid(), gid=os.getgid()), file("d/b", uid=os.getuid(), gid=os.getgid())]
    )
    assert [(tmp_path / "root" / name).stat().st_gid for name in ("a", "d/b")] == [os.getgid()] * 2


def test_without_privileges_the_drill_can_still_read_and_remove_everything() -> None:
    with open_directory() as directory:

        def restore() -> None:
            facts = written(
                directory / "root",
                [
                    other("d", Type.DIRECTORY, mode=0o000), file("d/secret", b"text", mode=0o000, uid=0, gid=0),
                    other("d/e", Type.DIRECTORY, mode=0o555), file("d/e/f", mode=0o200), file("usual", mode=0o640),
                ],
            )  # fmt: skip
            assert (directory / "root" / "d" / "secret").read_bytes() == b"text"
            assert (directory / "root" / "usual").stat().st_mode & 0o777 == 0o640
            assert facts["notes"] == [
                "directories made accessible for the drill: 2",
                "files made readable for the drill: 2",
            ]
            assert facts["owners_restored"] is False

        as_nobody(restore)


def test_a_disk_that_would_get_too_full_is_no_fault_of_the_backup(tmp_path: Path) -> None:
    members = [file(f"f{number}", b"x" * 4096) for number in range(5000)]
    with pytest.raises(CouldNotVerify, match="would stay free"):
        written(tmp_path / "bad", members, reserve=2**60)
    assert written(tmp_path / "good", members, reserve=1)["files"] == 5000


def test_a_root_that_exists_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(FileExistsError):
        TreeWriter(tmp_path / "root", TreeLimits())
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        TreeWriter(tmp_path / "link", TreeLimits())


def test_limits_come_from_the_catalogue_as_json() -> None:
    limits = TreeLimits.from_json(
        {
            "members": 5,
            "bytes": None,
            "ratio": 9,
            "allow": ["outside-links", "special-files"],
            "concatenated": True,
            "x": 1,
        }
    )
    assert limits == TreeLimits(5, None, 9, outside_links=True, special_files=True, concatenated=True)
    assert TreeLimits.from_json({}) == TreeLimits()


def test_a_file_system_that_folds_names_is_no_fault_of_the_backup(tmp_path: Path) -> None:
    """There the name that is taken is not the very one that is to be written."""
    (tmp_path / "readme").write_bytes(b"1")
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert isinstance(occupied(descriptor, b"readme", b"readme"), BackupFailed)
        problem = occupied(descriptor, b"README", b"README")
        assert isinstance(problem, CouldNotVerify) and "README" not in problem.cause and "--work-dir" in problem.remedy
    finally:
        os.close(descriptor)
