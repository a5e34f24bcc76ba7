"""In which order targets are brought back: what others depend on first, then by tier. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """One target to bring back.

    Attributes:
        waits_for: The targets that must be there before it.
        urgency: The rank of its tier, 0 for the most urgent.
        rto: Seconds; of two that are equally urgent the one with less time comes first.
    """

    name: str
    waits_for: tuple[str, ...]
    urgency: int
    rto: float


@dataclass(frozen=True, slots=True)
class Turn:
    """When it is one target's turn.

    Attributes:
        wave: 1 for what waits for nothing, one more than the last of what it waits for otherwise: the targets of a wave
            can be restored at once.
        lifted_by: The more urgent target that waits for it and takes it forward, ``""`` when none does.
    """

    name: str
    wave: int
    lifted_by: str = ""


def turns(targets: Sequence[Wanted]) -> list[Turn]:
    """Everything in the order in which one person would bring it back.

    What an urgent target waits for is as urgent as it is. Between targets that need not wait for each other the more
    urgent comes first, then the one with the shorter RTO, then the name decides. A name that is not among the targets
    is not waited for (the demo may leave one out).

    Raises:
        ValueError: Targets wait for each other in a circle; a catalogue that was validated has none.
    """
    known = {target.name: target for target in targets}
    waits = {target.name: [name for name in target.waits_for if name in known] for target in targets}
    ranks, lifted = _lift(known, waits)
    followers: dict[str, list[str]] = {name: [] for name in known}
    for name, others in waits.items():
        for other in others:
            followers[other].append(name)
    open_ends = {name: len(others) for name, others in waits.items()}
    ready = [(*ranks[name], name) for name, count in open_ends.items() if not count]
    heapq.heapify(ready)
    waves: dict[str, int] = {}
    found: list[Turn] = []
    while ready:
        name = heapq.heappop(ready)[-1]
        waves[name] = 1 + max((waves[other] for other in waits[name]), default=0)
        found.append(Turn(name, waves[name], lifted.get(name, "")))
        for follower in followers[name]:
            open_ends[follower] -= 1
            if not open_ends[follower]:
                heapq.heappush(ready, (*ranks[follower], follower))
    if len(found) < len(known):
        left = ", ".join(sorted(known.keys() - waves.keys()))
        raise ValueError(f"targets wait for each other: {left}")
    return found


def _lift(
    known: Mapping[str, Wanted], waits: Mapping[str, Sequence[str]]
) -> tuple[dict[str, tuple[int, float]], dict[str, str]]:
    """How urgent each is, what waits for it taken into account; and for whose sake, where that is more than its own."""
    ranks = {name: (target.urgency, target.rto) for name, target in known.items()}
    lifted: dict[str, str] = {}
    queue = deque(sorted(known, key=lambda name: (ranks[name], name)))
    while queue:
        name = queue.popleft()
        for other in waits[name]:
            if ranks[name] < ranks[other]:
                ranks[other] = ranks[name]
                if known[name].urgency < known[other].urgency or name in lifted:
                    lifted[other] = lifted.get(name, name)
                queue.append(other)
    return ranks, lifted
