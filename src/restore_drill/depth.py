"""How deep a drill goes, and what of its target's expectations it cannot honour then.

``full`` restores everything. ``schema`` restores no row, ``sample`` the rows of some tables only: for what is too big
for every night. Such a drill never counts as whole, so that it is no baseline, no proof for 3-2-1 and no drill that was
due; cases that it cannot honour are not run, and listed wherever its results are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from restore_drill.catalogue.models import TargetModel

FULL: Final = "full"
SCHEMA: Final = "schema"
SAMPLE: Final = "sample"
DEPTHS: Final = (FULL, SCHEMA, SAMPLE)
#: Cases that need rows which such a drill does not restore; a sample's row counts are told apart by table.
_NEED_ROWS: Final = {
    SCHEMA: frozenset({"integrity", "rows", "query", "newest", "smoke", "check", "runbook"}),
    SAMPLE: frozenset({"query", "newest", "smoke", "check", "runbook"}),
}


def honours(model: TargetModel, case: str, detail: str, other_tables: str) -> bool:
    """Whether a case of a target means something at the target's depth.

    Args:
        model: The target.
        case: The case's short name.
        detail: The table or query it is about.
        other_tables: The detail that stands for every table without a rule.
    """
    if model.depth == FULL:
        return True
    if case in ("3-2-1", "expiry"):  # only whole drills prove a copy
        return False
    if case == "structure":  # only whole drills become baselines
        return model.expect.reference is not None
    if model.depth == SAMPLE and case == "rows":
        return detail in (other_tables, *model.sample)
    return case not in _NEED_ROWS[model.depth]


def shown(model: TargetModel) -> str:
    """The depth as it is printed: in capitals, and ``""`` when everything is restored."""
    if model.depth == SAMPLE:
        return f"SAMPLE ({len(model.sample)} table{'s' if len(model.sample) != 1 else ''})"
    return "" if model.depth == FULL else str(model.depth).upper()


def limits(model: TargetModel, not_run: Iterable[tuple[str, str]]) -> list[str]:
    """What stands under a drill's limits: what was not restored, and the cases (short name, detail) that were not run.

    Empty when everything is restored.
    """
    if model.depth == FULL:
        return []
    what = "no row is restored" if model.depth == SCHEMA else f"rows are restored of {', '.join(model.sample)} only"
    found = [f"DEPTH {shown(model)}: {what}; the drill counts as partial"]
    cases = ", ".join(f"{case}({detail})" if detail else case for case, detail in not_run)
    return found + ([f"NOT RUN at this depth: {cases}"] if cases else [])
