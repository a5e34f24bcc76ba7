"""Who is to be told what now, and how that is claimed, kept or given back in the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from restore_drill.alerting.memory import CLAIM, RUNS, Memory, entries

if TYPE_CHECKING:
    from restore_drill.catalogue.alerting import AlertChannel
    from restore_drill.plan import Plan

#: What a channel calls each state.
KIND_OF = {"failed": "failure", "error": "could-not-verify", "overdue": "overdue"}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a channel is to be told.

    Attributes:
        kind: ``failure``, ``could-not-verify``, ``overdue`` or ``recovery``.
        where: ``target/copy``; the target alone; or ``""`` for a run.
        case: The broken case, or those that are mended.
        since: When it broke (seconds since the epoch).
        again: It was told before, and is still so.
    """

    kind: str
    tier: str
    where: str
    case: str
    message: str
    remedy: str
    since: float
    run: str
    again: bool
    key: str
    previous: dict[str, Any] | None = None


def due(memory: Memory, plan: Plan, name: str, channel: AlertChannel, now: float) -> list[Item]:
    """What a channel is to be told: what it does not know, and what it is to be reminded of."""
    found = [item for entry in entries(memory) for item in _of_entry(entry, plan, name, channel, now)]
    order = {kind: number for number, kind in enumerate(("failure", "could-not-verify", "overdue", "recovery"))}
    return sorted(found, key=lambda item: (item.again, order[item.kind]))


def _of_entry(entry: dict[str, Any], plan: Plan, name: str, channel: AlertChannel, now: float) -> Iterator[Item]:
    target = plan.by_name.get(entry["target"])
    of_run = entry["target"] == RUNS
    if target is None and not of_run:
        return
    tier = target.tier if target is not None else ""
    key = entry["copy"] if of_run else f"{entry['target']}/{entry['copy']}"
    where = "" if of_run else key.removesuffix("/")
    if "recovery" in channel.tell and name in entry.get("owed", {}) and entry["owed"][name] < now - CLAIM:
        mended = entry.get("mended", {})
        yield Item("recovery", tier, where, ", ".join(mended.get("was", ())), _mended(mended), "",
                   mended.get("since", 0.0), mended.get("run", ""), False, key)  # fmt: skip
    if not (_is_meant_run(entry, plan, channel) if of_run else _is_meant(entry["target"], tier, channel)):
        return
    for case, trouble in sorted(entry.get("broken", {}).items()):
        told = trouble["told"].get(name)
        kind = KIND_OF[trouble["state"]]
        if kind in channel.tell and _is_due(told, channel, now):
            yield Item(kind, tier, where, case, trouble["message"], trouble["remedy"], trouble["since"],
                       trouble["run"], told is not None and told["sure"], key, told)  # fmt: skip


def _is_due(told: dict[str, Any] | None, channel: AlertChannel, now: float) -> bool:
    if told is None or (not told["sure"] and told["at"] < now - CLAIM):
        return True
    return bool(told["sure"] and channel.remind is not None and told["at"] <= now - channel.remind.total_seconds())


def _is_meant(target: str, tier: str, channel: AlertChannel) -> bool:
    by_tier = not channel.tiers or tier in channel.tiers
    return by_tier and (not channel.targets or any(fnmatchcase(target, glob) for glob in channel.targets))


def _is_meant_run(entry: dict[str, Any], plan: Plan, channel: AlertChannel) -> bool:
    """A run concerns whoever hears of one of its targets; one that drilled nothing concerns everybody."""
    targets = [plan.by_name[name] for name in entry.get("of", ()) if name in plan.by_name]
    return not targets or any(_is_meant(target.name, target.tier, channel) for target in targets)


def _mended(mended: dict[str, Any]) -> str:
    covered = ", ".join(mended.get("excepted", ()))
    return f"covered by the exception {covered}" if covered else "good again"


def claim(memory: Memory, name: str, items: list[Item], now: float, *, sure: bool) -> None:
    """Note that a channel is being told (``sure`` false) or was told (true)."""
    for item in items:
        entry = memory["entries"].get(item.key)
        if entry is None:
            continue
        if item.kind == "recovery":
            if sure:
                entry.get("owed", {}).pop(name, None)
            elif name in entry.get("owed", {}):
                entry["owed"][name] = now
        elif item.case in entry.get("broken", {}):
            entry["broken"][item.case]["told"][name] = {"at": now, "sure": sure}


def give_back(memory: Memory, name: str, items: list[Item]) -> None:
    """Note that a channel could not be told: it is due again at once."""
    for item in items:
        entry = memory["entries"].get(item.key, {})
        if item.kind == "recovery":
            if name in entry.get("owed", {}):
                entry["owed"][name] = 0.0
        elif item.case in entry.get("broken", {}):
            told = entry["broken"][item.case]["told"]
            told.pop(name, None)
            if item.previous is not None:
                told[name] = item.previous


def waive(memory: Memory, plan: Plan) -> None:
    """Forgive debts to channels that are not told of recoveries."""
    for entry in entries(memory):
        for name in list(entry.get("owed", {})):
            channel = plan.alerts.get(name)
            if channel is not None and "recovery" not in channel.tell:
                del entry["owed"][name]
