"""``restore-drill plan dr`` and ``runbook``: what they say of a ledger, and with which exit status."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.evidence import Target, document, stamp
from tests.unit.cli.conftest import Command

from restore_drill.ledger.directory import DirectoryLedger

FIRST = datetime(2026, 3, 2, 2, tzinfo=UTC)
ORDERS, WIKI = Target("orders-db"), Target("wiki", "important", copies=("nas",))


class Estate:
    """A catalogue, and a state with a ledger."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "drills" / "targets.yaml"
        for name in ("drills", "state", "stores/nas", "stores/offsite"):
            (root / name).mkdir(parents=True)
        self.initialise()
        self.ledger = DirectoryLedger(root / "state")
        targets = {
            each.name: {
                "tier": each.tier, "engine": "sqlite", "three_two_one": False,
                "copies": {copy: {"path": f"{each.name}/{{time:%Y%m%d}}.db.gz"} for copy in each.copies},
            }
            for each in (ORDERS, WIKI)
        }  # fmt: skip
        targets["orders-db"]["depends_on"] = ["wiki"]
        stores = {name: {"url": f"file:../stores/{name}", "media": "disk"} for name in ("nas", "offsite")}
        catalogue: dict[str, Any] = {
            "version": 1, "state": "file:../state", "stores": stores, "defaults": {"timezone": "UTC"},
            "targets": targets,
        }  # fmt: skip
        self.path.write_text(yaml.safe_dump(catalogue, sort_keys=False))

    def initialise(self) -> None:
        (self.root / "state" / "restore-drill.json").write_text(
            json.dumps({"version": 1, "initialised": stamp(FIRST)})
        )  # fmt: skip

    def night(self, number: int, **more: Any) -> None:
        """A run in that night."""
        self.ledger.append("run", document(FIRST + timedelta(days=number), targets=(ORDERS, WIKI), **more))


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


def test_a_plan_without_any_record_is_printed_all_the_same(estate: Estate, command: Command) -> None:
    (estate.root / "state" / "restore-drill.json").unlink()
    said = command("plan", "dr", "--catalogue", estate.path)
    assert said.status == 75
    assert "PROBLEM: nothing is known of earlier drills: the state was never initialised" in said.out
    assert "1. wiki (important, wave 1, early because orders-db waits for it)" in said.out
    assert "2. orders-db (critical, wave 2, after wiki)" in said.out
    assert "2 targets, 0 of them proved" in said.out


def test_it_tells_what_is_proved_and_what_is_not(estate: Estate, command: Command) -> None:
    said = command("plan", "dr", "--catalogue", estate.path)
    assert said.status == 1
    assert "NOT PROVED: wiki: nas: it was never drilled" in said.out
    estate.night(0)
    taken = {"measured": {"orders-db/offsite": {"age_seconds": 300, "rto_seconds": 7.0}}}
    estate.night(1, **taken)
    said = command("plan", "dr", "--catalogue", estate.path, "--json")
    plan = json.loads(said.out)
    assert (said.status, plan["not_proved"], plan["too_late"]) == (0, [], [])
    orders = plan["targets"][1]
    # The newest proved snapshot is the offsite one; the clock goes on from what it waits for.
    assert (orders["copy"], orders["restore_seconds"]) == ("offsite", 7.0)
    assert orders["one_after_the_other"] == {"seconds": 49.5, "at_least": False}
    assert plan["in_parallel"] == {"seconds": 49.5, "at_least": False}
    estate.night(1, verdicts={"wiki/nas/checksum": "failed"})
    said = command("plan", "dr", "--catalogue", estate.path)
    assert said.status == 0  # the night before is proved still
    assert said.out.count("IN DOUBT: wiki: its last drill, 2026-03-03 02:00Z, failed (checksum)") == 2
    assert "snapshot 20260302T" in said.out
    assert "**IN DOUBT: its last drill, 2026" in command("runbook", "wiki", "--catalogue", estate.path).out
    markdown = command("plan", "dr", "--catalogue", estate.path, "--markdown", "--without", "nas")
    assert "**NOT PROVED: no copy is left: all its stores are lost**" in markdown.out


def test_a_ledger_that_does_not_hold_together_is_told(estate: Estate, command: Command) -> None:
    for night in range(3):
        estate.night(night)
    entries = estate.root / "state" / "ledger" / "entries.jsonl"
    lines = entries.read_text().splitlines(keepends=True)
    entries.write_text("".join([lines[0], *lines[2:]]))
    said = command("plan", "dr", "--catalogue", estate.path)
    assert said.status == 75
    assert "PROBLEM: entry 2 of the ledger does not follow the one before it" in said.out
    said = command("runbook", "wiki", "--catalogue", estate.path)
    assert said.status == 1
    assert "does not follow the one before it" in said.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "dr", "wiki"], "plan dr is about all targets"),
        (["plan", "dr", "--cost"], "plan dr takes --json or --markdown, and --without; --cost is about drills"),
        (["plan", "dr", "--json", "--markdown"], "plan dr takes --json or --markdown"),
        (["plan", "--markdown"], "--markdown and --without belong to restore-drill plan dr"),
        (["plan", "dr", "--without", "nass"], "no copy lies in a store 'nass'"),
        (["runbook"], "name one target, or give --all"),
        (["runbook", "--all"], "--all needs --out"),
        (["runbook", "wikki"], "Did you mean wiki?"),
        (["runbook", "wiki", "--copy", "offsite"], "wiki has no copy 'offsite'"),
        (["runbook", "--all", "--out", "books", "--copy", "offsight"], "no target has a copy 'offsight'"),
    ],
)
def test_what_is_asked_wrongly_is_told(estate: Estate, command: Command, arguments: list[str], told: str) -> None:
    said = command(*arguments, "--catalogue", estate.path)
    assert said.status == 2
    assert told in said.err


def test_runbooks_are_written_for_all_and_say_what_is_proved(estate: Estate, command: Command) -> None:
    estate.night(0, selected=["orders-db/nas"])
    said = command("runbook", "--all", "--out", estate.root / "books", "--catalogue", estate.path)
    assert said.status == 1  # of the wiki nothing is proved
    orders = (estate.root / "books" / "orders-db.md").read_text()
    wiki = (estate.root / "books" / "wiki.md").read_text()
    assert "**Last proved on 2026-03-02 02:00Z**" in orders
    assert "> **NEVER PROVED: it was never drilled.**" in wiki
    assert "- Bring back first: **wiki**." in orders
    said = command("runbook", "orders-db", "--copy", "nas", "--catalogue", estate.path)
    assert said.status == 0
    assert [line for line in said.out.splitlines() if not line.startswith("Written")] == [
        line for line in orders.splitlines() if not line.startswith("Written")
    ]
    estate.night(1, selected=["orders-db/nas"], verdicts={"orders-db/nas/restores": "failed"})
    said = command("runbook", "orders-db", "--copy", "offsite", "--catalogue", estate.path)
    assert said.status == 1
    assert "NEVER PROVED" in said.out
