"""Nights one after the other: what a healthy estate does must stay green, and what it loses must not slip through.

Every run takes it to be another time; backups are made as they would have been then.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.contents import Change, shop, sql
from tests.support.estate import Outcome, Project
from tests.support.matrix import Site

#: The first test of a worker waits for all runs of its fixture.
pytestmark = pytest.mark.timeout(1200)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
#: 02:00 in the first night; everybody drills at 06:00.
_FIRST = datetime(2026, 3, 2, 2, tzinfo=UTC)
_DRILL = 4 * _HOUR
_PATH = "{time:%Y%m%d_%H%M%S}.db"
_KEPT = 7


class Estate:
    """Targets that are backed up every night and drilled every morning, all in one run a morning."""

    def __init__(self, root: Path) -> None:
        self.project = Project(root, _FIRST)
        self.project.catalogue["tiers"] = {"nightly": {"rpo": "1d", "rto": "15m", "drill_every": "1d"}}
        self.sites: dict[str, Site] = {}
        self.runs: list[Outcome] = []

    def target(self, name: str, *copies: str, **options: Any) -> None:
        site = self.sites[name] = Site(self.project, name, "nightly")
        for copy in copies or ("nas",):
            site.copy(_PATH, copy)
        site.options |= options

    def back_up(self, name: str, night: int, copy: str = "nas", change: Change | None = None, **amount: int) -> None:
        """The backup of a night; ``amount`` is how many orders and customers there are by then."""
        when = _FIRST + night * _DAY
        self.sites[name].put(_FIRST - when, shop(when, change=change, **amount), copy)

    def prune(self, name: str, night: int, copy: str = "nas") -> None:
        """Thin out: the last seven nights stay."""
        key = self.sites[name].key(_FIRST + (night - _KEPT) * _DAY, copy)
        for suffix in ("", ".sha256"):
            self.sites[name].disk(f"{key}{suffix}").unlink(missing_ok=True)

    def drill(self, night: int, *arguments: str) -> Outcome:
        return self.project.drill(*arguments, at=_FIRST + night * _DAY + _DRILL)

    def accept(self, name: str, night: int, *what: str) -> None:
        at = _FIRST + night * _DAY + _DRILL + _HOUR
        self.project.command("baseline", "accept", name, *what, "--reason", "old accounts were closed", at=at)


def verdicts(run: Outcome, target: str) -> set[str]:
    return {case.verdict for case in run.of(target).values()}


def notes(run: Outcome, target: str) -> str:
    return "; ".join(case.notes for case in run.of(target).values())


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Nine nights of targets, each with another story."""
    estate = Estate(tmp_path_factory.mktemp("week") / "project")
    estate.project.store("offsite", media="object-storage", offsite=True)
    drop = {"rows": {"orders": {"max_drop": "5%"}}}
    estate.target("late-replica", "nas", "offsite")
    estate.sites["late-replica"].options |= {"copy_lag": "1d", "retention": {"daily": _KEPT}}
    estate.target("quiet", expect=drop)
    estate.target("thinned", retention={"daily": _KEPT, "at_least": 3}, expiry={"keep_last": _KEPT})
    estate.target("dying", expiry={"after": "4d", "by": "find -mtime +4"})
    estate.target("missed", retention={"daily": _KEPT})
    estate.target("leaking", expect=drop)
    estate.target("purged", expect=drop)
    estate.target("emptied")
    estate.target("vanished")
    estate.target("shrinking")
    estate.target("by-default", expect={"rows": {"default": {"max_drop": "10%"}}})
    estate.target("ignored", expect={"rows": {"ignore": ["aud*"]}})
    return [_night(estate, night) for night in range(9)]


def _night(estate: Estate, night: int) -> Outcome:
    for name in estate.sites:
        for copy in estate.sites[name].places:
            if copy == "offsite":
                if night:  # replication is a night behind
                    estate.back_up(name, night - 1, copy, orders=300 + night - 1)
                continue
            _STORIES.get(name, _as_ever)(estate, name, night)
            estate.prune(name, night, copy)
    if night == 0:
        estate.back_up("late-replica", 0, "offsite", orders=300)
    run = estate.drill(night)
    if night == 5:
        estate.accept("purged", night, "--table", "orders")
    return run


