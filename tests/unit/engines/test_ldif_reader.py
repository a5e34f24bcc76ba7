"""Whatever was written as LDIF (RFC 2849) is read as it was, however it is folded."""

from __future__ import annotations

import base64
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.engines.ldif_reader import Entry, entries

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).filter(lambda name: name not in ("changetype", "control"))
PLAIN = st.from_regex(rb"[a-zA-Z0-9<:=,][a-zA-Z0-9 <:=,]{0,30}", fullmatch=True).map(bytes.rstrip)
VALUES = st.one_of(st.binary(max_size=60), PLAIN)


def folded(line: bytes, width: int, end: bytes) -> bytes:
    first, rest = line[:width], line[width:]
    more = [b" " + rest[at : at + width] for at in range(0, len(rest), width)]
    return b"".join(part + end for part in [first, *more])


def written(name: str, value: bytes, encoded: bool) -> bytes:
    safe = value.isascii() and value.isalnum()
    if encoded or not safe:
        return name.encode() + b":: " + base64.b64encode(value)
    return name.encode() + b": " + value


@settings(max_examples=80, deadline=None)
@given(
    made=st.lists(st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=4), max_size=5),
    width=st.integers(14, 80),
    end=st.sampled_from([b"\n", b"\r\n"]),
    version=st.booleans(),
)
def test_what_is_written_is_read(
    made: list[list[tuple[str, bytes, bool]]], width: int, end: bytes, version: bool
) -> None:
    parts = [b"version: 1" + end] if version else []
    for number, attributes in enumerate(made):
        parts += [folded(f"# the entry number {number} of all of them".encode(), width, end)]
        parts += [folded(f"dn: cn={number},dc=example,dc=org".encode(), width, end)]
        parts += [folded(written(*one), width, end) for one in attributes]
        parts += [end]
    read = list(entries(io.BytesIO(b"".join(parts))))
    assert [entry.dn for entry in read] == [f"cn={number},dc=example,dc=org" for number in range(len(made))]
    assert [entry.attributes for entry in read] == [[one[:2] for one in attributes] for attributes in made]


def first(data: bytes) -> Entry:
    return next(iter(entries(io.BytesIO(data))))


def test_a_version_alone_before_a_blank_line_is_to_be_skipped() -> None:
    assert first(b"version: 1\n\ndn: dc=x\n\n").skipped == 2
    assert first(b"# why\nversion: 1\n\n# what\ndn: dc=x\n\n").skipped == 3
    assert first(b"version: 1\ndn: dc=x\n\n").skipped == 0
    assert first(b"\n\ndn: dc=x\n\n").skipped == 0
