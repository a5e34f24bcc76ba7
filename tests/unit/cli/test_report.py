"""``restore-drill report``, by its document: runs and periods from a ledger, in every form."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.documents import blocks, commands
from tests.support.evidence import WHEN, document
from tests.support.ledgers import review_of

from restore_drill.cli import main
from restore_drill.ledger.directory import DirectoryLedger

DOCUMENT = Path(__file__).parents[3] / "docs" / "reports.md"
CATALOGUE = """
version: 1
stores: {nas: {url: "file:../store", media: disk}}
state: file:../state
targets:
  orders-db: {tier: critical, engine: sqlite, timezone: UTC, copies: {nas: {path: "{time:%Y%m%d}.db"}}}
"""


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryLedger:
    """Five nights, the fourth of which failed; the last but one is 2026-11-22."""
    (tmp_path / "drills").mkdir()
    (tmp_path / "drills" / "targets.yaml").write_text(CATALOGUE)
    monkeypatch.chdir(tmp_path)
    ledger = DirectoryLedger(tmp_path / "state")
    for night in range(4, -1, -1):
        verdicts = {"orders-db/nas/unpacks": "failed"} if night == 1 else {}
        ledger.append("run", document(WHEN - timedelta(days=night), verdicts=verdicts))
    ledger.append("review", review_of(ledger, 4, "Ada"))
    last = tmp_path / "reports" / "latest"
    last.mkdir(parents=True)
    (last / "evidence.json").write_text(json.dumps(document()))
    return ledger


def test_every_command_of_the_document_does_what_it_says(
    ledger: DirectoryLedger, capsys: pytest.CaptureFixture[str], require_program: Callable[[str], str]
) -> None:
    typed = [command.text for block in blocks(DOCUMENT) if block.language == "console" for command in commands(block)]
    assert len(typed) == 12
    for command in typed:
        program, *arguments = shlex.split(command)
        assert program == "restore-drill"
        assert main(arguments) == 0, command
        out = arguments[arguments.index("--out") + 1]
        assert capsys.readouterr().out == f"{out}: {Path(out).stat().st_size} bytes\n"
    words = subprocess.check_output([require_program("pdftotext"), "report.pdf", "-"], text=True)
    assert "All 2 backups that this run drilled" in words and "Glossary" in words
    assert "All 2 backups" in Path("summary.md").read_text()
    assert "in 2026-11-22 ran and passed; at its end 1 cause needs a human." in Path("night.html").read_text()
    assert "drills due in 2026-11" in Path("november.html").read_text()
    assert json.loads(Path("assessment.json").read_text())["assessment-results"]


def rendered(*arguments: str) -> str:
    assert main(["report", *arguments, "--out", "out"]) == 0
    return Path("out").read_text()


def test_a_run_is_rendered_as_it_was_then(ledger: DirectoryLedger) -> None:
    """With what the ledger knew up to that run, and with the reviews that came later."""
    failed = rendered("20261122")
    assert "1 of 2 backups failed" in failed and "first seen in this run" in failed
    assert '<th scope="row">Ada</th>' in failed and "<strong>Unsigned.</strong>" in failed
    last = rendered()
    assert "All 2 backups" in last and '<th scope="row">Ada</th>' not in last
    assert "5 drills, oldest first: 4 passed and 1 failed; the last passed" in last
    assert last == rendered("--last") == rendered("latest")


def test_a_file_alone_says_that_nothing_vouches_for_it(ledger: DirectoryLedger) -> None:
    assert "Not chained." in rendered("reports/latest/evidence.json")
    assert "Not chained." not in rendered()


def test_a_period_tells_its_failures_with_what_answered_them(ledger: DirectoryLedger) -> None:
    text = rendered("--from", "2026-11-19", "--to", "2026-11-23")
    row = re.search(r"<table class=\"failures stack\">.*?<tbody>(.*?)</tbody>", text, re.DOTALL)
    assert row is not None and row[1].count("<tr>") == 1
    assert (
        "2026-11-22 02:00 UTC" in row[1]
        and '<span class="t">2026-11-23 02:00 UTC</span><small class="t">passed' in row[1]
    )
    before = rendered("--from", "2026-11-19", "--to", "2026-11-22")
    assert "<b>open</b>" in before and "Needs a human" in before and "metrics" not in before
    assert "<b>open</b>" not in text and "Nothing needs a human" in text


def test_a_ledger_that_was_tampered_with_is_told(ledger: DirectoryLedger, tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger" / "entries.jsonl"
    assert "Ledger broken." not in rendered()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert "Ledger broken." in rendered() and "Ledger broken." in rendered("--period", "2026-11")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "no run 'nonsense'"),
        (["--period", "soon"], "'soon' is no period"),
        (["--period", "2026-13"], "'2026-13' is no period"),
        (["--period", "2999"], "2999 has not begun"),
        (["--from", "2026-11-23", "--to", "2026-11-01"], "ends before it begins"),
        (["--period", "2026", "--from", "2026-01-01"], "--period and --from were both given"),
        (["latest", "--period", "2026"], "a run and a period were asked for"),
        (["--period", "2026", "--format", "ctrf"], "a period cannot be written as ctrf"),
    ],
)
def test_what_cannot_be_had_is_said(
    ledger: DirectoryLedger, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["report", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_evidence_of_another_form_is_refused(ledger: DirectoryLedger, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.json").write_text('{"form": "restore-drill/evidence/1"}')
    assert main(["report", "old.json"]) == 1
    assert "restore-drill/evidence/1" in capsys.readouterr().err
    Path("bare.json").write_text('{"form": "restore-drill/evidence/2", "run": {}}')
    assert main(["report", "bare.json"]) == 1
    assert "no evidence that can be shown" in capsys.readouterr().err
    made = document(exceptions=[{"id": "E-1", "target": "orders-db", "case": "rpo", "state": "in force"}])
    for state, status in (("in force", 0), ("of no kind", 1)):
        made["exceptions"][0]["state"] = state
        Path("odd.json").write_text(json.dumps(made))
        assert main(["report", "odd.json", "--out", "odd.html"]) == status
    assert "no evidence that can be shown" in capsys.readouterr().err


def test_without_any_run_there_is_nothing_to_show(
    ledger: DirectoryLedger, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "state" / "ledger" / "entries.jsonl").unlink()
    assert main(["report"]) == 2
    assert "It has no runs" in capsys.readouterr().err
    assert "No drill fell due in 2026-10; 0 runs took place." in rendered("--period", "2026-10")
