"""Faults of dumps of MariaDB on their way through a whole drill, each beside its undamaged twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.contents import gz
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site

from restore_drill.engines.mysql.engine import MariadbEngine
from restore_drill.engines.mysql.samples import EXPECT, dump

_GOOD = dump()
_ORDERS = _GOOD.index(b"LOCK TABLES `orders` WRITE")


@pytest.fixture(scope="module", autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    for name in MariadbEngine.programs:
        require_program(name)


def a_dump(site: Site) -> None:
    site.copy("{time:%Y%m%d_%H%M%S}.sql.gz", checksum="pinned")
    site.options |= {
        "engine": "mariadb",
        "sandbox": "directory",
        "size": {"predecessors": 60},
        "expect": {"rows": EXPECT["rows"], "queries": EXPECT["queries"]},
    }
    site.put(AGES[-1], gz(_GOOD), digest=False)


def a_dump_with_digests(site: Site) -> None:
    """Of which another one may follow without anybody wondering."""
    a_dump(site)
    site.options["copies"]["nas"].pop("checksum")
    site.options["expect"] = {}
    site.sign()


def written(text: bytes) -> Make:
    assert text != _GOOD
    return lambda site: site.rewrite(gz(text))


def signed(text: bytes) -> Make:
    def harm(site: Site) -> None:
        written(text)(site)
        site.sign()

    return harm


def before_orders(more: bytes) -> Make:
    return written(_GOOD[:_ORDERS] + more + _GOOD[_ORDERS:])


ROWS = [
    Row(36, "mariadb: tables and no rows", a_dump, written(dump(data=False)),
        "nas/restores", "not one row|nothing", "."),
    Row(37, "mariadb: its end is lost", a_dump, written(_GOOD[: _GOOD.rindex(b"-- Dump completed")]),
        "nas/restores", "last line|complete|cut short", "."),
    Row(38, "mariadb: a row is there twice", a_dump, written(_GOOD.replace(b"(8,9,8.50,", b"(7,9,8.50,")),
        "nas/restores", "a key is there twice", "by hand"),
    Row(39, "mariadb: of a newer server", a_dump, written(_GOOD.replace(b"10.11.6", b"99.1.2")),
        "nas/restores", "99.1", ".", verdict="error"),
    Row(45, "mariadb: a trigger and a procedure are lost", a_dump_with_digests, signed(dump(code="")),
        "nas/structure", "vanished", "baseline accept", history=True),
    Row(46, "mariadb: of the wrong database", a_dump, written(dump("staging")),
        "nas/query/the-right-shop", "text", "."),
    Row(48, "mariadb: every row of a table is lost", a_dump_with_digests, signed(dump(orders=0)),
        "nas/structure", "orders", "baseline accept", history=True),
    Row(94, "mariadb: a command of the client", a_dump, before_orders(b"\\! touch owned\n"),
        "nas/restores", "client command", "Do not load it by hand"),
    Row(94, "mariadb: a file of this machine", a_dump, before_orders(b"SELECT 1 INTO OUTFILE '/tmp/owned';\n"),
        "nas/restores", "OUTFILE", "Do not load it by hand"),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""
