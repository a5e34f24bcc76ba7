from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.calls import DirectCall
from tests.support.tar_builder import archive, member
from tests.support.unprivileged import as_nobody, open_directory

from restore_drill.archives.unpack import Pulse, unpack_tree
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, UsageProblem

GOOD = archive(member(b"d/a", b"1" * 700, mode=0o664), member(b"b", b"22"))


def test_what_a_drill_gets_to_know(tmp_path: Path) -> None:
    call = DirectCall(tmp_path, [GOOD])
    facts = unpack_tree(call, archive="tar", root="root", limits={}, digest=True)
    assert (
        facts["digest"]
        == unpack_tree(DirectCall(tmp_path, [GOOD]), archive="tar", root="", limits={}, discard=True)["digest"]
    )
    counted = {"files": 2, "directories": 1, "links": 0, "hard_links": 0, "bytes": 702, "members": 2}
    assert {**facts, **counted, "archive_bytes": len(GOOD), "notes": []} == facts
    assert "digest" not in unpack_tree(DirectCall(tmp_path, [GOOD]), archive="tar", root="other", limits={})
    assert call.reports == [{"members": 0, "bytes": len(GOOD)}]


def test_an_absolute_root_inside_the_work_directory_is_fine(tmp_path: Path) -> None:
    unpack_tree(DirectCall(tmp_path, [GOOD]), archive="tar", root=str(tmp_path / "root"), limits={})
    assert (tmp_path / "root" / "b").read_bytes() == b"22"


@pytest.mark.parametrize("root", ["..", ".", "", "../x", "/tmp/x", "link/x"])
def test_a_root_outside_the_work_directory_is_refused(tmp_path: Path, root: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(tmp_path)
    with pytest.raises(CouldNotVerify, match="outside its work directory"):
        unpack_tree(DirectCall(work, [GOOD]), archive="tar", root=root, limits={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]


def test_an_unknown_format_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="tra"):
        unpack_tree(DirectCall(tmp_path, [GOOD]), archive="tra", root="root", limits={})


def test_the_deadline_is_kept_while_bytes_arrive(tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield member(b"a", b"1" * 100_000)

    with pytest.raises(DeadlineExceeded):
        unpack_tree(DirectCall(tmp_path, endless(), until=time.monotonic() - 1), archive="tar", root="root", limits={})


def test_progress_is_reported_at_most_twice_a_second(tmp_path: Path) -> None:
    call = DirectCall(tmp_path)
    pulse = Pulse(call)
    began = time.monotonic()
    for count in range(20_000):
        pulse.beat({"count": count})
    assert 1 <= len(call.reports) <= 1 + (time.monotonic() - began) / 0.5


def test_an_error_of_the_source_comes_through(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield GOOD[:700]
        raise BackupFailed("the gzip stream is damaged")

    with pytest.raises(BackupFailed, match="gzip"):
        unpack_tree(DirectCall(tmp_path, broken()), archive="tar", root="root", limits={})


def test_the_umask_and_descriptors_are_as_before(tmp_path: Path) -> None:
    before, descriptors = os.umask(0o027), len(list(Path("/proc/self/fd").iterdir()))
    try:
        unpack_tree(DirectCall(tmp_path, [GOOD]), archive="tar", root="good", limits={})
        with pytest.raises(BackupFailed):
            unpack_tree(DirectCall(tmp_path, [GOOD[:600]]), archive="tar", root="bad", limits={})
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "good" / "d" / "a").stat().st_mode & 0o777 == 0o664
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_a_file_beyond_the_sandboxes_limit_says_nothing_about_the_backup() -> None:
    with open_directory() as directory:

        def restore() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
            with pytest.raises(CouldNotVerify, match="larger than the sandbox allows"):
                unpack_tree(DirectCall(directory, [GOOD]), archive="tar", root="bad", limits={})
            unpack_tree(DirectCall(directory, [archive(member(b"b", b"22"))]), archive="tar", root="good", limits={})

        as_nobody(restore)
