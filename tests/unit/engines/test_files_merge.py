from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.calls import DirectCall
from tests.support.trees import look, rich_tree

from restore_drill.engines.files_probe import assemble
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage


def make(root: Path, entries: Mapping[str, str | None]) -> None:
    """Files with text, directories (``None``), and links (text that begins with ``->``)."""
    root.mkdir()
    for name, content in entries.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif content.startswith("->"):
            path.symlink_to(content[2:])
        else:
            path.write_text(content)


def state(root: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(root)): f"->{path.readlink()}"
        if path.is_symlink()
        else None
        if path.is_dir()
        else path.read_text()
        for path in root.rglob("*")
    }


def test_one_tree_becomes_the_final_one_as_it_is(tmp_path: Path) -> None:
    expected = look(rich_tree(tmp_path / "0"))
    facts = assemble(DirectCall(tmp_path), trees=["0"], root="restored")
    assert look(tmp_path / "restored") == expected
    assert facts["files"] == sum(
        path.is_file() and not path.is_symlink() for path in (tmp_path / "restored").rglob("*")
    )
    assert not (tmp_path / "0").exists() and facts["owners_restored"] is (os.geteuid() == 0)


def test_merged_directories_have_the_attributes_of_the_later(tmp_path: Path) -> None:
    make(tmp_path / "0", {"d/a": "1", "e/a": "1"})
    make(tmp_path / "1", {"d/b": "2", "e/b": "2"})
    for tree, value in (("0", b"1"), ("1", b"2")):
        os.setxattr(tmp_path / tree / "d", "user.kept", value)
    os.setxattr(tmp_path / "0" / "d", "user.taken", b"1")
    os.setxattr(tmp_path / "0" / "e", "user.implied", b"1")
    os.utime(tmp_path / "1" / "e", ns=(0, 0))  # what an archive says nothing of
    assemble(DirectCall(tmp_path), trees=["0", "1"], root="restored")
    found = {name: os.listxattr(tmp_path / "restored" / name) for name in "de"}
    assert found == {"d": ["user.kept"], "e": ["user.implied"]}
    assert os.getxattr(tmp_path / "restored" / "d", "user.kept") == b"2"


def test_later_trees_prevail_file_by_file(tmp_path: Path) -> None:
    make(
        tmp_path / "0",
        {"a": "1", "d/b": "1", "d/c": "1", "gone": "1", "l": "->a", "to-dir": "1", "to-link/x": "1", "void": None},
    )
    make(tmp_path / "1", {"d/b": "2", "d/new/e": "2", "l": "->d", "to-dir/y": "2", "to-link": "->a", "to-file": None})
    make(tmp_path / "2", {"d/b": "3", "l": "3", "to-file": "3", "void/z": "3"})
    facts = assemble(DirectCall(tmp_path), trees=[str(tmp_path / "0"), "1", "2"], root="restored")
    assert state(tmp_path / "restored") == {
        "a": "1", "d": None, "d/b": "3", "d/c": "1", "d/new": None, "d/new/e": "2", "gone": "1", "l": "3",
        "to-dir": None,
        "to-dir/y": "2", "to-link": "->a", "to-file": "3", "void": None, "void/z": "3",
    }  # fmt: skip
    assert (facts["files"], facts["directories"], facts["links"]) == (9, 4, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["restored"]


def test_a_link_in_the_way_is_replaced_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    make(tmp_path / "outside", {"kept": "1"})
    make(tmp_path / "work" / "0", {"d": "->../../outside", "e": "->../../outside"})
    make(tmp_path / "work" / "1", {"d/kept": "2", "e": "2"})
    assemble(DirectCall(tmp_path / "work"), trees=["0", "1"], root="restored")
    assert state(tmp_path / "work" / "restored") == {"d": None, "d/kept": "2", "e": "2"}
    assert state(tmp_path / "outside") == {"kept": "1"}


def test_directories_take_the_later_mode_and_time_unless_only_implied(tmp_path: Path) -> None:
    make(tmp_path / "0", {"stated/a": "1", "implied/a": "1"})
    make(tmp_path / "1", {"stated/b": "2", "implied/b": "2"})
    for number, mode, time in (("0", 0o700, 5 * 10**9), ("1", 0o755, 7 * 10**9)):
        for name in ("stated", "implied", "."):
            (tmp_path / number / name).chmod(mode)
            os.utime(tmp_path / number / name, ns=(time, time))
    os.utime(tmp_path / "1" / "implied", ns=(0, 0))
    assemble(DirectCall(tmp_path), trees=["0", "1"], root="restored")
    found = {name: (tmp_path / "restored" / name).stat() for name in ("stated", "implied", ".")}
    assert {name: (status.st_mode & 0o777, status.st_mtime_ns) for name, status in found.items()} == {
        "stated": (0o755, 7 * 10**9), "implied": (0o700, 5 * 10**9), ".": (0o755, 7 * 10**9),
    }  # fmt: skip


def test_links_that_only_together_lead_outside_are_refused(tmp_path: Path) -> None:
    first, harmless, hostile = {"a": "->d/x/..", "d/y": "1"}, {"d/x/z": "2"}, {"d/x": "->.."}
    for name, later in (("good", harmless), ("bad", hostile)):
        work = tmp_path / name
        work.mkdir()
        make(work / "0", first)
        make(work / "1", later)
    assert assemble(DirectCall(tmp_path / "good"), trees=["0", "1"], root="restored")["links"] == 1
    with pytest.raises(BackupFailed, match="through a link of another archive") as caught:
        assemble(DirectCall(tmp_path / "bad"), trees=["0", "1"], root="restored")
    assert caught.value.stage is Stage.UNPACK


def test_links_that_the_catalogue_allowed_are_not_judged_again(tmp_path: Path) -> None:
    make(tmp_path / "0", {"a": "->d/x/..", "far": "->/etc"})
    make(tmp_path / "1", {"d/x": "->.."})
    assert assemble(DirectCall(tmp_path), trees=["0", "1"], root="restored")["links"] == 3
