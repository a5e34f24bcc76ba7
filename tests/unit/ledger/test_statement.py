"""A document is written once, and is the same in the payload, in its digest and when it is read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from restore_drill.ledger.envelope import own_part, read_entry, seal, written
from restore_drill.ledger.statement import evidence_digest, make, plain

DOCUMENT: dict[str, Any] = {
    "run": {"id": "R-1"},
    "verdict": "passed",
    "text": 'a "quoted", \\ ünïcode 𝄞, ,"evidence":null and \x1b',
    "numbers": [1e100, -0.0, 0.1, 2**70, True, None],
    "drills": [],
    "targets": [],
}


def test_one_text_serves_the_payload_and_the_digest() -> None:
    content = plain(DOCUMENT)
    assert content.digest == evidence_digest(content.document)
    payload = make("run", content, None, None)
    stated = own_part(payload)
    assert stated.part["evidence"] == content.document == json.loads(payload)["predicate"]["restoreDrill"]["evidence"]
    assert stated.evidence == content.text.encode()
    assert stated.statement["subject"][0]["digest"]["sha256"] == content.digest
    assert list(stated.part)[-1] == "evidence", "quick readers need what stands before it"


@pytest.mark.parametrize(("kind", "key"), [("run", "evidence"), ("review", "review")])
def test_what_was_written_is_what_is_read(kind: Any, key: str) -> None:
    content = plain(DOCUMENT if kind == "run" else {"run": "R-1", "reviewer": 'A "B"', "evidence": "ab"})
    line = seal(make(kind, content, None, None), None)
    entry = read_entry(line, 1, "here")
    assert written(line, content.document, None) == entry
    assert getattr(entry, key) == content.document and entry.run == "R-1"
