"""Dumps of PostgreSQL restored by the real programs: every form, in every sandbox, every fault beside its good twin."""

# ruff: noqa: E501 - statements, dumps and messages stand as they are

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support import postgres_dumps
from tests.support.postgres_dumps import ROWS

from restore_drill.engines.base import RestoreOptions
from restore_drill.engines.postgres.engine import PostgresEngine
from restore_drill.engines.postgres.restored import RestoredPostgres
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits

Damage = Callable[[bytes], bytes]
_PROGRAMS = ("initdb", "postgres", "psql", "pg_restore", "pg_dump", "pg_dumpall", "pg_amcheck")
#: Type and name of what must be there beside the rows.
_OBJECTS = {
    "view": "totals", "materialized view": "years", "function": "touched()", "trigger": "customers.touching",
}  # fmt: skip


@pytest.fixture(scope="session")
def dumps(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> dict[str, Path]:
    """One cluster's dumps for all of these tests."""
    for program in _PROGRAMS:
        require_program(program)
    return postgres_dumps.take(tmp_path_factory.mktemp("dumps"), require_program)


@pytest.fixture(scope="session")
def image(stand_in: Callable[[str], str]) -> str:
    return stand_in("postgres")


@contextmanager
def restored(
    dump: Path | bytes, base: Path, *, kind: str = "directory", parts: tuple[Path, ...] = (), depth: str = "full",
    tables: tuple[str, ...] = (), allow_empty: bool = False, **settings: Any,
) -> Iterator[RestoredPostgres]:  # fmt: skip
    """What comes back of a dump, a directory, or the bytes of a file."""
    (base / "sandboxes").mkdir(exist_ok=True)
    options = RestoreOptions(
        deadline=120, settings=settings, threads=2, depth=depth, tables=tables, allow_empty=allow_empty
    )
    sandbox_kind = load("sandboxes", kind)
    with sandbox_kind(base / "sandboxes", run="dumps", name="shop.nas", limits=Limits(processes=2)) as sandbox:
        target = sandbox.work / "payload-0"
        if isinstance(dump, Path) and dump.is_dir():
            shutil.copytree(dump, target)
            payload = Payload(PayloadForm.TREE, target, "tar", 1)
        else:
            target.write_bytes(dump if isinstance(dump, bytes) else dump.read_bytes())
            known = PostgresEngine.recognises(target.read_bytes()[:1024])
            assert known
            also = tuple(Path(shutil.copy(part, sandbox.work / f"part-{at}")) for at, part in enumerate(parts))
            payload = Payload(PayloadForm.FILE, target, known, 1, parts=also)
        came = PostgresEngine().restore([payload], sandbox, options)
        assert isinstance(came, RestoredPostgres)
        try:
            yield came
        finally:
            came.close()


def refused(dump: Path | bytes, base: Path, **options: Any) -> RestoreDrillError:
    """The error that it ends in."""
    with pytest.raises(RestoreDrillError) as caught, restored(dump, base, **options):
        pass
    assert caught.value.cause
    return caught.value


def assert_whole(came: RestoredPostgres, prefix: str = "") -> None:
    counts = came.row_counts()
    assert {name: counts[f"{prefix}{name}"] for name in ROWS} == ROWS
    names = {kind: set(found) for kind, found in came.structure().items()}
    assert {kind for kind, name in _OBJECTS.items() if any(name in each for each in names.get(kind, ()))} == set(
        _OBJECTS
    )
    asked = "select (select sum(length(lo_get(oid))) from pg_largeobject_metadata), (select count(*) from years)"
    assert came.query(asked) == [(100012, 2)]
    assert came.query("select count(*) from orders where tax = total * 0.19") == [(2000,)]
    assert came.query("""select "a;b" from "Sales Dept"."Mixed Case" order by 1""") == [
        ("\n\\.\n",),
        ("\\! id",),
        ("\\.",),
    ]
    owner = "select tableowner from pg_tables where tablename = 'customers'"
    assert came.query(owner) == [("app",)]


# --- every form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["custom", "piped", "stored", "tar", "script", "clean", "clean-create", "inserts", "directory"]
)
def test_comes_back_in_every_form(form: str, dumps: dict[str, Path], tmp_path: Path) -> None:
    with restored(dumps[form], tmp_path) as came:
        assert_whole(came)
        unnamed = form in ("script", "clean", "inserts")
        assert came.facts["databases"] == ["restored" if unnamed else "shop"]
        assert came.facts["unnamed"] == (["restored"] if unnamed else [])
        assert came.facts["provided"] == ([] if form == "clean-create" else came.facts["databases"])
        assert came.facts["stood_in"] > 0
        assert came.facts["dumped_by"].split()[0] == came.facts["restored_by"]
        assert any("Read Only, app" in note for note in came.notes)
        assert not any("and restored by" in note for note in came.notes)


