"""One plan on several machines: together their reports say what one run says, and a part that is lost is named."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import junitparser
import pytest
import yaml
from lxml import etree
from prometheus_client.parser import text_string_to_metric_families
from tests.support import published
from tests.support.documents import blocks, follow
from tests.support.project import Outcome, Project

from restore_drill.cli import main
from restore_drill.evidence.reading import schema
from restore_drill.reporting import metrics
from restore_drill.sharding import shard_of

TARGETS = ("orders-db", "mail", "wiki", "crm")
TOTAL = 3
OWN = """
def test_the_moon_is_up():
    pass
"""


@dataclass
class Sharded:
    """A project with one broken backup: run as three shards, and then as a whole.

    Attributes:
        published: Whether the last shard left a strict JUnit beside the ordinary one.
    """

    project: Project
    whole: Outcome
    shards: dict[int, Outcome]
    published: bool

    def merge(self, *arguments: str, places: Iterable[str] = ("shards/1", "shards/2", "shards/3")) -> tuple[int, str]:
        """Exit status, and what was said."""
        shutil.rmtree(self.out, ignore_errors=True)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main(
                ["merge", *(str(self.project.root / each) for each in places), "--out", str(self.out), *arguments]
            )
        return status, said.getvalue()

    @property
    def out(self) -> Path:
        return self.project.root / "joined"

    @property
    def joined(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "evidence.json").read_bytes())
        return found


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharded]:
    project = Project(tmp_path_factory.mktemp("sharded") / "project", TARGETS)
    project.break_restore("wiki")
    project.file("drills/test_moon.py", OWN)
    assert {shard_of(name, TOTAL) for name in TARGETS} == {1, 3}, "one shard is empty"
    shards = {index: project.run(f"--shard={index}/{TOTAL}", "--junit-strict") for index in (1, 2, 3)}
    for index, outcome in shards.items():
        assert outcome.directory is not None
        # As an artifact comes back: a copy, without links, among other things.
        shutil.copytree(outcome.directory, project.root / "shards" / str(index) / "reports" / outcome.directory.name)
    published = (project.reports / "junit-strict.xml").exists()
    project.environment["GITHUB_STEP_SUMMARY"] = str(project.file("job-page", "before\n"))
    whole = project.run()
    del project.environment["GITHUB_STEP_SUMMARY"]
    return Sharded(project, whole, shards, published)


def told(document: dict[str, Any]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """What each case concluded, but for what only time changes."""
    return {
        (part["target"], part.get("copy", ""), case["case"], case.get("detail", "")): (
            case["verdict"], case.get("blocked_by"), case.get("message")
        )
        for part in (*document["drills"], *document["targets"])
        for case in part["cases"]
    }  # fmt: skip


def test_each_shard_drills_its_own_targets_and_all_together_everything(sharded: Sharded) -> None:
    found = [{drill["target"] for drill in shard.evidence["drills"]} for shard in sharded.shards.values()]
    assert found == [{name for name in TARGETS if shard_of(name, TOTAL) == index} for index in (1, 2, 3)]
    assert set().union(*found) == set(TARGETS) and sum(map(len, found)) == len(TARGETS)
    plans = {shard.evidence["run"]["shard"]["plan"] for shard in sharded.shards.values()}
    assert len(plans) == 1 and [shard.evidence["run"]["shard"]["index"] for shard in sharded.shards.values()] == [
        1,
        2,
        3,
    ]
    assert all(drill["scope"] == "whole" for shard in sharded.shards.values() for drill in shard.evidence["drills"])
    assert all(shard.evidence["not_run"] == [] for shard in sharded.shards.values())
    assert sum("test_the_moon_is_up" in shard.testcases for shard in sharded.shards.values()) == 1


def test_exit_statuses_are_those_of_what_a_shard_drilled(sharded: Sharded) -> None:
    assert {index: shard.status for index, shard in sharded.shards.items()} == {
        index: int(shard_of("wiki", TOTAL) == index) for index in (1, 2, 3)
    }


def test_a_shard_without_targets_is_no_failure_and_says_why(sharded: Sharded) -> None:
    (empty,) = (shard for shard in sharded.shards.values() if not shard.evidence["drills"])
    assert empty.status == 0 and empty.evidence["verdict"] == "passed" and empty.evidence["problems"] == []
    assert "shard 2 of 3: " in empty.screen and "of the plan's" in empty.screen
    assert empty.directory is not None
    assert "has none of the plan's targets" in (empty.directory / "summary.md").read_text()


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "with workers"])
def test_a_shard_without_any_test_is_no_failure(sharded: Sharded, workers: list[str]) -> None:
    empty = sharded.project.run(*workers, "-k", "wiki", "--shard=2/3")
    assert empty.status == 0 and empty.evidence["verdict"] == "passed"
    assert "shard 2 of 3: 0 of the plan's 1 targets: nothing to drill here" in empty.screen


def test_a_plan_without_anything_stays_an_error(sharded: Sharded) -> None:
    nothing = sharded.project.run("-k", "nothing-is-called-so", "--shard=2/3")
    assert nothing.status == 5 and nothing.evidence["verdict"] == "error"


def test_what_is_no_shard_is_refused(sharded: Sharded) -> None:
    refused = sharded.project.run("--shard=auto")
    assert refused.status == 4 and "--shard: " in refused.screen


# --- joined -----------------------------------------------------------------------------------------------------------


def test_joined_they_say_what_one_run_says(sharded: Sharded) -> None:
    done = sharded.project.command("merge", "shards/3", "shards/1", "shards/2", "--expect", "3", "--out", "joined")
    assert done.returncode == sharded.whole.status == 1, done.stdout + done.stderr
    joined = sharded.joined
    assert told(joined) == told(dict(sharded.whole.evidence))
    assert joined["verdict"] == sharded.whole.evidence["verdict"] == "failed"
    assert joined["counts"] == sharded.whole.evidence["counts"]
    assert joined["run"]["merged_from"] == [shard.evidence["run"]["id"] for shard in sharded.shards.values()]


def test_every_format_is_written_and_read_by_its_readers(sharded: Sharded) -> None:
    sharded.merge()
    names = {"evidence.json", "junit.xml", "junit-strict.xml", "report.html", "summary.md", "metrics.prom", "ctrf.json"}
    assert {path.name for path in sharded.out.iterdir()} == names
    jsonschema.validate(sharded.joined, schema())
    suites = list(junitparser.JUnitXml.fromfile(str(sharded.out / "junit.xml")))
    assert [suite.name for suite in suites] == [f"shard {index} of 3" for index in (1, 2, 3)]
    assert sum(suite.tests for suite in suites) == int(sharded.whole.suite["tests"])
    assert sum(suite.failures for suite in suites) == int(sharded.whole.suite["failures"]) == 1
    published.jenkins_junit().assertValid(etree.parse(sharded.out / "junit-strict.xml"))
    families = {each.name: each for each in text_string_to_metric_families((sharded.out / "metrics.prom").read_text())}
    failed = [sample.labels["target"] for sample in families["restore_drill_verdict"].samples
              if sample.labels["verdict"] == "failed" and sample.value]  # fmt: skip
    assert failed == ["wiki"]
    assert json.loads((sharded.out / "ctrf.json").read_bytes())["results"]["summary"]["tests"] == len(
        told(sharded.joined)
    )
    assert "wiki" in (sharded.out / "report.html").read_text()


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_shard_that_is_lost_makes_it_red_by_name(sharded: Sharded, lost: int) -> None:
    bad = shard_of("wiki", TOTAL)
    status, said = sharded.merge(places=[f"shards/{index}" for index in (1, 2, 3) if index != lost])
    assert status == (75 if lost == bad else 1)
    assert f"shard {lost} of 3 is missing" in said
    assert sharded.joined["verdict"] == ("error" if lost == bad else "failed")
    assert f"shard {lost} of 3 is missing" in (sharded.out / "junit.xml").read_text()
    assert f"Missing: shard {lost} of 3" in (sharded.out / "summary.md").read_text()


def test_with_the_ledger_the_metrics_tell_of_earlier_drills_and_shards_are_compared(sharded: Sharded) -> None:
    catalogue = str(sharded.project.path)
    status, said = sharded.merge("--catalogue", catalogue)
    assert status == 1 and "the ledger" not in said
    text = (sharded.out / "metrics.prom").read_text()
    assert text.count("restore_drill_due_timestamp_seconds{") == len(TARGETS)
    assert text.count("restore_drill_last_good_timestamp_seconds{") == len(TARGETS) - 1, "wiki was never good"
    place = sharded.project.root / "forged"
    shutil.copytree(sharded.project.root / "shards", place)
    (path,) = (place / "1").rglob("evidence.json")
    forged = json.loads(path.read_bytes())
    forged["drills"][0]["owner"] = "somebody else"
    path.write_text(json.dumps(forged))
    status, said = sharded.merge("--catalogue", catalogue, places=["forged/1", "forged/2", "forged/3"])
    assert "shard 1 of 3: the ledger's entry of its run" in said and said.count("says something else") == 1
    assert status == 1 and sharded.joined["problems"]
    path.write_text(path.read_text().replace(sharded.shards[1].evidence["run"]["id"], "20260101T000000Z-abcdef"))
    status, said = sharded.merge("--catalogue", catalogue, places=["forged/1", "forged/2", "forged/3"])
    assert "shard 1 of 3: the ledger has no entry of its run 20260101T000000Z-abcdef" in said


def test_an_artifact_without_evidence_is_a_shard_that_is_lost(sharded: Sharded) -> None:
    (sharded.project.root / "lost").mkdir()
    places = ["shards/1", "lost", "shards/3"]
    status, said = sharded.merge(places=places)
    assert "/lost holds no evidence.json" in said and "shard 2 of 3 is missing" in said
    assert status == 1
    damaged = sharded.project.file("lost/evidence.json", '{"form": "restore-drill/evidence/2"}')
    for content, wrong in (('{"form": "restore-drill/evidence/2"}', "run is missing"), ("{", "it is not JSON")):
        damaged.write_text(content)
        assert wrong in sharded.merge(places=places)[1]


def test_a_test_that_is_no_drill_fails_the_whole_as_it_failed_its_shard(sharded: Sharded) -> None:
    place = sharded.project.root / "failed"
    shutil.rmtree(place, ignore_errors=True)
    mine = shard_of("drills/test_moon.py", TOTAL)
    for index in (1, 2, 3):
        shutil.copytree(sharded.project.root / "shards" / str(index), place / str(index))
        (path,) = place.glob(f"{index}/**/evidence.json")
        evidence = json.loads(path.read_bytes()) | {"verdict": "passed"}
        path.write_text(json.dumps(evidence | {"counts": {"passed": 9, "failed": 0, "error": 0, "excepted": 0}}))
        junit = path.with_name("junit.xml")
        root = etree.parse(junit)
        for case in root.iter("testcase"):
            for outcome in [*case.iter("failure"), *case.iter("error")]:
                case.remove(outcome)
        root.write(junit)
    places = [f"failed/{index}" for index in (1, 2, 3)]
    assert sharded.merge(places=places)[0] == 0
    (junit,) = place.glob(f"{mine}/**/junit.xml")
    root = etree.parse(junit)
    (own,) = (case for case in root.iter("testcase") if case.get("name") == "test_the_moon_is_up")
    etree.SubElement(own, "failure", message="it is not").text = "it is not"
    root.write(junit)
    assert sharded.merge(places=places)[0] == 1


@pytest.mark.parametrize(
    ("places", "arguments", "said"),
    [
        (["shards/1", "shards/1"], [], "shard 1 of 3 is there twice"),
        (["shards/1", "WHOLE"], [], "this run is no shard"),
        (["shards"], [], "it holds 3 runs"),
        (["shards/1", "shards/2", "shards/3"], ["--expect", "4"], "4 were expected"),
        (["nowhere"], [], "no shard's evidence"),
    ],
)
def test_what_cannot_be_joined_is_refused(sharded: Sharded, places: list[str], arguments: list[str], said: str) -> None:
    assert sharded.whole.directory is not None
    status, told = sharded.merge(
        *arguments, places=[str(sharded.whole.directory) if each == "WHOLE" else each for each in places]
    )
    assert status == 2 and said in told
    assert not sharded.out.exists()


# --- junit-strict -----------------------------------------------------------------------------------------------------


def test_the_strict_variant_stands_beside_the_ordinary_one(sharded: Sharded) -> None:
    jenkins = published.jenkins_junit()
    for shard in sharded.shards.values():
        assert shard.directory is not None
        jenkins.assertValid(etree.parse(shard.directory / "junit-strict.xml"))
        assert shard.evidence["drills"] == [] or not jenkins.validate(etree.parse(shard.directory / "junit.xml"))
    assert sharded.whole.directory is not None
    assert not (sharded.whole.directory / "junit-strict.xml").exists()


def test_the_strict_variant_is_never_another_runs(sharded: Sharded) -> None:
    assert sharded.published, "by the last shard"
    assert not (sharded.project.reports / "junit-strict.xml").exists(), "the run after it did not ask for it"


def test_a_job_page_has_the_summary(sharded: Sharded) -> None:
    assert sharded.whole.directory is not None
    summary = (sharded.whole.directory / "summary.md").read_text()
    assert (sharded.project.root / "job-page").read_text() == f"before\n\n{summary}"


# --- the document -----------------------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[2] / "docs" / "machine-formats.md"


def test_the_document_is_followed(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", TARGETS)
    (project.root / "textfile").mkdir()
    commands = follow(DOCUMENT, project.root, project.programs())
    assert sum(command.startswith("restore-drill merge") for command in commands) == 3


def test_the_documents_pipelines_do_what_it_says() -> None:
    pipelines = [yaml.safe_load(block.text) for block in blocks(DOCUMENT) if block.language == "yaml"]
    assert len(pipelines) == 2
    for pipeline in pipelines:
        text = json.dumps(pipeline)
        assert "--shard" in text and "restore-drill merge" in text and "--expect 4" in text and "details.jsonl" in text


def test_every_metric_is_documented() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert [name for name in metrics.METRICS if f"`{name}`" not in text] == []
    named = set(re.findall(r"restore_drill_([a-z_]+)", text))
    assert named and named <= set(metrics.METRICS)
