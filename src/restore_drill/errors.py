"""What can go wrong, in two kinds that are never confused: a bad backup, and a check that could not be made.

Every error says what failed, what was looked at and how to mend it. The stage that raised it is filled
in by the drill, so that low-level code (a codec, a store) need not know where it was called from.
"""

from __future__ import annotations

import traceback
from typing import ClassVar

from restore_drill.model import Stage, Verdict

#: What reading a document of another shape than ours raises.
MISSHAPEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
#: The exit status of what nothing is wrong with, but not everything could be verified: EX_TEMPFAIL of sysexits.h.
COULD_NOT_VERIFY = 75


class RestoreDrillError(Exception):
    """Base of everything this package raises on purpose.

    Args:
        cause: What failed, in one sentence without the target's name.
        looked_at: The object, file or setting that was examined.
        remedy: What the reader should do about it.
        stage: The stage that owns the cause, where the raising code knows it.
        details: File names and text values that must not reach evidence or JUnit.
    """

    verdict: ClassVar[Verdict] = Verdict.ERROR

    def __init__(
        self,
        cause: str,
        *,
        looked_at: str = "",
        remedy: str = "",
        stage: Stage | None = None,
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.looked_at = looked_at
        self.remedy = remedy
        self.stage = stage
        self.details = details

    def __str__(self) -> str:
        """The cause, what was looked at, and the remedy, as one line."""
        looked_at = f" ({self.looked_at})" if self.looked_at else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.cause.removesuffix('.')}{looked_at}.{remedy}"


class BackupFailed(RestoreDrillError):
    """The backup is bad or breaks a policy: verdict ``failed``."""

    verdict = Verdict.FAILED


class CouldNotVerify(RestoreDrillError):
    """Nothing is known about the backup: verdict ``error``."""

    verdict = Verdict.ERROR


class DeadlineExceeded(CouldNotVerify):
    """A stage or check did not end in the time it was given."""


class SandboxDied(CouldNotVerify):
    """The sandbox process ended on its own, by a signal or a limit.

    Args:
        signal: The signal's number, 0 when it exited.
    """

    def __init__(self, cause: str, *, signal: int = 0, remedy: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(cause, remedy=remedy, details=details)
        self.signal = signal


class SecretUnavailable(CouldNotVerify):
    """A secret that the catalogue refers to cannot be read."""


class Blocked(CouldNotVerify):
    """A case could not be judged because of a cause that another case bears.

    Args:
        by: Short name of the case that bears it.
        cause: The cause, repeated in one line.
    """

    def __init__(self, by: str, cause: str) -> None:
        super().__init__(f"blocked by {by}: {cause}")
        self.by = by
        self._why = cause

    def __reduce__(self) -> tuple[type[Blocked], tuple[str, str]]:
        """How it travels from one process to another."""
        return type(self), (self.by, self._why)


class UsageProblem(RestoreDrillError):
    """The command line or the configuration asks for something impossible."""


def unexpected(problem: Exception) -> CouldNotVerify:
    """An error nobody foresaw, as a verdict that is not a pass; the traceback stays on the terminal."""
    if isinstance(problem, OSError) and problem.strerror:
        return CouldNotVerify(
            f"the system refused: {problem.strerror}",
            remedy="See the details on the terminal.",
            details=tuple("".join(traceback.format_exception(problem)).splitlines()),
        )
    return CouldNotVerify(
        f"restore-drill itself failed with {type(problem).__name__}",
        remedy="This is a defect: please report it with the details from the terminal.",
        details=tuple("".join(traceback.format_exception(problem)).splitlines()),
    )
