"""Everything that is looked at in a restored system; each part says what it found, and what it had no time for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from restore_drill.engines.postgres import amcheck, keys, reading, sequences, states
from restore_drill.engines.postgres.findings import Findings
from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.engines.postgres.tables import Table
from restore_drill.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Examined:
    """What is examined.

    Attributes:
        databases: All that came back, the examined one first.
        tables: Of all databases.
        names: What they are called, by database and oid.
        physical: The files themselves came back.
        sample: The tables whose rows were restored; ``None`` for all.
    """

    server: PostgresServer
    databases: Sequence[str]
    tables: Sequence[Table]
    names: Mapping[tuple[str, int], str]
    physical: bool = False
    sample: tuple[str, ...] | None = None

    def restored(self, database: str) -> frozenset[int] | None:
        """The tables of a database (oid) whose rows were restored; ``None`` for all."""
        if self.sample is None:
            return None
        return frozenset(oid for (of, oid), name in self.names.items() if of == database and name in self.sample)


def examine(what: Examined, mode: str, *, until: float, parallel: int) -> Findings:
    """Look at everything.

    Args:
        what: What came back.
        mode: ``full``, or ``quick``: heaps and indexes each for themselves, and what the catalogues say.
        until: ``time.monotonic()`` from which the rest is given up, and said to be.
        parallel: How many sessions may work at once.
    """
    found = Findings()
    if what.physical and not states.data_checksums(what.server, what.databases[0], seconds=60):
        found.remark("checksums_off", "the pages have no checksums: damage inside one may go unseen")
    for place, database in enumerate(what.databases):
        if time.monotonic() >= until:
            found.undone += [f"{each}: everything" for each in what.databases[place:]]
            break
        try:
            _examine(what, database, found, full=mode == "full", until=until, parallel=parallel)
        except DeadlineExceeded as problem:
            found.undone.append(f"{database}: {problem.cause}")
    found.checked[:] = dict.fromkeys(found.checked)
    return found


def _examine(what: Examined, database: str, found: Findings, *, full: bool, until: float, parallel: int) -> None:
    server, names = what.server, {oid: name for (of, oid), name in what.names.items() if of == database}
    seconds = max(1.0, until - time.monotonic())
    states.check_states(server, database, found, seconds=seconds, physical=what.physical, rows=what.sample is None)
    restored = what.restored(database)
    sequences.check_sequences(server, database, found, until=until, parallel=parallel, restored=restored)
    amcheck.check(server, database, found, names, full=full, until=until, parallel=parallel, descend=what.physical)
    if full:
        tables = [table for table in what.tables if table.database == database]
        reading.read_rows(server, database, tables, names, found, until=until, parallel=parallel)
        reading.read_indexes(server, database, found, until=until, parallel=parallel)
        reading.read_schema(server, database, found, until=until)
        keys.check_keys(server, database, found, until=until, parallel=parallel, restored=restored)
