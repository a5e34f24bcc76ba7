"""``--snapshots latest|all|sample:N``: which older snapshots a run drills beside the newest, and what that proves.

Every drill of an older snapshot has a slot: the name of its copy with a number, ``nas~1``, which no copy of a catalogue
can have. Which snapshot a slot drills is drawn when the store has been listed, by a seed that evidence records.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy

#: Between the name of a copy and the number of a slot.
MARK = "~"
#: The file below a run's directory in which is written what was drawn, for all of its processes.
FILE = "sample.json"
#: Why a snapshot was drawn.
NEVER, LONGEST_AGO, RETEST, EVERY = "never drilled", "drilled longest ago", "failed before", "every one"
_FORM = re.compile(r"sample:(\d{1,4})")
#: Shares of the population for which the chance to find damage is told.
_SHARES = (0.01, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is drilled beside the newest snapshot of every copy.

    Attributes:
        size: How many older snapshots of each copy; ``None`` for all of them.
        seed: What decides among those that have the same claim.
    """

    size: int | None
    seed: int

    def __str__(self) -> str:
        return "all" if self.size is None else f"sample:{self.size}"


def parse(text: str, seed: int) -> Sampling | None:
    """Read ``latest`` (or nothing), ``all`` or ``sample:3``.

    Raises:
        ValueError: It is none of them.
    """
    if text in ("", "latest"):
        return None
    if text == "all":
        return Sampling(None, seed)
    match = _FORM.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is none of latest, all and sample:N (sample:3: three older ones of each copy)")
    return Sampling(int(match[1]), seed)


def slot_of(copy: str, number: int) -> str:
    """The name of a slot, numbered from 1."""
    return f"{copy}{MARK}{number}"


def split(name: str) -> tuple[str, int]:
    """The copy, and the number of the slot: 0 for the drill of the newest snapshot."""
    copy, mark, number = name.rpartition(MARK)
    return (copy, int(number)) if mark and number.isdecimal() else (name, 0)


def identity_of(copy: PlannedCopy, key: str, snapshot: str) -> str:
    """By what a snapshot is known from run to run: its key, or its id where names are numbered anew every time."""
    return snapshot if copy.pattern.is_rotated else key


def rank(seed: int, target: str, copy: str, identity: str) -> str:
    """Where a snapshot stands among those with the same claim: the lowest is drawn first.

    Anybody can draw again: it is the SHA-256, in hexadecimal, of ``SEED TARGET/COPY IDENTITY``.
    """
    return hashlib.sha256(f"{seed} {target}/{copy} {identity}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A snapshot that was drawn.

    Attributes:
        identity: By what it is asked for: its key, or its id where names are numbered anew with every backup.
        why: One of the reasons above.
        spare: What is drilled instead when it was pruned since it was listed.
    """

    identity: str
    why: str
    spare: tuple[str, ...] = ()


def choose(
    sampling: Sampling, place: tuple[str, str], older: Sequence[str], known: Mapping[str, Mapping[str, Any]]
) -> list[Drawn]:
    """Draw from the older snapshots of a copy.

    Up to half of the slots, and a single one, go to snapshots whose last drill failed, that which waits longest first.
    The others go to those that were never drilled, every one of them with the same chance; then to those that were
    drilled longest ago. So each that stays is drilled within as many runs as the population has samples.

    Args:
        sampling: How many, and the seed.
        place: Target and copy.
        older: Identities, newest first.
        known: By identity, the last drill: ``at`` (seconds since the epoch) and ``passed``.
    """
    if sampling.size is None:
        return [Drawn(each, EVERY) for each in older]
    ranks = {each: rank(sampling.seed, *place, each) for each in older}
    at = {each: float(known[each]["at"]) if each in known else -math.inf for each in older}
    ordered = sorted(ranks, key=lambda each: (at[each], ranks[each]))
    failed = [each for each in ordered if each in known and not known[each]["passed"]]
    again = failed[: (sampling.size + 1) // 2]
    others = [each for each in ordered if each not in set(failed)] + failed[len(again) :]
    free = sampling.size - len(again)
    spares = others[free:]
    found = [Drawn(each, RETEST) for each in again]
    for number, each in enumerate(others[:free]):
        why = NEVER if each not in known else LONGEST_AGO if known[each]["passed"] else RETEST
        found.append(Drawn(each, why, tuple(spares[number::free][:2])))
    return found


def detection(population: int, drilled: int, damaged: int) -> float:
    """The probability that at least one of the damaged snapshots is among the drilled ones.

    The hypergeometric distribution's 1 - C(N - D, n) / C(N, n), for n drilled of N of which D are damaged (NIST
    Digital Library of Mathematical Functions 26.2 for the coefficients; Feller, *An Introduction to Probability Theory
    and Its Applications*, volume 1, II.6). It is exact where drills and damage do not depend on each other.

    Raises:
        ValueError: There are more drilled or damaged ones than there are.
    """
    if not 0 <= drilled <= population or not 0 <= damaged <= population:
        raise ValueError(f"{drilled} drilled and {damaged} damaged of {population}")
    few, many = sorted((drilled, damaged))
    missed = 1.0
    for number in range(few):
        missed *= (population - many - number) / (population - number)
        if missed <= 0.0:
            return 1.0
    return 1.0 - missed


def odds(population: int, this_run: int, so_far: int) -> list[dict[str, Any]]:
    """The chances to find damage, if one snapshot is damaged, and 1, 5 or 10 % of them; rounded down.

    Args:
        population: Older snapshots.
        this_run: How many of them this run drilled.
        so_far: How many were drilled by this run or an earlier one.
    """
    amounts = sorted({1, *(math.ceil(population * share) for share in _SHARES)}) if population else []
    return [
        {
            "damaged": damaged,
            "this_run": _down(detection(population, this_run, damaged)),
            "so_far": _down(detection(population, so_far, damaged)),
        }
        for damaged in amounts
    ]


def _down(probability: float) -> float:
    """To six places, and never up: what is not certain must not be told as if it were."""
    return probability if probability in (0.0, 1.0) else min(math.floor(probability * 1e6 + 1e-3) / 1e6, 0.999999)


def is_of_newest(drill: Mapping[str, Any]) -> bool:
    """Whether a drill in evidence is of its copy's newest snapshot, and not of one that was named or drawn."""
    return bool((drill.get("why") or {}).get("rule", "newest") == "newest")


