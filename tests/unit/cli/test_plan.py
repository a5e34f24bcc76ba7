"""``restore-drill validate`` and ``plan``: what would run, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Command, change


def test_a_good_catalogue(command: Command, catalogue: Path) -> None:
    said = command("validate")
    assert (said.status, said.err) == (0, "")
    assert said.out == f"{catalogue}: good: 1 targets, 1 copies, 12 cases\n"


def test_notes_are_shown(command: Command, catalogue: Path) -> None:
    change(catalogue, "    three_two_one: false\n", "")
    change(catalogue, "file:../state", "file:../state # here")
    assert command("validate").status == 0


def test_a_plan_names_objectives_cases_and_limits(command: Command, project: Path) -> None:
    said = command("plan")
    assert said.status == 0
    lines = said.out.splitlines()
    assert lines[0] == "orders-db (critical, engine sqlite): what was sold"
    assert lines[1] == "  RPO 1 h, RTO 15 min, drilled every 1 d, owner not named"
    assert lines[2].startswith("  nas: file://") and lines[2].endswith("/db/{time:%Y%m%d_%H%M%S}.db")
    assert lines[3].strip() == (
        "located, rpo, gap, fetched, checksum, unpacks, restores, rto, integrity, structure, rows(orders), disposed"
    )
    assert "    not checked: 3-2-1 is not judged" in lines
    assert lines[-1] == "1 targets, 1 drills, 12 cases"


def test_cases_across_copies_and_frozen_targets(command: Command, catalogue: Path) -> None:
    change(catalogue, "    three_two_one: false\n", "    frozen: true\n")
    said = command("plan")
    assert "orders-db (critical, frozen, engine sqlite)" in said.out
    assert "  across copies: 3-2-1" in said.out


def test_what_is_asked_of_a_sandbox_is_shown(command: Command, catalogue: Path) -> None:
    assert "  sandbox" not in command("plan").out
    assert json.loads(command("plan", "--json").out)[0]["sandbox"] == {}
    change(catalogue, "engine: sqlite", "engine: sqlite\n    sandbox: {kind: directory, memory: 1 GiB}")
    assert "\n  sandbox: kind directory, memory 1.07 GB\n" in command("plan").out
    assert json.loads(command("plan", "--json").out)[0]["sandbox"] == {"kind": "directory", "memory": 1 << 30}


def test_a_plan_as_json(command: Command, project: Path) -> None:
    (target,) = json.loads(command("plan", "--json").out)
    assert target["target"] == "orders-db"
    assert (target["rpo_seconds"], target["rto_seconds"], target["drill_every_seconds"]) == (3600, 900, 86400)
    (copy,) = target["copies"]
    assert copy["copy"] == copy["store"] == "nas"
    assert "rows(orders)" in copy["cases"] and "3-2-1 is not judged" in copy["limits"]
    assert target["cases"] == []


@pytest.mark.parametrize(
    ("arguments", "whose"),
    [
        (("--shards", "8"), "--shards belongs to --out or --cost"),
        (("--list",), "--list belongs to --out or --cost"),
        (("--samples", "3"), "--samples belongs to --cost"),
        (("--price", "machine_hour=1", "--out", "plan.json"), "--price belongs to --cost"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    command: Command, project: Path, arguments: tuple[str, ...], whose: str
) -> None:
    said = command("plan", *arguments)
    assert (said.status, said.out) == (2, "")
    assert whose in said.err


@pytest.mark.parametrize(("name", "hint"), [("orders_db", "Did you mean orders-db?"), ("zzz", "It has orders-db.")])
def test_a_target_that_there_is_not(command: Command, project: Path, name: str, hint: str) -> None:
    for words in (("plan",), ("baseline", "show")):
        said = command(*words, name)
        assert said.status == 2 and said.out == ""
        assert f"the catalogue has no target {name!r}" in said.err and hint in said.err
    assert command("plan", "orders-db").status == 0
