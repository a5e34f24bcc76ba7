"""What must hold of ``sets``: targets that are there and restored whole, questions they can be asked, own ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from restore_drill.cases import in_ids
from restore_drill.catalogue.fields import phrase_slug
from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.problems import suggest
from restore_drill.catalogue.references import copies, mapping
from restore_drill.errors import CouldNotVerify
from restore_drill.registry import load, names


def check_sets(draft: Draft) -> None:
    """Note what contradicts itself in a set, and what its targets cannot be asked."""
    taken: dict[tuple[str, str], str] = {}
    for name, raw in draft.part("sets").items():
        if isinstance(raw, Mapping):
            _Set(draft, name, raw).check(taken)


class _Set:
    """One set as it is written."""

    def __init__(self, draft: Draft, name: str, raw: Mapping[str, Any]) -> None:
        self._draft = draft
        self._name = name
        self._raw = raw
        self._loc: Loc = ("sets", name)
        listed = raw.get("targets")
        self._targets = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []

    def check(self, taken: dict[tuple[str, str], str]) -> None:
        """Note every contradiction.

        Args:
            taken: Ids of cases that other sets have, by their first target.
        """
        self._check_targets()
        for target, copy in mapping(self._raw.get("copies")).items():
            if self._is_member(("copies", target), target) and isinstance(copy, str):
                known = [name for name, _ in copies(mapping(self._draft.part("targets").get(target)))]
                if known and copy not in known:
                    message = f"{target} has no copy {copy!r}"
                    self._draft.report((*self._loc, "copies", target), message, suggest(copy, known))
        self._check_queries(taken)
        if isinstance(self._raw.get("application"), Mapping):
            self._check_application(self._raw["application"])

    def _check_targets(self) -> None:
        known = self._draft.part("targets")
        for index, name in enumerate(self._targets):
            loc = (*self._loc, "targets", index)
            if name in self._targets[:index]:
                self._draft.report(loc, f"{name!r} is in the set twice", "keep one of them")
            elif name not in known:
                if self._draft.complete:
                    self._draft.report(loc, f"there is no target {name!r}", suggest(name, known))
            elif mapping(known[name]).get("depth", "full") != "full":
                hint = "a set is restored whole: give it a target of depth: full over the same backups"
                self._draft.report(loc, f"{name} is restored at depth {known[name]['depth']}", hint)

    def _check_queries(self, taken: dict[tuple[str, str], str]) -> None:
        anchor = self._targets[0] if self._targets else ""
        details: list[tuple[Loc, str]] = [((), self._name)]
        for index, query in _listed(self._raw.get("queries")):
            for part in ("ask", "is_in", "equals"):
                if isinstance(query.get(part), Mapping):
                    self._check_answer(("queries", index, part), query[part])
            if isinstance(query.get("name"), str):
                details.append((("queries", index, "name"), f"{self._name}/{phrase_slug(query['name'])}"))
        for where, detail in details:
            key = (anchor, in_ids(detail).lower())
            other = taken.setdefault(key, detail)
            if other is not detail:
                message = f"{detail!r} has the same id in reports as {other!r}"
                self._draft.report((*self._loc, *where), message, "rename one of them", at_key=not where)

    def _check_answer(self, where: Loc, answer: Mapping[str, Any]) -> None:
        target = answer.get("target")
        if not self._is_member((*where, "target"), target, at_key=False):
            return
        engine = self._engine(target)
        if (answer.get("sql") is None) == (answer.get("files") is None):
            return  # told where one of the two is asked for
        asked, check = ("sql", "query") if answer.get("sql") is not None else ("files", "files")
        if engine is not None and check not in engine.checks:
            message = f"{target} cannot be asked for {asked}: the engine {engine.name!r} has none"
            hint = "ask for files" if "files" in engine.checks else "ask another target of the set"
            self._draft.report((*self._loc, *where), message, hint, at_key=True)

    def _check_application(self, raw: Mapping[str, Any]) -> None:
        where: Loc = ("application",)
        for name, target in mapping(raw.get("hosts")).items():
            if self._is_member((*where, "hosts", name), target, at_key=False):
                self._check_served((*where, "hosts", name), str(target))
            if name in self._targets and target != name:
                message = f"{name!r} is a target of the set, and stands for itself"
                self._draft.report((*self._loc, *where, "hosts", name), message, "remove it", at_key=True)
        for target in mapping(raw.get("logins")):
            if self._is_member((*where, "logins", target), target):
                self._check_served((*where, "logins", target), target)
        self._check_mounts((*where, "mounts"), mapping(raw.get("mounts")))

    def _check_served(self, where: Loc, target: str) -> None:
        engine = self._engine(target)
        if engine is not None and not _port(engine):
            message = f"{target} is no server that an application can reach: its engine is {engine.name!r}"
            hint = f"mount its files (mounts: {{{target}: /srv/{target}}}); postgres, mariadb and redis can be reached"
            self._draft.report((*self._loc, *where), message, hint, at_key=True)

    def _check_mounts(self, where: Loc, mounts: Mapping[str, Any]) -> None:
        seen: dict[str, str] = {}
        for target, place in mounts.items():
            if not self._is_member((*where, target), target):
                continue
            engine = self._engine(target)
            if engine is not None and _port(engine):
                message = f"{target} is a server, whose files no application reads"
                hint = f"it is reached as {target}:{_port(engine)}: remove the mount"
                self._draft.report((*self._loc, *where, target), message, hint, at_key=True)
            if not isinstance(place, str):
                continue
            for other, its in seen.items():
                if f"{place}/".startswith(f"{its}/") or f"{its}/".startswith(f"{place}/"):
                    message = f"{place} and the mount of {other}, {its}, lie in one another"
                    self._draft.report((*self._loc, *where, target), message, "give each a place of its own")
            seen[target] = place

    def _is_member(self, where: Loc, target: Any, *, at_key: bool = True) -> bool:
        """Whether a name is one of the set's targets; noted when it is not."""
        if not isinstance(target, str) or not self._targets:
            return False
        if target not in self._targets:
            message = f"{target!r} is no target of the set"
            self._draft.report((*self._loc, *where), message, suggest(target, self._targets), at_key=at_key)
        return target in self._targets

    def _engine(self, target: Any) -> Any:
        """The class of a target's engine, or ``None`` where that is told elsewhere."""
        name = mapping(self._draft.part("targets").get(target)).get("engine")
        if not isinstance(name, str) or name not in names("engines"):
            return None
        try:
            return load("engines", name)
        except CouldNotVerify:
            return None


def _port(engine: Any) -> int:
    """Where applications look for its server; 0 where there is none, as for engines that never say."""
    return getattr(engine, "port", 0)


def _listed(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    entries: Iterable[Any] = value if isinstance(value, list) else ()
    for index, each in enumerate(entries):
        if isinstance(each, Mapping):
            yield index, each
