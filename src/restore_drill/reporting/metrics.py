"""``metrics.prom``: what a run found, in Prometheus' text format (0.0.4), for node_exporter's textfile collector.

A copy that this run did not drill keeps the values of its last drill, so that no series of a pipeline that drills one
tier a night breaks. Values that are not known are left out, never written as 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from restore_drill.printable import printable
from restore_drill.reporting.page import LedgerState
from restore_drill.reporting.words import moment
from restore_drill.sampling import is_of_newest

if TYPE_CHECKING:
    from restore_drill.policy.population import Population, Recent, Standing

PREFIX = "restore_drill"
VERDICTS = ("passed", "failed", "error", "excepted")
EXCEPTION_STATES = ("in force", "stale", "expired", "not exercised")
Document = Mapping[str, Any]
Labels = Mapping[str, str]
#: Every metric: its name without the prefix, and what it says. All are gauges.
METRICS: Mapping[str, str] = {
    "build_info": "Version of restore-drill that wrote this; always 1.",
    "run_timestamp_seconds": "When the last run ended.",
    "run_verdict": "1 for the last run's verdict, 0 for the others.",
    "run_cases": "Cases of the last run by verdict.",
    "run_problems": "What went wrong with the last run itself, apart from any backup.",
    "copy_info": "What is drilled: engine, owner and store of a target's copy; always 1.",
    "verdict": "1 for the verdict of a copy's last drill, 0 for the others.",
    "last_drill_timestamp_seconds": "When the last drill of a copy ended.",
    "last_good_timestamp_seconds": "When a whole drill of a copy last passed; absent before the first.",
    "due_timestamp_seconds": "By when a copy is to be drilled again.",
    "overdue": "1 when a copy's drill is overdue.",
    "snapshot_timestamp_seconds": "When the drilled snapshot was taken.",
    "rpo_achieved_seconds": "Age of the newest snapshot when it was drilled.",
    "rpo_objective_seconds": "Age that the tier or the target allows.",
    "rto_achieved_seconds": "Time to be back: first byte fetched to first query answered or last file written.",
    "rto_objective_seconds": "Time that the tier or the target allows.",
    "restore_seconds": "Seconds of the stage restore alone.",
    "stored_bytes": "Size of the drilled snapshot as it is stored.",
    "content_bytes": "Its size when decrypted and decompressed.",
    "rows": "Rows that were counted, all tables together.",
    "older_snapshots": "Older snapshots of a copy that were listed when a run last drew from them.",
    "older_snapshots_drilled": "How many of these any whole drill came to a verdict about.",
    "older_snapshots_failed": "How many of these failed their last drill and are still kept.",
    "exceptions": "Approved exceptions of the catalogue by state.",
    "ledger_sequence": "Sequence of the ledger's last entry.",
    "ledger_signed": "1 when that entry is signed.",
    "alerts_undelivered": "Alert channels that refused the last run's news after all retries.",
}


@dataclass
class _Page:
    """Samples by metric; all of a metric stand together, whatever the order in which they are found."""

    samples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, metric: str, value: float | None, labels: Labels | None = None) -> None:
        """One sample; what is not known, or no number, is none."""
        if value is not None and math.isfinite(value):
            name = f"{PREFIX}_{metric}"
            self.samples.setdefault(metric, []).append(f"{name}{_labels(labels or {})} {_number(value)}")

    def states(self, metric: str, label: str, states: Iterable[str], found: str, labels: Labels | None = None) -> None:
        """A sample for each state, 1 for the one that was found."""
        for state in states:
            self.add(metric, int(state == found), {**(labels or {}), label: state})

    def lines(self) -> Iterator[str]:
        """The page."""
        for metric, says in METRICS.items():
            if metric in self.samples:
                yield f"# HELP {PREFIX}_{metric} {says}"
                yield f"# TYPE {PREFIX}_{metric} gauge"
                yield from self.samples[metric]


def render(
    document: Document,
    *,
    population: Population | None = None,
    ledger: LedgerState | None = None,
    undelivered: int | None = None,
) -> str:
    """The metrics of a run and of the whole catalogue.

    Args:
        document: The run's evidence.
        population: What the ledger knows of all copies up to this run; without it there are only objectives of copies
            that the run did not drill.
        ledger: What the ledger says of the run's entry.
        undelivered: Alert channels that could not be reached; ``None`` where there are none to reach.
    """
    page = _Page()
    _run(page, document)
    run = str(document["run"]["id"])
    known = population.standings if population is not None else {}
    drills = {(str(drill["target"]), str(drill["copy"])): drill for drill in document.get("drills", ())}
    samples = dict(population.samples) if population is not None else {}
    samples |= {(each["target"], each["copy"]): each for each in document.get("samples", ()) if not each.get("problem")}
    for member in document.get("population", ()):
        for copy in member["copies"]:
            key = (str(member["target"]), str(copy["copy"]))
            _copy(page, member, copy, known.get(key), drills.get(key), run)
            _older(page, {"target": key[0], "copy": key[1], "tier": str(member["tier"])}, samples.get(key))
    states = [str(each.get("state", "not exercised")) for each in document.get("exceptions", ())]
    for state in EXCEPTION_STATES:
        page.add("exceptions", states.count(state), {"state": state})
    if ledger is not None and ledger.sequence is not None:
        page.add("ledger_sequence", ledger.sequence)
        page.add("ledger_signed", int(bool(ledger.key_id)))
    page.add("alerts_undelivered", undelivered)
    return "\n".join(page.lines()) + "\n"


def _run(page: _Page, document: Document) -> None:
    run = document["run"]
    page.add("build_info", 1, {"version": str(run.get("tools", {}).get("restore-drill", ""))})
    page.add("run_timestamp_seconds", moment(run.get("finished")))
    page.states("run_verdict", "verdict", VERDICTS, document["verdict"])
    for verdict in VERDICTS:
        page.add("run_cases", document.get("counts", {}).get(verdict, 0), {"verdict": verdict})
    page.add("run_problems", len(document.get("problems", ())) + len(document.get("not_run", ())))


def _copy(
    page: _Page, member: Document, copy: Document, standing: Standing | None, drill: Document | None, run: str
) -> None:
    labels = {"target": str(member["target"]), "copy": str(copy["copy"]), "tier": str(member["tier"])}
    about = {"engine": member.get("engine"), "owner": member.get("owner"), "store": copy.get("store")}
    page.add("copy_info", 1, labels | {name: str(value or "") for name, value in about.items()})
    page.add("rpo_objective_seconds", member.get("rpo_seconds"), labels)
    page.add("rto_objective_seconds", member.get("rto_seconds"), labels)
    earlier = None
    if standing is not None:
        good = standing.last_good
        page.add("last_good_timestamp_seconds", good.finished if good else None, labels)
        page.add("due_timestamp_seconds", standing.due_by, labels)
        page.add("overdue", int(standing.overdue), labels)
        others = [each for each in reversed(standing.recent) if each.run != run]
        earlier = next((each for each in others if _counts(each.scope, each.verdict)), next(iter(others), None))
    if drill is not None and (earlier is None or _counts(_scope(drill), drill["verdict"])):
        _drilled(page, labels, drill)
    elif earlier is not None:
        _remembered(page, labels, earlier)


def _older(page: _Page, labels: Labels, sample: Document | None) -> None:
    """Of a copy whose older snapshots no run ever drew from nothing is said."""
    if sample is not None:
        page.add("older_snapshots", sample["population"], labels)
        page.add("older_snapshots_drilled", sample["drilled"], labels)
        page.add("older_snapshots_failed", len(sample["failed"]), labels)


def _scope(drill: Document) -> str:
    """A drill of a snapshot that somebody named proves nothing of the newest one."""
    return str(drill.get("scope", "")) if is_of_newest(drill) else "named"


def _counts(scope: str, verdict: str) -> bool:
    """Whether a drill says more of its copy than the one before: a part that is well does not undo what was not."""
    return scope == "whole" or verdict in ("failed", "error")


def _drilled(page: _Page, labels: Labels, drill: Document) -> None:
    achieved = drill.get("achieved") or {}
    fetch, restore = _facts(drill, "fetch"), _facts(drill, "restore")
    page.states("verdict", "verdict", VERDICTS, str(drill["verdict"]), labels)
    page.add("last_drill_timestamp_seconds", moment(drill.get("finished")), labels)
    page.add("snapshot_timestamp_seconds", moment((drill.get("snapshot") or {}).get("taken_at")), labels)
    page.add("rpo_achieved_seconds", achieved.get("rpo_seconds"), labels)
    page.add("rto_achieved_seconds", achieved.get("rto_seconds"), labels)
    page.add("restore_seconds", restore.get("seconds"), labels)
    page.add("stored_bytes", fetch.get("stored_bytes"), labels)
    page.add("content_bytes", fetch.get("content_bytes"), labels)
    page.add("rows", rows(drill), labels)


def _remembered(page: _Page, labels: Labels, last: Recent) -> None:
    """The same of an earlier drill, as far as the ledger's account keeps it."""
    page.states("verdict", "verdict", VERDICTS, last.verdict, labels)
    page.add("last_drill_timestamp_seconds", last.finished, labels)
    page.add("rpo_achieved_seconds", last.age_seconds, labels)
    page.add("rto_achieved_seconds", last.rto_seconds, labels)
    page.add("stored_bytes", last.stored_bytes, labels)
    page.add("rows", last.rows, labels)


def rows(drill: Document) -> int | None:
    """Rows of all tables that a drill counted, ``None`` where it counted none."""
    counts: dict[str, int] = {}
    for line in drill.get("stages", ()):
        if (line.get("check") or [""])[0] in ("structure", "rows"):
            counts |= (line.get("facts") or {}).get("counts") or {}
    return sum(counts.values()) if counts else None


def _facts(drill: Document, stage: str) -> Document:
    line = next((line for line in drill.get("stages", ()) if line.get("stage") == stage and line.get("facts")), None)
    return {} if line is None else {**line["facts"], "seconds": line.get("seconds")}


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return printable(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """Without an exponent, which is legal and read by nobody."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6f}".rstrip("0").rstrip(".")
