"""One read-only statement of a user's, and its answer with the types that the server gives it.

The client writes values as XML, where NULL, line breaks and quotes are told apart, and in a second execution that asks
for no row the types of the columns, which it does not write together with XML.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from restore_drill.engines.mysql.answers import Problem, problems
from restore_drill.engines.mysql.sql import literal
from restore_drill.errors import CouldNotVerify, DeadlineExceeded

if TYPE_CHECKING:
    from restore_drill.engines.mysql.server import MysqlServer

_MOST: Final = 10_000
_GRACE: Final = 15.0
_ASK: Final = """
none=$1 some=$2
shift 2
statement=$(cat; echo x)
statement=${statement%x}
printf %s "$statement" | "$@" --table --column-type-info --init-command="$none" || exit
printf '\\n\\001\\n'
printf %s "$statement" | "$@" --xml --binary-as-hex --quick --init-command="$some"
"""
_ROW: Final = re.compile(r"<row>(.*?)</row>", re.S)
_FIELD: Final = re.compile(r'<field name="[^"]*"(?: xsi:nil="true" />|>([^<]*)</field>)')
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
_ENTITY: Final = re.compile("|".join(_ENTITIES))
_TYPE: Final = re.compile(r"^Type: +(\w+)", re.M)
_BINARY: Final = re.compile(r"^Collation: +binary ", re.M)
_INTEGERS: Final = frozenset({"TINY", "SHORT", "INT24", "LONG", "LONGLONG", "YEAR"})
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_DECIMALS: Final = frozenset({"DECIMAL", "NEWDECIMAL"})
_BYTES: Final = frozenset(
    {"BLOB", "TINY_BLOB", "MEDIUM_BLOB", "LONG_BLOB", "STRING", "VAR_STRING", "VARCHAR", "GEOMETRY"}
)


def query(server: MysqlServer, account: str, database: str, sql: str, seconds: float) -> list[tuple[Any, ...]]:
    """The rows of a statement.

    Raises:
        CouldNotVerify: It is wrong, writes, or answers with more than 10,000 rows or 4 MiB.
        DeadlineExceeded: It takes too long.
    """
    statement = sql.strip().rstrip(";").strip()
    if not statement or "\0" in statement:
        raise CouldNotVerify("this is no SQL statement", remedy="Write one statement of SQL.")
    mariadb = server.family == "mariadb"
    limit = f"max_statement_time={seconds:.3f}" if mariadb else f"max_execution_time={max(1, int(seconds * 1000))}"
    start = f"SET {'tx' if mariadb else 'transaction'}_read_only=1, {limit}, sql_select_limit="
    client = server.client(account, "--binary-mode", *([f"--database={database}"] if database else []))
    argv = ["sh", "-c", _ASK, "sh", f"{start}0", f"{start}{_MOST + 1}", *client]
    done = server.begin(argv, seconds=2 * seconds + _GRACE, stdin=_single(statement).encode()).result()
    if found := problems(done.stderr):
        raise _refused(found[0], seconds)
    kinds, mark, text = done.stdout.decode(errors="replace").partition("\n\x01\n")
    if done.returncode or not mark:
        raise CouldNotVerify(
            "the answer is longer than 4 MiB" if not done.returncode else "the server cannot be asked",
            remedy="Ask for less: an aggregate, or a limit.",
            details=tuple(done.stderr.decode(errors="replace").splitlines()[-5:]),
        )
    return _rows(kinds, text)


def _single(statement: str) -> str:
    """As something that can be one statement only."""
    return f"PREPARE asked FROM {literal(statement)};\nEXECUTE asked;\n"


def _rows(kinds: str, text: str) -> list[tuple[Any, ...]]:
    columns = [
        (found[1], bool(_BINARY.search(part))) for part in kinds.split("\nField ") if (found := _TYPE.search(part))
    ]
    rows = []
    for row in _ROW.finditer(text):
        values = [found[1] if found[0].endswith("</field>") else None for found in _FIELD.finditer(row[1])]
        known = columns if len(columns) == len(values) else [("", False)] * len(values)
        rows.append(tuple(_value(value, *kind) for value, kind in zip(values, known, strict=True)))
        if len(rows) > _MOST:
            raise CouldNotVerify("the answer has more than 10,000 rows", remedy="Ask for an aggregate.")
    return rows


def _value(text: str | None, kind: str, binary: bool) -> Any:
    """A value as a type of Python that JSON has, too: times are text, bytes are told by their number and digest."""
    if text is None:
        return None
    if kind in _INTEGERS:
        return int(text)
    if kind in _DECIMALS:
        return float(text) if "." in text else int(text)
    if kind in _FLOATS:
        return float(text)
    plain = _ENTITY.sub(lambda each: _ENTITIES[each[0]], text)
    if kind == "BIT" and plain.startswith("0x"):
        return int(plain[2:] or "0", 16)
    if kind in _BYTES and binary and plain.startswith("0x"):
        data = bytes.fromhex(plain[2:])
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return plain


def _refused(problem: Problem, seconds: float) -> CouldNotVerify:
    if problem.late:
        return DeadlineExceeded(f"the statement took longer than {seconds:g} s", details=(problem.message,))
    reason = _REASONS.get(problem.number, "")
    return CouldNotVerify(
        f"the server refuses the statement{': ' + reason if reason else ''} (error {problem.number})",
        remedy="Run it by hand, and correct it; only reading is allowed. See the details on the terminal.",
        details=(problem.message,),
    )


_REASONS: Final = {
    1064: "it is no valid SQL, or more than one statement",
    1146: "a table does not exist",
    1054: "a column does not exist",
    1142: "it does more than read",
    1044: "it does more than read",
    1045: "it does more than read",
    1227: "it does more than read",
    1290: "it does more than read",
    1370: "it may not run that",
    1792: "it does more than read",
    1295: "it is none that asks for rows",
    1305: "a function does not exist",
    1049: "a database does not exist",
}
