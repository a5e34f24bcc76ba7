"""Begin a run: from a catalogue on pytest's controller or only process, from the controller's bytes on a worker."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from restore_drill.errors import COULD_NOT_VERIFY, CouldNotVerify, RestoreDrillError
from restore_drill.plan import Plan
from restore_drill.pytest_support.collection import Collection
from restore_drill.pytest_support.naming import CaseDirectory
from restore_drill.pytest_support.older import OLDER, OlderSnapshots, sampling_of
from restore_drill.pytest_support.sharding import SHARDING, Sharding, shard_of
from restore_drill.run import Run, RunOptions, new_run_id

if TYPE_CHECKING:
    from restore_drill.break_glass import BreakGlass
    from restore_drill.recording import Recording


@dataclass(frozen=True)
class Handover:
    """What a worker is given: the plan, so that it is parsed once, and the run it takes part in."""

    plan: Plan
    run_id: str
    directory: Path
    options: RunOptions


def start_controller(config: pytest.Config, catalogue: Path) -> None:
    """Load the catalogue, open the run, and register what this process does.

    Raises:
        pytest.UsageError: The catalogue is invalid; the message lists every problem.
    """
    from restore_drill.catalogue.load import load
    from restore_drill.lifecycle import fit_demo
    from restore_drill.pytest_support.controller import Controller
    from restore_drill.pytest_support.reports import Reports
    from restore_drill.pytest_support.stopping import raise_on_sigterm
    from restore_drill.pytest_support.terminal import Terminal

    try:
        plan = load(catalogue, reports=_reports(config))
    except CouldNotVerify as problem:
        pytest.exit(str(problem), returncode=COULD_NOT_VERIFY)
    except RestoreDrillError as problem:
        raise pytest.UsageError(f"\n{problem}") from None
    plan, stripped = _stripped(config, plan)
    try:
        plan = fit_demo(plan)
    except CouldNotVerify as problem:
        refused = "" if config.option.collectonly else _recording(config, _run(config, plan, stripped)).refuse(problem)
        pytest.exit(refused or str(problem), returncode=COULD_NOT_VERIFY)
    run = _run(config, plan, stripped)
    handover = Handover(plan, run.id, run.directory, run.options)
    directory = CaseDirectory(plan)
    raise_on_sigterm()
    _register_markers(config, plan)
    handed_over = pickle.dumps(handover, protocol=pickle.HIGHEST_PROTOCOL)
    controller = Controller(config, _recording(config, run), directory, handed_over)
    config.pluginmanager.register(controller, "restore-drill-controller")
    config.pluginmanager.register(Reports(config, controller), "restore-drill-reports")
    config.pluginmanager.register(Terminal(config, controller), "restore-drill-terminal")
    _register_running(config, run, directory)


def _stripped(config: pytest.Config, plan: Plan) -> tuple[Plan, BreakGlass | None]:
    """Take everything away that a break-glass run must do without, before anything could use it."""
    if not config.getoption("--break-glass"):
        return plan, None
    from restore_drill.break_glass import begin

    try:
        return begin(plan, os.environ)
    except RestoreDrillError as problem:
        raise pytest.UsageError(str(problem)) from None


def _run(config: pytest.Config, plan: Plan, stripped: BreakGlass | None) -> Run:
    run = Run("", Path(), plan, replace(_options(config, plan), break_glass=stripped))
    run.id = new_run_id(run.clock())
    run.directory = Path(plan.reports) / run.id
    return run


def _recording(config: pytest.Config, run: Run) -> Recording:
    from restore_drill.recording import Recording

    return Recording(run, [str(argument) for argument in config.invocation_params.args], run.clock())


def start_worker(config: pytest.Config, handed_over: bytes) -> None:
    """Take part in the controller's run."""
    from restore_drill.pytest_support.stopping import raise_on_sigterm

    given: Handover = pickle.loads(handed_over)  # noqa: S301 - written by our own controller, over execnet's pipe
    run = Run(given.run_id, given.directory, given.plan, given.options)
    run.sandboxes = dict(getattr(config, "workerinput", {}).get("restore-drill-sandboxes", {}))
    raise_on_sigterm()
    _register_markers(config, given.plan)
    _register_running(config, run, CaseDirectory(given.plan))


def _register_running(config: pytest.Config, run: Run, directory: CaseDirectory) -> None:
    from restore_drill.pytest_support.progress import SharedProgress
    from restore_drill.pytest_support.running import Running

    worker: dict[str, Any] = getattr(config, "workerinput", {})
    # The name tells the controller whom to stop; see stopping.stop_workers.
    run.progress = SharedProgress(run.directory, f"{worker.get('workerid', 'main')}.{os.getpid()}")
    older = None
    if run.options.sampling is not None:
        older = OlderSnapshots(run, directory, only_collected=config.option.collectonly)
    collection = Collection(run.plan, run.options, directory, older)
    if worker:
        run.progress.end()  # be known to the controller from the first moment
    config.pluginmanager.register(collection, "restore-drill-collection")
    if run.options.shard:
        config.pluginmanager.register(Sharding(run.options.shard, directory, run.plan.by_name), SHARDING)
    if older is not None:  # registered behind the others: it is asked when they have chosen
        config.pluginmanager.register(older, OLDER)
    config.pluginmanager.register(Running(run, directory), "restore-drill-running")


def _register_markers(config: pytest.Config, plan: Plan) -> None:
    for tier in plan.tiers:
        if tier.isidentifier():
            config.addinivalue_line("markers", f"{tier}: cases of targets of the tier {tier}.")


def _options(config: pytest.Config, plan: Plan) -> RunOptions:
    workers = config.getoption("numprocesses", None)
    return RunOptions(
        snapshot=config.getoption("--snapshot"),
        keep_restored=config.getoption("--keep-restored"),
        work_dir=config.getoption("--work-dir"),
        fresh_sandboxes=config.getoption("--fresh-sandboxes"),
        shard=shard_of(config, plan),
        sampling=sampling_of(config),
        concurrency=workers if isinstance(workers, int) and workers > 0 else len(config.getoption("tx", None) or [0]),
    )


def _reports(config: pytest.Config) -> Path | None:
    named = config.getoption("--reports-dir")
    return Path(config.invocation_params.dir, named) if named else None
