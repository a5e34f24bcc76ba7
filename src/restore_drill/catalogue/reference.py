"""The table of all options in ``docs/catalogue.md``, made from the JSON Schema.

``python -m restore_drill.catalogue.reference docs/catalogue.md`` writes it between the page's two markers.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from restore_drill.catalogue import fields
from restore_drill.catalogue.decrypting import options_of
from restore_drill.catalogue.schema import LEFT_TO_DEFAULTS, Schema, json_schema
from restore_drill.quantities import format_duration
from restore_drill.registry import BUILT_IN, load

BEGIN = "<!-- reference: begin (made by python -m restore_drill.catalogue.reference) -->"
END = "<!-- reference: end -->"

#: Where each definition of the schema stands in a catalogue, in the order of the page.
SECTIONS = {
    "Tier": "tiers.NAME",
    "StoreModel": "stores.NAME",
    "StateModel": "state",
    "LedgerModel": "ledger",
    "ControlsModel": "controls",
    "TargetModel": "targets.NAME",
    "CopyModel": "copies.NAME",
    "ChecksumRule": "checksum",
    "SandboxModel": "sandbox",
    "SignatureRule": "checksum.signature",
    "RetentionRule": "retention",
    "ExpiryRule": "expiry",
    "Hold": "holds",
    "SizeRule": "size",
    "Live": "live",
    "UnpackLimits": "limits",
    "Deadlines": "deadlines",
    "Expect": "expect",
    "StructureRule": "expect.structure",
    "RowRules": "expect.rows",
    "RowRule": "expect.rows.TABLE",
    "QueryRule": "expect.queries",
    "NewestRecord": "expect.newest_record",
    "NewestFile": "expect.newest_file",
    "FileRules": "expect.files",
    "SmokeRule": "expect.smoke",
    "HttpProbe": "expect.smoke.http",
    "RunbookModel": "runbook",
    "Stub": "runbook.stubs",
    "SetModel": "sets.NAME",
    "SetQuery": "sets.NAME.queries",
    "Question": "sets.NAME.queries.ask",
    "SetApplication": "sets.NAME.application",
    "Login": "sets.NAME.application.logins",
    "ApprovedException": "exceptions",
    "BreakGlassModel": "break_glass",
    "EscrowModel": "break_glass.targets.NAME",
    "AlertChannel": "alerts.NAME",
    "Ping": "pings.TIER",
    "PricesModel": "prices",
    "StorePricesModel": "prices.stores.NAME",
}
_SCALARS = {
    "duration": fields.Duration, "size": fields.Size, "percentage": fields.Percentage, "name": fields.Slug,
    "time zone": fields.TimeZone, "words": fields.Phrase, "date": fields.Day,
}  # fmt: skip


@cache
def _scalars() -> dict[str, str]:
    """The catalogue's own scalar types by their pattern."""
    return {TypeAdapter(annotation).json_schema()["pattern"]: name for name, annotation in _SCALARS.items()}


def reference() -> str:
    """Every option of the catalogue: a table for each of its parts, in Markdown."""
    schema = json_schema()
    parts = [("the file", schema), *((where, schema["$defs"][name]) for name, where in SECTIONS.items())]
    sections = (line for where, part in parts for line in _section(where, part))
    return "\n".join((*sections, *_formats()))


def insert(page: str) -> str:
    """A page with the table between its markers brought up to date.

    Raises:
        ValueError: The page lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _section(where: str, part: Schema) -> Iterator[str]:
    forms = part.get("anyOf", [part])
    form = next(each for each in forms if "properties" in each)
    short = " or ".join(_form(each) for each in forms if each is not form)
    yield f"### {where}\n"
    yield f"{part['description'].replace('``', '`')}{f' Short form: {short}.' if short else ''}\n"
    yield "| option | type | default | meaning | example |"
    yield "|---|---|---|---|---|"
    required = LEFT_TO_DEFAULTS if where == SECTIONS["TargetModel"] else form.get("required", ())
    options = sorted(form["properties"].items(), key=lambda option: option[0] not in required)
    for name, option in options:
        default = "**required**" if name in required else _default(option)
        example = _code(option["examples"][0])
        yield f"| `{name}` | {_type(option)} | {default} | {_cell(option['description'])} | {example} |"
    yield ""


def _formats() -> Iterator[str]:
    """What formats want to be told beside their keys."""
    for codec in BUILT_IN["codecs"]:
        options = options_of(codec)
        if not options:
            continue
        keys = ", ".join(f"`{key}`" for key in load("codecs", codec).keys)
        yield f"### decrypt.{codec}\n"
        yield f"What its bytes do not tell, beside its secrets ({keys}).\n"
        yield "| option | type | default | meaning | example |"
        yield "|---|---|---|---|---|"
        for name, option in options.items():
            number = f"whole number {option.least} to {option.most}"
            kind = " / ".join(_code(word) for word in option.choices) or number
            default = "**required**" if option.default is None else _code(option.default)
            yield f"| `{name}` | {kind} | {default} | {_cell(option.description)} | {_code(option.example)} |"
        yield ""


def _default(option: Schema) -> str:
    value = option.get("default")
    if value is None or value == []:
        return ""
    if isinstance(value, str) and re.fullmatch(r"PT?\d+[A-Z]+", value):
        return _code(format_duration(TypeAdapter(timedelta).validate_python(value)))
    return _code(value)


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace('"', "")
    return f"`{_cell(text if len(text) <= 72 else text[:70] + '…')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(option: Schema) -> str:
    written: list[Schema] = option.get("anyOf") or option.get("oneOf") or [option]
    forms = [form for form in written if form.get("type") != "null"]
    if any(form.get("pattern", "").startswith("^((env|file)") for form in forms):
        return "secret"
    return " or ".join(dict.fromkeys(_form(form) for form in forms))


def _form(form: Schema) -> str:
    if "$ref" in form:
        return _link(form["$ref"].rpartition("/")[2])
    if "anyOf" in form or "oneOf" in form:
        return _type(form)
    if "enum" in form or "const" in form:
        words: list[Any] = form.get("enum") or [form.get("const")]
        return " / ".join(_code(word) for word in words if word is not False or len(words) == 1)
    if form.get("pattern") in _scalars():
        return _scalars()[form["pattern"]]
    if form.get("type") == "array":
        return f"list of {_type(form['items'])}"
    return _mapping(form) if form.get("type") == "object" else _plain(form)


def _link(name: str) -> str:
    where = {**SECTIONS, "PartialTarget": SECTIONS["TargetModel"]}.get(name)
    return f"[{where}](#{where.replace('.', '').lower()})" if where else "anything"


def _mapping(form: Schema) -> str:
    if {"command", "sops"} & form.get("properties", {}).keys():
        return "secret"
    inner = [*form.get("patternProperties", {}).values(), form.get("additionalProperties")]
    return f"{{name: {next((_type(each) for each in inner if isinstance(each, dict)), 'anything')}}}"


def _plain(form: Schema) -> str:
    kind = form.get("type", "")
    if kind == "integer":
        low, high = form.get("minimum"), form.get("maximum")
        return "whole number" + (f" {low} to {high}" if high is not None else f" from {low}" if low else "")
    names = {"boolean": "`true` / `false`", "string": "text", "number": "number"}
    kinds = kind if isinstance(kind, list) else [kind]
    return " or ".join(names[each] for each in kinds if each in names) or "anything"


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(insert(page.read_text("utf-8")), "utf-8")
