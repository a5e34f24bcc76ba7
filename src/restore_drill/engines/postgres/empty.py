"""An empty PostgreSQL server for a runbook to restore into."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from restore_drill.engines.base import EmptyServer, Restored, RestoreOptions
from restore_drill.engines.postgres.logical import major, need
from restore_drill.engines.postgres.outcome import Content, look
from restore_drill.engines.postgres.restored import RestoredPostgres
from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.errors import BackupFailed
from restore_drill.sandboxes.base import Sandbox

_ASKED_WITHIN = 120.0


class EmptyPostgres(EmptyServer):
    """A cluster as ``initdb`` makes it: after a disaster there are no roles either, but those that the runbook makes.

    Args:
        sandbox: Where it runs; what the runbook reads is in its work directory already.
        options: What the drill asks for.
        facts: What the drill's own restore measured: the version.
    """

    def __init__(self, sandbox: Sandbox, options: RestoreOptions, facts: Mapping[str, Any]) -> None:
        self._options = options
        ground = sandbox.equip(need(major(str(facts.get("restored_by", "")))))
        until = time.monotonic() + options.deadline
        self._server = server = PostgresServer(sandbox, ground, until=until, threads=options.threads)
        server.end_initialise(server.begin_initialise(checksums=False))
        server.start()
        self.data = ground.data
        self.environment = {name: value for name, value in server.environment().items() if name != "PGAPPNAME"}

    def examine(self, database: str | None) -> Restored:
        """The databases that were made; the one that is named, or the largest, first."""
        found = self._found(database)
        if not found:
            what = f"the database {database} is not there" if database else "no database was made or filled"
            raise BackupFailed(f"its steps ended well, and {what}")
        order = [each.name for each in sorted(found, key=lambda each: (each.any, each.size), reverse=True)]
        facts = {"restored_by": self._server.version, "databases": order}
        return RestoredPostgres(self._server, self._options, order, facts, ())

    def left(self, database: str | None) -> str:
        """Their names."""
        return ", ".join(sorted(each.name for each in self._found(database)))

    def _found(self, database: str | None) -> list[Content]:
        found, _ = look(self._server, seconds=_ASKED_WITHIN, parallel=1)
        return [each for each in found if database in (None, each.name)]
