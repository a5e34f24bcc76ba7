"""The page of one run: what stands where, and its sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from restore_drill.reporting import account, causes, model
from restore_drill.reporting.charts import Part
from restore_drill.reporting.model import Document, Drill, Target, Tier
from restore_drill.reporting.words import WORST_FIRST, counted, instant, listed, moment, number
from restore_drill.reporting.words import verdict as known_verdict

if TYPE_CHECKING:
    from restore_drill.policy.population import Population, Totals

_DAY = 86400.0
#: An exception is said to run out this many seconds before it does.
_SOON = 30 * _DAY


@dataclass(frozen=True, slots=True)
class Review:
    """A review that somebody signed off."""

    reviewer: str
    at: str
    run: str
    statement: str
    digest: str
    key_id: str


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the ledger says of what is shown.

    Attributes:
        where: Its place, ``""`` where it is not named.
        entries: How many entries were read.
        unsigned: How many of them bear no signature.
        head: Sequence and digest of its last entry.
        problems: What a verification found; ``None`` where none was made.
        signatures_checked: Whether there were public keys to check signatures by.
    """

    where: str = ""
    entries: int = 0
    unsigned: int = 0
    sequence: int | None = None
    digest: str = ""
    key_id: str = ""
    problems: tuple[str, ...] | None = None
    signatures_checked: bool = True
    reviews: tuple[Review, ...] = ()

    @property
    def is_unsigned(self) -> bool:
        """Whether anything of it bears no signature."""
        return bool(self.unsigned) or (self.sequence is not None and not self.key_id)


@dataclass(frozen=True, slots=True)
class Controls:
    """What the records support: rows as ``controls.mapping.RequirementEvidence.as_dict`` gives them.

    Attributes:
        notes: Title and note of frameworks that ask for nothing of the kind.
        illustration: Whether these are drills of the demo.
    """

    rows: tuple[Document, ...]
    notes: tuple[tuple[str, str], ...] = ()
    illustration: bool = False


@dataclass(frozen=True)
class RunPage:
    """Everything that the template of a run writes."""

    document: Document
    targets: tuple[Target, ...]
    tiers: tuple[Tier, ...]
    causes: tuple[causes.Cause, ...]
    population: Population | None
    controls: Controls | None
    ledger: LedgerState | None

    @property
    def run(self) -> Document:
        """The run's own part of the document."""
        return self.document["run"]  # type: ignore[no-any-return]

    @property
    def verdict(self) -> str:
        """The run's verdict."""
        return known_verdict(self.document["verdict"])

    @cached_property
    def drills(self) -> tuple[Drill, ...]:
        """All drills."""
        return tuple(drill for target in self.targets for drill in target.drills)

    @cached_property
    def newest(self) -> tuple[Drill, ...]:
        """The drills of backups' newest (or named) snapshots: one of each."""
        return tuple(drill for drill in self.drills if not drill.of_older)

    @property
    def samples(self) -> tuple[Document, ...]:
        """What is known of older snapshots by copy, those first of which some failed."""
        found: tuple[Document, ...] = tuple(self.document.get("samples", ()))
        return tuple(sorted(found, key=lambda each: (not each["failed"], not each.get("problem"))))

    @property
    def sets(self) -> tuple[Document, ...]:
        """Targets that were brought back together, those first in which something is wrong."""
        found: tuple[Document, ...] = tuple(self.document.get("sets", ()))
        return tuple(sorted(found, key=lambda each: WORST_FIRST.index(known_verdict(each["verdict"]))))

    @property
    def large(self) -> bool:
        """Whether what passed is told in short."""
        return len(self.drills) > model.LARGE

    @cached_property
    def in_catalogue(self) -> int:
        """How many backups (copies of targets) the catalogue has."""
        return sum(len(each["copies"]) for each in self.document.get("population", ())) or len(self.drills)

    @cached_property
    def verdicts(self) -> Counter[str]:
        """How many backups have which verdict, a broken rule about all copies of a target not counted."""
        return Counter(drill.verdict for drill in self.newest)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return sentence(self)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The catalogue's backups by what this run found."""
        found = self.verdicts
        return (
            Part("passed", "passed", found["passed"]),
            Part("failed", "failed", found["failed"]),
            Part("error", "could not be verified", found["error"]),
            Part("excepted", "excepted", found["excepted"]),
            Part("missed", "not drilled in this run", max(self.in_catalogue - len(self.newest), 0)),
        )

    @property
    def notices(self) -> tuple[tuple[str, str], ...]:
        """What must be said loudly: a word, and a sentence."""
        return tuple(_notices(self))

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Who ran it, where and with what: names and texts."""
        return tuple(account.environment(self.document))

    def short(self, drill: Drill) -> bool:
        """Whether a drill is told in short: it passed, and there are very many."""
        return self.large and drill.verdict == "passed"

    def facts(self, drill: Drill) -> tuple[tuple[str, str, bool], ...]:
        """What was drilled, why, when, where, and what became of it: name, text, whether it is a code."""
        return tuple(account.short_facts(drill) if self.short(drill) else account.facts(drill))

    @property
    def due(self) -> Due | None:
        """The period's reckoning, where the population is known."""
        return None if self.population is None else due(self.population.totals, _words(self.population))

    @cached_property
    def unanswered(self) -> tuple[str, ...]:
        """What earlier drills found broken and this run does not answer, with since when: it looked elsewhere."""
        told = {(drill.target, drill.copy) for drill in self.drills if drill.verdict in ("failed", "error")}
        return tuple(
            f"{key[0]} / {key[1]} since {instant(each.failing_since or each.unverified_since)}"
            for key, each in (self.population.standings.items() if self.population is not None else ())
            if (each.failing_since or each.unverified_since) and each.retired is None and key not in told
        )

    @property
    def exceptions(self) -> tuple[tuple[str, Document], ...]:
        """Exceptions with their state in words, what needs attention first."""
        return exceptions_told(self.document.get("exceptions", ()), moment(self.run.get("finished")) or 0.0)


