"""The run as a whole, on pytest's controller: what was planned, what reported, the verdict, the reports, the state."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from restore_drill import lifecycle
from restore_drill.errors import COULD_NOT_VERIFY, RestoreDrillError, UsageProblem
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.pytest_support import heap
from restore_drill.pytest_support.naming import CaseDirectory
from restore_drill.pytest_support.reports import ask_for_junit, put
from restore_drill.pytest_support.sharding import SHARDING
from restore_drill.pytest_support.stopping import stop_workers
from restore_drill.recording import Recording
from restore_drill.results import CaseResult, text
from restore_drill.sampling import split
from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from restore_drill.pytest_support.scheduling import TargetScheduling


class Controller:
    """Keeps account of a run.

    Args:
        config: pytest's configuration.
        recording: Puts the run on record.
        directory: Finds cases by node id.
        handover: What every worker is given.
    """

    def __init__(self, config: pytest.Config, recording: Recording, directory: CaseDirectory, handover: bytes) -> None:
        self._config = config
        self.recording = recording
        self.run = run = recording.run
        self._directory = directory
        self._handover = handover
        self._others_failed = False
        self._estate: Any = None
        self.planned: dict[str, PlannedCase] = {}
        self.results: dict[PlannedCase, CaseResult] = {}
        self._under_way: dict[str, Any] = {}
        self.not_run: list[str] = []
        self.incomplete: list[str] = []
        self.concluded = False
        self._status = 0
        self.seconds: dict[str, float] = {}
        self.exit_status = 0
        ask_for_junit(config, run.directory)

    # --- beginning ----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Start the demo estate where it is the demo's catalogue, and remove what a killed run left."""
        if self._config.option.collectonly:
            return
        try:
            lifecycle.check_work_dir(self.run)
            lifecycle.open_run(self.run)
            self._estate = lifecycle.start_demo(self.run.plan)
            lifecycle.look_for_sandboxes(self.run)
        except UsageProblem as problem:
            raise pytest.UsageError(self.recording.refuse(problem)) from None
        except RestoreDrillError as problem:
            lifecycle.abandon(self.run)
            pytest.exit(self.recording.refuse(problem), returncode=COULD_NOT_VERIFY)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Hand the plan over to a worker."""
        node.workerinput["restore-drill"] = self._handover
        node.workerinput["restore-drill-sandboxes"] = self.run.sandboxes

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What is planned, when this process runs it itself; known before the first drill begins."""
        self.plan_cases(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """What is planned, as the workers collected it."""
        self.plan_cases(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What could not be collected did not run, whatever else did: the run is no pass."""
        if report.failed:
            self.incomplete.append(f"{report.nodeid or 'the collection'} could not be collected, its cases did not run")

    def plan_cases(self, nodeids: Iterable[str]) -> None:
        """Remember every case that must report; the first collection counts."""
        if not self.planned:
            found = ((nodeid, self._directory.find(nodeid)) for nodeid in nodeids)
            self.planned = {nodeid: case for nodeid, case in found if case is not None}
            if self.planned and not self._config.option.collectonly:
                self.recording.begin(self.planned.values())

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
        if not split(case.copy)[1]:  # older snapshots are drilled beside it, and seldom as many as this night
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
        report = pytest.TestReport(outcome="failed", longrepr=text(result), when="setup", **self._common(nodeid))
        report.restore_drill = result.to_wire()  # type: ignore[attr-defined]
        self._config.hook.pytest_runtest_logreport(report=report)
        self._report_teardown(nodeid, result)

    def _report_teardown(self, nodeid: str, result: CaseResult) -> None:
        """The report from which JUnit takes what is known of a case."""
        case = result.case
        properties = [
            ("verdict", str(result.verdict)), ("case", case.case), ("target", case.target), ("copy", case.copy)
        ]  # fmt: skip
        closing = pytest.TestReport(
            outcome="passed", longrepr=None, when="teardown", user_properties=properties, **self._common(nodeid)
        )
        self._config.hook.pytest_runtest_logreport(report=closing)

    def _common(self, nodeid: str) -> dict[str, Any]:
        path, _, name = nodeid.partition("::")
        common: dict[str, Any] = {"nodeid": nodeid, "location": (path, None, name), "keywords": {}, "duration": 0.0}
        if self._under_way.get(nodeid) is not None:  # JUnit would take the same case of another worker for another one
            common["node"] = self._under_way[nodeid]
        return common

    def _close_open_cases(self) -> None:
        """Close the cases that an interruption or a crash left between their verdict and their teardown."""
        for nodeid in [nodeid for nodeid in self._under_way if self.planned[nodeid] in self.results]:
            self._report_teardown(nodeid, self.results[self.planned[nodeid]])

    # --- the end ------------------------------------------------------------------------------------------------------

    def pytest_keyboard_interrupt(self) -> None:
        """Ctrl-C or SIGTERM: the workers end in order, too."""
        stop_workers(self.run.directory)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
        """Make the account whole before anybody writes a report."""
        self._status = int(exitstatus)
        if self._status == pytest.ExitCode.NO_TESTS_COLLECTED and self._shard_is_empty:
            session.exitstatus = self._status = int(pytest.ExitCode.OK)
        self._close_open_cases()
        if not self._config.option.collectonly:
            self._report_not_run()
            if not self.planned and self._status != pytest.ExitCode.OK:
                self.incomplete.append("no drill was selected, and none was run")
            with heap.growing():
                self._conclude()
            self._tell_status(session)
        try:
            yield
        finally:
            self._close()

    @property
    def _shard_is_empty(self) -> bool:
        """Whether the plan has targets, and this run's part of it none."""
        sharding: Any = self._config.pluginmanager.get_plugin(SHARDING)
        return sharding is not None and sharding.is_empty and not self.planned

    def _report_not_run(self) -> None:
        for nodeid, case in self.planned.items():
            if case not in self.results:
                self.not_run.append(nodeid)
                self._report_missing(
                    nodeid, "it did not run: the run ended before it", "Run it again.", blocked_by="interruption"
                )

    def record(self, session: pytest.Session, junit: bytes | None, place: Path | None = None) -> bool:
        """Publish the reports when all have been written; returns whether all could be.

        Args:
            session: Told when something could not be recorded.
            junit: pytest's, if it writes one.
            place: Where it was to write it.
        """
        if self._config.option.collectonly:
            if junit is not None and place is not None:
                put(place, junit)
            return True
        known = len(self.problems)
        self._write_junit(junit, place)
        whole = len(self.problems) == known
        with heap.growing():
            self.recording.finish(whole)
        self._tell_status(session)
        return whole

    def _write_junit(self, junit: bytes | None, place: Path | None) -> None:
        directory, noting = self.run.directory, self.recording.noting
        if junit is not None:
            with noting(directory / "junit.xml"):
                write_whole(directory / "junit.xml", junit)
            if place is not None and place != directory / "junit.xml":
                with noting(place):
                    put(place, junit)
        without = None
        if junit is not None and self._config.getoption("--junit-strict"):
            from restore_drill.reporting.junit import strict

            without = strict(junit)
            with noting(directory / "junit-strict.xml"):
                write_whole(directory / "junit-strict.xml", without)
        with noting(directory.parent / "junit.xml"):
            lifecycle.publish(self.run, junit, without)

    @property
    def problems(self) -> list[str]:
        """What could not be recorded, and why: one line a cause."""
        return self.recording.problems

    @property
    def kept(self) -> list[str]:
        """Restored copies that were left for inspection."""
        return self.recording.kept

    def _conclude(self) -> None:
        if not self.planned and not self.incomplete and not self._shard_is_empty:
            return  # other tests, and nothing went wrong with them
        self.concluded = True
        cut_off = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        self.recording.conclude(
            self.results, self.seconds, planned=set(self.planned.values()), not_run=self.not_run,
            incomplete=self.incomplete, nothing_to_do=self._shard_is_empty,
            ended="interrupted" if self.not_run or self._status in cut_off else "complete",
        )  # fmt: skip

    def _tell_status(self, session: pytest.Session) -> None:
        self.exit_status = self._exit_status(self._status)
        session.exitstatus = self.exit_status

    def _exit_status(self, status: int) -> int:
        """0 all verified and good, 1 a backup failed, 75 nothing failed but something could not be verified."""
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return status
        verdicts = {result.verdict for result in self.results.values()}
        if Verdict.FAILED in verdicts or self._others_failed:
            return int(pytest.ExitCode.TESTS_FAILED)
        if Verdict.ERROR in verdicts or self.problems or self.incomplete:
            return COULD_NOT_VERIFY
        return status

    def _close(self) -> None:
        lifecycle.reap(self.run)
        with contextlib.suppress(RestoreDrillError):
            self.run.close()
        if self._estate is not None:
            self._estate.close()
