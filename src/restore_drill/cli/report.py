"""``restore-drill report``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.cli import add_catalogue
from restore_drill.cli.ledger import known_runs, of_catalogue
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from restore_drill.ledger.base import Entry, Ledger
    from restore_drill.ledger.verify import Verification
    from restore_drill.plan import Plan
    from restore_drill.reporting.page import LedgerState
    from restore_drill.reporting.span import Span

#: What a run, and what a period can be written as.
OF_A_RUN = ("html", "pdf", "markdown", "metrics", "ctrf", "oscal")
OF_A_PERIOD = ("html", "pdf", "oscal")
_FILES = {"markdown": "summary.md", "metrics": "metrics.prom", "ctrf": "ctrf.json"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("run", nargs="?", default="", metavar="RUN",
                        help="a run's id or its beginning, latest (the default), or an evidence.json")  # fmt: skip
    parser.add_argument("--last", action="store_true", help="the last run")
    parser.add_argument("--from", dest="since", metavar="DAY", help="first day of a period, UTC")
    parser.add_argument("--to", dest="until", metavar="DAY", help="its last day (default: today)")
    parser.add_argument("--period", metavar="PERIOD", help="2026, 2026Q4, 2026-10, 2026-W47, 2026-11-23, or 30d")
    parser.add_argument("--format", choices=OF_A_RUN, default="html", help="what to write (default: html)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: the standard output)")
    add_catalogue(parser)


def run(arguments: argparse.Namespace) -> int:
    """Render a run or a period."""
    span = _span(arguments)
    named = Path(arguments.run) if arguments.run else None
    if span and (arguments.run or arguments.last):
        raise UsageProblem("a run and a period were asked for", remedy="Name a run, or a period.")
    if span:
        content = _period(arguments, span)
    elif named is not None and (named.suffix == ".json" or named.is_file()):
        content = _of_file(arguments.format, named)
    else:
        content = _of_run(arguments)
    _put(arguments.out, content)
    return 0


def _span(arguments: argparse.Namespace) -> Span | None:
    from restore_drill.reporting.span import between, named

    now = datetime.now(UTC)
    if arguments.period and (arguments.since or arguments.until):
        raise UsageProblem("--period and --from were both given", remedy="Give one of them.")
    if arguments.period:
        return named(arguments.period, now)
    return between(arguments.since, arguments.until, now) if arguments.since or arguments.until else None


def _put(out: Path | None, content: bytes) -> None:
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    write_whole(out, content)
    print(f"{out}: {len(content)} bytes")


# --- one run ----------------------------------------------------------------------------------------------------------


def _of_file(form: str, path: Path) -> bytes:
    """A run from its evidence alone: nothing is known of earlier ones, and the page says so."""
    from jinja2 import TemplateError

    from restore_drill.evidence.reading import load

    document = load(path.read_bytes(), str(path))
    try:
        return _oscal([document], (), None) if form == "oscal" else _write(form, document, {})
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, TemplateError) as problem:
        raise CouldNotVerify(
            f"this is no evidence that can be shown: {type(problem).__name__} {problem}",
            looked_at=str(path),
            remedy="Compare it with docs/evidence.schema.json.",
        ) from problem


def _of_run(arguments: argparse.Namespace) -> bytes:
    from restore_drill.ledger.finding import find_run
    from restore_drill.ledger.reading import understood
    from restore_drill.policy.population import Population, seconds

    with of_catalogue(arguments) as (plan, ledger):
        found = find_run(ledger, "latest" if arguments.last or not arguments.run else arguments.run)
        document = found.entry.evidence
        watched = _Watched(plan, ledger.entries(), document["run"].get("estate", "user"))
        with understood(ledger):
            population = Population.of(watched.up_to(found.entry), now=seconds(document["run"]["finished"]))
        if arguments.format == "oscal":
            return _oscal([found.entry, *watched.reviews_of(found.entry)], watched.frameworks, population)
        verification = _verify(plan, ledger)
        reviews = [_said(each) for each in watched.reviews_of(found.entry)]
        state = _state(ledger, verification, found.entry, reviews)
        told = {"population": population, "controls": watched.controls(population, reviews, verification)}
        return _write(arguments.format, document, {**told, "ledger": state})


def _write(form: str, document: Mapping[str, Any], told: Mapping[str, Any]) -> bytes:
    """A run in one of its forms."""
    from restore_drill.reporting.files import renderers

    if form in _FILES:
        return renderers(document, **told)[_FILES[form]]()
    from restore_drill.reporting.html import render

    return _page(form, render(document, **told))


def _page(form: str, html: str) -> bytes:
    if form == "html":
        return html.encode("utf-8", "backslashreplace")
    from restore_drill.reporting.pdf import render

    return render(html)


def _oscal(entries: Iterable[Any], frameworks: Any, population: Any) -> bytes:
    from restore_drill.controls.loading import load_frameworks
    from restore_drill.reporting.oscal import render

    text: str = render(entries, frameworks=frameworks or load_frameworks(), population=population)
    return text.encode("utf-8", "backslashreplace")


# --- a period ---------------------------------------------------------------------------------------------------------


def _period(arguments: argparse.Namespace, span: Span) -> bytes:
    from restore_drill.evidence import catalogued
    from restore_drill.ledger.reading import understood
    from restore_drill.policy.population import Population
    from restore_drill.reporting.gathering import Gathering
    from restore_drill.reporting.html import render_period
    from restore_drill.reporting.period import PeriodPage

    if arguments.format not in OF_A_PERIOD:
        why = f"a period cannot be written as {arguments.format}"
        raise UsageProblem(why, remedy=f"Choose {', '.join(OF_A_PERIOD)}, or name a run.")
    with of_catalogue(arguments) as (plan, ledger):
        gathering = Gathering(span.since, span.until)
        watched = _Watched(plan, ledger.entries(), "demo" if plan.demo else "user", span)
        documents = gathering.watch(watched.documents(span.until))
        today = catalogued.population(plan) if span.is_current else ()
        with understood(ledger):
            population = Population.of(documents, now=span.until, since=span.since, until=span.until, catalogue=today)
        if arguments.format == "oscal":
            entries = (each for each in ledger.entries() if span.since <= _recorded(each) < span.until)
            return _oscal(entries, watched.frameworks, population)
        verification = _verify(plan, ledger)
        reviews = [_said(each) for each in watched.reviews]
        state = _state(ledger, verification, None, reviews)
        controls = watched.controls(population, reviews, verification)
        page = PeriodPage(span.title, span.since, span.until, gathering, population, controls, state)
        return _page(arguments.format, render_period(page))


def _recorded(entry: Entry) -> float:
    from restore_drill.policy.population import seconds

    return seconds(entry.recorded_at)


# --- what is read beside ----------------------------------------------------------------------------------------------


class _Watched:
    """Entries of a ledger, read once: documents for others, reviews and requirements for the page."""

    def __init__(self, plan: Plan, entries: Iterable[Entry], estate: str, span: Span | None = None) -> None:
        from restore_drill.controls.loading import of_plan
        from restore_drill.controls.mapping import Assessing

        self.frameworks = of_plan(plan)
        self.reviews: list[Entry] = []
        self._entries = entries
        self._estate = estate
        since = datetime.fromtimestamp(span.since, UTC) if span else None
        until = datetime.fromtimestamp(span.until, UTC) if span else datetime.now(UTC)
        self._assessing = Assessing(self.frameworks, since=since, until=until, estate=estate)
        self._since = span.since if span else None

    def up_to(self, last: Entry) -> Iterator[Mapping[str, Any]]:
        """The documents up to a run's; later entries are looked through for reviews alone."""
        for entry in self._entries:
            if entry.kind == "review":
                self.reviews.append(entry)
            elif entry.sequence <= last.sequence:
                self._assessing.take(entry.evidence)
                yield entry.evidence

    def reviews_of(self, run: Entry) -> list[Entry]:
        """What was said of a run."""
        return [each for each in self.reviews if each.run == run.run]

    def documents(self, until: float) -> Iterator[Mapping[str, Any]]:
        """The documents of runs that ended by then."""
        from restore_drill.policy.population import seconds

        for entry in self._entries:
            if entry.kind == "review":
                if self._since is None or self._since <= _recorded(entry) <= until:
                    self.reviews.append(entry)
            elif seconds(entry.evidence["run"]["finished"]) <= until:
                self._assessing.take(entry.evidence)
                yield entry.evidence

    def controls(self, population: Any, reviews: Iterable[Mapping[str, Any]], verification: Any) -> Any:
        """What all of it supports."""
        from restore_drill.reporting.supported import as_shown

        found = self._assessing.result(population=population, reviews=reviews, ledger=verification)
        return as_shown(self.frameworks, found, self._estate)


