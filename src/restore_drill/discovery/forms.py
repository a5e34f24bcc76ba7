"""Which of several readings of a name is right: the one by which every name of the series is a time that can be."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from datetime import UTC

from restore_drill.discovery.model import Heap
from restore_drill.discovery.names import Variable, any_kind, text_of
from restore_drill.patterns import PathPattern, PatternError

#: How many names are tried.
_TRIED = 48
_DAY, _HOUR = 86400.0, 3600.0
#: How far behind an object's own time a doubtful reading may lie (seconds); and how far before it, for time zones.
_NEAR, _AHEAD = 10 * _DAY, 1.1 * _DAY
#: What two names that claim the same time weigh against a reading (seconds).
_CLASH = 1000 * _DAY
#: What it weighs against a reading that a time of day in hours and minutes is taken for a mere number (seconds): of a
#: nightly job east of Greenwich the date alone may be nearer to when it wrote than its own clock.
_NO_CLOCK = 3 * _HOUR
#: So many different names are no chance.
_FEW = 3
#: A reading without any other is believed whatever the store says of when the object was written.
_OLDEST = 631152000.0  # 1990


def choose_forms(heap: Heap) -> tuple[str, ...] | None:
    """How the times in a series' names are read; ``None`` when what looks like one is a number."""
    times = [piece for piece in heap.pieces if isinstance(piece, Variable) and piece.what == "time"]
    if not times:
        return ()
    sample = heap.newest[:: max(1, len(heap.newest) // _TRIED)]
    kinds = any_kind(heap.kinds)
    best: tuple[float, tuple[str, ...]] | None = None
    for rank, forms in enumerate(itertools.islice(itertools.product(*(time.forms for time in times)), 64)):
        if "" in forms:
            continue
        lags = _lags(text_of(heap.pieces, forms, kinds), sample)
        if lags is None:
            continue
        written = [modified for modified, *_ in sample]
        doubtful = any(time.is_ambiguous for time in times)
        if doubtful and not _credible(lags, forms, written):
            continue
        score = _distance(lags) + rank  # of two that fit alike, the likelier form
        score += _CLASH * _clashes(written, lags)
        score += _NO_CLOCK * sum(_drops_clock(time, form) for time, form in zip(times, forms, strict=True))
        if doubtful and not _at_once(written) and _is_counted(times, lags):
            score += _DAY * sum("%H" in form for form in forms)
        if best is None or score < best[0]:
            best = score, forms
    return best[1] if best else None


def _lags(text: str | None, sample: Sequence[tuple[float, str, object, str]]) -> list[float] | None:
    """Seconds from the time in each name to when it was written; ``None`` when a name has no time by this reading."""
    try:
        pattern = PathPattern(text or "", UTC)
    except PatternError:
        return None
    found = []
    for modified, key, _, _ in sample:
        match = pattern.match(key)
        if match is None or match.taken_at.timestamp() < _OLDEST:
            return None
        found.append(modified - match.taken_at.timestamp())
    return found


def _credible(lags: list[float], forms: tuple[str, ...], written: list[float]) -> bool:
    """Whether none is from the future, and they are near; or what else they could be is no time either.

    Where all objects were written at once (a bucket that was copied) that tells nothing; but numbers that are no times
    are not all dates of the past.
    """
    if min(lags) < -_AHEAD:
        return False
    if statistics.median(lags) < _NEAR or any("%s" in form for form in forms) or _spread(lags) < _NEAR:
        return True
    return _at_once(written) and len(_stamps(written, lags)) >= _FEW


def _at_once(written: list[float]) -> bool:
    return max(written) - min(written) < _DAY


def _stamps(written: list[float], lags: list[float]) -> set[int]:
    return {round(modified - lag) for modified, lag in zip(written, lags, strict=True)}


def _clashes(written: list[float], lags: list[float]) -> float:
    """The share of names that claim a time that another one claims, too."""
    return 1 - len(_stamps(written, lags)) / len(lags)


def _drops_clock(time: Variable, form: str) -> bool:
    """Whether a reading passes over hours and minutes that the likeliest one has."""
    return "{any}" in form and "%M" in time.forms[0] and "%M" not in form


def _is_counted(times: list[Variable], lags: list[float]) -> bool:
    """Whether what may be an hour has nothing to do with when objects were written: it counts the backups of a day."""
    return _scatter(lags) > _HOUR and any(time.is_ambiguous and "{any}" in time.forms[1] for time in times)


def _spread(lags: list[float]) -> float:
    return max(lags) - min(lags) if len(lags) > 2 else float("inf")


def _distance(lags: list[float]) -> float:
    return abs(statistics.median(lags)) + _scatter(lags)


def _scatter(lags: list[float]) -> float:
    middle = statistics.median(lags)
    return statistics.median([abs(lag - middle) for lag in lags])
