"""A ledger in a directory: what is written, what is found again, and what a torn line becomes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.support.ledgers import filled, key, problems, review_of, small, statement_of, stored, verified

from restore_drill.errors import CouldNotVerify
from restore_drill.ledger.base import Head
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.envelope import read_small
from restore_drill.ledger.opening import open_ledger
from restore_drill.secrets import register
from restore_drill.stores.base import StoreSettings


def test_an_empty_ledger_writes_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(StoreSettings("state", f"file://{tmp_path}"))
    assert (ledger.head(), ledger.hint(), ledger.tail(3), list(ledger.entries())) == (None, None, [], [])
    assert list(tmp_path.iterdir()) == []


def test_entries_are_found_as_they_were_written(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 5, key())
    review = ledger.append("review", review_of(ledger, 3, comment="seen"), key("alice"))
    entries = list(ledger.entries())
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.previous for entry in entries] == ["", *(entry.digest for entry in entries[:-1])]
    assert [entry.run for entry in entries] == ["r1", "r2", "r3", "r4", "r5", "r3"]
    assert entries[1].evidence == small("r2", "failed")
    assert (review.review["comment"], review.evidence, review.key_id) == ("seen", {}, key("alice").key_id)
    assert entries[-1] == review
    assert {entry.ledger for entry in entries} == {review.ledger}
    assert list(ledger.entries(4)) == entries[3:]
    for count in (0, 1, 4, 6, 9):
        assert ledger.tail(count) == (entries[-count:] if count else [])
    assert ledger.head() == ledger.hint() == Head.parse(str(review.head)) == review.head
    assert verified(ledger, "ledger", "alice", head=entries[2].head).good


def test_quick_readers_find_what_is_small_before_the_evidence(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 1)
    ledger.append("run", small("r2", "error", not_run=["x" * 50] * 2000))
    for line, run, verdict in zip(ledger.lines(), ("r1", "r2"), ("passed", "error"), strict=True):
        whole = statement_of(line)["predicate"]["restoreDrill"]
        evidence = whole.pop("evidence")
        assert read_small(line) == whole
        assert (whole["run"], whole["verdict"], evidence["run"]["id"]) == (run, verdict, run)
    assert ledger.tail(1)[0].evidence["not_run"][1999] == "x" * 50


def test_no_secret_and_nothing_unprintable_is_recorded(tmp_path: Path) -> None:
    register("hunter2-hunter2")
    ledger = DirectoryLedger(tmp_path)
    written = ledger.append("run", small("r1", problems=["the key hunter2-hunter2 was refused", "a\x1b[31mb"]))
    assert written.evidence["problems"][0] == "the key [redacted] was refused"
    assert "\x1b" not in written.evidence["problems"][1]
    assert problems(ledger) == []


def test_a_torn_line_is_remarked_on_and_put_aside(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2)
    with (tmp_path / "ledger" / "entries.jsonl").open("ab") as file:
        file.write(b'{"payloadType":"x')
    found = verified(ledger)
    assert found.problems == [] and found.entries == 2
    assert any("never finished" in remark for remark in found.remarks)
    assert [entry.run for entry in ledger.tail(5)] == ["r1", "r2"]
    ledger.append("run", small("r3"))
    found = verified(ledger)
    assert (found.problems, found.entries) == ([], 3)
    assert any("put aside" in remark for remark in found.remarks)
    (aside,) = (tmp_path / "ledger").glob("torn-*")
    assert aside.read_bytes() == b'{"payloadType":"x'


def test_a_finished_line_that_is_torn_open_again_is_missed(tmp_path: Path) -> None:
    """What cut the end of a finished entry off was no killed writer: ``head.json`` knows it."""
    ledger = filled(tmp_path, 3)
    path = tmp_path / "ledger" / "entries.jsonl"
    os.truncate(path, path.stat().st_size - 10)
    assert problems(ledger) == [(3, "truncated")]
    assert ledger.append("run", small("r4")).sequence == 3
    assert problems(ledger) == [(2, "truncated")]  # the next writer saw it, and said so for good


def test_a_clock_that_was_set_back_is_noticed_by_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = filled(tmp_path, 2)
    for year, run in (("2001", "r3"), ("2099", "r4")):
        monkeypatch.setattr("restore_drill.ledger.statement._now", lambda year=year: f"{year}-01-01T00:00:00.000Z")
        ledger.append("run", small(run))
    monkeypatch.undo()
    for run in ("r5", "r6"):
        ledger.append("run", small(run))
    found = verified(ledger)
    assert found.problems == []
    assert [remark.partition(": recorded at ")[0] for remark in found.remarks] == ["entry 3", "entry 5"]


@pytest.mark.parametrize("damage", [b"not json\n", b"{}\n", b"\n"])
def test_a_last_entry_that_is_none_is_not_followed(tmp_path: Path, damage: bytes) -> None:
    ledger = filled(tmp_path, 2)
    with (tmp_path / "ledger" / "entries.jsonl").open("ab") as file:
        file.write(damage)
    for attempt in (ledger.head, lambda: ledger.append("run", small("r3")), lambda: list(ledger.entries())):
        with pytest.raises(CouldNotVerify, match="the ledger cannot be used"):
            attempt()
    assert problems(ledger) == [(3, "edited")]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file")
    with pytest.raises(CouldNotVerify, match="the ledger cannot be written") as raised:
        DirectoryLedger(tmp_path).append("run", small("r1"))
    assert raised.value.looked_at.endswith("entries.jsonl") and raised.value.remedy


def test_a_head_is_written_and_read_alike() -> None:
    head = Head(17, "a" * 64)
    assert Head.parse(f" {head}\n") == head
    for wrong in ("17", "x:" + "a" * 64, "17:" + "a" * 63, "17:" + "A" * 64, "²:" + "a" * 64):
        with pytest.raises(ValueError, match="SEQUENCE:DIGEST"):
            Head.parse(wrong)


def test_a_digest_of_evidence_is_that_of_one_line_of_json(tmp_path: Path) -> None:
    import hashlib

    entry = filled(tmp_path, 1).tail(1)[0]
    line = json.dumps(entry.evidence, separators=(",", ":")) + "\n"
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement_of(stored(tmp_path)[0])["subject"]}
    assert subjects["evidence.json"] == hashlib.sha256(line.encode()).hexdigest()
    assert subjects["orders-db/nas/orders.db"] == "5" * 64
