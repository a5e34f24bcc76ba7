"""``restore-drill status``: whether everything that should have been drilled was, from the ledger alone."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from restore_drill.cli import add_catalogue, find_catalogue, unknown_target
from restore_drill.errors import COULD_NOT_VERIFY, MISSHAPEN, CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.policy.population import Population, Standing, Totals
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.chronicle import Chronicle
    from restore_drill.ledger.base import Entry
    from restore_drill.plan import Plan
    from restore_drill.reporting.span import Span
    from restore_drill.uncovered import Uncovered

#: The period that is reconciled when none is named.
_PERIOD = "30d"
#: The form of evidence that is understood.
_FORM = "restore-drill/evidence/2"


@dataclass(slots=True)
class Status:
    """All that is told.

    Attributes:
        span: The period that is reconciled.
        listed: The copies of today's catalogue.
        problems: What could not be read, or does not fit together; makes the status 75.
        entries, unsigned: Entries of the ledger, and how many of them nobody signed.
        uncovered: What no target covers, by store; ``None`` when it was not asked for.
        told: What became of alerts, in lines.
        crashed: Evidence that was written just now on behalf of runs that ended without a word.
    """

    plan: Plan
    span: Span
    population: Population
    where: str
    listed: frozenset[tuple[str, str]]
    problems: list[str] = field(default_factory=list)
    entries: int = 0
    unsigned: int = 0
    last_run: str = ""
    uncovered: list[Uncovered] | None = None
    told: list[str] = field(default_factory=list)
    crashed: list[dict[str, Any]] = field(default_factory=list)
    target: str = ""

    @property
    def copies(self) -> list[Standing]:
        """The copies of today's catalogue (of one target, when one was asked for), tier by tier."""
        tiers = {tier: number for number, tier in enumerate(self.plan.tiers)}
        found = [standing for key, standing in self.population.standings.items() if key in self.listed]
        found = [standing for standing in found if standing.target == self.target or not self.target]
        return sorted(found, key=lambda each: (tiers.get(each.tier, len(tiers)), each.tier))

    @property
    def others(self) -> list[Standing]:
        """Copies that the ledger still counts and today's catalogue does not list."""
        return [each for each in self.population.current if (each.target, each.copy) not in self.listed]

    @property
    def left(self) -> list[Standing]:
        """Copies that left their catalogue in the period, by time: whoever deletes what fails is seen."""
        found = self.population.standings.values()
        gone = [each for each in found if each.retired is not None and self.target in ("", each.target)]
        in_period = [each for each in gone if self.span.since <= (each.retired or 0.0) <= self.span.until]
        return sorted(in_period, key=lambda each: each.retired or 0.0)

    @property
    def samples(self) -> list[dict[str, Any]]:
        """What is known of the older snapshots of these copies, where runs drew from them."""
        known = self.population.samples
        return [known[each.target, each.copy] for each in self.copies if (each.target, each.copy) in known]

    @property
    def across(self) -> list[Any]:
        """Cases across copies that failed or could not be verified when they last ran, if they are still asked for."""
        names = {standing.target for standing in self.copies}
        asked = {(each.target, "/".join(filter(None, (each.case, each.detail)))) for each in self.plan.cases()}
        found = self.population.across.values()
        return [each for each in found if each.target in names and (each.target, each.case) in asked]

    @property
    def sums(self) -> tuple[Totals, dict[str, Totals]]:
        """What became of what was due in the period: in all, and by tier."""
        if not self.target:
            return self.population.totals, self.population.by_tier
        whole, tiers = Totals(), dict[str, Totals]()
        for occasion in self.population.occasions:
            if occasion.target == self.target:
                whole.count(occasion.outcome)
                tiers.setdefault(occasion.tier, Totals()).count(occasion.outcome)
        return whole, tiers

    @property
    def exit_status(self) -> int:
        """1: a drill is overdue, or a backup is failing. 75: nothing is, as far as is known, and not all is."""
        failed = any(each.verdict == "failed" for each in self.across)
        failed |= any(each["failed"] for each in self.samples)
        if failed or any(each.overdue or each.failing_since is not None for each in self.copies):
            return 1
        unknown = any(each.unverified_since is not None for each in self.copies) or bool(self.across)
        unlisted = any(each.problem for each in self.uncovered or ())
        return COULD_NOT_VERIFY if self.problems or unknown or unlisted else 0


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--from", dest="since", metavar="DAY", help="first day of the period, UTC")
    parser.add_argument("--to", dest="until", metavar="DAY", help="its last day (default: today)")
    parser.add_argument("--period", metavar="PERIOD",
                        help=f"2026, 2026Q4, 2026-10, 2026-W47, 2026-11-23 or 30d (default: {_PERIOD})")  # fmt: skip
    parser.add_argument("--target", metavar="NAME", help="only this target")
    parser.add_argument("--uncovered", action="store_true",
                        help="list every store, and what lies there that no target covers")  # fmt: skip
    parser.add_argument("--alert", action="store_true", help="tell the catalogue's alerts what is overdue")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_catalogue(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tell how every copy stands, and what became of what was due; see :attr:`Status.exit_status`."""
    now = time.time()
    span = _span(arguments, datetime.fromtimestamp(now, UTC))
    try:
        with _plan(arguments) as plan:
            if arguments.target and arguments.target not in plan.by_name:
                raise unknown_target(plan, arguments.target)
            status = _gather(plan, span, now, whole=arguments.json or arguments.alert)
            status.target = arguments.target or ""
            if arguments.uncovered:
                from restore_drill.uncovered import look

                status.uncovered = look(plan)
            if arguments.alert:
                from restore_drill.alerting import alert_overdue

                status.told = alert_overdue(plan, status.population, documents=status.crashed, now=now).lines()
    except UsageProblem:
        raise
    except RestoreDrillError as problem:
        print(redact(f"restore-drill status: {problem}"), file=sys.stderr)
        return COULD_NOT_VERIFY
    _print(status, as_json=arguments.json)
    return status.exit_status


def _print(status: Status, *, as_json: bool) -> None:
    if as_json:
        from restore_drill.cli.status_json import as_json as plain

        print(redact(json.dumps(plain(status), indent=1)))
        return
    from restore_drill.cli.status_text import lines

    print(redact("\n".join(lines(status))))


def _span(arguments: argparse.Namespace, now: datetime) -> Span:
    from restore_drill.reporting.span import between, named

    if arguments.period and (arguments.since or arguments.until):
        raise UsageProblem("--period and --from were both given", remedy="Give one of them.")
    if arguments.since or arguments.until:
        return between(arguments.since, arguments.until, now)
    return named(arguments.period or _PERIOD, now)


@contextmanager
def _plan(arguments: argparse.Namespace) -> Iterator[Plan]:
    from restore_drill.catalogue.load import load

    plan = load(find_catalogue(arguments), references=False)
    if not plan.demo:
        yield plan
        return
    from restore_drill.lifecycle import fit_demo, start_demo

    plan = fit_demo(plan)
    estate = start_demo(plan) if arguments.uncovered else None  # its offsite store must be served
    try:
        yield plan
    finally:
        if estate is not None:
            estate.close()


def _gather(plan: Plan, span: Span, now: float, *, whole: bool) -> Status:
    """Read the ledger once.

    Args:
        plan: Of the catalogue.
        span: The period.
        now: Seconds since the epoch.
        whole: Also what the stages measured, which trends are made of.

    Raises:
        CouldNotVerify: There is no state, or the ledger cannot be read.
    """
    from restore_drill.chronicle import Chronicle
    from restore_drill.cli.status_reading import entries
    from restore_drill.evidence.catalogued import population

    chronicle = Chronicle.of_plan(plan)
    since = chronicle.history.initialised_at
    if since is None:
        raise CouldNotVerify(
            "nothing is known of earlier drills: the state was never initialised",
            looked_at=chronicle.history.state.where(),
            remedy="Run restore-drill baseline init --catalogue " + plan.catalogue,
        )
    catalogue = population(plan)
    listed = frozenset((each["target"], copy["copy"]) for each in catalogue for copy in each["copies"])
    status = Status(plan, span, Population(now, None, now), chronicle.ledger.where(), listed)
    _settle(chronicle, status, now)
    try:
        documents = _documents(chronicle.ledger.entries() if whole else entries(chronicle.ledger), status)
        status.population = Population.of(
            documents, now=now, since=span.since, until=span.until, initialised=since, catalogue=catalogue
        )
    except MISSHAPEN as problem:
        raise CouldNotVerify(
            f"entry {status.entries} of the ledger cannot be understood",
            looked_at=status.where,
            remedy="See restore-drill ledger verify.",
        ) from problem
    return status


def _settle(chronicle: Chronicle, status: Status, now: float) -> None:
    """Put runs that crashed on record first: they are part of what is told."""
    try:
        status.crashed += chronicle.settle("status", now)
    except RestoreDrillError as problem:
        status.problems.append(f"a run that crashed could not be put on record: {problem}")
    status.problems += chronicle.problems


def _documents(entries: Iterator[Entry], status: Status) -> Iterator[Mapping[str, Any]]:
    """The evidence of every run; notes on the way what does not fit together. Signatures are not looked at."""
    before = ""
    broken = 0
    for entry in entries:
        status.entries += 1
        status.unsigned += not entry.key_id
        if entry.previous != before and not broken:
            broken = status.entries
        before = entry.digest
        if entry.kind != "run":
            continue
        if entry.evidence.get("form") != _FORM:
            status.problems.append(f"entry {status.entries} holds evidence of a form that is not known: left out")
            continue
        status.last_run = entry.run
        yield entry.evidence
    if broken:
        status.problems.append(
            f"entry {broken} of the ledger does not follow the one before it: see restore-drill ledger verify"
        )
