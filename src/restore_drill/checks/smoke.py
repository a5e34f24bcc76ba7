"""Whether the application runs on what was restored: a command that ends well, an endpoint that answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_drill.catalogue.smoke import SmokeRule
from restore_drill.checks.base import Check, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.model import Finding, Verdict
from restore_drill.quantities import format_duration


class SmokeCheck(Check):
    """A command or a request of the catalogue succeeds inside the sandbox."""

    short = "smoke"
    title = "The application runs on it and answers"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """Try it; what was written or answered stays in the details."""
        rule = _rule(context)
        asked: dict[str, Any] = {"run": list(rule.run)} if rule.run else {}
        if rule.http is not None:
            probe = rule.http
            asked = {"port": probe.port, "path": probe.path, "status": probe.status, "contains": probe.contains}
        return restored.smoke(asked, rule.within.total_seconds())

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Compare how it went with how it should have gone."""
        rule = _rule(context)
        expected, actual = _expected(rule), _actual(facts, rule)
        if _is_right(facts, rule):
            return Finding(expected=expected, actual=actual)
        application = str(facts["application"])
        ended = f"; the application {application}" if application not in ("up", "none") else ""
        return Finding(
            Verdict.FAILED,
            f"{rule.name}: {actual}, expected {expected}{ended}",
            "What it wrote is in the details on the terminal. Try the same on the live application; if it fails there "
            "too, it needs something that an isolated copy lacks (a network, another service).",
            expected=expected,
            actual=actual,
            details=tuple(facts.get("details", ())),
        )


def _rule(context: CheckContext) -> SmokeRule:
    rule: SmokeRule = next(rule for rule in context.rule.smoke if rule.name == context.detail)
    return rule


def _is_right(facts: Mapping[str, Any], rule: SmokeRule) -> bool:
    if rule.http is None:
        return bool(facts["outcome"] == "ended" and facts["status"] == rule.exit_status)
    return bool(facts["outcome"] == "answered" and facts["status"] == rule.http.status and facts["contains"])


def _expected(rule: SmokeRule) -> str:
    if rule.http is None:
        return f"status {rule.exit_status} within {format_duration(rule.within)}"
    text = " and a certain text" if rule.http.contains else ""
    return f"{rule.http.status}{text} from port {rule.http.port} within {format_duration(rule.within)}"


def _actual(facts: Mapping[str, Any], rule: SmokeRule) -> str:
    limit = format_duration(rule.within)
    if facts["outcome"] == "late":
        return f"no end within {limit}"
    if facts["outcome"] == "silent":
        return f"no answer within {limit}"
    text = "" if facts["contains"] else " without the text"
    return f"status {facts['status']}{text}"
