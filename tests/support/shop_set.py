"""A shop whose database knows uploads that lie in a tree, and the application over both: what a set is made of."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import tarfile
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from tests.support.project import Project

#: How many uploads the shop has, by their numbers.
UPLOADS = range(12)
#: Whom they belong to: the account that the application runs as.
OWNER = 65534
#: The application: Python's own library and no driver. Its health is that every upload of the database is a file.
APPLICATION = '''
import http.server, os, pathlib, socket, sqlite3, struct

TREE, BASE = pathlib.Path(os.environ["SHOP_FILES"]), os.environ["SHOP_DB"]

def ask(sql):
    """The rows of a simple query (PostgreSQL documentation, 55.7)."""
    if BASE.startswith("/"):
        with sqlite3.connect(BASE) as connection:
            connection.execute("create table if not exists written (by text)")
            return [row[0] for row in connection.execute(sql)]
    host, _, port = BASE.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        told = b"user\\0shop\\0database\\0shop\\0\\0"
        line.sendall(struct.pack("!ii", len(told) + 8, 196608) + told)
        line.sendall(b"Q" + struct.pack("!i", len(sql) + 5) + sql.encode() + b"\\0")
        stream, rows, ready = line.makefile("rb"), [], 0
        while ready < 2:
            kind, size = stream.read(1), struct.unpack("!i", stream.read(4))[0]
            body = stream.read(size - 4)
            ready += kind == b"Z"
            if kind == b"E":
                raise RuntimeError(body)
            if kind == b"D":
                rows.append(body[6:].decode())
        return rows

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, said = 200, "ok"
        try:
            if os.environ.get("SHOP_BROKEN"):
                raise RuntimeError("broken on purpose")
            gone = [path for path in ask("select path from uploads") if not (TREE / path).is_file()]
            outside = [host for host in ("1.1.1.1", "172.17.0.1") if self.reaches(host)]
            (TREE / "written").write_text("by the application")
            if gone or outside:
                status, said = 503, f"{len(gone)} files are missing, {outside} can be reached"
        except Exception as problem:
            status, said = 500, repr(problem)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(said.encode())

    def reaches(self, host):
        try:
            socket.create_connection((host, 80), timeout=1).close()
        except OSError:
            return False
        return True

http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
'''


def path_of(number: int) -> str:
    """What an upload is called, below ``uploads/``."""
    return f"{number % 3}/picture {number}.png"


def dump(uploads: Iterable[int] = UPLOADS) -> bytes:
    """A plain dump of the database, as pg_dump writes it; its role is not in it."""
    rows = "".join(f"{number}\tuploads/{path_of(number)}\t{100 + number}\n" for number in uploads)
    return f"""--
-- PostgreSQL database dump
--

-- Dumped from database version 15.8
-- Dumped by pg_dump version 15.8

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8';
ALTER DATABASE shop OWNER TO shop;

\\connect shop

CREATE TABLE public.uploads (
    id integer NOT NULL PRIMARY KEY,
    path text NOT NULL,
    bytes integer NOT NULL
);

ALTER TABLE public.uploads OWNER TO shop;

COPY public.uploads (id, path, bytes) FROM stdin;
{rows}\\.

--
-- PostgreSQL database dump complete
--
""".encode()


def database(uploads: Iterable[int] = UPLOADS) -> bytes:
    """The same as a database of SQLite."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table uploads (id integer primary key, path text not null, bytes integer not null)")
        rows = [(number, f"uploads/{path_of(number)}", 100 + number) for number in uploads]
        connection.executemany("insert into uploads values (?, ?, ?)", rows)
        connection.commit()
        return connection.serialize()


def tree(uploads: Iterable[int] = UPLOADS) -> bytes:
    """A tar archive of the files."""
    return packed({f"uploads/{path_of(number)}": bytes([number]) * (100 + number) for number in uploads})


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar archive that belongs to the application's account, its root included."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in {".": None, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.mtime, entry.uid, entry.gid = 1_700_000_000, OWNER, OWNER
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            else:
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content or b""))
    return buffer.getvalue()


def declare(project: Project, database: dict[str, Any]) -> dict[str, Any]:
    """Put the shop's two targets and their set into a project that has ``shop-db`` and ``shop-files``; returns the set.

    Args:
        project: The project.
        database: Engine, sandbox and the like of the database, with the ``ending`` of its backups.
    """
    ending = database.pop("ending")
    project.targets["shop-db"] = {
        "tier": "critical", "copies": {"nas": {"path": f"shop-db/{{time:%Y%m%dT%H%M%SZ}}{ending}"}}, **database
    }  # fmt: skip
    project.targets["shop-files"] = {
        "tier": "critical", "engine": "files", "sandbox": "directory",
        "copies": {"nas": {"path": "shop-files/{time:%Y%m%dT%H%M%SZ}.tar"}},
    }  # fmt: skip
    made: dict[str, Any] = {
        "targets": ["shop-db", "shop-files"],
        "within": "5m",
        "queries": [
            {
                "name": "every upload is a file",
                "ask": {"target": "shop-db", "sql": "select path, bytes from uploads"},
                "is_in": {"target": "shop-files", "files": "uploads/**", "give": ["path", "bytes"]},
            }
        ],
    }
    project.catalogue["sets"] = {"shop": made}
    for name in ("shop-db", "shop-files"):
        for path in (project.root / "stores" / "nas" / name).glob("*"):
            path.unlink()
    return made


def application(image: str, database: str, **more: Any) -> dict[str, Any]:
    """The application over both.

    Args:
        image: One with Python in it.
        database: Host and port of the database, or its path.
        more: More of the catalogue.
    """
    return {
        "image": image, "pull": "never", "command": ["python3", "-I", "-c", APPLICATION],
        "environment": {"SHOP_DB": database, "SHOP_FILES": "/srv/shop"},
        "health": {"port": 8080, "path": "/health", "contains": "ok"}, **more,
    }  # fmt: skip


def back_up(project: Project, target: str, content: bytes, ending: str, age: timedelta = timedelta(0)) -> None:
    """A backup of one of the two, with its digest."""
    project.put(target, content, ending=ending, age=age)
