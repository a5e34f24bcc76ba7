"""Changes are told, and nothing else: night after night over one state."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import Target
from tests.unit.alerting.conftest import Estate

from restore_drill.alerting import alert_overdue, deliver
from restore_drill.alerting.delivery import try_channels
from restore_drill.policy.population import Population

ROWS = "orders-db/nas/rows/orders"
FAILED, ERROR, RECOVERED = (f"restore-drill: 1 {word}" for word in ("failed", "could not be verified", "recovered"))


def test_five_nights_make_two_messages(estate: Estate) -> None:
    nights = [{}, {ROWS: "failed"}, {ROWS: "failed"}, {}, {}]
    told = [(estate.run(night).lines(), estate.post.take()) for night in nights]
    assert [len(requests) for _, requests in told] == [0, 1, 0, 1, 0]
    failure, recovery = told[1][1][0], told[3][1][0]
    assert (failure["title"], failure["severity"]) == (FAILED, "failure")
    assert (recovery["title"], recovery["severity"]) == (RECOVERED, "success")
    assert failure["message"] == (
        "FAILED critical/orders-db/nas: rows/orders: rows is broken: made by a test\n"
        "  since 2026-11-24 02:00Z (9 min 50 s)\n"
        "  Do: Check the backup job.\n\n"
        "run 20261124T020000Z-8b4e9c on drills-1: failed\n"
        "no ledger entry\n"
        "https://ci.example.org/jobs/4711"
    ).replace("8b4e9c", failure["message"].partition("Z-")[2][:6])
    assert "RECOVERED critical/orders-db/nas: rows/orders: good again" in recovery["message"]
    assert "it was broken since 2026-11-24 02:00Z" in recovery["message"]
    assert [lines for lines, _ in told] == [
        [], [f"alert sent to oncall: {FAILED}"], [], [f"alert sent to oncall: {RECOVERED}"], []
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "title"),
    [
        ({ROWS: "failed"}, {ROWS: "error"}, ERROR),
        ({ROWS: "error"}, {ROWS: "failed"}, FAILED),
        ({ROWS: "failed"}, {ROWS: "failed", "orders-db/nas/integrity": "failed"}, FAILED),
        ({ROWS: "failed"}, {ROWS: "failed", "orders-db//agree": "failed"}, FAILED),
        ({ROWS: "failed"}, {ROWS: "excepted"}, RECOVERED),
        ({ROWS: "excepted"}, {ROWS: "failed"}, FAILED),  # the exception expired
        # What is behind the cause is blocked: nothing new is known of it, neither good nor bad.
        ({ROWS: "failed"}, {"orders-db/nas/restores": "failed"}, FAILED),
    ],
)
def test_another_state_is_told(estate: Estate, first: Any, second: Any, title: str) -> None:
    estate.run(first)
    estate.post.take()
    estate.run(second)
    assert estate.post.titles == [title]
    estate.run(second)
    assert estate.post.titles == []


@pytest.mark.parametrize(
    ("second", "options"),
    [
        ({ROWS: "excepted", "orders-db/offsite/rpo": "excepted"}, {"selected": ["wiki/nas"]}),
        ({}, {"selected": ["orders-db/offsite"]}),
        # Everything of the copy but the table that is broken was run.
        ({}, {"selected": ["orders-db/nas"], "without": "rows", "scope": "partial"}),
    ],
)
def test_a_partial_run_recovers_nothing_that_it_did_not_run(estate: Estate, second: Any, options: Any) -> None:
    estate.run({ROWS: "failed"})
    estate.post.take()
    without = options.pop("without", "")
    plan = estate.plan()
    document = estate.document(plan, verdicts=second, **options)
    for drill in document["drills"]:
        drill["cases"] = [case for case in drill["cases"] if case["case"] != without]
    estate.deliver(plan, document)
    assert estate.post.titles == []
    estate.night += 1
    estate.run({})
    assert estate.post.titles == [RECOVERED]


def test_what_the_catalogue_no_longer_asks_for_is_no_longer_broken(estate: Estate) -> None:
    estate.run({ROWS: "failed", "wiki/nas/rpo": "failed"})
    assert estate.post.titles == ["restore-drill: 2 failed"]
    estate.targets = [Target("orders-db")]  # the wiki is retired: neither repaired nor ever told again
    estate.alerts["oncall"]["remind"] = "1h"
    estate.run({ROWS: "failed"})
    assert estate.post.titles == ["restore-drill: 1 still broken"]


def test_channels_are_told_what_is_theirs(estate: Estate) -> None:
    base = estate.alerts["oncall"]
    estate.alerts |= {
        "failures": {**base, "tell": ["failure"]},
        "important": {**base, "tiers": ["important"]},
        "orders": {**base, "targets": ["orders-*"]},
        "nobody": {**base, "tiers": ["important"], "tell": ["overdue"]},
    }
    delivery = estate.run({ROWS: "error", "wiki/nas/rpo": "failed"})
    both = "restore-drill: 1 failed, 1 could not be verified"
    assert delivery.sent == {"oncall": both, "failures": FAILED, "important": FAILED, "orders": ERROR}
    assert sorted(estate.post.titles) == sorted([both, FAILED, FAILED, ERROR])
    repaired = estate.run({})
    two = "restore-drill: 2 recovered"
    assert repaired.sent == {"oncall": two, "important": RECOVERED, "orders": RECOVERED}
    assert len(estate.post.take()) == 3


def test_a_channel_that_comes_later_is_told_what_is_broken_now(estate: Estate) -> None:
    estate.run({ROWS: "failed"})
    estate.alerts["late"] = dict(estate.alerts["oncall"])
    assert estate.run({ROWS: "failed"}).sent == {"late": FAILED}
    assert estate.run({ROWS: "failed"}).sent == {}
    assert estate.run({}).sent == {"oncall": RECOVERED, "late": RECOVERED}


def test_a_reminder_comes_when_it_is_due(estate: Estate) -> None:
    estate.alerts["oncall"]["remind"] = "2d"
    assert [list(estate.run({ROWS: "failed"}).sent.values()) for _ in range(5)] == [
        [FAILED], [], ["restore-drill: 1 still broken"], [], ["restore-drill: 1 still broken"]
    ]  # fmt: skip


def test_a_run_that_crashed_is_told_once(estate: Estate) -> None:
    def crash() -> dict[str, Any]:
        keys = {"ended": "crashed", "recorded_by": "another"}
        found = estate.document(plan, selected=["orders-db/nas"], run_keys=keys, problems=["the process was killed"])
        for case in found["drills"][0]["cases"]:
            case |= {"verdict": "error", "blocked_by": "crash"}
        return found

    plan = estate.plan()
    crashed = crash()
    estate.night += 1
    delivery = estate.deliver(plan, crashed, estate.document(plan))
    assert delivery.sent == {}, "the same job has run well since"
    crashed = crash()
    only_wiki = {"selected": ["wiki/nas"], "run_keys": {"arguments": ["drills/", "-m", "important"]}}
    estate.night += 1
    delivery = estate.deliver(plan, crashed, estate.document(plan, **only_wiki))
    assert delivery.sent == {"oncall": ERROR}
    (request,) = estate.post.take()
    assert (
        f"NOT VERIFIED run {crashed['run']['id']}: the run crashed: the process was killed; 14 cases"
        in request["message"]
    )
    assert estate.deliver(plan, crashed).sent == {}
    estate.night += 1
    assert estate.run({}).sent == {"oncall": RECOVERED}


def test_an_older_document_says_nothing_about_now(estate: Estate) -> None:
    plan = estate.plan()
    late = estate.document(plan, verdicts={ROWS: "failed"})
    estate.night += 1
    estate.run({})
    assert estate.deliver(plan, late).sent == {}


@pytest.mark.parametrize(("rule", "sent"), [("named", {}), ("newest", {"oncall": RECOVERED})])
def test_a_good_snapshot_that_somebody_named_is_no_recovery(estate: Estate, rule: str, sent: dict[str, str]) -> None:
    estate.run({ROWS: "failed"})
    plan = estate.plan()
    document = estate.document(plan)
    for drill in document["drills"]:
        drill["why"] = {"rule": rule}
    assert estate.deliver(plan, document).sent == sent


def test_a_clock_that_was_once_far_ahead_does_not_silence_what_comes_later(estate: Estate) -> None:
    plan = estate.plan()
    estate.deliver(plan, estate.document(plan, verdicts={ROWS: "error"}))
    estate.night = 400
    estate.run({})
    estate.night = 1
    assert estate.run({ROWS: "failed"}).sent == {"oncall": FAILED}


def test_a_drill_that_is_overdue_is_told_and_so_is_its_return(estate: Estate) -> None:
    plan = estate.plan()
    good = estate.document(plan)
    estate.deliver(plan, good)

    def look(after: timedelta, *documents: Any) -> dict[str, str]:
        moment = estate.now + after
        population = Population.of([good, *documents], now=moment)
        return alert_overdue(plan, population, now=moment.timestamp(), send=estate.post).sent

    day = timedelta(days=1)
    assert look(day) == {}
    assert look(3 * day) == {"oncall": "restore-drill: 2 overdue"}, "both copies of the critical target"
    (request,) = estate.post.take()
    assert (
        "OVERDUE critical/orders-db/nas: overdue: no whole drill within 1 d: the last whole one ended 2026-11-23 02"
        in (request["message"])
    )
    assert "since 2026-11-24 02:00Z (1 d 23 h)" in request["message"], "since it was due"
    assert look(3 * day) == {}
    estate.night = 4
    again = estate.document(plan)
    delivery = estate.deliver(plan, again)
    assert delivery.sent == {"oncall": "restore-drill: 2 recovered"}
    assert look(timedelta(hours=1), again) == {}


def test_the_calendar_alone_ends_what_it_began(estate: Estate) -> None:
    plan, day = estate.plan(), timedelta(days=1)
    old = estate.document(plan)
    estate.night = 4
    new = estate.document(plan)
    late = estate.now.timestamp()

    def look(*documents: Any, since: float) -> dict[str, str]:
        population = Population.of(documents, now=since)
        return alert_overdue(plan, population, now=since, send=estate.post).sent

    assert look(old, since=late) == {"oncall": "restore-drill: 2 overdue"}
    # The end of a ledger, in which the copies were not drilled as a whole, cannot say that they were.
    assert look(new | {"drills": []}, since=late + 60) == {}
    assert look(old, new, since=late + day.total_seconds() / 2) == {"oncall": "restore-drill: 2 recovered"}


def test_without_its_state_everything_broken_is_told_again(estate: Estate) -> None:
    estate.run({ROWS: "failed"})
    estate.post.take()
    state = estate.root / "state"
    (state / "alerts.json").unlink()
    (state / "alerts.json").mkdir()  # cannot be read, cannot be replaced
    delivery = estate.run({ROWS: "failed"})
    assert delivery.sent == {"oncall": FAILED}
    assert "may be told again" in " ".join(delivery.lines())
    (state / "alerts.json").rmdir()
    assert estate.run({ROWS: "failed"}).sent == {"oncall": FAILED}
    assert estate.run({ROWS: "failed"}).lines() == []


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"version": 2}',
        b'{"version":1,"entries":[]}',
        b'{"version":1,"entries":{"orders-db/nas":3}}',
        b'{"version":1,"entries":{"orders-db/nas":{"broken":{"rows/orders":{}}}}}',
    ],
)
def test_a_damaged_memory_is_begun_anew(estate: Estate, damage: bytes) -> None:
    estate.run({ROWS: "failed"})
    (estate.root / "state" / "alerts.json").write_bytes(damage)
    assert estate.run({ROWS: "failed"}).sent == {"oncall": FAILED}
    assert estate.run({ROWS: "failed"}).sent == {}


def test_a_rehearsal_sends_and_remembers_nothing(estate: Estate) -> None:
    delivery = estate.run({ROWS: "failed"}, dry=True, directory=estate.root)
    assert [each["title"] for each in delivery.dry.values()] == [FAILED]
    assert (estate.post.take(), delivery.sent) == ([], {})
    assert not (estate.root / "alerts.json").exists() and not (estate.root / "state").exists()
    assert estate.run({ROWS: "failed"}).sent == {"oncall": FAILED}


def test_the_memory_does_not_grow_with_nights(estate: Estate) -> None:
    path: Path = estate.root / "state" / "alerts.json"
    sizes = []
    for night in range(6):
        estate.run({ROWS: "failed"} if night % 2 else {})
        sizes.append(path.stat().st_size)
    assert sizes[4] == sizes[2] and sizes[5] == sizes[3]


@pytest.mark.parametrize(("selected", "sent"), [(0, {"oncall": RECOVERED}), (1, {})])
def test_a_case_that_is_gone_is_told_apart_from_one_that_was_not_selected(
    estate: Estate, selected: int, sent: Any
) -> None:
    estate.run({"orders-db//agree": "failed"})
    plan = estate.plan()
    document = estate.document(plan)
    document["targets"][0]["cases"] = [case for case in document["targets"][0]["cases"] if case["case"] != "agree"]
    document["run"]["selection"]["of_cases"] += selected
    assert estate.deliver(plan, document).sent == sent


def test_who_was_told_of_the_trouble_is_told_of_its_end(estate: Estate) -> None:
    """It failed, which one channel wants to know; then it could not be verified, which that one does not."""
    estate.alerts = {name: {"url": "env:ONCALL_URL", "tell": [name, "recovery"]} for name in ("failure", "overdue")}
    assert estate.run({ROWS: "failed"}).sent == {"failure": FAILED}
    assert estate.run({ROWS: "error"}).sent == {}
    assert estate.run({}).sent == {"failure": RECOVERED}
    assert estate.run({}).sent == {}


def test_a_channel_that_does_not_want_recoveries_gets_none_later(estate: Estate) -> None:
    estate.alerts["oncall"]["tell"] = ["failure"]
    assert estate.run({ROWS: "failed"}).sent == {"oncall": FAILED}
    assert estate.run({}).sent == {}
    del estate.alerts["oncall"]["tell"]
    assert estate.run({}).sent == {}


def test_what_was_refused_is_told_again_at_once(estate: Estate) -> None:
    estate.alerts["oncall"]["remind"] = "2d"
    plan, estate.post.refused = estate.plan(), {"oncall"}
    broken = estate.document(plan, verdicts={ROWS: "failed"})
    assert [estate.deliver(plan, broken).undelivered_count for _ in range(2)] == [1, 1]
    estate.post.refused = set()
    assert [estate.deliver(plan, broken).sent for _ in range(2)] == [{"oncall": FAILED}, {}]
    estate.night += 2
    estate.post.refused = {"oncall"}
    assert estate.deliver(plan, broken).undelivered_count == 1
    estate.post.refused = set()
    assert estate.deliver(plan, broken).sent == {"oncall": "restore-drill: 1 still broken"}


def test_a_recovery_that_was_not_delivered_is_no_news_when_it_broke_again(estate: Estate) -> None:
    estate.run({ROWS: "failed"})
    plan, estate.post.refused = estate.plan(), {"oncall"}
    good = estate.document(plan)
    assert [estate.deliver(plan, good).undelivered_count for _ in range(2)] == [1, 1], "it is tried again at once"
    estate.night += 1
    estate.post.refused = set()
    assert estate.run({ROWS: "failed"}).sent == {"oncall": FAILED}
    assert [estate.run({}).sent, estate.run({}).sent] == [{"oncall": RECOVERED}, {}]


def test_who_was_told_cannot_be_noted(estate: Estate) -> None:
    """The state goes away while the message is under way."""
    path: Path = estate.root / "state" / "alerts.json"

    def breaks(channels: Any, pings: Any) -> Any:
        path.unlink()
        path.mkdir()
        return estate.post(channels, pings)

    plan = estate.plan()
    document = estate.document(plan, verdicts={ROWS: "failed"})
    delivery = deliver(plan, [document], now=estate.now.timestamp() + 600, send=breaks)
    assert delivery.sent == {"oncall": FAILED}
    assert "who was told could not be noted" in " ".join(delivery.lines())


def test_what_no_run_looks_at_any_more_is_forgotten(estate: Estate) -> None:
    estate.run({ROWS: "failed"}, run_keys={"arguments": ["by hand"]}, problems=["no room"])
    entries = json.loads((estate.root / "state" / "alerts.json").read_bytes())["entries"]
    assert [key[:4] for key in entries if key.startswith("run:")] == ["run:"]
    estate.night += 40
    estate.run({}, selected=["wiki/nas"])
    entries = json.loads((estate.root / "state" / "alerts.json").read_bytes())["entries"]
    assert [key[:4] for key in entries if key.startswith("run:")] == []
    assert "rows/orders" in entries["orders-db/nas"]["broken"]
    estate.night += 400
    estate.run({}, selected=["wiki/nas"])
    entries = json.loads((estate.root / "state" / "alerts.json").read_bytes())["entries"]
    assert sorted(entries) == ["wiki/nas"]


def test_a_run_that_went_wrong_is_told_to_whom_its_targets_concern(estate: Estate) -> None:
    base = estate.alerts["oncall"]
    estate.alerts = {
        "critical": {**base, "tiers": ["critical"]},
        "important": {**base, "tiers": ["important"]},
        "wiki": {**base, "targets": ["wiki"]},
    }
    assert list(estate.run(selected=["wiki/nas"], ended="interrupted").sent) == ["important", "wiki"]
    refused = estate.run(selected=[], ended="refused", run_keys={"arguments": ["other"]}, problems=["no room"])
    assert list(refused.sent) == ["critical", "important", "wiki"], "it drilled nothing: it may be anybody's"


def test_an_exception_is_named_as_what_ended_it(estate: Estate) -> None:
    estate.run({ROWS: "failed"})
    plan = estate.plan()
    document = estate.document(plan, verdicts={ROWS: "excepted"})
    (case,) = [case for case in document["drills"][0]["cases"] if case["verdict"] == "excepted"]
    case["exception"] = "EX-12"
    estate.post.take()
    estate.deliver(plan, document)
    (request,) = estate.post.take()
    assert "RECOVERED critical/orders-db/nas: rows/orders: covered by the exception EX-12\n" in request["message"]


def test_two_catalogues_over_one_state_leave_each_other_alone(estate: Estate) -> None:
    estate.run({"wiki/nas/rpo": "failed"})
    wiki, estate.targets = estate.targets, estate.targets[:1]
    plan = replace(estate.plan(), catalogue=str(estate.root / "elsewhere.yaml"))
    assert estate.deliver(plan, estate.document(plan)).sent == {}, "it knows no wiki"
    estate.night, estate.targets = estate.night + 1, wiki
    assert estate.run({}).sent == {"oncall": RECOVERED}


def test_a_report_that_cannot_be_written_is_said(estate: Estate) -> None:
    (estate.root / "alerts.json").mkdir()
    delivery = estate.run({ROWS: "failed"}, directory=estate.root)
    assert (delivery.sent, delivery.lines()[1:]) == (
        {"oncall": FAILED}, ["alerts: alerts.json cannot be written: Is a directory"]
    )  # fmt: skip


def test_trying_a_channel_tells_it_nothing_else(estate: Estate) -> None:
    estate.alerts["other"] = "env:OTHER_URL"
    estate.post.refused = {"other"}
    delivery = try_channels(estate.plan(), send=estate.post)
    assert (delivery.sent, delivery.undelivered) == (
        {"oncall": "restore-drill: test"},
        {"other": "it answered HTTP 500"},
    )
    assert ["nothing is wrong" in each["message"] for each in estate.post.take()] == [True, True]
    assert not (estate.root / "state").exists()
