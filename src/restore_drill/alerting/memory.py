"""What is broken since when, and who was told: the state's document ``alerts.json``.

One entry a copy (or target, or job), with its broken cases; what is well and owes nobody a word costs one number. Pure
functions over the document: they are called again when another run wrote it meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from restore_drill.alerting.judging import OLDER, Judgement, Trouble, ended, judgements, run_trouble
from restore_drill.quantities import format_duration, format_instant

if TYPE_CHECKING:
    from restore_drill.policy.population import Standing

NAME = "alerts.json"
#: The pseudo-case of a copy whose drill is overdue.
OVERDUE = "overdue"
#: The target that stands for runs themselves.
RUNS = ""
_VERSION = 1
#: After this long nothing is known any more of what no run has looked at (seconds).
_FORGOTTEN = 400 * 86400.0
_FORGOTTEN_JOB = 30 * 86400.0
#: For so long another run may be sending what it claimed (seconds).
CLAIM = 900.0

Memory = dict[str, Any]


def empty() -> Memory:
    """Nothing is known to be broken."""
    return {"version": _VERSION, "entries": {}}


def decode(raw: bytes | None) -> Memory:
    """Read the document; one that is damaged, or of another version, is begun anew: what is broken is told again."""
    try:
        found = json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and found.get("version") == _VERSION and isinstance(found.get("entries"), dict):
        return found
    return empty()


def encode(memory: Memory) -> bytes:
    """Write the document."""
    return json.dumps(memory, sort_keys=True, separators=(",", ":")).encode()


def learn(memory: Memory, document: Mapping[str, Any], now: float) -> None:
    """Take in what a run found out."""
    broken: set[str] = set()
    for judgement in judgements(document):
        broken |= {f"{judgement.target}/{judgement.copy}/{name}" for name in judgement.broken}
        entry = _entry(memory, judgement.target, judgement.copy, document)
        if judgement.at < entry.get("at", 0.0) <= now:
            continue  # a later run has judged it, whatever the order in which they are told
        entry |= {"at": judgement.at, "run": judgement.run}
        _apply(entry, judgement)
    _learn_samples(memory, document, broken, now)
    _learn_run(memory, document, now)


def _learn_samples(memory: Memory, document: Mapping[str, Any], broken: Collection[str], now: float) -> None:
    """Forget what was broken in older snapshots that are not listed any more, or are good since."""
    at = ended(document)
    for block in document.get("samples", ()):
        place = f"{block['target']}/{block['copy']}"
        entry = memory["entries"].get(place)
        if entry is None or block.get("problem") or at < entry.get("at", 0.0) <= now:
            continue
        failed = set(block["failed"])
        gone = [
            name for name in entry.get("broken", {})
            if name.startswith(OLDER) and name.removeprefix(OLDER).partition("/")[0] not in failed
            and f"{place}/{name}" not in broken
        ]  # fmt: skip
        for name in gone:
            _mend(entry, name)
        if gone:
            _settle(entry, Judgement(block["target"], block["copy"], at, document["run"]["id"]))


def _learn_run(memory: Memory, document: Mapping[str, Any], now: float) -> None:
    """A job is known by the arguments of its runs: the next that ends as it should is its recovery."""
    trouble, at = run_trouble(document), ended(document)
    arguments = [str(argument) for argument in document["run"].get("arguments", ())]
    key = "run:" + hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:16]
    if (trouble is None and key not in memory["entries"]) or at < now - _FORGOTTEN_JOB:
        return
    judgement = Judgement(RUNS, key, at, document["run"]["id"], judged={"run"}, drilled=True)
    judgement.broken = {"run": trouble} if trouble else {}
    entry = _entry(memory, RUNS, key, document)
    if not at < entry.get("at", 0.0) <= now:  # what lies ahead was written by a clock that was wrong
        drilled = {drill["target"] for drill in document.get("drills", ())}
        entry |= {"at": at, "run": judgement.run, "of": sorted(drilled)}
        _apply(entry, judgement)


def _entry(memory: Memory, target: str, copy: str, document: Mapping[str, Any] | None) -> dict[str, Any]:
    key = copy if target == RUNS else f"{target}/{copy}"
    entry: dict[str, Any] = memory["entries"].setdefault(key, {"target": target, "copy": copy})
    if document is not None:
        entry["catalogue"] = document.get("catalogue", {}).get("path", "")
    return entry


def _apply(entry: dict[str, Any], judgement: Judgement) -> None:
    broken: dict[str, Any] = entry.setdefault("broken", {})
    was = {name: case for name, case in broken.items() if name != OVERDUE}
    for name in was:
        gone = judgement.whole and name not in judgement.judged | judgement.blocked and not name.startswith(OLDER)
        if name in judgement.judged - judgement.broken.keys() or gone:
            _mend(entry, name)
    if judgement.drilled:
        _mend(entry, OVERDUE)
    for name, trouble in judgement.broken.items():
        _break(entry, name, trouble, judgement.at, judgement.run)
    _settle(entry, judgement)


def _break(entry: dict[str, Any], name: str, trouble: Trouble, at: float, run: str) -> None:
    known = entry["broken"].get(name)
    words = {"message": trouble.message, "remedy": trouble.remedy}
    if known is not None and known["state"] == trouble.state:
        known |= words
        return
    # What failed and now cannot be verified (or the other way round) is another thing to do: told anew.
    since = known["since"] if known else at
    told_before = set(known["told"]) if known else set()
    entry["informed"] = sorted({*entry.get("informed", ()), *told_before})
    entry["broken"][name] = {"state": trouble.state, "since": since, "run": run, "told": {}, **words}


def _mend(entry: dict[str, Any], name: str) -> None:
    """Forget a broken case, and keep who knows of it and since when."""
    case = entry.get("broken", {}).pop(name, None)
    if case is not None:
        entry["informed"] = sorted({*entry.get("informed", ()), *case["told"]})
        entry["since"] = min(case["since"], entry.get("since", case["since"]))
        entry["was"] = sorted({*entry.get("was", ()), name})


def _settle(entry: dict[str, Any], judgement: Judgement) -> None:
    """When nothing is broken any more, everybody who was told is owed a word."""
    if entry.get("broken"):
        entry["informed"] = sorted({*entry.get("informed", ()), *entry.pop("owed", ())})
        return
    informed = entry.pop("informed", [])
    was, since = entry.pop("was", []), entry.pop("since", 0.0)
    entry.pop("broken", None)
    if informed:
        covered = sorted({judgement.excepted[name] for name in was if name in judgement.excepted})
        entry["owed"] = dict.fromkeys(informed, 0.0)
        entry["mended"] = {"at": judgement.at, "run": judgement.run, "since": since, "was": was, "excepted": covered}


def look_at_calendar(memory: Memory, standings: Iterable[Standing], at: float, catalogue: str) -> None:
    """Take in which copies' drills are overdue (``policy.population``'s standings)."""
    for standing in standings:
        key = f"{standing.target}/{standing.copy}"
        known_to_be_well = not standing.overdue and standing.last_whole is not None
        if not standing.overdue and not (known_to_be_well and key in memory["entries"]):
            continue  # whoever looks at the ledger's end only does not know when it was last drilled
        entry = _entry(memory, standing.target, standing.copy, None)
        entry["catalogue"] = catalogue
        entry.setdefault("broken", {})
        judgement = Judgement(standing.target, standing.copy, at, "")
        if standing.overdue:
            _break(entry, OVERDUE, Trouble("overdue", *_overdue(standing)), standing.due_by or at, "")
        else:
            _mend(entry, OVERDUE)
        _settle(entry, judgement)


def _overdue(standing: Standing) -> tuple[str, str]:
    last = standing.last_whole
    when = f"the last whole one ended {format_instant(last)}" if last else "no drill of it was ever whole"
    every = format_duration(standing.drill_every_seconds)
    return f"no whole drill within {every}: {when}", "Check that the job that runs the drills still runs, and run it."


def forget(
    memory: Memory, known: Callable[[str, str], bool], catalogue: str, channels: Iterable[str], now: float
) -> None:
    """Drop what the catalogue no longer has, what was long not looked at, and debts to channels that are gone."""
    names = set(channels)
    for key, entry in list(memory["entries"].items()):
        owed = {channel: at for channel, at in entry.get("owed", {}).items() if channel in names}
        entry.pop("owed", None)
        if owed:
            entry["owed"] = owed
        else:
            entry.pop("mended", None)
        of_run = entry["target"] == RUNS
        old = entry.get("at", now) < now - (_FORGOTTEN_JOB if of_run else _FORGOTTEN)
        retired = not of_run and entry.get("catalogue") == catalogue and not known(entry["target"], entry["copy"])
        settled = of_run and not entry.get("broken") and not owed
        if old or retired or settled:
            del memory["entries"][key]


def entries(memory: Memory) -> Iterator[dict[str, Any]]:
    """Every entry, by name; runs last."""
    found: dict[str, dict[str, Any]] = memory["entries"]
    for _, entry in sorted(found.items(), key=lambda each: (each[1]["target"] == RUNS, each[0])):
        yield entry
