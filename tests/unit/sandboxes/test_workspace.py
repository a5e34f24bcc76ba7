from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes import workspace
from restore_drill.sandboxes.reaper import reap
from restore_drill.sandboxes.workspace import RunDirectory


def _root(base: Path) -> Path:
    return base / f"restore-drill-{os.geteuid()}"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run = RunDirectory(tmp_path, "run")
        place = run.new_place("orders-db.nas")
    finally:
        os.umask(before)
    paths = [_root(tmp_path), run.path, place.directory, place.work, place.scratch]
    assert [_mode(path) for path in paths] == [0o700] * 5
    assert run.close() == []
    assert list(_root(tmp_path).iterdir()) == []


def test_names_say_whose_they_are_and_cannot_lead_elsewhere(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "../20261123T0400Z/x y")
    place = run.new_place("../../etc")
    assert run.path.parent == _root(tmp_path)
    assert run.path.name.startswith(f"20261123T0400Z-x-y-{os.getpid()}-")
    assert place.directory.parent == run.path
    assert place.directory.name == "1-etc"
    run.close()


def test_places_are_apart(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "run")
    assert run.new_place("a").work != run.new_place("a").work
    run.close()


def test_one_run_directory_for_each_base_and_run(tmp_path: Path) -> None:
    first = workspace.run_directory(tmp_path, "one")
    place = first.new_place("a")
    assert workspace.run_directory(tmp_path, "one") is first
    second = workspace.run_directory(tmp_path, "two")
    assert second is not first
    assert workspace.run_directory(tmp_path, "one") is first
    assert first.remove(place) == []
    workspace.run_directory(tmp_path, "three")
    assert not first.path.exists() and not second.path.exists()
    assert workspace.close_all() == []
    assert list(_root(tmp_path).iterdir()) == []
    assert workspace.run_directory(tmp_path, "one") is not first
    workspace.close_all()


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (lambda root, elsewhere: root.symlink_to(elsewhere), "not a directory of this user"),
        (lambda root, _: root.write_text(""), "not a directory of this user"),
        (lambda root, _: (root.mkdir(), root.chmod(0o755)), "others may look into it"),
        (lambda root, _: (root.mkdir(), root.chmod(0o770)), "others may look into it"),
    ],
    ids=["link", "file", "open to all", "open to the group"],
)
def test_planted_root_is_refused(tmp_path: Path, plant: Callable[[Path, Path], object], why: str) -> None:
    elsewhere, base = tmp_path / "elsewhere", tmp_path / "base"
    elsewhere.mkdir(mode=0o700)
    base.mkdir()
    plant(_root(base), elsewhere)
    with pytest.raises(CouldNotVerify, match=why):
        RunDirectory(base, "run")
    assert list(elsewhere.iterdir()) == []


def test_root_that_others_may_only_pass_through_is_used(tmp_path: Path) -> None:
    _root(tmp_path).mkdir()
    _root(tmp_path).chmod(0o711)
    directory = RunDirectory(tmp_path, "run")
    place = directory.new_place("a")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (directory.path, place.directory, place.work)] == [0o700] * 3
    assert directory.close() == []


def test_root_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # nobody but root can make a directory of another user's
    _root(tmp_path).mkdir(mode=0o700)
    os.chown(_root(tmp_path), 65534, 65534)
    with pytest.raises(CouldNotVerify, match="not a directory of this user"):
        RunDirectory(tmp_path, "run")


@pytest.mark.parametrize(("mode", "right"), [(0o777, False), (0o1777, True), (0o755, True)])
def test_base_where_anybody_may_replace_things_is_refused(tmp_path: Path, mode: int, right: bool) -> None:
    base = tmp_path / "base"
    base.mkdir()
    base.chmod(mode)
    if right:
        assert RunDirectory(base, "run").close() == []
    else:
        with pytest.raises(CouldNotVerify, match="anybody may replace"):
            RunDirectory(base, "run")


def test_missing_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        RunDirectory(tmp_path / "not-there", "run")
    assert str(tmp_path / "not-there") in caught.value.looked_at


def test_reaper_takes_what_nobody_holds_and_nothing_else(tmp_path: Path) -> None:
    held, left = RunDirectory(tmp_path, "held"), RunDirectory(tmp_path, "left")
    place = left.new_place("a")
    (place.work / "restored").write_text("x")
    held.new_place("b")
    left.let_go()
    assert reap(tmp_path) == [left.path]
    assert held.path.is_dir() and not left.path.exists()
    assert reap(tmp_path) == []
    held.close()


def test_reaper_takes_what_has_no_lock_yet(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "run")
    half = _root(tmp_path) / "half-1-abcd"
    half.mkdir()
    assert reap(tmp_path) == [half]
    run.close()


def test_reaper_leaves_what_was_kept(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "run")
    place = run.new_place("orders-db.nas")
    (place.work / "restored").write_text("x")
    kept = run.keep(place, "orders-db.nas")
    assert (kept / "restored").read_text() == "x"
    assert [path.name for path in kept.parent.iterdir()] == ["work"]
    run.let_go()
    assert reap(tmp_path) == [run.path]
    assert (kept / "restored").read_text() == "x"
    assert reap(tmp_path, kept=True) == [kept.parent]
    assert not kept.exists()


def test_reaper_follows_no_link(tmp_path: Path) -> None:
    RunDirectory(tmp_path, "run").close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (_root(tmp_path) / "link-1-abcd").symlink_to(elsewhere)
    (_root(tmp_path) / "file-1-abcd").touch()
    assert reap(tmp_path) == []
    assert (elsewhere / "precious").exists()


def test_two_reapers_and_a_starter_at_once(tmp_path: Path) -> None:
    for number in range(20):
        run = RunDirectory(tmp_path, f"dead{number}")
        (run.new_place("a").work / "restored").write_text("x")
        run.let_go()
    children = []
    for task in (lambda: reap(tmp_path), lambda: reap(tmp_path), lambda: _start_and_check(tmp_path)):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                task()
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    assert list(_root(tmp_path).iterdir()) == []


def _start_and_check(base: Path) -> None:
    for number in range(50):
        run = RunDirectory(base, f"alive{number}")
        place = run.new_place("a")
        (place.work / "file").write_text("mine")
        assert (place.work / "file").read_text() == "mine"
        assert run.close() == []
