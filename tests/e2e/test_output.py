"""What a run writes: live progress, JUnit, evidence, and the places where people look for them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree
from tests.support.gates import Gates
from tests.support.project import CASES, Outcome, Project, Started, until

_SCHEMA = Path(__file__).parents[2] / "docs" / "junit.xsd"


def _valid(path: Path) -> bool:
    return bool(etree.XMLSchema(etree.parse(_SCHEMA)).validate(etree.parse(path)))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A good target, one that does not restore, and one that is excused."""
    project = Project(tmp_path_factory.mktemp("output") / "p", ("good", "hollow", "excused"))
    project.break_restore("hollow")
    project.targets["excused"]["expect"]["rows"]["orders"] = {"exact": 21}
    project.targets["good"] |= {"owner": "payments team"}
    project.exception("excused", "rows")
    project.write()
    return project


@pytest.fixture(scope="module")
def mixed(project: Project) -> Outcome:
    return project.run()


# --- reports ----------------------------------------------------------------------------------------------------------


def test_reports_lie_where_people_look_for_them(project: Project, mixed: Outcome) -> None:
    directory = mixed.directory
    assert directory is not None
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", directory.name)
    assert directory.name == mixed.evidence["run"]["id"]
    assert (project.reports / "latest").readlink() == Path(directory.name)
    assert (project.reports / "junit.xml").read_bytes() == (directory / "junit.xml").read_bytes()
    shown = ", ".join(f"{directory}/{name}" for name in ("report.html", "junit.xml", "evidence.json"))
    assert f"reports: {shown}" in mixed.screen
    assert sorted(path.name for path in directory.iterdir()) == [
        "ctrf.json", "evidence.json", "facts", "junit.xml", "metrics.prom", "report.html", "summary.md",
    ]  # fmt: skip


