"""Drawings: what they show they also say, and every state has a shape of its own."""

from __future__ import annotations

import re
from itertools import combinations

from lxml import etree

from restore_drill.reporting import charts
from restore_drill.reporting.past import Point
from restore_drill.reporting.words import span

STATES = ("passed", "failed", "error", "excepted", "missed")


def points(*seconds: float | None) -> list[Point]:
    return [Point(f"r{number}", "passed", 86400.0 * number, given) for number, given in enumerate(seconds)]


def drawn(markup: str) -> etree._Element:
    return etree.fromstring(markup)


def test_a_strip_shows_the_last_thirty_and_says_so() -> None:
    svg = drawn(charts.strip(["failed"] * 5 + ["passed"] * 28 + ["error"]))
    assert svg.get("aria-label") == (
        "last 30 drills, oldest first: 28 passed, 1 failed and 1 could not verify; the last could not verify"
    )
    marks = {path.get("class"): path.get("d").count("M") for path in svg}
    assert marks == {"f-passed": 28, "f-failed": 1, "f-error": 1}
    assert "no earlier drill" in charts.strip([])


def test_every_state_has_a_shape_of_its_own() -> None:
    shapes = {state: re.sub(r"^M\d+ ", "", drawn(charts.sample(state))[0].get("d")) for state in STATES}
    assert all(shapes[one] != shapes[other] for one, other in combinations(STATES, 2))


def test_a_trend_draws_its_objective_where_it_is() -> None:
    svg = drawn(charts.trend(points(10, 20, 30), lambda point: point.seconds, span, name="restore time", objective=40))
    heights = [float(pair.partition(",")[2]) for pair in svg.find("polyline").get("points").split()]
    wanted = float(re.search(r"M1 ([\d.]+)h", svg.find("path").get("d"))[1])  # type: ignore[index]
    assert heights == sorted(heights, reverse=True) and wanted < min(heights)
    assert "from 10 s to 30 s, last 30 s; objective 40 s;" in svg.get("aria-label") == svg.findtext("title")
    broken = drawn(charts.trend(points(10, 50), lambda point: point.seconds, span, name="restore time", objective=40))
    wanted = float(re.search(r"M1 ([\d.]+)h", broken.find("path").get("d"))[1])  # type: ignore[index]
    assert wanted > float(broken.find("circle").get("cy"))


def test_an_objective_far_beyond_is_said_to_be() -> None:
    text = charts.trend(points(0.1, 0.2), lambda point: point.seconds, span, name="restore time", objective=900)
    assert "objective 15 min, beyond the scale" in text and 'class="break"' in text


def test_what_is_not_known_is_left_out_and_one_point_is_no_trend() -> None:
    def seconds(point: Point) -> float | None:
        return point.seconds

    assert (
        charts.trend(points(1), seconds, span, name="x") == "" == charts.trend(points(None, 1), seconds, span, name="x")
    )
    svg = drawn(charts.trend(points(5, 5, None), seconds, span, name="restore time"))
    assert float(svg.find("circle").get("cx")) < 70  # the last drill is to the right of it
    assert len(svg.find("polyline").get("points").split()) == 2


def test_a_bar_shows_all_that_exists_in_proportion() -> None:
    parts = [charts.Part("passed", "ran", 9999), charts.Part("failed", "failed", 1), charts.Part("missed", "missed", 0)]
    svg = drawn(charts.population(parts))
    assert svg.get("aria-label") == "9999 ran, 1 failed"
    widths = [float(rect.get("width")) for rect in svg]
    assert len(widths) == 2 and widths[1] > 1 and 98 < sum(widths) <= 100
    assert charts.population([]) == ""


def test_names_are_escaped() -> None:
    svg = drawn(charts.population([charts.Part("passed", '"><script>', 1)]))
    assert svg.get("aria-label") == '1 "><script>' and len(svg) == 1
