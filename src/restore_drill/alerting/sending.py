"""Hands messages and pings to the sender, a process of its own, and says what became of each."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_drill import process
from restore_drill.errors import CouldNotVerify
from restore_drill.secrets import SecretReference, redact, register

_SENDER = Path(__file__).with_name("sender.py")
#: Variables that say how to get out, and whom to trust; nothing else of the environment is the sender's business.
_PASSED = re.compile(r"(?i)(?:https?|all|no)_proxy|SSL_CERT_(?:FILE|DIR)|(?:REQUESTS|CURL)_CA_BUNDLE|HOME|TZ")
#: Pauses before the next attempt, as parts of the deadline: of a minute 1, 2, 4, 8 and 16 seconds.
_PAUSES = tuple(2**exponent / 60 for exponent in range(5))
#: Pieces of a URL that look like keys, not like words: long, or of digits and letters.
_KEYISH = re.compile(r"(?=[^/:@?&=#,]*\d)(?=[^/:@?&=#,]*[A-Za-z])[A-Za-z0-9_~%+-]{10,}|[A-Za-z0-9_~%+-]{24,}")
#: Seconds in which the sender starts and ends, beside what it is given for its work.
_MARGIN = 20.0
_MISSING = "Apprise is not installed. pip install 'pytest-restore-drill[alerts]'"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message or ping: whether it got through, after how many attempts, and why not."""

    name: str
    sent: bool
    attempts: int
    why: str = ""


def pauses(deadline: float) -> list[float]:
    """How long to wait before each further attempt (seconds)."""
    return [part * deadline for part in _PAUSES]


def send(channels: Sequence[Mapping[str, Any]], pings: Sequence[Mapping[str, Any]]) -> dict[str, Outcome]:
    """Send all at the same time.

    Args:
        channels: As :mod:`restore_drill.alerting.sender` takes them, but with the ``url``'s reference.
        pings: Likewise.

    Returns:
        The outcome of each, by name.
    """
    outcomes: dict[str, Outcome] = {}
    ready = [[found for each in some if (found := _resolved(each, outcomes))] for some in (channels, pings)]
    if any(ready):
        job = {"path": sys.path, "channels": ready[0], "pings": ready[1]}
        outcomes |= _converse(job, [each["name"] for some in ready for each in some])
    return outcomes


def _resolved(each: Mapping[str, Any], outcomes: dict[str, Outcome]) -> dict[str, Any] | None:
    reference: SecretReference = each["url"]
    try:
        url = reference.resolve().strip()
    except CouldNotVerify as problem:
        outcomes[each["name"]] = Outcome(each["name"], False, 0, redact(str(problem)))
        return None
    for piece in _pieces(url):
        register(piece)
    return {**each, "url": url}


def _pieces(url: str) -> Iterable[str]:
    """What of a URL must not be written anywhere, alone either."""
    yield from _KEYISH.findall(url)
    authority = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]*)@", url)
    if authority:
        yield authority[1].partition(":")[2]


def _converse(job: dict[str, Any], names: list[str]) -> dict[str, Outcome]:
    deadline = max(each["deadline"] for each in (*job["channels"], *job["pings"])) + _MARGIN
    environment = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    try:
        done = process.run(
            [sys.executable, "-P", str(_SENDER)], deadline=deadline, stdin=json.dumps(job).encode(),
            environment={**process.BARE_ENVIRONMENT, **environment},
        )  # fmt: skip
        answers = json.loads(done.stdout)
        return {name: _outcome(answer) for name, answer in zip(names, answers, strict=True)}
    except (CouldNotVerify, ValueError) as problem:
        why = problem.cause if isinstance(problem, CouldNotVerify) else "the process that sends it died"
        return {name: Outcome(name, False, 1, redact(why)) for name in names}


def _outcome(answer: Mapping[str, Any]) -> Outcome:
    why = _MISSING if answer["why"] == "missing" else answer["why"]
    return Outcome(answer["name"], bool(answer["sent"]), int(answer["attempts"]), redact(why))
