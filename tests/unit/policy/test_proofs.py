"""Which snapshots count as proved, by what the ledger holds of drills."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from tests.support.evidence import WHEN, Target, document, history

from restore_drill.policy.proofs import Proofs

ONE = (Target("orders-db", copies=("nas",)),)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
KEY = ("orders-db", "nas")


def night(after: timedelta = timedelta(0), *, taken: timedelta = -HOUR, **more: Any) -> dict[str, Any]:
    """A run so long after the first, of a snapshot taken so long before or after that."""
    measured = {"orders-db/nas": {"taken_at": WHEN + taken}}
    return document(WHEN + after, **{"targets": ONE, "measured": measured, **more})


def failed(case: str, verdict: str = "failed") -> dict[str, str]:
    return {f"orders-db/nas/{case}": verdict}


def proved(*documents: Mapping[str, Any]) -> list[str]:
    return list(Proofs.of(documents).of_copy(*KEY))


SNAPSHOT = f"{WHEN - HOUR:%Y%m%dT%H%M%SZ}"


def test_a_whole_drill_that_passed_proves_its_snapshot() -> None:
    found = Proofs.of([night()])
    proof = found.newest(*KEY)
    assert proof is not None and found.of_copy(*KEY) == {SNAPSHOT: proof}
    assert (proof.verdict, proof.scope, proof.depth, proof.chain) == ("passed", "whole", "query", (SNAPSHOT,))
    assert proof.taken_at == (WHEN - HOUR).timestamp() and proof.finished == (WHEN + timedelta(seconds=10)).timestamp()
    assert list(proof.sha256) == list(proof.artifacts) and proof.store == "nas"
    assert found.newest("orders-db", "offsite") is None and found.newest("wiki", "nas") is None


@pytest.mark.parametrize(
    "given",
    [
        {"scope": "partial"},
        {"verdicts": failed("restores")},
        {"verdicts": failed("rpo")},
        {"verdicts": failed("restores", "error")},
        {"verdicts": failed("integrity", "excepted")},
        {"selected": ()},
    ],
)
def test_nothing_less_proves_it(given: Mapping[str, Any]) -> None:
    assert proved(night(**given)) == []
    assert proved(night(**given), night(HOUR)) == [SNAPSHOT]


@pytest.mark.parametrize(
    ("given", "stands"),
    [
        (failed("checksum"), False),
        (failed("rows/orders"), False),
        (failed("newest"), False),
        (failed("rpo"), True),
        (failed("rto"), True),
        (failed("disposed"), True),
        (failed("restores", "error"), True),
        (failed("rows/orders", "excepted"), True),
        (failed("integrity", "excepted"), False),  # approved, and as damaged as it was
        (failed("rto", "excepted"), True),
    ],
)
def test_a_later_failure_of_its_bytes_takes_the_proof_away(given: Mapping[str, str], stands: bool) -> None:
    for scope in ("whole", "partial"):
        assert proved(night(), night(HOUR, verdicts=given, scope=scope)) == ([SNAPSHOT] if stands else [])
    other = night(HOUR, verdicts=given, taken=HOUR / 2)
    assert SNAPSHOT in proved(night(), other)


def test_later_is_what_was_recorded_later_or_ended_later() -> None:
    bad, good = night(HOUR, verdicts=failed("checksum")), night(2 * HOUR)
    assert proved(bad, good) == [SNAPSHOT]
    assert proved(good, bad) == []  # a clock was set back, or it was recorded on behalf of a run that crashed
    assert proved(night(3 * HOUR, verdicts=failed("checksum")), good) == []


def chain(*links: str, run: str, verdict: str = "passed", hours: int = 0, copy: str = "nas") -> dict[str, Any]:
    """A drill of the last of these links."""
    made = night(hours * HOUR, verdicts=None if verdict == "passed" else failed("chain" if links else "located"))
    (drill,) = made["drills"]
    drill["snapshot"] |= {"id": links[-1], "parents": list(links[:-1])}
    drill |= {"copy": copy, "verdict": verdict}
    drill["cases"] = [{"case": "restores", "verdict": verdict}]
    return made


@pytest.mark.parametrize(
    ("links", "left"),
    [
        (("full-1", "inc-1", "inc-2"), ["full-0"]),  # one of them is bad, and nobody knows which
        (("full-1", "diff-3"), ["full-0"]),
        (("full-2",), ["full-0", "full-1", "inc-1"]),
    ],
)
def test_a_failure_takes_all_away_that_shares_a_link_with_it(links: tuple[str, ...], left: list[str]) -> None:
    before = [chain("full-0", run="a"), chain("full-1", run="b", hours=1), chain("full-1", "inc-1", run="c", hours=2)]
    bad = chain(*links, run="d", verdict="failed", hours=3)
    assert sorted(proved(*before)) == ["full-0", "full-1", "inc-1"]
    assert sorted(proved(*before, bad)) == left
    assert "inc-1" in proved(*before, bad, chain("full-1", "inc-1", run="e", hours=4))


def test_a_slot_for_an_older_snapshot_is_of_its_copy() -> None:
    found = Proofs.of([chain("full-0", run="a", copy="nas~2")])
    assert list(found.of_copy(*KEY)) == ["full-0"] and not found.of_copy("orders-db", "nas~2")


def test_the_demo_is_left_aside_where_there_is_anything_else() -> None:
    demo = night(estate="demo")
    assert proved(demo) == [SNAPSHOT]
    assert proved(demo, night(HOUR, selected=())) == []
    assert proved(night(HOUR), night(2 * HOUR, verdicts=failed("checksum"), estate="demo")) == [SNAPSHOT]


def test_the_last_drill_of_each_is_known_whatever_it_found() -> None:
    found = Proofs.of([night(), night(HOUR, verdicts=failed("rows/orders"), scope="partial")]).attempts(*KEY)
    assert (found[SNAPSHOT].verdict, found[SNAPSHOT].scope, found[SNAPSHOT].cause) == (
        "failed", "partial", "rows/orders"
    )  # fmt: skip


def test_memory_is_bounded_where_it_is_asked_for() -> None:
    def told() -> Iterable[Mapping[str, Any]]:
        return history(600, targets=2, faults=0)

    everything, few = Proofs.of(told()), Proofs.of(told(), targets={"db-000"}, keep=5)
    assert len(everything.of_copy("db-000", "nas")) == 150 and everything.of_copy("db-001", "nas")
    kept = few.of_copy("db-000", "nas")
    assert 5 <= len(kept) <= 10 and not few.of_copy("db-001", "nas")
    assert list(kept) == list(everything.of_copy("db-000", "nas"))[-len(kept) :]