def _said(entry: Entry) -> Mapping[str, Any]:
    """A review, with when it was recorded and by whose key."""
    return {**entry.review, "at": entry.recorded_at, "key_id": entry.key_id}


def _verify(plan: Plan, ledger: Ledger) -> Verification:
    from restore_drill.ledger.signing import read_public_keys
    from restore_drill.ledger.verify import verify

    keys = read_public_keys(plan.ledger.public_keys)
    return verify(ledger, keys, required=plan.ledger.required, known_runs=known_runs(plan))


def _state(
    ledger: Ledger, found: Verification, entry: Entry | None, reviews: Iterable[Mapping[str, Any]]
) -> LedgerState:
    from restore_drill.reporting.page import LedgerState, Review

    head = entry.head if entry else found.head
    return LedgerState(
        where=ledger.where(),
        entries=found.entries,
        unsigned=found.unsigned,
        sequence=head.sequence if head else None,
        digest=head.digest if head else "",
        key_id=entry.key_id if entry else ", ".join(found.keys),
        problems=tuple(map(str, found.problems)),
        signatures_checked=not found.unverified,
        reviews=tuple(
            Review(
                reviewer=str(each.get("reviewer", "")),
                at=str(each.get("at", "")),
                run=str(each.get("run", "")),
                statement=str(each.get("comment", "")),
                digest=str(each.get("evidence", "")),
                key_id=str(each.get("key_id", "")),
            )
            for each in reviews
        ),
    )
