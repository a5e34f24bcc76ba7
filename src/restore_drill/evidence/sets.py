"""Sets in the document: which snapshots came back together, how far apart their moments lie, and where they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from restore_drill.cases import SET_CASES
from restore_drill.evidence import record
from restore_drill.evidence.account import Recorded, worst
from restore_drill.evidence.drilled import engine_version, snapshot, times
from restore_drill.evidence.isolation import disposal, isolation
from restore_drill.plan import PlannedCase, PlannedSet, PlannedTarget

if TYPE_CHECKING:
    from restore_drill.results import CaseResult
    from restore_drill.run import Run


@dataclass(slots=True)
class _Lines(Recorded):
    """What was recorded of a set, or of one of its targets for it."""

    lines: list[dict[str, Any]] = field(default_factory=list)


def sets(run: Run, results: Mapping[PlannedCase, CaseResult], host: str) -> list[dict[str, Any]]:
    """Every set of which a case reported; what its cases say stands with those of its first target.

    Args:
        run: The run.
        results: Its cases.
        host: Where it took place.
    """
    found: dict[tuple[str, str], list[CaseResult]] = {}
    for case, result in results.items():
        if case.case in SET_CASES:
            found.setdefault((case.target, case.detail.partition("/")[0]), []).append(result)
    if not found:
        return []
    recorded = record.read(run.directory)
    told = []
    for (anchor, name), its in found.items():
        target = run.plan.by_name[anchor]
        planned = next(each for each in target.sets if each.name == name)
        told.append(_set(planned, target, its, recorded, host))
    return told


def _set(
    planned: PlannedSet, anchor: PlannedTarget, results: Iterable[CaseResult],
    recorded: Mapping[tuple[str, str], list[dict[str, Any]]], host: str,
) -> dict[str, Any]:  # fmt: skip
    account = _of(recorded, anchor.name, f"set:{planned.name}")
    located, restored = account.facts("locate"), account.facts("restore")
    known = {str(each["target"]): each for each in located.get("members", ())}
    booted = next(account.checked("set-boot"), {})
    selected = {result.case for result in results}
    whole = {PlannedCase(anchor.name, "", *case) for case in planned.cases()} <= selected
    found = {
        "set": planned.name,
        "target": anchor.name,
        **times(account.lines),
        "scope": "whole" if whole else "partial",
        "verdict": worst(result.verdict for result in results),
        "within_seconds": planned.model.within.total_seconds(),
        "spread_seconds": _rounded(located.get("spread_seconds")),
        "age_seconds": _rounded(located.get("age_seconds")),
        "rto_seconds": _rounded(restored.get("seconds"), booted.get("seconds", 0.0)),
        "members": [
            _member(target, copy, known.get(target, {}), _of(recorded, target, f"{copy}.set:{planned.name}"), host)
            for target, copy in planned.members
        ],
        "application": _application(booted),
        "disposal": disposal(account),
    }
    return {name: value for name, value in found.items() if value not in (None, {}, "")}


def _of(recorded: Mapping[tuple[str, str], list[dict[str, Any]]], target: str, name: str) -> _Lines:
    return _Lines(recorded.get((target, name), []))


def _member(target: str, copy: str, chosen: Mapping[str, Any], account: Recorded, host: str) -> dict[str, Any]:
    found = {
        "target": target,
        "copy": copy,
        "snapshot": snapshot(account),
        "newer": chosen.get("older"),
        "engine_version": engine_version(account),
        "rto_seconds": _rounded(account.facts("restore").get("rto_seconds")),
        "isolation": isolation(account, host),
    }
    return {name: value for name, value in found.items() if value not in (None, {}, "")}


def _application(booted: Mapping[str, Any]) -> dict[str, Any]:
    """How the application answered, and what it could reach: nothing but the servers of the set."""
    if not booted:
        return {}
    sandbox: Mapping[str, Any] = booted.get("sandbox") or {}
    told = {name: sandbox[name] for name in ("image", "image_id", "network", "reaches") if sandbox.get(name)}
    return {"outcome": booted["outcome"], "status": booted["status"], "seconds": _rounded(booted["seconds"]), **told}


def _rounded(value: float | None, more: float = 0.0) -> float | None:
    return None if value is None else round(value + more, 3)
