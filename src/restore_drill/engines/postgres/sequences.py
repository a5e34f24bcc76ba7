"""Sequences behind the columns that they feed: the first insert after a restore would be refused."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from restore_drill.engines.postgres import batches
from restore_drill.engines.postgres.batches import Outcome, Piece
from restore_drill.engines.postgres.findings import Findings
from restore_drill.engines.postgres.server import PostgresServer, identifier
from restore_drill.engines.postgres.tables import SYSTEM

# A sequence feeds a column that owns it (serial, identity), or whose default depends on it. The defaults of partitions
# are those of the whole, whose highest value is looked for.
_FED: Final = f"""
with fed(sequence, relation, attribute) as (
  select d.objid, d.refobjid, d.refobjsubid from pg_depend d
  where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
    and d.refobjsubid > 0
  union
  select d.refobjid, f.adrelid, f.adnum from pg_depend d join pg_attrdef f on f.oid = d.objid
  where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
)
select sn.nspname, s.relname, q.seqincrement::text, n.nspname, c.relname, a.attname, pg_relation_size(c.oid)::text,
  c.oid::text
from fed join pg_class s on s.oid = fed.sequence and s.relkind = 'S'
  join pg_namespace sn on sn.oid = s.relnamespace join pg_sequence q on q.seqrelid = s.oid
  join pg_class c on c.oid = fed.relation and c.relkind in ('r', 'p') and not c.relispartition
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum = fed.attribute and not a.attisdropped
where a.atttypid in (20, 21, 23, 1700) and not q.seqcycle and c.relpersistence <> 't'
  and not {SYSTEM.replace("n.", "sn.")}
"""


_ALL: Final = f"""
select count(*) from pg_class s join pg_namespace n on n.oid = s.relnamespace where s.relkind = 'S' and not {SYSTEM}
"""


@dataclass(slots=True)
class _Sequence:
    sql: str
    rising: bool
    columns: list[tuple[str, str]] = field(default_factory=list)
    weight: int = 0

    @property
    def question(self) -> str:
        """Whether its next value is one that a column has or has passed."""
        extreme, beyond = ("max", "<=") if self.rising else ("min", ">=")
        values = " union all ".join(f"select {extreme}({column}) as v from {table}" for table, column in self.columns)
        # The last value of all has no next one among those of bigint.
        step = f"case when is_called then {1 if self.rising else -1} else 0 end"
        following = f"(select last_value::numeric + {step} from {self.sql})"
        return f"select coalesce({following} {beyond} (select {extreme}(v) from ({values}) x), false)::text"


def check_sequences(
    server: PostgresServer, database: str, found: Findings, *, until: float, parallel: int,
    restored: frozenset[int] | None = None,
) -> None:  # fmt: skip
    """Compare every sequence with the highest value of the columns that it feeds; see :func:`.keys.check_keys`."""
    known = _sequences(server, database, restored, until)
    if restored is None:
        total = batches.rows(server, database, _ALL, seconds=max(1.0, until - time.monotonic()))
        if loose := int(total[0][0] or 0) - len(known):
            found.checked.append(f"sequences without {loose} that feed no column: nothing tells how far they must be")
    pieces = [Piece(name, sequence.question, sequence.weight) for name, sequence in known.items()]
    if not pieces:
        return
    outcomes = batches.ask(server, database, pieces, until=until, parallel=parallel)
    behind = [name for name, outcome in outcomes.items() if outcome.values == ("true",)]
    if behind:
        found.remark("sequences", "the next value of these sequences is taken already", behind)
    _say_undone(database, outcomes.values(), found)
    found.checked.append("sequences")


def _sequences(
    server: PostgresServer, database: str, restored: frozenset[int] | None, until: float
) -> dict[str, _Sequence]:
    known: dict[str, _Sequence] = {}
    for row in batches.rows(server, database, _FED, seconds=max(1.0, until - time.monotonic())):
        space, name, increment, schema, table, column, size, oid = (value or "" for value in row)
        if restored is not None and int(oid) not in restored:
            continue
        sequence = known.setdefault(
            f"{space}.{name}".removeprefix("public."),
            _Sequence(f"{identifier(space)}.{identifier(name)}", not increment.startswith("-")),
        )
        sequence.columns.append((f"{identifier(schema)}.{identifier(table)}", identifier(column)))
        sequence.weight += int(size or 0)
    return known


def _say_undone(database: str, outcomes: Iterable[Outcome], found: Findings) -> None:
    """Damage is told by who reads every row and every sequence."""
    missing = [outcome for outcome in outcomes if outcome.problem is not None and not outcome.damage]
    if missing:
        found.undone.append(f"{database}: {len(missing)} sequences")
        for outcome in missing:
            found.detail(outcome.problem.details if outcome.problem else ())
