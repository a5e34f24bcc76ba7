"""Exports in Parquet: one file a table, or a directory of parts.

Every row group is read in full by pyarrow, with the checksums of pages verified where they were written; what cannot
be read keeps the table from coming back, and ``restores`` fails. Where a writer left no checksums, values are compared
with the statistics that it wrote beside them (format: parquet.apache.org, *Metadata* and *Checksumming*).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.tables import TableEngine

_MAGIC: Final = {b"PAR1": "parquet", b"PARE": "parquet-encrypted"}


class ParquetEngine(TableEngine):
    """Apache Parquet; it has no options but those of all tables."""

    name: ClassVar[str] = "parquet"
    libraries: ClassVar[tuple[str, ...]] = ("pyarrow",)
    reader: ClassVar[str] = "restore_drill.engines.parquet_reader"
    endings: ClassVar[tuple[str, ...]] = (".parquet", ".parq", ".pq")

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """By its first four bytes."""
        return _MAGIC.get(head[:4])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Good exports and damaged ones."""
        from restore_drill.engines.parquet_samples import samples

        yield from samples()
