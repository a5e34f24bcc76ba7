"""Reading a long ledger quickly: entries without what the stages of their drills measured, which is most of them.

What is left out is cut from the bytes before they are read as JSON. Between ``"stages":`` and the next ``"cases":`` of
a drill lies one array. Neither key can be anything else: inside a text a quotation mark has a backslash before it. Were
there a ``"cases":`` within that array, brackets would be missing from the rest, and it could not be read; were the keys
in another order, there would be more ``"stages":`` than drills that are left. Whatever does not fit is read whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from restore_drill.ledger.base import Entry
from restore_drill.ledger.envelope import NotAnEntry, open_line, own_part, read_entry

if TYPE_CHECKING:
    from restore_drill.ledger.base import Ledger

_FROM, _TO = b'"stages":', b'"cases":'


def entries(ledger: Ledger) -> Iterator[Entry]:
    """The entries in order, without stages where these can be left out.

    Raises:
        CouldNotVerify: The ledger cannot be read, or an entry is not one.
    """
    for place, line in enumerate(ledger.lines(), 1):
        yield _short(line) or read_entry(line, place, ledger.where())


def _short(line: bytes) -> Entry | None:
    try:
        envelope = open_line(line)
        payload, cuts = without_stages(envelope.payload)
        part = own_part(payload).part
    except NotAnEntry:
        return None
    if part["kind"] != "run" or not _fits(part["evidence"], cuts):
        return None
    return Entry(
        sequence=part["sequence"],
        digest=envelope.digest,
        previous=str(part.get("previous") or ""),
        recorded_at=str(part.get("recorded_at", "")),
        kind="run",
        evidence=part["evidence"],
        key_id=envelope.key_id,
        ledger=str(part.get("ledger", "")),
        run=str(part.get("run", "")),
    )


def without_stages(payload: bytes) -> tuple[bytes, int]:
    """The same JSON with empty arrays of stages, and how many there are; ``-1`` when some could not be cut out."""
    kept: list[bytes] = []
    position, cuts = 0, 0
    while (found := payload.find(_FROM, position)) >= 0:
        start = found + len(_FROM)
        end = payload.find(_TO, start)
        inner = payload[start:end].strip()
        if end < 0 or not inner.startswith(b"[") or not inner.endswith(b","):
            return payload, -1
        kept += [payload[position:start], b"[],"]
        position, cuts = end, cuts + 1
    return b"".join([*kept, payload[position:]]), cuts if cuts == payload.count(_FROM) else -1


def _fits(evidence: dict[str, Any], cuts: int) -> bool:
    drills = evidence.get("drills")
    return isinstance(drills, list) and len(drills) == cuts
