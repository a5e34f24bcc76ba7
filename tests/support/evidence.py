"""Evidence documents as runs write them, made in no time: for tests of everything that reads evidence.

All are valid by ``evidence/schema.json`` (a test holds that), deterministic, and as detailed as a real SQLite drill's.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import jsonschema

from restore_drill.evidence.reading import schema

WHEN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
#: Objectives by tier: RPO, RTO, drill_every.
TIERS: Mapping[str, tuple[timedelta, timedelta, timedelta]] = {
    "critical": (timedelta(hours=1), timedelta(minutes=15), timedelta(days=1)),
    "important": (timedelta(days=1), timedelta(hours=4), timedelta(days=7)),
    "archival": (timedelta(days=7), timedelta(days=1), timedelta(days=30)),
}
#: Verdicts by ``target/copy/case``, ``target/copy/case/detail`` or, of cases across copies, ``target//case``.
Verdicts = Mapping[str, str]
_BEFORE_CONTENT = ("located", "rpo", "gap", "fetched", "checksum", "unpacks", "restores", "rto")
_CONTENT = (("integrity", ""), ("structure", ""), ("rows", "orders"), ("query", "every-item-has-an-order"))
#: The cases whose failure keeps everything behind them from being judged.
_BLOCKING = ("located", "fetched", "checksum", "unpacks", "restores")
_REACHED = {"located": "nothing", "fetched": "metadata", "checksum": "metadata", "unpacks": "checksum",
            "restores": "full read"}  # fmt: skip

_VERDICTS = ("passed", "failed", "error", "excepted")
#: How long a drill takes.
_SECONDS = 10


@dataclass(frozen=True)
class Target:
    """A target of the catalogue."""

    name: str
    tier: str = "critical"
    owner: str = "payments team"
    engine: str = "sqlite"
    copies: tuple[str, ...] = ("nas", "offsite")

    @property
    def cases(self) -> list[tuple[str, str]]:
        """The cases of one copy: short name and detail."""
        return [*((case, "") for case in _BEFORE_CONTENT), *_CONTENT, ("newest", ""), ("disposed", "")]


def document(
    when: datetime = WHEN,
    *,
    run: str = "",
    targets: int | Sequence[str | Target] = ("orders-db",),
    selected: Collection[str] | None = None,
    verdicts: Verdicts | None = None,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
    scope: str = "whole",
    ended: str = "complete",
    problems: Sequence[str] = (),
    exceptions: Sequence[Mapping[str, Any]] = (),
    retest_of: Mapping[str, Mapping[str, str]] | None = None,
    previous: Mapping[str, datetime] | None = None,
    user: str = "nightly",
    catalogue: str = "/srv/drills/targets.yaml",
    shard: tuple[int, int] | None = None,
    estate: str = "user",
    **more: Any,
) -> dict[str, Any]:
    """One run's evidence.

    Args:
        when: When it began; every drill takes 10 s.
        run: Its id; made from ``when`` when left out.
        targets: The whole catalogue: names, :class:`Target`, or how many ``db-000``, ``db-001``, …
        selected: The ``target/copy`` that were drilled, all when left out; no cases across copies when it is given.
        verdicts: What is not ``passed``. Cases behind a blocking one become ``error``, blocked by it, by themselves.
        measured: By ``target/copy``: ``rto_seconds``, ``age_seconds``, ``stored_bytes``, ``rows``, ``taken_at``.
        exceptions: Entries as in the document; ``id``, ``target``, ``case`` and ``state`` are enough.
        retest_of: By ``target/copy``.
        previous: By ``target/copy``: the end of the last whole drill.
        more: Takes the place of whole keys of the document.
    """
    catalogued, verdicts = _targets(targets), verdicts or {}
    drills = _drills(
        catalogued, when, selected=selected, verdicts=verdicts, measured=measured or {}, scope=scope,
        exceptions=exceptions, retest_of=retest_of or {}, previous=previous or {},
    )  # fmt: skip
    across = [_across(target, verdicts) for target in catalogued if selected is None]
    cases = [case for part in (*drills, *across) for case in part["cases"]]
    selection = _selection(catalogued, drills, len(cases))
    found = {
        "form": "restore-drill/evidence/2",
        "run": _run(
            when,
            drills,
            run=run or run_id(when),
            ended=ended,
            estate=estate,
            user=user,
            shard=shard,
            selection=selection,
        ),
        "catalogue": {"path": catalogue, "sha256": digest("catalogue")},
        "verdict": worst([*(case["verdict"] for case in cases), *(["error"] if problems or not cases else [])]),
        "problems": list(problems),
        "counts": {word: sum(case["verdict"] == word for case in cases) for word in _VERDICTS},
        "not_run": [],
        "population": [_member(target) for target in catalogued],
        "exceptions": [_exception(each) for each in exceptions],
        "drills": drills,
        "targets": across,
    }
    return {**found, **more}


def _drills(
    catalogued: Sequence[Target],
    when: datetime,
    *,
    selected: Collection[str] | None,
    verdicts: Verdicts,
    measured: Mapping[str, Mapping[str, Any]],
    scope: str,
    exceptions: Sequence[Mapping[str, Any]],
    retest_of: Mapping[str, Mapping[str, str]],
    previous: Mapping[str, datetime],
) -> list[dict[str, Any]]:
    """The drills of the selected copies, one after the other."""
    chosen = [
        (f"{target.name}/{copy}", target, copy)
        for target in catalogued
        for copy in target.copies
        if selected is None or f"{target.name}/{copy}" in selected
    ]
    drills = []
    for number, (key, target, copy) in enumerate(chosen):
        at = when + timedelta(seconds=_SECONDS * number)
        drill = _drill(target, copy, at, verdicts, measured.get(key, {}), scope, exceptions)
        drill |= {"retest_of": dict(retest_of[key])} if key in retest_of else {}
        drill |= {"due": _due(target, previous[key])} if key in previous else {}
        drills.append(drill)
    return drills


def _run(
    when: datetime,
    drills: Sequence[Mapping[str, Any]],
    *,
    run: str,
    ended: str,
    estate: str,
    user: str,
    shard: tuple[int, int] | None,
    selection: Mapping[str, int],
) -> dict[str, Any]:
    """The run itself: when, by whom, where, how much."""
    return {
        "id": run,
        "started": stamp(when),
        "finished": stamp(when + timedelta(seconds=_SECONDS * len(drills) + 1)),
        "estate": estate,
        "operator": {"user": user, "host": "drills-1"},
        **_surroundings(),
        "ended": ended,
        "selection": dict(selection),
        **({"shard": {"index": shard[0], "total": shard[1], "plan": digest("plan")}} if shard else {}),
    }


def _surroundings() -> dict[str, Any]:
    """What the runs of one pipeline have in common."""
    return {
        "arguments": ["drills/", "-m", "critical"],
        "ci": {"url": "https://ci.example.org/jobs/4711", "commit": "0123456789abcdef0123456789abcdef01234567"},
        "tools": {"restore-drill": "0.2.0", "python": "3.12.1", "sqlite": "3.45.1", "pytest": "9.2.0"},
        "machine": {"cores": 2, "platform": "Linux-6.1.0-x86_64-with-glibc2.36"},
        "concurrency": 1,
    }


def _selection(catalogued: Sequence[Target], drills: Sequence[Mapping[str, Any]], cases: int) -> dict[str, int]:
    """How much of the catalogue was selected."""
    return {
        "cases": cases,
        "of_cases": sum(len(target.cases) * len(target.copies) + 2 for target in catalogued),
        "targets": len({drill["target"] for drill in drills}),
        "of_targets": len(catalogued),
    }


def history(
    drills: int = 10_000,
    *,
    seed: int = 1,
    targets: int = 20,
    start: datetime | None = None,
    every: timedelta = timedelta(days=1),
    faults: float = 0.01,
) -> Iterator[dict[str, Any]]:
    """Nightly runs over one catalogue, one after the other, until there are so many drills (two copies a target).

    Now and then a backup is bad for a few nights, a store cannot be reached, sizes and times drift.

    Args:
        start: The first night; when left out, such that the last one is :data:`WHEN`.
        faults: How often a copy that is well becomes bad overnight.
    """
    chance = random.Random(seed)
    catalogued = _targets(targets)
    a_night = sum(len(target.copies) for target in catalogued)
    nights = max(1, -(-drills // a_night))
    state = {f"{target.name}/{copy}": _Copy(chance) for target in catalogued for copy in target.copies}
    when = start or WHEN - (nights - 1) * every
    done = 0
    for _ in range(nights):
        for copy in state.values():
            copy.age_a_night(chance, faults)
        chosen = list(state)[: drills - done]
        done += len(chosen)
        made = document(
            when,
            targets=catalogued,
            selected=None if len(chosen) == len(state) else chosen,
            verdicts={f"{key}/{copy.fault[0]}": copy.fault[1] for key, copy in state.items() if copy.fault},
            measured={key: copy.measured for key, copy in state.items()},
            retest_of={key: copy.failed for key, copy in state.items() if copy.failed},
            previous={key: copy.last for key, copy in state.items() if copy.last},
        )
        for drill in made["drills"]:
            state[f"{drill['target']}/{drill['copy']}"].remember(made["run"]["id"], drill)
        yield made
        when += every


@dataclass
class _Copy:
    """What becomes of a copy over the nights."""

    chance: random.Random = field(repr=False)
    fault: tuple[str, str] | None = None
    nights_left: int = 0
    measured: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] | None = None
    last: datetime | None = None

    def __post_init__(self) -> None:
        chance = self.chance
        self.measured = {
            "rto_seconds": chance.uniform(5, 200),
            "age_seconds": 600.0,
            "stored_bytes": chance.randint(10**6, 10**9),
            "rows": chance.randint(1000, 10**6),
        }

    def age_a_night(self, chance: random.Random, faults: float) -> None:
        self.measured["rto_seconds"] = round(self.measured["rto_seconds"] * chance.uniform(0.97, 1.035), 3)
        self.measured["age_seconds"] = round(chance.uniform(60, 3000), 3)
        self.measured["stored_bytes"] = int(self.measured["stored_bytes"] * chance.uniform(0.999, 1.004))
        self.measured["rows"] += chance.randint(0, 50)
        self.nights_left = max(0, self.nights_left - 1)
        if not self.nights_left:
            self.fault = None
            if chance.random() < faults:
                self.fault = chance.choice([("checksum", "failed"), ("restores", "failed"), ("located", "error"),
                                            ("rpo", "failed"), ("rows/orders", "failed")])  # fmt: skip
                self.nights_left = chance.randint(1, 4)

    def remember(self, run: str, drill: Mapping[str, Any]) -> None:
        bad = drill["verdict"] in ("failed", "error")
        self.failed = {"run": run, "verdict": drill["verdict"], "finished": drill["finished"]} if bad else None
        self.last = datetime.fromisoformat(drill["finished"])


@cache
def _validator() -> Any:
    return jsonschema.Draft202012Validator(schema())


def validate(evidence: Mapping[str, Any]) -> None:
    """Hold a document against the published form."""
    wrong = [f"{each.json_path}: {each.message[:300]}" for each in _validator().iter_errors(evidence)]
    assert not wrong, "\n".join(wrong[:10])


# --- parts ------------------------------------------------------------------------------------------------------------


def stamp(moment: datetime) -> str:
    """A moment as evidence writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run_id(when: datetime) -> str:
    """The id of a run that began then, always the same."""
    return f"{when:%Y%m%dT%H%M%SZ}-{digest(when.isoformat())[:6]}"


