"""What a person adds to the standard cases: cases of their own, a named snapshot, a restored copy kept for a look."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.project import CASES, Project, database

_OWN = '''
import pytest


@pytest.mark.target("db-0")
def test_orders_can_be_read(restored):
    """A user's own case."""
    assert restored.row_counts() == {"orders": 20}
    assert restored.query("select what from orders where id = 7") == [("order 6",)]
    assert restored.scalar("select count(*) from orders") == 20
    assert restored.path.is_file()


@pytest.mark.target("db-0", "db-1")
@pytest.mark.parametrize("number", [1, 20])
def test_order_is_there(restored, number):
    assert restored.scalar(f"select count(*) from orders where id = {number}") == 1
'''


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "p", targets=2)


def test_own_cases_run_with_their_drill_and_stand_in_evidence(project: Project) -> None:
    project.file("drills/test_own.py", _OWN)
    outcome = project.run("-v")
    assert outcome.status == 0
    assert outcome.verdicts == {
        **{f"db-{number}/nas/{case}": "passed" for number in (0, 1) for case in CASES},
        "db-0/nas/own/test_orders_can_be_read": "passed",
        **{f"db-{target}/nas/own/test_order_is_there[{number}]": "passed" for target in (0, 1) for number in (1, 20)},
    }
    assert outcome.stages("restore") == [("db-0.nas", "restore"), ("db-1.nas", "restore")]
    ran = [line for line in outcome.screen.splitlines() if " PASSED" in line]
    own, disposed = "test_orders_can_be_read[critical/db-0/nas]", "test_restored_copy_is_disposed[critical/db-0/nas]"
    at = {name: next(n for n, line in enumerate(ran) if name in line) for name in (own, disposed)}
    assert at[own] < at[disposed], "the restored copy is there for as long as somebody asks for it"
    assert not project.left
    outcome.check_whole()


def test_an_own_case_alone_is_a_partial_drill(project: Project) -> None:
    project.file("drills/test_own.py", _OWN)
    outcome = project.run("drills/test_own.py::test_orders_can_be_read[critical/db-0/nas]", where="")
    assert (outcome.status, outcome.verdicts) == (0, {"db-0/nas/own/test_orders_can_be_read": "passed"})
    assert outcome.drills["db-0/nas"]["scope"] == "partial"
    assert not project.left


def test_an_own_case_that_fails_is_a_failed_backup_and_quotes_no_row_in_the_reports(project: Project) -> None:
    own = project.file(
        "drills/test_own.py",
        "import pytest\n\n\n@pytest.mark.target('db-0')\ndef test_first(restored):\n"
        "    assert restored.query('select what from orders where id = 1') == [('order 0',)]\n",
    )
    good = project.run("-k", "db-0")
    assert (good.status, good.verdicts["db-0/nas/own/test_first"]) == (0, "passed")
    own.write_text(own.read_text().replace("('order 0',)", "('order 5',)"))
    bad = project.run("-k", "db-0")
    assert bad.status == 1
    assert bad.causes == {"db-0/nas/own/test_first": "failed"}
    assert bad.drills["db-0/nas"]["verdict"] == "failed"
    told = bad.told("test_first[critical/db-0/nas]")
    assert "db-0/nas: own: test_first failed with AssertionError (drills/test_own.py:4)" in told
    assert bad.directory is not None
    reports = [(bad.directory / name).read_text() for name in ("junit.xml", "evidence.json")]
    assert not any("order 0" in text or "order 5" in text for text in reports)
    details = bad.directory / "details.jsonl"
    assert "order 5" in details.read_text() and details.stat().st_mode & 0o777 == 0o600
    assert "order 5" in bad.screen
    bad.check_whole()


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "parallel"])
def test_what_an_own_case_prints_is_on_the_terminal_and_in_no_report(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.file(
        "drills/test_own.py",
        "import logging, sys\nimport pytest\n\n\n@pytest.mark.target('db-0')\ndef test_first(restored):\n"
        "    row = restored.query('select what from orders where id = 7')[0][0]\n"
        "    print('printed', row)\n    print('complained', row, file=sys.stderr)\n"
        "    logging.warning('logged %s', row)\n",
    )
    project.file("drills/test_other.py", "def test_other():\n    print('said by another')\n")
    outcome = project.run(*workers, "-k", "db-0 or other", "-o", "junit_logging=all", "-rP")
    assert outcome.status == 0 and outcome.directory is not None
    assert all(f"{how} order 6" in outcome.screen for how in ("printed", "complained", "logged"))
    reports = [(outcome.directory / name).read_text() for name in ("junit.xml", "evidence.json")]
    assert not any("order 6" in report for report in reports)
    assert "said by another" in reports[0], "other tests are reported as they ask for"


def test_own_cases_are_blocked_like_any_other(project: Project) -> None:
    project.file("drills/test_own.py", _OWN)
    project.break_restore("db-0")
    whole = project.run()
    assert whole.causes == {"db-0/nas/restores": "failed"}
    assert whole.blocked["db-0/nas/own/test_orders_can_be_read"] == "restores"
    assert whole.verdicts["db-1/nas/own/test_order_is_there[1]"] == "passed"
    alone = project.run("-k", "test_orders_can_be_read")
    assert (alone.status, alone.causes) == (1, {"db-0/nas/own/test_orders_can_be_read": "failed"})
    assert "nothing came back" in alone.told("test_orders_can_be_read[critical/db-0/nas]")


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "parallel"])
def test_an_unknown_target_is_a_wrong_use_and_said_so(project: Project, workers: tuple[str, ...]) -> None:
    project.file("drills/test_own.py", _OWN.replace('"db-0")', '"db-O")'))
    outcome = project.run(*workers)
    assert outcome.status == (75 if workers else pytest.ExitCode.INTERRUPTED)
    assert outcome.evidence["verdict"] == "error"
    problem = "drills/test_own.py could not be collected, its cases did not run"
    assert outcome.evidence["problems"] == [problem] and f"incomplete: {problem}" in outcome.screen
    assert outcome.evidence["counts"]["passed"] == (2 * len(CASES) if workers else 0)
    assert outcome.evidence["counts"]["failed"] == 0
    assert "the catalogue has no target 'db-O'; it has db-0, db-1" in outcome.screen
    assert "test_own.py::test_orders_can_be_read" in outcome.screen
    assert "collection.py" not in outcome.screen, "the reader is not shown our own frames"


def test_a_case_without_a_target_is_a_wrong_use_and_said_so(project: Project) -> None:
    project.file("drills/test_own.py", "def test_mine(restored):\n    assert restored\n")
    outcome = project.run()
    assert outcome.status == pytest.ExitCode.INTERRUPTED
    assert "test_own.py::test_mine uses a drill: say of which target with @pytest.mark.target('NAME')" in outcome.screen


# --- a restored copy that is kept -------------------------------------------------------------------------------------


def test_a_restored_copy_is_kept_where_the_run_says_until_it_is_cleaned_up(project: Project) -> None:
    plain = project.run("-k", "db-0")
    assert "kept for inspection" not in plain.screen and not project.left
    outcome = project.run("-k", "db-0", "--keep-restored")
    assert outcome.status == 0
    (line,) = (line for line in outcome.screen.splitlines() if "kept for inspection" in line)
    kept = Path(line.partition("kept for inspection: ")[2].partition(" (")[0])
    assert kept.is_relative_to(project.work)
    assert database() in [path.read_bytes() for path in kept.rglob("*") if path.is_file()]
    assert "db-0/nas/disposed" not in outcome.cases, "what is kept on purpose is not judged to be gone"
    assert outcome.drills["db-0/nas"]["scope"] == "partial"
    assert project.run("-k", "db-1").status == 0
    assert kept.is_dir(), "the next run leaves it alone"
    assert "0 leftovers removed" in project.command("clean", "--work-dir", str(project.work)).stdout
    done = project.command("clean", "--kept", "--work-dir", str(project.work))
    assert done.returncode == 0 and "1 leftover removed" in done.stdout
    assert not kept.exists()


def test_what_did_not_come_back_is_not_kept(project: Project) -> None:
    project.break_restore("db-0")
    outcome = project.run("-k", "db-0", "--keep-restored")
    assert outcome.status == 1
    assert "kept for inspection" not in outcome.screen
    assert not project.left


# --- a named snapshot -------------------------------------------------------------------------------------------------


def test_a_named_snapshot_is_drilled_instead_of_the_newest(project: Project) -> None:
    project.put("db-0", database(19), age=timedelta(hours=1))
    stamp = f"{project.now - timedelta(hours=1):%Y%m%dT%H%M%SZ}"
    newest = project.run("-k", "db-0")
    assert newest.status == 0
    assert newest.drills["db-0/nas"]["snapshot"]["id"] == f"{project.now:%Y%m%dT%H%M%SZ}"
    named = project.run("-k", "db-0", "--snapshot", stamp)
    assert named.drills["db-0/nas"]["snapshot"]["id"] == stamp
    assert named.causes == {"db-0/nas/rows/orders": "failed"}, "it is judged like any other"
    assert named.status == 1
    assert not {"db-0/nas/rpo", "db-0/nas/gap"} & named.cases.keys(), "its age says nothing"


def test_an_unknown_snapshot_fails_and_names_those_there_are(project: Project) -> None:
    outcome = project.run("-k", "db-0", "--snapshot", "20010203T040506Z")
    assert (outcome.status, outcome.causes) == (1, {"db-0/nas/located": "failed"})
    told = outcome.told("test_snapshot_is_located[critical/db-0/nas]")
    assert "20010203T040506Z" in told
    assert f"{project.now:%Y%m%dT%H%M%SZ}" in told
    outcome.check_whole()
