"""The catalogue's own scalar types: durations, sizes, percentages, slugs, secrets, time zones, dates, templates.

Each is written as text with its unit, and each has a pattern for editors in the JSON Schema. A validator raises
``ValueError`` for a value that is wrong by itself and :func:`contradiction` for values that exclude each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from restore_drill.patterns import PathPattern
from restore_drill.quantities import format_duration, parse_duration, parse_percentage, parse_size
from restore_drill.secrets import SecretReference, parse_reference

SLUG = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
_SLUG = re.compile(SLUG.removesuffix("$") + r"\Z")
#: What stands for the artifact's name in sidecars, parts and completion markers.
TEMPLATE_FIELDS = ("name", "stem")
_TEMPLATE_FIELD = re.compile(r"\{([^{}]*)\}?|\}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")

T = TypeVar("T")


class Part(BaseModel):
    """Base of everything in the catalogue: frozen, strict, no unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )


def contradiction(message: str) -> PydanticCustomError:
    """The error for values that are right by themselves and wrong together."""
    return PydanticCustomError("contradiction", "{message}", {"message": message})


def with_short_form(schema: CoreSchema, handler: GetJsonSchemaHandler, *short: JsonSchemaValue) -> JsonSchemaValue:
    """Say in the JSON Schema that a mapping may also be written in a short form, which a before-validator reads."""
    reference = handler(schema)
    written = handler.resolve_ref_schema(reference)
    whole = dict(written)
    written.clear()
    for key in ("title", "description"):
        if key in whole:
            written[key] = whole.pop(key)
    written["anyOf"] = [*short, whole]
    return reference