def sampled_of(drill: Mapping[str, Any]) -> tuple[str, str] | None:
    """The copy and the snapshot's id of a drill in evidence that was drawn, else ``None``."""
    why = drill.get("why") or {}
    if why.get("rule") != "sampled":
        return None
    return str(why.get("of", "")), str((drill.get("snapshot") or {}).get("id", ""))


def place_of(drill: Mapping[str, Any]) -> str:
    """What a drill in evidence says something of: a copy, or one older snapshot of a copy, whatever its slot was."""
    older = sampled_of(drill)
    return " ".join(older) if older else str(drill["copy"])


def settled(blocks: Iterable[Mapping[str, Any]], open_ones: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those older snapshots (target, and :func:`place_of`) that a run found good, or not listed any more.

    Args:
        blocks: Its evidence's ``samples``.
        open_ones: Targets and places of which something is amiss; copies are among them.
    """
    known = {(each["target"], each["copy"]): set(each["failed"]) for each in blocks if not each.get("problem")}
    found = []
    for target, place in open_ones:
        copy, space, snapshot = place.partition(" ")
        if space and snapshot not in known.get((target, copy), {snapshot}):
            found.append((target, place))
    return found


def told(block: Mapping[str, Any]) -> str:
    """What a run's evidence says of the older snapshots of a copy, in a sentence."""
    where, population = f"{block['target']}/{block['copy']}", block["population"]
    if block.get("problem"):
        return f"{where}: could not be listed: {block['problem']}"
    if not population:
        return f"{where}: there is none beside the newest"
    parts = [f"{where}: {block['drilled']} of {population} drilled" + _since(block), _drawn(block)]
    if chance(block):
        which = "another" if block["failed"] else "a single"
        parts.append(f"{which} damaged one would have been found with {chance(block)}")
    if block.get("accepted"):
        parts.append(f"given up: {', '.join(_listed(block['accepted']))}")
    if block["failed"]:
        parts.append(f"FAILED: {', '.join(_listed(block['failed']))}")
    return "; ".join(parts)


def _since(block: Mapping[str, Any]) -> str:
    return f" since {block['since'][:10]}" if block.get("since") else ""


def _drawn(block: Mapping[str, Any]) -> str:
    by = "all of them" if block["seed"] is None else f"drawn by the seed {block['seed']}"
    return f"by this run {block['drawn']}, {by}"


def chance(block: Mapping[str, Any]) -> str:
    """The chance that a single damaged snapshot would have been found by what was drilled so far, ``""`` of none."""
    return next((_percent(each["so_far"]) for each in block["detection"]), "")


def _percent(probability: float) -> str:
    """Rounded down, as the figure was."""
    return f"{math.floor(probability * 1000 + 1e-6) / 10:g} %"


def _listed(ids: Iterable[str], most: int = 5) -> list[str]:
    ids = list(ids)
    return ids[:most] + ([f"and {len(ids) - most} more"] if len(ids) > most else [])
