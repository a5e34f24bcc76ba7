"""What happens around one item: measure while it is set up, judge in its body, report the verdict, leave the drill."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from restore_drill.ahead import Ahead, Task
from restore_drill.cases import SET_CASES
from restore_drill.drill import StageBroken
from restore_drill.errors import BackupFailed, Blocked
from restore_drill.model import Stage, Verdict
from restore_drill.plan import PlannedCase
from restore_drill.printable import printable_values
from restore_drill.pytest_support import heap
from restore_drill.pytest_support.collection import CASE
from restore_drill.pytest_support.naming import OWN, CaseDirectory
from restore_drill.pytest_support.progress import SharedProgress
from restore_drill.pytest_support.verdicts import TOLD, briefly, failed, passed
from restore_drill.pytest_support.view import CaseView, written
from restore_drill.results import CaseResult, text
from restore_drill.sandboxes import launcher
from restore_drill.sandboxes.base import Disposal
from restore_drill.sandboxes.directory import close_all
from restore_drill.secrets import redact
from restore_drill.target_drill import TargetDrill

if TYPE_CHECKING:
    from restore_drill.run import Run

RESULT = pytest.StashKey[CaseResult]()
_VIEW = pytest.StashKey["CaseView"]()
#: Whether an item bears a cause that is not its own.
_BEARS = pytest.StashKey[bool]()
#: What a standard case uses, as pytest has it: any other fixture comes before the drill.
_ONLY = frozenset({"drill", "request"})
_PLUGIN = "restore_drill.pytest_plugin"
#: Cases of the user's own, and of sets, restore and ask in this process: no other one drills meanwhile.
_LIVE = SET_CASES | {OWN}


class Running:
    """Runs the items of this process: all of them, or those that the scheduler gave to this worker."""

    def __init__(self, run: Run, directory: CaseDirectory) -> None:
        self._run = run
        self._directory = directory
        self._selected: dict[str, list[PlannedCase]] = {}
        self._passed: set[PlannedCase] = set()
        self._whole: TargetDrill | None = None
        self._ahead: Ahead | None = None
        self._shortens = False
        #: Seconds for which the case under way waited for what another process measures.
        self._waited = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Items stay."""
        with heap.growing():
            return (yield)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what was selected: it decides what is measured and who bears a cause."""
        for item in session.items:
            case = item.stash.get(CASE, None)
            if case is not None:
                self._selected.setdefault(case.target, []).append(case)
        if self._selected and not session.config.option.collectonly:
            if _may_go_ahead(session.config):
                self._ahead = self._plan_ahead()
            if self._ahead is None:
                launcher.prestart()  # it is ready by the time that the first snapshot is located
            self._shortens = _may_shorten(session.config)
            heap.keep()

    def _plan_ahead(self) -> Ahead | None:
        """Have drills done ahead, where there are several; some cases need what was restored while it is alive."""
        tasks, own = [], 0
        for name, cases in self._selected.items():
            if any(case.case in _LIVE for case in cases):
                own += 1
            else:
                tasks.append(Task(self._run.plan.by_name[name], frozenset(cases), after=own))
        directory = self._run.directory
        teller = lambda: SharedProgress(directory, f"ahead.{os.getpid()}")  # noqa: E731 - made in the other process
        return Ahead(self._run, tasks, teller) if len(tasks) > 1 else None

    def set_up(self, item: pytest.Item) -> None:
        """Give a case that uses nothing but our own fixture its drill: setting a fixture up costs more than judging.

        Called when everybody else's ``pytest_runtest_setup`` is through, and before pytest's own sets fixtures up.
        """
        if self._shortens and CASE in item.stash and isinstance(item, pytest.Function) and _uses_only_ours(item):
            item.funcargs["drill"] = self.view(item)

    def view(self, item: pytest.Item) -> CaseView:
        """The ``drill`` fixture of an item."""
        case = item.stash[CASE]
        view = item.stash[_VIEW] = CaseView(case, self._enter(case.target))
        try:
            view.prepare()
        except StageBroken as broken:
            raise self._bear(item, broken) from broken
        return view

    def _enter(self, name: str) -> TargetDrill:
        if self._whole is None or self._whole.target.name != name:
            self._leave()
            self._whole = TargetDrill(self._run.plan.by_name[name], self._run, self._selected.get(name, ()))
            self._whole.selected_of = self._may_bear
            self._adopt(self._whole)
        return self._whole

    def _may_bear(self, target: str) -> list[PlannedCase]:
        """The selected cases of a target that may bear a cause: one that has passed does not."""
        return [case for case in self._selected.get(target, ()) if case not in self._passed]

    def _adopt(self, whole: TargetDrill) -> None:
        """Take over what was measured ahead; without that, this process measures."""
        if self._ahead is None:
            return
        clock = time.monotonic()
        try:
            found = self._ahead.take(whole.target.name)
        except OSError:
            self._ahead.close()
            self._ahead = None
            return
        # What was waited for is told by the cases that it stands for, and not by the first of them as well.
        self._waited = time.monotonic() - clock if found else 0.0
        for copy, results in (found or {}).items():
            whole.adopt(copy, results)

    def _bear(self, item: pytest.Item, broken: StageBroken) -> Exception:
        """The cause for the case that owns the stage, or for the first that needs it if that is deselected.

        An exception covers a case's own cause only: of another's, nobody approved that this one fails.
        """
        case = item.stash[CASE]
        item.stash[_BEARS] = case.case != broken.owner
        if not case.copy or case.case != self._bearer(case, broken):
            return Blocked(broken.owner, broken.error.cause)
        return broken.error

    def _bearer(self, case: PlannedCase, broken: StageBroken) -> str:
        cases = [each.case for each in self._selected[case.target] if each.copy == case.copy]
        if broken.owner in cases:
            return broken.owner
        if broken.bearer is None:
            broken.bearer = case
        return case.case if broken.bearer == case else ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the verdict decide what pytest reports."""
        case = item.stash.get(CASE, None)
        whole = call.excinfo
        if case is not None and whole is not None and isinstance(whole.value, TOLD):
            call.excinfo = briefly(whole)
        try:
            report = yield
        finally:
            call.excinfo = whole
        if case is None:
            return report
        # What a case prints or logs may quote rows: the terminal shows it, JUnit knows it by a capital letter only.
        report.sections = [(name[:1].lower() + name[1:], content) for name, content in report.sections]
        result = self._result(item, case, call, report)
        if result is not None:
            self._conclude(item, case, result, report)
        if call.when == "setup":
            report.duration, self._waited = max(0.0, report.duration - self._waited), 0.0
        if call.when == "setup" and case.copy and self._whole is not None:
            report.duration += self._whole.seconds_elsewhere(case)
        if call.when == "teardown":  # where JUnit and the terminal take them from
            report.user_properties = _properties(item)
            if _VIEW in item.stash:
                del item.stash[_VIEW]  # what was measured is not kept until the end of the session
        return report

    def _result(
        self, item: pytest.Item, case: PlannedCase, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> CaseResult | None:
        if call.excinfo is not None:
            problem = call.excinfo.value
            if isinstance(problem, StageBroken):
                problem = self._bear(item, problem)
            if case.case in SET_CASES - {"set"} and self._whole is not None:
                item.stash[_BEARS] = self._whole.set_drill(case.detail.partition("/")[0]).is_broken
            return failed(case, problem, report)
        if call.when == "call":
            return passed(case, item.stash[_VIEW].finding)
        return None

    def _conclude(self, item: pytest.Item, case: PlannedCase, result: CaseResult, report: pytest.TestReport) -> None:
        self._except(item, result)
        item.stash[RESULT] = result
        if self._whole is not None and case.copy:
            self._whole.outcomes[case.copy].add(case, result.verdict, result.message)
        report.restore_drill = redacted(result.to_wire())  # type: ignore[attr-defined]
        if result.verdict is Verdict.PASSED:
            self._passed.add(case)
            return
        message = redact(text(result))
        if result.verdict is Verdict.EXCEPTED:
            path, line, _ = item.location
            report.outcome, report.longrepr = "skipped", (path, (line or 0) + 1, message)
        else:
            report.outcome, report.longrepr = "failed", message
            if report.when != "teardown":
                report.when = "call" if result.verdict is Verdict.FAILED else "setup"

    def _except(self, item: pytest.Item, result: CaseResult) -> None:
        if result.verdict is not Verdict.FAILED or item.stash.get(_BEARS, False):
            return
        target = self._run.plan.by_name[result.case.target]
        exception = target.exception_for(result.case, item.stash[_VIEW].today)
        if exception is not None:
            result.verdict, result.exception = Verdict.EXCEPTED, exception.id
            result.remedy = (
                f"Excepted by {exception.id} until {exception.expires}: {exception.reason} (approved by "
                f"{exception.approver})."
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
        """Leave the drill with its last item, and the target with its last drill."""
        yield
        here = item.stash.get(CASE, None)
        if here is None or self._whole is None:
            return
        following = nextitem.stash.get(CASE, None) if nextitem is not None else None
        drill = self._whole.drill(here.copy) if here.copy else None
        leaving = following is None or (following.target, following.copy) != (here.target, here.copy)
        if following is None or following.target != here.target:
            whole = self._whole
            self._leave()
            if here.case != "set-disposed":
                _require_gone(whole.left_of_sets())
        elif leaving and here.copy:
            self._whole.leave(here.copy)
        # A drill that was done ahead is disposed of long before its last case.
        if leaving and drill is not None and drill.disposal and here.case != "disposed":
            _require_gone(drill.disposal)

    def pytest_sessionfinish(self) -> None:
        """Dispose of what an interruption left."""
        self._leave()
        if self._ahead is not None:
            self._ahead.close()
        self._run.close()
        close_all()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Nobody need look through a run's objects once more on the way out, which takes half a second of thousands."""
        heap.keep()

    def _leave(self) -> None:
        whole, self._whole = self._whole, None
        if whole is None:
            return
        whole.close()
        if self._ahead is not None and any(case.case in _LIVE for case in self._selected[whole.target.name]):
            self._ahead.left()
        del whole  # or it would be kept for good
        heap.settle()


def _require_gone(disposal: Disposal) -> None:
    if disposal.left:
        raise BackupFailed(
            f"{len(disposal.left)} thing(s) of the restored copy could not be removed: {disposal.reason}",
            remedy="Remove them by hand: they are a copy of production data.",
            stage=Stage.DISPOSE,
            details=disposal.left,
        )


def _uses_only_ours(item: pytest.Function) -> bool:
    """Whether no other fixture comes before the drill, and nobody has put another one in its place."""
    known = item._fixtureinfo.name2fixturedefs.get("drill", ())
    return _ONLY.issuperset(item.fixturenames) and len(known) == 1


def _may_shorten(config: pytest.Config) -> bool:
    """Whether drills may be set up by :meth:`Running.set_up`: nobody but pytest comes after it, or shows fixtures."""
    if getattr(config.option, "setupshow", False):
        return False
    # The last one of these is called first.
    modules = [impl.function.__module__ for impl in config.hook.pytest_runtest_setup.get_hookimpls()]
    return all(module.startswith("_pytest.") for module in modules[: modules.index(_PLUGIN)])


def _may_go_ahead(config: pytest.Config) -> bool:
    """Whether drills may be done before their cases are run: not on a worker, not where a run may end early."""
    option = config.option
    alone = not hasattr(config, "workerinput") and not getattr(option, "tx", None)
    return alone and not option.maxfail and not option.usepdb and not option.trace and len(os.sched_getaffinity(0)) > 1


def redacted(wire: dict[str, Any]) -> dict[str, Any]:
    """The same with every secret replaced, and nothing in it that a terminal would obey."""
    return {
        name: value if name == "case" else printable_values(_redacted(value)) for name, value in wire.items()
    }  # fmt: skip


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    return [redact(each) for each in value] if isinstance(value, list) else value


def _properties(item: pytest.Item) -> list[tuple[str, object]]:
    """What JUnit says of a case beside its outcome."""
    result = item.stash.get(RESULT, None)
    view = item.stash.get(_VIEW, None)
    if result is None or view is None:
        return []
    found = {
        "expected": result.expected,
        "actual": result.actual,
        "tolerance": result.tolerance,
        "exception": result.exception,
        "blocked_by": result.blocked_by,
    }
    return [
        ("verdict", str(result.verdict)), ("case", result.case.case), *view.properties, *written(found)
    ]  # fmt: skip
