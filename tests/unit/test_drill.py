"""One drill from its beginning to its end, over a real store and sandbox: what breaks where, what is measured once."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import Objects, database
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.drill import Drill, StageBroken
from restore_drill.engines.sqlite import SqliteEngine
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.evidence.record import read
from restore_drill.handover import adopt, complete
from restore_drill.model import Stage, Verdict
from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.repositories.objects import ObjectRepository
from restore_drill.run import Run, RunOptions
from restore_drill.sandboxes import workspace
from restore_drill.sandboxes.base import Disposal
from restore_drill.target_drill import Outcome, TargetDrill

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAME = "db/{time:%Y%m%d_%H%M%S}.db"


@pytest.fixture
def job(tmp_path: Path) -> Objects:
    """The backup job of the first copy, and one good backup."""
    job = Objects(tmp_path / "nas", NAME)
    job.put(NOW - HOUR)
    return job


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., TargetDrill]]:
    """A target being drilled: ``make(copies=..., options={...}, selected=..., **target)``."""
    made: list[TargetDrill] = []
    (tmp_path / "work").mkdir()

    def build(
        copies: tuple[str, ...] = ("nas",),
        options: dict[str, Any] | None = None,
        copy: dict[str, Any] | None = None,
        only: tuple[str, ...] = (),
        state: bool = True,
        **target: Any,
    ) -> TargetDrill:
        planned = planned_target(
            *(planned_copy(name, NAME, root=tmp_path / name, **(copy or {})) for name in copies),
            **{"expect": {"rows": {"orders": 100}}, **target},
        )
        directory = tmp_path / "reports" / f"run-{len(made)}"
        run = Run(
            directory.name, directory, plan_of(planned, state=tmp_path / "state"),
            RunOptions(**{"work_dir": str(tmp_path / "work"), **(options or {})}), clock=NOW.timestamp,
        )  # fmt: skip
        if state:
            run.history.initialise()
        cases = [case for case in planned.cases() if not only or case.case in only]
        made.append(TargetDrill(planned, run, cases))
        return made[-1]

    yield build
    for each in made:
        each.close()
        each.run.close()


def case_of(target: PlannedTarget, short: str) -> PlannedCase:
    return next(case for case in target.cases() if case.case == short)


def left(tmp_path: Path) -> list[str]:
    """What is left of restored copies; an emptied directory that waits for the next one is not."""
    return [str(path) for path in (tmp_path / "work").glob("*/*/*/*/*")]


def lines(drill: Drill) -> list[dict[str, Any]]:
    return read(drill.run.directory)["orders-db", drill.copy.name]


def test_a_good_backup_comes_all_the_way(job: Objects, make: Callable[..., TargetDrill], tmp_path: Path) -> None:
    whole = make()
    drill = whole.drill("nas")
    assert whole.drill("nas") is drill and whole.scope("nas") == whole.scope("") == "whole"
    assert drill.located().snapshot.id == "20261123T110000Z"
    assert drill.transfer().broken == {}
    facts = drill.restore_facts()
    assert facts.rto_seconds >= facts.seconds > 0
    assert "tables" in facts.summary and "summary" not in facts.facts
    assert drill.measure(case_of(whole.target, "rows")).judge().verdict is Verdict.PASSED
    assert drill.measure(case_of(whole.target, "integrity")).judge().passed
    told = drill.properties()
    assert told["snapshot"] == "20261123T110000Z" and told["stored_bytes"] == told["content_bytes"] == len(database())
    assert told["sha256"] == hashlib.sha256(database()).hexdigest()
    assert told.keys() >= {"taken_at", "fetch_seconds", "restore_seconds", "rto_seconds"}
    assert left(tmp_path)
    whole.leave("nas")
    assert not drill.dispose().left and left(tmp_path) == []
    assert [line["stage"] for line in lines(drill) if "stage" in line] == [
        "locate", "locate", "fetch", "restore", "dispose",
    ]  # fmt: skip
    assert whole.drill("nas").located().points == 1  # what was measured stays known


def _damaged() -> bytes:
    """A database whose last page is not what it was."""
    data = bytearray(database(2000))
    data[-4000:-2000] = bytes(2000)
    return bytes(data)


def _spare(drill: Drill) -> bool:
    """Whether a sandbox process waits for the next drill of its run."""
    directory = workspace._open.get((os.getpid(), drill.run.work_dir, drill.run.id))
    return directory is not None and directory.spare is not None


@pytest.mark.parametrize(
    ("content", "digest", "options", "waits"),
    [
        (database(), True, {}, True),
        (database(70), True, {}, False),
        (database(), False, {}, False),
        (database(), "0" * 64, {}, False),
        (database(), f"MD5 (20261123_110000.db) = {hashlib.md5(database()).hexdigest()}", {}, False),
        (b"no database", True, {}, False),
        (_damaged(), True, {}, False),
        (database(), True, {"keep_restored": True}, False),
        (database(), True, {"fresh_sandboxes": True}, False),
    ],
    ids=["good", "too few rows", "no digest", "wrong", "weak", "refused", "damaged", "kept", "not wanted"],
)
def test_the_process_that_read_a_backup_serves_others_only_if_that_was_beyond_suspicion(
    job: Objects, make: Callable[..., TargetDrill], content: bytes, digest: Any, options: dict[str, Any], waits: bool
) -> None:
    job.sidecar(path := job.path(NOW - HOUR)).unlink()
    job.put(NOW - HOUR, content, digest=bool(digest))
    if isinstance(digest, str):
        job.sidecar(path).write_text(digest if "=" in digest else f"{digest}  {path.name}\n")
    whole = make(options=options)
    drill = whole.drill("nas")
    cases = sorted(
        (case for case in whole.target.cases() if case.case in ("integrity", "rows")), key=lambda case: case.case
    )
    complete(drill, cases, Stage.RESTORE)
    assert _spare(drill) is waits
    if isinstance(drill.disposal, Disposal) and drill.disposal.kept:
        assert Path(drill.disposal.kept).is_dir()


def test_bytes_that_are_not_the_pinned_ones_are_not_beyond_suspicion_whatever_was_asked(
    job: Objects, make: Callable[..., TargetDrill]
) -> None:
    """Who can write backup and digest is whom pins are for."""
    from restore_drill.history import DrillSummary

    first = make(frozen=True).drill("nas")
    complete(first, [], Stage.FETCH)
    assert _spare(first)
    artifact = first.transfer().artifacts[0]
    summary = DrillSummary("r", "s", "k", 1.0, 2.0, True, pins={artifact["key"]: artifact["sha256"]}, content_bytes=1)
    first.run.history.record("orders-db", "nas", summary)
    job.put(NOW - HOUR, database(5))
    again = make(frozen=True).drill("nas")
    complete(again, [], Stage.FETCH)
    assert again.transfer().broken.keys() == {Stage.VERIFY}
    assert not _spare(again)


def test_a_process_that_a_users_own_case_reached_serves_nobody_else(
    job: Objects, make: Callable[..., TargetDrill]
) -> None:
    whole = make()
    drill = whole.drill("nas")
    drill.cases = drill.cases | {PlannedCase("orders-db", "nas", "own", "test_mine")}
    complete(drill, [], Stage.RESTORE)
    assert not _spare(drill)


def test_the_next_target_is_looked_up_in_the_same_store_only(job: Objects, make: Callable[..., TargetDrill]) -> None:
    whole = make()
    whole.look("offsite")
    assert whole.drill("nas").progress == 0
    whole.look("nas")
    assert whole.drill("nas").progress == 1


def test_what_goes_wrong_while_looking_ahead_is_met_again(make: Callable[..., TargetDrill]) -> None:
    whole = make()  # whose store is not there
    whole.look("nas")
    with pytest.raises(StageBroken):
        whole.drill("nas").located()


def test_nothing_is_looked_up_meanwhile_where_looking_took_long(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    for quick, expected in ((1e-9, []), (60.0, ["nas"])):
        monkeypatch.setattr("restore_drill.handover._QUICK", quick)
        whole = make()
        cases = [case for case in whole.target.cases() if case.case == "rows"]
        complete(whole.drill("nas"), cases, Stage.RESTORE, looked.append)
        assert looked == expected


def test_every_stage_and_measurement_is_made_once(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = dict.fromkeys(("survey", "fetch", "restore"), 0)

    def counted(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    for owner, name in ((ObjectRepository, "survey"), (ObjectRepository, "fetch"), (SqliteEngine, "restore")):
        counted(owner, name)
    whole = make()
    for _ in range(2):
        drill = whole.drill("nas")
        drill.located()
        drill.reach(Stage.VERIFY)
        drill.restored()
        drill.measure(case_of(whole.target, "structure"))
    assert set(counts.values()) == {1}


def test_the_engine_is_told_what_will_be_asked(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    restore = SqliteEngine.restore
    monkeypatch.setattr(
        SqliteEngine, "restore", lambda self, *arguments: given.append(arguments[2]) or restore(self, *arguments)
    )
    for mode in ("full", "quick"):
        whole = make(expect={"integrity": mode, "allow_empty": True}, only=("integrity", "restores"))
        whole.drill("nas").restored()
        assert (given[-1].integrity, given[-1].allow_empty) == (mode, True)
        assert given[-1].wanted == {"integrity", "restores"}
        assert whole.scope("nas") == "partial"


# --- what breaks ------------------------------------------------------------------------------------------------------


def broken(drill: Drill, upto: Stage = Stage.RESTORE) -> tuple[Stage, Exception]:
    with pytest.raises(StageBroken) as caught:
        drill.reach(upto)
    with pytest.raises(StageBroken) as again:
        drill.restored()
    assert again.value.error is caught.value.error
    return caught.value.stage, caught.value.error


def test_no_snapshot(make: Callable[..., TargetDrill], tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    drill = make().drill("nas")
    stage, error = broken(drill)
    assert stage is Stage.LOCATE and isinstance(error, BackupFailed)
    assert drill.properties() == {} and not drill.dispose().left
    assert lines(drill)[-1]["facts"] is None


def test_a_wrong_digest_blocks_what_comes_later_and_not_what_came_before(
    job: Objects, make: Callable[..., TargetDrill]
) -> None:
    job.sidecar(job.path(NOW - HOUR)).write_text(f"{'0' * 64}\n")
    drill = make().drill("nas")
    assert broken(drill)[0] is Stage.VERIFY
    drill.reach(Stage.FETCH)
    assert drill.transfer().digests[0].expected == "0" * 64


def test_a_cut_backup_does_not_unpack(job: Objects, make: Callable[..., TargetDrill]) -> None:
    path = job.put(NOW - HOUR, gzip.compress(database())[:-20])
    assert path.is_file()
    stage, error = broken(make().drill("nas"))
    assert stage is Stage.UNPACK and isinstance(error, BackupFailed)


def test_an_empty_database_does_not_restore(job: Objects, make: Callable[..., TargetDrill]) -> None:
    job.put(NOW - HOUR, database(0))
    stage, error = broken(make().drill("nas"))
    assert stage is Stage.RESTORE and isinstance(error, BackupFailed) and "nothing came back" in error.cause
    assert make(expect={"allow_empty": True}).drill("nas").restore_facts().summary


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (DeadlineExceeded("it did not end in time"), BackupFailed),  # slower than twice its objective is no restore
        (CouldNotVerify("no program"), CouldNotVerify),
        (RuntimeError("a bug"), CouldNotVerify),
    ],
)
def test_what_an_engine_raises_is_borne_by_the_restore(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch, problem: Exception, kind: type
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise problem

    monkeypatch.setattr(SqliteEngine, "restore", refuse)
    stage, error = broken(make().drill("nas"))
    assert stage is Stage.RESTORE and type(error) is kind
    assert (type(problem).__name__ if isinstance(problem, RuntimeError) else str(problem)) in str(error)


@pytest.mark.parametrize(("pulled", "kind"), [(0.0, BackupFailed), (1.0, CouldNotVerify)])
def test_time_that_an_image_took_is_no_verdict_on_the_backup(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch, pulled: float, kind: type
) -> None:
    from restore_drill.sandboxes.directory import DirectorySandbox

    def late(engine: Any, payloads: Any, sandbox: Any, options: Any) -> Any:
        until = time.monotonic() + options.deadline
        while time.monotonic() < until:
            pass
        raise DeadlineExceeded("there was no time left")

    monkeypatch.setattr(SqliteEngine, "restore", late)
    monkeypatch.setattr(DirectorySandbox, "held_up", pulled)
    stage, error = broken(make(deadlines={"restore": "0.05 s"}).drill("nas"))
    assert stage is Stage.RESTORE and type(error) is kind
    assert ("pulling the image took 1 s" in str(error)) == bool(pulled)


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_fetched(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch
) -> None:
    from restore_drill import disk

    monkeypatch.setattr(disk, "free_space", lambda path: disk.reserve(path) + 10)
    monkeypatch.setattr(ObjectRepository, "fetch", lambda *arguments: pytest.fail("it was fetched"))
    stage, error = broken(make().drill("nas"))
    assert stage is Stage.FETCH and isinstance(error, CouldNotVerify) and "the disk is too small" in error.cause


def test_a_check_that_breaks_says_nothing_of_the_backup(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch
) -> None:
    from restore_drill.checks.rows import RowCountCheck

    whole = make()
    drill, rows = whole.drill("nas"), case_of(whole.target, "rows")
    monkeypatch.setattr(RowCountCheck, "measure", lambda *arguments: 1 // 0)
    for _ in range(2):
        with pytest.raises(CouldNotVerify, match="ZeroDivisionError"):
            drill.measure(rows)
    assert drill.measure(case_of(whole.target, "structure")).judge().passed


def test_what_is_kept_is_said_where(job: Objects, make: Callable[..., TargetDrill]) -> None:
    drill = make(options={"keep_restored": True}).drill("nas")
    drill.restored()
    kept = drill.dispose().kept
    assert any(path.is_file() for path in Path(kept).rglob("*"))
    unrestored = make(options={"keep_restored": True}).drill("nas")
    unrestored.transfer()
    assert not unrestored.dispose().kept


def test_an_older_snapshot_is_drilled_when_it_is_named(job: Objects, make: Callable[..., TargetDrill]) -> None:
    job.put(NOW - 5 * HOUR, database(7))
    drill = make(options={"snapshot": "20261123T070000Z"}, expect={"rows": {"orders": 7}}).drill("nas")
    assert drill.located().snapshot.taken_at == NOW - 5 * HOUR
    assert drill.measure(case_of(drill.target, "rows")).judge().passed


# --- pins -------------------------------------------------------------------------------------------------------------


def test_a_pinned_digest_is_compared_from_the_second_drill_on(
    job: Objects, make: Callable[..., TargetDrill], tmp_path: Path
) -> None:
    from restore_drill.history import DrillSummary

    first = make(copy={"checksum": "pinned"}).drill("nas")
    first.restored()
    assert first.transfer().notes == [f"the digest of {job.path(NOW - HOUR).name} was pinned now"]
    artifact = first.transfer().artifacts[0]
    summary = DrillSummary("r", "s", "k", 1.0, 2.0, True, pins={artifact["key"]: artifact["sha256"]}, content_bytes=1)
    first.run.history.record("orders-db", "nas", summary)
    again = make(copy={"checksum": "pinned"}).drill("nas")
    again.restored()
    assert again.transfer().notes == []
    job.put(NOW - HOUR, database(5))
    stage, error = broken(make(copy={"checksum": "pinned"}).drill("nas"))
    assert stage is Stage.VERIFY and "pinned at the first drill was" in str(error)
    assert "--pin KEY" in str(error)


def test_nothing_is_pinned_without_a_state(job: Objects, make: Callable[..., TargetDrill]) -> None:
    stage, error = broken(make(copy={"checksum": "pinned"}, state=False).drill("nas"))
    assert stage is Stage.VERIFY and isinstance(error, CouldNotVerify)
    make(state=False).drill("nas").restored()


# --- across copies ----------------------------------------------------------------------------------------------------


@pytest.fixture
def offsite(tmp_path: Path, job: Objects) -> Objects:
    """The second copy, with the same backup."""
    job = Objects(tmp_path / "offsite", NAME)
    job.put(NOW - HOUR)
    return job


BOTH = ("nas", "offsite")


def test_copies_agree_on_what_they_have_in_common(
    job: Objects, offsite: Objects, make: Callable[..., TargetDrill], tmp_path: Path
) -> None:
    same = make(BOTH).agreement()
    assert same.common == (NOW - HOUR).timestamp()
    assert len({content.digest for content in same.contents}) == 1
    job.put(NOW - HOUR / 2, database(7))
    late = make(BOTH).agreement()
    assert late.common == (NOW - HOUR).timestamp() and late.newest["nas"] == (NOW - HOUR / 2).timestamp()
    assert len({content.digest for content in late.contents}) == 1
    offsite.put(NOW - HOUR, database(9))
    assert len({content.digest for content in make(BOTH).agreement().contents}) == 2
    offsite.path(NOW - HOUR).rename(offsite.path(NOW - 2 * HOUR))
    assert make(BOTH).agreement().common is None


def test_a_snapshot_to_compare_with_may_be_damaged(
    job: Objects, offsite: Objects, make: Callable[..., TargetDrill], tmp_path: Path
) -> None:
    job.put(NOW - HOUR / 2)
    job.sidecar(job.path(NOW - HOUR)).write_text(f"{'0' * 64}\n")
    whole = make(BOTH)
    with pytest.raises(StageBroken) as caught:
        whole.agreement()
    assert caught.value.stage is Stage.VERIFY
    whole.close()
    assert left(tmp_path) == []


def test_a_snapshot_to_compare_with_may_vanish(job: Objects, make: Callable[..., TargetDrill], tmp_path: Path) -> None:
    drill = make().drill("nas")
    with pytest.raises(CouldNotVerify, match="vanished since it was listed"):
        drill.transferring.compare(NOW - 9 * HOUR)
    assert drill.transferring.compare(NOW - HOUR).payloads[0].digest == hashlib.sha256(database()).hexdigest()


def test_a_copy_counts_when_its_own_whole_drill_passed(
    job: Objects, offsite: Objects, make: Callable[..., TargetDrill]
) -> None:
    from restore_drill.history import DrillSummary

    whole = make(BOTH)
    (nas, other) = whole.standings()
    assert (nas.proved, nas.why_not) == (False, "no whole drill of it has passed yet")
    for case in whole.outcomes["nas"].planned:
        whole.outcomes["nas"].add(case, Verdict.PASSED)
    assert [standing.proved for standing in whole.standings()] == [True, False]
    at = NOW.timestamp()
    for finished, passed, why in (
        (at - 3600, True, ""),
        (at - 2 * 86_400, True, "its last whole drill is 2 d old, due every 1 d"),
        (at - 60, False, "its last whole drill, 2026-11-23 11:59Z, did not pass"),
    ):
        whole.run.history.initialise(fresh=True)
        whole.run.history.record("orders-db", "offsite", DrillSummary("r", "s", "k", finished, finished, passed))
        assert whole.standings()[1].why_not == why
    case = case_of(whole.target, "rows")
    whole.outcomes["offsite"].add(case, Verdict.ERROR, "no program")
    whole.outcomes["offsite"].add(replace(case, case="files"), Verdict.FAILED, "a file is missing")
    standing = whole.standings()[1]
    assert standing.why_not == "its drill did not pass: files: a file is missing"
    assert standing.blocked_by == "files"
    assert nas.media == other.media == "disk"


def test_an_outcome_keeps_the_first_failure_before_any_error() -> None:
    one, two, three = (PlannedCase("t", "c", name) for name in ("a", "b", "c"))
    outcome = Outcome(frozenset({one, two, three}))
    outcome.add(one, Verdict.ERROR, "first")
    assert (outcome.cause, outcome.whole, outcome.passed) == ("a: first", False, False)
    outcome.add(two, Verdict.FAILED, "second")
    outcome.add(three, Verdict.FAILED, "third")
    assert (outcome.cause, outcome.whole) == ("b: second", True)


def test_retention_is_judged_by_what_is_listed_and_what_is_remembered(
    job: Objects, make: Callable[..., TargetDrill]
) -> None:
    for days in range(1, 4):
        job.put(NOW - HOUR - timedelta(days=days))
    whole = make(copy={"retention": {"daily": 3}, "lag": "5m"}, grace="10m")
    ((facts, rule),) = whole.retention()
    assert (facts.copy, len(facts.times), rule.daily) == ("nas", 4, 3)
    assert (facts.slack, facts.drift, facts.oldest_seen) == (900.0, 600.0, None)
    assert make().retention() == []
    assert str(whole.zone) == "UTC"
    with pytest.raises(CouldNotVerify, match="no state of earlier drills"):
        whole.run.history._since = ""
        whole.retention()


# --- what cannot be put on record -------------------------------------------------------------------------------------


def test_a_stage_without_a_record_is_as_good_as_not_measured(
    job: Objects, make: Callable[..., TargetDrill], tmp_path: Path
) -> None:
    whole = make()
    (whole.run.directory / "facts" / f"{os.getpid()}.jsonl").mkdir(parents=True)
    results = complete(whole.drill("nas"), [], Stage.RESTORE)
    assert results.stages == {} and results.broken is not None
    stage, problem = results.broken
    assert stage is Stage.LOCATE and "what was measured cannot be recorded: Is a directory" in str(problem)
    assert left(tmp_path) == []


@pytest.mark.parametrize("only", [(), ("located", "restores")])
@pytest.mark.parametrize("room", [True, False])
def test_an_end_without_a_record_passes_for_nobody(
    job: Objects, make: Callable[..., TargetDrill], monkeypatch: pytest.MonkeyPatch, only: tuple[str, ...], room: bool
) -> None:
    elsewhere, here = make(only=only).drill("nas"), make(only=only).drill("nas")
    elsewhere.restore_facts()
    if not room:
        os.close(elsewhere.record._file._descriptor)
        elsewhere.record._file._descriptor = os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC)
    results = complete(elsewhere, [], Stage.RESTORE)
    assert (results.unrecorded is None) is room
    adopt(here, results)
    if room:
        here.finish()
        assert here.located() and here.restore_facts()
        return
    broken = here.finish if not only else here.located
    with pytest.raises((CouldNotVerify, StageBroken), match="what was measured cannot be recorded: No space left"):
        broken()
    if not only:
        assert here.located() and here.restore_facts(), "the case disposed bears it alone"
