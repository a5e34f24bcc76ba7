"""One target of a set on its way back: a drill of its own, of the snapshot that the set has chosen."""

from __future__ import annotations

from restore_drill.drill import Drill, StageBroken
from restore_drill.errors import RestoreDrillError
from restore_drill.facts import Located
from restore_drill.locate import locate
from restore_drill.model import Snapshot, Stage
from restore_drill.plan import PlannedCopy, PlannedTarget
from restore_drill.run import Run
from restore_drill.sets.moment import Candidates


class Member(Drill):
    """The drill of one target of a set; it is recorded beside that target's own.

    Args:
        target: The target.
        copy: The copy that is restored.
        run: Shared by all drills of this process.
        purpose: The set, as records name it.
    """

    #: The target's own drill is what is kept: nobody is told of this one.
    may_be_kept = False

    def __init__(self, target: PlannedTarget, copy: PlannedCopy, run: Run, purpose: str) -> None:
        super().__init__(target, copy, run, frozenset(), purpose=purpose)
        self._chosen: Located | None = None
        self.newest = ""

    @property
    def is_newest(self) -> bool:
        """Whether the target's own drill is of the same snapshot."""
        return self._chosen is not None and self._chosen.snapshot.id == self.newest

    @property
    def chosen(self) -> Snapshot | None:
        """The snapshot that is restored, ``None`` as long as none was looked for."""
        return self._chosen.snapshot if self._chosen is not None else None

    def look(self) -> Snapshot:
        """The newest snapshot, which is taken unless :meth:`candidates` lead to another.

        Raises:
            StageBroken: There is none that can be drilled.
        """
        self._chosen = self._found("")
        self.newest = self._chosen.snapshot.id
        return self._chosen.snapshot

    def candidates(self) -> Candidates:
        """The snapshots that may be taken: the newest that can be drilled, and those before it.

        Raises:
            CouldNotVerify: The store cannot be read.
        """
        assert self._chosen is not None  # noqa: S101 - it was looked for
        newest = self._chosen.snapshot
        before = [each for each in self.repository.survey().newest if each.taken_at < newest.taken_at]
        return Candidates(
            [newest, *before],
            timeless=self.target.model.frozen,
            unfinished=lambda snapshot: (
                None if snapshot.id == self.newest else self.repository.unfinished(snapshot, settling=False)
            ),
        )

    def take(self, snapshot: Snapshot) -> None:
        """Restore this one.

        Raises:
            StageBroken: It cannot be drilled.
        """
        if snapshot.id == self.newest:
            return
        self._chosen = self._found(snapshot.id)

    def _found(self, wanted: str) -> Located:
        """A snapshot of its own: an id that the run was asked for speaks of the target's own drill."""
        try:
            return locate(self.repository, self.target, self.run, self.history_or_none, wanted=wanted)
        except RestoreDrillError as problem:
            raise StageBroken(problem.stage or Stage.LOCATE, problem) from problem

    def _locate(self) -> Located:
        assert self._chosen is not None  # noqa: S101 - the set has chosen
        return self._chosen
