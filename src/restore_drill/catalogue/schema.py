"""The catalogue's JSON Schema (draft 2020-12), for editors: ``python -m restore_drill.catalogue.schema``.

It says what a single file can say of itself; references, contradictions and what other files bring are the loader's.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

from restore_drill.catalogue.models import CatalogueModel

Schema = dict[str, Any]

#: What a target may leave to the defaults although it must be said somewhere.
LEFT_TO_DEFAULTS = ("tier", "engine", "copies")
_INCLUDABLE = ("targets", "tiers", "stores", "exceptions")
_NOT_INHERITED = ("newest_record", "newest_file")


def json_schema() -> Schema:
    """The schema of a catalogue; ``#/$defs/Included`` is that of an included file."""
    schema = CatalogueModel.model_json_schema()
    definitions: Schema = schema["$defs"]
    _tidy(schema)
    definitions.update(_partial_target(definitions))
    schema["properties"]["defaults"] = {
        "$ref": "#/$defs/PartialTarget",
        "description": schema["properties"]["defaults"]["description"],
        "examples": schema["properties"]["defaults"]["examples"],
    }
    definitions["Included"] = {
        "title": "A file named under include",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: copy.deepcopy(schema["properties"][name]) for name in _INCLUDABLE},
    }
    definitions["TargetModel"].pop("required")
    for name in ("TargetModel", "Expect"):
        _allow_taking_back(definitions[name]["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:pytest-restore-drill:catalogue:1",
        **schema,
        "title": "restore-drill catalogue",
        "description": "What is backed up, where, and what must hold of it once restored.",
        "allOf": [_required_unless_default(name) for name in LEFT_TO_DEFAULTS],
        "$defs": definitions,
    }


def _tidy(node: Any, *, is_property: bool = False) -> None:
    """Remove what only makes it longer, and close what pydantic leaves open."""
    if isinstance(node, list):
        for each in node:
            _tidy(each)
    if not isinstance(node, dict):
        return
    if is_property:
        node.pop("title", None)
    if node.get("default", "") is None or isinstance(node.get("default"), dict):
        del node["default"]  # nothing, or the defaults of another definition over again
    if "patternProperties" in node:
        node.pop("propertyNames", None)
        node["additionalProperties"] = False
    if "off" in node.get("enum", ()):
        node["enum"] = [*node["enum"], False]  # what YAML 1.1 reads in the word
        node.pop("type", None)
    for key, value in node.items():
        if key in ("properties", "patternProperties", "$defs"):
            for inner in value.values():
                _tidy(inner, is_property=key == "properties")
        elif key not in ("examples", "default", "enum", "const"):
            _tidy(value)


def _partial_target(definitions: Schema) -> Schema:
    """A target of which everything may be left out: what ``defaults`` holds."""
    target, expect, each = (copy.deepcopy(definitions[name]) for name in ("TargetModel", "Expect", "CopyModel"))
    for definition in (target, each):
        definition.pop("required")
    for name in _NOT_INHERITED:
        expect["properties"].pop(name)
    target["properties"]["expect"]["$ref"] = "#/$defs/PartialExpect"
    target["properties"]["copies"].pop("minProperties")
    for reference in target["properties"]["copies"]["patternProperties"].values():
        reference["$ref"] = "#/$defs/PartialCopy"
    partial = {"PartialTarget": target, "PartialExpect": expect, "PartialCopy": each}
    return {name: {**definition, "title": name} for name, definition in partial.items()}


def _allow_taking_back(properties: Schema) -> None:
    """Let ``null`` stand where it may take back a default."""
    for name, option in properties.items():
        if name in LEFT_TO_DEFAULTS or {"type": "null"} in option.get("anyOf", ()):
            continue
        described = {key: option.pop(key) for key in ("description", "examples", "default") if key in option}
        properties[name] = {**described, "anyOf": [option, {"type": "null"}]}


def _required_unless_default(name: str) -> Schema:
    return {
        "if": {"properties": {"defaults": {"required": [name]}}, "required": ["defaults"]},
        "else": {"properties": {"targets": {"additionalProperties": {"required": [name]}}}},
    }


def schema_text() -> str:
    """The schema as it is published in ``docs/catalogue.schema.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
