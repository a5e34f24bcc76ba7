"""metrics.prom, read by prometheus_client's own parser."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.support.evidence import WHEN, Target, document

from restore_drill.policy.population import Population
from restore_drill.printable import printable
from restore_drill.reporting import metrics
from restore_drill.reporting.page import LedgerState

TARGETS = [Target("orders-db"), Target("wiki", "important")]


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Value by name and labels; no series may stand there twice."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type == "gauge"
        for sample in family.samples:
            key = (sample.name.removeprefix("restore_drill_"), tuple(sorted(sample.labels.items())))
            assert key not in found and sample.timestamp is None
            found[key] = sample.value
    return found


def value(text: str, metric: str, **labels: str) -> float | None:
    """The one sample whose labels include these."""
    found = [
        value
        for (name, known), value in samples(text).items()
        if name == metric and labels.items() <= dict(known).items()
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def test_a_copy_has_its_verdict_its_times_and_its_objectives() -> None:
    measured = {"orders-db/nas": {"rto_seconds": 42.25, "age_seconds": 600, "stored_bytes": 68968, "rows": 1155}}
    text = metrics.render(document(targets=TARGETS, measured=measured, verdicts={"wiki/nas/unpacks": "failed"}))
    copy = {"target": "orders-db", "copy": "nas", "tier": "critical"}
    expected = {
        "last_drill_timestamp_seconds": WHEN.timestamp() + 10, "snapshot_timestamp_seconds": WHEN.timestamp() - 600,
        "rpo_achieved_seconds": 600, "rpo_objective_seconds": 3600, "rto_achieved_seconds": 42.25,
        "rto_objective_seconds": 900, "restore_seconds": 4, "stored_bytes": 68968, "content_bytes": 3 * 68968,
        "rows": 1155,
    }  # fmt: skip
    assert {name: value(text, name, **copy) for name in expected} == expected
    assert value(text, "verdict", **copy, verdict="passed") == 1
    assert value(text, "verdict", target="wiki", copy="nas", verdict="failed") == 1
    assert value(text, "verdict", target="wiki", copy="nas", verdict="passed") == 0
    assert value(text, "run_verdict", verdict="failed") == 1 and value(text, "run_verdict", verdict="passed") == 0
    assert value(text, "rto_achieved_seconds", target="wiki", copy="nas") is None, "nothing came back"
    assert value(text, "copy_info", target="wiki", copy="nas", engine="sqlite", owner="payments team") == 1


def test_what_is_not_known_is_left_out() -> None:
    text = metrics.render(document())
    names = {name for name, _ in samples(text)}
    assert not names & {"ledger_sequence", "ledger_signed", "alerts_undelivered", "last_good_timestamp_seconds"}


@pytest.mark.parametrize(("key", "signed"), [("3f9a", 1), ("", 0)])
def test_the_ledger_and_the_alerts_are_told_where_they_are_known(key: str, signed: int) -> None:
    text = metrics.render(document(), ledger=LedgerState(sequence=7, key_id=key), undelivered=2)
    assert value(text, "ledger_sequence") == 7
    assert value(text, "ledger_signed") == signed
    assert value(text, "alerts_undelivered") == 2


def nights() -> list[dict[str, Any]]:
    """All were well; then wiki broke."""
    first = document(WHEN - timedelta(days=1), targets=TARGETS)
    return [first, document(WHEN, targets=TARGETS, verdicts={"wiki/nas/unpacks": "failed"})]


def test_series_of_copies_that_a_run_did_not_drill_stay_as_they_were() -> None:
    whole = nights()
    after = WHEN + timedelta(hours=1)
    partial = document(after, targets=TARGETS, selected=["orders-db/nas", "orders-db/offsite"])
    before = samples(metrics.render(whole[-1], population=Population.of(whole, now=after)))
    now = samples(metrics.render(partial, population=Population.of([*whole, partial], now=after)))
    kept = {"verdict", "last_drill_timestamp_seconds", "last_good_timestamp_seconds", "due_timestamp_seconds",
            "overdue", "stored_bytes", "rpo_achieved_seconds", "rto_achieved_seconds", "rows"}  # fmt: skip
    of_wiki = {key: value for key, value in before.items() if ("target", "wiki") in key[1] and key[0] in kept}
    assert len(of_wiki) > 12
    assert {key: now.get(key) for key in of_wiki} == of_wiki
    without = metrics.render(partial)
    assert value(without, "verdict", target="wiki", copy="nas", verdict="failed") is None
    assert value(without, "rpo_objective_seconds", target="wiki", copy="nas") == 86400


@pytest.mark.parametrize(("scope", "rule"), [("partial", "newest"), ("whole", "named")])
def test_a_part_that_is_well_does_not_undo_what_was_not(scope: str, rule: str) -> None:
    whole = nights()
    part = document(WHEN + timedelta(hours=1), targets=TARGETS, selected=["wiki/nas"], scope=scope)
    part["drills"][0]["why"]["rule"] = rule
    population = Population.of([*whole, part], now=WHEN + timedelta(hours=2))
    text = metrics.render(part, population=population)
    assert value(text, "verdict", target="wiki", copy="nas", verdict="failed") == 1
    again = document(WHEN + timedelta(hours=1), targets=TARGETS, selected=["wiki/nas"])
    text = metrics.render(again, population=Population.of([*whole, again], now=WHEN + timedelta(hours=2)))
    assert value(text, "verdict", target="wiki", copy="nas", verdict="passed") == 1


def test_a_part_that_is_broken_counts() -> None:
    well = document(WHEN - timedelta(days=1), targets=TARGETS)
    part = document(
        WHEN, targets=TARGETS, selected=["wiki/nas"], scope="partial", verdicts={"wiki/nas/rows/orders": "failed"}
    )
    text = metrics.render(part, population=Population.of([well, part], now=WHEN + timedelta(hours=1)))
    assert value(text, "verdict", target="wiki", copy="nas", verdict="failed") == 1
    assert value(text, "last_good_timestamp_seconds", target="wiki", copy="nas") == pytest.approx(
        (WHEN - timedelta(days=1)).timestamp() + 30
    )


def test_an_overdue_copy_is_told() -> None:
    found = document(targets=TARGETS)
    late, early = WHEN + timedelta(days=3), WHEN + timedelta(hours=3)
    text = metrics.render(found, population=Population.of([found], now=late))
    assert value(text, "overdue", target="orders-db", copy="nas") == 1
    text = metrics.render(found, population=Population.of([found], now=early))
    assert value(text, "overdue", target="orders-db", copy="nas") == 0


def test_labels_are_escaped() -> None:
    hostile = 'a"b\\c\nd}e{f \u202e\x1b[31m é'
    text = metrics.render(document(targets=[Target(hostile, owner=hostile, copies=(hostile,))]))
    names = {dict(labels)["target"] for _, labels in samples(text) if "target" in dict(labels)}
    assert names == {'a"b\\c\\nd}e{f \\u202e\\x1b[31m é'}
    assert all(line.isprintable() for line in text.splitlines())


@hypothesis.given(st.text(max_size=12) | st.text('"\\\\\n{},= n', max_size=8))
@hypothesis.settings(max_examples=100, deadline=None, database=None, derandomize=True)
def test_any_label_is_read_back(text: str) -> None:
    found = document(targets=[Target("db", owner=text, copies=("nas",))])
    told = {dict(labels)["owner"] for _, labels in samples(metrics.render(found)) if "owner" in dict(labels)}
    assert told == {printable(text)}


@pytest.mark.parametrize("ended", ["crashed", "refused"])
def test_a_run_without_drills_has_metrics_that_are_no_pass(ended: str) -> None:
    text = metrics.render(document(targets=2, selected=[], ended=ended, problems=["it died"]))
    assert value(text, "run_verdict", verdict="error") == 1 and value(text, "run_problems") == 1
    assert value(text, "rto_objective_seconds", target="db-000", copy="nas") == 900


def test_exceptions_are_counted_by_state() -> None:
    exceptions = [{"id": f"EX-{number}", "target": "orders-db", "case": "rpo", "state": state}
                  for number, state in enumerate(["stale", "expired", "stale"])]  # fmt: skip
    text = metrics.render(document(exceptions=exceptions))
    assert [value(text, "exceptions", state=state) for state in metrics.EXCEPTION_STATES] == [0, 2, 1, 0]


def test_names_follow_the_conventions() -> None:
    for name in metrics.METRICS:
        assert name == name.lower() and not name.startswith("restore_drill")
        assert not name.endswith(("_ms", "_kb", "_mb", "_minutes", "_hours", "_total"))
