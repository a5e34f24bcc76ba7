"""Path patterns: where a copy keeps its snapshots, and how a name carries the time.

``sqlite/{time:%Y%m%d_%H%M%S}_orders.db.gz`` matches one object a snapshot. Fields: ``{time:FORMAT}`` (strftime
directives, may stand more than once: ``{time:%Y/%m/%d}/{time:%H%M}``), ``{kind:full=F|incremental=I}``,
``{seq}`` (a number), ``{any}`` (anything without a slash). Everything else is literal.

Two fields stand for names that carry no time, or only a share of a snapshot:

* ``{rotation}`` is the number that logrotate, rsnapshot and savelog count up when a new backup comes: the lowest is the
  newest. ``{rotation:.}`` is the same with a dot before it, and absent in the newest: ``orders.db{rotation:.}.gz``.
* ``{part}`` is what split(1) and volume writers append: ``aa``, ``ab`` …, ``00``, ``01`` … or ``001`` … All parts of
  one name are one stream, in that order. ``{part:aa}``, ``{part:00}``, ``{part:001}`` say how the first is numbered.
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
    "H": r"(?:[01]\d|2[0-4])", "I": r"(?:0[1-9]|1[0-2])", "p": r"[AaPp][Mm]", "M": r"[0-5]\d", "S": r"(?:[0-5]\d|60)",
    "f": r"\d{1,6}", "s": r"\d{9,11}", "z": r"(?:Z|[+-]\d{2}:?[0-5]\d)", "Z": r"(?:UTC|GMT|Z)",
    "b": "(?i:" + "|".join(_MONTHS) + ")", "B": "(?i:" + "|".join(_LONG_MONTHS) + ")",
    "G": r"\d{4}", "V": r"\d{2}", "u": r"[1-7]",
}  # fmt: skip
_SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M"}
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_FIELD = re.compile(r"\{(?P<name>[a-z]+)(?::(?P<argument>[^{}]*))?\}")
_RESOLUTION = (
    ("f", timedelta(microseconds=1)), ("sS", timedelta(seconds=1)), ("M", timedelta(minutes=1)),
    ("HI", timedelta(hours=1)), ("dju", timedelta(days=1)), ("V", timedelta(days=7)), ("mbB", timedelta(days=31)),
    ("YyG", timedelta(days=366)),
)  # fmt: skip


#: A directive means nothing without one of each of these groups beside it; with a hint what to write.
_NEEDS = {
    "V": (("G",), "the year of a week is not the calendar's: write %G-W%V"),
    "u": (("V",), "a day of the week needs its week: write %G-W%V-%u"),
    "G": (("V",), "it is the year of a week: write %Y, or %G-W%V"),
    "I": (("p",), "twelve hours could be of the morning or the evening: write %H, or %I%p"),
    "p": (("I",), "it belongs to the hours of a twelve-hour clock: write %I%p"),
    "d": (("mbB",), "a day needs its month"),
    "H": (("dju",), "an hour needs its day"),
    "M": (("HI",), "a minute needs its hour"),
    "S": (("M",), "a second needs its minute"),
    "f": (("Ss",), "a fraction needs its second"),
}


#: What split(1) and its relatives write: letters or digits. It widens them by a ``z`` or a ``9`` in front: zaaa, 9000.
_ANY_PART = r"[a-z]{2}|z[a-z]{3,7}|\d{1,6}"
#: What joins a part to the name that the whole stream would have.
_JOINT = re.compile(r"[._-]*(?:part|split|chunk|vol|volume)?[._-]*\Z", re.I)
_FIELDS = "{time:...}, {kind:...}, {seq}, {rotation}, {part} and {any}"


class PatternError(ValueError):
    """A pattern that cannot be used, with the reason and a suggestion."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a name says: the instant it claims, its kind and its number in a chain.

    Attributes:
        rotation: Its number among rotations, 0 or higher (-1 without a number), lowest for the newest; ``None`` where
            names are not rotated.
        part: Which share of the snapshot it is, as it is written; ``""`` where it is the whole.
        joined: The name that all its parts together would have.
    """

    taken_at: datetime
    ambiguous: bool = False
    kind: Kind = Kind.FULL
    sequence: int | None = None
    rotation: int | None = None
    part: str = ""
    joined: str = ""


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
    def is_rotated(self) -> bool:
        """Whether names are numbered anew with every backup."""
        return "(?P<rotation>" in _parse(self.text)[0]

    @property
    def is_split(self) -> bool:
        """Whether a snapshot lies in several parts."""
        return "(?P<part>" in _parse(self.text)[0]

    @property
    def first_parts(self) -> tuple[str, ...]:
        """How the first part may be numbered; of digits, with any number of zeros in front."""
        stated = next((field["argument"] for field in _FIELD.finditer(self.text) if field["name"] == "part"), None)
        return (stated,) if stated else ("aa", "0", "1")

    @cached_property
    def folder(self) -> PathPattern | None:
        """The directory that snapshots lie in, where its name says a time; ``None`` where it does not."""
        directory = self.text.rstrip("/").rpartition("/")[0]
        folder = PathPattern(f"{directory}/", self.zone) if directory else None
        return folder if folder and folder.has_time else None

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
    def _ends(self) -> tuple[str, str]:
        """The literal beginning and end, which are compared; what is between them many patterns have in common."""
        start, end = _between(self.text)
        return self.text[:start], self.text[end:]

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], dict[str, str], dict[str, Kind]]:
        start, end = _between(self.text)
        return _compile(self.text[start:end])

    @cached_property
    def _says_a_date_twice(self) -> bool:
        """Whether parts of a date can contradict each other, or a number can lie beyond the year's days."""
        used = self.directives
        return bool(used & set("jGV")) or len(used & set("mbB")) > 1 or len(used & set("Yy")) > 1

    def match(self, name: str, near: float | None = None) -> Match | None:
        """Read the name of an object or directory.

        Args:
            name: The key relative to the store.
            near: When the object was written (seconds since the epoch): decides which of two instants a
                local time in the double hour means.

        Returns:
            What the name says, or ``None`` when it is not a snapshot of this copy.
        """
        first, last = self._ends
        if not (name.startswith(first) and name.endswith(last)):
            return None
        expression, directives, kinds = self._compiled
        found = expression.fullmatch(name, len(first), len(name) - len(last))
        if found is None:
            return None
        values: dict[str, str] = {}
        for group, directive in directives.items():
            if values.setdefault(directive, found[group]) != found[group]:
                return None
        groups = found.groupdict()
        sequence = int(groups["seq"]) if groups.get("seq") else None
        kind = kinds.get(groups.get("kind") or "", Kind.FULL)
        rotation = int(groups["rotation"] or -1) if "rotation" in groups else None
        part = groups.get("part") or ""
        joined = name[: found.start("part") - self._joint] + name[found.end("part") :] if part else ""
        if not directives:
            return Match(datetime.fromtimestamp(0, UTC), False, kind, sequence, rotation, part, joined)
        try:
            instant, ambiguous = _instant(values, self.zone, near, strict=self._says_a_date_twice)
        except ValueError:
            return None
        return Match(instant, ambiguous, kind, sequence, rotation, part, joined)

    @cached_property
    def _joint(self) -> int:
        """How many characters before the number of a part belong to it: ``.part-``, ``.``."""
        name = self._beside_part[0].rpartition("/")[2]
        found = _JOINT.search(name.rpartition("}")[2])
        return len(found[0]) if found and found[0] != name else 0

    @property
    def _beside_part(self) -> tuple[str, str]:
        """The pattern before and after its field for parts."""
        found = next(field for field in _FIELD.finditer(self.text) if field["name"] == "part")
        return self.text[: found.start()], self.text[found.end() :]

    def around_part(self, joined: str) -> tuple[str, str]:
        """What the keys of all parts of a snapshot begin and end with, given the key that it would have as a whole."""
        before, after = self._beside_part
        return joined.removesuffix(after) + before[len(before) - self._joint :], after

    def format(self, when: datetime) -> str:
        """Write the name that a snapshot of this instant would have: its kind is full, other fields stay."""
        local = when.astimezone(UTC if "Z" in self.directives else self.zone or UTC)
        words = {kind: word for word, kind in _parse(self.text)[2].items()}

        def render(field: re.Match[str]) -> str:
            if field["name"] == "kind":
                return words.get(Kind.FULL, field[0])
            return _format_time(field["argument"] or "", local) if field["name"] == "time" else field[0]

        return _FIELD.sub(render, self.text)


