"""What a person sees of drills, written into a string."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_target

from restore_drill.model import Verdict
from restore_drill.plan import LedgerSettings, Plan, PlannedCase
from restore_drill.pytest_support.terminal import Terminal, _uncaptured
from restore_drill.results import CaseResult
from restore_drill.run import RunOptions
from restore_drill.secrets import SecretReference

_CASES = (PlannedCase("db", "nas", "located"), PlannedCase("db", "nas", "restores"), PlannedCase("db", "nas", "rows"))


class Reporter:
    """The part of pytest's terminal reporter that is used."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self._tw = SimpleNamespace(_file=self.text, fullwidth=40)
        self.currentfspath: object = None

    def write(self, text: str, **markup: bool) -> None:
        self.text.write(text)

    def write_line(self, text: str, **markup: bool) -> None:
        self.text.write(f"{text}\n")

    def ensure_newline(self) -> None:
        self.currentfspath = None


class Screen:
    """A terminal over a fake reporter, with some planned cases."""

    def __init__(self, *cases: PlannedCase, plan: Plan | None = None, verbose: int = 0, keyword: str = "") -> None:
        self.reporter = Reporter()
        option = SimpleNamespace(verbose=verbose, keyword=keyword, collectonly=False)
        manager = SimpleNamespace(get_plugin=lambda name: self.reporter)
        config: Any = SimpleNamespace(option=option, pluginmanager=manager, getoption=lambda name: 30.0)
        plan = plan or plan_of(planned_target(name="db"))
        self.controller: Any = SimpleNamespace(
            run=SimpleNamespace(plan=plan, options=RunOptions()),
            planned={str(case): case for case in cases},
            results={},
        )
        self.terminal = Terminal(config, self.controller)

    def report(self, case: PlannedCase, verdict: Verdict, message: str = "", blocked_by: str = "", **more: Any) -> None:
        """One case is through."""
        result = CaseResult(case, verdict, message, blocked_by=blocked_by)
        fields: dict[str, Any] = {"nodeid": str(case), "location": ("", None, ""), "keywords": {}, "longrepr": None}
        told = pytest.TestReport(outcome="passed", when="call", duration=1.5, **fields)
        told.restore_drill = result.to_wire()  # type: ignore[attr-defined]
        closing = pytest.TestReport(outcome="passed", when="teardown", duration=0.5, **fields, **more)
        for each in (told, closing):
            self.terminal.pytest_runtest_logreport(each)

    @property
    def lines(self) -> list[str]:
        return [" ".join(line.split()) for line in self.reporter.text.getvalue().splitlines()]


def test_a_drill_that_passed_is_one_line_once_its_last_case_is_through() -> None:
    screen = Screen(*_CASES)
    known = [("snapshot", "20261123T020000Z"), ("content_bytes", "8192")]
    for case in _CASES[:2]:
        screen.report(case, Verdict.PASSED, user_properties=known)
    assert not screen.lines
    screen.report(_CASES[2], Verdict.PASSED, user_properties=known)
    assert screen.lines == ["passed critical/db/nas 3 cases 6 s 20261123T020000Z, 8.19 kB"]


@pytest.mark.parametrize(
    ("verdict", "word"), [(Verdict.FAILED, "FAILED"), (Verdict.ERROR, "ERROR"), (Verdict.EXCEPTED, "excepted")]
)
def test_a_drill_takes_its_word_from_the_worst_case(verdict: Verdict, word: str) -> None:
    screen = Screen(*_CASES)
    screen.report(_CASES[0], Verdict.PASSED)
    screen.report(_CASES[1], verdict, "nothing came back")
    screen.report(_CASES[2], Verdict.PASSED)
    first, *others = screen.lines
    assert first.startswith(f"{word} critical/db/nas 3 cases")
    assert others == ([] if verdict is Verdict.EXCEPTED else ["restores: nothing came back"])


def test_the_cause_is_shown_and_not_what_it_blocks() -> None:
    screen = Screen(*reversed(_CASES))
    screen.report(_CASES[2], Verdict.ERROR, "blocked by restores: nothing came back", "restores")
    screen.report(_CASES[1], Verdict.FAILED, "nothing came back")
    screen.report(_CASES[0], Verdict.PASSED)
    assert screen.lines[1:] == ["restores: nothing came back"]


@pytest.mark.parametrize("verbose", [-1, 1])
def test_pytests_own_lines_are_left_alone_where_they_are_asked_for(verbose: int) -> None:
    screen = Screen(_CASES[0], verbose=verbose)
    screen.report(_CASES[0], Verdict.PASSED)
    assert not screen.lines


