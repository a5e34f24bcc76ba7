"""What one evidence document says of everything it judged: the cases that are broken, and by which cause.

Cases that were merely blocked, or that never ran, are not judged: of them nothing new is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from restore_drill.printable import printable
from restore_drill.sampling import is_of_newest, sampled_of
from restore_drill.secrets import redact

#: Before the names of what is broken in an older snapshot: its id and the case. No later drill of the newest mends it.
OLDER = "older snapshot "
#: Characters of a cause and of a remedy that are kept; evidence has all of it.
_LONGEST = 400
#: What ended a run before its time, in words.
_ENDED = {"interrupted": "was interrupted", "crashed": "crashed", "refused": "could not begin"}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One case that failed or could not be verified.

    Attributes:
        state: ``failed``, ``error`` or ``overdue``.
        message: The cause, on one line.
        remedy: What to do about it.
    """

    state: str
    message: str
    remedy: str = ""


@dataclass(slots=True)
class Judgement:
    """What a document says of one copy, of a target as a whole, or of the run itself.

    Attributes:
        at: When that was found out (seconds since the epoch).
        run: The run that found it out.
        judged: Every case with a result of its own, as ``case`` or ``case/detail``.
        broken: Those of them that are bad.
        excepted: Those that failed under an exception, with its id.
        whole: Whether every case that exists was asked for: what is not judged and not blocked is no case any more.
        blocked: Cases without a result of their own.
        drilled: Whether it is no longer overdue by that.
    """

    target: str
    copy: str
    at: float
    run: str
    judged: set[str] = field(default_factory=set)
    broken: dict[str, Trouble] = field(default_factory=dict)
    excepted: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    blocked: set[str] = field(default_factory=set)
    drilled: bool = False


def judgements(document: Mapping[str, Any]) -> list[Judgement]:
    """Every copy and target that a document judged, in its order."""
    run = document["run"]
    at, everything = ended(document), _is_everything(run)
    found = []
    for drill in document.get("drills", ()):
        when = moment(drill.get("finished")) or at
        older, newest = sampled_of(drill), is_of_newest(drill)
        whole = drill.get("scope") == "whole" and newest
        copy = older[0] if older else drill["copy"]
        judgement = Judgement(drill["target"], copy, when, run["id"], whole=whole, drilled=whole)
        _judge(judgement, drill["cases"], f"{OLDER}{older[1]}/" if older else "")
        if not newest and not older:  # what is well in a snapshot that somebody chose says nothing of the newest one
            judgement.judged &= judgement.broken.keys()
        found.append(judgement)
    for target in document.get("targets", ()):
        judgement = Judgement(target["target"], "", at, run["id"], whole=everything)
        _judge(judgement, target["cases"])
        found.append(judgement)
    return found


def _judge(judgement: Judgement, cases: Sequence[Mapping[str, Any]], before: str = "") -> None:
    for case in cases:
        name = before + "/".join(filter(None, (case["case"], case.get("detail", ""))))
        if case.get("blocked_by"):
            judgement.blocked.add(name)
            continue
        judgement.judged.add(name)
        if case["verdict"] in ("failed", "error"):
            judgement.broken[name] = Trouble(
                case["verdict"], _line(case.get("message", "")), _line(case.get("remedy", ""))
            )
        elif case["verdict"] == "excepted":
            judgement.excepted[name] = str(case.get("exception", ""))


def run_trouble(document: Mapping[str, Any]) -> Trouble | None:
    """Why a run did not end as it should, whatever its cases say."""
    how = document["run"].get("ended", "complete")
    problems = [str(problem) for problem in document.get("problems", ())]
    if how == "complete" and not problems:
        return None
    unjudged = sum(bool(case.get("blocked_by")) for case in cases(document))
    message = "; ".join(problems)
    if how != "complete":
        message = f"the run {_ENDED.get(how, how)}" + (f": {message}" if message else "")
        message += f"; {unjudged} cases have no result of their own" if unjudged else ""
    return Trouble("error", _line(message), "Read its log, mend the cause, and run it again.")


def cases(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every case of a document."""
    for part in (*document.get("drills", ()), *document.get("targets", ())):
        yield from part["cases"]


def ended(document: Mapping[str, Any]) -> float:
    """When a run ended, or, of one that never did, began."""
    run = document["run"]
    return moment(run.get("finished")) or moment(run.get("started")) or 0.0


def moment(stamp: Any) -> float | None:
    """Seconds since the epoch of a time in evidence."""
    try:
        return datetime.fromisoformat(stamp).timestamp() if isinstance(stamp, str) and stamp else None
    except ValueError:
        return None


def _is_everything(run: Mapping[str, Any]) -> bool:
    selection = run.get("selection") or {}
    return run.get("ended") == "complete" and selection.get("cases", 0) >= selection.get("of_cases", 1)


def _line(text: str) -> str:
    """On one line, without secrets, without what a receiver might obey, not too long."""
    line = printable(redact(" ".join(str(text).split())))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
