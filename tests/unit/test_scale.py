"""docs/scale.md: every figure of its tables follows from the formulae, and its commands do what it says."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from restore_drill.costs import MONTH_DAYS, Load, Prices, Reading, StorePrices, reckon
from restore_drill.quantities import format_size, parse_size
from restore_drill.sampling import detection

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
DAY = 86400.0
#: Days between two drills: at home and offsite, by tier, of each row of the table.
DAILY = {"critical": (1, 1), "important": (1, 1), "archival": (1, 1)}
BY_TIER = {"critical": (1, 1), "important": (7, 7), "archival": (364, 364)}
APART = {"critical": (1, 182), "important": (7, 182), "archival": (364, 182)}
#: Hours of a night.
NIGHT = 8


def table(first: str) -> list[list[str]]:
    """The cells of the table that begins with a heading."""
    lines = DOCUMENT.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def number(cell: str) -> int:
    return int(cell.replace(",", "").removesuffix(" s"))


def estate(every: dict[str, tuple[int, int]]) -> list[Load]:
    """The targets of the document's table, each copy a load of its own with half of a drill's time."""
    found = []
    for tier, targets, each, _, seconds in table("tier"):
        for store, days in zip(("home", "offsite"), every[tier], strict=True):
            reading = Reading(store, parse_size(each))
            found.append(Load(tier, days * DAY, number(seconds) / 2, 0, (reading,), number(targets)))
    return found


def prices(*, egress: float = 0.05) -> Prices:
    stores = {"home": StorePrices(0, 0), "offsite": StorePrices(egress, 0.0005)}
    return Prices("", 0.12, 0.08, stores=stores)


def scenario(every: dict[str, tuple[int, int]], *, egress: float = 0.05) -> list[str]:
    bill = reckon(estate(every), prices(egress=egress))
    home, offsite = bill.stores
    read = format_size(round(home.fetched))
    if round(home.fetched) != round(offsite.fetched):
        read = f"home {read}, offsite {format_size(round(offsite.fetched))}"
    assert offsite.egress_cost is not None and offsite.requests_cost is not None and bill.hours_cost is not None
    return [
        read, f"{offsite.egress_cost:,.0f}", f"{offsite.requests_cost:,.0f}", f"{bill.hours:,.0f}",
        f"{bill.hours_cost:,.0f}", f"{math.ceil(bill.hours / MONTH_DAYS / NIGHT):,}",
    ]  # fmt: skip


def disks(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    found = []
    for _, content, _, machines, _ in rows:
        loads = [Load("critical", DAY, 1.0, parse_size(content), ())]
        bill = reckon(loads, prices(), machines=number(machines))
        assert bill.disk_cost is not None
        found.append([format_size(round(bill.disk)), f"{bill.disk_cost:,.0f}"])
    return found


def test_the_estate_is_of_the_size_that_it_says() -> None:
    rows = table("tier")
    assert sum(number(row[1]) for row in rows) == 100_000
    sizes = [number(row[1]) * parse_size(row[2]) for row in rows]
    assert sum(sizes) == 10 * 10**15 and [row[3] for row in rows] == [format_size(size) for size in sizes]
    for _, _, each, _, seconds in rows:  # at the rate that the text gives
        assert number(seconds) == 2 * (parse_size(each) / 100e6 + 10)


def test_what_it_takes_and_costs() -> None:
    assert [row[1:] for row in table("what is drilled")] == [
        scenario(DAILY), scenario(BY_TIER), scenario(BY_TIER, egress=0), scenario(APART)
    ]  # fmt: skip


def test_what_a_part_tells_of_the_whole() -> None:
    week = 80_000 // 52
    for row in table("damaged"):
        damaged = number(row[0].partition(" (")[0])
        share = float(re.search(r"\((.*) %\)", row[0])[1])  # type: ignore[index]
        assert damaged == 80_000 * share / 100
        for cell, weeks in zip(row[1:], (1, 4, 13, 26, 52), strict=True):
            drilled = 80_000 if weeks == 52 else weeks * week
            found = detection(80_000, drilled, damaged)
            assert (found == 1) >= (weeks == 52), "then all of them were drilled"
            assert cell == shown(found, certain=weeks == 52), f"{row[0]} after {weeks} weeks"


def shown(probability: float, *, certain: bool) -> str:
    """Three digits, and never 100 % of what is not certain."""
    if certain:
        return "100 %"
    return "> 99.9 %" if probability > 0.999 else f"{probability:.1%}".replace("%", " %")


def test_what_disk_it_takes() -> None:
    rows = table("what is drilled together")
    assert [[row[2], row[4]] for row in rows] == disks(rows)
    assert number(rows[0][3]) == number(rows[1][3]) + number(rows[2][3]) == number(scenario(BY_TIER)[-1])