@dataclass(frozen=True, slots=True)
class Due:
    """How many drills were due in a period, and what became of them."""

    period: str
    due: int
    parts: tuple[Part, ...]

    @property
    def equation(self) -> str:
        """The sum: ``28 ran + 1 failed + …``."""
        return " + ".join(f"{number(part.count)} {part.label}" for part in self.parts)


def due(totals: Totals, period: str) -> Due:
    """A reckoning from the sums of a population."""
    names = (
        ("passed", "ran", "ran"),
        ("failed", "failed", "failed"),
        ("error", "could not verify", "could_not_verify"),
        ("missed", "missed", "missed"),
        ("excepted", "excepted", "excepted"),
    )
    parts = tuple(Part(state, label, int(getattr(totals, name))) for state, label, name in names)
    return Due(period, int(totals.due), parts)


def _words(population: Population) -> str:
    since = population.since if population.since is not None else population.first
    return f"the time from {instant(since)} to {instant(population.until)}"


_EXCEPTION_ORDER = ("expired", "runs out soon", "stale", "in force", "not exercised")


def run_page(
    document: Document,
    *,
    population: Population | None = None,
    controls: Controls | None = None,
    ledger: LedgerState | None = None,
) -> RunPage:
    """What the report of a run says."""
    found = model.targets(document, population)
    return RunPage(
        document=document,
        targets=found,
        tiers=model.tiers(document, found),
        causes=causes.causes(document, found, population),
        population=population,
        controls=controls,
        ledger=ledger,
    )


def sentence(page: RunPage) -> str:
    """One sentence that a person can act on, and that claims nothing beyond what was verified."""
    ended = str(page.run.get("ended", "complete"))
    if not page.drills:
        return _BROKEN_OFF.get(ended, "Nothing was drilled.")
    older = _of_older(page)
    if not page.newest:
        return f"{_prefix(ended)}{older}"
    found, total = page.verdicts, len(page.newest)
    bad = []
    if found["failed"]:
        bad.append(f"{found['failed']} of {counted(total, 'backup')} failed")
    if found["error"]:
        of = "" if bad else f" of {counted(total, 'backup')}"
        bad.append(f"{found['error']}{of} could not be verified")
    if bad:
        good = found["passed"] + found["excepted"]
        excepted = f", {found['excepted']} of them under an approved exception" if found["excepted"] else ""
        rest = f"; the other{f' {good}' if good > 1 else ''} passed{excepted}" if good else ""
        text = f"{listed(bad)}{rest}"
    else:
        text = _good(page, found, total)
    return f"{_prefix(ended)}{text}." + (f" {older}" if older else "")


