"""OSCAL assessment results (NIST, https://pages.nist.gov/OSCAL): runs and periods for tools that assessors use.

JSON of model version 1.1.3. Identifiers are made from what they name (UUID version 5), times are those of the records:
the same records give the same document, to the byte. :mod:`restore_drill.reporting.oscal_run` says what is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from restore_drill.controls.loading import built_in
from restore_drill.controls.model import Framework, Requirement
from restore_drill.evidence.record import encode
from restore_drill.ledger.statement import evidence_digest
from restore_drill.reporting.oscal_parts import line, parties, props, prose, responsible, uid, without_empty
from restore_drill.reporting.oscal_risks import close
from restore_drill.reporting.oscal_run import attestation, result, reviewed
from restore_drill.reporting.oscal_shared import ORIGINS, Run, Shared
from restore_drill.sampling import is_of_newest, place_of, sampled_of, settled

VERSION = "1.1.3"
#: Drills that were missed and are named; of more, the count.
_NAMED = 200


def render(entries: Iterable[Any], *, frameworks: Sequence[Framework], population: Any = None, title: str = "") -> str:
    """The document, as text.

    Args:
        entries: Entries of the ledger, runs and reviews, in order; or evidence documents where there is no ledger.
        frameworks: Whose requirements observations name.
        population: The reconciled population of the period, where a period is reported.
        title: Of the document.

    Raises:
        ValueError: There is no run.
    """
    gathered = _Gathered(frameworks)
    for entry in entries:
        gathered.take(entry)
    return gathered.text(population, title)


@dataclass
class _Told:
    """A result in text, and what later entries may still change: its risks are answered, it is reviewed."""

    text: str
    risks: list[dict[str, Any]]
    attestations: list[dict[str, Any]] = field(default_factory=list)

    def whole(self) -> str:
        late = without_empty({"risks": self.risks, "attestations": self.attestations})
        return f"{self.text[:-1]},{_text(late)[1:]}" if late else self.text


class _Gathered:
    """The results of runs as they come: of each only its text is kept, however many there are."""

    def __init__(self, frameworks: Sequence[Framework]) -> None:
        self._identified = oscal_controls(frameworks)
        self._shared = Shared(frameworks, self._identified)
        self._results: dict[str, _Told] = {}
        self._evidence: list[dict[str, Any]] = []
        self._failing: dict[str, list[dict[str, Any]]] = {}
        self._operators: set[str] = set()
        self._reviewers: set[str] = set()
        self._times: tuple[str, str] = ("", "")
        self._catalogue: dict[str, Any] = {}

    def take(self, entry: Any) -> None:
        """A run, or a review of one that was taken before."""
        if isinstance(entry, Mapping):
            self._run(Run(entry, {"evidence-sha256": evidence_digest(entry)}))
        elif entry.kind == "run":
            self._run(Run(entry.evidence, _recorded(entry)))
        elif told := self._results.get(str(entry.review.get("run", ""))):
            self._reviewers.add(str(entry.review.get("reviewer", "")))
            told.attestations.append(attestation(entry.review))

    def _run(self, run: Run) -> None:
        found = result(run, self._shared)
        risks = found.pop("risks", [])
        self._results[run.id] = _Told(_text(found), risks)
        self._evidence.append(_evidence(run))
        self._answer(run, {risk["title"].partition(":")[0]: risk for risk in risks})
        about = run.document["run"]
        self._operators.add(_operator(run))
        self._times = (
            min(self._times[0] or about["started"], about["started"]),
            max(self._times[1], about["finished"]),
        )
        self._catalogue = _catalogue(run)

    def _answer(self, run: Run, risks: Mapping[str, dict[str, Any]]) -> None:
        """What failed before is answered by a whole drill that passed, and by nothing else."""
        for place, verdict, at in _verdicts(run.document):
            if verdict == "passed":
                for risk in self._failing.pop(place, ()):
                    close(risk, at, run.id)
        parted = (place.partition("/") for place in self._failing if place not in risks)
        for key in settled(run.document.get("samples", ()), [(target, place) for target, _, place in parted]):
            for risk in self._failing.pop("/".join(key)):
                close(risk, run.document["run"]["finished"], run.id, "No longer kept at")
        for place, risk in risks.items():
            self._failing.setdefault(place, []).append(risk)

    def text(self, population: Any, title: str) -> str:
        """The document.

        Raises:
            ValueError: There is no run.
        """
        if not self._results:
            raise ValueError("assessment results need at least one run")
        results = [told.whole() for told in self._results.values()]
        if population is not None:
            key = (next(iter(self._results)), next(reversed(self._results)))
            results.append(_text(_period(key, self._times, population, self._identified)))
        plan = {
            "href": f"#{self._catalogue['uuid']}",
            "remarks": "There is no plan in OSCAL: what is drilled, and what must hold, is in the catalogue.",
        }
        parts = {
            "uuid": _text(uid("document", title, *self._results)),
            "metadata": _text(self._metadata(title)),
            "import-ap": _text(plan),
            "results": f"[{','.join(results)}]",
            "back-matter": _text({"resources": [self._catalogue, *self._evidence]}),
        }
        members = ",".join(f'"{name}":{part}' for name, part in parts.items())
        return f'{{"assessment-results":{{{members}}}}}\n'

    def _metadata(self, title: str) -> dict[str, Any]:
        runs, last = len(self._results), next(reversed(self._results))
        operators, reviewers = self._operators, self._reviewers
        roles = [{"id": "operator", "title": "Who ran the drills"}]
        roles += [{"id": "reviewer", "title": "Who reviewed a run"}] if reviewers else []
        default = f"Restore drills: run {last}" if runs == 1 else f"Restore drills: {runs} runs"
        return {
            "title": line(title or default),
            "last-modified": self._times[1],
            "version": line(last),
            "oscal-version": VERSION,
            "roles": roles,
            "parties": [*parties(operators, "operator"), *parties(reviewers, "reviewer")],
            "responsible-parties": [*responsible(operators, "operator"), *responsible(reviewers, "reviewer")],
        }


def _text(part: Any) -> str:
    return encode(part, (",", ":"))


def oscal_controls(frameworks: Sequence[Framework]) -> list[Requirement]:
    """The requirements that have an id in NIST's own catalogue; the built-in ones where none was asked for."""
    for choice in (frameworks, built_in()):
        found = [each for framework in choice for each in framework.requirements if each.oscal]
        if found:
            return sorted(found, key=lambda each: each.oscal)
    return []


