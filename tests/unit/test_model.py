"""The vocabulary: names, sizes and identities of snapshots, and what an error says."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from restore_drill.errors import BackupFailed, Blocked, CouldNotVerify, DeadlineExceeded, RestoreDrillError, SandboxDied
from restore_drill.model import Artifact, Finding, Kind, Snapshot, Stage, Verdict

TAKEN = datetime(2026, 11, 23, 2, 0, 0, 900_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "name"),
    [("a/b/c.gz", "c.gz"), ("c.gz", "c.gz"), ("a/2026-11-23/", "2026-11-23"), ("a b/ü\n", "ü\n"), ("a//b", "b")],
)
def test_the_name_of_an_artifact_is_the_last_part_of_its_key(key: str, name: str) -> None:
    assert Artifact(key, 1, 0.0).name == name


def test_a_snapshot_is_named_by_its_instant_and_kind() -> None:
    artifact = Artifact("x", 10, 5.0)
    east = TAKEN.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert Snapshot(TAKEN, (artifact,)).id == "20261123T020000Z"
    assert Snapshot(east, (artifact,)).id == "20261123T020000Z"
    assert Snapshot(TAKEN, (artifact,), Kind.INCREMENTAL).id == "20261123T020000Z-incremental"


def test_a_snapshot_sums_its_artifacts() -> None:
    first, second = Artifact("db", 10, 5.0), Artifact("db-wal", 3, 9.0)
    snapshot = Snapshot(TAKEN, (first, second))
    assert (snapshot.main, snapshot.size, snapshot.modified) == (first, 13, 9.0)
    assert Snapshot(TAKEN, (first, Artifact("dir/", -1, 1.0))).size == -1


@pytest.mark.parametrize(
    ("resolution", "written", "moment"),
    [
        (timedelta(seconds=1), timedelta(minutes=5), timedelta(0)),
        (timedelta(days=1), timedelta(hours=3), timedelta(hours=3)),
        (timedelta(days=1), timedelta(days=9), timedelta(days=1)),
        (timedelta(days=1), timedelta(hours=-1), timedelta(0)),
    ],
    ids=["its name tells it", "its name tells the day", "copied later", "written before it was taken"],
)
def test_the_moment_of_a_snapshot_is_refined_within_what_its_name_leaves_open(
    resolution: timedelta, written: timedelta, moment: timedelta
) -> None:
    snapshot = Snapshot(TAKEN, (Artifact("x", 1, (TAKEN + written).timestamp()),), resolution=resolution)
    assert snapshot.moment == (TAKEN + moment).timestamp()


def test_only_a_pass_is_a_pass() -> None:
    assert Finding().passed
    assert [Finding(verdict).passed for verdict in Verdict] == [True, False, False, False]


def test_an_error_is_one_line_with_cause_place_and_remedy() -> None:
    problem = BackupFailed("it is empty.", looked_at="s3://b/x", remedy="Look.", stage=Stage.FETCH, details=("secret",))
    assert str(problem) == "it is empty (s3://b/x). Look."
    assert str(CouldNotVerify("no answer")) == "no answer."
    assert "secret" not in str(problem)


@pytest.mark.parametrize("kind", [CouldNotVerify, DeadlineExceeded, SandboxDied])
def test_only_a_bad_backup_fails(kind: type[RestoreDrillError]) -> None:
    assert BackupFailed("x").verdict is Verdict.FAILED
    assert kind("x").verdict is Verdict.ERROR
    assert Blocked("restores", "it did not").verdict is Verdict.ERROR


@pytest.mark.parametrize(
    "problem",
    [
        BackupFailed("bad", looked_at="here", remedy="Mend it.", stage=Stage.UNPACK, details=("a", "b")),
        SandboxDied("gone", signal=9, remedy="More memory.", details=("trace",)),
        DeadlineExceeded("late", stage=Stage.FETCH),
    ],
)
def test_an_error_travels_to_another_process(problem: RestoreDrillError) -> None:
    again = pickle.loads(pickle.dumps(problem))
    assert type(again) is type(problem)
    assert (str(again), vars(again)) == (str(problem), vars(problem))


def test_what_is_blocked_repeats_the_cause_in_one_line() -> None:
    problem = Blocked("restores", "the engine refuses it")
    assert (problem.by, str(problem)) == ("restores", "blocked by restores: the engine refuses it.")
