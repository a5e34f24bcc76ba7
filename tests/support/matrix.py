"""Faults beside their undamaged twins: one run drills many targets, each with another fault, and the twins stay green.

A row makes a target, damages it, and says which one case must bear the cause. Rows that are made alike share one twin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.contents import sha256
from tests.support.estate import Outcome, Project
from tests.support.places import Bucket, Disk, Place

from restore_drill.patterns import PathPattern

#: How old the backups of a target are: hourly ones, the newest 20 minutes ago.
AGES = tuple(timedelta(hours=hours, minutes=20) for hours in (3, 2, 1, 0))
#: Tier → the exit status of a run over targets whose worst verdict it is.
HEALTHY, FAILING, UNKNOWN = "healthy", "failing", "unknown"


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
        self._keys[copy] = sorted({*self._keys[copy], (when, key)})
        if digest:
            self.sign(copy, key)
        return key

    def newest(self, copy: str = "nas") -> str:
        """The key of the newest snapshot."""
        return self._keys[copy][-1][1]

    def when(self, key: str, copy: str = "nas") -> datetime:
        """The time that a snapshot claims."""
        return next(when for when, known in self._keys[copy] if known == key)

    def sign(self, copy: str = "nas", key: str = "", text: str = "{digest}  {name}\n", suffix: str = ".sha256") -> None:
        """Write the digest of a snapshot (the newest) beside it, as its bytes are now."""
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
        case: The case that bears the cause: ``copy/case`` (``…/case/detail``), ``/case`` of the target as a whole; ``""``
            when nothing may fail.
        says: A pattern that the cause must have.
        remedy: A pattern that the whole text must have besides.
        then: What happens after a first, green run; ``harm`` happens before the only one.
    """

    number: int
    name: str
    make: Make
    harm: Make
    case: str = ""
    says: str = ""
    remedy: str = ""
    verdict: str = "failed"
    note: str = ""

    @property
    def target(self) -> str:
        return f"f{self.number:03d}-{self.name}"

    @property
    def tier(self) -> str:
        return {"failed": FAILING, "error": UNKNOWN}[self.verdict] if self.case else HEALTHY

    def __str__(self) -> str:
        return self.target


@dataclass
class Matrix:
    """The runs over all rows: one a tier, so that each exit status is seen."""

    project: Project
    runs: dict[str, Outcome] = field(default_factory=dict)

    def run(self, row: Row) -> Outcome:
        return self.runs[row.tier]

    def check(self, row: Row) -> None:
        """Exactly the named case bears the fault, says why and what to do; everything else is green or blocked by it."""
        run = self.run(row)
        causes = run.causes(row.target)
        assert causes == ({row.case: row.verdict} if row.case else {}), _told(run, row.target)
        self._check_blocked(row)
        if row.case:
            case = run.of(row.target)[row.case]
            assert re.search(row.says, case.message), case.message
            told = case.told.partition(case.message.removesuffix("."))
            assert told[1], case.told
            assert re.search(row.remedy, told[2]), case.told
        if row.note:
            notes = "; ".join(case.notes for case in run.of(row.target).values())
            assert re.search(row.note, notes), notes

    def _check_blocked(self, row: Row) -> None:
        short = row.case.split("/")[1] if row.case else ""
        blocked = {key: case.blocked_by for key, case in self.run(row).of(row.target).items() if case.blocked_by}
        assert set(blocked.values()) <= {short}, blocked

    def check_twin(self, make: Make) -> None:
        """A target made like that is green in every case when nothing happened to it."""
        run = self.runs[HEALTHY]
        cases = run.of(twin(make))
        assert cases
        assert run.causes(twin(make)) == {}, _told(run, twin(make))
        assert {case.verdict for case in cases.values()} == {"passed"}

    def check_statuses(self) -> None:
        """0 where all is good, 1 where a backup failed, 75 where something could not be verified."""
        expected = {HEALTHY: 0, FAILING: 1, UNKNOWN: 75}
        assert {tier: run.status for tier, run in self.runs.items()} == {tier: expected[tier] for tier in self.runs}, [
            run.screen for tier, run in self.runs.items() if run.status != expected[tier]
        ]


def twin(make: Make) -> str:
    """The name of the undamaged target."""
    return f"twin-{getattr(make, '__name__', '').replace('_', '-')}"


def run_matrix(root: Path, rows: Iterable[Row], s3: Any = None, *arguments: str) -> Matrix:
    """Build every row and every twin, and drill them: the healthy ones, the failing ones, the unknown ones."""
    matrix = Matrix(Project(root))
    project, rows = matrix.project, list(rows)
    project.catalogue["tiers"] = {
        tier: {"rpo": "1h", "rto": "15m", "drill_every": "1d"} for tier in (HEALTHY, FAILING, UNKNOWN)
    }
    for make in dict.fromkeys(row.make for row in rows):
        make(Site(project, twin(make), HEALTHY, s3))
    for row in rows:
        site = Site(project, row.target, row.tier, s3)
        row.make(site)
        row.harm(site)
    for tier in dict.fromkeys([HEALTHY, *(row.tier for row in rows)]):
        matrix.runs[tier] = project.drill("-m", tier, *arguments)
    return matrix


def _told(run: Outcome, target: str) -> str:
    cases = run.of(target)
    lines = [f"{key}: {case.verdict} {case.message}" for key, case in cases.items() if case.verdict != "passed"]
    return "\n".join(lines) if cases else run.screen
