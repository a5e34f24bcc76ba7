"""CTRF (Common Test Report Format, specification 0.0.0): test results as JSON that other programs know how to show.

CTRF has no word for two of our verdicts. Programs that read it go by ``failed`` alone, so that could-not-verify is
``failed``, never ``other``, which they let through; a failure that an approved exception covers is ``other``: it did
not pass, and is to stop nobody. The verdict itself stands in ``rawStatus`` and in the label ``verdict``.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from restore_drill.cases import OWNER
from restore_drill.model import Stage
from restore_drill.printable import printable_values
from restore_drill.reporting.words import moment

SPECIFICATION = "0.0.0"
_STATUS = {"passed": "passed", "failed": "failed", "error": "failed", "excepted": "other"}
_STATUSES = ("passed", "failed", "skipped", "pending", "other")
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "urn:restore-drill:case")
#: What is told of a case that did not pass, beside its message.
_TOLD = ("expected", "actual", "tolerance", "remedy", "notes")
#: What stands in JSON for a character that is not printed.
_ESCAPED = re.compile(r"\\[bfnrtu]")
Document = Mapping[str, Any]


def render(document: Document) -> str:
    """A run's cases as CTRF.

    A case's duration is that of the stage or check that it judges, 0 where it judges what another one measured. What
    went wrong with the run itself is a failed test of its own, so that no run with problems looks green.
    """
    run = document["run"]
    tests = [*_of_drills(document), *_of_targets(document), *_of_run(document)]
    start, stop = _milliseconds(run.get("started")), _milliseconds(run.get("finished"))
    counts = {status: sum(test["status"] == status for test in tests) for status in _STATUSES}
    summary = {"tests": len(tests), **counts, "start": start, "stop": stop, "duration": max(0, stop - start)}
    report = {
        "reportFormat": "CTRF",
        "specVersion": SPECIFICATION,
        "reportId": str(uuid.uuid5(_NAMES, str(run["id"]))),
        "timestamp": run.get("finished", run.get("started")),
        "generatedBy": "restore-drill",
        "results": {
            "tool": {"name": "restore-drill", **_version(run)},
            "summary": {**summary, "extra": {"verdicts": dict(document.get("counts", {}))}},
            "tests": tests,
            "environment": _environment(document),
        },
    }
    text = _encoded(report)
    harmless = text.isprintable() and not _ESCAPED.search(text)
    return f"{text if harmless else _encoded(printable_values(report))}\n"


def _encoded(report: Document) -> str:
    return json.dumps(report, ensure_ascii=False, separators=(",", ":"))


def _of_drills(document: Document) -> Iterator[dict[str, Any]]:
    for drill in document.get("drills", ()):
        snapshot = str((drill.get("snapshot") or {}).get("id", ""))
        labels = {name: drill.get(name) for name in ("tier", "owner", "engine", "scope")} | {"snapshot": snapshot}
        seconds = _seconds(drill.get("stages", ()))
        for case in drill.get("cases", ()):
            key = (case["case"], case.get("detail", ""))
            yield _test(case, drill["target"], drill["copy"], labels, seconds.get(key, 0.0))


def _of_targets(document: Document) -> Iterator[dict[str, Any]]:
    tiers = {each["target"]: each.get("tier") for each in document.get("population", ())}
    for target in document.get("targets", ()):
        for case in target["cases"]:
            yield _test(case, target["target"], "", {"tier": tiers.get(target["target"])}, 0.0)


def _of_run(document: Document) -> Iterator[dict[str, Any]]:
    """Problems of the run, one test each; a run that drilled nothing and does not say why is one, too."""
    problems = [str(problem) for problem in document.get("problems", ())]
    if not problems and document["verdict"] in ("failed", "error") and not any(document.get("counts", {}).values()):
        problems = ["no case was drilled"]
    for number, problem in enumerate(problems, 1):
        yield {
            "id": str(uuid.uuid5(_NAMES, f"run\0{number}")),
            "name": "the run itself" if len(problems) == 1 else f"the run itself ({number})",
            "status": "failed",
            "rawStatus": "error",
            "duration": 0,
            "suite": ["run"],
            "message": problem,
            "labels": {"verdict": "error"},
        }


def _test(case: Document, target: str, copy: str, labels: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    name, detail, verdict = str(case["case"]), str(case.get("detail", "")), str(case["verdict"])
    where = "/".join(filter(None, [target, copy]))
    known = {"verdict": verdict, "case": name, "target": target, "copy": copy, **labels}
    known |= {each: case.get(each) for each in ("exception", "blocked_by")}
    found: dict[str, Any] = {
        "id": str(uuid.uuid5(_NAMES, "\0".join([target, copy, name, detail]))),
        "name": f"{where}: {f'{name} {detail}'.rstrip()}",
        "status": _STATUS[verdict],
        "rawStatus": verdict,
        "duration": round(seconds * 1000),
        "suite": [str(part) for part in (labels.get("tier"), target, copy) if part],
        "labels": {key: str(value) for key, value in known.items() if value not in (None, "")},
    }
    told = {} if verdict == "passed" else {each: case[each] for each in _TOLD if case.get(each) not in (None, "", [])}
    found |= {"message": str(case["message"])} if case.get("message") else {}
    found |= {"tags": ["blocked"]} if case.get("blocked_by") else {}
    return {**found, "extra": told} if told else found


def _seconds(stages: Any) -> dict[tuple[str, str], float]:
    """Seconds by case and detail: of a check its own, of a stage those of the case that owns it."""
    found: dict[tuple[str, str], float] = {}
    for line in stages:
        check = line.get("check")
        if check:
            key = (str(check[0]), str(check[1]) if len(check) > 1 else "")
        elif line.get("stage") in set(map(str, OWNER)):
            key = (OWNER[Stage(line["stage"])], "")
        else:
            continue
        found[key] = found.get(key, 0.0) + float(line.get("seconds") or 0.0)
    return found


def _environment(document: Document) -> dict[str, Any]:
    run = document["run"]
    ci, machine = run.get("ci", {}), run.get("machine", {})
    url = str(ci.get("url", ""))
    found = {
        "reportName": f"restore drills, run {run['id']}",
        "buildName": run["id"],
        "buildUrl": url if url.startswith(("https://", "http://")) else None,  # readers make a link of it
        "commit": ci.get("commit"),
        "osVersion": machine.get("platform"),
        "testEnvironment": run.get("estate"),
        "healthy": document["verdict"] in ("passed", "excepted"),
        "extra": {
            "run": run["id"],
            "ended": run.get("ended", "complete"),
            "verdict": document["verdict"],
            "catalogue": document.get("catalogue", {}).get("sha256", ""),
        },
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _version(run: Document) -> dict[str, str]:
    version = run.get("tools", {}).get("restore-drill")
    return {"version": version} if version else {}


def _milliseconds(text: str | None) -> int:
    return round((moment(text) or 0.0) * 1000)