def _between(text: str) -> tuple[int, int]:
    """Where the first field of a pattern begins and the last one ends."""
    fields = list(_FIELD.finditer(text))
    return (fields[0].start(), fields[-1].end()) if fields else (len(text), len(text))


@lru_cache(maxsize=4096)
def _compile(text: str) -> tuple[re.Pattern[str], dict[str, str], dict[str, Kind]]:
    directives: dict[str, str] = {}
    kinds: dict[str, Kind] = {}
    return re.compile(_expression(text, directives, kinds), re.ASCII), directives, kinds


@lru_cache(maxsize=32768)
def _parse(text: str) -> tuple[str, dict[str, str], dict[str, Kind]]:
    """The regular expression of a pattern, the directive of each of its time groups, and the words for kinds."""
    directives: dict[str, str] = {}
    kinds: dict[str, Kind] = {}
    expression = _expression(text, directives, kinds)
    if text.startswith("/") or "//" in text or not {".", ".."}.isdisjoint(text.split("/")):
        raise PatternError(f"{text!r} must be relative to the store's url, without empty parts, '.' or '..'")
    for once in ("seq", "rotation", "part"):
        if expression.count(f"(?P<{once}>") > 1:
            raise PatternError(f"{{{once}}} may stand once")
    if "(?P<part>" in expression:
        _check_part(text)
    _check_directives(set(directives.values()))
    return expression, directives, kinds


