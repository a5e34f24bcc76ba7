"""What earlier drills found: baselines, pinned digests, accepted changes, and when each copy was last drilled.

One JSON document a target. Only whole drills are recorded; only whole drills that passed become baselines, without what
an exception covered: of that, the earlier values stay, so that it fails again once the exception has expired. Its size
is bounded: one day's highest counts for 30 days, the last 60 drills in short form, the last 100 pinned artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from restore_drill.checks.base import Baseline
from restore_drill.errors import CouldNotVerify
from restore_drill.state import State

MARKER = "restore-drill.json"
_VERSION = 1
_DAY = 86400.0
_WINDOW = 30 * _DAY
_RECENT = 60
_PINS = 100
_GAPS = 500
_ACCEPTED = 500


@dataclass(frozen=True, slots=True)
class DrillSummary:
    """A whole drill of one copy, as history keeps it.

    Attributes:
        finished_at: When it ended (seconds since the epoch).
        taken_at: The time of the snapshot it drilled, 0 when it found none.
        pins: SHA-256 of the stored bytes of each artifact, by key.
        counts: Rows by table; ``files`` and ``bytes`` for a tree.
        gaps: Gaps between recovery points that it reported.
        passed: Whether nothing failed but what an exception covered, and nothing was left unverified.
        excepted: What failed under an exception: ``structure``, and ``rows:TABLE`` for each count.
        identity: By what the snapshot is known from run to run, see ``drawing.identity_of``.
    """

    run: str
    snapshot: str
    key: str
    taken_at: float
    finished_at: float
    passed: bool
    seconds: float = 0.0
    stored_bytes: int = 0
    content_bytes: int = 0
    digest: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    structure: Mapping[str, list[str]] = field(default_factory=dict)
    oldest_point: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()
    excepted: frozenset[str] = frozenset()
    identity: str = ""


class CopyHistory:
    """What is known of one copy. A view of the target's document."""

    def __init__(self, data: dict[str, Any], accepted: list[dict[str, Any]]) -> None:
        self._data = data
        self._accepted = accepted

    @property
    def last_passed(self) -> dict[str, Any] | None:
        """The last whole drill that passed (a :class:`DrillSummary` as JSON), or ``None``.

        A drill of an earlier snapshot than this one's does not replace it.
        """
        return self._data.get("passed")

    @property
    def objects(self) -> int:
        """How many artifacts the last good drill fetched, as far as they are remembered; 0 when there was none."""
        at = (self.last_passed or {}).get("finished_at")
        return sum(each["at"] == at for each in self._data.get("pins", {}).values())

    @property
    def last_drilled(self) -> dict[str, Any] | None:
        """The last whole drill, whatever it found: run, finished_at, taken_at, passed."""
        return self._data.get("drilled")

    @property
    def last_failed(self) -> dict[str, str] | None:
        """Run, verdict and end of the last drill that was not good, unless a whole one was good since.

        Partial drills count here: whoever drills again answers what they found.
        """
        return self._data.get("failed")

    @property
    def judged_until(self) -> float | None:
        """The time of the newest snapshot that a whole drill found: gaps before it have been judged."""
        return self._data.get("judged_until")

    @property
    def oldest_seen(self) -> float | None:
        """The time of the oldest recovery point ever listed (seconds since the epoch)."""
        return self._data.get("oldest_seen")

    @property
    def known_gaps(self) -> list[tuple[float, float]]:
        """Gaps between recovery points that earlier drills reported."""
        return [(first, last) for first, last in self._data.get("gaps", [])]

    def pin(self, key: str) -> str | None:
        """The SHA-256 that an artifact had when it was first drilled.

        ``None`` when it never was, or when a person accepted a change since a drill of it last passed.
        """
        pinned = self._data.get("pins", {}).get(key)
        if pinned and self._accepted_at(f"pin:{key}") <= pinned["at"]:
            return str(pinned["sha256"])
        return None

    def pin_accepted_at(self, key: str) -> float:
        """When a person last accepted that an artifact's digest changed (seconds since the epoch), 0 for never."""
        return self._accepted_at(f"pin:{key}")

    @property
    def pinned(self) -> set[str]:
        """The keys of the artifacts whose digests are known."""
        return set(self._data.get("pins", {}))

    @property
    def names(self) -> set[str]:
        """Every object (table, index, view, trigger) that a drill is compared over."""
        passed = self.last_passed or {}
        names: set[str] = {*passed.get("counts", {}), *self._data.get("highest", {})}
        return names.union(*passed.get("structure", {}).values())

    def sizes_from(self) -> float:
        """Snapshots taken before this are not compared in size (seconds since the epoch)."""
        return max((entry["at"] for entry in self._accepted if entry["what"] == "size"), default=0.0)

    def baseline(self, now: float) -> Baseline:
        """What a new drill is compared with.

        What a person accepted is in force until a snapshot taken after that has passed: a copy may still be drilled by
        a snapshot of before the purge.
        """
        passed = self.last_passed or {}
        at = passed.get("taken_at", 0.0)
        dropped = {
            entry["what"].removeprefix("rows:"): entry["reason"]
            for entry in self._accepted
            if entry["what"].startswith("rows:") and entry["at"] >= at
        }
        counts = {table: count for table, count in passed.get("counts", {}).items() if table not in dropped}
        structure = {
            kind: [name for name in names if name not in dropped] for kind, names in passed.get("structure", {}).items()
        }
        return Baseline(
            initialised=True,
            run=passed.get("run", ""),
            counts=counts,
            highest=self._highest(now),
            structure=structure,
            accepted=dropped,
            kept=passed.get("kept", {}),
        )

    def _highest(self, now: float) -> dict[str, tuple[int, str]]:
        found: dict[str, tuple[int, str]] = {}
        for table, days in self._data.get("highest", {}).items():
            since = max(now - _WINDOW, self._accepted_at(f"rows:{table}"))
            counts = [(count, at) for at, count in days if at > since]
            if counts:
                count, at = max(counts)
                found[table] = (count, datetime.fromtimestamp(at, UTC).date().isoformat())
        return found

    def _accepted_at(self, what: str) -> float:
        return max((entry["at"] for entry in self._accepted if entry["what"] == what), default=0.0)


