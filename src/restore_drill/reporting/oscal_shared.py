"""What the results of an OSCAL document share: the runs, what they are evidence of, and how cases are put."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from restore_drill.controls.model import Framework, Requirement
from restore_drill.controls.tally import outcome_of
from restore_drill.reporting.oscal_parts import prop, uid

WORDS = {"passed": "passed", "failed": "failed", "error": "could not be verified", "excepted": "failed, excepted"}
FAILED = ("failed", "excepted")
TOOL = uid("tool", "restore-drill")
ORIGINS = [{"actors": [{"type": "tool", "actor-uuid": TOOL}]}]


@dataclass
class Run:
    """A run and what the ledger says of it.

    Attributes:
        document: Its evidence.
        recorded: Properties of its entry in the ledger; none when there is no ledger.
    """

    document: Mapping[str, Any]
    recorded: Mapping[str, object] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.document["run"]["id"])


class Shared:
    """What the results of a document share: what drills are evidence of, and what was defined once.

    Args:
        frameworks: Whose requirements observations name.
        identified: The requirements that have an id in NIST's OSCAL catalogue: of these there may be findings.
    """

    def __init__(self, frameworks: Sequence[Framework], identified: Sequence[Requirement]) -> None:
        self._frameworks = frameworks
        self.identified = identified
        self._defined: set[str] = set()
        self._known: dict[frozenset[tuple[str, str]], tuple[list[dict[str, str]], frozenset[str]]] = {}

    def first(self, parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that no result before defined: no identifier may be defined twice in a document."""
        new = {part["uuid"]: part for part in parts if part["uuid"] not in self._defined}
        self._defined |= new.keys()
        return list(new.values())

    def supported(self, verdicts: Mapping[str, str]) -> list[dict[str, str]]:
        """The requirements whose test this was, whatever it found."""
        return self._of(verdicts)[0]

    def contradicted(self, verdicts: Mapping[str, str]) -> frozenset[str]:
        """The OSCAL ids of those whose test failed."""
        return self._of(verdicts)[1]

    def _of(self, verdicts: Mapping[str, str]) -> tuple[list[dict[str, str]], frozenset[str]]:
        pattern = frozenset(verdicts.items())
        if pattern not in self._known:
            failed = (each.oscal for each in self.identified if outcome_of(each, verdicts).verdict in FAILED)
            self._known[pattern] = ([prop("supports", text) for text in self._tested(verdicts)], frozenset(failed))
        return self._known[pattern]

    def _tested(self, verdicts: Mapping[str, str]) -> Iterator[str]:
        for framework in self._frameworks:
            names = [each.id for each in framework.requirements if outcome_of(each, verdicts).tested]
            if names:
                yield f"{framework.id}: {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class Observed:
    """An observation, the risk that it shows, and the verdicts by evidence: none of a drill that was not whole."""

    observation: dict[str, Any]
    risk: dict[str, Any]
    verdicts: Mapping[str, str]


def said(case: Mapping[str, Any]) -> str:
    """The verdict, and what the case said."""
    return f"{WORDS[case['verdict']]}{': ' + case['message'] if case.get('message') else ''}"


def causes(cases: Iterable[Mapping[str, Any]], *verdicts: str) -> list[Mapping[str, Any]]:
    """Cases that bear a cause: what another one blocked repeats it only."""
    return [case for case in cases if case["verdict"] in verdicts and not case.get("blocked_by")]


def case_name(case: Mapping[str, Any]) -> str:
    """The case with its detail."""
    return f"{case['case']}({case['detail']})" if case.get("detail") else str(case["case"])
