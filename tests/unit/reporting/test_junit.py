"""JUnit for strict readers, and of several runs together; read by junitparser."""

from __future__ import annotations

from pathlib import Path

import junitparser
import pytest
from lxml import etree
from tests.support import published

from restore_drill.reporting import junit

#: As pytest writes it of a run with an own test that is no drill.
ORDINARY = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="5" time="1234.567"
 timestamp="2026-11-23T08:08:33.206558+00:00" hostname="drills">
<testcase classname="drills.test_snapshot" name="test_snapshot_is_located[critical/orders-db/nas]"
 file="drills/test_snapshot.py" line="5" time="0.934"><properties><property name="verdict" value="passed" />
<property name="actual" value="a &lt;b&gt; &amp; \xc3\xa9" /></properties></testcase>
<testcase classname="drills.test_snapshot" name="test_snapshot_unpacks[critical/orders-db/nas]" file="x" line="9"
 time="0.1"><properties><property name="verdict" value="failed" /></properties>
<failure message="cut &lt;off&gt;">the stream is cut</failure></testcase>
<testcase classname="drills.test_restore" name="test_snapshot_restores[critical/orders-db/nas]" time="0.0">
<properties><property name="verdict" value="error" /></properties>
<error message="blocked">blocked by unpacks</error></testcase>
<testcase classname="drills.test_content" name="test_row_count[critical/orders-db/nas/orders]" time="0.0">
<properties><property name="verdict" value="excepted" /></properties>
<skipped type="pytest.skip" message="EX-1">EX-1</skipped></testcase>
<testcase classname="drills.test_own" name="test_own" time="0.01" /></testsuite></testsuites>"""
OTHERS_FAILED = ORDINARY.replace(b'time="0.01" />', b'time="0.01"><failure message="no">no</failure></testcase>')


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    return published.jenkins_junit()


def outcomes(document: bytes) -> list[tuple[str, str]]:
    parsed = junitparser.JUnitXml.fromstring(document)
    return [
        (case.name, type(case.result[0]).__name__ if case.result else "Passed") for suite in parsed for case in suite
    ]


def test_the_ordinary_one_is_not_what_jenkins_schema_wants_and_the_strict_one_is(schema: etree.XMLSchema) -> None:
    assert not schema.validate(etree.fromstring(ORDINARY))
    schema.assertValid(etree.fromstring(junit.strict(ORDINARY)))


def test_the_strict_one_tells_the_same_outcomes() -> None:
    told = outcomes(junit.strict(ORDINARY))
    assert told == outcomes(ORDINARY)
    assert [outcome for _, outcome in told] == ["Passed", "Failure", "Error", "Skipped", "Passed"]
    assert b"property" not in junit.strict(ORDINARY)
    assert "cut <off>" in etree.fromstring(junit.strict(ORDINARY)).find(".//failure").get("message")


def test_several_are_joined_suite_by_suite(schema: etree.XMLSchema) -> None:
    joined = junit.join(
        [("shard 1 of 2", ORDINARY), ("shard 2 of 2", ORDINARY)], [], at="2026-11-23T08:08:33.206Z", host="drills"
    )
    parsed = junitparser.JUnitXml.fromstring(joined)
    assert [(suite.name, suite.tests, suite.failures, suite.errors) for suite in parsed] == [
        ("shard 1 of 2", 5, 1, 1), ("shard 2 of 2", 5, 1, 1)
    ]  # fmt: skip
    assert outcomes(joined) == 2 * outcomes(ORDINARY)
    schema.assertValid(etree.fromstring(junit.strict(joined)))


def test_a_problem_of_the_whole_is_an_error_by_name(schema: etree.XMLSchema) -> None:
    problems = ["shard 2 of 2 is missing: nothing is known of its targets"]
    joined = junit.join([("shard 1 of 2", ORDINARY)], problems, at="2026-11-23T08:08:33.206Z", host="drills")
    assert outcomes(joined)[-1] == ("shard 2 of 2 is missing", "Error")
    own = Path(__file__).parents[3] / "docs" / "junit.xsd"
    etree.XMLSchema(etree.parse(own)).assertValid(etree.fromstring(joined))
    schema.assertValid(etree.fromstring(junit.strict(joined)))


def test_failures_of_other_tests_are_told_from_those_of_drills() -> None:
    assert not junit.others_failed(ORDINARY)
    assert junit.others_failed(OTHERS_FAILED)


@pytest.mark.parametrize(
    "damaged", [b"", b"<testsuites>", b"<html/>", b'<!DOCTYPE x [<!ENTITY a "b">]><testsuites>&a;</testsuites>']
)
def test_what_is_no_junit_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="it"):
        junit.strict(damaged)