def digest(text: str) -> str:
    """Some SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def worst(verdicts: Collection[str]) -> str:
    """The verdict of several."""
    return next((word for word in ("failed", "error", "excepted", "passed") if word in verdicts), "error")


def _targets(targets: int | Sequence[str | Target]) -> list[Target]:
    if isinstance(targets, int):
        return [
            Target(f"db-{number:03}", list(TIERS)[number % 3], ("payments team", "web team")[number % 2])
            for number in range(targets)
        ]
    return [Target(each) if isinstance(each, str) else each for each in targets]


def _member(target: Target) -> dict[str, Any]:
    return {
        "target": target.name,
        "tier": target.tier,
        **({"owner": target.owner} if target.owner else {}),
        "engine": target.engine,
        **_objectives(target),
        "copies": [
            {"copy": copy, "store": copy, "medium": "disk", "offsite": bool(number), "immutable": bool(number)}
            for number, copy in enumerate(target.copies)
        ],
    }


def _objectives(target: Target) -> dict[str, float]:
    rpo, rto, every = TIERS[target.tier]
    return {
        "rpo_seconds": rpo.total_seconds(),
        "rto_seconds": rto.total_seconds(),
        "drill_every_seconds": every.total_seconds(),
    }


def _due(target: Target, previous: datetime) -> dict[str, str]:
    return {"by": stamp(previous + TIERS[target.tier][2]), "previous": stamp(previous)}


def _exception(given: Mapping[str, Any]) -> dict[str, Any]:
    expires = date(2027, 3, 31).isoformat()
    rest = {"reason": "vendor appliance, replaced in spring", "approver": "ciso", "expires": expires}
    return {"state": "in force", **rest, **given}


def _across(target: Target, verdicts: Verdicts) -> dict[str, Any]:
    names = ("3-2-1", "agree")
    return {"target": target.name, "cases": [_case(name, "", verdicts.get(f"{target.name}//{name}")) for name in names]}


def _case(name: str, detail: str, verdict: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"case": name, **({"detail": detail} if detail else {}), "verdict": verdict or "passed"}
    if verdict in ("failed", "error", "excepted"):
        found |= {"message": f"{name} {'is broken' if verdict != 'error' else 'could not be verified'}: made by a test"}
        found |= {"remedy": "Check the backup job."}
    return {**found, "expected": "as it should be", "actual": "as it is", "tolerance": "none (catalogue)"}


def _drill(
    target: Target,
    copy: str,
    at: datetime,
    verdicts: Verdicts,
    measured: Mapping[str, Any],
    scope: str,
    exceptions: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    cases = _cases(target, copy, verdicts, exceptions)
    broken = next((case["case"] for case in cases if case["case"] in _BLOCKING and _is_bad(case)), "")
    taken = measured.get("taken_at") or at - timedelta(seconds=float(measured.get("age_seconds", 600)))
    key = f"{target.name}/{taken:%Y%m%d_%H%M%S}.db.gz.age"
    located, restored = broken != "located", broken == ""
    return {
        "target": target.name,
        "copy": copy,
        "store": copy,
        "tier": target.tier,
        **({"owner": target.owner} if target.owner else {}),
        "engine": target.engine,
        "started": stamp(at),
        "finished": stamp(at + timedelta(seconds=_SECONDS)),
        "seconds": float(_SECONDS),
        "why": {"rule": "newest", "sample": 1, "seed": None, **({"population": 12} if located else {})},
        "objectives": _objectives(target),
        "achieved": _achieved(at, taken, measured, located, restored),
        "scope": scope,
        "reached": _REACHED.get(broken, "query"),
        "verdict": worst([case["verdict"] for case in cases]),
        **({"snapshot": _snapshot(taken, key, measured, broken)} if located else {}),
        "keys": ["age1ndr9k540hqntyyw2nwu407rwlegyxaqlatdzsxlt646u4f8uadeqh9pg8m"] if restored else [],
        **({"isolation": _isolation(), "disposal": _disposal(at)} if restored else {}),
        "stages": _stages(target, at, key, measured, located, restored),
        "cases": cases,
        "limits": ["row-count rules for 1 table(s) only; others are watched for vanishing"],
    }


def _cases(
    target: Target, copy: str, verdicts: Verdicts, exceptions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    cases, blocked = [], ""
    for name, detail in target.cases:
        key = "/".join(filter(None, [target.name, copy, name, detail]))
        case = _case(name, detail, verdicts.get(key))
        if blocked and name != "disposed":
            case = _case(name, detail, "error")
            case |= {"message": f"blocked by {blocked}: {blocked} is broken: made by a test", "blocked_by": blocked}
        elif case["verdict"] == "excepted":
            covering = [each["id"] for each in exceptions if (each["target"], each["case"]) == (target.name, name)]
            case["exception"] = covering[0] if covering else "EX-1"
        blocked = blocked or (name if name in _BLOCKING and _is_bad(case) else "")
        cases.append(case)
    return cases


def _is_bad(case: Mapping[str, Any]) -> bool:
    return case["verdict"] in ("failed", "error")


def _achieved(
    at: datetime, taken: datetime, measured: Mapping[str, Any], located: bool, restored: bool
) -> dict[str, Any]:
    age = (at - taken).total_seconds()
    found: dict[str, Any] = {"rpo_seconds": age} if located else {}
    if restored:
        clock = "first byte fetched to first query answered or last file written; queueing and our own checks excluded"
        found |= {"newest_record_age_seconds": age + 30, "rto_seconds": measured.get("rto_seconds", 42.5)}
        found |= {"rto_clock": clock}
    return found


def _snapshot(taken: datetime, key: str, measured: Mapping[str, Any], broken: str) -> dict[str, Any]:
    return {
        "id": f"{taken:%Y%m%dT%H%M%SZ}",
        "kind": "full",
        "taken_at": stamp(taken),
        "resolution_seconds": 1.0,
        "artifacts": [key],
        "size": measured.get("stored_bytes", 68968),
        "version": "",
        "parents": [],
        **({} if broken in ("fetched", "located") else {"sha256": {key: digest(key)}}),
    }


def _isolation() -> dict[str, Any]:
    return {
        "kind": "directory",
        "network": "none",
        "proof": ["no network: a network namespace of its own", "restored on drills-1"],
    }


def _disposal(at: datetime) -> dict[str, Any]:
    return {"at": stamp(at + timedelta(seconds=_SECONDS)), "confirmed": ["its directory is gone"], "left": 0}


def _stages(
    target: Target, at: datetime, key: str, measured: Mapping[str, Any], located: bool, restored: bool
) -> list[dict[str, Any]]:
    stored, rows = measured.get("stored_bytes", 68968), measured.get("rows", 1155)
    facts: list[tuple[dict[str, Any], float, Any]] = [
        ({"stage": "locate"}, 0.5, {"where": f"s3://backups/{target.name}/", "points": 12, "typical_size": stored})
    ]
    if located:
        fetched = {"stored_bytes": stored, "content_bytes": 3 * stored, "artifacts": [{"key": key, "size": stored}]}
        facts.append(({"stage": "fetch"}, 3.0, fetched))
    if restored:
        sandbox = {"kind": "directory", "network": "none"}
        seconds = measured.get("rto_seconds", 42.5)
        facts += [
            ({"stage": "restore"}, 4.0, {"summary": "a SQLite database", "rto_seconds": seconds, "sandbox": sandbox}),
            ({"check": ["structure", ""]}, 0.5, {"objects": {"table": ["orders"]}, "counts": {"orders": rows}}),
            ({"check": ["rows", "orders"]}, 0.5, {"counts": {"orders": rows}}),
            ({"stage": "dispose"}, 0.5, {"left": 0, "reason": "", "kept": ""}),
        ]
    lines = []
    for name, seconds, found in facts:
        lines.append({**name, "started": stamp(at), "seconds": seconds, "facts": found})
        at += timedelta(seconds=seconds)
    return lines
