"""What is remembered of older snapshots, beside the history that it must not move."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from restore_drill import sampled
from restore_drill.errors import CouldNotVerify
from restore_drill.history import DrillSummary, History
from restore_drill.state import Change, DirectoryState

NOW = 1_795_400_000.0


@pytest.fixture
def history(tmp_path: Path) -> History:
    known = History(DirectoryState(tmp_path))
    known.initialise()
    return known


def _entry(at: float = NOW, *, passed: bool = True, **more: Any) -> dict[str, Any]:
    return {"at": at, "passed": passed, "run": f"run-{at:.0f}", **more}


def _newest(key: str, *, passed: bool = True, at: float = NOW) -> DrillSummary:
    return DrillSummary("run-n", f"id {key}", key, at - 60, at, passed, identity=key)


def test_nothing_is_known_before_anything_was_drilled(history: History, tmp_path: Path) -> None:
    assert sampled.known(history, "orders") == {}
    assert sampled.known(History(DirectoryState(tmp_path / "none")), "orders") == {}


def test_the_last_drill_of_each_is_known(history: History) -> None:
    sampled.record(history, {"orders": {"nas": {"a": _entry(1), "b": _entry(2)}}, "crm": {"nas": {"a": _entry(3)}}})
    sampled.record(history, {"orders": {"nas": {"a": _entry(9, passed=False)}, "offsite": {"a": _entry(4)}}})
    assert sampled.known(history, "orders") == {
        "nas": {"a": _entry(9, passed=False), "b": _entry(2)},
        "offsite": {"a": _entry(4)},
    }
    assert sampled.known(history, "crm") == {"nas": {"a": _entry(3)}}


def test_what_was_drilled_as_the_newest_is_known_too(history: History) -> None:
    history.record("orders", "nas", _newest("a", at=NOW))
    history.record("orders", "nas", _newest("b", passed=False))
    assert sampled.known(history, "orders")["nas"] == {"a": _entry(NOW, id="id a") | {"run": "run-n"}}
    sampled.record(history, {"orders": {"nas": {"a": _entry(NOW + 1, passed=False)}}})
    assert sampled.known(history, "orders")["nas"]["a"]["passed"] is False, "the later drill counts"


def test_it_outlives_the_short_list_of_the_history(history: History) -> None:
    history.record("orders", "nas", _newest("first", at=NOW))
    sampled.record(history, {"orders": {"nas": {"x": _entry()}}})
    for number in range(70):
        history.record("orders", "nas", _newest(f"n{number}", at=NOW + number))
    assert "first" in sampled.known(history, "orders")["nas"]


def test_a_document_is_read_once_and_what_another_run_wrote_meanwhile_stays(history: History, tmp_path: Path) -> None:
    history.record("orders", "nas", _newest("a", at=NOW + 5))

    class Meanwhile(DirectoryState):
        """Another run drills the same snapshot, and another one, just before this one writes."""

        reads: ClassVar[Counter[str]] = Counter()

        def read(self, name: str) -> bytes | None:
            self.reads[name] += 1
            return super().read(name)

        def update_many(self, changes: Mapping[str, Change]) -> None:
            if not (tmp_path / "sampled").exists():
                sampled.record(history, {"orders": {"nas": {"a": _entry(NOW - 5), "b": _entry(NOW)}}})
            super().update_many(changes)

    mine = History(Meanwhile(tmp_path))
    sampled.record(mine, {"orders": {"nas": {"c": _entry(NOW)}}})
    assert Meanwhile.reads["sampled/orders.json"] == 1
    known = sampled.known(history, "orders")["nas"]
    assert (known["a"]["at"], known["b"]["at"], known["c"]["at"]) == (NOW + 5, NOW, NOW)
    kept = json.loads((tmp_path / "sampled" / "orders.json").read_bytes())["copies"]["nas"]
    assert kept["a"]["at"] == NOW + 5, "of two drills of one snapshot the later counts"


def test_the_history_is_not_moved(history: History, tmp_path: Path) -> None:
    history.record("orders", "nas", _newest("a"))
    before = (tmp_path / "targets" / "orders.json").read_bytes()
    sampled.record(history, {"orders": {"nas": {"old": _entry()}}})
    assert (tmp_path / "targets" / "orders.json").read_bytes() == before


def test_a_pinned_digest_of_an_older_snapshot_is_kept(history: History) -> None:
    sampled.record(history, {"orders": {"nas": {"old": _entry(5, pins={"old.db": "aa"})}}})
    sampled.record(history, {"orders": {"nas": {"old": _entry(6, passed=False)}}})
    assert sampled.pin(history, "orders", "nas", "old.db", since=0.0) == "aa"
    assert sampled.pin(history, "orders", "nas", "old.db", since=7.0) is None, "a person accepted that it changed"
    assert sampled.pin(history, "orders", "nas", "other.db", since=0.0) is None


def test_a_state_that_was_begun_anew_knows_nothing(history: History) -> None:
    sampled.record(history, {"orders": {"nas": {"a": _entry()}}})
    history.initialise(fresh=True)
    assert sampled.known(history, "orders") == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 2, "since": 1, "copies": {}}', '{"version": 1}'])
def test_damage_is_told_with_a_way_out(history: History, tmp_path: Path, text: str) -> None:
    sampled.record(history, {"orders": {"nas": {"a": _entry()}}})
    (tmp_path / "sampled" / "orders.json").write_text(text)
    with pytest.raises(CouldNotVerify, match="older snapshots is damaged") as caught:
        sampled.known(history, "orders")
    assert "never drilled" in str(caught.value)


def test_the_memory_is_bounded(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "_KEPT", 3)
    sampled.record(history, {"orders": {"nas": {f"s{number}": _entry(number) for number in range(9)}}})
    assert sorted(sampled.known(history, "orders")["nas"]) == ["s6", "s7", "s8"]
