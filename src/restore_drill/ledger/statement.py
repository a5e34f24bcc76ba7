"""What an entry states: an in-toto Statement about a run's evidence, or about a review of it.

Statement v1 (github.com/in-toto/attestation, spec/v1/statement.md), predicates ``test-result`` v0.1 for runs
(spec/predicates/test-result.md) and ``svr`` v0.1, a simple verification result, for reviews (spec/predicates/svr.md).
Both allow further fields: ours is ``restoreDrill``. Keys are in an order in which quick readers need the beginning.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from restore_drill.evidence.record import encode_printable
from restore_drill.ledger.entry import Head, Kind
from restore_drill.ledger.envelope import CONTENT_KEY, Link
from restore_drill.secrets import redact

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
REVIEW = "https://in-toto.io/attestation/svr/v0.1"
#: The property that a review asserts.
REVIEWED = "RESTORE_DRILL_EVIDENCE_REVIEWED"
#: An error is no pass either: could-not-verify has no other word in the standard.
_RESULTS = {"passed": "PASSED", "excepted": "WARNED", "failed": "FAILED", "error": "FAILED"}
_LISTS = {"passed": "passedTests", "excepted": "warnedTests", "failed": "failedTests", "error": "failedTests"}


def canonical(document: Mapping[str, Any]) -> bytes:
    """A document as it is digested: one line of ASCII JSON without spaces, keys in their order, and a newline.

    So ``jq -ca . evidence.json | sha256sum`` (jq 1.7 and later) finds the same digest.
    """
    return (json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n").encode()


def evidence_digest(document: Mapping[str, Any]) -> str:
    """The digest of an evidence document: what reviews are bound to."""
    return hashlib.sha256(canonical(document)).hexdigest()


@dataclass(frozen=True, slots=True)
class Content:
    """What an entry is to hold: evidence or a review.

    Attributes:
        document: As JSON will give it back.
        text: The same as it is digested, without the newline (see :func:`canonical`): of hundreds of drills that is
            megabytes, and they are written once.
    """

    document: dict[str, Any]
    text: str

    @property
    def digest(self) -> str:
        """SHA-256, by which reviews are bound to it."""
        return hashlib.sha256(self.text.encode() + b"\n").hexdigest()


def plain(content: Mapping[str, Any]) -> Content:
    """A document without any secret and without what cannot be printed."""
    text = redact(encode_printable(dict(content), (",", ":")))
    found = json.loads(text)
    assert isinstance(found, dict)  # noqa: S101 - it was one
    return Content(found, text)


def make(kind: Kind, content: Content, last: Link | None, hint: Head | None) -> bytes:
    """The payload of the entry that follows ``last``.

    Args:
        kind: Of which kind it is.
        content: What it holds.
        last: The entry before it, ``None`` for the first.
        hint: The head that was written down earlier: what it knows and the ledger does not is told in the entry.
    """
    now = _now()
    noticed = list(_noticed(last, hint, now))
    document = content.document
    run = document.get("run", {}) if kind == "run" else {"id": document.get("run", "")}
    part = {
        "ledger": last.ledger if last else secrets.token_hex(16),
        "sequence": last.sequence + 1 if last else 1,
        "previous": last.digest if last else None,
        "recorded_at": now,
        "kind": kind,
        "run": run.get("id", ""),
        **({"verdict": document.get("verdict", "error")} if kind == "run" else {}),
        **({"noticed": noticed} if noticed else {}),
        CONTENT_KEY[kind]: None,
    }
    body = _of_run(content, part) if kind == "run" else _of_review(document, part)
    around = json.dumps({"_type": STATEMENT, **body}, separators=(",", ":"), allow_nan=False)
    before, mark, after = around.partition(f',"{CONTENT_KEY[kind]}":')  # no string of JSON contains it
    return (before + mark + content.text + after.removeprefix("null")).encode()


def is_consistent(stated: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether what stands beside the evidence of a run is what the evidence says."""
    evidence = part["evidence"]
    run = evidence.get("run")
    verdict = str(evidence.get("verdict", "error"))
    return (
        isinstance(run, dict)
        and run.get("id", "") == part.get("run")
        and part.get("verdict") == verdict
        and stated.get("predicateType") == TEST_RESULT
        and stated["predicate"].get("result") == _RESULTS.get(verdict, "FAILED")
    )


def _of_run(content: Content, part: dict[str, Any]) -> dict[str, Any]:
    """The predicate of a run, and its subjects."""
    evidence = content.document
    catalogue = evidence.get("catalogue", {})
    url = evidence.get("run", {}).get("ci", {}).get("url")
    tests: dict[str, list[str]] = {name: [] for name in ("passedTests", "warnedTests", "failedTests")}
    for name, verdict in _cases(evidence):
        tests[_LISTS.get(verdict, "failedTests")].append(name)
    predicate = {
        "result": _RESULTS.get(str(evidence.get("verdict")), "FAILED"),
        "restoreDrill": part,
        "configuration": [{"name": catalogue.get("path", ""), "digest": {"sha256": catalogue.get("sha256", "")}}],
        **({"url": url} if url else {}),
        **tests,
    }
    return {
        "predicateType": TEST_RESULT,
        "predicate": predicate,
        "subject": [_subject("evidence.json", content.digest), *_snapshots(evidence)],
    }


def _of_review(review: Mapping[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The predicate of a review, and its subjects."""
    predicate = {
        "verifier": {"id": f"urn:restore-drill:reviewer:{quote(str(review.get('reviewer', '')), safe='')}"},
        "timeCreated": part["recorded_at"],
        "restoreDrill": part,
        "properties": [REVIEWED],
    }
    subjects = [_subject("evidence.json", str(review.get("evidence", "")))]
    if review.get("report"):
        subjects.append(_subject("report.html", str(review["report"])))
    return {"predicateType": REVIEW, "predicate": predicate, "subject": subjects}


def _subject(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}


def _cases(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every case by a name that is its own, and its verdict."""
    for drill in evidence.get("drills", ()):
        for case in drill.get("cases", ()):
            yield _test_name(case, drill["target"], drill["copy"]), case.get("verdict", "error")
    for target in evidence.get("targets", ()):
        for case in target.get("cases", ()):
            yield _test_name(case, target["target"]), case.get("verdict", "error")
    for name in evidence.get("not_run", ()):
        yield str(name), "error"


def _test_name(case: Mapping[str, Any], *where: str) -> str:
    return f"{case['case']}[{'/'.join([*where, case['detail']] if case.get('detail') else where)}]"


def _snapshots(evidence: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The stored objects of the snapshots that were drilled, where their digests are known."""
    for drill in evidence.get("drills", ()):
        for key, digest in ((drill.get("snapshot") or {}).get("sha256") or {}).items():
            if digest:
                yield _subject(f"{drill['target']}/{drill['copy']}/{key}", digest)


def _noticed(last: Link | None, hint: Head | None, now: str) -> Iterator[dict[str, str]]:
    """What the writer of an entry sees is wrong with those before: it is told, and does not keep it from writing."""
    if last and now < last.recorded_at:
        yield {"what": "clock", "text": f"the clock says {now}, the entry before was recorded at {last.recorded_at}"}
    known = last.sequence if last else 0
    if hint and (hint.sequence > known or (last and hint.sequence == known and hint.digest != last.digest)):
        yield {
            "what": "head",
            "text": f"the head was {hint}, the last entry that is there is {last.head if last else 'none'}",
        }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
