"""What a case raised, as a verdict: nothing that is raised is a pass, and what is not known is not a failure."""

from __future__ import annotations

from typing import Any

import pytest

from restore_drill.drill import StageBroken
from restore_drill.errors import BackupFailed, Blocked, CouldNotVerify, DeadlineExceeded, UsageProblem
from restore_drill.model import Finding, Stage, Verdict
from restore_drill.plan import PlannedCase
from restore_drill.pytest_support.verdicts import CaseFailed, briefly, failed, passed
from restore_drill.results import CaseResult, text

_CASE = PlannedCase("orders-db", "nas", "rows", "orders")
_OWN = PlannedCase("orders-db", "nas", "own", "test_mine")


def _report(when: str = "call") -> pytest.TestReport:
    fields: dict[str, Any] = {"location": ("drills/test_own.py", 6, "test_mine"), "keywords": {}}
    return pytest.TestReport(nodeid="n", outcome="failed", longrepr="E  assert 'row' == 'other'", when=when, **fields)


def test_a_finding_that_holds_is_a_pass_with_what_was_measured() -> None:
    finding = Finding(expected="20", actual=20, tolerance="none", notes=("a note",), details=("a name",))
    result = passed(_CASE, finding)
    assert (result.verdict, result.message, result.expected, result.actual) == (Verdict.PASSED, "", "20", 20)
    assert (result.tolerance, result.notes, result.details) == ("none", ["a note"], ["a name"])


def test_a_finding_that_does_not_hold_is_a_failure_with_what_was_measured() -> None:
    finding = Finding(False, "19 rows", expected="20", actual=19, remedy="Look at the job.")
    result = failed(_CASE, CaseFailed(finding), _report())
    assert (result.verdict, result.message, result.remedy) == (Verdict.FAILED, "19 rows", "Look at the job.")
    assert (result.expected, result.actual) == ("20", 19)
    assert text(result) == "orders-db/nas: rows orders: 19 rows. Look at the job."


@pytest.mark.parametrize(
    ("problem", "verdict"),
    [
        (BackupFailed("it is bad", looked_at="a/b", remedy="Mend it.", details=("name",)), Verdict.FAILED),
        (CouldNotVerify("it is bad", looked_at="a/b", remedy="Mend it.", details=("name",)), Verdict.ERROR),
        (DeadlineExceeded("it is bad", looked_at="a/b", remedy="Mend it.", details=("name",)), Verdict.ERROR),
        (UsageProblem("it is bad", looked_at="a/b", remedy="Mend it.", details=("name",)), Verdict.ERROR),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
@pytest.mark.parametrize("broken", [False, True], ids=["itself", "its-stage"])
def test_an_error_of_ours_says_itself_what_it_is(problem: Any, verdict: Verdict, broken: bool) -> None:
    result = failed(_CASE, StageBroken(Stage.RESTORE, problem) if broken else problem, _report("setup"))
    assert (result.verdict, result.message, result.remedy) == (verdict, "it is bad (a/b)", "Mend it.")
    assert result.details == ["name"] and not result.blocked_by


def test_a_blocked_case_is_not_verified_and_repeats_the_cause() -> None:
    result = failed(_CASE, Blocked("restores", "nothing came back"), _report("setup"))
    assert (result.verdict, result.blocked_by) == (Verdict.ERROR, "restores")
    assert text(result) == "orders-db/nas: rows orders: blocked by restores: nothing came back."


def test_a_skip_is_not_verified() -> None:
    result = failed(_CASE, pytest.skip.Exception("not today"), _report("setup"))
    assert (result.verdict, result.remedy) == (Verdict.ERROR, "A drill must not skip.")


def test_an_own_assertion_is_a_failure_that_publishes_no_value() -> None:
    result = failed(_OWN, AssertionError("assert 'row' == 'other'"), _report())
    assert result.verdict is Verdict.FAILED
    assert result.message == "test_mine failed with AssertionError (drills/test_own.py:7)"
    assert result.details == ["E  assert 'row' == 'other'"]
    assert "row" not in text(result)


@pytest.mark.parametrize(
    ("case", "when"), [(_OWN, "setup"), (_OWN, "teardown"), (_CASE, "call")], ids=["setup", "teardown", "standard"]
)
def test_any_other_exception_is_a_defect_and_proves_nothing(case: PlannedCase, when: str) -> None:
    result = failed(case, ZeroDivisionError("secret value"), _report(when))
    assert result.verdict is Verdict.ERROR
    assert "ZeroDivisionError" in result.message and "secret value" not in text(result)


def test_what_the_system_refused_is_said_in_its_words() -> None:
    result = failed(_CASE, PermissionError(13, "Permission denied", "/some/name"), _report("setup"))
    assert (result.verdict, result.message) == (Verdict.ERROR, "the system refused: Permission denied")
    assert "/some/name" not in text(result)


def test_an_exit_is_not_a_pass() -> None:
    assert failed(_CASE, SystemExit(0), _report()).verdict is Verdict.ERROR


def test_a_result_survives_the_way_to_another_process() -> None:
    result = CaseResult(_CASE, Verdict.EXCEPTED, "m", "r", 1, 2, "t", ["n"], ["d"], "EX-1", "located")
    assert CaseResult.from_wire(result.to_wire()) == result


def test_what_pytest_reports_of_our_own_errors_is_brief() -> None:
    """Of a cause with a cause of its own one frame is left, and the words; the exception itself stays whole."""

    def deeper() -> None:
        try:
            {}["a cause"]
        except KeyError as problem:
            raise BackupFailed("it is cut") from problem

    with pytest.raises(BackupFailed) as caught:
        deeper()
    brief = briefly(caught)
    assert len(brief.traceback) == 1 < len(caught.traceback)
    assert str(brief.value) == str(caught.value)
    assert (brief.value.__cause__, brief.value.__context__) == (None, None)
    assert isinstance(caught.value.__cause__, KeyError)
