"""What is told of a copy beside its newest proof: how the last drill of its newest snapshot ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.evidence import WHEN, Target, document

from restore_drill.policy.proofs import Proofs
from restore_drill.recovery.known import Known

DAY = timedelta(days=1)


def night(number: int, case: str = "", verdict: str = "failed", **more: Any) -> dict[str, Any]:
    verdicts = {f"orders-db/nas/{case}": verdict} if case else {}
    taken = {"orders-db/nas": {"taken_at": WHEN + number * DAY}}
    targets = (Target("orders-db", copies=("nas",)),)
    return document(WHEN + number * DAY, **{"targets": targets, "verdicts": verdicts, "measured": taken, **more})


def with_older(found: dict[str, Any], verdict: str = "passed") -> dict[str, Any]:
    """The same run drills an older snapshot as well, after the newest."""
    verdicts = {} if verdict == "passed" else {"orders-db/nas~1/checksum": verdict}
    older = document(WHEN, targets=(Target("orders-db", copies=("nas~1",)),), verdicts=verdicts)["drills"][0]
    older |= {"why": {"rule": "sampled", "of": "nas"}, "finished": found["run"]["finished"]}
    return {**found, "drills": [*found["drills"], older]}


GOOD = night(0)
KNOWN = {
    "good": ([GOOD], ""),
    "never drilled": ([], ""),
    "newest bad": ([GOOD, night(1, "checksum")], "failed (checksum)"),
    "newest bad, an older one good": ([GOOD, with_older(night(1, "checksum"))], "failed (checksum)"),
    "newest good, an older one bad": ([GOOD, with_older(night(1), "failed")], ""),
    "store away": ([GOOD, night(1, "located", "error")], "could not be verified (located)"),
    "good again": ([GOOD, night(1, "located", "error"), night(2)], ""),
    "only a part of it good since": ([GOOD, night(1, "checksum"), night(2, scope="partial")], "failed (checksum)"),
}


@pytest.mark.parametrize(("documents", "said"), KNOWN.values(), ids=list(KNOWN))
def test_a_newest_snapshot_that_was_bad_is_told(documents: list[dict[str, Any]], said: str) -> None:
    found = Known(Proofs.of(documents)).doubt("orders-db", "nas")
    assert found.endswith(said)
    assert bool(found) is bool(said)


def test_why_nothing_is_proved_is_told_even_where_nothing_was_found() -> None:
    unread = Known(Proofs.of([night(1, "located", "error")]))
    assert "could not be verified (located)" in unread.why_not("orders-db", "nas")
    assert unread.why_not("orders-db", "offsite") == "it was never drilled"


@pytest.mark.parametrize(("store", "here"), [("nas", True), ("tape", False)])
def test_what_was_proved_in_another_store_is_no_way_back_from_this_one(store: str, here: bool) -> None:
    known = Known(Proofs.of([GOOD]), stores={("orders-db", "nas"): store})
    proof = known.newest("orders-db", "nas")
    assert (proof is not None) is here
    assert ("what was proved of it lay in another store, nas" in known.why_not("orders-db", "nas")) is not here