def test_each_run_has_a_place_of_its_own_and_the_latest_is_the_last(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    runs = [project.run("-k", "located").directory for _ in range(2)]
    assert list(project.runs()) == runs
    assert project.latest == runs[-1]


def test_another_directory_and_another_junit_can_be_named(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    outcome = project.run("-k", "located", "--reports-dir=elsewhere", "--junitxml=mine/junit.xml")
    assert outcome.status == 0 and not project.reports.exists()
    latest = project.root / "elsewhere" / "latest"
    places = [project.root / "mine", project.root / "elsewhere", latest]
    texts = {(place / "junit.xml").read_bytes() for place in places}
    assert len(texts) == 1 and b"db-0" in texts.pop()
    assert json.loads((latest / "evidence.json").read_text())["verdict"] == "passed"


def test_a_case_in_junit_tells_the_snapshot_its_sizes_and_what_was_expected(project: Project, mixed: Outcome) -> None:
    known = mixed.properties("test_row_count[critical/good/nas/orders]")
    artifact = project.artifact("good")
    digest = artifact.with_name(f"{artifact.name}.sha256").read_text().split()[0]
    assert known == {
        "verdict": "passed", "case": "rows", "target": "good", "tier": "critical", "copy": "nas", "scope": "whole",
        "snapshot": f"{project.now:%Y%m%dT%H%M%SZ}", "taken_at": project.now.isoformat(), "sha256": digest,
        "stored_bytes": str(artifact.stat().st_size), "content_bytes": str(artifact.stat().st_size),
        "expected": known["expected"], "actual": "20", "tolerance": "none (catalogue)",
        **{name: known[name] for name in ("fetch_seconds", "restore_seconds", "rto_seconds")},
    }  # fmt: skip
    assert "20" in known["expected"]
    assert all(0 < float(known[name]) < 60 for name in ("fetch_seconds", "restore_seconds", "rto_seconds"))


def test_a_blocked_case_in_junit_tells_what_is_known_and_who_bears_the_cause(mixed: Outcome) -> None:
    blocked = mixed.properties("test_integrity[critical/hollow/nas]")
    assert (blocked["blocked_by"], blocked["verdict"]) == ("restores", "error")
    assert "sha256" in blocked and "restore_seconds" not in blocked


def test_evidence_is_complete(project: Project, mixed: Outcome) -> None:
    run = mixed.evidence["run"]
    assert mixed.evidence["form"] == "restore-drill/evidence/2"
    assert datetime.fromisoformat(run["started"]) < datetime.fromisoformat(run["finished"])
    assert run["estate"] == "user" and run["operator"]["user"] and run["operator"]["host"]
    assert {"restore-drill", "python", "sqlite", "pytest"} <= run["tools"].keys()
    assert mixed.evidence["catalogue"]["path"] == str(project.path)
    assert len(mixed.evidence["catalogue"]["sha256"]) == 64
    assert mixed.evidence["counts"] == {"passed": 31, "failed": 1, "error": 4, "excepted": 1}
    assert mixed.evidence["not_run"] == mixed.evidence["problems"] == []
    good = mixed.drills["good/nas"]
    assert [line["stage"] for line in good["stages"] if "stage" in line] == ["locate", "fetch", "restore", "dispose"]
    assert all(line["seconds"] >= 0 and line["started"] for line in good["stages"])
    assert [case["case"] for case in good["cases"]] == [name.partition("/")[0] for name in CASES]
    assert (good["owner"], good["tier"], good["store"]) == ("payments team", "critical", "nas")
    assert good["objectives"] == {"rpo_seconds": 3600.0, "rto_seconds": 900.0, "drill_every_seconds": 86400.0}
    assert "no query with a known answer" in good["limits"]
    assert mixed.cases["excused/nas/rows/orders"]["exception"] == "EX-7"


# --- the header -------------------------------------------------------------------------------------------------------


def test_the_header_says_what_is_drilled(project: Project, mixed: Outcome) -> None:
    assert f"catalogue: {project.path} (3 targets), state: file://{project.root}/state" in mixed.screen
    assert "selected: 37 cases of 3 drills (critical 37)" in mixed.screen
    assert "DEMO" not in mixed.screen
    assert "estate" not in mixed.properties("test_snapshot_is_located[critical/good/nas]")


_ESTATE = '''
"""What stands in for the demo estate: whatever starts it leaves a mark."""

from pathlib import Path


class Estate:
    def close(self):
        Path("closed").touch()


def left_out():
    return {}


def passed_over():
    return {}


def start(root):
    Path("started").write_text(str(root))
    return Estate()
'''


def test_only_a_catalogue_that_says_so_is_the_demo(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.file("fixtures/demo_estate/__init__.py", _ESTATE)
    project.catalogue["demo"] = True
    project.write()
    stranger = project.run("-k", "located")
    assert stranger.status == pytest.ExitCode.USAGE_ERROR
    assert "only the project's own drills/targets.yaml is a demo" in stranger.screen
    project.file("pyproject.toml", '[project]\nname = "pytest-restore-drill"\n')
    assert project.run("--collect-only").status == 0
    assert not (project.root / "started").exists(), "collecting starts nothing"
    outcome = project.run("-k", "located", "-n", "1")
    assert outcome.status == 0
    assert (project.root / "started").read_text() == str(project.root)
    assert (project.root / "closed").exists()
    assert outcome.screen.count("DEMO ESTATE") == 2, "in the header, and in the summary"
    assert outcome.evidence["run"]["estate"] == "demo"
    assert outcome.properties("test_snapshot_is_located[critical/db-0/nas]")["estate"] == "demo"


# --- JUnit of every kind of run ---------------------------------------------------------------------------------------


def _interrupted(tmp_path: Path) -> Outcome:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "content")
    run = project.start("-n", "1")
    gates.reached(run)
    run.send(signal.SIGTERM)
    return run.end()


def _crashed(tmp_path: Path) -> Outcome:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "restore")
    run = project.start("-n", "1", "--max-worker-restart=0")
    os.kill(gates.reached(run), signal.SIGKILL)
    return run.end()


def _uncollected(tmp_path: Path) -> Outcome:
    project = Project(tmp_path / "p")
    project.file("drills/test_own.py", "import no_such_module\n")
    return project.run("--continue-on-collection-errors")


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (_interrupted, {"error"}),
        (_crashed, {"error"}),
        (_uncollected, {"error"}),
    ],
    ids=["interrupted", "crashed", "uncollected"],
)
def test_junit_is_valid_whatever_happened(tmp_path: Path, make: Callable[[Path], Outcome], kinds: set[str]) -> None:
    outcome = make(tmp_path)
    assert outcome.status != 0 and outcome.directory is not None
    assert _valid(outcome.directory / "junit.xml")
    assert {each.tag for case in outcome.testcases.values() for each in case} - {"properties"} == kinds
    suite = outcome.suite
    assert int(suite["errors"]) == sum(case.find("error") is not None for case in outcome.testcases.values()) > 0
    assert int(suite["failures"]) == int(suite["skipped"]) == 0


