"""What a run consists of: which catalogue, which cases, in which order, and what a selection means."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.project import CASES, STANDARD, Outcome, Project

_FUNCTIONS = (
    "test_snapshot_is_located", "test_snapshot_is_within_rpo", "test_no_gap_exceeds_rpo", "test_snapshot_is_fetched",
    "test_checksum_matches", "test_snapshot_unpacks", "test_snapshot_restores", "test_restore_meets_rto",
    "test_integrity", "test_structure", "test_row_count", "test_restored_copy_is_disposed",
)  # fmt: skip
_COLLECT = ("--collect-only", "-q")


def _ids(tier: str, target: str, copy: str = "nas", file: str = "drills/test_standard.py") -> list[str]:
    """The node ids of one drill, in order."""
    details = {"test_row_count": "/orders"}
    return [f"{file}::{name}[{tier}/{target}/{copy}{details.get(name, '')}]" for name in _FUNCTIONS]


def _collected(outcome: Outcome) -> list[str]:
    return [line for line in outcome.screen.splitlines() if "::" in line]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "p", targets=2)


# --- ids, order, duplicates -------------------------------------------------------------------------------------------


def test_cases_are_named_and_ordered_target_by_target_copy_by_copy(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", ("zebra", "ant"), stores=("nas", "offsite"))
    project.targets["ant"]["tier"] = "archival"
    project.targets["zebra"]["three_two_one"] = True
    project.exception("ant", "rpo")
    project.write()
    outcome = project.run(*_COLLECT)
    across = "drills/test_standard.py::test_{}"
    assert _collected(outcome) == [
        *_ids("critical", "zebra"),
        *_ids("critical", "zebra", "offsite"),
        across.format("follows_3_2_1[critical/zebra]"),
        across.format("copies_agree[critical/zebra]"),
        *_ids("archival", "ant"),
        *_ids("archival", "ant", "offsite"),
        across.format("copies_agree[archival/ant]"),
        across.format("exceptions_are_current[archival/ant]"),
    ]
    assert outcome.status == 0


def test_a_name_that_an_id_cannot_carry_is_written_in_letters_that_it_can(project: Project) -> None:
    project.targets["db-0"]["expect"]["rows"] = {"Ärger & Co.": 3}
    project.write()
    outcome = project.run(*_COLLECT, "-k", "row_count and db-0")
    assert _collected(outcome) == ["drills/test_standard.py::test_row_count[critical/db-0/nas/-rger-Co.]"]


def test_no_other_plugin_can_tear_a_drill_apart(project: Project) -> None:
    project.file(
        "drills/conftest.py",
        "import pytest\n\n\n@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items):\n"
        "    items.reverse()\n",
    )
    project.file("drills/test_other.py", "def test_other():\n    pass\n")
    expected = [*_ids("critical", "db-0"), *_ids("critical", "db-1"), "drills/test_other.py::test_other"]
    assert _collected(project.run(*_COLLECT)) == expected


def test_a_case_that_is_named_twice_is_drilled_once(project: Project) -> None:
    (located, *_), whole = _ids("critical", "db-0"), "drills/test_standard.py"
    outcome = project.run(located, whole, located)
    assert outcome.status == 0
    assert len(outcome.testcases) == 2 * len(CASES)
    assert len(outcome.stages("restore")) == 2
    outcome.check_whole()


def test_two_files_with_the_standard_cases_share_the_drills(project: Project) -> None:
    project.file("drills/test_again.py", STANDARD)
    outcome = project.run()
    assert outcome.status == 0
    assert set(outcome.verdicts) == {f"db-{number}/nas/{case}" for number in (0, 1) for case in CASES}
    assert len(outcome.stages("restore")) == 2
    assert not project.left


def test_a_reported_id_can_be_pasted_back(project: Project) -> None:
    for nodeid in (_ids("critical", "db-1")[10], _ids("critical", "db-1")[0]):
        outcome = project.run(nodeid, where="")
        assert outcome.status == 0
        assert list(outcome.testcases) == [nodeid.partition("::")[2]]
    assert not outcome.stages("restore"), "nobody asked for more than to locate it"


# --- selection --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiers(project: Project) -> Project:
    """Two tiers, and a table of the lower one whose name takes the higher one's."""
    project.targets["db-1"]["tier"] = "important"
    project.targets["db-1"]["expect"]["rows"]["critical_events"] = 7
    project.write()
    return project


def test_a_tier_is_a_marker_and_selects_exactly_itself(tiers: Project) -> None:
    outcome = tiers.run(*_COLLECT, "-m", "critical")
    assert _collected(outcome) == _ids("critical", "db-0")
    drilled = tiers.run("-m", "critical")
    assert (drilled.status, list(drilled.drills)) == (0, ["db-0/nas"])
    assert "selected: 12 cases of 1 drills (critical 12)" in drilled.screen
    assert "note: -k" not in drilled.screen


