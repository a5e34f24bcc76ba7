"""The evidence of a run: facts of its drills and verdicts of its cases, joined into one JSON document.

Its form is ``schema.json``; :mod:`restore_drill.evidence.reading` reads it again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from restore_drill.cases import SET_CASES
from restore_drill.evidence import catalogued, older, surroundings
from restore_drill.evidence.account import DrillAccount, worst
from restore_drill.evidence.drilled import Earlier, case, drill
from restore_drill.evidence.moments import stamp
from restore_drill.evidence.reading import FORM
from restore_drill.evidence.record import encode_printable
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.secrets import redact
from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from restore_drill.results import CaseResult
    from restore_drill.run import Run

#: How a run ended; see the schema.
Ended = Literal["complete", "interrupted", "crashed", "refused"]


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went, beside its drills.

    Attributes:
        started: Seconds since the epoch, as ``finished``.
        planned: The cases that were selected.
        not_run: Node ids of planned cases that did not report.
        problems: What could not be collected, run or recorded.
        recorded_by: Who wrote the document on behalf of a run that crashed.
        operator: Who ran it, when that was not this process.
        earlier: What was known of copies before, by (target, copy).
        nothing_to_do: Whether nothing was planned and that is as it should be: another shard has everything.
    """

    started: float
    finished: float
    planned: Collection[PlannedCase] = ()
    not_run: Sequence[str] = ()
    arguments: Sequence[str] = ()
    problems: Sequence[str] = ()
    ended: Ended = "complete"
    recorded_by: str = ""
    operator: Mapping[str, str] | None = None
    earlier: Mapping[tuple[str, str], Earlier] = field(default_factory=dict)
    nothing_to_do: bool = False

    def with_problems(self, problems: Sequence[str]) -> Course:
        """The same, with problems that came up since."""
        return replace(self, problems=[*self.problems, *problems])


def build(
    run: Run,
    accounts: Mapping[tuple[str, str], DrillAccount],
    results: Mapping[PlannedCase, CaseResult],
    course: Course,
) -> dict[str, Any]:
    """The document. Times are UTC; nothing in it names a file inside a restored tree or holds a text of a row."""
    verdict = Verdict.PASSED if course.nothing_to_do else worst(result.verdict for result in results.values())
    if run.options.shard and not course.planned and course.ended == "complete":
        verdict = Verdict.PASSED  # none of the plan's targets is in this shard: the others answer for them
    who = surroundings.operator()
    together = _sets(run, results, who["host"])
    sampled = older.samples(run, accounts, course.planned)
    drills = [drill(run, account, course.earlier.get(key, Earlier()), who["host"]) for key, account in accounts.items()]
    stripped = run.options.break_glass
    return {
        "form": FORM,
        "run": _run(run, course, who) | ({"break_glass": stripped.as_evidence(drills)} if stripped else {}),
        "catalogue": {"path": run.plan.catalogue, "sha256": run.plan.digest},
        "verdict": worst((verdict, Verdict.ERROR)) if course.problems else verdict,
        "problems": list(course.problems),
        "counts": {str(each): sum(result.verdict is each for result in results.values()) for each in Verdict},
        "not_run": list(course.not_run),
        "population": catalogued.population(run.plan),
        "exceptions": catalogued.exceptions(run.plan, results, course.finished),
        "drills": drills,
        "targets": _across(results),
        **({"sets": together} if together else {}),
        **({"samples": sampled} if sampled else {}),
    }


def _run(run: Run, course: Course, who: Mapping[str, str]) -> dict[str, Any]:
    """Who ran it, when, where and how; of a run that crashed, only what it had told of itself."""
    found: dict[str, Any] = {
        "id": run.id,
        "started": stamp(course.started),
        "finished": stamp(course.finished),
        "estate": "demo" if run.plan.demo else "user",
        "operator": dict(course.operator or who),
        "arguments": [redact(argument) for argument in course.arguments],
    }
    if not course.recorded_by:
        found |= {
            "ci": surroundings.pipeline(),
            "tools": surroundings.tools(),
            "machine": surroundings.machine(),
            "concurrency": run.options.concurrency,
        }
    found |= {"ended": course.ended}
    found |= {"recorded_by": course.recorded_by} if course.recorded_by else {}
    shard = run.options.shard
    found |= {"shard": shard.as_evidence()} if shard else {}
    everything = set(run.plan.cases()) | set(course.planned)
    return found | {
        "selection": {
            "cases": len(course.planned),
            "of_cases": len(everything),
            "targets": len({each.target for each in course.planned}),
            "of_targets": len(run.plan.targets),
        }
    }


def _sets(run: Run, results: Mapping[PlannedCase, CaseResult], host: str) -> list[dict[str, Any]]:
    if not any(case.case in SET_CASES for case in results):
        return []
    from restore_drill.evidence.sets import sets

    return sets(run, results, host)


def _across(results: Mapping[PlannedCase, CaseResult]) -> list[dict[str, Any]]:
    """The cases about all copies of a target together."""
    found: dict[str, list[dict[str, Any]]] = {}
    for planned, result in results.items():
        if not planned.copy:
            found.setdefault(planned.target, []).append(case(result))
    return [{"target": name, "cases": cases} for name, cases in found.items()]


def text(evidence: Mapping[str, Any]) -> str:
    """The document as its readers get it: without any secret, nothing that a terminal would obey, one line a drill."""
    parts = []
    for name, value in evidence.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            told = "[\n  " + ",\n  ".join(map(encode_printable, value)) + "\n ]"
        else:
            told = encode_printable(value)
        parts.append(f" {json.dumps(name)}: {told}")
    return redact("{\n" + ",\n".join(parts) + "\n}\n")


def write(path: Path, evidence: Mapping[str, Any]) -> None:
    """Write the document at once: a reader sees the whole of it or nothing."""
    write_whole(path, text(evidence).encode())
