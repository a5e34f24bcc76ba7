"""Reading CSV (RFC 4180) to its end. Runs inside the sandbox."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.tables_probe import Table, Take, distinct, shown
from restore_drill.engines.text_tables import LONGEST, Watched, sniff

#: What integrity says it looked at.
CHECKED: Final = ("width", "nul", "header", "schema", "encoding", "quoting")
_BATCH: Final = 512
#: What stands in a field of data and in no name of a column: a number, a day, an address.
_DATA: Final = re.compile(r"\s*[-+]?[\d.,:/\-]*\d[\d.,:/\-]*\s*|\d{4}-\d\d-\d\d[T ].*|[^@\s]+@[^@\s]+\.[^@\s]+")
_WIDE: Final = ("utf-16", "utf-32")
_OTHER_COPY: Final = "Use another copy or an earlier snapshot, and check that the export ended well."


def scan(path: Path, settings: Mapping[str, Any], table: Table, take: Take | None) -> None:
    """Read a file to its end; see :class:`restore_drill.engines.tables_probe.Reader`."""
    with path.open("rb", buffering=0) as raw:
        head = raw.read(1 << 16)
        if not head:
            return
        raw.seek(0)
        watched = Watched(raw)
        _Scan(watched, head, settings, table, take).run()


class _Scan:
    """One pass over one file."""

    def __init__(
        self, watched: Watched, head: bytes, settings: Mapping[str, Any], table: Table, take: Take | None
    ) -> None:
        self._watched = watched
        self._settings = settings
        self._table = table
        self._take = take
        self._encoding = _encoding(settings["encoding"], head)
        self._delimiter = settings["delimiter"] or sniff(head[:4096]) or ","
        self._header: tuple[str, ...] = ()
        self._last_short = 0
        self._blank = 0
        self._rows = 0

    def run(self) -> None:
        """Read it all."""
        csv.field_size_limit(LONGEST)
        buffered = io.BufferedReader(self._watched, 1 << 20)
        text = io.TextIOWrapper(buffered, encoding=self._encoding, errors="strict", newline="")
        reader = csv.reader(text, **self._dialect())
        try:
            self._read(reader)
        except csv.Error as problem:
            raise self._broken(reader, problem) from None
        except UnicodeDecodeError:
            raise self._table.refuse(
                f"the text is not valid {self._encoding}",
                "Give engine_options.encoding if it was exported in another one; otherwise it is damaged.",
                f"after line {reader.line_num}",
            ) from None
        self._conclude()

    def _dialect(self) -> dict[str, Any]:
        quote, escape = self._settings["quote"], self._settings["escape"]
        return {
            "delimiter": self._delimiter,
            "quotechar": quote or None,
            "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            "escapechar": escape or None,
            "doublequote": not escape,
            "strict": True,
        }

    def _read(self, reader: Any) -> None:
        first = next((row for row in reader if row), None)
        if first is None:
            return
        names = self._names(first)
        self._table.agree([(shown(name), "", True) for name in names])
        width = len(first)
        # Of one column only, a value may well be its name.
        self._header = tuple(first) if self._settings["header"] and width > 1 else ()
        rows: Iterator[list[str]] = reader if self._settings["header"] else itertools.chain([first], reader)
        while batch := list(itertools.islice(rows, _BATCH)):
            self._table.in_time()
            self._judge(batch, width)
            self._rows += len(batch)
            if self._take is not None:
                self._take(batch)
        self._table.rows += self._rows - self._blank

    def _judge(self, batch: list[list[str]], width: int) -> None:
        for position, row in enumerate(batch, 1):
            if len(row) == width:
                if self._header and row[-1] == self._header[-1] and _same(row, self._header):
                    self._table.problem(
                        "header", "records are the header again: exports stand one behind the other", 1,
                        f"record {self._rows + position}",
                    )  # fmt: skip
                continue
            if not row:
                self._blank += 1
                continue
            where = f"record {self._rows + position}"
            self._table.problem("width", "records have another number of fields than the first line", 1, where)
            self._last_short = self._rows + position if len(row) < width else 0
        if self._take is not None and self._blank:
            batch[:] = filter(None, batch)

    def _names(self, first: list[str]) -> Sequence[str]:
        wanted = self._settings["columns"]
        if not self._settings["header"]:
            return wanted or [f"column_{number}" for number in range(1, len(first) + 1)]
        if wanted and list(wanted) != first:
            raise self._table.refuse(
                "the first line is not the header that the catalogue names",
                "Correct engine_options.columns if the export changed on purpose; otherwise its beginning is missing.",
            )
        data = [] if wanted else [field for field in first if _DATA.fullmatch(field)]
        if data:
            raise self._table.refuse(
                f"the first line is no header: {len(data)} of its {len(first)} fields are numbers, times or addresses",
                "Set engine_options.header to false, or name the header's columns in engine_options.columns.",
            )
        if len(set(first)) < len(first):
            self._table.problem("header", "columns have the name of another one", len(first) - len(set(first)))
        return distinct([name.strip() or f"column_{number}" for number, name in enumerate(first, 1)])

    def _conclude(self) -> None:
        table, watched = self._table, self._watched
        table.facts |= {"encoding": self._encoding, "delimiter": self._delimiter}
        nuls = 0 if self._encoding.startswith(_WIDE) else watched.nuls
        if nuls:
            table.problem("nul", "bytes are NUL, as where a disk lost what was written", nuls)
        if self._blank:
            table.note(f"{self._blank} blank lines are no records")
        if not watched.ends_in_a_line or nuls or self._encoding.startswith(_WIDE):
            return
        if self._last_short == self._rows > 0:
            raise table.refuse("the file is cut short in its last record", _OTHER_COPY, f"record {self._rows}")
        if self._settings["final_newline"] == "required":
            raise table.refuse("the last line has no end: the file is cut short", _OTHER_COPY)
        table.note("the last line has no end: it may be cut (final_newline: required makes that a failure)")

    def _broken(self, reader: Any, problem: csv.Error) -> Exception:
        text = str(problem)
        reason = next((words for sign, words in _REASONS.items() if sign in text), "it is not CSV")
        return self._table.refuse(
            f"the file cannot be read to its end: {reason}",
            "Check delimiter, quote and escape in engine_options against how it was exported; if they are right, it is "
            "damaged.",
            f"line {reader.line_num}",
        )


_REASONS: Final = {
    "unexpected end of data": "a quoted field does not end",
    "field larger than field limit": "a field does not end",
    "expected after": "something follows the end of a quoted field",
    "new-line character": "a line ends within a field that is not quoted",
}


def _same(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a record is the header, which may have brought its byte order mark along."""
    return (row[0].removeprefix("\ufeff"), *row[1:]) == header


def _encoding(name: str, head: bytes) -> str:
    """The encoding, by the mark at the beginning where there is one."""
    if name != "utf-8":
        return name
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-8-sig" if head[:3] == b"\xef\xbb\xbf" else "utf-8"
