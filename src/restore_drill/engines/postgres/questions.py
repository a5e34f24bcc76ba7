"""A user's own questions: one read-only statement, its values typed as JSON types them."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.errors import CouldNotVerify
from restore_drill.statements import bare

#: A query's answer is a number or a few names, not a copy of the data.
ROWS_AT_MOST: Final = 10_000
#: Statements that can stand in a FROM clause; what others answer (``show``) is text.
_TABLE: Final = re.compile(r"(select|with|values|table)\b|\(", re.I)
#: Times are told in UTC, and nothing is written.
_SETTINGS: Final = {
    "default_transaction_read_only": "on",
    "TimeZone": "UTC",
    "lc_messages": "C",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
}


def query(server: PostgresServer, database: str, sql: str, *, seconds: float) -> list[tuple[Any, ...]]:
    """The rows of one read-only statement.

    Numbers come as numbers, truth values as such, NULL as ``None``, arrays and JSON as lists and mappings; times in ISO
    8601 (with an offset where the type has one), everything else as the text that the server writes.

    Raises:
        DeadlineExceeded: It took too long.
        CouldNotVerify: It is wrong, writes, or answers with more than 10,000 rows or 4 MiB.
    """
    text = bare(sql)
    if not _TABLE.match(text):
        return [tuple(row) for row in server.psql(database, text, seconds=seconds, settings=_SETTINGS)]
    asked = f"select row_to_json(answer)::text from ({text}\n) answer limit {ROWS_AT_MOST + 1}"
    rows = server.psql(database, asked, seconds=seconds, settings=_SETTINGS)
    if len(rows) > ROWS_AT_MOST:
        raise CouldNotVerify(
            f"the query answers with more than {ROWS_AT_MOST} rows", remedy="Ask for less: an aggregate, or a limit."
        )
    return [_values(row[0] or "") for row in rows]


def _values(row: str) -> tuple[Any, ...]:
    """The values of a row in their order; columns may be called alike."""
    try:
        pairs = json.loads(row, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as problem:
        raise CouldNotVerify("the answer of the server cannot be read", details=(row[:200],)) from problem
    return tuple(_plain(value) for _, value in pairs)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON as it was written."""


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