def test_junit_of_an_ordinary_run_is_valid_and_counts_what_it_holds(mixed: Outcome) -> None:
    mixed.check_whole()
    assert {name: mixed.suite[name] for name in ("tests", "errors", "failures", "skipped")} == {
        "tests": "37", "errors": "4", "failures": "1", "skipped": "1",
    }  # fmt: skip


def test_the_schema_refuses_what_drills_do_not_write(tmp_path: Path, mixed: Outcome) -> None:
    assert mixed.directory is not None
    text = (mixed.directory / "junit.xml").read_text()
    for number, (good, bad) in enumerate(
        (('name="verdict"', 'name="verdikt"'), ("<failure", "<flop"), (' classname="', ' klass="'))
    ):
        damaged = tmp_path / f"{number}.xml"
        damaged.write_text(text.replace(good, bad).replace("</failure>", "</flop>" if bad == "<flop" else "</failure>"))
        assert good in text and not _valid(damaged)


# --- while it runs ----------------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal: what a person would see so far."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.text = ""

    def shows(self, pattern: str) -> bool:
        try:
            self.text += os.read(self.ours, 1 << 16).decode("utf-8", "replace")
        except OSError:  # there is nothing to read just now
            return False
        return re.search(pattern, self.text) is not None

    def drain(self, run: Started) -> None:
        """Read on until the run has ended: it must not wait for somebody who reads."""
        until(lambda: not self.shows("") and run.process.poll() is not None, "the end of the run")

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "parallel"])
def test_a_terminal_shows_what_is_under_way(tmp_path: Path, workers: tuple[str, ...]) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "content")
    terminal = Terminal()
    run = project.start(*workers, stdout=terminal.theirs)
    stage = r"db-\d/nas: integrity \d+ s"  # whichever of two workers began first stands first
    line = rf"\r\x1b\[K  {stage}; {stage}\r" if workers else rf"\r\x1b\[K  {stage}\r"
    try:
        run.until(lambda: terminal.shows(line), "the stage was shown")
        gates.open()
        run.until(lambda: terminal.shows("restore drill ="), "it came to its end")
        terminal.drain(run)
        outcome = run.end()
    finally:
        run.kill()
        terminal.close()
    assert outcome.status == 0
    shown = [re.split(r"\r|\x1b\[K", line)[-1] for line in terminal.text.replace("\r\n", "\n").split("\n")]
    assert sum(line.startswith("  passed   critical/db-") for line in shown) == 2, "nothing of it stays beside a result"
    assert not [line for line in shown if "integrity" in line]
    assert not list(project.latest.glob("progress.*"))


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "parallel"])
def test_a_log_is_told_now_and_then_what_takes_long(tmp_path: Path, workers: tuple[str, ...]) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "content")
    run = project.start(*workers, "--heartbeat=0.2")
    run.until_said("  ... db-0/nas: integrity ")
    if workers:
        run.until_said("  ... db-1/nas: integrity ")
    gates.open()
    outcome = run.end()
    assert outcome.status == 0
    assert "\r" not in outcome.screen and "\x1b" not in outcome.screen
    assert re.search(r"^  \.\.\. db-0/nas: integrity \d+ s$", outcome.screen, re.MULTILINE)


