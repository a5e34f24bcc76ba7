"""ctrf.json: valid by the format's own schema, and honest to programs that go by ``failed`` alone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from tests.support import published
from tests.support.evidence import Target, document

from restore_drill.reporting import ctrf

HOSTILE = 'a"b\\c\n</script> \u202e\x1b[31m é \ud83d'.encode("utf-8", "replace").decode()


@pytest.fixture(scope="module")
def schema(require_program: Callable[[str], str]) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(
        published.ctrf(require_program), format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )


def mixed() -> dict[str, Any]:
    return document(
        targets=["orders-db", Target("wiki", "important", owner=HOSTILE, copies=("nas", HOSTILE))],
        verdicts={
            "orders-db/nas/unpacks": "failed", "orders-db/offsite/rows/orders": "excepted", "wiki/nas/located": "error",
            "wiki//agree": "failed",
        },
        exceptions=[{"id": "EX-1", "target": "orders-db", "case": "rows"}],
    )  # fmt: skip


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    read = json.loads(ctrf.render(found))["results"]["tests"]
    assert len({test["id"] for test in read}) == len(read) == len({test["name"] for test in read})
    return {test["name"]: test for test in read}


@pytest.mark.parametrize(
    "found",
    [mixed(), document(targets=2), document(targets=2, selected=[], ended="crashed", problems=["it died"])],
    ids=["mixed", "good", "crashed"],
)
def test_it_is_valid_by_the_official_schema(schema: jsonschema.Draft7Validator, found: dict[str, Any]) -> None:
    report = json.loads(ctrf.render(found))
    schema.validate(report)
    summary = report["results"]["summary"]
    assert (
        summary["tests"]
        == len(report["results"]["tests"])
        == sum(summary[status] for status in ("passed", "failed", "skipped", "pending", "other"))
    )
    report["results"]["tests"][0]["status"] = "error"
    assert not schema.is_valid(report), "the schema knows no word of ours"


def test_verdicts_are_told_such_that_nothing_bad_is_let_through() -> None:
    found = by_name(mixed())
    said = {name: (found[name]["status"], found[name]["rawStatus"]) for name in (
        "orders-db/nas: located", "orders-db/nas: unpacks", "orders-db/nas: restores", "orders-db/offsite: rows orders",
        "wiki/nas: located", "wiki: agree",
    )}  # fmt: skip
    assert list(said.values()) == [
        ("passed", "passed"), ("failed", "failed"), ("failed", "error"), ("other", "excepted"), ("failed", "error"),
        ("failed", "failed"),
    ]  # fmt: skip
    assert found["orders-db/nas: restores"]["tags"] == ["blocked"] and "tags" not in found["orders-db/nas: unpacks"]
    assert found["orders-db/offsite: rows orders"]["labels"]["exception"] == "EX-1"
    assert found["orders-db/nas: unpacks"]["message"] == "unpacks is broken: made by a test"
    assert found["orders-db/nas: unpacks"]["extra"]["remedy"] == "Check the backup job."


def test_every_case_is_there_once() -> None:
    found = mixed()
    counts = json.loads(ctrf.render(found))["results"]["summary"]
    assert counts["tests"] == sum(found["counts"].values())
    assert counts["failed"] == found["counts"]["failed"] + found["counts"]["error"]
    assert counts["other"] == found["counts"]["excepted"] == 1
    assert counts["extra"]["verdicts"] == found["counts"]


@pytest.mark.parametrize("problems", [[], ["it died"], ["it died", "and its store, too"]])
def test_a_run_that_went_wrong_is_never_green(problems: list[str]) -> None:
    report = json.loads(ctrf.render(document(targets=1, selected=[], ended="crashed", problems=problems)))
    assert report["results"]["summary"]["failed"] == max(1, len(problems))
    assert report["results"]["environment"]["healthy"] is False
    good = json.loads(ctrf.render(document()))
    assert good["results"]["summary"]["failed"] == 0 and good["results"]["environment"]["healthy"] is True


def test_a_shard_without_targets_is_no_failure() -> None:
    report = json.loads(ctrf.render(document(targets=1, selected=[], shard=(2, 3)) | {"verdict": "passed"}))
    assert report["results"]["summary"]["tests"] == 0 and report["results"]["environment"]["healthy"] is True


def test_seconds_are_those_of_the_stage_that_a_case_judges() -> None:
    found = by_name(document())
    said = {name: found[f"orders-db/nas: {name}"]["duration"] for name in ("located", "rpo", "fetched", "rows orders")}
    assert said == {"located": 500, "rpo": 0, "fetched": 3000, "rows orders": 500}


def test_a_case_keeps_its_id_from_run_to_run() -> None:
    one, other = by_name(document()), by_name(document(run="another"))
    assert {name: test["id"] for name, test in one.items()} == {name: test["id"] for name, test in other.items()}
    assert all(uuid.UUID(test["id"]) for test in one.values())


def test_hostile_names_are_harmless_for_a_terminal() -> None:
    text = ctrf.render(mixed())
    assert text.removesuffix("\n").isprintable()
    assert any("\\u202e\\x1b[31m" in name for name in by_name(mixed()))


@pytest.mark.parametrize(("url", "linked"), [("https://ci.example.org/1", True), ("javascript:alert(1)", False)])
def test_only_an_address_of_the_web_becomes_a_link(url: str, linked: bool) -> None:
    made = document()
    made["run"]["ci"]["url"] = url
    assert (json.loads(ctrf.render(made))["results"]["environment"].get("buildUrl") == url) is linked
