"""What the ``parquet`` engine proves itself with: the small shop's orders, as pyarrow writes them."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from typing import Any

from restore_drill.engines.base import Sample
from restore_drill.engines.tables_samples import orders, packed, written


def samples() -> Iterator[Sample]:
    """The good ones first."""
    checked = table()
    plain = table(checksums=False)
    yield Sample("good", "", written(checked))
    yield Sample("good-without-checksums", "", written(plain))
    yield Sample("good-in-an-archive", "", packed({"data.parquet": table(compression="snappy")}))
    yield Sample("no-record", "restores", written(table(orders(rows=0))))
    yield Sample("cut", "restores", written(checked[:-300]))
    yield Sample("page-damaged", "restores", written(_flip(checked)))
    yield Sample("footer-damaged", "restores", written(_flip_footer(checked)))
    yield Sample("number-changed", "integrity", written(_flip(plain)))
    yield Sample("column-lost", "structure", written(table(without="what")))
    yield Sample(
        "column-of-another-type", "structure", written(table([{**row, "id": f"{row['id']}"} for row in orders()]))
    )
    yield Sample("rows-lost", "rows", written(table(orders()[3:])))
    yield Sample("wrong-shop", "query", written(table(orders("staging"))))
    yield Sample("stale", "newest", written(table(orders(age=30))))


def table(
    rows: list[dict[str, Any]] | None = None, *, without: str = "", checksums: bool = True, compression: str = "none"
) -> bytes:
    """Orders as a Parquet file of several row groups."""
    import pyarrow
    from pyarrow import parquet

    made = orders() if rows is None else rows
    kept = [{**row, "created_at": datetime.datetime.fromisoformat(row["created_at"])} for row in made]
    number = pyarrow.string() if kept and isinstance(kept[0]["id"], str) else pyarrow.int64()
    fields = [("id", number), ("shop", pyarrow.string()), ("what", pyarrow.string())]
    schema = pyarrow.schema([*fields, ("created_at", pyarrow.timestamp("us", tz="UTC"))])
    content = pyarrow.Table.from_pylist(kept, schema=schema)
    sink = io.BytesIO()
    parquet.write_table(
        content.drop_columns([without]) if without else content,
        sink,
        row_group_size=50,
        compression=compression,
        use_dictionary=False,
        write_page_checksum=checksums,
    )
    return sink.getvalue()


def _flip(data: bytes) -> bytes:
    """In the page of the first numbers, which are stored as they are: the 77th is not what it was."""
    place = data.index((77).to_bytes(8, "little")) + 6
    return data[:place] + b"\x40" + data[place + 1 :]


def _flip_footer(data: bytes) -> bytes:
    place = len(data) - 8 - int.from_bytes(data[-8:-4], "little") + 2
    return data[:place] + bytes(byte ^ 0xFF for byte in data[place : place + 30]) + data[place + 30 :]