def test_a_keyword_that_took_in_something_of_another_tier_is_pointed_out(tiers: Project) -> None:
    outcome = tiers.run("--collect-only", "-k", "critical")
    assert "selected: 13 cases of 2 drills (critical 12, important 1)" in outcome.screen
    assert "-k critical matches names, and so also took in cases of db-1; -m critical selects" in outcome.screen
    assert "note: -k" not in tiers.run("--collect-only", "-k", "important").screen


def test_whoever_writes_more_than_a_tier_knows_that_these_are_names(tiers: Project) -> None:
    outcome = tiers.run("-n", "1", "-k", "critical and not located")
    assert "(critical 11, important 1)" in outcome.screen
    assert "note: -k" not in outcome.screen


def test_a_tier_of_ones_own_is_a_marker_too(project: Project) -> None:
    project.catalogue["tiers"] = {"payroll": {"rpo": "12h", "rto": "2h", "drill_every": "1w"}}
    project.targets["db-1"]["tier"] = "payroll"
    project.write()
    outcome = project.run(*_COLLECT, "--strict-markers", "-m", "payroll")
    assert _collected(outcome) == _ids("payroll", "db-1")


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "parallel"])
def test_a_selection_of_nothing_is_an_error(project: Project, workers: tuple[str, ...]) -> None:
    outcome = project.run("-m", "important", *workers)
    assert outcome.status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert outcome.evidence["verdict"] == "error" and not outcome.evidence["drills"]


def test_a_part_of_a_drill_is_partial_and_leaves_no_baseline(project: Project) -> None:
    outcome = project.run("-k", "db-0 or located")
    assert outcome.status == 0
    assert {key: drill["scope"] for key, drill in outcome.drills.items()} == {
        "db-0/nas": "whole",
        "db-1/nas": "partial",
    }
    scope = {name: outcome.properties(name)["scope"] for name in outcome.testcases}
    assert scope["test_snapshot_is_located[critical/db-0/nas]"] == "whole"
    assert scope["test_snapshot_is_located[critical/db-1/nas]"] == "partial"
    known = [project.command("baseline", "show", f"db-{number}").stdout for number in (0, 1)]
    assert "passed" in known[0] and '"orders": 20' in known[0]
    assert known[1] == "db-1/nas: no whole drill has passed yet\n"


# --- the catalogue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "parallel"])
def test_a_bad_catalogue_is_a_wrong_use_with_every_mistake_and_its_place(
    project: Project, workers: tuple[str, ...]
) -> None:
    text = project.path.read_text()
    project.path.write_text(text.replace("engine: sqlite", "engin: sqlite", 1).replace("tier: critical", "tier: crit"))
    outcome = project.run(*workers)
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    lines = project.path.read_text().splitlines()
    line = next(number for number, each in enumerate(lines, 1) if "engin:" in each)
    assert f"{project.path}:{line}:5: " in outcome.screen
    assert "did you mean" in outcome.screen and "^" in outcome.screen
    assert outcome.screen.count("tier: crit") == 2
    assert "Traceback" not in outcome.screen and "session.py" not in outcome.screen
    assert outcome.directory is None


def test_a_catalogue_that_is_not_there_is_a_wrong_use(project: Project) -> None:
    outcome = project.run("--catalogue", "nowhere/targets.yaml")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert str(project.root / "nowhere" / "targets.yaml") in outcome.screen
    assert "Traceback" not in outcome.screen


def _other(project: Project) -> Path:
    """A second catalogue, of one target."""
    text = project.path.read_text()
    other = project.file("other/few.yaml", text[: text.index("  db-1:")])
    assert "db-0:" in other.read_text()
    return other


def test_the_environment_names_a_catalogue_and_the_option_overrules_it(project: Project) -> None:
    other = _other(project)
    project.environment["RESTORE_DRILL_CATALOGUE"] = str(other)
    assert _collected(project.run(*_COLLECT)) == _ids("critical", "db-0")
    both = project.run(*_COLLECT, "--catalogue", "drills/targets.yaml")
    assert _collected(both) == _ids("critical", "db-0") + _ids("critical", "db-1")
    project.environment["RESTORE_DRILL_CATALOGUE"] = "no/such.yaml"
    assert project.run(*_COLLECT).status == pytest.ExitCode.USAGE_ERROR


# --- where it is run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("configured", [True, False], ids=["with-ini", "without-ini"])
def test_drills_can_be_run_from_below_the_project(project: Project, configured: bool) -> None:
    if configured:
        project.file("pytest.ini", "[pytest]\n")
    file = "drills/test_standard.py" if configured else "test_standard.py"  # relative to pytest's root directory
    for where in (".", "test_standard.py"):
        outcome = project.run(*_COLLECT, "-k", "db-0", where=where, cwd=project.root / "drills")
        assert (outcome.status, _collected(outcome)) == (0, _ids("critical", "db-0", file=file))
    outcome = project.run("-k", "db-0", where="", cwd=project.root / "drills")
    assert outcome.status == 0
    assert outcome.directory is not None and outcome.directory.parent == project.reports


