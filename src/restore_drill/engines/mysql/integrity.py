"""What the server itself says of what came back, and what it does not look at when it loads a dump.

A dump is loaded with foreign keys and unique keys unchecked, so that every foreign key is asked for rows that refer to
nothing; and a view is taken as it stands, so that every view is opened once.
"""

# ruff: noqa: S608 - names and values are quoted where they become SQL

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from restore_drill.engines.base import RestoreOptions
from restore_drill.engines.mysql.answers import LEFT, Answer
from restore_drill.engines.mysql.server import MysqlServer
from restore_drill.engines.mysql.sql import identifier, literal
from restore_drill.errors import CouldNotVerify

_FOREIGN_KEYS: Final = (
    "SELECT k.table_schema, k.table_name, k.constraint_name, k.referenced_table_schema, k.referenced_table_name, "
    "k.column_name, k.referenced_column_name FROM information_schema.key_column_usage k "
    "WHERE k.referenced_table_name IS NOT NULL AND k.table_schema IN ({0}) "
    "ORDER BY k.table_schema, k.table_name, k.constraint_name, k.ordinal_position"
)
_VIEWS: Final = "SELECT table_schema, table_name FROM information_schema.views WHERE table_schema IN ({0})"
#: How many names a remark holds.
_FEW: Final = 5
#: Seconds that asking for names may always take.
_LISTING: Final = 30.0
#: What ``CHECK TABLE`` says of a table that has nothing to be checked, or that is fine.
_FINE: Final = frozenset({"status", "note", "info"})
#: Not a word on the data: engines without a check (CSV, BLACKHOLE, …).
_CANNOT: Final = "doesn't support check"
_BROKEN_VIEWS: Final = {
    1356: "it refers to what is not there, or its definer may not use that",
    1449: "its definer does not exist",
    1146: "a table of it does not exist",
    1054: "a column of it does not exist",
    1305: "a function of it does not exist",
    1370: "its definer may not run a function of it",
}


