"""Incremental chains of GNU tar, restored as the program restores them, and held against what they list."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall
from tests.support.histories import History, restored_by_tar
from tests.support.tar_builder import GNU, archive, header_offsets, member
from tests.support.trees import look

from restore_drill.archives.unpack import unpack_tree
from restore_drill.engines.base import RestoreOptions
from restore_drill.engines.files import FilesEngine
from restore_drill.engines.files_probe import join
from restore_drill.errors import BackupFailed, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits, Sandbox

Require = Callable[[str], str]
Tree = Mapping[str, str | None]


def joined(work: Path, archives: Sequence[bytes], **options: Any) -> Path:
    """What the engine makes of a chain."""
    work.mkdir()
    names = [f"{number}" for number in range(len(archives))]
    for name, data in zip(names, archives, strict=True):
        unpack_tree(DirectCall(work, [data]), archive="tar", root=name, limits={})
    join(DirectCall(work), trees=names, root="joined", **options)
    assert sorted(path.name for path in work.iterdir()) == ["joined"]
    return work / "joined"


def plain(tree: Mapping[bytes, tuple[Any, ...]]) -> dict[bytes, tuple[Any, ...]]:
    """All of it but which names share an inode, which no archive can tell of a file that it does not hold."""
    return {
        name: (*rest, content[0] if isinstance(content, tuple) else content) for name, (*rest, content) in tree.items()
    }


def contents(tree: Mapping[bytes, tuple[Any, ...]]) -> dict[bytes, tuple[Any, ...]]:
    """Types, modes and bytes."""
    return {name: (mode, content) for name, (mode, _, _, content) in plain(tree).items()}


# --- against the program ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_a_history_comes_back_as_tar_brings_it_back(tmp_path: Path, require_program: Require, seed: int) -> None:
    """Where tar restores its own chain without an error, so do we, to the last bit of metadata.

    Where it stumbles over its own records (directories that change places several times), at least every name that
    was backed up is there and no other, or the chain is refused; it also is where tar lost something in silence.
    """
    tar = require_program("tar")
    history = History(tar, tmp_path / "h", seed, f"--format={('gnu', 'posix')[seed % 2]}")
    history.edit(25)
    archives = [history.back_up()]
    for edits in (8, 0, 5, 12):
        history.edit(edits)
        archives.append(history.back_up())
    statuses = restored_by_tar(tar, archives, tmp_path / "theirs")
    theirs, truth = look(tmp_path / "theirs"), look(history.live)
    if any(statuses) or contents(theirs) != contents(truth):
        with suppress(BackupFailed):
            assert look(joined(tmp_path / "ours", archives)).keys() == truth.keys()
    else:
        assert plain(look(joined(tmp_path / "ours", archives))) == plain(theirs)


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_differential_needs_the_full_one_alone(tmp_path: Path, require_program: Require, form: str) -> None:
    tar = require_program("tar")
    history = History(tar, tmp_path / "h", 5, f"--format={form}")
    history.edit(30)
    full = history.back_up()
    for number in range(3):
        history.edit(10)
        later = history.back_up(keep=False)
        restored_by_tar(tar, [full, later], tmp_path / f"theirs{number}")
        ours = plain(look(joined(tmp_path / f"ours{number}", [full, later])))
        assert ours == plain(look(tmp_path / f"theirs{number}"))
        assert ours.keys() == look(history.live).keys()


def test_every_link_that_brought_or_took_a_name_is_missed(tmp_path: Path, require_program: Require) -> None:
    """Of a chain in which every night adds a file, no link can be left out, and no two can change places."""
    archives, _ = nights(require_program("tar"), tmp_path, [{f"d/{night}": "x"} for night in range(5)])
    joined(tmp_path / "whole", archives)
    for gone in range(1, 4):
        with pytest.raises(BackupFailed, match=r"counts on 1 name that no archive of it brought") as caught:
            joined(tmp_path / f"without-{gone}", archives[:gone] + archives[gone + 1 :])
        assert caught.value.stage is Stage.CHAIN
        assert caught.value.details == (f"'d/{gone}'",)
        assert f"d/{gone}" not in str(caught.value)
    with pytest.raises(BackupFailed, match="without those before it: it counts on 4 names") as caught:
        joined(tmp_path / "alone", archives[-1:])
    assert caught.value.stage is Stage.CHAIN and "incremental=" in caught.value.remedy
    with pytest.raises(BackupFailed, match="counts on"):
        joined(tmp_path / "swapped", [archives[0], archives[2], archives[1], *archives[3:]])


def changed_on(day: int, data: bytes) -> bytes:
    """The archive of some later day: the times at which the file system changed its directories, and nothing else."""
    moved = bytearray(data)
    for at in header_offsets(data):
        if data[at + 156 : at + 157] == b"D":
            moved[at + 357 : at + 369] = b"%011o\0" % (int(data[at + 357 : at + 368], 8) + day * 86400)
            moved[at + 148 : at + 156] = b" " * 8
            moved[at + 148 : at + 156] = b"%06o\0 " % sum(moved[at : at + 512])
    return re.sub(rb"(?<= ctime=)[0-9]+", lambda found: b"%d" % (int(found[0]) + day * 86400), bytes(moved))


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_links_that_changed_places_are_told_by_the_times_of_their_directories(
    tmp_path: Path, require_program: Require, form: str
) -> None:
    """Where only contents change from night to night, the names fit in any order."""
    changes: list[Tree] = [{"d/a": f"{night}", "b": "always"} for night in range(4)]
    archives, _ = nights(require_program("tar"), tmp_path, changes, f"--format={form}")
    archives = [changed_on(night, data) for night, data in enumerate(archives)]
    assert (joined(tmp_path / "in-order", archives) / "d/a").read_text() == "3"
    with pytest.raises(BackupFailed, match=r"out of order: archive 3 was made before the one that it should") as caught:
        joined(tmp_path / "swapped", [archives[0], archives[2], archives[1], archives[3]])
    assert caught.value.stage is Stage.CHAIN
    with pytest.raises(BackupFailed, match="out of order: archive 4"):
        joined(tmp_path / "last-two", [archives[0], archives[1], archives[3], archives[2]])
    joined(tmp_path / "twice", [archives[0], archives[1], archives[1]])


def nights(tar: str, root: Path, changes: Sequence[Tree], *options: str) -> tuple[list[bytes], Path]:
    """An archive after each set of changes: text is written, ``None`` is deleted."""
    history = History(tar, root / "nights", 0, *options)
    archives = []
    for change in changes:
        for name, text in change.items():
            path = history.live / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True) if text is None else path.write_text(text)
        archives.append(history.back_up())
    return archives, history.live


def test_a_deleted_file_is_gone(tmp_path: Path, require_program: Require) -> None:
    changes: list[Tree] = [{"d/a": "1", "d/b": "1", "c": "1"}, {"d/a": None}, {"c": None}]
    archives, _ = nights(require_program("tar"), tmp_path, changes)
    for count, left in enumerate([{b"c", b"d", b"d/a", b"d/b"}, {b"c", b"d", b"d/b"}, {b"d", b"d/b"}], 1):
        assert look(joined(tmp_path / f"{count}", archives[:count])).keys() == left


# --- members that were lost -------------------------------------------------------------------------------------------


def cut_before(data: bytes, name: bytes) -> bytes:
    """Without the members from this one on, and ended as if nothing had happened."""
    at = next(at for at in header_offsets(data) if data[at : at + 100].rstrip(b"\0") == name)
    return data[:at] + bytes(1024)


def test_a_link_that_was_cut_between_members_and_ended_again(tmp_path: Path, require_program: Require) -> None:
    """Neither the reader nor GNU tar can tell; the archive's own list can."""
    tar = require_program("tar")
    changes: list[Tree] = [{"a": "1", "b": "1"}, {"a": "2", "b": "2"}, {"c": "3"}]
    (full, second, third), _ = nights(tar, tmp_path, changes, "--format=gnu")
    cut = cut_before(second, b"./b")
    assert restored_by_tar(tar, [full, cut, third], tmp_path / "theirs") == [0, 0, 0]
    assert (tmp_path / "theirs" / "b").read_text() == "1"
    for number, chain in enumerate(([full, cut], [full, cut, third], [cut_before(full, b"./b")])):
        with pytest.raises(BackupFailed, match=r"1 name that the lists .* say they hold is not in them") as caught:
            joined(tmp_path / f"{number}", chain)
        assert caught.value.stage is Stage.UNPACK and caught.value.details == ("'b'",)
    assert (joined(tmp_path / "twin", [full, second, third]) / "b").read_text() == "2"


