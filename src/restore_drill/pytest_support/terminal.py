"""What a person sees: one line a drill, live progress of what takes long, and at the end what needs a human."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import IO, Any

import pytest

from restore_drill import __version__, depth
from restore_drill.errors import COULD_NOT_VERIFY
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.printable import printable
from restore_drill.pytest_support.controller import Controller
from restore_drill.pytest_support.progress import Watcher
from restore_drill.quantities import format_duration, format_size
from restore_drill.results import CaseResult, text
from restore_drill.sampling import told
from restore_drill.secrets import redact

#: Copies of whose older snapshots is told at the end.
_OLDER = 20
_DEMO = "DEMO ESTATE (made by fixtures/; no backup of yours was looked at)"


class Terminal:
    """Reports to the terminal.

    Args:
        config: pytest's configuration.
        controller: Knows what was planned and what reported.
    """

    def __init__(self, config: pytest.Config, controller: Controller) -> None:
        self._config = config
        self._controller = controller
        self._open: dict[tuple[str, str], list[CaseResult]] = {}
        self._seconds: dict[tuple[str, str], float] = {}
        self._properties: dict[tuple[str, str], dict[str, str]] = {}
        self._watcher: Watcher | None = None
        self._stream: IO[str] | None = None
        self._counted = False

    @property
    def _reporter(self) -> Any:
        return self._config.pluginmanager.get_plugin("terminalreporter")

    @property
    def _lines(self) -> bool:
        """Whether drills are reported a line each: not with -v (pytest's own lines) and not with -q."""
        return self._reporter is not None and self._config.option.verbose == 0

    def pytest_report_header(self) -> list[str]:
        """What will be drilled, and that it is the demo where it is."""
        plan = self._controller.run.plan
        lines = [f"restore-drill {__version__}: {_DEMO}"] if plan.demo else [f"restore-drill {__version__}"]
        lines.append(f"catalogue: {plan.catalogue} ({len(plan.targets)} targets), state: {plan.state.url}")
        key = plan.ledger.key
        lines.append(f"ledger: signed by {key}" if key else "ledger: UNSIGNED, the catalogue names no key (ledger.key)")
        stripped = self._controller.run.options.break_glass
        lines += [stripped.described()] if stripped else []
        lines += [f"LEFT OUT of the demo: {name}: {why}" for name, why in plan.left_out]
        shallow = [f"{target.name} {target.depth}" for target in plan.targets if not target.is_full]
        lines += [f"DEPTH: not everything is restored of {', '.join(shallow)}"] if shallow else []
        return [_shown(line) for line in lines]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Drills are not shown by file."""
        if self._lines:
            self._reporter.showfspath = False
            self._reporter._show_progress_info = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what was selected; and begin to watch."""
        if session.items and self._reporter:
            self._count_selected()

    @pytest.hookimpl(trylast=True, optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """As above, for workers."""
        if self._reporter:
            self._count_selected()

    def _count_selected(self) -> None:
        if self._counted or not self._controller.planned:
            return
        self._counted = True
        for line in self.selected_lines():
            self._reporter.write_line(line)
        if not self._config.option.collectonly:
            self._watch()

    def selected_lines(self) -> list[str]:
        """How many cases of each tier were selected, and whether ``-k`` took in another tier."""
        tiers: Counter[str] = Counter(self._tier(case) for case in self._controller.planned.values())
        drills = {(case.target, case.copy) for case in self._controller.planned.values() if case.copy}
        parts = ", ".join(f"{tier} {count}" for tier, count in tiers.items())
        lines = [f"selected: {sum(tiers.values())} cases of {len(drills)} drills ({parts})"]
        expression = self._config.option.keyword or ""
        wanted = [tier for tier in self._controller.run.plan.tiers if tier in expression.split()]
        if len(wanted) == 1 and expression.strip() == wanted[0]:
            others = {case.target: self._tier(case) for case in self._controller.planned.values()}
            strangers = sorted(target for target, tier in others.items() if tier != wanted[0])
            if strangers:
                lines.append(
                    f"note: -k {wanted[0]} matches names, and so also took in cases of {', '.join(strangers[:3])}; "
                    f"-m {wanted[0]} selects exactly that tier"
                )
        return lines

    def _tier(self, case: PlannedCase) -> str:
        return self._controller.run.plan.by_name[case.target].tier

    # --- while it runs ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        # With -v and -q pytest's own lines are at the bottom, which must not be overwritten.
        interactive = (
            self._lines and sys.__stdout__ is not None and sys.__stdout__.isatty() and not os.environ.get("CI")
        )
        heartbeat = self._config.getoption("--heartbeat")
        every, patience = (1.0, 2.0) if interactive else (heartbeat, min(heartbeat, 20.0))
        show = self._show_transient if interactive else self._show_heartbeat
        self._stream = _uncaptured(self._reporter._tw._file)
        self._watcher = Watcher(self._controller.run.directory, show, every, patience)
        self._watcher.start()

    def _show_transient(self, lines: Sequence[str]) -> None:
        """One line at the bottom that the next line of a drill overwrites."""
        text = "; ".join(lines)
        if text and self._stream is not None:
            width = max(self._reporter._tw.fullwidth - 4, 20)
            self._stream.write(f"\r\x1b[K  {text[:width]}\r")
            self._stream.flush()

    def _show_heartbeat(self, lines: Sequence[str]) -> None:
        if lines and self._stream is not None:
            begun = "\n" if self._reporter.currentfspath else ""  # pytest is in the middle of a line
            self._stream.write(begun + "".join(f"  ... {line}\n" for line in lines))
            self._stream.flush()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """Verdicts as words; no letters where drills have lines of their own.

        Cases that are merely blocked are a category of their own: they stand in every report, but the sections that a
        person reads first show causes only.
        """
        wire = getattr(report, "restore_drill", None)
        if wire is None:
            return None
        verdict, blocked = wire["verdict"], bool(wire["blocked_by"])
        category = "blocked" if blocked else verdict
        letter = {"failed": "F", "error": "E", "blocked": "b", "excepted": "x"}.get(category, ".")
        word: Any = "ERROR" if blocked else verdict.upper()
        if verdict == "excepted":
            word = (word, {"yellow": True})
        return category, "" if self._lines else letter, word

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the cases of a drill, and write its line when the last one is through."""
        case = self._controller.planned.get(report.nodeid)
        if case is None or not self._lines:
            return
        key = (case.target, case.copy)
        self._seconds[key] = self._seconds.get(key, 0.0) + report.duration
        wire = getattr(report, "restore_drill", None)
        if wire is not None:
            self._open.setdefault(key, []).append(CaseResult.from_wire(wire))
        if report.user_properties:
            self._properties.setdefault(key, {}).update({name: str(value) for name, value in report.user_properties})
        if report.when == "teardown" and self._is_last(key):
            self._write_drill(key)

    def _is_last(self, key: tuple[str, str]) -> bool:
        if not hasattr(self, "_left"):
            self._left = Counter((case.target, case.copy) for case in self._controller.planned.values())
        self._left[key] -= 1
        return self._left[key] == 0

    def _write_drill(self, key: tuple[str, str]) -> None:
        results = self._open.pop(key, [])
        if not results:
            return
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            self._reporter._tw._file.write("\r\x1b[K")
        bad = [result for result in results if result.verdict in (Verdict.FAILED, Verdict.ERROR)]
        cause = next((result for result in bad if not result.blocked_by), bad[0] if bad else None)
        word, colour = _word(results)
        target, copy = key
        where = "/".join(part for part in (self._tier(results[0].case), target, copy) if part)
        self._reporter.ensure_newline()
        self._reporter.write(f"  {word:<9}", **{colour: True})
        self._reporter.write(f"{where:<40} {len(results):>3} cases {format_duration(self._seconds[key]):>8}")
        known = self._properties.get(key, {})
        if known.get("snapshot"):
            self._reporter.write(f"  {_shown(known['snapshot'])}")
            if known.get("content_bytes"):
                self._reporter.write(f", {format_size(int(known['content_bytes']))}")
        planned = self._controller.run.plan.by_name[target]
        self._reporter.write("\n" if planned.is_full else f"  DEPTH {planned.depth}\n")
        if cause is not None:
            self._reporter.write(f"            {cause.case.case}: {_shown(cause.message)}\n", **{colour: True})

    # --- the end ------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Stop watching before pytest writes its summary."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._stream is not None and self._stream is not self._reporter._tw._file:
            self._stream.close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """What needs a human, what is not published, and where the reports are."""
        controller = self._controller
        if not controller.concluded:
            return
        self._write_kept()
        self._write_details()
        terminalreporter.section("restore drill", sep="=")
        for line in self._summary_lines():
            terminalreporter.write_line(line)

    def _summary_lines(self) -> list[str]:
        controller = self._controller
        verdicts = Counter(result.verdict for result in controller.results.values())
        tiers = Counter(self._tier(case) for case in controller.planned.values())
        told = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in Verdict if verdicts[verdict])
        lines = [f"{_DEMO}"] if controller.run.plan.demo else []
        if tiers:
            lines.append(f"{told} ({', '.join(f'{tier} {count}' for tier, count in tiers.items())})")
        lines += [_shown(line) for line in self._depth_lines()]
        lines += [_shown(line) for line in self._older_lines()]
        lines += [f"incomplete: {_shown(problem)}" for problem in controller.incomplete]
        lines += [f"could not be recorded: {_shown(problem)}" for problem in controller.problems]
        if controller.not_run:
            lines.append(f"{len(controller.not_run)} planned cases did not run; JUnit lists them as errors")
        if controller.exit_status == COULD_NOT_VERIFY:
            lines.append(f"nothing failed, but not everything could be verified: exit status {COULD_NOT_VERIFY}")
        notes = [
            f"excepted: {_shown(text(result))}"
            for result in controller.results.values()
            if result.verdict is Verdict.EXCEPTED
        ]
        directory = controller.run.directory
        names = ("report.html", "junit.xml", "evidence.json")
        reports = [str(path) for name in names if (path := directory / name).is_file()]
        record = [_shown(line) for line in controller.recording.told]
        return [*lines, *notes, *record, f"reports: {', '.join(reports) or 'none'}"]

    def _depth_lines(self) -> list[str]:
        """What was not restored of the drilled targets, and the cases that were not run for it."""
        plan = self._controller.run.plan
        drilled = dict.fromkeys((case.target, case.copy) for case in self._controller.planned.values() if case.copy)
        lines: dict[str, None] = {}
        for name, copy in drilled:
            target = plan.by_name[name]
            not_run = [(case.case, case.detail) for case in target.not_run(copy)]
            lines |= dict.fromkeys(f"{name}: {limit}" for limit in depth.limits(target.model, not_run))
        return list(lines)

    def _older_lines(self) -> list[str]:
        """What is known of older snapshots, copy by copy, those with damaged ones first."""
        found = sorted(self._controller.recording.evidence.get("samples", ()), key=lambda each: not each["failed"])
        beyond = [f"older snapshots: {len(found) - _OLDER} more copies in the reports"] if len(found) > _OLDER else []
        return [f"older snapshots: {told(each)}" for each in found[:_OLDER]] + beyond

    def _write_details(self) -> None:
        """File names and answers: here and in the 0600 file, nowhere else."""
        for result in self._controller.results.values():
            if not result.details or result.verdict is Verdict.PASSED:
                continue
            where = "/".join(part for part in (result.case.target, result.case.copy, result.case.case) if part)
            self._reporter.section(f"details of {where} (not part of any report)", sep="-")
            for line in result.details[:60]:
                self._reporter.write_line(_shown(line))
            if result.details[60:]:
                self._reporter.write_line(f"... {len(result.details) - 60} more lines in details.jsonl")

    def _write_kept(self) -> None:
        for path in self._controller.kept:
            self._reporter.write_line(f"kept for inspection: {path} (remove it with restore-drill clean --kept)")


def _uncaptured(file: IO[str]) -> IO[str]:
    """The same output for a thread that writes while a case runs, when pytest captures the descriptor itself."""
    try:
        return os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", errors="replace")
    except (AttributeError, OSError, ValueError):  # not a file of the system's: nobody captures it
        return file


def _shown(text: str) -> str:
    """What may be shown: without secrets, and nothing that the terminal itself would obey."""
    return printable(redact(text))


def _word(results: Sequence[CaseResult]) -> tuple[str, str]:
    verdicts = {result.verdict for result in results}
    if Verdict.FAILED in verdicts:
        return "FAILED", "red"
    if Verdict.ERROR in verdicts:
        return "ERROR", "red"
    return ("excepted", "yellow") if Verdict.EXCEPTED in verdicts else ("passed", "green")
