"""Faults beside their undamaged twins: one run drills many targets, each with another fault, and the twins stay green.

A row makes a target, damages it, and says which one case must bear the cause. Rows that are made alike share one twin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from tests.support.contents import sha256
from tests.support.estate import Outcome, Project
from tests.support.places import Bucket, Disk, Place

from restore_drill.patterns import PathPattern

#: How old the backups of a target are: hourly ones, the newest 20 minutes ago.
AGES = tuple(timedelta(hours=hours, minutes=20) for hours in (3, 2, 1, 0))
#: Tiers, by the worst verdict of the targets in them.
HEALTHY, FAILING, UNKNOWN = "healthy", "failing", "unknown"
#: A run → the tiers that it drills, and its exit status.
RUNS = {HEALTHY: ((HEALTHY,), 0), FAILING: ((HEALTHY, FAILING), 1), UNKNOWN: ((HEALTHY, UNKNOWN), 75)}
_UTC = ZoneInfo("UTC")


class Site:
    """One target while it is built and damaged.

    Attributes:
        options: The target's part of the catalogue.
    """

    def __init__(self, project: Project, name: str, tier: str, s3: Any = None) -> None:
        self.project = project
        self.name = name
        self.now = project.now
        self.options: dict[str, Any] = {"tier": tier, "engine": "sqlite", "three_two_one": False, "copies": {}}
        self._s3 = s3
        self._keys: dict[str, list[tuple[datetime, str]]] = {}
        self.places: dict[str, Place] = {}
        project.targets[name] = self.options

    def copy(self, form: str, name: str = "nas", **options: Any) -> None:
        """Add a copy; ``form`` is its path below a directory of the target's own name."""
        self.options["copies"][name] = {"path": f"{self.name}/{form}", **options}
        store = options.get("store", name)
        self.places[name] = self._place(store)
        self._keys.setdefault(name, [])

    def _place(self, store: str) -> Place:
        if store in self.project.catalogue["stores"] and not self._is_s3(store):
            return Disk(self.project.root / "stores" / store)
        client, endpoint = self._s3
        if store not in self.project.catalogue["stores"]:
            self.project.cloud(store, endpoint)
        url = self.project.catalogue["stores"][store]["url"].removeprefix("s3://")
        return Bucket(client, *url.split("/", 1))

    def _is_s3(self, store: str) -> bool:
        return str(self.project.catalogue["stores"][store]["url"]).startswith("s3:")

    def key(self, when: datetime, copy: str = "nas") -> str:
        """The name of a snapshot."""
        return PathPattern(self.options["copies"][copy]["path"], _UTC).format(when)

    def put(self, age: timedelta, content: bytes, copy: str = "nas", *, key: str = "", digest: bool = True) -> str:
        """Store a snapshot of so long ago, and its digest beside it; returns its key."""
        when = self.now - age
        key = key or self.key(when, copy)
        self.places[copy].write(key, content, when)
        self._remember(when, key, copy)
        if digest:
            self.sign(copy, key)
        return key

    def grow(self, age: timedelta, tree: Mapping[str, bytes], copy: str = "nas") -> str:
        """Write a directory generation of so long ago; returns its key."""
        when = self.now - age
        key = self.key(when, copy)
        for name, data in tree.items():
            self.places[copy].write(f"{key}{name}", data, when)
        self._remember(when, key, copy)
        return key

    def _remember(self, when: datetime, key: str, copy: str) -> None:
        self._keys[copy] = sorted({*self._keys[copy], (when, key)})

    def forget(self, copy: str = "nas") -> None:
        """Take what was put so far for gone."""
        self._keys[copy].clear()

    def newest(self, copy: str = "nas") -> str:
        """The key of the newest snapshot."""
        return self._keys[copy][-1][1]

    def when(self, key: str, copy: str = "nas") -> datetime:
        """The time that a snapshot claims."""
        return next(when for when, known in self._keys[copy] if key.startswith(known))

    def sign(self, copy: str = "nas", key: str = "", text: str = "{digest}  {name}\n", suffix: str = ".sha256") -> None:
        """Write the digest of a snapshot (the newest) or of what lies beside it, as its bytes are now."""
        key = key or self.newest(copy)
        digest, name = sha256(self.places[copy].read(key)), key.rpartition("/")[2]
        self.beside(text.format(digest=digest, name=name).encode(), suffix, copy, key)

    def beside(self, data: bytes, suffix: str = ".sha256", copy: str = "nas", key: str = "") -> None:
        """Write another file beside a snapshot (the newest), named after it."""
        key = key or self.newest(copy)
        self.places[copy].write(f"{key}{suffix}", data, self.when(key, copy))

    def rewrite(self, data: bytes, copy: str = "nas", key: str = "") -> None:
        """Replace the bytes of a snapshot (the newest), its time unchanged."""
        key = key or self.newest(copy)
        self.places[copy].write(key, data, self.when(key, copy))

    def bytes(self, copy: str = "nas") -> bytes:
        """The stored bytes of the newest snapshot."""
        return self.places[copy].read(self.newest(copy))

    def disk(self, key: str = "", copy: str = "nas") -> Path:
        """Where a key lies on disk."""
        place = self.places[copy]
        assert isinstance(place, Disk)
        return place.root / key