def _recorded(entry: Any) -> dict[str, object]:
    return {
        "evidence-sha256": evidence_digest(entry.evidence),
        "ledger": entry.ledger,
        "ledger-entry": entry.sequence,
        "ledger-entry-sha256": entry.digest,
        "ledger-key": entry.key_id or "unsigned",
    }


def _verdicts(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What whole drills of newest and of sampled snapshots, and cases about all copies of a target, came to.

    Others answer nothing.
    """
    for drill in document["drills"]:
        counts = is_of_newest(drill) or sampled_of(drill) is not None
        if drill["scope"] == "whole" and drill.get("depth", "full") == "full" and counts:
            yield (
                f"{drill['target']}/{place_of(drill)}",
                drill["verdict"],
                drill.get("finished", document["run"]["finished"]),
            )
    for target in document["targets"]:
        verdicts = {case["verdict"] for case in target["cases"]}
        worst = next((each for each in ("failed", "error", "excepted", "passed") if each in verdicts), "error")
        yield target["target"], worst, document["run"]["finished"]


def _operator(run: Run) -> str:
    operator = run.document["run"]["operator"]
    return f"{operator['user']} on {operator['host']}"


def _catalogue(run: Run) -> dict[str, Any]:
    """What stands in the place of an assessment plan."""
    catalogue = run.document["catalogue"]
    return {
        "uuid": uid("catalogue", catalogue["path"], catalogue["sha256"]),
        "title": "Catalogue of backups",
        "description": "What is backed up, its objectives, and what must hold of what is restored. "
        "The digest is over the file and what it includes.",
        "props": props({"catalogue-path": catalogue["path"], "catalogue-sha256": catalogue["sha256"]}),
    }


def _evidence(run: Run) -> dict[str, Any]:
    return {
        "uuid": uid("evidence", run.id),
        "title": f"Evidence of the run {line(run.id)}",
        "description": "The digest is that of the document in its canonical form, one line of JSON without spaces "
        "and a newline, as jq -ca writes it: it is what the ledger signs.",
        "props": props(run.recorded),
        "rlinks": [{"href": f"{run.id}/evidence.json", "media-type": "application/json"}],
    }


def _period(
    key: tuple[str, str], times: tuple[str, str], population: Any, controls: Sequence[Requirement]
) -> dict[str, Any]:
    """What was due and what became of it: an observation made by reading the records."""
    totals = population.totals
    outcomes = ("ran", "failed", "could_not_verify", "missed", "excepted")
    missed = [f"{each.target}/{each.copy}" for each in population.occasions if each.outcome == "missed"]
    named = f" Missed: {', '.join(missed[:_NAMED])}{', ...' if len(missed) > _NAMED else ''}." if missed else ""
    counted = ", ".join(f"{getattr(totals, name)} {name.replace('_', ' ')}" for name in outcomes)
    observation = {
        "uuid": uid("observation", "population", *key),
        "title": "Drills that were due",
        "description": prose(f"{totals.due} drills were due by the calendars of all copies: {counted}.{named}"),
        "props": props({"due": totals.due, **{name.replace("_", "-"): getattr(totals, name) for name in outcomes}}),
        "methods": ["EXAMINE"],
        "types": ["control-objective"],
        "origins": ORIGINS,
        "collected": times[1],
    }
    return without_empty(
        {
            "uuid": uid("result", "population", *key),
            "title": "The population",
            "description": "Every copy of every target of the catalogue, whether it was drilled or not.",
            "start": times[0],
            "end": times[1],
            "reviewed-controls": reviewed(controls),
            "observations": [observation],
        }
    )
