"""OSCAL assessment results: valid by the official model, honest about what a drill shows, the same every time."""

from __future__ import annotations

import argparse
import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.evidence import WHEN, document, history
from trestle.common import const
from trestle.core import parser
from trestle.core.validator_factory import validator_factory
from trestle.oscal.assessment_results import AssessmentResults, Model

from restore_drill.controls.loading import built_in, load_frameworks
from restore_drill.policy.population import Population
from restore_drill.reporting.oscal import VERSION, oscal_controls, render

EVERY_VALIDATOR = validator_factory.get(argparse.Namespace(mode=const.VAL_MODE_ALL, quiet=True))
BAD = {"orders-db/nas/rows/orders": "failed", "orders-db//agree": "failed"}
EXCEPTION = {"id": "EX-1", "target": "orders-db", "case": "integrity", "expires": "2027-03-31"}


@dataclass(frozen=True)
class Entry:
    """What a ledger's entry has."""

    sequence: int
    kind: str = "run"
    evidence: dict[str, Any] = field(default_factory=dict)
    review: dict[str, Any] = field(default_factory=dict)
    key_id: str = ""
    ledger: str = "1f"
    digest: str = "ab" * 32


def rendered(*entries: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render(entries, **{"frameworks": built_in(), **more}))
    return found


