"""The population reconciled: for every copy of every target, what was due in a period and what became of it.

pytest judges what was selected; this judges what should have been. Pure functions of evidence documents
(``restore-drill/evidence/2``), read once, in the order of the ledger, in memory that grows with the targets and with
what is listed of the period asked for, not with the ledger.

What counts: a drill whose scope is whole, of the newest snapshot (one that was named proves another thing), in a run of
the user's own estate; runs of the demo estate are left aside as soon as the ledger holds anything else.

A copy's calendar (:mod:`restore_drill.policy.calendar`) begins at the start of the first run whose catalogue lists it,
whatever that run selected, and ends when a later run of the same catalogue does not list it any more. A catalogue is
known by its path; one that is read elsewhere (a fresh checkout) is the same when at least half of all copies of both
are.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from restore_drill.policy.calendar import Calendar, Held, Window, tolerance
from restore_drill.policy.standings import Across as Across
from restore_drill.policy.standings import LastDrill as LastDrill
from restore_drill.policy.standings import LastGood as LastGood
from restore_drill.policy.standings import Occasion as Occasion
from restore_drill.policy.standings import Recent as Recent
from restore_drill.policy.standings import Standing as Standing
from restore_drill.policy.standings import Totals as Totals
from restore_drill.policy.standings import judge, name_of, recent
from restore_drill.policy.standings import seconds as seconds

_GOOD = ("passed", "excepted")
#: Paths remembered of a catalogue.
_PATHS = 8
_DAY = 86400.0


@dataclass(slots=True)
class Population:
    """The population of a ledger.

    Attributes:
        since, until: The period: windows that ended after ``since`` and not after ``until`` were due in it.
        occasions: Every window that was due in the period, by time, target and copy.
        standings: How every copy stands, by (target, copy), in the order of the catalogue.
        totals: Of the period; ``by_tier`` the same by tier.
        across: Cases across copies that are not passed, by (target, case).
        exceptions: The last that is known of every exception, by id, with ``seen`` (when) and ``run``.
        runs: How many runs of the period ended how; ``complete``, ``crashed``, …
        first, last: The start of the first and of the last run read.
        of_demo: Runs of the demo estate that were left aside.
        samples: What the last run that drew from them says of each copy's older snapshots, with ``seen`` (when).
    """

    now: float
    since: float | None
    until: float
    occasions: list[Occasion] = field(default_factory=list)
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    by_tier: dict[str, Totals] = field(default_factory=dict)
    across: dict[tuple[str, str], Across] = field(default_factory=dict)
    exceptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None
    of_demo: int = 0
    samples: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        documents: Iterable[Mapping[str, Any]],
        *,
        now: float | datetime,
        since: float | datetime | None = None,
        until: float | datetime | None = None,
        initialised: float | datetime | None = None,
        catalogue: Iterable[Mapping[str, Any]] = (),
    ) -> Population:
        """Read documents in the order of the ledger.

        Args:
            documents: Of every run, from the ledger's first.
            since: Where the period begins; the beginning of all when left out.
            until: Where it ends.
            now: The time at which it is asked (a moment, or seconds since the epoch), ``until`` at the latest.
            initialised: When the state was initialised: what ``catalogue`` lists counts from then while there is no
                document at all.
            catalogue: What the catalogue lists today, as a document's ``population`` does. What no document lists is
                among the standings, too, and has no calendar before a run has listed it.
        """
        moment = seconds(now)
        end = min(moment, seconds(until)) if until is not None else moment
        reader = _Reader(cls(moment, None if since is None else seconds(since), end))
        for document in documents:
            reader.read(document)
        reader.take(catalogue, None if initialised is None else seconds(initialised))
        return reader.close()

    @property
    def current(self) -> list[Standing]:
        """The copies that are drilled today."""
        return [standing for standing in self.standings.values() if standing.retired is None]

    @property
    def overdue(self) -> list[Standing]:
        """The copies that are overdue."""
        return [standing for standing in self.current if standing.overdue]

    @property
    def failing(self) -> list[Standing]:
        """The copies that are failing."""
        return [standing for standing in self.current if standing.failing_since is not None]

    @property
    def unverified(self) -> list[Standing]:
        """The copies of which nothing is known since some drill could not be verified."""
        return [standing for standing in self.current if standing.unverified_since is not None]


class _Member:
    """One copy while documents are read: its standing, its calendar, and drills that may not be in order yet."""

    def __init__(self, standing: Standing, reader: _Reader) -> None:
        self.standing = standing
        self.lineages: set[int] = set()
        self._reader = reader
        self._told: list[tuple[float, int, Held | float]] = []
        self._number = 0
        self._every = 0.0
        self._calendar: Calendar | None = None
        self._done = float("-inf")  # the end of the last window that was counted

    def list(self, moment: float, every: float) -> None:
        """A run lists it, with this interval."""
        if self._calendar is None:
            first = max(moment, self._done)  # a clock that was set back makes nothing due twice
            self.standing.first_seen, self.standing.retired = first, None
            self._calendar = Calendar(first, every, self._emit)
        elif every != self._every:
            self._tell(moment, every)
        self._every = every

    def hold(self, held: Held) -> None:
        """A drill that counts."""
        self._tell(held.finished, held)

    def end(self, moment: float) -> None:
        """It is retired, or there is nothing more to read."""
        while self._told:
            self._pass_on()
        if self._calendar is not None:
            self._calendar.close(moment)
        self._calendar = None

    def judge(self, now: float) -> None:
        """Say when the next drill is due, and whether it is overdue."""
        standing = self.standing
        since = standing.last_whole if standing.last_whole is not None else standing.first_seen
        if since is not None and standing.retired is None:
            standing.due_by = since + self._every
            standing.overdue = now > standing.due_by + tolerance(self._every)

    def _tell(self, moment: float, what: Held | float) -> None:
        """Runs that crashed, or ran side by side, are recorded later than they were: sort for two intervals."""
        if self._calendar is None:
            return
        self._number += 1
        heapq.heappush(self._told, (moment, self._number, what))
        while self._told and self._told[0][0] < self._reader.latest - 2 * self._every - _DAY:
            self._pass_on()

    def _pass_on(self) -> None:
        assert self._calendar is not None  # noqa: S101 - nothing is told to one that has no calendar
        moment, _, what = heapq.heappop(self._told)
        if moment > self._reader.population.now + tolerance(self._every):
            return  # no clock is trusted further
        if isinstance(what, Held):
            self._calendar.drill(what)
        else:
            self._calendar.change(moment, what)

    def _emit(self, window: Window) -> None:
        self._done = window.end
        self._reader.count(self.standing, window)


@dataclass(slots=True)
class _Lineage:
    """One catalogue, wherever it is checked out."""

    number: int
    paths: deque[str] = field(default_factory=lambda: deque(maxlen=_PATHS))
    members: frozenset[tuple[str, str]] = frozenset()

    def likeness(self, members: frozenset[tuple[str, str]]) -> float:
        """The share of all copies of both catalogues that are in both."""
        return len(self.members & members) / max(1, len(self.members | members))


class _Reader:
    """Reads documents one by one."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.latest = float("-inf")
        self._members: dict[tuple[str, str], _Member] = {}
        self._lineages: list[_Lineage] = []
        self._of_demo = 0
        self._of_user = 0

    def read(self, document: Mapping[str, Any]) -> None:
        """The next entry's evidence."""
        run = document["run"]
        if run.get("estate") == "demo":
            self._of_demo += 1
            if self._of_user:
                return
        else:
            self._of_user += 1
            if self._of_user == 1 and self._of_demo:  # all that was read so far
                before = self.population
                self.population = Population(before.now, before.since, before.until)
                self._members, self._lineages, self.latest = {}, [], float("-inf")
        self._count_run(run)
        started = seconds(run["started"])
        finished = seconds(run.get("finished") or run["started"])
        trusted = started <= self.population.now + _DAY  # no clock is trusted further
        self.latest = max(self.latest, finished) if trusted else self.latest
        # What was written later on behalf of a run that crashed may have an older catalogue.
        if trusted and "recorded_by" not in run:
            self._list(document, started)
        for drill in document.get("drills", ()):
            self._drill(run, drill, finished)
        self._remark(document, finished)

    def take(self, catalogue: Iterable[Mapping[str, Any]], initialised: float | None) -> None:
        """What today's catalogue lists."""
        begins = None if self._members else initialised
        for key, listed, copy in _listed(catalogue):
            member = self._member(key, listed, copy)
            if begins is not None:
                member.list(begins, float(listed["drill_every_seconds"]))
            elif member.standing.retired is not None:
                member.standing.retired = member.standing.first_seen = None

    def close(self) -> Population:
        """The population."""
        population = self.population
        for member in self._members.values():
            member.end(population.now)
            member.judge(population.now)
        population.of_demo = self._of_demo if self._of_user else 0
        population.standings = {key: member.standing for key, member in self._members.items()}
        population.occasions.sort(key=lambda each: (each.by, each.target, each.copy))
        return population

    def count(self, standing: Standing, window: Window) -> None:
        """A window ended of which all is known."""
        if not self._in_period(window.end):
            return
        last = window.held[-1] if window.held else None
        occasion = Occasion(
            standing.target,
            standing.copy,
            standing.tier,
            window.start,
            window.end,
            last.outcome if last else "missed",
            last.run if last else "",
            last.finished if last else None,
            tuple(held.run for held in window.held[:-1]),
        )
        population = self.population
        population.occasions.append(occasion)
        population.totals.count(occasion.outcome)
        population.by_tier.setdefault(standing.tier, Totals()).count(occasion.outcome)

    def _in_period(self, moment: float) -> bool:
        since = self.population.since
        return (since is None or since < moment) and moment <= self.population.until

    def _count_run(self, run: Mapping[str, Any]) -> None:
        population, started = self.population, seconds(run["started"])
        population.first = started if population.first is None else min(population.first, started)
        population.last = started if population.last is None else max(population.last, started)
        if self._in_period(started):
            ended = run.get("ended", "complete")
            population.runs[ended] = population.runs.get(ended, 0) + 1

    # --- who is in it -------------------------------------------------------------------------------------------------

    def _list(self, document: Mapping[str, Any], started: float) -> None:
        """Begin, go on with and end calendars, as a run's catalogue lists copies."""
        listed = list(_listed(document.get("population", ())))
        keys = frozenset(key for key, _, _ in listed)
        lineage = self._lineage(str(document["catalogue"]["path"]), keys)
        for key in lineage.members - keys:
            member = self._members[key]
            member.lineages.discard(lineage.number)
            if not member.lineages:
                member.end(started)
                member.standing.retired = started
        lineage.members = keys
        for key, entry, copy in listed:
            member = self._member(key, entry, copy)
            member.lineages.add(lineage.number)
            member.list(started, float(entry["drill_every_seconds"]))

    def _lineage(self, path: str, members: frozenset[tuple[str, str]]) -> _Lineage:
        found = next((each for each in self._lineages if path in each.paths), None)
        if found is None:
            alike = max(self._lineages, key=lambda each: each.likeness(members), default=None)
            found = alike if alike is not None and 2 * alike.likeness(members) >= 1 else None
        if found is None:
            found = _Lineage(len(self._lineages))
            self._lineages.append(found)
        if path not in found.paths:
            found.paths.append(path)
        return found

    def _member(self, key: tuple[str, str], entry: Mapping[str, Any], copy: Mapping[str, Any]) -> _Member:
        if key not in self._members:
            self._members[key] = _Member(Standing(*key), self)
        standing = self._members[key].standing
        standing.tier, standing.owner = str(entry["tier"]), entry.get("owner")
        standing.engine, standing.store = str(entry.get("engine", "")), str(copy.get("store", ""))
        standing.rpo_seconds, standing.rto_seconds = entry.get("rpo_seconds"), entry.get("rto_seconds")
        standing.drill_every_seconds = float(entry["drill_every_seconds"])
        return self._members[key]

    # --- what was drilled ---------------------------------------------------------------------------------------------

    def _drill(self, run: Mapping[str, Any], drill: Mapping[str, Any], run_finished: float) -> None:
        member = self._members.get((drill["target"], drill["copy"]))
        if member is None:
            return
        finished = seconds(drill["finished"]) if drill.get("finished") else run_finished
        verdict = str(drill["verdict"])
        counts = drill.get("scope") == "whole" and drill.get("why", {}).get("rule", "newest") == "newest"
        if counts:
            member.hold(Held(finished, run["id"], verdict))
        standing = member.standing
        if run.get("ended") == "crashed" and standing.last is not None and finished < standing.last.finished:
            return  # recorded on its behalf, after others that came later
        standing.last = LastDrill(run["id"], finished, verdict, str(drill.get("scope", "")))
        standing.recent.append(recent(run["id"], drill, finished))
        if counts and finished <= self.population.now + tolerance(standing.drill_every_seconds):
            standing.last_whole = max(finished, standing.last_whole or finished)
        judge(standing, drill, finished, counts=counts)

    def _remark(self, document: Mapping[str, Any], finished: float) -> None:
        """Cases across copies, older snapshots, and exceptions."""
        run, population = document["run"]["id"], self.population
        for part in document.get("targets", ()):
            for case in part["cases"]:
                key = (part["target"], name_of(case))
                if case["verdict"] in _GOOD:
                    population.across.pop(key, None)
                    continue
                before = population.across.get(key)
                since = before.since if before and before.verdict == case["verdict"] else finished
                population.across[key] = Across(*key, case["verdict"], case.get("message", ""), since, run)
        for block in document.get("samples", ()):
            if not block.get("problem"):
                population.samples[block["target"], block["copy"]] = {**block, "seen": finished}
        for exception in document.get("exceptions", ()):
            known = population.exceptions.get(exception["id"])
            if known is None or exception["state"] != "not exercised":
                known = {"seen": finished, "run": run, **exception}
            population.exceptions[exception["id"]] = {
                **exception, "state": known["state"], "seen": known["seen"], "run": known["run"]
            }  # fmt: skip


def _listed(
    population: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[tuple[str, str], Mapping[str, Any], Mapping[str, Any]]]:
    for entry in population:
        for copy in entry["copies"]:
            yield (entry["target"], copy["copy"]), entry, copy
