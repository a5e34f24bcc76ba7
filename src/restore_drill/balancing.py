"""Targets spread over machines so that all of them end together, and so that little moves from night to night.

The lower bound of the longest shard's time is the heaviest target, or the mean over all shards. Heaviest first on the
least loaded shard (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969) comes close to it, but moves almost
everything when one target is added. Rendezvous hashing (Thaler and Ravishankar, 1998) moves nothing, but knows no
weights. Here every target takes the first shard in the order of its own draw that has room for it (bounded loads:
Mirrokni, Thorup and Zadimoghaddam, 2018): first the few that are large, heaviest first, then the many that are small,
which so hardly ever move, and at last what lies between, which evens out.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence

#: How targets are spread; of another name when the same weights lead to another assignment.
METHOD = "levelled/1"
#: How far above the level a shard may be filled, in percent.
_SLACK = 4
#: How far above the lower bound the longest shard may be before another way is tried, in percent.
_TOLERATED = 5
#: A target is large from this part of the level on, and small up to that one.
_LARGE, _SMALL = 4, 50
_DRAWS = struct.Struct(">16I")


def assign(weights: Mapping[str, int], total: int) -> dict[str, int]:
    """The shard of every target, from 1; the longest one ends as told in :func:`lower_bound`, or as Graham's would.

    The same weights lead to the same shards on every machine: nothing but whole numbers decides, and no order.

    Args:
        weights: What each target takes (milliseconds), at least 1.
        total: How many shards.
    """
    if not weights:
        return {}
    found = _level_out(weights, total)
    bound = lower_bound(weights, total)
    if (longest := max(loads(weights, found, total))) * 100 <= bound * (100 + _TOLERATED):
        return found
    plain = _longest_first(weights, total)
    return plain if max(loads(weights, plain, total)) < longest else found


def lower_bound(weights: Mapping[str, int], total: int) -> float:
    """What the longest shard takes at least: the heaviest target, or the mean over all shards."""
    return max(sum(weights.values()) / total, max(weights.values(), default=0))


def loads(weights: Mapping[str, int], assigned: Mapping[str, int], total: int) -> list[int]:
    """What each shard takes, the first one first."""
    found = [0] * total
    for name, shard in assigned.items():
        found[shard - 1] += weights[name]
    return found


def _level_out(weights: Mapping[str, int], total: int) -> dict[str, int]:
    found, filled = dict[str, int](), [0] * total
    rest, shards = _level(weights, total)  # the level is their quotient
    room = rest * (100 + _SLACK) // (100 * shards)
    for name in _in_turn(weights, rest, shards):
        order = _draw(name, total)
        mine = order.index(max(order))
        if filled[mine] + weights[name] > room:
            mine = _next_with_room(order, filled, room - weights[name])
        found[name] = mine + 1
        filled[mine] += weights[name]
    return found


def _next_with_room(draw: Sequence[int], filled: Sequence[int], most: int) -> int:
    """The first shard in the order of a draw that is filled that far at most; the least filled where none is."""
    order = sorted(range(len(draw)), key=lambda shard: -draw[shard])
    return next((shard for shard in order if filled[shard] <= most), min(order, key=filled.__getitem__))


def _level(weights: Mapping[str, int], total: int) -> tuple[int, int]:
    """What is levelled out, and over how many shards: a target above the level has one for itself and is left out."""
    rest, shards = sum(weights.values()), total
    for weight in sorted(weights.values(), reverse=True):
        if shards == 1 or weight * shards <= rest:
            break
        rest, shards = rest - weight, shards - 1
    return rest, shards


def _in_turn(weights: Mapping[str, int], rest: int, shards: int) -> list[str]:
    """The large ones, the small ones, those between; heaviest first in each, by name where they weigh the same."""

    def turn(name: str) -> tuple[int, int, str]:
        share = weights[name] * shards
        step = 0 if share * _LARGE > rest else 1 if share * _SMALL <= rest else 2
        return step, -weights[name], name

    return sorted(weights, key=turn)


def _draw(name: str, total: int) -> list[int]:
    """A number for every shard that nobody but the name decides: the highest is its first choice."""
    drawn: list[int] = []
    while len(drawn) < total:
        drawn += _DRAWS.unpack(hashlib.sha512(f"{len(drawn)}\0{name}".encode()).digest())
    return drawn[:total]


def _longest_first(weights: Mapping[str, int], total: int) -> dict[str, int]:
    found, filled = dict[str, int](), [0] * total
    for name in _heaviest_first(weights, weights):
        mine = min(range(total), key=filled.__getitem__)
        found[name] = mine + 1
        filled[mine] += weights[name]
    return found


def _heaviest_first(names: Iterable[str], weights: Mapping[str, int]) -> list[str]:
    return sorted(names, key=lambda name: (-weights[name], name))
