"""A dead-man's switch is reset only when all of its tier was drilled and is good, and everybody was told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.alerting.conftest import Estate

from restore_drill.alerting.pings import rule

ROWS = "orders-db/nas/rows/orders"
GOOD = "orders-db/nas/rpo"


@pytest.fixture
def switched(estate: Estate) -> Estate:
    estate.pings = {"critical": "env:PING_CRITICAL", "important": {"url": "env:PING_IMPORTANT", "method": "POST"}}
    return estate


def test_a_good_run_of_everything_resets_every_switch(switched: Estate) -> None:
    delivery = switched.run({GOOD: "excepted"}, directory=switched.root)
    assert (delivery.pinged, delivery.withheld) == (["critical", "important"], {})
    assert [(ping["name"], ping["method"], str(ping["url"])) for ping in switched.post.pings] == [
        ("critical", "GET", "env:PING_CRITICAL"),
        ("important", "POST", "env:PING_IMPORTANT"),
    ]
    assert json.loads((switched.root / "alerts.json").read_text())["pinged"] == ["critical", "important"]
    assert delivery.lines() == ["pinged: critical, important"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"verdicts": {ROWS: "failed"}}, "1 of its cases failed or could not be verified"),
        ({"verdicts": {ROWS: "error"}}, "1 of its cases failed or could not be verified"),
        ({"verdicts": {"orders-db//agree": "error"}}, "1 of its cases failed or could not be verified"),
        ({"selected": ["orders-db/nas", "wiki/nas", "wiki/offsite"]}, "of its 30 cases were not selected"),
        # A case without a result of its own did not report, whatever made it so.
        ({"verdicts": {"orders-db/nas/restores": "failed"}}, "7 of its cases failed"),
        ({"ended": "interrupted"}, "the run did not end as it should: interrupted"),
        ({"ended": "crashed"}, "the run did not end as it should: crashed"),
        ({"ended": "refused", "selected": []}, "the run did not end as it should: refused"),
        ({"shard": (1, 2)}, "this is shard 1 of 2: ping after restore-drill merge"),
        ({"run_keys": {"shards": {"total": 3, "missing": [2]}}}, "shards are missing: 2"),
        ({"problems": ["the state cannot be written"]}, "the run was not complete, or could not be recorded"),
        ({"not_run": ["drills/test_content.py::test_row_count"]}, "the run was not complete"),
    ],
)
def test_anything_less_withholds_it(switched: Estate, given: Any, why: str) -> None:
    delivery = switched.run(**given)
    assert why in delivery.withheld["critical"]
    assert "critical" not in delivery.pinged
    assert any(line.startswith("ping withheld for critical: ") and why in line for line in delivery.lines())


def test_last_nights_evidence_resets_no_switch(switched: Estate) -> None:
    plan = switched.plan()
    old = switched.document(plan)
    switched.night += 1
    delivery = switched.deliver(plan, old)
    assert delivery.pinged == [] and delivery.withheld["critical"] == "this evidence is 1 d 9 min old"
    assert switched.deliver(plan, switched.document(plan)).pinged == ["critical", "important"]


def test_a_snapshot_that_somebody_named_resets_no_switch(switched: Estate) -> None:
    plan = switched.plan()
    for rule_of, pinged in (("named", []), ("newest", ["critical", "important"])):
        document = switched.document(plan)
        for drill in document["drills"]:
            drill["why"] = {"rule": rule_of}
        assert switched.deliver(plan, document).pinged == pinged


def test_only_the_tier_that_is_bad_goes_without(switched: Estate) -> None:
    delivery = switched.run({ROWS: "failed"})
    assert (delivery.pinged, list(delivery.withheld)) == (["important"], ["critical"])


@pytest.mark.parametrize(("case", "pinged"), [("", ["critical"]), ("disposed", []), ("query", [])])
def test_all_of_a_tier_is_what_the_catalogue_plans(switched: Estate, case: str, pinged: list[str]) -> None:
    """As ``-k critical`` does, which selects by name, and may leave out a single case."""
    plan = switched.plan()
    document = switched.document(plan)
    document["drills"] = [drill for drill in document["drills"] if drill["target"] == "orders-db"]
    document["targets"] = document["targets"][:1]
    left = [each for each in document["drills"][0]["cases"] if each["case"] != case]
    document["drills"][0] |= {"cases": left}
    delivery = switched.deliver(plan, document)
    assert delivery.pinged == pinged
    assert "important" not in delivery.withheld, "nobody asks why a tier is not pinged that was not drilled"


def test_a_merged_run_of_all_shards_pings(switched: Estate) -> None:
    assert switched.run(run_keys={"shards": {"total": 3, "missing": []}}).pinged == ["critical", "important"]


def test_a_run_of_another_catalogue_does_not_ping(switched: Estate) -> None:
    plan = switched.plan()
    document = switched.document(plan) | {"catalogue": {"path": plan.catalogue, "sha256": "0" * 64}}
    delivery = switched.deliver(plan, document)
    assert (delivery.pinged, delivery.withheld["critical"]) == ([], "the run was made with another catalogue")


def test_a_channel_that_refuses_withholds_the_pings_of_its_tiers(switched: Estate) -> None:
    switched.alerts = {"oncall": {"url": "env:A", "tiers": ["important"]}, "other": {"url": "env:B"}}
    assert switched.run({"wiki/nas/rpo": "failed"}).pinged == ["critical"]
    switched.post.refused = {"oncall"}
    delivery = switched.run({}, directory=switched.root)  # repaired: good news that the channel does not hear
    assert delivery.undelivered == {"oncall": "it answered HTTP 500"}
    assert delivery.undelivered_count == 1
    assert delivery.pinged == ["critical"]
    assert delivery.withheld == {"important": "oncall could not be told what changed"}
    assert "ALERT NOT DELIVERED to oncall: it answered HTTP 500" in delivery.lines()
    written = json.loads((switched.root / "alerts.json").read_text())
    assert written["undelivered"] == [{"channel": "oncall", "why": "it answered HTTP 500"}]
    switched.post.refused = set()
    delivery = switched.run({})
    assert delivery.sent == {"oncall": "restore-drill: 1 recovered"}, "what was not told is told by the next run"
    assert delivery.pinged == ["critical", "important"]


def test_a_ping_that_is_not_accepted_is_undelivered(switched: Estate) -> None:
    switched.post.refused = {"critical"}
    delivery = switched.run({})
    assert (delivery.pinged, delivery.undelivered) == (["important"], {"ping critical": "it answered HTTP 500"})


def test_failure_has_a_url_of_its_own(switched: Estate) -> None:
    switched.pings["critical"] = {"url": "env:PING_CRITICAL", "fail_url": "env:PING_FAIL"}
    assert switched.run({ROWS: "failed"}).pinged == ["critical (fail)", "important"]
    assert [(ping["name"], str(ping["url"])) for ping in switched.post.pings] == [
        ("critical (fail)", "env:PING_FAIL"),
        ("important", "env:PING_IMPORTANT"),
    ]
    switched.post.pings.clear()
    # A part of the tier that is good says neither that all is well nor that something is bad.
    assert switched.run({}, selected=["orders-db/nas"]).pinged == []
    assert switched.run({}).pinged == ["critical", "important"]


def test_without_channels_and_pings_nothing_happens(estate: Estate) -> None:
    estate.alerts = {}
    delivery = estate.run({ROWS: "failed"}, directory=estate.root)
    assert (delivery.lines(), estate.post.take(), list(estate.root.glob("alerts.json"))) == ([], [], [])
    estate.pings = {"critical": "env:PING_CRITICAL"}
    assert estate.run().pinged == ["critical"]
    assert not (estate.root / "state").exists(), "who tells nobody has nothing to remember"


def test_a_tier_without_targets_is_never_wholly_good(switched: Estate) -> None:
    """No catalogue has such a ping; the demo leaves targets out where a machine lacks what they need."""
    plan = switched.plan()
    ruling = rule(plan, switched.document(plan), "archival")
    assert (ruling.good, ruling.why) == (False, "the tier has no case")
