"""Sets of the catalogue, put where they are drilled: with the first target that each names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from restore_drill.catalogue.sets import SetModel
from restore_drill.plan import PlannedSet, PlannedTarget


def with_sets(targets: Sequence[PlannedTarget], sets: Mapping[str, SetModel]) -> tuple[PlannedTarget, ...]:
    """The targets, each with the sets whose first one it is."""
    if not sets:
        return tuple(targets)
    by_name = {target.name: target for target in targets}
    found: dict[str, list[PlannedSet]] = {}
    for name, model in sets.items():
        members = tuple((each, model.copies.get(each, by_name[each].copies[0].name)) for each in model.targets)
        moving = [by_name[each].rpo for each in model.targets if not by_name[each].model.frozen]
        rpo = model.rpo or max(moving, default=timedelta(0))
        found.setdefault(model.targets[0], []).append(PlannedSet(name, model, members, rpo))
    return tuple(replace(target, sets=tuple(found.get(target.name, ()))) for target in targets)