def test_a_short_run_tells_nothing_of_its_stages(mixed: Outcome) -> None:
    assert "  ... " not in mixed.screen


@pytest.mark.parametrize("interval", ["0", "-1", "soon", "inf", "nan"])
def test_an_interval_that_is_none_is_a_wrong_use(project: Project, interval: str) -> None:
    outcome = project.run(f"--heartbeat={interval}")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert "--heartbeat" in outcome.screen and f"give seconds, more than 0 (not '{interval}')" in outcome.screen
    assert "_seconds" not in outcome.screen and outcome.directory is None


# --- names that nobody chose to be shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "parallel"])
def test_a_name_from_a_store_is_shown_escaped_everywhere(tmp_path: Path, workers: tuple[str, ...]) -> None:
    project = Project(tmp_path / "p")
    copy = project.targets["db-0"]["copies"]["nas"]
    copy["path"] = copy["path"].replace(".db", "{any}.db")
    project.write()
    project.put("db-0", ending="-plain.db", age=timedelta(minutes=40))  # past the time in which a digest may follow
    good = project.run(*workers)
    assert (good.status, good.causes) == (0, {})
    artifact = next((project.root / "stores" / "nas" / "db-0").glob("*-plain.db"))
    plain = artifact.name.removesuffix(".db")
    artifact.with_name(f"{artifact.name}.sha256").unlink()
    artifact.rename(artifact.with_name(f"{plain}\x1b[31m\n\u202e]]>\udcff.db"))
    bad = project.run(*workers)
    assert (bad.status, bad.causes) == (1, {"db-0/nas/checksum": "failed"})
    shown = plain + r"\x1b[31m\n\u202e]]>\xff.db"
    assert f"no digest is recorded for {shown}" in bad.screen
    assert not {"\x1b", "\u202e", "\N{REPLACEMENT CHARACTER}"} & set(bad.screen)
    assert shown in bad.told("test_checksum_matches[critical/db-0/nas]")
    assert shown in bad.cases["db-0/nas/checksum"]["message"]
    assert bad.drills["db-0/nas"]["snapshot"]["artifacts"] == [f"db-0/{shown}"]
    bad.check_whole()


# --- where nothing can be written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [8192, 9216, 12288], ids=["fetched", "restored", "drilled"])  # where it is full, or so
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "parallel"])
def test_a_disk_without_room_for_the_reports_is_no_pass_and_leaves_none_that_are_torn(
    tmp_path: Path, workers: tuple[str, ...], room: int
) -> None:
    project = Project(tmp_path / "p", targets=3)
    assert project.run(*workers).status == 0
    full = project.run(*workers, file_size=room)
    assert full.status == 75 and full.directory is not None
    assert "Traceback" not in full.screen and "INTERNALERROR" not in full.screen
    lines = [line for line in full.screen.splitlines() if line.startswith("could not be recorded: ")]
    (line,) = (line for line in lines if "evidence.json" in line)
    assert any("the ledger cannot be written: File too large" in each for each in lines)
    assert "ledger: NO ENTRY" in full.screen
    names = ("evidence.json", "junit.xml", "report.html")
    assert all(str(full.directory / name) in line for name in names) and str(project.reports / "junit.xml") in line
    assert line.endswith("File too large. Make room there, or give --reports-dir another directory, and run it again.")
    assert "reports: none" in full.screen
    assert {path.name for path in full.directory.iterdir()} <= {"facts", "summary.md", "metrics.prom", "ctrf.json"}
    assert not [path for path in project.reports.iterdir() if path.name.startswith((".", "junit"))]
    project.break_restore("db-0")
    assert project.run(*workers, file_size=room).status == 1, "that a backup failed is known all the same"


