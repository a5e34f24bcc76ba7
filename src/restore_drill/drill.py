"""One drill: the stages of one snapshot of one copy, in order, each at most once, each timed.

locate → fetch, verify, unpack, chain (one pass) → restore → content → dispose. A stage that breaks stays broken: who
asks for it, or for anything behind it, gets :class:`StageBroken` with the stage that owns the cause.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from restore_drill import disk, sampled
from restore_drill.cases import CASES, OWNER
from restore_drill.checks.base import CheckContext
from restore_drill.content import Content, ContentFacts, Measured
from restore_drill.digests import is_weak
from restore_drill.drawing import drawn
from restore_drill.engines.base import Engine, Restored, RestoreOptions
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError, unexpected
from restore_drill.evidence.record import DrillRecord
from restore_drill.facts import Located, RestoreFacts
from restore_drill.history import CopyHistory
from restore_drill.locate import locate
from restore_drill.model import Kind, Payload, Stage
from restore_drill.plan import PlannedCase, PlannedCopy, PlannedTarget
from restore_drill.quantities import format_duration
from restore_drill.registry import load
from restore_drill.repositories.base import Repository, Staging, Transfer
from restore_drill.run import Run
from restore_drill.sampling import split
from restore_drill.sandboxes.base import Disposal, Limits, Sandbox

_Result = TypeVar("_Result")
#: Bytes of content below which measuring ends so soon that what is learnt of another drill meanwhile stays true.
_BRIEF = 64 << 20
#: Seconds in which a store that is looked into while something is measured must have answered before.
_QUICK = 0.05
#: The stages that one pass over the stored bytes covers, earliest first.
_TRANSFER = (Stage.FETCH, Stage.VERIFY, Stage.UNPACK, Stage.CHAIN)


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


def _with(disposal: Disposal, others: Sequence[Disposal]) -> Disposal:
    """How a drill's sandbox ended, and what is left of those beside it."""
    if not others:
        return disposal
    left = (*disposal.left, *(path for each in others for path in each.left))
    return replace(disposal, left=left, reason=disposal.reason or others[0].reason)


@dataclass(frozen=True, slots=True)
class DrillResults:
    """Everything that one drill measured, as values that another process can judge.

    Attributes:
        stages: The result of each stage that came to an end.
        broken: The stage that broke, and its error.
        content: What content cases are judged by.
        seconds: How long each stage and measurement took, by short name and detail of the case that stands for it.
        unrecorded: Why its end could not be put on record.
    """

    stages: dict[Stage, Any]
    broken: tuple[Stage, RestoreDrillError] | None
    content: ContentFacts
    disposal: Disposal | None
    seconds: dict[tuple[str, str], float]
    unrecorded: CouldNotVerify | None = None


