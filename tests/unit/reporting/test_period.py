"""What a report of a period says, and that it holds no more for more runs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from lxml import html as lxml_html
from tests.support.evidence import WHEN, document, history

from restore_drill.policy.population import Population, seconds
from restore_drill.reporting.gathering import Gathering
from restore_drill.reporting.html import render_period
from restore_drill.reporting.period import PeriodPage


def page(documents: Iterable[dict[str, Any]], since: datetime | None, until: datetime) -> PeriodPage:
    begins = since.timestamp() if since else None
    gathering = Gathering(begins, until.timestamp())
    population = Population.of(gathering.watch(documents), now=until, since=begins, until=until)
    return PeriodPage("the period", begins, until.timestamp(), gathering, population, None, None)


def nights(*cases: str, **more: Any) -> list[dict[str, Any]]:
    """Nightly runs up to :data:`WHEN`; ``""`` is a good night, ``-`` none at all, else the case that failed."""
    first = WHEN - timedelta(days=len(cases) - 1)
    return [
        document(
            first + timedelta(days=night),
            verdicts={f"orders-db/nas/{case}": "error" if case == "located" else "failed"} if case else {},
            **more,
        )
        for night, case in enumerate(cases)
        if case != "-"
    ]


DAY = timedelta(days=1)


def test_failures_in_a_row_are_one_and_know_what_answered_them() -> None:
    documents = nights("", "unpacks", "unpacks", "", "located", "")
    found = page(documents, WHEN - 10 * DAY, WHEN + DAY / 2).failures
    assert [(each.case, each.verdict, each.drills) for each in found] == [
        ("located", "error", 1),
        ("unpacks", "failed", 2),
    ]
    assert [each.answered and each.answered[1] for each in found] == [
        documents[5]["run"]["id"],
        documents[3]["run"]["id"],
    ]


def test_a_broken_rule_about_all_copies_is_a_failure_too() -> None:
    documents = [
        document(WHEN - night * DAY, verdicts={"orders-db//3-2-1": "failed"} if 0 < night < 3 else {})
        for night in (3, 2, 1, 0)
    ]
    found = page(documents, None, WHEN + DAY / 2)
    (only,) = found.failures
    assert (only.copy, only.case, only.drills) == ("", "3-2-1", 2)
    assert only.answered == (seconds(documents[-1]["run"]["finished"]), documents[-1]["run"]["id"], "passed")
    table = lxml_html.document_fromstring(render_period(found)).cssselect("table.failures")[0]
    assert table.cssselect("tbody th a")[0].text_content() == "orders-db"


def test_a_failure_from_before_the_period_that_goes_on_in_it_is_told_once() -> None:
    documents = nights("", "unpacks", "unpacks", "unpacks", "unpacks")
    (only,) = page(documents, WHEN - 1.5 * DAY, WHEN + DAY / 2).failures
    assert (only.drills, only.answered, only.first) == (4, None, seconds(documents[1]["drills"][0]["finished"]))
    assert page(documents[:3], WHEN, WHEN + DAY / 2).failures == []  # nothing was drilled in the period


def test_a_partial_drill_that_passes_answers_nothing() -> None:
    partial = document(WHEN, scope="partial")
    named = document(WHEN)
    for drill in named["drills"]:
        drill["why"] = {"rule": "named"}
    for later in (partial, named):
        found = page([*nights("", "unpacks", "-"), later], None, WHEN + DAY / 2)
        (only,) = found.failures
        assert only.answered is None
        assert (found.causes[0].name, found.causes[0].state) == ("orders-db / nas", "failed")
    assert page([*nights("", "unpacks", "-"), document(WHEN)], None, WHEN + DAY / 2).causes == ()


def test_what_answers_a_failure_under_an_exception_is_not_called_passed() -> None:
    covered = document(WHEN, verdicts={"orders-db/nas/unpacks": "excepted"})
    found = page([*nights("", "unpacks", "-"), covered], None, WHEN + DAY / 2)
    table = lxml_html.document_fromstring(render_period(found)).cssselect("table.failures")[0].text_content()
    assert f"excepted, run {covered['run']['id']}" in table and "passed, run" not in table


def test_what_is_overdue_at_the_end_needs_a_human_though_it_was_drilled_before() -> None:
    found = page(nights("", "", ""), None, WHEN + 5 * DAY)
    assert [(each.name, each.state) for each in found.causes] == [
        ("orders-db / nas", "missed"),
        ("orders-db / offsite", "missed"),
    ]
    assert page(nights("", "", ""), None, WHEN + DAY / 2).causes == ()


def test_an_exception_is_as_the_last_run_saw_it_that_looked() -> None:
    covers = {"id": "E1", "target": "orders-db", "case": "rpo", "expires": "2027-11-25"}
    for last, state in (("not exercised", "in force"), ("stale", "stale")):
        documents = [
            document(WHEN - DAY, exceptions=[{**covers, "state": "in force"}]),
            document(WHEN, exceptions=[{**covers, "state": last}]),
        ]
        assert [told for told, _ in page(documents, None, WHEN + DAY / 2).exceptions] == [state]


def test_an_exception_that_ran_out_after_the_last_run_is_expired_at_the_end() -> None:
    covers = {"id": "E1", "target": "orders-db", "case": "rpo", "state": "in force", "expires": "2026-11-25"}
    documents = [document(WHEN, exceptions=[covers])]
    assert [state for state, _ in page(documents, None, WHEN + DAY).exceptions] == ["runs out soon: in force"]
    assert [state for state, _ in page(documents, None, WHEN + 5 * DAY).exceptions] == ["expired"]


def test_what_came_later_is_not_known_then() -> None:
    documents = nights("", "unpacks", "")
    found = page(documents, None, WHEN - DAY / 2)
    assert found.failures[0].answered is None and [each.name for each in found.causes] == ["orders-db / nas"]
    assert page(documents, None, WHEN + DAY / 2).causes == ()


def test_the_sum_is_the_populations_and_stands_in_the_sentence() -> None:
    found = page(nights("", "", "unpacks", "-", "-", "", ""), None, WHEN + DAY / 2)
    totals = found.population.totals
    assert found.due.due == totals.due == sum(part.count for part in found.due.parts) == 12
    assert found.sentence == "Of 12 drills due in the period, 7 passed, 1 failed and 4 were missed."
    assert found.verdict == "failed"
    good = page(nights("", "", ""), None, WHEN + DAY / 2)
    assert good.sentence == "All 4 drills due in the period ran and passed." and good.verdict == "passed"
    fresh = page(nights("", "", "unpacks"), None, WHEN + DAY / 2)  # its window is not over
    assert fresh.sentence == "All 4 drills due in the period ran and passed; at its end 1 cause needs a human."
    assert fresh.verdict == "failed"
    none = page([document(WHEN)], None, WHEN + DAY / 2)
    assert none.sentence == "No drill fell due in the period; 1 run took place." and none.verdict == "error"


def test_every_window_has_its_line() -> None:
    found = page(nights("", "", "unpacks", "-", ""), None, WHEN + DAY / 2)
    tree = lxml_html.document_fromstring(render_period(found))
    rows = [" ".join(row.text_content().split()) for row in tree.cssselect("details.history tbody tr")]
    assert len(rows) == found.due.due == len(found.population.occasions)
    assert sum("missed" in row for row in rows) == found.population.totals.missed > 0


def test_the_worst_of_each_tier_is_told_and_runs_that_went_wrong_are() -> None:
    slow = {"orders-db/nas": {"rto_seconds": 850.0}}
    documents = [
        *nights("", ""),
        document(WHEN + DAY, measured=slow, ended="interrupted", problems=["the disk is full"]),
    ]
    found = page([*documents, document(WHEN + 2 * DAY)], None, WHEN + 2.5 * DAY)
    (tier,) = found.tiers
    assert (tier.rto.reached, tier.rto.of, tier.rto.state) == (850.0, "orders-db / nas", "met")
    late = page([document(WHEN, measured=slow, verdicts={"orders-db/nas/rto": "excepted"})], None, WHEN + DAY).tiers
    assert (late[0].rto.state, late[0].rpo.state) == ("not met", "met")
    partly = page([document(WHEN, verdicts={"orders-db/nas/restores": "failed"})], None, WHEN + DAY).tiers
    assert (partly[0].rto.state, partly[0].rpo.state) == ("partly known", "met")
    assert [(run, how, what) for run, _, how, what in found.gathering.broken] == [
        (documents[-1]["run"]["id"], "interrupted", "the disk is full")
    ]
    assert "the disk is full" in render_period(found)


def test_what_left_the_catalogue_is_told_with_how_it_stood() -> None:
    both = document(WHEN - 2 * DAY, targets=["orders-db", "shop-db"], verdicts={"shop-db/nas/unpacks": "failed"})
    documents = [both, document(WHEN - DAY), document(WHEN)]
    found = page(documents, WHEN - 5 * DAY, WHEN + DAY / 2)
    assert [(name, stood) for name, _, stood in found.left] == [
        ("shop-db / nas", "FAILING then"),
        ("shop-db / offsite", "not failing then"),
    ]
    assert "shop-db / nas on 2026-11-22 (FAILING then)" in render_period(found)
    assert [cause.name for cause in found.causes] == []
    assert page(documents, WHEN - DAY / 2, WHEN + DAY / 2).left == ()


def test_the_demo_is_left_aside_once_there_is_anything_else() -> None:
    demo = nights("unpacks", "unpacks", estate="demo")
    assert page(demo, None, WHEN + DAY / 2).notices[0][0] == "Demo"
    found = page([*demo, document(WHEN + DAY), *demo], None, WHEN + 1.5 * DAY)
    assert found.failures == [] and "Demo" not in dict(found.notices)


def test_it_holds_no_more_for_more_runs() -> None:
    """The first of many nights is read before memory is looked at; what grows is one line a window and a failure."""
    tracemalloc.start()
    try:
        gathering = Gathering(None, float("inf"))
        held = []
        for number, each in enumerate(history(600, targets=5, faults=0.05), 1):
            gathering.take(each)
            if number in (20, 60):
                held.append(tracemalloc.take_snapshot())
        gained = sum(
            each.size_diff for each in held[1].compare_to(held[0], "filename") if "gathering" in str(each.traceback)
        )
    finally:
        tracemalloc.stop()
    assert sum(gathering.runs.values()) == 60
    assert gained < 100_000
    assert len(gathering.last) == 10


def test_a_page_of_thousands_of_drills_is_small() -> None:
    found = page(history(2000), None, WHEN + DAY / 2)
    text = render_period(found)
    assert len(text) < 500 * 1024
    assert text.count('class="target ') == 20
