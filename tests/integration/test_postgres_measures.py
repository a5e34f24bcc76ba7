"""What is measured on a restored PostgreSQL server: every rule with its damage, and the same server undamaged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.checking import baseline, context
from tests.support.postgres_server import PROGRAMS, ROWS, SHOP, Postgres, contained, running

from restore_drill.checks.integrity import IntegrityCheck
from restore_drill.checks.rows import RowCountCheck
from restore_drill.checks.structure import StructureCheck
from restore_drill.engines.postgres.findings import STRICTNESS, Findings
from restore_drill.engines.postgres.sequences import check_sequences
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.model import Verdict

_PAGE = 8192


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[Postgres]:
    for program in PROGRAMS:
        require_program(program)
    with running(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Iterator[str]:
    """A database that nothing is wrong with; tests change copies of it only."""
    with postgres.database(*SHOP) as name:
        yield name


# --- counts -----------------------------------------------------------------------------------------------------------


def test_every_table_is_counted_once_under_the_name_that_a_user_would_write(postgres: Postgres, shop: str) -> None:
    restored = postgres.restored(shop)
    assert restored.row_counts() == ROWS
    assert restored.estimates() == {}
    assert restored.tables == sorted(ROWS)


def test_of_several_databases_the_examined_one_goes_without_its_name(postgres: Postgres, shop: str) -> None:
    with postgres.database("create schema s; create table s.t (a int); create table orders (a int)") as other:
        counts = postgres.restored(other, shop).row_counts()
        assert {name: counts[name] for name in ("orders", "s.t", f"{shop}.orders", f"{shop}.sales.regions")} == {
            "orders": 0, "s.t": 0, f"{shop}.orders": 5000, f"{shop}.sales.regions": 50,
        }  # fmt: skip
        assert len(counts) == len(ROWS) + 2


def test_foreign_tables_have_no_rows_here_and_that_is_said(postgres: Postgres) -> None:
    foreign = (
        "create extension file_fdw; create server files foreign data wrapper file_fdw",
        "create foreign table lines (line text) server files options (filename '/etc/hostname')",
        "create table t (a int)",
    )
    with postgres.database(*foreign) as name:
        restored = postgres.restored(name)
        assert restored.row_counts() == {"t": 0}
        assert restored.notes == ["1 foreign tables are not counted: their rows are elsewhere"]
        assert restored.structure()["foreign table"] == ["lines"]
        assert _rules(restored.integrity())["remarks"] == {"foreign_tables", "subscriptions"}


@pytest.fixture(scope="module")
def large(postgres: Postgres) -> Iterator[str]:
    """More rows than a server counts in no time at all."""
    rows = "insert into big select n from generate_series(1, 400000) n; insert into parts select n from big b(n)"
    tables = (
        "create table big (n int); create table small (n int); create table parts (n int) partition by range (n)",
        "create table few partition of parts for values from (0) to (5); create table rest partition of parts default",
    )
    with postgres.database(*tables, rows) as name:
        yield name


def test_what_is_not_counted_in_time_is_an_estimate_and_no_verdict(postgres: Postgres, large: str) -> None:
    late = postgres.restored(large, deadline=0.0)
    assert late.row_counts().keys() & {"big", "parts"} == set()
    assert late.estimates().keys() >= {"big", "parts"}
    assert late.estimates()["big"] == pytest.approx(400000, rel=0.5)
    for expect, detail in (({"rows": {"big": {"min": 1}}}, "big"), ({"rows": {"default": {"min": 0}}}, "other-tables")):
        told, check = context(expect, detail=detail), RowCountCheck()
        facts = json.loads(json.dumps(check.measure(late, told)))
        assert "big" in facts["estimates"]
        with pytest.raises(CouldNotVerify, match="could not be counted in time"):
            check.judge(facts, told)
        in_time = check.measure(postgres.restored(large), told)
        assert "estimates" not in in_time
        assert check.judge(in_time, told).passed


def test_an_uncounted_table_neither_vanished_nor_was_emptied(postgres: Postgres, large: str) -> None:
    before = baseline(structure={"table": ["big", "parts", "small"]}, counts={"big": 400000, "small": 0})
    told, check = context(baseline=before), StructureCheck()
    with pytest.raises(CouldNotVerify, match="the rows of big could not be counted in time"):
        check.judge(check.measure(postgres.restored(large, deadline=0.0), told), told)
    assert check.judge(check.measure(postgres.restored(large), told), told).passed


# --- questions --------------------------------------------------------------------------------------------------------


def test_answers_have_the_types_that_they_have_in_the_database(postgres: Postgres, shop: str) -> None:
    restored = postgres.restored(shop)
    assert restored.query(
        "-- typed\nselect 1, 1.5, 2::bigint << 40, true, null, max(placed), date '2026-01-02', 'a' as x, 'b' as x, "
        "array[1, 2], '{\"a\": [1]}'::jsonb, timestamp '2026-01-02 03:04', ';' as semicolon from orders; -- behind"
    ) == [
        (
            1, 1.5, 2199023255552, True, None, "2026-11-23T00:00:00+00:00", "2026-01-02", "a", "b", [1, 2],
            {"a": [1]}, "2026-01-02T03:04:00", ";",
        )
    ]  # fmt: skip
    assert restored.scalar("select id from customers where false") is None
    assert restored.query("values (1, 'a'), (2, null)") == [(1, "a"), (2, None)]
    assert restored.scalar("show server_encoding") == "UTF8"
    assert restored.scalar('select count(*) from "Odd Ones"."Mixed ""Case"') == 2


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("delete from orders", "cannot execute DELETE in a read-only transaction"),
        ("with gone as (delete from orders returning id) select * from gone", "data-modifying statement"),
        ("select nextval('customers_id_seq')", "cannot execute nextval\\(\\) in a read-only transaction"),
        ("selec 1", "syntax error"),
        ("select * from nowhere", 'relation "nowhere" does not exist'),
        ("select name::int from customers", "SQLSTATE 22P02"),
        ("select id from orders o, generate_series(1, 3)", "more than 10000 rows"),
        ("select repeat('x', 5000000)", "longer than 4 MiB"),
        (r"\! touch here", "no SQL statement"),
    ],
)
def test_what_is_wrong_writes_or_answers_too_much_is_refused(
    postgres: Postgres, shop: str, sql: str, said: str
) -> None:
    with pytest.raises(CouldNotVerify, match=said) as caught:
        postgres.restored(shop).query(sql)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert "c1" not in str(caught.value)  # a value of a row
    assert postgres.restored(shop).row_counts() == ROWS


def test_a_question_has_a_deadline_of_its_own(postgres: Postgres, shop: str) -> None:
    restored = postgres.restored(shop)
    with pytest.raises(DeadlineExceeded):
        restored.query("select count(*) from generate_series(1, 100000000000)", 0.2)
    assert restored.scalar("select count(*) from orders", 60.0) == 5000


def test_a_driver_connects_over_the_socket_and_reads_only(postgres: Postgres, shop: str) -> None:
    import psycopg

    with psycopg.connect(postgres.restored(shop).dsn()) as connection:
        answer = connection.execute("select count(*), current_database() from orders").fetchone()
        assert answer == (5000, shop)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("delete from orders")


def test_at_depth_schema_nothing_is_asked_of_empty_tables(postgres: Postgres, shop: str) -> None:
    restored = postgres.restored(shop, depth="schema")
    for ask in (restored.row_counts, lambda: restored.query("select 1"), lambda: restored.scalar("select 1")):
        with pytest.raises(CouldNotVerify, match="DEPTH SCHEMA"):
            ask()
    assert restored.estimates() == {}
    assert "orders" in restored.structure()["table"]


def test_a_sample_counts_and_examines_its_own_tables_only(postgres: Postgres, shop: str) -> None:
    orphans = "truncate customers cascade; insert into orders values (1, 7, 1, null, now())"
    with postgres.database("set session_replication_role = replica", orphans, template=shop) as name:
        sampled = postgres.restored(name, depth="sample", tables=("orders", "sales.shops"))
        assert sampled.row_counts() == {"orders": 1, "sales.shops": 41}
        assert sampled.integrity()["problems"] == []
        assert _rules(postgres.restored(name).integrity())["problems"] == {"foreign_key"}


# --- structure --------------------------------------------------------------------------------------------------------


def test_every_kind_of_object_has_its_name(postgres: Postgres, shop: str) -> None:
    found = postgres.restored(shop).structure()
    assert found["table"] == [
        'Odd Ones.Mixed "Case', "child", "customers", "events", "orders", "parent", "public.sales.shops",
        "sales.regions", "sales.shops", "scratch",
    ]  # fmt: skip
    assert found["view"] == ["open_orders"]
    assert found["materialized view"] == ["totals"]
    assert found["sequence"] == ["customers_id_seq", "orders_id_seq"]
    assert found["trigger"] == ["orders.noting"]
    assert found["policy"] == ["customers.own"]
    assert found["rule"] == ["sales.shops.nothing"]
    assert found["function"] == ["noted()"]
    assert found["type"] == ["mood", "price"]
    assert found["schema"] == ["Odd Ones", "sales"]
    assert "events_at" in found["index"]
    assert not [name for names in found.values() for name in names if name.startswith("events_1")]
    assert "sales.shops.shops_country_code_fkey" in found["constraint"]


#: Changes of a schema, and the line of the reference that each of them takes away.
_CHANGES = {
    "drop index orders_hash": "index: orders_hash",
    "alter table customers alter note type varchar": "column: customers.note text",
    "alter table customers disable row level security": "table: customers row security",
    "alter table orders disable trigger noting": "trigger: orders.noting",
    "alter type mood rename value 'happy' to 'glad'": "type: mood enum (happy, so, so)",
    "drop policy own on customers": "policy: customers.own select",
    "revoke select on orders from current_role_of_tests": "grant: orders to current_role_of_tests select",
    "alter table orders alter placed drop not null": "column: orders.placed timestamp with time zone not null",
    "drop function noted cascade": "function: noted()",
}


def test_a_reference_tells_what_is_not_as_it_was(postgres: Postgres, shop: str) -> None:
    role = "create role current_role_of_tests"
    with postgres.database(role, "grant select on orders to current_role_of_tests", template=shop) as name:
        reference = set(postgres.restored(name).outline())
        assert set(_CHANGES.values()) <= reference
        postgres.run(*_CHANGES, database=name)
        assert reference - set(postgres.restored(name).outline()) == set(_CHANGES.values())
    postgres.run("drop role current_role_of_tests")


# --- integrity --------------------------------------------------------------------------------------------------------


def _rules(facts: dict[str, Any]) -> dict[str, set[str]]:
    return {part: {each["rule"] for each in facts[part]} for part in ("problems", "remarks")}


def _judged(facts: dict[str, Any], **expect: Any) -> Any:
    return IntegrityCheck().judge(json.loads(json.dumps(facts)), context(expect))


@pytest.mark.parametrize("physical", [False, True])
def test_nothing_is_found_where_nothing_is_wrong(postgres: Postgres, shop: str, physical: bool) -> None:
    before = postgres.restored(shop).outline()
    facts = postgres.restored(shop, physical=physical).integrity()
    assert (facts["problems"], facts["undone"]) == ([], [])
    assert _rules(facts)["remarks"] == ({"unlogged"} if physical else set())
    assert facts["checked"] == [
        "state of every object", "sequences", "amcheck", "read of every row", "read of indexes that are no B-trees",
        "definitions", "foreign keys",
    ]  # fmt: skip
    assert _judged(facts).passed
    assert postgres.restored(shop).outline() == before  # nothing of ours is left in it


#: What a faithful dump may contain: what brings it about, its rule, and what is told of it.
_STATES = (
    ("alter table orders add check (id > 0) not valid", "not_valid", "orders.orders_id_check"),
    ("refresh materialized view totals with no data", "unpopulated", "totals"),
    ("alter table orders disable trigger noting", "disabled_trigger", "orders.noting"),
    ("alter table sales.shops disable trigger all", "disabled_trigger", "sales.shops"),
    ("select setval('customers_id_seq', 7)", "sequences", "customers_id_seq"),
    ("insert into orders (id, customer, placed) values (9999, 1, now())", "sequences", "orders_id_seq"),
    ("create sequence loose; create table l (n bigint default nextval('loose'))", "sequences", "loose"),
    ("insert into l values (5)", "sequences", "loose"),
    ("create sequence down increment -1; create table m (n int default nextval('down'))", "sequences", "down"),
    ("insert into m values (-3)", "sequences", "down"),
    ("create index lame on only events (id)", "invalid_index", "lame"),
    ("update pg_extension set extversion = '0.9'", "extension_version", "plpgsql"),
    (
        "create subscription sub connection 'host=nowhere' publication p with (connect = false, slot_name = none)",
        "subscriptions", "sub",
    ),
    (
        "create function seen() returns event_trigger language plpgsql as 'begin raise exception ''no''; end'; "
        "create event trigger watching on ddl_command_start execute function seen()",
        "event_triggers", "watching",
    ),
)  # fmt: skip


def test_what_a_faithful_dump_may_contain_is_a_note_unless_the_catalogue_is_strict(
    postgres: Postgres, shop: str
) -> None:
    with postgres.database(*(change for change, _, _ in _STATES), template=shop) as name:
        facts = postgres.restored(name).integrity("quick")
        postgres.run("drop event trigger watching", "drop subscription sub", database=name)
    assert facts["problems"] == []
    assert _rules(facts)["remarks"] == {rule for _, rule, _ in _STATES} <= STRICTNESS.keys()
    messages = {remark["rule"]: remark["message"] for remark in facts["remarks"]}
    for _, rule, named in _STATES:
        assert named in messages[rule]
        strict = _judged(facts, strict=[rule])
        assert (strict.verdict, strict.message.startswith(f"{rule}: ")) == (Verdict.FAILED, True)
    easy = _judged(facts, strict=["missing_roles"])
    assert easy.passed
    assert len(easy.notes) == len(facts["remarks"])


@pytest.mark.parametrize(
    ("change", "low"),
    [
        ("select setval('customers_id_seq', 200, false)", True),
        ("select setval('customers_id_seq', 200)", False),
        ("select setval('customers_id_seq', 201, false)", False),
        ("alter sequence customers_id_seq cycle; select setval('customers_id_seq', 1)", False),
        ("truncate customers cascade; select setval('customers_id_seq', 1, false)", False),
        ("insert into customers (id, name) values (500, 'x')", True),
    ],
)
def test_a_sequence_is_low_when_its_next_value_is_taken(postgres: Postgres, shop: str, change: str, low: bool) -> None:
    with postgres.database(*change.split("; "), template=shop) as name:
        found = Findings()
        check_sequences(postgres.server, name, found, until=time.monotonic() + 60, parallel=1)
    assert [remark["rule"] for remark in found.remarks] == (["sequences"] if low else [])
    assert found.undone == []


def test_an_index_that_could_not_be_built_is_a_problem_and_of_a_base_backup_what_production_has(
    postgres: Postgres, shop: str
) -> None:
    change = "update pg_index set indisvalid = false where indexrelid = 'orders_placed'::regclass"
    with postgres.database(change, template=shop) as name:
        logical, physical = (postgres.restored(name, physical=each).integrity("quick") for each in (False, True))
    assert _rules(logical) == {"problems": {"invalid_index"}, "remarks": set()}
    assert _rules(physical) == {"problems": set(), "remarks": {"invalid_index", "unlogged"}}


def test_a_row_that_its_index_does_not_know_is_found_in_full(postgres: Postgres, shop: str) -> None:
    change = "update pg_index set indisready = {} where indexrelid = 'orders_placed'::regclass"
    row = "insert into orders (customer, placed) values (1, now())"
    with postgres.database(change.format("false"), row, change.format("true"), template=shop) as name:
        full, quick = (postgres.restored(name).integrity(mode) for mode in ("full", "quick"))
    assert _rules(full) == {"problems": {"btree"}, "remarks": set()}
    assert full["problems"][0]["message"] == "the index orders_placed is damaged"
    assert quick["problems"] == []


def test_orphans_are_counted_and_may_be_a_note(postgres: Postgres, shop: str) -> None:
    orphans = (
        "set session_replication_role = replica",
        "insert into sales.shops values (99, 'xx', 1), (98, 'xx', null), (97, null, null)",
        "insert into orders (id, customer, placed) values (-1, 777, now())",
    )
    with postgres.database(*orphans, template=shop) as name:
        facts = postgres.restored(name).integrity()
    found = {problem["message"]: problem["count"] for problem in facts["problems"]}
    assert found == {
        "orders.orders_customer_fkey: rows refer to rows that do not exist": 1,
        "sales.shops.shops_country_code_fkey: rows refer to rows that do not exist": 2,
    }
    assert _judged(facts, foreign_keys="note").passed
    assert "777" not in json.dumps(facts)


def test_keys_over_columns_of_different_collations_are_compared_as_the_server_does(postgres: Postgres) -> None:
    keys = (
        'create table one (k text collate "C" primary key)',
        'create table many (k text collate "POSIX" references one)',
        "insert into one values ('a')", "insert into many values ('a'), (null)",
    )  # fmt: skip
    orphan = ("set session_replication_role = replica", "insert into many values ('b')")
    with postgres.database(*keys) as good, postgres.database(*orphan, template=good) as bad:
        found = [postgres.restored(name).integrity() for name in (good, bad)]
    assert [facts["undone"] for facts in found] == [[], []]
    assert [problem["rule"] for problem in found[0]["problems"]] == []
    assert [problem["count"] for problem in found[1]["problems"]] == [1]


def test_a_sequence_may_be_at_its_very_end(postgres: Postgres) -> None:
    end = (
        "create sequence s", "create table t (n bigint default nextval('s'))",
        "select setval('s', 9223372036854775807)", "insert into t values (9223372036854775807)",
    )  # fmt: skip
    with postgres.database(*end) as name:
        facts = postgres.restored(name).integrity("quick")
    assert (facts["problems"], facts["undone"], facts["remarks"]) == ([], [], [])


def test_what_a_database_says_of_its_sessions_does_not_bind_those_that_examine_it(postgres: Postgres) -> None:
    made = (
        "create table t (n int)", "insert into t values (1)", "alter table t enable row level security",
        "create role blind", "alter table t owner to blind", "alter table t force row level security",
    )  # fmt: skip
    with postgres.database(*made) as name:
        for told in ("role = blind", "default_transaction_read_only = on", "statement_timeout = 1"):
            postgres.run(f"alter database {name} set {told}")
        restored = postgres.restored(name)
        assert restored.row_counts() == {"t": 1}
        assert restored.query("select count(*) from t") == [(1,)]
        facts = restored.integrity()
    postgres.run("drop role blind")
    assert (facts["problems"], facts["undone"]) == ([], [])


def test_a_collation_of_another_version_fails_base_backups_only(postgres: Postgres, shop: str) -> None:
    with postgres.database(template=shop) as name:
        postgres.run(f"update pg_database set datcollversion = 'old' where datname = '{name}'")
        logical, physical = (postgres.restored(name, physical=each).integrity("quick") for each in (False, True))
    assert _rules(logical) == {"problems": set(), "remarks": {"collation"}}
    assert _rules(physical) == {"problems": {"collation"}, "remarks": {"unlogged"}}


def test_what_there_was_no_time_for_is_no_pass(postgres: Postgres, shop: str) -> None:
    facts = postgres.restored(shop, deadline=0.0).integrity()
    assert (facts["problems"], facts["undone"]) == ([], [f"{shop}: everything"])
    with pytest.raises(CouldNotVerify, match="not everything could be looked at"):
        _judged(facts)


def test_what_the_restore_and_the_files_tell_stands_beside_it(postgres: Postgres, shop: str) -> None:
    remark = {"rule": "missing_roles", "message": "1 role was made without login: app", "count": 1}
    restored = postgres.restored(shop, remarks=[remark])
    assert restored.integrity("quick")["remarks"] == [remark]
    assert not _judged(restored.integrity("quick"), strict=["missing_roles"]).passed


def test_a_hostile_function_in_public_is_not_asked(postgres: Postgres, shop: str) -> None:
    """Functions that fit better than the system's would be taken where public stands in the search path."""
    traps = (
        "create function public.format_type(oid, int) returns text language sql as 'select 1/0; select ''x'''",
        "create function public.lower(name) returns text language plpgsql as 'begin raise exception ''trap''; end'",
        "create function public.concat(text, text) returns text language plpgsql as 'begin raise exception ''t''; end'",
        "create function public.trap(int, int) returns boolean language plpgsql as 'begin raise exception ''t''; end'",
        "create operator public.= (leftarg = int, rightarg = int, function = public.trap)",
    )
    with postgres.database(*traps, template=shop) as name:
        restored = postgres.restored(name)
        facts = restored.integrity()
        assert (facts["problems"], facts["undone"]) == ([], [])
        assert restored.row_counts() == ROWS
        assert set(restored.outline()) > set(postgres.restored(shop).outline())