def _as_ever(estate: Estate, name: str, night: int) -> None:
    estate.back_up(name, night, orders=300 + night)


def _missed(estate: Estate, name: str, night: int) -> None:
    if night != 3:
        _as_ever(estate, name, night)


def _dying(estate: Estate, name: str, night: int) -> None:
    """From the fourth night on no backup is what its digest says."""
    _as_ever(estate, name, night)
    if night >= 3:
        key = estate.sites[name].newest()
        estate.sites[name].beside(f"{'0' * 64}  {key.rpartition('/')[2]}\n".encode())


def _quiet(estate: Estate, name: str, night: int) -> None:
    """Nobody ordered anything."""
    estate.back_up(name, night, orders=300)


def _leaking(estate: Estate, name: str, night: int) -> None:
    """Every night 4.9 % are lost."""
    estate.back_up(name, night, orders=int(1000 * 0.951**night) + 1)


def _purged(estate: Estate, name: str, night: int) -> None:
    estate.back_up(name, night, orders=300 if night < 5 else 200)


def _from_the_sixth(change: Change) -> Callable[[Estate, str, int], None]:
    return lambda estate, name, night: estate.back_up(name, night, change=change if night >= 5 else None)


_STORIES: dict[str, Callable[[Estate, str, int], None]] = {
    "missed": _missed,
    "dying": _dying,
    "quiet": _quiet,
    "leaking": _leaking,
    "purged": _purged,
    "emptied": _from_the_sixth(sql("delete from audit")),
    "vanished": _from_the_sixth(sql("drop trigger orders_are_noted", "drop table audit")),
    "shrinking": _from_the_sixth(sql("delete from audit where id > 30")),
    "by-default": _from_the_sixth(sql("delete from audit where id > 30")),
    "ignored": _from_the_sixth(sql("delete from audit")),
}


@pytest.mark.parametrize("target", ["late-replica", "quiet", "thinned", "shrinking", "ignored"])
def test_what_healthy_estates_do_stays_green(week: list[Outcome], target: str) -> None:
    assert [verdicts(run, target) for run in week] == [{"passed"}] * 9, [run.causes(target) for run in week]


@pytest.mark.parametrize("night", [0, 1, 2, 6])
def test_the_first_week_of_new_targets_is_green(week: list[Outcome], night: int) -> None:
    """Nothing is promised of the time before the first backup, and the first drill is the baseline."""
    for target in ("late-replica", "quiet", "thinned", "missed"):
        assert verdicts(week[night], target) == {"passed"} or (target, night) == ("missed", 3)
    if night == 0:
        assert week[0].status == 0
        assert "recorded as the baseline" in notes(week[0], "thinned")


def test_a_missed_night_is_reported_once(week: list[Outcome]) -> None:
    """In the morning itself the last backup is a day too old; the morning after, there is a gap; then all is said."""
    told = [run.causes("missed") for run in week]
    assert told[:3] == [{}] * 3
    assert told[3] == {"nas/rpo": "failed"}
    assert told[4] == {"nas/gap": "failed"}
    assert told[5:] == [{}] * 4
    assert "no recovery point for 2 d" in week[4].of("missed")["nas/gap"].message


def test_a_loss_that_is_small_every_night_is_caught_by_the_highest_of_thirty_days(week: list[Outcome]) -> None:
    told = [run.causes("leaking") for run in week]
    assert told[:2] == [{}] * 2
    assert all(causes == {"nas/rows/orders": "failed"} for causes in told[2:]), told
    assert "1001" in week[2].of("leaking")["nas/rows/orders"].message


def test_a_purge_is_red_until_somebody_accepts_it_and_evidence_shows_who_said_why(week: list[Outcome]) -> None:
    told = [run.causes("purged") for run in week]
    assert told[:5] == [{}] * 5
    assert told[5] == {"nas/rows/orders": "failed"}
    assert "baseline accept" in week[5].of("purged")["nas/rows/orders"].told
    assert told[6:] == [{}] * 3
    assert "old accounts were closed" in notes(week[6], "purged")
    assert "old accounts were closed" in (week[6].directory / "evidence.json").read_text()


