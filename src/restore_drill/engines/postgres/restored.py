"""A restored PostgreSQL system: what can be asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from restore_drill.depth import FULL, SAMPLE, SCHEMA
from restore_drill.engines.base import Restored, RestoreOptions, Served
from restore_drill.engines.postgres import integrity, questions, structure
from restore_drill.engines.postgres.server import SOCKET, PostgresServer, identifier, quoted
from restore_drill.engines.postgres.tables import Counts, Table, count, names_of, tables_of
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.quantities import format_size

#: A user's own driver reads what the cases behind it measure.
_READ_ONLY = "-c default_transaction_read_only=on"
#: Seconds that a list of objects may take, whatever the deadline of what is done with them.
_LISTING = 120.0

#: What is known of the files of a base backup: mode and databases in, ``problems``, ``checked`` and the like out.
OfFiles = Callable[[str, Sequence[str]], Mapping[str, Any]]


class RestoredPostgres(Restored):
    """A server over what came back.

    Args:
        server: It runs.
        options: What the drill asks for.
        databases: The databases that came back, the examined one first.
        facts: What the restore measured; ``summary`` is made of what is in the databases where it is not among them.
        notes: Remarks that change no verdict.
        physical: Whether it came back from a base backup.
        remarks: What the restore met that a faithful backup may contain, by rule (:data:`.findings.STRICTNESS`).
        of_files: Examines the files of a base backup, before the server is asked.
    """

    def __init__(
        self,
        server: PostgresServer,
        options: RestoreOptions,
        databases: Sequence[str],
        facts: Mapping[str, Any],
        notes: Sequence[str],
        *,
        physical: bool = False,
        remarks: Sequence[Mapping[str, Any]] = (),
        of_files: OfFiles | None = None,
    ) -> None:
        self._server = server
        self._options = options
        self._databases = tuple(databases)
        self._physical = physical
        self._remarks = list(remarks)
        self._of_files = of_files
        self._known: dict[str, Any] = {}
        found = [table for name in self._databases for table in tables_of(server, name, seconds=_LISTING)]
        self._tables = found
        self._names = names_of(found, self._databases[0])
        self.facts = {"summary": self._summary(), **facts}
        self.notes = [*notes, *self._foreign()]

    @property
    def tables(self) -> list[str]:
        """The tables that can be counted, whatever is in them."""
        return sorted(self._names[each.database, each.oid] for each in self._tables if self._is_counted(each))

    def integrity(self, mode: str = "full") -> dict[str, Any]:
        """What :mod:`.integrity` finds; beside problems, ``remarks`` on what a faithful backup may contain.

        Raises:
            CouldNotVerify: The server cannot be asked.
        """
        found: dict[str, Any] = self._once(f"integrity {mode}", lambda: self._examine(mode))
        return found

    def structure(self) -> dict[str, list[str]]:
        """Names by type: tables, views, indexes, constraints, triggers, functions, …; of no partition."""
        found: dict[str, list[str]] = self._once(
            "structure", lambda: structure.objects(self._server, self._databases, seconds=_LISTING)
        )
        return found

    def outline(self) -> list[str]:
        """The same with columns, types, kinds of constraints, labels of enums, and grants."""
        found: list[str] = self._once(
            "outline", lambda: structure.outline(self._server, self._databases, seconds=_LISTING)
        )
        return found

    def row_counts(self) -> dict[str, int]:
        """Exact rows of every table that could be counted in time; a partitioned one has those of its partitions.

        Raises:
            BackupFailed: A table cannot be read.
            CouldNotVerify: No row was restored, or a table cannot be counted for another reason than time.
        """
        return dict(self._counts().exact)

    def estimates(self) -> dict[str, int]:
        """What the planner assumes of the tables that could not be counted in time."""
        return {} if self._options.depth == SCHEMA else dict(self._counts().estimates)

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """The rows of one read-only statement in the examined database, 10,000 or 4 MiB at most.

        Numbers come as numbers, times as ISO 8601 in UTC, truth values and NULL as such.
        """
        self._need_rows("asked")
        seconds = self._options.deadline if deadline is None else deadline
        return questions.query(self._server, self._databases[0], sql, seconds=seconds)

    def dsn(self) -> str:
        """A connection string of libpq for the examined database, as a superuser in read-only transactions.

        Raises:
            CouldNotVerify: The server is on another machine.
        """
        options = f"{self._server.options()} {_READ_ONLY}".lstrip()
        return f"{self._server.dsn(self._databases[0])} options={quoted(options)}"

    def serve(self, account: str, password: str) -> Served:  # noqa: ARG002 - none is asked
        """Whoever reaches the socket is trusted; a role that the dump only speaks of may log in from now on.

        Raises:
            CouldNotVerify: The server is on another machine, or has no such role.
        """
        self._server.dsn(self._databases[0])  # refuses a server that is on another machine
        if account:
            try:
                self._server.psql(self._databases[0], f"ALTER ROLE {identifier(account)} LOGIN", seconds=_LISTING)
            except CouldNotVerify as problem:
                raise CouldNotVerify(
                    "the role that the application logs in as did not come back",
                    looked_at=account,
                    remedy="Correct logins in the set, or name the role under engine_options.roles of the target.",
                    details=problem.details,
                ) from problem
        return Served(self.path / SOCKET)

    @property
    def path(self) -> Path:
        """The directory of its socket, as seen from this machine."""
        reachable = self._server.ground.reachable
        if reachable is None:
            raise self._cannot("show a path")
        return reachable

    def close(self) -> None:
        """Nothing: the server ends with its sandbox. Stopped in order it would first write all it holds to disk."""

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _once(self, what: str, measure: Callable[[], Any]) -> Any:
        """A measurement, made once; so is the error that it ends in."""
        if what not in self._known:
            try:
                self._known[what] = measure()
            except RestoreDrillError as problem:
                self._known[what] = problem
        if isinstance(self._known[what], RestoreDrillError):
            raise self._known[what]
        return self._known[what]

    def _counts(self) -> Counts:
        self._need_rows("counted")
        found: Counts = self._once("rows", self._count)
        return found

    def _count(self) -> Counts:
        wanted = [table for table in self._tables if self._is_restored(table)]
        until = time.monotonic() + self._options.deadline
        return count(self._server, wanted, self._names, until=until, parallel=self._options.threads)

    def _examine(self, mode: str) -> dict[str, Any]:
        sample = tuple(self._options.tables) if self._options.depth == SAMPLE else None
        what = integrity.Examined(self._server, self._databases, self._tables, self._names, self._physical, sample)
        before = dict(self._of_files(mode, self._databases)) if self._of_files else {}
        until = time.monotonic() + self._options.deadline
        found = integrity.examine(what, mode, until=until, parallel=self._options.threads).facts()
        found["remarks"] = [*self._remarks, *found["remarks"]]
        return {key: [*before.get(key, []), *found[key]] for key in found}

    def _is_counted(self, table: Table) -> bool:
        return not table.is_partition and table.kind != "f"

    def _is_restored(self, table: Table) -> bool:
        return self._options.depth == FULL or self._names[table.database, table.root] in self._options.tables

    def _need_rows(self, what: str) -> None:
        if self._options.depth == SCHEMA:
            raise CouldNotVerify(
                f"no row was restored (DEPTH SCHEMA): empty tables cannot be {what}",
                remedy="Ask a target that is restored in full.",
            )

    def _summary(self) -> str:
        size = sum(table.size for table in self._tables)
        several = f"{len(self._databases)} databases" if len(self._databases) > 1 else "a database"
        return (
            f"{several} of PostgreSQL {self._server.major} with {len(self.tables)} tables, {format_size(size)} of rows"
        )

    def _foreign(self) -> list[str]:
        count = sum(table.kind == "f" for table in self._tables)
        return [f"{count} foreign tables are not counted: their rows are elsewhere"] if count else []
