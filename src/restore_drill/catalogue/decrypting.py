"""What stands under ``decrypt``: keys, which are secrets, and what a format declares beside them, which is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from restore_drill.catalogue.fields import SLUG, GivenValue, Plain, Slug
from restore_drill.codecs.base import Option
from restore_drill.errors import CouldNotVerify
from restore_drill.registry import BUILT_IN, load, names


def options_of(codec: str) -> Mapping[str, Option]:
    """The settings that a format declares; none where it is unknown or what it needs is not installed."""
    if codec not in names("codecs"):
        return {}
    try:
        return getattr(load("codecs", codec), "options", {})
    except CouldNotVerify:
        return {}


def _mark(value: Any) -> Any:
    """Tell settings from secrets, so that the one are not refused for what the others may not be."""
    if not isinstance(value, dict):
        return value
    return {codec: _mark_settings(codec, given) for codec, given in value.items()}


def _mark_settings(codec: Any, given: Any) -> Any:
    options = options_of(codec) if isinstance(codec, str) and isinstance(given, dict) else {}
    return {key: Plain(each) if key in options else each for key, each in given.items()} if options else given


class _Formats:
    """Adds to the JSON Schema what the formats of this package declare."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler(schema)
        declared = {name: options for name in BUILT_IN["codecs"] if (options := options_of(name))}
        (secrets,) = written["patternProperties"].values()
        written["patternProperties"] = {rf"^(?!({'|'.join(declared)})$){SLUG.removeprefix('^')}": secrets}
        written["properties"] = {
            name: {**secrets, "properties": {key: _option_schema(option) for key, option in options.items()}}
            for name, options in declared.items()
        }
        return written


def _option_schema(option: Option) -> JsonSchemaValue:
    described = {"description": option.description, "examples": [option.example]}
    if option.choices:
        return {**described, "enum": list(option.choices)}
    return {**described, "type": "integer", "minimum": option.least, "maximum": option.most}


Decrypt = Annotated[dict[Slug, dict[str, GivenValue]], BeforeValidator(_mark), _Formats()]
