"""One run as an OSCAL result: observations of what was tested, findings and risks only where a test failed.

What is said and what is not: an observation is a fact and stands for every drill. A finding gives a control a status;
a drill can show that a control's statement is not satisfied, never that it is: that takes the organisation's policy,
its frequency and its scope, which no backup holds. So there is no finding ``satisfied``. What could not be verified has
an observation that says so, and no finding: nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from restore_drill.controls.model import Requirement
from restore_drill.controls.tally import verdicts_of
from restore_drill.reporting.oscal_parts import NAMESPACE, line, prop, props, prose, responsible, uid, without_empty
from restore_drill.reporting.oscal_risks import findings, risk_of
from restore_drill.reporting.oscal_shared import ORIGINS, TOOL, WORDS, Observed, Run, Shared, case_name, causes, said
from restore_drill.sampling import place_of, sampled_of


def result(run: Run, shared: Shared) -> dict[str, Any]:
    """The result of a run."""
    document, about = run.document, run.document["run"]
    observed = [*_drills(run, shared), *_across(run, shared)]
    return without_empty(
        {
            "uuid": uid("result", run.id),
            "title": f"Restore drills of the run {line(run.id)}",
            "description": prose(_described(document)),
            "start": about["started"],
            "end": about["finished"],
            "props": [*_about(run), *_tools(document)],
            "local-definitions": _definitions(document, shared),
            "reviewed-controls": reviewed(shared.identified),
            "observations": [each.observation for each in observed],
            "risks": [each.risk for each in observed if each.risk],
            "findings": list(findings(run, observed, shared)),
            "remarks": " ".join(prose(problem) for problem in document["problems"]),
        }
    )


def reviewed(controls: Sequence[Requirement]) -> dict[str, Any]:
    """Which controls are spoken of."""
    selection = {
        "description": "Controls to which restore drills are evidence. None of them is assessed as a whole.",
        "include-controls": [{"control-id": each.oscal} for each in controls],
    }
    return {"control-selections": [selection]}


def _described(document: Mapping[str, Any]) -> str:
    counts = document["counts"]
    cases = ", ".join(f"{counts[verdict]} {WORDS[verdict]}" for verdict in ("passed", "failed", "error", "excepted"))
    ended = document["run"]["ended"]
    how = "" if ended == "complete" else f" The run was not completed: {ended}."
    demo = " The demo estate: made-up systems, evidence of nothing." if document["run"]["estate"] == "demo" else ""
    return f"{len(document['drills'])} drill(s); cases: {cases}.{how}{demo}"


def _about(run: Run) -> list[dict[str, str]]:
    document, about = run.document, run.document["run"]
    return props(
        {
            "run": run.id,
            "verdict": document["verdict"],
            "ended": about["ended"],
            "estate": about["estate"],
            "catalogue-sha256": document["catalogue"]["sha256"],
            **run.recorded,
        }
    )


def _tools(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """What took part, and its versions."""
    tools = document["run"].get("tools", {})
    return [prop("tool-version", f"{name} {version}") for name, version in sorted(tools.items())]


def _definitions(document: Mapping[str, Any], shared: Shared) -> dict[str, Any]:
    """What was tested, and with what, as far as no result before said so."""
    host = document["run"]["operator"]["host"]
    component = {
        "uuid": TOOL,
        "type": "software",
        "title": "restore-drill",
        "description": "Restores backups and examines what came back.",
        "status": {"state": "operational"},
    }
    uses = [{"component-uuid": TOOL}]
    platforms = shared.first([{"uuid": uid("platform", host), "title": line(host), "uses-components": uses}])
    assets = {"components": shared.first([component]), "assessment-platforms": platforms}
    return without_empty(
        {
            "inventory-items": shared.first(_inventory(document)),
            "assessment-assets": without_empty(assets) if platforms else {},
        }
    )


def _inventory(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The copies that were drilled, and the targets that cases about all of their copies speak of."""
    seen = set()
    for drill in document["drills"]:
        target, copy = drill["target"], _copy(drill)
        if (target, copy) in seen:
            continue  # older snapshots of it
        seen.add((target, copy))
        named = {"target": target, "copy": copy, "store": drill["store"], "tier": drill["tier"],
                 "engine": drill.get("engine"), "owner": drill.get("owner")}  # fmt: skip
        about = f"Backups of {target} in {copy}"
        yield {"uuid": uid("copy", target, copy), "description": prose(about), "props": props(named)}
    for target in document["targets"]:
        about = f"All backups of {target['target']}"
        named = {"target": target["target"]}
        yield {"uuid": uid("target", target["target"]), "description": prose(about), "props": props(named)}


def _copy(drill: Mapping[str, Any]) -> str:
    """The copy that was drilled, or that an older snapshot lies in."""
    older = sampled_of(drill)
    return older[0] if older else str(drill["copy"])


