"""Path patterns: where a copy keeps its snapshots, and how a name carries the time.

``sqlite/{time:%Y%m%d_%H%M%S}_orders.db.gz`` matches one object a snapshot. Fields: ``{time:FORMAT}`` (strftime
directives, may stand more than once: ``{time:%Y/%m/%d}/{time:%H%M}``), ``{kind:full=F|incremental=I}``,
``{seq}`` (a number), ``{any}`` (anything without a slash). Everything else is literal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cached_property, lru_cache
from typing import Any

from restore_drill.model import Kind

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip

#: strftime directive → the regular expression of what it writes (C locale).
_DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"(?:0[1-9]|1[0-2])", "d": r"(?:0[1-9]|[12]\d|3[01])", "j": r"\d{3}",
    "H": r"(?:[01]\d|2[0-4])", "I": r"(?:0[1-9]|1[0-2])", "p": r"[AaPp][Mm]", "M": r"[0-5]\d", "S": r"[0-6]\d",
    "f": r"\d{1,6}", "s": r"\d{9,11}", "z": r"(?:Z|[+-]\d{2}:?\d{2})", "Z": r"(?:UTC|GMT|Z)",
    "b": "(?i:" + "|".join(_MONTHS) + ")", "B": "(?i:" + "|".join(_LONG_MONTHS) + ")",
    "G": r"\d{4}", "V": r"\d{2}", "u": r"[1-7]",
}  # fmt: skip
_SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M"}
_FIELD = re.compile(r"\{(?P<name>[a-z]+)(?::(?P<argument>[^{}]*))?\}")
_RESOLUTION = (
    ("f", timedelta(microseconds=1)), ("sS", timedelta(seconds=1)), ("M", timedelta(minutes=1)),
    ("HI", timedelta(hours=1)), ("dju", timedelta(days=1)), ("V", timedelta(days=7)), ("mbB", timedelta(days=31)),
    ("YyG", timedelta(days=366)),
)  # fmt: skip


class PatternError(ValueError):
    """A pattern that cannot be used, with the reason and a suggestion."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a name says: the instant it claims, its kind and its number in a chain."""

    taken_at: datetime
    ambiguous: bool = False
    kind: Kind = Kind.FULL
    sequence: int | None = None


@dataclass(frozen=True)
class PathPattern:
    """A compiled pattern.

    Args:
        text: The pattern as the catalogue has it.
        zone: The time zone of times that carry no offset.

    Raises:
        PatternError: On a field or directive that does not exist, or one that is missing.
    """

    text: str
    zone: tzinfo | None = None

    def __post_init__(self) -> None:
        _parse(self.text)  # the validation; the regular expression is compiled by whoever matches

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again: a plan of a thousand copies travels to every worker."""
        return {"text": self.text, "zone": self.zone}

    @property
    def prefix(self) -> str:
        """The literal beginning: what a listing can be limited to."""
        return self.text.split("{", 1)[0]

    @property
    def is_directory(self) -> bool:
        """Whether a snapshot is a directory (the pattern ends with a slash)."""
        return self.text.endswith("/")

    @property
    def has_time(self) -> bool:
        """Whether the name carries a time."""
        return bool(self.directives)

    @property
    def has_offset(self) -> bool:
        """Whether the name says which instant it means without a time zone from elsewhere."""
        return not self.directives.isdisjoint("zZs")

    @property
    def directives(self) -> frozenset[str]:
        """The letters of the strftime directives in it."""
        return frozenset(_parse(self.text)[1].values())

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds its names tell apart; empty when they say nothing of it."""
        return frozenset(_parse(self.text)[2].values())

    @cached_property
    def resolution(self) -> timedelta:
        """The length of time that one name stands for."""
        used = self.directives
        return next((length for letters, length in _RESOLUTION if used & set(letters)), timedelta(days=366))

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], dict[str, str], dict[str, Kind]]:
        expression, directives, kinds = _parse(self.text)
        return re.compile(expression), directives, kinds

    def match(self, name: str, near: float | None = None) -> Match | None:
        """Read the name of an object or directory.

        Args:
            name: The key relative to the store.
            near: When the object was written (seconds since the epoch): decides which of two instants a
                local time in the double hour means.

        Returns:
            What the name says, or ``None`` when it is not a snapshot of this copy.
        """
        expression, directives, kinds = self._compiled
        found = expression.fullmatch(name)
        if found is None:
            return None
        values: dict[str, str] = {}
        for group, directive in directives.items():
            if values.setdefault(directive, found[group]) != found[group]:
                return None
        groups = found.groupdict()
        sequence = int(groups["seq"]) if groups.get("seq") else None
        kind = kinds.get(groups.get("kind") or "", Kind.FULL)
        if not directives:
            return Match(datetime.fromtimestamp(0, UTC), kind=kind, sequence=sequence)
        try:
            instant, ambiguous = _instant(values, self.zone, near)
        except ValueError:
            return None
        return Match(instant, ambiguous, kind, sequence)

    def format(self, when: datetime) -> str:
        """Write the name that a snapshot of this instant would have (kind full, no other fields)."""
        local = when.astimezone(self.zone or UTC)

        def render(field: re.Match[str]) -> str:
            return local.strftime(field["argument"] or "") if field["name"] == "time" else field[0]

        return _FIELD.sub(render, self.text)


