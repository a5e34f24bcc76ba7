"""``restore-drill controls``: requirements, the period's evidence and the gaps, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.evidence import Target, document
from tests.support.ledgers import review_of
from tests.unit.cli.conftest import Command, change

from restore_drill.ledger.directory import DirectoryLedger

ORDERS = Target("orders-db", copies=("nas",))
SHOP = Target("shop", copies=("nas",))


@pytest.fixture
def ledger(project: Path) -> DirectoryLedger:
    """Two nights: one good, one in which a count is wrong; of two targets one is never drilled; one review."""
    found = DirectoryLedger(project / "state")
    now = datetime.now(UTC)
    found.append("run", document(now - timedelta(days=100), targets=[ORDERS, SHOP], selected=["orders-db/nas"]))
    found.append("run", document(now - timedelta(days=2), targets=[ORDERS, SHOP], selected=["orders-db/nas"],
                                 verdicts={"orders-db/nas/rows/orders": "failed"}))  # fmt: skip
    found.append("review", review_of(found, 2))
    return found


def test_evidence_gaps_and_what_is_asked_beside(command: Command, ledger: DirectoryLedger) -> None:
    said = command("controls", "--framework", "cis-v8.1", "--framework", "iso-27001-2022")
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "Evidence of the last 365d, from 3 entries of the ledger."
    at = lines.index("  11.5 Test data recovery: EVIDENCE, WITH FAILURES")
    assert lines[at + 1].startswith("    2 drills tested 1 of 2 copies in scope; the last test of 1 failed; quarterly")
    assert lines[at + 2].split() == ["restores", "2", "times,", "1", "copy"]
    assert "    no evidence of: shop/nas" in lines
    assert any(line.startswith("    failing: orders-db/nas (rows, run ") for line in lines)
    assert any(line.startswith("    too long without: orders-db/nas (98.") for line in lines)
    assert "      sign-off    1 of 2 runs reviewed by somebody else than their operator" in lines
    assert any("its text was not read" in line for line in lines), "what is known from hearsay says so"
    assert lines[-1] == "A drill supports a requirement. Whether it is met is for whoever audits to conclude."


def test_a_period_and_json(command: Command, ledger: DirectoryLedger) -> None:
    said = command("controls", "--json", "--period", "30d")
    found = json.loads(said.out)
    assert (said.status, found["estate"], found["ledger"]["unsigned"]) == (0, "user", 3)
    assert {each["framework"] for each in found["frameworks"]} >= {"pci-dss-4.0", "dora"}
    (cis,) = (each for each in found["requirements"] if each["framework"] == "cis-v8.1")
    assert (cis["drills"], cis["copies"], cis["without"]) == (1, {"in_scope": 2, "with_evidence": 1}, ["shop/nas"])
    assert cis["failing"][0]["case"] == "rows"


def test_what_no_run_has_seen_yet_is_in_scope_today_and_was_not_in_the_past(
    command: Command, catalogue: Path, ledger: DirectoryLedger
) -> None:
    change(catalogue, "targets:\n", "targets:\n  new: {tier: critical, engine: sqlite, three_two_one: false, "
                                    "copies: {nas: {path: 'new/{time:%Y%m%d}.db'}}}\n")  # fmt: skip
    assert "    no evidence of: new/nas, shop/nas" in command("controls", "--framework", "hipaa").out
    past = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    assert "new/nas" not in command("controls", "--framework", "hipaa", "--period", past).out


def test_what_left_the_catalogue_in_the_period_is_named(command: Command, ledger: DirectoryLedger) -> None:
    left = datetime.now(UTC) - timedelta(days=1)
    ledger.append("run", document(left, targets=[ORDERS]))
    said = command("controls", "--framework", "cis-v8.1")
    assert f"    left the catalogue in the period: shop/nas ({left:%Y-%m-%d})" in said.out.splitlines()
    assert "no evidence of: shop/nas" in said.out, "it was in scope until then"
    assert "left the catalogue" not in command("controls", "--framework", "cis-v8.1", "--period", "1h").out


def test_nothing_recorded_is_no_evidence(command: Command, project: Path) -> None:
    said = command("controls")
    assert said.status == 0 and "NO EVIDENCE IN THE PERIOD" in said.out and "EVIDENCE IN PART" not in said.out


def test_a_ledger_that_was_tampered_with_says_so_first(
    command: Command, ledger: DirectoryLedger, project: Path
) -> None:
    entries = project / "state" / "ledger" / "entries.jsonl"
    entries.write_bytes(b"".join(entries.read_bytes().splitlines(keepends=True)[1:]))
    said = command("controls", "--framework", "hipaa")
    assert said.status == 1
    assert said.out.splitlines()[1].startswith("THE LEDGER DOES NOT VERIFY (")
    assert "ledger      does not verify" in said.out


def test_the_catalogues_own_choice_and_files(command: Command, catalogue: Path, ledger: DirectoryLedger) -> None:
    house = catalogue.parent / "house.yaml"
    house.write_text(
        "{id: house, title: House rules, version: 1, source: intranet, read: primary, requirements: [{id: 1.10, "
        "title: Restores, asks: Restore., supports: [{evidence: restores, how: It was restored.}]}]}"
    )
    change(catalogue, "version: 1", "version: 1\ncontrols: {include: [house.yaml], frameworks: [house]}")
    said = command("controls")
    assert "House rules, 1 (house)" in said.out and "1.10 Restores: EVIDENCE IN PART" in said.out
    assert "cis-v8.1" not in said.out
    assert "cis-v8.1" in command("controls", "--framework", "cis-v8.1").out
    wrong = command("controls", "--framework", "hose")
    assert wrong.status == 2 and "did you mean house?" in wrong.err


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("{frameworks: [dorra]}", "2:25: there is no framework 'dorra'"),
        ("{include: [gone/*.yaml]}", "2:22: no file matches 'gone/*.yaml'"),
        ("{include: [targets.yaml]}", "id: it is missing"),
        ("{include: [a.yaml, b.yaml]}", "both define the framework 'house'"),
        ("{framework: [dora]}", "unknown option 'framework'"),
    ],
)
def test_a_catalogue_with_wrong_controls_is_refused(
    command: Command, catalogue: Path, written: str, complaint: str
) -> None:
    for name in ("a", "b"):
        text = "{id: house, title: H, version: 1, source: H, read: primary, note: N}"
        (catalogue.parent / f"{name}.yaml").write_text(text)
    assert command("validate").status == 0
    change(catalogue, "version: 1", f"version: 1\ncontrols: {written}")
    said = command("validate")
    assert said.status == 1 and complaint in said.err + said.out
