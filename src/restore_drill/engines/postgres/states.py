"""What the catalogues of a database say of its objects: valid or not, switched on or off, filled or empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from restore_drill.engines.postgres import batches
from restore_drill.engines.postgres.findings import Findings, several
from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.engines.postgres.tables import SYSTEM

_NAME: Final = "case when n.nspname = 'public' then '' else n.nspname || '.' end || c.relname"
# rule, name. A trigger that enforces a foreign key belongs to the server, and can be switched off all the same.
_STATES: Final = f"""
select 'not_valid', {_NAME} || '.' || k.conname from pg_constraint k join pg_class c on c.oid = k.conrelid
  join pg_namespace n on n.oid = c.relnamespace where not k.convalidated and {{enforced}} and not {SYSTEM}
union all
select 'unpopulated', {_NAME} from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'm' and not c.relispopulated and not {SYSTEM}
union all
select case when c.relkind = 'I' then 'unattached_index' else 'invalid_index' end, {_NAME}
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where not (i.indisvalid and i.indisready) and c.relpersistence <> 't' and not {SYSTEM}
union all
select distinct 'disabled_trigger', {_NAME} || case when t.tgisinternal then '' else '.' || t.tgname end
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where t.tgenabled = 'D' and not {SYSTEM} {{cloned}}
union all
select 'unlogged', {_NAME} from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'u' and not {SYSTEM}
union all
select 'foreign_tables', {_NAME} from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'f' and not {SYSTEM}
union all
select 'event_triggers', evtname from pg_event_trigger where evtenabled <> 'D'
union all
select 'subscriptions', srvname from pg_foreign_server
union all
select 'subscriptions', s.subname from pg_subscription s join pg_database d on d.oid = s.subdbid
where d.datname = current_database()
union all
select 'extension_version', e.extname from pg_extension e left join pg_available_extensions a on a.name = e.extname
where a.default_version is distinct from e.extversion
union all
select distinct 'collation', c.collname from pg_collation c
where c.collversion is not null and c.collversion is distinct from pg_collation_actual_version(c.oid)
  and exists (select 1 from pg_attribute a where a.attcollation = c.oid and a.attrelid >= 16384)
{{database}}
"""
_DATABASE: Final = """union all
select 'collation', 'the database itself' from pg_database d
where d.datname = current_database() and d.datcollversion is not null
  and d.datcollversion is distinct from pg_database_collation_actual_version(d.oid)
"""
_SAID: Final[Mapping[str, str]] = {
    "not_valid": "these constraints were never validated",
    "unpopulated": "these materialised views hold nothing and raise an error when they are asked",
    "disabled_trigger": "triggers are switched off of",
    "foreign_tables": "these tables are foreign, and their rows are not part of this backup",
    "extension_version": "the server has other versions of these extensions, or none",
    "event_triggers": "these run when the schema is changed or somebody logs in",
    "subscriptions": "these would reach out, and are held by the sandbox",
}


def check_states(
    server: PostgresServer, database: str, found: Findings, *, seconds: float, physical: bool, rows: bool = True
) -> None:
    """Tell what the catalogues say.

    Args:
        server: It runs.
        database: Which.
        found: Is told.
        seconds: What the question may take.
        physical: The files themselves came back, with the indexes that were in them.
        rows: Whether all rows were restored.
    """
    states: dict[str, list[str]] = {}
    for rule, name in batches.rows(server, database, _question(server.major), seconds=seconds):
        states.setdefault(rule or "", []).append(name or "")
    for rule, words in _SAID.items():
        if rule in states and (rows or rule != "unpopulated"):
            found.remark(rule, words, states[rule])
    _check_indexes(states, found, physical=physical)
    if physical and "unlogged" in states:
        found.remark("unlogged", "a base backup holds no rows of these unlogged tables", states["unlogged"])
    _check_collations(states.get("collation", []), found, physical=physical)
    found.checked.append("state of every object")


def _check_indexes(states: Mapping[str, list[str]], found: Findings, *, physical: bool) -> None:
    """A dump brings no invalid index: one that is there was built here, and could not be. Base backups bring them."""
    invalid = states.get("invalid_index", [])
    if "unattached_index" in states:
        found.remark("invalid_index", "not every partition has these indexes", states["unattached_index"])
    if invalid and physical:
        found.remark("invalid_index", "these indexes are not used", invalid)
    elif invalid:
        found.problem("invalid_index", f"these indexes could not be built: {several(invalid)}", len(invalid))


def _check_collations(names: list[str], found: Findings, *, physical: bool) -> None:
    """Indexes over text are sorted as the collation was when they were written; those of a dump are written here."""
    words = "text was sorted by another version of the collation"
    if names and physical:
        found.problem("collation", f"{words}, and indexes over it may miss rows: {several(names)}", len(names))
    elif names:
        found.remark("collation", words, names)


def _question(major: int) -> str:
    return _STATES.format(
        enforced="k.conenforced" if major >= 18 else "true",
        cloned="and t.tgparentid = 0" if major >= 13 else "",
        database=_DATABASE if major >= 15 else "",
    )


def data_checksums(server: PostgresServer, database: str, *, seconds: float) -> bool:
    """Whether pages have checksums, so that reading one proves it."""
    return batches.rows(server, database, "show data_checksums", seconds=seconds) == [["on"]]
