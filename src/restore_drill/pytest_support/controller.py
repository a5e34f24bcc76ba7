"""The run as a whole, on pytest's controller: what was planned, what reported, the verdict, the reports, the state."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from restore_drill import lifecycle
from restore_drill.errors import RestoreDrillError
from restore_drill.evidence import document
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.pytest_support.naming import CaseDirectory
from restore_drill.pytest_support.stopping import stop_workers
from restore_drill.results import CaseResult, text

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from restore_drill.pytest_support.scheduling import TargetScheduling
    from restore_drill.run import Run

#: Exit status of a run in which nothing failed but something could not be verified (EX_TEMPFAIL of sysexits.h).
COULD_NOT_VERIFY = 75


class Controller:
    """Keeps account of a run.

    Args:
        config: pytest's configuration.
        run: The run.
        directory: Finds cases by node id.
        handover: What every worker is given.
    """

    def __init__(self, config: pytest.Config, run: Run, directory: CaseDirectory, handover: bytes) -> None:
        self._config = config
        self.run = run
        self._directory = directory
        self._handover = handover
        self._started = time.time()
        self._others_failed = False
        self._estate: Any = None
        self.planned: dict[str, PlannedCase] = {}
        self.results: dict[PlannedCase, CaseResult] = {}
        self._under_way: dict[str, Any] = {}
        self.not_run: list[str] = []
        self.problems: list[str] = []
        self.seconds: dict[str, float] = {}
        self.kept: list[str] = []
        self.exit_status = 0
        self._junit = _ask_for_junit(config, run.directory)

    # --- beginning ----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Start the demo estate where it is the demo's catalogue, and remove what a killed run left."""
        if self._config.option.collectonly:
            return
        self._estate = lifecycle.start_demo(self.run.plan)
        lifecycle.open_run(self.run)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Hand the plan over to a worker."""
        node.workerinput["restore-drill"] = self._handover

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What is planned, when this process runs it itself."""
        self.plan_cases(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """What is planned, as the workers collected it."""
        self.plan_cases(ids)

    def plan_cases(self, nodeids: Iterable[str]) -> None:
        """Remember every case that must report; the first collection counts."""
        if not self.planned:
            found = ((nodeid, self._directory.find(nodeid)) for nodeid in nodeids)
            self.planned = {nodeid: case for nodeid, case in found if case is not None}

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> TargetScheduling:
        """A target is the unit of work, whatever ``--dist`` says."""
        from restore_drill.pytest_support.scheduling import TargetScheduling

        return TargetScheduling(
            config, len(config.getoption("tx")), self._directory.find, self._expected_seconds, self._quarantined
        )

    def _expected_seconds(self) -> Mapping[str, float]:
        """How long targets took last time; without a state every order is as good."""
        try:
            return self.run.history.durations()
        except RestoreDrillError:
            return {}

    # --- results ------------------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a case's result; a failure while leaving a drill overrides the pass before it."""
        case = self.planned.get(report.nodeid)
        if case is None:
            self._others_failed |= report.failed
            return
        self.seconds[case.target] = self.seconds.get(case.target, 0.0) + report.duration
        self._under_way[report.nodeid] = getattr(report, "node", None)
        if report.when == "teardown":
            del self._under_way[report.nodeid]
        wire = getattr(report, "restore_drill", None)
        if wire is not None:
            result = CaseResult.from_wire(wire)
            self.results[result.case] = result

    def _quarantined(self, nodeids: Sequence[str]) -> None:
        """A worker died: report what it left of its drill, and clean up after it."""
        died_in = self.planned.get(nodeids[0])
        where = f"{died_in.target}/{died_in.copy}: {died_in.case}" if died_in else nodeids[0]
        remedy = "Its other drills go on; drill this one alone to see why it died."
        for nodeid in nodeids:
            if nodeid == nodeids[0]:
                self._report_missing(nodeid, "the worker died here", remedy)
            else:
                self._report_missing(nodeid, f"blocked: the worker died in {where}", remedy, blocked_by="worker")
        lifecycle.reap(self.run)

    def _report_missing(self, nodeid: str, message: str, remedy: str, blocked_by: str = "") -> None:
        """A case that will not report any more becomes an error report, so that JUnit and the verdict are whole."""
        case = self.planned.get(nodeid)
        if case is None or case in self.results:
            return
        result = CaseResult(case, Verdict.ERROR, message, remedy, blocked_by=blocked_by)
        path, _, name = nodeid.partition("::")
        common: dict[str, Any] = {"nodeid": nodeid, "location": (path, None, name), "keywords": {}, "duration": 0.0}
        if self._under_way.get(nodeid) is not None:  # JUnit would take the same case of another worker for another one
            common["node"] = self._under_way[nodeid]
        properties = [("verdict", "error"), ("case", case.case), ("target", case.target), ("copy", case.copy)]
        report = pytest.TestReport(outcome="failed", longrepr=text(result), when="setup", **common)
        report.restore_drill = result.to_wire()  # type: ignore[attr-defined]
        self._config.hook.pytest_runtest_logreport(report=report)
        closing = pytest.TestReport(
            outcome="passed", longrepr=None, when="teardown", user_properties=properties, **common
        )
        self._config.hook.pytest_runtest_logreport(report=closing)

    # --- the end ------------------------------------------------------------------------------------------------------

    def pytest_keyboard_interrupt(self) -> None:
        """Ctrl-C or SIGTERM: the workers end in order, too."""
        stop_workers(self.run.directory)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
        """Make the account whole before anybody writes a report, and publish the reports when all have written."""
        for nodeid, case in self.planned.items():
            if case not in self.results and not self._config.option.collectonly:
                self.not_run.append(nodeid)
                self._report_missing(
                    nodeid, "it did not run: the run ended before it", "Run it again.", blocked_by="interruption"
                )
        if self.planned and not self._config.option.collectonly:
            self._conclude()
            self.exit_status = session.exitstatus = self._exit_status(int(exitstatus))
        try:
            yield
        finally:
            if self.planned and not self._config.option.collectonly:
                lifecycle.publish(self.run, Path(self._junit))
            self._close()

    def _conclude(self) -> None:
        self.run.directory.mkdir(parents=True, exist_ok=True)
        drills = document.drills(self.run, self.results)
        self.kept = [str(kept) for account in drills.values() if (kept := account.facts("dispose").get("kept"))]
        try:
            lifecycle.remember(self.run, drills, self.seconds)
        except RestoreDrillError as problem:
            self.problems.append(str(problem))
        evidence = document.build(
            self.run, drills, self.results, started=self._started, finished=self.run.clock(), not_run=self.not_run,
            arguments=list(self._config.invocation_params.args), problems=self.problems,
        )  # fmt: skip
        document.write(self.run.directory / "evidence.json", evidence)
        self._write_details()

    def _write_details(self) -> None:
        """What may name files and quote answers: readable by its owner only, and never part of evidence."""
        lines = [
            json.dumps({"case": list(result.to_wire()["case"]), "details": result.details})
            for result in self.results.values()
            if result.details
        ]
        if not lines:
            return
        descriptor = os.open(self.run.directory / "details.jsonl", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def _exit_status(self, status: int) -> int:
        """0 all verified and good, 1 a backup failed, 75 nothing failed but something could not be verified."""
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return status
        verdicts = {result.verdict for result in self.results.values()}
        if Verdict.FAILED in verdicts or self._others_failed:
            return int(pytest.ExitCode.TESTS_FAILED)
        if Verdict.ERROR in verdicts or self.problems:
            return COULD_NOT_VERIFY
        return status

    def _close(self) -> None:
        lifecycle.reap(self.run)
        with contextlib.suppress(RestoreDrillError):
            self.run.close()
        if self._estate is not None:
            self._estate.close()


def _ask_for_junit(config: pytest.Config, directory: Path) -> str:
    """Have pytest write JUnit into the run's directory, unless somebody wants it elsewhere; returns where.

    Where cases are only collected there is nothing to report.
    """
    if not config.option.xmlpath and not config.option.collectonly:
        config.option.xmlpath = str(directory / "junit.xml")
    return os.path.abspath(str(config.option.xmlpath))  # noqa: PTH100 - as pytest itself resolves it
