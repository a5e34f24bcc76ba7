"""Faults of exports that are one file: each is borne by one case, and its undamaged twin stays green."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.contents import gz
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site, cut, flip, stored

from restore_drill.engines import etcd_samples, git_samples, ldif_samples, parquet_samples, tables_samples

_TIME = "{time:%Y%m%d_%H%M%S}"
_ANY_SIZE = {"predecessors": 60}


@pytest.fixture(scope="module", autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    for name in ("git", "slapadd", "slapcat", "etcd", "etcdctl"):
        require_program(name)


def _exports(site: Site, engine: str, suffix: str, content: Callable[[], bytes], **options: Any) -> None:
    site.copy(f"{_TIME}.{suffix}")
    site.options |= {"engine": engine, "size": _ANY_SIZE, **options}
    for age in AGES:
        site.put(age, content())


def a_csv(site: Site) -> None:
    queries = [{"name": "the shop", "sql": "select min(shop) from orders", "equals": "production"}]
    expect = {"rows": {"orders": {"min": 100}}, "queries": queries}
    options = {"engine_options": {"table": "orders"}, "expect": expect}
    _exports(site, "csv", "csv.gz", lambda: gz(tables_samples.as_csv(tables_samples.orders())), **options)


def an_ndjson(site: Site) -> None:
    expect = {"rows": {"data": {"min": 100}}}
    _exports(site, "ndjson", "jsonl", lambda: tables_samples.as_ndjson(tables_samples.orders()), expect=expect)


def a_parquet(site: Site) -> None:
    _exports(site, "parquet", "parquet", parquet_samples.table, expect={"rows": {"data": 120}})


def a_directory_export(site: Site) -> None:
    _exports(site, "ldif", "ldif", ldif_samples.directory, expect={"rows": {"entries": 16, "inetOrgPerson": 12}})


def a_bundle(site: Site) -> None:
    _exports(site, "git", "bundle", lambda: git_samples.History().bundle(), expect={"rows": {"commits": 20}})


def a_chain_of_bundles(site: Site) -> None:
    site.copy(f"{_TIME}_{{kind:full=F|incremental=I}}.bundle")
    site.options |= {"engine": "git", "size": _ANY_SIZE, "expect": {"rows": {"commits": 20}}}
    history = git_samples.History()
    for age, (kind, first, last) in zip(AGES, (("F", 0, 8), ("I", 8, 12), ("I", 12, 16), ("I", 16, 20)), strict=True):
        key = f"{site.name}/{site.now - age:%Y%m%d_%H%M%S}_{kind}.bundle"
        site.put(age, history.bundle(first, last), key=key)


def an_etcd(site: Site) -> None:
    options = {"engine_options": dict(etcd_samples.SETTINGS), "expect": {"rows": {"/registry/pods/": 20}}}
    _exports(site, "etcd", "db", lambda: etcd_samples.saved()["good"], **options)


def another(content: Callable[[], bytes]) -> Make:
    return stored(lambda _: content())


def ragged(data: bytes) -> bytes:
    return gz(tables_samples.as_csv(tables_samples.orders()).replace(b"production,order 92", b"production", 1))


def twice(data: bytes) -> bytes:
    place = data.index(b"dn: uid=p7,")
    return data + data[place : data.index(b"\n\n", place) + 2]


def reads_a_file(data: bytes) -> bytes:
    return data.replace(b"cn: person 7", b"cn:< file:///etc/passwd")


ROWS = [
    Row(13, "csv: a record without a field", a_csv, stored(ragged), "nas/integrity", "width", "earlier snapshot"),
    Row(
        46, "csv: staging for production", a_csv,
        another(lambda: gz(tables_samples.as_csv(tables_samples.orders("staging")))), "nas/query/the-shop", "text", ".",
    ),
    Row(13, "ndjson cut in its last line", an_ndjson, stored(cut(20)), "nas/restores", "cut short", "another copy"),
    Row(13, "parquet: a page is damaged", a_parquet, stored(flip(700)), "nas/restores", "page|damaged", "another copy"),
    Row(
        49, "parquet: a column is lost", a_parquet, another(lambda: parquet_samples.table(without="what")),
        "nas/structure", "the column data.what string vanished", "baseline accept", history=True,
    ),
    Row(53, "ldif: an entry twice", a_directory_export, stored(twice), "nas/restores", "there twice", "slapadd"),
    Row(
        53, "ldif: a value is to be read from a file", a_directory_export, stored(reads_a_file), "nas/restores",
        "never followed", "load it nowhere",
    ),
    Row(13, "git: a bundle is cut", a_bundle, stored(cut(500)), "nas/unpacks", "damaged or cut", "another copy"),
    Row(
        66, "git: a bundle builds on what none holds", a_chain_of_bundles,
        another(lambda: git_samples.History().bundle(18, 20)), "nas/chain",
        "bundle 4 of the chain builds on 1 commits that are not there", "full bundle",
    ),
    Row(65, "etcd: corrupt snapshot", an_etcd, stored(flip(9000)), "nas/unpacks", "digest .* is wrong", "another copy"),
    Row(
        36, "etcd: not one key", an_etcd, another(lambda: etcd_samples.saved()["empty"]), "nas/restores",
        "nothing came back", ".",
    ),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""
