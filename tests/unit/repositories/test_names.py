"""What the endings of a name say of its encodings, and what is left of the name."""

from __future__ import annotations

import pytest

from restore_drill.registry import load, names
from restore_drill.repositories.names import peeled, stems


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.db", []),
        ("a.db.gz.age", [("age", "a.db.gz"), ("gzip", "a.db")]),
        ("A.SQL.ZSTD", [("zstd", "A.SQL")]),
        ("d/a.tbz2", [("bzip2", "d/a.tar")]),
        ("a.txz.gpg", [("openpgp", "a.txz"), ("xz", "a.tar")]),
        ("a.zip.openssl", [("openssl", "a.zip"), ("zip", "a")]),
        (".gz", []),
        ("gz", []),
    ],
)
def test_endings_are_peeled_off_from_the_outside_in(name: str, found: list[tuple[str, str]]) -> None:
    assert list(peeled(name)) == found
    assert stems(name) == [name, *(rest for _, rest in found)]


def test_every_ending_that_a_codec_declares_is_its_own() -> None:
    endings = {ending: codec for codec in names("codecs") for ending in load("codecs", codec).suffixes}
    assert len(endings) > 10
    assert {ending: list(peeled(f"a{ending}")) for ending in endings} == {
        ending: [(codec, "a")] for ending, codec in endings.items()
    }
