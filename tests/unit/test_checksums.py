"""Recorded digests as programs write them, and what must never be taken for one."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore_drill.checksums import (
    MANIFEST_NAMES,
    SIDECAR_SUFFIXES,
    RecordedDigest,
    algorithm_of_name,
    decoded_name,
    parse_manifest,
    strip_suffix,
)
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

MD5, SHA1, SHA256, SHA512 = (name * 2 for name in ("ab" * 8, "cd" * 10, "0f" * 16, "12" * 32))
#: Any name a file may have: no slash, no NUL, not a directory's.
NAMES = st.text(
    st.one_of(st.sampled_from("\\\n\r ()=*-#\t"), st.characters(exclude_characters="/\0", exclude_categories=["Cs"])),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", "..", "-") and len(name.encode()) < 200)


def only(text: str, hint: str = "") -> RecordedDigest:
    (digest,) = parse_manifest(text, hint)
    return digest


def refusal(text: str, hint: str = "") -> BackupFailed:
    with pytest.raises(BackupFailed, match="the recorded digest cannot be used") as raised:
        parse_manifest(text, hint)
    assert raised.value.stage is Stage.VERIFY
    return raised.value


@pytest.mark.parametrize("options", [(), ("--tag",), ("--binary",), ("--text",)], ids=lambda o: "".join(o) or "plain")
@pytest.mark.parametrize("program", ["sha256sum", "sha512sum"])
def test_what_the_programs_write_is_read_back(
    program: str, options: tuple[str, ...], tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    path = require_program(program)
    (tmp_path / "sub dir").mkdir()
    names = ["a.db", "sub dir/b c.gz", "ünï", "line\nfeed", "back\\slash", "cr\r", "#x", "sub dir/( ) = 00", "*star"]
    for name in names:
        (tmp_path / name).write_text(name)
    given = [f"./{name}" for name in names]
    done = subprocess.run([path, *options, *given], cwd=tmp_path, capture_output=True, check=True)
    algorithm = program.removesuffix("sum")
    expected = [RecordedDigest(name, algorithm, hashlib.new(algorithm, name.encode()).hexdigest()) for name in names]
    assert parse_manifest(done.stdout.decode()) == expected
    assert parse_manifest(done.stdout.decode().replace("\n", "\r\n"), algorithm) == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, tag=st.booleans())
def test_any_name_survives(name: str, tag: bool, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    command = [require_program("sha256sum"), *(["--tag"] if tag else []), "--", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    path.unlink()
    found = only(done.stdout.decode(), "sha256")
    assert (found.name, found.hexdigest) == (name, hashlib.sha256(b"x").hexdigest())


@pytest.mark.parametrize(
    ("text", "name", "algorithm"),
    [
        (f"{SHA256}  db.gz\n", "db.gz", "sha256"),
        (f"{SHA256} *db.gz", "db.gz", "sha256"),
        (f"{SHA256.upper()}  db.gz", "db.gz", "sha256"),
        (f"\ufeff{SHA256}  db.gz\r\n", "db.gz", "sha256"),
        (f"# made by cron\n\n{SHA256}  db.gz\n\n", "db.gz", "sha256"),
        (f"{SHA256}  ./sub/db.gz", "sub/db.gz", "sha256"),
        (f"{SHA256}  /backups/db.gz", "/backups/db.gz", "sha256"),
        (f"{SHA256} *C:\\backups\\db.gz\r\n", "C:/backups/db.gz", "sha256"),
        (f"\\{SHA256}  a\\\\b\\nc", "a\\b\nc", "sha256"),
        (f"SHA256 (db.gz) = {SHA256}", "db.gz", "sha256"),
        (f"SHA512 (a (b) = c) = {SHA512}", "a (b) = c", "sha512"),
        (f"\\SHA256 (a\\nb) = {SHA256}", "a\nb", "sha256"),
        (f"SHA2-256(db.gz)= {SHA256}", "db.gz", "sha256"),
        (f"SHA256(db.gz)= {SHA256}", "db.gz", "sha256"),
        (f"SHA2-512(db.gz)= {SHA512}", "db.gz", "sha512"),
        (SHA256, "", "sha256"),
        (f"{SHA512}\n", "", "sha512"),
        (f"{SHA256}  -\n", "", "sha256"),
        (f"{MD5}  db.gz", "db.gz", "md5"),
        (f"{SHA1}  db.gz", "db.gz", "sha1"),
    ],
)
def test_a_line_is_read(text: str, name: str, algorithm: str) -> None:
    found = only(text)
    assert (found.name, found.algorithm) == (name, algorithm)
    assert found.hexdigest in (MD5, SHA1, SHA256, SHA512)


@pytest.mark.parametrize(
    ("text", "hint", "says"),
    [
        ("", "", "it holds no digest line"),
        ("\n\n# nothing\n", "", "it holds no digest line"),
        ("<html><body>404", "", "line 1 is not a digest line"),
        (f"{SHA256}  a\nnonsense\n", "", "line 2 is not a digest line"),
        (f"{SHA256[:-1]}  a", "", "63 hexadecimal digits"),
        (f"{SHA256}", "sha512", "should be sha512 but has the length of sha256"),
        (f"{SHA256}  a", "blake3", "uses blake3, an algorithm that is not known here"),
        (f"SHA512 (a) = {SHA256}", "", "should be sha512"),
        (f"BLAKE2b (a) = {SHA512}", "", "uses blake2b"),
        (f"SHA3-256 (a) = {SHA256}", "", "uses sha3256"),
        (f"{MD5}-12", "", "multipart ETag"),
        (f'"{MD5}-12"', "", "multipart ETag"),
        (f"{SHA256}  a\n{SHA256[::-1]}  a\n", "", "line 2 lists a name again"),
        (f"{SHA256}  a\n{SHA256[::-1]}  ./a\n", "", "line 2 lists a name again"),
        (f"{SHA256} a", "", "not a digest line"),
        ("x" * 64 + "  a", "", "not a digest line"),
        (f"{SHA256}\0  a", "", "not a digest line"),
    ],
)
def test_what_is_damaged_is_refused_and_never_read_past(text: str, hint: str, says: str) -> None:
    assert says in refusal(text, hint).cause


def test_a_name_that_is_listed_twice_stays_out_of_the_message() -> None:
    problem = refusal(f"{SHA256}  private\n{SHA256[::-1]}  private\n")
    assert "private" not in str(problem)
    assert problem.details == ("private",)


def test_a_repeated_line_and_a_second_algorithm_are_no_contradiction() -> None:
    assert parse_manifest(f"{SHA256}  a\n{SHA256}  a\n") == [RecordedDigest("a", "sha256", SHA256)]
    both = f"MD5 (a) = {MD5}\nSHA512 (a) = {SHA512}\nSHA256 (a) = {SHA256}\n"
    assert parse_manifest(both) == [RecordedDigest("a", "sha512", SHA512)]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    found = None
    with contextlib.suppress(BackupFailed):
        found = parse_manifest(text)
    assert found is None or all(digest.hexdigest in text.lower() for digest in found)


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("db.gz.sha256", "sha256"),
        ("backups/sha1/SHA256SUMS", "sha256"),
        ("md5-tests.db.sha512", "sha512"),
        ("SHA512SUMS.txt", "sha512"),
        ("x.sha256sum", "sha256"),
        ("x.b3", "b3"),
        ("B2SUMS", "b2"),
        ("x.blake3", "blake3"),
        ("x.sha3-256", "sha3-256"),
        ("x.sha384", "sha384"),
        ("web2.digest", ""),
        ("CHECKSUMS", ""),
    ],
)
def test_the_algorithm_is_what_the_own_name_says_last(name: str, algorithm: str) -> None:
    assert algorithm_of_name(name) == algorithm


def test_every_name_under_which_digests_are_looked_for_tells_its_algorithm() -> None:
    for name in (*MANIFEST_NAMES, *(f"x{suffix}" for suffix in SIDECAR_SUFFIXES)):
        assert algorithm_of_name(name) in ("md5", "sha1", "sha256", "sha512")


@pytest.mark.parametrize(
    ("name", "suffixes", "decoded"),
    [
        ("db.gz", (".gz",), "db"),
        ("DB.GZ", (".gz",), "DB"),
        ("db.gz", (".xz",), None),
        (".gz", (".gz",), None),
        ("x.tgz", (".gz",), "x.tar"),
        ("x.tgz", (".age",), None),
        ("x.txz", (".gz", ".xz"), "x.tar"),
        ("x.tzst", (".zst", ".zstd"), "x.tar"),
        ("x.zstd", (".zst", ".zstd"), "x"),
        (".tgz", (".gz",), None),
    ],
)
def test_the_name_of_what_a_file_decodes_to(name: str, suffixes: tuple[str, ...], decoded: str | None) -> None:
    assert decoded_name(name, suffixes) == decoded


def test_the_longest_ending_goes() -> None:
    assert strip_suffix("x.tar.gz", (".gz", ".tar.gz")) == "x"
    assert strip_suffix("x", (".gz",)) is None
