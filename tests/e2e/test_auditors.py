"""The auditors' guide (auditors.md) followed word by word, over a signed ledger of nights with a failure and a gap."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.documents import follow
from tests.support.evidence import Target, document

from restore_drill.cli import main
from restore_drill.controls import reference
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.signing import KeySigner

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "auditors.md"
CATALOGUE = """\
version: 1
state: "file:../state"
ledger: {key: "file:../keys/ledger.key", public_keys: [../keys/ledger.pub, ../keys/auditor.pub], required: true}
controls: {include: ["controls/*.yaml"]}
stores:
  nas: {url: "file:../backups", media: disk}
defaults: {timezone: UTC, three_two_one: false, engine: sqlite}
targets:
  orders-db: {tier: critical, copies: {nas: {path: "orders/{time:%Y%m%d_%H%M%S}.db"}}}
  shop: {tier: important, copies: {nas: {path: "shop/{time:%Y%m%d_%H%M%S}.db"}}}
"""
OTHER = "{id: other, title: Other, version: 1, source: here, read: primary, note: Nothing is asked.}\n"


def made(directory: Path) -> Path:
    """Nine nights of a project: one count was wrong, one night nothing ran."""
    for name in ("drills/controls", "keys", "bin", "backups"):
        (directory / name).mkdir(parents=True)
    (directory / "drills" / "targets.yaml").write_text(CATALOGUE)
    (directory / "drills" / "controls" / "other.yaml").write_text(OTHER)
    signers = {name: KeySigner.generate() for name in ("ledger", "auditor")}
    for name, signer in signers.items():
        (directory / "keys" / f"{name}.key").write_bytes(signer.private_pem())
        (directory / "keys" / f"{name}.key").chmod(0o600)
        (directory / "keys" / f"{name}.pub").write_bytes(signer.public.pem)
    ledger = DirectoryLedger(directory / "state")
    targets = [Target("orders-db", copies=("nas",)), Target("shop", "important", copies=("nas",))]
    for night in (10, 9, 8, 7, 6, 5, 3, 2, 1):
        when = datetime.now(UTC) - timedelta(days=night) + timedelta(hours=1)
        wrong = {"orders-db/nas/rows/orders": "failed"} if night == 6 else {}
        selected = ["orders-db/nas", "shop/nas"] if night in (9, 2) else ["orders-db/nas"]
        ledger.append("run", document(when, targets=targets, selected=selected, verdicts=wrong), signers["ledger"])
    assert main(["baseline", "init", "--catalogue", str(directory / "drills" / "targets.yaml")]) == 0
    command = directory / "bin" / "restore-drill"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m restore_drill "$@"\n')
    command.chmod(0o755)
    return directory


def test_the_guide_is_followed(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("jq", "openssl", "shuf", "tar"):
        require_program(program)
    project = made(tmp_path / "project")
    environment = {**os.environ, "PATH": f"{project / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    commands = follow(GUIDE, project, environment)
    assert {"ledger", "report", "status", "sign-off", "controls"} <= {each.split()[1] for each in commands}
    assert len(commands) == 14


def test_the_table_of_controls_is_up_to_date() -> None:
    page = GUIDE.read_text("utf-8")
    assert reference.insert(page) == page, "run python -m restore_drill.controls.reference docs/auditors.md"
