"""``restore-drill baseline``: the state is set up once, changes are accepted with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Command, change

from restore_drill.history import DrillSummary, History
from restore_drill.state import DirectoryState

NOW = 1_795_400_000.0


@pytest.fixture
def history(project: Path) -> History:
    """The state of the project, as a run would find it."""
    return History(DirectoryState(project / "state"))


def passed(run: str = "20261122T020000Z-aaaaaa") -> DrillSummary:
    return DrillSummary(
        run, "20261122T014500Z", "db/1.db", NOW - 900, NOW, True, counts={"orders": 100, "audit": 3},
        structure={"table": ["audit", "orders"], "view": ["open_orders"]}, pins={"db/1.db": "aa"},
    )  # fmt: skip


def test_it_is_initialised_once(command: Command, project: Path, history: History) -> None:
    assert not history.initialised
    assert command("baseline", "init").out.endswith("/state: initialised\n")
    assert command("baseline", "init").out.endswith("/state: was initialised already\n")
    assert History(DirectoryState(project / "state")).initialised


def test_a_fresh_beginning_forgets(command: Command, project: Path, history: History) -> None:
    command("baseline", "init")
    history.record("orders-db", "nas", passed())
    assert "passed 2026-11-23" in command("baseline", "show", "orders-db").out
    assert command("baseline", "init").status == 0
    assert "passed 2026-11-23" in command("baseline", "show", "orders-db").out
    assert command("baseline", "init", "--fresh").out.endswith("/state: initialised\n")
    assert command("baseline", "show", "orders-db").out == "orders-db/nas: no whole drill has passed yet\n"


def test_what_is_known_is_shown(command: Command, project: Path, history: History) -> None:
    command("baseline", "init")
    history.record("orders-db", "nas", passed())
    first, second = command("baseline", "show", "orders-db").out.splitlines()
    assert first == "orders-db/nas: passed 2026-11-23 02:13Z with snapshot 20261122T014500Z"
    assert json.loads(second.partition(": ")[2]) == {"audit": 3, "orders": 100}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--table", "orders"), ["rows:orders"]),
        (("--size",), ["size"]),
        (("--files",), ["rows:files", "rows:bytes"]),
        (("--pin", "db/1.db"), ["pin:db/1.db"]),
    ],
)
def test_a_change_is_accepted_with_its_reason(
    command: Command, project: Path, history: History, words: tuple[str, ...], what: list[str]
) -> None:
    command("baseline", "init")
    history.record("orders-db", "nas", passed())
    said = command("baseline", "accept", "orders-db", *words, "--reason", "old orders went to the archive")
    assert (said.status, said.out) == (0, "orders-db: accepted; the next drill that passes becomes the new baseline\n")
    (document,) = [json.loads(path.read_text()) for path in (project / "state").rglob("*orders-db*.json")]
    assert [entry["what"] for entry in document["accepted"]] == what
    assert {entry["reason"] for entry in document["accepted"]} == {"old orders went to the archive"}
    assert all(entry["by"] and entry["at"] > 0 for entry in document["accepted"])


def test_who_accepted_may_have_no_name(command: Command, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    command("baseline", "init")
    assert command("baseline", "accept", "orders-db", "--size", "--reason", "smaller").status == 0


def test_a_reason_must_say_something(command: Command, project: Path) -> None:
    command("baseline", "init")
    said = command("baseline", "accept", "orders-db", "--size", "--reason", "  ")
    assert said.status == 2 and "the reason is empty" in said.err
    assert command("baseline", "accept", "orders-db", "--size", "--reason", "because").status == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--table", "ordesr"), "know no table 'ordesr'. Did you mean orders?"),
        (("--table", "zzz"), "know no table 'zzz'. Known: audit, open_orders, orders."),
        (("--pin", "db/2.db"), "know no pinned artifact 'db/2.db'. Did you mean db/1.db?"),
    ],
)
def test_what_nobody_knows_is_not_accepted(
    command: Command, project: Path, history: History, words: tuple[str, ...], told: str
) -> None:
    command("baseline", "init")
    history.record("orders-db", "nas", passed())
    (path,) = (project / "state").rglob("*orders-db*.json")
    before = path.read_bytes()
    said = command("baseline", "accept", "orders-db", *words, "--reason", "a purge")
    assert (said.status, said.out) == (2, "")
    assert told in said.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("known", ["orders", "audit", "open_orders"])
def test_what_the_catalogue_or_a_drill_knows_is_accepted(
    command: Command, project: Path, history: History, known: str
) -> None:
    """A table of the catalogue even before the first drill; any other object that a drill saw."""
    command("baseline", "init")
    words = ("baseline", "accept", "orders-db", "--table", known, "--reason", "a purge")
    assert command(*words).status == (0 if known == "orders" else 2)
    history.record("orders-db", "nas", passed())
    assert command(*words).status == 0


def test_without_a_state_nothing_is_accepted(command: Command, project: Path) -> None:
    for words in (("accept", "orders-db", "--size", "--reason", "smaller"), ("show", "orders-db")):
        said = command("baseline", *words)
        assert said.status == 1
        assert "restore-drill baseline init" in said.err
    assert not (project / "state").exists()


def test_a_state_that_cannot_be_written(command: Command, catalogue: Path, project: Path) -> None:
    (project / "file").write_text("")
    change(catalogue, "file:../state", "file:../file/state")
    said = command("baseline", "init")
    assert said.status == 1 and "cannot be " in said.err and "restore-drill doctor" in said.err


def test_a_damaged_state_says_what_to_do(command: Command, project: Path) -> None:
    command("baseline", "init")
    (project / "state" / "restore-drill.json").write_text("{")
    said = command("baseline", "show", "orders-db")
    assert said.status == 1 and "it is not JSON" in said.err and "baseline init --fresh" in said.err
