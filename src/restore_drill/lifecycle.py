"""The beginning and the end of a run: the demo estate, leftovers, what is remembered, what is published."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from restore_drill import sampled
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.evidence.account import DrillAccount
from restore_drill.evidence.drilled import Earlier, times
from restore_drill.evidence.moments import stamp
from restore_drill.history import CopyHistory, DrillSummary
from restore_drill.model import Verdict
from restore_drill.plan import Plan, PlannedCopy
from restore_drill.run import Run
from restore_drill.whole_files import write_whole


def start_demo(plan: Plan) -> Any:
    """Build or refresh the demo estate and serve its offsite store, when the plan is the demo's; else ``None``.

    Called by pytest's controller and by the command line, never by a worker.

    Raises:
        CouldNotVerify: The demo cannot be started.
    """
    if not plan.demo:
        return None
    root = _checkout(plan)
    estate = _of_demo(root)
    try:
        return estate.start(root)
    except OSError as problem:
        raise CouldNotVerify(
            f"the demo estate cannot be built: {problem.strerror or problem}",
            looked_at=str(problem.filename or root),
            remedy="Run the demo in a copy of the project that this user may write to.",
        ) from problem


def fit_demo(plan: Plan) -> Plan:
    """Leave out of the demo what this machine cannot have (``Plan.left_out`` says so); any other plan stays as it is.

    Raises:
        CouldNotVerify: The demo needs something that is not installed.
    """
    if not plan.demo:
        return plan
    estate = _of_demo(_checkout(plan))
    left_out = estate.left_out()
    return replace(
        plan,
        targets=tuple(target for target in plan.targets if target.name not in left_out),
        left_out=tuple(left_out.items()),
        passed_over=tuple(estate.passed_over().items()),
    )


def _checkout(plan: Plan) -> Path:
    return Path(plan.catalogue).resolve().parent.parent


def _of_demo(root: Path) -> Any:
    fixtures = str(root / "fixtures")
    if fixtures not in sys.path:
        sys.path.insert(0, fixtures)
    try:
        return importlib.import_module("demo_estate")
    except ImportError as problem:
        raise CouldNotVerify(
            f"the demo estate needs {problem.name}, which is not installed",
            remedy="pip install 'pytest-restore-drill[demo]', or use ci/drill.",
        ) from problem


def check_work_dir(run: Run) -> None:
    """See to it that nothing is restored, and nothing is made, among backups.

    Raises:
        UsageProblem: The directory in which drills work is inside a store, or a store inside it.
    """
    from restore_drill.catalogue.places import local_root
    from restore_drill.sandboxes.workspace import directory_name

    work = Path(os.path.realpath(run.work_dir)) / directory_name()
    for copy in (copy for target in run.plan.targets for copy in target.copies):
        written = local_root(copy.settings.url, Path(run.plan.catalogue).parent)
        if written is None:
            continue
        for store in {written, Path(os.path.realpath(written))}:
            if work.is_relative_to(store) or store.is_relative_to(work):
                raise UsageProblem(
                    f"drills would restore inside the store {copy.store_name!r}",
                    looked_at=str(work.parent),
                    remedy="Nothing is ever written among backups: give --work-dir (or TMPDIR) a directory apart from "
                    "every store.",
                )


def open_run(run: Run) -> None:
    """Make the run's directory, and remove what runs that were killed left behind.

    Raises:
        UsageProblem: Reports cannot be written there.
        CouldNotVerify: There is no room for them.
    """
    try:
        (run.directory / "facts").mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        kind = CouldNotVerify if problem.errno in (errno.ENOSPC, errno.EDQUOT) else UsageProblem
        raise kind(
            f"reports cannot be written: {problem.strerror}",
            looked_at=str(run.directory.parent),
            remedy="Give --reports-dir a directory with room that this user may write to.",
        ) from problem
    reap(run)


def look_for_sandboxes(run: Run) -> None:
    """Find out which kinds of sandboxes this machine has, once for all workers, where the catalogue leaves it open."""
    for target in run.plan.targets:
        # A machine that has none for a target is told by the target's drills.
        with contextlib.suppress(CouldNotVerify):
            run.sandbox_of(target)


def abandon(run: Run) -> None:
    """Remove the directory of a run that did not begin."""
    for directory in (run.directory / "facts", run.directory):
        with contextlib.suppress(OSError):
            directory.rmdir()


def reap(run: Run) -> list[str]:
    """Remove the work directories of runs (and workers) that no longer exist.

    Where nothing may be made nothing is looked for: every drill that would restore there says why it cannot.
    """
    from restore_drill.sandboxes.reaper import reap as reap_directories

    try:
        return [str(path) for path in reap_directories(run.work_dir)]
    except CouldNotVerify:
        return []


def remember(
    run: Run, drills: Mapping[tuple[str, str], DrillAccount], seconds: Mapping[str, float]
) -> dict[tuple[str, str], Earlier]:
    """Write drills into the state, and return what was known of their copies before.

    Of whole ones: baselines of those that passed, but for what is excepted; the date of all. Of any that failed or
    could not be verified: that, until a later one is good.

    Raises:
        CouldNotVerify: The state cannot be read or written.
    """
    if not drills or not run.history.initialised:
        return {}
    older = {key: account for key, account in drills.items() if account.slot}
    if older:
        drills = {key: account for key, account in drills.items() if not account.slot}
        of_newest = remember(run, drills, seconds)
        return of_newest | _remember_older(run, older)
    whole = {key: account for key, account in drills.items() if account.whole}
    failed = {key: _failure(run, account) for key, account in drills.items() if account.found_wanting}
    before = run.history.record_all({key: _summary(run, account) for key, account in whole.items()}, failed)
    if whole:
        wanting = {target for (target, _), account in whole.items() if account.found_wanting}
        run.history.record_durations({target: round(seconds.get(target, 0.0), 3) for target, _ in whole}, wanting)
    before |= _known(run, drills.keys() - before.keys())
    return {key: _earlier(history) for key, history in before.items()}


def _remember_older(run: Run, drills: Mapping[tuple[str, str], DrillAccount]) -> dict[tuple[str, str], Earlier]:
    """Write down which older snapshots were drilled; what they hold is no baseline of anything.

    Of whole drills that came to a verdict: what could not be verified has still to be drilled.
    """
    now = round(run.clock(), 3)
    changes: dict[str, dict[str, sampled.Known]] = {}
    before: dict[tuple[str, str], Earlier] = {}
    for key, account in drills.items():
        name, copy = account.target.name, account.target.planned_copy(account.copy)
        entry = run.drawn(name, account.copy)
        identity = account.identity or account.drawn(entry).get("identity", "")
        known = entry.get("known", {}).get(identity)
        failed = {"run": known["run"], "verdict": "failed", "finished": stamp(known["at"])} if _was_bad(known) else None
        before[key] = Earlier(None, failed)
        if account.whole and account.verdict is not Verdict.ERROR and identity:
            changes.setdefault(name, {}).setdefault(account.of, {})[identity] = _drilled(run, now, account, copy)
    if changes:
        sampled.record(run.history, changes)
    return before


def _was_bad(known: Mapping[str, Any] | None) -> bool:
    return known is not None and not known["passed"]


def _drilled(run: Run, now: float, account: DrillAccount, copy: PlannedCopy) -> dict[str, Any]:
    snapshot = account.facts("locate").get("snapshot") or account.drawn(run.drawn(account.target.name, account.copy))
    found: dict[str, Any] = {"at": now, "passed": account.passed, "run": run.id, "id": snapshot.get("id", "")}
    if account.passed and (account.target.model.frozen or copy.checksum.mode == "pinned"):
        artifacts = account.facts("fetch").get("artifacts") or ()
        found["pins"] = {each.get("pin", each["key"]): each["sha256"] for each in artifacts if each.get("sha256")}
    return found


def _failure(run: Run, account: DrillAccount) -> dict[str, str]:
    finished = times(account.lines).get("finished") or stamp(run.clock())
    return {"run": run.id, "verdict": str(account.verdict), "finished": finished}


def _known(run: Run, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], CopyHistory]:
    """What is known of copies whose drills leave nothing to remember: partial ones that passed."""
    names = sorted({target for target, _ in keys})
    with ThreadPoolExecutor(8) as pool:
        known = dict(zip(names, pool.map(run.history.target, names), strict=True))
    return {(target, copy): known[target].copy(copy) for target, copy in keys}


def _earlier(history: CopyHistory) -> Earlier:
    drilled = history.last_drilled
    return Earlier(drilled["finished_at"] if drilled else None, history.last_failed)


def _summary(run: Run, account: DrillAccount) -> DrillSummary:
    located, fetch = account.facts("locate"), account.facts("fetch")
    restore = account.facts("restore")
    artifacts = fetch.get("artifacts") or [{}]
    snapshot = located.get("snapshot") or {}
    return DrillSummary(
        run=run.id,
        snapshot=snapshot.get("id", ""),
        key=artifacts[0].get("key", ""),
        taken_at=located.get("taken", 0.0),
        finished_at=run.clock(),
        passed=account.passed,
        seconds=restore.get("rto_seconds", 0.0),
        stored_bytes=fetch.get("stored_bytes", 0),
        content_bytes=fetch.get("content_bytes", 0),
        digest=next((payload["sha256"] for payload in fetch.get("payloads", [])), ""),
        pins={artifact.get("pin", artifact.get("key", "")): artifact.get("sha256", "") for artifact in artifacts},
        counts=account.counts(),
        structure=account.structure(),
        oldest_point=located.get("oldest", 0.0),
        gaps=tuple(account.gaps()),
        excepted=account.excepted(),
        identity=account.identity,
    )


def publish(run: Run, junit: bytes | None, strict: bytes | None = None) -> None:
    """Point ``reports/junit.xml`` and ``reports/latest`` at the run, each at once; neither is ever another run's.

    So it is with ``reports/junit-strict.xml``, the variant that somebody may have asked for.

    Raises:
        OSError: One of them could not be written, and is gone.
    """
    for slot in run.directory.glob("progress.*"):
        slot.unlink(missing_ok=True)
    reports = run.directory.parent
    try:
        _point(reports / "latest", run.directory.name)
    finally:
        try:
            _replace(reports / "junit.xml", junit)
        finally:
            _replace(reports / "junit-strict.xml", strict)


def _point(link: Path, name: str) -> None:
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(name)
        temporary.replace(link)
    except OSError:
        link.unlink(missing_ok=True)
        raise


def _replace(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    try:
        write_whole(path, content)
    except OSError:
        path.unlink(missing_ok=True)
        raise
