"""Contradictions between what a target restores and what it expects: depth, sample, strict, and the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from restore_drill import outline
from restore_drill.catalogue.expect import RESERVED_ROWS
from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.problems import shorten, suggest
from restore_drill.catalogue.references import copies, mapping
from restore_drill.depth import DEPTHS, FULL, SAMPLE

_ELSEWHERE = "expect it of a target that is restored in full, in another tier"


def check_depth(draft: Draft, loc: Loc, target: Mapping[str, Any], own: Mapping[str, Any], engine: Any) -> None:
    """Note what a target's depth and its other options say against each other.

    Args:
        draft: The catalogue.
        loc: Where the target stands.
        target: Its raw mapping, defaults merged in.
        own: What it says itself.
        engine: Its engine's class.
    """
    expect = mapping(target.get("expect"))
    _check_strict(draft, loc, expect, engine)
    _check_reference(draft, loc, expect, engine)
    depth, sample = target.get("depth", FULL), target.get("sample")
    if depth not in DEPTHS:
        return
    known: tuple[str, ...] = getattr(engine, "depths", (FULL,))
    if depth not in known:
        at = (*loc, "depth")
        draft.report(at, f"the engine {engine.name!r} cannot restore at depth {depth}", f"it knows {', '.join(known)}")
        return
    if sample and depth != SAMPLE:
        draft.report((*loc, "sample"), "tables are sampled at depth: sample only", "add depth: sample", at_key=True)
    if depth != FULL:
        _check_pins(draft, loc, target)
    if depth == SAMPLE:
        _check_sample(draft, loc, sample, mapping(own.get("expect")))


def _check_strict(draft: Draft, loc: Loc, expect: Mapping[str, Any], engine: Any) -> None:
    known: Mapping[str, str] = getattr(engine, "strictness", {})
    listed = expect.get("strict")
    for index, name in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(name, str) and name not in known:
            hint = suggest(name, known) or f"the engine {engine.name!r} has nothing that could be strict"
            message = f"the engine {engine.name!r} cannot be strict about {shorten(name)}"
            draft.report((*loc, "expect", "strict", index), message, hint)


def _check_reference(draft: Draft, loc: Loc, expect: Mapping[str, Any], engine: Any) -> None:
    name = mapping(expect.get("structure")).get("reference")
    if not isinstance(name, str) or not name or name.startswith("/") or ".." in name.split("/"):
        return
    if draft.references and "structure" in engine.checks:
        try:
            outline.read(draft.base / name, name)
        except ValueError as problem:
            hint = f"write it with restore-drill baseline reference {loc[1]}, and review it"
            draft.report((*loc, "expect", "structure", "reference"), str(problem), hint)


def _check_pins(draft: Draft, loc: Loc, target: Mapping[str, Any]) -> None:
    """Digests are pinned by whole drills only: one that never is would accept every change."""
    why = "digests are pinned by drills that restore in full"
    if target.get("frozen") is True:
        draft.report((*loc, "frozen"), why, "remove frozen, or depth", at_key=True)
    places = [(loc, target), *(((*loc, "copies", name), raw) for name, raw in copies(target))]
    for at, part in places:
        rule = part.get("checksum")
        if rule == "pinned" or mapping(rule).get("mode") == "pinned":
            draft.report((*at, "checksum"), why, "record digests beside the artifacts, or remove depth")


def _check_sample(draft: Draft, loc: Loc, sample: Any, expect: Mapping[str, Any]) -> None:
    """What only some tables are restored for, and what would be misled by the emptiness of all others."""
    if not sample:
        draft.report((*loc, "depth"), "nothing says which tables are sampled", "name them: sample: [orders]")
        return
    tables = [name for name in sample if isinstance(name, str)] if isinstance(sample, list) else []
    for loc_of_rule, table, rule in _rows(loc, expect):
        if table not in tables and table != "default":
            message = f"{table!r} is not among the sampled tables: its rows are not restored"
            draft.report(loc_of_rule, message, f"add it to sample, or {_ELSEWHERE}", at_key=True)
        if "max_drop" in mapping(rule):
            message = "there is nothing to compare with: only drills that restore in full become baselines"
            draft.report((*loc_of_rule, "max_drop"), message, f"give min, or {_ELSEWHERE}", at_key=True)
    for part in ("queries", "newest_record", "checks"):
        if expect.get(part):
            message = f"{part} may ask for tables that are not restored: the answer would mislead"
            draft.report((*loc, "expect", part), message, _ELSEWHERE, at_key=True)


def _rows(loc: Loc, expect: Mapping[str, Any]) -> Iterator[tuple[Loc, str, Any]]:
    """Every rule for rows that a target has itself: where it stands, its table, and what it says."""
    rows = mapping(expect.get("rows"))
    at: Loc = (*loc, "expect", "rows")
    for name, rule in rows.items():
        if name not in RESERVED_ROWS or name == "default":
            yield (*at, name), str(name), rule
    for name, rule in mapping(rows.get("tables")).items():
        yield (*at, "tables", name), str(name), rule
