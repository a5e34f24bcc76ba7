"""What a period's documents hold for each requirement: one pass, a few numbers a requirement and copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from restore_drill.controls.model import Framework, Requirement
from restore_drill.sampling import is_of_newest, sampled_of

#: A copy of a target.
Copy = tuple[str, str]
#: What a requirement's cases came to in one drill.
NONE = ""
_WORST = ("failed", "error", "excepted", "passed")
#: Verdicts that say something about the backup; ``error`` says nothing.
JUDGED = frozenset({"passed", "failed", "excepted"})
#: Of an ``error`` whose cause another case bears: that case's verdict, this, and its name.
_BLOCKED = " by "
_PATTERNS = 4096
_CATALOGUES = 8
_NEVER = float("-inf")


@dataclass(slots=True)
class Counts:
    """Verdicts of one kind of evidence in the period."""

    verdicts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_WORST, 0))
    copies: set[Copy] = field(default_factory=set)
    last: float = _NEVER

    def add(self, verdict: str, copies: Iterable[Copy], at: float) -> None:
        """One more; what another case kept from being judged is not verified."""
        verdict = "error" if _BLOCKED in verdict else verdict
        self.verdicts[verdict] += 1
        if verdict in JUDGED:
            self.copies.update(copies)
            self.last = max(self.last, at)

    @property
    def drills(self) -> int:
        """How many came to a verdict."""
        return sum(self.verdicts[each] for each in JUDGED)


@dataclass(frozen=True, slots=True)
class Last:
    """The last verdict in the period.

    Attributes:
        case: The case that it is owed to, when it is no pass.
        at: When (seconds since the epoch).
    """

    verdict: str = NONE
    case: str = ""
    run: str = ""
    at: float = _NEVER

    def worse(self, other: Last) -> Last:
        """The worse of two; none at all is no verdict."""
        if not (self.verdict and other.verdict):
            return self if self.verdict else other
        return min(self, other, key=lambda each: _WORST.index(each.verdict))


@dataclass(slots=True)
class Standing:
    """Where one copy stands with one requirement.

    Attributes:
        last: What the last whole drill came to; a failure stays until one of the newest snapshot comes to a verdict.
        tests: Tests in the period that came to a verdict.
        last_test: The end of the last one, of whatever time up to the period's end.
        longest: The longest time without one, as far as it lies within the period (seconds).
    """

    last: Last = Last()
    tests: int = 0
    last_test: float = _NEVER
    longest: float = 0.0


@dataclass(slots=True)
class Member:
    """A copy that the catalogue had at some time (seconds since the epoch)."""

    first: float
    gone: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drill's verdicts mean for one requirement."""

    verdict: str
    case: str
    tested: bool


