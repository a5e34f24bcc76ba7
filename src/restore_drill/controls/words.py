"""How the evidence of a requirement is put into words: what there is, never what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from restore_drill.controls.model import Requirement

if TYPE_CHECKING:
    from restore_drill.controls.mapping import CadenceEvidence

EVIDENCE = "evidence"
FAILURES = "evidence, with failures"
PART = "evidence in part"
NOTHING = "no evidence in the period"
#: Best last: the order in which a reader needs them.
STATES = (NOTHING, FAILURES, PART, EVIDENCE)


def state(*, of_copies: bool, in_scope: int, tested: int, failing: int, records: bool) -> str:
    """What there is: for every copy in scope, for some, with tests that failed, or nothing.

    Args:
        of_copies: Whether the requirement is supported by anything that each drill has.
        in_scope: How many copies there are.
        tested: How many of them have evidence.
        failing: How many failed when they were last tested.
        records: Whether there is any of what the records as a whole are.
    """
    if not (tested if of_copies else records):
        return NOTHING
    if failing:
        return FAILURES
    return PART if of_copies and tested < in_scope else EVIDENCE


def summary(
    requirement: Requirement,
    state: str,
    in_scope: int,
    tested: int,
    drills: int,
    failing: int,
    cadence: CadenceEvidence | None,
    foreign: int,
) -> str:
    """One sentence about the period."""
    demo = f" ({_number(foreign, 'run')} of another estate do not count)" if foreign else ""
    if not requirement.speaks_of_copies:
        found = (
            "No run was recorded, signed off or verified" if state == NOTHING else "The records themselves speak to it"
        )
        return f"{found}{demo}."
    if not tested:
        return f"No whole drill of any of {_copies(in_scope)} came to a verdict on it in the period{demo}."
    found = f"{_number(drills, 'drill')} tested {tested} of {_copies(in_scope)} in scope"
    if not drills:
        found = f"Cases about whole targets speak to {tested} of {_copies(in_scope)} in scope"
    if failing:
        found += f"; the last test of {failing} failed"
    return f"{found}{_cadence(cadence)}{demo}."


def _cadence(cadence: CadenceEvidence | None) -> str:
    if cadence is None:
        return ""
    late = len(cadence.not_met)
    kept = f"{cadence.words}: kept for {len(cadence.met)}, not for {late}"
    new = f", not due yet for {len(cadence.not_due_yet)}" if cadence.not_due_yet else ""
    return f"; {kept}{new}"


def counted(drills: int, copies: int, verdicts: Mapping[str, int]) -> str:
    """One kind of evidence: ``12 drills of 4 copies, 1 failed``."""
    unverified = verdicts.get("error", 0)
    if not drills:
        return f"none, {_number(unverified, 'time')} not verified" if unverified else "none"
    rest = [
        f"{verdicts[verdict]} {word}"
        for verdict, word in (("failed", "failed"), ("excepted", "excepted"), ("error", "not verified"))
        if verdicts.get(verdict)
    ]
    return ", ".join([f"{_number(drills, 'time')}, {_copies(copies)}", *rest])


def _copies(count: int) -> str:
    return f"{count} {'copy' if count == 1 else 'copies'}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