@pytest.mark.parametrize(
    ("target", "case", "says"),
    [
        ("emptied", "nas/structure", "the table audit was emptied (300 rows before)"),
        ("vanished", "nas/structure", "the table audit vanished"),
    ],
)
def test_an_unnamed_table_that_was_emptied_or_vanished_fails(
    week: list[Outcome], target: str, case: str, says: str
) -> None:
    assert [run.causes(target) for run in week[:5]] == [{}] * 5
    assert [run.causes(target) for run in week[5:]] == [{case: "failed"}] * 4
    assert says in week[5].of(target)[case].message


def test_another_drop_of_an_unnamed_table_is_a_note(week: list[Outcome]) -> None:
    assert "audit: 300 rows before, 30 now" in notes(week[5], "shrinking")
    assert "audit" not in notes(week[4], "shrinking")


def test_a_default_rule_makes_it_a_failure(week: list[Outcome]) -> None:
    assert [run.causes("by-default") for run in week[:5]] == [{}] * 5
    causes = week[5].causes("by-default")
    assert len(causes) == 1 and next(iter(causes)).startswith("nas/rows/") and set(causes.values()) == {"failed"}
    assert "audit" in week[5].of("by-default")[next(iter(causes))].message


def test_thinning_keeps_what_was_promised(week: list[Outcome]) -> None:
    assert week[8].facts("thinned/nas", "locate")["points"] == _KEPT


def test_it_is_told_before_the_last_proved_backup_is_removed(week: list[Outcome]) -> None:
    """The third night's was the last good one, and stays for four days: at the last drill before, that is red, too."""
    told = [run.causes("dying") for run in week]
    assert told[:3] == [{}] * 3
    assert told[3] == told[4] == {"nas/checksum": "failed"}
    assert told[5:] == [{"nas/checksum": "failed", "/expiry": "failed"}] * 4
    said = [run.of("dying")["/expiry"].message for run in week[5:]]
    assert "the last proved snapshot 20260304T020000Z is removed 2026-03-08 02:00Z, in 20 h: find -mtime +4" in said[0]
    assert "may be gone since 2026-03-08 02:00Z" in said[1]


