"""What the document says of a runbook that was executed: its steps, and what of it is left to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_drill.evidence.account import Recorded
from restore_drill.secrets import redact


def runbook(account: Recorded) -> dict[str, Any] | None:
    """The procedure, step by step, or ``None`` where none was executed; no command stands in it."""
    facts = _facts(account)
    if facts is None:
        return None
    return {
        "document": facts["document"],
        **({"section": facts["section"]} if facts["section"] else {}),
        "sha256": facts["sha256"],
        "planned": facts["planned"],
        "sandbox": {name: str(facts["sandbox"].get(name, "")) for name in ("kind", "network")},
        "steps": [{**step, "heading": redact(step["heading"])} for step in facts["steps"]],
        "by_hand": [{**each, "heading": redact(each["heading"])} for each in facts["stubbed"]],
        "stood_in_for_stores": list(dict.fromkeys(each["command"] for each in facts["fetched"])),
        "not_executed": facts["unexecuted"],
        "rollback": facts["rollback"] or "not reached",
    }


def limits(account: Recorded) -> list[str]:
    """What the rehearsal did not try, one sentence each."""
    facts = _facts(account)
    if facts is None:
        return []
    found = [
        f"runbook: {command} was stood in for, and is left to people (line {_lines(facts, command)})"
        for command in dict.fromkeys(each["command"] for each in facts["stubbed"])
    ]
    if clients := dict.fromkeys(each["command"] for each in facts["fetched"]):
        found.append(f"runbook: {', '.join(clients)} took what the drill had fetched, and did not ask the store")
    if facts["unexecuted"]:
        lines = ", ".join(str(each["line"]) for each in facts["unexecuted"])
        found.append(f"runbook: not executed, because it is not marked as commands of a shell (line {lines})")
    if facts["unjudged"]:
        names = ", ".join("/".join(filter(None, (each["case"], each["detail"]))) for each in facts["unjudged"])
        found.append(f"runbook: not asked of what it left, because the backup itself fails it: {names}")
    if facts["rollback"] != "drilled":
        found.append(f"runbook: the way back was not drilled as steps: {facts['rollback'] or 'not reached'}")
    return found


def _facts(account: Recorded) -> Mapping[str, Any] | None:
    return next(account.checked("runbook"), None)


def _lines(facts: Mapping[str, Any], command: str) -> str:
    return ", ".join(str(each["line"]) for each in facts["stubbed"] if each["command"] == command)
