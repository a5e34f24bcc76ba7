"""One drill in the document: what, why this snapshot, when, where, how deep, what was achieved, and what was not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from restore_drill.evidence import limits, rehearsed
from restore_drill.evidence.account import DrillAccount, Recorded
from restore_drill.evidence.catalogued import objectives
from restore_drill.evidence.isolation import disposal, isolation
from restore_drill.evidence.moments import stamp
from restore_drill.model import Verdict
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.results import CaseResult
    from restore_drill.run import Run

#: What ``rto_seconds`` counts.
CLOCK = (
    "first byte fetched to first query answered or last file written; queueing, waiting for another drill and our own "
    "checks excluded"
)

#: Why a snapshot was drilled that had not been drawn.
PRUNED = "in place of one that was pruned meanwhile"

#: Cases that ask a restored system what an application would; the engine's own checks and a tree's files are less.
_QUESTIONS = ("rows", "query", "smoke", "check")


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known of a copy from before this run.

    Attributes:
        finished: When its last whole drill ended (seconds since the epoch), ``None`` when there was none.
        failed: Run, verdict and end of its last drill, when that failed or could not be verified.
    """

    finished: float | None = None
    failed: Mapping[str, str] | None = None


def drill(run: Run, account: DrillAccount, earlier: Earlier, host: str) -> dict[str, Any]:
    """One drill of one copy; what is not known is left out."""
    target = account.target
    found = {
        "target": target.name,
        "copy": account.copy,
        "store": target.planned_copy(account.copy).store_name,
        "tier": target.tier,
        "owner": target.model.owner,
        "engine": target.model.engine,
        "engine_version": engine_version(account),
        **times(account.lines),
        "due": _due(earlier, target.drill_every) if not account.slot else None,
        "retest_of": dict(earlier.failed) if earlier.failed else None,
        "why": _why(run, account),
        "objectives": objectives(target),
        "achieved": _of_older(achieved(account)) if account.slot else achieved(account),
        "scope": "whole" if account.whole else "partial",
        "depth": target.depth,
        "reached": reached(account),
        "verdict": account.verdict,
        "snapshot": snapshot(account),
        "keys": list(dict.fromkeys(keys(account, target.planned_copy(account.copy).decrypt))),
        "isolation": isolation(account, host),
        "disposal": disposal(account),
        "stages": account.measured,
        "cases": [case(result) for result in account.results],
        "runbook": rehearsed.runbook(account),
        "limits": [*limits.of(target, account.copy), *rehearsed.limits(account)],
    }
    always = ("achieved", "keys", "stages", "cases", "limits")
    return {name: value for name, value in found.items() if name in always or value not in (None, "", {})}


def case(result: CaseResult) -> dict[str, Any]:
    """What a case concluded; what a pass does not need is left out."""
    found = {
        "case": result.case.case,
        "detail": result.case.detail,
        "verdict": result.verdict,
        "expected": result.expected,
        "actual": result.actual,
        "tolerance": result.tolerance,
        "message": redact(result.message),
        "remedy": redact(result.remedy) if result.verdict is not Verdict.PASSED else "",
        "notes": result.notes,
        "exception": result.exception,
        "blocked_by": result.blocked_by,
    }
    return {name: value for name, value in found.items() if value not in ("", None, [])}


def engine_version(account: Recorded) -> str:
    """What brought it back, as it calls itself; ``""`` when it does not."""
    facts: Mapping[str, Any] = account.facts("restore").get("facts") or {}
    names = ("restored_by", "server", "version" if facts.get("kind") == "physical" else "", "sqlite")
    return next((str(facts[name]) for name in names if facts.get(name)), "")


def reached(account: Recorded) -> str:
    """How deep a drill came: the last depth at which it found things in order.

    ``metadata``: the snapshot was located. ``checksum``: its bytes were read and are what their digests say. ``full
    read``: they decode to their end. ``restore``: the engine brought them back. ``query``: the restored system was
    asked for rows, or a question of the catalogue's, and answered.
    """
    if not account.facts("locate").get("snapshot"):
        return "nothing"
    fetched = account.facts("fetch")
    broken = fetched.get("broken", {})
    if not fetched or {"fetch", "verify"} & broken.keys():
        return "metadata"
    if broken or fetched.get("unusable"):
        return "checksum"
    if "rto_seconds" not in account.facts("restore"):
        return "full read"
    return "query" if any(account.checked(*_QUESTIONS)) else "restore"


