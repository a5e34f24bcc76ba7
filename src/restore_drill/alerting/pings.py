"""Which tiers' dead-man's switches are reset after a run: only when all of the tier was drilled and is good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore_drill.plan import Plan

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether a tier is pinged.

    Attributes:
        good: Everything of the tier reported, and nothing failed or could not be verified.
        why: Why it is not, for a person.
        bad: Something of the tier failed or could not be verified.
        touched: The run looked at something of the tier.
    """

    tier: str
    good: bool
    why: str = ""
    bad: bool = False
    touched: bool = True


def rule(plan: Plan, document: Mapping[str, Any], tier: str) -> Ruling:
    """Judge a tier by one document."""
    planned = {
        (case.target, case.copy, case.case, case.detail)
        for target in plan.targets if target.tier == tier for case in target.cases()
    }  # fmt: skip
    results = _results(plan, document, tier)
    reported = {key for key, case in results if not _never_ran(case)}
    bad = [key for key, case in results if case["verdict"] not in ("passed", "excepted")]
    touched = bool(results) or not document.get("drills")
    why = _not_whole(plan, document)
    if not why and bad:
        why = f"{len(bad)} of its cases failed or could not be verified"
    if not why and not planned:
        why = "the tier has no case"
    if not why and planned - reported:
        why = f"{len(planned - reported)} of its {len(planned)} cases were not selected"
    return Ruling(tier, not why, why, bool(bad), touched)


def _results(plan: Plan, document: Mapping[str, Any], tier: str) -> list[tuple[Key, Mapping[str, Any]]]:
    """The results of a tier's cases, of cases that no catalogue plans (a user's own), too."""
    found = []
    for part in (*document.get("drills", ()), *document.get("targets", ())):
        target = plan.by_name.get(part["target"])
        if (target.tier if target is not None else part.get("tier")) == tier:
            found += [
                ((part["target"], part.get("copy", ""), case["case"], case.get("detail", "")), case)
                for case in part["cases"]
            ]
    return found


def _never_ran(case: Mapping[str, Any]) -> bool:
    return case.get("blocked_by") in ("interruption", "worker", "crash")


def _not_whole(plan: Plan, document: Mapping[str, Any]) -> str:
    """Why a run counts for no tier at all."""
    run = document["run"]
    shard, shards = run.get("shard") or {}, run.get("shards") or {}
    if run.get("ended", "complete") != "complete":
        return f"the run did not end as it should: {run['ended']}"
    if shard.get("total", 1) > 1:
        return f"this is shard {shard.get('index')} of {shard.get('total')}: ping after restore-drill merge"
    if shards.get("missing"):
        return f"shards are missing: {', '.join(map(str, shards['missing']))}"
    if document.get("problems") or document.get("not_run"):
        return "the run was not complete, or could not be recorded"
    if any((drill.get("why") or {}).get("rule") == "named" for drill in document.get("drills", ())):
        return "a snapshot was named: nothing is known of the newest one"
    if document.get("catalogue", {}).get("sha256") != plan.digest:
        return "the run was made with another catalogue"
    return ""
