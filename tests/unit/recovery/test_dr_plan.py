"""The plan for a disaster: two clocks, what is lost, what is not proved, and what is left when stores are lost, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.catalogue.load import load
from restore_drill.catalogue.sets import SetModel
from restore_drill.plan import Plan, PlannedSet, PlannedTarget
from restore_drill.policy.proofs import Proof
from restore_drill.recovery import dr_text
from restore_drill.recovery.dr_plan import DrPlan, dr_plan
from restore_drill.recovery.known import Known

NOW = 1_800_000_000.0
HOUR = 3600.0
Drills = Mapping[tuple[str, str], Mapping[str, Any]]


def target(name: str, tier: str = "critical", rto: str = "15m", **options: Any) -> PlannedTarget:
    copies = (planned_copy("nas"), planned_copy("offsite", store={"offsite": True}))
    return replace(planned_target(*copies, name=name, rto=rto, **options), tier=tier)


def estate() -> Plan:
    plan = plan_of(
        target("shop", depends_on=["accounts"], owner="shop | team"),
        target("accounts", "archival"),
        target("wiki", "important", "4h"),
    )
    return replace(plan, tiers=("critical", "important", "archival"))


def proof(taken: float, verdict: str = "passed") -> Proof:
    return Proof("run", taken + 60, verdict, "whole", "query", taken, snapshot=f"S{taken:.0f}")


def drill(seconds: float | None, stored: int = 1000, content: int = 5000) -> dict[str, Any]:
    facts = {"stored_bytes": stored, "content_bytes": content}
    achieved = {} if seconds is None else {"rto_seconds": seconds}
    return {"achieved": achieved, "stages": [{"stage": "fetch", "facts": facts}]}


PROOFS = {
    ("shop", "nas"): proof(NOW - HOUR),
    ("shop", "offsite"): proof(NOW - 2 * HOUR),
    ("accounts", "nas"): proof(NOW - HOUR / 2),
    ("accounts", "offsite"): proof(NOW - HOUR / 2),
    ("wiki", "nas"): proof(NOW - HOUR, "excepted"),
}
DRILLS = {
    ("shop", "nas"): drill(600),
    ("shop", "offsite"): drill(900),
    ("accounts", "nas"): drill(200),
    ("accounts", "offsite"): drill(100),
    ("wiki", "nas"): drill(60),
}


class Told(Known):
    """What is known, told outright."""

    def __init__(self, proofs: Mapping[tuple[str, str], Proof], drills: Drills) -> None:
        super().__init__(drills=dict(drills))
        self._told = proofs

    def newest(self, target: str, copy: str) -> Proof | None:
        return self._told.get((target, copy))


def planned(without: tuple[str, ...] = (), proofs: Any = PROOFS, drills: Drills = DRILLS) -> DrPlan:
    return dr_plan(estate(), Told(proofs, drills), NOW, without)


def row(plan: DrPlan, name: str) -> Any:
    return next(each for each in plan.recoveries if each.target.name == name)


def test_both_clocks_run_in_the_order_of_recovery() -> None:
    plan = planned()
    assert [each.target.name for each in plan.recoveries] == ["accounts", "shop", "wiki"]
    assert [each.turn.wave for each in plan.recoveries] == [1, 2, 1]
    assert row(plan, "accounts").turn.lifted_by == "shop"
    # The same snapshot lies in two places: the catalogue's first is taken, and from night to night the same.
    assert row(plan, "accounts").copy.name == "nas"
    assert [each.alone.seconds for each in plan.recoveries] == [200, 800, 860]
    assert [each.in_parallel.seconds for each in plan.recoveries] == [200, 800, 60]
    assert (plan.alone.seconds, plan.in_parallel.seconds, plan.alone.at_least) == (860, 800, False)
    assert (plan.stored_bytes, plan.content_bytes) == (3000, 15000)
    assert (plan.unproved, plan.late) == ([], [])


def test_a_store_that_is_lost_takes_its_copies_along() -> None:
    plan = planned(without=("nas",))
    shop = row(plan, "shop")
    assert (shop.copy.name, shop.loses, shop.too_old) == ("offsite", 2 * HOUR, True)
    assert shop.late_in_parallel
    assert [each.target.name for each in plan.late] == ["shop"]  # 100 s for accounts, then 900 s, of 15 minutes
    assert [each.target.name for each in plan.unproved] == ["wiki"]
    assert row(plan, "wiki").why_not == "offsite: it was never drilled"
    everything = planned(without=("nas", "offsite"))
    assert {each.why_not for each in everything.recoveries} == {"no copy is left: all its stores are lost"}


def test_what_is_not_known_makes_lower_bounds() -> None:
    plan = planned(drills={**DRILLS, ("accounts", "nas"): drill(None), ("accounts", "offsite"): drill(None)})
    assert row(plan, "shop").alone.at_least
    assert row(plan, "shop").in_parallel.at_least
    assert not row(plan, "wiki").in_parallel.at_least
    assert plan.in_parallel.at_least
    assert dr_text.clock(plan.alone) == "at least 11 min"


def test_an_rto_that_is_met_only_in_parallel_is_not_missed() -> None:
    slow = planned(drills={**DRILLS, ("shop", "nas"): drill(700), ("wiki", "nas"): drill(4 * HOUR - 60)})
    wiki = row(slow, "wiki")
    assert (wiki.late_alone, wiki.late_in_parallel) == (True, False)
    told = "\n".join(dr_text.lines(slow, "targets.yaml", NOW, ()))
    assert "RTO 4 h met only in parallel" in told
    assert "TOO LATE" not in told


def test_a_set_whose_snapshots_lie_apart_is_told() -> None:
    asked = {"target": "shop", "sql": "select 1"}
    query = {"name": "all is one", "ask": asked, "equals": {**asked, "target": "wiki"}}
    names = ["shop", "accounts", "wiki", "archive"]
    model = SetModel.model_validate({"targets": names, "within": "10m", "queries": [query]})
    plan = estate()
    together = PlannedSet("app", model, tuple((name, "nas") for name in names), timedelta(hours=1))
    first = replace(plan.targets[0], sets=(together,))
    plan = replace(plan, targets=(first, *plan.targets[1:], target("archive", frozen=True)))
    # What no longer changes goes with any moment.
    old = {("archive", "nas"): proof(NOW - 9000 * HOUR)}

    def told(proofs: Mapping[tuple[str, str], Proof], drills: Drills = DRILLS, plan: Plan = plan) -> str:
        found = dr_plan(plan, Told(proofs, drills), NOW)
        return "\n".join(dr_text.lines(found, "targets.yaml", NOW, ()))

    alarm = "NOT ONE MOMENT: the set app (shop, accounts, wiki, archive): these snapshots lie 30 min apart, and may 10"
    apart = told({**PROOFS, **old})
    assert "To be restored to one moment: the set app (shop, accounts, wiki, archive)" in apart
    assert apart.count(alarm) == told(PROOFS).count(alarm) == 2
    same = {key: proof(NOW - HOUR) for key in PROOFS}
    assert "NOT ONE MOMENT" not in told({**same, **old})
    assert "NOT ONE MOMENT" not in told(same), "that it is not proved is another alarm"
    # Of what the plan does not have nothing is known.
    without = replace(plan, targets=tuple(each for each in plan.targets if each.name != "wiki"))
    assert "NOT ONE MOMENT" not in told({**PROOFS, **old}, plan=without)
    moving = replace(plan, targets=(*plan.targets[:-1], target("archive")))
    assert told({**same, **old}, plan=moving).count("NOT ONE MOMENT") == 2


@pytest.mark.parametrize(("taken", "torn"), [(NOW - HOUR - 120, False), (NOW - 3 * HOUR, True)])
def test_a_name_that_tells_only_the_day_is_taken_as_its_drill_took_it(taken: float, torn: bool) -> None:
    model = SetModel.model_validate({"targets": ["shop", "wiki"], "within": "10m", "application": {"image": "app"}})
    plan = estate()
    together = PlannedSet("app", model, (("shop", "nas"), ("wiki", "nas")), timedelta(hours=1))
    plan = replace(plan, targets=(replace(plan.targets[0], sets=(together,)), *plan.targets[1:]))
    proofs = {("shop", "nas"): proof(NOW - 20 * HOUR), ("wiki", "nas"): proof(NOW - HOUR)}
    located = {"stage": "locate", "facts": {"taken": taken}}
    refined = {**drill(600), "stages": [located, *drill(600)["stages"]]}
    (row,) = dr_plan(plan, Told(proofs, {**DRILLS, ("shop", "nas"): refined}), NOW).sets
    assert (row.torn, row.apart) == (torn, NOW - HOUR - taken)
    (unknown,) = dr_plan(plan, Told(proofs, DRILLS), NOW).sets
    assert unknown.apart == 19 * HOUR


def test_it_is_told_loudly_and_nothing_gets_through_unescaped() -> None:
    proofs = {key: each for key, each in PROOFS.items() if key[0] != "shop"}
    plan = planned(proofs=proofs)
    told = "\n".join(dr_text.lines(plan, "targets.yaml", NOW, ["the \x1b[2J ledger"]))
    assert told.count("NOT PROVED: shop: nas: it was never drilled; offsite: it was never drilled") == 2
    assert "PROBLEM: the \\x1b[2J ledger" in told
    assert "proved 2027-01-15 07:01Z under an exception" in told
    written = "\n".join(dr_text.markdown(plan, "targets.yaml", NOW, ()))
    assert "shop \\| team" in written
    assert "**NOT PROVED: shop: nas: it was never drilled" in written
    tables = [line for line in written.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {13}
    plain = json.loads(json.dumps(dr_text.plain(plan, "targets.yaml", NOW, ())))
    assert plain["not_proved"] == ["shop"]
    assert plain["one_after_the_other"] == {"seconds": 260.0, "at_least": True}
    assert [each["proved"] for each in plain["targets"]] == [True, False, True]


@pytest.mark.parametrize(("rto", "order"), [("5m", ["vital", "shop"]), ("2d", ["shop", "vital"])])
def test_a_tier_of_the_users_own_is_as_urgent_as_its_objectives(tmp_path: Path, rto: str, order: list[str]) -> None:
    copy = "engine: sqlite, three_two_one: false, copies: {nas: {path: 'a/{time:%Y%m%d_%H%M%S}.db'}}"
    (tmp_path / "targets.yaml").write_text(
        f"""
        version: 1
        state: file:state
        stores: {{nas: {{url: file:backups, media: disk}}}}
        defaults: {{timezone: UTC}}
        tiers: {{own: {{rpo: 5m, rto: {rto}, drill_every: 1d}}}}
        targets:
          shop: {{tier: critical, {copy}}}
          vital: {{tier: own, {copy}}}
        """
    )
    found = dr_plan(load(tmp_path / "targets.yaml", references=False), Known(), NOW)
    assert [each.target.name for each in found.recoveries] == order