def _expression(text: str, directives: dict[str, str], kinds: dict[str, Kind]) -> str:
    expression, position = "", 0
    for field in _FIELD.finditer(text):
        expression += _literal(text[position : field.start()], text)
        expression += _field(field, directives, kinds)
        position = field.end()
    return expression + _literal(text[position:], text)


def _check_part(text: str) -> None:
    *_, last = _FIELD.finditer(text)
    if last["name"] != "part" or "/" in text[last.end() :]:
        raise PatternError("{part} stands after every other field, in the last part of the path")
    if text[: last.start()].lower().endswith(".z") and not text[last.end() :]:
        raise PatternError("the volumes of a split zip (.z01, .z02, .zip) cannot be read: store it as one file")


def _check_directives(used: set[str]) -> None:
    if used.isdisjoint("YyG"):
        return  # seconds since the epoch need nothing else, and that a year is missing the catalogue says
    for letter, (groups, hint) in _NEEDS.items():
        if letter in used and any(used.isdisjoint(group) for group in groups):
            raise PatternError(f"%{letter} says too little here: {hint}")


def _literal(part: str, text: str) -> str:
    if "{" in part or "}" in part:
        raise PatternError(f"{text!r} has a stray brace; fields are {_FIELDS}")
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
    if name == "rotation":
        return r"(?P<rotation>\d{1,5})" if not argument else rf"(?:{re.escape(argument)}(?P<rotation>\d{{1,5}}))?"
    if name == "part":
        return _part_field(argument or "")
    raise PatternError(f"unknown field {{{name}}}; fields are {_FIELDS}")


def _time_field(form: str, directives: dict[str, str]) -> str:
    if "%" not in form:
        raise PatternError("{time} needs a format: {time:%Y%m%d_%H%M%S}")
    form = _DIRECTIVE.sub(lambda found: _SHORTHANDS.get(found[0], found[0]), form)
    expression, position = "", 0
    for found in _DIRECTIVE.finditer(form):
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
        is_followed = found[1] == "s" and form.startswith("%f", found.end())  # 1764806400123: ten are seconds
        digits = r"\d{10}" if is_followed else _DIRECTIVES[found[1]]
        expression += f"(?P<{group}>{digits})"
    return expression + re.escape(form[position:])


def _format_time(form: str, local: datetime) -> str:
    """What strftime writes in the C locale; its own ``%s`` would forget the zone, and its months follow the locale."""
    ours = {
        "%s": str(int(local.timestamp())),
        "%b": _MONTHS[local.month - 1].title(),
        "%B": _LONG_MONTHS[local.month - 1].title(),
        "%p": "AM" if local.hour < 12 else "PM",
        "%Y": f"{local.year:04d}",
    }
    return _DIRECTIVE.sub(lambda found: ours[found[0]] if found[0] in ours else local.strftime(found[0]), form)


