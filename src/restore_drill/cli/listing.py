"""``restore-drill baseline reference``: what a target consists of, for a person to review and to commit."""

from __future__ import annotations

import tempfile
from pathlib import Path

from restore_drill import outline
from restore_drill.drill import Drill, StageBroken
from restore_drill.errors import UsageProblem
from restore_drill.lifecycle import check_work_dir, reap
from restore_drill.model import Stage
from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
from restore_drill.registry import load
from restore_drill.run import Run, new_run_id


def reference(plan: Plan, target: PlannedTarget, copy: str | None) -> str:
    """Restore the newest snapshot of a copy (the first when none is named) as a drill does, and list what it holds.

    Nothing is remembered of it.

    Raises:
        UsageProblem: The engine has no structure, or there is no such copy.
        RestoreDrillError: What keeps it from being restored.
    """
    if "structure" not in load("engines", target.model.engine).checks:
        raise UsageProblem(
            f"what the engine {target.model.engine!r} restores has no structure that could be listed",
            remedy="Write expectations of its files, or a case of your own.",
        )
    planned = _copy(target, copy)
    with tempfile.TemporaryDirectory(prefix="restore-drill-reference-") as directory:
        run = Run("", Path(directory), plan)
        run.id = new_run_id(run.clock())
        check_work_dir(run)
        reap(run)
        try:
            return outline.written(target.name, _lines(run, target, planned))
        finally:
            run.close()


def _copy(target: PlannedTarget, copy: str | None) -> PlannedCopy:
    if copy is None:
        return target.copies[0]
    if copy not in target.copies_by_name:
        known = ", ".join(target.copies_by_name)
        raise UsageProblem(f"{target.name} has no copy {copy!r}", remedy=f"It has {known}.")
    return target.copies_by_name[copy]


def _lines(run: Run, target: PlannedTarget, copy: PlannedCopy) -> list[str]:
    drill = Drill(target, copy, run, frozenset(), purpose="reference")
    try:
        drill.reach(Stage.RESTORE)
        return drill.restored().outline()
    except StageBroken as broken:
        raise broken.error from None
    finally:
        drill.close()