def test_what_vanished_while_it_was_backed_up_is_forgiven_once_it_is_no_longer_listed(
    tmp_path: Path, require_program: Require
) -> None:
    changes: list[Tree] = [{"d/a": "1"}, {"d/b": "2"}, {"d/b": None, "d/c": "3"}, {"d/b": "4"}]
    archives, _ = nights(require_program("tar"), tmp_path, changes, "--format=gnu")
    archives[1] = cut_before(archives[1], b"./d/b")
    assert set(look(joined(tmp_path / "gone", archives[:3]))) == {b"d", b"d/a", b"d/c"}
    assert (joined(tmp_path / "again", archives) / "d" / "b").read_text() == "4"
    with pytest.raises(BackupFailed, match="not in them"):
        joined(tmp_path / "newest", archives[:2])


def test_a_lost_file_is_missed_under_the_new_name_of_its_directory(tmp_path: Path, require_program: Require) -> None:
    history = History(require_program("tar"), tmp_path / "h", 0, "--format=gnu")
    (history.live / "old").mkdir()
    for name in "ab":
        (history.live / "old" / name).write_text("1")
    full = cut_before(history.back_up(), b"./old/b")
    (history.live / "old").rename(history.live / "new")
    second = history.back_up()
    with pytest.raises(BackupFailed, match="not in them") as caught:
        joined(tmp_path / "lost", [full, second])
    assert caught.value.details == ("'new/b'",)
    (history.live / "new" / "b").unlink()
    assert set(look(joined(tmp_path / "gone", [full, second, history.back_up()]))) == {b"new", b"new/a"}


