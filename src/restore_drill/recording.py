"""The end of a run, step by step: state, evidence, ledger, reports, alerts. What one cannot do costs no other.

Nothing here knows pytest, and no verdict is changed: what cannot be recorded makes the run an error.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill import lifecycle
from restore_drill.chronicle import Chronicle
from restore_drill.errors import RestoreDrillError, unexpected
from restore_drill.evidence import document
from restore_drill.evidence.account import DrillAccount, drills
from restore_drill.evidence.drilled import Earlier
from restore_drill.plan import PlannedCase
from restore_drill.run import Run
from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from restore_drill.results import CaseResult

_REMEDY = "Make room there, or give --reports-dir another directory, and run it again."
#: Bytes of earlier evidence that reports look back over, and how many runs at most.
_BACK_BYTES = 6 << 20
_BACK_RUNS = 40
#: Bytes of a run's evidence up to which its report says which requirements it supports.
_ASSESSED_BYTES = 2 << 20


@dataclass(slots=True)
class Recording:
    """Puts a run on record.

    Attributes:
        arguments: What it was asked for, as typed.
        started: Seconds since the epoch.
        evidence: As readers get it, once the drills are through.
        kept: Restored copies that were left for inspection.
        told: What the summary says of all that, one line each.
    """

    run: Run
    arguments: Sequence[str]
    started: float
    chronicle: Chronicle = field(init=False)
    evidence: dict[str, Any] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    _size: int = 1
    _known: Sequence[dict[str, Any]] = ()
    _course: document.Course | None = None
    _results: Mapping[PlannedCase, CaseResult] = field(default_factory=dict)
    _accounts: dict[tuple[str, str], DrillAccount] = field(default_factory=dict)
    _forgotten: list[str] = field(default_factory=list)
    _unwritten: dict[str, dict[str, None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Its chronicle."""
        self.chronicle = Chronicle.of(self.run)

    # --- beginning ----------------------------------------------------------------------------------------------------

    def begin(self, planned: Iterable[PlannedCase]) -> None:
        """Say that the run is under way, before its first drill begins."""
        self.chronicle.begin(self.run, planned, self.arguments, self.started)

    def refuse(self, problem: RestoreDrillError) -> str:
        """Put a run that cannot begin on record; returns what a person is told."""
        course = document.Course(
            self.started, self.run.clock(), arguments=self.arguments, problems=[str(problem)], ended="refused"
        )
        self.evidence = json.loads(document.text(document.build(self.run, {}, {}, course)))
        self.chronicle.end(self.evidence)
        self._alert([self.evidence])
        recorded = [self.chronicle.described()] if self.chronicle.entry else []
        told = "; ".join([*recorded, *self.told])
        return f"{problem} ({told})" if told else str(problem)

    # --- the end ------------------------------------------------------------------------------------------------------

    def conclude(
        self,
        results: Mapping[PlannedCase, CaseResult],
        seconds: Mapping[str, float],
        *,
        planned: Collection[PlannedCase],
        not_run: Sequence[str],
        incomplete: Sequence[str],
        ended: document.Ended,
        nothing_to_do: bool,
    ) -> None:
        """Remember what the drills found, and write the evidence and the details.

        Args:
            results: By case, of every one that reported.
            seconds: How long each target took.
            planned: The cases that were selected.
            not_run: Names of those that did not report.
            incomplete: Why some were not even selected.
            ended: How the run ended.
            nothing_to_do: Whether it is as it should be that nothing was planned.
        """
        self._results, self._accounts = results, drills(self.run, results)
        self.kept = [str(kept) for account in self._accounts.values() if (kept := account.facts("dispose").get("kept"))]
        earlier: dict[tuple[str, str], Earlier] = {}
        try:
            earlier = lifecycle.remember(self.run, self._accounts, seconds)
        except RestoreDrillError as problem:
            self._forgotten.append(str(problem))
        self.chronicle.prepare()
        self._course = document.Course(
            self.started, self.run.clock(), planned=planned, not_run=not_run, arguments=self.arguments,
            problems=incomplete, ended=ended, earlier=earlier, nothing_to_do=nothing_to_do,
        )  # fmt: skip
        self._write_evidence()
        with self.noting(self.run.directory / "details.jsonl"):
            self._write_details()

    def finish(self, junit_could_be_written: bool) -> None:
        """Put the evidence into the ledger, write the reports, tell people.

        Args:
            junit_could_be_written: Whether nothing came up since the evidence was written.
        """
        if self._course is None:
            return
        if not junit_could_be_written:
            # It knows nothing of this, and takes room.
            (self.run.directory / "evidence.json").unlink(missing_ok=True)
            self._write_evidence()
        known = len(self.problems)
        self.chronicle.end(self.evidence)
        if len(self.problems) > known and self.chronicle.entry is None:
            self._write_evidence()
        self.told.append(self.chronicle.described())
        population = self._population()
        self._write_reports(population, self._alert([self.evidence], population))

    @property
    def problems(self) -> list[str]:
        """What could not be recorded, and why: one line a cause."""
        unwritten = (f"{', '.join(names)}: {why}. {_REMEDY}" for why, names in self._unwritten.items())
        return list(dict.fromkeys([*self._forgotten, *self.chronicle.problems, *unwritten]))

    @contextlib.contextmanager
    def noting(self, path: Path) -> Iterator[None]:
        """Go on without a report that cannot be written, and remember which."""
        try:
            yield
        except OSError as problem:
            self._unwritten.setdefault(problem.strerror or type(problem).__name__, {})[str(path)] = None

    def _write_evidence(self) -> None:
        assert self._course is not None  # noqa: S101 - concluded
        course = self._course.with_problems(self.problems)
        told = document.text(document.build(self.run, self._accounts, self._results, course))
        self.evidence, self._size = json.loads(told), len(told)
        with self.noting(self.run.directory / "evidence.json"):
            write_whole(self.run.directory / "evidence.json", told.encode())

    def _write_details(self) -> None:
        """What may name files and quote answers: readable by its owner only, and never part of evidence."""
        lines = [
            json.dumps({"case": list(result.to_wire()["case"]), "details": result.details})
            for result in self._results.values()
            if result.details
        ]
        if lines:
            write_whole(self.run.directory / "details.jsonl", ("\n".join(lines) + "\n").encode(), 0o600)

    # --- what people and machines read --------------------------------------------------------------------------------

    def _alert(self, documents: Sequence[Mapping[str, Any]], population: Any = None) -> int | None:
        """Tell people what changed; how many could not be told, ``None`` when nobody is to be."""
        plan, directory = self.run.plan, self.run.directory
        if not plan.alerts and not plan.pings:
            return None
        from restore_drill.alerting import deliver

        delivery = deliver(
            plan, [*self.chronicle.on_behalf, *documents], population=population, ledger=self.chronicle.entry,
            directory=directory if directory.is_dir() else None, now=self.run.clock(),
        )  # fmt: skip
        self.told += delivery.lines()
        return delivery.undelivered_count

    def _write_reports(self, population: Any, undelivered: int | None) -> None:
        """Every report that is made of evidence; one that fails costs no other."""
        from restore_drill.reporting.files import renderers
        from restore_drill.reporting.markdown import append_to_job_page

        made = renderers(
            self.evidence, population=population, controls=self._supported(population), ledger=self._ledger_state(),
            undelivered=undelivered,
        )  # fmt: skip
        for name, render in made.items():
            path = self.run.directory / name
            with self._surviving(f"{path} could not be written"), self.noting(path):
                write_whole(path, render())
        summary = self.run.directory / "summary.md"
        if summary.exists():
            with self.noting(Path(os.environ.get("GITHUB_STEP_SUMMARY", ""))):
                append_to_job_page(summary.read_text("utf-8"))

    def _ledger_state(self) -> Any:
        from restore_drill.reporting.page import LedgerState

        entry = self.chronicle.entry
        if entry is None:
            return None
        return LedgerState(
            where=self.chronicle.ledger.where(), sequence=entry.sequence, digest=entry.digest, key_id=entry.key_id
        )

    def _population(self) -> Any:
        """What the last runs tell of all copies, this one included; ``None`` without a ledger."""
        from restore_drill.policy.population import Population

        if self.chronicle.entry is None:
            return None
        with self._surviving("reports know nothing of earlier runs"):
            documents = [*self.chronicle.before(min(_BACK_RUNS, _BACK_BYTES // self._size)), self.evidence]
            self._known = documents
            return Population.of(documents, now=self.run.clock())
        return None

    def _supported(self, population: Any) -> Any:
        """Which requirements the same runs support; ``None`` without a ledger.

        Of hundreds of targets that takes longer than all other reports: ``restore-drill report`` has it then.
        """
        from restore_drill.reporting.supported import controls

        if not self._known or self._size > _ASSESSED_BYTES:
            return None
        with self._surviving("the report knows nothing of controls"):
            return controls(self.run.plan, self._known, population=population, until=self.run.clock())
        return None

    @contextlib.contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        """Go on whatever goes wrong with something that can be done again from the ledger; it is told."""
        try:
            yield
        except Exception as problem:
            why = problem if isinstance(problem, RestoreDrillError) else unexpected(problem)
            self._forgotten.append(f"{what}: {why}")
