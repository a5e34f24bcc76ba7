"""Archives of pg_dump, written here byte by byte: what is read of them, and what no honest one has."""

# ruff: noqa: E501 - archives stand as they are

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from restore_drill.engines.postgres import inspect_archive
from restore_drill.engines.postgres.archive import read
from restore_drill.engines.postgres.loading import sorting_memory
from restore_drill.engines.postgres.logical import _knows_restrict, newest
from restore_drill.errors import BackupFailed, CouldNotVerify


def number(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def text(value: str | None) -> bytes:
    return number(-1) if value is None else number(len(value.encode())) + value.encode()


def entry(place: int, kind: str, tag: str, definition: str = "", *, version: int, owner: str = "app") -> bytes:
    data = kind == "TABLE DATA"
    fields = (
        number(place) + number(data) + text("1259") + text("16384") + text(tag) + text(kind) + number(3 if data else 2)
    )
    fields += text(definition) + text("") + text("COPY public.a FROM stdin;\n" if data else None)
    fields += text("public") + text("")
    fields += text("") if version >= 14 else b""
    fields += number(ord("r")) if version >= 16 else b""
    return fields + text(owner) + text("false") + text(None) + bytes([1 if data else 3]) + bytes(8)


def archive(version: int = 14, *, data: bytes | None = None, count: int | None = None) -> bytes:
    """One table of two chunks of rows, owned by somebody, in a database of its own."""
    compression = b"\x01" if version >= 15 else number(-1)
    entries = [
        entry(
            1,
            "DATABASE",
            "shop",
            "CREATE DATABASE shop WITH ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'de_DE.UTF-8' ICU_LOCALE = 'de';\n",
            version=version,
        ),
        entry(2, "EXTENSION", "hstore", version=version, owner=""),
        entry(3, "TABLE", "a", "CREATE TABLE public.a (b integer);\n", version=version),
        entry(4, "TABLE DATA", "a", version=version),
        entry(5, "ACL", "TABLE a", 'GRANT SELECT ON TABLE public.a TO "Read Only";\n', version=version),
    ]
    head = b"PGDMP" + bytes([1, version, 0, 4, 8, 1]) + compression + b"".join(number(each) for each in range(7))
    head += text("shop") + text("15.20 (Debian)") + text("16.1")
    rows = b"\x01" + number(4) + number(2) + b"1\n" + number(5) + b"2\n3\n\n" + number(0) if data is None else data
    return head + number(len(entries) if count is None else count) + b"".join(entries) + rows


@pytest.mark.parametrize("version", [12, 14, 15, 16])
def test_what_an_archive_says_is_read(version: int, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(archive(version))
    found = inspect_archive.custom(path)
    wanted = {
        "form": "custom", "format": f"1.{version}-0", "compression": "gzip", "server": "15.20 (Debian)", "program": "16.1",
        "database": "shop", "encoding": "UTF8", "locale": "de_DE.UTF-8", "provider": "icu", "roles": ["Read Only", "app"],
        "extensions": ["hstore"], "tables": 1, "data": 1, "properties": "", "tablespaces": [], "sorts": False,
    }  # fmt: skip
    assert found == wanted


def test_wherever_it_is_cut_it_is_noticed(tmp_path: Path) -> None:
    path, whole = tmp_path / "dump", archive()
    for size in range(5, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(BackupFailed, match="cut short"):
            inspect_archive.custom(path)


HOSTILE = {
    "another block": archive(data=b"\x07" + number(4)),
    "a chunk beyond the end": archive(data=b"\x01" + number(4) + number(2**31 - 1) + b"1"),
    "as many entries as fit into no memory": archive(count=2**31 - 1),
    "fewer than none": archive(count=-1),
    "a string beyond the end": archive()[:50] + number(2**31 - 1) + archive()[55:],
    "another form": archive()[:10] + b"\x09" + archive()[11:],
    "integers without a byte": archive()[:8] + b"\x00" + archive()[9:],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_lengths_are_not_believed(what: str, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(HOSTILE[what])
    with pytest.raises(BackupFailed):
        inspect_archive.custom(path)


def test_a_version_that_is_not_known_is_no_damage() -> None:
    for version in (9, 17):
        with pytest.raises(CouldNotVerify, match="are known here"):
            read(io.BytesIO(archive()[:6] + bytes([version]) + archive()[7:]))


def test_the_newest_version_decides_where_it_is_restored() -> None:
    def dump(server: str, program: str) -> dict[str, str]:
        return {"server": server, "program": program}

    assert newest([dump("9.6.24", "9.6.24")]) == "9.6"
    assert newest([dump("9.6.24", "15.20 (Debian 15.20-0+deb12u1)"), dump("", "")]) == "15"
    assert newest([dump("17.2", "16.4")]) == "17"
    assert newest([dump("", "")]) == ""


def test_clients_that_know_restrict_are_known() -> None:
    assert [_knows_restrict(version) for version in ("15.13", "15.14", "17.6", "17.5", "18.0", "12.22", "16.10")] == [
        False, True, True, False, True, False, True,
    ]  # fmt: skip


def test_memory_grows_with_what_is_sorted_as_far_as_two_passes_need() -> None:
    assert [sorting_memory(size << 20) // 1024 for size in (1, 160, 1 << 10, 10 << 10, 1 << 20)] == [8, 8, 22, 64, 64]


@pytest.mark.parametrize(
    ("index", "key", "sorts"), [("btree", True, True), ("btree", False, False), ("gin", True, False)]
)
def test_only_what_is_sorted_is_restored_with_little_memory(index: str, key: bool, sorts: bool) -> None:
    found = read(io.BytesIO(archive()))
    made = [("INDEX", f"CREATE INDEX i ON public.a USING {index} (b);\n")] + [("FK CONSTRAINT", "")] * key
    found.entries += [replace(found.entries[0], kind=kind, definition=text) for kind, text in made]
    assert inspect_archive.describe(found)["sorts"] is sorts
