"""Print what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.benchmarks.measure import Benchmark, Series

_COLUMNS = ("", "median", "fastest", "slowest", "times as fast", "processor", "largest", "together")
# The last two: resident memory of the largest process, and of all of them at one time.
_MIB = 1 << 20


def table(benchmark: Benchmark, series: Sequence[Series]) -> str:
    """One benchmark: the figures, what they mean per unit, the commands."""
    names = sorted({name for one in series for name in one.units})
    rows = [[*_COLUMNS, *(f"a {name}" for name in names)]]
    rows += [_row(one, series[0], names) for one in series]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    lines[1:1] = ["  ".join("-" * width for width in widths)]
    return "\n".join(
        [
            f"({benchmark.letter}) {benchmark.title}",
            "",
            *lines,
            "",
            _verdict(benchmark, series),
            *(f"note: {remark}" for remark in benchmark.remarks),
            *(f"{one.way.name}: {one.way.line}" for one in series),
        ]
    )


def _row(one: Series, baseline: Series, names: Sequence[str]) -> list[str]:
    return [
        one.way.name,
        f"{one.median:.2f} s",
        f"{min(one.seconds):.2f} s",
        f"{max(one.seconds):.2f} s",
        f"{baseline.median / one.median:.2f}",
        f"{statistics.median(one.processor):.2f} s",
        f"{one.peak.largest / _MIB:.0f} MiB",
        f"{one.peak.together / _MIB:.0f} MiB",
        *(f"{1000 * one.median / one.units[name]:.2f} ms" if name in one.units else "" for name in names),
    ]


def _verdict(benchmark: Benchmark, series: Sequence[Series]) -> str:
    if benchmark.goal is None:
        return "no speed is promised here"
    best = min(series[1:], key=lambda one: one.median)
    ratio = series[0].median / best.median
    reached = "reached" if ratio >= benchmark.goal else "MISSED"
    return f"goal {benchmark.goal:g} times as fast as {series[0].way.name}: {reached} ({best.way.name}: {ratio:.2f})"
