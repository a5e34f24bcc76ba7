"""What is remembered of earlier drills: baselines, highest counts, pins, gaps, accepted changes; and for how long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill import history as module
from restore_drill.errors import CouldNotVerify
from restore_drill.history import MARKER, CopyHistory, DrillSummary, History
from restore_drill.state import DirectoryState, State

NOW = 1_795_400_000.0
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def state(tmp_path: Path) -> State:
    return DirectoryState(tmp_path)


@pytest.fixture
def history(state: State) -> History:
    known = History(state)
    known.initialise()
    return known


def summary(taken: float = NOW - HOUR, finished: float = NOW, *, passed: bool = True, **more: Any) -> DrillSummary:
    given = {"run": f"run-{finished:.0f}", "snapshot": f"id-{taken:.0f}", "key": "db/x.db", "digest": "dd", **more}
    return DrillSummary(taken_at=taken, finished_at=finished, passed=passed, **given)


def known(history: History) -> CopyHistory:
    return history.target("orders-db").copy("nas")


def test_a_copy_that_was_never_drilled_has_no_past(history: History) -> None:
    copy = known(history)
    assert copy.last_passed is copy.last_drilled is copy.judged_until is copy.oldest_seen is None
    assert (copy.known_gaps, copy.pin("db/x.db"), copy.sizes_from()) == ([], None, 0.0)
    baseline = copy.baseline(NOW)
    assert (baseline.initialised, baseline.run, dict(baseline.counts)) == (True, "", {})


def test_a_drill_that_passed_becomes_the_baseline(history: History) -> None:
    history.record("orders-db", "nas", summary(counts={"orders": 9}, structure={"table": ["orders"]}))
    baseline = known(history).baseline(NOW)
    assert baseline.run == f"run-{NOW:.0f}"
    assert (baseline.counts, baseline.structure) == ({"orders": 9}, {"table": ["orders"]})
    assert baseline.highest == {"orders": (9, "2026-11-23")}
    assert history.target("orders-db").copy("offsite").last_passed is None
    assert history.target("other-db").copy("nas").last_passed is None


def test_a_drill_that_failed_is_dated_and_no_baseline(history: History) -> None:
    history.record("orders-db", "nas", summary(counts={"orders": 9}))
    failed = summary(NOW + DAY - HOUR, NOW + DAY, passed=False, counts={"orders": 1}, pins={"db/x.db": "bad"})
    history.record("orders-db", "nas", failed)
    copy = known(history)
    assert copy.last_drilled is not None and copy.last_drilled["passed"] is False
    assert copy.baseline(NOW + DAY).counts == {"orders": 9}
    assert copy.pin("db/x.db") is None
    assert copy.judged_until == NOW + DAY - HOUR


def test_an_earlier_snapshot_does_not_replace_the_baseline_of_a_later_one(history: History) -> None:
    history.record("orders-db", "nas", summary(NOW, NOW, counts={"orders": 9}))
    history.record("orders-db", "nas", summary(NOW - DAY, NOW + HOUR, counts={"orders": 12}, pins={"db/old.db": "aa"}))
    copy = known(history)
    assert copy.last_passed is not None and copy.last_passed["taken_at"] == NOW
    assert copy.baseline(NOW).counts == {"orders": 9}
    assert copy.baseline(NOW).highest["orders"][0] == 12
    assert copy.pin("db/old.db") == "aa"
    assert copy.judged_until == NOW


def test_nothing_was_judged_by_a_drill_that_found_nothing(history: History) -> None:
    history.record("orders-db", "nas", summary(0.0, passed=False))
    assert known(history).judged_until is None
    assert known(history).last_drilled is not None


def test_the_oldest_point_ever_seen_only_gets_older(history: History) -> None:
    for oldest in (NOW - 5 * DAY, NOW - 9 * DAY, NOW - 2 * DAY, 0.0):
        history.record("orders-db", "nas", summary(oldest_point=oldest))
    assert known(history).oldest_seen == NOW - 9 * DAY


# --- what failed under an exception -----------------------------------------------------------------------------------

BEFORE = {"counts": {"orders": 100, "audit": 9, "items": 5}, "structure": {"table": ["audit", "items", "orders"]}}
LATER = NOW + DAY


def excepted(history: History, *parts: str, taken: float = LATER - HOUR, **found: Any) -> None:
    """A drill whose failures were covered, a day after the first one."""
    history.record("orders-db", "nas", summary(taken, LATER, excepted=frozenset(parts), **found))


def test_counts_that_failed_under_an_exception_are_no_baseline(history: History) -> None:
    history.record("orders-db", "nas", summary(**BEFORE))
    excepted(history, "rows:orders", counts={"orders": 10, "audit": 7, "items": 6}, structure=BEFORE["structure"])
    copy = known(history)
    baseline = copy.baseline(LATER)
    assert baseline.counts == {"orders": 100, "audit": 7, "items": 6}
    assert (baseline.run, baseline.run_of("rows:orders")) == (f"run-{LATER:.0f}", f"run-{NOW:.0f}")
    assert baseline.run_of("rows:items") == baseline.run_of("structure") == baseline.run
    assert baseline.highest["orders"] == (100, "2026-11-23") and baseline.highest["items"] == (6, "2026-11-24")
    assert copy.last_passed is not None and copy.last_passed["finished_at"] == LATER
    assert copy.baseline(LATER + 40 * DAY).highest == {}
    assert copy.baseline(LATER + 40 * DAY).counts["orders"] == 100


def test_names_that_vanished_under_an_exception_are_still_missed(history: History) -> None:
    history.record("orders-db", "nas", summary(**BEFORE))
    found = {"counts": {"orders": 110, "items": 0, "new": 1}, "structure": {"table": ["items", "new", "orders"]}}
    excepted(history, "structure", **found)
    baseline = known(history).baseline(LATER)
    assert baseline.structure == {"table": ["audit", "items", "new", "orders"]}
    assert baseline.counts == {"orders": 110, "items": 5, "audit": 9, "new": 1}
    assert baseline.run_of("structure") == baseline.run_of("rows:items") == f"run-{NOW:.0f}"
    assert baseline.run_of("rows:orders") == f"run-{LATER:.0f}"
    history.record("orders-db", "nas", summary(LATER, LATER + 1, **found))
    assert known(history).baseline(LATER).structure == found["structure"]
    assert known(history).baseline(LATER).kept == {}


def test_what_was_kept_still_has_its_first_run_after_several_drills(history: History) -> None:
    history.record("orders-db", "nas", summary(**BEFORE))
    for hours in (2, 1):
        excepted(history, "rows:orders", taken=LATER - hours * HOUR, counts={"orders": hours})
    assert known(history).baseline(LATER).counts["orders"] == 100
    assert known(history).baseline(LATER).run_of("rows:orders") == f"run-{NOW:.0f}"


def test_what_was_accepted_is_not_kept(history: History) -> None:
    """A person said that it is right: then an exception has nothing to remember of it."""
    history.record("orders-db", "nas", summary(**BEFORE))
    for table in ("orders", "audit"):
        accept(history, f"rows:{table}", NOW + HOUR)
    excepted(history, "structure", "rows:orders", counts={"orders": 10}, structure={"table": ["orders"]})
    baseline = known(history).baseline(LATER)
    assert baseline.counts == {"orders": 10, "items": 5}
    assert baseline.structure == {"table": ["items", "orders"]}


# --- highest counts of 30 days ----------------------------------------------------------------------------------------


def test_the_highest_of_thirty_days(history: History) -> None:
    for age, count in ((31, 1000), (29, 500), (3, 90), (0, 100)):
        history.record("orders-db", "nas", summary(NOW - age * DAY, NOW - age * DAY, counts={"orders": count}))
    assert known(history).baseline(NOW).highest == {"orders": (500, "2026-10-25")}
    assert known(history).baseline(NOW + 15 * DAY).highest == {"orders": (100, "2026-11-23")}
    assert known(history).baseline(NOW + 40 * DAY).highest == {}


def test_a_day_keeps_its_highest_count(history: History) -> None:
    noon = NOW // DAY * DAY + 12 * HOUR
    for hours, count in ((0, 7), (1, 9), (2, 8)):
        history.record("orders-db", "nas", summary(noon + hours * HOUR, noon + 3 * HOUR, counts={"orders": count}))
    (day,) = json.loads(_document(history))["copies"]["nas"]["highest"]["orders"]
    assert day == [noon + HOUR, 9]


def test_a_table_that_is_gone_for_long_is_forgotten(history: History) -> None:
    history.record("orders-db", "nas", summary(NOW, NOW, counts={"gone": 5, "orders": 5}))
    history.record("orders-db", "nas", summary(NOW + 31 * DAY, NOW + 31 * DAY, counts={"orders": 5}))
    assert json.loads(_document(history))["copies"]["nas"]["highest"].keys() == {"orders"}


def test_a_count_of_a_clock_that_was_wrong_is_no_highest(history: History) -> None:
    history.record("orders-db", "nas", summary(NOW + 400 * DAY, NOW, counts={"orders": 10**6}))
    assert known(history).baseline(NOW).highest == {}


def _document(history: History) -> bytes:
    raw = history._state.read(module._name("orders-db"))
    assert raw is not None
    return raw


# --- accepted changes -------------------------------------------------------------------------------------------------


def accept(history: History, what: str, at: float = NOW) -> None:
    history.accept("orders-db", what, "archived", "ciso", at)


def test_an_accepted_purge_is_in_force_until_a_later_snapshot_has_passed(history: History) -> None:
    counts = {"orders": 100, "items": 5}
    history.record("orders-db", "nas", summary(counts=counts, structure={"table": ["orders"]}))
    accept(history, "rows:orders", NOW + 1)
    for _ in range(2):  # again, when a snapshot of before the purge is drilled once more
        baseline = known(history).baseline(NOW + 2)
        assert baseline.accepted == {"orders": "archived"}
        assert (baseline.counts, baseline.structure) == ({"items": 5}, {"table": []})
        assert baseline.highest.keys() == {"items"}
        history.record("orders-db", "nas", summary(NOW - 10, NOW + 60, counts=counts, structure={"table": ["orders"]}))
    history.record("orders-db", "nas", summary(NOW + DAY, NOW + DAY, counts={"orders": 3, "items": 5}))
    later = known(history).baseline(NOW + 2 * DAY)
    assert (later.accepted, later.counts) == ({}, {"orders": 3, "items": 5})
    assert later.highest["orders"] == (3, "2026-11-24")


def test_sizes_are_compared_from_the_acceptance_on(history: History) -> None:
    accept(history, "size", NOW - DAY)
    accept(history, "size", NOW)
    accept(history, "rows:orders", NOW + DAY)
    assert known(history).sizes_from() == NOW


def test_a_pin_holds_until_a_change_is_accepted_and_drilled(history: History) -> None:
    history.record("orders-db", "nas", summary(pins={"db/x.db": "aa", "db/x.db-wal": "", "db/y.db": "bb"}))
    assert (known(history).pin("db/x.db"), known(history).pin("db/x.db-wal")) == ("aa", None)
    accept(history, "pin:db/x.db", NOW + 1)
    assert (known(history).pin("db/x.db"), known(history).pin("db/y.db")) == (None, "bb")
    history.record("orders-db", "nas", summary(finished=NOW + 2, pins={"db/x.db": "cc"}))
    assert known(history).pin("db/x.db") == "cc"


def test_what_is_remembered_is_bounded(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("_PINS", 5), ("_GAPS", 4), ("_ACCEPTED", 3), ("_RECENT", 2)):
        monkeypatch.setattr(module, name, size)
    for number in range(10):
        at = NOW + number * HOUR
        gap = ((at - 100, at),)
        history.record("orders-db", "nas", summary(at, at, pins={f"db/{number}.db": "aa"}, gaps=gap))
        accept(history, "size", at)
    document = json.loads(_document(history))
    data = document["copies"]["nas"]
    assert sorted(data["pins"]) == [f"db/{number}.db" for number in range(5, 10)]
    assert (len(data["gaps"]), len(data["recent"]), len(document["accepted"])) == (4, 2, 3)
    assert known(history).known_gaps[-1] == (NOW + 9 * HOUR - 100, NOW + 9 * HOUR)


def test_gaps_are_remembered_as_long_as_a_policy_may_look_back(history: History) -> None:
    short, long = (NOW - HOUR, NOW), (NOW - 20 * DAY, NOW - DAY)
    history.record("orders-db", "nas", summary(gaps=(short, long)))
    history.record("orders-db", "nas", summary(gaps=(short,)))
    assert known(history).known_gaps == [long, short]
    history.record("orders-db", "nas", summary(finished=NOW + 500 * DAY))
    assert known(history).known_gaps == [long]


def test_durations_of_targets_are_added_to_what_is_known(history: History) -> None:
    assert history.durations() == {}
    history.record_durations({"a": 1.5, "b": 2.0})
    history.record_durations({"b": 3.0})
    assert history.durations() == {"a": 1.5, "b": 3.0}


def test_a_drill_that_was_cut_short_does_not_make_a_target_look_small(history: History) -> None:
    history.record_durations({"a": 3600.0, "b": 1.0})
    history.record_durations({"a": 0.1, "b": 0.5, "c": 0.2}, cut_short={"a", "c"})
    assert history.durations() == {"a": 3600.0, "b": 0.5, "c": 0.2}


# --- the state underneath ---------------------------------------------------------------------------------------------


def test_without_a_state_there_is_no_history(state: State, tmp_path: Path) -> None:
    fresh = History(state)
    assert not fresh.initialised
    with pytest.raises(CouldNotVerify, match="no state of earlier drills") as caught:
        fresh.target("orders-db")
    assert "restore-drill baseline init" in caught.value.remedy and caught.value.looked_at == str(tmp_path)
    assert fresh.initialise() and fresh.initialised
    assert not fresh.initialise()
    assert fresh.target("orders-db").copy("nas").last_passed is None


def test_a_fresh_beginning_forgets_documents_of_before(history: History, state: State) -> None:
    history.record("orders-db", "nas", summary(counts={"orders": 5}))
    accept(history, "size")
    assert history.initialise(fresh=True)
    assert known(history).last_passed is None and known(history).sizes_from() == 0.0
    history.record("orders-db", "nas", summary(counts={"orders": 6}))
    assert known(History(state)).baseline(NOW).counts == {"orders": 6}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is not JSON"),
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"{}", "it has the version None, this release knows 1"),
        (b'{"version": 2}', "it has the version 2, this release knows 1"),
    ],
)
def test_a_damaged_document_is_never_an_empty_one(history: History, state: State, content: bytes, why: str) -> None:
    state.update(module._name("orders-db"), lambda existing: content)
    for use in (lambda: history.target("orders-db"), lambda: history.record("orders-db", "nas", summary())):
        with pytest.raises(CouldNotVerify, match="the state of earlier drills is damaged") as caught:
            use()
        assert why in caught.value.cause and "baseline init --fresh" in caught.value.remedy
    assert history.target("other-db").copy("nas").last_passed is None


def test_a_damaged_marker_is_no_missing_one(state: State) -> None:
    state.update(MARKER, lambda existing: b"{}")
    with pytest.raises(CouldNotVerify, match="damaged"):
        assert History(state).initialised
    state.update(MARKER, lambda existing: b'{"version": 1, "initialised": "yesterday"}')
    with pytest.raises(CouldNotVerify, match="when it was set up is no time"):
        assert History(state).initialised_at


@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(0, 90), st.booleans(), st.integers(0, 1000)), min_size=1, max_size=20
    )
)
def test_whatever_is_recorded_the_baseline_is_of_a_drill_that_passed(drills: list[tuple[int, int, bool, int]]) -> None:
    class Kept(State):
        documents: dict[str, bytes]

        def __init__(self) -> None:
            self.documents = {}

        def read(self, name: str) -> bytes | None:
            return self.documents.get(name)

        def update(self, name: str, change: Any) -> None:
            self.documents[name] = change(self.documents.get(name))

        def names(self, folder: str) -> list[str]:
            return [name for name in self.documents if name.startswith(f"{folder}/")]

        def remove(self, name: str) -> None:
            del self.documents[name]

        def where(self) -> str:
            return "memory"

    history = History(Kept())
    history.initialise()
    good: list[tuple[float, int]] = []
    for taken, late, passed, count in drills:
        at = NOW + taken * DAY
        history.record("orders-db", "nas", summary(at, at + late * DAY, passed=passed, counts={"orders": count}))
        if passed and (not good or at >= good[-1][0]):
            good.append((at, count))
    baseline = known(history).baseline(NOW + 200 * DAY)
    assert baseline.counts == ({"orders": good[-1][1]} if good else {})
    assert known(history).judged_until == max(NOW + taken * DAY for taken, *_ in drills)
