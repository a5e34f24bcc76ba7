"""Digest algorithms: the published vectors, any chunking, and what an algorithm is worth."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill import digests
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: The check values that the algorithms' own publications give: of "123456789" for the CRCs (catalogue of parametrised
#: CRC algorithms), of "abc" for FIPS 180-4, FIPS 202 and RFC 7693, of nothing for the others.
VECTORS = [
    ("crc32", b"123456789", "cbf43926"),
    ("crc32c", b"123456789", "e3069283"),
    ("crc64nvme", b"123456789", "ae8b14860a799888"),
    ("xxh32", b"", "02cc5d05"),
    ("xxh64", b"", "ef46db3751d8e999"),
    ("xxh3", b"", "2d06800538d394c2"),
    ("xxh128", b"", "99aa06d3014798d86001c324468d497f"),
    ("md5", b"", "d41d8cd98f00b204e9800998ecf8427e"),
    ("sha1", b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("sha512-256", b"abc", "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
    ("sha3-256", b"abc", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
    ("blake2s", b"abc", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"),
    ("blake3", b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
]


@pytest.mark.parametrize(("name", "data", "expected"), VECTORS, ids=lambda value: value if value in VECTORS else None)
def test_the_published_value(name: str, data: bytes, expected: str) -> None:
    assert digests.new(name, data).hexdigest() == expected


@settings(max_examples=5, deadline=None)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=4))
def test_chunks_do_not_matter_and_lengths_are_as_stated(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(data)]
    for name in (*digests.ALGORITHMS, "blake2b-8", "blake2b-256"):
        hasher = digests.new(name)
        for start, stop in itertools.pairwise(edges):
            hasher.update(memoryview(data)[start:stop])
        whole = digests.new(name, data)
        known = digests.find(name)
        assert known is not None
        assert hasher.hexdigest() == whole.hexdigest() == whole.digest().hex()
        assert len(whole.hexdigest()) == known.length


def test_what_an_algorithm_is_worth() -> None:
    worth = {name: digests.strength(name).name for name in (*digests.ALGORITHMS, "blake2b-256", "blake2b-64", "sha9")}
    assert {name for name, strength in worth.items() if strength == "FORGEABLE"} == {"md5", "sha1", "blake2b-64"}
    not_cryptographic = {name for name, strength in worth.items() if strength == "CHECKSUM"}
    assert not_cryptographic == {"xxh32", "xxh64", "xxh3", "xxh128", "crc32", "crc32c", "crc64nvme", "sha9"}
    assert [name for name in ("md5", "crc32", "sha9") if not digests.is_weak(name)] == []
    assert not digests.is_weak("blake2b-256")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("SHA2-256", "sha256"), ("SHA256", "sha256"), ("SHA-1", "sha1"), ("sha512_256", "sha512-256"),
        ("SHA2-512/256", "sha512-256"), ("BLAKE2b", "blake2b"), ("BLAKE2b-256", "blake2b-256"), ("b2", "blake2b"),
        ("BLAKE2B-512", "blake2b"), ("BLAKE2S-256", "blake2s"), ("b3sum", "blake3"), ("XXH3_64", "xxh3"),
        ("XXH128", "xxh128"), ("CRC64NVME", "crc64nvme"), ("SHA3-256", "sha3-256"), ("md5sum", "md5"),
        ("CRC64", ""), ("SM3", ""), ("BLAKE2b-7", ""), ("BLAKE2b-520", ""), ("", ""), ("xxh64_le", ""),
    ],
)  # fmt: skip
def test_names_as_programs_write_them(written: str, name: str) -> None:
    assert digests.canonical(written) == name


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("blake3", "blake3", "blake3"), ("xxh128", "xxhash", "xxhash"), ("crc32c", "awscrt", "crc")],
)
def test_a_missing_library_names_the_extra(name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digests.new(name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CouldNotVerify) as raised:
        digests.new(name)
    assert raised.value.stage is Stage.VERIFY
    assert raised.value.remedy == f"pip install 'pytest-restore-drill[{extra}]'"
    assert name in raised.value.cause


def test_an_unknown_algorithm_is_a_failure() -> None:
    with pytest.raises(BackupFailed, match="by gost, an algorithm that is not known here") as raised:
        digests.new("gost")
    assert raised.value.stage is Stage.VERIFY


def test_base64_of_headers() -> None:
    assert digests.from_base64(" 4waSgw==\n", "crc32c") == "e3069283"
    assert [digests.from_base64(text, "crc32c") for text in ("4waSgwA=", "4waSg", "nonsense!", "")] == [""] * 4


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 200), max_size=4),
    wrong=st.sampled_from([0, -1, 1]),
)
def test_the_digest_of_digests_whatever_the_chunks(parts: list[int], cuts: list[int], wrong: int) -> None:
    wrong = max(wrong, -sum(parts))
    data = bytes(number % 251 for number in range(sum(parts) + wrong))
    hasher = digests.Composite("sha256", parts)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        hasher.update(data[start:stop])
    outer, at = digests.new("sha256"), 0
    for part in parts:
        outer.update(digests.new("sha256", data[at : at + part]).digest())
        at += part
    assert hasher.hexdigest() == ("" if wrong else outer.hexdigest())
