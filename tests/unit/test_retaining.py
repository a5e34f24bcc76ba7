"""What this run's drill and the ledger together prove of a copy whose backups somebody removes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.evidence import Target, document
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.catalogue.keeping import ExpiryRule
from restore_drill.facts import Located
from restore_drill.model import Artifact, Kind, Snapshot, Verdict
from restore_drill.plan import PlannedCase
from restore_drill.policy.expiry import ExpiryFacts
from restore_drill.policy.gate import CopyDecision, Decision, Point, Reason
from restore_drill.policy.proofs import Proofs
from restore_drill.retaining import Answers, Retained, Tonight, expiry_facts, retained, sharing

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
COPY = replace(planned_copy(), expiry=ExpiryRule(after=30 * DAY))
TARGET = planned_target(COPY)
PASSED, FAILED, EXCEPTED = Verdict.PASSED, Verdict.FAILED, Verdict.EXCEPTED


def snapshot(age: int, *parents: Snapshot, kind: Kind = Kind.FULL) -> Snapshot:
    taken = NOW - age * DAY - HOUR
    return Snapshot(taken, (Artifact(f"{taken:%Y%m%d}.db", 10, 0.0),), kind, parents=parents)


TONIGHT, BEFORE, LONG_AGO = snapshot(0), snapshot(1), snapshot(9)


def drill(
    verdicts: Mapping[str, Verdict], *, of: Snapshot | None = TONIGHT, whole: bool = True, newest: bool = True
) -> Tonight:
    located = None
    if of is not None:
        located = Located(of, "here", NOW.timestamp(), of.taken_at.timestamp(), 1, 1, 0.0, times=(1.0, 2.0))
    cases = {PlannedCase("orders-db", "nas", name): verdict for name, verdict in verdicts.items()}
    return Tonight(located, cases, "checksum: it is wrong", whole=whole, newest=newest)


def ledger(*proved: Snapshot) -> Proofs:
    one = (Target("orders-db", copies=("nas",)),)
    documents = [
        document(each.taken_at + HOUR / 2, targets=one, measured={"orders-db/nas": {"taken_at": each.taken_at}})
        for each in proved
    ]
    return Proofs.of(documents)


def nobody() -> Proofs:
    raise AssertionError("the ledger is not read where this run's drill says all")


def found(tonight: Tonight, *proved: Snapshot) -> list[str]:
    facts = expiry_facts(TARGET, COPY, tonight, lambda: ledger(*proved))
    return sorted(each.snapshot for each in facts.proved)


def test_a_newest_snapshot_that_passed_is_all_that_counts() -> None:
    facts = expiry_facts(TARGET, COPY, drill({"located": PASSED, "rows": EXCEPTED}), nobody)
    assert isinstance(facts, ExpiryFacts)
    assert [each.snapshot for each in facts.proved] == [TONIGHT.id]
    assert (facts.warn, facts.times, facts.blocked_by) == (DAY.total_seconds(), (1.0, 2.0), "checksum")


def test_its_chain_grows_old_from_its_first_link() -> None:
    chained = snapshot(0, snapshot(6), snapshot(3, kind=Kind.INCREMENTAL), kind=Kind.INCREMENTAL)
    facts = expiry_facts(TARGET, COPY, drill({"located": PASSED}, of=chained), nobody)
    assert [each.oldest for each in facts.proved] == [(NOW - 6 * DAY - HOUR).timestamp()]


@pytest.mark.parametrize(
    ("tonight", "left"),
    [
        (drill({"located": PASSED}, newest=False), [LONG_AGO, BEFORE, TONIGHT]),
        (drill({"located": PASSED}, whole=False), [LONG_AGO, BEFORE]),
        (drill({"integrity": EXCEPTED}), [LONG_AGO, BEFORE]),
        (drill({"located": FAILED}, of=None), [LONG_AGO, BEFORE]),
        (drill({"checksum": FAILED}), [LONG_AGO, BEFORE]),
        (drill({"checksum": FAILED}, of=BEFORE), [LONG_AGO]),
        (drill({"rpo": FAILED}, of=BEFORE), [LONG_AGO, BEFORE]),
        (drill({"integrity": EXCEPTED}, of=BEFORE), [LONG_AGO]),
        (drill({"checksum": FAILED, "rpo": EXCEPTED}, of=TONIGHT), [LONG_AGO, BEFORE]),
        (drill({"restores": Verdict.ERROR}, of=BEFORE), [LONG_AGO, BEFORE]),
        (drill({"checksum": FAILED}, of=snapshot(0, BEFORE, kind=Kind.INCREMENTAL)), [LONG_AGO]),
    ],
)
def test_otherwise_the_ledger_says_what_is_proved(tonight: Tonight, left: list[Snapshot]) -> None:
    assert found(tonight, LONG_AGO, BEFORE) == sorted(each.id for each in left)


def test_a_name_that_may_mean_two_things_stays_if_one_of_them_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays = {"a/x.db": True, "b/x.db": False, "c/y.db": False, "a/c/y.db": True, "d/z.db": False}
    decisions = [
        Decision(Point(f"id-{key}", key, 0.0), stays=each, reasons=(Reason("hold", "because"),))
        for key, each in stays.items()
    ]
    answers = Answers(Retained(COPY, "here", str(tmp_path), CopyDecision("nas", tuple(decisions), None), 0.0))

    def goes(name: str) -> bool | None:
        decision, _ = answers.of(name)
        return None if decision is None else not decision.stays

    assert [goes(name) for name in ("a/x.db", "b/x.db", "d/z.db", "z.db", "id-d/z.db")] == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert goes("x.db") is False and goes("nothing") is None
    (tmp_path / "a").mkdir()
    assert goes("c/y.db") is True
    monkeypatch.chdir(tmp_path / "a")
    assert goes("c/y.db") is False and goes("../d/z.db") is True
    assert goes(f"{tmp_path}/c/y.db") is True and goes(f"{tmp_path.parent}/c/y.db") is None


@pytest.mark.parametrize("other", ["20261102T000000Z", "b/20261102T000000Z"])
def test_a_name_that_looks_like_the_id_of_another_stays_if_one_of_them_does(other: str) -> None:
    """Names that tell the time of Berlin and end with Z."""
    decisions = [
        Decision(
            Point("20261102T000000Z", "a/20261102T010000Z", 1.0), stays=False, reasons=(Reason("superseded", ""),)
        ),
        Decision(Point("20261101T230000Z", other, 0.0), stays=True, reasons=(Reason("hold", "because"),)),
    ]
    answers = Answers(Retained(COPY, "here", "", CopyDecision("nas", tuple(decisions), None), 0.0))
    asked = {name: answers.of(name)[0] for name in ("20261102T000000Z", "20261102T010000Z", "a/20261102T010000Z")}
    assert [decision and decision.stays for decision in asked.values()] == [True, False, False]


def test_a_name_that_leads_out_of_what_may_go_is_nothing_that_may() -> None:
    copy = planned_copy("nas", "shop/{time:%Y%m%d}/")
    decisions = [
        Decision(Point(name, f"shop/{name}/", 0.0), stays=stays, reasons=(Reason("hold", "because"),))
        for name, stays in (("20261101", False), ("20261102", True))
    ]
    answers = Answers(Retained(copy, "here", "/nas", CopyDecision("nas", tuple(decisions), None), 0.0))
    goes = [
        (decision := answers.of(f"shop/20261101/{rest}")[0]) is not None and not decision.stays
        for rest in ("", "a.db", "../20261102", "x/../../20261102/a.db", "..a")
    ]
    assert goes == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("root", "path", "goes"),
    [
        ("shop", "{time:%Y%m%d_%H%M%S}.db.gz.age", 0),  # the same place, told in another way
        ("", "shop/{time:%Y%m%d_%H%M%S}.{any}", 0),  # another pattern of the same names
        ("", "shop/{time:%Y%m%d_%H%M%S}.tar", 2),
        ("else", "{time:%Y%m%d_%H%M%S}.db.gz.age", 2),
    ],
)
def test_what_another_target_needs_of_the_same_objects_stays(tmp_path: Path, root: str, path: str, goes: int) -> None:
    (tmp_path / "shop").mkdir()
    taken = [(NOW - age * DAY) for age in range(3)]
    for each in taken:
        (tmp_path / "shop" / f"{each:%Y%m%d_%H%M%S}.db.gz.age").write_bytes(b"0123456789")
    ours = planned_target(planned_copy("nas", "shop/{time:%Y%m%d_%H%M%S}.db.gz.age", root=tmp_path), name="shop")
    theirs = planned_target(planned_copy("nas", path, root=tmp_path / root), name="audit")
    proved = (Target("shop", copies=("nas",)),)
    measured = {"taken_at": taken[0], "stored_bytes": 10}
    proofs = Proofs.of([document(datetime.now(UTC), targets=proved, measured={"shop/nas": measured})])
    (alone,) = retained(ours, ours.copies, proofs)
    assert len(alone.decision.go) == 2
    (found,) = retained(ours, ours.copies, proofs, sharing(plan_of(ours, theirs), ours))
    assert len(found.decision.go) == goes
    texts = {reason.text.partition(":")[0] for each in found.decision.decisions for reason in each.reasons}
    assert ("for audit" in texts) is (goes == 0)
