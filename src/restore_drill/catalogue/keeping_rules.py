"""What must hold of ``holds`` and ``expiry``: names that exist, and no expiry that removes what is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.places import DEFAULT_TIERS
from restore_drill.catalogue.problems import suggest
from restore_drill.catalogue.references import copies, mapping
from restore_drill.quantities import format_duration, parse_duration

_LENGTHS = {
    "hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(days=7),
    "monthly": timedelta(days=28), "yearly": timedelta(days=365),
}  # fmt: skip


def check_keeping(draft: Draft, loc: Loc, target: Mapping[str, Any]) -> None:
    """Note what contradicts itself in a target's holds and expiries."""
    _check_holds(draft, loc, target)
    every = _drill_every(draft, target)
    for where, expiry, retention in _expiries(target):
        _check_expiry(draft, (*loc, *where, "expiry"), expiry, every, retention)


def _check_holds(draft: Draft, loc: Loc, target: Mapping[str, Any]) -> None:
    holds = target.get("holds")
    first: dict[str, int] = {}
    names = [name for name, _ in copies(target)]
    for index, hold in enumerate(map(mapping, holds if isinstance(holds, list) else [])):
        copy, identity = hold.get("copy"), hold.get("id")
        if isinstance(copy, str) and copy not in names:
            draft.report((*loc, "holds", index, "copy"), f"{loc[-1]} has no copy {copy!r}", suggest(copy, names))
        if isinstance(identity, str) and first.setdefault(identity, index) != index:
            hint = "give each its own"
            draft.report((*loc, "holds", index, "id"), f"two holds of {loc[-1]} are called {identity!r}", hint)


def _expiries(target: Mapping[str, Any]) -> Iterator[tuple[Loc, Mapping[str, Any], Mapping[str, Any]]]:
    """Where each copy's expiry is written, what it says, and the retention that it meets: paired as a plan does it."""
    for name, copy in copies(target):
        own = copy.get("expiry")
        if expiry := mapping(own or target.get("expiry")):
            where = ("copies", name) if own else ()
            yield where, expiry, mapping(copy.get("retention") or target.get("retention"))


def _check_expiry(
    draft: Draft, loc: Loc, expiry: Mapping[str, Any], every: timedelta | None, retention: Mapping[str, Any]
) -> None:
    after, warn, keep = _duration(expiry.get("after")), _duration(expiry.get("warn")), expiry.get("keep_last")
    if after is not None and every is not None and after <= every:
        draft.report(
            (*loc, "after"), f"what a drill proves is removed before the next drill is due ({format_duration(every)})",
            "drill more often (drill_every), or keep backups longer",
        )  # fmt: skip
    if after is not None and warn is not None and warn >= after:
        draft.report((*loc, "warn"), "it would warn of every snapshot from the beginning", "warn later than after")
    for period, length in _LENGTHS.items():
        count = retention.get(period)
        if after is not None and isinstance(count, int) and (count - 1) * length > after:
            draft.report(
                (*loc, "after"), f"it removes what the retention promises ({period}: {count})",
                "promise less, or keep backups longer",
            )  # fmt: skip
    least = retention.get("at_least")
    if isinstance(keep, int) and isinstance(least, int) and keep < least:
        message = f"it removes what the retention promises (at_least: {least})"
        draft.report((*loc, "keep_last"), message, "promise less, or keep more")


def _drill_every(draft: Draft, target: Mapping[str, Any]) -> timedelta | None:
    if target.get("drill_every") is not None:
        return _duration(target["drill_every"])
    tier = target.get("tier")
    written = draft.part("tiers").get(tier) if isinstance(tier, str) else None
    if written is not None:
        return _duration(mapping(written).get("drill_every"))
    known = DEFAULT_TIERS.get(tier) if isinstance(tier, str) else None
    return known.drill_every if known else None


def _duration(value: Any) -> timedelta | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except ValueError:
        return None
