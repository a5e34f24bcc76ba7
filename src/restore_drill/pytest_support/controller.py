"""The run as a whole, on pytest's controller: what was planned, what reported, the verdict, the reports, the state."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from restore_drill import lifecycle
from restore_drill.errors import RestoreDrillError, UsageProblem
from restore_drill.evidence import document
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.pytest_support.naming import CaseDirectory
from restore_drill.pytest_support.reports import ask_for_junit, put
from restore_drill.pytest_support.stopping import stop_workers
from restore_drill.results import CaseResult, text
from restore_drill.whole_files import write_whole

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
        self.incomplete: list[str] = []
        self.concluded = False
        self._accounts: dict[tuple[str, str], document.DrillAccount] = {}
        self._forgotten: list[str] = []
        self._unwritten: dict[str, dict[str, None]] = {}
        self._status = 0
        self._finished = 0.0
        self.seconds: dict[str, float] = {}
        self.kept: list[str] = []
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
            raise pytest.UsageError(str(problem)) from None
        except RestoreDrillError as problem:
            lifecycle.abandon(self.run)
            pytest.exit(str(problem), returncode=COULD_NOT_VERIFY)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Hand the plan over to a worker."""
        node.workerinput["restore-drill"] = self._handover
        node.workerinput["restore-drill-sandboxes"] = self.run.sandboxes

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What is planned, when this process runs it itself."""
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
        self._close_open_cases()
        if not self._config.option.collectonly:
            self._report_not_run()
            if not self.planned and self._status != pytest.ExitCode.OK:
                self.incomplete.append("no drill was selected, and none was run")
            self._conclude()
            self._tell_status(session)
        try:
            yield
        finally:
            self._close()

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
        directory = self.run.directory
        known = sum(map(len, self._unwritten.values()))
        if junit is not None:
            with self._noting(directory / "junit.xml"):
                write_whole(directory / "junit.xml", junit)
            if place is not None and place != directory / "junit.xml":
                with self._noting(place):
                    put(place, junit)
        with self._noting(directory.parent / "junit.xml"):
            lifecycle.publish(self.run, junit)
        if sum(map(len, self._unwritten.values())) == known:
            return True
        (directory / "evidence.json").unlink(missing_ok=True)  # it knows nothing of this, and takes room
        self._write_evidence()
        self._tell_status(session)
        return False

    @property
    def problems(self) -> list[str]:
        """What could not be recorded, and why: one line a cause."""
        remedy = "Make room there, or give --reports-dir another directory, and run it again."
        return [
            *self._forgotten, *(f"{', '.join(names)}: {why}. {remedy}" for why, names in self._unwritten.items())
        ]  # fmt: skip

    @contextlib.contextmanager
    def _noting(self, path: Path) -> Iterator[None]:
        """Go on without a report that cannot be written, and remember which."""
        try:
            yield
        except OSError as problem:
            self._unwritten.setdefault(problem.strerror or type(problem).__name__, {})[str(path)] = None

    def _conclude(self) -> None:
        if not self.planned and not self.incomplete:
            return  # other tests, and nothing went wrong with them
        self.concluded = True
        self._accounts = document.drills(self.run, self.results)
        self.kept = [str(kept) for account in self._accounts.values() if (kept := account.facts("dispose").get("kept"))]
        try:
            lifecycle.remember(self.run, self._accounts, self.seconds)
        except RestoreDrillError as problem:
            self._forgotten.append(str(problem))
        self._finished = self.run.clock()
        self._write_evidence()
        with self._noting(self.run.directory / "details.jsonl"):
            self._write_details()

    def _write_evidence(self) -> None:
        if not self.concluded:
            return
        evidence = document.build(
            self.run, self._accounts, self.results, started=self._started, finished=self._finished,
            not_run=self.not_run, arguments=list(self._config.invocation_params.args),
            problems=[*self.incomplete, *self.problems],
        )  # fmt: skip
        with self._noting(self.run.directory / "evidence.json"):
            document.write(self.run.directory / "evidence.json", evidence)

    def _write_details(self) -> None:
        """What may name files and quote answers: readable by its owner only, and never part of evidence."""
        lines = [
            json.dumps({"case": list(result.to_wire()["case"]), "details": result.details})
            for result in self.results.values()
            if result.details
        ]
        if lines:
            write_whole(self.run.directory / "details.jsonl", ("\n".join(lines) + "\n").encode(), 0o600)

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
