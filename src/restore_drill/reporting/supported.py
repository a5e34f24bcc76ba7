"""What the runs that a page knows of support, requirement by requirement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from restore_drill.controls.loading import of_plan
from restore_drill.controls.mapping import Assessing, RequirementEvidence
from restore_drill.reporting.page import Controls

if TYPE_CHECKING:
    from restore_drill.controls.model import Framework
    from restore_drill.plan import Plan
    from restore_drill.policy.population import Population


def controls(
    plan: Plan, documents: Sequence[Mapping[str, Any]], *, population: Population | None, until: float
) -> Controls:
    """What some runs support, from the first of them on.

    Args:
        plan: Says which frameworks are reported.
        documents: The evidence of the runs, in the ledger's order; the last one's estate is what counts.
        population: What the same runs say of all copies.
        until: The end of the time that is looked at (seconds since the epoch).

    Raises:
        UsageProblem: A framework of the catalogue's own is wrong.
    """
    frameworks = of_plan(plan)
    estate = str(documents[-1]["run"].get("estate", "user"))
    since = datetime.fromisoformat(documents[0]["run"]["started"])
    assessing = Assessing(frameworks, since=since, until=datetime.fromtimestamp(until, UTC), estate=estate)
    for document in documents:
        assessing.take(document)
    return as_shown(frameworks, assessing.result(population=population), estate)


def as_shown(frameworks: Iterable[Framework], found: Iterable[RequirementEvidence], estate: str) -> Controls:
    """As a page shows it; a framework that asks for nothing of the kind has its note."""
    notes = tuple((each.title, each.note) for each in frameworks if each.note and not each.requirements)
    return Controls(tuple(each.as_dict() for each in found), notes, estate == "demo")
