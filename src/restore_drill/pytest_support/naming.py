"""Node ids of cases: ``test_row_count[critical/orders-db/offsite/orders]``, and back.

Tier, target, copy, detail; what a pipeline types after ``-k`` and an engineer pastes back into pytest.
"""

from __future__ import annotations

import re
from dataclasses import replace

from restore_drill.cases import BY_FUNCTION, CASES, in_ids
from restore_drill.plan import Plan, PlannedCase
from restore_drill.sampling import MARK, slot_of

#: The short name under which a user's own cases stand in evidence.
OWN = "own"
#: The id of a case of an older snapshot; no name of a catalogue has the mark in it.
_SLOT = re.compile(rf"(?P<before>[^{MARK}]+){MARK}(?P<number>[1-9][0-9]*)(?P<after>(?:/.*)?)", re.DOTALL)
_NODE = re.compile(r"(?P<path>.*?)::(?P<function>[^\[]+)\[(?P<id>.*)\]", re.DOTALL)


def case_id(case: PlannedCase, tier: str) -> str:
    """The part of the node id in brackets."""
    parts = [tier, case.target, case.copy, in_ids(case.detail) if case.detail and case.case != OWN else ""]
    return "/".join(part for part in parts if part)


class CaseDirectory:
    """Finds the planned case that a node id stands for.

    Args:
        plan: What the run may do.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._standard = {
            (CASES[case.case].function, case_id(case, target.tier)): case
            for target in plan.targets
            for case in target.cases()
        }
        self._copies = {
            case_id(PlannedCase(target.name, copy.name, OWN), target.tier): PlannedCase(target.name, copy.name, OWN)
            for target in plan.targets
            for copy in target.copies
        }

    def find(self, nodeid: str) -> PlannedCase | None:
        """The case of a node id, or ``None`` when the test is not a drill."""
        match = _NODE.fullmatch(nodeid)
        if match is None:
            return None
        if match["function"] in BY_FUNCTION:
            slot = _SLOT.fullmatch(match["id"]) if MARK in match["id"] else None
            if slot is None:
                return self._standard.get((match["function"], match["id"]))
            case = self._standard.get((match["function"], slot["before"] + slot["after"]))
            return replace(case, copy=slot_of(case.copy, int(slot["number"]))) if case is not None else None
        return self._own(match["function"], match["id"])

    def tier(self, case: PlannedCase) -> str:
        """The tier of a case's target."""
        return self._plan.by_name[case.target].tier

    def _own(self, function: str, text: str) -> PlannedCase | None:
        """A user's own case; its id may carry further parameters after (or before) ours."""
        found = [known for known in self._copies if known in text]
        if not found:
            return None
        longest = max(found, key=len)
        rest = text.replace(longest, "", 1).strip("-")
        detail = f"{function.rsplit('::', 1)[-1]}[{rest}]" if rest else function.rsplit("::", 1)[-1]
        return replace(self._copies[longest], detail=detail)