def test_cases_of_a_target_as_a_whole_have_a_line_of_their_own() -> None:
    screen = Screen(_CASES[0], PlannedCase("db", "", "agree"))
    for case in list(screen.controller.planned.values()):
        screen.report(case, Verdict.PASSED)
    assert [line.split(" ")[1] for line in screen.lines] == ["critical/db/nas", "critical/db"]


@pytest.mark.parametrize(
    ("verdict", "blocked_by", "category", "letter", "word"),
    [
        ("passed", "", "passed", ".", "PASSED"),
        ("failed", "", "failed", "F", "FAILED"),
        ("error", "", "error", "E", "ERROR"),
        ("error", "restores", "blocked", "b", "ERROR"),
        ("excepted", "", "excepted", "x", ("EXCEPTED", {"yellow": True})),
    ],
)
def test_verdicts_are_words_and_letters(
    verdict: str, blocked_by: str, category: str, letter: str, word: object
) -> None:
    report: Any = SimpleNamespace(restore_drill={"verdict": verdict, "blocked_by": blocked_by})
    for verbose, shown in ((0, ""), (1, letter), (-1, letter)):
        status = Screen(verbose=verbose).terminal.pytest_report_teststatus(report)
        assert status == (category, shown, word)
    other: Any = SimpleNamespace()
    assert Screen().terminal.pytest_report_teststatus(other) is None


def test_a_keyword_that_is_a_tier_is_compared_with_what_it_took_in() -> None:
    lower = dataclasses.replace(planned_target(name="events"), tier="important")
    plan = dataclasses.replace(plan_of(planned_target(name="db"), lower), tiers=("critical", "important"))
    stranger = PlannedCase("events", "nas", "rows", "critical_events")
    told = [
        Screen(*_CASES, *more, plan=plan, keyword=keyword).terminal.selected_lines()
        for keyword, more in (
            ("critical", ()), ("critical", (stranger,)), ("critical and rows", (stranger,)), ("", (stranger,)),
        )
    ]  # fmt: skip
    assert [len(lines) for lines in told] == [1, 2, 1, 1]
    assert told[0] == ["selected: 3 cases of 1 drills (critical 3)"]
    assert "cases of events; -m critical selects exactly that tier" in told[1][1]


def test_the_header_says_that_it_is_the_demo_only_where_it_is() -> None:
    plan = plan_of(planned_target(name="db"))
    ordinary = Screen(plan=plan).terminal.pytest_report_header()
    demo = Screen(plan=dataclasses.replace(plan, demo=True)).terminal.pytest_report_header()
    assert ["DEMO ESTATE" in line for line in demo] == [True, False, False]
    assert not any("DEMO" in line for line in ordinary)
    assert ordinary[1] == "catalogue: targets.yaml (1 targets), state: file:///nowhere/state"


def test_what_is_under_way_is_one_line_that_the_next_overwrites() -> None:
    screen = Screen()
    screen.terminal._stream = stream = io.StringIO()
    screen.terminal._show_transient([])
    assert not stream.getvalue()
    screen.terminal._show_transient(["a" * 30, "b" * 30])
    assert stream.getvalue() == f"\r\x1b[K  {'a' * 30}; {'b' * 4}\r"


def test_a_heartbeat_does_not_end_up_in_the_middle_of_a_line() -> None:
    screen = Screen()
    screen.terminal._stream = stream = io.StringIO()
    screen.terminal._show_heartbeat([])
    screen.terminal._show_heartbeat(["db/nas: fetch"])
    screen.reporter.currentfspath = "drills/test_standard.py"
    screen.terminal._show_heartbeat(["db/nas: fetch"])
    assert stream.getvalue() == "  ... db/nas: fetch\n\n  ... db/nas: fetch\n"


def test_progress_is_written_through_a_descriptor_of_its_own(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file, _uncaptured(file) as stream:
        assert stream is not file
        stream.write("told")
    assert (tmp_path / "out").read_text() == "told"
    memory = io.StringIO()
    assert _uncaptured(memory) is memory


def test_the_header_says_who_signs_the_ledger_and_loudly_when_nobody_does() -> None:
    plan = plan_of(planned_target(name="db"))
    unsigned = Screen(plan=plan).terminal.pytest_report_header()
    assert "ledger: UNSIGNED, the catalogue names no key (ledger.key)" in unsigned
    settings = LedgerSettings(key=SecretReference("env", "LEDGER_KEY"))
    signed = Screen(plan=dataclasses.replace(plan, ledger=settings)).terminal.pytest_report_header()
    assert "ledger: signed by env:LEDGER_KEY" in signed and not any("UNSIGNED" in line for line in signed)