class Drill:
    """One snapshot of one copy on its way back.

    Args:
        target: What is drilled.
        copy: Which of its copies.
        run: Shared by all drills of this process.
        selected: The cases of this drill that will be judged; what nobody asks for is not measured.
        purpose: Why there is another drill of the same copy, part of the name of its record.
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
        self._adopted = False
        self._results: dict[Stage, Any] = {}
        self._broken: StageBroken | None = None
        self._unrecorded: CouldNotVerify | None = None
        self._content = Content(self)
        self._sandbox: Sandbox | None = None
        self._restored: Restored | None = None
        self._linked: tuple[Payload, ...] = ()
        self._left_beside: list[Disposal] = []
        self._unlinked: RestoreDrillError | None = None

    # --- stages ---------------------------------------------------------------------------------------------------

    def reach(self, stage: Stage) -> None:
        """Run the drill up to a stage.

        Raises:
            StageBroken: That stage, or one before it, is broken.
        """
        self.located()
        if stage is Stage.LOCATE:
            return
        transfer = self._stage(Stage.FETCH, self._transfer)
        for passed in _TRANSFER:
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
        transfer: Transfer = self._results[Stage.FETCH]
        return transfer

    def restore_facts(self) -> RestoreFacts:
        """How it was brought back."""
        self.reach(Stage.RESTORE)
        facts: RestoreFacts = self._results[Stage.RESTORE]
        return facts

    def restored(self) -> Restored:
        """The restored system itself."""
        self.reach(Stage.RESTORE)
        assert self._restored  # noqa: S101 - reached
        return self._restored

    def _stage(self, stage: Stage, work: Callable[[], _Result]) -> _Result:
        if stage in self._results:
            found: _Result = self._results[stage]
            return found
        if self._broken:
            raise self._broken
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            self.record.begin(stage, started)
            self._results[stage] = result = work()
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
            self.record.end(stage, started, seconds, self._results.get(stage) or self._surroundings(stage))
        except CouldNotVerify as problem:
            self._results.pop(stage, None)
            self._break(stage, problem)

    def _surroundings(self, stage: Stage) -> dict[str, Any] | None:
        """Where a restore broke: of a failure, too, it must be known which image it was and what was cut off."""
        if stage is not Stage.RESTORE or self._sandbox is None:
            return None
        with contextlib.suppress(RestoreDrillError):  # the cause is another, and is told
            return {"sandbox": self._sandbox_facts(self._sandbox)}
        return None

    def _sandbox_facts(self, sandbox: Sandbox) -> dict[str, Any]:
        return {**sandbox.facts(), "chosen": self.run.sandbox_of(self.target).reason}

    def _break(self, stage: Stage, problem: RestoreDrillError) -> NoReturn:
        # A deadline of a restore says something about the backup; one of a store or a check says nothing.
        if isinstance(problem, DeadlineExceeded) and stage in (Stage.UNPACK, Stage.RESTORE):
            problem = BackupFailed(problem.cause, looked_at=problem.looked_at, remedy=problem.remedy, stage=stage)
        self._broken = self._broken or StageBroken(stage, problem)
        raise self._broken

    def _locate(self) -> Located:
        self.run.progress.begin(self.target.name, self.copy.name, "locate", -1)
        try:
            older = drawn(self.run, self.target.name, self.copy.name) if split(self.copy.name)[1] else ()
            return locate(self.repository, self.target, self.run, self.history_or_none, older)
        finally:
            self.run.progress.end()

    def _transfer(self) -> Transfer:
        snapshot = self.located().snapshot
        sandbox = self._enter_sandbox()
        expected = self._expected_bytes()
        disk.require(sandbox.work, expected, "what it unpacks to")
        self.run.progress.begin(self.target.name, self.copy.name, "fetch", snapshot.size)
        try:
            transfer = self.repository.fetch(snapshot, self._staging(sandbox))
        finally:
            self.run.progress.end()
        if not transfer.broken:
            self._compare_pins(transfer)
        if not transfer.broken:
            self._link(transfer, sandbox)
        return transfer

    def _link(self, transfer: Transfer, sandbox: Sandbox) -> None:
        """Let the engine put the links of a chain together, now that all of them are known to be what they were."""
        clock = time.monotonic()
        try:
            linked = self.engine().link(transfer.payloads, sandbox, self._options())
        except RestoreDrillError as problem:
            stage = problem.stage or Stage.CHAIN
            if stage is Stage.CHAIN and not self.copy.pattern.kinds - {Kind.FULL}:
                stage = Stage.RESTORE  # no case of this copy asks for a chain: its restore tells that there is one
            if stage in _TRANSFER:
                transfer.broken[stage] = problem
            else:
                self._unlinked = problem
        else:
            self._linked = linked.payloads
            transfer.notes += linked.notes
        transfer.seconds += time.monotonic() - clock

    def _expected_bytes(self) -> int:
        """What the snapshot will take on disk: what it took last time and a quarter, at least its stored size."""
        stored = max(self.located().snapshot.size, 0)
        history = self.history_or_none
        passed = history.last_passed if history else None
        return max(stored, int(1.25 * passed["content_bytes"])) if passed else stored

    def _staging(self, sandbox: Sandbox, *, discard: bool = False) -> Staging:
        quarantine = sandbox.work / ("compared" if discard else "quarantine")
        quarantine.mkdir(mode=0o700)
        return Staging(
            sandbox=sandbox,
            quarantine=quarantine,
            engine=self.engine,
            until=time.monotonic() + self.target.deadline("fetch"),
            reserve=disk.reserve(sandbox.work),
            threads=self.run.threads,
            tree_digest=discard or len(self.target.copies) > 1,
            discard=discard,
            files_judged="files" in self.selected,
            advance=self.run.progress.advance,
        )

    def _compare_pins(self, transfer: Transfer) -> None:
        """Pinned and frozen artifacts must be the bytes that they were when they were first drilled."""
        if not (self.target.model.frozen or self.copy.checksum.mode == "pinned"):
            return
        try:
            history = self.history
        except CouldNotVerify as problem:
            transfer.broken[Stage.VERIFY] = problem
            return
        for artifact in transfer.artifacts:
            name, actual = artifact.get("pin", artifact["key"]), artifact.get("sha256", "")
            pinned = self._pin(history, name)
            if pinned is None:
                transfer.notes.append(f"the digest of {Path(artifact['key']).name} was pinned now")
            elif pinned != actual:
                transfer.broken[Stage.VERIFY] = BackupFailed(
                    f"sha256 is {actual}, pinned at the first drill was {pinned}",
                    looked_at=name,
                    remedy="It changed since then. If that is right: restore-drill baseline accept TARGET --pin KEY "
                    "--reason ...",
                    stage=Stage.VERIFY,
                )

    def _pin(self, history: CopyHistory, name: str) -> str | None:
        """The digest that an artifact had; of those that are no longer among the newest, a sampled drill knows it."""
        if name in history.pinned:
            return history.pin(name)
        copy = split(self.copy.name)[0]
        return sampled.pin(self.run.history, self.target.name, copy, name, since=history.pin_accepted_at(name))

    def _restore(self) -> RestoreFacts:
        transfer: Transfer = self._results[Stage.FETCH]
        if self._unlinked is not None:
            self._unlinked.stage = Stage.RESTORE
            raise self._unlinked
        sandbox = self._enter_sandbox()
        engine, options = self.engine(), self._options()
        self.run.progress.begin(self.target.name, self.copy.name, "restore", -1)
        clock = time.monotonic()
        try:
            if engine.functions_inside:
                sandbox.enclose()
            self._restored = restored = engine.restore(self._linked, sandbox, options)
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
            sandbox=self._sandbox_facts(sandbox),
            facts={key: value for key, value in restored.facts.items() if key != "summary"},
            notes=tuple(restored.notes),
        )

    def _options(self) -> RestoreOptions:
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
        return self._content.of(case)

    def content_facts(self) -> dict[PlannedCase, Mapping[str, Any]]:
        """What content cases measured so far; of those that could not be measured there is nothing."""
        measured = self._content.facts().measured
        return {case: facts for case, facts in measured.items() if not isinstance(facts, RestoreDrillError)}

    def broken_content(self, case: PlannedCase) -> str:
        """Why a content case that was measured is not green, ``""`` when it is, or was not measured."""
        return self._content.broken(case)

    def context(self, case: PlannedCase) -> CheckContext:
        """What a content case is judged by besides what was restored."""
        return self._content.context(case)

    @property
    def options(self) -> RestoreOptions:
        """What its engine is asked for."""
        return self._options()

    @contextlib.contextmanager
    def sandbox_beside(self, purpose: str, kind: str = "") -> Iterator[Sandbox]:
        """Another sandbox, for something that is tried beside the restore; what is left of it, the drill left.

        Args:
            purpose: What for, part of its name.
            kind: ``directory`` or ``container``; ``""``: the target's own.
        """
        options = self.target.model.sandbox.options
        made: type[Sandbox] = load("sandboxes", kind or self.run.sandbox_of(self.target).kind)
        name = f"{self.target.name}.{self.copy.name}.{purpose}"
        sandbox = made(self.run.work_dir, run=self.run.id, name=name, limits=self._limits(), options=options)
        try:
            yield sandbox.__enter__()
        finally:
            disposal = sandbox.dispose()
            if disposal.left:
                self._left_beside.append(disposal)

    def read_again(self, sandbox: Sandbox) -> Transfer:
        """Read and verify its snapshot once more, in another sandbox."""
        return self.repository.fetch(self.located().snapshot, self._staging(sandbox))

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

    def _enter_sandbox(self) -> Sandbox:
        if self._sandbox is None:
            kind: type[Sandbox] = load("sandboxes", self.run.sandbox_of(self.target).kind)
            sandbox = kind(
                self.run.work_dir, run=self.run.id, name=f"{self.target.name}.{self.copy.name}", limits=self._limits(),
                circle=self.copy.store_name, options=self.target.model.sandbox.options,
            )  # fmt: skip
            self._sandbox = sandbox.__enter__()
        return self._sandbox

    def _limits(self) -> Limits:
        return Limits(processes=self.run.threads)

    def compare(self, taken_at: datetime) -> Transfer:
        """Read and hash another snapshot of this copy without restoring it, to compare copies by it.

        Raises:
            CouldNotVerify: It is not there any more.
        """
        survey = self.repository.survey(f"{taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        known = [*survey.newest, *([survey.wanted] if survey.wanted else [])]
        snapshot = next((each for each in known if each.taken_at == taken_at), None)
        if snapshot is None:
            raise CouldNotVerify("the snapshot to compare with vanished since it was listed", stage=Stage.FETCH)
        return self.repository.fetch(snapshot, self._staging(self._enter_sandbox(), discard=True))

    @property
    def progress(self) -> int:
        """How many stages have come to an end; what :meth:`properties` says depends on nothing else."""
        return len(self._results)

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
        located: Located | None = self._results.get(Stage.LOCATE)
        transfer: Transfer | None = self._results.get(Stage.FETCH)
        restore: RestoreFacts | None = self._results.get(Stage.RESTORE)
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

    # --- in another process ---------------------------------------------------------------------------------------

    def complete(
        self, content: Sequence[PlannedCase], upto: Stage, meanwhile: Callable[[str], None] | None = None
    ) -> DrillResults:
        """Run all of it at once: every stage up to one, every measurement, disposal.

        Args:
            content: The content cases that will be judged, in their order.
            upto: The last stage that anybody asks for.
            meanwhile: Called with the store's name when something is being measured, and neither that nor a look into
                the store takes long.
        """
        unrecorded = None
        try:
            self._measure_all(content, upto, meanwhile)
        except StageBroken:
            pass  # kept, too
        finally:
            try:
                self.close()
            except CouldNotVerify as problem:
                unrecorded = problem
        broken = (self._broken.stage, self._broken.error) if self._broken else None
        return DrillResults(self._results, broken, self._content.facts(), self.disposal, self.seconds, unrecorded)

    def _measure_all(
        self, content: Sequence[PlannedCase], upto: Stage, meanwhile: Callable[[str], None] | None
    ) -> None:
        if upto is not Stage.LOCATE:
            with contextlib.suppress(CouldNotVerify):  # tried again, and reported, by the stage that needs it
                self._enter_sandbox()
        self.reach(upto)
        if content and meanwhile is not None and self._is_brief():
            meanwhile(self.copy.store_name)
        for case in content:
            with contextlib.suppress(RestoreDrillError):  # kept, and borne by the case
                self.measure(case)

    def _is_brief(self) -> bool:
        looked = self.seconds.get((OWNER[Stage.LOCATE], ""), _QUICK)
        return self.transfer().content_bytes < _BRIEF and looked < _QUICK

    def adopt(self, results: DrillResults) -> None:
        """Take over what another process measured: nothing is measured here any more."""
        self._adopted = True
        self._content.adopt(results.content)
        self._results = results.stages
        self._broken = StageBroken(*results.broken) if results.broken else None
        self._unrecorded = results.unrecorded
        if self._unrecorded is not None and OWNER[Stage.DISPOSE] not in self.selected:
            self._results = {}  # nobody else would bear it
            self._broken = self._broken or StageBroken(Stage.LOCATE, self._unrecorded)
        self.disposal = results.disposal
        self.seconds = results.seconds

    def seconds_elsewhere(self, case: PlannedCase) -> float:
        """Seconds that another process spent on what a case stands for, told once.

        What stands for no selected case goes to the one that asks first.
        """
        if not self._adopted:
            return 0.0
        mine = (case.case, case.detail)
        selected = {(each.case, each.detail) for each in self.cases}
        return sum(self.seconds.pop(key) for key in list(self.seconds) if key == mine or key not in selected)

    # --- the end --------------------------------------------------------------------------------------------------

    def dispose(self) -> Disposal:
        """End and remove everything that was restored; may be called again."""
        if self._sandbox is not None:
            started, clock = datetime.now(UTC), time.monotonic()
            if self._restored is not None:
                self._restored.close()
            keep = self.may_be_kept and self.run.options.keep_restored and self._restored is not None
            reuse = self._spotless()
            sandbox, self._sandbox, self._restored = self._sandbox, None, None
            self.disposal = _with(sandbox.dispose(keep=keep, reuse=reuse), self._left_beside)
            self.seconds["disposed", ""] = seconds = time.monotonic() - clock
            self.record.disposed(started, seconds, self.disposal)
        return self.disposal or Disposal()

    def _spotless(self) -> bool:
        """Whether the bytes are what was recorded of them, every check passed, and nobody else's code saw them.

        Only then may the process that read them serve another drill of the same store. A recorded digest keeps out who
        can change a backup; who can write backup and digest of one target can also make others of that store.
        """
        transfer: Transfer | None = self._results.get(Stage.FETCH)
        if transfer is None or self._broken or transfer.broken or transfer.absent or transfer.unusable:
            return False
        if self.run.options.fresh_sandboxes or not all(case.case in CASES for case in self.cases):
            return False
        proved = transfer.digests and all(
            check.actual == check.expected and not is_weak(check.base or check.algorithm) for check in transfer.digests
        )
        return bool(proved) and self._content.undisputed

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
        if self._unrecorded is not None:
            raise self._unrecorded

    def close(self) -> None:
        """Dispose, and close the record."""
        try:
            self.dispose()
        finally:
            self.record.close()
