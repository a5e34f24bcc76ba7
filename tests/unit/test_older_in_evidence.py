"""Everything that reads evidence tells the drill of an older snapshot from that of the newest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from lxml.html import fromstring
from tests.support.evidence import WHEN, Target, document, run_id, stamp, validate
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.alerting import memory, pings
from restore_drill.alerting.judging import OLDER
from restore_drill.controls.loading import built_in
from restore_drill.controls.tally import Tally
from restore_drill.evidence import crashed
from restore_drill.evidence.account import DrillAccount
from restore_drill.evidence.merging import Part, merge
from restore_drill.evidence.older import samples
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.policy.population import Population
from restore_drill.policy.proofs import Proofs
from restore_drill.reporting import html, metrics, oscal
from restore_drill.reporting.gathering import Gathering
from restore_drill.reporting.markdown import render
from restore_drill.results import CaseResult
from restore_drill.sampling import Sampling, odds

DAY = timedelta(days=1)
ONE = (Target("orders-db", copies=("nas",)),)
BAD, OTHER = "20261101T020000Z", "20261102T020000Z"
_JUDGED = ("rpo", "gap", "structure", "newest")


def night(number: int, older: str = BAD, verdict: str = "passed", *, kept: bool = True, **more: Any) -> dict[str, Any]:
    """A run that drills the newest snapshot, which is good, and an older one."""
    when = WHEN + number * DAY
    slot = {"orders-db/nas~1/checksum": verdict} if verdict != "passed" else {}
    found = document(when, targets=(Target("orders-db", copies=("nas", "nas~1")),), verdicts=slot, **more)
    found["population"] = document(when, targets=ONE)["population"]
    drill = found["drills"][1]
    drill["cases"] = [case for case in drill["cases"] if case["case"] not in _JUDGED]
    drill["snapshot"] |= {"id": older, "artifacts": [f"orders/{older}.db"]}
    drill["why"] = {"rule": "sampled", "of": "nas", "population": 9, "sample": 1, "seed": 42, "drawn": "never drilled"}
    drill["achieved"].pop("rpo_seconds", None)
    found["samples"] = [sample(number, [BAD] if verdict == "failed" or (older != BAD and kept) else [])]
    validate(found)
    return found


def sample(drilled: int, failed: list[str], **more: Any) -> dict[str, Any]:
    return {
        "target": "orders-db", "copy": "nas", "rule": "sample:1", "seed": 42, "population": 9, "drawn": 1,
        "never_drilled": 9 - drilled, "drilled": drilled, "since": stamp(WHEN), "failed": failed,
        "detection": odds(9, 1, drilled), **more,
    }  # fmt: skip


FAILED, ELSEWHERE = night(1, BAD, "failed"), night(2, OTHER)
GONE, MENDED = night(3, OTHER, kept=False), night(3, BAD)


def test_an_older_snapshot_is_no_copy_and_moves_no_calendar() -> None:
    found = Population.of([FAILED, ELSEWHERE], now=WHEN + 3 * DAY)
    assert list(found.standings) == [("orders-db", "nas")]
    standing = found.standings["orders-db", "nas"]
    assert standing.failing_since is None
    assert [each.verdict for each in standing.recent] == ["passed", "passed"]
    assert found.totals.failed == 0
    known = found.samples["orders-db", "nas"]
    assert (known["drilled"], known["failed"], known["seen"]) == (2, [BAD], _ended(ELSEWHERE))


def test_what_could_not_be_listed_is_not_forgotten() -> None:
    away = night(2)
    away["samples"] = [sample(0, [], problem="no route to host")]
    found = Population.of([FAILED, away], now=WHEN + 3 * DAY)
    assert found.samples["orders-db", "nas"]["failed"] == [BAD]


def test_it_proves_its_own_snapshot() -> None:
    proofs = Proofs.of([FAILED, ELSEWHERE]).of_copy("orders-db", "nas")
    assert OTHER in proofs
    assert BAD not in proofs


@pytest.mark.parametrize("last", [GONE, MENDED], ids=["gone", "mended"])
def test_an_alert_lasts_until_it_is_good_or_gone(last: dict[str, Any]) -> None:
    known = memory.empty()
    now = _ended(last)
    memory.learn(known, FAILED, now)
    assert list(_broken(known)) == [f"{OLDER}{BAD}/checksum"]
    memory.learn(known, ELSEWHERE, now)
    memory.learn(known, document(WHEN + 2.5 * DAY, targets=ONE), now)
    assert list(_broken(known)) == [f"{OLDER}{BAD}/checksum"], "neither the newest nor another one mends it"
    memory.learn(known, last, now)
    assert not _broken(known)


def test_what_could_not_be_verified_is_told_once() -> None:
    known = memory.empty()
    unread = night(1, OTHER, "error", kept=False)
    memory.learn(known, unread, _ended(ELSEWHERE))
    assert list(_broken(known)) == [f"{OLDER}{OTHER}/checksum"]
    memory.learn(known, night(2, BAD), _ended(ELSEWHERE))
    assert not _broken(known)


@pytest.mark.parametrize(("run", "good"), [(ELSEWHERE, True), (FAILED, False)])
def test_a_tier_is_pinged_when_its_older_snapshots_are_good_too(run: dict[str, Any], good: bool) -> None:
    query = {"name": "every item has an order", "sql": "select 0", "equals": 0}
    newest = {"sql": "select max(at) from orders", "within": "1h"}
    expect = {"rows": {"orders": 5}, "queries": [query], "newest_record": newest}
    target = planned_target(planned_copy(), expect=expect)
    plan = replace(plan_of(target), digest=run["catalogue"]["sha256"])
    found = pings.rule(plan, run, "critical")
    assert (found.good, found.bad) == (good, not good), found.why


@pytest.mark.parametrize(("last", "how"), [(GONE, "gone"), (MENDED, "passed")])
def test_a_period_knows_what_answered_it(last: dict[str, Any], how: str) -> None:
    gathering = Gathering(None, _ended(last) + 1)
    for each in (FAILED, ELSEWHERE):
        gathering.take(each)
    (failure,) = gathering.failures
    assert (failure.verdict, failure.answered) == ("failed", None)
    gathering.take(last)
    assert failure.answered is not None
    assert failure.answered[2] == how
    assert not any(drill["copy"] != "nas" for drill in gathering.latest()["drills"])


@pytest.mark.parametrize(("last", "status"), [(ELSEWHERE, "open"), (GONE, "closed"), (MENDED, "closed")])
def test_a_risk_is_open_until_it_is_answered(last: dict[str, Any], status: str) -> None:
    documents = [FAILED, ELSEWHERE, last] if last is not ELSEWHERE else [FAILED, last]
    found = json.loads(oscal.render(documents, frameworks=built_in()))
    results = found["assessment-results"]["results"]
    (risk,) = [risk for result in results for risk in result.get("risks", ())]
    assert risk["title"] == f"orders-db/nas {BAD}: checksum"
    assert risk["status"] == status


def test_requirements_count_it_as_a_test_of_its_copy_and_not_of_the_newest() -> None:
    tally = Tally(built_in(), None, datetime.fromtimestamp(_ended(ELSEWHERE) + 1, UTC))
    tally.take(document(WHEN, targets=ONE, verdicts={"orders-db/nas/checksum": "failed"}))
    number = next(place for place, known in enumerate(tally.standings) if ("orders-db", "nas") in known)
    without_newest = night(2, OTHER)
    without_newest["drills"] = without_newest["drills"][1:]
    tally.take(without_newest)
    assert {copy for known in tally.standings for copy in known} == {("orders-db", "nas")}
    assert tally.standings[number][("orders-db", "nas")].last.verdict == "failed"


def test_metrics_are_of_the_newest() -> None:
    text = metrics.render(FAILED)
    assert "nas~1" not in text
    labels = '{target="orders-db",copy="nas",tier="critical"'
    assert f'restore_drill_verdict{labels},verdict="passed"}} 1' in text
    for name, value in (("", 9), ("_drilled", 1), ("_failed", 1)):
        assert f"restore_drill_older_snapshots{name}{labels}}} {value}" in text
    assert "older_snapshots" not in metrics.render(document(WHEN, targets=ONE))
    later = document(WHEN + 2 * DAY, targets=ONE)
    known = Population.of([FAILED, later], now=WHEN + 3 * DAY)
    assert f"restore_drill_older_snapshots_failed{labels}}} 1" in metrics.render(later, population=known)


def test_a_summary_counts_backups_and_older_snapshots_apart() -> None:
    text = render(FAILED)
    assert (
        "The backup that this run drilled was restored and verified. Of 1 older snapshot that it drilled, 1 failed."
        in (text)
    )
    assert "1 of 1 | 1 | 0 | 0 | 0" in text
    assert f"`pytest drills/ --snapshot {BAD} -k 'orders-db and nas'`" in text
    assert f"| `orders-db / nas` | 9 | 1 | 1 | 42 | 11.1 % | `{BAD}` |" in text
    assert "Older snapshots" not in render(document(WHEN, targets=ONE))


def test_the_page_has_a_table_of_older_snapshots() -> None:
    page = fromstring(html.render(FAILED))
    (table,) = page.xpath("//section[h2[@id='older']]/table")
    cells = [cell.text_content().strip() for cell in table.xpath("tbody/tr/*")]
    assert cells == ["orders-db / nas", "9", "1", "2026-11-23 02:00 UTC", "1", "42", "11.1 %", BAD]
    assert page.xpath("//nav//a[@href='#older']")
    assert [row.text_content() for row in page.xpath("//table[@class='backups']/tbody/tr/th")] == ["orders-db / nas"]
    assert "drawn of 9 recovery points older than the newest: never drilled, by the seed 42" in page.text_content()
    away = {**FAILED, "samples": [sample(0, [], problem="no <b>route</b>")]}
    assert "could not be listed: no <b>route</b>" in fromstring(html.render(away)).text_content()
    assert not fromstring(html.render(document(WHEN, targets=ONE))).xpath("//h2[@id='older']")


def test_a_merged_document_has_the_samples_of_all_shards() -> None:
    parts = [
        Part(f"shard {index}", document(WHEN, run=run_id(WHEN + timedelta(seconds=index)), targets=("a", "b"),
                                        selected=[f"{name}/nas"], shard=(index, 2),
                                        samples=[sample(index, [], target=name)]))
        for index, name in ((2, "b"), (1, "a"))
    ]  # fmt: skip
    merged = merge(parts, run="merged")
    validate(merged)
    assert [each["target"] for each in merged["samples"]] == ["a", "b"]


def test_a_run_that_crashed_says_that_it_was_an_older_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    listed = document(WHEN, targets=ONE)
    marker = {
        "run": "r", "started": stamp(WHEN), "estate": "user", "operator": {"user": "u", "host": "h"}, "arguments": [],
        "reports": str(tmp_path_factory.mktemp("gone")), "catalogue": listed["catalogue"], "of_cases": 2,
        "planned": {"orders-db/nas": [["located", ""]], "orders-db/nas~2": [["located", ""]]},
        "exceptions": [], "population": listed["population"],
    }  # fmt: skip
    found = crashed.document(marker, "s")
    validate(found)
    older = found["drills"][1]
    assert (older["copy"], older["store"], older["why"]["rule"], older["why"]["of"]) == (
        "nas~2",
        "nas",
        "sampled",
        "nas",
    )


def _ended(document: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(document["run"]["finished"]).timestamp()


def _broken(known: memory.Memory) -> dict[str, Any]:
    return known["entries"].get("orders-db/nas", {}).get("broken", {})  # type: ignore[no-any-return]


def _drilled(target: Any, slot: int, identity: str, verdict: Verdict) -> DrillAccount:
    copy = f"nas~{slot}"
    case = PlannedCase("checksum", target.name, copy)
    located = {"stage": "locate", "facts": {"snapshot": {"id": identity, "artifacts": [identity]}}}
    return DrillAccount(target, copy, frozenset({case}), [located], [CaseResult(case, verdict)])


@pytest.mark.parametrize(
    ("verdicts", "failed", "single"),
    [
        ((Verdict.PASSED,) * 4, [], 4 / 10),
        ((Verdict.FAILED, Verdict.FAILED, Verdict.FAILED, Verdict.PASSED), ["S0", "S1", "S2"], 1 / 7),
        ((Verdict.FAILED,) * 4, ["S0", "S1", "S2", "S3"], 0.0),
        ((Verdict.ERROR,) * 4, [], 0.0),
    ],
)
def test_what_was_found_is_no_chance_to_find_another(
    verdicts: tuple[Verdict, ...], failed: list[str], single: float
) -> None:
    """Ten older ones, four of them drilled now: the chance is told of the others."""
    target = planned_target()
    drawn = [{"identity": f"S{number}", "id": f"S{number}", "why": "never drilled"} for number in range(4)]
    entry = {"rule": "sample:4", "seed": 42, "population": 10, "drawn": drawn, "known": {}}
    accounts = [_drilled(target, number + 1, f"S{number}", verdict) for number, verdict in enumerate(verdicts)]
    run: Any = SimpleNamespace(
        options=SimpleNamespace(sampling=Sampling(4, 42)), drawn=lambda *_: entry, clock=WHEN.timestamp
    )
    (found,) = samples(run, {(target.name, each.copy): each for each in accounts}, [])
    assert found["failed"] == failed
    assert found["drilled"] == sum(verdict is not Verdict.ERROR for verdict in verdicts)
    first = found["detection"][0]
    assert first["this_run"] == first["so_far"] == pytest.approx(single, abs=1e-6)
