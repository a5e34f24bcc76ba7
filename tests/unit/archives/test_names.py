from __future__ import annotations

import pytest

from restore_drill.archives.names import MAX_DEPTH, MAX_NAME, check_target, normalise, shown
from restore_drill.errors import BackupFailed


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a", b"a"), (b"./a", b"a"), (b"a/", b"a"), (b"./", b""), (b".", b""), (b"a//b", b"a/b"), (b"a/./b/.", b"a/b"),
        (b"...", b"..."), (b"..a/b..", b"..a/b.."), (b"a\\b", b"a\\b"), (b"\xff", b"\xff"), (b"a b\n", b"a b\n"),
        (b"\\x2e\\x2e", b"\\x2e\\x2e"), (b"n" * MAX_NAME, b"n" * MAX_NAME), (b"C:", b"C:"),
    ],
)  # fmt: skip
def test_names_that_stay_inside(name: bytes, path: bytes) -> None:
    assert normalise(name) == path


@pytest.mark.parametrize(
    "name",
    [
        b"", b"/", b"/a", b"//a", b"..", b"../a", b"a/..", b"a/../b", b"./..", b"a/../../b", b"..\\a", b"a\\..\\..\\b",
        b"a/..\\b", b"a\0b", b"n" * (MAX_NAME + 1), b"d/" * MAX_DEPTH + b"a", (b"n" * 200 + b"/") * 21,
    ],
)  # fmt: skip
def test_names_that_do_not(name: bytes) -> None:
    with pytest.raises(BackupFailed) as caught:
        normalise(name)
    assert caught.value.details == (f"member {shown(name)}",)
    assert len(name) < 3 or shown(name) not in caught.value.cause + caught.value.remedy


@pytest.mark.parametrize(
    ("path", "target", "again"),
    [
        (b"a", b"b", False), (b"a", b"b/../c", True), (b"d/a", b"../b", False), (b"d/e/a", b"../../b", False),
        (b"d/a", b"..", False), (b"a", b".", False), (b"d/a", b"./../b/", False), (b"d/a", b"../b/../c", True),
    ],
)  # fmt: skip
def test_link_targets_that_stay_inside(path: bytes, target: bytes, again: bool) -> None:
    assert check_target(path, target, outside=False) is again


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"a", b"/"),
        (b"a", b"/etc"),
        (b"a", b".."),
        (b"a", b"../a"),
        (b"d/a", b"../../b"),
        (b"a", b"b/../../c"),
        (b"a", b"./.."),
    ],
)
def test_link_targets_that_leave(path: bytes, target: bytes) -> None:
    with pytest.raises(BackupFailed, match=r"outside|absolute") as caught:
        check_target(path, target, outside=False)
    assert "outside-links" in caught.value.remedy
    assert check_target(path, target, outside=True) is False


@pytest.mark.parametrize("target", [b"", b"a\0b", b"t" * 4096])
def test_link_targets_that_are_none(target: bytes) -> None:
    with pytest.raises(BackupFailed, match="empty, too long"):
        check_target(b"a", target, outside=True)


def test_names_are_shown_on_one_short_printable_line() -> None:
    assert shown(b"a\x1b[2Jb\n\xff \xc3\xbc") == "a\\x1b[2Jb\\n\\xff ü"
    assert len(shown(b"x" * 5000)) <= 300