def _drills(run: Run, shared: Shared) -> Iterator[Observed]:
    for drill in run.document["drills"]:
        key = (run.id, drill["target"], drill["copy"])
        name = f"{drill['target']}/{place_of(drill)}"
        whole = drill["scope"] == "whole" and drill.get("depth", "full") == "full"
        verdicts = verdicts_of(drill) if whole else {}
        subject = {"subject-uuid": uid("copy", drill["target"], _copy(drill)), "type": "inventory-item", "title": name}
        observation = without_empty(
            {
                "uuid": uid("observation", *key),
                "title": f"{name}: {WORDS[drill['verdict']]}",
                "description": prose(_told(drill)),
                "props": [*_facts(drill), *_cases(drill["cases"]), *shared.supported(verdicts)],
                "methods": ["TEST"],
                "types": ["control-objective"],
                "origins": ORIGINS,
                "subjects": [subject],
                "relevant-evidence": [_evidence(run)],
                "collected": drill.get("finished", run.document["run"]["finished"]),
                "remarks": " ".join(prose(f"Not checked: {limit}.") for limit in drill["limits"]),
            }
        )
        yield Observed(observation, risk_of(run, key, name, drill["cases"]), verdicts)


def _across(run: Run, shared: Shared) -> Iterator[Observed]:
    """The cases about all copies of a target: its stores were looked at."""
    for target in run.document["targets"]:
        name, key = target["target"], (run.id, target["target"], "")
        verdicts = verdicts_of(target)
        observation = without_empty(
            {
                "uuid": uid("observation", *key),
                "title": f"{name}: all copies together",
                "description": prose("; ".join(f"{case['case']}: {said(case)}" for case in target["cases"])),
                "props": [*_cases(target["cases"]), *shared.supported(verdicts)],
                "methods": ["EXAMINE"],
                "types": ["control-objective"],
                "origins": ORIGINS,
                "subjects": [{"subject-uuid": uid("target", name), "type": "inventory-item", "title": name}],
                "relevant-evidence": [_evidence(run)],
                "collected": run.document["run"]["finished"],
            }
        )
        yield Observed(observation, risk_of(run, key, name, target["cases"]), verdicts)


def _told(drill: Mapping[str, Any]) -> str:
    snapshot = drill.get("snapshot")
    what = f"The snapshot {snapshot['id']} of {snapshot['taken_at']}" if snapshot else "No snapshot"
    whole = "" if drill["scope"] == "whole" else " Only a part of its cases was run: no evidence of a whole drill."
    bad = "; ".join(f"{case['case']}: {said(case)}" for case in causes(drill["cases"], "failed", "error"))
    return f"{what} was drilled; reached: {drill.get('reached', 'not known')}.{whole} {bad}"


def _facts(drill: Mapping[str, Any]) -> list[dict[str, str]]:
    snapshot, achieved = drill.get("snapshot") or {}, drill.get("achieved") or {}
    objectives = drill.get("objectives") or {}
    found = props(
        {
            "verdict": drill["verdict"],
            "scope": drill["scope"],
            "depth": drill.get("depth"),
            "reached": drill.get("reached"),
            "snapshot": snapshot.get("id"),
            "snapshot-taken-at": snapshot.get("taken_at"),
            "rpo-seconds": achieved.get("rpo_seconds"),
            "rpo-objective-seconds": objectives.get("rpo_seconds"),
            "rto-seconds": achieved.get("rto_seconds"),
            "rto-objective-seconds": objectives.get("rto_seconds"),
            "retest-of-run": (drill.get("retest_of") or {}).get("run"),
            "isolation": (drill.get("isolation") or {}).get("kind"),
            "isolation-network": (drill.get("isolation") or {}).get("network"),
            "disposed-at": (drill.get("disposal") or {}).get("at"),
        }
    )
    digests = snapshot.get("sha256") or {}
    return [*found, *(prop("artifact-sha256", digest, remarks=key) for key, digest in digests.items() if digest)]


def _cases(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The cases, by verdict."""
    named = {verdict: [case_name(case) for case in cases if case["verdict"] == verdict] for verdict in WORDS}
    return [prop(f"cases-{verdict}", ", ".join(names)) for verdict, names in named.items() if names]


def _evidence(run: Run) -> dict[str, Any]:
    about = {"href": f"#{uid('evidence', run.id)}", "description": "The evidence document of the run"}
    return {**about, "props": props(run.recorded)} if run.recorded else about


def attestation(review: Mapping[str, Any]) -> dict[str, Any]:
    """A review that somebody signed."""
    said = f"{review.get('reviewer', '')} reviewed the evidence with the SHA-256 {review.get('evidence', '')}."
    part = without_empty(
        {
            "name": "review",
            "ns": NAMESPACE,
            "title": "Review",
            "props": props({"evidence-sha256": review.get("evidence"), "report-sha256": review.get("report")}),
            "prose": prose(f"{said} {review.get('comment', '')}"),
        }
    )
    return without_empty(
        {"responsible-parties": responsible([str(review.get("reviewer", ""))], "reviewer"), "parts": [part]}
    )
