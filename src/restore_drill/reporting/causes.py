"""What needs a human: one cause, one entry, however many cases it blocked and however many backups it touched."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from restore_drill.cases import SET_CASES
from restore_drill.reporting.model import CaseRow, Document, Drill, Target
from restore_drill.reporting.past import Past, pasts
from restore_drill.reporting.words import WORST_FIRST, instant, moment, roughly
from restore_drill.sampling import sampled_of, split

if TYPE_CHECKING:
    from restore_drill.policy.population import Population

#: So many drills of a copy are remembered.
_REMEMBERED = 30
#: What a cause says where evidence holds no remedy of its own (evidence of earlier releases).
_REMEDY = {
    "failed": "Do not rely on this backup. Check the job that makes it, let it make a new one, and drill that.",
    "error": "Nothing is known of this backup. Remove the obstacle, and drill it again.",
}


@dataclass(frozen=True)
class Cause:
    """One thing that a person has to look at.

    Attributes:
        state: ``failed``, ``error`` (could not verify) or ``missed``.
        backups: Target and copy of everything it touches; an empty copy is the target as a whole.
        since: Since when, in words; ``since_at`` is the moment itself, where it is known.
        blocked: Cases that could not run because of it.
        again: The command that drills it again, ``""`` where that answers nothing.
    """

    state: str
    backups: tuple[tuple[str, str], ...]
    about: Document
    case: str
    title: str
    said: str
    remedy: str
    since: str
    since_at: float | None = None
    good: str = ""
    blocked: int = 0
    again: str = ""

    @property
    def name(self) -> str:
        """What is broken: ``metrics-db / nas``."""
        return " / ".join(filter(None, self.backups[0])) if self.backups else "the run"


@dataclass
class _Group:
    drill: Drill | None
    case: CaseRow
    about: Document
    past: Past
    begun: float
    backups: list[tuple[str, str]] = field(default_factory=list)
    blocked: int = 0


def causes(document: Document, found: Iterable[Target], population: Population | None = None) -> tuple[Cause, ...]:
    """What needs a human, the worst first, and of the same kind the strictest tier first."""
    groups: dict[tuple[str, ...], _Group] = {}
    begun = moment(document["run"].get("started") or document["run"].get("finished")) or 0.0
    for target in found:
        for drill, case in _bad(target):
            about = drill.data if drill else target.about
            past = drill.past if drill else _past_across(population, target.name, case)
            group = groups.setdefault(_key(drill, case), _Group(drill, case, about, past, begun))
            if past.failing_since is not None and past.failing_since < (group.past.failing_since or float("inf")):
                group.drill, group.past = drill, past  # of several, the one that has been so for longest
            group.backups.append((target.name, drill.copy if drill else ""))
            if drill:
                group.blocked += sum(case.case == each.blocked_by for each in drill.blocked)
    ended = moment(document["run"].get("finished"))
    told = [_cause(group, ended) for group in groups.values()]
    told += _of_run(document)
    told += _overdue(document, population, ended)
    return tuple(sorted(told, key=lambda cause: (WORST_FIRST.index(cause.state), _strictness(cause.about))))


def _bad(target: Target) -> Iterator[tuple[Drill | None, CaseRow]]:
    """The cases that bear a cause; of a drill in which all are blocked, the first."""
    for drill in target.drills:
        bad = [case for case in drill.cases if case.bad]
        if not bad and drill.verdict in ("failed", "error"):
            bad = list(drill.blocked[:1])
        yield from ((drill, case) for case in bad)
    told = any(drill.verdict in ("failed", "error") for drill in target.drills)
    for case in target.across:
        # What blocks a case of a set is told with another case of it, or with another target's drill.
        elsewhere = told or (case.case in SET_CASES and case.blocked_by)
        if case.bad or (case.verdict in ("failed", "error") and not elsewhere):
            yield None, case


def _key(drill: Drill | None, case: CaseRow) -> tuple[str, ...]:
    """What is the same cause: the same words; or the same remedy, where a store gives the same trouble."""
    if case.verdict == "error" and drill and case.remedy:
        return case.case, str(drill.data.get("store", "")), case.remedy
    return case.case, case.verdict, case.message, case.remedy


def _past_across(population: Population | None, target: str, case: CaseRow) -> Past:
    """Since when a rule about all copies is broken."""
    name = "/".join(filter(None, (case.case, case.detail)))
    known = population.across.get((target, name)) if population is not None else None
    return Past(known=population is not None, failing_since=known.since if known else None)


def _cause(group: _Group, ended: float | None) -> Cause:
    case, past = group.case, group.past
    since, since_at = _since(group, ended)
    return Cause(
        state=case.verdict,
        backups=tuple(group.backups),
        about=group.about,
        case=case.name,
        title=case.title,
        said=case.message or f"expected {case.expected}, found {case.actual}",
        remedy=case.remedy or _REMEDY[case.verdict],
        since=since,
        since_at=since_at,
        good=_good(past),
        blocked=group.blocked,
        again=_again(group),
    )


def _again(group: _Group) -> str:
    older = sampled_of(group.drill.data) if group.drill else None
    if older is None:
        return again([(name, split(copy)[0]) for name, copy in group.backups])
    if len(group.backups) > 1 or not older[1]:
        return ""  # each is another snapshot
    name = group.backups[0][0]
    return f"pytest drills/ --snapshot {shlex.quote(older[1])} -k {shlex.quote(f'{name} and {older[0]}')}"


def again(backups: list[tuple[str, str]]) -> str:
    """The command that drills these once more."""
    names = list(dict.fromkeys(name for name, _ in backups))
    copies = {copy for _, copy in backups}
    if len(names) > 3:
        return ""
    expression = " or ".join(names)
    if len(names) == 1 and len(copies) == 1 and "" not in copies:
        expression = f"{names[0]} and {copies.pop()}"
    return f"pytest drills/ -k {shlex.quote(expression)}"


def _since(group: _Group, ended: float | None) -> tuple[str, float | None]:
    """Since when it has been so, as far as is known."""
    since = group.past.failing_since
    earlier = (group.drill.data.get("retest_of") or {}) if group.drill else {}
    if since is None and earlier:
        since = moment(earlier.get("finished"))
    if since is not None and ended is not None and since < group.begun - 1:
        bad = ("failed", "error")  # a part that passed meanwhile is none of them
        drills = sum(point.finished >= since - 1 and point.verdict in bad for point in group.past.points)
        beyond = "at least " if drills == len(group.past.points) >= _REMEMBERED else ""
        often = f", {beyond}{drills} drills in a row" if drills > 1 else ""
        before = (
            "" if group.past.good_finished is not None or not group.past.points else "; no earlier good one is known"
        )
        return f"{instant(since)} ({roughly(ended - since)}{often}{before})", since
    known = "first seen in this run" if group.past.known else "this run; nothing is known of earlier ones"
    return f"{instant(ended)} ({known})", ended


def _good(past: Past) -> str:
    if past.good_finished is None:
        return "none is known" if past.known and past.points else ""
    taken = past.good_taken
    what = f"the snapshot of {instant(taken)}" if taken is not None else f"snapshot {past.good_snapshot}"
    return f"{what}, drilled {instant(past.good_finished)}"


def _of_run(document: Document) -> Iterator[Cause]:
    """What went wrong with the run itself."""
    run = document["run"]
    ended = instant(run.get("finished"))
    for problem in document.get("problems", ()):
        yield Cause("error", (), {}, "run", "The run itself", str(problem), "Mend it, and run again.", ended)
    if document.get("not_run"):
        missing = [str(each) for each in document["not_run"]]
        said = f"{len(missing)} planned cases did not report: {', '.join(missing[:5])}{', …' if missing[5:] else ''}"
        remedy = "Run again; whatever did not report was not verified."
        yield Cause("error", (), {}, "run", "Planned cases did not report", said, remedy, ended)


def _overdue(document: Document, population: Population | None, ended: float | None) -> Iterator[Cause]:
    """Copies whose drill is overdue, and which this run did not drill; of a period (which is no run), all."""
    of_run = document.get("drills", ()) if document["run"].get("id") else ()
    drilled = {(drill["target"], drill["copy"]) for drill in of_run}
    listings = {each["target"]: each for each in document.get("population", ())}
    for key, past in pasts(population).items():
        if past.overdue and key not in drilled:
            late = roughly(ended - past.due_by) if ended and past.due_by else "unknown"
            yield Cause(
                state="missed",
                backups=(key,),
                about=listings.get(key[0], {}),
                case="overdue",
                title="Its drill is overdue",
                said=f"It was due by {instant(past.due_by)}: {late} ago.",
                remedy="Find out why its pipeline did not run, and drill it now.",
                since=instant(past.due_by),
                since_at=past.due_by,
                good=_good(past),
                again=again([key]),
            )


def _strictness(about: Document) -> float:
    objectives = about.get("objectives") or about
    return float(objectives.get("rpo_seconds") or 0.0) if about else -1.0
