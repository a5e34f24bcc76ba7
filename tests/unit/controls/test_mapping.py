"""What a period's documents are evidence of: present, absent, failing, excepted, partial, of the demo, too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.evidence import WHEN, document, history

from restore_drill.controls.loading import built_in
from restore_drill.controls.mapping import Assessing, RequirementEvidence, assess
from restore_drill.controls.words import EVIDENCE, FAILURES, NOTHING, PART
from restore_drill.policy.population import Population

DAY = timedelta(days=1)
#: Asks for a restore test of every copy, with a cadence in a sample.
CIS = ("cis-v8.1", "11.5")
#: Asks for checksums before use, and says nothing of restores.
CHECKED = ("nist-csf-2.0", "RC.RP-03")
SEGREGATED = ("dora", "Art. 12(3)")
DOCUMENTED = ("dora", "RTS 2024/1774 Art. 25(5)")
BACKED_UP = ("nist-800-53r5", "CP-9")
READINESS = ("iso-27001-2022", "A.5.30")


def found(documents: list[dict[str, Any]], which: tuple[str, str] = CIS, **more: Any) -> RequirementEvidence:
    more = {"until": WHEN + DAY, **more}
    return next(
        each for each in assess(built_in(), documents, **more) if (each.framework.id, each.requirement.id) == which
    )


def support(evidence: RequirementEvidence, name: str) -> Any:
    return next(each for each in evidence.supports if each.evidence == name)


# --- present and absent -----------------------------------------------------------------------------------------------


def test_a_whole_drill_is_evidence() -> None:
    evidence = found([document()])
    assert (evidence.state, evidence.drills, evidence.in_scope, evidence.with_evidence) == (EVIDENCE, 2, 2, 2)
    assert (evidence.without, evidence.failing, evidence.unverified, evidence.excepted) == ((), (), (), ())
    assert evidence.last == "2026-11-23T02:00:20.000Z"
    restores = support(evidence, "restores")
    assert (restores.drills, restores.passed, restores.copies, restores.words) == (2, 2, 2, "2 times, 2 copies")
    assert support(evidence, "smoke").words == "none"
    assert "2 drills tested 2 of 2 copies in scope" in evidence.summary


def test_a_drill_that_never_began_has_no_times_and_is_no_evidence() -> None:
    made = document(verdicts={"orders-db/nas/located": "error"})
    for name in ("started", "finished", "isolation", "disposal"):
        made["drills"][0].pop(name, None)
    assert found([made]).without == ("orders-db/nas",)


def test_no_document_is_no_evidence() -> None:
    evidence = found([])
    assert (evidence.state, evidence.drills, evidence.in_scope) == (NOTHING, 0, 0)


def test_what_was_not_drilled_is_named() -> None:
    evidence = found([document(selected=["orders-db/nas"])])
    assert (evidence.state, evidence.without) == (PART, ("orders-db/offsite",))
    assert found([document(selected=[])]).without == ("orders-db/nas", "orders-db/offsite")
    assert found([document(selected=[])]).state == NOTHING


@pytest.mark.parametrize(
    "made", [document(scope="partial"), document(estate="demo"), document(WHEN + 3 * DAY), document(WHEN - 40 * DAY)]
)
def test_what_is_partial_of_the_demo_or_of_another_time_does_not_count(made: dict[str, Any]) -> None:
    evidence = found([made], since=WHEN - 30 * DAY)
    assert (evidence.state, evidence.drills, support(evidence, "restores").drills) == (NOTHING, 0, 0)


def test_a_failure_of_another_time_is_none_of_this_period() -> None:
    for when in (WHEN - 40 * DAY, WHEN + 3 * DAY):
        made = document(when, verdicts={"orders-db/nas/rows/orders": "failed"})
        evidence = found([made], since=WHEN - 30 * DAY)
        assert (evidence.failing, evidence.state) == ((), NOTHING)
        assert support(found([made], DOCUMENTED, since=WHEN - 30 * DAY), "report").words == "none"


def test_what_was_written_for_a_crashed_run_later_retires_nobody() -> None:
    crashed = document(WHEN - 2 * DAY, targets=["older"], selected=[], ended="crashed")
    crashed["run"]["recorded_by"] = "a later run"
    assert found([document(WHEN - DAY), crashed]).in_scope == 2
    del crashed["run"]["recorded_by"]
    assert found([document(WHEN - DAY), crashed]).in_scope == 4


def test_drills_of_another_depth_do_not_count() -> None:
    made = document()
    made["drills"][0]["depth"] = "SCHEMA ONLY"
    assert found([made]).without == ("orders-db/nas",)


def test_drills_of_the_demo_are_counted_where_they_are_asked_for_and_nowhere_else() -> None:
    both = [document(estate="demo"), document(WHEN + timedelta(hours=1), targets=["own"])]
    assert found(both).in_scope == 2 and "1 run of another estate" in found(both).summary
    assert found(both, estate="demo").state == EVIDENCE
    assert [each["copy"] for each in found(both, estate="demo").failing] == []


# --- failing, unverified, excepted ------------------------------------------------------------------------------------


def test_a_failure_is_a_test_and_is_named_with_its_case_and_run() -> None:
    evidence = found([document(verdicts={"orders-db/nas/rows/orders": "failed"})])
    assert (evidence.state, evidence.drills, evidence.without) == (FAILURES, 2, ())
    assert [(each["copy"], each["case"]) for each in evidence.failing] == [("orders-db/nas", "rows")]
    assert evidence.failing[0]["run"] == document()["run"]["id"]


def test_a_backup_that_failed_before_it_could_be_restored_was_tested_and_failed() -> None:
    evidence = found([document(verdicts={"orders-db/nas/checksum": "failed"})])
    assert [(each["copy"], each["case"]) for each in evidence.failing] == [("orders-db/nas", "checksum")]
    assert support(evidence, "restores").drills == 1, "of the other copy: this one was never restored"
    assert support(evidence, "restores").unverified == 1


def test_what_could_not_be_verified_is_no_evidence() -> None:
    evidence = found([document(verdicts={"orders-db/nas/located": "error"})])
    assert (evidence.state, evidence.without, evidence.drills) == (PART, ("orders-db/nas",), 1)
    assert [(each["copy"], each["case"]) for each in evidence.unverified] == [("orders-db/nas", "located")]
    assert evidence.failing == ()


def test_a_failure_of_a_case_that_is_not_the_test_does_not_make_it_one() -> None:
    made = document(verdicts={"orders-db/nas/rpo": "failed", "orders-db/nas/restores": "error"})
    evidence = found([made], ("iso-27001-2022", "A.5.30"))
    assert evidence.without == ("orders-db/nas",), "the age was judged, nothing was restored"
    assert [(each["copy"], each["case"]) for each in evidence.failing] == [("orders-db/nas", "rpo")]


def test_an_exception_shows() -> None:
    exceptions = [{"id": "EX-1", "target": "orders-db", "case": "integrity"}]
    evidence = found([document(verdicts={"orders-db/nas/integrity": "excepted"}, exceptions=exceptions)])
    assert (evidence.state, evidence.failing) == (EVIDENCE, ())
    assert [(each["copy"], each["case"]) for each in evidence.excepted] == [("orders-db/nas", "integrity")]
    assert support(evidence, "integrity").words == "2 times, 2 copies, 1 excepted"


def test_the_last_whole_drill_decides_and_both_are_counted() -> None:
    bad = document(verdicts={"orders-db/nas/restores": "failed"})
    repaired = found([bad, document(WHEN + timedelta(hours=2))])
    assert (repaired.state, repaired.failing, repaired.drills) == (EVIDENCE, (), 4)
    assert support(repaired, "restores").failed == 1
    broken = found([document(WHEN - DAY), bad])
    assert (broken.state, len(broken.failing)) == (FAILURES, 1)
    partial = document(WHEN + timedelta(hours=2), scope="partial")
    assert len(found([bad, partial]).failing) == 1, "a partial drill repairs nothing"


# --- what is no case of a drill ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["orders-db/nas/integrity", "orders-db//3-2-1"])
def test_a_failure_stays_until_somebody_could_look_again(case: str) -> None:
    which = CIS if "integrity" in case else BACKED_UP
    nights = [document(WHEN - 2 * DAY, verdicts={case: "failed"}), document(WHEN - DAY, verdicts={case: "error"})]
    assert found(nights, which).state == FAILURES
    assert found([*nights, document(WHEN)], which).state == EVIDENCE


def test_a_snapshot_that_somebody_named_takes_no_failure_back() -> None:
    nights = [document(WHEN - DAY, verdicts={"orders-db/nas/restores": "failed"}), document(WHEN)]
    for rule, state in (("newest", EVIDENCE), ("named", FAILURES)):
        for drill in nights[1]["drills"]:
            drill["why"] = {"rule": rule}
        assert found(nights).state == state


def test_cases_across_copies_speak_of_each_of_them() -> None:
    evidence = found([document(verdicts={"orders-db//3-2-1": "failed"})], BACKED_UP)
    assert [(each["copy"], each["case"]) for each in evidence.failing] == [
        ("orders-db/nas", "3-2-1"), ("orders-db/offsite", "3-2-1"),
    ]  # fmt: skip
    later = document(WHEN + timedelta(hours=2), selected=["orders-db/nas"])
    again = found([document(verdicts={"orders-db//3-2-1": "failed"}), later], BACKED_UP)
    assert len(again.failing) == 2, "a drill of one copy does not answer it"
    answered = found([document(verdicts={"orders-db//3-2-1": "failed"}), document(WHEN + DAY)], BACKED_UP,
                     until=WHEN + 2 * DAY)  # fmt: skip
    assert answered.failing == ()


def test_isolation_and_disposal_need_what_shows_them() -> None:
    made = document()
    assert found([made], SEGREGATED).state == EVIDENCE
    made["drills"][0]["isolation"]["proof"] = []
    made["drills"][1]["disposal"]["confirmed"] = []
    evidence = found([made], SEGREGATED)
    assert [(each["copy"], each["case"]) for each in evidence.unverified] == [
        ("orders-db/nas", "isolation"), ("orders-db/offsite", "disposal"),
    ]  # fmt: skip
    made["drills"][1]["disposal"] = {"confirmed": ["x"], "left": 3}
    assert support(found([made], SEGREGATED), "disposal").passed == 1


def ledger(**more: Any) -> Any:
    return SimpleNamespace(**{"entries": 2, "signed": 1, "unsigned": 1, "unverified": 0, "problems": [], **more})


def test_the_records_themselves_are_evidence_of_documentation() -> None:
    evidence = found([document(ended="crashed", selected=[])], DOCUMENTED)
    assert (evidence.state, support(evidence, "report").words) == (EVIDENCE, "1 run on record, 1 crashed")
    assert found([], DOCUMENTED).state == NOTHING
    assert support(evidence, "ledger").words == "not verified for this report"
    assert support(found([], DOCUMENTED, ledger=ledger()), "ledger").words == (
        "verified: 2 entries, 1 signed, 1 unsigned"
    )
    assert found([], DOCUMENTED, ledger=ledger()).state == EVIDENCE
    broken = found([], DOCUMENTED, ledger=ledger(problems=["edited"]))
    assert (broken.state, support(broken, "ledger").words) == (NOTHING, "does not verify: 1 problem(s)")


@pytest.mark.parametrize(("reviewer", "count"), [("auditor", 1), ("nightly", 0), (" Nightly ", 0), ("", 0)])
def test_a_review_by_the_operator_is_none(reviewer: str, count: int) -> None:
    made = document()
    evidence = found([made], READINESS, reviews=[{"run": made["run"]["id"], "reviewer": reviewer}])
    expected = f"{count} of 1 runs reviewed by somebody else than their operator"
    assert support(evidence, "sign-off").words == expected
    other = found([made], READINESS, reviews=[{"run": "another", "reviewer": "auditor"}])
    assert support(other, "sign-off").words.startswith("0 of 1")


def test_the_population_is_what_was_due_and_decides_who_is_in_scope() -> None:
    nights = [document(WHEN + number * DAY) for number in (0, 1, 3)]
    until = WHEN + 4 * DAY
    population = Population.of(nights, now=until, since=WHEN, until=until)
    evidence = found(nights, until=until, population=population)
    assert population.totals.missed > 0
    assert f"{population.totals.missed} missed" in support(evidence, "population").words
    gone = [*nights, document(until - timedelta(hours=1), targets=["another"])]
    population = Population.of(gone, now=until + DAY, since=until, until=until + DAY)
    scope = found(gone, until=until + DAY, since=until, population=population)
    assert scope.in_scope == 2, "what left the catalogue before the period is out of scope"


# --- cadence ----------------------------------------------------------------------------------------------------------


def cadence(documents: list[dict[str, Any]], **more: Any) -> Any:
    return found(documents, **more).cadence


def test_a_test_every_quarter_is_looked_for_within_the_period_and_before() -> None:
    quarters = [document(WHEN + timedelta(days=days)) for days in (0, 90, 180)]
    until = WHEN + timedelta(days=200)
    assert cadence(quarters, until=until).met == ("orders-db/nas", "orders-db/offsite")
    missing = cadence([quarters[0], quarters[2]], until=until)
    assert [(each["copy"], each["longest_days"]) for each in missing.not_met] == [
        ("orders-db/nas", 180.0), ("orders-db/offsite", 180.0),
    ]  # fmt: skip
    late = cadence(quarters[:1], until=until)
    assert late.met == () and late.not_met[0]["last"] == "2026-11-23T02:00:10.000Z"
    since = WHEN + timedelta(days=170)
    assert cadence(quarters, since=since, until=until).met, "what came before the period tells how long it was waited"
    assert cadence([quarters[0], quarters[2]], since=since, until=until).met == ()


def test_what_could_not_be_verified_keeps_no_cadence_and_a_failure_does() -> None:
    first, until = document(), WHEN + timedelta(days=100)
    tried = document(WHEN + timedelta(days=60), verdicts={"orders-db/nas/located": "error"})
    assert cadence([first, tried], until=until).met == ("orders-db/offsite",)
    failed = document(WHEN + timedelta(days=60), verdicts={"orders-db/nas/checksum": "failed"})
    assert cadence([first, failed], until=until).met == ("orders-db/nas", "orders-db/offsite")


def test_a_new_target_is_not_due_yet_and_one_that_is_never_drilled_is() -> None:
    listed = document(selected=[])
    assert cadence([listed], until=WHEN + timedelta(days=30)).not_due_yet == ("orders-db/nas", "orders-db/offsite")
    assert len(cadence([listed], until=WHEN + timedelta(days=100)).not_met) == 2


# --- many -------------------------------------------------------------------------------------------------------------


def test_a_checkout_of_its_own_each_night_is_one_catalogue() -> None:
    nights = [
        document(WHEN + night * DAY, catalogue=f"/builds/{night}/x", targets=["orders-db", "new"])
        for night in range(20)
    ]
    nights += [document(WHEN + (20 + night) * DAY, catalogue=f"/builds/2{night}/x", targets=["new"])
               for night in range(12)]  # fmt: skip
    until = WHEN + 40 * DAY
    assessing = Assessing(built_in(), since=until - 9 * DAY, until=until)
    for night in nights:
        assessing.take(night)
    population = Population.of(nights, now=until, since=until - 9 * DAY, until=until)
    cis = next(each for each in assessing.result(population=population) if each.requirement.id == "11.5")
    assert (cis.state, cis.in_scope) == (EVIDENCE, 2), "orders-db left before the period"
    assert len(assessing._tally._catalogues) <= 8


def test_a_long_history_in_one_pass_in_memory_that_does_not_grow_with_it() -> None:
    assessing = Assessing(built_in(), until=datetime(2027, 1, 1, tzinfo=UTC))
    made = history(2_000, targets=10)
    for _ in range(20):
        assessing.take(next(made))
    early = {name: len(value) for name, value in vars(assessing._tally).items() if hasattr(value, "__len__")}
    for each in made:
        assessing.take(each)
    late = {name: len(value) for name, value in vars(assessing._tally).items() if hasattr(value, "__len__")}
    assert {name for name in late if late[name] != early[name]} <= {"operators", "evidence", "runs", "_patterns"}
    cis = next(each for each in assessing.result() if each.requirement.id == "11.5")
    assert cis.in_scope == 20 and 1_900 < cis.drills <= 2_000
    assert cis.as_dict()["copies"] == {"in_scope": 20, "with_evidence": 20}


def test_a_copy_that_no_run_ever_listed_is_in_scope_and_has_no_evidence() -> None:
    listed = [*document()["population"], *document(targets=["new"])["population"]]
    population = Population.of([document()], now=WHEN + DAY, initialised=WHEN, catalogue=listed)
    evidence = found([document()], population=population)
    assert (evidence.state, evidence.without) == (PART, ("new/nas", "new/offsite"))
    assert evidence.cadence is not None and evidence.cadence.not_due_yet == ("new/nas", "new/offsite")
