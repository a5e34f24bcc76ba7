"""What a case sees of its drill, and what JUnit says of the drill with every case."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from restore_drill.cases import CASES, SET_CASES
from restore_drill.content import Measured
from restore_drill.drill import Drill, StageBroken
from restore_drill.model import Finding, Stage
from restore_drill.plan import PlannedCase, PlannedCopy, PlannedTarget
from restore_drill.policy.copies import Agreement, CopyStanding
from restore_drill.policy.expiry import ExpiryFacts
from restore_drill.policy.retention import RetentionFacts
from restore_drill.printable import printable
from restore_drill.pytest_support.naming import OWN
from restore_drill.pytest_support.verdicts import CaseFailed
from restore_drill.secrets import redact
from restore_drill.target_drill import TargetDrill

if TYPE_CHECKING:
    from restore_drill.catalogue.models import RetentionRule
    from restore_drill.catalogue.sets import SetQuery
    from restore_drill.engines.base import Restored
    from restore_drill.facts import Located, RestoreFacts
    from restore_drill.model import Snapshot
    from restore_drill.plan import PlannedSet
    from restore_drill.policy.sets import SetFacts
    from restore_drill.repositories.base import Transfer
    from restore_drill.sets.set_drill import SetDrill


class CaseView:
    """What a case sees of its drill: facts to judge and the rules to judge them by.

    Standard cases call :meth:`require` with a finding; a user's own use :attr:`restored` and plain assertions.
    """

    def __init__(self, case: PlannedCase, whole: TargetDrill) -> None:
        self.case = case
        self.finding = Finding()
        self._whole = whole

    def require(self, finding: Finding) -> None:
        """Pass, or fail with what the finding says."""
        self.finding = finding
        if not finding.passed:
            raise CaseFailed(finding)

    @property
    def target(self) -> PlannedTarget:
        """The target, with its objectives."""
        return self._whole.target

    @property
    def copy(self) -> PlannedCopy:
        """The copy that is drilled."""
        return self._whole.target.planned_copy(self.case.copy)

    @property
    def located(self) -> Located:
        """The snapshot, and the recovery points around it."""
        return self._drill.located()

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that is drilled."""
        return self.located.snapshot

    @property
    def transfer(self) -> Transfer:
        """What fetching, verifying and unpacking found."""
        return self._drill.transfer()

    @property
    def restore(self) -> RestoreFacts:
        """How it was brought back."""
        return self._drill.restore_facts()

    @property
    def restored(self) -> Restored:
        """The restored system, alive until the drill is over."""
        return self._drill.restored()

    @property
    def measured(self) -> Measured:
        """The facts, the rule and the check of a content case."""
        return self._drill.measure(self.case)

    @property
    def chain(self) -> list[str]:
        """Ids of the snapshots that were restored, oldest first."""
        return [*(parent.id for parent in self.snapshot.parents), self.snapshot.id]

    @property
    def left_behind(self) -> tuple[tuple[str, ...], str]:
        """What disposal could not remove, and why."""
        disposal = self._drill.dispose()
        return disposal.left, disposal.reason

    @property
    def standings(self) -> list[CopyStanding]:
        """What each copy of the target counts for in 3-2-1."""
        return self._whole.standings()

    @property
    def agreement(self) -> Agreement:
        """The newest snapshot that all copies have, and its content in each."""
        return self._whole.agreement()

    @property
    def retention(self) -> list[tuple[RetentionFacts, RetentionRule]]:
        """The recovery points of every copy with a policy, and the policy."""
        return self._whole.retention()

    @property
    def expiry(self) -> list[ExpiryFacts]:
        """What is proved of every copy whose backups somebody removes, and how."""
        return self._whole.expiry()

    @property
    def planned_set(self) -> PlannedSet:
        """The set that a case is about."""
        return self._set.planned

    @property
    def together(self) -> SetFacts:
        """How the targets of the set came back."""
        return self._set.together(self.case)

    @property
    def answered(self) -> tuple[dict[str, Any], SetQuery]:
        """What the two answers of a set's query have in common, and its rule."""
        return self._set.answered(self.case)

    @property
    def booted(self) -> dict[str, Any]:
        """How the set's application answered."""
        return self._set.boot(self.case)

    @property
    def left_of_set(self) -> tuple[tuple[str, ...], str]:
        """What could not be removed of what came back together, and why."""
        disposal = self._set.disposed(self.case)
        return disposal.left, disposal.reason

    @property
    def _set(self) -> SetDrill:
        return self._whole.set_drill(self.case.detail.partition("/")[0])

    @property
    def zone(self) -> Any:
        """The zone in which the target's days begin."""
        return self._whole.zone

    @property
    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self._whole.run.clock()

    @property
    def today(self) -> Any:
        """The date on which exceptions are judged."""
        return datetime.fromtimestamp(self.now, self.zone).date()

    @property
    def properties(self) -> list[tuple[str, object]]:
        """What is known of the drill so far, for JUnit."""
        known = self._whole.described(self.case.copy, _describe)
        return [*known, ("set", self.case.detail.partition("/")[0])] if self.case.case in SET_CASES else known

    @property
    def _drill(self) -> Drill:
        return self._whole.drill(self.case.copy)

    def prepare(self) -> None:
        """Measure what the case needs.

        Raises:
            StageBroken: A stage that it needs is broken.
            RestoreDrillError: It could not be measured.
        """
        needs = Stage.RESTORE if self.case.case == OWN else CASES[self.case.case].needs
        if needs is Stage.TARGET:
            return
        if needs is Stage.DISPOSE:
            self._drill.finish()
        elif needs is Stage.CONTENT:
            self._drill.measure(self.case)
        else:
            self._drill.reach(needs)
            if self.case.case == "checksum":
                self._need_digests()

    def _need_digests(self) -> None:
        """A digest of bytes that could not be decoded is blocked by the decoding."""
        transfer = self._drill.transfer()
        if Stage.UNPACK in transfer.broken and any(check.layer and not check.actual for check in transfer.digests):
            raise StageBroken(Stage.UNPACK, transfer.broken[Stage.UNPACK])


def _describe(whole: TargetDrill, copy: str) -> list[tuple[str, object]]:
    """What JUnit says with every case of a drill."""
    demo = "demo" if whole.run.plan.demo else ""
    known = {"target": whole.target.name, "tier": whole.target.tier, "copy": copy, "scope": whole.scope(copy)}
    known |= {"depth": whole.target.depth}
    return written({**known, "estate": demo, **(whole.drill(copy).properties() if copy else {})})


def written(values: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Values as JUnit may show them; what is empty is left out."""
    return [(name, printable(redact(str(value)))) for name, value in values.items() if value not in (None, "")]
