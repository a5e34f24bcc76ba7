"""Evidence is read in its own form only; the form is published, and documents made for tests are of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support import evidence
from tests.support.evidence import Target, document, history, validate

from restore_drill.errors import CouldNotVerify
from restore_drill.evidence.reading import FORM, load, schema

ROOT = Path(__file__).parents[3]


def test_a_document_is_read() -> None:
    made = document()
    assert load(json.dumps(made).encode()) == made


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b'{"form": "restore-drill/evidence/1"}', "it has the form 'restore-drill/evidence/1', this release knows"),
        (b'{"form": "restore-drill/evidence/3"}', FORM),
        (b'{"form": ["x"]}', "it has the form"),
        (b'{"run": {}}', "it names no form"),
        (b"[]", "it names no form"),
        (b'{"form": ', "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
    ],
)
def test_what_is_not_of_this_form_is_refused_by_name(raw: bytes, cause: str) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        load(raw, "reports/x/evidence.json")
    assert cause in caught.value.cause and caught.value.looked_at == "reports/x/evidence.json"


def test_the_published_schema_is_the_packages_own() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    published = ROOT / "docs" / "evidence.schema.json"
    shipped = ROOT / "src" / "restore_drill" / "evidence" / "schema.json"
    assert published.read_bytes() == shipped.read_bytes()
    assert schema()["properties"]["form"]["const"] == FORM == document()["form"]


def test_documents_made_for_tests_are_of_the_form() -> None:
    verdicts = {"db-000/nas/checksum": "failed", "db-001/offsite/located": "error", "db-002//agree": "failed"}
    validate(document(targets=3, verdicts=verdicts, ended="interrupted", shard=(1, 3), problems=["x"]))
    excepted = {"id": "EX-1", "target": "orders-db", "case": "rpo", "copy": "nas"}
    validate(document(selected=["orders-db/nas"], verdicts={"orders-db/nas/rpo": "excepted"}, exceptions=[excepted]))
    validate(document(targets=[Target("plain", owner="")], selected=[], ended="refused"))
    made = list(history(60, targets=3, faults=0.2))
    assert sum(len(each["drills"]) for each in made) == 60 and made == list(history(60, targets=3, faults=0.2))
    assert {"failed", "error", "passed"} <= {drill["verdict"] for each in made for drill in each["drills"]}
    assert any("retest_of" in drill for each in made for drill in each["drills"])
    for each in made:
        validate(each)


def _drill(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda made: change(made["drills"][0])


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "rows": lambda made: made.update(rows=["a row"]),
    "form": lambda made: made.update(form="restore-drill/evidence/1"),
    "population": lambda made: made.pop("population"),
    "ended": lambda made: made["run"].update(ended="fine"),
    "moment": lambda made: made["run"].update(started="2026-11-23 02:00"),
    "verdict": _drill(lambda drill: drill.update(verdict="skipped")),
    "reached": _drill(lambda drill: drill.update(reached="everything")),
    "actual": _drill(lambda drill: drill["cases"][0].update(actual={"a": "row"})),
    "details": _drill(lambda drill: drill["cases"][0].update(details=["letters/aunt.txt"])),
    "network": _drill(lambda drill: drill["isolation"].pop("network")),
    "digest": _drill(lambda drill: drill["snapshot"]["sha256"].update(key="not a digest")),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_not_of_the_form_is_noticed(what: str) -> None:
    damage, made = DAMAGES[what], copy.deepcopy(document())
    validate(made)
    damage(made)
    with pytest.raises(AssertionError):
        evidence.validate(made)