class TargetHistory:
    """What is known of one target."""

    def __init__(self, document: dict[str, Any] | None = None) -> None:
        self._document = document or {}

    def copy(self, name: str) -> CopyHistory:
        """What is known of one of its copies."""
        return CopyHistory(self._document.get("copies", {}).get(name, {}), self._document.get("accepted", []))

    def accepted_snapshots(self) -> set[str]:
        """Ids of snapshots that a person knows to be damaged, and that no run draws any more."""
        what = (str(each["what"]) for each in self._document.get("accepted", ()))
        return {each.removeprefix("snapshot:") for each in what if each.startswith("snapshot:")}

    def drilled_snapshots(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The newest snapshots that passed a whole drill, as far as they are remembered, by copy and identity."""
        return {
            copy: {
                each["identity"]: {
                    "at": each["finished_at"], "passed": True, "run": each["run"], "id": each["snapshot"]
                }
                for each in data.get("recent", ()) if each.get("passed") and each.get("identity")
            }
            for copy, data in self._document.get("copies", {}).items()
        }  # fmt: skip


class History:
    """What earlier drills found, kept in a state.

    Args:
        state: Where.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._since: str | None = None

    @property
    def state(self) -> State:
        """Where it is kept."""
        return self._state

    @property
    def initialised(self) -> bool:
        """Whether the state was ever set up (asked once)."""
        return bool(self._epoch())

    @property
    def initialised_at(self) -> float | None:
        """When the state was set up (seconds since the epoch), ``None`` when it never was."""
        try:
            return datetime.fromisoformat(self._epoch()).timestamp() if self._epoch() else None
        except ValueError as problem:
            raise _damaged("when it was set up is no time", self._state.where()) from problem

    def _epoch(self) -> str:
        """When the state was set up: documents of an earlier time are forgotten. Empty when it never was."""
        if self._since is None:
            marker = _versioned(self._state.read(MARKER), self._state.where()) or {}
            self._since = str(marker.get("initialised", ""))
        return self._since

    def initialise(self, *, fresh: bool = False) -> bool:
        """Set the state up; returns ``False`` when it was already.

        Args:
            fresh: Forget what earlier drills found: documents older than this are not read any more.
        """
        created = False

        def change(existing: bytes | None) -> bytes:
            nonlocal created
            created = existing is None or fresh
            stamp = datetime.now(UTC).isoformat()
            return json.dumps({"version": _VERSION, "initialised": stamp}).encode() if created else existing or b""

        self._state.update(MARKER, change)
        self._since = None
        return created

    def target(self, name: str) -> TargetHistory:
        """What is known of a target.

        Raises:
            CouldNotVerify: The state was never initialised, or cannot be read.
        """
        if not self.initialised:
            raise CouldNotVerify(
                "there is no state of earlier drills to compare with: it was never initialised",
                looked_at=self._state.where(),
                remedy="Initialise it once: restore-drill baseline init. If it should be there, check state: in the "
                "catalogue.",
            )
        return TargetHistory(self._current(self._state.read(_name(name))))

    def record(self, target: str, copy: str, summary: DrillSummary) -> None:
        """Remember a whole drill."""
        self.record_all({(target, copy): summary})

    def record_all(
        self,
        summaries: Mapping[tuple[str, str], DrillSummary],
        failures: Mapping[tuple[str, str], Mapping[str, str]] | None = None,
    ) -> dict[tuple[str, str], CopyHistory]:
        """Remember drills, by target and copy; returns what was known of these copies before.

        Args:
            summaries: Whole drills.
            failures: Run, verdict and end of drills that failed or could not be verified, partial ones among them.
        """
        failed = failures or {}
        by_target: dict[str, list[str]] = {}
        for target, copy in dict.fromkeys([*summaries, *failed]):
            by_target.setdefault(target, []).append(copy)
        before: dict[tuple[str, str], CopyHistory] = {}

        def edit(target: str, copies: list[str], document: dict[str, Any]) -> None:
            for copy in copies:
                data = document.setdefault("copies", {}).setdefault(copy, {})
                known = {name: data[name] for name in ("drilled", "failed") if name in data}
                before[target, copy] = CopyHistory(known, [])
                if (target, copy) in summaries:
                    _record(document, copy, summaries[target, copy])
                    data.pop("failed", None)
                if (target, copy) in failed:
                    data["failed"] = dict(failed[target, copy])

        changes = {
            _name(target): self._changing(target, partial(edit, target, copies)) for target, copies in by_target.items()
        }
        self._state.update_many(changes)
        return before

    def accept(self, target: str, what: str, reason: str, by: str, at: float) -> None:
        """Remember what a person accepted: ``rows:TABLE``, ``size`` or ``pin:KEY`` changed; ``snapshot:ID`` is lost."""
        entry = {"what": what, "reason": reason, "by": by, "at": at}

        def edit(document: dict[str, Any]) -> None:
            document["accepted"] = [*document.get("accepted", []), entry][-_ACCEPTED:]

        self._change(target, edit)

    def durations(self) -> dict[str, float]:
        """Seconds that the last drills of each target took, for scheduling."""
        document = _decode(self._state.read("durations.json"), self._state.where()) or {}
        return {name: float(seconds) for name, seconds in document.items()}

    def record_durations(self, seconds: Mapping[str, float], cut_short: Collection[str] = ()) -> None:
        """Remember how long each target took.

        Args:
            seconds: That.
            cut_short: Those whose drills went wrong: one that ended early says nothing of how long a good one takes.
        """

        def change(existing: bytes | None) -> bytes:
            known = _decode(existing, self._state.where()) or {}
            longest = {name: max(seconds[name], known.get(name, 0.0)) for name in cut_short}
            return json.dumps({**known, **seconds, **longest}, sort_keys=True).encode()

        self._state.update("durations.json", change)

    def _change(self, target: str, edit: Callable[[dict[str, Any]], None]) -> None:
        self._state.update(_name(target), self._changing(target, edit))

    def _changing(self, target: str, edit: Callable[[dict[str, Any]], None]) -> Callable[[bytes | None], bytes]:
        def change(existing: bytes | None) -> bytes:
            document = self._current(existing) or {"version": _VERSION, "target": target, "since": self._epoch()}
            edit(document)
            return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

        return change

    def _current(self, raw: bytes | None) -> dict[str, Any] | None:
        document = _versioned(raw, self._state.where())
        return document if document and document.get("since") == self._epoch() else None


def _name(target: str) -> str:
    return f"targets/{target}.json"


def _decode(raw: bytes | None, where: str) -> dict[str, Any] | None:
    if raw is None:
        return None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise _damaged("it is not JSON", where) from problem
    if not isinstance(document, dict):
        raise _damaged("it is not a JSON object", where)
    return document


def _versioned(raw: bytes | None, where: str) -> dict[str, Any] | None:
    document = _decode(raw, where)
    if document is not None and document.get("version") != _VERSION:
        raise _damaged(f"it has the version {document.get('version')!r}, this release knows {_VERSION}", where)
    return document


def _damaged(how: str, where: str) -> CouldNotVerify:
    return CouldNotVerify(
        f"the state of earlier drills is damaged: {how}",
        looked_at=where,
        remedy="Restore it from its own backup, or begin anew with restore-drill baseline init --fresh.",
    )


def _record(document: dict[str, Any], copy: str, summary: DrillSummary) -> None:
    data = document.setdefault("copies", {}).setdefault(copy, {})
    short = {
        "run": summary.run,
        "snapshot": summary.snapshot,
        "taken_at": summary.taken_at,
        "finished_at": summary.finished_at,
        "passed": summary.passed,
        "seconds": round(summary.seconds, 3),
        "stored_bytes": summary.stored_bytes,
        **({"identity": summary.identity} if summary.identity else {}),
    }
    data["drilled"] = short
    data["recent"] = [*data.get("recent", []), short][-_RECENT:]
    if summary.taken_at:
        data["judged_until"] = max(summary.taken_at, data.get("judged_until", summary.taken_at))
    if summary.oldest_point:
        data["oldest_seen"] = min(summary.oldest_point, data.get("oldest_seen", summary.oldest_point))
    gaps = {(first, last) for first, last in data.get("gaps", [])} | set(summary.gaps)
    data["gaps"] = sorted(gap for gap in gaps if _is_remembered(gap, summary.finished_at))[-_GAPS:]
    if summary.passed:
        _record_passed(data, summary, CopyHistory(data, document.get("accepted", [])).baseline(summary.finished_at))


def _is_remembered(gap: tuple[float, float], now: float) -> bool:
    """For 400 days, and for 100 times its length: so far back may a policy look whose periods it can empty."""
    first, last = gap
    return last > now - max(400 * _DAY, 100 * (last - first))


def _record_passed(data: dict[str, Any], summary: DrillSummary, before: Baseline) -> None:
    _record_pins(data.setdefault("pins", {}), summary)
    highest = data.setdefault("highest", {})
    kept = {table: count for table, count in before.counts.items() if _is_kept(table, summary)}
    for table in highest.keys() | summary.counts.keys():
        count = None if table in kept else summary.counts.get(table)
        highest[table] = _highest(highest.get(table, []), summary, count)
        if not highest[table]:
            del highest[table]
    if data.get("passed", {}).get("taken_at", 0.0) > summary.taken_at:
        return
    data["passed"] = {
        "run": summary.run,
        "snapshot": summary.snapshot,
        "key": summary.key,
        "taken_at": summary.taken_at,
        "finished_at": summary.finished_at,
        "seconds": round(summary.seconds, 3),
        "stored_bytes": summary.stored_bytes,
        "content_bytes": summary.content_bytes,
        "digest": summary.digest,
        "counts": {**summary.counts, **kept},
        "structure": _structure(summary, before),
        "kept": _origins(kept, summary, before),
    }


def _is_kept(table: str, summary: DrillSummary) -> bool:
    """Whether a failure over this table was excepted: by its own rule, or because it vanished or was emptied."""
    gone = "structure" in summary.excepted and not summary.counts.get(table)
    return gone or f"rows:{table}" in summary.excepted


def _structure(summary: DrillSummary, before: Baseline) -> dict[str, list[str]]:
    """The names that were found, and those that only an exception lets be missing."""
    found = {kind: list(names) for kind, names in summary.structure.items()}
    if "structure" in summary.excepted:
        for kind, names in before.structure.items():
            found[kind] = sorted({*found.get(kind, ()), *names})
    return found


def _origins(kept: Mapping[str, int], summary: DrillSummary, before: Baseline) -> dict[str, str]:
    """The runs that measured what is kept from before."""
    found = {f"rows:{table}": before.run_of(f"rows:{table}") for table in kept}
    return found | ({"structure": before.run_of("structure")} if "structure" in summary.excepted else {})


def _record_pins(pins: dict[str, Any], summary: DrillSummary) -> None:
    """The digest of every artifact, and when a drill last found it so."""
    for key, digest in summary.pins.items():
        if digest:
            pins[key] = {"sha256": digest, "at": summary.finished_at}
    for key in sorted(pins, key=lambda key: float(pins[key]["at"]))[:-_PINS]:
        del pins[key]


def _highest(days: list[list[float]], summary: DrillSummary, count: int | None) -> list[list[float]]:
    """The highest count of each day's snapshots, for 30 days: time of the snapshot, and the count."""
    best: dict[int, list[float]] = {}
    for then, value in [*days, *([[summary.taken_at, count]] if count is not None else [])]:
        if summary.finished_at - _WINDOW < then <= summary.finished_at + _DAY:  # a clock that was wrong is forgotten
            known = best.setdefault(int(then // _DAY), [then, value])
            if value >= known[1]:
                known[:] = [then, value]
    return [best[day] for day in sorted(best)]
