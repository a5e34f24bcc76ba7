"""What earlier drills measured of many targets, for plans and their cost; nothing here is needed to drill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.history import History
from restore_drill.lifecycle import start_demo
from restore_drill.locate import locate
from restore_drill.plan import Plan, PlannedTarget
from restore_drill.registry import load as load_plug
from restore_drill.run import Run
from restore_drill.state import open_state

#: Documents of the state that are read at the same time.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known.

    Attributes:
        seconds: How long the last drills of each target took, all copies together.
        copies: By target and copy, its last whole drill and its last good one, as the state has them; ``objects`` is
            how many that one fetched.
    """

    seconds: Mapping[str, float]
    copies: Mapping[tuple[str, str], Mapping[str, Any]]

    def size(self, target: PlannedTarget) -> int:
        """Stored bytes of the last snapshots of all its copies, 0 where one is not known."""
        found = [int(self.copies.get((target.name, copy.name), {}).get("stored_bytes", 0)) for copy in target.copies]
        return sum(found) if all(found) else 0


def measured(plan: Plan, targets: Sequence[PlannedTarget], *, times_only: bool = False) -> Measured:
    """Read the state.

    Args:
        plan: Says where it is.
        targets: Of which.
        times_only: Leave out what is known of copies: of ten thousand targets, as many documents.

    Raises:
        CouldNotVerify: It cannot be read; a state that was never set up has measured nothing.
    """
    history = History(open_state(plan.state))
    if not history.initialised:
        return Measured({}, {})
    durations = history.durations()
    seconds = {name: durations[name] for name in (each.name for each in targets) if name in durations}
    if times_only:
        return Measured(seconds, {})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        documents = list(pool.map(history.target, [target.name for target in targets]))
    copies = {}
    for target, known in zip(targets, documents, strict=True):
        for copy in target.copies:
            facts = known.copy(copy.name)
            copies[target.name, copy.name] = {
                **(facts.last_drilled or {}), **(facts.last_passed or {}), "objects": facts.objects
            }  # fmt: skip
    return Measured(seconds, copies)


def listed(plan: Plan, targets: Iterable[PlannedTarget]) -> tuple[dict[tuple[str, str], int], list[str]]:
    """Ask the stores how large the newest snapshots are, by target and copy; and what they refused."""
    run, found, refused = Run("plan", Path(plan.reports), plan), dict[tuple[str, str], int](), []
    estate = start_demo(plan)
    try:
        for target, copy in ((each, copy.name) for each in targets for copy in each.copies):
            try:
                found[target.name, copy] = _size(run, target, copy)
            except RestoreDrillError as problem:
                refused.append(f"{target.name}/{copy}: {problem.cause}")
    finally:
        run.close()
        if estate is not None:
            estate.close()
    return found, refused


def _size(run: Run, target: PlannedTarget, name: str) -> int:
    copy = target.copies_by_name[name]
    kind = load_plug("repositories", copy.layout)
    snapshot = locate(kind(run.store(copy), copy, target.model), target, run, None).snapshot
    sizes: list[int] = [each.size for each in (*snapshot.parents, snapshot)]
    if min(sizes) < 0:
        raise CouldNotVerify("its listing does not say how large it is")
    return sum(sizes)
