"""summary.md: what a job page says, rendered by GitHub's own implementation of its Markdown."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import cmarkgfm
import hypothesis
import pytest
from cmarkgfm.cmark import Options
from hypothesis import strategies as st
from lxml import etree, html
from tests.support.evidence import WHEN, Target, document, history

from restore_drill.policy.population import Population
from restore_drill.printable import printable
from restore_drill.reporting import markdown
from restore_drill.reporting.page import LedgerState

LEDGER = LedgerState(where="file:///state", entries=42, sequence=42, digest="ab" * 32, key_id="3f9a1c")
#: What somebody might call a table, a target, a store; and what a page must then show.
HOSTILE = (
    "x|y `tick` ``two`` \\| <script>alert(1)</script> </table><img src=x onerror=alert(1)> @octocat #123 "
    "[click](https://evil.example) ![i](http://evil.example/i.png) https://evil.example www.evil.example "
    "me@evil.example <https://evil.example> $x^2$ ~~s~~ __b__ *i* &lt; &#64; - [ ] \u202e \x1b[31m"
)


def rendered(text: str) -> etree._Element:
    """As a page that filters nothing: whatever is harmful here is of our making."""
    return html.fromstring(f"<div>{cmarkgfm.github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE)}</div>")


def shown(page: etree._Element) -> str:
    return re.sub(r"\s+", " ", page.text_content().replace("\u200b", ""))


def summary(found: dict[str, Any], **options: Any) -> etree._Element:
    return rendered(markdown.render(found, **options))


def test_a_good_run_says_so_in_its_first_line() -> None:
    text = markdown.render(document(targets=3), ledger=LEDGER)
    assert text.startswith("## Restore drills: passed\n\n**All 6 backups that this run drilled were restored and verif")
    page = shown(rendered(text))
    assert "Needs a human" not in page
    assert "entry 42, abababababababab, signed with the key 3f9a1c" in page


def test_what_is_broken_stands_on_one_line_with_since_when_and_what_to_do() -> None:
    found = document(targets=["orders-db", "wiki"], verdicts={"orders-db/nas/unpacks": "failed"})
    earlier = document(
        WHEN - timedelta(days=1), targets=["orders-db", "wiki"], verdicts={"orders-db/nas/unpacks": "failed"}
    )
    population = Population.of([earlier, found], now=WHEN + timedelta(days=1))
    lines = [line for line in markdown.render(found, population=population).splitlines() if line.startswith("- ")]
    assert len(lines) == 1
    for part in (
        "FAILED",
        "orders-db / nas",
        "unpacks is broken",
        "Since 2026-11-22",
        "Check the backup job",
        "pytest",
    ):
        assert part in lines[0]
    assert "blocks 7 cases" in lines[0]


def test_each_tier_has_a_row_with_what_was_reached() -> None:
    measured = {"mail/nas": {"rto_seconds": 20_000}}
    targets = [Target("orders-db"), Target("mail", "important")]
    found = document(targets=targets, measured=measured, verdicts={"mail/nas/rto": "failed"})
    page = summary(found)
    rows = [[cell.text_content() for cell in row.iter("td")] for row in page.iter("tr")]
    critical, important = (next(row for row in rows if row and row[0] == tier) for tier in ("critical", "important"))
    assert critical[1:6] == ["2 of 2", "2", "0", "0", "0"]
    assert important[1:6] == ["2 of 2", "1", "1", "0", "0"]
    assert "not met, mail / nas" in important[7] and "not met" not in critical[7]


def test_the_account_of_what_was_due_stands_where_the_ledger_is_known() -> None:
    documents = list(history(40, targets=2, faults=0.0))
    population = Population.of(documents[:-3] + documents[-1:], now=WHEN)
    totals = population.totals
    assert totals.missed > 0
    page = shown(summary(documents[-1], population=population))
    assert f"Drills due since 2026-11-14 02:00 UTC: {totals.due} = {totals.ran} ran and passed" in page
    assert f"{totals.missed} missed" in page
    assert "Drills due" not in shown(summary(documents[-1]))


def test_exceptions_are_listed_with_their_state() -> None:
    exceptions = [
        {"id": "EX-1", "target": "orders-db", "case": "encrypted"},
        {"id": "EX-2", "target": "orders-db", "case": "rpo", "state": "expired"},
    ]
    page = summary(document(exceptions=exceptions))
    rows = [[cell.text_content() for cell in row.iter("td")] for row in page.iter("tr")]
    assert ["EX-2", "orders-db / rpo", "expired"] in [row[:3] for row in rows]
    assert ["EX-1", "orders-db / encrypted", "in force"] in [row[:3] for row in rows]


@pytest.mark.parametrize("ended", ["crashed", "refused", "interrupted"])
def test_a_run_that_drilled_nothing_is_no_pass(ended: str) -> None:
    found = document(selected=[], ended=ended, problems=["the worker died"], targets=2)
    text = markdown.render(found)
    assert text.startswith("## Restore drills: could not verify")
    assert "the worker died" in shown(rendered(text))


def test_a_shard_without_targets_says_that_it_is_no_mishap() -> None:
    found = document(selected=[], targets=2, shard=(2, 3)) | {"verdict": "passed"}
    assert "Shard 2 of 3 has none of the plan's targets" in markdown.render(found)


def test_a_joined_run_names_what_is_missing_and_whose_entries_stand_for_it() -> None:
    found = document(targets=2)
    found["run"] |= {"merged_from": ["run-1", "run-3"], "shards": {"total": 3, "plan": "0" * 64, "missing": [2]}}
    page = shown(summary(found))
    assert "Missing: shard 2 of 3." in page and "entries of their own: run-1 and run-3" in page
    assert "this run is in none" not in page


def test_a_run_in_no_ledger_and_an_unsigned_one_say_so() -> None:
    assert "this run is in none" in markdown.render(document())
    unsigned = dataclasses.replace(LEDGER, key_id="", unsigned=42)
    assert "not signed" in markdown.render(document(), ledger=unsigned)
    assert "not signed" not in markdown.render(document(), ledger=LEDGER)


# --- what comes from outside ------------------------------------------------------------------------------------------

_OURS = frozenset({
    "div", "h2", "h3", "p", "strong", "em", "code", "ul", "li", "blockquote",
    "table", "thead", "tbody", "tr", "th", "td",
})  # fmt: skip


def hostile() -> dict[str, Any]:
    found = document(
        targets=[Target("orders-db"), Target(HOSTILE, "important", owner=HOSTILE, copies=("nas", HOSTILE))],
        verdicts={
            f"{HOSTILE}/nas/rpo": "failed",
            f"{HOSTILE}//agree": "error",
            "orders-db/nas/rows/orders": "excepted",
        },
        exceptions=[{"id": HOSTILE, "target": HOSTILE, "case": "rpo", "reason": HOSTILE, "approver": HOSTILE}],
        problems=[HOSTILE],
        user=HOSTILE,
    )
    for drill in found["drills"]:
        for case in drill["cases"]:
            case.update({"message": HOSTILE, "remedy": HOSTILE} if case["verdict"] != "passed" else {})
    return found


def test_hostile_names_are_shown_as_they_are_and_do_nothing() -> None:
    page = summary(hostile())
    assert {element.tag for element in page.iter()} <= _OURS
    assert all(set(element.attrib) <= {"align"} for element in page.iter())
    told = shown(page)
    for part in ("<script>alert(1)</script>", "[click](https://evil.example)", "x|y `tick` ``two`` \\|", "__b__ *i*",
                 "&lt; &#64;", "\\u202e \\x1b[31m"):  # fmt: skip
        assert part in told, part


def test_nothing_is_mentioned_referred_to_or_linked_later() -> None:
    """GitHub looks for these in the text of the finished page, outside of code."""
    page = summary(hostile())
    for code in page.iter("code"):
        code.text = ""
    text = page.text_content()
    assert not re.search(r"@\w|#\d|https?:|www\.", text)
    assert re.search(r"@\w|#\d|https?:|www\.", text.replace("\u200b", ""))


def test_a_table_keeps_its_columns_whatever_stands_in_it() -> None:
    for table in summary(hostile()).iter("table"):
        assert len({len(list(row)) for row in table.iter("tr")}) == 1


_MARKUP = st.sampled_from(
    [
        "|",
        "\\",
        "`",
        "``",
        "*",
        "_",
        "[",
        "](",
        ")",
        "<",
        ">",
        "&",
        "&amp;",
        "&#124;",
        "~~",
        "$",
        "!",
        "@",
        "#",
        "://",
        "http",
        "www.",
        "- ",
        "1. ",
        "\n",
        "\t",
        "<b>",
        "<!--",
        "a",
        " ",
        "é",
        "\u202e",
    ]
)


@hypothesis.example("_www.evil.example")
@hypothesis.given(st.lists(_MARKUP | st.characters(), max_size=12).map("".join))
@hypothesis.settings(max_examples=120, deadline=None, database=None, derandomize=True)
def test_any_text_is_shown_word_for_word(text: str) -> None:
    page = rendered(
        f"| a | b |\n|---|---|\n| {markdown.prose(text)} | {markdown.name(text)} |\n\n- x {markdown.prose(text)}x\n"
    )
    cells = [cell.text_content().replace("\u200b", "") for cell in page.iter("td")]
    expected = " ".join(printable(text).split())
    assert [cell.strip() for cell in cells] == [expected, expected]
    assert {element.tag for element in page.iter()} <= _OURS
    (item,) = page.iter("li")
    assert item.text_content().replace("\u200b", "") == f"x {expected}x"


# --- how much -------------------------------------------------------------------------------------------------------


def test_many_causes_are_counted_and_the_first_are_told() -> None:
    found = document(targets=60, verdicts={f"db-{number:03}/nas/rows/orders": "failed" for number in range(60)})
    for number, drill in enumerate(found["drills"]):
        for case in drill["cases"]:
            case.update({"message": f"cause {number}"} if case["verdict"] == "failed" else {})
    text = markdown.render(found)
    assert "Needs a human: 60 causes" in text and "and 35 more" in text
    assert sum(line.startswith("- **FAILED**") for line in text.splitlines()) == 25


def test_a_job_page_takes_it_beside_what_it_has(tmp_path: Path) -> None:
    page = tmp_path / "summary"
    page.write_text("before\n")
    markdown.append_to_job_page("# ours\n", {"GITHUB_STEP_SUMMARY": str(page)})
    assert page.read_text() == "before\n\n# ours\n"
    markdown.append_to_job_page("# ours\n", {})
    assert page.read_text() == "before\n\n# ours\n"


@pytest.mark.parametrize("before", [0, markdown.JOB_PAGE_LIMIT - 2000, markdown.JOB_PAGE_LIMIT - 3, 2 << 20])
def test_a_job_page_never_grows_beyond_its_limit(tmp_path: Path, before: int) -> None:
    page = tmp_path / "summary"
    page.write_bytes(b"x" * before)
    markdown.append_to_job_page("ä line\n" * 200_000, {"GITHUB_STEP_SUMMARY": str(page)})
    after = page.read_bytes()
    assert len(after) <= max(before, markdown.JOB_PAGE_LIMIT)
    assert after.decode().endswith("have it.*\n") is (before <= markdown.JOB_PAGE_LIMIT - 2000)


def test_what_fits_is_not_cut() -> None:
    assert markdown.cut("ä\n", 3) == "ä\n".encode()
    assert markdown.cut("line\n" * 100, 300).startswith(b"line\nline\n")
    assert markdown.cut("line\n" * 100, 2) == b""