@lru_cache(maxsize=32768)
def _parse(text: str) -> tuple[str, dict[str, str], dict[str, Kind]]:
    """The regular expression of a pattern, the directive of each of its time groups, and the words for kinds."""
    directives: dict[str, str] = {}
    kinds: dict[str, Kind] = {}
    expression, position = "", 0
    for field in _FIELD.finditer(text):
        expression += _literal(text[position : field.start()], text)
        expression += _field(field, directives, kinds)
        position = field.end()
    expression += _literal(text[position:], text)
    if text.startswith("/") or "//" in text or ".." in text.split("/"):
        raise PatternError(f"{text!r} must be relative to the store's url, without empty parts or '..'")
    if expression.count("(?P<seq>") > 1:
        raise PatternError("{seq} may stand once")
    return expression, directives, kinds


def _literal(part: str, text: str) -> str:
    if "{" in part or "}" in part:
        raise PatternError(f"{text!r} has a stray brace; fields are {{time:...}}, {{kind:...}}, {{seq}} and {{any}}")
    return re.escape(part)


def _field(field: re.Match[str], directives: dict[str, str], kinds: dict[str, Kind]) -> str:
    name, argument = field["name"], field["argument"]
    if name == "time":
        return _time_field(argument or "", directives)
    if name == "kind":
        return _kind_field(argument or "", kinds)
    if name == "seq":
        return r"(?P<seq>\d{1,12})"
    if name == "any":
        return r"[^/]+"
    raise PatternError(f"unknown field {{{name}}}; fields are {{time:...}}, {{kind:...}}, {{seq}} and {{any}}")


def _time_field(form: str, directives: dict[str, str]) -> str:
    for short, long in _SHORTHANDS.items():
        form = form.replace(short, long)
    if "%" not in form:
        raise PatternError("{time} needs a format: {time:%Y%m%d_%H%M%S}")
    expression, position = "", 0
    for found in re.finditer(r"%(.?)", form):
        expression += re.escape(form[position : found.start()])
        position = found.end()
        if found[1] == "%":
            expression += "%"
            continue
        if found[1] not in _DIRECTIVES:
            known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            raise PatternError(f"unknown time directive %{found[1]}; known are {known}")
        group = f"t{len(directives)}"
        directives[group] = found[1]
        expression += f"(?P<{group}>{_DIRECTIVES[found[1]]})"
    return expression + re.escape(form[position:])


def _kind_field(argument: str, kinds: dict[str, Kind]) -> str:
    if kinds:
        raise PatternError("{kind} may stand once")
    for pair in argument.split("|"):
        name, _, word = pair.partition("=")
        if name not in set(Kind):
            raise PatternError(f"{{kind:...}} maps {', '.join(Kind)} to the words in your names: full=F|incremental=I")
        kinds[word or name] = Kind(name)
    return "(?P<kind>" + "|".join(re.escape(word) for word in kinds) + ")"


def _instant(values: dict[str, str], zone: tzinfo | None, near: float | None) -> tuple[datetime, bool]:
    if "s" in values:
        return datetime.fromtimestamp(int(values["s"]), UTC), False
    naive = _naive(values)
    if "Z" in values:
        return naive.replace(tzinfo=UTC), False
    if "z" in values:
        return naive.replace(tzinfo=_offset(values["z"])).astimezone(UTC), False
    return _localise(naive, zone or UTC, near)


def _naive(values: dict[str, str]) -> datetime:
    number: Callable[[str, int], int] = lambda letter, default: int(values.get(letter, default))  # noqa: E731
    year = number("Y", 0) or (2000 + number("y", 0) if "y" in values else 0)
    month = number("m", 1)
    for letter, names in (("b", _MONTHS), ("B", _LONG_MONTHS)):
        if letter in values:
            month = names.index(values[letter].lower()) + 1
    hour = number("H", 0)
    if "I" in values:
        hour = number("I", 12) % 12 + (12 if values.get("p", "am").lower() == "pm" else 0)
    if "G" in values and "V" in values:
        day = datetime.fromisocalendar(number("G", 0), number("V", 1), number("u", 1))
    elif "j" in values:
        day = datetime(year, 1, 1) + timedelta(days=number("j", 1) - 1)
    else:
        day = datetime(year, month, number("d", 1))
    if hour == 24:  # some tools write midnight so
        day, hour = day + timedelta(days=1), 0
    fraction = int(values["f"].ljust(6, "0")) if "f" in values else 0
    return day.replace(hour=hour, minute=number("M", 0), second=min(number("S", 0), 59), microsecond=fraction)


def _offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    delta = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-delta if text[0] == "-" else delta)


def _localise(naive: datetime, zone: tzinfo, near: float | None) -> tuple[datetime, bool]:
    """Turn a local time into an instant; of the two in a double hour take the last one that ``near`` allows."""
    first, second = (naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if second <= first:  # no double hour (in a spring gap the order is reversed): the first reading stands
        return first, False
    return (second if near is not None and second.timestamp() <= near + 1 else first), True
