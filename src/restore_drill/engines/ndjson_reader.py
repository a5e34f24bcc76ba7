"""Reading newline-delimited JSON (one object a line, RFC 8259) to its end. Runs inside the sandbox."""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.tables_probe import COLUMNS_AT_MOST, Column, Row, Table, Take, shown
from restore_drill.engines.text_tables import Watched

#: What integrity says it looked at.
CHECKED: Final = ("json", "object", "duplicate_key", "not_a_number", "encoding", "nul", "schema")
_BATCH: Final = 512
#: Different sets of keys that are counted as such; what comes after is counted key by key.
_SHAPES: Final = 5_000
_KEYS: Final = 20_000


def scan(path: Path, settings: Mapping[str, Any], table: Table, take: Take | None) -> None:  # noqa: ARG001 - none
    """Read a file to its end; see :class:`restore_drill.engines.tables_probe.Reader`."""
    with path.open("rb", buffering=0) as raw:
        _Scan(Watched(raw), table, take).run()


class _Scan:
    """One pass over one file."""

    def __init__(self, watched: Watched, table: Table, take: Take | None) -> None:
        self._watched = watched
        self._table = table
        self._take = take
        self._twice = 0
        self._names = [name for name, _, _ in table.columns or []]
        self._shapes: Counter[tuple[str, ...]] = Counter()
        self._keys: Counter[str] = Counter()
        self._decode = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant).decode
        self._line = 0
        self._last: tuple[int, bool] = (0, True)

    def run(self) -> None:
        """Read it all."""
        lines = io.BufferedReader(self._watched, 1 << 20)
        objects = 0
        while batch := list(itertools.islice(lines, _BATCH)):
            self._table.in_time()
            found = [one for line in batch if (one := self._read(line)) is not None]
            objects += len(found)
            self._count(found)
            if self._take is not None:
                self._take([self._row(one) for one in found])
        self._conclude(objects)

    def _read(self, line: bytes) -> dict[str, Any] | None:
        """The object of a line, which is a record of the table whatever is wrong with it."""
        self._line += 1
        if not line.strip(b" \t\r\n\0"):
            return None
        self._table.rows += 1
        self._twice = 0
        try:
            value = self._decode(line.decode().removeprefix("\ufeff") if self._line == 1 else line.decode())
        except UnicodeDecodeError:
            self._bad("encoding", "lines are not valid UTF-8")
            return None
        except (ValueError, RecursionError):
            self._bad("json", "lines are not valid JSON")
            return None
        if not isinstance(value, dict):
            self._bad("object", "lines are no JSON object")
            return None
        self._last = (self._line, True)
        if self._twice:
            self._table.problem("duplicate_key", "objects have a key twice", 1, f"line {self._line}")
        return value

    def _bad(self, rule: str, message: str) -> None:
        self._last = (self._line, False)
        self._table.problem(rule, message, 1, f"line {self._line}")

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        self._twice += len(made) != len(pairs)
        return made

    def _constant(self, name: str) -> None:  # noqa: ARG002 - the decoder says which one
        self._table.problem("not_a_number", "values are NaN or Infinity, which JSON does not have")

    def _count(self, found: list[dict[str, Any]]) -> None:
        if self._take is not None:
            return
        for one in found:
            shape = tuple(one)
            if shape in self._shapes or len(self._shapes) < _SHAPES:
                self._shapes[shape] += 1
            elif len(self._keys) < _KEYS:
                self._keys.update(shape)

    def _row(self, one: dict[str, Any]) -> Row:
        return [_value(one.get(name)) for name in self._names]

    def _conclude(self, objects: int) -> None:
        table, watched = self._table, self._watched
        if watched.ends_in_a_line and self._last == (self._line, False):
            raise table.refuse(
                "the file is cut short in its last line",
                "Use another copy or an earlier snapshot, and check that the export ended well.",
                f"line {self._line}",
            )
        if watched.ends_in_a_line:
            table.note("the last line has no end")
        if watched.nuls:
            table.problem("nul", "bytes are NUL, as where a disk lost what was written", watched.nuls)
        if self._take is None:
            table.columns = _merged(table.columns, self._columns(objects))

    def _columns(self, objects: int) -> list[Column]:
        """Keys in the order of their first appearance; those that most objects have belong to the structure."""
        counted: Counter[str] = Counter()
        for shape, count in self._shapes.items():
            for key in shape:
                counted[key] += count
        counted.update(self._keys)
        if len(counted) > COLUMNS_AT_MOST:
            self._table.note(f"objects have {len(counted)} different keys: questions see the most frequent ones")
        kept = {key for key, _ in counted.most_common(COLUMNS_AT_MOST)}
        return [(shown(key), "", 2 * count > objects) for key, count in counted.items() if key in kept]


def _merged(before: list[Column] | None, columns: list[Column]) -> list[Column]:
    """Columns of a table in parts: all keys; usual are those that are in each part."""
    if before is None:
        return columns
    usual = {name: flag for name, _, flag in columns}
    known = {name for name, _, _ in before}
    merged = [(name, kind, flag and usual.get(name, False)) for name, kind, flag in before]
    merged += [(name, kind, False) for name, kind, _ in columns if name not in known]
    return merged[:COLUMNS_AT_MOST]


def _value(value: Any) -> Any:
    """What SQLite can hold: lists and objects as JSON text, numbers beyond 64 bits as text."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return str(value)
    return value
