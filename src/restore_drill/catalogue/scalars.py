"""Plain YAML scalars: what they are, and which of them two readers would take for two things.

PyYAML speaks YAML 1.1, editors and most other tools YAML 1.2. A word that both read alike is taken as that; one that
only YAML 1.1 takes for a truth value or a date is read as such, and whoever wanted text there says so. A number that
the two read differently (``012``, ``1:30``, ``1_000``, ``1e3``) is a problem wherever it stands.

Sources: https://yaml.org/type/ (1.1), https://yaml.org/spec/1.2.2/#103-core-schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

_TRUTH = {
    word: value
    for value, words in ((True, ("yes", "true", "on")), (False, ("no", "false", "off")))
    for each in words
    for word in (each, each.capitalize(), each.upper())
}
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
#: Only scalars that begin so can be anything but text.
_SUSPECTS = frozenset("0123456789+-.~yYnNtTfFoO")

_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
    r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?\Z"
)

_OCTAL = re.compile(r"[-+]?0[0-7_]+\Z")
_SIXTIES = re.compile(r"[-+]?(?:[1-9][0-9_]*(?::[0-5]?[0-9])+|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)\Z")
_OLD_NUMBER = re.compile(
    r"(?:[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?)"
    r"|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)\Z"
)
_NEW_NUMBER = re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|[-+]?[0-9]+)\Z")


@dataclass(frozen=True, slots=True)
class Instant:
    """A date with a time of day, which nothing in a catalogue is."""

    text: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A scalar that two readers of YAML take for two things.

    Attributes:
        message: What they take it for.
        hint: How to write it so that they agree.
    """

    message: str
    hint: str


def read(text: str) -> Any:
    """The value of a plain scalar: text, a truth value, a number, ``None``, a date, :class:`Instant` or a doubt."""
    if text[:1] not in _SUSPECTS:
        return text or None
    if text in _TRUTH:
        return _TRUTH[text]
    if text in _NOTHING:
        return None
    return _number(text) if text[0] in "0123456789+-." else text


def _number(text: str) -> Any:
    if len(text) > 40:
        return _long(text)
    if _DECIMAL.match(text):
        return int(text)
    if _HEXADECIMAL.match(text):
        return int(text, 16)
    if _FLOAT.match(text):
        number = float(text)
        return number if abs(number) != float("inf") else _not_finite(text)
    if _NOT_FINITE.match(text):
        return _not_finite(text)
    if _DATE.match(text):
        return _date(text)
    return Instant(text) if _TIME.match(text) else _doubtful(text)


def _date(text: str) -> Any:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return Ambiguous(f"{text} is not a day of the calendar", "correct the date, or put it in quotes if it is text")


def _doubtful(text: str) -> Any:
    quotes = f"put it in quotes if it is text: '{text}'"
    if _OCTAL.match(text):
        eight = int(text.replace("_", ""), 8)
        return Ambiguous(
            f"{text} is the number {eight} in YAML 1.1 (base 8) and another one in YAML 1.2",
            f"write {text.lstrip('+-').replace('_', '').lstrip('0') or 0} or {eight} for a number; {quotes}",
        )
    if _SIXTIES.match(text):
        return Ambiguous(
            f"{text} is the number {_sixties(text):g} in YAML 1.1 (base 60) and text in YAML 1.2",
            f"give a duration its units (1h30m, 90s); {quotes}",
        )
    old, new = _OLD_NUMBER.match(text), _NEW_NUMBER.match(text)
    if not old and not new:
        return text
    one, other = ("a number", "text") if old else ("text", "a number")
    return Ambiguous(
        f"{text} is {one} in YAML 1.1 and {other} in YAML 1.2", f"write a number in plain digits; {quotes}"
    )


def _sixties(text: str) -> float:
    value = 0.0
    for part in text.lstrip("+-").replace("_", "").split(":"):
        value = value * 60 + float(part)
    return -value if text.startswith("-") else value


def _long(text: str) -> Any:
    if all(pattern.match(text) is None for pattern in (_OCTAL, _SIXTIES, _OLD_NUMBER, _NEW_NUMBER)):
        return text
    return Ambiguous("a number of more than 40 characters", "put it in quotes if it is text")


def _not_finite(text: str) -> Ambiguous:
    return Ambiguous(f"{text} is not a finite number", "write a number; put it in quotes if it is text")
