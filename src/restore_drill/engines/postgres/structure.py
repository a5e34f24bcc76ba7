"""What a database consists of: names by type for every night, and lines that say more for a reviewed reference.

Both say the same of one schema on every major version: what only newer ones keep in their catalogues (not-null
constraints since 18), what depends on the packages of the server (members and versions of extensions), and what comes
and goes by itself (partitions, with their indexes, constraints and triggers) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from restore_drill.engines.postgres import batches
from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.engines.postgres.tables import OF_EXTENSION, SYSTEM, short_name
from restore_drill.outline import lines_of

_RELATION: Final = OF_EXTENSION.format(catalog="pg_class", oid="c.oid")
_WORDS: Final = (
    "case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' "
    "when 'f' then 'foreign table' else 'table' end"
)
#: A relation that is a user's own and no partition.
_OWN: Final = f"not {SYSTEM} and not c.relispartition and c.relpersistence <> 't' and not {_RELATION}"
# type, schema ('' where there is none), name, and what a reference says besides. Behind U+001F stands what of a
# relation or function is meant, so that dots in names are told from those that are ours.
_OBJECTS: Final = f"""
select 'schema', '', n.nspname, '' from pg_namespace n
where not {SYSTEM} and n.nspname <> 'public'
  and not {OF_EXTENSION.format(catalog="pg_namespace", oid="n.oid")}
union all
select {_WORDS}, n.nspname, c.relname, concat(
    case when c.relkind = 'p' then ' partitioned' end, case when c.relpersistence = 'u' then ' unlogged' end,
    case when c.relrowsecurity then ' row security' end, case when c.relforcerowsecurity then ' forced' end)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and {_OWN}
union all
select 'index', n.nspname, i.relname, case when x.indisunique then ' unique' else '' end
from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class c on c.oid = x.indrelid
  join pg_namespace n on n.oid = i.relnamespace
where {_OWN}
union all
select 'constraint', n.nspname, c.relname || chr(31) || '.' || k.conname,
  case k.contype when 'c' then ' check' when 'f' then ' foreign key' when 'p' then ' primary key'
    when 'u' then ' unique' when 'x' then ' exclusion' else '' end
    || case when k.convalidated then '' else ' NOT VALID' end
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where {_OWN} and k.contype in ('c', 'f', 'p', 'u', 'x') and {{whole_keys}}
union all
select 'trigger', n.nspname, c.relname || chr(31) || '.' || t.tgname,
  case when t.tgenabled = 'D' then ' disabled' else '' end
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and {_OWN}
union all
select 'policy', n.nspname, c.relname || chr(31) || '.' || p.polname, concat(
    case p.polcmd when 'r' then ' select' when 'a' then ' insert' when 'w' then ' update' when 'd' then ' delete'
      else ' all' end, case when p.polpermissive then '' else ' restrictive' end)
from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
where {_OWN}
union all
select 'rule', n.nspname, c.relname || chr(31) || '.' || r.rulename, ''
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN' and {_OWN}
union all
select 'function', n.nspname, p.proname || chr(31) || '(' || oidvectortypes(p.proargtypes) || ')', ''
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where not {SYSTEM} and not {OF_EXTENSION.format(catalog="pg_proc", oid="p.oid")}
  and not exists (select 1 from pg_depend d
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'i')
union all
select 'type', n.nspname, t.typname,
  case t.typtype when 'd' then ' domain over ' || format_type(t.typbasetype, t.typtypmod)
    when 'e' then coalesce(' enum (' || (select string_agg(e.enumlabel, ', ' order by e.enumsortorder) from pg_enum e
      where e.enumtypid = t.oid) || ')', ' enum') when 'r' then ' range' else '' end
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where not {SYSTEM} and not {OF_EXTENSION.format(catalog="pg_type", oid="t.oid")}
  and (t.typtype in ('e', 'd', 'r')
    or t.typtype = 'c' and exists (select 1 from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
union all
select 'extension', '', extname, '' from pg_extension where extname <> 'plpgsql'
union all
select 'event trigger', '', evtname, case when evtenabled = 'D' then ' disabled' else '' end from pg_event_trigger
union all
select 'publication', '', pubname, '' from pg_publication
"""
_COLUMNS: Final = f"""
select 'column', n.nspname, c.relname || chr(31) || '.' || a.attname, concat(' ', format_type(a.atttypid, a.atttypmod),
  case when a.attnotnull then ' not null' end, case when a.attidentity <> '' then ' identity' end,
  case when {{generated}} then ' generated' when a.atthasdef then ' default' end)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped and {_OWN}
union all
select 'grant', n.nspname, c.relname || chr(31) || ' to ' || coalesce(r.rolname, 'public'),
  ' ' || string_agg(distinct lower(p.privilege_type), ', ' order by lower(p.privilege_type))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
  cross join lateral aclexplode(c.relacl) p left join pg_roles r on r.oid = p.grantee
where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and p.grantee <> c.relowner and {_OWN}
  and p.privilege_type <> 'MAINTAIN'
group by 2, 3
"""


def objects(
    server: PostgresServer, databases: Sequence[str], *, seconds: float, without: frozenset[str] = frozenset()
) -> dict[str, list[str]]:
    """Names by type, of every database; the first is the examined one, whose name is left out.

    Args:
        server: It runs.
        databases: The databases that came back.
        seconds: What each answer may take.
        without: Extensions that are ours.
    """
    found: dict[str, set[str]] = {}
    for database in databases:
        for kind, schema, name, _ in _rows(server, database, _objects(server.major), seconds):
            if kind != "extension" or name not in without:
                found.setdefault(kind, set()).add(_shown(database, schema, name, databases[0]))
    return {kind: sorted(found[kind]) for kind in sorted(found)}


def outline(
    server: PostgresServer, databases: Sequence[str], *, seconds: float, without: frozenset[str] = frozenset()
) -> list[str]:
    """The same as lines that also tell columns with their types, what constraints are, labels of enums, and grants."""
    found: dict[str, set[str]] = {}
    for database in databases:
        for question in (_objects(server.major), _columns(server.major)):
            for kind, schema, name, more in _rows(server, database, question, seconds):
                if kind != "extension" or name not in without:
                    found.setdefault(kind, set()).add(_shown(database, schema, name, databases[0]) + more)
    return lines_of(found)


def _objects(major: int) -> str:
    # The parts of a foreign key to or from a partitioned table are constraints of their own since 11.
    return _OBJECTS.format(whole_keys="k.conparentid = 0" if major >= 11 else "true")


def _columns(major: int) -> str:
    return _COLUMNS.format(generated="a.attgenerated <> ''" if major >= 12 else "false")


def _rows(server: PostgresServer, database: str, question: str, seconds: float) -> list[tuple[str, str, str, str]]:
    found = batches.rows(server, database, question, seconds=seconds)
    return [(kind or "", schema or "", name or "", more or "") for kind, schema, name, more in found]


def _shown(database: str, schema: str, name: str, examined: str) -> str:
    """As tables are called; behind the name of a relation (and U+001F) stands what of it is meant."""
    first, _, rest = name.partition("\x1f")
    if not schema:
        return name if database == examined else f"{database}.{name}"
    return short_name(database, schema, first, examined) + rest