def times(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """When a drill began and ended, ``{}`` when it did not begin."""
    spans = [
        (at, at + timedelta(seconds=line.get("seconds", 0.0)))
        for line in lines
        if line.get("started") and (at := datetime.fromisoformat(line["started"]))
    ]
    if not spans:
        return {}
    started, ended = min(begin for begin, _ in spans), max(end for _, end in spans)
    return {
        "started": stamp(started),
        "finished": stamp(ended),
        "seconds": round((ended - started).total_seconds(), 3),
    }


def _due(earlier: Earlier, every: timedelta) -> dict[str, str] | None:
    if earlier.finished is None:
        return None
    return {"by": stamp(earlier.finished + every.total_seconds()), "previous": stamp(earlier.finished)}


def _why(run: Run, account: DrillAccount) -> dict[str, Any]:
    points = account.facts("locate").get("points")
    if account.slot:
        return _why_drawn(run.drawn(account.target.name, account.copy), account)
    rule = "named" if run.options.snapshot else "newest"
    return {"rule": rule, **({} if points is None else {"population": points}), "sample": 1, "seed": None}


def _why_drawn(entry: Mapping[str, Any], account: DrillAccount) -> dict[str, Any]:
    """Of how many older snapshots it was drawn, by which seed, and which claim it had."""
    found: dict[str, Any] = {"rule": "sampled", "of": account.of, "sample": len(entry.get("drawn", ()))}
    if entry and not entry.get("problem"):
        found |= {"population": entry["population"]}
        drawn = account.drawn(entry)
        found |= {"drawn": drawn["why"] if account.identity in ("", drawn["identity"]) else PRUNED}
    return {**found, "seed": entry.get("seed")}


def _of_older(found: dict[str, Any]) -> dict[str, Any]:
    """How old an older snapshot and its data are is no recovery point that was achieved."""
    return {name: value for name, value in found.items() if name not in ("rpo_seconds", "newest_record_age_seconds")}


def achieved(account: Recorded) -> dict[str, Any]:
    """The other side of the objectives: how old the snapshot and its data were when located, the time to be back."""
    located, restored = account.facts("locate"), account.facts("restore")
    found: dict[str, Any] = {}
    if "now" in located and "taken" in located:
        found["rpo_seconds"] = round(located["now"] - located["taken"], 3)
    newest = next((each["newest"] for each in account.checked("newest") if each.get("newest")), None)
    if newest and "now" in located:
        written = datetime.fromisoformat(newest)
        at = written if written.tzinfo else written.replace(tzinfo=UTC)
        found["newest_record_age_seconds"] = round(located["now"] - at.timestamp(), 3)
    if "rto_seconds" in restored:
        found |= {"rto_seconds": round(restored["rto_seconds"], 3), "rto_clock": CLOCK}
    return found


def snapshot(account: Recorded) -> dict[str, Any] | None:
    """The snapshot as it was located, with the digest of every object that was read of it."""
    known = account.facts("locate").get("snapshot")
    if not known:
        return None
    digests = {
        str(artifact["key"]): artifact["sha256"]
        for artifact in account.facts("fetch").get("artifacts", ())
        if artifact.get("sha256")
    }
    return {**known, **({"sha256": digests} if digests else {})}


def keys(account: Recorded, given: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Ids of the keys that opened it: an age recipient, an OpenPGP key's id; of a passphrase, where it is taken from.

    Args:
        account: The drill.
        given: What the catalogue gives each format.
    """
    opened = False
    for artifact in account.facts("fetch").get("artifacts", ()):
        for layer in artifact.get("layers", ()):
            by = layer.get("opened_by")
            if not by:
                continue
            opened = True
            yield str(by) if by != "passphrase" else _passphrase(given.get(layer.get("format", ""), {}))
    fetched = account.facts("fetch")
    encrypted = fetched.get("encrypted", "")
    if encrypted and not opened and not fetched.get("broken"):
        yield _passphrase(given.get(encrypted, {}))


def _passphrase(given: Mapping[str, Any]) -> str:
    """A passphrase has no id: where it is taken from tells which one it is, and is no secret."""
    from restore_drill.secrets import SecretReference

    references = [str(each) for each in given.values() if isinstance(each, SecretReference)]
    return f"passphrase of {', '.join(references)}" if references else "passphrase"
