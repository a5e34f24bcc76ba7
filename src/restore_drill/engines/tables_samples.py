"""What the engines of tables prove themselves with: a small shop's orders, and the ways in which an export goes bad."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import Sample

#: Seconds since the epoch at which a snapshot of the good sample would have been taken.
TAKEN: Final = 1_700_000_000
_ROWS: Final = 120
#: What the catalogue would say of these samples under ``expect:``.
EXPECT: Final[Mapping[str, Any]] = {
    "rows": {"data": _ROWS},
    "queries": [
        {"name": "the-right-shop", "sql": "SELECT count(*) FROM data WHERE shop = 'production'", "equals": 120}
    ],
    "newest_record": {"sql": "SELECT max(created_at) FROM data", "within": "2h"},
}


def orders(shop: str = "production", rows: int = _ROWS, age: int = 1) -> list[dict[str, Any]]:
    """The newest is ``age`` hours older than the snapshot; one text has everything in it that needs quoting."""
    newest = datetime.fromtimestamp(TAKEN, UTC) - timedelta(hours=age)
    return [
        {
            "id": number,
            "shop": shop,
            "what": 'a "quoted", long\nand wide ☂ one' if number % 7 == 0 else f"order {number}",
            "created_at": (newest - timedelta(minutes=rows - 1 - number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for number in range(rows)
    ]


def as_csv(rows: list[dict[str, Any]], without: str = "") -> bytes:
    """RFC 4180: every line ends with CRLF, quotes are doubled."""
    names = [name for name in ("id", "shop", "what", "created_at") if name != without]
    lines = [",".join(names)]
    lines += [",".join(_quoted(str(row[name])) for name in names) for row in rows]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in ',"\n') else text


def as_ndjson(rows: list[dict[str, Any]], without: str = "") -> bytes:
    """One object a line."""
    kept = ({key: value for key, value in row.items() if key != without} for row in rows)
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in kept).encode()


def csv_samples() -> Iterator[Sample]:
    """The good ones first."""
    good = as_csv(orders())
    yield Sample("good", "", written(good))
    yield Sample("good-without-a-last-newline", "", written(good[:-2]))
    yield Sample("good-with-a-mark", "", written(b"\xef\xbb\xbf" + good))
    yield Sample("good-in-an-archive", "", packed({"data.csv": good, "README": b"orders\n", "_SUCCESS": b""}))
    yield Sample("no-record", "restores", written(as_csv([])))
    yield Sample("no-header", "restores", written(good.partition(b"\r\n")[2]))
    yield Sample("cut-in-a-record", "restores", written(good[: good.rindex(b",order 11")]))
    yield Sample("cut-in-a-quoted-field", "restores", written(good[: good.rindex(b" wide")]))
    yield Sample("quote-lost", "restores", written(good.replace(b' one"', b" one", 1)))
    yield Sample("not-utf-8", "restores", written(good.replace("☂".encode(), b"\xff\xfe\xff", 1)))
    yield Sample("no-table-in-the-archive", "restores", packed({"README": b"orders\n"}))
    yield Sample("field-lost", "integrity", written(good.replace(b"production,order 92", b"production", 1)))
    yield Sample("field-added", "integrity", written(good.replace(b"order 92", b"order, 92", 1)))
    yield Sample("zeros-written", "integrity", written(good.replace(b"order 92", bytes(8), 1)))
    yield from _content_samples(as_csv)


def ndjson_samples() -> Iterator[Sample]:
    """The good ones first."""
    good = as_ndjson(orders())
    yield Sample("good", "", written(good))
    yield Sample("good-without-a-last-newline", "", written(good[:-1]))
    yield Sample("good-in-an-archive", "", packed({"data.jsonl": good}))
    yield Sample("no-record", "restores", packed({"data.jsonl": b"\n"}))
    yield Sample("cut-in-a-line", "restores", written(good[:-25]))
    yield Sample("line-damaged", "integrity", written(good.replace(b'"order 92"', b"order 92", 1)))
    yield Sample("line-of-another-kind", "integrity", written(good.replace(b'{"id": 92', b'[{"id": 92', 1)))
    yield Sample("no-object", "integrity", written(good + b'["appended"]\n', rows=-1))
    yield Sample("key-twice", "integrity", written(good.replace(b'{"id": 92', b'{"id": 1, "id": 92', 1)))
    yield Sample("not-a-number", "integrity", written(good.replace(b'{"id": 92', b'{"id": NaN', 1)))
    yield Sample("zeros-written", "integrity", written(good.replace(b'"order 92"', bytes(10), 1)))
    yield from _content_samples(as_ndjson)


def _content_samples(write: Callable[..., bytes]) -> Iterator[Sample]:
    yield Sample("column-lost", "structure", written(write(orders(), without="what")))
    yield Sample("rows-lost", "rows", written(write(orders()[3:])))
    yield Sample("wrong-shop", "query", written(write(orders("staging"))))
    yield Sample("stale", "newest", written(write(orders(age=30))))


def written(data: bytes, rows: int = 0) -> Callable[[Path], Path]:
    """One file; with ``rows`` below zero so many records before its last line were taken out."""

    def build(directory: Path) -> Path:
        path = directory / "export"
        lines = data.splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[: rows - 1], lines[-1]]) if rows else data)
        return path

    return build


def packed(files: Mapping[str, bytes]) -> Callable[[Path], Path]:
    """A tar archive of files, and of directories whose names end with a slash."""

    def build(directory: Path) -> Path:
        path = directory / "export.tar"
        with tarfile.open(path, "w") as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                member.mtime = TAKEN
                member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                member.mode = 0o755 if name.endswith("/") else 0o644
                archive.addfile(member, io.BytesIO(data))
        return path

    return build
