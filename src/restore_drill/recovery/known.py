"""What drills proved, as plans and runbooks ask for it. Pure: who read it, and where, is no business of theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from restore_drill.policy.proofs import Attempt, Proof, Proofs
from restore_drill.quantities import format_instant

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy, PlannedTarget


@dataclass(slots=True)
class Known:
    """What drills proved.

    Attributes:
        proofs: By target and copy.
        drills: The evidence of the drills of the newest proofs, with what their stages measured, by target and copy.
        problems: What could not be read, or does not fit together.
        stores: The store in which each copy lies by now, by target and copy; what was proved in another one is no way
            back from this one.
    """

    proofs: Proofs = field(default_factory=Proofs)
    drills: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    stores: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def newest(self, target: str, copy: str) -> Proof | None:
        """The proof of the newest snapshot of a copy that has one, where it lies by now."""
        here = ("", self.stores.get((target, copy), ""))
        standing = reversed(self.proofs.of_copy(target, copy).values())
        return next((proof for proof in standing if not here[1] or proof.store in here), None)

    def why_not(self, target: str, copy: str) -> str:
        """Why nothing is proved of a copy, as far as is known."""
        if self.problems:
            return self.problems[0]
        if self._last(target, copy) is None:
            return "it was never drilled"
        if self.newest(target, copy) is None and (elsewhere := self.proofs.newest(target, copy)) is not None:
            return f"what was proved of it lay in another store, {elsewhere.store}"
        return self.doubt(target, copy) or "no whole drill of it has passed"

    def doubt(self, target: str, copy: str) -> str:
        """What the last drill of a copy's newest snapshot found wrong, ``""`` when it was good.

        The proof may be of an older snapshot; that another older one was good since takes nothing back.
        """
        last = self._last(target, copy)
        if last is None or last.verdict not in ("failed", "error"):
            return ""
        found = "failed" if last.verdict == "failed" else "could not be verified"
        return f"its last drill, {format_instant(last.finished)}, {found}{f' ({last.cause})' if last.cause else ''}"

    def _last(self, target: str, copy: str) -> Attempt | None:
        if (last := self.proofs.last(target, copy)) is not None:
            return last
        attempts = self.proofs.attempts(target, copy).values()
        return max(attempts, key=lambda attempt: attempt.finished, default=None)

    def best_copy(self, target: PlannedTarget, lost: Collection[str] = ()) -> PlannedCopy | None:
        """The copy to restore from: that with the newest proved snapshot, the catalogue's first of several.

        Args:
            target: What is restored.
            lost: Names of stores that are taken for lost; ``None`` is returned when they hold all copies.
        """
        left = [copy for copy in target.copies if copy.store_name not in lost]
        proofs = {copy.name: self.newest(target.name, copy.name) for copy in left}
        taken = {name: proof.taken_at if proof else float("-inf") for name, proof in proofs.items()}
        return max(left, key=lambda copy: taken[copy.name], default=None)
