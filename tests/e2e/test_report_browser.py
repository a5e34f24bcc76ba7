"""The report in a real browser: what is on the first screen, whether everybody can read it, what it asks for, how it
prints."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import Browser, axe_source, chromium
from tests.support.evidence import WHEN, Target, document, history

from restore_drill.controls.loading import load_frameworks
from restore_drill.controls.mapping import assess
from restore_drill.policy.population import Population, seconds
from restore_drill.reporting.gathering import Gathering
from restore_drill.reporting.html import render, render_period
from restore_drill.reporting.page import Controls, LedgerState
from restore_drill.reporting.period import PeriodPage

ESTATE = [
    Target("orders-db", "critical", "payments team"),
    Target("metrics-db", "important", "observability team"),
    Target("uploads-volume", "archival", "a-team-with-a-name-that-is-longer-than-any-column-of-a-table", "files"),
]
SCREENS = [(1280, 800, False), (1280, 800, True), (390, 844, False), (360, 740, True)]


def a_run() -> str:
    """A backup that has been broken for three nights, in a signed ledger."""
    broken = {"metrics-db/nas/unpacks": "failed"}
    documents = [
        document(WHEN - timedelta(days=night), targets=ESTATE, estate="demo", verdicts=broken if night < 3 else {})
        for night in range(12, -1, -1)
    ]
    last = documents[-1]
    cause = next(case for drill in last["drills"] for case in drill["cases"] if case["verdict"] == "failed")
    cause["message"] = "the gzip stream is truncated: it ends inside member 1, after 12519 bytes"
    cause["remedy"] = "Check that the backup job ends well and has room, and make a new backup."
    population = Population.of(documents, now=seconds(last["run"]["finished"]))
    ledger = LedgerState("file:///srv/state", entries=13, unsigned=13, sequence=13, digest="ab" * 32)
    return render(last, population=population, controls=supported(documents), ledger=ledger)


def supported(documents: list[dict[str, Any]]) -> Controls:
    """All frameworks."""
    found = assess(load_frameworks(), documents, until=WHEN + timedelta(days=1), estate="demo")
    return Controls(tuple(each.as_dict() for each in found), (("A framework", "asks for nothing"),), illustration=True)


def a_period() -> str:
    documents = list(history(600, targets=10, faults=0.03))
    until = seconds(documents[-1]["run"]["finished"]) + 1
    gathering = Gathering(until - 30 * 86400, until)
    population = Population.of(gathering.watch(documents), now=until, since=gathering.since, until=until)
    return render_period(PeriodPage("2026-11", gathering.since, until, gathering, population, None, None))


@pytest.fixture(scope="module")
def browser(require_program: Callable[[str], str]) -> Iterator[Browser]:
    with chromium(require_program) as found:
        yield found


@pytest.fixture(scope="module")
def run_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(a_run())
    return path


@pytest.fixture(scope="module")
def period_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "period.html"
    path.write_text(a_period())
    return path


@pytest.fixture(scope="module")
def axe(require_program: Callable[[str], str]) -> str:
    source = axe_source()
    if source is None:
        require_program("axe-core, by ci/test from npm,")
    assert source is not None
    return source.read_text()


BEYOND = (
    "return [...document.querySelectorAll('main *')]"
    ".filter(each => each.getBoundingClientRect().right > innerWidth + 1).length"
)
BOTTOM = "return Math.max(...[...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().bottom))"


@pytest.mark.parametrize(("width", "height", "dark"), SCREENS[::2])
def test_the_first_screen_says_what_is_broken_since_when_and_what_to_do(
    browser: Browser, run_page: Path, width: int, height: int, dark: bool
) -> None:
    browser.look(run_page, width=width, height=height, dark=dark)
    shown = browser.ask("return document.querySelector('main').innerText")
    for part in ("1 of 6 backups failed", "metrics-db / nas", "2026-11-21 02:00 UTC (2 d, 3 drills in a row)",
                 "is truncated", "make a new backup"):  # fmt: skip
        assert part in shown
    for selector in ("h1", ".notices", ".cause h3", ".cause .since", ".cause .said", ".cause .remedy"):
        assert 0 < browser.ask(BOTTOM, selector) <= height, selector


@pytest.mark.parametrize(("width", "height", "dark"), SCREENS)
def test_everybody_can_read_it(browser: Browser, run_page: Path, axe: str, width: int, height: int, dark: bool) -> None:
    browser.look(run_page, width=width, height=height, dark=dark)
    assert browser.axe(axe) == []
    browser.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.ask("return document.documentElement.scrollWidth") <= width
    assert browser.ask(BEYOND) == 0


def test_a_period_can_be_read_by_everybody_too(browser: Browser, period_page: Path, axe: str) -> None:
    width, height, dark = SCREENS[-1]
    browser.look(period_page, width=width, height=height, dark=dark)
    assert browser.axe(axe) == []
    browser.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.ask("return document.documentElement.scrollWidth") <= width
    assert browser.ask(BEYOND) == 0


def test_its_outline_is_in_order_and_its_tables_have_headers(browser: Browser, run_page: Path) -> None:
    browser.look(run_page, width=1280, height=800)
    levels = browser.ask("return [...document.querySelectorAll('h1,h2,h3,h4')].map(e => +e.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert (
        browser.ask("return ['header','main','nav','footer'].map(e => document.querySelectorAll(e).length)") == [1] * 4
    )
    bare = "return [...document.querySelectorAll('table')].filter(t => !t.querySelector('thead th[scope=col]')).length"
    assert browser.ask(bare) == 0


def test_the_keyboard_reaches_and_opens_everything(browser: Browser, run_page: Path) -> None:
    browser.look(run_page, width=1280, height=800)
    browser.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
    wanted = browser.ask("return document.querySelectorAll('summary').length")
    body, reached = browser.driver.switch_to.active_element, set()
    for _ in range(wanted + browser.ask("return document.querySelectorAll('a').length") + 2):
        body.send_keys("\ue004")
        body = browser.driver.switch_to.active_element
        if body.tag_name == "summary":
            reached.add(body.id)
    assert len(reached) == wanted > 6
    first = browser.driver.find_element("css selector", "details summary")
    before = browser.ask("return arguments[0].parentNode.open", first)
    first.send_keys("\ue007")
    assert browser.ask("return arguments[0].parentNode.open", first) is not before


def test_it_asks_a_network_for_nothing(browser: Browser, run_page: Path, period_page: Path) -> None:
    browser.requests(), browser.complaints()
    for path in (run_page, period_page):
        browser.look(path, width=1280, height=800)
        asked = [address for address in browser.requests() if not address.startswith("data:")]
        assert asked == [path.as_uri()]
        assert browser.complaints() == []


def test_its_policy_lets_nothing_in(browser: Browser, run_page: Path, tmp_path: Path) -> None:
    """The other direction: what a hostile name would like to bring in is refused by the page itself."""
    hostile = tmp_path / "hostile.html"
    added = (
        '<img src="https://evil.example/x.png"><script>document.title="owned"</script>'
        '<p id="p" style="color:red">x</p><style>h1{display:none}</style>'
    )
    hostile.write_text(run_page.read_text().replace("<main>", f"<main>{added}", 1))
    browser.look(hostile, width=1280, height=800)
    assert browser.ask("return document.title") != "owned"
    assert browser.ask("return getComputedStyle(document.querySelector('h1')).display") != "none"
    assert browser.ask("return document.querySelector('#p').style.color") == ""
    assert len(browser.complaints()) >= 4


@pytest.mark.parametrize("page", ["run", "period"])
def test_it_prints_on_a4(
    browser: Browser,
    run_page: Path,
    period_page: Path,
    tmp_path: Path,
    page: str,
    require_program: Callable[[str], str],
) -> None:
    browser.look({"run": run_page, "period": period_page}[page], width=1280, height=800)
    printed = tmp_path / "report.pdf"
    printed.write_bytes(browser.pdf())
    sheets = words_of(printed, require_program)
    assert len(sheets) > 1
    for width, height, words in sheets:
        assert (round(width), round(height)) == (595, 842)
        assert all(left > 30 and right < width - 30 for left, right, _ in words)
    text = " ".join(word for _, _, words in sheets for _, _, word in words)
    assert "Glossary" in text and "SHA-256" in text
    if page == "run":  # what is folded away on a screen is open on paper
        assert text.count("Checks of") == 6 and "blocked by unpacks" in text


def words_of(
    path: Path, require_program: Callable[[str], str]
) -> list[tuple[float, float, list[tuple[float, float, str]]]]:
    """The pages of a document: width, height, and each word with where it begins and ends."""
    program = require_program("pdftotext")
    told = subprocess.run([program, "-bbox", str(path), "-"], capture_output=True, text=True, check=True).stdout
    found: list[Any] = []
    for width, height, inner in re.findall(r'<page width="([\d.]+)" height="([\d.]+)">(.*?)</page>', told, re.DOTALL):
        words = re.findall(r'<word xMin="([\d.]+)" yMin="[\d.]+" xMax="([\d.]+)" yMax="[\d.]+">(.*?)</word>', inner)
        found.append((float(width), float(height), [(float(left), float(right), word) for left, right, word in words]))
    return found
