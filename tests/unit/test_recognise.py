"""What bytes are, told by how they begin."""

from __future__ import annotations

import gzip
import lzma

import pytest
from tests.support.tar_builder import archive, member

from restore_drill.recognise import archive_of, codec_detector, describe, unread
from restore_drill.secrets import SecretReference

KEY = SecretReference("env", "KEY")


def test_codecs_are_chosen_by_bytes_and_get_their_keys() -> None:
    detect = codec_detector({"age": {"identity": KEY}})
    gz, age = detect(gzip.compress(b"x"), 0), detect(b"age-encryption.org/v1\n", 3)
    assert gz is not None and (gz.name, gz.secrets) == ("gzip", {})
    assert age is not None and (age.name, age.secrets) == ("age", {"identity": KEY})
    assert detect(b"SQLite format 3\0", 0) is None
    assert detect(b"", 0) is None


def test_a_list_of_the_catalogue_goes_before_the_bytes() -> None:
    detect = codec_detector({"age": {"identity": KEY}}, ("age", "xz"))
    found = [detect(gzip.compress(b"x"), depth) for depth in range(3)]
    assert [codec and codec.name for codec in found] == ["age", "xz", None]
    assert found[0] is not None and found[0].secrets == {"identity": KEY}
    assert codec_detector({}, ())(gzip.compress(b"x"), 0) is None


def test_archives_are_told_apart_from_content() -> None:
    assert archive_of(archive(member(b"a", b"1"))[:1024]) == "tar"
    assert archive_of(b"SQLite format 3\0" + bytes(1008)) is None


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "nothing"),
        (bytes(512), "zero bytes"),
        (b"<!DOCTYPE html><title>503", "an HTML page"),
        (b"\xef\xbb\xbf\r\n <HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><Error>', "an XML document"),
        (b"<Error><Code>NoSuchKey", "an error document of S3"),
        (b'{"error": 1}', "a JSON document"),
        (b"[1]", "a JSON document"),
        (b"SQLite format 3\0", "an SQLite database"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (lzma.compress(b"x"), "xz"),
        (b"BZh9", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\x03\x04", "a zip archive"),
        (b"age-encryption.org/v1", "an age file"),
        (b"-----BEGIN PGP MESSAGE", "an OpenPGP message"),
        (b"Salted__12345678", "an openssl enc file"),
        (b"PGDMP\x01", "a pg_dump archive"),
        (b"REDIS0011", "a Redis dump"),
        (b"-- MySQL dump", "an SQL script of another kind"),
        (archive(member(b"a", b"1"))[:1024], "a tar archive"),
        (b"\x04\x22\x4d\x18\x64\x40", "lz4"),
        (b"Rar!\x1a\x07\x01\0", "a rar archive"),
        (lzma.compress(b"x", lzma.FORMAT_ALONE), "lzma (.lzma)"),
        (b"\xa3\x01\x5b\x0d\xf2", "an OpenPGP message that is not encrypted"),
        (b"!<arch>\ndebian-binary   17", "a Debian package"),
        (b"!<arch>\n/       ", "an ar archive"),
        (b"LZIP\x01", "lzip"),
        (b"\x1f\x9d\x90", "compress (.Z)"),
        (b"QFI\xfb\0\0\0\3", "a qcow2 disk image"),
        (b"Service unavailable, try again", "plain text"),
        (bytes(range(128, 256)), "unknown binary data"),
    ],
)
def test_what_was_not_recognised_is_named_for_a_person(head: bytes, name: str) -> None:
    assert describe(head) == name


def test_a_format_that_is_not_read_has_a_remedy() -> None:
    for head in (b"Rar!\x1a\x07\0", b"070701", b"MSCF\0\0\0\0", b"\x89LZO\0\r\n\x1a\n", b"conectix"):
        found = unread(head + bytes(100))
        assert found is not None and found[1].endswith(".")
    assert unread(gzip.compress(b"x")) is None and unread(b"") is None


def test_an_archive_of_files_is_a_layer_only_where_files_are_restored() -> None:
    head = b"PK\x03\x04" + bytes(100)
    assert getattr(codec_detector({})(head, 0), "name", None) == "zip"
    assert codec_detector({}, files=False)(head, 0) is None
    assert getattr(codec_detector({}, ("zip",), files=False)(head, 0), "name", None) == "zip"
    assert archive_of(head) == "zip"
