"""``restore-drill alert`` and what ``doctor`` says of channels; what is sent by it is in tests/e2e/test_alerts.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.evidence import document
from tests.unit.cli.conftest import Command
from tests.unit.cli.test_doctor import problems

from restore_drill.ledger.directory import DirectoryLedger

ALERTS = "\nalerts: {oncall: env:ALERT_URL}\npings: {critical: {url: env:PING_URL, fail_url: env:PING_FAIL_URL}}\n"


@pytest.fixture
def told(catalogue: Path) -> Path:
    catalogue.write_text(catalogue.read_text() + ALERTS)
    return catalogue


def test_without_anybody_to_tell_it_says_so(command: Command, catalogue: Path) -> None:
    said = command("alert")
    assert said.status == 2
    assert "the catalogue names nobody to tell" in said.err and "docs/alerts.md" in said.err


def test_a_test_is_a_test(command: Command, told: Path) -> None:
    assert command("alert", "--test", "--dry-run").status == 2
    assert command("alert", "--test", "--evidence", "x.json").status == 2
    text = told.read_text().replace("alerts: {oncall: env:ALERT_URL}", "")
    told.write_text(text)
    said = command("alert", "--test")
    assert (said.status, "no channel to test" in said.err) == (2, True)


def test_when_nothing_changed_nobody_is_told(command: Command, told: Path) -> None:
    command("baseline", "init")
    said = command("alert")  # no URL is set: nothing is sent, so nothing is asked for
    assert (said.status, said.out) == (0, "nothing to tell\n")


def test_an_entry_of_another_shape_is_no_quiet_night(command: Command, told: Path) -> None:
    command("baseline", "init")
    ledger = DirectoryLedger(Path("state"))
    ledger.append("run", document())
    assert command("alert", "--dry-run").status == 0
    ledger.append("run", {**document(), "population": [7]})
    said = command("alert", "--dry-run")
    assert said.status == 1
    assert "an entry of the ledger cannot be understood" in said.err and "restore-drill ledger verify" in said.err


def test_evidence_that_cannot_be_read_is_refused(command: Command, told: Path, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"form": "restore-drill/evidence/1"}')
    said = command("alert", "--evidence", str(tmp_path / "old.json"))
    assert said.status == 1 and "restore-drill/evidence/1" in said.err


def test_doctor_looks_for_the_library_and_every_url(
    command: Command, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("baseline", "init")
    said = command("doctor")
    assert problems(said).keys() == {"secret env:ALERT_URL", "secret env:PING_URL", "secret env:PING_FAIL_URL"}
    assert "ok      library apprise (for alerts): " in said.out
    for name in ("ALERT_URL", "PING_URL", "PING_FAIL_URL"):
        monkeypatch.setenv(name, "json://h/s3cretPathOfAHook")
    said = command("doctor")
    assert problems(said) == {} and "s3cretPath" not in said.out
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    assert "pip install 'pytest-restore-drill[alerts]'" in problems(command("doctor"))["library apprise (for alerts)"]
