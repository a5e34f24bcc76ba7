"""Scripts of SQL as they are split, and what is found in them before anything is executed."""

# ruff: noqa: E501 - statements, dumps and messages stand as they are

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from restore_drill.engines.postgres import names
from restore_drill.engines.postgres.inspect_script import script
from restore_drill.engines.postgres.recognise import recognise
from restore_drill.engines.postgres.samples import shop
from restore_drill.engines.postgres.script_text import Kind, pieces
from restore_drill.errors import BackupFailed, CouldNotVerify


def split(text: str) -> list[tuple[str, str, bool]]:
    data = text.encode()
    return [(piece.kind.value, data[piece.begin : piece.end].decode(), piece.whole) for piece in pieces(data)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ';', 'it''s; \\! id';",
        r"SELECT E'\'; \\! id', 'a\';",
        "SELECT DATE'2024-01-01', typeE'\\';",
        'SELECT "a;b\\c" FROM "d""e";',
        "SELECT $$; \\! ' $$, $x$ $$ ; $x$, a$b$;",
        "SELECT 1 -- ; \\! '\n;",
        "SELECT 1 /* ; /* nested; */ \\! ' */ - 2 / 3;",
        "SELECT $1, U&'\\0041', B'1', 5/2;",
        "SELECT 'ünï; ☂', ☂ FROM \"☂\";",
    ],
)
def test_a_statement_ends_where_it_ends(statement: str) -> None:
    assert split(f"{statement}\nSELECT 2;") == [("statement", statement, True), ("statement", "SELECT 2;", True)]


def test_rows_are_passed_over() -> None:
    rows = "1\t';\n\\\\.\n\\! id\n"
    text = f"COPY public.a (b, c) FROM stdin;\n{rows}\\.\n\\connect x\ncopy a from STDIN with (format csv);\n\\.\nSELECT 1;"
    kinds = [kind for kind, _, whole in split(text) if whole]
    assert kinds == ["statement", "data", "command", "statement", "data", "statement"]
    assert split(text)[1][1] == f"{rows}\\.\n"


def test_a_metacommand_ends_a_statement() -> None:
    found = split("SELECT 1 \\gexec\nSELECT 2;")
    assert found[:2] == [("statement", "SELECT 1 ", False), ("command", "\\gexec", True)]


@pytest.mark.parametrize(
    "text", ["SELECT 'a;", 'SELECT "a;', "SELECT $x$ a;", "/* a", "SELECT 1", "COPY a FROM stdin;\n1\n"]
)
def test_what_does_not_end_is_not_whole(text: str) -> None:
    assert split(text)[-1][2] is False


def test_a_long_value_takes_no_memory() -> None:
    text = (
        b"INSERT INTO a VALUES ('"
        + b"x" * 10_000_000
        + b"', E'"
        + b"\\'" * 1_000_000
        + b"');"
        + b" 'a'" * 100_000
        + b";"
    )
    tracemalloc.start()
    try:
        assert [piece.kind for piece in pieces(text)] == [Kind.STATEMENT, Kind.STATEMENT]
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def examined(text: str, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "script"
    path.write_text(text, "utf-8")
    return script(path)


def test_what_a_script_needs_is_found(tmp_path: Path) -> None:
    found = examined(
        'CREATE ROLE "Own One"; CREATE EXTENSION IF NOT EXISTS hstore;\n'
        'ALTER TABLE a OWNER TO app; GRANT ALL ON TABLE a TO x, "Y y" WITH GRANT OPTION;\n'
        "ALTER DEFAULT PRIVILEGES FOR ROLE boss IN SCHEMA b GRANT ALL ON TABLES TO worker;\n"
        "CREATE POLICY p ON b.a AS PERMISSIVE FOR SELECT TO reader, PUBLIC USING (true);\n"
        "REVOKE ALL ON a FROM gone; CREATE SCHEMA c AUTHORIZATION chief; SET SESSION AUTHORIZATION 'me';\n"
        "COMMENT ON TABLE a IS 'ALTER TABLE a OWNER TO nobody;'; SET default_tablespace = fast;\n"
        'GRANT a TO "Own One"; ALTER ROLE "Own One" WITH LOGIN;\n',
        tmp_path,
    )
    assert found["roles"] == sorted(["app", "x", "Y y", "boss", "worker", "reader", "gone", "chief", "me"])
    assert (found["created_roles"], found["extensions"], found["tablespaces"]) == (["Own One"], ["hstore"], ["fast"])


REWRITTEN = {
    "DROP TABLE public.a;": "DROP TABLE IF EXISTS public.a;",
    "DROP MATERIALIZED VIEW public.a;": "DROP MATERIALIZED VIEW IF EXISTS public.a;",
    "ALTER TABLE ONLY public.a DROP CONSTRAINT b;": "ALTER TABLE IF EXISTS ONLY public.a DROP CONSTRAINT IF EXISTS b;",
    "ALTER TABLE public.a ALTER COLUMN b DROP DEFAULT;": "ALTER TABLE IF EXISTS public.a ALTER COLUMN b DROP DEFAULT;",
    "CREATE LANGUAGE plpgsql;": "",
    "CREATE OR REPLACE PROCEDURAL LANGUAGE 'plpgsql';": "",
    "DROP ROLE postgres;": "",
    "CREATE ROLE postgres;": "",
    "ALTER ROLE postgres WITH NOSUPERUSER;": "",
    "CREATE SCHEMA public;": "CREATE SCHEMA IF NOT EXISTS public;",
    "CREATE TABLESPACE s OWNER a LOCATION '/srv';": "CREATE TABLESPACE s OWNER a LOCATION '';",
    "SELECT pg_catalog.lo_unlink('5');": "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata "
    "WHERE oid = '5';",
}


@pytest.mark.parametrize("statement", REWRITTEN)
def test_what_a_fresh_server_would_refuse_is_rewritten(statement: str, tmp_path: Path) -> None:
    (edit,) = examined(f"SELECT 1;\n{statement}\n", tmp_path)["edits"]
    assert (edit["kind"], edit["text"]) == ("rewrite", REWRITTEN[statement])
    assert (edit["begin"], edit["end"]) == (10, 10 + len(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE IF EXISTS a;",
        "ALTER TABLE a ADD CONSTRAINT b CHECK (c <> 'DROP');",
        "CREATE ROLE other;",
        "CREATE LANGUAGE plperl;",
        "ALTER ROLE a SET auto_explain.log_min_duration TO '1s';",
        "SELECT 1;",
    ],
)
def test_what_it_would_take_is_left_alone(statement: str, tmp_path: Path) -> None:
    assert examined(statement, tmp_path)["edits"] == []


@pytest.mark.parametrize(
    "command",
    ["\\! id", "\\copy a from program 'id'", "\\i other.sql", "\\o |id", "SELECT 1 \\gexec", "SELECT 1 \\g /etc/x",
     "\\connect \"host=db.example dbname=a\"", "\\c postgresql://db.example/a", "\\connect a b c", "\\set x `id`", "\\restrict a b", "\\\\! id"],
)  # fmt: skip
def test_metacommands_that_no_dump_has_are_refused(command: str, tmp_path: Path) -> None:
    text = shop().replace("SET row_security", f"{command}\nSET row_security")
    with pytest.raises(BackupFailed, match=r"a metacommand of psql that no dump has.*not executed"):
        examined(text, tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        "\\connect shop",
        "\\c shop;",
        "\\connect -reuse-previous=on \"dbname='a b'\"",
        "\\encoding UTF8",
        '\\connect "A"',
    ],
)
def test_those_that_dumps_have_are_not(command: str, tmp_path: Path) -> None:
    found = examined(f"{command}\n{shop()}", tmp_path)
    assert found["complete"]
    assert found["restricts"]


