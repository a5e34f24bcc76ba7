"""``restore-drill controls``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from restore_drill.cli import add_catalogue
from restore_drill.errors import UsageProblem
from restore_drill.printable import printable
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.controls.mapping import RequirementEvidence
    from restore_drill.controls.model import Framework
    from restore_drill.ledger.base import Ledger
    from restore_drill.ledger.verify import Verification
    from restore_drill.plan import Plan
    from restore_drill.reporting.span import Span

#: Copies that a line names; of more, the count.
_NAMED = 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--framework", action="append", default=[], metavar="ID",
                        help="only this framework; may be given again (default: those of the catalogue)")  # fmt: skip
    parser.add_argument("--period", default="365d", metavar="PERIOD",
                        help="2026, 2026Q4, 2026-10, 2026-W47, 2026-11-23, or 30d (default: 365d)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_catalogue(parser)


def run(arguments: argparse.Namespace) -> int:
    """List requirements, the period's evidence of each, and the gaps; 1 when the ledger does not verify."""
    from restore_drill.cli.ledger import known_runs, of_catalogue
    from restore_drill.evidence.catalogued import population
    from restore_drill.ledger.signing import read_public_keys
    from restore_drill.ledger.verify import verify
    from restore_drill.reporting.span import named

    now = datetime.now(UTC)
    span = named(arguments.period, now)
    with of_catalogue(arguments) as (plan, ledger):
        frameworks = _frameworks(plan, arguments.framework)
        keys = read_public_keys(plan.ledger.public_keys)
        verification = verify(ledger, keys, required=plan.ledger.required, known_runs=known_runs(plan))
        listed = population(plan) if span.until >= now.timestamp() else []
        assessed = _assess(plan, ledger, frameworks, span, verification, listed)
    if arguments.json:
        print(json.dumps(_as_json(plan, span, frameworks, assessed, verification), indent=1))
    else:
        print(redact("\n".join(map(printable, _lines(plan, span, frameworks, assessed, verification)))))
    return 1 if verification.problems else 0


@dataclass(frozen=True, slots=True)
class _Assessed:
    """The evidence of every requirement, and which copies left the catalogue in the period, on which day."""

    requirements: list[RequirementEvidence]
    left: dict[str, str]


def _frameworks(plan: Plan, only: Sequence[str]) -> tuple[Framework, ...]:
    from restore_drill.controls.loading import load_frameworks, of_plan, unknown_framework

    if not only:
        return of_plan(plan)
    known = {each.id for each in load_frameworks(plan.control_files)}
    for name in only:
        if name not in known:
            raise UsageProblem(unknown_framework(name, known), looked_at=plan.catalogue)
    return load_frameworks(plan.control_files, only)


def _assess(
    plan: Plan,
    ledger: Ledger,
    frameworks: Sequence[Framework],
    span: Span,
    verification: Verification,
    listed: Sequence[Mapping[str, Any]],
) -> _Assessed:
    """One pass over the ledger: the calendar and the requirements look at the same documents.

    Args:
        plan: What is drilled.
        ledger: Where runs are recorded.
        frameworks: What is asked for.
        span: The period.
        verification: What verifying the ledger found.
        listed: What the catalogue lists today: what no run has seen yet has no evidence.
    """
    from restore_drill.controls.mapping import Assessing
    from restore_drill.ledger.reading import understood
    from restore_drill.policy.population import Population, seconds

    since, until = (datetime.fromtimestamp(moment, UTC) for moment in (span.since, span.until))
    assessing = Assessing(frameworks, since=since, until=until, estate="demo" if plan.demo else "user")
    reviews: list[Mapping[str, Any]] = []

    def documents() -> Iterator[Mapping[str, Any]]:
        for entry in ledger.entries():
            if entry.kind == "review":
                if seconds(entry.recorded_at) <= span.until:
                    reviews.append(entry.review)
            elif seconds(entry.evidence["run"]["finished"]) <= span.until:
                assessing.take(entry.evidence)
                yield entry.evidence

    with understood(ledger):
        reconciled = Population.of(documents(), now=span.until, since=span.since, until=span.until, catalogue=listed)
    left = {
        f"{each.target}/{each.copy}": datetime.fromtimestamp(each.retired, UTC).date().isoformat()
        for each in reconciled.standings.values()
        if each.retired is not None and each.retired >= span.since
    }
    return _Assessed(assessing.result(population=reconciled, reviews=reviews, ledger=verification), left)


def _as_json(
    plan: Plan,
    span: Span,
    frameworks: Sequence[Framework],
    found: _Assessed,
    verification: Verification,
) -> dict[str, Any]:
    days = [datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") for moment in (span.since, span.until)]
    return {
        "period": {"title": span.title, "since": days[0], "until": days[1]},
        "estate": "demo" if plan.demo else "user",
        "ledger": {
            "entries": verification.entries,
            "signed": verification.signed,
            "unsigned": verification.unsigned,
            "problems": [str(problem) for problem in verification.problems],
        },
        "frameworks": [{**each.as_dict(), "note": each.note} for each in frameworks],
        "left": found.left,
        "requirements": [each.as_dict() for each in found.requirements],
    }


def _lines(
    plan: Plan,
    span: Span,
    frameworks: Sequence[Framework],
    found: _Assessed,
    verification: Verification,
) -> Iterator[str]:
    yield f"Evidence of {span.title}, from {verification.entries} entries of the ledger."
    if plan.demo:
        yield "THE DEMO ESTATE: an illustration. Drills of made-up systems are evidence of nothing."
    if verification.problems:
        yield f"THE LEDGER DOES NOT VERIFY ({len(verification.problems)} problems): see restore-drill ledger verify."
    yield from _named("left the catalogue in the period", [f"{copy} ({day})" for copy, day in found.left.items()])
    for framework in frameworks:
        yield ""
        yield f"{framework.title}, {framework.version} ({framework.id})"
        if framework.note:
            yield f"  note: {framework.note}"
        for evidence in found.requirements:
            if evidence.framework is framework:
                yield from _requirement(evidence)
    yield ""
    yield "A drill supports a requirement. Whether it is met is for whoever audits to conclude."


def _requirement(evidence: RequirementEvidence) -> Iterator[str]:
    requirement = evidence.requirement
    yield f"  {requirement.id} {requirement.title}: {evidence.state.upper()}"
    yield f"    {evidence.summary}"
    for each in evidence.supports:
        yield f"      {each.evidence:<11} {each.words}"
    yield from _named("no evidence of", evidence.without)
    for word, those in (
        ("failing", evidence.failing), ("excepted", evidence.excepted), ("could not be verified", evidence.unverified)
    ):  # fmt: skip
        yield from _named(word, [f"{each['copy']} ({each['case']}, run {each['run']})" for each in those])
    if evidence.cadence:
        late = evidence.cadence.not_met
        yield from _named("too long without", [f"{each['copy']} ({each['longest_days']} days)" for each in late])
    yield from (f"    asks also: {each}" for each in requirement.asks_also)


def _named(what: str, names: Iterable[str]) -> Iterator[str]:
    those = list(names)
    if those:
        more = f", and {len(those) - _NAMED} more" if len(those) > _NAMED else ""
        yield f"    {what}: {', '.join(those[:_NAMED])}{more}"
