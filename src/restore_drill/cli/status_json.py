"""What ``restore-drill status --json`` writes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from restore_drill.cli.status_text import exceptions, headline, name
from restore_drill.printable import printable_values
from restore_drill.quantities import as_instant

if TYPE_CHECKING:
    from restore_drill.cli.status import Status
    from restore_drill.policy.population import Standing

_FOR_PEOPLE = ("hint", "colour")


def as_json(status: Status) -> dict[str, Any]:
    """The same as plain values; times as ISO 8601, everything else in seconds and bytes."""
    whole, tiers = status.sums
    population = status.population
    found = {
        "now": _stamp(population.now),
        "exit_status": status.exit_status,
        "verdict": headline(status)[0],
        "problems": status.problems,
        "copies": [_copy_as_json(each) for each in status.copies],
        "older_snapshots": [{**each, "seen": _stamp(each["seen"])} for each in status.samples],
        "across": [{**dataclasses.asdict(each), "since": _stamp(each.since)} for each in status.across],
        "not_in_catalogue": [name(each) for each in status.others],
        "left_catalogue": [
            {"target": each.target, "copy": each.copy, "at": _stamp(each.retired),
             "failing_since": _stamp(each.failing_since), "unverified_since": _stamp(each.unverified_since)}
            for each in status.left
        ],
        "period": {
            "title": status.span.title,
            "since": _stamp(status.span.since),
            "until": _stamp(status.span.until),
            **dataclasses.asdict(whole),
            "tiers": {tier: dataclasses.asdict(totals) for tier, totals in tiers.items()},
            "not_passed": [
                {"target": each.target, "copy": each.copy, "from": _stamp(each.start), "by": _stamp(each.by),
                 "outcome": each.outcome, "run": each.run, "superseded": list(each.superseded)}
                for each in population.occasions
                if each.outcome != "passed" and status.target in ("", each.target)
            ],
            "runs": population.runs,
        },
        "exceptions": [
            {key: _stamp(value) if key == "seen" else value for key, value in each.items() if key not in _FOR_PEOPLE}
            for each in exceptions(status)
        ],
        "ledger": {"where": status.where, "entries": status.entries, "unsigned": status.unsigned,
                   "last_run": status.last_run, "demo_runs_left_aside": population.of_demo},
    }  # fmt: skip
    if status.uncovered is not None:
        found["uncovered"] = [_store_as_json(each) for each in status.uncovered]
    plain: dict[str, Any] = printable_values(found)
    return plain


def _copy_as_json(each: Standing) -> dict[str, Any]:
    last, good = each.last, each.last_good
    return {
        "target": each.target, "copy": each.copy, "tier": each.tier, "owner": each.owner, "store": each.store,
        "state": each.state, "overdue": each.overdue, "due_by": _stamp(each.due_by),
        "first_seen": _stamp(each.first_seen), "drill_every_seconds": each.drill_every_seconds,
        "last": last and {**dataclasses.asdict(last), "finished": _stamp(last.finished)},
        "last_whole": _stamp(each.last_whole),
        "last_good": good and {**dataclasses.asdict(good), "finished": _stamp(good.finished),
                               "taken_at": _stamp(good.taken_at)},
        "failing_since": _stamp(each.failing_since), "unverified_since": _stamp(each.unverified_since),
        "case": each.failing_case, "message": each.message,
        "recent": [{**dataclasses.asdict(drill), "finished": _stamp(drill.finished)} for drill in each.recent],
    }  # fmt: skip


def _store_as_json(store: Any) -> dict[str, Any]:
    groups = [{**dataclasses.asdict(each), "modified": _stamp(each.modified)} for each in store.groups]
    return {**dataclasses.asdict(store), "groups": groups}


def _stamp(moment: float | None) -> str | None:
    return None if moment is None else as_instant(moment)
