"""Names that refer to something: tiers, stores, engines, codecs, checks, and what exceptions speak of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from restore_drill.cases import CASES, SET_CASES
from restore_drill.catalogue.decrypting import options_of
from restore_drill.catalogue.expect import RESERVED_ROWS
from restore_drill.catalogue.fields import is_slug, phrase_slug
from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.places import DEFAULT_TIERS
from restore_drill.catalogue.problems import shorten, suggest
from restore_drill.codecs.base import Option
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.registry import BUILT_IN, load, names

#: Cases with one case a table, query or check.
_DETAILED = {"rows": "table", "query": "query", "smoke": "smoke rule", "check": "check"}


def check_references(draft: Draft) -> None:
    """Note every name that refers to nothing, with the nearest one that exists."""
    known = {plug: names(plug) for plug in ("engines", "sandboxes", "codecs", "checks")}
    tiers = [*DEFAULT_TIERS, *(name for name in draft.part("tiers") if name not in DEFAULT_TIERS)]
    for name, target in draft.part("targets").items():
        if isinstance(target, Mapping):
            loc: Loc = ("targets", name)
            _name(draft, (*loc, "tier"), "tier", target.get("tier"), tiers, declared=True)
            _name(draft, (*loc, "engine"), "engine", target.get("engine"), known["engines"])
            sandbox = target.get("sandbox")
            if isinstance(sandbox, Mapping):
                _name(draft, (*loc, "sandbox", "kind"), "sandbox", sandbox.get("kind"), known["sandboxes"])
            else:
                _name(draft, (*loc, "sandbox"), "sandbox", sandbox, known["sandboxes"])
            _formats(draft, loc, target, known["codecs"])
            _checks(draft, loc, target, known["checks"])
            for copy, raw in copies(target):
                _copy(draft, (*loc, "copies", copy), copy, raw, known["codecs"])
    _escrow(draft, known["codecs"])
    exceptions = draft.raw.get("exceptions")
    for index, exception in enumerate(exceptions if isinstance(exceptions, list) else []):
        if isinstance(exception, Mapping):
            _exception(draft, ("exceptions", index), exception)


def copies(target: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The copies of a raw target that are mappings."""
    found = target.get("copies") if isinstance(target, Mapping) else None
    for name, raw in found.items() if isinstance(found, Mapping) else ():
        if isinstance(raw, Mapping):
            yield name, raw


def store_name(copy: str, raw: Mapping[str, Any]) -> str:
    """The store that a raw copy names, or is named like."""
    store = raw.get("store")
    return store if isinstance(store, str) else copy


def tables(target: Mapping[str, Any]) -> list[str]:
    """The tables that a raw target has rules for."""
    rows = mapping(mapping(target.get("expect")).get("rows"))
    return [*mapping(rows.get("tables")), *(name for name in rows if name not in RESERVED_ROWS)]


def queries(target: Mapping[str, Any], part: str = "queries") -> list[tuple[int, str]]:
    """Index and slug of each named query (or smoke rule) of a raw target."""
    found = mapping(target.get("expect")).get(part)
    named = enumerate(found if isinstance(found, list) else [])
    return [
        (index, phrase_slug(query["name"]))
        for index, query in named
        if isinstance(query, Mapping) and isinstance(query.get("name"), str)
    ]


def set_details(draft: Draft, target: Any, case: str) -> list[str]:
    """The details of a case of sets that a target bears: the sets that name it first, or their queries."""
    found: list[str] = []
    for name, raw in draft.part("sets").items():
        listed, asked = mapping(raw).get("targets"), mapping(raw).get("queries")
        if isinstance(listed, list) and listed[:1] == [target]:
            named = [mapping(query).get("name") for query in asked] if isinstance(asked, list) else []
            queries = [f"{name}/{phrase_slug(each)}" for each in named if isinstance(each, str)]
            found += queries if case == "set-query" else [name]
    return found


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def _name(draft: Draft, loc: Loc, what: str, name: Any, known: Iterable[str], *, declared: bool = False) -> None:
    """Note a name that is not known; one of the catalogue's own only when the whole catalogue could be read."""
    if not isinstance(name, str) or not is_slug(name) or name in known or (declared and not draft.complete):
        return
    draft.report(loc, f"there is no {what} {name!r}", suggest(name, known))


def _copy(draft: Draft, loc: Loc, copy: str, raw: Mapping[str, Any], codecs: list[str]) -> None:
    stores = draft.part("stores")
    name = store_name(copy, raw)
    if name not in stores and draft.complete and is_slug(name):
        named = isinstance(raw.get("store"), str)
        hint = suggest(name, stores) or "declare it under stores: with its url and media"
        draft.report(
            (*loc, "store") if named else loc,
            f"there is no store {name!r}" + ("" if named else " (a copy uses the store of its own name)"),
            hint if named or "did you mean" in hint else f"{hint}; a copy names another one by store:",
            at_key=not named,
        )
    for index, codec in enumerate(raw["codecs"] if isinstance(raw.get("codecs"), list) else []):
        _name(draft, (*loc, "codecs", index), "codec", codec, codecs)
    _formats(draft, loc, raw, codecs)


