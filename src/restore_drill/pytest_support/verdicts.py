"""From what a case raised to a verdict, and from a verdict to what pytest reports.

The verdict decides between FAILED and ERROR, not the phase in which it was found: a backup that does not restore is a
failure although pytest meets it while setting up, and a baseline that is missing is an error although a body asks.
"""

from __future__ import annotations

from typing import Any

import pytest

from restore_drill.drill import StageBroken
from restore_drill.errors import Blocked, RestoreDrillError, unexpected
from restore_drill.model import Finding, Verdict
from restore_drill.plan import PlannedCase
from restore_drill.results import CaseResult


class CaseFailed(Exception):
    """A case's rule is broken."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


#: What is told in our own words, without a traceback.
TOLD = (CaseFailed, StageBroken, RestoreDrillError)


def briefly(whole: pytest.ExceptionInfo[BaseException]) -> pytest.ExceptionInfo[BaseException]:
    """The same exception as far as pytest's own report of it goes.

    That is thrown away, and what it takes to write one (paths and sources of a hundred frames, twice where there is a
    cause) is a multiple of judging the case: a store that is down would cost minutes.
    """
    traceback = whole.tb
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    brief = pytest.fail.Exception(str(whole.value), pytrace=False)
    return pytest.ExceptionInfo.from_exc_info((type(brief), brief, traceback))


def passed(case: PlannedCase, finding: Finding) -> CaseResult:
    """The result of a case whose rule holds."""
    return CaseResult(case, Verdict.PASSED, **_told(finding))


def failed(case: PlannedCase, problem: BaseException, report: pytest.TestReport) -> CaseResult:
    """The result of a case that raised."""
    if isinstance(problem, CaseFailed):
        finding = problem.finding
        return CaseResult(case, Verdict.FAILED, finding.message, finding.remedy, **_told(finding))
    if isinstance(problem, Blocked):
        return CaseResult(case, Verdict.ERROR, problem.cause, blocked_by=problem.by)
    if isinstance(problem, StageBroken):
        problem = problem.error
    if isinstance(problem, RestoreDrillError):
        looked_at = f" ({problem.looked_at})" if problem.looked_at else ""
        cause = problem.cause.removesuffix(".") + looked_at
        return CaseResult(case, problem.verdict, cause, problem.remedy, details=list(problem.details))
    if isinstance(problem, pytest.skip.Exception):
        return CaseResult(case, Verdict.ERROR, "it was skipped: nothing is known", "A drill must not skip.")
    if case.case == "own" and report.when == "call" and isinstance(problem, Exception):
        return _own_failure(case, problem, report)
    error = unexpected(problem) if isinstance(problem, Exception) else RestoreDrillError(type(problem).__name__)
    return CaseResult(case, Verdict.ERROR, error.cause, error.remedy, details=list(error.details))


def _own_failure(case: PlannedCase, problem: Exception, report: pytest.TestReport) -> CaseResult:
    """A user's own assertion: its text may quote rows, so that only its kind and place are published."""
    path, line, _ = report.location
    place = f"{path}:{(line or 0) + 1}"
    return CaseResult(
        case,
        Verdict.FAILED,
        f"{case.detail} failed with {type(problem).__name__} ({place})",
        "The assertion and its values are on the terminal and in the run's details file.",
        details=report.longreprtext.splitlines(),
    )


def _told(finding: Finding) -> dict[str, Any]:
    return {
        "expected": finding.expected,
        "actual": finding.actual,
        "tolerance": finding.tolerance,
        "notes": list(finding.notes),
        "details": list(finding.details),
    }
