"""A restored MySQL or MariaDB system: what can be asked of it."""

# ruff: noqa: S608 - names and values are quoted where they become SQL

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import Restored, RestoreOptions, Served
from restore_drill.engines.mysql import query as queries
from restore_drill.engines.mysql.answers import Answer
from restore_drill.engines.mysql.integrity import Integrity
from restore_drill.engines.mysql.recognise import MARIADB
from restore_drill.engines.mysql.scan import OWN
from restore_drill.engines.mysql.server import ACCOUNTS, READER, SOCKET, MysqlServer
from restore_drill.engines.mysql.sql import identifier, literal, wild
from restore_drill.errors import CouldNotVerify

_STRUCTURE: Final[Mapping[str, str]] = {
    "table": "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type <> 'VIEW' "
    "AND table_type <> 'SEQUENCE' AND table_schema IN ({0})",
    "sequence": "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'SEQUENCE' "
    "AND table_schema IN ({0})",
    "view": "SELECT table_schema, table_name FROM information_schema.views WHERE table_schema IN ({0})",
    "index": "SELECT DISTINCT table_schema, CONCAT(table_name, '.', index_name) FROM information_schema.statistics "
    "WHERE table_schema IN ({0})",
    "foreign key": "SELECT constraint_schema, CONCAT(table_name, '.', constraint_name) FROM "
    "information_schema.table_constraints WHERE constraint_type = 'FOREIGN KEY' AND constraint_schema IN ({0})",
    "trigger": "SELECT trigger_schema, trigger_name FROM information_schema.triggers WHERE trigger_schema IN ({0})",
    "procedure": "SELECT routine_schema, routine_name FROM information_schema.routines "
    "WHERE routine_type = 'PROCEDURE' AND routine_schema IN ({0})",
    "function": "SELECT routine_schema, routine_name FROM information_schema.routines WHERE routine_type = 'FUNCTION' "
    "AND routine_schema IN ({0})",
    "event": "SELECT event_schema, event_name FROM information_schema.events WHERE event_schema IN ({0})",
}
_TABLES: Final = (
    "SELECT table_schema, table_name, COALESCE(table_rows, 0), COALESCE(data_length, 0) FROM information_schema.tables "
    "WHERE table_type <> 'VIEW' AND table_type <> 'SEQUENCE' AND table_schema IN ({0}) ORDER BY 4, 1, 2"
)
#: How many tables are asked at once whether they have a row.
_BATCH: Final = 100