def test_what_the_job_leaves_out_is_named(tmp_path: Path, require_program: Require) -> None:
    """tar lists what --exclude keeps out as unchanged, and sockets as held."""
    tree: Tree = {"a": "1", "b.tmp": "1", "cache/x": "1", "s": "1"}
    archives, live = nights(
        require_program("tar"), tmp_path, [tree, {"d/c.tmp": "1"}], "--exclude=*.tmp", "--exclude=./cache"
    )
    for number, globs in enumerate(([], ["**/*.tmp"], ["cache"])):
        with pytest.raises(BackupFailed, match="counts on") as caught:
            joined(tmp_path / f"{number}", archives, not_archived=globs)
        assert "engine_options.not_archived" in caught.value.remedy
    found = joined(tmp_path / "named", archives, not_archived=["**/*.tmp", "cache/"])
    assert set(look(found)) == {b"a", b"d", b"s"}
    assert live.joinpath("cache").is_dir()


# --- hands that reach far ---------------------------------------------------------------------------------------------


def test_links_are_deleted_and_never_followed(tmp_path: Path) -> None:
    """A name that was a directory's is a link now, or on the way to one: nothing behind it is touched."""
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    (outside / "d" / "kept").write_text("1")
    work = tmp_path / "work"
    work.mkdir()
    far = os.fsencode(outside)
    full = archive(
        listed(b"./", b"Yl\0Yn\0"), member(b"./l", kind=b"2", target=far), member(b"./n", kind=b"2", target=far)
    )
    evil = archive(
        listed(b"./", b"Nl\0Nn\0Rl/d\0Tstolen\0Rn\0Tmoved\0"),
        listed(b"./l", b""),
        listed(b"./l/d", b""),
        member(b"./x"),
    )
    for name, data in (("0", full), ("1", evil)):
        limits = {"allow": ["outside-links"]}
        unpack_tree(DirectCall(work, [data]), archive="tar", root=name, limits=limits)
    with pytest.raises(BackupFailed, match="counts on"):
        join(DirectCall(work), trees=["0", "1"], root="joined")
    assert (outside / "d" / "kept").read_text() == "1"
    assert not (work / "joined" / "stolen").exists() and not (work / "joined" / "moved").exists()


