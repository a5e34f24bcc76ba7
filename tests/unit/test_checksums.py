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

from restore_drill import digests
from restore_drill.checksums import (
    MANIFEST_NAMES,
    SIDECAR_SUFFIXES,
    RecordedDigest,
    algorithm_of_name,
    decode,
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


@pytest.mark.parametrize(
    ("command", "algorithm", "hint"),
    [
        ("sha1sum", "sha1", ""),
        ("shasum -a 1", "sha1", ""),
        ("shasum -a 512256", "sha512-256", "sha512-256"),
        ("shasum --tag -a 384", "sha384", ""),
        ("b2sum", "blake2b", "blake2b"),
        ("b2sum --tag", "blake2b", ""),
        ("b2sum -l 256", "blake2b-256", "blake2b"),
        ("b2sum -l 160 --tag", "blake2b-160", ""),
        ("cksum -a blake2b -l 256", "blake2b-256", ""),
        ("cksum -a sha224 --untagged", "sha224", ""),
        ("cksum -a sha512", "sha512", ""),
        ("b3sum", "blake3", "blake3"),
        ("xxhsum -H0", "xxh32", "xxh"),
        ("xxhsum", "xxh64", "xxh"),
        ("xxhsum -H2", "xxh128", "xxh128"),
        ("xxhsum -H2 --tag", "xxh128", ""),
        ("xxhsum -H3 --tag", "xxh3", ""),
        ("openssl dgst -sha256", "sha256", ""),
        ("openssl dgst -r -sha256", "sha256", ""),
        ("openssl dgst -sha3-256", "sha3-256", ""),
        ("openssl dgst -sha512-256", "sha512-256", ""),
        ("openssl dgst -blake2b512", "blake2b", ""),
        ("openssl dgst -blake2s256", "blake2s", ""),
        ("sha256sum --zero", "sha256", ""),
        ("b2sum --zero --tag", "blake2b", ""),
    ],
)
def test_every_program_is_read_back_and_its_digest_computed(
    command: str, algorithm: str, hint: str, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    program, *options = command.split()
    names = ["a b.db", "( ) = 00"] + (["line\nfeed"] if "--zero" in options else [])
    for name in names:
        (tmp_path / name).write_text(name)
    done = subprocess.run([require_program(program), *options, *names], cwd=tmp_path, capture_output=True, check=True)
    expected = [RecordedDigest(name, algorithm, digests.new(algorithm, name.encode()).hexdigest()) for name in names]
    assert parse_manifest(done.stdout.decode(), hint) == expected


def test_what_newer_xxhsum_writes_of_xxh3_is_read_back() -> None:
    line = f"XXH3_{digests.new('xxh3', b'x').hexdigest()}  a.db\n"
    assert only(line, "xxh") == RecordedDigest("a.db", "xxh3", digests.new("xxh3", b"x").hexdigest())


def test_what_powershell_redirects_is_read_back() -> None:
    assert only(decode(f"{SHA256.upper()}\r\n".encode("utf-16"))) == RecordedDigest("", "sha256", SHA256)
    assert only(decode(f"{SHA256}  n\xe4\n".encode("latin-1"))).name == "n\udce4"
    with pytest.raises(BackupFailed, match="damaged UTF-16"):
        decode(f"{SHA256}\r\n".encode("utf-16")[:-1])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
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


def test_a_backslash_that_no_program_escaped_is_a_letter_where_slashes_divide() -> None:
    """As rclone, xxhsum and openssl write the names of systemd's units; Windows' lists have no slash at all."""
    lines = [f"{SHA256}  etc/{name}\n" for name in ("hosts", "dev-disk\\x2d1.swap")]
    assert [line.name for line in parse_manifest("".join(lines))] == ["etc/hosts", "etc/dev-disk\\x2d1.swap"]
    windows = f"{SHA256} *sub\\a\n{SHA256} *sub\\b\n"
    assert [line.name for line in parse_manifest(windows)] == ["sub/a", "sub/b"]
    both = f"{SHA256} *C:\\x/sub\\a\n{SHA256} *sub/b\n"
    assert [line.name for line in parse_manifest(both)] == ["C:/x/sub/a", "sub/b"]


@pytest.mark.parametrize(
    ("text", "hint", "says"),
    [
        ("", "", "it holds no digest line"),
        ("\n\n# nothing\n", "", "it holds no digest line"),
        ("<html><body>404", "", "line 1 is not a digest line"),
        (f"{SHA256}  a\nnonsense\n", "", "line 2 is not a digest line"),
        (f"{SHA256[:-1]}  a", "", "63 hexadecimal digits, and nothing says by which algorithm"),
        (f"{SHA256}", "sha512", "should be sha512 but has 64 hexadecimal digits"),
        (f"{SHA256}  a", "sha3", "uses sha3, an algorithm that is not known here"),
        (f"{MD5}  a", "blake3", "should be blake3 but has 32"),  # b3sum --length 16
        (f"SHA512 (a) = {SHA256}", "", "should be sha512"),
        (f"BLAKE2b (a) = {SHA256}", "", "should be blake2b"),
        (f"SM3 (a) = {SHA256}", "", "uses sm3"),
        (f"RIPEMD160 (a) = {SHA1}", "", "uses ripemd160"),
        ("XXH64_LE (a) = e4c191d091bd8853", "", "uses xxh64_le"),
        ("e4c191d091bd8853  a", "", "16 hexadecimal digits, and nothing says by which"),
        ("3015617425 6 a", "", "not a digest line"),  # cksum
        (f"{SHA1} Ua", "", "not a digest line"),  # shasum -U: of something else than the bytes
        (f"{SHA256}  a\0junk", "", "line 2 is not a digest line"),
        (f"SHA256 hash of a:\r\n{SHA256}\r\nCertUtil: done.\r\n", "", "line 1 is what certutil prints"),
        (f"\r\nAlgorithm : SHA256\r\nHash      : {SHA256}\r\n", "", "line 2 is what Get-FileHash prints"),
        (f"\nAlgorithm  Hash  Path\n--  --  --\nSHA256 {SHA256} a\n", "", "line 2 is what Get-FileHash prints"),
        (f"SHA256 (a) = {SHA256}\nMD5 (a) = {MD5}\nSHA256 (a) = {SHA256[::-1]}\n", "", "line 3 lists a name again"),
        (f"MD5 (a) = {MD5}\nSHA256 (a) = {SHA256}\nMD5 (a) = {MD5[::-1]}\n", "", "line 3 lists a name again"),
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
    weaker = f"XXH128 (a) = {MD5}\nMD5 (a) = {MD5[::-1]}\nCRC32 (a) = {MD5[:8]}\n"
    assert parse_manifest(weaker) == [RecordedDigest("a", "md5", MD5[::-1])]
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
        ("x.b3", "blake3"),
        ("B2SUMS", "blake2b"),
        ("x.blake3", "blake3"),
        ("x.blake2b-256", "blake2b-256"),
        ("x.xxh128", "xxh128"),
        ("XXHSUMS", "xxh"),
        ("x.xxh", "xxh"),
        ("xxh128sums.txt", "xxh128"),
        ("x.xxh3", "xxh3"),
        ("x.crc32c", "crc32c"),
        ("x.sha512-256", "sha512-256"),
        ("x.sha3", "sha3"),
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
        assert algorithm_of_name(name) in {*digests.ALGORITHMS, "xxh"}, name


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
