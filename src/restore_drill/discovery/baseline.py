"""One real restore of each series, by the ordinary drill: what it holds becomes what a drill expects.

Nothing is remembered of it but what is written into the catalogue; it works in a state of its own, which is removed.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from restore_drill.discovery.catalogue import Discovery
from restore_drill.discovery.describe import Proposal
from restore_drill.discovery.rhythm import longer_rto
from restore_drill.drill import Drill, StageBroken
from restore_drill.errors import RestoreDrillError
from restore_drill.history import History
from restore_drill.lifecycle import check_work_dir, reap
from restore_drill.model import Stage
from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.quantities import format_duration
from restore_drill.registry import load
from restore_drill.run import Run, new_run_id
from restore_drill.state import open_state

#: How far what grows and shrinks may fall below what it was, before a person is asked.
_DROP = 0.8
_DROP_TEXT = "20%"
#: Tables that are named where they are empty.
_NAMED = 8


def add_baselines(found: Discovery, tell: Callable[[str], None]) -> None:
    """Drill each target once, and write down what came back; what did not is said where the target stands."""
    with _interrupted_by_sigterm(), tempfile.TemporaryDirectory(prefix="restore-drill-baseline-") as directory:
        plan = found.check(f"file://{directory}/state")
        if plan is None:
            return
        History(open_state(plan.state)).initialise()
        run = Run("", Path(directory, "run"), plan)
        run.id = new_run_id(run.clock())
        check_work_dir(run)
        reap(run)
        try:
            before = {proposal.name: proposal.keys.get("expect") for proposal in found.proposals}
            for proposal in found.proposals:
                if proposal.name in plan.by_name:
                    tell(f"restoring {proposal.name}")
                    _drill(run, plan.by_name[proposal.name], proposal)
        finally:
            run.close()
    _take_back(found, before)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """What is restored goes when this is told to end, as it does by Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _take_back(found: Discovery, before: Mapping[str, tuple[object, str] | None]) -> None:
    """What a catalogue may not expect (tables whose names differ by case alone) is not expected."""
    problems = found.problems()
    for proposal in found.proposals:
        if proposal.name in problems:
            proposal.warnings.append(f"what it held cannot be expected: {problems[proposal.name]}")
            proposal.keys.pop("expect", None)
            if (known := before[proposal.name]) is not None:
                proposal.keys["expect"] = known
    found.check()


def _drill(run: Run, target: PlannedTarget, proposal: Proposal) -> None:
    copy = target.copies[0]
    cases = frozenset(case for case in target.cases() if case.copy == copy.name)
    drill = Drill(target, copy, run, cases, purpose="baseline")
    try:
        drill.reach(Stage.RESTORE)
        _examine(drill, target, proposal)
    except StageBroken as broken:
        proposal.warnings.append(f"the trial restore broke ({broken.owner}): {broken.error.cause}")
    except RestoreDrillError as problem:
        proposal.warnings.append(f"the trial restore could not be examined: {problem.cause}")
    finally:
        drill.close()


def _examine(drill: Drill, target: PlannedTarget, proposal: Proposal) -> None:
    took = drill.restore_facts().rto_seconds
    if longer := longer_rto(took, target.rto):
        proposal.keys["rto"] = (longer, f"the trial restore took {format_duration(round(took))}")
    checks, restored = load("engines", target.model.engine).checks, drill.restored()
    name = drill.located().snapshot.main.name
    case = PlannedCase(target.name, drill.copy.name, "integrity")
    if case in drill.cases:
        finding = drill.measure(case).judge()
        if not finding.passed:
            proposal.warnings.append(f"its integrity, in the trial restore: {finding.message}")
            return
    rules: dict[str, object] = {}
    if "rows" in checks:
        counts = restored.row_counts()
        rules |= _rows(counts, frozen=proposal.is_frozen)
        if empty := sorted(table for table, count in counts.items() if not count):
            more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
            proposal.warnings.append(
                f"without a row in the trial restore: {', '.join(empty[:_NAMED])}{more}; is it so?"
            )
    elif "files" in checks:
        facts = restored.files({})
        rules["files"] = _files(int(facts["files"]), int(facts["bytes"]), frozen=proposal.is_frozen)
    if rules:
        known, _ = proposal.keys.get("expect", ({}, ""))
        why = f"what {name} held when it was restored" + ("" if proposal.is_frozen else ", less a fifth")
        proposal.keys["expect"] = ({**(known if isinstance(known, dict) else {}), **rules}, why)


def _rows(counts: Mapping[str, int], *, frozen: bool) -> dict[str, object]:
    rules: dict[str, object] = {}
    for table, count in sorted(counts.items()):
        if frozen:
            rules[table] = count
        elif count:
            rules[table] = {"min": floor(count), "max_drop": _DROP_TEXT}
    return {"rows": {"tables": rules}} if rules else {}


def _files(count: int, size: int, *, frozen: bool) -> dict[str, object]:
    if frozen:
        return {"min": count, "max": count, "min_bytes": f"{size} B", "max_bytes": f"{size} B"}
    return {"min": floor(count), "min_bytes": f"{floor(size)} B", "max_drop": _DROP_TEXT}


def floor(count: int) -> int:
    """What a number may fall to, rounded down to two digits; never nothing."""
    least = max(1, int(count * _DROP))
    digits = int(10 ** max(0, len(str(least)) - 2))
    return least // digits * digits