def listed(directory: bytes, body: bytes) -> bytes:
    return member(directory, body + b"\0", b"D", magic=GNU)


@pytest.mark.parametrize(
    ("moves", "left"),
    [
        (b"Ra/b\0Ta\0", {b"a": "2"}),
        (b"Ra\0Ta/b/c\0", {}),
        (b"Ra\0Tf\0", {b"f": "1"}),
        (b"Ra\0Tnew/deep\0", {b"new/deep": "1"}),
        (b"Rnone\0Tz\0", {}),
        (b"X.\0R\0Tz\0", {}),
        (b"X.\0Ra\0T\0", {}),
    ],
    ids=[
        "onto its own parent",
        "into itself",
        "onto a file",
        "into a new one",
        "of nothing",
        "out of nothing",
        "aside",
    ],
)
def test_a_renaming_stays_in_the_tree(tmp_path: Path, moves: bytes, left: dict[bytes, str]) -> None:
    full = archive(
        listed(b"./", b"Da\0Yf\0"), listed(b"./a", b"Db\0Yx\0"), listed(b"./a/b", b"Yx\0"),
        member(b"./f", b"0"), member(b"./a/x", b"1"), member(b"./a/b/x", b"2"),
    )  # fmt: skip
    listings = [b"D" + path.partition(b"/")[0] + b"\0" for path in left] or [b""]
    later = archive(listed(b"./", b"".join(listings) + moves), member(b"./y", b"3"))
    found = joined(tmp_path / "work", [full, later])
    kept = {os.fsencode(path.relative_to(found)): path.read_text() for path in found.rglob("x")}
    wanted = {path + b"/x": text for path, text in left.items()}
    assert wanted.items() <= kept.items()
    assert (found / "y").read_text() == "3"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]


# --- through the sandbox ----------------------------------------------------------------------------------------------


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with load("sandboxes", "directory")(tmp_path, run="test", name="chains", limits=Limits(processes=2)) as one:
        yield one


def linked(sandbox: Sandbox, archives: Sequence[bytes], name: str = "q", **settings: Any) -> tuple[str, ...]:
    (sandbox.work / name).mkdir()
    payloads = []
    for number, data in enumerate(archives):
        place = sandbox.work / name / f"{number}"
        arguments = {"archive": "tar", "root": str(place), "limits": {}}
        facts = sandbox.call("restore_drill.archives.unpack:unpack_tree", arguments, deadline=60, feed=[data])
        payloads.append(Payload(PayloadForm.TREE, place, "tar", facts["bytes"]))
    options = RestoreOptions(deadline=60, threads=2, settings=settings)
    link = FilesEngine().link(payloads, sandbox, options)
    tree = FilesEngine().restore(link.payloads, sandbox, options)
    assert tree.facts["files"] == 1
    return link.notes


def test_the_engine_links_and_restores(sandbox: Sandbox, tmp_path: Path, require_program: Require) -> None:
    changes: list[Tree] = [{"a": "1", "b": "1"}, {"a": "2", "b": None}]
    archives, _ = nights(require_program("tar"), tmp_path, changes)
    notes = linked(sandbox, archives)
    assert notes == ("2 archives of a chain laid over each other", "directories and files by their lists: 1 removed")


def test_an_archive_alone_is_held_against_its_list(sandbox: Sandbox, tmp_path: Path, require_program: Require) -> None:
    (full, later), _ = nights(require_program("tar"), tmp_path, [{"a": "1"}, {"b": "2"}])
    with pytest.raises(BackupFailed, match="without those before it: it counts on 1 name"):
        linked(sandbox, [later])
    assert linked(sandbox, [later], "again", not_archived=["a"]) == ()
    with pytest.raises(UsageProblem, match="no option excluded"):
        linked(sandbox, [full], "one", excluded=["a"])
    with pytest.raises(UsageProblem, match="no list of globs"):
        linked(sandbox, [full], "two", not_archived="a")


def test_a_plain_archive_is_linked_as_it_is(sandbox: Sandbox, tmp_path: Path, require_program: Require) -> None:
    (tmp_path / "a").write_text("1")
    command = [require_program("tar"), "-c", "-C", str(tmp_path), "a"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    assert linked(sandbox, [data]) == ()