def _formats(draft: Draft, loc: Loc, raw: Mapping[str, Any], codecs: list[str]) -> None:
    for name, given in mapping(raw.get("decrypt")).items():
        at: Loc = (*loc, "decrypt", name)
        if name in codecs:
            _keys(draft, at, name, mapping(given))
        elif is_slug(name):
            draft.report(at, f"there is no format {name!r} to decrypt", suggest(name, codecs), at_key=True)


def _escrow(draft: Draft, codecs: list[str]) -> None:
    raw, targets = mapping(draft.raw.get("break_glass")), draft.part("targets")
    _formats(draft, ("break_glass",), raw, codecs)
    for name, own in mapping(raw.get("targets")).items():
        loc: Loc = ("break_glass", "targets", name)
        if name not in targets and draft.complete and is_slug(name):
            draft.report(loc, f"there is no target {name!r}", suggest(name, targets), at_key=True)
        _formats(draft, loc, mapping(own), codecs)


def _keys(draft: Draft, loc: Loc, codec: str, given: Mapping[str, Any]) -> None:
    try:
        known = load("codecs", codec).keys
    except CouldNotVerify:
        return  # what it needs is not installed: a drill that meets this format says so
    options = options_of(codec)
    for key, value in given.items():
        if key in options:
            _setting(draft, (*loc, key), key, options[key], value)
        elif is_slug(key) and key not in known:
            hint = suggest(key, [*known, *options]) or "it takes none: remove it"
            draft.report((*loc, key), f"{codec} has no key called {key!r}", hint, at_key=True)


def _setting(draft: Draft, loc: Loc, name: str, option: Option, value: Any) -> None:
    """Note a setting of a format that is none of what it may be."""
    if option.choices:
        if value not in option.choices:
            hint = suggest(value, option.choices) if isinstance(value, str) else f"for example {option.example}"
            draft.report(loc, f"{name!r} may be {', '.join(option.choices)}", hint)
    elif type(value) is not int or not option.least <= value <= option.most:
        message = f"{name!r} needs a whole number from {option.least} to {option.most}"
        draft.report(loc, message, f"for example {option.example}")


def _checks(draft: Draft, loc: Loc, target: Mapping[str, Any], known: list[str]) -> None:
    own = [name for name in known if name not in BUILT_IN["checks"]]
    for name in mapping(mapping(target.get("expect")).get("checks")):
        at = (*loc, "expect", "checks", name)
        if name in BUILT_IN["checks"]:
            draft.report(at, f"{name!r} is a standard check", "it has options of its own under expect", at_key=True)
        elif name not in own:
            hint = suggest(name, own) or "no plug-in with checks is installed"
            draft.report(at, f"there is no check {name!r}", hint, at_key=True)


def _exception(draft: Draft, loc: Loc, raw: Mapping[str, Any]) -> None:
    targets = draft.part("targets")
    target, copy, case = raw.get("target"), raw.get("copy"), raw.get("case")
    _name(draft, (*loc, "target"), "target", target, targets, declared=True)
    if isinstance(case, str) and case not in CASES:
        draft.report((*loc, "case"), f"there is no case {shorten(case)}", suggest(case, CASES))
    if isinstance(case, str) and case in CASES:
        _exception_case(draft, loc, raw, case)
    if isinstance(target, str) and isinstance(copy, str) and isinstance(targets.get(target), Mapping):
        _name(draft, (*loc, "copy"), f"copy of {target}", copy, [name for name, _ in copies(targets[target])])


def _exception_case(draft: Draft, loc: Loc, raw: Mapping[str, Any], case: str) -> None:
    if CASES[case].needs is Stage.TARGET and raw.get("copy") is not None:
        draft.report((*loc, "copy"), f"the case {case!r} is about all copies of the target", "remove copy")
    detail, target = raw.get("detail"), draft.part("targets").get(str(raw.get("target")))
    if not isinstance(detail, str):
        return
    if case in SET_CASES:
        known = set_details(draft, raw.get("target"), case)
        if detail not in known:
            hint = suggest(detail, known) or "a set's cases are those of its first target"
            draft.report((*loc, "detail"), f"{raw.get('target')} bears no case {case} of {shorten(detail)}", hint)
    elif case not in _DETAILED:
        draft.report((*loc, "detail"), f"the case {case!r} has no detail", "remove it; details are tables and queries")
    elif isinstance(target, Mapping):
        known = {
            "rows": tables(target),
            "query": [name for _, name in queries(target)],
            "smoke": [name for _, name in queries(target, "smoke")],
            "check": list(mapping(mapping(target.get("expect")).get("checks"))),
        }[case]
        if detail not in known:
            hint = suggest(detail, known) or f"the target has no such {_DETAILED[case]} under expect"
            message = f"{raw['target']} has no {_DETAILED[case]} {shorten(detail)} in its expectations"
            draft.report((*loc, "detail"), message, hint)
