"""Faults of dumps of PostgreSQL on their way through a whole drill, each beside its undamaged twin."""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.matrix import AGES, FaultMatrix, Make, Matrix, Row, Site
from tests.support.pg_archives import archive

from restore_drill.engines.postgres.engine import PostgresEngine
from restore_drill.engines.postgres.logical import need
from restore_drill.engines.postgres.samples import EXPECT, shop

_PATH = "{time:%Y%m%d_%H%M%S}.sql.gz"
_GOOD = shop()
_SET = "SET row_security = off;\n"
_END = "--\n-- PostgreSQL database dump complete"


@pytest.fixture(scope="module", autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    for name in PostgresEngine.programs:
        require_program(name)


def a_dump(site: Site) -> None:
    site.copy(_PATH, checksum="pinned")
    site.options |= {
        "engine": "postgres",
        "sandbox": "directory",
        "expect": {"rows": EXPECT["rows"], "queries": EXPECT["queries"]},
    }
    site.put(AGES[-1], _packed(_GOOD), digest=False)


def written(text: str) -> Make:
    assert text != _GOOD
    return lambda site: site.rewrite(_packed(text))


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode(), 1)


def with_its_database() -> str:
    """As ``pg_dump --create`` writes it."""
    leaves = "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C.UTF-8';\n\n"
    key = _GOOD.split("\\restrict ", 1)[1].split("\n", 1)[0]
    return _GOOD.replace(_SET, f"{_SET}{leaves}\\unrestrict {key}\n\\connect shop\n\\restrict {key}\n\n")


def of_14(text: str) -> str:
    return text.replace("15.14", "14.17")


def unrestricted(text: str) -> str:
    return re.sub(r"\\(un)?restrict .*\n", "", text)


def by_an_old_client(text: str) -> Make:
    """With programs in front of the others that say they are of 14.18, which is too old for ``\\restrict``."""

    def harm(site: Site) -> None:
        place = site.project.root / "programs-14" / "bin"
        places = [str(path) for each in need("").places for path in Path("/").glob(each[1:])]
        place.mkdir(parents=True, exist_ok=True)
        for name in (*PostgresEngine.programs, "pg_amcheck"):
            real = shutil.which(name, path=os.pathsep.join((*places, os.environ["PATH"])))
            said = f"{name} (PostgreSQL) 14.18"
            (place / name).write_text(
                f'#!/bin/sh\ntest "$1" = --version && exec echo "{said}"\nexec {shlex.quote(str(real))} "$@"\n'
            )
            (place / name).chmod(0o755)
        site.project.environment["PATH"] = f"{place}{os.pathsep}{os.environ['PATH']}"
        written(text)(site)

    return harm


def crafted(statement: str, name: str = "crafted") -> Make:
    return lambda site: site.rewrite(gzip.compress(archive(unrestricted(_GOOD), more=[(name, statement)]), 1))


#: Where an archive's metacommand would leave something: in the directory of whoever ran it.
_MARK = "was-run-by-an-archive"
_META = f"x\n\\! touch {_MARK}\n"

ROWS = [
    Row(36, "dump: nothing in it", a_dump, written(_GOOD[: _GOOD.index("CREATE TYPE")] + _GOOD[_GOOD.index(_END) :]),
        "nas/restores", "nothing came back: there is not one table", "expect.allow_empty"),
    Row(37, "dump: its end is lost", a_dump, written(_GOOD[: _GOOD.index(_END)]),
        "nas/restores", "the line with which pg_dump says that it is complete is missing", "exit status"),
    Row(38, "dump: a key is there twice", a_dump,
        written(_GOOD.replace("\\.\n\n\nCOPY public.orders", "1\tprivate\t\\N\n\\.\n\n\nCOPY public.orders")),
        "nas/restores", r"rows are there twice \(unique index customers_pkey\)", "live database"),
    Row(39, "dump: of a newer server", a_dump, written(_GOOD.replace("15.14", "99.1")),
        "nas/restores", "99", "postgresql-99", verdict="error"),
    Row(40, "dump: its line for psql, psql too old", a_dump, by_an_old_client(of_14(_GOOD)),
        "nas/restores", r"psql 14\.18 is too old for \\restrict", r"14\.19", verdict="error"),
    Row(40, "dump: no such line, the same old psql", a_dump, by_an_old_client(unrestricted(of_14(_GOOD)))),
    Row(43, "dump: it makes its own database", a_dump, written(with_its_database()), note="it came back as shop"),
    Row(46, "dump: of the wrong database", a_dump, written(shop("Staging")),
        "nas/query/the-right-shop", "answered a text", "Ask the live system"),
    Row(90, "dump: a metacommand", a_dump, written(_GOOD.replace(_SET, "\\! id\n")),
        "nas/restores", "a metacommand of psql that no dump has", "It was not executed"),
    Row(91, "dump: a program in COPY", a_dump, written(_GOOD.replace(_SET, "COPY public.x FROM PROGRAM 'id';\n")),
        "nas/restores", "a COPY that runs a program", "It was not executed"),
    Row(92, "archive: names that are metacommands", a_dump,
        crafted(f'CREATE TABLE public."{_META}" (id integer);\n', _META)),
    Row(92, "archive: a metacommand in its statements", a_dump, crafted(f"\\! touch {_MARK}\n;\n"),
        "nas/restores", "syntax|statement", "."),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""

    def test_no_archive_had_anything_run(self, matrix: Matrix) -> None:
        assert matrix.runs
        assert list(matrix.project.root.rglob(_MARK)) == []
