"""Archives in pg_dump's custom form, version 1.14, put together byte by byte: honest ones and crafted ones."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROWS = re.compile(r"(COPY public\.(\w+) [^\n]* FROM stdin;\n)(.*?)\\\.\n", re.DOTALL)
_PRE_DATA, _DATA, _POST_DATA = 2, 3, 4
#: The state of an offset: that of its data is not stated; it has none.
_ANYWHERE, _NOWHERE = 1, 3


def archive(script: str, *, more: Sequence[tuple[str, str]] = ()) -> bytes:
    """What a plain dump holds, as an archive.

    Args:
        script: It begins with what makes the tables, and ends with what is made after their rows.
        more: Name and definition of further tables.
    """
    blocks = list(_ROWS.finditer(script))
    before, after = script[: blocks[0].start()], script[blocks[-1].end() :]
    entries = [_entry(1, _PRE_DATA, "TABLE", "settings", definition=before, owner="shop")]
    rows = b""
    for place, block in enumerate(blocks, 2):
        entries.append(_entry(place, _DATA, "TABLE DATA", block[2], copy=block[1]))
        data = block[3].encode() + b"\\.\n\n\n"
        rows += b"\x01" + _number(place) + _number(len(data)) + data + _number(0)
    place = len(entries) + 1
    entries += [_entry(place + at, _PRE_DATA, "TABLE", name, definition=text) for at, (name, text) in enumerate(more)]
    # Grants are among it, and what is one comes behind everything else; pg_dump leaves no empty lines between them.
    after = re.sub("\n+", "\n", after)
    entries.append(_entry(len(entries) + 1, _POST_DATA, "ACL", "TABLE orders", definition=after))
    head = b"PGDMP" + bytes([1, 14, 0, 4, 8, 1]) + _number(0)
    head += b"".join(map(_number, (0, 0, 12, 1, 0, 126, 0)))  # uncompressed; noon of the first of January
    head += _text("shop") + _text("15.14") + _text("15.14")
    return head + _number(len(entries)) + b"".join(entries) + rows


def _entry(
    number: int, section: int, kind: str, tag: str, *, definition: str = "", copy: str | None = None, owner: str = ""
) -> bytes:
    data = copy is not None
    named = _text("1259") + _text(str(16384 + number)) + _text(tag) + _text(kind) + _number(section)
    made = _text(definition) + _text("") + _text(copy) + _text("public") + _text("") + _text(None)
    end = _text(owner) + _text("false") + _text(None) + bytes([_ANYWHERE if data else _NOWHERE]) + bytes(8)
    return _number(number) + _number(data) + named + made + end


def _number(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def _text(value: str | None) -> bytes:
    return _number(-1) if value is None else _number(len(value.encode())) + value.encode()
