"""What is told of a run that ended without a word, by whoever found its marker: nothing of it was verified.

What its stages had recorded until then is taken in, so that it is seen how far it came; it decides no verdict, since
anybody who may write reports may have written it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from restore_drill.evidence import record
from restore_drill.evidence.account import Recorded
from restore_drill.evidence.drilled import achieved, keys, reached, snapshot, times
from restore_drill.evidence.isolation import disposal, isolation
from restore_drill.evidence.reading import FORM
from restore_drill.sampling import split

WITHOUT_A_WORD = "the run ended without a word"
_REMEDY = "Find out what ended it (memory, a reboot, the pipeline's own deadline), and drill again."
_STAGES = ("locate", "fetch", "verify", "unpack", "chain", "restore", "content", "dispose")


@dataclass(slots=True)
class _Left(Recorded):
    """What one of its drills left."""

    lines: list[dict[str, Any]] = field(default_factory=list)


def document(marker: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Evidence on behalf of a run that crashed.

    Args:
        marker: What it had said of itself.
        by: The run or command that found it.
    """
    left = _left(Path(marker["reports"]))
    members = {member["target"]: member for member in marker["population"]}
    drills, across = [], []
    for place, cases in marker["planned"].items():
        target, _, copy = place.partition("/")
        told = [_case(case, detail) for case, detail in cases]
        if copy:
            drills.append(_drill(members[target], copy, left.get((target, copy), _Left()), told, marker))
        else:
            across.append({"target": target, "cases": told})
    count = sum(map(len, marker["planned"].values()))
    ends = [drill["finished"] for drill in drills if "finished" in drill]
    return {
        "form": FORM,
        "run": {
            "id": marker["run"],
            "started": marker["started"],
            "finished": max([marker["started"], *ends]),
            "estate": marker["estate"],
            "operator": marker["operator"],
            "arguments": marker["arguments"],
            "ended": "crashed",
            "recorded_by": by,
            **({"shard": marker["shard"]} if "shard" in marker else {}),
            "selection": {
                "cases": count,
                "of_cases": max(count, marker["of_cases"]),
                "targets": len({place.partition("/")[0] for place in marker["planned"]}),
                "of_targets": len(members),
            },
        },
        "catalogue": marker["catalogue"],
        "verdict": "error",
        "problems": [f"{WITHOUT_A_WORD}: neither its end nor its verdict is in the ledger. {_REMEDY}"],
        "counts": {"passed": 0, "failed": 0, "error": count, "excepted": 0},
        "not_run": [],
        "population": marker["population"],
        "exceptions": marker["exceptions"],
        "drills": drills,
        "targets": across,
    }


def _case(case: str, detail: str) -> dict[str, Any]:
    known = {"case": case, **({"detail": detail} if detail else {}), "verdict": "error"}
    return {**known, "message": WITHOUT_A_WORD, "remedy": _REMEDY, "blocked_by": "crash"}


def _drill(
    member: Mapping[str, Any], copy: str, left: _Left, cases: list[dict[str, Any]], marker: Mapping[str, Any]
) -> dict[str, Any]:
    of, slot = split(copy)
    store = next((each["store"] for each in member["copies"] if each["copy"] == of), "")
    points = left.facts("locate").get("points")
    why = {"rule": "newest", "sample": 1, **({"population": points} if isinstance(points, int) else {})}
    found = {
        "target": member["target"],
        "copy": copy,
        "store": store,
        "tier": member["tier"],
        "owner": member.get("owner"),
        "engine": member["engine"],
        **times(left.lines),
        "why": {"rule": "sampled", "of": of, "sample": 1} if slot else why,
        "objectives": {name: member[name] for name in ("rpo_seconds", "rto_seconds", "drill_every_seconds")},
        "achieved": achieved(left),
        "scope": "partial",
        "reached": reached(left),
        "verdict": "error",
        "snapshot": snapshot(left),
        "keys": list(dict.fromkeys(keys(left, {}))),
        "isolation": isolation(left, marker["operator"]["host"]),
        "disposal": disposal(left),
        "stages": left.measured,
        "cases": cases,
        "limits": ["nothing: the run ended before it could say"],
    }
    always = ("achieved", "keys", "stages")
    return {name: value for name, value in found.items() if name in always or value not in (None, "", {})}


def _left(reports: Path) -> dict[tuple[str, str], _Left]:
    """What its processes recorded, where their files can still be read."""
    try:
        recorded = record.read(reports)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    return {drill: _Left(list(_usable(lines))) for drill, lines in recorded.items()}


def _usable(lines: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The lines that say what a record's line says."""
    for line in lines:
        what = "check" if isinstance(line.get("check"), list) else "stage"
        if what == "stage" and line.get("stage") not in _STAGES:
            continue
        if not isinstance(line.get("facts"), dict) or not isinstance(line.get("seconds"), int | float):
            continue
        try:
            datetime.fromisoformat(str(line.get("started")))
        except ValueError:
            continue
        yield {name: line[name] for name in (what, "started", "seconds", "facts")}
