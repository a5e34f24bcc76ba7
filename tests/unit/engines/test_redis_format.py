"""How a dump begins, read from whatever comes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.engines.redis import RedisEngine
from restore_drill.engines.redis_format import Header, branch, has_checksum, header
from restore_drill.engines.redis_samples import database, dump, shop

FIELDS = {"redis-ver": "7.0.15", "redis-bits": "64", "ctime": "1700000000", "used-mem": "1000000"}


def read(content: bytes) -> Header | None:
    return header(io.BytesIO(content))


def test_the_beginning_says_who_wrote_it() -> None:
    found = read(dump(database(0, *shop()), aux={"repl-id": "a" * 40}))
    assert found == Header("REDIS", 10, FIELDS)
    assert (found.family, found.release, found.begins_commands, found.contradicts_itself) == (
        "redis", "7.0.15", False, False,
    )  # fmt: skip


@pytest.mark.parametrize("stored", [b"\xc0\x01", b"\xc1\x01\x00", b"\xc2\x01\x00\x00\x00", b"\x011"])
def test_numbers_stand_in_each_of_their_forms(stored: bytes) -> None:
    found = read(b"REDIS0011\xfa\x08aof-base" + stored)
    assert found is not None
    assert found.begins_commands


def test_valkey_is_told_apart() -> None:
    by_magic, by_field = read(b"VALKEY080"), read(dump(aux={"valkey-ver": "8.0.1", "redis-ver": "7.2.4"}, version=11))
    assert by_magic is not None
    assert by_field is not None
    assert (by_magic.family, by_magic.version, by_magic.release) == ("valkey", 80, "")
    assert (by_field.family, by_field.release, by_field.contradicts_itself) == ("valkey", "8.0.1", False)


def test_a_version_must_be_one_that_its_writer_writes() -> None:
    for release, version, contradicts in (
        ("6.2.7", 9, False),
        ("6.2.7", 10, True),
        ("99.0.0", 60, False),
        ("", 60, False),
    ):
        assert Header("REDIS", version, {"redis-ver": release}).contradicts_itself is contradicts


def test_zeros_are_no_checksum() -> None:
    for checksum in (True, False):
        content = dump(checksum=checksum)
        assert has_checksum(io.BytesIO(content), len(content), 10) is checksum
    assert not has_checksum(io.BytesIO(dump()), len(dump()), 4)


@pytest.mark.parametrize(
    ("release", "expected"), [("7.0.15", (7, 0)), ("8.0", (8, 0)), ("7", None), ("unstable", None)]
)
def test_the_branch_of_a_release(release: str, expected: tuple[int, int] | None) -> None:
    assert branch(release) == expected


@given(st.binary(max_size=200))
def test_nothing_at_the_beginning_is_too_odd(content: bytes) -> None:
    for beginning in (b"", b"REDIS0010", b"REDIS0010\xfa\x09redis-ver", b"VALKEY080\xfa"):
        found = read(beginning + content)
        assert found is None or all(value.isascii() for value in found.fields.values())


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"REDIS0009\xfa", "redis-dump"),
        (b"VALKEY080\xfa", "redis-dump"),
        (b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", "redis-append-only"),
        (b"#TS:1700000000\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", "redis-append-only"),
        (b"REDIS", None),
        (b"*2\r\n", None),
        (b"* a list\n* of things\n", None),
        (b"-ERR NOAUTH Authentication required.\r\n", None),
    ],
)
def test_only_what_redis_writes_is_recognised(head: bytes, expected: str | None) -> None:
    assert RedisEngine.recognises(head) == expected
