"""The HTML report as text: what it says, and what hostile names cannot make of it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from lxml import html as lxml_html
from tests.support.evidence import WHEN, Target, document, history

from restore_drill.controls.loading import load_frameworks
from restore_drill.controls.mapping import assess
from restore_drill.evidence.reading import schema
from restore_drill.policy.population import Population, seconds
from restore_drill.reporting import markdown, supported
from restore_drill.reporting import page as pages
from restore_drill.reporting.html import render
from restore_drill.reporting.page import Controls, LedgerState, Review

SIGNED = LedgerState(where="file:///srv/state", entries=3, sequence=3, digest="ab" * 32, key_id="k1", problems=())


def tree(text: str) -> Any:
    return lxml_html.document_fromstring(text)


def words(node: Any) -> str:
    return " ".join(node.text_content().split())


def nights(*verdicts: str) -> list[dict[str, Any]]:
    """Nightly runs of one target; ``""`` is a good night, anything else the case that failed."""
    return [
        document(
            WHEN - timedelta(days=len(verdicts) - 1 - night),
            verdicts={f"orders-db/nas/{case}": "failed"} if case else {},
        )
        for night, case in enumerate(verdicts)
    ]


def known(documents: list[dict[str, Any]]) -> Population:
    return Population.of(documents, now=seconds(documents[-1]["run"]["finished"]))


# --- what a person must find ------------------------------------------------------------------------------------------


def test_it_says_which_backup_is_broken_since_when_and_what_to_do() -> None:
    documents = nights("", "unpacks", "unpacks", "unpacks")
    text = render(documents[-1], population=known(documents), ledger=SIGNED)
    cause = tree(text).cssselect(".causes li")[0]
    assert words(tree(text).cssselect("h1")[0]) == "failed 1 of 2 backups failed; the other passed."
    assert "orders-db / nas" in words(cause.cssselect("h3")[0])
    assert words(cause.cssselect(".since")[0]) == "2026-11-21 02:00 UTC (2 d, 3 drills in a row)"
    assert "Unpacks is broken: made by a test." in words(cause)
    assert "Check the backup job." in words(cause.cssselect(".remedy")[0])
    assert "the snapshot of 2026-11-20 01:50 UTC" in words(cause)
    assert "7 further checks could not run because of it" in words(cause)


def test_what_is_broken_and_was_not_drilled_is_not_forgotten() -> None:
    bad = document(WHEN - timedelta(hours=2), verdicts={"orders-db/nas/unpacks": "failed"})
    for later in (document(selected=["orders-db/offsite"]), document(scope="partial")):
        page = tree(render(later, population=known([bad, later])))
        assert words(page.cssselect("#attention")[0]) == "Nothing new needs a human"
        told = "not answered by this run: orders-db / nas since 2026-11-23 00:00 UTC."
        assert told in words(page.cssselect(".unanswered")[0])
        assert told in markdown.render(later, population=known([bad, later])).replace("**", "")
    good = tree(render(document(), population=known([bad, document()])))
    assert words(good.cssselect("#attention")[0]) == "Nothing needs a human" and not good.cssselect(".unanswered")


def test_a_part_that_passed_meanwhile_is_no_failure_in_a_row() -> None:
    first, second, last = nights("", "unpacks", "unpacks")
    part = document(WHEN - timedelta(hours=12), scope="partial")
    (cause,) = pages.run_page(last, population=known([first, second, part, last])).causes
    assert cause.since == "2026-11-22 02:00 UTC (1 d, 2 drills in a row)"
    part["drills"][0]["verdict"] = "failed"
    (cause,) = pages.run_page(last, population=known([first, second, part, last])).causes
    assert "3 drills in a row" in cause.since


def test_what_was_never_seen_good_may_be_broken_for_longer() -> None:
    documents = nights("unpacks", "unpacks")
    (only,) = pages.run_page(documents[-1], population=known(documents)).causes
    assert only.since == "2026-11-22 02:00 UTC (1 d, 2 drills in a row; no earlier good one is known)"
    assert only.good == "none is known"


def test_a_good_run_needs_nobody() -> None:
    documents = nights("", "")
    text = render(documents[-1], population=known(documents), ledger=SIGNED)
    assert (
        words(tree(text).cssselect("h1")[0]) == "passed All 2 backups that this run drilled were restored and verified."
    )
    assert words(tree(text).cssselect("#attention")[0]) == "Nothing needs a human"
    assert not tree(text).cssselect(".causes, .notices")


def test_one_cause_is_one_entry_however_many_backups_it_touches() -> None:
    verdicts = {f"db-{number:03}/nas/located": "error" for number in range(20)}
    found = pages.run_page(document(targets=20, verdicts=verdicts)).causes
    assert [(each.state, len(each.backups)) for each in found] == [("error", 20)]
    assert found[0].blocked == 20 * 12


def test_of_several_backups_with_one_cause_the_oldest_says_since_when() -> None:
    first = document(WHEN - timedelta(days=2), targets=3, verdicts={"db-001/nas/located": "error"})
    bad = {f"db-{number:03}/nas/located": "error" for number in range(3)}
    documents = [first, document(WHEN, targets=3, verdicts=bad)]
    (only,) = pages.run_page(documents[-1], population=known(documents)).causes
    assert len(only.backups) == 3 and only.since.startswith("2026-11-21 02:00 UTC")


def test_what_failed_stands_before_what_could_not_be_verified() -> None:
    verdicts = {"db-000/nas/located": "error", "db-002/nas/rows/orders": "failed", "db-001/nas/checksum": "failed"}
    found = pages.run_page(document(targets=3, verdicts=verdicts)).causes
    assert [(each.state, each.name) for each in found] == [
        ("failed", "db-001 / nas"), ("failed", "db-002 / nas"), ("error", "db-000 / nas"),
    ]  # fmt: skip


def test_an_overdue_backup_that_was_not_drilled_needs_a_human() -> None:
    documents = [document(WHEN - timedelta(days=3)), document(WHEN, selected=["orders-db/nas"])]
    found = pages.run_page(documents[-1], population=known(documents)).causes
    assert [(each.state, each.name) for each in found] == [("missed", "orders-db / offsite")]


def test_every_failed_case_is_found_by_its_text() -> None:
    verdicts = {f"db-{number:03}/{copy}/rows/orders": "failed" for number in range(4) for copy in ("nas", "offsite")}
    made = document(targets=4, verdicts={**verdicts, "db-003//3-2-1": "failed"})
    for number, case in enumerate(case for part in (*made["drills"], *made["targets"]) for case in part["cases"]):
        case["message"] = f"told {number:04}" if case["verdict"] == "failed" else case.get("message", "")
    text = render(made)
    assert (
        sum(case["verdict"] == "failed" for part in (*made["drills"], *made["targets"]) for case in part["cases"]) == 9
    )
    for part in (*made["drills"], *made["targets"]):
        for case in part["cases"]:
            assert case["verdict"] != "failed" or case["message"] in text


@pytest.mark.parametrize("ended", ["crashed", "refused", "interrupted"])
def test_a_run_that_drilled_nothing_says_so(ended: str) -> None:
    made = document(selected=[], ended=ended, problems=["the store's name is wrong"])
    page = pages.run_page(made)
    assert page.verdict == "error" and "run was" in page.sentence.replace("crashed", "was")
    assert "The store&#39;s name is wrong." in render(made)


def test_a_partial_drill_is_not_called_restored_and_verified() -> None:
    assert "passed what was checked of them" in pages.run_page(document(scope="partial")).sentence


# --- numbers are the document's ---------------------------------------------------------------------------------------


def test_the_page_counts_what_the_document_holds() -> None:
    made = list(history(400, targets=10, faults=0.05))[-1]
    page = pages.run_page(made)
    assert {part.state: part.count for part in page.parts if part.state != "missed"} == {
        verdict: sum(drill["verdict"] == verdict for drill in made["drills"])
        for verdict in ("passed", "failed", "error", "excepted")
    }
    rows = tree(render(made)).cssselect("table.backups tbody tr")
    assert len(rows) == len(made["drills"]) == 20
    told = {words(row.cssselect("th")[0]) for row in rows}
    assert told == {f"{drill['target']} / {drill['copy']}" for drill in made["drills"]}


def test_objectives_are_the_worst_of_their_tier() -> None:
    measured = {"db-000/nas": {"rto_seconds": 10.0}, "db-000/offsite": {"rto_seconds": 800.0}}
    (tier, *_) = pages.run_page(document(targets=3, measured=measured)).tiers
    assert (tier.name, tier.rto.reached, tier.rto.wanted, tier.rto.of) == ("critical", 800.0, 900.0, "db-000 / offsite")
    assert tier.rto.state == "met"
    for verdict in ("failed", "excepted"):  # an exception excuses it, and does not meet it
        broken = document(targets=3, measured=measured, verdicts={"db-000/nas/rto": verdict})
        assert pages.run_page(broken).tiers[0].rto.state == "not met"


def test_an_objective_is_met_only_where_it_was_judged() -> None:
    blocked = document(verdicts={"orders-db/nas/restores": "failed"})
    (tier,) = pages.run_page(blocked).tiers
    assert (tier.rpo.state, tier.rto.state, tier.rto.unknown) == ("met", "partly known", 1)
    assert "partly known" in words(tree(render(blocked)).cssselect("table.objectives .o.not-known")[0])
    old = {f"orders-db/{copy}": {"age_seconds": 9e7, "rto_seconds": 9e4} for copy in ("nas", "offsite")}
    for scope, state in (("partial", "not known"), ("whole", "not judged")):  # whole without it: a frozen archive
        made = document(measured=old, scope=scope)
        for drill in made["drills"]:
            drill["cases"] = [case for case in drill["cases"] if case["case"] not in ("rpo", "rto")]
        (tier,) = pages.run_page(made).tiers
        assert [(each.state, each.reached) for each in (tier.rpo, tier.rto)] == [(state, None)] * 2
        assert state in words(tree(render(made)).cssselect("table.objectives")[0])


def test_what_an_exception_covers_is_not_simply_called_passed() -> None:
    verdicts = {"orders-db/nas/rows/orders": "failed", "orders-db/offsite/rpo": "excepted"}
    sentence = pages.run_page(document(verdicts=verdicts)).sentence
    assert sentence == "1 of 2 backups failed; the other passed, 1 of them under an approved exception."
    verdicts.pop("orders-db/offsite/rpo")
    assert pages.run_page(document(verdicts=verdicts)).sentence == "1 of 2 backups failed; the other passed."


def test_a_name_keeps_its_letters_and_no_table_is_empty() -> None:
    made = document(verdicts={"orders-db/nas/located": "failed", "orders-db/offsite/located": "failed"})
    for case in made["targets"][0]["cases"]:
        case |= {"verdict": "error", "blocked_by": "located"}
    for drill in made["drills"]:
        next(case for case in drill["cases"] if case["case"] == "located")["message"] = "orders_1.gz has 8 B"
        drill.pop("snapshot", None)
    page = tree(render(made))
    assert words(page.cssselect(".said")[0]) == "orders_1.gz has 8 B."
    assert all(table.cssselect("tbody tr") for table in page.cssselect("table"))
    assert "none that could be drilled" in words(page), "there may be one that is not fit for it"


def test_digests_limits_and_blocked_checks_are_told() -> None:
    made = document(verdicts={"orders-db/nas/unpacks": "failed"})
    text = render(made)
    for drill in made["drills"]:
        assert all(digest in text for digest in drill["snapshot"]["sha256"].values())
        assert all(limit in text for limit in drill["limits"])
    assert "7 checks could not run: blocked by unpacks" in words(tree(text))


# --- what must be said loudly -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estate", "ledger", "told"),
    [
        ("user", None, ["Not chained."]),
        ("user", SIGNED, []),
        ("demo", SIGNED, ["Demo."]),
        ("user", LedgerState(sequence=1, digest="ab"), ["Unsigned."]),
        ("user", LedgerState(sequence=1, key_id="k", problems=("entry 4: edited: it",)), ["Ledger broken."]),
        ("user", LedgerState(sequence=1, key_id="k", signatures_checked=False), ["Not checked."]),
    ],
)
def test_notices(estate: str, ledger: LedgerState | None, told: list[str]) -> None:
    found = tree(render(document(estate=estate), ledger=ledger))
    assert [words(each) for each in found.cssselect(".notices strong")] == told


def test_reviews_and_exceptions_are_shown() -> None:
    review = Review("Ada", "2026-11-24T08:00:00Z", "r1", "looked at", "cd" * 32, "k2")
    exceptions = [
        {
            "id": "EX-1",
            "target": "orders-db",
            "copy": "nas",
            "case": "rows",
            "state": "in force",
            "expires": "2027-03-31",
        },
        {"id": "EX-2", "target": "orders-db", "case": "gap", "state": "stale", "expires": "2026-12-01"},
        {"id": "EX-3", "target": "orders-db", "case": "rpo", "state": "expired", "expires": "2026-11-01"},
    ]
    made = document(exceptions=exceptions, verdicts={"orders-db/nas/rows/orders": "excepted"})
    text = render(made, ledger=LedgerState(sequence=1, key_id="k", problems=(), reviews=(review,)))
    rows = [
        words(row).replace("orders-db", " orders-db", 1) for row in tree(text).cssselect("table.exceptions tbody tr")
    ]
    assert [row.split()[0] for row in rows] == ["EX-3", "EX-2", "EX-1"]
    assert rows[1].endswith("runs out soon: stale") and rows[2].endswith("in force")
    assert "orders-db / nas: rows" in rows[2]
    assert ">Ada</th><td>2026-11-24 08:00 UTC</td><td>r1</td><td>looked at</td>" in text


def test_controls_tell_what_is_supported_and_what_has_no_evidence() -> None:
    made = document(verdicts={"orders-db/nas/unpacks": "failed"})
    found = assess(load_frameworks(), [made], until=WHEN + timedelta(days=1))
    nothing = assess(load_frameworks(), [], until=WHEN + timedelta(days=1))
    for rows, told in ((found, "Failing: orders-db/nas (unpacks)"), (nothing, "No evidence in the period.")):
        text = render(made, controls=Controls(tuple(each.as_dict() for each in rows), (("PCI DSS", "asks for none"),)))
        assert told in text and "PCI DSS" in text
        assert len(tree(text).cssselect("table.controls tbody tr")) == len(rows) > 10
        assert "complian" not in text.lower()
    assert not tree(render(made)).cssselect("#controls")


def test_what_a_run_supports_is_told_from_the_runs_that_are_known() -> None:
    documents = nights("", "", "")
    plan: Any = SimpleNamespace(controls=(load_frameworks()[0].id,), control_files=())
    found = supported.controls(plan, documents, population=known(documents), until=WHEN.timestamp() + 60)
    assert found.rows and all(row["drills"] == 6 for row in found.rows) and not found.illustration


def test_a_shard_that_is_missing_is_told_loudly() -> None:
    made = document()
    made["run"]["shards"] = {"total": 3, "plan": "ab", "missing": [2]}
    assert "Shards missing." in render(made, ledger=SIGNED)


# --- hostile input ----------------------------------------------------------------------------------------------------

HOSTILE = (
    "</style><script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "{{ 7*7 }}{% raw %}",
    "\u202egnp.exe\u2066",
    "javascript:alert(1)",
    "]]><!--",
    "a\nb\x1b[31m",
)


def _texts(value: Any, put: str) -> Any:
    """The document with every text of a name, a message or a key replaced."""
    if isinstance(value, dict):
        return {name: each if name in _KEPT else _texts(each, put) for name, each in value.items()}
    if isinstance(value, list):
        return [_texts(each, put) for each in value]
    return put if isinstance(value, str) else value


_KEPT = (
    "form",
    "verdict",
    "started",
    "finished",
    "taken_at",
    "at",
    "by",
    "previous",
    "state",
    "ended",
    "scope",
    "expires",
    "case",
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_stay_text(hostile: str) -> None:
    made = _texts(document(verdicts={"orders-db/nas/unpacks": "failed"}, problems=["p"]), hostile)
    made["exceptions"] = [{"id": hostile, "target": hostile, "case": hostile, "reason": hostile, "state": "stale"}]
    text = render(made, ledger=LedgerState(where=hostile, digest=hostile, key_id=hostile, problems=(hostile,)))
    found = tree(text)
    assert not found.cssselect("script, img, iframe, object, embed, form, base")
    assert len(found.cssselect("style")) == 1
    assert not [each for each in found.iter() if any(name.startswith("on") for name in each.attrib)]
    assert all(each.get("href").startswith(("#", "data:")) for each in found.cssselect("[href]"))
    assert not any(character in text for character in "\u202e\u2066\x1b")


def test_it_asks_for_nothing_and_its_style_is_the_one_that_is_allowed() -> None:
    text = render(document())
    found = tree(text)
    policy = found.cssselect("meta[http-equiv]")[0].get("content")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    assert not found.cssselect("[style], [src], script")
    assert "url(" not in style[1] and "@import" not in style[1]


def test_a_verdict_that_is_not_known_is_no_pass() -> None:
    made = document()
    made["verdict"] = made["drills"][0]["verdict"] = made["drills"][0]["cases"][0]["verdict"] = 'great"><b>'
    found = tree(render(made))
    assert words(found.cssselect("h1")[0]) == "could not verify 1 of 2 backups could not be verified; the other passed."
    assert len(found.cssselect(".cause")) == 1


# --- what need not be there -------------------------------------------------------------------------------------------


def _barest(value: Any, rule: dict[str, Any], root: dict[str, Any]) -> Any:
    """The value without anything that the schema does not require."""
    while "$ref" in rule:
        rule = root["$defs"][rule["$ref"].rpartition("/")[2]]
    if isinstance(value, dict) and "required" in rule:
        properties = rule.get("properties", {})
        return {name: _barest(value[name], properties.get(name, {}), root) for name in rule["required"]}
    if isinstance(value, list) and "items" in rule:
        return [_barest(each, rule["items"], root) for each in value]
    return value


def _everywhere() -> Iterator[dict[str, Any]]:
    yield document(targets=[Target("orders-db", owner="")])
    yield document(verdicts={"orders-db/nas/located": "error", "orders-db/offsite/rows/orders": "failed"})
    yield document(exceptions=[{"id": "EX-1", "target": "orders-db", "case": "rows"}])
    yield document(selected=[], ended="crashed")


@pytest.mark.parametrize("made", list(_everywhere()))
def test_the_barest_document_can_be_shown(made: dict[str, Any]) -> None:
    barest = _barest(made, schema(), schema())
    assert barest != made
    text = render(barest, population=Population.of([made], now=WHEN))
    assert "<h1" in text and "Undefined" not in text


def test_a_large_run_is_told_in_short() -> None:
    large, small = document(targets=100, verdicts={"db-007/nas/unpacks": "failed"}), document(targets=3)
    text = render(large)
    assert len(text) < 1_000_000
    assert len(tree(text).cssselect("table.backups tbody tr")) == 200
    assert "None" not in words(tree(text)).replace("None: nothing that failed was excused", "")
    assert "what passed is told in short" in text and "what passed is told in short" not in render(small)
