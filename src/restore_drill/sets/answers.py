"""Two answers held against each other, whatever systems they come from; of each row a digest is kept in memory.

Rows are compared as text: a number is written without a fraction where it has none, so that ``5`` of one system is
``5.0`` and ``'5'`` of another. They are looked at as sets: order and repetition mean nothing.
"""

# ruff: noqa: S608 - statements are the catalogue's own

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from restore_drill.catalogue.sets import Question, SetQuery
from restore_drill.engines.base import Restored
from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.statements import bare

#: Rows that a statement is asked for at once: engines answer with 10,000 at most.
_PAGE: Final = 5000
#: Rows of a page that the next one begins with. What a collation takes for equal (``a.png`` and ``A.png``) a server may
#: put in another order each time it is asked: of what lies in a page as a whole, nothing is lost by that.
_AGAIN: Final = 1000
#: Rows of an answer altogether.
_MOST: Final = 5_000_000
#: Missing rows that are told, on the terminal only.
_SHOWN: Final = 20
_LONGEST: Final = 200
#: What can stand in a FROM clause, and so be asked for in pages.
_TABLE: Final = re.compile(r"(select|with|values)\b|\(", re.I)
_DIGEST: Final = 16


def compare(rule: SetQuery, restored: Mapping[str, Restored], seconds: float) -> dict[str, Any]:
    """Ask both, and count what one has and the other has not.

    Args:
        rule: What is asked.
        restored: The systems, by target.
        seconds: How long it may take.

    Returns:
        ``asked`` and ``held`` (distinct rows of the first and of the second answer), ``missing`` (rows of the first
        that the second has not), ``extra`` (the other way round, where both must be the same), and ``details``.

    Raises:
        CouldNotVerify: One of them cannot answer, or not in time.
    """
    until = time.monotonic() + seconds
    held = set(_digests(_rows(rule.other, restored, until)))
    asked: set[bytes] = set()
    missing: list[str] = []
    lacking = 0
    for row in _rows(rule.ask, restored, until):
        digest = _digest(row)
        if digest not in asked and digest not in held:
            lacking += 1
            missing += [f"not in {rule.other.target}: {_shown(row)}"] if len(missing) < _SHOWN else []
        asked.add(digest)
    extra = len(held - asked) if rule.equals is not None else 0
    if extra:
        missing += _extra(rule, restored, asked, until)
    return {"asked": len(asked), "held": len(held), "missing": lacking, "extra": extra, "details": missing}


def _extra(rule: SetQuery, restored: Mapping[str, Restored], asked: set[bytes], until: float) -> list[str]:
    """A few of the rows that the second answer has and the first has not."""
    found: list[str] = []
    for row in _rows(rule.other, restored, until):
        if _digest(row) not in asked:
            found.append(f"not in {rule.ask.target}: {_shown(row)}")
            if len(found) >= _SHOWN:
                break
    return found


def _rows(question: Question, restored: Mapping[str, Restored], until: float) -> Iterator[tuple[Any, ...]]:
    system = restored[question.target]
    rows = _files(question, system, until) if question.files is not None else _asked(str(question.sql), system, until)
    for count, row in enumerate(rows, 1):
        if count > _MOST:
            raise CouldNotVerify(
                f"{question.target} answers with more than {_MOST:,} rows",
                remedy="Ask for a part of them, or for aggregates.",
                stage=Stage.CONTENT,
            )
        yield row


def _files(question: Question, system: Restored, until: float) -> Iterator[tuple[Any, ...]]:
    below = f"{question.below.strip('/').removeprefix('./')}/" if question.below else ""
    place = question.give.index("path") if "path" in question.give else -1
    for row in system.entries({"glob": question.files, "give": question.give}, _left(until)):
        if below and place >= 0:
            yield (*row[:place], str(row[place]).removeprefix(below), *row[place + 1 :])
        else:
            yield row


def _asked(sql: str, system: Restored, until: float) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement; page by page where there are many, which wants an order."""
    text = bare(sql)
    if not _TABLE.match(text):
        yield from system.query(sql, _left(until))
        return
    rows = system.query(f"select * from ({text}\n) answer limit {_PAGE}", _left(until))
    if len(rows) < _PAGE:
        yield from rows
        return
    order = ", ".join(str(number) for number in range(1, len(rows[0]) + 1))
    offset, seen = 0, frozenset[bytes]()
    while len(rows) == _PAGE:
        page = f"select * from ({text}\n) answer order by {order} limit {_PAGE} offset {offset}"
        rows = system.query(page, _left(until))
        yield from (row for row in rows if _digest(row) not in seen)
        seen = frozenset(_digests(rows[-_AGAIN:]))
        offset += _PAGE - _AGAIN


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded(
            "the answers were not there in time", remedy="Raise the check deadline of the set's first target."
        )
    return left


def _digests(rows: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    return map(_digest, rows)


def _digest(row: tuple[Any, ...]) -> bytes:
    text = json.dumps([_plain(value) for value in row], ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest()


def _plain(value: Any) -> Any:
    """A value such that equal ones of different systems are written alike; nothing is equal to NULL but NULL."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) else value


def _shown(row: tuple[Any, ...]) -> str:
    return ascii(row[0] if len(row) == 1 else row)[:_LONGEST]
