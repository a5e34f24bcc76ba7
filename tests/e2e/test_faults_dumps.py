"""Faults of dumps of PostgreSQL on their way through a whole drill, each beside its undamaged twin."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site

from restore_drill.engines.postgres.engine import PostgresEngine
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
    Row(43, "dump: it makes its own database", a_dump, written(with_its_database()), note="it came back as shop"),
    Row(46, "dump: of the wrong database", a_dump, written(shop("Staging")),
        "nas/query/the-right-shop", "answered a text", "Ask the live system"),
    Row(90, "dump: a metacommand", a_dump, written(_GOOD.replace(_SET, "\\! id\n")),
        "nas/restores", "a metacommand of psql that no dump has", "It was not executed"),
    Row(91, "dump: a program in COPY", a_dump, written(_GOOD.replace(_SET, "COPY public.x FROM PROGRAM 'id';\n")),
        "nas/restores", "a COPY that runs a program", "It was not executed"),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""
