"""What is proved, read from the ledger for people who need their data back: what cannot be read is told, not fatal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from restore_drill.errors import MISSHAPEN, RestoreDrillError
from restore_drill.policy.proofs import Proofs
from restore_drill.recovery.known import Known
from restore_drill.sampling import split

if TYPE_CHECKING:
    from restore_drill.ledger.base import Ledger
    from restore_drill.plan import Plan

_FORM = "restore-drill/evidence/2"
#: Proofs remembered of a copy.
_KEPT = 64


def read(plan: Plan, targets: Collection[str]) -> Known:
    """Read the ledger twice: once without what stages measured, then the drills that count.

    Args:
        plan: Names the state.
        targets: What is asked for.
    """
    from restore_drill.chronicle import Chronicle

    found = Known(stores={(each.name, copy.name): copy.store_name for each in plan.targets for copy in each.copies})
    try:
        chronicle = Chronicle.of_plan(plan)
        if not chronicle.history.initialised:
            found.problems.append("nothing is known of earlier drills: the state was never initialised")
            return found
        ledger = chronicle.ledger
        places: dict[str, list[int]] = {}
        found.proofs = Proofs.of(_documents(ledger, places, found.problems), targets=frozenset(targets), keep=_KEPT)
        found.drills = _drills(ledger, places, found, plan, targets)
    except RestoreDrillError as problem:
        found.problems.append(f"the record of drills cannot be read: {problem}")
    except MISSHAPEN:
        found.problems.append("the ledger cannot be understood: see restore-drill ledger verify")
    return found


def _documents(ledger: Ledger, places: dict[str, list[int]], problems: list[str]) -> Iterator[Mapping[str, Any]]:
    """The evidence of every run; notes where its entry lies, and whether entries follow each other."""
    from restore_drill.cli.status_reading import entries

    before, broken = "", False
    for place, entry in enumerate(entries(ledger), 1):
        if entry.previous != before and not broken:
            broken = True
            problems.append(f"entry {place} of the ledger does not follow the one before it: see ledger verify")
        before = entry.digest
        if entry.kind == "run" and entry.evidence.get("form") == _FORM:
            places.setdefault(entry.run, []).append(place)
            yield entry.evidence


def _drills(
    ledger: Ledger, places: Mapping[str, list[int]], known: Known, plan: Plan, targets: Collection[str]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The drills of the newest proofs, read whole."""
    from restore_drill.ledger.envelope import read_entry

    wanted: dict[int, set[tuple[str, str, str]]] = {}
    for target in plan.targets:
        for copy in target.copies if target.name in targets else ():
            proof = known.newest(target.name, copy.name)
            for place in places.get(proof.run, ()) if proof is not None else ():
                wanted.setdefault(place, set()).add((target.name, copy.name, proof.snapshot if proof else ""))
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for place, line in enumerate(ledger.lines() if wanted else (), 1):
        if place not in wanted:
            continue
        for drill in read_entry(line, place, ledger.where()).evidence.get("drills", ()):
            copy_name, _ = split(str(drill["copy"]))
            if (drill["target"], copy_name, drill.get("snapshot", {}).get("id")) in wanted[place]:
                found[drill["target"], copy_name] = drill
    return found
