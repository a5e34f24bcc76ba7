"""How fresh the restored data is, relative to the time of the snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from restore_drill.checks.base import Check, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.quantities import format_duration


class NewestRecordCheck(Check):
    """The newest record (or file) is hardly older than the snapshot that holds it."""

    short = "newest"
    title = "The newest record is as fresh as the snapshot"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """When the newest record or file was written (ISO 8601, UTC), or ``None``."""
        if context.rule.newest_record is None:
            stamp = restored.files({})["newest"]
            return {"newest": None if stamp is None else datetime.fromtimestamp(stamp, UTC).isoformat()}
        answer = restored.scalar(context.rule.newest_record.sql, context.deadline)
        return {"newest": None if answer is None else read_time(answer, context.zone).isoformat()}

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Its distance from the snapshot's own time.

        Newer than that is fine, as a backup takes its time, but not by more than ``within`` and the name's resolution:
        a date that lies ahead is no time of writing, and hides how old the rest is.

        Raises:
            CouldNotVerify: The newest record lies so far ahead.
        """
        rule = context.rule.newest_record or context.rule.newest_file
        expected = f"at most {format_duration(rule.within)} before the snapshot"
        if facts["newest"] is None:
            return Finding(Verdict.FAILED, "there is no record at all", _REMEDY, expected=expected, actual="none")
        newest = datetime.fromisoformat(facts["newest"])
        behind = context.snapshot.taken_at - newest
        if -behind > rule.within + context.snapshot.resolution:
            raise CouldNotVerify(
                f"the newest record is {format_duration(-behind)} newer than the snapshot: it says nothing of when the "
                "data was written",
                remedy="Ask for a time of writing, and leave out what is dated ahead.",
            )
        actual = f"{format_duration(behind)} before" if behind > timedelta(0) else "as fresh as the snapshot"
        if behind <= rule.within:
            return Finding(expected=expected, actual=actual)
        return Finding(
            Verdict.FAILED,
            f"the newest record is {format_duration(behind)} older than the snapshot, allowed are "
            f"{format_duration(rule.within)}",
            _REMEDY,
            expected=expected,
            actual=actual,
        )


_REMEDY = (
    "The backup is fresh but its content is not: check that the job reads the live system and not a stale replica."
)


def read_time(answer: Any, zone: ZoneInfo) -> datetime:
    """A time as a database answers it: ISO 8601 (naive in the target's zone) or seconds since the epoch.

    Raises:
        CouldNotVerify: It is neither.
    """
    try:
        if isinstance(answer, int | float) and not isinstance(answer, bool):
            # Milliseconds and microseconds are as common; no backup is from the year 5138.
            return datetime.fromtimestamp(answer / (1e6 if answer > 1e14 else 1e3 if answer > 1e11 else 1), UTC)
        moment = datetime.fromisoformat(str(answer).strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError, OSError) as problem:
        raise CouldNotVerify(
            "the answer of newest_record is not a time",
            remedy="Let the statement answer with ISO 8601 or seconds since the epoch.",
            details=(f"it answered {answer!r}",),
        ) from problem
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
