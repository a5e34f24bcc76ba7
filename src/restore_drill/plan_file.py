"""``plan.json``: which shard of several drills which target, decided once for all of them.

A run that is given the file drills the file's targets and no others. What stands in it is checked before it is
believed: it comes from another job of a pipeline.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from restore_drill import balancing
from restore_drill.errors import UsageProblem

FORM = "restore-drill/plan/1"
#: Shards at most, as many as an option can name.
MOST_SHARDS = 999_999
_REMEDY = "Make it again: restore-drill plan --out FILE."
#: What a target is taken to need while nothing of the catalogue was measured: only the proportions matter then.
_ASSUMED_SECONDS, _ASSUMED_BYTES_PER_SECOND = 0.1, 50e6
_MOST_SECONDS = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Expected:
    """How long a target is expected to take.

    Attributes:
        seconds: That.
        basis: How that is known: ``measured`` (its last drill), ``size`` (its newest snapshots, at the rate of what was
            measured), ``mean`` (of what was measured), ``even`` (nothing is known: all are alike).
        shard: Which shard has it, from 1; 0 where the file is of no certain number of shards.
    """

    seconds: float
    basis: str
    shard: int = 0


@dataclass(frozen=True)
class PlanFile:
    """What stands in the file.

    Attributes:
        catalogue: SHA-256 of the catalogue it was made from.
        targets: What is drilled, by target.
        shards: Of how many it is the plan; 0: of as many as the runs say.
        path: The catalogue's path, for people.
        made: When it was made, for people.
        digest: SHA-256 of the file.
    """

    catalogue: str
    targets: Mapping[str, Expected]
    shards: int = 0
    path: str = ""
    made: str = ""
    digest: str = field(default="", compare=False)

    def assignment(self, total: int) -> dict[str, int]:
        """The shard of every target.

        Raises:
            UsageProblem: It was made for another number of shards.
        """
        if self.shards and total != self.shards:
            raise UsageProblem(
                f"the plan was made for {self.shards} shards, and this is one of {total}",
                remedy=f"Write I/{self.shards}, or make a plan for {total}: restore-drill plan --out FILE --shards N.",
            )
        if self.shards:
            return {name: each.shard for name, each in self.targets.items()}
        return balancing.assign(weights(self.targets), total)

    def text(self) -> str:
        """The file: one line a target, so that two of them can be compared."""
        head = {
            "form": FORM, "method": balancing.METHOD, "made": self.made,
            "catalogue": {"path": self.path, "sha256": self.catalogue}, "shards": self.shards,
        }  # fmt: skip
        lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        targets = (f"  {json.dumps(name)}: {json.dumps(_entry(each))}" for name, each in self.targets.items())
        return "{\n" + ",\n".join([*lines, ' "targets": {\n' + ",\n".join(targets) + "\n }"]) + "\n}\n"


def expectations(
    names: Iterable[str], seconds: Mapping[str, float], sizes: Mapping[str, int], shards: int = 0
) -> dict[str, Expected]:
    """How long each target takes, and, of a certain number of shards, which of them has it.

    Args:
        names: The targets.
        seconds: How long their last drills took, of those that were drilled.
        sizes: Bytes of the newest snapshots of all their copies, as far as they are known.
        shards: How many; 0: not known yet.
    """
    rate, least = _rate(seconds, sizes), min(seconds.values(), default=_ASSUMED_SECONDS)
    found = {name: _expected(name, seconds, sizes, rate, least) for name in names}
    if not shards:
        return found
    assigned = balancing.assign(weights(found), shards)
    return {name: Expected(each.seconds, each.basis, assigned[name]) for name, each in found.items()}


def weights(targets: Mapping[str, Expected]) -> dict[str, int]:
    """What each target takes in whole milliseconds, at least one: what the balance is reckoned with."""
    return {name: max(1, round(each.seconds * 1000)) for name, each in targets.items()}


def _rate(seconds: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    """Seconds a byte, over everything of which both are known."""
    both = [name for name in seconds if sizes.get(name)]
    total = sum(sizes[name] for name in both)
    return sum(seconds[name] for name in both) / total if total else 1 / _ASSUMED_BYTES_PER_SECOND


def _expected(name: str, seconds: Mapping[str, float], sizes: Mapping[str, int], rate: float, least: float) -> Expected:
    if name in seconds:
        return Expected(seconds[name], "measured")
    if sizes.get(name):
        return Expected(round(max(sizes[name] * rate, least), 3), "size")
    if seconds:
        return Expected(round(statistics.fmean(seconds.values()), 3), "mean")
    return Expected(_ASSUMED_SECONDS, "even")


def _entry(each: Expected) -> dict[str, Any]:
    return {"seconds": each.seconds, "basis": each.basis} | ({"shard": each.shard} if each.shard else {})


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> PlanFile:
    """Read a plan.

    Raises:
        UsageProblem: It is not there, or is no plan that this release can follow.
    """
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise UsageProblem(
            f"the plan cannot be read: {problem.strerror}", looked_at=str(path), remedy=_REMEDY
        ) from problem
    try:
        document = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_number)
        found = _plan_of(document)
    except (ValueError, RecursionError) as problem:
        raise UsageProblem(f"this is no plan: {problem}", looked_at=str(path), remedy=_REMEDY) from problem
    return PlanFile(**found, digest=hashlib.sha256(raw).hexdigest())


def _plan_of(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("form") != FORM:
        raise ValueError(f"it does not say that it is a {FORM}")
    if (method := document.get("method")) != balancing.METHOD:
        raise ValueError(f"its targets are spread by {str(method)[:40]!r}, which this release does not know")
    catalogue, shards, targets = document.get("catalogue"), document.get("shards"), document.get("targets")
    digest = catalogue.get("sha256") if isinstance(catalogue, dict) else None
    if type(digest) is not str or not isinstance(catalogue, dict):
        raise ValueError("it does not say of which catalogue it is")
    if type(shards) is not int or not 0 <= shards <= MOST_SHARDS:
        raise ValueError("it does not say of how many shards it is")
    if not isinstance(targets, dict) or not targets:
        raise ValueError("it has no targets")
    return {
        "catalogue": digest, "path": str(catalogue.get("path", "")), "made": str(document.get("made", "")),
        "shards": shards, "targets": {name: _target_of(name, each, shards) for name, each in targets.items()},
    }  # fmt: skip


def _target_of(name: str, each: Any, shards: int) -> Expected:
    entry = each if isinstance(each, dict) else {}
    seconds, shard = entry.get("seconds"), entry.get("shard", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _MOST_SECONDS:
        raise ValueError(f"the target {name[:80]!r} has no seconds")
    if type(shard) is not int or not bool(shards) <= shard <= shards:
        raise ValueError(f"the target {name[:80]!r} is in no shard from 1 to {shards}")
    return Expected(float(seconds), str(entry.get("basis", "")), shard)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
