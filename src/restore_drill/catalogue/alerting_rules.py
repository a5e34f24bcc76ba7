"""What must hold of alerts and pings: tiers that exist, globs that mean something, switches that can be reset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.places import DEFAULT_TIERS
from restore_drill.catalogue.problems import shorten, suggest
from restore_drill.catalogue.references import mapping


def check_alerting(draft: Draft) -> None:
    """Note every channel that would never be told anything, and every ping that would never be sent."""
    tiers = list(dict.fromkeys([*DEFAULT_TIERS, *draft.part("tiers")]))
    for name, channel in draft.part("alerts").items():
        if isinstance(channel, Mapping):
            _check_channel(draft, ("alerts", name), channel, tiers)
    used = [mapping(target).get("tier") for target in draft.part("targets").values()]
    for tier in draft.part("pings"):
        loc: Loc = ("pings", tier)
        if tier not in tiers:
            draft.report(loc, f"no tier is called {tier!r}", suggest(tier, tiers), at_key=True)
        elif draft.complete and tier not in used:
            hint = "its dead-man's switch would ring for ever: remove it, or give a target this tier"
            draft.report(loc, f"no target is of the tier {tier!r}, so this would never be pinged", hint, at_key=True)


def _check_channel(draft: Draft, loc: Loc, channel: Mapping[str, Any], tiers: list[str]) -> None:
    wanted = list(_texts(channel.get("tiers")))
    for index, tier in wanted:
        if tier not in tiers:
            draft.report((*loc, "tiers", index), f"no tier is called {tier!r}", suggest(tier, tiers))
    if not draft.complete:
        return
    targets = {name: mapping(target).get("tier") for name, target in draft.part("targets").items()}
    chosen: set[str] = set()
    for index, glob in _texts(channel.get("targets")):
        matching = {name for name in targets if fnmatchcase(name, glob)}
        chosen |= matching
        if not matching:
            draft.report((*loc, "targets", index), f"{shorten(glob)} matches no target", suggest(glob, targets))
    names = [tier for _, tier in wanted]
    if names and chosen and not any(targets[name] in names for name in chosen):
        hint = "a target must match both: remove one of them, or correct it"
        draft.report((*loc, "targets"), "no target that this matches is of the tiers above", hint)


def _texts(value: Any) -> Iterator[tuple[int, str]]:
    for index, each in enumerate(value if isinstance(value, list) else ()):
        if isinstance(each, str) and each:
            yield index, each
