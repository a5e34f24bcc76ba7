"""What pydantic finds, said in the catalogue's own words and at the place where it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.models import CatalogueModel, TargetModel
from restore_drill.catalogue.nodes import Node
from restore_drill.catalogue.problems import shorten, suggest
from restore_drill.catalogue.scalars import Instant

#: What was wanted, by pydantic's name for the error.
_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "float_type": "a number",
    "dict_type": "a mapping (name: value)",
    "model_type": "a mapping (option: value)",
    "model_attributes_type": "a mapping (option: value)",
    "tuple_type": "a list ([one, two])",
    "list_type": "a list ([one, two])",
    "json_invalid": "plain values",
    "invalid-json-value": "plain values (text, numbers, truth values, lists, mappings)",
    "finite_number": "a finite number",
}
#: What our own validators say when quotes would mend it.
_TEXT_WOULD_DO = ("needs a name", "needs a number or text")
_KEYS = "write keys by their names: {identity: env:NAME}"
_URLS = "the url of a channel is a secret: write {url: env:NAME}"
_COMPARED = {"greater_than_equal": ("ge", "at least"), "less_than_equal": ("le", "at most")}


def explain(draft: Draft, error: ValidationError, prefix: Loc = (), *, partial: bool = False) -> None:
    """Note every error of a validation.

    Args:
        draft: Where the validated data stands.
        error: What pydantic found.
        prefix: Where the validated part stands in the catalogue.
        partial: The part need not be whole: what is missing or contradictory may be mended elsewhere.
    """
    for each in error.errors(include_url=False):
        loc: Loc = (*prefix, *each["loc"])
        kind = each["type"]
        if partial and kind in ("missing", "contradiction", "too_short"):
            continue
        if kind == "missing":
            _missing(draft, loc)
        elif kind == "extra_forbidden":
            _unknown(draft, loc)
        else:
            _wrong(draft, loc, kind, each)


def _missing(draft: Draft, loc: Loc) -> None:
    name, field = str(loc[-1]), _field(loc)
    hint = ""
    if field is not None:
        example = f", for example {name}: {_brief(field.examples[0])}" if field.examples else ""
        hint = f"{(field.description or '').removesuffix('.')}{example}"
    owner = f" in {loc[-2]!r}" if len(loc) > 1 and isinstance(loc[-2], str) else ""
    draft.report(loc[:-1], f"{name!r} is missing{owner}", hint, at_key=True)


def _unknown(draft: Draft, loc: Loc) -> None:
    name = str(loc[-1])
    known = list(_options(loc[:-1]))
    elsewhere = _elsewhere(name) if name not in known else []
    hint = suggest(name, known)
    if elsewhere and not hint.startswith("did you mean"):
        hint = f"{name!r} belongs {elsewhere[0]}"
    secret = _is_among_secrets(loc) or _is_of_alerts(loc)
    draft.report(loc, f"unknown option {name!r}", hint, at_key=True, secret=secret)


def _is_among_secrets(loc: Loc) -> bool:
    return "credentials" in loc or "decrypt" in loc


def _is_of_alerts(loc: Loc) -> bool:
    """Whether somebody may have written the url of a channel there: it is a secret as a whole."""
    return loc[:1] in (("alerts",), ("pings",))


def _holds_url(draft: Draft, loc: Loc, value: Any) -> bool:
    return _is_of_alerts(loc) and ("://" in str(value) or "://" in draft.place(loc).source_line)


def _wrong(draft: Draft, loc: Loc, kind: str, error: Mapping[str, Any]) -> None:
    if loc[-1] == "[key]":
        draft.report(loc[:-1], _sentence(error), at_key=True)
        return
    name, node = draft.name(loc), draft.node(loc)
    context = error.get("ctx", {})
    if kind == "secret":
        draft.report(loc, f"{name!r}: {context['message']}", secret=True)
    elif _is_among_secrets(loc):  # the value is not repeated: it may be the secret itself
        draft.report(loc, f"{name!r} needs {_WANTED.get(kind, 'another value')}", _KEYS, secret=True)
    elif _holds_url(draft, loc, error["input"]):
        draft.report(loc, f"{name!r} needs {_WANTED.get(kind, 'another value')}", _URLS, secret=True)
    elif kind in _WANTED:
        draft.report(loc, f"{name!r} needs {_WANTED[kind]}, not {_read(node, error['input'])}", _quoting(node, kind))
    elif kind == "literal_error":
        _choice(draft, loc, name, node, error)
    elif kind in _COMPARED:
        limit, words = _COMPARED[kind]
        draft.report(loc, f"{name!r} is {node.text}, and may be {words} {context[limit]}")
    elif kind in ("too_short", "string_too_short"):
        least = context.get("min_length", 1)
        draft.report(loc, f"{name!r} is {'empty' if least == 1 else f'shorter than {least} characters'}")
    elif kind == "string_pattern_mismatch":
        draft.report(loc, f"{name!r} must look like {context['pattern']}")
    elif kind == "contradiction":
        draft.report(loc, _sentence(error))
    else:
        sentence = _sentence(error)
        quoting = _quoting(node, kind) if sentence.startswith(_TEXT_WOULD_DO) else ""
        draft.report(loc, f"{name!r} {_joined(sentence)}{_instead(node, sentence)}", quoting)


def _sentence(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    if "message" in context:
        return str(context["message"])
    return str(context["error"]) if "error" in context else str(error["msg"])


def _joined(sentence: str) -> str:
    return sentence if sentence.startswith("needs ") else f"cannot be used: {sentence}"


def _instead(node: Node, sentence: str) -> str:
    """What was read, where a unit or another type was needed."""
    if not sentence.startswith("needs ") or node.children is not None:
        return ""
    return f", not {_read(node, node.value)}"


def _read(node: Node, value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value that YAML reads in {node.text or value}"
    if isinstance(value, date | Instant):
        return f"the {'date' if isinstance(value, date) else 'time'} that YAML reads in {node.text or value}"
    if isinstance(value, int | float):
        return f"the number {node.text or value}"
    return f"the text {shorten(str(value))}"


def _quoting(node: Node, kind: str) -> str:
    wanted_text = kind in ("string_type", "value_error", "invalid-json-value")
    if wanted_text and node.plain and node.text and not isinstance(node.value, str):
        return f"put it in quotes: '{node.text}'"
    if kind in ("tuple_type", "list_type") and node.children is None and node.text:
        return f"put it in brackets: [{node.text}]"
    if kind in ("int_type", "bool_type", "float_type") and not node.plain and node.text:
        return f"write it without quotes: {node.text}"
    if node.plain and not node.text:
        return "write a value, or remove the key"
    return ""


def _choice(draft: Draft, loc: Loc, name: str, node: Node, error: Mapping[str, Any]) -> None:
    field = _field(loc)
    words = [str(word) for word in _literals(field.annotation if field else None)]
    expected = error.get("ctx", {}).get("expected", ", ".join(words))
    hint = suggest(node.text, words) if node.text and isinstance(error["input"], str) and words else ""
    if name == "version":
        hint = "write version: 1; this program reads no other format"
    elif not hint.startswith("did you mean"):
        hint = _quoting(node, "string_type")
    read = node.value if node.children is None else error["input"]
    draft.report(loc, f"{name!r} may be {expected}, not {_read(node, read)}", hint)


def _literals(annotation: Any) -> list[Any]:
    """The words of a ``Literal``, however it is wrapped."""
    found: list[Any] = []
    for argument in get_args(annotation):
        found += _literals(argument) if get_args(argument) else [argument] if isinstance(argument, str | int) else []
    return found


def _brief(example: Any) -> str:
    text = str(example) if not isinstance(example, str) or example.isalnum() else f"'{example}'"
    return text if len(text) < 70 else f"{text[:68]}…"


def _forms(annotation: Any) -> Iterator[Any]:
    """The members of a union, without what annotates them."""
    if get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _forms(member)
    elif get_origin(annotation) is Annotated:
        yield from _forms(get_args(annotation)[0])
    else:
        yield annotation


def _inside(form: Any, part: str | int) -> Iterator[Any]:
    """What a path's next part leads to: an option's type, a collection's member."""
    if isinstance(form, type) and issubclass(form, BaseModel):
        field = _named(form).get(str(part))
        yield from _forms(field.annotation) if field else [form]  # a validator's own name leads nowhere
    elif get_origin(form) is dict:
        yield from _forms(get_args(form)[1])
    elif get_origin(form) is tuple:
        yield from _forms(get_args(form)[0])


@cache
def _named(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_at(loc: Loc) -> list[type[BaseModel]]:
    forms: list[Any] = [CatalogueModel]
    if loc[:1] == ("defaults",):
        forms, loc = [TargetModel], loc[1:]
    for part in loc:
        forms = [inner for form in forms for inner in _inside(form, part)]
    return [form for form in forms if isinstance(form, type) and issubclass(form, BaseModel)]


def _options(loc: Loc) -> list[str]:
    return [name for model in _models_at(loc) for name in _named(model)]


def _field(loc: Loc) -> FieldInfo | None:
    return next((_named(model)[str(loc[-1])] for model in _models_at(loc[:-1]) if loc[-1] in _named(model)), None)


@cache
def _elsewhere(name: str) -> list[str]:
    """Where an option belongs that somebody wrote in another place."""
    return [where for option, where in _everything(CatalogueModel, "at the top") if option == name]


def _everything(model: type[BaseModel], where: str) -> Iterator[tuple[str, str]]:
    inner = []
    for name, field in _named(model).items():
        yield name, where
        inner += [(found, f"under {name}") for found in _models_in(field.annotation)]
    for found, below in inner:
        yield from _everything(found, below)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
