"""What parts of the catalogue have in common: short forms."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from restore_drill.catalogue.fields import Worded
from restore_drill.catalogue.places import StateModel
from restore_drill.catalogue.runbook import Stub
from restore_drill.catalogue.sets import Login

SHORT: list[tuple[type[Worded], str, str]] = [
    (StateModel, "url", "file:state"),
    (Login, "user", "shop"),
    (Stub, "command", "systemctl"),
]


@pytest.mark.parametrize(("model", "field", "word"), SHORT)
def test_a_text_alone_is_the_one_field(model: type[Worded], field: str, word: str) -> None:
    assert model.model_validate(word) == model.model_validate({field: word})
    assert getattr(model.model_validate(word), field) == word


@pytest.mark.parametrize(("model", "field", "word"), SHORT)
@pytest.mark.parametrize("value", [5, [], None, ""])
def test_nothing_but_a_text_that_says_something_is_short_for_it(
    model: type[Worded], field: str, word: str, value: Any
) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(value)
    with pytest.raises(ValidationError):
        model.model_validate({field: word, "no such key": value})


@pytest.mark.parametrize(("model", "field", "word"), SHORT)
def test_editors_are_told_of_both_forms(model: type[Worded], field: str, word: str) -> None:
    short, whole = TypeAdapter(model).json_schema()["anyOf"]
    assert short == {"type": "string", "minLength": 1}
    assert field in whole["required"] and word not in whole["required"]
