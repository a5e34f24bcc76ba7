"""One drill: the stages of one snapshot of one copy, in order, each at most once, each timed.

locate → fetch, verify, unpack, chain (one pass) → restore → content → dispose. A stage that breaks stays broken: who
asks for it, or for anything behind it, gets :class:`StageBroken` with the stage that owns the cause.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from restore_drill.cases import CASES, OWNER
from restore_drill.checks.base import CheckContext
from restore_drill.content import Content, Measured
from restore_drill.drawing import drawn
from restore_drill.drill_sandboxes import DrillSandboxes
from restore_drill.engines.base import Engine, Restored, RestoreOptions
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError, unexpected
from restore_drill.evidence.record import DrillRecord
from restore_drill.facts import Located, RestoreFacts
from restore_drill.history import CopyHistory
from restore_drill.locate import locate
from restore_drill.model import Stage
from restore_drill.plan import PlannedCase, PlannedCopy, PlannedTarget
from restore_drill.quantities import format_duration
from restore_drill.registry import load
from restore_drill.repositories.base import Repository, Transfer
from restore_drill.run import Run
from restore_drill.sampling import split
from restore_drill.sandboxes.base import Disposal
from restore_drill.transferring import STAGES, Transferring

_Result = TypeVar("_Result")


class StageBroken(Exception):
    """A stage broke; whoever needs it or a later one cannot be judged.

    Attributes:
        stage: The stage that owns the cause.
        error: The cause.
        bearer: The case that was appointed to bear the cause because nobody selected its owner.
    """

    def __init__(self, stage: Stage, error: RestoreDrillError) -> None:
        super().__init__(str(error))
        self.stage = stage
        self.error = error
        self.bearer: PlannedCase | None = None

    @property
    def owner(self) -> str:
        """Short name of the case that bears the cause."""
        return OWNER[self.stage]


def _held_up(seconds: float) -> CouldNotVerify:
    return CouldNotVerify(
        f"pulling the image took {format_duration(seconds)}, and the rest of the time was too short",
        remedy="It is there now: drill again. Or pull it beforehand, or raise the target's restore deadline.",
        stage=Stage.RESTORE,
    )


class Drill:
    """One snapshot of one copy on its way back.

    Args:
        target: What is drilled.
        copy: Which of its copies.
        run: Shared by all drills of this process.
        selected: The cases of this drill that will be judged; what nobody asks for is not measured.
        purpose: Why there is another drill of the same copy, part of the name of its record.

    Attributes:
        results: The result of each stage that came to an end.
        broken: The stage that broke.
        unrecorded: Why its end could not be put on record.
        adopted: Whether another process measured it.
        seconds: How long each stage and measurement took, by short name and detail of the case that stands for it.
    """

    #: Whether ``--keep-restored`` is about what it restores.
    may_be_kept = True

    def __init__(
        self, target: PlannedTarget, copy: PlannedCopy, run: Run, selected: frozenset[PlannedCase], purpose: str = ""
    ) -> None:
        self.target = target
        self.copy = copy
        self.run = run
        self.cases = selected
        self.selected = frozenset(case.case for case in selected)
        self.record = DrillRecord(run.facts, target.name, f"{copy.name}.{purpose}" if purpose else copy.name)
        self.disposal: Disposal | None = None
        self.seconds: dict[tuple[str, str], float] = {}
        self.results: dict[Stage, Any] = {}
        self.broken: StageBroken | None = None
        self.unrecorded: CouldNotVerify | None = None
        self.adopted = False
        self.sandboxes = DrillSandboxes(self)
        self.transferring = Transferring(self)
        self.content = Content(self)
        self._restored: Restored | None = None

    # --- stages ---------------------------------------------------------------------------------------------------

    def reach(self, stage: Stage) -> None:
        """Run the drill up to a stage.

        Raises:
            StageBroken: That stage, or one before it, is broken.
        """
        self.located()
        if stage is Stage.LOCATE:
            return
        transfer = self._stage(Stage.FETCH, self.transferring.fetch)
        for passed in STAGES:
            if passed in transfer.broken:
                self._break(passed, transfer.broken[passed])
            if passed is stage:
                return
        self._stage(Stage.RESTORE, self._restore)

    def located(self) -> Located:
        """The snapshot, and what lies around it."""
        return self._stage(Stage.LOCATE, self._locate)

    def transfer(self) -> Transfer:
        """What fetching gave, whatever broke in it after the bytes had arrived."""
        self.reach(Stage.FETCH)
        transfer: Transfer = self.results[Stage.FETCH]
        return transfer

    def restore_facts(self) -> RestoreFacts:
        """How it was brought back."""
        self.reach(Stage.RESTORE)
        facts: RestoreFacts = self.results[Stage.RESTORE]
        return facts

    def restored(self) -> Restored:
        """The restored system itself."""
        self.reach(Stage.RESTORE)
        assert self._restored  # noqa: S101 - reached
        return self._restored

    def _stage(self, stage: Stage, work: Callable[[], _Result]) -> _Result:
        if stage in self.results:
            found: _Result = self.results[stage]
            return found
        if self.broken:
            raise self.broken
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            self.record.begin(stage, started)
            self.results[stage] = result = work()
        except RestoreDrillError as problem:
            self._break(problem.stage or stage, problem)
        except Exception as problem:
            self._break(stage, unexpected(problem))
        finally:
            self.seconds[OWNER[stage], ""] = seconds = time.monotonic() - clock
            self._record_end(stage, started, seconds)
        return result

    def _record_end(self, stage: Stage, started: datetime, seconds: float) -> None:
        """What cannot be put on record is as good as not measured."""
        try:
            self.record.end(stage, started, seconds, self.results.get(stage) or self._surroundings(stage))
        except CouldNotVerify as problem:
            self.results.pop(stage, None)
            self._break(stage, problem)

    def _surroundings(self, stage: Stage) -> dict[str, Any] | None:
        """Where a restore broke: of a failure, too, it must be known which image it was and what was cut off."""
        if stage is not Stage.RESTORE or not self.sandboxes.entered:
            return None
        with contextlib.suppress(RestoreDrillError):  # the cause is another, and is told
            return {"sandbox": self.sandboxes.facts()}
        return None

    def _break(self, stage: Stage, problem: RestoreDrillError) -> NoReturn:
        # A deadline of a restore says something about the backup; one of a store or a check says nothing.
        if isinstance(problem, DeadlineExceeded) and stage in (Stage.UNPACK, Stage.RESTORE):
            problem = BackupFailed(problem.cause, looked_at=problem.looked_at, remedy=problem.remedy, stage=stage)
        self.broken = self.broken or StageBroken(stage, problem)
        raise self.broken

    def _locate(self) -> Located:
        self.run.progress.begin(self.target.name, self.copy.name, "locate", -1)
        try:
            older = drawn(self.run, self.target.name, self.copy.name) if split(self.copy.name)[1] else ()
            return locate(self.repository, self.target, self.run, self.history_or_none, older)
        finally:
            self.run.progress.end()

    def _restore(self) -> RestoreFacts:
        transfer: Transfer = self.results[Stage.FETCH]
        if self.transferring.unlinked is not None:
            self.transferring.unlinked.stage = Stage.RESTORE
            raise self.transferring.unlinked
        sandbox = self.sandboxes.enter()
        engine, options = self.engine(), self.options
        self.run.progress.begin(self.target.name, self.copy.name, "restore", -1)
        clock = time.monotonic()
        try:
            if engine.functions_inside:
                sandbox.enclose()
            self._restored = restored = engine.restore(self.transferring.linked, sandbox, options)
        except DeadlineExceeded as problem:
            spent = time.monotonic() - clock
            if spent - sandbox.held_up < options.deadline <= spent:
                raise _held_up(sandbox.held_up) from problem
            raise
        except BackupFailed as problem:
            # An engine knows a payload and not where it came from.
            where = self.run.store(self.copy).where(self.located().snapshot.main.key)
            problem.looked_at = f"{where}, {problem.looked_at}" if problem.looked_at else where
            raise
        finally:
            self.run.progress.end()
        seconds = time.monotonic() - clock
        restored.prepare(self.selected)
        return RestoreFacts(
            summary=str(restored.facts.get("summary", "it came back")),
            seconds=seconds,
            rto_seconds=transfer.seconds + seconds,
            machine=self.run.machine,
            concurrency=self.run.options.concurrency,
            sandbox=self.sandboxes.facts(),
            facts={key: value for key, value in restored.facts.items() if key != "summary"},
            notes=tuple(restored.notes),
        )

    @property
    def options(self) -> RestoreOptions:
        """What its engine is asked for."""
        return RestoreOptions(
            deadline=self.target.deadline("restore"),
            settings=self.target.model.engine_options,
            wanted=self.selected,
            allow_empty=self.target.model.expect.allow_empty,
            threads=self.run.threads,
            integrity=self.target.model.expect.integrity,
            depth=self.target.model.depth,
            tables=self.target.model.sample,
            strict=frozenset(self.target.model.expect.strict),
        )

    def measure(self, case: PlannedCase) -> Measured:
        """Measure what a content case is judged by.

        Raises:
            StageBroken: It was not restored.
            CouldNotVerify: It could not be measured.
        """
        self.reach(Stage.RESTORE)
        return self.content.of(case)

    def content_facts(self) -> dict[PlannedCase, Mapping[str, Any]]:
        """What content cases measured so far; of those that could not be measured there is nothing."""
        measured = self.content.facts().measured
        return {case: facts for case, facts in measured.items() if not isinstance(facts, RestoreDrillError)}

    def broken_content(self, case: PlannedCase) -> str:
        """Why a content case that was measured is not green, ``""`` when it is, or was not measured."""
        return self.content.broken(case)

    def context(self, case: PlannedCase) -> CheckContext:
        """What a content case is judged by besides what was restored."""
        return self.content.context(case)

    # --- what it rests on ------------------------------------------------------------------------------------------

    @property
    def engine(self) -> type[Engine]:
        """The class that restores it."""
        engine: type[Engine] = load("engines", self.target.model.engine)
        return engine

    @property
    def repository(self) -> Repository:
        """Where its snapshots lie."""
        if not hasattr(self, "_repository"):
            kind: type[Repository] = load("repositories", self.copy.layout)
            self._repository = kind(self.run.store(self.copy), self.copy, self.target.model)
        return self._repository

    @property
    def history(self) -> CopyHistory:
        """What earlier drills of this copy found.

        Raises:
            CouldNotVerify: There is no state, or it cannot be read.
        """
        if not hasattr(self, "_history"):
            self._history = self.run.history.target(self.target.name).copy(split(self.copy.name)[0])
        return self._history

    @property
    def history_or_none(self) -> CopyHistory | None:
        """The same for what merely improves with history; who depends on it asks :attr:`history`."""
        try:
            return self.history
        except CouldNotVerify:
            return None

    @property
    def progress(self) -> int:
        """How many stages have come to an end; what :meth:`properties` says depends on nothing else."""
        return len(self.results)

    @property
    def asked_for(self) -> frozenset[Stage]:
        """The stages that its cases ask for.

        Where none of them puts anything on disk, disposal asks for a restore: of nothing, nothing can be left.
        """
        needs = {CASES[case.case].needs if case.case in CASES else Stage.RESTORE for case in self.cases}
        if Stage.DISPOSE in needs and needs <= {Stage.LOCATE, Stage.DISPOSE}:
            needs.add(Stage.RESTORE)
        return frozenset(needs)

    def properties(self) -> dict[str, Any]:
        """What is known so far and told with every case: snapshot, digest, sizes, seconds of the stages."""
        located: Located | None = self.results.get(Stage.LOCATE)
        transfer: Transfer | None = self.results.get(Stage.FETCH)
        restore: RestoreFacts | None = self.results.get(Stage.RESTORE)
        found: dict[str, Any] = {}
        if located:
            found = {"snapshot": located.snapshot.id, "taken_at": located.snapshot.taken_at.isoformat()}
        if transfer:
            first = transfer.artifacts[0] if transfer.artifacts else {}
            found |= {
                "sha256": first.get("sha256", ""),
                "stored_bytes": transfer.stored_bytes,
                "content_bytes": transfer.content_bytes,
                "fetch_seconds": round(transfer.seconds, 3),
            }
        if restore:
            found |= {"restore_seconds": round(restore.seconds, 3), "rto_seconds": round(restore.rto_seconds, 3)}
        return found

    # --- the end --------------------------------------------------------------------------------------------------

    def dispose(self) -> Disposal:
        """End and remove everything that was restored; may be called again."""
        if self.sandboxes.entered:
            started, clock = datetime.now(UTC), time.monotonic()
            if self._restored is not None:
                self._restored.close()
            keep = self.may_be_kept and self.run.options.keep_restored and self._restored is not None
            self._restored = None
            self.disposal = self.sandboxes.dispose(keep=keep)
            self.seconds["disposed", ""] = seconds = time.monotonic() - clock
            self.record.disposed(started, seconds, self.disposal)
        return self.disposal or Disposal()

    def finish(self) -> None:
        """Dispose of what was restored; where nobody else asked for anything, restore it first.

        Raises:
            StageBroken: There was nothing to dispose of, and no other case says why.
            CouldNotVerify: Its end cannot be put on record.
        """
        try:
            if Stage.RESTORE in self.asked_for:
                self.reach(Stage.RESTORE)
        except StageBroken as broken:
            if not self.dispose().left and broken.bearer is None and broken.owner not in self.selected:
                raise
        self.dispose()
        if self.unrecorded is not None:
            raise self.unrecorded

    def close(self) -> None:
        """Dispose, and close the record."""
        try:
            self.dispose()
        finally:
            self.record.close()