class RestoredMysql(Restored):
    """A server over what came back.

    Args:
        server: It runs.
        options: What the drill asks for.
        databases: The databases that came back, the examined one first.
        facts: What the restore measured.
        notes: Remarks that change no verdict.
    """

    def __init__(
        self, server: MysqlServer, options: RestoreOptions, databases: Sequence[str], facts: Mapping[str, Any],
        notes: Sequence[str],
    ) -> None:  # fmt: skip
        self._server = server
        self._options = options
        self._databases = tuple(databases)
        self._tables_found: list[tuple[str, str, int]] | None = None
        self._counted: tuple[dict[str, int], dict[str, int]] | None = None
        self._integrity: dict[str, dict[str, Any]] = {}
        self.facts = dict(facts)
        self.notes = list(notes)

    def integrity(self, mode: str = "full") -> dict[str, Any]:
        """``CHECK TABLE`` of every table, foreign keys that hold, views that can be read; see :mod:`.integrity`."""
        if mode not in self._integrity:
            tables = [(database, name) for database, name, _ in self._tables()]
            examination = Integrity(self._server, self._databases, tables, self._shown, self._options)
            self._integrity[mode] = examination.examine(mode)
        return self._integrity[mode]

    def structure(self) -> dict[str, list[str]]:
        """Tables, sequences, views, indexes, foreign keys, triggers, procedures, functions and events."""
        own = self._list()
        answers = self._ask([statement.format(own) for statement in _STRUCTURE.values()])
        return {
            kind: sorted(self._shown(database, name) for database, name in answer.rows)
            for kind, answer in zip(_STRUCTURE, answers, strict=True)
            if answer.rows or kind == "table"
        }

    def row_counts(self) -> dict[str, int]:
        """Exact rows of every table that could be counted in time, small tables first; views have none."""
        return dict(self._counts()[0])

    def estimates(self) -> dict[str, int]:
        """What the server assumes of the others."""
        return dict(self._counts()[1])

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """The rows of one read-only statement in the examined database, 10,000 or 4 MiB at most.

        Numbers come as numbers, DECIMAL as float where it has a point, times as text as the server writes them, bytes
        as ``{"bytes": …, "sha256": …}``.
        """
        seconds = self._options.deadline if deadline is None else deadline
        return queries.query(self._server, READER, self._databases[0] if self._databases else "", sql, seconds)

    def dsn(self) -> str:
        """``mysql://…?unix_socket=…``: an account that may only read, and has no password."""
        return self._server.dsn(self._databases[0] if self._databases else "")

    def has_rows(self) -> bool:
        """Whether any table has a row."""
        tables = self._tables()
        for start in range(0, len(tables), _BATCH):
            some = tables[max(0, len(tables) - start - _BATCH) : len(tables) - start]
            asked = [f"SELECT EXISTS (SELECT 1 FROM {identifier(one)}.{identifier(two)})" for one, two, _ in some]
            answers = self._server.ask(asked, seconds=self._options.deadline)
            if any(answer.rows == [["1"]] for answer in answers):
                return True
        return False

    def serve(self, account: str, password: str) -> Served:
        """An account is made for it, with every right in the databases that came back: no dump has the live one's.

        Raises:
            CouldNotVerify: The server is on another machine or is MySQL's own, or the account cannot be made.
        """
        if self._server.family != MARIADB:
            raise CouldNotVerify(
                "applications cannot log in to a restored server of MySQL's own: their passwords do not pass",
                remedy="Restore it into MariaDB (engine: mariadb), or let the set's queries ask it.",
            )
        self.dsn()  # refuses a server that is on another machine
        if not account:
            return Served(self.path / SOCKET, ("a server of this family lets nobody in, since logins name no user",))
        if account in (READER, *ACCOUNTS):
            raise _no_account(account, "the server needs an account of this name for itself")
        who = f"{literal(account)}@'localhost'"
        # Where it is a definer of the dump, too, a locked account stands in for it. That one's rights go with it: they
        # are given anew in every database, also in one that has nothing but views.
        asked = [f"CREATE OR REPLACE USER {who} IDENTIFIED BY {literal(password)}"]
        asked += [f"GRANT ALL PRIVILEGES ON {identifier(wild(name))}.* TO {who}" for name in self._every_database()]
        for answer in self._server.ask(asked, seconds=self._options.deadline, account=self._server.admin):
            if answer.problem is not None:
                raise _no_account(account, answer.problem.message)
        return Served(self.path / SOCKET, ("the application's account was made anew: all rights in what came back",))

    @property
    def path(self) -> Path:
        """The directory of its socket, as seen from this machine."""
        if self._server.ground.reachable is None:
            raise self._cannot("show a path")
        return self._server.ground.reachable

    def close(self) -> None:
        """Nothing: the server ends with its sandbox. Stopped in order it would first write all it holds to disk."""

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _counts(self) -> tuple[dict[str, int], dict[str, int]]:
        if self._counted is None:
            tables = self._tables()
            asked = [f"SELECT COUNT(*) FROM {identifier(one)}.{identifier(two)}" for one, two, _ in tables]
            answers = self._server.ask(asked, seconds=self._options.deadline, parallel=self._options.threads)
            exact, guessed = {}, {}
            for (database, name, rows), answer in zip(tables, answers, strict=True):
                shown = self._shown(database, name)
                if answer.rows and answer.problem is None:
                    exact[shown] = int(answer.rows[0][0])
                elif answer.problem and (answer.problem.late or not answer.problem.number):
                    guessed[shown] = rows
            self._counted = exact, guessed
        return self._counted

    def _tables(self) -> list[tuple[str, str, int]]:
        """Database, name and assumed rows, small ones first."""
        if self._tables_found is None:
            rows = self._ask([_TABLES.format(self._list())])[0].rows
            self._tables_found = [(database, name, int(count)) for database, name, count, _ in rows]
        return self._tables_found

    def _ask(self, statements: Sequence[str]) -> list[Answer]:
        answers = self._server.ask(statements, seconds=self._options.deadline)
        if problem := next((answer.problem for answer in answers if answer.problem), None):
            raise CouldNotVerify(
                f"the server cannot be asked for what is in it (error {problem.number})",
                remedy="Give the target's deadlines: check: more time; see the details on the terminal.",
                details=(problem.message,),
            )
        return answers

    def _every_database(self) -> list[str]:
        """Also those without a table, which are not examined."""
        own = ", ".join(literal(name) for name in sorted(OWN))
        asked = f"SELECT schema_name FROM information_schema.schemata WHERE LOWER(schema_name) NOT IN ({own})"
        return sorted(str(name) for (name,) in self._ask([asked])[0].rows)

    def _list(self) -> str:
        return ", ".join(literal(name) for name in self._databases) or "''"

    def _shown(self, database: str, name: str) -> str:
        """As the user would write it: with its database where that is not the examined one."""
        return name if database == self._databases[0] else f"{database}.{name}"


def _no_account(name: str, why: str) -> CouldNotVerify:
    return CouldNotVerify(
        "the account that the application logs in as cannot be made",
        looked_at=name,
        remedy="Correct logins in the set.",
        details=(why,),
    )
