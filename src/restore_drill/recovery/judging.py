"""Whether the team's own recovery procedure brings the system back: measured by executing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from restore_drill.checks.base import Check, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.errors import UsageProblem
from restore_drill.model import Finding, Verdict

_SAID = "What was typed and said is in the details on the terminal."


class RunbookCheck(Check):
    """Every step ended well, what they left passes the target's content cases, and the way back leads back."""

    short = "runbook"
    title = "The team's own runbook brings it back"

    def measure(self, restored: Restored, context: CheckContext) -> NoReturn:  # noqa: ARG002 - see there
        """Not on a restored system: :func:`restore_drill.recovery.rehearsal.rehearse` measures it."""
        raise UsageProblem("a runbook is measured by executing it", remedy="Name it under runbook: of the target.")

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:  # noqa: ARG002 - the facts say it all
        """The first step that failed, else the first case that what they left does not pass."""
        done = sum(step["status"] == 0 for step in facts["steps"] if "part" not in step)
        expected = f"{_count(facts['planned'], 'step')} to end well, and every content case on what they leave"
        details = tuple(facts.get("details", ()))
        if (failed := facts["failed"]) is not None:
            message, remedy = _failed(failed, facts)
            actual = f"{done} of {facts['planned']} ended well"
            return Finding(Verdict.FAILED, message, remedy, expected=expected, actual=actual, details=details)
        wrong = [each for each in facts["checks"] if each["verdict"] != "passed"]
        if wrong:
            first = min(wrong, key=lambda each: each["verdict"] != Verdict.FAILED)
            more = f" (and {_count(len(wrong) - 1, 'case')} more)" if len(wrong) > 1 else ""
            name = f"{first['case']} of {first['detail']}" if first["detail"] else first["case"]
            return Finding(
                Verdict(first["verdict"]),
                f"{facts['document']}: its steps ended well, and what they left fails {name}{more}: {first['message']}",
                f"{_whose(first)} {first['remedy']}".rstrip(),
                expected=expected, actual=f"{_count(len(wrong), 'case')} not passed", details=details,
            )  # fmt: skip
        return Finding(
            expected=expected,
            actual=f"{_count(done, 'step')}, {_count(len(facts['checks']), 'case')}",
            notes=tuple(_notes(facts)),
        )


def _whose(check: Mapping[str, Any]) -> str:
    if check["drilled"]:
        return "The drill's own restore passes it: correct the runbook."
    return "This run did not ask the drill's own restore: run the whole drill to see whether it is the backup's fault."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _failed(failed: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[str, str]:
    """Cause and remedy of a step, or of what the steps left."""
    document = facts["document"]
    if failed["part"] == "restored":
        return f"{document}: {failed['message']}", f"Name what they leave under runbook.restored. {_SAID}"
    if "message" in failed:
        remedy = "Have the steps keep what was there before, and the rollback put it back."
        return f"{document}: rollback at line {failed['line']}: {failed['message']}", f"{remedy} {_SAID}"
    where = f'"{failed["heading"]}", line {failed["line"]}' if failed["heading"] else f"line {failed['line']}"
    part = "the rollback's step" if failed["part"] == "rollback" else "the step"
    how = "did not end in time" if failed["status"] == "late" else f"ended with status {failed['status']}"
    return (
        f"{document}: {part} {where} {how}",
        "Correct the runbook; declare what only production has under runbook.stubs, and its paths under "
        f"runbook.paths. {_SAID}",
    )


def _notes(facts: Mapping[str, Any]) -> list[str]:
    """What was not executed, and is left to people."""
    found: list[str] = []
    by_hand: dict[str, list[int]] = {}
    for each in facts["stubbed"]:
        by_hand.setdefault(each["command"], []).append(each["line"])
    for command, lines in by_hand.items():
        found.append(f"by hand, stood in for here: {command} (line {', '.join(map(str, sorted(set(lines))))})")
    clients = dict.fromkeys(each["command"] for each in facts["fetched"])
    if clients:
        found.append(f"took what the drill had fetched and verified: {', '.join(clients)}")
    for each in facts["unexecuted"]:
        found.append(f"not executed: {each['why']} (line {each['line']})")
    for each in facts["unjudged"]:
        name = f"{each['case']} of {each['detail']}" if each["detail"] else each["case"]
        found.append(f"not asked of what it left, because the backup itself fails it: {name}")
    found.append(f"rollback: {facts['rollback']}")
    return found
