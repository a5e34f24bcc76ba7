"""What the catalogue promises, whatever a run selected of it: the population, and the approved exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from restore_drill.model import Verdict
from restore_drill.plan import Plan, PlannedCase, PlannedTarget, covers

if TYPE_CHECKING:
    from restore_drill.catalogue.expect import ApprovedException
    from restore_drill.results import CaseResult


def population(plan: Plan) -> list[dict[str, Any]]:
    """Every target with its objectives and copies: what completeness is reckoned over, later and by others."""
    return [_member(target) for target in plan.targets]


def objectives(target: PlannedTarget) -> dict[str, float]:
    """What is wanted of a target, in seconds."""
    return {
        "rpo_seconds": target.rpo.total_seconds(),
        "rto_seconds": target.rto.total_seconds(),
        "drill_every_seconds": target.drill_every.total_seconds(),
    }


def _member(target: PlannedTarget) -> dict[str, Any]:
    return {
        "target": target.name,
        "tier": target.tier,
        **({"owner": target.model.owner} if target.model.owner else {}),
        "engine": target.model.engine,
        **objectives(target),
        "copies": [
            {
                "copy": copy.name,
                "store": copy.store_name,
                "medium": copy.store.media,
                "offsite": copy.store.offsite,
                "immutable": copy.store.immutable,
            }
            for copy in target.copies
        ],
    }


def exceptions(plan: Plan, results: Mapping[PlannedCase, CaseResult], now: float) -> list[dict[str, Any]]:
    """Every approved exception, and what became of it in this run."""
    by_target: dict[str, list[CaseResult]] = {}
    for case, result in results.items():
        by_target.setdefault(case.target, []).append(result)
    return [
        _exception(each, target, by_target.get(target.name, ()), now)
        for target in plan.targets
        for each in target.exceptions
    ]


def _exception(
    exception: ApprovedException, target: PlannedTarget, results: Iterable[CaseResult], now: float
) -> dict[str, Any]:
    known = {"copy": exception.copy_, "detail": exception.detail}
    return {
        "id": exception.id,
        "target": exception.target,
        **{name: value for name, value in known.items() if value},
        "case": exception.case,
        "reason": exception.reason,
        "approver": exception.approver,
        "expires": exception.expires.isoformat(),
        "state": _state(exception, target, results, now),
    }


def _state(exception: ApprovedException, target: PlannedTarget, results: Iterable[CaseResult], now: float) -> str:
    """Stale is one only when everything it covers passed: who withdraws it then breaks nothing."""
    if exception.expires < datetime.fromtimestamp(now, target.model.timezone or UTC).date():
        return "expired"
    covered = [result for result in results if covers(exception, result.case)]
    if any(result.verdict is Verdict.EXCEPTED and result.exception == exception.id for result in covered):
        return "in force"
    if covered and all(result.verdict is Verdict.PASSED for result in covered):
        return "stale"
    return "not exercised"