def test_junit_that_cannot_be_written_stands_in_evidence_and_takes_nothing_else_along(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.file("full", "")
    outcome = project.run("--junitxml=full/junit.xml")
    assert outcome.status == 75
    (problem,) = outcome.evidence["problems"]
    assert str(project.root / "full" / "junit.xml") in problem and "--reports-dir" in problem
    assert outcome.evidence["verdict"] == "error" and outcome.evidence["counts"]["passed"] == len(CASES)
    assert not project.left and outcome.suite["errors"] == "0"
    twin = project.run("--junitxml=empty/junit.xml")
    assert (twin.status, twin.evidence["verdict"], twin.evidence["problems"]) == (0, "passed", [])


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "parallel"])
def test_reports_that_are_no_directory_are_a_wrong_use(tmp_path: Path, workers: tuple[str, ...]) -> None:
    project = Project(tmp_path / "p")
    project.reports.write_text("mine")
    outcome = project.run(*workers)
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert f"reports cannot be written: Not a directory ({project.reports}). Give --reports-dir" in outcome.screen
    assert "Traceback" not in outcome.screen and "INTERNALERROR" not in outcome.screen
    project.reports.unlink()
    assert project.run(*workers).status == 0


def test_a_demo_that_does_not_start_is_no_failed_backup(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    refusing = project.file(
        "drills/conftest.py",
        "from restore_drill import lifecycle\nfrom restore_drill.errors import CouldNotVerify\n\n\n"
        "def start_demo(plan):\n    raise CouldNotVerify('the demo does not start', remedy='Free its port.')\n\n\n"
        "lifecycle.start_demo = start_demo\n",
    )
    outcome = project.run()
    assert outcome.status == 75
    assert "the demo does not start. Free its port." in outcome.screen
    assert "Traceback" not in outcome.screen and "INTERNALERROR" not in outcome.screen
    assert not list(project.runs())
    refusing.unlink()
    assert project.run().status == 0


@pytest.mark.parametrize("how", ["option", "TMPDIR", "link"])
def test_nothing_is_restored_inside_a_store(tmp_path: Path, how: str) -> None:
    project = Project(tmp_path / "p")
    store = project.artifact("db-0").parent
    before = sorted(store.iterdir())
    (project.root / "link").symlink_to(store)
    arguments = {"option": [f"--work-dir={store}"], "TMPDIR": ["--work-dir="], "link": ["--work-dir=link"]}[how]
    project.environment["TMPDIR"] = str(store) if how == "TMPDIR" else str(tmp_path)
    outcome = project.run("-p", "no:cacheprovider", *arguments)
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert f"drills would restore inside the store 'nas' ({store}). Nothing is ever written" in outcome.screen
    assert sorted(store.iterdir()) == before and not project.reports.exists()
    project.environment["TMPDIR"] = str(tmp_path)
    assert project.run(*(arguments if how == "TMPDIR" else ())).status == 0


# --- a run that plans nothing -----------------------------------------------------------------------------------------


def test_the_reports_that_people_look_at_are_never_an_earlier_runs(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    first = project.run()
    shown = project.run("--collect-only", "-q", "-k", "nothing_like_it")
    assert shown.directory is None and project.latest == first.directory
    nothing = project.run("-k", "nothing_like_it")
    assert nothing.status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert nothing.directory is not None and nothing.directory != first.directory
    assert (nothing.evidence["verdict"], nothing.evidence["drills"]) == ("error", [])
    assert nothing.evidence["problems"] == ["no drill was selected, and none was run"]
    assert "incomplete: no drill was selected, and none was run" in nothing.screen
    assert nothing.suite["tests"] == "0"
    assert (project.reports / "junit.xml").read_bytes() == (nothing.directory / "junit.xml").read_bytes()
    again = project.run()
    assert (again.status, again.evidence["problems"], again.suite["tests"]) == (0, [], str(len(CASES)))
    assert (project.reports / "junit.xml").read_bytes() == (project.latest / "junit.xml").read_bytes()
