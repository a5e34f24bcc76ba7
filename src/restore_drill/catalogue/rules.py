"""Contradictions: what is right piece by piece and wrong as a whole. Each message says how to mend it.

The rules look at raw data, so that they speak even when something else in the same target is wrong; a rule whose own
input is malformed is silent, that has been said already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from restore_drill.catalogue.addresses import check_address, place_of
from restore_drill.catalogue.alerting_rules import check_alerting
from restore_drill.catalogue.controls_rules import check_controls
from restore_drill.catalogue.dependency_rules import check_dependencies
from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.ledger_rules import check_ledger
from restore_drill.catalogue.price_rules import check_prices
from restore_drill.catalogue.references import copies, mapping, queries, store_name
from restore_drill.catalogue.resolve import default_state
from restore_drill.catalogue.set_rules import check_sets
from restore_drill.catalogue.target_rules import check_target

#: Words that pytest has a use for: a tier becomes a marker.
_PYTEST_WORDS = frozenset(
    {
        "skip", "skipif", "xfail", "parametrize", "usefixtures", "filterwarnings", "tryfirst", "trylast", "timeout",
        "xdist_group", "target", "and", "or", "not", "True", "False", "None",
    }
)  # fmt: skip


def check_rules(draft: Draft, reports: Path) -> None:
    """Note every contradiction.

    Args:
        draft: The catalogue.
        reports: Where runs are written.
    """
    targets = draft.part("targets")
    if not targets and draft.complete and isinstance(draft.raw.get("targets", {}), Mapping):
        draft.report((), "the catalogue has no targets", "declare one under targets:, or include a file that does")
    for name in draft.part("tiers"):
        if name in _PYTEST_WORDS:
            message = f"{name!r} cannot be a tier: pytest has a use for the word"
            draft.report(("tiers", name), message, "rename it", at_key=True)
    _check_places(draft, reports)
    check_ledger(draft)
    check_controls(draft)
    check_alerting(draft)
    check_prices(draft)
    check_sets(draft)
    check_dependencies(draft)
    _check_case("target", draft, ("targets",), targets)
    _check_case("set", draft, ("sets",), draft.part("sets"))
    _check_words(draft)
    _check_exception_ids(draft)
    _check_demo(draft)
    _check_shared(draft)
    for name, target in targets.items():
        if isinstance(target, Mapping):
            check_target(draft, name, target)
            _check_queries(draft, name, target)
            _check_case("copy", draft, ("targets", name, "copies"), mapping(target.get("copies")))


def _check_places(draft: Draft, reports: Path) -> None:
    """Stores, the state and the reports: usable addresses, none of ours among the backups."""
    state = draft.raw.get("state")
    if state is not None:
        check_address(draft, ("state",), {"url": state} if isinstance(state, str) else mapping(state), store=False)
    written = state if state is not None else default_state(draft.path)
    ours = [("the state", place_of(written, draft.base)), ("the reports", place_of(f"file:{reports}", draft.base))]
    for name, store in draft.part("stores").items():
        loc: Loc = ("stores", name)
        check_address(draft, loc, mapping(store), store=True)
        backups = place_of(store, draft.base)
        for what, place in ours:
            if backups is None or place is None or not (backups.holds(place) or place.holds(backups)):
                continue
            inside = f"{what} would lie inside the store {name!r}"
            around = f"the store {name!r} lies inside {what}"
            draft.report(
                ("state", "url") if what == "the state" and state is not None else (*loc, "url"),
                inside if backups.holds(place) else around,
                "nothing is ever written among backups: choose a place apart from every store",
            )


def _check_case(what: str, draft: Draft, loc: Loc, named: Mapping[str, Any]) -> None:
    first: dict[str, str] = {}
    for name in named:
        other = first.setdefault(name.lower(), name)
        if other != name:
            message = f"the {what} {name!r} differs from {other!r} only by case"
            draft.report((*loc, name), message, "rename one: file systems and reports mix them up", at_key=True)


def _check_words(draft: Draft) -> None:
    """Media and failure domains that differ only by case would count as two in 3-2-1."""
    for option in ("media", "failure_domain"):
        first: dict[str, str] = {}
        for loc, owner in _owners(draft):
            word = owner.get(option)
            if not isinstance(word, str):
                continue
            other = first.setdefault(word.strip().lower(), word)
            if other != word:
                message = f"the {option} {word!r} is written {other!r} elsewhere, and would count as another one"
                draft.report((*loc, option), message, "write it the same way everywhere")


def _owners(draft: Draft) -> Iterable[tuple[Loc, Mapping[str, Any]]]:
    for name, store in draft.part("stores").items():
        yield ("stores", name), mapping(store)
    for name, target in draft.part("targets").items():
        yield ("targets", name, "live"), mapping(mapping(target).get("live"))


def _check_queries(draft: Draft, name: str, target: Mapping[str, Any]) -> None:
    for part, what in (("queries", "queries"), ("smoke", "smoke rules")):
        first: dict[str, str] = {}
        for index, query in queries(target, part):
            other = first.setdefault(query.lower(), query)
            if first[query.lower()] is not query:
                message = f"two {what} of {name} are called {other!r}" if other == query else (
                    f"the {what} {query!r} and {other!r} of {name} differ only by case"
                )  # fmt: skip
                draft.report(("targets", name, "expect", part, index, "name"), message, "rename one of them")


def _check_shared(draft: Draft) -> None:
    """Two targets over the same backups: a path that was copied and not changed.

    One snapshot can hold several things, though: a tree and the database in it have different engines, two databases in
    it different options of one. In two tiers it may be drilled often and lightly, and rarely and thoroughly; the plan's
    notes say so.
    """
    first: dict[Any, tuple[str, str]] = {}
    for name, target in draft.part("targets").items():
        how = tuple(repr(mapping(target).get(option) or None) for option in ("tier", "engine", "engine_options"))
        for copy, raw in copies(target):
            place, path = place_of(draft.part("stores").get(store_name(copy, raw)), draft.base), raw.get("path")
            if place is None or not isinstance(path, str):
                continue
            other, its = first.setdefault((place.root, (*place.parts, *path.split("/")), how), (name, copy))
            if other != name:
                draft.report(
                    ("targets", name, "copies", copy, "path"),
                    f"the copy {copy!r} of {name} is the same backups as the copy {its!r} of {other}",
                    "a path copied from another target? Correct it, or remove one of the two",
                )


def _check_exception_ids(draft: Draft) -> None:
    exceptions = draft.raw.get("exceptions")
    first: dict[str, int] = {}
    for index, exception in enumerate(exceptions if isinstance(exceptions, list) else []):
        identity = mapping(exception).get("id")
        if isinstance(identity, str) and first.setdefault(identity, index) != index:
            place = draft.place(("exceptions", first[identity], "id"))
            hint = f"give each its own; the first is at {place.file}:{place.line}"
            draft.report(("exceptions", index, "id"), f"two exceptions are called {identity!r}", hint)


def _check_demo(draft: Draft) -> None:
    if draft.raw.get("demo") is True and not is_demo_estate(draft.path):
        draft.report(
            ("demo",),
            "only the project's own drills/targets.yaml is a demo",
            "remove it: it would build demo backups and start a store for them",
            at_key=True,
        )


def is_demo_estate(path: Path) -> bool:
    """Whether a catalogue is the one that ships with the project's sources."""
    import tomllib

    real = path.resolve()
    root = real.parent.parent
    if real.name != "targets.yaml" or real.parent.name != "drills" or not (root / "fixtures").is_dir():
        return False
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return isinstance(project, dict) and project.get("name") == "pytest-restore-drill"
