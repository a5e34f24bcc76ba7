"""What becomes of evidence: every run has its entry in the ledger, those that crashed or were refused as well."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from restore_drill.errors import MISSHAPEN, RestoreDrillError, unexpected
from restore_drill.evidence import crashed, open_runs
from restore_drill.history import History
from restore_drill.plan import Plan, PlannedCase
from restore_drill.run import Run
from restore_drill.state import open_state

if TYPE_CHECKING:
    from restore_drill.ledger.base import Entry, Ledger, Signer

#: How many entries are looked through at first for one of a run that crashed; ten times as many each time.
_LOOK_BACK = 16


@dataclass(slots=True)
class Chronicle:
    """The ledger of a catalogue, and who signs.

    Attributes:
        plan: Names the state and the key.
        problems: Why an entry is not what the catalogue promises, or is not there.
        entry: This run's entry, ``None`` when there is none.
        on_behalf: Evidence of runs that crashed, written into the ledger on their behalf by this process.
    """

    plan: Plan
    history: History
    problems: list[str] = field(default_factory=list)
    entry: Entry | None = None
    on_behalf: list[dict[str, Any]] = field(default_factory=list)
    _signer: Signer | None = None
    _asked: bool = False

    @classmethod
    def of(cls, run: Run) -> Chronicle:
        """The chronicle of a run."""
        return cls(run.plan, run.history)

    @classmethod
    def of_plan(cls, plan: Plan) -> Chronicle:
        """The chronicle of a catalogue, for commands."""
        return cls(plan, History(open_state(plan.state)))

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        from restore_drill.ledger.opening import open_ledger

        return open_ledger(self.plan.state)

    def prepare(self) -> None:
        """Read the key, so that what is wrong with it is known before the evidence is complete."""
        if self._asked:
            return
        self._asked = True
        settings = self.plan.ledger
        if settings.key is None and not settings.required:
            return
        from restore_drill.ledger.signing import signer_of

        try:
            self._signer = signer_of(settings)
        except RestoreDrillError as problem:
            self._note(f"the ledger's entry is not signed: {problem}")
        else:
            if self._signer is None:
                self._note("the ledger's entry is not signed, as the catalogue requires: it names no key (ledger.key)")

    def begin(self, run: Run, planned: Iterable[PlannedCase], arguments: Iterable[str], started: float) -> None:
        """Say in the state that a run is under way, where the state was set up; what keeps it from that is noted."""
        try:
            if self.history.initialised:
                open_runs.begin(self.history.state, open_runs.describe(run, planned, arguments, started))
        except RestoreDrillError as problem:
            self._note(str(problem))

    def end(self, evidence: Mapping[str, Any]) -> None:
        """Append a run's evidence, after that of runs that crashed before it, and take its marker away.

        What cannot be recorded is noted: a verdict is never lost over it.
        """
        self.prepare()
        run = str(evidence["run"]["id"])
        try:
            if not self.history.initialised:
                return
            self._settle_others(run)
            self.entry = self.ledger.append("run", evidence, self._signer)
            open_runs.end(self.history.state, run)
        except RestoreDrillError as problem:
            self._note(str(problem))

    def _settle_others(self, run: str) -> None:
        """Settle runs that crashed; what keeps one of them from it does not keep this run's own entry away."""
        try:
            self.settle(run)
        except Exception as problem:
            self._note(str(problem if isinstance(problem, RestoreDrillError) else unexpected(problem)))

    def settle(self, by: str, now: float | None = None) -> list[dict[str, Any]]:
        """Append evidence on behalf of runs that ended without a word; returns it.

        Two at once never do it for the same run: a marker is claimed first, and the ledger looked through for an entry
        that the run, or a claimant that was killed as well, had written after all.

        Args:
            by: The run or command that does it.
            now: The time (seconds since the epoch).

        Raises:
            CouldNotVerify: The state or the ledger cannot be read or written.
        """
        if not self.history.initialised:
            return []
        found = open_runs.claim_dead(self.history.state, time.time() if now is None else now, but=by)
        if found:
            self.prepare()
        for marker in found:
            if not self._has(marker):
                document = self._told(marker, by)
                self.ledger.append("run", document, self._signer)
                self.on_behalf.append(document)
            open_runs.end(self.history.state, marker["run"])
        return self.on_behalf

    def _told(self, marker: Mapping[str, Any], by: str) -> dict[str, Any]:
        try:
            return crashed.document(marker, by)
        except MISSHAPEN as problem:
            raise open_runs.damaged(open_runs.name_of(marker["run"]), self.history.state) from problem

    def before(self, count: int) -> list[dict[str, Any]]:
        """The evidence of the last runs before this one's entry, the oldest first.

        Raises:
            CouldNotVerify: The ledger cannot be read.
        """
        from restore_drill.ledger.envelope import read_entry

        ledger, own = self.ledger, self.entry
        if own is None or not count:
            return []
        # Another run may have written since: then this one's is not the last.
        entries = [read_entry(line, 0, ledger.where()) for line in ledger.tail_lines(count + 1)[:-1]]
        return [entry.evidence for entry in entries if entry.kind == "run" and entry.sequence < own.sequence]

    def _has(self, marker: Mapping[str, Any]) -> bool:
        """Whether a run has an entry: it is among those that were written since it began."""
        began, ledger, count = datetime.fromisoformat(marker["started"]), self.ledger, _LOOK_BACK
        while True:
            entries = ledger.tail(count)
            if any(entry.kind == "run" and entry.run == marker["run"] for entry in entries):
                return True
            if len(entries) < count or datetime.fromisoformat(entries[0].recorded_at) < began:
                return False
            count *= 10

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def described(self) -> str:
        """In one line, for the terminal: which entry, and by whom it is signed, loudly when by nobody."""
        if self.entry is None:
            why = "" if self.problems else ": its state was never initialised (restore-drill baseline init)"
            return f"ledger: NO ENTRY, this run is not on record{why}"
        number = f"entry {self.entry.sequence}"
        if not self.entry.key_id:
            return f"ledger: {number}, UNSIGNED: anybody who may write the state could have written it"
        return f"ledger: {number}, signed by {self.entry.key_id[:16]}"
