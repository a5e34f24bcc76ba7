"""The lists of incremental archives: what is taken, and what is refused before anybody could act on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tar_builder import GNU, archive, member, pax

from restore_drill.archives.dumpdir import parse
from restore_drill.errors import BackupFailed
from restore_drill.listings import Entry, beside, read
from restore_drill.model import Stage

Unpack = Callable[..., dict[str, Any]]

GOOD: dict[str, tuple[bytes, list[Entry]]] = {
    "an empty directory": (b"\0", []),
    "all kinds": (b"Ya\0Nb\0Dc\0\0", [Entry(b"Y", b"a"), Entry(b"N", b"b"), Entry(b"D", b"c")]),
    "odd names": (b"YY\0N\xff\n\\\0\0", [Entry(b"Y", b"Y"), Entry(b"N", b"\xff\n\\")]),
    "a renaming": (b"R./a\0T./b/c\0\0", [Entry(b"R", b"a"), Entry(b"T", b"b/c")]),
    "two that change places": (
        b"X.\0R./a\0T\0R./b\0T./a\0R\0T./b\0\0",
        [
            Entry(b"R", b"a"),
            Entry(b"T", b""),
            Entry(b"R", b"b"),
            Entry(b"T", b"a"),
            Entry(b"R", b""),
            Entry(b"T", b"b"),
        ],
    ),
    "a temporary place that tar wrote as absolute": (
        b"X/srv\0Rsrv/a\0T\0R\0Tsrv/b\0\0",
        [Entry(b"R", b"srv/a"), Entry(b"T", b""), Entry(b"R", b""), Entry(b"T", b"srv/b")],
    ),
}
BAD: dict[str, tuple[bytes, str]] = {
    "without an end": (b"Ya\0", "without an end"),
    "cut inside a name": (b"Ya\0Nb", "without an end"),
    "nothing but a name": (b"Ya", "without an end"),
    "more behind its end": (b"Ya\0\0Nb\0\0", "behind its end"),
    "more after an empty one": (b"\0Nb\0\0", "behind its end"),
    "an unknown kind": (b"Qa\0\0", "unknown kind"),
    "an empty name": (b"Y\0\0", "not in it"),
    "itself": (b"D.\0\0", "not in it"),
    "its parent": (b"N..\0\0", "not in it"),
    "a path": (b"Ya/b\0\0", "not in it"),
    "an absolute path": (b"Y/etc\0\0", "not in it"),
    "a name that is too long": (b"Y" + b"a" * 256 + b"\0\0", "not in it"),
    "half a renaming": (b"Ra\0\0", "half a renaming"),
    "a renaming cut by a name": (b"Ra\0Nb\0Tc\0\0", "half a renaming"),
    "a target alone": (b"Tb\0\0", "half a renaming"),
    "renamed from outside": (b"R../a\0Tb\0\0", "climbs out"),
    "renamed to outside": (b"Ra\0T./b/../../c\0\0", "climbs out"),
    "renamed from an absolute path": (b"R/etc\0Tb\0\0", "absolute"),
    "renamed to an absolute path": (b"Ra\0T/tmp/b\0\0", "absolute"),
    "renamed backwards": (b"Ra\0T..\\b\0\0", "climbs out"),
    "the root renamed": (b"R.\0Ta\0\0", "the root"),
    "renamed to the root": (b"Ra\0T./\0\0", "the root"),
    "a name missing without a temporary place": (b"R\0Ta\0\0", "no name"),
    "a target missing without a temporary place": (b"Ra\0T\0\0", "no name"),
    "a temporary place used twice": (b"X.\0R\0Ta\0R\0Tb\0\0", "no name"),
    "two temporary places": (b"X.\0X.\0R\0Ta\0\0", "one temporary directory upon another"),
    "a temporary place outside": (b"X../..\0R./a\0T\0R\0T./b\0\0", "outside the tree"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_taken(name: str) -> None:
    data, entries = GOOD[name]
    listing = parse(b"./d/", data)
    assert (listing.directory, list(listing.entries())) == (b"d", entries)


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str, unpack: Unpack) -> None:
    data, says = BAD[name]
    for number, built in enumerate((member(b"./", data, b"D", magic=GNU), _in_pax(data))):
        with pytest.raises(BackupFailed, match=says) as caught:
            unpack(archive(built), f"{number}")
        assert caught.value.stage is Stage.UNPACK


@given(
    st.binary(max_size=60) | st.lists(st.sampled_from([b"Y", b"R", b"T", b"X", b"a", b"..", b"/", b"\0"])).map(b"".join)
)
def test_nothing_leads_outside_whatever_it_says(data: bytes) -> None:
    try:
        listing = parse(b".", data)
    except BackupFailed:
        return
    for code, name in listing.entries():
        parts = name.split(b"/")
        assert b".." not in parts and b"." not in parts and not name.startswith(b"/")
        assert code in b"RT" or (name and len(parts) == 1)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_lists_lie_beside_the_tree_in_order(tmp_path: Path, unpack: Unpack, form: str) -> None:
    lists = [(b"./", b"Dd\0Yx\0\0"), (b"./d/", b"\0")]
    made = [_in_pax(data, name) if form == "pax" else member(name, data, b"D", magic=GNU) for name, data in lists]
    facts = unpack(archive(*made, member(b"./x", b"1"), member(b"./p", kind=b"6")), allow=["special-files"])
    found = list(read(tmp_path / "work" / "root"))
    assert [(one.directory, one.body) for one in found] == [(b"", b"Dd\0Yx\0"), (b"d", b""), (b"", b"-p\0")]
    assert facts["directories"] == 1
    assert "directories with the list of an incremental archive: 2" in facts["notes"]


def test_nothing_lies_beside_a_tree_that_has_no_lists_or_is_not_written(tmp_path: Path, unpack: Unpack) -> None:
    unpack(archive(member(b"a", b"1"), member(b"d/", kind=b"5")), "plain")
    unpack(archive(member(b"./", b"Ya\0\0", b"D", magic=GNU), member(b"a", b"1")), "compared", discard=True)
    unpack(archive(member(b"./", b"", b"D", magic=GNU), member(b"a", b"1")), "unlisted")
    for name in ("plain", "compared", "unlisted"):
        assert not beside(tmp_path / "work" / name).exists()


def test_a_list_in_a_header_for_all_belongs_to_directories_only(tmp_path: Path, unpack: Unpack) -> None:
    data = archive(pax({b"GNU.dumpdir": b"Q"}, b"g"), member(b"a", b"1"))
    assert unpack(data)["files"] == 1
    with pytest.raises(BackupFailed, match="without an end"):
        unpack(archive(pax({b"GNU.dumpdir": b"Q"}, b"g"), member(b"d/", kind=b"5")), "directory")


def _in_pax(data: bytes, name: bytes = b"./") -> bytes:
    return pax({b"GNU.dumpdir": data}) + member(name, kind=b"5")
