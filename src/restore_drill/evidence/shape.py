"""Whether a document that comes from elsewhere has the shape of evidence, as far as readers rely on it.

The part of JSON Schema that the form's own schema uses, so that reading needs no library: a test holds that it uses no
more. Unknown keys are no fault: a later release may write more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from restore_drill.evidence.reading import schema

#: Keywords that say something of a value, and those that only describe.
CHECKED = frozenset({
    "$ref", "const", "enum", "items", "maxItems", "minItems", "minLength", "minimum", "oneOf", "pattern", "properties",
    "required", "type",
})  # fmt: skip
DESCRIBING = frozenset({"$defs", "$id", "$schema", "additionalProperties", "description", "title"})
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip


def fault(document: Any) -> str:
    """The first thing that is not as evidence should be, such as ``run.selection is missing``; ``""`` when all is."""
    return next(_faults(document, schema(), ""), "")


def _faults(value: Any, rules: Mapping[str, Any], at: str) -> Iterator[str]:
    if "$ref" in rules:
        yield from _faults(value, schema()["$defs"][rules["$ref"].rpartition("/")[2]], at)
    kinds = rules.get("type", ())
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{at or 'it'} is not of the type {kinds if isinstance(kinds, str) else ' or '.join(kinds)}"
        return
    if _is_other(value, rules):
        yield f"{at or 'it'} has a value that does not exist"
    choices = rules.get("oneOf")
    if choices and sum(next(_faults(value, each, at), None) is None for each in choices) != 1:
        yield f"{at or 'it'} is none of what it may be, or more than one"
    if isinstance(value, dict):
        yield from (f"{_below(at, name)} is missing" for name in rules.get("required", ()) if name not in value)
        more = rules.get("additionalProperties")
        for name, each in value.items():
            known = rules.get("properties", {}).get(name, more if isinstance(more, dict) else {})
            yield from _faults(each, known, _below(at, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _faults(each, rules.get("items", {}), f"{at}[{number}]")


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _is_other(value: Any, rules: Mapping[str, Any]) -> bool:
    if "const" in rules and value != rules["const"]:
        return True
    if "enum" in rules and value not in rules["enum"]:
        return True
    if isinstance(value, str):
        return len(value) < rules.get("minLength", 0) or not re.search(rules.get("pattern", ""), value)
    if isinstance(value, list):
        return not rules.get("minItems", 0) <= len(value) <= rules.get("maxItems", len(value))
    if isinstance(value, int | float) and "minimum" in rules:
        return bool(value < rules["minimum"])
    return False


def _below(at: str, name: str) -> str:
    return f"{at}.{name[:80]}" if at else name[:80]
