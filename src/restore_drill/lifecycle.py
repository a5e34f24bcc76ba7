"""The beginning and the end of a run: the demo estate, leftovers, what is remembered, what is published."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.evidence.document import DrillAccount
from restore_drill.history import DrillSummary
from restore_drill.plan import Plan
from restore_drill.run import Run


def start_demo(plan: Plan) -> Any:
    """Build or refresh the demo estate and serve its offsite store, when the plan is the demo's; else ``None``.

    Called by pytest's controller and by the command line, never by a worker.

    Raises:
        CouldNotVerify: The demo cannot be started.
    """
    if not plan.demo:
        return None
    root = Path(plan.catalogue).resolve().parent.parent
    fixtures = str(root / "fixtures")
    if fixtures not in sys.path:
        sys.path.insert(0, fixtures)
    try:
        estate = importlib.import_module("demo_estate")
    except ImportError as problem:
        raise CouldNotVerify(
            f"the demo estate needs {problem.name}, which is not installed",
            remedy="pip install 'pytest-restore-drill[demo]', or use ci/drill.",
        ) from problem
    return estate.start(root)


def open_run(run: Run) -> None:
    """Make the run's directory, and remove what runs that were killed left behind."""
    (run.directory / "facts").mkdir(parents=True, exist_ok=True)
    reap(run)


def reap(run: Run) -> list[str]:
    """Remove the work directories of runs (and workers) that no longer exist.

    Where nothing may be made nothing is looked for: every drill that would restore there says why it cannot.
    """
    from restore_drill.sandboxes.reaper import reap as reap_directories

    try:
        return [str(path) for path in reap_directories(run.work_dir)]
    except CouldNotVerify:
        return []


def remember(run: Run, drills: Mapping[tuple[str, str], DrillAccount], seconds: Mapping[str, float]) -> None:
    """Write whole drills into the state: baselines of those that passed, the date of all.

    Raises:
        CouldNotVerify: The state cannot be written.
    """
    whole = [(key, account) for key, account in drills.items() if account.whole]
    if not whole or not run.history.initialised:
        return
    run.history.record_all({key: _summary(run, account) for key, account in whole})
    run.history.record_durations({target: round(seconds.get(target, 0.0), 3) for (target, _), _ in whole})


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
        pins={artifact.get("key", ""): artifact.get("sha256", "") for artifact in artifacts},
        counts=account.counts(),
        structure=account.structure(),
        oldest_point=located.get("oldest", 0.0),
        gaps=tuple(account.gaps()),
    )


def publish(run: Run, junit: Path) -> None:
    """Copy the run's JUnit to ``reports/junit.xml`` and point ``reports/latest`` at the run, each at once."""
    reports = run.directory.parent
    if junit.is_file():
        if junit.parent != run.directory:
            _copy(junit, run.directory / "junit.xml")
        _copy(junit, reports / "junit.xml")
    link = reports / f".latest.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(run.directory.name)
    link.replace(reports / "latest")
    for slot in run.directory.glob("progress.*"):
        slot.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
