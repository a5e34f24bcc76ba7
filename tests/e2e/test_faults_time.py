"""Faults of time and of chains: too old, from the future, too slow, hanging, left behind, a link missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.support.contents import dump, files, shop, tar, xz
from tests.support.estate import Project
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site

_TIME = "{time:%Y%m%d_%H%M%S}"
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
#: Leaves behind what was restored, of the target that is called so.
_LEAKS = """
from restore_drill.sandboxes.base import Disposal
from restore_drill.sandboxes.directory import DirectorySandbox

clear, leave_to_next = DirectorySandbox._clear, DirectorySandbox._leave_to_next

def leaks(sandbox):
    return "teardown-leaks" in sandbox._label

def forget(sandbox, keep, running):
    if not leaks(sandbox):
        return clear(sandbox, keep, running)
    return Disposal((f"{sandbox.work}: Device or resource busy",), "some of it cannot be removed")

DirectorySandbox._clear = forget
DirectorySandbox._leave_to_next = lambda sandbox: not leaks(sandbox) and leave_to_next(sandbox)
"""


def hourly(site: Site) -> None:
    site.copy(f"{_TIME}.db")
    for age in AGES:
        site.put(age, shop(site.now - age))


def a_dump(site: Site) -> None:
    site.copy(f"{_TIME}.sql.xz")
    site.options |= {"size": {"predecessors": 60}, "deadlines": {"restore": "5s"}}
    for age in AGES:
        site.put(age, xz(dump(shop(site.now - age))))


def asked(site: Site) -> None:
    hourly(site)
    site.options["deadlines"] = {"check": "5s"}
    site.options["expect"] = {"queries": [{"name": "how many", "sql": "select count(*) from orders", "min": 1}]}


def in_links(site: Site) -> None:
    """A full archive and three incremental ones."""
    site.copy(f"{_TIME}_{{kind:full=F|incremental=I}}{{seq}}.tar")
    site.options |= {"engine": "files", "size": {"predecessors": 60}, "rpo": "1d"}
    tree = files(stamp="first")
    for number, age in enumerate(AGES):
        when = site.now - age
        part = tree if number == 0 else {f"letters/new-{number}.txt": b"new\n", "etc/release": f"{number}\n".encode()}
        site.put(age, tar(part, when), key=_link(site, number))


def _link(site: Site, number: int, sequence: int | None = None) -> str:
    when = site.now - AGES[number]
    kind = "F" if number == 0 else "I"
    return f"{site.name}/{when:%Y%m%d_%H%M%S}_{kind}{number if sequence is None else sequence}.tar"


def older(age: timedelta) -> Make:
    """The backup job was silent for so long."""

    def harm(site: Site) -> None:
        _without(site, AGES)
        for number in range(3):
            site.put(age + number * _HOUR, shop(site.now - age - number * _HOUR))

    return harm


def _without(site: Site, ages: Sequence[timedelta]) -> None:
    for age in ages:
        key = site.key(site.now - age)
        site.places["nas"].remove(key)
        site.places["nas"].remove(f"{key}.sha256")
    site.forget("nas")


def ahead(by: timedelta) -> Make:
    """A clock went wrong: one backup claims a time to come."""
    return lambda site: site.put(-by, shop(site.now))


def too_slow(site: Site) -> None:
    site.options["rto"] = "0.001s"


def endless_dump(site: Site) -> None:
    endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n"
    text = dump(shop(site.when(site.newest()))).decode().replace("COMMIT;", f"insert into settings {endless};\nCOMMIT;")
    text = text.replace("insert into settings with", "insert into settings (value) with")
    site.rewrite(xz(text.encode()))
    site.sign()


def endless_query(site: Site) -> None:
    endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n"
    site.options["expect"] = {"queries": [{"name": "how many", "sql": endless, "min": 1}]}


def lost(number: int) -> Make:
    def harm(site: Site) -> None:
        site.places["nas"].remove(_link(site, number))
        site.places["nas"].remove(f"{_link(site, number)}.sha256")

    return harm


def renamed(number: int, sequence: int) -> Make:
    """A link has the number of another one."""

    def harm(site: Site) -> None:
        data = site.places["nas"].read(_link(site, number))
        lost(number)(site)
        site.forget("nas")
        site.put(AGES[number], data, key=_link(site, number, sequence))

    return harm


ROWS = [
    Row(
        66, "incremental omitted", in_links, lost(2), "nas/chain", "1 link.s. between .* are missing",
        "Take a full backup now", blocked=("nas/restores", "nas/files"),
    ),
    Row(
        66, "full backup omitted", in_links, lost(0), "nas/chain", "the full snapshot it builds on is missing",
        "Take a full backup now",
    ),
    Row(
        66, "out of order", in_links, renamed(2, 5), "nas/chain", "3 link.s. between .* are missing|do(es)? not follow",
        "Take a full backup now",
    ),
    Row(66, "overlapping", in_links, renamed(2, 1), "nas/chain", "their numbers overlap", "Take a full backup now"),
    Row(
        72, "older than RPO", hourly, older(76 * _MINUTE), "nas/rpo", "no snapshot .* newer than 1 h 15 min",
        "Check the backup job",
    ),
    Row(72, "as old as RPO and grace allow", hourly, older(70 * _MINUTE)),
    Row(
        73, "future timestamp", hourly, ahead(2 * _HOUR), "nas/located", "claims to be from the future, by",
        "clock|zone",
    ),
    Row(73, "clock skew within tolerance", hourly, ahead(3 * _MINUTE)),
    Row(75, "backup job silent", hourly, older(50 * _HOUR), "nas/rpo", "2 d|50 h", "Check the backup job"),
    Row(76, "slower than RTO", hourly, too_slow, "nas/rto", "to be back, the RTO is", "its own rto"),
    Row(77, "hang of a restore", a_dump, endless_dump, "nas/restores", "deadline|time|seconds", "."),
    Row(
        77, "hang of a query", asked, endless_query, "nas/query/how-many", "deadline|time|seconds", ".",
        verdict="error",
    ),
    Row(78, "teardown leaks", hourly, lambda site: None, "nas/disposed", "could not be removed", "Remove them by hand"),
]  # fmt: skip
CONFTEST = _LEAKS


class TestFaults(FaultMatrix):
    """The rows of this module."""


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    """Row 74: an hour more or less decides whether a backup is too old."""
    project = Project(tmp_path / "project")
    hourly(Site(project, "shop", "critical"))
    project.write()
    del project.catalogue["defaults"]["timezone"]
    run = project.drill()
    assert run.status == 4
    assert "targets.yaml:" in run.screen and "timezone" in run.screen
    assert not run.cases
    project.targets["shop"]["copies"]["nas"]["path"] = "shop/{time:%Y%m%d_%H%M%S%z}.db"
    project.write()
    assert project.command("validate").returncode == 0


@pytest.mark.parametrize(
    ("clock", "zone", "expected"),
    [
        ("2026-10-25_023000", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        ("2026-03-29_033000", "Europe/Berlin", "2026-03-29T01:30:00Z"),
        ("2026-10-25_023000", "UTC", "2026-10-25T02:30:00Z"),
    ],
)
def test_local_names_are_read_in_their_zone(tmp_path: Path, clock: str, zone: str, expected: str) -> None:
    """Row 74, daylight saving: the double hour is taken by its first pass, when the file was written then."""
    taken = datetime.fromisoformat(expected)
    project = Project(tmp_path / "project", taken + 20 * _MINUTE)
    site = Site(project, "shop", "critical")
    site.copy("{time:%Y-%m-%d_%H%M%S}.db", timezone=zone)
    site.put(20 * _MINUTE, shop(taken), key=f"shop/{clock}.db")
    run = project.drill(at=project.now)
    assert run.status == 0, run.screen
    assert run.drills["shop/nas"]["snapshot"]["taken_at"].startswith(expected[:19])