# --- damaged files ----------------------------------------------------------------------------------------------------


_RUBBISH = bytes((n * 7 + 13) % 251 for n in range(_PAGE))
#: Each damage: relation, page (``0-``: zeros, which are a valid page without content), what full and quick call it.
_DAMAGES: dict[str, tuple[str, str, set[str], set[str]]] = {
    "heap": ("orders", "1", {"heap", "btree", "unreadable"}, {"heap"}),
    "btree": ("orders_pkey", "2", {"btree"}, {"btree"}),
    "toast": ("toast", "0-", {"heap", "unreadable"}, {"heap"}),
    "hash": ("orders_hash", "1", {"index"}, set()),
    "gin": ("orders_tags", "1", {"index"}, set()),
    "brin": ("orders_brin", "2", {"index"}, set()),
    "sequence": ("orders_id_seq", "0", {"unreadable"}, set()),
    "view": ("totals", "0", {"heap", "unreadable"}, {"heap"}),
}


@pytest.fixture(scope="module")
def damaged(postgres: Postgres, shop: str) -> Iterator[dict[str, str]]:
    """A database for each kind of damage, done while the server was stopped."""
    copies = {kind: f"broken_{kind}" for kind in _DAMAGES}
    files = {}
    for kind, name in copies.items():
        postgres.run(f"create database {name} template {shop}")
        relation = _DAMAGES[kind][0]
        if relation == "toast":
            toast = "select reltoastrelid::regclass::text from pg_class where relname = 'customers'"
            relation = str(postgres.run(toast, database=name)[0][0])
        files[kind] = postgres.file_of(relation, name)
    postgres.run("checkpoint")
    postgres.server.stop()
    for kind, path in files.items():
        page = _DAMAGES[kind][1]
        postgres.overwrite(path, int(page.rstrip("-")), bytes(_PAGE) if page.endswith("-") else _RUBBISH)
    postgres.server.start(seconds=60)
    yield copies
    for name in copies.values():
        postgres.run(f"drop database {name}")


