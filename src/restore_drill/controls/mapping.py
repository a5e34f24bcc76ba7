"""What the records of a period say to each requirement of the frameworks, and what they do not.

A drill supports a requirement; whether it is met is for whoever audits to conclude, and no word here anticipates that.
Evidence of a test is a whole drill of a copy that came to a verdict: passed, failed or excepted. What could not be
verified, ran in part, or belongs to the demo estate is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from restore_drill.controls import words
from restore_drill.controls.model import Cadence, Framework, Requirement
from restore_drill.controls.records import Records
from restore_drill.controls.tally import JUDGED, Copy, Last, Standing, Tally, stamp

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class SupportEvidence:
    """One kind of evidence in the period.

    Attributes:
        case: Whether it is looked for in each drill; else it is a property of the records as a whole.
        drills: How many drills came to a verdict on it.
        copies: Of how many copies.
        words: What there is of it, in a few words.
    """

    evidence: str
    how: str
    case: bool
    drills: int
    passed: int
    failed: int
    excepted: int
    unverified: int
    copies: int
    last: str | None
    words: str


@dataclass(frozen=True, slots=True)
class CadenceEvidence:
    """Whether tests followed each other as closely as a framework states, copy by copy.

    Attributes:
        not_due_yet: Copies too new to have needed a test.
    """

    words: str
    days: int
    of: str
    met: tuple[str, ...]
    not_met: tuple[dict[str, Any], ...]
    not_due_yet: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequirementEvidence:
    """One requirement and the period's evidence of it.

    Attributes:
        state: See :func:`restore_drill.controls.words.state`.
        drills: Tests that the drills of the period made, whatever they found.
        last: The end of the last one.
        in_scope: Copies that the catalogue had at some time in the period.
        with_evidence: Of how many of them there is any.
        without: Those of which there is none.
        failing: Copies whose last test failed; ``excepted`` and ``unverified`` alike.
    """

    framework: Framework
    requirement: Requirement
    state: str
    summary: str
    drills: int
    last: str | None
    in_scope: int
    with_evidence: int
    without: tuple[str, ...]
    failing: tuple[dict[str, Any], ...]
    excepted: tuple[dict[str, Any], ...]
    unverified: tuple[dict[str, Any], ...]
    supports: tuple[SupportEvidence, ...]
    cadence: CadenceEvidence | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        """As JSON and templates have it."""
        requirement = self.requirement
        return {
            **self.framework.as_dict(),
            "requirement": requirement.id,
            "title": requirement.title,
            "asks": requirement.asks,
            "asks_also": list(requirement.asks_also),
            "state": self.state,
            "summary": self.summary,
            "drills": self.drills,
            "last": self.last,
            "copies": {"in_scope": self.in_scope, "with_evidence": self.with_evidence},
            "without": list(self.without),
            "failing": list(self.failing),
            "excepted": list(self.excepted),
            "unverified": list(self.unverified),
            "supports": [_fields(each) for each in self.supports],
            "cadence": _fields(self.cadence) if self.cadence else None,
        }


class Assessing:
    """Takes the documents of a ledger one by one, and says in the end what they are evidence of.

    Args:
        frameworks: From :func:`restore_drill.controls.loading.load_frameworks`.
        since: Begin of the period; ``None`` is the first document.
        until: Its end.
        estate: Documents of another estate than this one (``user`` or ``demo``) do not count.
    """

    def __init__(
        self, frameworks: Sequence[Framework], *, since: datetime | None = None, until: datetime, estate: str = "user"
    ) -> None:
        self._tally = Tally(frameworks, since, until, estate)

    def take(self, document: Mapping[str, Any]) -> None:
        """One document, in the order of the ledger; those before the period tell how long a test was waited for."""
        self._tally.take(document)

    def result(
        self, *, population: Any = None, reviews: Iterable[Mapping[str, Any]] = (), ledger: Any = None
    ) -> list[RequirementEvidence]:
        """The evidence of each requirement.

        Args:
            population: The period's ``Population``; ``None``: not reckoned.
            reviews: The reviews that the ledger holds.
            ledger: What verifying the ledger found; ``None``: it was not verified.
        """
        tally = self._tally
        if population is not None:
            tally.know(population)
        records = Records(tally, population, reviews, ledger)
        scope = tally.in_scope()
        found = []
        number = 0
        for framework in tally.frameworks:
            for requirement in framework.requirements:
                found.append(_evidence(tally, records, scope, number, framework, requirement))
                number += 1
        return found


def assess(
    frameworks: Sequence[Framework],
    documents: Iterable[Mapping[str, Any]],
    *,
    population: Any = None,
    reviews: Iterable[Mapping[str, Any]] = (),
    ledger: Any = None,
    since: datetime | None = None,
    until: datetime,
    estate: str = "user",
) -> list[RequirementEvidence]:
    """What documents are evidence of; see :class:`Assessing`."""
    assessing = Assessing(frameworks, since=since, until=until, estate=estate)
    for document in documents:
        assessing.take(document)
    return assessing.result(population=population, reviews=reviews, ledger=ledger)


def _evidence(
    tally: Tally, records: Records, scope: Sequence[Copy], number: int, framework: Framework, requirement: Requirement
) -> RequirementEvidence:
    standings = {copy: tally.standings[number].get(copy, Standing()) for copy in scope}
    across = {copy: _across(tally, requirement, copy) for copy in scope}
    tested = {
        copy for copy in scope
        if standings[copy].tests or (not requirement.tested_by and across[copy].verdict in JUDGED)
    }  # fmt: skip
    lasts = {copy: standings[copy].last.worse(across[copy]) for copy in scope if standings[copy].last.verdict}
    lasts |= {copy: across[copy] for copy in tested if copy not in lasts}
    of_copies = requirement.speaks_of_copies
    supports = tuple(
        _of_copies(tally, each.evidence, each.how)
        if each.is_of_copies
        else _of_records(records, each.evidence, each.how)
        for each in requirement.supports
    )
    failing, excepted, unverified = (_named(lasts, verdict) for verdict in ("failed", "excepted", "error"))
    cadence = _cadence(tally, requirement.cadence, standings) if requirement.cadence else None
    state = words.state(
        of_copies=of_copies,
        in_scope=len(scope),
        tested=len(tested),
        failing=len(failing),
        records=any(records.present(each.evidence) for each in requirement.supports if not each.is_of_copies),
    )
    last = max((standing.last_test for standing in standings.values() if standing.tests), default=None)
    return RequirementEvidence(
        framework=framework,
        requirement=requirement,
        state=state,
        summary=words.summary(
            requirement, state, len(scope), len(tested), tally.drills[number], len(failing), cadence, tally.foreign
        ),
        drills=tally.drills[number],
        last=None if last is None else stamp(last),
        in_scope=len(scope),
        with_evidence=len(tested),
        without=tuple(_name(copy) for copy in scope if copy not in tested) if of_copies else (),
        failing=failing,
        excepted=excepted,
        unverified=unverified,
        supports=supports,
        cadence=cadence,
    )


def _across(tally: Tally, requirement: Requirement, copy: Copy) -> Last:
    """The worst of what the cases about all copies of its target last came to."""
    found = Last()
    for name in requirement.of_copies:
        if each := tally.across.get((copy[0], name)):
            found = found.worse(each)
    return found


def _named(lasts: Mapping[Copy, Last], verdict: str) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"copy": _name(copy), "case": last.case, "run": last.run, "finished": stamp(last.at)}
        for copy, last in sorted(lasts.items())
        if last.verdict == verdict
    )


def _of_copies(tally: Tally, evidence: str, how: str) -> SupportEvidence:
    counts = tally.evidence.get(evidence)
    verdicts = counts.verdicts if counts else {}
    drills, copies = (counts.drills, len(counts.copies)) if counts else (0, 0)
    return SupportEvidence(
        evidence=evidence,
        how=how,
        case=True,
        drills=drills,
        passed=verdicts.get("passed", 0),
        failed=verdicts.get("failed", 0),
        excepted=verdicts.get("excepted", 0),
        unverified=verdicts.get("error", 0),
        copies=copies,
        last=stamp(counts.last) if counts else None,
        words=words.counted(drills, copies, verdicts),
    )


def _of_records(records: Records, evidence: str, how: str) -> SupportEvidence:
    return SupportEvidence(
        evidence=evidence, how=how, case=False, drills=0, passed=0, failed=0, excepted=0, unverified=0, copies=0,
        last=None, words=records.words(evidence),
    )  # fmt: skip


def _cadence(tally: Tally, cadence: Cadence, standings: Mapping[Copy, Standing]) -> CadenceEvidence:
    met: list[str] = []
    not_met: list[dict[str, Any]] = []
    new: list[str] = []
    for copy, standing in standings.items():
        gone = tally.members[copy].gone
        end = tally.until if gone is None else min(tally.until, gone)
        longest = max(standing.longest, tally.since_last(copy, standing.last_test, end))
        if longest > cadence.days * _DAY:
            not_met.append(
                {"copy": _name(copy), "longest_days": round(longest / _DAY, 1), "last": stamp(standing.last_test)}
            )
        elif stamp(standing.last_test) is None:
            new.append(_name(copy))
        else:
            met.append(_name(copy))
    return CadenceEvidence(cadence.words, cadence.days, cadence.of, tuple(met), tuple(not_met), tuple(new))


def _name(copy: Copy) -> str:
    return f"{copy[0]}/{copy[1]}"


def _fields(value: SupportEvidence | CadenceEvidence) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in value.__slots__}
    return {name: list(each) if isinstance(each, tuple) else each for name, each in found.items()}
