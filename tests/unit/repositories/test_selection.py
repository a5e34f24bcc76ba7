"""Which snapshot is drilled, what is stepped over, and what fails as it lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeRepository, Objects, date

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.repositories.base import KEPT
from restore_drill.repositories.selection import Selection, choose

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TEXT = "db/{time:%Y%m%d_%H%M%S}.db"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Choose = Callable[..., Selection]


@pytest.fixture
def job(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "store", TEXT)


@pytest.fixture
def select(make_repository: MakeRepository) -> Choose:
    def make(
        *, now: datetime = NOW, wanted: str = "", sizes_from: float = 0.0, path: str = TEXT, **options: Any
    ) -> Selection:
        repository = make_repository(path=path, **options)
        survey = repository.survey(wanted)
        return choose(survey, repository, now.timestamp(), wanted=wanted, sizes_from=sizes_from)

    return make


def failure(selection: Selection) -> BackupFailed:
    assert selection.snapshot is None
    assert selection.failure is not None
    assert selection.failure.stage is Stage.LOCATE
    assert selection.failure.looked_at.startswith("file://")
    assert selection.failure.remedy
    return selection.failure


def chosen(selection: Selection) -> datetime:
    assert selection.failure is None, selection.failure
    assert selection.snapshot is not None
    return selection.snapshot.taken_at


def test_the_newest_by_its_name_is_drilled(job: Objects, select: Choose) -> None:
    for hours in (3, 1, 2):
        job.put(NOW - hours * HOUR)
    os.utime(job.path(NOW - 3 * HOUR), (NOW.timestamp(), NOW.timestamp()))
    selection = select()
    assert chosen(selection) == NOW - HOUR
    assert (selection.stepped_over, selection.notes) == ([], [])
    assert selection.lag_seconds == pytest.approx(29)


def test_nothing_there_fails_and_says_what_was_looked_at(job: Objects, select: Choose) -> None:
    assert failure(select()).cause == "no snapshot, 0 objects looked at"
    job.root.joinpath("db").mkdir(parents=True)
    job.root.joinpath("db/notes.txt").write_text("x")
    problem = failure(select())
    assert problem.cause == "no snapshot, 1 objects looked at"
    assert TEXT in problem.remedy


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "fails"), [(4 * MINUTE, False), (5 * MINUTE, False), (6 * MINUTE, True), (DAY, True)]
)
def test_a_snapshot_from_the_future_fails_beyond_the_tolerance(
    ahead: timedelta, fails: bool, job: Objects, select: Choose
) -> None:
    job.put(NOW - HOUR)
    job.put(NOW + ahead)
    if fails:
        assert "claims to be from the future" in failure(select()).cause
    else:
        assert chosen(select()) == NOW + ahead


@pytest.mark.parametrize(("early", "fails"), [(5 * MINUTE, False), (6 * MINUTE, True), (30 * DAY, True)])
def test_an_object_older_than_the_time_it_claims_fails(
    early: timedelta, fails: bool, job: Objects, select: Choose
) -> None:
    job.put(NOW - HOUR, delay=-early)
    if fails:
        assert "before the time it claims" in failure(select()).cause
    else:
        assert chosen(select()) == NOW - HOUR


def test_an_object_that_came_later_is_transfer_lag(job: Objects, select: Choose) -> None:
    job.put(NOW - 10 * HOUR, delay=4 * HOUR + timedelta(seconds=1))
    selection = select()
    assert chosen(selection) == NOW - 10 * HOUR
    assert selection.lag_seconds == 4 * 3600
    assert selection.notes == ["it reached this store 4 h after it was taken"]
    assert select(target={"settle": "5h"}).notes == []


def test_a_name_of_the_double_hour_is_read_by_when_it_was_written(tmp_path: Path, select: Choose) -> None:
    job = Objects(tmp_path / "store", "db/{time:%Y%m%d_%H%M}.db", "Europe/Berlin")
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    job.put(second)
    selection = select(path="db/{time:%Y%m%d_%H%M}.db", timezone="Europe/Berlin", now=second + HOUR)
    assert chosen(selection) == second
    assert selection.notes == ["its name falls into the double hour at the end of summer time"]
    job.put(second - HOUR)
    selection = select(path="db/{time:%Y%m%d_%H%M}.db", timezone="Europe/Berlin", now=second)
    assert chosen(selection) == second - HOUR


def test_a_coarse_name_is_remarked(tmp_path: Path, select: Choose) -> None:
    Objects(tmp_path / "store", "{time:%Y%m%d}.db").put(NOW.replace(hour=0), delay=2 * HOUR)
    selection = select(path="{time:%Y%m%d}.db")
    assert selection.notes == ["its name states its time to within 1 d"]
    assert selection.lag_seconds == 0


# --- incomplete -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [timedelta(0), 14 * MINUTE])
def test_an_upload_under_way_is_stepped_over_for_its_predecessor(age: timedelta, job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    job.put(NOW - age - MINUTE, digest=False, delay=MINUTE)
    selection = select()
    assert chosen(selection) == NOW - HOUR
    name = job.path(NOW - age - MINUTE).name
    assert [step[0] for step in selection.stepped_over] == [name]
    assert selection.stepped_over[0][1].startswith("its digest is not there yet, ")


def test_later_a_missing_digest_is_no_incompleteness(job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    job.put(NOW - 30 * MINUTE, digest=False)
    assert chosen(select()) == NOW - 30 * MINUTE


def test_an_empty_object_is_stepped_over_and_later_fails(job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    path = job.put(NOW - 10 * MINUTE)
    path.write_bytes(b"")
    date(path, NOW - 10 * MINUTE)
    assert chosen(select()) == NOW - HOUR
    problem = failure(select(now=NOW + 10 * MINUTE))
    assert problem.cause == f"the newest snapshot {path.name} is not complete after 20 min: it is empty (0 bytes)"


@pytest.mark.parametrize(
    ("option", "missing"),
    [({"complete_when": "{name}.done"}, "its marker"), ({"parts": ["{name}-wal"]}, "its part")],
    ids=["marker", "part"],
)
def test_a_missing_marker_or_part_is_stepped_over(
    option: dict[str, Any], missing: str, job: Objects, select: Choose
) -> None:
    selection = select(**_with_companions_of_the_first_only(job, option))
    assert chosen(selection) == NOW - HOUR
    assert selection.stepped_over[0][1].startswith(missing)


def test_a_missing_marker_later_fails_and_a_missing_part_is_left_to_the_fetch(job: Objects, select: Choose) -> None:
    marker = _with_companions_of_the_first_only(job, {"complete_when": "{name}.done"})
    assert "its marker" in failure(select(now=NOW + HOUR, **marker)).cause
    assert chosen(select(now=NOW + HOUR, parts=["{name}-wal"])) == NOW - 10 * MINUTE


def _with_companions_of_the_first_only(job: Objects, option: dict[str, Any]) -> dict[str, Any]:
    for when in (NOW - HOUR, NOW - 10 * MINUTE):
        job.put(when)
    for suffix in (".done", "-wal", "-wal.sha256"):
        other = job.path(NOW - HOUR)
        other.with_name(other.name + suffix).write_text(f"{'a' * 64}\n")
    return option


def test_a_part_whose_digest_is_still_on_its_way_is_waited_for(job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    path = job.put(NOW - MINUTE)
    for when in (path, job.path(NOW - HOUR)):
        when.with_name(f"{when.name}-wal").write_text("wal")
    other = job.path(NOW - HOUR)
    other.with_name(f"{other.name}-wal.sha256").write_text(f"{'a' * 64}\n")
    selection = select(parts=["{name}-wal"])
    assert chosen(selection) == NOW - HOUR
    assert selection.stepped_over[0][1].startswith("its digest is not there yet")


TEMPORARY = ["{}.tmp", "{}.part", "{}.partial", "{}.filepart", "{}.inprogress", ".{}.Ab12Cd"]


@pytest.mark.parametrize("form", TEMPORARY)
def test_a_temporary_name_is_never_a_snapshot(form: str, job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    name = form.format(job.path(NOW - 10 * MINUTE).name)
    path = job.put(NOW - 10 * MINUTE, name=f"db/{name}", digest=False)
    selection = select()
    assert chosen(selection) == NOW - HOUR
    assert selection.stepped_over == [(name, "it has the name of an upload under way, 9 min 30 s old")]
    problem = failure(select(now=NOW + HOUR))
    assert problem.cause.startswith(f"{name} was begun 1 h 9 min ago and never finished")
    job.put(NOW - 5 * MINUTE)
    selection = select(now=NOW + HOUR)
    assert chosen(selection) == NOW - 5 * MINUTE
    assert selection.notes == [f"{name} is a leftover of an upload that never finished"]
    path.unlink()
    assert select(now=NOW + HOUR).notes == []


@pytest.mark.parametrize("form", TEMPORARY)
def test_a_pattern_that_fits_everything_does_not_fit_temporary_names_and_digests(
    form: str, tmp_path: Path, select: Choose
) -> None:
    pattern = "db/{time:%Y%m%d_%H%M%S}_{any}"
    if form.startswith("."):
        pattern = "db/{any}{time:%Y%m%d_%H%M%S}_{any}"
    job = Objects(tmp_path / "store", TEXT)
    job.put(NOW - HOUR, name="db/x20261123_110000_a.db" if form.startswith(".") else "db/20261123_110000_a.db")
    name = form.format("x20261123_115000_a.db" if form.startswith(".") else "20261123_115000_a.db")
    job.put(NOW - 10 * MINUTE, name=f"db/{name}", digest=False)
    selection = select(path=pattern)
    assert chosen(selection) == NOW - HOUR
    assert [step[0] for step in selection.stepped_over] == [name]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


ODDITIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link out": (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link that leads out of the store"),
    "a relative link out": (lambda path: path.symlink_to("../../x"), "a symbolic link that leads out of the store"),
    "a dangling link": (lambda path: path.symlink_to("gone"), "a symbolic link to nothing"),
    "a circle": (lambda path: path.symlink_to(path.name), "a symbolic link that leads in a circle"),
    "a link to a directory": (lambda path: path.symlink_to("."), "a symbolic link to a directory"),
    "a fifo": (_fifo, "a FIFO"),
    "a directory": (Path.mkdir, "a directory"),
}


@pytest.mark.parametrize("make", ODDITIES)
def test_what_is_no_file_under_the_newest_name_is_stepped_over_and_later_fails(
    make: str, job: Objects, select: Choose
) -> None:
    job.put(NOW - HOUR)
    path = job.path(NOW - 10 * MINUTE)
    create, what = ODDITIES[make]
    create(path)
    stamp = (NOW - 10 * MINUTE).timestamp()
    os.utime(path, (stamp, stamp), follow_symlinks=False)
    selection = select()
    assert chosen(selection) == NOW - HOUR
    assert selection.stepped_over == [(path.name, f"it is {what}, which is never read, 10 min old")]
    problem = failure(select(now=NOW + 10 * MINUTE))
    assert problem.cause == f"{path.name} has the name of the newest snapshot, and it is {what}, which is never read"
    job.put(NOW - 5 * MINUTE)  # a newer one that can be read: what lies before it does not matter any more
    later = select(now=NOW + 10 * MINUTE)
    assert chosen(later) == NOW - 5 * MINUTE
    assert (later.stepped_over, later.notes) == ([], [])


def test_a_link_to_a_file_of_the_store_is_an_object_like_any_other(job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    newest = job.put(NOW - 10 * MINUTE)
    kept = newest.rename(newest.with_name("kept.bin"))
    newest.symlink_to(kept.name)
    selection = select(now=NOW + 10 * MINUTE)
    assert chosen(selection) == NOW - 10 * MINUTE
    assert selection.stepped_over == []


def test_what_does_not_match_the_pattern_is_nobodys_business(job: Objects, select: Choose) -> None:
    newest = job.put(NOW - HOUR)
    (newest.parent / "latest.db").symlink_to("/etc/passwd")
    (newest.parent / "current").symlink_to(newest.name)
    (newest.parent / f"{job.path(NOW).name}.d").mkdir()
    os.mkfifo(newest.parent / "notify")
    selection = select(now=NOW + HOUR)
    assert chosen(selection) == NOW - HOUR
    assert (selection.stepped_over, selection.notes) == ([], [])


def test_a_directory_beside_the_objects_may_have_room_in_a_pattern_that_fits_much(job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    job.path(NOW - 10 * MINUTE).with_suffix(".work").mkdir()
    loose = "db/{time:%Y%m%d_%H%M%S}{any}"
    stamp = (NOW - 10 * MINUTE).timestamp()
    os.utime(job.path(NOW - 10 * MINUTE).with_suffix(".work"), (stamp, stamp))
    assert chosen(select(now=NOW + HOUR, path=loose)) == NOW - HOUR
    job.path(NOW - 10 * MINUTE).symlink_to("/etc/passwd")
    os.utime(job.path(NOW - 10 * MINUTE), (stamp, stamp), follow_symlinks=False)
    assert "leads out of the store" in failure(select(now=NOW + HOUR, path=loose)).cause


def test_nothing_but_a_link_that_leads_out_says_so(tmp_path: Path, select: Choose) -> None:
    (tmp_path / "store" / "db").mkdir(parents=True)
    only = tmp_path / "store" / "db" / "archive.tar"
    only.symlink_to("/etc/passwd")
    later = datetime.now(UTC) + HOUR
    assert "leads out of the store" in failure(select(now=later, path="db/archive.tar")).cause
    only.unlink()
    only.write_bytes(b"x")
    assert select(now=later, path="db/archive.tar", checksum="pinned").failure is None


def test_many_leftovers_are_counted_and_few_are_named(job: Objects, select: Choose) -> None:
    job.put(NOW - HOUR)
    for night in range(3 * KEPT):
        when = NOW - (night + 1) * DAY
        job.put(when, name=f"db/{job.path(when).name}.tmp", digest=False)
    selection = select()
    assert chosen(selection) == NOW - HOUR
    assert len(selection.notes) == 4
    assert "other leftovers" in selection.notes[-1]


def test_one_that_seems_to_be_written_in_the_future_does_not_settle_forever(job: Objects, select: Choose) -> None:
    job.put(NOW - 3 * HOUR)
    path = job.put(NOW - 2 * HOUR)
    path.write_bytes(b"")
    date(path, NOW + 300 * DAY)
    assert "is not complete after 2 h" in failure(select()).cause


def test_a_first_upload_that_is_under_way_is_no_snapshot_yet(job: Objects, select: Choose) -> None:
    job.put(NOW - MINUTE, digest=False)
    assert failure(select()).cause == "no snapshot (1 still being written), 1 objects looked at"


# --- which of several -------------------------------------------------------------------------------------------------


def test_two_that_claim_the_newest_time_fail_and_two_old_ones_do_not(tmp_path: Path, select: Choose) -> None:
    job = Objects(tmp_path / "store", TEXT)
    for name in ("20261123_1000_a.db", "20261123_1000_b.db"):
        job.put(NOW - 2 * HOUR, name=f"db/{name}")
    pattern = "db/{time:%Y%m%d_%H%M}_{any}.db"
    problem = failure(select(path=pattern))
    assert "db/20261123_1000_a.db" in problem.cause
    assert "claim the same time" in problem.cause
    job.put(NOW - HOUR, name="db/20261123_1100_c.db")
    assert chosen(select(path=pattern)) == NOW - HOUR


def test_a_snapshot_can_be_asked_for_by_id_key_or_name(job: Objects, select: Choose) -> None:
    for hours in range(1, 100):
        job.put(NOW - hours * HOUR)
    old = NOW - 99 * HOUR
    for wanted in (f"{old:%Y%m%dT%H%M%SZ}", f"db/{job.path(old).name}", job.path(old).name):
        assert chosen(select(wanted=wanted)) == old
    problem = failure(select(wanted="20200101T000000Z"))
    assert problem.cause == "there is no snapshot 20200101T000000Z"
    assert "20261123T110000Z" in problem.remedy


# --- size -------------------------------------------------------------------------------------------------------------


def sized(job: Objects, *sizes: int, start: datetime = NOW - HOUR) -> None:
    """Snapshots a night apart with these sizes, the last one newest."""
    for night, size in enumerate(reversed(sizes)):
        job.put(start - night * DAY, b"x" * size)


@pytest.mark.parametrize(
    ("sizes", "fails"),
    [
        ((1000, 1000, 1000, 499), True),
        ((1000, 1000, 1000, 500), False),
        ((1000, 1000, 499), False),
        ((1000, 1000, 10, 1000, 499), True),
        ((100, 100, 100, 100, 1000, 1000, 60), False),
        ((1000, 1000, 1000, 5000), False),
        ((1, 1, 1, 1), False),
    ],
)
def test_a_collapse_is_judged_by_the_median_of_at_least_three(
    sizes: tuple[int, ...], fails: bool, job: Objects, select: Choose
) -> None:
    sized(job, *sizes)
    selection = select()
    assert (selection.failure is not None) is fails
    if fails:
        assert "predecessors typically 1.00 kB: more than 50 % smaller" in failure(selection).cause


def test_the_threshold_and_the_number_of_predecessors_are_the_catalogues(job: Objects, select: Choose) -> None:
    sized(job, *[1000] * 20, 899)
    assert select(target={"size": {"max_drop": "10%"}}).failure is not None
    assert select(target={"size": {"max_drop": "11%"}}).failure is None
    assert select(target={"size": {"max_drop": "10%", "predecessors": 20}}).failure is not None
    assert select(target={"size": {"max_drop": "10%", "predecessors": 21}}).failure is None


def test_sizes_of_before_an_accepted_change_are_not_compared(job: Objects, select: Choose) -> None:
    sized(job, 1000, 1000, 1000, 1000, 100)
    assert select().failure is not None
    accepted = (NOW - HOUR - DAY).timestamp() + 1
    assert select(sizes_from=accepted).failure is None
    assert select(sizes_from=(NOW - 100 * DAY).timestamp()).failure is not None


def test_sizes_are_compared_within_a_kind(tmp_path: Path, select: Choose) -> None:
    pattern = "db/{time:%Y%m%d}-{kind:full=F|differential=D}.tar"
    job = Objects(tmp_path / "store", TEXT)
    for night in range(1, 9):
        when = NOW - night * DAY
        job.put(when, b"x" * 10_000, name=f"db/{when:%Y%m%d}-F.tar")
    job.put(NOW - HOUR, b"x" * 10, name=f"db/{NOW:%Y%m%d}-D.tar")
    assert select(path=pattern, target={"engine": "files"}).failure is None
    job.put(NOW - HOUR, b"x" * 10, name=f"db/{NOW:%Y%m%d}-F.tar")
    (tmp_path / f"store/db/{NOW:%Y%m%d}-D.tar").unlink()
    assert select(path=pattern, target={"engine": "files"}).failure is not None