@pytest.mark.parametrize("form", ["cluster", "cluster-clean"])
def test_every_database_of_a_cluster_comes_back(form: str, dumps: dict[str, Path], tmp_path: Path) -> None:
    with restored(dumps[form], tmp_path, database="shop") as came:
        assert_whole(came)
        assert set(came.facts["databases"]) == {"shop", "Second DB", "wide"}
        assert came.facts["databases"][0] == "shop"
        assert came.facts["roles"] == 3
        assert (came.facts["unnamed"], came.facts["provided"], came.facts["stood_in"]) == ([], [], 0)
        assert not any("NOLOGIN" in note for note in came.notes)


def test_globals_and_dumps_side_by_side_come_back_together(dumps: dict[str, Path], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("custom", "globals", "second"):
        shutil.copy(dumps[name], tree / name)
    with restored(tree, tmp_path) as came:
        assert_whole(came)
        assert came.facts["databases"] == ["shop", "Second DB"]
        assert not any("NOLOGIN" in note for note in came.notes)
    with restored(dumps["custom"], tmp_path, parts=(dumps["globals"],)) as came:
        assert not any("NOLOGIN" in note for note in came.notes)
        assert came.query("select rolcanlogin from pg_roles where rolname = 'app'") == [(True,)]


def test_five_hundred_tables_come_back(dumps: dict[str, Path], tmp_path: Path) -> None:
    with restored(dumps["wide"], tmp_path) as came:
        assert came.facts["relations"] == 500
        counts = came.row_counts()
        assert (len(counts), counts["t7"], counts["t8"]) == (500, 2, 0)


@pytest.mark.parametrize("form", ["custom", "directory", "cluster-clean"])
def test_comes_back_in_a_container(form: str, dumps: dict[str, Path], tmp_path: Path, image: str) -> None:
    with restored(dumps[form], tmp_path, kind="container", database="shop") as came:
        assert_whole(came)
        assert came.facts["programs"]


# --- what is damaged ----------------------------------------------------------------------------------------------------


def replaced(old: bytes, new: bytes) -> Damage:
    def damage(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return damage


def after(old: bytes, new: bytes) -> Damage:
    return replaced(old, old + new)


def until(mark: bytes) -> Damage:
    return lambda data: data[: data.index(mark)]


def flipped(data: bytes) -> bytes:
    place = len(data) - 2000
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


_SET = b"SET row_security = off;\n"
_TRAILER = b"--\n-- PostgreSQL database dump complete"
FAULTS: dict[str, tuple[str, Damage, type[RestoreDrillError], str]] = {
    "contents cut": ("custom", lambda data: data[:6000], BackupFailed, "its table of contents breaks off"),
    "rows cut": ("piped", lambda data: data[:-3000], BackupFailed, "ends inside of its data"),
    "rows cut, not compressed": ("stored", lambda data: data[:-3000], BackupFailed, "ends inside of its data"),
    "data flipped": ("custom", flipped, BackupFailed, "pg_restore cannot read all of it"),
    "tar cut": ("tar", lambda data: data[: len(data) // 2], BackupFailed, "ends inside of its data"),
    "tar without end": ("tar", lambda data: data.rstrip(b"\0"), BackupFailed, "last blocks are missing"),
    "newer archive": ("custom", lambda data: data[:6] + b"\x63" + data[7:], CouldNotVerify, "has version 1.99"),
    "schema only": ("schema", lambda data: data, BackupFailed, "and not one row"),
    "cut inside of rows": ("script", until(b"\\.\n\n\n--\n-- Data for Name: orders_2025"), BackupFailed, "of the rows of"),
    "cut between statements": ("script", until(b"\n--\n-- Name: customers_trgm"), BackupFailed, "says that it is complete"),
    "end lost": ("script", until(_TRAILER), BackupFailed, "says that it is complete"),
    "end of restriction lost": ("script", until(b"\\unrestrict"), BackupFailed, "\\unrestrict"),
    "cluster cut": ("cluster", until(b"--\n-- PostgreSQL database cluster dump complete"), BackupFailed, "is complete"),
    "shell": ("script", after(_SET, b"\\! id\n"), BackupFailed, "metacommand of psql"),
    "pipe": ("script", after(_SET, b"select 1 \\g |id\n"), BackupFailed, "metacommand of psql"),
    "elsewhere": ("script", after(_SET, b"\\connect \"host=db.example\"\n"), BackupFailed, "metacommand of psql"),
    "program": ("script", after(_SET, b"copy a from program 'id';\n"), BackupFailed, "COPY that runs a program"),
    "newer server": ("script", replaced(b"database version 1", b"database version 8"), CouldNotVerify, "8"),
    "extension": ("script", replaced(b"EXISTS pg_trgm", b"EXISTS timescaledb"), CouldNotVerify, "timescaledb"),
    "row of another table": (
        "script", after(b"FROM stdin;\n", b"1\ttwice\tok\t{}\n"), BackupFailed, "rows are garbled",
    ),
    "no parent": (
        "script", replaced(b"\n--\n-- Name: orders orders_customer_fkey", b"\nDELETE FROM public.customers WHERE id = 7;\n"
        b"\n--\n-- Name: orders orders_customer_fkey"), BackupFailed, "rows without their parents",
    ),
    "rows of no table": (
        "script", after(_SET, b"COPY public.none (a) FROM stdin;\n\\! exit 1\n\\.\n"), BackupFailed,
        "relation public.none is missing",
    ),
    "key twice": (
        "script", replaced(b"\nCOPY public.orders_2024", b"\nINSERT INTO public.customers (id, name) VALUES (1, 'private');\n"
        b"\nCOPY public.orders_2024"), BackupFailed, "unique index customers_pkey",
    ),
    "held": (
        "script", after(_SET, b"DO $x$ BEGIN CREATE TEMP TABLE p (a text); EXECUTE 'COPY p FROM PROGRAM ''cat /etc/shadow "
        b">&2; exit 3'''; END $x$;\n"), BackupFailed, "a program that it runs failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_dump_is_refused(fault: str, dumps: dict[str, Path], tmp_path: Path) -> None:
    form, damage, kind, words = FAULTS[fault]
    problem = refused(damage(dumps[form].read_bytes()), tmp_path)
    assert type(problem) is kind or isinstance(problem, kind)
    assert words in problem.cause
    assert problem.remedy
    assert "private" not in str(problem)
    assert not isinstance(problem, BackupFailed) or problem.stage is Stage.RESTORE


def test_a_directory_must_have_all_its_files(dumps: dict[str, Path], tmp_path: Path) -> None:
    for number, (form, pattern, words) in enumerate((
        ("directory", "[0-9]*.dat.gz", "of its table of contents is missing"),
        ("directory", "blob_4711.dat*", "large object"),
        ("directory-stored", "", "break off"),
    )):  # fmt: skip
        tree = tmp_path / f"tree-{number}"
        shutil.copytree(dumps[form], tree)
        if pattern:
            next(tree.glob(pattern)).unlink()
        else:
            rows = max(tree.glob("[0-9]*.dat"), key=lambda path: path.stat().st_size)
            rows.write_bytes(rows.read_bytes()[:-100])
        assert words in refused(tree, tmp_path).cause


def test_a_tar_that_was_packed_again_is_refused(dumps: dict[str, Path], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    with tarfile.open(dumps["tar"]) as packed:
        packed.extractall(tree, filter="data")
    problem = refused(tree, tmp_path)
    assert isinstance(problem, BackupFailed)
    assert "packed again" in problem.cause


# --- what is no damage --------------------------------------------------------------------------------------------------

HARMLESS: dict[str, tuple[str, Damage, str]] = {
    "a parameter of a later version": (
        "script", after(b"SET lock_timeout = 0;\n", b"SET later_timeout = 0;\n"), "later_timeout"),
    "a locale that is not here": (
        "clean-create", replaced(b"LOCALE = 'C.UTF-8'", b"LOCALE = 'tlh_QO.UTF-8'"), "tlh_QO.UTF-8"),
    "an older server": (
        "script", replaced(b"-- Dumped from database version 15", b"-- Dumped from database version 14"),
        "dumped from PostgreSQL 14, and restored by 15"),
    "a locale that is not here, of another encoding": (
        "clean-create", lambda data: replaced(b"LOCALE = 'C.UTF-8'", b"LOCALE = 'tlh_QO.ISO-8859-1'")(
            replaced(b"ENCODING = 'UTF8'", b"ENCODING = 'LATIN1'")(data)),
        "with the locale C in place of tlh_QO.ISO-8859-1"),
    "a tablespace": ("script", replaced(b"default_tablespace = ''", b"default_tablespace = fast"), "fast"),
    "a setting of a later version, given to the database": (
        "clean-create", replaced(b"ALTER DATABASE shop SET ", b"ALTER DATABASE shop SET later_timeout = 0;\nALTER DATABASE shop SET "),
        "later_timeout"),
    "another producer": (
        "script", lambda data: b"\n".join(line for line in data.split(b"\n") if not line.startswith(
            (b"--", b"\\restrict", b"\\unrestrict"))), "cannot be told from a cut"),
}  # fmt: skip


@pytest.mark.parametrize("what", HARMLESS)
def test_what_a_good_dump_may_have_is_a_note(what: str, dumps: dict[str, Path], tmp_path: Path) -> None:
    form, change, words = HARMLESS[what]
    with restored(change(dumps[form].read_bytes()), tmp_path) as came:
        assert_whole(came)
        assert any(words in note for note in came.notes)


def test_text_without_an_encoding_is_read_as_it_is(tmp_path: Path) -> None:
    script = (
        b"SET client_encoding = 'SQL_ASCII';\nCREATE TABLE a (t text);\nCOMMENT ON TABLE a IS 'caf\xe9';\n"
        b"COPY a FROM stdin;\ncaf\xe9\n\\.\nCREATE LANGUAGE plpgsql;\nCREATE TABLE b AS SELECT 1;\n"
    )
    with restored(script, tmp_path) as came:
        assert came.row_counts() == {"a": 1, "b": 1}
        facts = came.integrity()
        assert (facts["problems"], facts["undone"]) == ([], [])


def test_what_psql_gave_up_is_no_small_backup(tmp_path: Path) -> None:
    good = b"CREATE TABLE a AS SELECT 1;\nALTER SYSTEM RESET later_timeout;\nCREATE TABLE b AS SELECT 1;\n"
    problem = refused(good, tmp_path)
    assert isinstance(problem, CouldNotVerify)
    assert "psql stopped" in problem.cause
    with restored(good.replace(b"ALTER SYSTEM RESET later_timeout;\n", b""), tmp_path) as came:
        assert came.row_counts() == {"a": 1, "b": 1}


def test_a_database_of_foreign_tables_is_not_empty(tmp_path: Path) -> None:
    script = (
        b"CREATE EXTENSION postgres_fdw;\nCREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;\n"
        b"CREATE FOREIGN TABLE things (n int) SERVER far;\n"
    )
    with restored(script, tmp_path) as came:
        assert came.row_counts() == {}
    emptied = script + b"CREATE TABLE local (n int);\n"
    assert "not one row" in refused(emptied, tmp_path).cause


def test_an_empty_system_is_allowed_where_the_catalogue_says_so(dumps: dict[str, Path], tmp_path: Path) -> None:
    with restored(dumps["schema"], tmp_path, allow_empty=True) as came:
        assert set(came.row_counts().values()) == {0}


def test_a_server_that_does_not_come_up_says_nothing_of_the_backup(
    dumps: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restore_drill.engines.postgres.server._UP_IN", 0.0)
    problem = refused(dumps["custom"], tmp_path)
    assert type(problem) is CouldNotVerify
    assert "postgres was not ready within" in problem.cause and "nothing of the backup was in it" in problem.cause


# --- options ------------------------------------------------------------------------------------------------------------


def test_a_database_that_is_not_in_it_is_missed(dumps: dict[str, Path], tmp_path: Path) -> None:
    problem = refused(dumps["second"], tmp_path, database="shop")
    assert isinstance(problem, BackupFailed)
    assert "no database shop" in problem.cause
    assert "Second DB" in problem.looked_at


@pytest.mark.parametrize("settings", [{"version": "x"}, {"roles": "app"}, {"database": 5}, {"colour": 1}])
def test_options_are_checked(settings: dict[str, Any], tmp_path: Path) -> None:
    assert isinstance(refused(b"--\n-- PostgreSQL database dump\n--\n", tmp_path, **settings), UsageProblem)


def test_only_the_schema_comes_back(dumps: dict[str, Path], tmp_path: Path) -> None:
    with restored(dumps["custom"], tmp_path, depth="schema") as came:
        assert "customers" in str(came.structure())
        assert came.facts["depth"] == "schema"
    assert "only be restored whole" in refused(dumps["script"], tmp_path, depth="schema").cause


def test_a_sample_has_the_rows_of_its_tables(dumps: dict[str, Path], tmp_path: Path) -> None:
    with restored(dumps["directory"], tmp_path, depth="sample", tables=("orders",)) as came:
        assert came.row_counts() == {"orders": 2000}
        assert any("foreign keys" in note for note in came.notes)
    problem = refused(dumps["custom"], tmp_path, depth="sample", tables=("orders", "nothing"))
    assert isinstance(problem, CouldNotVerify)
    assert "public.nothing" in problem.cause
