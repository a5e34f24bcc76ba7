"""What lies in the stores and belongs to no target: backups that somebody makes and nobody restores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from restore_drill.errors import RestoreDrillError
from restore_drill.registry import store_class
from restore_drill.repositories.claims import Claims

if TYPE_CHECKING:
    from restore_drill.model import Artifact
    from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
    from restore_drill.stores.base import Store

#: Places that are told apart in one store; what lies elsewhere is summed up.
_MOST = 500
_ELSEWHERE = "(elsewhere)"
#: Parts of a path that are dates or numbers: one place for all of them.
_NUMBERED = re.compile(r"[^/]*\d{4}[^/]*|\d+")


@dataclass(slots=True)
class Group:
    """What lies in one place.

    Attributes:
        name: The directory or prefix, dated parts as ``*``.
        count, size: Objects, and their bytes.
        modified: When the newest was written (seconds since the epoch).
    """

    name: str
    count: int = 0
    size: int = 0
    modified: float = 0.0

    def add(self, artifact: Artifact) -> None:
        """One more."""
        self.count += 1
        self.size += max(artifact.size, 0)
        self.modified = max(self.modified, artifact.modified)


@dataclass(slots=True)
class Uncovered:
    """One place that stores lead to.

    Attributes:
        stores: Their names.
        where: Its address.
        listed: Objects looked at.
        groups: What no target covers, the largest first.
        problem: Why it could not be listed, ``""`` when it could.
    """

    stores: tuple[str, ...]
    where: str
    listed: int = 0
    groups: list[Group] = field(default_factory=list)
    problem: str = ""

    @property
    def count(self) -> int:
        """Objects that no target covers."""
        return sum(group.count for group in self.groups)

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(group.size for group in self.groups)


def look(plan: Plan) -> list[Uncovered]:
    """List every store that a copy of the catalogue lies in; memory does not grow with what lies there."""
    places: dict[str, list[tuple[PlannedTarget, PlannedCopy]]] = {}
    for target in plan.targets:
        for copy in target.copies:
            places.setdefault(copy.settings.url.rstrip("/"), []).append((target, copy))
    return [_look(url, copies, plan, places) for url, copies in places.items()]


def _look(
    url: str,
    copies: list[tuple[PlannedTarget, PlannedCopy]],
    plan: Plan,
    places: Iterable[str],
) -> Uncovered:
    found = Uncovered(tuple(dict.fromkeys(copy.store_name for _, copy in copies)), url)
    store: Store | None = None
    try:
        settings = copies[0][1].settings
        store = store_class(settings.url)(settings)
        found.where = store.where()
        _list(store, Claims(copies), _inside(url, [*places, plan.state.url, _as_url(plan.reports)]), found)
    except RestoreDrillError as problem:
        found.problem, found.groups = str(problem), []
    finally:
        if store is not None:
            store.close()
    return found


def _list(store: Store, claims: Claims, is_other: Callable[[str], bool], found: Uncovered) -> None:
    groups: dict[str, Group] = {}
    for artifact in store.list(""):
        found.listed += 1
        if claims.has(artifact.key) or is_other(artifact.key):
            continue
        name = _place(artifact.key)
        if name not in groups and len(groups) >= _MOST:
            name = _ELSEWHERE
        groups.setdefault(name, Group(name)).add(artifact)
    found.groups = sorted(groups.values(), key=lambda group: (-group.size, group.name))


def _place(key: str) -> str:
    directory = key.rpartition("/")[0]
    return "/".join("*" if _NUMBERED.fullmatch(part) else part for part in directory.split("/")) + "/"


def _as_url(directory: str) -> str:
    return f"file://{Path(directory).resolve()}"


def _inside(url: str, others: Iterable[str]) -> Callable[[str], bool]:
    """Whether a key lies in another store, or in the state or the reports, that are inside this one."""
    inner = tuple(
        f"{other.rstrip('/')[len(url) :].lstrip('/')}/" for other in others if other.rstrip("/").startswith(f"{url}/")
    )
    return lambda key: key.startswith(inner)
