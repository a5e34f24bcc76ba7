"""Draw the older snapshots that a run drills: once, when its targets are known, and written down for its processes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from restore_drill import sampled
from restore_drill.errors import CouldNotVerify, RestoreDrillError, unexpected
from restore_drill.model import Snapshot, Stage
from restore_drill.plan import PlannedCopy, PlannedTarget
from restore_drill.registry import load, store_class
from restore_drill.repositories.base import Repository
from restore_drill.repositories.selection import choose as choose_newest
from restore_drill.run import Run, read_drawn
from restore_drill.sampling import FILE, Sampling, choose, identity_of, split
from restore_drill.whole_files import locked, write_whole

#: Stores that are listed at the same time.
_AT_ONCE = 8

Place = tuple[str, str]


def draw(run: Run, places: Collection[Place]) -> dict[Place, int]:
    """How many slots each copy has; what was not drawn yet by any process of the run is drawn now.

    Args:
        run: Its options say how many are wanted.
        places: Targets and copies.
    """
    sampling = run.options.sampling
    assert sampling is not None  # noqa: S101 - nobody asks for slots otherwise
    with locked(run.directory / "facts"):
        known = read_drawn(run.directory)
        missing = [place for place in places if "/".join(place) not in known]
        if missing:
            known |= _draw_all(run, sampling, missing)
            write_whole(run.directory / FILE, json.dumps(known, sort_keys=True).encode())
    return {place: slots(known["/".join(place)]) for place in places}


def slots(entry: dict[str, Any]) -> int:
    """The slots of a copy: one that says why, where it could not be listed."""
    return 1 if entry.get("problem") else len(entry["drawn"])


def drawn(run: Run, target: str, slot: str) -> tuple[str, ...]:
    """Identities of the snapshot that a slot drills, and of what is drilled in its place when it was pruned meanwhile.

    Raises:
        CouldNotVerify: None could be drawn.
    """
    entry, number = run.drawn(target, slot), split(slot)[1]
    if entry.get("problem"):
        raise CouldNotVerify(
            f"its older snapshots could not be listed when the run began: {entry['problem']}",
            looked_at=entry.get("looked_at", ""),
            remedy=entry.get("remedy") or "Run it again; what the newest snapshot's own drill says comes first.",
            stage=Stage.LOCATE,
        )
    each = entry["drawn"][number - 1]
    return (each["identity"], *each["spare"])


def _draw_all(run: Run, sampling: Sampling, places: Iterable[Place]) -> dict[str, dict[str, Any]]:
    by_store: dict[str, list[tuple[PlannedTarget, PlannedCopy]]] = {}
    for name, copy in places:
        target = run.plan.by_name[name]
        planned = target.copies_by_name[copy]
        by_store.setdefault(planned.store_name, []).append((target, planned))

    def of_store(each: list[tuple[PlannedTarget, PlannedCopy]]) -> list[tuple[str, dict[str, Any]]]:
        return [(f"{target.name}/{copy.name}", _entry(run, sampling, target, copy)) for target, copy in each]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(found for batch in pool.map(of_store, by_store.values()) for found in batch)


def _entry(run: Run, sampling: Sampling, target: PlannedTarget, copy: PlannedCopy) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": str(sampling), "seed": None if sampling.size is None else sampling.seed}
    try:
        older, accepted = _without_accepted(run, target, _older(run, target, copy))
        known = sampled.known(run.history, target.name).get(copy.name, {})
    except RestoreDrillError as problem:
        return {**found, "population": 0, "drawn": [], "known": {}, "problem": problem.cause} | _about(problem)
    except Exception as problem:
        return {**found, "population": 0, "drawn": [], "known": {}, "problem": unexpected(problem).cause}
    ids = {identity_of(copy, each.main.key, each.id): each.id for each in older}
    chosen = choose(sampling, (target.name, copy.name), list(ids), known)
    drawn = [
        {"identity": each.identity, "id": ids[each.identity], "why": each.why, "spare": list(each.spare)}
        for each in chosen
    ]
    kept = {each: {"at": known[each]["at"], "passed": known[each]["passed"], "id": ids[each],
                   **({"run": known[each]["run"]} if not known[each]["passed"] else {})}
            for each in ids if each in known}  # fmt: skip
    return {**found, "population": len(ids), "drawn": drawn, "known": kept, "accepted": accepted}


def _about(problem: RestoreDrillError) -> dict[str, str]:
    found = {"looked_at": problem.looked_at, "remedy": problem.remedy}
    return {name: text for name, text in found.items() if text}


def _without_accepted(run: Run, target: PlannedTarget, older: list[Snapshot]) -> tuple[list[Snapshot], list[str]]:
    """The snapshots of which a person has not said that they are lost, and the ids of those others."""
    lost = run.history.target(target.name).accepted_snapshots() if run.history.initialised else set()
    return [each for each in older if each.id not in lost], sorted({each.id for each in older} & lost)


def _older(run: Run, target: PlannedTarget, copy: PlannedCopy) -> list[Snapshot]:
    """Every snapshot older than the one that is drilled as the newest, newest first.

    Where that one is bad as it lies, the newest of all is left out: its own drill says what is wrong with it.
    """
    kind: type[Repository] = load("repositories", copy.layout)
    store = store_class(copy.settings.url)(copy.settings)  # those of the run belong to other threads
    try:
        repository = kind(store, copy, target.model)
        survey = repository.survey()
        newest = choose_newest(survey, repository, run.clock()).snapshot
        points = repository.every()
    finally:
        store.close()
    if newest is None:
        return points[1:]
    keys = [point.main.key for point in points]
    return points[keys.index(newest.main.key) + 1 :] if newest.main.key in keys else points[1:]