def _kind_field(argument: str, kinds: dict[str, Kind]) -> str:
    if kinds:
        raise PatternError("{kind} may stand once")
    for pair in argument.split("|"):
        name, equals, word = pair.partition("=")
        if name not in set(Kind):
            raise PatternError(f"{{kind:...}} maps {', '.join(Kind)} to the words in your names: full=F|incremental=I")
        word = word if equals else name
        if kinds.setdefault(word, Kind(name)) != name:
            raise PatternError(f"{{kind:...}} has the word {word!r} for both {kinds[word]} and {name}")
    return "(?P<kind>" + "|".join(re.escape(word) for word in kinds) + ")"


def _part_field(first: str) -> str:
    """Parts numbered like the first one that is stated; wider ones match, too, so that they can be refused."""
    if not first:
        return rf"(?P<part>{_ANY_PART})"
    if set(first) == {"a"}:
        return rf"(?P<part>[a-z]{{{len(first)}}}|z[a-z]{{{len(first) + 1},7}})"
    if first.isascii() and first.isdigit() and int(first) <= 1:
        return r"(?P<part>\d{1,6})"
    raise PatternError(f"{{part:{first}}} must be what the first part has: aa, 00, 000, 1 or 001")


def _instant(values: dict[str, str], zone: tzinfo | None, near: float | None, *, strict: bool) -> tuple[datetime, bool]:
    if "s" in values:
        return datetime.fromtimestamp(int(values["s"]), UTC) + _fraction(values), False
    naive = _naive(values, strict=strict)
    if "Z" in values:
        return naive.replace(tzinfo=UTC), False
    if "z" in values:
        return naive.replace(tzinfo=_offset(values["z"])).astimezone(UTC), False
    return _localise(naive, zone or UTC, near)


def _naive(values: dict[str, str], *, strict: bool) -> datetime:
    number: Callable[[str, int], int] = lambda letter, default: int(values.get(letter, default))  # noqa: E731
    hour = number("H", 0)
    if "I" in values:
        hour = number("I", 12) % 12 + (12 if values.get("p", "am").lower() == "pm" else 0)
    day = _day(values, number)
    if strict and not _agree(values, day):
        raise ValueError("the parts of the date contradict each other")
    if hour == 24:  # some tools write midnight so
        if number("M", 0) or number("S", 0):
            raise ValueError("the day has ended")
        day, hour = day + timedelta(days=1), 0
    # A leap second is read as the one before it.
    return day.replace(hour=hour, minute=number("M", 0), second=min(number("S", 0), 59)) + _fraction(values)


def _day(values: dict[str, str], number: Callable[[str, int], int]) -> datetime:
    if "G" in values:
        return datetime.fromisocalendar(number("G", 0), number("V", 1), number("u", 1))
    year = number("Y", 0) or (_century(number("y", 0)) if "y" in values else 0)
    if "j" in values:
        return datetime(year, 1, 1) + timedelta(days=number("j", 1) - 1)
    return datetime(year, _month(values, number), number("d", 1))


def _month(values: dict[str, str], number: Callable[[str, int], int]) -> int:
    for letter, names in (("b", _MONTHS), ("B", _LONG_MONTHS)):
        if letter in values:
            return names.index(values[letter].lower()) + 1
    return number("m", 1)


def _century(year: int) -> int:
    """The year that two digits mean (POSIX, strptime: 69 to 99 are of the twentieth century)."""
    return year + (1900 if year >= 69 else 2000)


def _fraction(values: dict[str, str]) -> timedelta:
    return timedelta(microseconds=int(values["f"].ljust(6, "0"))) if "f" in values else timedelta(0)


def _agree(values: dict[str, str], day: datetime) -> bool:
    """Whether a day has every part that the name gives of its date."""
    iso = day.isocalendar()
    parts = {
        "Y": day.year, "y": day.year % 100, "m": day.month, "d": day.day, "j": day.timetuple().tm_yday,
        "G": iso.year, "V": iso.week, "u": iso.weekday,
    }  # fmt: skip
    months = {"b": _MONTHS[day.month - 1], "B": _LONG_MONTHS[day.month - 1]}
    return all(
        int(value) == parts[letter] if letter in parts else months.get(letter, value.lower()) == value.lower()
        for letter, value in values.items()
    )


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
