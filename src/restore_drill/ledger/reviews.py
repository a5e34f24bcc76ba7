"""Reviews: who looked at which run's evidence, bound to its digest; the reviewer is not the run's operator."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from restore_drill.ledger.entry import Head


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review of a run is compared with.

    Attributes:
        head: The run's entry.
        evidence: The digest of its evidence.
        operator: Who ran it.
        key: The key that signed it, ``""`` when none did.
        crashed: Whether another run wrote the entry on its behalf.
    """

    head: Head
    evidence: str
    operator: str
    key: str
    crashed: bool = False

    @classmethod
    def of(cls, evidence: Mapping[str, Any], head: Head, digest: str, key: str) -> Reviewed:
        """A run by its evidence."""
        run = evidence.get("run")
        run = run if isinstance(run, dict) else {}
        operator = run.get("operator")
        name = str(operator.get("user", "")) if isinstance(operator, dict) else ""
        return cls(head, digest, name, key, run.get("ended") == "crashed")


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same but for how they are written: ``J.Doe@example.org`` is ``jdoe``."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    """Letters and digits of a name in lower case, without the domain that an account may carry."""
    text = unicodedata.normalize("NFKC", name).casefold().rpartition("\\")[2]
    account = text.partition("@")[0]
    return "".join(filter(str.isalnum, account)) or "".join(text.split())


def wrong_with_review(
    review: Mapping[str, Any], subjects: Mapping[str, str], runs: Mapping[str, Reviewed], key: str
) -> str:
    """What is wrong with a review, ``""`` when nothing is.

    Args:
        review: What the entry says.
        subjects: SHA-256 of what its statement is about, by name.
        runs: Runs that were recorded before it, by id.
        key: The key that signed it, ``""`` when none did.
    """
    run = str(review.get("run", ""))
    reviewed = runs.get(run)
    if reviewed is None:
        return f"it reviews the run {run!r}, which is not recorded before it"
    if {str(review.get("evidence", "")), subjects.get("evidence.json", "")} != {reviewed.evidence}:
        return f"the evidence that it reviews is not that of the run {run}"
    if str(review.get("entry", "")) != reviewed.head.digest:
        return f"it reviews another entry than the one that records the run {run}"
    if str(review.get("report", "")) != subjects.get("report.html", ""):
        return "the report that it reviews is not the one that it is bound to"
    return not_independent(str(review.get("reviewer", "")), key, reviewed)


def not_independent(reviewer: str, key: str, reviewed: Reviewed) -> str:
    """Why somebody may not review a run, ``""`` when nothing speaks against it."""
    if not reviewer.strip():
        return "it names no reviewer"
    if same_person(reviewer, reviewed.operator):
        return f"the reviewer {reviewer!r} is the operator of the run"
    if key and key == reviewed.key:
        return "it is signed by the key that signed the run: the reviewer needs a key of their own"
    return ""
