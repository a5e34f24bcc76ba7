"""Which engine a content gets: by its bytes wherever they can be seen, and none for what no engine restores."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import zipfile
from pathlib import Path

import pytest
from tests.support.backups import database
from tests.support.bucket import script, table, tar

from restore_drill.discovery.engines import choose_engine, directory_engine
from restore_drill.discovery.heads import Head, look
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.local import LocalStore

_MYSQL = b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost    Database: shop\n"
_MARIADB = b"-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)\n--\n"
_PG = b"--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n"
_BUNDLE = b"# v2 git bundle\n" + b"a" * 40 + b" refs/heads/main\n\nPACK"


def _zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _look(directory: Path, data: bytes) -> Head:
    (directory / "object").write_bytes(data)
    store = LocalStore(StoreSettings("nas", f"file://{directory}"))
    artifact = store.stat("object")
    assert artifact is not None
    return look(store, artifact, {})


@pytest.mark.parametrize(
    ("data", "name", "engine"),
    [
        (database(3), "a", "sqlite"),
        (gzip.compress(lzma.compress(database(3)), mtime=0), "a", "sqlite"),
        (script(3), "a.sql", "sqlite"),
        (_MYSQL, "a.sql", "mysql"),
        (_MARIADB, "a.sql", "mariadb"),
        (gzip.compress(_PG, mtime=0), "a.sql", "postgres"),
        (b"PGDMP\1\16\0\4\10\1" + bytes(40), "a", "postgres"),
        (tar({"backup_label": b"START WAL", "PG_VERSION": b"17\n"}, 1.0), "base.tar", "postgres"),
        (tar({"etc/hosts": b"::1"}, 1.0), "a", "files"),
        (_zipped(**{"a.txt": b"1", "b.txt": b"2"}), "a", "files"),
        (_zipped(**{"shop.db": database(3)}), "a.zip", "sqlite"),
        (b"REDIS0011\xfa\tredis-ver\x057.2.4" + bytes(40), "a", "redis"),
        (b"version: 1\n\ndn: dc=example,dc=org\nobjectClass: top\n", "a", "ldif"),
        (_BUNDLE, "a", "git"),
        (b"PAR1" + bytes(40), "a", "parquet"),
        (table(), "a.csv", "csv"),
        (b'{"a": 1}\n{"a": 2}\n', "a.jsonl", "ndjson"),
        # What is recognised by its lines alone, and is not called so, is some text.
        (table(), "notes.txt", ""),
        (b'{"a": 1}\n{"a": 2}\n', "package.json", ""),
        (b"key: [1, 2]\nother: 3\n", "config.yaml", ""),
        (b"QFI\xfb\0\0\0\3", "disk.db", ""),
        (b"<html>504</html>", "index.html", ""),
        (random.Random(300).randbytes(300).replace(b"S", b"T"), "noise.bin", ""),
        (tar({"repo/config": b"x", "repo/keys/" + "a" * 64: b"x"}, 1.0), "restic.tar", ""),
        (
            tar({"./": b"", "r.git/": b"", "r.git/HEAD": b"", "r.git/config": b"", "r.git/refs/heads/main": b""}, 1.0),
            "r.tar", "",
        ),
        # And what has one among its files is a tree of files.
        (
            tar({"s/index.php": b"x", "s/.git/HEAD": b"x", "s/.git/config": b"x", "s/.git/refs/heads/main": b"x"}, 1.0),
            "site.tar", "files",
        ),
        (tar({"etc/backup/x/backup.info": b"x", "etc/hosts": b"::1"}, 1.0), "etc.tar", "files"),
    ],
)  # fmt: skip
def test_bytes_decide(tmp_path: Path, data: bytes, name: str, engine: str) -> None:
    choice = choose_engine(_look(tmp_path, data), name)
    assert choice.engine == engine, choice.why
    assert choice.seen
    assert choice.why


@pytest.mark.parametrize("line", [b"COPY " + b"a" * 60_000, b"COPY a " * 9_000, b"`a" * 30_000, b"[a" * 30_000])
def test_a_line_without_an_end_is_gone_through_once(tmp_path: Path, line: bytes) -> None:
    data = b"SET client_encoding = 'UTF8';\nCOPY public.orders (id) FROM stdin;\n1\n\\.\n" + line
    assert choose_engine(_look(tmp_path, data), "app.sql").engine == "postgres"


@pytest.mark.parametrize(
    ("data", "name", "engine"),
    [
        (b"<html>504</html>", "shop.db", "sqlite"),
        (b"", "shop.tar", "files"),
        (gzip.compress(database(900))[:-100], "shop.db", "sqlite"),
        (b"CREATE DATABASE `shop`;\nCREATE TABLE `a` (`id` INT NOT NULL) ENGINE=InnoDB;\n", "shop.sql", "mysql"),
    ],
)  # fmt: skip
def test_what_is_called_like_a_backup_and_is_none_is_left_to_the_drill(
    tmp_path: Path, data: bytes, name: str, engine: str
) -> None:
    choice = choose_engine(_look(tmp_path, data), name)
    assert (choice.engine, bool(choice.doubt)) == (engine, True)


@pytest.mark.parametrize(
    ("names", "engine"),
    [
        (["PG_VERSION", "base/1/1259", "global/pg_control"], "postgres"),
        (["base.tar.gz", "pg_wal.tar.gz", "backup_manifest"], "postgres"),
        (["toc.dat", "3411.dat.gz"], "postgres"),
        (["HEAD", "config", "objects/pack/p.pack"], "git"),
        (["metadata", "shop.orders.sql.zst", "shop-schema-create.sql.zst"], ""),
        (["etc/hosts", "etc/passwd"], "files"),
    ],
)
def test_names_inside_a_directory_decide(names: list[str], engine: str) -> None:
    assert directory_engine(names, lambda name: None).engine == engine
