"""What a run concludes: the four verdicts, who bears a cause, the exit status, and pytest's own options around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.project import CASES, Outcome, Project

_AFTER_FETCH = CASES[CASES.index("checksum") + 1 : -1]
_AFTER_RESTORE = CASES[CASES.index("restores") + 1 : -1]
_EMPTY = "nothing came back"


def _estate(root: Path) -> Project:
    """A good target and three bad ones, whose good twins differ from them in one thing; and one that is excused."""
    project = Project(root, ("good", "wrong", "hollow", "gone", "excused"))
    project.break_checksum("wrong")
    project.break_restore("hollow")
    project.catalogue["stores"]["shed"] = {"url": "file:../stores/shed", "media": "disk"}
    project.targets["gone"]["copies"] = {"shed": project.targets["gone"]["copies"]["nas"]}
    project.targets["excused"]["expect"]["rows"]["orders"] = 21
    project.exception("excused", "rows")
    project.write()
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return _estate(tmp_path_factory.mktemp("verdicts") / "p")


@pytest.fixture(scope="module")
def mixed(project: Project) -> Outcome:
    """One run over all of them."""
    return project.run()


def test_each_verdict_stands_with_the_case_that_owns_the_cause(mixed: Outcome) -> None:
    assert mixed.causes == {
        "wrong/nas/checksum": "failed",
        "hollow/nas/restores": "failed",
        "gone/shed/located": "error",
        "excused/nas/rows/orders": "excepted",
    }
    mixed.check_whole()


def test_a_failed_backup_decides_the_exit_status(mixed: Outcome) -> None:
    assert mixed.status == 1
    assert mixed.evidence["verdict"] == "failed"


def test_the_undamaged_twin_stays_green(mixed: Outcome) -> None:
    assert {case: verdict for case, verdict in mixed.verdicts.items() if case.startswith("good/")} == {
        f"good/nas/{case}": "passed" for case in CASES
    }


def test_dependants_are_blocked_by_the_case_that_bears_the_cause(mixed: Outcome) -> None:
    assert mixed.blocked == {
        **{f"wrong/nas/{case}": "checksum" for case in _AFTER_FETCH},
        **{f"hollow/nas/{case}": "restores" for case in _AFTER_RESTORE},
        **{f"gone/shed/{case}": "located" for case in CASES[1:-1]},
    }


@pytest.mark.parametrize(
    ("name", "owner", "cause"),
    [
        ("test_integrity[critical/wrong/nas]", "checksum", "sha256"),
        ("test_row_count[critical/hollow/nas/orders]", "restores", _EMPTY),
        ("test_snapshot_is_within_rpo[critical/gone/shed]", "located", "store"),
    ],
)
def test_a_blocked_case_repeats_the_cause_in_one_line(mixed: Outcome, name: str, owner: str, cause: str) -> None:
    (element,) = mixed.testcases[name].iter("error")
    assert "\n" not in element.text.strip()
    assert f"blocked by {owner}: " in element.text and cause in element.text


def test_the_cause_is_told_with_what_was_looked_at_and_the_remedy(mixed: Outcome) -> None:
    told = mixed.told("test_snapshot_restores[critical/hollow/nas]")
    assert told.startswith("failure: ")
    assert "hollow/nas: restores: nothing came back" in told
    assert "Check what the backup job reads" in told


def test_an_exception_turns_its_failure_into_a_skip_with_its_text(mixed: Outcome) -> None:
    told = mixed.told("test_row_count[critical/excused/nas/orders]")
    assert told.startswith("skipped: ")
    assert "Excepted by EX-7 until " in told and "replaced in spring (approved by the ciso)" in told
    assert mixed.properties("test_row_count[critical/excused/nas/orders]")["exception"] == "EX-7"
    assert mixed.cases["excused/nas/rows/orders"]["actual"] == 20


def test_the_terminal_names_every_cause_once_and_blocked_cases_not_at_all(mixed: Outcome) -> None:
    sections = mixed.screen.partition("short test summary info")[2]
    causes = ["FAILED drills/test_standard.py::test_checksum_matches[critical/wrong/nas]"]
    causes += ["FAILED drills/test_standard.py::test_snapshot_restores[critical/hollow/nas]"]
    causes += ["ERROR drills/test_standard.py::test_snapshot_is_located[critical/gone/shed]"]
    assert all(sections.count(line) == 1 for line in causes)
    assert "blocked by" not in sections
    assert "excepted: excused/nas: rows orders" in mixed.screen


@pytest.mark.parametrize(
    ("selection", "status", "verdict"),
    [
        ("good", 0, "passed"),
        ("good or excused", 0, "excepted"),
        ("good or gone", 75, "error"),
        ("good or gone or hollow", 1, "failed"),
    ],
)
def test_the_exit_status_tells_the_worst_verdict(project: Project, selection: str, status: int, verdict: str) -> None:
    outcome = project.run("-k", selection)
    assert (outcome.status, outcome.evidence["verdict"]) == (status, verdict)
    outcome.check_whole()
    assert ("exit status 75" in outcome.screen) == (status == 75)


def test_the_first_dependant_bears_the_cause_when_its_owner_is_deselected(project: Project) -> None:
    outcome = project.run("-k", "hollow and (row_count or integrity)")
    assert outcome.status == 1
    assert outcome.causes == {"hollow/nas/integrity": "failed"}
    assert outcome.blocked == {"hollow/nas/rows/orders": "restores"}
    assert _EMPTY in outcome.told("test_integrity[critical/hollow/nas]")


def test_row_count_alone_is_red_on_a_backup_that_does_not_restore(project: Project) -> None:
    outcome = project.run("-k", "row_count")
    assert outcome.status == 1
    assert outcome.causes == {
        "wrong/nas/rows/orders": "failed",
        "hollow/nas/rows/orders": "failed",
        "gone/shed/rows/orders": "error",
        "excused/nas/rows/orders": "excepted",
    }
    assert _EMPTY in outcome.told("test_row_count[critical/hollow/nas/orders]")
    assert outcome.verdicts["good/nas/rows/orders"] == "passed"
    outcome.check_whole()


_ALONE = {"good": "passed", "excused": "passed", "wrong": "failed", "hollow": "failed", "gone": "error"}


@pytest.mark.parametrize(
    ("selection", "worst"),
    [
        ("disposed", dict.fromkeys(_ALONE, "")),
        ("rpo or disposed", {"gone": "passed"}),  # the first that needs the listing bears what is wrong with it
        ("fetched or disposed", {"gone": "passed", "wrong": "passed", "hollow": "passed"}),
    ],
)
def test_nothing_is_left_is_said_of_something_that_was_there(
    project: Project, selection: str, worst: dict[str, str]
) -> None:
    """A drill that is done only to be disposed of goes as far as any, and is red where it cannot."""
    outcome = project.run("-k", selection)
    found = {key.partition("/")[0]: verdict for key, verdict in outcome.verdicts.items() if key.endswith("/disposed")}
    assert found == {**_ALONE, **{name: verdict for name, verdict in worst.items() if verdict}}
    assert {name for name, stage in outcome.stages("dispose")} >= {"good.nas", "excused.nas", "wrong.nas", "hollow.nas"}
    assert not project.left
    outcome.check_whole()


@pytest.mark.parametrize("target", _ALONE)
def test_disposal_alone_of_one_target_is_judged_as_among_many(project: Project, target: str) -> None:
    outcome = project.run("-k", f"{target} and disposed")
    assert list(outcome.verdicts.values()) == [_ALONE[target]]
    assert outcome.status == {"passed": 0, "failed": 1, "error": 75}[_ALONE[target]]
    restored = outcome.stages("restore")
    assert bool(restored) == (target in ("good", "excused", "hollow"))


def test_an_exception_covers_its_own_case_and_no_cause_that_the_case_bears(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=1)
    project.exception("db-0", "restores")
    project.break_restore("db-0")
    project.write()
    whole = project.run()
    assert whole.status == 75
    assert whole.causes == {"db-0/nas/restores": "excepted"}
    alone = project.run("-k", "row_count")
    assert alone.status == 1
    assert alone.causes == {"db-0/nas/rows/orders": "failed"}


# --- a case that goes wrong by itself ---------------------------------------------------------------------------------

_OWN = """
import pytest

