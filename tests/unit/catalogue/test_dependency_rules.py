"""``depends_on``: what waits for itself, for nothing that exists, or in a circle, is told at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from restore_drill.catalogue.problems import Problem
from restore_drill.plan import Plan

ORDERS, WIKI = "    tier: critical\n", "    tier: important\n"


@pytest.mark.parametrize(
    ("orders", "wiki", "said", "hint"),
    [
        ("[¦wikki]", "[]", "there is no target 'wikki'", "did you mean 'wiki'?"),
        ("[¦orders-db]", "[]", "orders-db cannot wait for itself", "remove it"),
        ("[wiki, ¦wiki]", "[]", "orders-db waits for 'wiki' twice", "keep one of them"),
        (
            "[¦wiki]",
            "[orders-db]",
            "these targets wait for each other: orders-db waits for wiki waits for orders-db",
            "one of them must come back first",
        ),
    ],
)
def test_it_is_told_at_its_place(
    good: str, problems: Callable[[str], list[Problem]], orders: str, wiki: str, said: str, hint: str
) -> None:
    marked = good.replace(ORDERS, f"{ORDERS}    depends_on: {orders}\n").replace(
        WIKI, f"{WIKI}    depends_on: {wiki}\n"
    )
    head = marked[: marked.index("¦")]
    place = (head.count("\n") + 1, len(head) - head.rfind("\n"))
    found = problems(marked.replace("¦", ""))
    assert [(problem.line, problem.column, problem.message) for problem in found] == [(*place, said)]
    assert hint in found[0].hint


def test_a_name_that_is_none_is_told_once(good: str, problems: Callable[[str], list[Problem]]) -> None:
    found = problems(good.replace(ORDERS, f"{ORDERS}    depends_on: [3]\n"))
    assert len(found) == 1
    assert "depends_on" in found[0].message


def test_a_long_chain_is_no_circle(good: str, plan: Callable[[str], Plan]) -> None:
    wiki = good[good.index("  wiki:") :]
    chain = [
        wiki.replace("  wiki:", f"  wiki-{number}:").replace("wiki/", f"wiki-{number}/")
        .replace(WIKI, f"{WIKI}    depends_on: [{'wiki' if number == 0 else f'wiki-{number - 1}'}]\n")
        for number in range(1500)
    ]  # fmt: skip
    targets = plan(good + "".join(chain)).by_name
    assert targets["wiki-1499"].model.depends_on == ("wiki-1498",)
    assert targets["wiki"].model.depends_on == ()
