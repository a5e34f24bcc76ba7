"""The population of random and of told histories: everything that was due is accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.evidence import Target, document, history, stamp

from restore_drill.policy.population import Occasion, Population, Standing

FIRST = datetime(2026, 3, 2, 2, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
KEY = ("orders-db", "nas")
ONE = (Target("orders-db", copies=("nas",)),)
Document = Mapping[str, Any]


def night(number: float, verdict: str = "", **more: Any) -> dict[str, Any]:
    """A run in that night, with the verdict of its only copy."""
    verdicts = {"orders-db/nas/checksum": verdict} if verdict else None
    return document(FIRST + number * DAY, **{"targets": ONE, "verdicts": verdicts, **more})


def population(documents: Sequence[Document], now: float, **more: Any) -> Population:
    return Population.of(documents, now=FIRST + now * DAY, **more)


def outcomes(found: Population, key: tuple[str, str] = KEY) -> list[str]:
    return [each.outcome for each in found.occasions if (each.target, each.copy) == key]


def standing(found: Population) -> Standing:
    return found.standings[KEY]


def check_sums(found: Population) -> None:
    """Due is the sum of what became of it: in all, by tier, and by copy."""
    tiers = found.by_tier.values()
    for totals in (found.totals, *tiers):
        parts = (totals.ran, totals.failed, totals.could_not_verify, totals.missed, totals.excepted)
        assert totals.due == sum(parts)
    for name in ("due", "ran", "failed", "could_not_verify", "missed", "excepted"):
        assert getattr(found.totals, name) == sum(getattr(totals, name) for totals in tiers)
    assert (
        found.totals.due == len(found.occasions) == len({(each.target, each.copy, each.by) for each in found.occasions})
    )


# --- random histories -------------------------------------------------------------------------------------------------

_TIERS = st.sampled_from(["critical", "important", "archival"])
_NAMES = st.sampled_from(["a", "b", "c"])
_RUN = st.fixed_dictionaries(
    {
        "at": st.floats(0, 40),
        "targets": st.dictionaries(_NAMES, st.tuples(_TIERS, st.sampled_from([("nas",), ("nas", "offsite")]))),
        "selected": st.none() | st.sets(st.sampled_from(["a/nas", "b/nas", "b/offsite", "c/offsite"])),
        "verdicts": st.dictionaries(
            st.sampled_from(["a/nas/checksum", "b/nas/rpo", "c/offsite/located"]),
            st.sampled_from(["failed", "error", "excepted"]),
        ),
        "scope": st.sampled_from(["whole", "whole", "partial"]),
        "ended": st.sampled_from(["complete", "complete", "interrupted", "crashed", "refused"]),
        "catalogue": st.sampled_from(["/one/targets.yaml", "/two/targets.yaml"]),
        "estate": st.sampled_from(["user", "user", "user", "demo"]),
    }
)


def told(runs: Sequence[Mapping[str, Any]], *, in_order: bool) -> list[Document]:
    found = []
    for number, run in enumerate(sorted(runs, key=lambda run: run["at"]) if in_order else runs):
        rest = {name: value for name, value in run.items() if name not in ("at", "targets")}
        targets = [Target(name, tier, copies=copies) for name, (tier, copies) in run["targets"].items()]
        found.append(document(FIRST + run["at"] * DAY, run=str(number), targets=targets, **rest))
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(_RUN, max_size=12), st.booleans(), st.tuples(st.floats(0, 60), st.floats(0, 60)), st.floats(0, 60))
def test_everything_that_was_due_is_accounted_for(
    runs: list[Mapping[str, Any]], in_order: bool, period: tuple[float, float], now: float
) -> None:
    documents = told(runs, in_order=in_order)
    since, until = (FIRST + each * DAY for each in sorted(period))
    for found in (population(documents, now), population(documents, now, since=since, until=until)):
        check_sums(found)
        assert all(each.by <= min(found.until, found.now) for each in found.occasions)
        assert all(each.run or each.outcome == "missed" for each in found.occasions)
    deciding = [(each.target, each.copy, each.run) for each in found.occasions if each.run]
    assert len(deciding) == len(set(deciding))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.5, 12), max_size=6), st.floats(0.5, 12), st.sampled_from(["", "failed", "error"]))
def test_one_more_drill_never_makes_one_more_missed(others: list[float], more: float, verdict: str) -> None:
    listed = night(0, selected=())
    before = [listed, *(night(each) for each in sorted(others))]
    after = [listed, *(night(each, verdict if each == more else "") for each in sorted([*others, more]))]
    fewer = population(after, 13).totals
    assert fewer.missed <= population(before, 13).totals.missed
    assert fewer.due == 12 or fewer.due == 13


def test_a_long_history_of_a_whole_estate_leaves_nothing_out() -> None:
    found = Population.of(history(2000, faults=0.05), now=datetime(2026, 11, 23, 3, tzinfo=UTC))
    check_sums(found)
    assert found.totals.missed == 0
    assert found.totals.failed > 5 < found.totals.could_not_verify
    assert {totals.due > 0 for totals in found.by_tier.values()} == {True}
    assert max(len(each.recent) for each in found.standings.values()) == 30


# --- told histories ---------------------------------------------------------------------------------------------------


def test_a_good_week_and_its_twin_with_a_night_left_out() -> None:
    week = [night(number) for number in range(8)]
    good, bad = population(week, 7.1), population([*week[:3], *week[4:]], 7.1)
    assert outcomes(good) == ["passed"] * 7
    assert outcomes(bad) == ["passed"] * 3 + ["missed"] + ["passed"] * 3
    assert good.overdue == bad.overdue == []
    assert bad.totals.missed == 1
    missed = next(each for each in bad.occasions if each.outcome == "missed")
    assert (missed.start, missed.by) == ((FIRST + 3 * DAY).timestamp(), (FIRST + 4 * DAY).timestamp())


def test_overdue_is_what_was_not_drilled_for_an_interval_and_its_tolerance() -> None:
    week = [night(number) for number in range(3)]
    assert not standing(population(week, 3.24)).overdue
    late = standing(population(week, 3.26))
    assert late.overdue
    assert late.due_by == (FIRST + 3 * DAY + 10 * timedelta(seconds=1)).timestamp()


def test_a_rerun_supersedes_and_both_stay_listed() -> None:
    failed, again = night(1, "failed"), night(1.2)
    found = population([night(0), failed, again, night(2)], 2.1)
    assert outcomes(found) == ["passed", "passed"]
    assert found.occasions[1].run == again["run"]["id"]
    assert found.occasions[1].superseded == (failed["run"]["id"],)
    worse = population([night(0), night(1), night(1.2, "failed"), night(2)], 2.1)
    assert outcomes(worse) == ["passed", "failed"]


def test_a_failure_lasts_until_a_whole_drill_is_good() -> None:
    first = night(1, "failed")
    nights = [night(0), first, night(2, "error"), night(3, scope="partial"), night(4, "failed")]
    found = standing(population(nights, 4.1))
    assert (found.state, found.failing_case) == ("failing", "checksum")
    assert found.failing_since == datetime.fromisoformat(first["drills"][0]["finished"]).timestamp()
    assert "made by a test" in found.message
    assert found.last_good and found.last_good.run == nights[0]["run"]["id"]
    recovered = standing(population([*nights, night(5)], 5.1))
    assert (recovered.state, recovered.failing_since, recovered.message) == ("good", None, "")


def test_a_part_that_fails_is_a_failure_and_counts_for_no_window() -> None:
    found = population([night(0), night(1, "failed", scope="partial")], 2.3)
    assert standing(found).state == "failing"
    assert outcomes(found) == ["passed", "missed"]


def test_where_no_drill_is_ever_whole_one_of_as_many_cases_answers_a_failure() -> None:
    def shallow(number: float, verdict: str = "", cases: int | None = None) -> dict[str, Any]:
        made = night(number, verdict, scope="partial")
        made["drills"][0] |= {"depth": "CHECKSUM ONLY", "cases": made["drills"][0]["cases"][:cases]}
        return made

    bad = [shallow(0), shallow(1, "failed")]
    assert standing(population([*bad, shallow(2, cases=3)], 2.1)).failing_since is not None
    found = standing(population([*bad, shallow(2)], 2.1))
    assert (found.failing_since, found.failing_case, found.last_good) == (None, "", None)


def test_what_could_not_be_verified_is_neither_good_nor_failing() -> None:
    found = population([night(0), night(1, "error")], 2.1)
    assert (standing(found).state, standing(found).failing_since) == ("unverified", None)
    assert outcomes(found) == ["passed", "error"]
    assert found.totals.could_not_verify == 1


def test_an_excepted_drill_counts_as_excepted_and_its_exception_is_listed_with_what_is_known_of_it() -> None:
    entry = {"id": "EX-7", "target": "orders-db", "case": "checksum"}
    nights = [
        night(0, "excepted", exceptions=[entry]),
        night(1, exceptions=[{**entry, "state": "stale"}]),
        night(1.5, selected=(), exceptions=[{**entry, "state": "not exercised", "approver": "the board"}]),
    ]
    found = population(nights, 2.1)
    assert outcomes(found) == ["excepted", "passed"]
    known = found.exceptions["EX-7"]
    assert (known["state"], known["run"], known["approver"]) == ("stale", nights[1]["run"]["id"], "the board")


def test_a_calendar_begins_with_the_first_run_that_lists_the_copy_and_ends_when_it_is_gone() -> None:
    two = (*ONE, Target("late", copies=("nas",)))
    nights = [night(0), night(1), night(2, targets=two), night(3, targets=two), night(4), night(5)]
    found = population(nights, 9)
    assert outcomes(found, ("late", "nas")) == ["passed", "passed"]
    late = found.standings["late", "nas"]
    assert (late.retired, late.overdue, late.state) == ((FIRST + 4 * DAY).timestamp(), False, "retired")
    assert [each.target for each in found.overdue] == ["orders-db"]
    back = population([*nights, night(8, targets=two)], 9)
    assert (back.standings["late", "nas"].retired, back.standings["late", "nas"].overdue) == (None, False)


def test_listed_and_never_drilled_is_missed_every_day_and_overdue() -> None:
    found = population([night(number, selected=()) for number in range(4)], 3.3)
    assert outcomes(found) == ["missed"] * 3
    assert (standing(found).state, standing(found).overdue, standing(found).last) == ("never drilled", True, None)


def test_several_catalogues_share_a_ledger_and_do_not_retire_each_other() -> None:
    other = (Target("wiki", copies=("nas",)), Target("mail", copies=("nas",)))
    nights: list[Document] = []
    for number in range(4):
        nights += [night(number), night(number + 0.1, targets=other, catalogue="/srv/web/targets.yaml")]
    found = population(nights, 3.2)
    assert [each.state for each in found.standings.values()] == ["good"] * 3
    assert found.totals.missed == 0


def test_a_copy_of_two_catalogues_is_retired_by_neither_alone() -> None:
    rest = tuple(Target(name, copies=("nas",)) for name in ("wiki", "mail", "chat"))
    other = {"catalogue": "/srv/web/targets.yaml"}
    nights = [night(0), night(0.1, targets=(*ONE, *rest), **other), night(1), night(1.1, targets=rest, **other)]
    assert standing(population(nights, 1.2)).retired is None
    nights.append(night(1.3, targets=(Target("new", copies=("nas",)),)))
    assert standing(population(nights, 1.4)).retired == (FIRST + 1.3 * DAY).timestamp()


def test_a_catalogue_in_a_fresh_checkout_every_night_is_one_and_can_lose_a_target() -> None:
    both = (*ONE, Target("wiki", copies=("nas", "offsite")))
    nights = [
        night(number, targets=both[:2] if number < 4 else both[1:], catalogue=f"/builds/{number}/drills/targets.yaml")
        for number in range(20)
    ]
    found = population(nights, 19.1)
    assert standing(found).retired == (FIRST + 4 * DAY).timestamp()
    assert outcomes(found, ("wiki", "offsite")) == ["passed"] * 19


def test_shards_are_one_night() -> None:
    two = (*ONE, Target("wiki", copies=("nas",)))
    nights: list[Document] = []
    for number in range(3):
        for index, key in enumerate(("orders-db/nas", "wiki/nas")):
            name = f"{number}-{index}"
            nights.append(night(number, targets=two, selected=[key], shard=(index + 1, 2), run=name))
    found = population(nights, 2.1)
    assert outcomes(found) == outcomes(found, ("wiki", "nas")) == ["passed", "passed"]
    assert found.occasions[0].superseded == ()


def test_a_crashed_run_that_is_recorded_later_neither_counts_nor_changes_what_is_known_since() -> None:
    crashed = night(1, "error", scope="partial", ended="crashed")
    found = population([night(0), night(1.1), crashed, night(2)], 2.1)
    assert outcomes(found) == ["passed", "passed"]
    assert found.runs == {"complete": 3, "crashed": 1}
    last = standing(population([night(0), night(1.1), crashed], 2.1))
    assert (last.state, last.last and last.last.run) == ("good", night(1.1)["run"]["id"])
    assert outcomes(population([night(0), crashed, night(2)], 2.3)) == ["passed", "missed"]


def test_a_crashed_runs_catalogue_neither_adds_nor_retires() -> None:
    two = (*ONE, Target("late", copies=("nas",)))
    fewer, more = night(1, selected=(), ended="crashed"), night(1, targets=two, selected=(), ended="crashed")
    for crashed in (fewer, more):
        crashed["run"]["recorded_by"] = "another"
    found = population([night(0, targets=two), fewer, night(2, targets=two)], 2.1)
    assert found.standings["late", "nas"].first_seen == FIRST.timestamp()
    assert list(population([night(0), more, night(2)], 2.1).standings) == [KEY]


def test_runs_that_are_recorded_out_of_order_count_as_if_they_were_not() -> None:
    found = population([night(0), night(2), night(1), night(3)], 3.1)
    assert outcomes(found) == ["passed"] * 3


def test_a_clock_that_was_set_back_makes_nothing_due_twice() -> None:
    gone = night(3, targets=(Target("wiki", copies=("nas",)), Target("orders-db", copies=("offsite",))))
    found = population([night(0), night(1), gone, night(1, run="again"), night(2.5)], 4.2)
    check_sums(found)
    assert standing(found).retired is None


def test_a_clock_that_was_years_ahead_once_hides_nothing() -> None:
    ahead, now = night(1500, run="ahead"), 9.0
    for nights in ([night(0), ahead, night(1), night(2)], [ahead, night(0), night(1), night(2)]):
        found = population(nights, now)
        twin = population([each for each in nights if each is not ahead], now)
        assert standing(found).overdue and standing(twin).overdue
        assert standing(found).due_by == standing(twin).due_by
        assert standing(found).first_seen == standing(twin).first_seen
        assert (outcomes(found), found.totals) == (outcomes(twin), twin.totals)


def test_a_changed_interval_holds_from_the_window_after_on() -> None:
    weekly = (Target("orders-db", "important", copies=("nas",)),)
    slower = [night(0), night(1), *(night(2 + 7 * number, targets=weekly) for number in range(3))]
    found = population(slower, 16.1)
    assert found.totals.missed == 0
    assert [round((each.by - each.start) / 86400) for each in found.occasions] == [1, 1, 1, 7]
    quicker = [night(0, targets=weekly), *(night(2 + number) for number in range(3))]
    assert outcomes(population(quicker, 4.1)) == ["passed", "passed"]


def test_the_demos_runs_do_not_count_beside_a_users() -> None:
    demo = [night(number, estate="demo", targets=(Target("demo-db"),)) for number in range(3)]
    alone, mixed = population(demo, 2.1), population([demo[0], night(0), demo[1], night(1), demo[2]], 2.1)
    assert ("demo-db", "nas") in alone.standings
    assert (alone.of_demo, mixed.of_demo) == (0, 3)
    assert list(mixed.standings) == [KEY]
    assert mixed.runs == {"complete": 2}


def test_a_snapshot_that_was_named_counts_for_no_window() -> None:
    named = night(1)
    named["drills"][0]["why"]["rule"] = "named"
    assert outcomes(population([night(0), named, night(2)], 2.3)) == ["passed", "missed"]


def test_before_any_run_what_the_catalogue_lists_is_due_since_the_state_was_initialised() -> None:
    listed = night(0)["population"]
    found = population([], 2.3, initialised=FIRST, catalogue=listed)
    assert outcomes(found) == ["missed", "missed"]
    assert standing(found).overdue
    new = (*listed, *night(0, targets=(Target("new", copies=("nas",)),))["population"])
    later = population([night(1)], 2.0, initialised=FIRST, catalogue=new)
    assert later.standings["new", "nas"].first_seen is None
    assert [each.target for each in later.overdue] == []


def test_a_case_across_copies_is_known_until_it_passes() -> None:
    across = {"verdicts": {"orders-db//3-2-1": "failed"}}
    nights = [night(0), night(1, **across), night(2, **across), night(3, selected=["orders-db/nas"])]
    found = population(nights, 3.1).across["orders-db", "3-2-1"]
    assert (found.verdict, found.run) == ("failed", nights[2]["run"]["id"])
    assert found.since == datetime.fromisoformat(nights[1]["run"]["finished"]).timestamp()
    assert population([*nights, night(4)], 4.1).across == {}


def test_a_period_is_of_windows_that_ended_in_it() -> None:
    week = [night(number) for number in range(8)]
    found = population(week, 7.1, since=FIRST + 2 * DAY, until=FIRST + 5 * DAY)
    assert [datetime.fromtimestamp(each.by, UTC) for each in found.occasions] == [
        FIRST + number * DAY for number in (3, 4, 5)
    ]
    assert found.runs == {"complete": 3}
    whole: list[Occasion] = population(week, 7.1).occasions
    assert [each for each in whole if FIRST.timestamp() + 172800 < each.by <= FIRST.timestamp() + 432000] == (
        found.occasions
    )


def test_recent_drills_carry_what_trends_are_made_of() -> None:
    numbers = {"rto_seconds": 12.5, "age_seconds": 60.0, "stored_bytes": 4711, "rows": 99}
    found = standing(population([night(0, measured={"orders-db/nas": numbers}), night(1, "failed")], 1.1))
    good, bad = found.recent
    assert (good.rto_seconds, good.age_seconds, good.stored_bytes, good.rows) == (12.5, 60.0, 4711, 99)
    assert (bad.verdict, bad.rto_seconds, bad.rows) == ("failed", None, None)
    assert found.last_good and found.last_good.taken_at == (FIRST - timedelta(seconds=60)).timestamp()
    assert stamp(FIRST).startswith("2026-03-02")
