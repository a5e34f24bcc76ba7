"""Which pieces of a dump a client is given, in which order, and the script that gives it them.

A piece is three numbers: from where, how many bytes, and how many line breaks stand for what is left out behind it, so
that the client's lines are the dump's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from restore_drill.engines.mysql.sections import BETWEEN

Part = tuple[int, int, int, int]

#: Bytes of rows and definitions for which another client is worth its start.
WORTH: Final = 4 << 20
#: Feeds the client pieces of the text in order, with as many line breaks as were left out: lines keep their numbers.
#: A question whose answer nobody can know ends it: a text that was not read to its end would look like a short one.
SCRIPT: Final = """
file=$1 pieces=$2 last=$3
shift 3
feed() {
  while test "$#" -gt 0; do
    dd if="$file" bs=1M iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none || return
    head -c "$3" /dev/zero | tr '\\000' '\\n'
    shift 3
  done
}
{
  if test "$pieces"; then feed $pieces; else cat <"$file"; fi && printf "\\nSELECT '%s';\\n" "$last"
} | "$@"
"""


def uncut(dump: Mapping[str, Any]) -> list[int]:
    """All of it but what is never loaded; nothing when that is all of it."""
    pieces: list[int] = []
    place = 0
    for start, end, lines, _ in dump["cuts"]:
        if start > place or lines:
            pieces += [place, start - place, lines]
        place = end
    if pieces or place:
        pieces += [place, dump["bytes"] - place, 0]
    return pieces


def lanes(parts: Sequence[Part], clients: int) -> list[list[int]]:
    """The pieces of each of several clients; none where one is enough.

    Args:
        parts: The text in parts: from where to where, lines, and the number of a section or what else it is.
        clients: How many there may be.
    """
    sizes: Counter[int] = Counter()
    for start, end, _, section in parts:
        if section >= 0:
            sizes[section] += end - start
    count = min(clients, sizes.total() // WORTH)
    found = _spread(list(sizes.values()), count) if count > 1 else []
    return [_chosen(parts, range(*lane)) for lane in found] if len(found) > 1 else []


def between(parts: Sequence[Part]) -> list[int]:
    """The pieces that no lane is given but for the beginning."""
    return _chosen(parts, range(BETWEEN, BETWEEN + 1))


def _chosen(parts: Sequence[Part], sections: range) -> list[int]:
    pieces: list[list[int]] = []
    for start, end, lines, section in parts:
        # The first part is the beginning, which everybody is given.
        if section not in sections and pieces:
            pieces[-1][2] += lines
        elif pieces and sum(pieces[-1][:2]) == start:
            pieces[-1][1] += end - start
        else:
            pieces.append([start, end - start, 0])
    return [number for piece in pieces for number in piece]


def _spread(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Neighbours in so many lanes at most, each from one number up to another, the largest as small as it can be."""
    low, high = max(sizes), sum(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if len(_filled(sizes, middle)) > count else (low, middle)
    return _filled(sizes, high)


def _filled(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Lanes of at most so many bytes."""
    found: list[tuple[int, int]] = []
    begin = held = 0
    for number, size in enumerate(sizes):
        if held + size > most:
            found.append((begin, number))
            begin, held = number, 0
        held += size
    return [*found, (begin, len(sizes))]
