"""What came back: found on the server, whatever a dump says about where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from restore_drill.engines.base import nothing_came_back
from restore_drill.engines.postgres.server import Answer, PostgresServer
from restore_drill.engines.postgres.settings import no_such_database

if TYPE_CHECKING:
    from restore_drill.engines.postgres.logical import Plan
    from restore_drill.engines.postgres.prepare import Loaded

_SYSTEM: Final = "('pg_catalog', 'information_schema', 'pg_toast')"
#: Objects of users, what extensions brought left out: tables with rows of their own, other relations, bytes, routines,
#: large objects.
_CONTENT: Final = f"""
SELECT count(*) FILTER (WHERE c.relkind IN ('r', 'p')),
       count(*) FILTER (WHERE c.relkind IN ('v', 'm', 'S', 'f')),
       coalesce(sum(pg_relation_size(c.oid)) FILTER (WHERE c.relkind = 'r'), 0)::bigint,
       (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname NOT IN {_SYSTEM} AND NOT EXISTS (
          SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')),
       (SELECT count(*) FROM pg_largeobject_metadata),
       pg_database_size(current_database())
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN {_SYSTEM} AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast%'
  AND NOT EXISTS (
    SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
#: Nothing of the dump's own is asked by mistake, whatever it sets for its database.
_QUIET: Final = {"search_path": "pg_catalog"}
_IDENTITY: Final = "select system_identifier from pg_control_system()"
_DATABASES: Final = """
SELECT datname, pg_encoding_to_char(encoding) FROM pg_database
WHERE datallowconn AND datname <> 'template0' ORDER BY datname
"""


@dataclass(frozen=True, slots=True)
class Content:
    """What is in one database."""

    name: str
    tables: int
    others: int
    bytes: int
    routines: int
    blobs: int
    size: int

    @property
    def any(self) -> bool:
        """Whether a user put anything into it."""
        return bool(self.tables or self.others or self.routines or self.blobs)

    @property
    def rows(self) -> bool:
        """Whether there is a row or a large object."""
        return bool(self.bytes or self.blobs)


@dataclass(slots=True)
class Came:
    """The databases that came back, the examined one first."""

    databases: list[str]
    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def find(server: PostgresServer, plan: Plan, loaded: Loaded) -> Came:
    """Look into every database of the server.

    Raises:
        BackupFailed: Nothing came back, or not the database that the catalogue names.
    """
    back, identity = look(server, seconds=plan.left, parallel=plan.options.threads)
    _refuse_nothing(back, plan, loaded)
    chosen = _chosen(back, plan)
    notes = list(loaded.notes)
    if len(back) > 1:
        others = [each.name for each in back if each is not chosen]
        notes.append(f"examined is the database {chosen.name}; others came back: {', '.join(others[:20])}")
    if len(plan.dumps) == 1 and not plan.dumps[-1]["database"] and chosen.name not in loaded.aims:
        notes.append(f"the dump makes its database itself: it came back as {chosen.name}")
    order = [chosen.name, *(each.name for each in back if each is not chosen)]
    facts = {
        "databases": order,
        "unnamed": loaded.unnamed,
        "provided": [name for name in order if name in loaded.aims],
        "stood_in": loaded.stood_in,
        "relations": sum(each.tables for each in back),
        "database_bytes": sum(each.size for each in back),
        **({"roles": loaded.roles} if loaded.roles else {}),
        # What proves that it is another cluster than the one that was dumped; servers before 9.6 do not tell.
        **({} if identity.problem else {"system_identifier": identity.rows[0][0]}),
    }
    return Came(order, facts, notes)


def look(server: PostgresServer, *, seconds: float, parallel: int) -> tuple[list[Content], Answer]:
    """What is in each database that somebody made or filled, and what identifies the cluster.

    Raises:
        CouldNotVerify: The server cannot be asked.
    """
    databases, identity = server.ask("template1", [_DATABASES, _IDENTITY], seconds=seconds)
    if databases.problem:
        raise databases.problem
    names = [str(row[0]) for row in databases.rows]
    server.unencoded = {str(name) for name, encoding in databases.rows if encoding == "SQL_ASCII"}
    answers = server.psql_many(
        [(name, _CONTENT) for name in names], seconds=seconds, parallel=parallel, settings=_QUIET
    )
    contents = []
    for name, answer in zip(names, answers, strict=True):
        if answer.problem:
            raise answer.problem
        contents.append(Content(name, *(int(value or 0) for value in answer.rows[0])))
    # A database that was made and stayed empty counts, unless every server has it.
    return [each for each in contents if each.any or each.name not in ("postgres", "template1")], identity


def _refuse_nothing(back: Sequence[Content], plan: Plan, loaded: Loaded) -> None:
    if not back and loaded.roles:
        return
    if plan.options.allow_empty:
        return
    if not any(each.any for each in back):
        raise nothing_came_back("there is not one table in any database")
    wants_rows = plan.options.depth == "full"
    if wants_rows and not any(each.rows for each in back) and any(each.tables for each in back):
        tables = sum(each.tables for each in back)
        raise nothing_came_back(f"{tables} table{'s' if tables != 1 else ''} came back, and not one row")


def _chosen(back: Sequence[Content], plan: Plan) -> Content:
    wanted = plan.settings.database
    if wanted:
        found = next((each for each in back if each.name == wanted), None)
        if found is None:
            raise no_such_database(wanted, [each.name for each in back])
        return found
    if not back:
        return Content("postgres", 0, 0, 0, 0, 0, 0)
    return max(back, key=lambda each: (each.any, each.size))
