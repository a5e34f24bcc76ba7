"""What the name of a stored object says: where it carries a time, a kind, a number; and what of it stays the same.

A key is taken apart into pieces: literal text, and :class:`Variable` pieces with the forms in which they can be read.
Keys whose pieces are equal belong to one series; where a form is ambiguous (03-04-2026, 261123), that series decides,
which knows many keys and when each was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_Y = r"(?:19[89]\d|20[0-4]\d)"
_M = r"(?:0[1-9]|1[0-2])"
_D = r"(?:0[1-9]|[12]\d|3[01])"
_H, _MIN, _S = r"(?:[01]\d|2[0-3])", r"[0-5]\d", r"[0-5]\d"
_I = r"(?:0[1-9]|1[0-2])"
_MONTH = (
    r"(?P<month>(?i:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec))"
)
#: The forms of a date, the most telling first: expression → how it is written; ``{a}`` and ``{b}`` are what divides it.
_DATES = tuple(
    (re.compile(rf"(?<!\d){expression}", re.ASCII), forms)
    for expression, forms in (
        (rf"{_Y}(?P<a>[-_./]){_M}(?P=a){_D}(?!\d)", ("%Y{a}%m{a}%d",)),
        (rf"{_Y}{_M}{_D}(?!\d{{7}})", ("%Y%m%d",)),
        (rf"{_Y}(?P<a>[-_./]){_M}{_D}(?!\d)", ("%Y{a}%m%d",)),
        (rf"{_Y}(?P<a>[-_./]?){_MONTH}(?P<b>[-_./]?){_D}(?!\d)", ("%Y{a}{month}{b}%d",)),
        (rf"{_D}(?P<a>[-_./]?){_MONTH}(?P<b>[-_./]?){_Y}(?!\d)", ("%d{a}{month}{b}%Y",)),
        (rf"{_Y}(?P<a>[-_./]?)(?P<w>[Ww])(?:0[1-9]|[1-4]\d|5[0-3])(?P<b>[-_.]?)[1-7](?!\d)", ("%G{a}{w}%V{b}%u",)),
        (rf"{_Y}(?P<a>[-_./]?)(?P<w>[Ww])(?:0[1-9]|[1-4]\d|5[0-3])(?!\d)", ("%G{a}{w}%V",)),
        (rf"\d\d(?P<a>[-_.])\d\d(?P=a){_Y}(?!\d)", ("%d{a}%m{a}%Y", "%m{a}%d{a}%Y")),
        (rf"[0-3]\d[0-3]\d{_Y}(?!\d)", ("%d%m%Y", "%m%d%Y")),
        (r"1\d{12}(?!\d)", ("%s%f", "")),
        (r"1\d{9}(?!\d)", ("%s", "")),
        (rf"{_Y}(?P<a>[-_.])[0-3]\d\d(?!\d)", ("%Y{a}%j", "")),
        (rf"{_Y}[0-3]\d\d(?!\d)", ("%Y%j", "")),
        (rf"{_Y}(?P<a>[-_./]){_M}(?!\d)", ("%Y{a}%m",)),
        (r"\d\d(?P<a>[-_.])\d\d(?P=a)\d\d(?!\d)", ("%y{a}%m{a}%d", "%d{a}%m{a}%y", "%m{a}%d{a}%y", "")),
        (r"\d{6}(?!\d)", ("%y%m%d", "%Y%m", "%d%m%y", "")),
        (rf"(?<![A-Za-z]){_MONTH}(?P<a>[-_. ]?){_D}(?P<b>[-_. ]){_Y}(?!\d)", ("{month}{a}%d{b}%Y",)),
    )
)
_JOIN = r"(?P<join>_at_|-at-|[-_T .@/]{0,2})"
_ZONE = (
    r"(?P<zone>[-_ ]?(?:UTC|GMT)(?![A-Za-z])|Z(?![A-Za-z])|\+\d\d:?[0-5]\d(?!\d)|-(?:0\d|1[0-2]):?(?:00|30|45)(?!\d))?"
)
#: The forms of a time of day behind a date; ``%H`` alone may be a number that counts the backups of a day.
_CLOCKS = tuple(
    (re.compile(rf"{_JOIN}{expression}{_ZONE}", re.ASCII), forms)
    for expression, forms in (
        (
            rf"{_I}(?P<a>[-:_.]?){_MIN}(?:(?P=a){_S})?(?P<b>[-_ ]?)(?i:[ap]m)(?![A-Za-z])",
            ("%I{a}%M{s}{b}%p",),
        ),
        (rf"{_H}h{_MIN}m(?:{_S}s)?(?!\d)", ("%Hh%Mm{ss}",)),
        (rf"{_H}(?P<a>[-:_.h]){_MIN}(?P<b>[-:_.]){_S}(?:[.,]\d{{3,6}}(?=Z|[+-]\d))?(?!\d)", ("%H{a}%M{b}%S",)),
        (rf"{_H}{_MIN}{_S}(?:[.,]\d{{3,6}}(?=Z|[+-]\d))?(?!\d)", ("%H%M%S",)),
        (rf"{_H}(?P<a>[-:_.h]){_MIN}(?!\d)", ("%H{a}%M", "")),
        (rf"{_H}{_MIN}(?!\d)", ("%H%M", "")),
        (rf"{_H}(?!\d)", ("%H", "")),
    )
)
#: A time of day that stands apart from its date: in the name of a file in a dated directory.
_APART = tuple(
    (re.compile(rf"(?<!\d){expression}{_ZONE}", re.ASCII), forms)
    for expression, forms in (
        (rf"{_H}(?P<a>[-:]){_MIN}(?P=a){_S}(?!\d)", ("%H{a}%M{a}%S",)),
        (rf"{_H}{_MIN}{_S}(?!\d)", ("%H%M%S", "")),
        (rf"{_H}(?P<a>[-:]){_MIN}(?!\d)", ("%H{a}%M", "")),
        (rf"{_H}{_MIN}(?!\d)", ("%H%M", "")),
    )
)
_CANDIDATE = re.compile(
    r"\d{4}|\d\d[-_./:]\d\d|\d\d[-_./]?[A-Za-z]{3}|(?<![A-Za-z])[A-Za-z]{3,9}[-_. ]?\d\d[-_. ]\d{4}", re.ASCII
)
_DIGITS = re.compile(r"\d+|.")
_WORDS = {
    "full": "full", "differential": "differential", "diff": "differential", "incremental": "incremental",
    "incr": "incremental", "inc": "incremental", "wal": "log", "xlog": "log", "binlog": "log", "log": "log",
    "F": "full", "D": "differential", "I": "incremental",
}  # fmt: skip
_KIND = re.compile(
    r"(?<![A-Za-z0-9])(?:(?i:full|differential|diff|incremental|incr|inc|wal|xlog|binlog|log)(?![A-Za-z0-9])"
    r"|(?<=[-_.])[FDI](?=[-_.]))"
)
_RUN = re.compile(r"[-_.]((?=[a-f-]*\d)[0-9a-f]{7,}(?:-[0-9a-f]{4,}){0,4})(?=/)")
#: The number of a link in its chain, behind the word for its kind.
_SEQUENCE = re.compile(r"[-_.]?(\d{1,5})(?!\d)", re.ASCII)
_ROTATED_DIRECTORY = re.compile(r"(?:hourly|daily|weekly|monthly|yearly|alpha|beta|gamma|delta)\.(\d{1,3})", re.I)
#: A day of the week, in words.
WEEKDAY = re.compile(r"(?<![A-Za-z])(?i:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?)(?![A-Za-z])")
_PART = re.compile(r"[^/.][._-](?:(?:part|vol|split)[-_.]?)?(a[a-z]|0\d{1,3}|(?<=\.)\d{3})\Z")
#: A key that is longer than this (what S3 allows) is read no further.
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Variable:
    """A piece that differs from key to key.

    Attributes:
        what: ``time``, ``kind``, ``seq``, ``rotation``, ``part``, or ``any`` for what means nothing.
        forms: How a time can be read, as fields of a path pattern, the likeliest first; ``""``: it may as well mean
            nothing.
    """

    what: str
    forms: tuple[str, ...] = ()

    @property
    def is_ambiguous(self) -> bool:
        """Whether only its series can tell what it means."""
        return len(self.forms) > 1


Piece = str | Variable
Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A key taken apart.

    Attributes:
        pieces: Its pieces, in order.
        kind: The word for its kind, ``""`` where it has none.
    """

    pieces: Pieces
    kind: str = ""

    @property
    def has_time(self) -> bool:
        """Whether it may carry a time."""
        return any(isinstance(piece, Variable) and piece.what == "time" for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    variable: Variable
    day: str = ""

    @property
    def is_doubtful(self) -> bool:
        """Whether it may as well be a number; what counts seconds since 1970 is seldom one."""
        return "" in self.variable.forms and not self.day.startswith("@")


def read(key: str) -> Reading:
    """Take a key apart."""
    if len(key) > _LONGEST:
        return Reading((key,))
    spans = _times(key)
    kind = ""
    if found := _kind(key, spans):
        kind = found[0]
        spans.append(_Span(found.start(), found.end(), Variable("kind")))
        number = _SEQUENCE.match(key, found.end())
        if number and not any(span.start < number.end() and number.start() < span.end for span in spans):
            spans.append(_Span(number.start(1), number.end(1), Variable("seq")))
    if any(span.variable.what == "time" for span in spans):
        spans += [*_years(key, spans), *_weekdays(key), *_runs(key, spans)]
    else:
        spans += _rotation(key)
    spans += _part(key, spans)
    pieces: list[Piece] = []
    at = 0
    for span in sorted(spans, key=lambda span: span.start):
        pieces += [key[at : span.start]] if span.start > at else []
        pieces.append(span.variable)
        at = span.end
    return Reading((*pieces, key[at:]) if at < len(key) else tuple(pieces), kind)


def _times(key: str) -> list[_Span]:
    """Every part of a key that may be a date, and the time of day behind it.

    What may as well be a number (an address, a version, a ticket) does not hide a date that can be nothing else.
    """
    spans, was_doubtful = _scan(key, "")
    if not was_doubtful:
        return spans
    return _scan(key, next((span.day for span in spans if span.day), None))[0]


def _scan(key: str, certain: str | None) -> tuple[list[_Span], bool]:
    """What can be nothing but a date, and what repeats the certain one; and whether something was passed over.

    With ``None`` for that, whatever may be a date.
    """
    spans: list[_Span] = []
    at, day, clock, was_doubtful = 0, "", False, False
    while found := _CANDIDATE.search(key, at):
        span = _date(key, found.start(), day, timed=clock)
        if span and span.is_doubtful and certain is not None:
            was_doubtful = True
            span = _date(key, found.start(), day, timed=clock, only_certain=True)
            if span is None and (again := _date(key, found.start(), day, timed=True)) and _repeats(again.day, certain):
                spans.append(again)
                at = again.end
                continue
        if span is None and day and not clock:
            span = _clock_apart(key, found.start())
        if span is None:
            digits = _DIGITS.match(key, found.start())
            at = digits.end() if digits else found.end()
            continue
        spans.append(span)
        clock = clock or any("%H" in form or "%I" in form or "%s" in form for form in span.variable.forms)
        day, at = span.day or day, span.end
    return spans, was_doubtful


def _repeats(doubtful: str, certain: str) -> bool:
    """Whether what may be a date (261123, 23.11.26) has the digits of the certain one."""
    return sorted(re.sub(r"\D", "", doubtful)) == sorted(re.sub(r"\D", "", certain)[-6:])


def _date(key: str, start: int, day: str, *, timed: bool, only_certain: bool = False) -> _Span | None:
    for expression, forms in _DATES:
        found = expression.match(key, start)
        if not found:
            continue
        written = tuple(_filled(form, found) for form in forms)
        is_whole = any(sign in written[0] for sign in ("%d", "%j", "%u", "%s"))
        is_doubtful = "" in written and "%s" not in written[0]
        if only_certain and is_doubtful:
            continue
        if day and is_whole and not day.startswith("@") and _day(written[0], found[0]) != day:
            return None  # another day than that of the directory: a name inside a tree
        if day and "" in written:
            return None  # a number somewhere behind the date
        end = found.end()
        same = _day(written[0], found[0]) if is_whole else day
        times: tuple[tuple[str, str], ...] = (("", ""),)
        if (
            is_whole
            and not timed
            and "%s" not in written[0]
            and (clock := _clock(key, end, compact=len(found[0]) == 8))
        ):
            end, times = clock
        fields = [f"{{time:{form}{time}}}{rest}" if form else "" for form in written for time, rest in times]
        return _Span(start, end, Variable("time", tuple(dict.fromkeys(fields))), same)
    return None


def _day(form: str, text: str) -> str:
    """What two dates have in common that mean the same day, however they are written; of odd ones their text."""
    digits = re.sub(r"\D", "", text)
    if "%s" in form:
        return f"@{digits}"
    return digits[:8] if form.startswith("%Y") and "%m" in form else text


def _clock(key: str, start: int, *, compact: bool) -> tuple[int, tuple[tuple[str, str], ...]] | None:
    """Where a time of day ends, and how it can be read: what it adds to the date's form, and what follows that."""
    for expression, forms in _CLOCKS:
        found = expression.match(key, start)
        if not found or (not found["join"] and not compact):
            continue
        if "/" in found["join"] and (found["join"] != "/" or key[found.end() : found.end() + 1] not in ("/", "")):
            continue  # what stands in the next part of the path is looked at by itself
        zone, join = _zone(found["zone"] or ""), found["join"]
        times = tuple((join + _filled(form, found) + zone, "") if form else ("", join + "{any}") for form in forms)
        return found.end(), times
    return None


def _clock_apart(key: str, start: int) -> _Span | None:
    for expression, forms in _APART:
        if found := expression.match(key, start):
            zone = _zone(found["zone"] or "")
            written = tuple(f"{{time:{_filled(form, found)}{zone}}}" if form else "" for form in forms)
            return _Span(start, found.end(), Variable("time", written))
    return None


def _zone(text: str) -> str:
    if not text:
        return ""
    if text[0] in "+-" and text[1:2].isdigit():
        return "%z"
    return text[: len(text) - len(text.lstrip("-_ "))] + "%Z"


def _filled(form: str, found: re.Match[str]) -> str:
    groups = {name: value or "" for name, value in found.groupdict().items()}
    month = groups.get("month", "")
    groups["month"] = "" if not month else "%b" if len(month) == 3 else "%B"
    text = found[0].removeprefix(groups.get("join", ""))
    seconds = len(re.findall(r"\d\d", text)) >= 3
    groups["s"] = f"{groups.get('a', '')}%S" if seconds else ""
    groups["ss"] = "%Ss" if seconds else ""
    written = form.format_map({"a": "", "b": "", "w": "", **groups})
    if fraction := re.search(r"([.,])\d{3,6}(?=\Z|Z|[+-]\d)", text):
        written += f"{fraction[1]}%f" if "%S" in written else ""
    return written


def _kind(key: str, spans: list[_Span]) -> re.Match[str] | None:
    """The last word for a kind in the last part of the path, outside times."""
    name = key.rindex("/") + 1 if "/" in key else 0
    ends = len(key) - len(key.rpartition(".")[2]) if key.endswith((".log", ".wal")) else len(key)
    found = [
        each
        for each in _KIND.finditer(key, name, ends)
        if not any(span.start < each.end() and each.start() < span.end for span in spans)
    ]
    return found[-1] if found else None


def kind_of(word: str) -> str:
    """The kind that a word stands for."""
    return _WORDS.get(word) or _WORDS[word.lower()]


def _years(key: str, spans: list[_Span]) -> Iterator[_Span]:
    """Directories above a date that are called like its year."""
    first = min(span.start for span in spans)
    year = next((span.day[:4] for span in spans if re.match(_Y, span.day)), "")
    at = 0
    for part in key.split("/")[:-1]:
        if year and part == year and at < first:
            yield _Span(at, at + 4, Variable("time", ("{time:%Y}",)))
        at += len(part) + 1


def _runs(key: str, spans: list[_Span]) -> Iterator[_Span]:
    """The hash or UUID of a run behind the time in a directory's name."""
    for span in list(spans):
        found = _RUN.match(key, span.end)
        if span.variable.what == "time" and found:
            yield _Span(found.start(1), found.end(1), Variable("any"))


def _weekdays(key: str) -> Iterator[_Span]:
    """Words that repeat what the date says."""
    for found in WEEKDAY.finditer(key, key.rfind("/") + 1):
        yield _Span(found.start(), found.end(), Variable("any"))


def _part(key: str, spans: list[_Span]) -> Iterator[_Span]:
    """What split(1) and volume writers append."""
    found = _PART.search(key)
    if found and not any(span.end > found.start(1) for span in spans):
        yield _Span(found.start(1), found.end(1), Variable("part"))


def _rotation(key: str) -> list[_Span]:
    """The number of rsnapshot's directories."""
    at = 0
    for part in key.split("/")[:-1]:
        if found := _ROTATED_DIRECTORY.fullmatch(part):
            return [_Span(at + found.start(1), at + found.end(1), Variable("rotation"))]
        at += len(part) + 1
    return []


def any_kind(words: Iterable[str]) -> str:
    """A field that any of these words matches, what each means left open; ``""`` where there are none."""
    found = "|".join(f"full={word}" for word in words if word)
    return f"{{kind:{found}}}" if found else ""


@lru_cache(maxsize=4096)
def text_of(pieces: Pieces, forms: tuple[str, ...] = (), kinds: str = "") -> str | None:
    """The path pattern that pieces make; ``None`` where a literal piece cannot be written in one.

    Args:
        pieces: Of a key.
        forms: How each time is read, in order; left out, the likeliest.
        kinds: What stands for a kind: a field, or a word.
    """
    chosen, written = list(forms), ""
    for piece in pieces:
        if isinstance(piece, str):
            if "{" in piece or "}" in piece:
                return None
            written += piece
        elif piece.what == "time":
            written += chosen.pop(0) if chosen else piece.forms[0]
        elif piece.what == "kind":
            written += kinds
        else:
            written += "{" + piece.what + "}"
    return written
