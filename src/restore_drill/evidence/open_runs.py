"""Runs under way, as markers in the state: a run that ends without a word is noticed by its marker.

``runs/<run id>.json`` is written before the first drill and removed when the run's entry is in the ledger. A marker
whose process is gone is claimed by whoever finds it, on the condition that nobody else did meanwhile.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.errors import MISSHAPEN, CouldNotVerify
from restore_drill.evidence import catalogued, surroundings
from restore_drill.evidence.moments import stamp
from restore_drill.plan import Plan, PlannedCase
from restore_drill.secrets import redact
from restore_drill.state import State

if TYPE_CHECKING:
    from restore_drill.run import Run

FOLDER = "runs"
_VERSION = 1
#: What is asked of a marker before and while it is settled.
_NEEDED = frozenset({
    "run", "started", "estate", "operator", "arguments", "process", "patience_seconds", "reports", "catalogue",
    "planned", "of_cases", "exceptions", "population",
})  # fmt: skip
#: Seconds after which a run of another machine, whose process cannot be asked after, is taken for dead; at least.
_PATIENCE = 86400.0


class _Taken(Exception):
    """Somebody else has the marker."""


def name_of(run: str) -> str:
    """The name of a run's marker."""
    return f"{FOLDER}/{run}.json"


def describe(run: Run, planned: Iterable[PlannedCase], arguments: Iterable[str], started: float) -> dict[str, Any]:
    """A marker: all that must be told of the run should it never tell itself."""
    selected: dict[str, list[list[str]]] = {}
    for case in planned:
        selected.setdefault(f"{case.target}/{case.copy}", []).append([case.case, case.detail])
    shard = run.options.shard
    return {
        "version": _VERSION,
        "run": run.id,
        "started": stamp(started),
        "estate": "demo" if run.plan.demo else "user",
        "operator": surroundings.operator(),
        "arguments": [redact(argument) for argument in arguments],
        "process": this_process(),
        "patience_seconds": max(_PATIENCE, _longest(run.plan)),
        "reports": str(run.directory.absolute()),
        "catalogue": {"path": run.plan.catalogue, "sha256": run.plan.digest},
        "planned": selected,
        "of_cases": sum(1 for _ in run.plan.cases()),
        **({"shard": shard.as_evidence()} if shard else {}),
        "exceptions": catalogued.exceptions(run.plan, {}, started),
        "population": catalogued.population(run.plan),
    }


def _longest(plan: Plan) -> float:
    """The longest that a drill may take."""
    stages = ("fetch", "restore", "check")
    return max((sum(map(target.deadline, stages)) for target in plan.targets), default=0.0)


def begin(state: State, marker: Mapping[str, Any]) -> None:
    """Write a run's marker.

    Raises:
        CouldNotVerify: The state cannot be written.
    """
    state.update(name_of(marker["run"]), lambda _: json.dumps(marker, separators=(",", ":")).encode())


def end(state: State, run: str) -> None:
    """Remove a run's marker.

    Raises:
        CouldNotVerify: The state cannot be written.
    """
    state.remove(name_of(run))


def claim_dead(state: State, now: float, *, but: str = "") -> list[dict[str, Any]]:
    """The markers of runs that are no more, the oldest first; each is this process's to settle from here on.

    Args:
        state: Where markers are.
        now: The time (seconds since the epoch).
        but: A run that is not looked at: one's own.

    Raises:
        CouldNotVerify: The state cannot be read or written, or a marker is damaged.
    """
    found = []
    for name in state.names(FOLDER):
        if name == name_of(but):
            continue
        raw = state.read(name)
        if raw is None:
            continue
        marker = _decode(raw, name, state)
        try:
            if not _is_dead(marker, now):
                continue
        except MISSHAPEN as problem:
            raise damaged(name, state) from problem
        claimed = _claim(state, name, now)
        if claimed is not None:
            found.append(claimed)
    return found


def _claim(state: State, name: str, now: float) -> dict[str, Any] | None:
    """Put this process's name into a marker, if it is still there and nobody's who lives."""
    claimed: list[dict[str, Any]] = []

    def change(existing: bytes | None) -> bytes:
        if existing is None:
            raise _Taken
        marker = _decode(existing, name, state)
        if not _is_dead(marker, now):
            raise _Taken
        marker["claimed"] = {"at": stamp(now), "process": this_process()}
        claimed[:] = [marker]
        return json.dumps(marker, separators=(",", ":")).encode()

    try:
        state.update(name, change)
    except _Taken:
        return None
    return claimed[0]


def _is_dead(marker: Mapping[str, Any], now: float) -> bool:
    """Whether the run is no more, and whoever began to settle it neither."""
    claimed = marker.get("claimed")
    if claimed and not gone(claimed["process"], claimed["at"], _PATIENCE, now):
        return False
    return gone(marker["process"], marker["started"], marker["patience_seconds"], now)


def gone(process: Mapping[str, Any], since: str, patience: float, now: float) -> bool:
    """Whether a process is no more.

    Of this machine, since this boot and in this process namespace, that is known; of any other it is supposed once
    ``patience`` seconds have passed.
    """
    here = this_process()
    if any(process.get(name) != here[name] for name in ("host", "boot", "namespace")):
        return now - datetime.fromisoformat(since).timestamp() > patience
    return _began(int(process["pid"])) != str(process["began"])


def this_process() -> dict[str, Any]:
    """Which process this is, so that no later one is taken for it."""
    return {
        "host": socket.gethostname(),
        "boot": _said(lambda: Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()),
        "namespace": _said(lambda: os.readlink("/proc/self/ns/pid")),  # noqa: PTH115 - it leads nowhere
        "pid": os.getpid(),
        "began": _began(os.getpid()),
    }


def _began(pid: int) -> str:
    """When a process was started, in ticks since the boot (proc(5), stat, field 22); ``""`` when there is none."""
    stat = _said(lambda: Path(f"/proc/{pid}/stat").read_text("ascii", "replace"))
    fields = stat.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _said(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except OSError:
        return ""


def _decode(raw: bytes, name: str, state: State) -> dict[str, Any]:
    try:
        marker = json.loads(raw)
        known = marker["version"] == _VERSION and marker["run"] and marker["process"] and marker.keys() >= _NEEDED
        known = known and datetime.fromisoformat(marker["started"]).tzinfo is not None
    except MISSHAPEN:
        known = False
    if not known:
        raise damaged(name, state)
    found: dict[str, Any] = marker
    return found


def damaged(name: str, state: State) -> CouldNotVerify:
    """What is said of a marker that does not hold what it must."""
    return CouldNotVerify(
        "the marker of a run under way is damaged, or of another release",
        looked_at=f"{state.where()}/{name}",
        remedy="Find out what became of that run, then remove the file.",
    )
