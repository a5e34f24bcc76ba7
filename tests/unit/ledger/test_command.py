"""``restore-drill ledger`` and ``sign-off``: exit statuses, what is said, and who may sign what off."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.evidence import WHEN, document
from tests.support.ledgers import chained, head_of, key, review_of, small, store, stored
from tests.unit.cli.conftest import Command, change, command, project

from restore_drill.history import DrillSummary, History
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.statement import evidence_digest
from restore_drill.state import DirectoryState

__all__ = ["command", "project"]
SIGNED = "state: file:../state\nledger: {key: env:LEDGER_KEY, public_keys: [keys/ledger.pub, keys/alice.pub]}"
RUNS = ("20260301T020000Z-aaaaaa", "20260302T020000Z-bbbbbb")


@pytest.fixture
def ledger(project: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryLedger:
    """A project with keys and two signed runs; alice's private key is in ``ALICE_KEY``."""
    change(project / "drills" / "targets.yaml", "state: file:../state", SIGNED)
    (project / "drills" / "keys").mkdir()
    for name in ("ledger", "alice"):
        (project / "drills" / "keys" / f"{name}.pub").write_bytes(key(name).public.pem)
        monkeypatch.setenv(f"{name.upper()}_KEY", key(name).private_pem().decode())
    found = DirectoryLedger(project / "state")
    for run in RUNS:
        found.append("run", small(run), key())
    return found


def last(ledger: DirectoryLedger) -> str:
    return str(ledger.head())


# --- verify -----------------------------------------------------------------------------------------------------------


def test_a_good_ledger(command: Command, ledger: DirectoryLedger) -> None:
    said = command("ledger", "verify", "--head", last(ledger))
    assert said.status == 0
    assert "2 entries, 1 to 2: 2 runs, 0 reviews; 2 signed, 0 unsigned" in said.out
    assert said.out.endswith("good: the chain is whole, every signature is right\n")


def test_a_broken_ledger_names_the_first_bad_entry(command: Command, ledger: DirectoryLedger, project: Path) -> None:
    path = project / "state" / "ledger" / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AAAA', 1))
    for words in ([], ["state", "--key", "drills/keys/ledger.pub"]):
        said = command("ledger", "verify", *words)
        assert said.status == 1
        assert "entry 1: edited: " in said.out
        assert said.out.endswith("BROKEN: the first entry that is wrong is 1 (edited)\n")


def test_what_could_not_be_verified_is_no_pass(command: Command, project: Path, ledger: DirectoryLedger) -> None:
    for words, why in (
        (["gone"], "there is no such file"), (["drills"], "there is no ledger here"),
        (["state"], "no public key was given"),
    ):  # fmt: skip
        said = command("ledger", "verify", *words)
        assert (said.status, said.err) == (75, "")
        assert said.out.splitlines()[-1].startswith("COULD NOT BE VERIFIED: ") and why in said.out
    (project / "state" / "ledger" / "entries.jsonl").unlink()
    (project / "state" / "ledger" / "head.json").unlink()
    assert command("ledger", "verify").status == 75


def test_a_ledger_that_was_emptied_is_broken(command: Command, project: Path, ledger: DirectoryLedger) -> None:
    (project / "state" / "ledger" / "entries.jsonl").write_bytes(b"")
    assert command("ledger", "verify").status == 1


def test_a_path_is_verified_without_any_catalogue(
    command: Command, ledger: DirectoryLedger, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "state")
    public = project / "drills" / "keys" / "ledger.pub"
    (project / "drills" / "targets.yaml").rename(project / "elsewhere.yaml")
    assert command("ledger", "verify", ".", "--key", public).status == 0
    assert command("ledger", "verify", ".", "--key", "gone.pub").status == 2


def test_unsigned_entries_are_told_loudly(command: Command, project: Path) -> None:
    DirectoryLedger(project / "state").append("run", small("r1"))
    said = command("ledger", "verify")
    assert said.status == 0
    assert "1 ENTRIES ARE NOT SIGNED" in said.out and "every signature" not in said.out
    assert command("ledger", "verify", "--signed").status == 1
    (project / "own.pub").write_bytes(key().public.pem)
    said = command("ledger", "verify", "--key", "own.pub")
    assert said.status == 1 and "it signed none of these entries" in said.out
    assert "NOT SIGNED" in command("ledger", "show").out


