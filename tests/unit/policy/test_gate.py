"""The retention gate: it never lets go of the last proved way to restore, and keeps nothing without a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.retaining import DAY, DRILLS, FIRST, HOUR, Drill, Estate, chained, estates

from restore_drill.catalogue.keeping import Hold
from restore_drill.catalogue.models import RetentionRule
from restore_drill.policy.gate import CopyDecision, Point, decide, standing
from restore_drill.policy.retention import RetentionFacts, retention_kept

UTC_ZONE = ZoneInfo("UTC")


def decided(estate: Estate) -> CopyDecision:
    return decide(estate.facts(), estate.holds, estate.now, UTC_ZONE)


def keys(decisions: object) -> set[str]:
    return {each.point.key for each in decisions}  # type: ignore[attr-defined]


def chain(estate: Estate, point: Point) -> set[str]:
    """A point and what it builds on, as far as it is there."""
    by_key = {each.key: each for each in estate.listed}
    found = {point.key}
    while point.needs in by_key:
        point = by_key[point.needs]
        found.add(point.key)
    return found


def proved(estate: Estate) -> list[Point]:
    """Said otherwise than the gate says it: the last word about all that a point consists of is a proof of it."""
    found = []
    for point in estate.listed:
        links = {*estate.links(point), point.id}
        ids = {each.id for each in estate.listed}
        last = ""
        for drill in estate.drills:
            drilled = estate.points[drill.point % len(estate.points)]
            excused = (drill.verdict, drill.case) == ("excepted", "integrity")
            bad = excused or (drill.verdict == "failed" and drill.case != "rpo")
            good = drill.scope == "whole" and (drill.verdict, drill.case) in {("passed", ""), ("excepted", "query")}
            if bad and links & {*estate.links(drilled), drilled.id}:
                last = "bad"
            elif good and drilled.id == point.id:
                last = "good"
        if last == "good" and links <= ids:
            found.append(point)
    return found


@settings(max_examples=120, deadline=None)
@given(estates())
def test_the_last_proved_way_to_restore_always_stays(estate: Estate) -> None:
    found = decided(estate)
    stays = keys(found.stay)
    assert [each.point for each in found.decisions] == list(estate.listed)
    known = proved(estate)
    assert [each.point for each in found.decisions if each.proof] == known
    if not known:
        assert not found.go and found.proved is None
        return
    newest = known[0]
    assert found.proved is not None and found.proved.point == newest
    assert chain(estate, newest) <= stays and len(chain(estate, newest)) == len(estate.links(newest)) + 1
    for each in found.go:
        assert each.point.taken_at < newest.taken_at
    for each in found.stay:
        assert chain(estate, each.point) <= stays


@settings(max_examples=120, deadline=None)
@given(estates())
def test_nothing_stays_without_a_reason_and_every_reason_is_true(estate: Estate) -> None:
    found = decided(estate)
    known = proved(estate)
    for each in found.decisions:
        assert each.reasons
        for reason in each.reasons:
            if reason.rule == "superseded":
                assert not each.stays and known and each.point.taken_at < known[0].taken_at
            elif reason.rule == "nothing-proved":
                assert not known
            elif reason.rule == "newest-proved":
                assert each.point == known[0]
            elif reason.rule == "not-proved-yet":
                assert known and each.point.taken_at > known[0].taken_at
            elif reason.rule == "hold":
                assert any(reason.text.startswith(hold.id) and covers(hold, each.point) for hold in estate.holds)
            elif reason.rule == "chain":
                needing = next(other for other in estate.listed if reason.text.startswith(f"{other.id} "))
                assert each.point.key in chain(estate, needing) and needing != each.point
                assert needing.key in keys(found.stay)
            else:
                assert reason.rule == "retention" and estate.rule is not None
                assert needed_by_policy(estate, each.point, reason.text)


def covers(hold: Hold, point: Point) -> bool:
    day = datetime.fromtimestamp(point.taken_at, UTC).date()
    if hold.id in ("LH-2", "LH-3"):
        return False  # released before any of them, and about another copy
    return point.id in hold.snapshots if hold.snapshots else hold.first <= day <= hold.last  # type: ignore[operator]


def needed_by_policy(estate: Estate, point: Point, text: str) -> bool:
    """One of the newest, the only one that says so of a period that the policy counts, or beside an empty one."""
    rule = estate.rule
    assert rule is not None
    if text.endswith("(at_least)"):
        return point in estate.listed[: rule.at_least]
    name, label = text.removeprefix("stands in for ").split(",")[0].split()[:2]
    forms = {"hourly": "%Y-%m-%dT%HZ", "daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m", "yearly": "%Y"}
    inside = [
        each for each in estate.listed
        if datetime.fromtimestamp(each.taken_at, UTC).strftime(forms[name]) == label and each.taken_at <= estate.now
    ]  # fmt: skip
    if text.startswith("stands in"):
        return not inside
    same = [each for each in decided(estate).stay if any(reason.text == text for reason in each.reasons)]
    best = [each for each in inside if each in proved(estate)]
    return getattr(rule, name) > 0 and [each.point for each in same] == [point] and point == (best or [point])[0]


@settings(max_examples=80, deadline=None)
@given(estates(), DRILLS)
def test_one_more_proof_keeps_nothing_more_than_itself_and_lets_go_of_nothing_newer(
    estate: Estate, more: Drill
) -> None:
    after = estate.but(drills=(*estate.drills, Drill(more.point)))
    point = estate.points[more.point % len(estate.points)]
    before_stays, stays = keys(decided(estate).stay), keys(decided(after).stay)
    itself = chain(after, point) if point in after.listed else set()
    assert stays <= before_stays | itself
    newest = decided(after).proved
    for key in before_stays - stays:
        gone = next(each for each in estate.listed if each.key == key)
        assert newest is not None and gone.taken_at < newest.point.taken_at


@settings(max_examples=80, deadline=None)
@given(estates(), DRILLS)
def test_one_more_failure_lets_go_of_nothing_that_is_still_proved(estate: Estate, more: Drill) -> None:
    after = estate.but(drills=(*estate.drills, Drill(more.point, "checksum", "failed")))
    before, found = keys(decided(estate).stay), decided(after)
    for each in found.go:
        assert each.point.key not in before or each.proof is None
    if found.proved is not None:
        assert found.proved.point.taken_at <= decided(estate).proved.point.taken_at  # type: ignore[union-attr]


@settings(max_examples=80, deadline=None)
@given(estates())
def test_what_may_go_can_be_removed_and_asked_about_again(estate: Estate) -> None:
    found = decided(estate)
    after = decided(estate.without(keys(found.go)))
    assert not after.go
    assert keys(after.stay) == keys(found.stay)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["full", "incremental", "differential"]),
    st.lists(st.floats(-0.005, 0.005), min_size=50, max_size=50),
    st.sets(st.integers(0, 49)),
    st.builds(RetentionRule, daily=st.integers(0, 9), weekly=st.integers(0, 4), at_least=st.integers(1, 5)),
)
def test_a_job_that_asks_every_night_keeps_what_the_policy_promises(
    scheme: str, jitter: list[float], bad: set[int], rule: RetentionRule
) -> None:
    """Backups at midnight, on this side of it or that, some of them bad; every night what may go is removed."""
    times = [FIRST.timestamp() - 2 * HOUR + (night + drift) * DAY for night, drift in enumerate(jitter)]
    whole = chained(scheme, times)
    gone: set[str] = set()
    for night in range(1, 51):
        points = tuple(whole[-night:])
        drills = tuple(
            Drill(night - 1 - each, *(("checksum", "failed") if each in bad else ())) for each in range(night)
        )
        estate = Estate(points, drills, rule).without(gone)
        found = decided(estate)
        if found.proved is None:
            assert not found.go
        gone |= keys(found.go)
        left = sorted(point.taken_at for point in estate.without(gone).listed)
        facts = RetentionFacts("nas", left, times[0], (), HOUR, HOUR / 4)
        assert retention_kept([(facts, rule)], estate.now, UTC_ZONE).passed
    assert len(left) <= 60


# --- told ones --------------------------------------------------------------------------------------------------------


NIGHTLY = tuple(chained("full", [FIRST.timestamp() + night * DAY for night in range(10)]))


def reasons(found: CopyDecision, number: int) -> list[str]:
    return [f"{reason.rule}: {reason.text}" for reason in found.decisions[number].reasons]


def test_the_words_say_what_stays_what_goes_and_why() -> None:
    estate = Estate(NIGHTLY, (Drill(4), Drill(2), Drill(0, "checksum", "failed")), RetentionRule(daily=3, weekly=2))
    found = decided(estate)
    assert reasons(found, 0)[0] == "not-proved-yet: newer than 20260908T020000Z, the newest that is proved"
    assert found.decisions[0].unproved == "its last drill failed (checksum), 2026-09-10 04:02Z"
    assert reasons(found, 2)[0] == ("newest-proved: the newest snapshot that a drill proved (run-1, 2026-09-10 04:01Z)")
    assert reasons(found, 4) == ["retention: weekly 2026-W36 (keeps 2)"]
    assert [each.point.id[6:8] for each in found.go] == ["07", "05", "04", "03", "02", "01"]
    assert reasons(found, 9) == [
        "superseded: 20260908T020000Z is newer and proved, and neither retention nor a hold asks for this one"
    ]


@pytest.mark.parametrize(("rule", "said"), [(None, True), (RetentionRule(daily=1), False)])
def test_a_catalogue_that_asks_for_nothing_older_is_remarked(rule: RetentionRule | None, said: bool) -> None:
    found = decided(Estate(NIGHTLY, (Drill(2),), rule))
    assert found.go
    assert any("has no retention" in note for note in found.notes) is said
    assert not decided(Estate(NIGHTLY, (), rule)).notes  # nothing goes


@pytest.mark.parametrize(("day", "gone"), [(7.0, 7), (6.9, 0)])
def test_what_is_dated_in_the_future_supersedes_nothing(day: float, gone: int) -> None:
    """A clock that was wrong for one night, or is wrong now."""
    facts = Estate(NIGHTLY, (Drill(2),)).facts()
    found = decide(facts, (), FIRST.timestamp() + day * DAY, UTC_ZONE)
    assert len(found.go) == gone
    assert any("dated in the future" in note for note in found.notes) is not bool(gone)
    older = decide(Estate(NIGHTLY, (Drill(2), Drill(5))).facts(), (), FIRST.timestamp() + day * DAY, UTC_ZONE)
    assert older.proved is not None and older.proved.point.id == facts.points[2 if gone else 5].id


@pytest.mark.parametrize(("store", "counts"), [("nas", True), ("", True), ("moved", False)])
def test_a_proof_counts_for_the_store_that_was_drilled(store: str, counts: bool) -> None:
    facts = Estate(NIGHTLY, (Drill(2),)).facts()
    known = {name: replace(proof, store="nas") for name, proof in facts.proofs.items()}
    facts = replace(facts, store=store, proofs=known)
    proofs, unproved = standing(facts)
    assert bool(proofs) is counts
    assert list(unproved.values()) == ([] if counts else ["it was drilled in another store, nas"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"size": 7}, "it had 1007 bytes when it was drilled, and has 7 now"),
        ({"key": "db/other.gz"}, "another object was drilled under this time"),
        ({"needs": NIGHTLY[9].key}, "what it builds on is not there as it was when it was drilled"),
        ({"modified": FIRST.timestamp() + 99 * DAY}, "it was written again since it was drilled, 2026-12-09 02:00Z"),
        ({"modified": FIRST.timestamp() + 7 * DAY}, ""),
        ({"size": -1}, ""),
        ({"key": "db/daily.0", "renamed": True}, ""),
    ],
)
def test_a_proof_counts_for_the_object_that_was_drilled(change: dict[str, object], why: str) -> None:
    facts = Estate(NIGHTLY, (Drill(2),)).facts()
    points = [replace(point, **change) if number == 2 else point for number, point in enumerate(facts.points)]  # type: ignore[arg-type]
    proofs, unproved = standing(replace(facts, points=points))
    assert (list(unproved.values()), len(proofs)) == ([why] if why else [], 0 if why else 1)
    if why:
        assert not decide(replace(facts, points=points), (), FIRST.timestamp() + 10 * DAY, UTC_ZONE).go


@pytest.mark.parametrize(("hours", "counts"), [(-4.0, True), (-3.0, True), (-2.0, False), (1.0, False)])
def test_what_was_written_while_it_was_drilled_may_not_be_what_was_read(hours: float, counts: bool) -> None:
    """A drill of three hours."""
    facts = Estate(NIGHTLY, (Drill(2),)).facts()
    (name, proof), *_ = facts.proofs.items()
    proof = replace(proof, started=proof.finished - 3 * HOUR)
    points = [replace(point, modified=proof.finished + hours * HOUR) for point in facts.points if point.id == name]
    found, unproved = standing(replace(facts, points=points, proofs={name: proof}))
    assert bool(found) is counts and bool(unproved) is not counts
