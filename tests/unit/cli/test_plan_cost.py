"""``restore-drill plan --cost``: figures from the state, prices from the catalogue and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Command, change

from restore_drill.costs import MONTH_DAYS
from restore_drill.history import DrillSummary, History
from restore_drill.state import DirectoryState

PRICES = "prices: {currency: EUR, machine_hour: 0.1, stores: {nas: {egress_gb: 0.05}}}\n"


@pytest.fixture
def drilled(catalogue: Path) -> Path:
    """A target whose last good drill read two objects of 3 GB in all, and took 100 s."""
    history = History(DirectoryState(catalogue.parents[1] / "state"))
    history.initialise()
    pins = {"a": "ab" * 32, "b": "cd" * 32}
    history.record(
        "orders-db", "nas",
        DrillSummary("r1", "s1", "a", 1e9, 1e9, passed=True, stored_bytes=3 * 10**9, content_bytes=10**10, pins=pins),
    )  # fmt: skip
    history.record_durations({"orders-db": 100.0})
    change(catalogue, "targets:", f"{PRICES}targets:")
    return catalogue


def test_what_was_measured_is_reckoned_with(command: Command, drilled: Path) -> None:
    said = command("plan", "--cost", "--json")
    assert (said.status, said.err) == (0, "")
    bill = json.loads(said.out)
    (store,), (tier,) = bill["stores"], bill["tiers"]
    assert store["fetched"] == pytest.approx(3e9 * MONTH_DAYS) and store["requests"] == pytest.approx(5 * MONTH_DAYS)
    assert tier["hours"] == pytest.approx(100 * MONTH_DAYS / 3600) and bill["disk"] == 2e10
    assert bill["total"] == pytest.approx(3 * MONTH_DAYS * 0.05 + tier["hours"] * 0.1)
    assert (bill["unpriced"], bill["guessed"], bill["unknown"]) == (["disk", "requests of nas"], [], [])


def test_it_is_told_to_people(command: Command, drilled: Path) -> None:
    said = command(
        "plan", "--cost", "--price", "disk_gb_month=0.08", "--price", "nas.requests_1000=0.4", "--shards", "3"
    )
    assert said.status == 0 and "NOT IN THE" not in said.out and "may be packed" not in said.out
    assert "critical               1         1         30.4    91.3 GB           0.85" in said.out
    assert "store nas: 91.3 GB in 152 requests; egress 4.57 EUR, requests 0.06 EUR" in said.out
    assert "machine hours: 0.85; 0.08 EUR" in said.out
    assert "all targets once, on 3 machines: 1 min 40 s" in said.out
    assert "disk: 20.0 GB for each of 3 machines; 4.80 EUR" in said.out
    assert "in all: 9.51 EUR a month" in said.out
    assert "91.3 GB" not in command("plan", "--cost", "--samples", "1").out, "twice that"


def test_what_is_not_known_is_said_loudly(command: Command, catalogue: Path) -> None:
    said = command("plan", "--cost", "--price", "machine_hour=1")
    assert "NOT IN THE SUM, without a price" in said.out and "egress of nas" in said.out
    assert "NOT IN THE FIGURES, never drilled and of unknown size (--list asks the stores): orders-db/nas" in said.out
    assert "time guessed, never drilled: orders-db" in said.out
    listed = command("plan", "--cost", "--list")
    assert "NOT IN THE FIGURES" not in listed.out and "time guessed" in listed.out
    packed = "disk reckoned by what is stored, which may be packed, never drilled: orders-db"
    assert packed in listed.out and packed not in said.out  # of which nothing is known, or all of it


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--price", "machine=1"], "--price machine=1: there is no such price. There are machine_hour,"),
        (["--price", "offsite.egress_gb=1"], "there is no such price"),
        (["--price", "nas.egress_gb=free"], "--price nas.egress_gb=free: give a number"),
        (["--price", "nas.egress_gb=-1"], "give a number"),
        (["--price", "nas.egress_gb=nan"], "give a number"),
        (["--shards", "0"], "at least 1"),
        (["--samples", "-1"], "at least 0"),
        (["--out", "plan.json"], "--out writes a plan, and --cost prints what it costs"),
    ],
)
def test_what_makes_no_sense_is_refused(command: Command, catalogue: Path, arguments: list[str], said: str) -> None:
    refused = command("plan", "--cost", *arguments)
    assert refused.status == 2 and said in refused.err


def test_prices_of_the_catalogue_are_of_stores_that_exist(command: Command, drilled: Path) -> None:
    assert command("validate").status == 0
    change(drilled, "nas: {egress_gb", "nass: {egress_gb")
    said = command("validate")
    assert said.status == 1 and "targets.yaml:6:53: " in said.out + said.err
    assert "no store is called 'nass'" in said.out + said.err and "did you mean 'nas'?" in said.out + said.err
    change(drilled, "nass: {egress_gb: 0.05", "nas: {egress_gb: -0.05")
    assert command("validate").status == 1
