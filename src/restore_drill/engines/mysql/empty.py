"""An empty MySQL or MariaDB server for a runbook to restore into."""

# ruff: noqa: S608 - names are quoted where they become SQL

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from restore_drill.engines.base import EmptyServer, Restored, RestoreOptions
from restore_drill.engines.mysql.options import settings
from restore_drill.engines.mysql.recognise import MARIADB
from restore_drill.engines.mysql.restored import RestoredMysql
from restore_drill.engines.mysql.scan import OWN
from restore_drill.engines.mysql.server import MysqlServer, need
from restore_drill.engines.mysql.sql import literal
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Sandbox

_ASKED_WITHIN = 120.0


class EmptyMysql(EmptyServer):
    """A server without a database, which whoever reaches its socket may do everything to, by any name.

    Args:
        sandbox: Where it runs; what the runbook reads is in its work directory already.
        options: What the drill asks for.
        facts: What the drill's own restore measured: family and version.
    """

    def __init__(self, sandbox: Sandbox, options: RestoreOptions, facts: Mapping[str, Any]) -> None:
        self._options = options
        told = str(facts.get("server", ""))
        family = MARIADB if told.startswith("MariaDB") else "mysql"
        found = re.search(r"\d+\.\d+", told)
        needed = need(family, found[0] if found else "")
        ground = sandbox.equip(needed)
        programs = (needed.programs[0], needed.programs[1])
        until = time.monotonic() + options.deadline
        self._server = server = MysqlServer(sandbox, ground, family, programs, until=until, threads=options.threads)
        server.look()
        server.initialise()
        names = settings(options.settings).lower_case_table_names
        server.start({"lower-case-table-names": str(names)} if names else None)
        # An account without a name is everybody whom the server does not know otherwise.
        statements = [
            statement
            for name in ("root", "")
            for statement in (
                f"CREATE USER IF NOT EXISTS '{name}'@'localhost'",
                f"GRANT ALL ON *.* TO '{name}'@'localhost' WITH GRANT OPTION",
            )
        ]
        self._ask(statements, account=server.admin)
        self.data = ground.data
        # Of files of options the last one wins, the one at home; variables give way to any of them.
        sandbox.put(f"{ground.data}/.my.cnf", f"[client]\nhost=localhost\nsocket={server.socket_path}\n".encode())
        self.environment = {"HOME": ground.data, "MYSQL_HOST": "localhost", "MYSQL_UNIX_PORT": server.socket_path}

    def examine(self, database: str | None) -> Restored:
        """The databases that were made; the one that is named, or the one with the most tables, first."""
        found = self._found(database)
        if not found:
            what = f"the database {database} is not there" if database else "no database was made"
            raise BackupFailed(f"its steps ended well, and {what}")
        order = sorted(found, key=lambda name: (found[name], name), reverse=True)
        many = f"{len(order)} databases" if len(order) > 1 else "a database"
        summary = f"{many} of {sum(found.values())} tables"
        return RestoredMysql(self._server, self._options, order, {"summary": summary, "databases": order}, ())

    def left(self, database: str | None) -> str:
        """Their names."""
        return ", ".join(sorted(self._found(database)))

    def _found(self, database: str | None) -> dict[str, int]:
        """How many tables each database has."""
        own = ", ".join(literal(name) for name in sorted(OWN))
        listed, counted = self._ask(
            [
                f"SELECT schema_name, '' FROM information_schema.schemata WHERE LOWER(schema_name) NOT IN ({own})",
                "SELECT table_schema, COUNT(*) FROM information_schema.tables WHERE table_type <> 'VIEW' "
                f"AND LOWER(table_schema) NOT IN ({own}) GROUP BY table_schema",
            ],
            account=self._server.admin,
        )
        tables = {str(name): int(count) for name, count in counted}
        return {str(name): tables.get(str(name), 0) for name, _ in listed if database in (None, name)}

    def _ask(self, statements: list[str], account: str) -> list[list[Any]]:
        answers = self._server.ask(statements, seconds=_ASKED_WITHIN, account=account)
        if problem := next((answer.problem for answer in answers if answer.problem), None):
            raise CouldNotVerify(
                f"the server of the runbook cannot be asked (error {problem.number})",
                stage=Stage.CONTENT, details=(problem.message,),
            )  # fmt: skip
        return [list(answer.rows) for answer in answers]
