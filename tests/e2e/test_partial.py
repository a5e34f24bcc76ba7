"""Runs of a part only: they judge what they ran, and count for nothing else; and the state that tells them apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.contents import shop
from tests.support.estate import Outcome, Project
from tests.support.matrix import Site
from tests.support.project import Project as Local
from tests.support.servers import S3Server

_HOUR = timedelta(hours=1)
#: Every case of each copy but one, and 3-2-1.
_NEARLY_ALL = ("-k", "not integrity")
_ACROSS = ("-k", "3_2_1")


@dataclass(frozen=True)
class Days:
    """Two targets with three copies each; one is drilled whole on the first day, both in part whenever they are."""

    nothing_whole: Outcome
    first: Outcome
    next_hour: Outcome
    overdue: Outcome
    still_overdue: Outcome
    again: Outcome
    after_it: Outcome


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory, cloud: S3Server) -> Days:
    project = Project(tmp_path_factory.mktemp("partial") / "project")
    project.catalogue["tiers"] = {"slow": {"rpo": "30d", "rto": "15m", "drill_every": "1d"}}
    site = Site(project, "shop", "slow", (cloud.client(), cloud.endpoint))
    site.options |= {"three_two_one": True, "live": {"media": "disk"}}
    for copy in ("nas", "cloud"):
        site.copy("{time:%Y%m%d_%H%M%S}.db", copy)
        site.put(_HOUR / 3, shop(site.now), copy)
    drill = lambda hours, *words: project.drill(*words, at=project.now + hours * _HOUR)  # noqa: E731 - said once
    return Days(
        nothing_whole=drill(0, *_NEARLY_ALL),
        first=drill(1),
        next_hour=drill(2, *_ACROSS),
        overdue=drill(30, *_NEARLY_ALL),
        still_overdue=drill(31, *_ACROSS),
        again=drill(32),
        after_it=drill(33, *_ACROSS),
    )


def test_a_part_of_a_drill_is_no_proof_for_3_2_1(days: Days) -> None:
    assert days.nothing_whole.status == 75
    assert days.nothing_whole.causes("shop") == {"/3-2-1": "error"}
    assert {drill["scope"] for drill in days.nothing_whole.drills.values()} == {"partial"}
    assert "no whole drill of it has passed yet" in days.nothing_whole.of("shop")["/3-2-1"].message


def test_a_whole_drill_is_and_stays_so_for_as_long_as_drill_every(days: Days) -> None:
    for run in (days.first, days.next_hour):
        assert run.status == 0, run.causes("shop")
        assert run.of("shop")["/3-2-1"].verdict == "passed"
    assert {drill["scope"] for drill in days.first.drills.values()} == {"whole"}


def test_a_part_does_not_put_off_the_day_when_a_drill_is_due(days: Days) -> None:
    for run in (days.overdue, days.still_overdue):
        assert run.status == 75
        assert run.causes("shop") == {"/3-2-1": "error"}
        assert "due every 1 d" in run.of("shop")["/3-2-1"].message
    assert "old, due" in days.still_overdue.of("shop")["/3-2-1"].message
    assert {days.again.status, days.after_it.status} == {0}


# --- a state that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [1, 3])
def test_a_damaged_state_is_named_and_not_taken_for_one_that_never_was(
    tmp_path_factory: pytest.TempPathFactory, targets: int
) -> None:
    project = Local(tmp_path_factory.mktemp("state") / "p", targets)
    assert project.run().status == 0
    marker = project.root / "state" / "restore-drill.json"
    sound = marker.read_bytes()
    marker.write_bytes(b"{")
    damaged = project.run()
    assert damaged.status == 75
    assert damaged.causes == {f"db-{number}/nas/structure": "error" for number in range(targets)}
    told = damaged.told("test_structure[critical/db-0/nas]")
    assert "the state of earlier drills is damaged: it is not JSON" in told and "baseline init --fresh" in told
    assert "never initialised" not in told
    marker.write_bytes(sound)
    assert project.run().status == 0
    marker.unlink()
    none = project.run()
    assert "it was never initialised" in none.told("test_structure[critical/db-0/nas]")
    assert none.causes == damaged.causes


@pytest.mark.parametrize(
    ("approved", "selected", "verdict"),
    [
        (("rows", "orders"), "row_count", "failed"),
        (("checksum", ""), "row_count", "failed"),
        (("rows", "orders"), "row_count or checksum", "failed"),
        (("checksum", ""), "row_count or checksum", "excepted"),
    ],
)
def test_no_exception_covers_who_bears_the_cause_of_a_case_that_was_not_selected(
    tmp_path: Path, approved: tuple[str, str], selected: str, verdict: str
) -> None:
    """Row counts known to be off are no approval of bytes that changed."""
    project = Local(tmp_path / "p", targets=2)
    case, table = approved
    project.exception("db-0", case, **({"detail": table} if table else {}))
    project.write()
    sidecar = next((project.root / "stores").rglob("db-0/*.sha256"))
    sidecar.write_text("0" * 64 + sidecar.read_text()[64:])
    outcome = project.run("-k", f"db-0 and ({selected})")
    bearer = "db-0/nas/checksum" if "checksum" in selected else "db-0/nas/rows/orders"
    assert outcome.verdicts[bearer] == verdict
    assert outcome.status == (1 if verdict == "failed" else 75 if "checksum" in selected else 0)
