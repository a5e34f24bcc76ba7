"""Exports in newline-delimited JSON (JSON Lines): one object a line.

A line that is no JSON object, a key that an object has twice, and ``NaN`` are matters of ``integrity``; a last line
that is cut keeps the table from being read, and ``restores`` fails. A key belongs to the structure when most objects
have it: exports leave out what is null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import ClassVar, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.tables import TableEngine

_BEGINNING: Final = re.compile(r'\{\s*(\}|"(?:[^"\\]|\\.)*"\s*:)')
#: What services answer with when something went wrong, and what such an answer has beside it.
_COMPLAINTS: Final = frozenset({"error", "errors", "fault", "exception"})
_FEW: Final = 5
#: As many bytes as a drill looks at: a first line may be longer.
_HEAD: Final = 1024


class NdjsonEngine(TableEngine):
    """Newline-delimited JSON; it has no options but those of all tables."""

    name: ClassVar[str] = "ndjson"
    reader: ClassVar[str] = "restore_drill.engines.ndjson_reader"
    endings: ClassVar[tuple[str, ...]] = (".ndjson", ".jsonl", ".json")

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """A whole object on the first line that is no service's complaint, or the beginning of a long one."""
        text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").lstrip("\r\n")
        first, newline, _ = text.partition("\n")
        if not _BEGINNING.match(first):
            return None
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            return "ndjson" if not newline and len(head) >= _HEAD else None
        complains = not _COMPLAINTS.isdisjoint(key.lower() for key in value) and len(value) <= _FEW
        alone = not text.partition("\n")[2].strip()
        return None if complains and alone else "ndjson"

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Good exports and damaged ones."""
        from restore_drill.engines.tables_samples import ndjson_samples

        yield from ndjson_samples()
