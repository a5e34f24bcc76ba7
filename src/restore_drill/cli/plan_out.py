"""``restore-drill plan --out``: spread the targets over shards, and write down which has which."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from restore_drill import balancing
from restore_drill.cli.measured import Measured, listed, measured
from restore_drill.errors import UsageProblem
from restore_drill.plan import Plan, PlannedTarget
from restore_drill.plan_file import MOST_SHARDS, Expected, PlanFile, expectations, weights
from restore_drill.printable import printable
from restore_drill.quantities import format_duration
from restore_drill.whole_files import write_whole

_BASES = {
    "measured": "{} as their last drills took",
    "size": "{} never drilled: by the size of their newest snapshots",
    "mean": "{} never drilled: taken for the mean of the others (--list asks the stores for sizes)",
    "even": "{} never drilled: taken to be all alike (--list asks the stores for sizes)",
}


def write(plan: Plan, targets: Sequence[PlannedTarget], arguments: argparse.Namespace) -> int:
    """Write the plan file, and print what to expect of it."""
    shards = arguments.shards or 0
    if not 0 <= shards <= MOST_SHARDS or arguments.shards == 0:
        raise UsageProblem(f"--shards {arguments.shards}: give a number from 1 to {MOST_SHARDS}")
    if not targets:
        raise UsageProblem("nothing is selected that could be planned", looked_at=plan.catalogue)
    known = measured(plan, targets, times_only=not arguments.list)
    sizes, refused = _sizes(plan, targets, known) if arguments.list else ({}, [])
    found = PlanFile(
        plan.digest, expectations([target.name for target in targets], known.seconds, sizes, shards), shards,
        path=plan.catalogue, made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )  # fmt: skip
    write_whole(arguments.out, found.text().encode())
    for line in (*_told(found), *(f"not listed: {why}" for why in refused)):
        print(printable(line))
    return 0


def _sizes(plan: Plan, targets: Sequence[PlannedTarget], known: Measured) -> tuple[dict[str, int], list[str]]:
    """Of what was drilled, from then; of the others as the stores list them, and what they refused."""
    unknown = [target for target in targets if target.name not in known.seconds]
    there, refused = listed(plan, unknown)
    sizes = {target.name: known.size(target) for target in targets}
    for target in unknown:
        copies = [there.get((target.name, copy.name), 0) for copy in target.copies]
        sizes[target.name] = sum(copies) if all(copies) else 0
    return sizes, refused


def _told(found: PlanFile) -> Iterator[str]:
    yield f"{len(found.targets)} targets, {_time(sum(each.seconds for each in found.targets.values()))} in all"
    bases = Counter(each.basis for each in found.targets.values())
    yield from (f"  {text.format(bases[basis])}" for basis, text in _BASES.items() if bases[basis])
    if found.shards:
        yield from _told_of_shards(found.targets, found.shards)


def _told_of_shards(targets: Mapping[str, Expected], shards: int) -> Iterator[str]:
    counts = Counter(each.shard for each in targets.values())
    weighed, assigned = weights(targets), {name: each.shard for name, each in targets.items()}
    filled = balancing.loads(weighed, assigned, shards)
    for shard, load in enumerate(filled, 1):
        yield f"  shard {shard}: {counts[shard]} targets, {_time(load / 1000)}"
    least = balancing.lower_bound(weighed, shards)
    yield f"the longest takes {_time(max(filled) / 1000)}; no way to spread them takes less than {_time(least / 1000)}"


def _time(seconds: float) -> str:
    return format_duration(round(seconds, 2))