def test_a_signed_ledger_that_was_written_anew_without_signatures_is_not_good(
    command: Command, ledger: DirectoryLedger, project: Path
) -> None:
    lines: list[bytes] = []
    for line in stored(project / "state"):
        lines = chained([*lines, line], None)
    store(project / "state", lines, head_of(lines))
    said = command("ledger", "verify")
    assert said.status == 75 and "none of these entries is signed" in said.out


def test_runs_that_the_state_remembers_are_missed(command: Command, project: Path, ledger: DirectoryLedger) -> None:
    history = History(DirectoryState(project / "state"))
    history.initialise()
    late = 32_000_000_000.0
    history.record("orders-db", "nas", DrillSummary(RUNS[1], "s", "k", late, late, True))
    assert command("ledger", "verify").status == 0
    history.record("orders-db", "nas", DrillSummary("20260303T020000Z-cccccc", "s", "k", late, late, False))
    said = command("ledger", "verify")
    assert said.status == 1 and "entry 3: truncated: 1 run(s) that the state remembers have no entry" in said.out
    (project / "state" / "runs").mkdir()
    (project / "state" / "runs" / "20260303T020000Z-cccccc.json").write_text("{}")  # it is under way
    assert command("ledger", "verify").status == 0


def test_the_doctor_looks_at_the_ledger(command: Command, ledger: DirectoryLedger) -> None:
    assert f"ledger: 2 entries; signed by {key().key_id[:16]}" in command("doctor").out


# --- keys, show, export -----------------------------------------------------------------------------------------------


