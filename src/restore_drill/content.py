"""What the content cases of one drill are judged by: each is measured at most once, and one case bears one cause."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from restore_drill.checks.base import Baseline, Check, CheckContext
from restore_drill.errors import BackupFailed, Blocked, CouldNotVerify, RestoreDrillError, unexpected
from restore_drill.model import Finding
from restore_drill.plan import PlannedCase
from restore_drill.registry import load

if TYPE_CHECKING:
    from restore_drill.drill import Drill


@dataclass(frozen=True, slots=True)
class Measured:
    """What a content case is judged by."""

    check: Check
    facts: Mapping[str, Any]
    context: CheckContext

    def judge(self) -> Finding:
        """What the check's rule says of the facts."""
        return self.check.judge(self.facts, self.context)


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """What was measured, as values that another process can judge.

    Attributes:
        measured: By case: facts, or why there are none.
        baseline: What they are compared with.
        recorded: The row counts that were recorded beside the snapshot, where a case needed them.
    """

    measured: dict[PlannedCase, Mapping[str, Any] | RestoreDrillError]
    baseline: Baseline
    recorded: Mapping[str, int] | None = None


class Content:
    """Measures a restored system for the cases of a drill, or judges what another process measured.

    Args:
        drill: The drill; it has come as far as the restored system when anything is asked here.
    """

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._measured: dict[PlannedCase, Measured | RestoreDrillError] = {}
        self._adopted: ContentFacts | None = None
        self._baseline: Baseline | None = None
        self._recorded: Mapping[str, int] | None = None
        self._looked_for_recorded = False

    def of(self, case: PlannedCase) -> Measured:
        """What a case is judged by.

        Raises:
            RestoreDrillError: It could not be measured.
        """
        if case not in self._measured:
            self._measured[case] = self._adopt_one(case) if self._adopted else self._measure(case)
        outcome = self._measured[case]
        if isinstance(outcome, RestoreDrillError):
            raise outcome
        return outcome

    @property
    def undisputed(self) -> bool:
        """Whether everything that was measured could be, and is as it should be."""
        try:
            return all(isinstance(found, Measured) and found.judge().passed for found in self._measured.values())
        except Exception:  # facts that cannot be judged: the case says so, where it is judged for the report
            return False

    def facts(self) -> ContentFacts:
        """All of it, for another process."""
        measured = {
            case: found.facts if isinstance(found, Measured) else found for case, found in self._measured.items()
        }
        return ContentFacts(measured, self._compared_with(), self._recorded)

    def adopt(self, facts: ContentFacts) -> None:
        """Take over what another process measured."""
        self._adopted, self._baseline = facts, facts.baseline
        self._recorded, self._looked_for_recorded = facts.recorded, True

    def _adopt_one(self, case: PlannedCase) -> Measured | RestoreDrillError:
        assert self._adopted is not None  # noqa: S101 - the caller looked
        found = self._adopted.measured[case]
        return found if isinstance(found, RestoreDrillError) else Measured(_check(case), found, self._context(case))

    def _measure(self, case: PlannedCase) -> Measured | RestoreDrillError:
        drill, context = self._drill, self._context(case)
        drill.run.progress.begin(drill.target.name, drill.copy.name, _name(case), -1)
        started, clock = datetime.now(UTC), time.monotonic()
        facts: dict[str, Any] = {}
        try:
            check = _check(case)
            facts = self._rehearse() if case.case == "runbook" else check.measure(drill.restored(), context)
            return Measured(check, facts, context)
        except BackupFailed as problem:
            return self._blame(problem)
        except RestoreDrillError as problem:
            return problem
        except Exception as problem:
            return unexpected(problem)
        finally:
            drill.run.progress.end()
            drill.seconds[case.case, case.detail] = seconds = time.monotonic() - clock
            drill.record.check(case, started, seconds, facts)

    def _rehearse(self) -> dict[str, Any]:
        """A runbook is measured by executing it, and judges what it left by the other cases."""
        from restore_drill.recovery.rehearsal import rehearse

        runbook = self._drill.target.runbook
        if runbook is None:
            raise CouldNotVerify("the runbook was not read with the catalogue")
        return rehearse(self._drill, runbook)

    def _blame(self, problem: BackupFailed) -> RestoreDrillError:
        """Damage that keeps several cases from measuring is borne by one: by integrity, else by the first of them."""
        for other, found in self._measured.items():
            if isinstance(found, BackupFailed):
                return Blocked(other.case, found.cause)
            if other.case == "integrity" and isinstance(found, Measured) and not (verdict := found.judge()).passed:
                return Blocked(other.case, verdict.message)
        return problem

    def broken(self, case: PlannedCase) -> str:
        """Why a case that was measured is not green, ``""`` when it is, or was not measured."""
        found = self._measured.get(case)
        if isinstance(found, RestoreDrillError):
            return found.cause
        finding = found.judge() if found else None
        return "" if finding is None or finding.passed else finding.message

    def context(self, case: PlannedCase) -> CheckContext:
        """What the check of a case may know."""
        return self._context(case)

    def _context(self, case: PlannedCase) -> CheckContext:
        drill = self._drill
        expect = drill.target.model.expect
        rules = {"rows": expect.rows, "files": expect.files}.get(case.case)
        needs_recorded = rules is not None and rules.recorded is not None
        return CheckContext(
            detail=case.detail,
            rule=expect.checks[case.detail] if case.case == "check" else expect,
            snapshot=drill.located().snapshot,
            baseline=self._compared_with(),
            deadline=drill.target.deadline("check"),
            recorded=self._recorded_counts() if needs_recorded else None,
            zone=drill.copy.model.timezone or drill.target.model.timezone or ZoneInfo("UTC"),
            manifest=drill.transfer().manifest or None,
            selected=drill.selected,
            depth=drill.target.model.depth,
            sample=drill.target.model.sample,
            reference=drill.target.reference,
        )

    def _recorded_counts(self) -> Mapping[str, int] | None:
        if not self._looked_for_recorded:
            self._recorded = self._drill.repository.recorded_counts(self._drill.located().snapshot)
            self._looked_for_recorded = True
        return self._recorded

    def _compared_with(self) -> Baseline:
        """What the restored system is compared with; without a state that can be used, the reason."""
        if self._baseline is None:
            try:
                self._baseline = self._drill.history.baseline(self._drill.run.clock())
            except CouldNotVerify as problem:
                self._baseline = Baseline(problem=problem)
        return self._baseline


def _name(case: PlannedCase) -> str:
    """The name of the check that a content case is judged by."""
    return case.detail if case.case == "check" else case.case


def _check(case: PlannedCase) -> Check:
    if case.case == "runbook":
        from restore_drill.recovery.judging import RunbookCheck

        return RunbookCheck()
    check: Check = load("checks", _name(case))()
    return check