@pytest.mark.parametrize("kind", _DAMAGES)
def test_each_damaged_page_is_found(postgres: Postgres, damaged: dict[str, str], kind: str) -> None:
    relation, _, full, quick = _DAMAGES[kind]
    facts = postgres.restored(damaged[kind], physical=True).integrity()
    assert _rules(facts)["problems"] == full, facts
    named = "customers" if relation == "toast" else relation
    assert all(named in problem["message"] for problem in facts["problems"])
    assert _judged(facts).verdict is Verdict.FAILED
    light = postgres.restored(damaged[kind], physical=True).integrity("quick")
    assert _rules(light)["problems"] == quick, light


def test_a_table_that_cannot_be_read_is_a_bad_backup_and_not_a_short_count(
    postgres: Postgres, damaged: dict[str, str]
) -> None:
    with pytest.raises(BackupFailed, match="the table orders cannot be read: XX001"):
        postgres.restored(damaged["heap"]).row_counts()
    assert postgres.restored(damaged["gin"]).row_counts() == ROWS


def test_a_deadline_that_strikes_half_way_is_no_pass(postgres: Postgres, large: str) -> None:
    facts = postgres.restored(large, deadline=0.05).integrity()
    assert (facts["problems"], bool(facts["undone"])) == ([], True)
    with pytest.raises(CouldNotVerify, match="not everything could be looked at"):
        _judged(facts)
    in_time = postgres.restored(large).integrity()
    assert (in_time["problems"], in_time["undone"]) == ([], [])


