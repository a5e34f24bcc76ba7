"""What must hold of ``depends_on``: the names are targets, none waits for itself, and none waits in a circle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from restore_drill.catalogue.gather import Draft
from restore_drill.catalogue.problems import suggest
from restore_drill.catalogue.references import mapping

_HINT = "remove it (depends_on: null takes back what comes from defaults)"


def check_dependencies(draft: Draft) -> None:
    """Note names that are no targets, names that stand twice, and circles, each of which is told once."""
    targets = draft.part("targets")
    waits: dict[str, dict[str, int]] = {name: {} for name in targets}
    for name, target in targets.items():
        for index, other in enumerate(_list(mapping(target).get("depends_on"))):
            if not isinstance(other, str):
                continue
            loc = ("targets", name, "depends_on", index)
            if other == name:
                draft.report(loc, f"{name} cannot wait for itself", _HINT)
            elif other in waits[name]:
                draft.report(loc, f"{name} waits for {other!r} twice", "keep one of them")
            elif other in targets:
                waits[name][other] = index
            elif draft.complete:
                draft.report(loc, f"there is no target {other!r}", suggest(other, targets))
    for circle in _circles(waits):
        loc = ("targets", circle[0], "depends_on", waits[circle[0]][circle[1]])
        around = " waits for ".join(circle)
        draft.report(loc, f"these targets wait for each other: {around}", "one of them must come back first")


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _circles(waits: Mapping[str, Mapping[str, int]]) -> list[list[str]]:
    """Circles, one for each way back that a walk along the names meets; without recursion, for long chains."""
    found: list[list[str]] = []
    done: set[str] = set()
    for start in waits:
        path: list[str] = []
        on_path: set[str] = set()
        walk = [(start, False)]
        while walk:
            name, leave = walk.pop()
            if leave:
                on_path.discard(path.pop())
                done.add(name)
            elif name in on_path:
                found.append([*path[path.index(name) :], name])
            elif name not in done:
                path.append(name)
                on_path.add(name)
                walk += [(name, True), *((other, False) for other in reversed(list(waits[name])))]
    return found