def results(found: dict[str, Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = found["assessment-results"]["results"]
    return listed


def refuse(found: dict[str, Any]) -> str:
    """What the official model has against a document, ``""`` for nothing."""
    try:
        model: AssessmentResults = Model.model_validate(found).assessment_results
    except ValidationError as problem:
        return str(problem)
    return "" if EVERY_VALIDATOR.model_is_valid(model, True, None) else EVERY_VALIDATOR.error_msg()


def everything() -> dict[str, Any]:
    """A period with a failure, its retest, an exception, an error, a crash and a review."""
    bad = document(verdicts=BAD)
    excepted = document(WHEN + timedelta(days=1), verdicts={"orders-db/nas/integrity": "excepted"},
                        exceptions=[EXCEPTION])  # fmt: skip
    crashed = document(WHEN + timedelta(days=2), selected=[], ended="crashed", problems=["it ended without a word"])
    unknown = document(WHEN + timedelta(days=4), verdicts={"orders-db/nas/located": "error"}, scope="partial")
    runs = [bad, excepted, crashed, unknown]
    entries: list[Any] = [Entry(number, evidence=each, key_id="c0ffee") for number, each in enumerate(runs, 1)]
    review = {"run": bad["run"]["id"], "reviewer": "an auditor", "evidence": "cd" * 32, "comment": "seen"}
    entries.append(Entry(5, kind="review", review=review))
    until = WHEN + timedelta(days=6)
    return rendered(*entries, population=Population.of(runs, now=until, since=WHEN, until=until))


# --- the official model -----------------------------------------------------------------------------------------------


def test_a_period_is_valid_by_the_official_model() -> None:
    found = everything()
    assert refuse(found) == ""
    assert found["assessment-results"]["metadata"]["oscal-version"] == VERSION
    assert parser.root_key(found) == "assessment-results"


def test_runs_without_drills_and_many_of_them_are_valid() -> None:
    assert refuse(rendered(document(selected=[], ended="refused", problems=["no key"]))) == ""
    assert refuse(rendered(*history(60, targets=5, faults=0.2))) == ""
    with pytest.raises(ValueError, match="at least one run"):
        rendered()


def test_what_is_not_known_is_left_out() -> None:
    made = document(verdicts=BAD)
    for part in (*made["drills"], *made["population"]):
        for name in ("owner", "started", "finished", "seconds", "snapshot", "isolation", "disposal"):
            part.pop(name, None)
        part.pop("achieved", None) and part.update(achieved={})
    for name in ("tools", "ci", "machine", "concurrency"):
        del made["run"][name]
    found = rendered(made)
    assert refuse(found) == ""
    nas = results(found)[0]["observations"][0]
    assert nas["collected"] == made["run"]["finished"] and nas["description"].startswith("No snapshot was drilled")


def _of(part: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda found: change(results(found)[0][part][0])


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no plan": lambda found: found["assessment-results"].pop("import-ap"),
    "no uuid": lambda found: found["assessment-results"].update(uuid="1234"),
    "no time": lambda found: found["assessment-results"]["metadata"].update({"last-modified": "yesterday"}),
    "an unknown field": lambda found: found["assessment-results"]["metadata"].update(compliant="yes"),
    "no controls": lambda found: results(found)[0].pop("reviewed-controls"),
    "a uuid twice": lambda found: results(found)[1].update(uuid=results(found)[0]["uuid"]),
    "a role that is not there": lambda found: found["assessment-results"]["metadata"].pop("roles"),
    "no zone": lambda found: results(found)[0].update(start="2026-11-23 02:00"),
    "no methods": _of("observations", lambda each: each.pop("methods")),
    "not collected": _of("observations", lambda each: each.pop("collected")),
    "a property's name": _of("observations", lambda each: each["props"][0].update(name="3-2-1")),
    "a property's value": _of("observations", lambda each: each["props"][0].update(value=" ")),
    "an empty list": _of("observations", lambda each: each.update(subjects=[])),
    "a title of two lines": _of("observations", lambda each: each.update(title="two\nlines")),
    "no statement": _of("risks", lambda each: each.pop("statement")),
    "a state": _of("findings", lambda each: each["target"]["status"].update(state="compliant")),
    "a target": _of("findings", lambda each: each["target"].update(type="control")),
}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return everything()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_document_is_refused(damage: str, whole: dict[str, Any]) -> None:
    damaged = copy.deepcopy(whole)
    DAMAGES[damage](damaged)
    assert refuse(damaged) != ""


def test_what_is_referred_to_is_there() -> None:
    found = everything()["assessment-results"]
    defined = set(_values(found, "uuid"))
    assert len(defined) == len(list(_values(found, "uuid")))
    for key in ("observation-uuid", "risk-uuid", "subject-uuid", "actor-uuid", "component-uuid", "party-uuids"):
        referred = {uuid for value in _values(found, key) for uuid in (value if isinstance(value, list) else [value])}
        assert referred and referred <= defined, key
    links = {value for value in _values(found, "href") if value.startswith("#")}
    assert links and {link.removeprefix("#") for link in links} <= defined


def _values(part: Any, key: str) -> Iterator[Any]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(part, list):
        for each in part:
            yield from _values(each, key)


# --- what is said, and what is not ------------------------------------------------------------------------------------


def _told(part: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in part.get("props", [])}


def test_a_drill_that_passed_is_an_observation_and_no_finding() -> None:
    (result,) = results(rendered(document()))
    assert "findings" not in result and "risks" not in result
    nas = result["observations"][0]
    assert (nas["title"], nas["methods"], nas["collected"]) == (
        "orders-db/nas: passed", ["TEST"], "2026-11-23T02:00:10.000Z",
    )  # fmt: skip
    told = _told(nas)
    assert (told["verdict"], told["scope"], told["rto-seconds"]) == ("passed", "whole", "42.5")
    assert "restores" in told["cases-passed"] and "cases-failed" not in told
    supported = [each["value"] for each in nas["props"] if each["name"] == "supports"]
    assert "cis-v8.1: 11.5" in supported and any(each.startswith("nist-800-53r5: ") for each in supported)
    assert result["observations"][2]["methods"] == ["EXAMINE"], "cases across copies look at stores"


def test_a_failure_is_a_finding_of_the_controls_whose_test_it_was() -> None:
    (result,) = results(rendered(document(verdicts={"orders-db/nas/rows/orders": "failed"})))
    assert [each["target"]["target-id"] for each in result["findings"]] == ["cp-9.1_smt"]
    assert result["findings"][0]["target"]["status"]["state"] == "not-satisfied"
    (risk,) = result["risks"]
    assert (risk["title"], risk["status"]) == ("orders-db/nas: rows", "open")
    assert risk["remediations"][0]["description"] == "Check the backup job."
    assert result["findings"][0]["related-risks"] == [{"risk-uuid": risk["uuid"]}]


def test_what_blocked_a_restore_contradicts_the_controls_that_ask_for_one() -> None:
    (result,) = results(rendered(document(verdicts={"orders-db/nas/checksum": "failed"})))
    assert {each["target"]["target-id"] for each in result["findings"]} == {
        "cp-4_smt", "cp-9_smt", "cp-9.1_smt", "cp-9.2_smt", "cp-10_smt", "cp-10.4_smt",
    }  # fmt: skip
    assert result["risks"][0]["title"] == "orders-db/nas: checksum", "one cause, one failure"


@pytest.mark.parametrize(
    "made",
    [
        document(verdicts={"orders-db/nas/located": "error"}),
        document(verdicts={"orders-db/nas/rows/orders": "failed"}, scope="partial"),
    ],
)
def test_what_is_not_known_or_ran_in_part_is_no_finding(made: dict[str, Any]) -> None:
    (result,) = results(rendered(made))
    assert "findings" not in result
    assert not any(each["name"] == "supports" for each in result["observations"][0]["props"])


def test_no_control_is_ever_said_to_be_satisfied() -> None:
    text = json.dumps([everything(), rendered(*history(100, faults=0.1))])
    assert set(re.findall(r'"state": "([\w-]+)"', text)) == {"not-satisfied", "operational"}
    assert not re.search("complian", text, re.IGNORECASE)


def test_a_failure_that_a_later_drill_answered_is_closed_and_others_are_not() -> None:
    bad = document(verdicts={"orders-db/nas/rows/orders": "failed"})
    later = WHEN + timedelta(days=1)
    first, _ = results(rendered(bad, document(later)))
    assert first["risks"][0]["status"] == "closed"
    assert document(later)["run"]["id"] in first["risks"][0]["risk-log"]["entries"][0]["title"]
    named = document(later)
    for drill in named["drills"]:
        drill["why"] = {"rule": "named"}
    for other in (
        named,
        document(later, scope="partial"),
        document(later, selected=["orders-db/offsite"]),
        document(later, verdicts={"orders-db/nas/located": "error"}),
        document(later, verdicts={"orders-db/nas/rows/orders": "excepted"}),
    ):
        assert results(rendered(bad, other))[0]["risks"][0]["status"] == "open"


def test_a_failure_of_a_part_or_across_copies_is_answered_by_the_same_alone() -> None:
    part = document(verdicts={"orders-db/nas/rows/orders": "failed"}, scope="partial", selected=["orders-db/nas"])
    across = document(WHEN + timedelta(hours=1), verdicts={"orders-db//agree": "failed"})
    one = document(WHEN + timedelta(days=1), selected=["orders-db/nas", "orders-db/offsite"])
    both = document(WHEN + timedelta(days=2))

    def states(*made: dict[str, Any]) -> list[str]:
        return [risk["status"] for result in results(rendered(*made)) for risk in result.get("risks", [])]

    assert states(part) == ["open"] and states(part, one) == ["closed"]
    assert states(across, one) == ["open"] and states(across, both) == ["closed"]


def test_an_exception_is_a_deviation_until_it_expires() -> None:
    made = document(verdicts={"orders-db/nas/integrity": "excepted"}, exceptions=[EXCEPTION])
    (risk,) = results(rendered(made))[0]["risks"]
    assert (risk["status"], risk["deadline"]) == ("deviation-approved", "2027-03-31T23:59:59Z")
    both = document(verdicts={"orders-db/nas/integrity": "excepted", "orders-db/nas/rpo": "failed"},
                    exceptions=[EXCEPTION])  # fmt: skip
    assert results(rendered(both))[0]["risks"][0]["status"] == "open"


def test_the_ledger_the_review_and_the_population_are_named() -> None:
    found = everything()
    first, *_, period = results(found)
    told = _told(first)
    assert (told["ledger-entry"], told["ledger-key"], told["ended"]) == ("1", "c0ffee", "complete")
    assert _told(first["observations"][0]["relevant-evidence"][0])["ledger-entry-sha256"] == "ab" * 32
    assert "an auditor" in first["attestations"][0]["parts"][0]["prose"]
    assert _told(period["observations"][0])["missed"] != "0"
    assert "orders-db/nas" in period["observations"][0]["description"]
    unsigned = results(rendered(Entry(1, evidence=document())))[0]
    assert _told(unsigned)["ledger-key"] == "unsigned"


def test_the_same_records_give_the_same_document() -> None:
    frameworks = load_frameworks(only=["dora"])
    made = list(history(40, targets=4, faults=0.2))
    one, other = (render(made, frameworks=frameworks) for _ in range(2))
    assert one == other
    assert len(oscal_controls(frameworks)) == 6, "OSCAL names NIST's controls, whichever frameworks are reported"


def test_what_comes_from_outside_is_text_and_not_markup() -> None:
    made = document(verdicts={"orders-db/nas/rows/orders": "failed"})
    case = next(each for each in made["drills"][0]["cases"] if each["verdict"] == "failed")
    case["message"] = "<script>alert(1)</script> {{ insert: param, x }} *bold*\n[a](http://x)"
    made["problems"], made["run"]["operator"]["user"] = ["a\nb"], " two\nlines "
    found = rendered(made)
    assert refuse(found) == ""
    assert (
        "\\<script\\>alert(1)\\</script\\> \\{\\{ insert: param, x \\}\\} \\*bold\\*"
        in (results(found)[0]["risks"][0]["description"])
    )