#: Both lose a table and rows under exceptions; one has them back when these end.
_LOSING = ("excepted-lost", "excepted-mended")
_WITHOUT_AUDIT = sql("drop trigger orders_are_noted", "drop table audit")


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Exceptions, pinned and frozen archives, and runs of a part only."""
    estate = Estate(tmp_path_factory.mktemp("years") / "project")
    estate.target("excepted", expect={"rows": {"orders": {"min": 5000}}})
    estate.target("pinned", checksum="pinned", rpo="30d")
    estate.target("frozen", frozen=True)
    for name in _LOSING:
        estate.target(name, expect={"rows": {"orders": {"max_drop": "5%"}}})
    given = {"reason": "migration", "approver": "ciso", "expires": (_FIRST + 2 * _DAY).date()}
    covered = [("excepted", "rows"), *((name, case) for name in _LOSING for case in ("rows", "structure"))]
    estate.project.catalogue["exceptions"] = [
        {"id": f"EX-{number}", "target": name, "case": case, **given} for number, (name, case) in enumerate(covered, 1)
    ]
    for name in estate.sites:
        estate.back_up(name, 0)
    estate.target("partial", expect={"rows": {"orders": {"max_drop": "5%"}}})
    estate.back_up("partial", 0)
    found = {"part": estate.drill(0, "-k", "partial and row_count")}
    found["part again"] = _with_fewer(estate, 0, "-k", "partial and row_count")
    found["first"] = estate.drill(0, "-k", "not partial")
    for night in (1, 2):
        estate.back_up("excepted", night)
        for name in _LOSING:
            estate.back_up(name, night, orders=200 - night, change=_WITHOUT_AUDIT)
        found[f"night {night}"] = estate.drill(night, "-k", "excepted or frozen")
    estate.back_up("excepted", 3)
    estate.back_up("excepted-lost", 3, orders=197, change=_WITHOUT_AUDIT)
    estate.back_up("excepted-mended", 3)
    for name in ("pinned", "frozen"):
        estate.sites[name].rewrite(shop(_FIRST, change=sql("update orders set cents = 1 where id = 7")))
        estate.sites[name].sign()
    found["changed"] = estate.drill(3, "-k", "excepted or frozen or pinned")
    for name in ("pinned", "frozen"):
        estate.accept(name, 3, "--pin", estate.sites[name].newest())
    found["accepted"] = estate.drill(3, "-k", "frozen or pinned")
    return found


def _with_fewer(estate: Estate, night: int, *arguments: str) -> Outcome:
    estate.back_up("partial", night, orders=200)
    return estate.drill(night, *arguments)


def test_an_exception_covers_its_case_until_it_expires(years: dict[str, Outcome]) -> None:
    for run in ("first", "night 1", "night 2"):
        case = years[run].of("excepted")["nas/rows/orders"]
        assert (case.verdict, case.record["exception"]) == ("excepted", "EX-1")
        assert "migration" in case.told and "ciso" in case.told
        assert set(years[run].causes("excepted").values()) == {"excepted"}
        assert years[run].of("excepted")["/exceptions"].verdict == "passed"
    assert years["night 2"].status == 0
    expired = years["changed"].causes("excepted")
    assert expired == {"nas/rows/orders": "failed", "/exceptions": "failed"}
    assert "expired on" in years["changed"].of("excepted")["/exceptions"].message


def test_what_an_exception_covered_fails_again_from_the_day_after_its_last_one(years: dict[str, Outcome]) -> None:
    """A loss that was excepted never becomes what is normal."""
    covered = {"nas/rows/orders": "excepted", "nas/structure": "excepted"}
    for night in ("night 1", "night 2"):
        assert [years[night].causes(name) for name in _LOSING] == [covered, covered]
    told = years["changed"].of("excepted-lost")
    expired = dict.fromkeys(("nas/rows/orders", "nas/structure", "/exceptions"), "failed")
    assert years["changed"].causes("excepted-lost") == expired
    assert "the table audit vanished" in told["nas/structure"].message
    first = years["first"].evidence["run"]["id"]
    assert f"197 rows, expected at least 285 (300 in {first})" in told["nas/rows/orders"].message
    assert told["nas/structure"].record["expected"] == f"as in {first}"
    assert years["changed"].causes("excepted-mended") == {"/exceptions": "failed"}


@pytest.mark.parametrize("target", ["pinned", "frozen"])
def test_a_pinned_digest_that_changes_is_red_until_it_is_accepted(years: dict[str, Outcome], target: str) -> None:
    assert verdicts(years["first"], target) == {"passed"}
    assert "pinned" in notes(years["first"], target)
    assert years["changed"].causes(target) == {"nas/checksum": "failed"}
    told = years["changed"].of(target)["nas/checksum"]
    assert "pinned at the first drill was" in told.message
    assert "baseline accept" in told.told
    if target == "frozen":
        assert verdicts(years["accepted"], target) == {"passed"}


def test_the_age_of_a_frozen_archive_is_not_judged(years: dict[str, Outcome]) -> None:
    assert verdicts(years["night 2"], "frozen") == {"passed"}
    assert not {"nas/rpo", "nas/gap"} & years["night 2"].of("frozen").keys()


def test_a_part_of_a_drill_is_judged_and_never_becomes_a_baseline(years: dict[str, Outcome]) -> None:
    for run in ("part", "part again"):
        assert years[run].of("partial").keys() == {"nas/rows/orders"}
        assert years[run].drills["partial/nas"]["scope"] == "partial"
        assert verdicts(years[run], "partial") == {"passed"}, years[run].causes("partial")
    assert years["first"].drills["pinned/nas"]["scope"] == "whole"
