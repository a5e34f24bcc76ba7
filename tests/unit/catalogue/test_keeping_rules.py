"""Holds and expiries: what contradicts itself is said at its place, what does not is accepted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from restore_drill.catalogue.problems import Problem
from restore_drill.plan import Plan

ROWS = "    expect:\n      rows: {customers: 59, orders: {min: 1000, max_drop: 5%}}\n"
HOLD = "{id: LH-1, reason: litigation, by: legal"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (f"    holds: [{HOLD}, copy: ¦nass}}]\n", "orders-db has no copy 'nass'"),
        (f"    holds: [{HOLD}}}, {{id: ¦LH-1, reason: r, by: b}}]\n", "two holds of orders-db are called 'LH-1'"),
        (
            f"    holds: [¦{HOLD}, snapshots: [20261101T020000Z], first: 2026-01-01}}]\n",
            "a hold names snapshots or days: remove snapshots, or first and last",
        ),
        (
            f"    holds: [¦{HOLD}, first: 2026-02-01, last: 2026-01-01}}]\n",
            "the first day of the hold is after its last: exchange them",
        ),
        ("    ¦expiry: {warn: 1d}\n", "the expiry removes nothing: give after or keep_last, or remove it"),
        ("    expiry: {after: ¦1d}\n", "what a drill proves is removed before the next drill is due (1 d)"),
        ("    expiry: {after: 9d, warn: ¦9d}\n", "it would warn of every snapshot from the beginning"),
        (
            "    retention: {daily: 7, weekly: 5}\n    expiry: {after: ¦14d}\n",
            "it removes what the retention promises (weekly: 5)",
        ),
        (
            "    retention: {at_least: 3}\n    expiry: {keep_last: ¦2}\n",
            "it removes what the retention promises (at_least: 3)",
        ),
    ],
)
def test_a_contradiction_is_said_at_its_place(
    good: str, problems: Callable[[str], list[Problem]], written: str, said: str
) -> None:
    marked = good.replace(ROWS, written, 1)
    head = marked[: marked.index("¦")]
    found = problems(marked.replace("¦", "", 1))
    place = (head.count("\n") + 1, len(head) - head.rfind("\n"))
    assert [(problem.line, problem.column, problem.message) for problem in found] == [(*place, said)]


def keeping(good: str, target: str, nas: str = "", offsite: str = "") -> str:
    """The catalogue with keys of the target, and of each of its copies."""
    for name, own in (("nas", nas), ("offsite", offsite)):
        line = next(line for line in good.splitlines() if line.startswith(f"      {name}: {{path"))
        good = good.replace(line, f"{line[:-1]}, {own}}}") if own else good
    return good.replace(ROWS, target, 1)


@pytest.mark.parametrize(
    ("target", "nas", "offsite", "said"),
    [
        ("    expiry: {after: ¦30d}\n", "", "retention: {daily: 90}", ["daily: 90"]),
        ("    expiry: {after: ¦30d}\n    retention: {daily: 90}\n", "", "retention: {daily: 7}", ["daily: 90"]),
        ("    expiry: {after: ¦30d}\n    retention: {daily: 90}\n", "", "", ["daily: 90"]),
        (
            "    expiry: {after: ¦30d}\n",
            "retention: {daily: 60}",
            "retention: {daily: 90}",
            ["daily: 60", "daily: 90"],
        ),
        ("    retention: {daily: 90}\n", "", "expiry: {after: ¦30d}", ["daily: 90"]),
        (
            "    expiry: {after: 99d}\n    retention: {daily: 7}\n",
            "",
            "expiry: {after: ¦30d}, retention: {daily: 90}",
            ["daily: 90"],
        ),
    ],
    ids=["retention of a copy", "of the other copy", "of both", "of each", "expiry of a copy", "both of a copy"],
)
def test_an_expiry_is_held_against_the_retention_that_it_meets(
    good: str, problems: Callable[[str], list[Problem]], target: str, nas: str, offsite: str, said: list[str]
) -> None:
    marked = keeping(good, target, nas, offsite)
    head = marked[: marked.index("¦")]
    found = problems(marked.replace("¦", ""))
    place = (head.count("\n") + 1, len(head) - head.rfind("\n"))
    assert [(problem.line, problem.column, problem.message) for problem in found] == [
        (*place, f"it removes what the retention promises ({each})") for each in said
    ]


@pytest.mark.parametrize(
    ("target", "nas", "offsite"),
    [
        ("    expiry: {after: 30d}\n    retention: {daily: 90}\n", "retention: {daily: 7}", "retention: {weekly: 4}"),
        ("    expiry: {after: 30d}\n    retention: {daily: 90}\n", "expiry: {after: 90d}", "expiry: {after: 99d}"),
        ("    expiry: {after: 30d}\n", "", "expiry: {after: 99d}, retention: {daily: 90}"),
        ("    retention: {daily: 90}\n", "expiry: {after: 99d}", ""),
    ],
    ids=["retentions of copies", "expiries of copies", "both of a copy", "one copy without"],
)
def test_a_pair_that_meets_in_no_copy_contradicts_nothing(
    good: str, plan: Callable[[str], Plan], target: str, nas: str, offsite: str
) -> None:
    planned = plan(keeping(good, target, nas, offsite)).by_name["orders-db"]
    assert [copy.name for copy in planned.copies if copy.expiry is not None]


def test_what_does_not_contradict_itself_is_accepted(good: str, plan: Callable[[str], Plan]) -> None:
    written = (
        f"    holds: [{HOLD}, copy: nas, first: 2026-01-01, last: 2026-01-31, released: 2027-01-01}}]\n"
        "    retention: {daily: 7, weekly: 5, at_least: 3}\n    expiry: {after: 28d, keep_last: 3, warn: 3d}\n"
    )
    model = plan(good.replace(ROWS, written)).by_name["orders-db"].model
    assert (model.holds[0].copy_, model.holds[0].last) == ("nas", date(2026, 1, 31))
    assert model.expiry is not None and model.expiry.after == timedelta(days=28)