def test_a_pair_of_keys_is_made_once_and_can_be_used(
    command: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("ledger", "init-key", "--out", "drills/own").status == 0
    assert stat.S_IMODE((project / "drills/own/ledger.key").stat().st_mode) == 0o600
    assert command("ledger", "init-key", "--out", "drills/own").status == 2
    line = "state: file:../state\nledger: {key: file:own/ledger.key, public_keys: [own/ledger.pub], required: true}"
    change(project / "drills" / "targets.yaml", "state: file:../state", line)
    assert command("validate").status == 0
    assert command("ledger", "init-key", "--out", "drills/own", "--name", "bob").status == 0


def test_runs_are_listed_and_shown(command: Command, ledger: DirectoryLedger) -> None:
    ledger.append("review", review_of(ledger, 1, "Alice A.", comment="a\x1b[2Jb"), key("alice"))
    lines = command("ledger", "show").out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert RUNS[1] in lines[1] and "reviewed by Alice A." in lines[2] and "\x1b" not in lines[2]
    for name in (RUNS[0], RUNS[0][:12]):
        shown = command("ledger", "show", name).out
        assert f"evidence {evidence_digest(small(RUNS[0]))}" in shown and "reviewed by Alice A." in shown
    assert json.loads(command("ledger", "show", "latest", "--json").out)["run"]["id"] == RUNS[1]
    unknown = command("ledger", "show", "20990101")
    assert unknown.status == 2 and RUNS[1] in unknown.err
    assert "several runs begin" in command("ledger", "show", "2026").err


def test_a_period_is_exported_and_verified(command: Command, ledger: DirectoryLedger, project: Path) -> None:
    said = command("ledger", "export", "--out", "all.tar")
    assert said.status == 0 and f"2 entries, the last one is {last(ledger)}" in said.out
    keys = ("--key", "drills/keys/ledger.pub", "--head", last(ledger))
    assert command("ledger", "verify", "all.tar", *keys).status == 0
    assert command("ledger", "export", "--from", "2001-01-01", "--to", "2001-02-01", "--out", "x").status == 2
    assert not (project / "x").exists()
    path = project / "state" / "ledger" / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AAAA', 1))
    said = command("ledger", "export", "--out", "bad")
    assert said.status == 1 and "whoever checks it will find" in said.out
    assert command("ledger", "verify", "bad", *keys).status == 1


# --- sign-off ---------------------------------------------------------------------------------------------------------


def test_a_review_is_bound_to_evidence_and_report(command: Command, ledger: DirectoryLedger, project: Path) -> None:
    import hashlib

    reports = project / "reports" / RUNS[0]
    reports.mkdir(parents=True)
    (reports / "report.html").write_text("<html>")
    (reports / "evidence.json").write_text(json.dumps(small(RUNS[0]), indent=3))
    said = command("sign-off", RUNS[0], "--reviewer", "alice", "--key", "env:ALICE_KEY", "--comment", "looked at it")
    assert (said.status, said.err) == (0, "")
    review = ledger.tail(1)[0]
    assert (review.kind, review.key_id, review.run) == ("review", key("alice").key_id, RUNS[0])
    assert review.review["evidence"] == evidence_digest(small(RUNS[0]))
    assert review.review["report"] == hashlib.sha256(b"<html>").hexdigest()
    assert (review.review["reviewer"], review.review["comment"]) == ("alice", "looked at it")
    assert command("ledger", "verify").status == 0
    (reports / "evidence.json").write_text(json.dumps(small(RUNS[0], "failed")))
    said = command("sign-off", RUNS[0], "--reviewer", "alice", "--key", "env:ALICE_KEY")
    assert said.status == 2 and "not what the ledger recorded" in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((RUNS[0], "--reviewer", "Nightly", "--key", "env:ALICE_KEY"), "is the operator of the run"),
        ((RUNS[0], "--reviewer", "NIGHT-ly@example.org", "--key", "env:ALICE_KEY"), "is the operator of the run"),
        ((RUNS[0], "--reviewer", "CORP\\\uff4eightly", "--key", "env:ALICE_KEY"), "is the operator of the run"),
        ((RUNS[0], "--reviewer", "alice"), "the key that signed the run"),
        ((RUNS[0], "--reviewer", " ", "--key", "env:ALICE_KEY"), "names no reviewer"),
        (("r9", "--reviewer", "alice", "--key", "env:ALICE_KEY"), "the ledger has no run 'r9'"),
        ((RUNS[0], "--reviewer", "alice", "--key", "env:MALLORY_KEY"), "none of the ledger's public keys"),
        ((RUNS[0], "--reviewer", "alice", "--key", "ALICE_KEY"), "a secret is never"),
    ],
)
def test_who_may_not_review(
    command: Command, ledger: DirectoryLedger, project: Path, words: tuple[str, ...], why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MALLORY_KEY", key("mallory").private_pem().decode())
    before = stored(project / "state")
    said = command("sign-off", *words)
    assert said.status == 2 and why in said.err
    assert stored(project / "state") == before


def test_an_unsigned_review_is_none_of_a_signed_ledger(
    command: Command, ledger: DirectoryLedger, project: Path
) -> None:
    change(project / "drills" / "targets.yaml", "key: env:LEDGER_KEY, ", "")
    said = command("sign-off", RUNS[0], "--reviewer", "alice")
    assert said.status == 1 and "there is no key to sign with" in said.err


def test_what_was_tampered_with_is_not_signed_off(command: Command, ledger: DirectoryLedger, project: Path) -> None:
    path = project / "state" / "ledger" / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AAAA', 1))
    words = ("--reviewer", "alice", "--key", "env:ALICE_KEY")
    said = command("sign-off", RUNS[0], *words)
    assert said.status == 2 and "cannot be signed off: entry 1: edited" in said.err
    assert command("sign-off", RUNS[1], *words).status == 0


def test_a_run_that_a_rerun_superseded_is_reviewed_with_a_note(command: Command, project: Path) -> None:
    ledger = DirectoryLedger(project / "state")
    verdicts = {"orders-db/nas/rows/orders": "failed"}
    for hours, run, given in ((0, "first", verdicts), (5, "again", {}), (24, "next", {})):
        ledger.append("run", document(WHEN + timedelta(hours=hours), run=run, verdicts=given))
    said = command("sign-off", "first", "--reviewer", "alice")
    assert said.status == 0 and "THE REVIEW IS NOT SIGNED" in said.out
    assert "superseded by again" in said.out
    assert ledger.tail(1)[0].review["superseded_by"] == "again"
    assert "superseded" not in command("sign-off", "next", "--reviewer", "alice").out
