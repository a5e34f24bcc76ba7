"""Exports in CSV: RFC 4180, with other delimiters, quotes and encodings where the catalogue says so.

A record with too few or too many fields, a NUL and a second column of the same name are matters of ``integrity``; a
quoted field that never ends, bytes that are not in the encoding, a missing header and a last record that is cut keep
the table from being read, and ``restores`` fails.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from restore_drill.engines.base import Sample
from restore_drill.engines.tables import Rule, TableEngine, one_of, text, texts
from restore_drill.engines.text_tables import sniff


def _encoding(value: Any) -> str:
    try:
        return "" if isinstance(value, str) and codecs.lookup(value)._is_text_encoding else "is no encoding of text"
    except LookupError:
        return "is no encoding that Python knows"


class CsvEngine(TableEngine):
    r"""Comma-separated values.

    Options besides those of all tables: ``delimiter`` (found out when it is not given: comma, semicolon, tab, bar or
    ``\x01``), ``quote`` (``""`` for none), ``escape``, ``encoding``, ``header`` (whether the first line is one),
    ``columns`` (the header, exactly; or the names where there is none), ``final_newline`` (``required`` where every
    export ends with a line's end).
    """

    name: ClassVar[str] = "csv"
    reader: ClassVar[str] = "restore_drill.engines.csv_reader"
    endings: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".CSV", ".TSV")
    options: ClassVar[Mapping[str, tuple[Any, Rule]]] = {
        "delimiter": ("", text(1, 1)),
        "quote": ('"', text(0, 1)),
        "escape": ("", text(1, 1)),
        "encoding": ("utf-8", _encoding),
        "header": (True, one_of(True, False)),
        "columns": ([], texts),
        "final_newline": ("optional", one_of("optional", "required")),
    }

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """Text in lines with a delimiter that most of them have equally often, or with words for a header."""
        return None if sniff(head) is None else "csv"

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Good exports and damaged ones."""
        from restore_drill.engines.tables_samples import csv_samples

        yield from csv_samples()