@pytest.fixture
def broken_fixture():
    raise LookupError("no such thing")

@pytest.mark.target("db-0")
def test_is_right(restored):
    assert restored.row_counts() == {"orders": 20}

@pytest.mark.target("db-0")
def test_is_wrong(restored):
    raise ZeroDivisionError("a slip")

@pytest.mark.target("db-0")
def test_has_a_broken_fixture(restored, broken_fixture):
    raise AssertionError("never reached")

@pytest.mark.target("db-0")
def test_skips(restored):
    pytest.skip("no reason")
"""


def test_an_error_in_a_case_is_never_a_pass(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.file("drills/test_own.py", _OWN)
    outcome = project.run()
    assert outcome.status == 1
    assert outcome.causes == {
        "db-0/nas/own/test_is_wrong": "failed",
        "db-0/nas/own/test_has_a_broken_fixture": "error",
        "db-0/nas/own/test_skips": "error",
    }
    assert outcome.verdicts["db-0/nas/own/test_is_right"] == "passed"
    assert outcome.verdicts["db-0/nas/disposed"] == "passed"
    assert "it was skipped" in outcome.cases["db-0/nas/own/test_skips"]["message"]
    outcome.check_whole()


def test_a_test_that_is_no_drill_counts_for_the_exit_status_and_not_for_the_evidence(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    other = project.file("drills/test_other.py", "def test_other():\n    assert 1 == 1\n")
    green = project.run()
    other.write_text("def test_other():\n    assert 1 == 2\n")
    red = project.run()
    assert (green.status, red.status) == (0, 1)
    assert green.verdicts == red.verdicts and set(green.verdicts.values()) == {"passed"}


# --- pytest's own options ---------------------------------------------------------------------------------------------


def test_what_did_not_run_any_more_is_listed_and_red(project: Project) -> None:
    outcome = project.run("-x")
    assert outcome.status == 1
    assert outcome.verdicts["good/nas/disposed"] == "passed"
    assert outcome.verdicts["wrong/nas/checksum"] == "failed"
    not_run = outcome.evidence["not_run"]
    assert "drills/test_standard.py::test_snapshot_unpacks[critical/wrong/nas]" in not_run
    assert "drills/test_standard.py::test_snapshot_is_located[critical/hollow/nas]" in not_run
    assert {outcome.blocked[f"hollow/nas/{case}"] for case in CASES} == {"interruption"}
    assert f"{len(not_run)} planned cases did not run" in outcome.screen
    assert not project.left
    outcome.check_whole()


def test_as_many_failures_as_are_allowed_change_nothing(project: Project, mixed: Outcome) -> None:
    assert project.run("--maxfail=1000").verdicts == mixed.verdicts
    few = project.run("--maxfail=1", "-k", "hollow")
    assert few.causes == {"hollow/nas/restores": "failed"}
    assert set(few.blocked.values()) == {"interruption"}


def test_last_failed_drills_again_what_was_not_green(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=2)
    project.break_restore("db-1")
    assert project.run().status == 1
    again = project.run("--lf")
    assert again.status == 1
    assert set(again.verdicts) == {f"db-1/nas/{case}" for case in ("restores", *_AFTER_RESTORE)}
    assert again.drills["db-1/nas"]["scope"] == "partial"
    project.put("db-1")
    assert project.run("--lf").status == 0


def test_no_cache_provider_is_needed(project: Project) -> None:
    assert project.run("-p", "no:cacheprovider", "-k", "good").status == 0


def test_collecting_only_touches_no_store_and_writes_nothing(project: Project) -> None:
    hidden = project.root / "hidden"
    before, runs = project.latest, list(project.runs())
    (project.root / "stores").rename(hidden)
    try:
        outcome = project.run("--co", "-q", "-k", "good and located")
    finally:
        hidden.rename(project.root / "stores")
    assert outcome.status == 0
    assert "drills/test_standard.py::test_snapshot_is_located[critical/good/nas]" in outcome.screen
    assert (project.latest, list(project.runs())) == (before, runs)


def test_a_drill_has_one_line_where_nobody_asks_for_more(mixed: Outcome) -> None:
    (line,) = (line for line in mixed.screen.splitlines() if " critical/good/nas " in line)
    assert line.startswith("  passed ") and f"{len(CASES)} cases" in line
    assert "test_integrity" not in mixed.screen.partition("= ERRORS")[0]


def test_verbose_has_a_line_for_every_case(project: Project) -> None:
    outcome = project.run("-v", "-k", "good or excused or hollow")
    for case, word in (
        ("test_snapshot_is_located[critical/good/nas]", "PASSED"),
        ("test_row_count[critical/excused/nas/orders]", "EXCEPTED"),
        ("test_snapshot_restores[critical/hollow/nas]", "FAILED"),
        ("test_integrity[critical/hollow/nas]", "ERROR"),
    ):
        assert any(f"{case} {word}" in line for line in outcome.screen.splitlines()), case
    assert outcome.status == 1


def test_quiet_still_names_the_causes_and_the_reports(project: Project) -> None:
    outcome = project.run("-q", "-k", "good or hollow")
    assert outcome.status == 1
    assert "FAILED drills/test_standard.py::test_snapshot_restores[critical/hollow/nas]" in outcome.screen
    assert f"{outcome.directory}/junit.xml" in outcome.screen
    assert "  passed " not in outcome.screen


def test_no_traceback_style_hides_the_cause(project: Project) -> None:
    outcome = project.run("--tb=no", "-k", "hollow")
    assert outcome.status == 1
    assert f"restores: {_EMPTY}" in outcome.screen
    assert _EMPTY in outcome.told("test_snapshot_restores[critical/hollow/nas]")


def test_an_unknown_option_is_a_wrong_use(project: Project) -> None:
    outcome = project.run("--no-such-option")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert outcome.directory is None


def test_an_empty_selection_is_an_error(project: Project) -> None:
    outcome = project.run("-k", "no_such_thing")
    assert outcome.status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert (outcome.evidence["verdict"], outcome.evidence["drills"]) == ("error", [])
