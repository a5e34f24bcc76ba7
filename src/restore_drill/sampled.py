"""What is known of the drills of a target's snapshots, one by one: which were drilled, when, and how they were.

One document a target beside its history, which it never touches: what an older snapshot holds is no baseline. It is
read and written only by runs that drill older snapshots; the newest ones that were drilled since are taken in from the
history's short list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from restore_drill.errors import CouldNotVerify

if TYPE_CHECKING:
    from restore_drill.history import History

_VERSION = 1
#: Snapshots remembered of a copy; those that were not drilled for the longest time are forgotten first.
_KEPT = 20_000

#: By identity: ``at`` (seconds since the epoch), ``passed``, ``run``, ``id``, and of some ``pins``.
Known = dict[str, dict[str, Any]]


def known(history: History, target: str) -> dict[str, Known]:
    """The last drill of every snapshot, by copy; ``{}`` where there is no state.

    Raises:
        CouldNotVerify: The state cannot be read.
    """
    if not history.initialised:
        return {}
    return _merged(history, target, _copies(history, history.state.read(_name(target))))


def _merged(history: History, target: str, found: dict[str, Known]) -> dict[str, Known]:
    """With the newest snapshots that were drilled since."""
    for copy, newest in history.target(target).drilled_snapshots().items():
        mine = found.setdefault(copy, {})
        for identity, entry in newest.items():
            if identity not in mine or mine[identity]["at"] < entry["at"]:
                mine[identity] = entry
    return found


def record(history: History, changes: Mapping[str, Mapping[str, Known]]) -> None:
    """Remember drills, by target and copy.

    Raises:
        CouldNotVerify: The state cannot be read or written.
    """
    history.state.update_many({_name(target): _change(history, target, copies) for target, copies in changes.items()})


def pin(history: History, target: str, copy: str, key: str, *, since: float) -> str | None:
    """The SHA-256 that an artifact of an older snapshot had when it was first drilled.

    What was drilled before ``since`` is not what it must be any more: a person accepted that it changed.

    Raises:
        CouldNotVerify: The state cannot be read.
    """
    drilled = _copies(history, history.state.read(_name(target))).get(copy, {})
    known = (each for each in drilled.values() if key in each.get("pins", ()) and each["at"] >= since)
    return next((str(each["pins"][key]) for each in known), None)


def _change(history: History, target: str, copies: Mapping[str, Known]) -> Callable[[bytes | None], bytes]:
    def change(existing: bytes | None) -> bytes:
        document = _merged(history, target, _copies(history, existing))
        for copy, drilled in copies.items():
            mine = document.setdefault(copy, {})
            for identity, entry in drilled.items():
                pins = entry.get("pins") or mine.get(identity, {}).get("pins")
                mine[identity] = {**entry, "pins": pins} if pins else entry
            kept = sorted(mine, key=lambda each: mine[each]["at"], reverse=True)[:_KEPT]
            document[copy] = {identity: mine[identity] for identity in kept}
        told = {"version": _VERSION, "target": target, "since": history.initialised_at, "copies": document}
        return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()

    return change


def _copies(history: History, raw: bytes | None) -> dict[str, Known]:
    """A document's content; of a state that was begun anew since, nothing."""
    if raw is None:
        return {}
    try:
        document = json.loads(raw)
        copies: dict[str, Known] = document["copies"]
        current = document["since"] == history.initialised_at
        whole = document["version"] == _VERSION and all(isinstance(each, dict) for each in copies.values())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise CouldNotVerify(
            "what is known of older snapshots is damaged",
            looked_at=f"{history.state.where()}/sampled",
            remedy="Remove the target's file there: all its older snapshots then count as never drilled.",
        )
    return copies if current else {}


def _name(target: str) -> str:
    return f"sampled/{target}.json"
