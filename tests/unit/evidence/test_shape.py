"""The shape of evidence is judged as JSON Schema judges it, keyword by keyword."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from tests.support.evidence import document

from restore_drill.evidence.reading import schema
from restore_drill.evidence.shape import CHECKED, DESCRIBING, fault


def keywords(rules: Any) -> Iterator[str]:
    """Keywords wherever a schema stands; names of properties and definitions are none."""
    for keyword, value in rules.items():
        yield keyword
        if keyword in ("properties", "$defs"):
            for each in value.values():
                yield from keywords(each)
        elif keyword in ("items", "additionalProperties") and isinstance(value, dict):
            yield from keywords(value)
        elif keyword == "oneOf":
            for each in value:
                yield from keywords(each)


def test_the_schema_uses_nothing_that_is_not_known_here() -> None:
    assert set(keywords(schema())) <= CHECKED | DESCRIBING


def test_evidence_has_no_fault() -> None:
    assert fault(document(targets=3, verdicts={"db-000/nas/unpacks": "failed"})) == ""


def change(found: dict[str, Any], *path: Any, to: Any) -> None:
    for part in path[:-1]:
        found = found[part]
    found[path[-1]] = to


@pytest.mark.parametrize(
    ("said", "damage"),
    [
        ("run is missing", lambda found: found.pop("run")),
        ("run.selection is missing", lambda found: found["run"].pop("selection")),
        ("drills is not of the type array", lambda found: change(found, "drills", to={})),
        ("drills[0].cases[0].verdict has", lambda found: change(found, "drills", 0, "cases", 0, "verdict", to="good")),
        ("drills[0].target is not of", lambda found: change(found, "drills", 0, "target", to=None)),
        ("counts.passed is not of", lambda found: change(found, "counts", "passed", to=True)),
        ("counts.passed has a value", lambda found: change(found, "counts", "passed", to=-1)),
        ("run.started has a value", lambda found: change(found, "run", "started", to="yesterday")),
        ("run.id has a value", lambda found: change(found, "run", "id", to="")),
        ("form has a value", lambda found: change(found, "form", to="another")),
        ("drills[0].stages[0] is none of", lambda found: found["drills"][0]["stages"][0].pop("stage")),
        ("drills[0].stages[3].check has", lambda found: change(found, "drills", 0, "stages", 3, "check", to=["rows"])),
        ("run.tools.python is not of", lambda found: change(found, "run", "tools", "python", to=3)),
    ],
)  # fmt: skip
def test_a_fault_is_named_where_json_schema_finds_one(said: str, damage: Callable[[dict[str, Any]], Any]) -> None:
    found = copy.deepcopy(document())
    jsonschema.validate(found, schema())
    damage(found)
    assert fault(found).startswith(said)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema())


@pytest.mark.parametrize("other", [None, [], "x", 1])
def test_what_is_no_object_has_a_fault(other: Any) -> None:
    assert fault(other) == "it is not of the type object"
