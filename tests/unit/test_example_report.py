"""The committed example of a run is one that today's release could have written."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lxml import etree, html

from restore_drill import __version__
from restore_drill.cases import CASES
from restore_drill.evidence.reading import FORM, schema
from restore_drill.reporting.files import FILES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "reports" / "example"


@pytest.fixture(scope="module")
def evidence() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLE / "evidence.json").read_bytes())
    return document


@pytest.fixture(scope="module")
def junit() -> etree._Element:
    return etree.parse(EXAMPLE / "junit.xml").getroot()


def properties(case: etree._Element) -> dict[str, str]:
    return {each.get("name"): each.get("value") for each in case.iter("property")}


def test_its_junit_is_valid(junit: etree._Element) -> None:
    etree.XMLSchema(etree.parse(ROOT / "docs" / "junit.xsd")).assertValid(junit)


def test_it_is_of_this_release_and_says_that_it_is_the_demo(evidence: dict[str, Any]) -> None:
    assert evidence["form"] == FORM
    jsonschema.validate(evidence, schema())
    assert evidence["run"]["tools"]["restore-drill"] == __version__
    assert evidence["run"]["estate"] == "demo"


def test_both_files_tell_the_same(evidence: dict[str, Any], junit: etree._Element) -> None:
    cases = [properties(case) for case in junit.iter("testcase")]
    told = Counter(case["verdict"] for case in cases)
    assert {verdict: count for verdict, count in evidence["counts"].items() if count} == told
    assert {case["case"] for case in cases} <= CASES.keys()


def test_one_cause_fails_one_case(evidence: dict[str, Any], junit: etree._Element) -> None:
    assert evidence["verdict"] == "failed" and evidence["counts"]["failed"] == 1
    others = [case for case in map(properties, junit.iter("testcase")) if case["verdict"] == "error"]
    assert others and all(case["blocked_by"] == "unpacks" for case in others)


def test_every_report_says_which_backup_is_broken_and_what_to_do(evidence: dict[str, Any]) -> None:
    (broken,) = [drill for drill in evidence["drills"] if drill["verdict"] == "failed"]
    (failed,) = [case for case in broken["cases"] if case["verdict"] == "failed"]
    page = html.document_fromstring((EXAMPLE / "report.html").read_text("utf-8"))
    cause = " ".join(page.cssselect(".cause")[0].text_content().split())
    assert f"{broken['target']} / {broken['copy']}" in cause and failed["remedy"] in cause
    assert "drills in a row" in cause and "Last good" in cause
    assert page.cssselect("h1")[0].text_content().strip().endswith("backups failed; the other 7 passed.")
    assert len(page.cssselect("table.backups tbody tr")) == len(evidence["drills"])
    assert page.cssselect("table.controls") and page.cssselect("svg.strip") and page.cssselect("svg.trend")
    summary = (EXAMPLE / "summary.md").read_text("utf-8")
    assert f"{broken['target']} / {broken['copy']}" in summary and failed["remedy"] in summary


def test_all_files_of_a_run_are_there_and_nothing_else() -> None:
    assert {path.name for path in EXAMPLE.iterdir()} == {"evidence.json", "junit.xml", *FILES}


def test_it_names_no_place_of_the_machine_that_made_it() -> None:
    for path in EXAMPLE.iterdir():
        places = set(re.findall(r"(?<![\w:/])/(?:home|root|tmp|work|Users)/[^\s\"<]*", path.read_text("utf-8")))
        assert not places, path