@pytest.mark.parametrize(
    "statement",
    ["SET standard_conforming_strings = off;", "SELECT set_config('standard_conforming_strings', 'off', false);",
     "ALTER DATABASE a SET standard_conforming_strings = 'off';"],
)  # fmt: skip
def test_strings_of_old_are_not_guessed_at(statement: str, tmp_path: Path) -> None:
    with pytest.raises(CouldNotVerify, match="backslashes as escapes"):
        examined(f"{statement}\nSELECT '\\''; \\! id\n';", tmp_path)


def test_programs_and_files_in_copy_are_refused(tmp_path: Path) -> None:
    for statement in ("COPY a FROM PROGRAM 'id';", "COPY a TO '/etc/passwd';", "copy (select 1) to program $$id$$;"):
        with pytest.raises(BackupFailed, match="COPY that runs a program or reads a file"):
            examined(statement, tmp_path)


@pytest.mark.parametrize(
    "statement",
    ["SET later = 1;", "ALTER DATABASE \"a b\" SET later TO 'x';", "ALTER ROLE a IN DATABASE b SET later = 1;"],
)
def test_parameters_are_listed_so_that_unknown_ones_can_be_left_out(statement: str, tmp_path: Path) -> None:
    (edit,) = examined(f"SELECT 1;\n{statement}\n", tmp_path)["edits"]
    assert (edit["kind"], edit["name"]) == ("set", "later")
    assert (edit["begin"], edit["end"]) == (10, 10 + len(statement))


def test_a_few_statements_for_each_of_many_tables_are_not_too_many(tmp_path: Path) -> None:
    found = examined("".join(f"DROP TABLE t{number};\n" for number in range(20_001)), tmp_path)
    assert len(found["edits"]) == 20_001


@pytest.mark.parametrize("begin", ["BEGIN;", "begin isolation level serializable;", "START TRANSACTION;"])
def test_a_transaction_that_is_never_committed_is_a_cut(begin: str, tmp_path: Path) -> None:
    text = f"CREATE TABLE a (n int);\n{begin}\nCREATE TABLE b (n int);\n"
    for end in ("COMMIT;", "END;", "commit work;", "ROLLBACK;"):
        assert examined(f"{text}SAVEPOINT s; ROLLBACK TO s;\n{end}\n", tmp_path)["statements"] == 6
    for end in ("", "ROLLBACK TO SAVEPOINT s;", "COMMENT ON TABLE b IS 'COMMIT;';"):
        with pytest.raises(BackupFailed, match="inside of a transaction, which is never committed"):
            examined(f"{text}{end}\n", tmp_path)


def test_too_many_names_are_too_many(tmp_path: Path) -> None:
    with pytest.raises(CouldNotVerify, match="names more than"):
        examined("".join(f"ALTER TABLE a OWNER TO r{number};\n" for number in range(20_001)), tmp_path)


def test_scripts_of_others_are_not_ours() -> None:
    assert recognise(shop().encode()[:1024]) == "postgres-script"
    assert recognise(b"-- backup of `shop`\nSET client_encoding = 'UTF8';\n") == "postgres-script"
    assert recognise(b"\\connect shop\nCREATE TABLE a (b int);\n") == "postgres-script"
    for head in (
        b"-- MySQL dump 10.13\n\nSET NAMES utf8;\n", b"/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump\n",
        b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE a (b);\n", b"-- nothing but a comment\n",
    ):  # fmt: skip
        assert recognise(head) is None


def test_names_are_read_as_the_server_keeps_them() -> None:
    assert [names.unquote(name) for name in ('"A ""b"', "Abc", "'it''s'")] == ['A "b', "abc", "it's"]
