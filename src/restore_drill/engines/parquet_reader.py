"""Reading Parquet to its end. Runs inside the sandbox."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.tables_probe import Table, Take, shown
from restore_drill.errors import BackupFailed, CouldNotVerify

# A pool that gives memory back, so that the sandbox's limit is not met by what is reserved only; read at import.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

#: What integrity says it looked at.
CHECKED: Final = ("pages", "rows", "statistics", "nulls", "schema")
_BATCH: Final = 16_384
#: Bytes of a column that are read at once, not all of a row group's.
_BUFFER: Final = 1 << 20
#: Bytes of a footer at most: what describes a table is small.
_FOOTER: Final = 64 << 20
_MAGIC: Final = b"PAR1"
_OTHER_COPY: Final = "Use another copy or an earlier snapshot, and check that the export ended well."


def scan(path: Path, settings: Mapping[str, Any], table: Table, take: Take | None) -> None:  # noqa: ARG001 - none
    """Read a file to its end; see :class:`restore_drill.engines.tables_probe.Reader`."""
    import pyarrow
    from pyarrow import parquet

    _look_at_ends(path, table)
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    try:
        how = {"page_checksum_verification": True, "memory_map": False, "pre_buffer": False, "buffer_size": _BUFFER}
        with parquet.ParquetFile(path, **how) as file:
            _Scan(file, table, take).run()
    except MemoryError as problem:
        raise CouldNotVerify(
            "memory ran out while a row group was read",
            remedy="Give the sandbox more memory, or write smaller row groups.",
        ) from problem
    except pyarrow.ArrowNotImplementedError as problem:
        raise CouldNotVerify(
            "this pyarrow cannot read how the table was written",
            remedy="Install a newer pyarrow.",
            details=(str(problem)[:500],),
        ) from problem
    except (pyarrow.ArrowException, OSError, ValueError) as problem:
        raise _refused(table, str(problem)) from problem


def _look_at_ends(path: Path, table: Table) -> None:
    """The marks at both ends and the footer's size, which a reader believes before it looks at anything else."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 8))
        tail = file.read(8)
    if b"PARE" in (head, tail[4:]):
        raise CouldNotVerify("the table is encrypted, and there is no key", remedy="Export it without Parquet's own.")
    if head != _MAGIC or tail[4:] != _MAGIC:
        raise table.refuse("the file does not end like Parquet: it is cut short", _OTHER_COPY)
    if int.from_bytes(tail[:4], "little") > min(size - 8, _FOOTER):
        raise table.refuse("the footer cannot be as long as it says", _OTHER_COPY)


def _refused(table: Table, text: str) -> BackupFailed:
    crc = "crc" in text.lower() or "checksum" in text.lower()
    cause = "the checksum of a page is wrong" if crc else "the table cannot be read to its end: it is damaged"
    error = table.refuse(cause, _OTHER_COPY)
    error.details = (*error.details, text[:500])
    return error


class _Scan:
    """One pass over one file."""

    def __init__(self, file: Any, table: Table, take: Take | None) -> None:
        self._file = file
        self._table = table
        self._take = take
        self._schema = file.schema_arrow
        self._leaves = {
            file.schema.column(number).path: number for number in range(len(file.schema)) if "." not in
            file.schema.column(number).path
        }  # fmt: skip

    def run(self) -> None:
        """Read it all."""
        meta = self._file.metadata
        self._table.agree([(shown(field.name), shown(str(field.type)), True) for field in self._schema])
        self._table.facts.setdefault("written_by", shown(str(meta.created_by or "")))
        for number in range(meta.num_row_groups):
            self._table.rows += self._group(number, meta.row_group(number))

    def _group(self, number: int, group: Any) -> int:
        rows = 0
        nulls = dict.fromkeys(self._leaves, 0)
        strays = set()
        for batch in self._file.iter_batches(batch_size=_BATCH, row_groups=[number], use_threads=False):
            self._table.in_time()
            batch.validate(full=True)
            rows += batch.num_rows
            if self._take is not None:
                self._take(_rows(batch))
                continue
            for name, leaf in self._leaves.items():
                column = batch.column(batch.schema.get_field_index(name))
                nulls[name] += column.null_count
                if _strays(column, group.column(leaf).statistics):
                    strays.add(name)
        if self._take is None:
            self._compare(group, rows, nulls, strays, f"row group {number}")
        return rows

    def _compare(self, group: Any, rows: int, nulls: Mapping[str, int], strays: set[str], where: str) -> None:
        if rows != group.num_rows:
            self._table.problem("rows", "row groups have another number of rows than they say", 1, where)
        for name, leaf in self._leaves.items():
            statistics = group.column(leaf).statistics
            if statistics is not None and statistics.has_null_count and statistics.null_count != nulls[name]:
                self._table.problem("nulls", "columns have another number of nulls than was recorded", 1, where)
        if strays:
            message = "columns have values beyond the smallest and largest that were recorded"
            self._table.problem("statistics", message, len(strays), where)


def _strays(column: Any, statistics: Any) -> bool:
    """Whether values lie outside of what the writer recorded; texts are left out, their bounds may be shortened."""
    import pyarrow
    from pyarrow import compute

    kind = column.type
    exact = pyarrow.types.is_integer(kind) or pyarrow.types.is_temporal(kind) or pyarrow.types.is_floating(kind)
    if statistics is None or not statistics.has_min_max or not exact or pyarrow.types.is_duration(kind):
        return False
    found = compute.min_max(column)
    try:
        least, most = (pyarrow.scalar(bound, kind) for bound in (statistics.min, statistics.max))
    except (pyarrow.ArrowException, ValueError, TypeError):
        return False  # bounds of another type than the column's: nothing to compare with
    if not (found["min"].is_valid and found["max"].is_valid):
        return False
    below = compute.less(found["min"], least).as_py()
    return bool(below or compute.greater(found["max"], most).as_py())


def _rows(batch: Any) -> list[tuple[Any, ...]]:
    columns = [[_value(value) for value in column.to_pylist()] for column in batch.columns]
    return list(zip(*columns, strict=True)) if columns else []


def _value(value: Any) -> Any:
    """What SQLite can hold: times as ISO 8601, decimals and numbers beyond 64 bits as text, the rest as JSON text."""
    if value is None or isinstance(value, str | float | bytes | bool):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, default=str)
    return str(value)