def _of_older(page: RunPage) -> str:
    """What became of older snapshots that were drilled beside the newest, ``""`` where none was."""
    found = Counter(drill.verdict for drill in page.drills if drill.of_older)
    total = found.total()
    if not total:
        return ""
    bad = [f"{found['failed']} failed"] if found["failed"] else []
    bad += [f"{found['error']} could not be verified"] if found["error"] else []
    told = counted(total, "older snapshot")
    if bad:
        return f"Of {told} that it drilled, {listed(bad)}."
    return (
        "The older snapshot that it drilled passed, too." if total == 1 else f"All {told} that it drilled passed, too."
    )


def _good(page: RunPage, found: Counter[str], total: int) -> str:
    whole = all(drill.data.get("scope") == "whole" for drill in page.newest)
    what = "was restored and verified" if total == 1 else "were restored and verified"
    if not whole:
        what = "passed what was checked of it" if total == 1 else "passed what was checked of them"
    excepted = f", {found['excepted']} under an approved exception" if found["excepted"] else ""
    text = f"{'The backup' if total == 1 else f'All {total} backups'} that this run drilled {what}{excepted}"
    if any(case.verdict in ("failed", "error") for target in page.targets for case in target.across):
        return f"{text}, but a rule about their copies is broken"
    if page.verdict in ("passed", "excepted") or any(target.needs_attention for target in page.targets):
        return text
    return f"{text}, but the run itself went wrong"


_BROKEN_OFF = {
    "crashed": "The run crashed before anything was drilled.",
    "refused": "The run was refused: nothing was drilled.",
    "interrupted": "The run was interrupted before anything was drilled.",
}


def _prefix(ended: str) -> str:
    return {"crashed": "The run crashed: ", "interrupted": "The run was interrupted: "}.get(ended, "")


def _notices(page: RunPage) -> Iterator[tuple[str, str]]:
    if page.run.get("estate") == "demo":
        yield "Demo", "The demo estate was drilled: nothing here is evidence of your own backups."
    yield from ledger_notices(page.ledger)
    missing = (page.run.get("shards") or {}).get("missing")
    if missing:
        yield (
            "Shards missing",
            f"Nothing came from {counted(len(missing), 'shard')}: {listed([str(each) for each in missing])}.",
        )
    shard = page.run.get("shard")
    if shard:
        yield "Shard", f"This is shard {shard['index']} of {shard['total']}: the others have reports of their own."


def ledger_notices(ledger: LedgerState | None) -> Iterator[tuple[str, str]]:
    """What of the ledger must be said loudly."""
    if ledger is None:
        yield "Not chained", "This page was made from a document alone: no ledger vouches for it."
    elif ledger.problems:
        yield "Ledger broken", f"The ledger does not verify: {ledger.problems[0]}"
    elif ledger.is_unsigned:
        yield "Unsigned", "The ledger bears no signature here: whoever can write to it could have changed what it says."
    elif not ledger.signatures_checked:
        yield "Not checked", "The ledger is signed, and no public key was there to check its signatures by."


def exceptions_told(exceptions: Iterable[Document], ended: float) -> tuple[tuple[str, Document], ...]:
    """Exceptions with their state in words, those first that a person should look at."""
    told = [(_exception_state(each, ended), each) for each in exceptions]
    return tuple(sorted(told, key=lambda pair: _EXCEPTION_ORDER.index(pair[0].partition(":")[0])))


def _exception_state(exception: Document, ended: float) -> str:
    state = str(exception.get("state", "not exercised"))
    until = moment(f"{exception.get('expires', '')}T23:59:59Z") if exception.get("expires") else None
    if until is not None and until < ended:
        return "expired"  # since the last run that looked at it
    if state != "expired" and until is not None and until - ended <= _SOON:
        return f"runs out soon: {state}"
    return state