class Worded(Part):
    """A mapping that may also be written as the text of one of its fields."""

    in_a_word: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _in_a_word(cls, value: Any) -> Any:
        return {cls.in_a_word: value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The text alone is enough."""
        return with_short_form(schema, handler, {"type": "string", "minLength": 1})


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError("needs a number with a unit, such as 15m, 1h30m or 1 week")


def _size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    raise ValueError("needs a number with a unit, such as 500 MB or 10 GiB")


def _percentage(value: Any) -> float:
    if isinstance(value, str):
        return parse_percentage(value)
    raise ValueError("needs a percentage, such as 5%")


def _number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError("needs a number")


def _answer(value: Any) -> int | float | str | None:
    if value is None or (isinstance(value, int | float | str) and not isinstance(value, bool)):
        return value
    raise ValueError("needs a number or text")


def _zone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as problem:
        raise ValueError(
            f"{value!r} is not a time zone of the IANA database, such as Europe/Berlin or UTC"
        ) from problem


def _secret(value: Any, info: ValidationInfo) -> SecretReference:
    base: Path = (info.context or {}).get("base", Path.cwd())
    if isinstance(value, SecretReference):
        return value
    if isinstance(value, dict) and set(value) == {"command"} and _is_argv(value["command"]):
        return SecretReference("command", "\0".join(value["command"]))
    try:
        if isinstance(value, dict) and "sops" in value and set(value) <= {"sops", "identity"}:
            return _in_sops(value, info, base)
        return parse_reference(value if isinstance(value, str) else "", base)
    except ValueError as problem:
        # A type of its own: whoever reports it must show neither the value nor the line it stands on.
        raise PydanticCustomError("secret", "{message}", {"message": str(problem)}) from problem


def _in_sops(value: dict[str, Any], info: ValidationInfo, base: Path) -> SecretReference:
    identity = _secret(value["identity"], info) if "identity" in value else None
    if identity is not None and identity.kind == "sops":
        raise ValueError("the identity that opens a file of SOPS cannot stand in one")
    return SecretReference.in_sops(value["sops"] if isinstance(value["sops"], str) else "", base, identity)


@dataclass(frozen=True, slots=True)
class Plain:
    """A value that stands where secrets do and is none, as whoever declared it says."""

    value: Any


def _given(value: Any, info: ValidationInfo) -> SecretReference | str | int | bool:
    if isinstance(value, Plain):
        return value.value  # type: ignore[no-any-return]  # judged where its format is known
    return _secret(value, info)


def _is_argv(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) and "\0" not in part for part in value)


def _endpoint(value: Any, info: ValidationInfo) -> str | SecretReference:
    if isinstance(value, str) and not value.startswith(("env:", "file:", "sops:")):
        return value
    return _secret(value, info)


def is_slug(value: str) -> bool:
    """Whether a text may be a name."""
    return _SLUG.match(value) is not None


def _slug(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("needs a name")  # noqa: TRY004 - pydantic collects ValueErrors
    if not is_slug(value):
        raise ValueError(f"{value!r} is not usable as a name: letters, digits, '-', '_' and '.', at most 63, no spaces")
    return value


def phrase_slug(value: str) -> str:
    """The name that a few words stand for."""
    return "-".join(value.split())


def _phrase(value: Any) -> str:
    return _slug(phrase_slug(value) if isinstance(value, str) else value)


def _day(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DAY.match(value):
        return date.fromisoformat(value)
    raise ValueError("needs a date, such as 2027-03-31")


def _off(value: Any) -> Any:
    # YAML 1.1 reads the word off as false, and where it is a choice both mean the same.
    return "off" if value is False else value


def _pattern(value: str) -> str:
    PathPattern(value)
    return value


def _template(value: str) -> str:
    for field in _TEMPLATE_FIELD.findall(value):
        if field not in TEMPLATE_FIELDS:
            raise ValueError(f"{value!r}: {{name}} and {{stem}} are the only fields here")
    return _relative(value)


def _relative(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} must be relative and must not contain '..'")
    return value


def _text_schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Duration = Annotated[
    timedelta,
    PlainValidator(_duration),
    PlainSerializer(format_duration),
    _text_schema(r"^\s*(<=|<|≤)?\s*(P|\d)[0-9A-Za-z. ]*$", "1h30m"),
]
Size = Annotated[int, PlainValidator(_size), _text_schema(r"^\s*\d+(\.\d+)?\s*([kKmMgGtTpP][iI]?)?[bB]\s*$", "10 GiB")]
Percentage = Annotated[float, PlainValidator(_percentage), _text_schema(r"^\s*\d+(\.\d+)?\s*%\s*$", "5%")]
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Answer = Annotated[
    int | float | str | None, PlainValidator(_answer), WithJsonSchema({"type": ["number", "string", "null"]})
]
TimeZone = Annotated[ZoneInfo, PlainValidator(_zone), PlainSerializer(str), _text_schema(r"^[A-Za-z0-9_+/-]+$", "UTC")]
Slug = Annotated[str, PlainValidator(_slug), _text_schema(SLUG, "orders-db")]
#: A name that may be written as words.
Phrase = Annotated[
    str, PlainValidator(_phrase), _text_schema(r"^\s*[A-Za-z0-9][A-Za-z0-9_.\s-]*$", "every item has an order")
]
#: What a case is called of which a target or a set has several.
CaseName = Annotated[Phrase, Field(description="Name in reports and node ids, where hyphens stand for its spaces.")]
Day = Annotated[
    date,
    PlainValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "pattern": r"^\d{4}-\d\d-\d\d$"}),
]
#: Text that says something.
Text = Annotated[str, Field(min_length=1)]
#: A list as YAML writes it; a tuple once read.
Many = Annotated[tuple[T, ...], Field(strict=False)]
#: Whatever a plug-in understands, as JSON could carry it.
Options = dict[str, JsonValue]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]
RelativeName = Annotated[str, Field(min_length=1), AfterValidator(_relative)]
#: For a choice of words of which one is ``off``.
OffIsAWord = BeforeValidator(_off)

_REFERENCE = {"type": "string", "pattern": "^((env|file):.+|sops:.+#.+)$"}
_COMMAND = {
    "type": "object",
    "properties": {"command": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
    "required": ["command"],
    "additionalProperties": False,
}
_IN_SOPS = {
    "type": "object",
    "properties": {
        "sops": {"type": "string", "pattern": "^.+#.+$"},
        "identity": {"anyOf": [{"type": "string", "pattern": "^(env|file):.+$"}, _COMMAND]},
    },
    "required": ["sops"],
    "additionalProperties": False,
}
_SECRET_EXAMPLES = [
    "env:ORDERS_AGE_KEY", "file:/run/secrets/age.key", "sops:secrets.yaml#orders.identity",
    {"sops": "secrets.yaml#orders.identity", "identity": "env:MY_IDENTITY"}, {"command": ["vault", "kv", "get", "age"]},
]  # fmt: skip
Secret = Annotated[
    SecretReference,
    PlainValidator(_secret),
    PlainSerializer(str),
    WithJsonSchema({"anyOf": [_REFERENCE, _COMMAND, _IN_SOPS], "examples": _SECRET_EXAMPLES}),
]
#: A secret, or what a validator before it marked as :class:`Plain`.
GivenValue = Annotated[
    SecretReference | str | int | bool,
    PlainValidator(_given),
    PlainSerializer(lambda value: str(value) if isinstance(value, SecretReference) else value),
    WithJsonSchema({"anyOf": [_REFERENCE, _COMMAND, _IN_SOPS], "examples": _SECRET_EXAMPLES}),
]
#: A URL, or where it is kept when it is nobody else's business.
Endpoint = Annotated[
    str | SecretReference,
    PlainValidator(_endpoint),
    PlainSerializer(str),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^(https?://|env:|file:|sops:).+$"}, _COMMAND, _IN_SOPS]}),
]
