"""A drill that one process makes and another judges: all of it at once there, and what was measured taken over here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from restore_drill.cases import OWNER
from restore_drill.content import ContentFacts
from restore_drill.drill import Drill, StageBroken
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.plan import PlannedCase
from restore_drill.sandboxes.base import Disposal

#: Bytes of content below which measuring ends so soon that what is learnt of another drill meanwhile stays true.
_BRIEF = 64 << 20
#: Seconds in which a store that is looked into while something is measured must have answered before.
_QUICK = 0.05


@dataclass(frozen=True, slots=True)
class DrillResults:
    """Everything that one drill measured, as values that another process can judge.

    Attributes:
        stages: The result of each stage that came to an end.
        broken: The stage that broke, and its error.
        content: What content cases are judged by.
        seconds: How long each stage and measurement took, by short name and detail of the case that stands for it.
        unrecorded: Why its end could not be put on record.
    """

    stages: dict[Stage, Any]
    broken: tuple[Stage, RestoreDrillError] | None
    content: ContentFacts
    disposal: Disposal | None
    seconds: dict[tuple[str, str], float]
    unrecorded: CouldNotVerify | None = None


def complete(
    drill: Drill, content: Sequence[PlannedCase], upto: Stage, meanwhile: Callable[[str], None] | None = None
) -> DrillResults:
    """Run all of a drill at once: every stage up to one, every measurement, disposal.

    Args:
        drill: The drill.
        content: The content cases that will be judged, in their order.
        upto: The last stage that anybody asks for.
        meanwhile: Called with the store's name when something is being measured, and neither that nor a look into
            the store takes long.
    """
    unrecorded = None
    try:
        _measure_all(drill, content, upto, meanwhile)
    except StageBroken:
        pass  # kept, too
    finally:
        try:
            drill.close()
        except CouldNotVerify as problem:
            unrecorded = problem
    broken = (drill.broken.stage, drill.broken.error) if drill.broken else None
    return DrillResults(drill.results, broken, drill.content.facts(), drill.disposal, drill.seconds, unrecorded)


def _measure_all(
    drill: Drill, content: Sequence[PlannedCase], upto: Stage, meanwhile: Callable[[str], None] | None
) -> None:
    if upto is not Stage.LOCATE:
        with contextlib.suppress(CouldNotVerify):  # tried again, and reported, by the stage that needs it
            drill.sandboxes.enter()
    drill.reach(upto)
    if content and meanwhile is not None and _is_brief(drill):
        meanwhile(drill.copy.store_name)
    for case in content:
        with contextlib.suppress(RestoreDrillError):  # kept, and borne by the case
            drill.measure(case)


def _is_brief(drill: Drill) -> bool:
    looked = drill.seconds.get((OWNER[Stage.LOCATE], ""), _QUICK)
    return drill.transfer().content_bytes < _BRIEF and looked < _QUICK


def adopt(drill: Drill, results: DrillResults) -> None:
    """Take over what another process measured: nothing is measured here any more."""
    drill.adopted = True
    drill.content.adopt(results.content)
    drill.results = results.stages
    drill.broken = StageBroken(*results.broken) if results.broken else None
    drill.unrecorded = results.unrecorded
    if drill.unrecorded is not None and OWNER[Stage.DISPOSE] not in drill.selected:
        drill.results = {}  # nobody else would bear it
        drill.broken = drill.broken or StageBroken(Stage.LOCATE, drill.unrecorded)
    drill.disposal = results.disposal
    drill.seconds = results.seconds


def seconds_elsewhere(drill: Drill, case: PlannedCase) -> float:
    """Seconds that another process spent on what a case stands for, told once.

    What stands for no selected case goes to the one that asks first.
    """
    if not drill.adopted:
        return 0.0
    mine = (case.case, case.detail)
    selected = {(each.case, each.detail) for each in drill.cases}
    return sum(drill.seconds.pop(key) for key in list(drill.seconds) if key == mine or key not in selected)
