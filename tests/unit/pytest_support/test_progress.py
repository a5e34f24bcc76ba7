"""What every process tells of its work, and what is shown of it."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import pytest

from restore_drill.pytest_support.progress import SharedProgress, Step, Watcher, _open_slot, steps


def test_each_process_tells_what_it_is_doing_until_it_is_done(tmp_path: Path) -> None:
    first, second = SharedProgress(tmp_path, "gw0.1"), SharedProgress(tmp_path, "gw1.2")
    assert steps(tmp_path) == []
    first.begin("db", "nas", "fetch", 1000)
    second.begin("db", "offsite", "restore", -1)
    told = [(step.target, step.copy, step.stage, step.total, step.done) for step in steps(tmp_path)]
    assert told == [("db", "nas", "fetch", 1000, 0), ("db", "offsite", "restore", -1, 0)]
    first.end()
    assert [step.copy for step in steps(tmp_path)] == ["offsite"]


def test_what_takes_longest_stands_first_whichever_worker_does_it(tmp_path: Path) -> None:
    SharedProgress(tmp_path, "gw1.2").begin("large", "nas", "fetch", 1000)
    SharedProgress(tmp_path, "gw0.1").begin("small", "nas", "fetch", 10)
    assert [step.target for step in steps(tmp_path)] == ["large", "small"]


def test_bytes_are_counted_by_stage(tmp_path: Path) -> None:
    progress = SharedProgress(tmp_path, "main.1")
    for _ in range(2):
        progress._told = 0.0
        progress.begin("db", "nas", "fetch", 1000)
        for _ in range(3):
            progress._told = 0.0  # as if the last time were long ago
            progress.advance(100)
        assert [step.done for step in steps(tmp_path)] == [300]


def test_bytes_are_not_written_down_every_time(tmp_path: Path) -> None:
    progress = SharedProgress(tmp_path, "main.1")
    progress.begin("db", "nas", "fetch", 1000)
    progress._told = time.monotonic() + 3600
    progress.advance(100)
    assert [step.done for step in steps(tmp_path)] == [0]


@pytest.mark.parametrize("torn", [b'["db", "nas", "fe', b"[1, 2]", b"7", b"\xff\xfe", b"null"])
def test_a_slot_that_is_just_being_written_is_passed_over(tmp_path: Path, torn: bytes) -> None:
    SharedProgress(tmp_path, "gw1.2").begin("db", "nas", "fetch", 5)
    (tmp_path / "progress.gw0.1").write_bytes(torn.ljust(512))
    assert [step.stage for step in steps(tmp_path)] == ["fetch"]


def test_names_longer_than_a_slot_do_no_harm(tmp_path: Path) -> None:
    SharedProgress(tmp_path, "gw0.1").begin("d" * 600, "nas", "fetch", 5)
    assert (tmp_path / "progress.gw0.1").stat().st_size == 512
    assert steps(tmp_path) == []


def test_nowhere_to_write_is_no_reason_to_stop(tmp_path: Path) -> None:
    progress = SharedProgress(tmp_path / "none", "main.1")
    progress.begin("db", "nas", "fetch", 5)
    progress.advance(5)
    progress.end()
    assert steps(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("total", "done", "said"),
    [
        (10_000_000, 2_500_000, "db/nas: fetch 2.50 MB of 10.0 MB, 250 kB/s, 30 s left"),
        (1000, 4000, "db/nas: fetch 4.00 kB of 1.00 kB, 400 B/s, 0 s left"),
        (-1, 5000, "db/nas: fetch 5.00 kB, 500 B/s"),
        (-1, 0, "db/nas: fetch 10 s"),
        (5000, 0, "db/nas: fetch 10 s"),
    ],
)
def test_a_step_says_how_far_it_is_and_how_long_it_will_take(total: int, done: int, said: str) -> None:
    assert Step("db", "nas", "fetch", total, 1000.0, done).describe(1010.0) == said


def test_the_watcher_shows_what_is_old_enough_and_nothing_after_its_end(tmp_path: Path) -> None:
    SharedProgress(tmp_path, "gw0.1").begin("db", "nas", "fetch", 5)
    shown: list[list[str]] = []
    patient, impatient = threading.Event(), threading.Event()

    def show(lines: list[str]) -> None:
        shown.append(lines)
        impatient.set()

    def show_nothing(lines: list[str]) -> None:
        assert not lines
        patient.set()

    watchers = [Watcher(tmp_path, show, 0.001, 0.0), Watcher(tmp_path, show_nothing, 0.001, 3600.0)]
    for watcher in watchers:
        watcher.start()
    assert patient.wait(30) and impatient.wait(30)
    for watcher in watchers:
        watcher.stop()
    assert len(shown[0]) == 1 and shown[0][0].startswith("db/nas: fetch ")
    count = len(shown)
    watchers[0].stop()
    assert len(shown) == count


def test_a_slot_has_its_room_before_it_is_written_to(tmp_path: Path) -> None:
    slot = _open_slot(tmp_path / "progress.main.1")
    assert slot is not None
    found = (tmp_path / "progress.main.1").stat()
    assert found.st_size == 512 and found.st_blocks > 0, "the first write to a page without a block is a SIGBUS"
    slot.close()


@pytest.mark.parametrize("full", [True, False])
def test_a_disk_without_room_for_a_slot_is_no_reason_to_stop(tmp_path: Path, full: bool) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    progress = SharedProgress(tmp_path, "gw0.1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 if full else soft, hard))
    try:
        progress.begin("db", "nas", "fetch", 5)
        progress.end()
        progress.begin("db", "nas", "restore", 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [step.stage for step in steps(tmp_path)] == ([] if full else ["restore"])
    assert [path.name for path in tmp_path.iterdir()] == ["progress.gw0.1"], "whom to stop is told all the same"
