"""The page of a period: the population first, then failures with what answered them, then target by target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from restore_drill.reporting import causes, model
from restore_drill.reporting.gathering import LISTED, Failure, Gathering, Worst
from restore_drill.reporting.model import Document, Key, Target, worst
from restore_drill.reporting.page import Controls, Due, LedgerState, due, exceptions_told, ledger_notices
from restore_drill.reporting.words import counted, instant, listed, number

if TYPE_CHECKING:
    from restore_drill.policy.population import Occasion, Population


@dataclass(frozen=True)
class TierRow:
    """One tier of a period: its sums, and the worst that it reached."""

    name: str
    due: Due
    rpo: model.Objective
    rto: model.Objective


@dataclass(frozen=True)
class PeriodPage:
    """Everything that the template of a period writes."""

    title: str
    since: float | None
    until: float
    gathering: Gathering
    population: Population
    controls: Controls | None
    ledger: LedgerState | None

    #: So many failures are listed one by one.
    listed = LISTED

    @property
    def ended(self) -> float:
        """The moment up to which things are told."""
        return self.until

    @cached_property
    def due(self) -> Due:
        """The reckoning of the whole period."""
        return due(self.population.totals, self.title)

    @cached_property
    def latest(self) -> Document:
        """The state at the end of the period."""
        stamp = datetime.fromtimestamp(self.until, UTC).isoformat().replace("+00:00", "Z")
        found = self.gathering.latest()
        return {**found, "run": {**found["run"], "finished": stamp}}

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The targets by their last drills, the worst first."""
        return model.targets(self.latest, self.population)

    @cached_property
    def causes(self) -> tuple[causes.Cause, ...]:
        """What still needs a human at the end of the period."""
        return causes.causes(self.latest, self.targets, self.population)

    @property
    def failures(self) -> list[Failure]:
        """What failed in the period, the latest first."""
        return sorted(self.gathering.failures, key=lambda failure: failure.first, reverse=True)

    @property
    def verdict(self) -> str:
        """The worst outcome of the period, and of what needs a human at its end; without both, could not verify."""
        return worst([*(part.state for part in self.due.parts if part.count), *(each.state for each in self.causes)])

    @property
    def sentence(self) -> str:
        """The period in one sentence."""
        if not self.due.due:
            runs = sum(self.gathering.runs.values())
            return f"No drill fell due in {self.title}; {counted(runs, 'run')} took place{self._at_its_end}."
        parts = [part for part in self.due.parts if part.count and part.state != "passed"]
        bad = [f"{number(part.count)} {_SAID[part.state]}" for part in parts]
        good = next((part.count for part in self.due.parts if part.state == "passed"), 0)
        if not bad:
            return f"All {counted(self.due.due, 'drill')} due in {self.title} ran and passed{self._at_its_end}."
        return f"Of {number(self.due.due)} drills due in {self.title}, {listed([f'{number(good)} passed', *bad])}."

    @property
    def _at_its_end(self) -> str:
        """What no window that is over tells: the last night's failure."""
        count = len(self.causes)
        return f"; at its end {counted(count, 'cause')} {'needs' if count == 1 else 'need'} a human" if count else ""

    @property
    def notices(self) -> tuple[tuple[str, str], ...]:
        """What must be said loudly."""
        told = list(ledger_notices(self.ledger))
        if "demo" in self.gathering.estates:
            told.insert(0, ("Demo", "These are runs of the demo estate: no evidence of your own backups."))
        return tuple(told)

    @cached_property
    def tiers(self) -> tuple[TierRow, ...]:
        """The tiers, the strictest first."""
        rows = [
            TierRow(name, due(totals, self.title), self._worst(name, "rpo"), self._worst(name, "rto"))
            for name, totals in self.population.by_tier.items()
        ]
        return tuple(sorted(rows, key=lambda row: (row.rpo.wanted or float("inf"), row.name)))

    def _worst(self, tier: str, which: str) -> model.Objective:
        copies = [key for each in self.latest["population"] if each["tier"] == tier for key in _keys(each)]
        found = {key: self.gathering.worst.get((*key, which), Worst()) for key in copies}
        found = {key: each for key, each in found.items() if each.asked or each.failed}
        reached = {key: each for key, each in found.items() if each.reached is not None}
        failed = sum(each.failed for each in found.values())
        key = max(reached, key=lambda each: reached[each].share, default=None)
        top = reached[key] if key else Worst()
        unknown = len(found) - len(reached)
        state = model.attained(bool(found), bool(failed), bool(reached), bool(unknown))
        return model.Objective(top.wanted, top.reached, " / ".join(key) if key else "", state, unknown)

    @cached_property
    def windows(self) -> Mapping[Key, list[Occasion]]:
        """The windows that were due, by copy."""
        found: dict[Key, list[Occasion]] = {}
        for occasion in self.population.occasions:
            found.setdefault((occasion.target, occasion.copy), []).append(occasion)
        return found

    @property
    def left(self) -> tuple[tuple[str, float, str], ...]:
        """Backups that left the catalogue in the period: name, when, and how they stood then."""
        found = [
            (
                f"{each.target} / {each.copy}",
                each.retired,
                _STOOD[each.failing_since is None, each.unverified_since is None],
            )
            for each in self.population.standings.values()
            if each.retired is not None and (self.since or 0.0) <= each.retired < self.until
        ]
        return tuple(sorted(found, key=lambda each: each[1]))

    @property
    def exceptions(self) -> tuple[tuple[str, Document], ...]:
        """Exceptions as they stood at the end."""
        return exceptions_told(self.latest["exceptions"], self.until)

    @property
    def environment(self) -> Iterator[tuple[str, str]]:
        """Who ran, with what, how the runs ended."""
        found = self.gathering
        since = instant(self.since) if self.since is not None else "the first run"
        yield "Period", f"{since} to {instant(self.until)}"
        runs = [f"{number(count)} {_ENDED.get(ended, ended)}" for ended, count in found.runs.items()]
        yield "Runs", listed(runs) or "none"
        operators = [f"{who} ({counted(count, 'run')})" for who, count in found.operators.most_common(20)]
        yield "Run by", listed(operators) or "nobody"
        yield "restore-drill", listed(sorted(found.versions)) or "not known"
        changes = [f"{digest[:16]}… from {instant(at)}" for digest, at in list(found.catalogues.items())[-20:]]
        yield f"Catalogues ({len(found.catalogues)})", listed(changes) or "none"


_SAID = {"failed": "failed", "error": "could not be verified", "missed": "were missed", "excepted": "were excepted"}
_STOOD = {
    (True, True): "not failing then",
    (True, False): "could not be verified then",
    (False, True): "FAILING then",
    (False, False): "FAILING then",
}
_ENDED = {"complete": "ended by themselves", "interrupted": "interrupted", "crashed": "crashed", "refused": "refused"}


def _keys(listing: Document) -> Iterator[Key]:
    for copy in listing.get("copies", ()):
        yield listing["target"], copy["copy"]