Make = Callable[[Site], object]


def stored(change: Callable[[bytes], bytes], copy: str = "nas") -> Make:
    """Damage the stored bytes of the newest snapshot, before its digest was taken."""

    def harm(site: Site) -> None:
        site.rewrite(change(site.bytes(copy)), copy)
        site.sign(copy)

    return harm


def unsigned(change: Callable[[bytes], bytes], copy: str = "nas") -> Make:
    """Damage the stored bytes of the newest snapshot, after its digest was taken."""
    return lambda site: site.rewrite(change(site.bytes(copy)), copy)


def cut(count: int) -> Callable[[bytes], bytes]:
    """Without the last bytes."""
    return lambda data: data[:-count]


def flip(at: int | float, mask: int = 0x10) -> Callable[[bytes], bytes]:
    """With a bit turned over, at an offset or at a share of the length."""

    def change(data: bytes) -> bytes:
        position = int(at * len(data)) if isinstance(at, float) else at % len(data)
        return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]

    return change


def nothing(site: Site) -> None:
    """No damage: for what must stay green."""


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        number: Its row in the fault catalogue.
        fault: What the fault catalogue calls it.
        make: Builds the target as it is while nothing is wrong.
        harm: Does the damage.
        case: The case that bears the cause: ``copy/case`` (``…/case/detail``), ``/case`` of the target as a whole;
            ``""`` when nothing may fail.
        says: A pattern that the cause must have.
        remedy: A pattern that the text must have after the cause.
        verdict: What that case must say.
        note: A pattern that one of the target's notes must have.
        history: The target is drilled once, green, before the damage is done.
        blocked: Cases that must say that they are blocked by it.
    """

    number: int
    fault: str
    make: Make
    harm: Make
    case: str = ""
    says: str = ""
    remedy: str = ""
    verdict: str = "failed"
    note: str = ""
    history: bool = False
    blocked: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", self.fault.lower()).strip("-")
        return f"f{self.number:03d}-{slug}"[:63].rstrip("-")

    @property
    def tier(self) -> str:
        return {"failed": FAILING, "error": UNKNOWN}[self.verdict] if self.case else HEALTHY

    def __str__(self) -> str:
        return f"{self.number}: {self.fault}"


@dataclass
class Matrix:
    """The runs over all rows, one for each exit status; the undamaged twins take part in all of them.

    Attributes:
        before: The run over targets with a history, before anything happened to them.
    """

    project: Project
    runs: dict[str, Outcome] = field(default_factory=dict)
    before: Outcome | None = None

    def run(self, row: Row) -> Outcome:
        return self.runs[row.tier]

    def check(self, row: Row) -> None:
        """Exactly the named case bears the fault, says why and what to do; the others are green or blocked by it."""
        run = self.run(row)
        assert run.of(row.target), run.screen
        assert run.causes(row.target) == ({row.case: row.verdict} if row.case else {}), _told(run, row.target)
        self._check_blocked(row)
        if row.case:
            case = run.of(row.target)[row.case]
            assert re.search(row.says, case.message), case.message
            told = case.told.partition(case.message.removesuffix("."))
            assert told[1], case.told
            assert row.remedy and re.search(row.remedy, told[2]), case.told
        if row.note:
            notes = "; ".join(case.notes for case in run.of(row.target).values())
            assert re.search(row.note, notes), notes
        if row.history:
            assert self.before is not None
            assert self.before.of(row.target)
            assert self.before.causes(row.target) == {}, _told(self.before, row.target)

    def _check_blocked(self, row: Row) -> None:
        short = row.case.split("/")[1] if row.case else ""
        blocked = {key: case.blocked_by for key, case in self.run(row).of(row.target).items() if case.blocked_by}
        assert set(blocked.values()) <= {short}, blocked
        assert set(row.blocked) <= set(blocked), blocked

    def check_twin(self, name: str) -> None:
        """An undamaged target is green in every case, in every run."""
        for run in self.runs.values():
            cases = run.of(name)
            assert cases, run.screen
            assert {key: case.verdict for key, case in cases.items() if case.verdict != "passed"} == {}, _told(
                run, name
            )

    def check_statuses(self) -> None:
        """0 where all is good, 1 where a backup failed, 75 where something could not be verified."""
        for kind, run in self.runs.items():
            assert run.status == RUNS[kind][1], run.screen
        assert self.before is None or self.before.status == 0, self.before.screen


def twin(make: Make) -> str:
    """The name of the undamaged target."""
    return f"twin-{getattr(make, '__name__', '').strip('_').replace('_', '-')}"


def twins(rows: Iterable[Row]) -> list[str]:
    """The names of the undamaged targets beside these rows."""
    return list(dict.fromkeys(twin(row.make) for row in rows))


def run_matrix(root: Path, rows: Iterable[Row], s3: Any = None, *, conftest: str = "") -> Matrix:
    """Build every row and every twin, and drill them: the healthy ones, the failing ones, the unknown ones.

    Args:
        s3: A client and the endpoint of an S3 server.
        conftest: Code for the project's own conftest.
    """
    matrix = Matrix(Project(root))
    project, rows = matrix.project, list(rows)
    project.conftest(conftest)
    project.catalogue["tiers"] = {
        tier: {"rpo": "1h", "rto": "15m", "drill_every": "1d"} for tier in (HEALTHY, FAILING, UNKNOWN, _BEFORE)
    }
    for make in dict.fromkeys(row.make for row in rows):
        make(Site(project, twin(make), HEALTHY, s3))
    sites = {row: Site(project, row.target, row.tier, s3) for row in rows}
    for row, site in sites.items():
        row.make(site)
    matrix.before = _drill_before(project, sites)
    for row, site in sites.items():
        row.harm(site)
    for tier in dict.fromkeys([HEALTHY, *(row.tier for row in rows)]):
        matrix.runs[tier] = project.drill("-m", " or ".join(RUNS[tier][0]))
    return matrix


_BEFORE = "before"


def _drill_before(project: Project, sites: dict[Row, Site]) -> Outcome | None:
    """Drill the targets that need a history, as long as they are undamaged."""
    old = {row: site for row, site in sites.items() if row.history}
    if not old:
        return None
    for site in old.values():
        site.options["tier"] = _BEFORE
    try:
        return project.drill("-m", _BEFORE)
    finally:
        for row, site in old.items():
            site.options["tier"] = row.tier


def _told(run: Outcome, target: str) -> str:
    cases = run.of(target)
    lines = [
        f"{key}: {case.verdict} {case.blocked_by and f'(blocked by {case.blocked_by}) '}{case.message}"
        for key, case in cases.items()
        if case.verdict != "passed"
    ]
    return "\n".join(lines) if cases else run.screen


class FaultMatrix:
    """The tests of a module's rows; the fixtures come from the end-to-end tests' ``conftest.py``."""

    #: The first test of a worker waits for all runs of the matrix.
    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.timeout(1200)

    def test_exactly_the_named_case_bears_the_fault(self, matrix: Matrix, row: Row) -> None:
        matrix.check(row)

    def test_its_undamaged_twin_is_green(self, matrix: Matrix, undamaged: str) -> None:
        matrix.check_twin(undamaged)

    def test_the_exit_status_tells_failures_from_what_could_not_be_verified(self, matrix: Matrix) -> None:
        matrix.check_statuses()
