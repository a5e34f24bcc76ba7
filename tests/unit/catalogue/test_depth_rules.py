"""What a target restores and what it expects, held against each other at validation, with the place of each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid, Problem
from restore_drill.plan import Plan

ROWS = "    expect:\n      rows: {customers: 59, orders: {min: 1000, max_drop: 5%}}\n"
LIGHT = "    depth: sample\n    sample: [customers]\n"
REST = "  wiki:"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (ROWS, "    depth: ¦schema\n", "the engine 'toy' cannot restore at depth schema"),
        (REST, f"{REST}\n    depth: ¦sample", "the engine 'tree' cannot restore at depth sample"),
        (ROWS, "    depth: ¦sample\n", "nothing says which tables are sampled"),
        (ROWS, "    ¦sample: [orders]\n", "tables are sampled at depth: sample only"),
        (
            ROWS,
            f"{LIGHT}    expect:\n      rows: {{customers: 59, ¦orders: 3}}\n",
            "'orders' is not among the sampled tables: its rows are not restored",
        ),
        (
            ROWS,
            f"{LIGHT}    expect:\n      rows: {{tables: {{¦orders: 3}}}}\n",
            "'orders' is not among the sampled tables: its rows are not restored",
        ),
        (
            ROWS,
            f"{LIGHT}    expect:\n      rows: {{customers: {{min: 1, ¦max_drop: 5%}}}}\n",
            "there is nothing to compare with: only drills that restore in full become baselines",
        ),
        (
            ROWS,
            f"{LIGHT}    expect:\n      rows: {{default: {{¦max_drop: 5%}}}}\n",
            "there is nothing to compare with: only drills that restore in full become baselines",
        ),
        (
            ROWS,
            f"{LIGHT}    expect:\n      ¦queries: [{{name: q, sql: select 1, equals: 1}}]\n",
            "queries may ask for tables that are not restored: the answer would mislead",
        ),
        (
            ROWS,
            f"{LIGHT}    expect:\n      ¦newest_record: {{sql: select 1, within: 1d}}\n",
            "newest_record may ask for tables that are not restored: the answer would mislead",
        ),
        (ROWS, f"{LIGHT}    ¦frozen: true\n", "digests are pinned by drills that restore in full"),
        (ROWS, f"{LIGHT}    checksum: ¦pinned\n", "digests are pinned by drills that restore in full"),
        (
            ROWS,
            "    expect:\n      strict: [sequences, ¦sequence]\n",
            "the engine 'toy' cannot be strict about 'sequence'",
        ),
        (
            ROWS,
            "    expect:\n      structure: {reference: ¦nowhere.txt}\n",
            "the reference 'nowhere.txt' cannot be read: No such file or directory",
        ),
        (
            ROWS,
            "    expect:\n      structure: {reference: ¦/etc/passwd}\n",
            "'reference' cannot be used: '/etc/passwd' must be relative and must not contain '..'",
        ),
    ],
)
def test_a_contradiction_is_said_at_its_place(
    good: str, problems: Callable[[str], list[Problem]], before: str, after: str, said: str
) -> None:
    assert before in good
    marked = good.replace(before, after, 1)
    head = marked[: marked.index("¦")]
    found = problems(marked.replace("¦", "", 1))
    place = (head.count("\n") + 1, len(head) - head.rfind("\n"))
    assert [(problem.line, problem.column, problem.message) for problem in found] == [(*place, said)]


def test_what_does_not_contradict_itself_is_accepted(good: str, plan: Callable[[str], Plan]) -> None:
    light = f"{LIGHT}    expect:\n      rows: {{customers: 59, default: {{min: 1}}}}\n      strict: [sequences]\n"
    target = plan(good.replace(ROWS, light)).by_name["orders-db"]
    assert (target.depth, target.is_full) == ("SAMPLE (1 table)", False)
    assert plan(good).by_name["orders-db"].is_full


def test_what_defaults_ask_is_not_run_and_listed_instead(good: str, plan: Callable[[str], Plan]) -> None:
    asked = "grace: 20m, expect: {queries: [{name: q, sql: select 1, equals: 1}], rows: {orders: 3}}}"
    text = good.replace("grace: 20m}", asked).replace(ROWS, LIGHT)
    text = text[: text.index(REST)]
    target = plan(text).by_name["orders-db"]
    cases = {(case.case, case.detail) for case in target.cases() if case.copy == "nas"}
    assert ("integrity", "") in cases
    not_run = [(case.case, case.detail) for case in target.not_run("nas")]
    assert not_run == [("structure", ""), ("rows", "orders"), ("query", "q"), ("3-2-1", "")]
    assert not cases & set(not_run)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# nothing\n\n", "the reference 'r.txt' lists nothing: everything would pass"),
        (b"table: a\nrubbish\n", "line 2 of the reference 'r.txt' is not a type, a colon and a name"),
        (b"table: \xff\n", "the reference 'r.txt' is not UTF-8"),
        (b"table: a\nview: b\n", ""),
        (b"\xef\xbb\xbftable: a\r\nview: b  \r\n", ""),
    ],
)
def test_a_reference_is_read_at_validation(here: Path, good: str, content: bytes, said: str) -> None:
    (here / "drills").mkdir(exist_ok=True)
    (here / "drills" / "r.txt").write_bytes(content)
    path = here / "drills" / "targets.yaml"
    path.write_text(good.replace(ROWS, "    expect:\n      structure: {reference: r.txt}\n"))
    if said:
        with pytest.raises(CatalogueInvalid) as caught:
            load(path)
        assert said in str(caught.value)
        assert "restore-drill baseline reference orders-db" in str(caught.value)
    else:
        reference = load(path).by_name["orders-db"].reference
        assert reference is not None
        assert (reference.path, reference.lines) == ("r.txt", ("table: a", "view: b"))
        assert len(reference.sha256) == 64
