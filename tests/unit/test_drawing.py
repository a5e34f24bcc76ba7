"""Older snapshots are listed once a run, however many there are, and what was drawn is found again in its store."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import Objects
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill import sampled
from restore_drill.drawing import draw, drawn
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.facts import Located
from restore_drill.history import History
from restore_drill.locate import locate
from restore_drill.model import Kind
from restore_drill.plan import PlannedTarget
from restore_drill.registry import load
from restore_drill.run import Run, RunOptions
from restore_drill.sampling import EVERY, NEVER, RETEST, Sampling
from restore_drill.state import DirectoryState

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PLACE = ("orders-db", "nas")
PATH = "db/{time:%Y%m%d_%H%M%S}.db"
CHAIN = "db/{time:%Y%m%d}_{kind:full=full|incremental=inc}-{seq}.tar"


class Shop:
    """A target with a store, and runs over it."""

    def __init__(self, root: Path, path: str = PATH, copy: dict[str, Any] | None = None, **target: Any) -> None:
        self.root = root
        self.job = Objects(root / "store", path if path == PATH else PATH)
        (root / "store").mkdir()
        self.target: PlannedTarget = planned_target(
            planned_copy(root=root / "store", path=path, **(copy or {})), **target
        )
        self.history = History(DirectoryState(root / "state"))
        self.history.initialise()

    def put(self, *ages: timedelta) -> list[Path]:
        return [self.job.put(NOW - age) for age in ages]

    def run(self, size: int | None = None, name: str = "run", seed: int = 1) -> Run:
        (self.root / name / "facts").mkdir(parents=True, exist_ok=True)
        plan = plan_of(self.target, state=self.root / "state")
        return Run(name, self.root / name, plan, RunOptions(sampling=Sampling(size, seed)), clock=NOW.timestamp)

    def locate(self, run: Run, *older: str) -> Located:
        copy = self.target.planned_copy("nas~1")
        repository = load("repositories", copy.layout)(run.store(copy), copy, self.target.model)
        return locate(repository, self.target, run, None, older)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def _entry(run: Run) -> dict[str, Any]:
    return run.drawn(*PLACE)


def test_every_one_but_the_newest_is_found_however_many_there_are(shop: Shop) -> None:
    """A survey describes the 64 newest; the draw is from all."""
    shop.put(*(hours * HOUR for hours in range(1, 101)))
    run = shop.run()
    assert draw(run, [PLACE]) == {PLACE: 99}
    entry = _entry(run)
    assert (entry["population"], entry["rule"], entry["seed"]) == (99, "all", None)
    assert {each["why"] for each in entry["drawn"]} == {EVERY}
    oldest = drawn(run, "orders-db", "nas~99")
    facts = shop.locate(run, *oldest)
    assert facts.snapshot.taken_at == NOW - 100 * HOUR
    assert facts.points == 100


def test_it_is_drawn_once_a_run_whoever_comes_first(shop: Shop) -> None:
    shop.put(*(hours * HOUR for hours in range(1, 30)))
    first, second = shop.run(3, seed=1), shop.run(3, seed=2)
    assert draw(first, [PLACE]) == draw(second, [PLACE]) == {PLACE: 3}
    assert _entry(second) == _entry(first)
    assert _entry(second)["seed"] == 1
    assert json.loads((shop.root / "run" / "sample.json").read_text()).keys() == {"orders-db/nas"}
    assert draw(first, []) == {}


@pytest.mark.parametrize(("ages", "slots"), [((), 0), ((1,), 0), ((1, 2), 1), ((1, 2, 3, 4), 2)])
def test_there_are_no_more_slots_than_snapshots(shop: Shop, ages: tuple[int, ...], slots: int) -> None:
    shop.put(*(hours * HOUR for hours in ages))
    assert draw(shop.run(2), [PLACE]) == {PLACE: slots}


def test_what_is_still_being_written_is_neither_newest_nor_older(shop: Shop) -> None:
    shop.put(HOUR, 2 * HOUR, 3 * HOUR)
    (empty,) = shop.put(timedelta(minutes=1))
    empty.write_bytes(b"")
    os.utime(empty, (NOW.timestamp() - 30,) * 2)
    run = shop.run()
    draw(run, [PLACE])
    assert [each["id"] for each in _entry(run)["drawn"]] == ["20261123T100000Z", "20261123T090000Z"]


def test_a_newest_one_that_is_bad_as_it_lies_is_left_to_its_own_drill(shop: Shop) -> None:
    shop.put(HOUR, 2 * HOUR)
    shop.put(-5 * HOUR)  # from the future
    run = shop.run()
    draw(run, [PLACE])
    assert [each["id"] for each in _entry(run)["drawn"]] == ["20261123T110000Z", "20261123T100000Z"]


def test_what_is_known_of_them_decides(shop: Shop) -> None:
    paths = shop.put(*(hours * HOUR for hours in range(1, 6)))
    keys = [f"db/{path.name}" for path in paths]
    good, bad = {"at": 5.0, "passed": True, "run": "r"}, {"at": 9.0, "passed": False, "run": "r"}
    sampled.record(shop.history, {"orders-db": {"nas": {keys[1]: good, keys[2]: bad, keys[3]: good}}})
    run = shop.run(2)
    draw(run, [PLACE])
    assert [(each["identity"], each["why"]) for each in _entry(run)["drawn"]] == [(keys[2], RETEST), (keys[4], NEVER)]
    assert _entry(run)["known"].keys() == {keys[1], keys[2], keys[3]}


def test_what_a_person_gave_up_is_not_drawn(shop: Shop) -> None:
    shop.put(HOUR, 2 * HOUR, 3 * HOUR)
    shop.history.accept("orders-db", "snapshot:20261123T100000Z", "locked", "ada", 1.0)
    shop.history.accept("orders-db", "snapshot:20250101T100000Z", "locked", "ada", 1.0)
    run = shop.run()
    assert draw(run, [PLACE]) == {PLACE: 1}
    assert (_entry(run)["population"], _entry(run)["accepted"]) == (1, ["20261123T100000Z"])


def test_a_link_of_a_chain_brings_its_chain(tmp_path: Path) -> None:
    """Also one that is older than all that a survey describes."""
    shop = Shop(tmp_path, CHAIN, engine="files", rpo="1d")
    for days in range(160, 0, -1):
        place, day = 159 - (days - 1), NOW - days * DAY
        kind = "full" if place % 10 == 0 else "inc"
        shop.job.put(day, b"x", name=f"db/{day:%Y%m%d}_{kind}-{place % 10}.tar")
    run = shop.run()
    assert draw(run, [PLACE]) == {PLACE: 159}
    fourth = next(
        each for each in _entry(run)["drawn"] if each["identity"].endswith(f"{NOW - 157 * DAY:%Y%m%d}_inc-3.tar")
    )
    snapshot = shop.locate(run, fourth["identity"]).snapshot
    assert snapshot.kind is Kind.INCREMENTAL
    assert [parent.kind for parent in snapshot.parents] == [Kind.FULL, Kind.INCREMENTAL, Kind.INCREMENTAL]


# --- when its turn comes ----------------------------------------------------------------------------------------------


def test_a_spare_takes_the_place_of_one_that_was_pruned(shop: Shop) -> None:
    paths = shop.put(*(hours * HOUR for hours in range(1, 9)))
    run = shop.run(1)
    draw(run, [PLACE])
    first, second, *_ = drawn(run, "orders-db", "nas~1")
    assert f"db/{shop.locate(run, first, second).snapshot.main.name}" == first
    next(path for path in paths if first.endswith(path.name)).unlink()
    assert f"db/{shop.locate(run, first, second).snapshot.main.name}" == second


def test_what_was_pruned_without_a_spare_is_not_known(shop: Shop) -> None:
    shop.put(HOUR)
    with pytest.raises(CouldNotVerify, match="was there when the run began and is not any more"):
        shop.locate(shop.run(1), "db/20260101_000000.db")


def test_an_older_one_that_is_empty_or_has_another_ones_name_fails(shop: Shop) -> None:
    _, empty, renamed = shop.put(HOUR, 2 * HOUR, 3 * HOUR)
    empty.write_bytes(b"")
    os.utime(empty, ((NOW - 2 * HOUR).timestamp(),) * 2)
    os.utime(renamed, ((NOW - 30 * DAY).timestamp(),) * 2)
    with pytest.raises(BackupFailed, match="is not complete: it is empty"):
        shop.locate(shop.run(), f"db/{empty.name}")
    with pytest.raises(BackupFailed, match="before the time it claims"):
        shop.locate(shop.run(), f"db/{renamed.name}")


def test_a_pointer_to_the_newest_says_nothing_of_older_ones(tmp_path: Path) -> None:
    """It is missing: the newest one's own drill says so."""
    shop = Shop(tmp_path, copy={"latest": "db/latest.db"})
    _, older = shop.put(HOUR, 2 * HOUR)
    assert shop.locate(shop.run(), f"db/{older.name}").snapshot.main.name == older.name
    copy = shop.target.copies[0]
    with pytest.raises(BackupFailed, match=r"latest\.db is missing"):
        locate(
            load("repositories", copy.layout)(shop.run().store(copy), copy, shop.target.model),
            shop.target,
            shop.run(),
            None,
        )


def test_a_store_that_cannot_be_listed_leaves_one_slot_that_says_so(shop: Shop) -> None:
    (shop.root / "store").rmdir()
    run = shop.run(3)
    assert draw(run, [PLACE]) == {PLACE: 1}
    with pytest.raises(CouldNotVerify, match="could not be listed when the run began"):
        drawn(run, "orders-db", "nas~1")


def test_a_state_that_is_damaged_is_told(shop: Shop) -> None:
    shop.put(HOUR, 2 * HOUR)
    (shop.root / "state" / "sampled").mkdir()
    (shop.root / "state" / "sampled" / "orders-db.json").write_text("[")
    run = shop.run(1)
    assert draw(run, [PLACE]) == {PLACE: 1}
    assert _entry(run)["problem"] == "what is known of older snapshots is damaged"
