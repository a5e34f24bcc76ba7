"""What a message says, and that it fits, obeys nobody and gives nothing away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.alerting.conftest import Estate

from restore_drill.alerting import deliver
from restore_drill.alerting.due import Item
from restore_drill.alerting.message import footer, message, title
from restore_drill.alerting.sender import compose
from restore_drill.ledger.base import Entry
from restore_drill.secrets import register

ITEM = Item("failure", "critical", "orders-db/nas", "rows/orders", "it has 3", "Look.", 0.0, "run", False, "k")
OBEYED = ("s3cretValueOfAKey", "@everyone", "<!here>", "abc123", "u:pw", "\x1b")
MARKED_UP = r"a_b*c [x](http://e) <b>&`@everyone <!here> ~~#"


def made(*items: Item) -> dict[str, Any]:
    return message(items, now=7200.0, footer=["run 1"])


def test_the_title_counts_what_is_new_and_what_is_not() -> None:
    def of(kind: str, again: bool = False) -> Item:
        return replace(ITEM, kind=kind, again=again)

    items = [of("failure"), of("failure"), of("could-not-verify"), of("overdue"), of("recovery"), of("failure", True)]
    counts = "2 failed, 1 could not be verified, 1 overdue, 1 recovered, 1 still broken"
    assert title(items) == f"restore-drill: {counts}"
    assert title(items[:1], demo=True) == "restore-drill DEMO: 1 failed"
    severities = [made(*given)["severity"] for given in (items, items[2:], items[3:4], items[4:5], items[5:])]
    assert severities == ["failure", "failure", "warning", "success", "failure"]


def test_an_item_says_what_since_when_and_what_to_do() -> None:
    (item,) = made(ITEM)["items"]
    text = "FAILED critical/orders-db/nas: rows/orders: it has 3\n  since 1970-01-01 00:00Z (2 h)\n  Do: Look."
    assert item["text"] == text
    assert item["markdown"].startswith("- **FAILED** critical/orders-db/nas: rows/orders: it has 3  \n  since 1970")
    (again,) = made(replace(ITEM, again=True, remedy=""))["items"]
    assert again["text"].startswith("FAILED still critical/") and "Do:" not in again["text"] + again["markdown"]
    assert again["markdown"].startswith("- **FAILED still** critical/")


def test_nothing_in_it_is_obeyed() -> None:
    register("s3cretValueOfAKey")
    hostile = f"{MARKED_UP} s3cretValueOfAKey \x1b[2J https://u:pw@h/p?X-Amz-Signature=abc123"
    content = made(replace(ITEM, message=hostile, remedy=hostile, case=hostile))
    (item,) = content["items"]
    for form in ("text", "markdown"):
        assert [each for each in OBEYED if each in item[form]] == []
    assert "<b>&`@\u200beveryone <\u200b!here>" in item["text"], "plain text stays as it is"
    assert r"a\_b\*c \[x\]\(http://e\) \<b\>&\`" in item["markdown"]


def test_the_footer_says_where_it_comes_from(estate: Estate) -> None:
    document = estate.document(estate.plan(), run="R1")
    entry = Entry(41, "3f" * 32, "", "2026-11-23T02:00:00Z", "run")
    url = document["run"]["ci"]["url"]
    unsigned = "ledger: entry 41, 3f3f3f3f3f3f3f3f… (unsigned)"
    assert footer(document, entry) == ["run R1 on drills-1: passed", unsigned, url]
    assert footer(document, replace(entry, key_id="k"))[1] == "ledger: entry 41, 3f3f3f3f3f3f3f3f…"
    assert footer(document, None)[1] == "no ledger entry"
    assert (footer(None, entry), footer(None, None)) == ([f"ledger head{unsigned.removeprefix('ledger')}"], [])


@pytest.mark.parametrize("limit", [1, 20, 60, 100, 160, 400, 1000, 5000])
def test_it_is_cut_to_what_a_service_takes(limit: int) -> None:
    items = [{"text": f"FAILED db-{number:03}: " + "x" * 60} for number in range(40)]
    channel = {"items": items, "footer": {"text": "run 1"}}
    body = compose(channel, "text", limit)
    assert len(body) <= limit
    whole = [item for item in items if item["text"] in body]
    if limit >= 100:
        assert whole == items[: len(whole)] and body.endswith("run 1")
        assert f"and {40 - max(1, len(whole))} more" in body or len(whole) == 40
        one_more = "\n".join(item["text"] for item in items[: len(whole) + 1])
        assert len(one_more) + len("\nand 10 more\n\nrun 1") > limit or len(whole) == 40
    else:
        assert body.startswith("F")


def test_everything_fits_where_there_is_room() -> None:
    channel = {"items": [{"text": "a"}, {"text": "b"}], "footer": {"text": "run 1"}}
    assert compose(channel, "text", 32768) == "a\nb\n\nrun 1"
    assert compose({**channel, "footer": {"text": ""}}, "text", 3) == "a\nb"
    assert compose(channel, "text", 12) == "a\nb"


def test_two_runs_at_once_do_not_tell_the_same(estate: Estate) -> None:
    """The other run, a shard perhaps, ends while this one is sending: it tells what only it knows."""
    plan = estate.plan()
    mine = estate.document(plan, verdicts={"orders-db/nas/rpo": "failed"}, selected=["orders-db/nas"])
    other = estate.document(plan, verdicts={"wiki/nas/rpo": "failed"}, selected=["wiki/nas"])
    inner = []

    def slow(channels: Any, pings: Any) -> Any:
        if not inner:
            inner.append(None)
            inner[0] = estate.deliver(plan, other).sent
        return estate.post(channels, pings)

    outer = deliver(plan, [mine], now=estate.now.timestamp() + 600, send=slow)
    messages = [message["message"] for message in estate.post.take()]
    assert (inner, outer.sent) == ([{"oncall": "restore-drill: 1 failed"}], {"oncall": "restore-drill: 1 failed"})
    assert ["wiki/nas" in each for each in messages] == [True, False]
    estate.night += 1
    assert estate.run({"orders-db/nas/rpo": "failed", "wiki/nas/rpo": "failed"}).sent == {}


def test_what_was_claimed_and_never_sent_is_told_later(estate: Estate) -> None:
    def dies(channels: Any, pings: Any) -> Any:
        raise MemoryError

    plan = estate.plan()
    broken = estate.document(plan, verdicts={"orders-db/nas/rpo": "failed"})
    now = estate.now.timestamp() + 600
    delivery = deliver(plan, [broken], now=now, send=dies)
    assert delivery.sent == {} and "MemoryError" in delivery.problems[0]
    assert deliver(plan, [broken], now=now + 60, send=estate.post).sent == {}, "it may be on its way"
    assert deliver(plan, [broken], now=now + 1000, send=estate.post).sent == {"oncall": "restore-drill: 1 failed"}
