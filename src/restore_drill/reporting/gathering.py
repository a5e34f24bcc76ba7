"""What a report of many runs keeps of each, in one pass: bounded by the number of copies, not by that of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from restore_drill.reporting.model import Document, Key
from restore_drill.reporting.words import GONE, moment
from restore_drill.reporting.words import verdict as known_verdict
from restore_drill.sampling import is_of_newest, place_of, sampled_of, settled

_BAD = ("failed", "error")
#: So many runs that went wrong, failures and changes of the catalogue are listed one by one; the rest are counted.
LISTED = 1000


@dataclass
class Failure:
    """Drills of one copy that failed or could not be verified, one after the other, and what answered them.

    Attributes:
        copy: ``""`` for a rule about all copies of the target.
        first: When the first of them ended (seconds since the epoch); ``last`` the last.
        answered: The end, the run and the verdict of the whole drill of the newest snapshot that was good after them.
    """

    target: str
    copy: str
    verdict: str
    case: str
    said: str
    run: str
    first: float
    last: float
    drills: int = 1
    answered: tuple[float, str, str] | None = None


@dataclass
class Worst:
    """The worst that a copy reached in the period, of RPO or RTO; ``asked`` when a whole drill judges it at all."""

    reached: float | None = None
    wanted: float | None = None
    failed: int = 0
    asked: bool = True

    def take(self, reached: float | None, wanted: float | None, verdict: str | None) -> None:
        """One more drill, and what the case came to that judges it."""
        failed = verdict in ("failed", "excepted")
        self.failed += failed
        if reached is None or not wanted or not (failed or verdict == "passed"):
            return
        if self.reached is None or reached / wanted > self.share:
            self.reached, self.wanted = reached, wanted

    @property
    def share(self) -> float:
        """What was reached as a share of what is allowed."""
        return (self.reached or 0.0) / (self.wanted or 1.0)


@dataclass
class Gathering:
    """Documents in the ledger's order, as far as a period's report shows them.

    Args:
        since: Beginning of the period (seconds since the epoch), ``None``: from the first document on.
        until: Its end.
    """

    since: float | None
    until: float
    runs: Counter[str] = field(default_factory=Counter)
    estates: set[str] = field(default_factory=set)
    operators: Counter[str] = field(default_factory=Counter)
    versions: set[str] = field(default_factory=set)
    catalogues: dict[str, float] = field(default_factory=dict)
    broken: list[tuple[str, float | None, str, str]] = field(default_factory=list)
    broken_beyond: int = 0
    failures: list[Failure] = field(default_factory=list)
    exceptions: dict[str, Document] = field(default_factory=dict)
    last: dict[Key, Document] = field(default_factory=dict)
    across: dict[str, Document] = field(default_factory=dict)
    worst: dict[tuple[str, str, str], Worst] = field(default_factory=dict)
    listing: tuple[Document, ...] = ()
    first_at: float | None = None
    last_at: float | None = None
    _open: dict[Key, Failure] = field(default_factory=dict)

    def watch(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Pass documents on to another reader, and take each on its way."""
        for document in documents:
            self.take(document)
            yield document

    def take(self, document: Document) -> None:
        """One more document."""
        ended = moment(document["run"].get("finished")) or 0.0
        if ended >= self.until or not self._is_of_interest(str(document["run"].get("estate", "user"))):
            return
        self.listing = tuple(document.get("population", ())) or self.listing
        self.estates.add(str(document["run"].get("estate", "user")))
        within = self.since is None or ended >= self.since
        if within:
            self._take_run(document, ended)
        for drill in document.get("drills", ()):
            self._take_drill(document["run"], drill, moment(drill.get("finished")) or ended, within)
        bad = {(each["target"], place_of(each)) for each in document.get("drills", ()) if each["verdict"] in _BAD}
        for key in settled(document.get("samples", ()), self._open.keys() - bad):
            self._open.pop(key).answered = (ended, str(document["run"]["id"]), GONE)
        for each in document.get("targets", ()):
            self.across[each["target"]] = each
            for case in each["cases"]:
                if not case.get("blocked_by"):
                    part, verdict = {"target": each["target"], "cases": [case]}, known_verdict(case["verdict"])
                    self._follow((each["target"], f"\0{case['case']}"), document["run"], part, verdict, ended, within)

    def _is_of_interest(self, estate: str) -> bool:
        """Runs of the demo are left aside as soon as there is any other, as the population does."""
        if estate != "demo" and self.estates == {"demo"}:
            for name, fresh in vars(Gathering(self.since, self.until)).items():
                setattr(self, name, fresh)
        return estate != "demo" or "user" not in self.estates

    def _take_run(self, document: Document, ended: float) -> None:
        run = document["run"]
        self.first_at = ended if self.first_at is None else self.first_at
        self.last_at = ended
        self.runs[str(run.get("ended", "complete"))] += 1
        operator = run.get("operator") or {}
        self.operators[f"{operator.get('user', '?')} on {operator.get('host', '?')}"] += 1
        self.versions.add(str((run.get("tools") or {}).get("restore-drill", "not known")))
        digest = str((document.get("catalogue") or {}).get("sha256", ""))
        if len(self.catalogues) < LISTED:
            self.catalogues.setdefault(digest, ended)
        if run.get("ended", "complete") != "complete" or document.get("problems"):
            what = "; ".join(map(str, document.get("problems", ()))) or "it did not end by itself"
            if len(self.broken) < LISTED:
                self.broken.append((str(run["id"]), ended, str(run.get("ended", "complete")), what))
            else:
                self.broken_beyond += 1
        for each in document.get("exceptions", ()):
            known = self.exceptions.get(str(each["id"]), each)
            looked = each.get("state") != "not exercised"  # else as the run before saw it
            self.exceptions[str(each["id"])] = each if looked else {**each, "state": known.get("state")}

    def _take_drill(self, run: Document, drill: Document, ended: float, within: bool) -> None:
        # A slot drills another snapshot each time: what failed is answered by a drill of the same one.
        key = (drill["target"], place_of(drill))
        verdict = known_verdict(drill["verdict"])
        newest = is_of_newest(drill)
        counts = drill.get("scope") == "whole" and (newest or sampled_of(drill) is not None)
        if counts or verdict in _BAD or key not in self.last:  # a part that is well does not undo what was not
            self.last[key] = drill
        self._follow(key, run, drill, verdict, ended, within, counts=counts)
        if within and newest:
            self._measure(key, drill)

    def _follow(
        self, key: Key, run: Document, part: Document, verdict: str, ended: float, within: bool, *, counts: bool = True
    ) -> None:
        """A failure begins, goes on, or is answered, if this ``counts``: of a copy, or of a rule about all copies."""
        known = self._open.get(key)
        if verdict in _BAD:
            if known:
                known.last, known.drills = ended, known.drills + 1
                if within and known not in self.failures[-1:] and known.first < (self.since or 0):
                    self._list(known)
            else:
                self._open[key] = failure = _failure(run, part, verdict, ended)
                if within:
                    self._list(failure)
        elif known and counts:
            known.answered = (ended, str(run["id"]), verdict)
            del self._open[key]

    def _list(self, failure: Failure) -> None:
        if not any(each is failure for each in self.failures[-LISTED:]):
            self.failures.append(failure)

    def _measure(self, key: Key, drill: Document) -> None:
        achieved, wanted = drill.get("achieved") or {}, drill.get("objectives") or {}
        judged = {case["case"]: case["verdict"] for case in drill.get("cases", ())}
        for which in ("rpo", "rto"):
            name = f"{which}_seconds"
            worst = self.worst.setdefault((*key, which), Worst())
            worst.asked = which in judged or drill.get("scope") != "whole"
            worst.take(achieved.get(name), wanted.get(name), judged.get(which))

    def latest(self) -> dict[str, Any]:
        """The state at the period's end as one document: the last drill of each copy of today's catalogue."""
        there = {(each["target"], copy["copy"]) for each in self.listing for copy in each.get("copies", ())}
        drills = [drill for key, drill in self.last.items() if key in there or not there]
        names = {target for target, _ in there}
        return {
            "run": {"id": "", "finished": None, "ended": "complete"},
            "verdict": "passed",
            "population": list(self.listing),
            "drills": drills,
            "targets": [each for name, each in self.across.items() if name in names or not names],
            "exceptions": list(self.exceptions.values()),
        }


def _failure(run: Document, part: Document, verdict: str, ended: float) -> Failure:
    cases = part.get("cases", ())
    bad = [case for case in cases if case["verdict"] in _BAD]
    told = next((case for case in bad if not case.get("blocked_by")), bad[0] if bad else {})
    name = f"{told.get('case', '')} {told.get('detail', '')}".strip()
    said = str(told.get("message", ""))
    return Failure(part["target"], part.get("copy", ""), verdict, name, said, str(run["id"]), ended, ended)
