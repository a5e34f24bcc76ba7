"""Tampering of every kind, each told by name at the first entry that is concerned, beside the undamaged twin."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.ledgers import (
    chained,
    filled,
    forged,
    head_of,
    key,
    problems,
    review_of,
    signed,
    small,
    statement_of,
    store,
    stored,
    verified,
)

from restore_drill.ledger.base import Head
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.envelope import digest_of, seal
from restore_drill.ledger.signing import PublicKey
from restore_drill.ledger.verify import verify

#: Runs r1 to r6 (r2 failed), and a review of r3 as the last entry.
RUNS, REVIEW = 6, 7
Lines = list[bytes]
BOTH = ("ledger", "alice")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    root = tmp_path_factory.mktemp("good")
    ledger = filled(root, RUNS, key())
    ledger.append("review", review_of(ledger, 3), key("alice"))
    return stored(root)


def test_the_undamaged_ledger_is_good(good: Lines, tmp_path: Path) -> None:
    ledger = store(tmp_path, good, head_of(good))
    heads = [head_of([line]) for line in good]
    runs = {f"r{number}": "2999-01-01" for number in range(1, RUNS + 1)}
    found = verified(ledger, *BOTH, head=heads, known_runs=runs, required=True)
    assert (found.problems, found.remarks, found.good) == ([], [], True)
    assert (found.first, found.entries, found.runs, found.reviews) == (1, 7, 6, 1)
    assert (found.signed, found.unsigned, found.head) == (7, 0, heads[-1])
    assert found.keys == {key().key_id: 6, key("alice").key_id: 1}


# --- fields -----------------------------------------------------------------------------------------------------------


def _field(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(stated: dict[str, Any]) -> None:
        *names, last = path.split(".")
        for name in names:
            stated = stated[int(name) if name.isdigit() else name]
        assert stated[last] != value
        stated[last] = value

    return change


OWN = "predicate.restoreDrill"
FIELDS = {
    "_type": "https://in-toto.io/Statement/v0.1",
    "predicateType": "https://in-toto.io/attestation/vuln/v0.1",
    "predicate.result": "PASSED",
    "predicate.url": "https://ci.example/2",
    "predicate.configuration": [],
    "predicate.passedTests": [],
    "predicate.failedTests": [],
    f"{OWN}.ledger": "0" * 32,
    f"{OWN}.sequence": 4,
    f"{OWN}.previous": "0" * 64,
    f"{OWN}.recorded_at": "2026-01-01T00:00:00.000Z",
    f"{OWN}.run": "r9",
    f"{OWN}.verdict": "passed",
    f"{OWN}.evidence.verdict": "passed",
    f"{OWN}.evidence.run.id": "r9",
    f"{OWN}.evidence.run.operator.user": "somebody",
    f"{OWN}.evidence.catalogue.sha256": "d" * 64,
    f"{OWN}.evidence.drills.0.verdict": "passed",
    f"{OWN}.evidence.drills.0.snapshot.id": "another",
    f"{OWN}.evidence.drills": [],
    "subject.0.digest.sha256": "e" * 64,
    "subject.1.digest.sha256": "e" * 64,
    "subject": [],
}


@pytest.mark.parametrize("field", FIELDS)
def test_an_edited_field_is_named(good: Lines, tmp_path: Path, field: str) -> None:
    stated = statement_of(good[1])
    _field(field, FIELDS[field])(stated)
    ledger = store(tmp_path, [good[0], forged(good[1], stated), *good[2:]], head_of(good))
    first = verified(ledger, *BOTH).problems[0]
    assert (first.sequence, first.what) == (2, "edited")


def _envelope(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def edit(line: bytes) -> bytes:
        envelope = json.loads(line)
        change(envelope)
        return json.dumps(envelope, separators=(",", ":")).encode()

    return edit


ENVELOPE = {
    "payload type": (_envelope(lambda envelope: envelope.update(payloadType="text/plain")), "edited"),
    "key id": (_envelope(lambda envelope: envelope["signatures"][0].update(keyid=key("alice").key_id)), "edited"),
    "no key id": (_envelope(lambda envelope: envelope["signatures"][0].pop("keyid")), "edited"),
    "signature": (_envelope(lambda envelope: envelope["signatures"][0].update(sig="A" * 86 + "==")), "edited"),
    "short signature": (_envelope(lambda envelope: envelope["signatures"][0].update(sig="AAAA")), "edited"),
    "no signature": (_envelope(lambda envelope: envelope.update(signatures=[])), "unsigned"),
    "another field": (_envelope(lambda envelope: envelope.update(note="x")), "edited"),
    "no payload": (_envelope(lambda envelope: envelope.pop("payload")), "edited"),
    "payload is no statement": (_envelope(lambda envelope: envelope.update(payload="e30=")), "edited"),
    "spaces": (lambda line: line.replace(b'","', b'", "', 1), "edited"),
    "not json": (lambda line: line[:-1], "edited"),
    "empty": (lambda line: b"", "edited"),
    "a list": (lambda line: b"[1]", "edited"),
    "too deep": (lambda line: b"[" * 100_000, "edited"),
    "binary": (lambda line: bytes(range(128, 250)), "edited"),
}


@pytest.mark.parametrize("name", ENVELOPE)
@pytest.mark.parametrize("place", [2, RUNS + 1], ids=["within", "last"])
def test_an_edited_envelope_is_named(good: Lines, tmp_path: Path, name: str, place: int) -> None:
    edit, what = ENVELOPE[name]
    if place == REVIEW and name == "key id":
        return  # it is alice's already
    lines = [*good]
    lines[place - 1] = edit(good[place - 1])
    assert lines != good
    first = verified(store(tmp_path, lines, head_of(good)), *BOTH).problems[0]
    assert (first.sequence, first.what) == (place, what)


def test_a_key_that_is_named_and_did_not_sign_is_told(good: Lines, tmp_path: Path) -> None:
    lines = [*good[:-2], ENVELOPE["no key id"][0](good[-2]), good[-1]]
    found = verified(store(tmp_path, lines, head_of(good)), *BOTH)
    assert [problem.text for problem in found.problems] == ["the key that it names is not the one that signed it"]
    assert found.keys[key("alice").key_id] == 1


def test_no_byte_can_be_changed(good: Lines, tmp_path: Path) -> None:
    chance = random.Random(5)
    whole = b"".join(line + b"\n" for line in good)
    store(tmp_path, good, head_of(good))
    path = tmp_path / "ledger" / "entries.jsonl"
    for _ in range(150):
        place = chance.randrange(len(whole))
        other = bytes([whole[place] ^ (1 << chance.randrange(8))])
        path.write_bytes(whole[:place] + other + whole[place + 1 :])
        assert problems(DirectoryLedger(tmp_path), *BOTH), f"byte {place} as {other!r}"


# --- entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "expected"), [
    ([1], (1, "deleted")), ([3], (3, "deleted")), ([2, 3, 4], (2, "deleted")), ([7], (7, "truncated")),
    ([6, 7], (6, "truncated")),
])  # fmt: skip
def test_missing_entries_are_named(good: Lines, tmp_path: Path, gone: list[int], expected: tuple[int, str]) -> None:
    lines = [line for number, line in enumerate(good, 1) if number not in gone]
    found = problems(store(tmp_path, lines, head_of(good)), *BOTH)
    assert found[0] == expected
    assert len(found) == 1 or 3 in gone  # r3 was reviewed


def test_a_cut_that_hides_itself_is_found_by_what_others_know(good: Lines, tmp_path: Path) -> None:
    ledger = store(tmp_path, good[:4], head_of(good[:4]))
    assert problems(ledger, *BOTH) == []
    assert problems(ledger, *BOTH, head=head_of(good)) == [(5, "truncated")]
    assert problems(ledger, *BOTH, head=head_of(good[:3])) == []
    runs = {"r1": "2999-01-01", "r6": "2999-01-01"}
    assert problems(ledger, *BOTH, known_runs=runs) == [(5, "truncated")]
    before = {"r0": "2001-01-01"}  # of the time before there was a ledger
    assert problems(ledger, *BOTH, known_runs=before) == []


def test_a_head_that_another_entry_has_is_named(good: Lines, tmp_path: Path) -> None:
    other = Head(4, "0" * 64)
    assert problems(store(tmp_path, good, head_of(good)), *BOTH, head=other) == [(4, "edited")]
    assert problems(store(tmp_path, good, Head(7, "0" * 64)), *BOTH) == [(7, "edited")]


def test_without_a_head_that_is_said(good: Lines, tmp_path: Path) -> None:
    found = verified(store(tmp_path, good), *BOTH)
    assert found.problems == [] and "no head.json" in found.remarks[0]


@pytest.mark.parametrize(("order", "expected"), [
    ([1, 3, 2, 4, 5, 6, 7], [(2, "reordered")]),
    ([2, 3, 4, 5, 6, 7, 1], [(1, "reordered")]),
    ([1, 2, 3, 5, 6, 4, 7], [(4, "reordered")]),
])  # fmt: skip
def test_reordered_entries_are_named(
    good: Lines, tmp_path: Path, order: list[int], expected: list[tuple[int, str]]
) -> None:
    assert problems(store(tmp_path, [good[number - 1] for number in order], head_of(good)), *BOTH) == expected


def test_an_entry_that_is_there_again_is_replayed(good: Lines, tmp_path: Path) -> None:
    assert problems(store(tmp_path, [*good, good[1]], head_of(good)), *BOTH) == [(8, "replayed")]
    assert problems(store(tmp_path, [*good[:3], good[1], *good[3:]], head_of(good)), *BOTH) == [(4, "replayed")]


def test_an_entry_of_another_ledger_is_replayed(good: Lines, tmp_path: Path) -> None:
    filled(tmp_path / "other", 4, key())
    foreign = stored(tmp_path / "other")
    lines = [*good[:3], foreign[3], *good[3:]]
    assert problems(store(tmp_path, lines, head_of(good)), *BOTH) == [(4, "replayed")]
    lines = [*good[:3], foreign[3], *good[4:]]
    assert problems(store(tmp_path, lines, head_of(good)), *BOTH)[0] == (4, "replayed")


def test_a_run_that_is_recorded_twice_is_replayed(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 3, key())
    ledger.append("run", small("r1"), key())
    assert problems(ledger) == [(4, "replayed")]


def test_evidence_is_what_its_subject_names_however_it_is_laid_out(good: Lines, tmp_path: Path) -> None:
    """Whoever holds the key may lay JSON out as they like; what it says is digested."""
    stated = statement_of(good[1])
    compact = {"separators": (",", ":")}
    evidence = json.dumps(stated["predicate"]["restoreDrill"]["evidence"], **compact)
    spaced = (json.dumps(stated), json.dumps(stated, indent=1))
    stated["predicate"]["restoreDrill"]["evidence"]["drills"][0]["snapshot"]["id"] = "another"
    changed = json.dumps(stated, **compact)
    before = changed.replace(',"evidence":', f',"evidence":{evidence},"evidence":', 1)  # of two, the last one counts
    after = changed.replace('},"configuration":', f',"evidence":{evidence}' + '},"configuration":', 1)
    for text, expected in (
        (spaced[0], []),
        (spaced[1], []),
        (changed, [(2, "digest")]),
        (before, [(2, "digest")]),
        (after, []),
    ):
        line = seal(text.encode(), key())
        assert problems(store(tmp_path, [good[0], line], head_of([line]))) == expected


def test_a_run_that_was_taken_for_crashed_may_record_itself(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2, key())
    crashed = small("r3", "error")
    crashed["run"]["ended"] = "crashed"
    for evidence in (crashed, small("r3")):
        ledger.append("run", evidence, key())
    found = verified(ledger)
    assert found.problems == [] and "entry 4: the run r3 was taken for crashed (entry 3)" in found.remarks[0]
    for evidence in (crashed, small("r1")):
        ledger.append("run", evidence, key())
    assert problems(ledger) == [(5, "replayed"), (6, "replayed")]


def test_evidence_of_another_run_is_no_evidence_of_this_one(good: Lines, tmp_path: Path) -> None:
    """Whoever holds the key cannot even put the good run's evidence in the bad one's place without a trace."""
    stated, other = statement_of(good[1]), statement_of(good[2])
    stated["predicate"]["restoreDrill"]["evidence"] = other["predicate"]["restoreDrill"]["evidence"]
    lines = chained([good[0], signed(stated, key()), *good[2:6]], key())
    assert problems(store(tmp_path, lines, head_of(lines))) == [(2, "digest")]
    stated["subject"] = other["subject"]
    lines = chained([good[0], signed(stated, key()), *good[2:6]], key())
    assert problems(store(tmp_path, lines, head_of(lines)))[0] == (2, "digest")


# --- keys -------------------------------------------------------------------------------------------------------------


def test_another_key_is_named(good: Lines, tmp_path: Path) -> None:
    stated = statement_of(good[3])
    lines = [*good[:3], signed(stated, key("mallory")), *good[4:]]
    assert problems(store(tmp_path, lines, head_of(good)), *BOTH) == [(4, "wrong key")]


def test_a_ledger_written_anew_by_another_key_is_no_good(good: Lines, tmp_path: Path) -> None:
    lines = chained(good[:RUNS], key("mallory"))
    found = problems(store(tmp_path, lines, head_of(lines)), *BOTH)
    assert found == [(number, "wrong key") for number in range(1, RUNS + 1)]
    assert problems(store(tmp_path, lines, head_of(lines)), "mallory") == []


def test_a_ledger_written_anew_by_the_key_is_found_by_a_head(good: Lines, tmp_path: Path) -> None:
    stated = statement_of(good[0])
    stated["predicate"]["restoreDrill"]["recorded_at"] = "2001-01-01T00:00:00.000Z"
    lines = chained([signed(stated, key()), *good[1:RUNS]], key())
    ledger = store(tmp_path, lines, head_of(lines))
    assert problems(ledger) == []
    assert problems(ledger, head=head_of(good[:5])) == [(5, "edited")]


def test_keys_may_change(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2, key("old"))
    ledger.append("run", small("r3"), key())
    found = verified(ledger, "old", "ledger")
    assert (found.problems, found.keys) == ([], {key("old").key_id: 2, key().key_id: 1})
    assert problems(ledger) == [(1, "wrong key"), (2, "wrong key")]


def test_unsigned_entries_are_told_and_not_taken_among_signed_ones(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 3)
    found = verified(ledger)
    assert (found.problems, found.unsigned, found.signed) == ([], 3, 0)
    assert problems(ledger, required=True) == [(number, "unsigned") for number in (1, 2, 3)]
    ledger.append("run", small("r4"), key())
    assert problems(ledger) == []
    ledger.append("run", small("r5"))
    assert problems(ledger) == [(5, "unsigned")]


def test_an_unsigned_ledger_is_chained_all_the_same(tmp_path: Path) -> None:
    filled(tmp_path, 5)
    lines = stored(tmp_path)
    stated = statement_of(lines[1])
    stated["predicate"]["restoreDrill"]["evidence"]["verdict"] = "passed"
    edited = [lines[0], signed(stated, None), *lines[2:]]
    assert problems(store(tmp_path, edited))[0] == (2, "digest")
    stated = statement_of(lines[4])
    stated["predicate"]["url"] = "https://ci.example/2"
    assert problems(store(tmp_path, [*lines[:4], signed(stated, None)])) == [(5, "edited")]  # head.json knows it
    stated = statement_of(lines[2])
    stated["predicate"]["url"] = "https://ci.example/2"
    assert problems(store(tmp_path, [*lines[:2], signed(stated, None), *lines[3:]])) == [(3, "edited")]


def test_signatures_without_a_key_are_not_verified_and_not_good(good: Lines, tmp_path: Path) -> None:
    none: list[PublicKey] = []
    found = verify(store(tmp_path, good, head_of(good)), none)
    assert (found.problems, found.unverified, found.signed, found.good) == ([], 7, 0, False)


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_is_named(good: Lines, tmp_path: Path) -> None:
    stated = statement_of(good[3])
    stated["predicate"]["restoreDrill"]["recorded_at"] = "2001-01-01T00:00:00.000Z"
    lines = chained([*good[:3], signed(stated, key()), *good[4:6]], key())
    assert problems(store(tmp_path, lines, head_of(lines))) == [(4, "clock")]
    stated["predicate"]["restoreDrill"]["recorded_at"] = "yesterday"
    lines = chained([*good[:3], signed(stated, key()), *good[4:6]], key())
    assert problems(store(tmp_path, lines, head_of(lines))) == [(4, "edited")]


# --- reviews ----------------------------------------------------------------------------------------------------------


REVIEWS: dict[str, dict[str, Any]] = {
    "an unknown run": {"run": "r9"},
    "other evidence": {"evidence": "0" * 64},
    "another entry": {"entry": "0" * 64},
    "the operator": {"reviewer": "nightly"},
    "the operator, written otherwise": {"reviewer": " Nightly "},
    "nobody": {"reviewer": ""},
}


@pytest.mark.parametrize("name", REVIEWS)
def test_a_review_that_proves_nothing_is_named(tmp_path: Path, name: str) -> None:
    ledger = filled(tmp_path, 3, key())
    ledger.append("review", {**review_of(ledger, 2), **REVIEWS[name]}, key("alice"))
    assert problems(ledger, *BOTH) == [(4, "review")]


def test_a_review_by_the_key_of_the_run_is_named(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 3, key())
    ledger.append("review", review_of(ledger, 2), key())
    assert problems(ledger) == [(4, "review")]


def test_a_review_bound_to_another_report_is_named(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2, key())
    ledger.append("review", review_of(ledger, 2, report="a" * 64), key("alice"))
    assert problems(ledger, *BOTH) == []
    lines = stored(tmp_path)
    stated = statement_of(lines[2])
    stated["subject"][1]["digest"]["sha256"] = "b" * 64
    lines[2] = signed(stated, key("alice"))
    assert problems(store(tmp_path, lines, head_of(lines)), *BOTH) == [(3, "review")]


# --- many -------------------------------------------------------------------------------------------------------------


def test_of_many_problems_some_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    filled(tmp_path, 150, key("mallory"))
    found = verified(DirectoryLedger(tmp_path))
    assert (len(found.problems), found.more, found.good) == (100, 50, False)


def test_the_digest_of_an_entry_is_that_of_its_line(good: Lines) -> None:
    import hashlib

    assert digest_of(good[0]) == hashlib.sha256(good[0]).hexdigest()
    assert statement_of(good[1])["predicate"]["restoreDrill"]["previous"] == digest_of(good[0])


ODD: tuple[Any, ...] = (None, 1e400, "x", [[]], {"a": []})


@pytest.mark.parametrize("place", [2, REVIEW], ids=["run", "review"])
def test_nothing_that_an_unsigned_entry_says_ends_the_verifier(good: Lines, tmp_path: Path, place: int) -> None:
    """Whoever can write without a key can write anything: it is a problem, never an exception."""
    part = statement_of(good[place - 1])["predicate"]["restoreDrill"]
    content = "evidence" if place == 2 else "review"
    fields = [f"{OWN}.{name}" for name in (*part, "noticed")] + [f"{OWN}.{content}.{name}" for name in part[content]]
    for field in [*fields, "subject", "subject.0", "subject.0.digest", "predicate", "predicate.result"]:
        for odd in ODD:
            stated = statement_of(good[place - 1])
            *names, last = field.split(".")
            parent: Any = stated
            for name in names:
                parent = parent[int(name) if name.isdigit() else name]
            parent[int(last) if last.isdigit() else last] = odd
            lines = [*good[: place - 1], signed(stated, None), *good[place:]]
            assert problems(store(tmp_path, lines, head_of(good)), *BOTH), (field, odd)
