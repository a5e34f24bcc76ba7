"""Where tests failed: the risk of each observation, and a finding for each control whose test it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from restore_drill.reporting.oscal_parts import line, prose, uid, without_empty
from restore_drill.reporting.oscal_shared import ORIGINS, Observed, Run, Shared, case_name, causes, said


def risk_of(run: Run, key: tuple[str, str, str], name: str, cases: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What a failure means until it is answered; ``{}`` when nothing failed."""
    failed = causes(cases, "failed", "excepted")
    if not failed:
        return {}
    open_ones = causes(failed, "failed")
    risk: dict[str, Any] = {
        "uuid": uid("risk", *key),
        "title": f"{name}: {', '.join(dict.fromkeys(case['case'] for case in failed))}",
        "description": prose("; ".join(f"{case_name(case)}: {said(case)}" for case in failed)),
        "statement": "Until a later drill passes, this backup is not known to bring back what it should.",
        "status": "open" if open_ones else "deviation-approved",
        "origins": ORIGINS,
        "deadline": None if open_ones else _deadline(run, failed),
        "remediations": [
            {
                "uuid": uid("remedy", *key, number),
                "lifecycle": "recommendation",
                "title": f"Remedy for {case_name(case)}",
                "description": prose(case["remedy"]),
            }
            for number, case in enumerate(failed)
            if case.get("remedy")
        ],
        "related-observations": [{"observation-uuid": uid("observation", *key)}],
    }
    return without_empty(risk)


def close(risk: dict[str, Any], at: str, by: str, how: str = "Passed in") -> None:
    """A later drill passed, or what was drilled is not kept any more: what the risk said is answered."""
    entry = {"uuid": uid("answer", risk["uuid"]), "title": f"{how} the run {line(by)}", "start": at}
    risk |= {"status": "closed", "risk-log": {"entries": [{**entry, "status-change": "closed"}]}}


def _deadline(run: Run, cases: Iterable[Mapping[str, Any]]) -> str | None:
    """The first day on which one of the exceptions is in force no longer."""
    named = {case.get("exception") for case in cases}
    days = [each["expires"] for each in run.document["exceptions"] if each["id"] in named]
    return f"{min(days)}T23:59:59Z" if days else None


def findings(run: Run, observed: Sequence[Observed], shared: Shared) -> Iterator[dict[str, Any]]:
    """One for each control whose test failed somewhere."""
    failed = [each for each in observed if each.risk]
    for control in shared.identified:
        those = [each for each in failed if control.oscal in shared.contradicted(each.verdicts)]
        if not those:
            continue
        why = f"The test that {control.id} ({control.title}) asks for failed in {len(those)} observation(s)."
        yield {
            "uuid": uid("finding", run.id, control.oscal),
            "title": f"{control.id}: a test failed",
            "description": prose(why),
            "origins": ORIGINS,
            "target": {
                "type": "statement-id",
                "target-id": f"{control.oscal}_smt",
                "status": {
                    "state": "not-satisfied",
                    "reason": "fail",
                    "remarks": "By these observations. Whether the control is met as a whole is the assessor's to say.",
                },
            },
            "related-observations": [{"observation-uuid": each.observation["uuid"]} for each in those],
            "related-risks": [{"risk-uuid": each.risk["uuid"]} for each in those],
        }