class Integrity:
    """One examination of one server.

    Args:
        server: It runs.
        databases: Those that came back.
        tables: Database and name of every table.
        shown: How a name is shown.
        options: Deadline and cores.
    """

    def __init__(
        self, server: MysqlServer, databases: Sequence[str], tables: Sequence[tuple[str, str]],
        shown: Callable[[str, str], str], options: RestoreOptions,
    ) -> None:  # fmt: skip
        self._server, self._databases, self._tables, self._shown = server, databases, tables, shown
        self._options = options
        self._problems: list[dict[str, Any]] = []
        self._remarks: list[dict[str, Any]] = []
        self._details: list[str] = []
        self._undone: list[str] = []

    def examine(self, mode: str) -> dict[str, Any]:
        """``full``: all of it; ``quick``: ``CHECK TABLE … QUICK`` and views.

        Raises:
            CouldNotVerify: The server cannot be asked what there is.
        """
        own = ", ".join(literal(name) for name in self._databases) or "''"
        keys, views = self._listed([_FOREIGN_KEYS.format(own), _VIEWS.format(own)])
        grouped = self._here(_grouped(keys)) if mode == "full" else []
        names = [(row[0], row[1]) for row in views]
        depth = "EXTENDED" if mode == "full" else "QUICK"
        statements = [f"CHECK TABLE {_name(*table)} {depth}; {LEFT}" for table in self._tables]
        statements += [_orphans(key) for key in grouped]
        statements += [f"SELECT * FROM {_name(*view)} LIMIT 0" for view in names]
        answers = iter(self._ask(statements))
        for table in self._tables:
            self._judge_table(table, next(answers))
        for key in grouped:
            self._judge_key(key, next(answers))
        for view in names:
            self._judge_view(view, next(answers))
        checked = [f"CHECK TABLE {depth} of {len(self._tables)} tables", f"{len(names)} views opened"]
        checked += [f"{len(grouped)} foreign keys"] if mode == "full" else []
        found: dict[str, Any] = {"problems": self._problems, "checked": checked, "details": self._details[:100]}
        found["remarks"] = self._remarks
        return found | ({"undone": self._undone} if self._undone else {})

    def _here(self, keys: Sequence[list[Sequence[str]]]) -> list[list[Sequence[str]]]:
        """Keys to tables of databases that came back; of others, nothing is known."""
        databases = {name.lower() for name in self._databases}
        here = [key for key in keys if key[0][3].lower() in databases]
        elsewhere = sorted(self._shown(*key[0][:2]) for key in keys if key[0][3].lower() not in databases)
        if elsewhere:
            more = f" and {len(elsewhere) - _FEW} more" if len(elsewhere) > _FEW else ""
            message = "foreign keys of these tables refer to databases that the backup does not hold: "
            message += ", ".join(elsewhere[:_FEW]) + more
            self._remarks.append({"rule": "foreign_elsewhere", "message": message, "count": len(elsewhere)})
        return here

    def _ask(self, statements: Sequence[str]) -> list[Answer]:
        return self._server.ask(statements, seconds=self._options.deadline, parallel=self._options.threads)

    def _listed(self, statements: Sequence[str]) -> list[list[list[str]]]:
        # What there is has to be known even where no time is left to look at it: that is what is then told.
        answers = self._server.ask(statements, seconds=max(_LISTING, self._options.deadline))
        if problem := next((answer.problem for answer in answers if answer.problem), None):
            raise CouldNotVerify(
                f"the server cannot be asked for its foreign keys and views (error {problem.number})",
                remedy="See the details on the terminal.",
                details=(problem.message,),
            )
        return [answer.rows for answer in answers]

    def _judge_table(self, table: tuple[str, str], answer: Answer) -> None:
        shown = self._shown(*table)
        if answer.problem:
            self._unanswered(f"the check of {shown}", answer)
            return
        left = answer.rows.pop() if answer.rows else []
        # A check that time runs out for says OK all the same: only one that came to its end in time is believed.
        if len(left) != 1 or float(left[0]) <= 0:
            self._undone.append(f"the check of {shown}")
            return
        said = [row[3] for row in answer.rows if len(row) > 3 and row[2].lower() not in _FINE]
        said += [row[3] for row in answer.rows if len(row) > 3 and row[2].lower() == "status" and row[3] != "OK"]
        if not answer.rows:
            self._undone.append(f"the check of {shown}, of which nothing is heard")
        if said and _CANNOT not in said[0]:
            self._problems.append({"rule": "check_table", "message": f"the server finds {shown} damaged", "count": 1})
            self._details += [f"{shown}: {text}" for text in said]

    def _judge_key(self, key: Sequence[Sequence[str]], answer: Answer) -> None:
        child, parent = self._shown(key[0][0], key[0][1]), self._shown(key[0][3], key[0][4])
        if answer.problem and answer.problem.number == 1146:
            message = f"{child} refers to {parent}, which does not exist"
            self._problems.append({"rule": "foreign_key", "message": message, "count": 1})
        elif answer.problem or not answer.rows:
            self._unanswered(f"the foreign key {child}.{key[0][2]}", answer)
        elif count := int(answer.rows[0][0]):
            message = f"rows of {child} refer to rows of {parent} that are not there ({key[0][2]})"
            self._problems.append({"rule": "foreign_key", "message": message, "count": count})

    def _judge_view(self, view: tuple[str, str], answer: Answer) -> None:
        if answer.problem is None:
            return
        reason = _BROKEN_VIEWS.get(answer.problem.number)
        if reason is None:
            self._unanswered(f"the view {self._shown(*view)}", answer)
            return
        message = f"the view {self._shown(*view)} cannot be read: {reason}"
        self._problems.append({"rule": "view", "message": message, "count": 1})
        self._details.append(answer.problem.message)

    def _unanswered(self, what: str, answer: Answer) -> None:
        problem = answer.problem
        late = problem is None or problem.late or not problem.number
        self._undone.append(what if late or problem is None else f"{what} (error {problem.number})")
        if problem:
            self._details.append(f"{what}: {problem.message}")


def _grouped(rows: Sequence[Sequence[str]]) -> list[list[Sequence[str]]]:
    """The columns of each foreign key together."""
    keys: dict[tuple[str, ...], list[Sequence[str]]] = {}
    for row in rows:
        keys.setdefault(tuple(row[:3]), []).append(row)
    return list(keys.values())


def _orphans(key: Sequence[Sequence[str]]) -> str:
    """Counts rows whose columns all have values, and which refer to nothing (MATCH SIMPLE)."""
    child, parent = _name(key[0][0], key[0][1]), _name(key[0][3], key[0][4])
    return (
        f"SELECT COUNT(*) FROM {child} c WHERE {' AND '.join(_each(key, 'c.{0} IS NOT NULL'))} "
        f"AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {' AND '.join(_each(key, 'p.{1} = c.{0}'))})"
    )


def _each(key: Sequence[Sequence[str]], form: str) -> Iterator[str]:
    return (form.format(identifier(row[5]), identifier(row[6])) for row in key)


def _name(database: str, name: str) -> str:
    return f"{identifier(database)}.{identifier(name)}"