# --- other versions ---------------------------------------------------------------------------------------------------

_ALWAYS = (
    "create function seen() returns event_trigger language plpgsql as 'begin raise exception ''no''; end'; "
    "create event trigger watching on ddl_command_start execute function seen(); "
    "alter event trigger watching enable always"
)


@pytest.mark.parametrize("major", ["13", "18"])
def test_every_major_version_is_examined_alike(
    postgres: Postgres, shop: str, stand_in: Callable[[str], str], tmp_path: Path, major: str
) -> None:
    """13 has no pg_amcheck, 18 keeps more in its catalogues; what is listed of the same schema is the same."""
    image = stand_in(f"postgres:{major}")
    unbuilt = "update pg_index set indisready = {} where indexrelid = 'orders_placed'::regclass"
    row = "insert into orders (customer, placed) values (1, now())"
    orphan = ("set session_replication_role = replica", "insert into sales.shops values (98, 'xx', null)")
    with contained(tmp_path, major, image) as other, other.database(*SHOP) as name:
        restored = other.restored(name)
        facts = restored.integrity()
        assert (facts["problems"], facts["remarks"], facts["undone"]) == ([], [], [])
        assert restored.row_counts() == ROWS
        assert restored.outline() == postgres.restored(shop).outline()
        assert restored.structure() == postgres.restored(shop).structure()
        assert restored.scalar("select max(placed) from orders") == "2026-11-23T00:00:00+00:00"
        changes = (unbuilt.format("false"), row, unbuilt.format("true"), *orphan)
        with other.database(*changes, *((_ALWAYS,) if major == "18" else ()), template=name) as broken:
            damaged = other.restored(broken).integrity()
    assert _rules(damaged) == {
        "problems": {"btree", "foreign_key"}, "remarks": {"event_triggers"} if major == "18" else set(),
    }  # fmt: skip
    assert damaged["undone"] == []
