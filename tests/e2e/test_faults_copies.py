"""Faults that only several copies, or several nights, can show: 3-2-1, disagreement, holes in what is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.support.contents import altered, shop, sql
from tests.support.estate import Outcome, Project
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site, flip, stored, unsigned
from tests.support.servers import S3Server

_TIME = "{time:%Y%m%d_%H%M%S}"
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_BOTH = ("nas", "cloud")


def three_copies(site: Site) -> None:
    """The live system, a disk, and a bucket elsewhere."""
    for copy in _BOTH:
        site.copy(f"{_TIME}.db", copy)
    site.options |= {"three_two_one": True, "live": {"media": "disk"}, "expect": {"rows": {"orders": {"min": 250}}}}
    for age in AGES:
        for copy in _BOTH:
            site.put(age, shop(site.now - age), copy)


def kept(site: Site) -> None:
    """Hourly for some hours, daily for some days, no fewer than six."""
    site.copy(f"{_TIME}.db")
    site.options["retention"] = {"hourly": 3, "daily": 4, "at_least": 6}
    for age in _kept():
        site.put(age, shop(site.now - age))


def _kept() -> list[timedelta]:
    return [*(n * _HOUR + AGES[-1] for n in range(5)), *(n * _DAY + AGES[-1] for n in range(1, 6))]


def without_cloud(site: Site) -> None:
    del site.options["copies"]["cloud"]


def of_one_failure_domain(site: Site) -> None:
    """Both copies lie on stores that fail together."""
    del site.options["copies"]["cloud"]
    site.project.store("shelf", media="tape", offsite=True, failure_domain="one-san")
    site.project.store("rack", failure_domain="one-san")
    site.options["copies"] = {}
    for copy in ("rack", "shelf"):
        site.copy(f"{_TIME}.db", copy)
        for age in AGES:
            site.put(age, shop(site.now - age), copy)


def of_one_device(site: Site) -> None:
    """Two directories of one disk are one place, whatever they are called."""
    del site.options["copies"]["cloud"]
    site.project.store("mirror", media="tape", offsite=True)
    site.copy(f"{_TIME}.db", "mirror")
    for age in AGES:
        site.put(age, shop(site.now - age), "mirror")


def nothing_offsite(site: Site) -> None:
    site.project.cloud("next-door", site.project.catalogue["stores"]["cloud"]["endpoint"], offsite=False)
    site.options["copies"] = {"nas": site.options["copies"]["nas"]}
    site.copy(f"{_TIME}.db", "next-door")
    for age in AGES:
        site.put(age, shop(site.now - age), "next-door")


def another_order(data: bytes) -> bytes:
    return altered(data, sql("update orders set cents = 999999 where id = 7"))


def no_common_snapshot(site: Site) -> None:
    """The replica is of other times: nothing in it can be compared with the original."""
    for age in AGES:
        key = site.key(site.now - age, "cloud")
        for suffix in ("", ".sha256"):
            site.places["cloud"].remove(f"{key}{suffix}")
    site.forget("cloud")
    for age in AGES:
        site.put(age + timedelta(minutes=7), shop(site.now - age), "cloud")


def replica_is_one_behind(site: Site) -> None:
    """The newest snapshot has not been replicated yet."""
    key = site.newest("cloud")
    for suffix in ("", ".sha256"):
        site.places["cloud"].remove(f"{key}{suffix}")
    site.options["copies"]["cloud"]["lag"] = "1h"


def lost(which: Callable[[timedelta], bool]) -> Make:
    def harm(site: Site) -> None:
        for age in filter(which, _kept()):
            key = site.key(site.now - age)
            for suffix in ("", ".sha256"):
                site.places["nas"].remove(f"{key}{suffix}")

    return harm


def _is_day(number: int) -> Callable[[timedelta], bool]:
    """Whether a recovery point is one of the day before the given number of days, whatever the hour is now."""
    return lambda age: abs(age - number * _DAY - AGES[-1]) < timedelta(minutes=1)


ROWS = [
    Row(
        79, "one copy", three_copies, without_cloud, "/3-2-1", "2 of 3 independent copies, 1 of 2 media, none offsite",
        "Add a copy in another store",
    ),
    Row(
        79, "one failure domain", three_copies, of_one_failure_domain, "/3-2-1", "2 of 3 independent copies",
        "failure domain count once",
    ),
    Row(
        79, "one device", three_copies, of_one_device, "/3-2-1", "2 of 3 independent copies",
        "one device or failure domain count once",
    ),
    Row(79, "nothing offsite", three_copies, nothing_offsite, "/3-2-1", "none offsite", "Add a copy"),
    Row(
        80, "retention hole", kept, lost(_is_day(2)), "/retention", "nas: no daily recovery point for",
        "Check the prune job",
    ),
    Row(
        80, "over-prune", kept, lost(lambda age: age > _DAY), "/retention",
        "nas: .*(no daily recovery point for|recovery points, at least 6)", "Check the prune job", history=True,
    ),
    Row(80, "a day more than promised is gone", kept, lost(_is_day(5)), history=True),
    Row(
        82, "copies differ", three_copies, stored(another_order, "cloud"), "/agree", "differ in content: nas .*, cloud",
        "One of them is not what was backed up",
    ),
    Row(
        82, "copies have no snapshot in common", three_copies, no_common_snapshot, "/agree",
        "no snapshot in common at all", "replication",
    ),
    Row(82, "the replica is one behind", three_copies, replica_is_one_behind),
    Row(
        82, "one copy is damaged", three_copies, unsigned(flip(0.5), "cloud"), "cloud/checksum", "recorded is",
        "use another copy", blocked=("/3-2-1", "/agree", "cloud/restores"),
    ),
]  # fmt: skip
IN_CLOUD = True


class TestFaults(FaultMatrix):
    """The rows of this module."""


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, cloud: S3Server) -> tuple[Outcome, Outcome]:
    """A run over copies that hold the same damage, and one over the snapshot before it."""
    project = Project(tmp_path_factory.mktemp("mirrored") / "project")
    site = Site(project, "shop", "critical", (cloud.client(), cloud.endpoint))
    three_copies(site)
    for copy in _BOTH:
        stored(lambda data: altered(data, sql("delete from orders where id > 9")), copy)(site)
    older = f"{project.now - AGES[-2]:%Y%m%dT%H%M%SZ}"
    return project.drill(), project.drill("--snapshot", older, "-k", "row_count")


def test_a_mirror_that_replicates_the_damage_shows_it_in_every_copy(mirrored: tuple[Outcome, Outcome]) -> None:
    """Row 81: the copies agree in what is wrong, and only their content says so."""
    run, _ = mirrored
    assert run.status == 1
    assert run.causes("shop") == {"nas/rows/orders": "failed", "cloud/rows/orders": "failed"}
    assert run.of("shop")["/agree"].verdict == "passed"
    assert run.of("shop")["/3-2-1"].blocked_by == "rows"


def test_an_older_snapshot_can_be_drilled_and_is_sound(mirrored: tuple[Outcome, Outcome]) -> None:
    _, run = mirrored
    assert run.status == 0, run.screen
    assert {key: case.verdict for key, case in run.of("shop").items()} == {
        "nas/rows/orders": "passed",
        "cloud/rows/orders": "passed",
    }
