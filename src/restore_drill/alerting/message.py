"""What a channel is told: a title, one item a thing that changed, and where it comes from. Plain text and Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from restore_drill.alerting.due import Item
from restore_drill.printable import printable
from restore_drill.quantities import format_duration, format_instant
from restore_drill.secrets import redact

_WORD = {"failure": "FAILED", "could-not-verify": "NOT VERIFIED", "overdue": "OVERDUE", "recovery": "RECOVERED"}
_COUNTED = {"failure": "failed", "could-not-verify": "could not be verified", "overdue": "overdue",
            "recovery": "recovered"}  # fmt: skip
#: How serious a message is, in Apprise's words.
_SEVERITY = {"failure": "failure", "could-not-verify": "warning", "overdue": "warning", "recovery": "success"}
#: What chat services make a call to everybody of, or a link.
_CALLS = re.compile(r"@(?=everyone\b|here\b|channel\b|all\b)|(?<=<)(?=[!@#])")
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+!|~>])")


def message(items: Sequence[Item], *, now: float, footer: Sequence[str], demo: bool = False) -> dict[str, Any]:
    """What the sender is given of one message: title, severity, items and footer, each as text and as Markdown."""
    return {
        "title": title(items, demo=demo),
        "severity": next(_SEVERITY[kind] for kind in _SEVERITY if any(item.kind == kind for item in items)),
        "items": [{"text": _text(item, now), "markdown": _markdown(item, now)} for item in items],
        "footer": {
            "text": "\n".join(map(safe, footer)),
            "markdown": "  \n".join(marked(safe(each)) for each in footer),
        },
    }


def test_message(text: str, footer: str) -> dict[str, Any]:
    """A message about nothing, to try a channel with."""
    return {
        "title": "restore-drill: test", "severity": "info", "items": [{"text": text, "markdown": marked(text)}],
        "footer": {"text": footer, "markdown": marked(footer)},
    }  # fmt: skip


def title(items: Sequence[Item], *, demo: bool = False) -> str:
    """Verdict and counts: ``restore-drill: 2 failed, 1 recovered``."""
    fresh = Counter(item.kind for item in items if not item.again)
    parts = [f"{fresh[kind]} {words}" for kind, words in _COUNTED.items() if fresh[kind]]
    again = sum(item.again for item in items)
    parts += [f"{again} still broken"] if again else []
    return f"restore-drill{' DEMO' if demo else ''}: {', '.join(parts)}"


def footer(document: Mapping[str, Any] | None, ledger: Any) -> list[str]:
    """Where it comes from: the run, its place in the ledger, and its pipeline."""
    if document is None:
        return [_head(ledger, "ledger head")] if ledger is not None else []
    run = document["run"]
    lines = [f"run {run['id']} on {run.get('operator', {}).get('host', 'an unknown host')}: {document['verdict']}"]
    lines.append(_head(ledger, "ledger") if ledger is not None else "no ledger entry")
    url = run.get("ci", {}).get("url", "")
    return [*lines, *([url] if url else [])]


def _head(ledger: Any, what: str) -> str:
    return f"{what}: entry {ledger.sequence}, {ledger.digest[:16]}…{'' if ledger.key_id else ' (unsigned)'}"


def _text(item: Item, now: float) -> str:
    lines = [f"{_WORD[item.kind]}{' still' if item.again else ''} {_where(item)}: {item.message}"]
    lines.append(f"  {_since(item, now)}")
    lines += [f"  Do: {item.remedy}"] if item.remedy else []
    return "\n".join(map(safe, lines))


def _markdown(item: Item, now: float) -> str:
    word = f"**{_WORD[item.kind]}{' still' if item.again else ''}**"
    lines = [f"- {word} {marked(safe(_where(item)))}: {marked(safe(item.message))}"]
    lines.append(f"  {marked(_since(item, now))}")
    lines += [f"  Do: {marked(safe(item.remedy))}"] if item.remedy else []
    return "  \n".join(lines)


def _where(item: Item) -> str:
    if not item.where:
        return f"run {item.run}"
    return ": ".join(filter(None, ("/".join(filter(None, (item.tier, item.where))), item.case)))


def _since(item: Item, now: float) -> str:
    if item.kind == "recovery":
        return f"it was broken since {format_instant(item.since)}"
    return f"since {format_instant(item.since)} ({format_duration(max(0.0, now - item.since))})"


def safe(text: str) -> str:
    """Without secrets, without control characters, and without calls to everybody in a chat room."""
    return _CALLS.sub(lambda found: f"{found.group()}\u200b", printable(redact(text)))


def marked(text: str) -> str:
    """A text as Markdown that shows it as it is."""
    return _MARKUP.sub(r"\\\1", text)