class Tally:
    """Counts documents as they pass.

    Args:
        frameworks: Whose requirements.
        since: Begin of the period; ``None`` is the first document.
        until: Its end.
        estate: ``user`` or ``demo``: documents of the other one do not count.
    """

    def __init__(
        self, frameworks: Sequence[Framework], since: datetime | None, until: datetime, estate: str = "user"
    ) -> None:
        self.frameworks = frameworks
        self.since = since.timestamp() if since else _NEVER
        self.until = until.timestamp()
        self.estate = estate
        self.requirements: list[Requirement] = [each for framework in frameworks for each in framework.requirements]
        self.standings: list[dict[Copy, Standing]] = [{} for _ in self.requirements]
        self.drills = [0 for _ in self.requirements]
        self.evidence: dict[str, Counts] = {}
        self.across: dict[tuple[str, str], Last] = {}
        self.members: dict[Copy, Member] = {}
        self.runs: dict[str, int] = {}
        self.foreign = 0
        self.operators: dict[str, str] = {}
        self._catalogues: dict[str, frozenset[Copy]] = {}
        self._patterns: dict[frozenset[tuple[str, str]], list[Outcome]] = {}

    def take(self, document: Mapping[str, Any]) -> None:
        """One document, in the order in which they were recorded."""
        run = document["run"]
        at = seconds(run["finished"])
        if at > self.until:
            return
        within = at >= self.since
        if run["estate"] != self.estate:
            self.foreign += within
            return
        if "recorded_by" not in run:  # what was written on its behalf later has the catalogue of that earlier time
            self._take_population(document, at)
        if within:
            self.runs[run["ended"]] = self.runs.get(run["ended"], 0) + 1
            self.operators[run["id"]] = str(run["operator"]["user"])
        for drill in document["drills"]:
            self._take_drill(drill, run, within=within)
        if within:
            self._take_targets(document, run["id"], at)

    def _take_population(self, document: Mapping[str, Any], at: float) -> None:
        """Who is in scope: what a catalogue lists, from the first run that lists it to the first that does not."""
        now = frozenset((each["target"], copy["copy"]) for each in document["population"] for copy in each["copies"])
        path = document["catalogue"]["path"]
        before = self._catalogues.pop(path, frozenset())
        self._catalogues[path] = now
        if now == before:
            return
        if len(self._catalogues) > _CATALOGUES:  # each night another checkout: the oldest are over
            del self._catalogues[next(iter(self._catalogues))]
        for gone in before - now:
            if not any(gone in others for others in self._catalogues.values()):
                self.members[gone].gone = at
        for new in now - before:
            member = self.members.setdefault(new, Member(at))
            if member.gone is not None:  # it came back: reckoned from then on
                self.members[new] = Member(at)

    def _take_drill(self, drill: Mapping[str, Any], run: Mapping[str, Any], *, within: bool) -> None:
        if drill["scope"] != "whole" or drill.get("depth", "full") != "full":
            return
        verdicts = verdicts_of(drill)
        older, at = sampled_of(drill), seconds(drill.get("finished", run["finished"]))
        copy = (drill["target"], older[0] if older else drill["copy"])
        if at > self.until:
            return
        if within:
            for name, verdict in verdicts.items():
                self.evidence.setdefault(name, Counts()).add(verdict, (copy,), at)
        newest = is_of_newest(drill)
        for number, outcome in enumerate(self._outcomes(verdicts)):
            if outcome.verdict:
                self._stand(number, copy, outcome, run["id"], at, within=within, newest=newest)

    def _take_targets(self, document: Mapping[str, Any], run: str, at: float) -> None:
        """The cases about all copies of a target: the last verdict of each counts, until the next."""
        copies = {each["target"]: each["copies"] for each in document["population"]}
        for target in document["targets"]:
            those = [(target["target"], copy["copy"]) for copy in copies.get(target["target"], ())]
            for name, verdict in _worst_by_case(target["cases"]).items():
                self.evidence.setdefault(name, Counts()).add(verdict, those, at)
                before = self.across.get((target["target"], name), Last())
                if not (verdict == "error" and before.verdict == "failed"):
                    self.across[target["target"], name] = Last(verdict, name, run, at)

    def _stand(
        self, number: int, copy: Copy, outcome: Outcome, run: str, at: float, *, within: bool, newest: bool
    ) -> None:
        standing = self.standings[number].get(copy)
        if standing is None:
            standing = self.standings[number][copy] = Standing()
        if outcome.tested:
            if within:
                self.drills[number] += 1
                standing.tests += 1
                standing.longest = max(standing.longest, at - self._from(copy, standing.last_test))
            standing.last_test = max(standing.last_test, at)
        # What failed has failed until a test of the newest snapshot says otherwise: an obstacle says nothing.
        stays = standing.last.verdict == "failed" and (outcome.verdict == "error" or not newest)
        if within and at >= standing.last.at and not stays:
            standing.last = Last(outcome.verdict, outcome.case, run, at)

    def _from(self, copy: Copy, last: float) -> float:
        """From when on the wait for a test counts: the one before it, or the copy's first appearance."""
        member = self.members.get(copy)
        return last if last > _NEVER else member.first if member else self.until

    def since_last(self, copy: Copy, last: float, end: float) -> float:
        """How long nothing had come by the end of what is looked at (seconds)."""
        return max(0.0, end - self._from(copy, last))

    def _outcomes(self, verdicts: Mapping[str, str]) -> list[Outcome]:
        pattern = frozenset(verdicts.items())
        found = self._patterns.get(pattern)
        if found is None:
            if len(self._patterns) >= _PATTERNS:
                self._patterns.clear()
            found = self._patterns[pattern] = [outcome_of(each, verdicts) for each in self.requirements]
        return found

    def know(self, population: Any) -> None:
        """Take it from a reconciled population which copies there are; it knows a catalogue that moved, too."""
        self.members = {
            copy: Member(self.until if standing.first_seen is None else standing.first_seen, standing.retired)
            for copy, standing in population.standings.items()
            if (standing.first_seen or 0.0) <= self.until
        }

    def in_scope(self) -> list[Copy]:
        """The copies that the catalogue had at some time in the period."""
        return sorted(copy for copy, member in self.members.items() if member.gone is None or member.gone > self.since)


def seconds(stamp: str) -> float:
    """A time of a document as seconds since the epoch."""
    return datetime.fromisoformat(stamp).timestamp()


def stamp(moment: float) -> str | None:
    """The other way round; ``None`` for never."""
    if moment == _NEVER:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _worst_by_case(cases: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in cases:
        name, verdict = case["case"], case["verdict"]
        if name not in found or _WORST.index(verdict) < _WORST.index(found[name]):
            found[name] = verdict
    return found


def verdicts_of(drill: Mapping[str, Any]) -> dict[str, str]:
    """Verdicts by evidence: the worst of each case, and what stands beside the cases."""
    found = _worst_by_case(drill["cases"])
    for case in drill["cases"]:
        by = case.get("blocked_by", "")
        if found[case["case"]] == "error" and found.get(by) in ("failed", "error"):
            found[case["case"]] = f"{found[by]}{_BLOCKED}{by}"
    if drill.get("isolation"):
        found["isolation"] = "passed" if drill["isolation"].get("proof") else "error"
    if disposal := drill.get("disposal"):
        confirmed = disposal.get("confirmed") and not disposal.get("left") and not disposal.get("kept")
        found["disposal"] = "passed" if confirmed else "error"
    return found


def outcome_of(requirement: Requirement, verdicts: Mapping[str, str]) -> Outcome:
    """A case that a failure blocked has failed with it: a backup that cannot be restored was tested."""
    found: dict[str, tuple[str, str]] = {}
    for name in verdicts:
        if name in requirement.of_copies:
            verdict, _, by = verdicts[name].partition(_BLOCKED)
            found[name] = (verdict, by or name)
    if not found:
        return Outcome(NONE, "", tested=False)
    verdict, case = min(found.values(), key=lambda each: _WORST.index(each[0]))
    judged = {name for name, (each, _) in found.items() if each in JUDGED}
    tested = bool(judged) and judged.issuperset(requirement.tested_by)
    return Outcome(verdict, "" if verdict == "passed" else case, tested)