def test_drills_can_be_run_from_elsewhere(project: Project, tmp_path: Path) -> None:
    outcome = project.run("-k", "db-0", where=str(project.root / "drills"), cwd=tmp_path)
    assert (outcome.status, list(outcome.drills)) == (0, ["db-0/nas"])
    there = project.run(*_COLLECT, "-k", "db-0", where=str(project.root), cwd=tmp_path)
    assert (there.status, len(_collected(there))) == (0, len(CASES))


def test_another_root_directory_changes_nothing(project: Project, tmp_path: Path) -> None:
    outcome = project.run("-k", "db-0", f"--rootdir={tmp_path}")
    assert outcome.status == 0
    assert outcome.directory is not None and outcome.directory.parent == project.reports


def test_options_of_the_users_own_are_respected(project: Project) -> None:
    project.file(
        "pytest.ini",
        "[pytest]\naddopts = -ra -n 2 --strict-markers --import-mode=importlib\njunit_family = xunit2\n"
        "xfail_strict = true\nfilterwarnings = error\njunit_suite_name = nightly\ntestpaths = drills\n",
    )
    outcome = project.run(where="")
    assert outcome.status == 0
    assert outcome.evidence["run"]["concurrency"] == 2
    assert outcome.suite["name"] == "nightly"
    outcome.check_whole()


# --- not a drill ------------------------------------------------------------------------------------------------------


def test_the_plugin_is_inert_where_there_is_no_catalogue(tmp_path: Path, project: Project) -> None:
    assert "restore-drill" in project.run(*_COLLECT, "-v").screen
    project.file(
        "tests/test_other.py",
        "import sys\n\n\ndef test_other():\n"
        "    heavy = ('restore_drill.pytest_support', 'restore_drill.catalogue', 'yaml', 'pydantic', 'boto3')\n"
        "    assert not [name for name in sys.modules if name.startswith(heavy)]\n",
    )
    outcome = project.run(where="tests")
    assert outcome.status == 0
    said = [line for line in outcome.screen.splitlines() if not line.startswith("plugins:")]
    assert "1 passed" in said[-1] and not [line for line in said if "restore-drill 0" in line or "catalogue" in line]
    assert not project.reports.exists()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "parallel"])
def test_a_drill_without_a_catalogue_says_what_is_missing(project: Project, workers: tuple[str, ...]) -> None:
    assert project.run(*workers, "-k", "db-0").status == 0
    project.path.unlink()
    outcome = project.run(*workers)
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert "no catalogue was found: give --catalogue PATH" in outcome.screen


@pytest.mark.parametrize("option", ["--setup-plan", "--setup-only", "--setup-show"])
def test_fixtures_are_shown_and_set_up_as_pytest_is_asked(project: Project, option: str) -> None:
    outcome = project.run(option)
    assert "SETUP    F drill[" in outcome.screen
    restored = bool(outcome.stages("restore"))
    assert restored is (option != "--setup-plan")
    assert outcome.status == (0 if option == "--setup-show" else 75), "what was not judged is no pass"


_MOUNTS = """
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def mounted():
    Path("unmounted").rename("stores")
    yield
    Path("stores").rename("unmounted")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "parallel"])
def test_what_a_users_own_fixture_prepares_is_there_before_the_first_drill(
    project: Project, workers: tuple[str, ...]
) -> None:
    (project.root / "stores").rename(project.root / "unmounted")
    project.file("drills/conftest.py", _MOUNTS)
    outcome = project.run(*workers)
    assert outcome.status == 0 and set(outcome.verdicts.values()) == {"passed"}
    assert (project.root / "unmounted").is_dir()


_HOOK = """
from pathlib import Path

def pytest_runtest_setup(item):
    if Path("unmounted").exists():
        Path("unmounted").rename("stores")
"""


def test_what_a_users_own_setup_hook_prepares_is_there_before_the_first_drill(project: Project) -> None:
    (project.root / "stores").rename(project.root / "unmounted")
    project.file("drills/conftest.py", _HOOK)
    outcome = project.run()
    assert outcome.status == 0 and set(outcome.verdicts.values()) == {"passed"}


_OVERRIDES = """
import pytest

@pytest.fixture
def drill(drill):
    with open("seen", "a") as file:
        print(drill.case.case, file=file)
    return drill
"""


def test_a_users_own_drill_fixture_is_used(project: Project) -> None:
    project.file("drills/conftest.py", _OVERRIDES)
    outcome = project.run()
    assert outcome.status == 0
    assert len((project.root / "seen").read_text().split()) == len(outcome.verdicts)
