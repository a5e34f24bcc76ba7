"""The sandboxes of one drill: the one that it restores in, and others beside it; how they end, and what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from restore_drill.cases import CASES
from restore_drill.digests import is_weak
from restore_drill.model import Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Disposal, Limits, Sandbox

if TYPE_CHECKING:
    from restore_drill.drill import Drill
    from restore_drill.repositories.base import Transfer


class DrillSandboxes:
    """Makes and ends the sandboxes of a drill.

    Args:
        drill: The drill; who may use its sandbox after it depends on what it found.
    """

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._entered: Sandbox | None = None
        self._left_beside: list[Disposal] = []

    @property
    def entered(self) -> bool:
        """Whether there is one that it restores in."""
        return self._entered is not None

    def enter(self) -> Sandbox:
        """The one that it restores in; made when it is first asked for."""
        if self._entered is None:
            self._entered = self._made(self._name, circle=self._drill.copy.store_name).__enter__()
        return self._entered

    @contextlib.contextmanager
    def beside(self, purpose: str, kind: str = "") -> Iterator[Sandbox]:
        """Another sandbox, for something that is tried beside the restore; what is left of it, the drill left.

        Args:
            purpose: What for, part of its name.
            kind: ``directory`` or ``container``; ``""``: the target's own.
        """
        sandbox = self._made(f"{self._name}.{purpose}", kind)
        try:
            yield sandbox.__enter__()
        finally:
            disposal = sandbox.dispose()
            if disposal.left:
                self._left_beside.append(disposal)

    def facts(self) -> dict[str, Any]:
        """What the one that it restores in says of itself, and why it is of its kind."""
        return {**self.enter().facts(), "chosen": self._drill.run.sandbox_of(self._drill.target).reason}

    def dispose(self, *, keep: bool) -> Disposal:
        """End the one that it restores in; what is left of those beside it is told with it.

        Args:
            keep: Leave what was restored.
        """
        reuse = self._spotless()
        sandbox, self._entered = self._entered, None
        return _with(sandbox.dispose(keep=keep, reuse=reuse), self._left_beside) if sandbox else Disposal()

    @property
    def _name(self) -> str:
        return f"{self._drill.target.name}.{self._drill.copy.name}"

    def _made(self, name: str, kind: str = "", circle: str = "") -> Sandbox:
        drill, run = self._drill, self._drill.run
        made: type[Sandbox] = load("sandboxes", kind or run.sandbox_of(drill.target).kind)
        limits, options = Limits(processes=run.threads), drill.target.model.sandbox.options
        return made(run.work_dir, run=run.id, name=name, limits=limits, circle=circle, options=options)

    def _spotless(self) -> bool:
        """Whether the bytes are what was recorded of them, every check passed, and nobody else's code saw them.

        Only then may the process that read them serve another drill of the same store. A recorded digest keeps out who
        can change a backup; who can write backup and digest of one target can also make others of that store.
        """
        drill = self._drill
        transfer: Transfer | None = drill.results.get(Stage.FETCH)
        if transfer is None or drill.broken or transfer.broken or transfer.absent or transfer.unusable:
            return False
        if drill.run.options.fresh_sandboxes or not all(case.case in CASES for case in drill.cases):
            return False
        proved = transfer.digests and all(
            check.actual == check.expected and not is_weak(check.base or check.algorithm) for check in transfer.digests
        )
        return bool(proved) and drill.content.undisputed


def _with(disposal: Disposal, others: Sequence[Disposal]) -> Disposal:
    """How a drill's sandbox ended, and what is left of those beside it."""
    if not others:
        return disposal
    left = (*disposal.left, *(path for each in others for path in each.left))
    return replace(disposal, left=left, reason=disposal.reason or others[0].reason)
