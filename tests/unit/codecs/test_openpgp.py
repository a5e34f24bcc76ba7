"""OpenPGP against the real gpg: what it wrote, what was done to it since, and what is left of a key afterwards."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3

from restore_drill.codecs import _gnupg
from restore_drill.codecs._gnupg_talk import Told
from restore_drill.codecs.openpgp import OpenPgpCodec
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.process import ProgramMissing
from restore_drill.secrets import SecretReference, redact
from restore_drill.stream import Bound
from restore_drill.testing.codec import EncryptingCodecConformance, content, pieces

PASSPHRASE = "correct horse battery staple"
FAST = ("--s2k-mode", "3", "--s2k-count", "65536")
KEY = """%no-protection
Key-Type: eddsa
Key-Curve: ed25519
Subkey-Type: ecdh
Subkey-Curve: cv25519
Name-Real: {name}
Expire-Date: 0
%commit
"""


class Gpg:
    """The program with a home of its own and two key pairs, of which a drill holds one."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.home = tempfile.mkdtemp(prefix="gpg-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        for name in ("ours", "other"):
            self.run("--gen-key", stdin=KEY.format(name=name).encode())

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        options = ("--homedir", self.home, "--batch", "--yes", "--trust-model", "always", "--no-tty", "--quiet")
        command = [self.program, *options, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout

    def secret(self, name: str) -> str:
        return self.run("--armor", "--export-secret-keys", name).decode()

    @cache  # noqa: B019 - there is one of it
    def to_key(self, data: bytes, *options: str, name: str = "ours") -> bytes:
        return self.run(*options, "--recipient", name, "--encrypt", stdin=data)

    @cache  # noqa: B019 - as above
    def to_passphrase(self, data: bytes, *options: str) -> bytes:
        secret = Path(self.home, "passphrase")
        secret.write_text(PASSPHRASE)
        given = ("--pinentry-mode", "loopback", "--passphrase-file", str(secret))
        return self.run(*FAST, *given, *options, "--symmetric", stdin=data)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "gpg-agent"], check=True)
        shutil.rmtree(self.home)


GPG: Gpg


@pytest.fixture(scope="module", autouse=True)
def gpg(require_program: Callable[[str], str]) -> Iterator[Gpg]:
    global GPG
    GPG = Gpg(require_program("gpg"))
    with pytest.MonkeyPatch.context() as patch:
        # Others on this machine decrypt, too: what is left is looked for in a place of our own.
        patch.setattr(_gnupg, "_base", lambda: Path(GPG.home))
        patch.setenv("PGP_TEST_OURS", GPG.secret("ours"))
        patch.setenv("PGP_TEST_OTHER", GPG.secret("other"))
        patch.setenv("PGP_TEST_PASSPHRASE", PASSPHRASE)
        patch.setenv("PGP_TEST_WRONG", "incorrect horse")
        yield GPG
    GPG.close()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Neither a home nor an agent, whatever became of the stream."""
    before = homes()
    yield
    assert homes() <= before


def homes() -> set[Path]:
    return set(_gnupg._base().glob(f"{_gnupg._PREFIX}*"))


def with_secret(**names: str) -> OpenPgpCodec:
    return OpenPgpCodec({kind: SecretReference("env", f"PGP_TEST_{name}") for kind, name in names.items()})


def decode(encoded: bytes, codec: OpenPgpCodec | None = None) -> bytes:
    return b"".join((codec or with_secret(key="OURS", passphrase="PASSPHRASE")).decode(iter([encoded])))


def error(encoded: bytes, codec: OpenPgpCodec | None = None) -> RestoreDrillError:
    with pytest.raises(RestoreDrillError) as caught:
        decode(encoded, codec)
    return caught.value


def armored(data: bytes) -> bytes:
    return GPG.to_key(data, "--armor").rstrip(b"\n")


class OpenPgpConformance(EncryptingCodecConformance):
    concatenates: ClassVar[bool] = False

    def codec(self) -> OpenPgpCodec:
        return with_secret(key="OURS")

    def wrong_key_codec(self) -> OpenPgpCodec:
        return with_secret(key="OTHER")


class TestOpenPgpKey(OpenPgpConformance):
    stride = 21

    def encode(self, data: bytes) -> bytes:
        return GPG.to_key(data)


class TestOpenPgpArmor(OpenPgpConformance):
    padding = b" \t\r\n"
    stride = 37

    def encode(self, data: bytes) -> bytes:
        return armored(data)


class TestOpenPgpPassphrase(OpenPgpConformance):
    stride = 5

    def codec(self) -> OpenPgpCodec:
        return with_secret(passphrase="PASSPHRASE")

    def wrong_key_codec(self) -> OpenPgpCodec:
        return with_secret(passphrase="WRONG")

    def encode(self, data: bytes) -> bytes:
        return GPG.to_passphrase(data)


class TestOpenPgpOcb(TestOpenPgpPassphrase):
    """A packet of tag 20, which gpg 2.3 and later prefer; gpg 2.2 reads it, and calls an altered one good."""

    stride = 7

    def encode(self, data: bytes) -> bytes:
        return ocb(data)


@cache
def ocb(data: bytes) -> bytes:
    """Encrypted with AES-256 by OpenSSL, as draft-koch-openpgp-2015-rfc4880bis (5.16) has it, in chunks of 64 KiB."""
    salt, iv, start = bytes(range(8)), bytes(range(15)), bytes([0xD4, 1, 9, 2, 10])
    salted = salt + PASSPHRASE.encode()
    key = hashlib.sha256((salted * (65536 // len(salted) + 1))[:65536])
    literal = b"b\0" + bytes(4) + data
    plain = b"\xcb\xff" + len(literal).to_bytes(4, "big") + literal
    cipher, sealed = AESOCB3(key.digest()), [start[1:], iv]
    chunks = [*pieces(plain, 1 << 16), b""]
    for number, chunk in enumerate(chunks):
        index = number.to_bytes(8, "big")
        nonce = iv[:7] + bytes(a ^ b for a, b in zip(iv[7:], index, strict=True))
        total = len(plain).to_bytes(8, "big") if number == len(chunks) - 1 else b""
        sealed.append(cipher.encrypt(nonce, chunk, start + index + total))
    body = b"".join(sealed)
    return b"\xc3\x0d\x04\x09\x03\x08" + salt + b"\x60\xd4\xff" + len(body).to_bytes(4, "big") + body


# --- who can open it


def test_facts_name_the_key_and_the_cipher_and_no_content() -> None:
    codec = with_secret(key="OURS")
    assert decode(GPG.to_key(b"x", "--set-filename", "salaries.csv", "--cipher-algo", "CAMELLIA256"), codec) == b"x"
    listed = GPG.run("--with-colons", "--list-keys", "ours").decode()
    ids = [line.split(":")[4] for line in listed.splitlines() if line.startswith("sub:")]
    facts = codec.facts()
    assert facts["recipients"] == ids and facts["opened_by"].endswith(ids[0]) and len(facts["opened_by"]) == 40
    assert (facts["cipher"], facts["integrity"], facts["armored"]) == ("Camellia256", "MDC", False)
    assert facts["library"].startswith("gpg 2.") and "salaries" not in repr(facts)
    codec = with_secret(passphrase="PASSPHRASE")
    assert decode(GPG.to_passphrase(b"x", "--armor").rstrip(), codec) == b"x"
    assert (codec.facts()["opened_by"], codec.facts()["armored"]) == ("passphrase", True)


def test_one_message_to_several_keys_and_a_passphrase() -> None:
    both = GPG.to_passphrase(b"x", "--recipient", "other", "--recipient", "ours", "--encrypt")
    for codec in (with_secret(key="OURS"), with_secret(passphrase="PASSPHRASE")):
        assert decode(both, codec) == b"x"
    for codec in (with_secret(passphrase="WRONG"), OpenPgpCodec()):
        assert isinstance(error(both, codec), CouldNotVerify)


def test_a_hidden_recipient_is_tried_with_what_is_held() -> None:
    hidden = GPG.to_key(b"x", "--throw-keyids")
    assert decode(hidden) == b"x"
    problem = error(hidden, with_secret(key="OTHER"))
    assert isinstance(problem, CouldNotVerify) and "a hidden key" in problem.cause


def test_the_other_secret_is_not_enough() -> None:
    problem = error(GPG.to_key(b"x"), with_secret(passphrase="PASSPHRASE"))
    assert isinstance(problem, CouldNotVerify)
    assert "given is only: passphrase" in problem.cause and "{openpgp: {key: " in problem.remedy
    problem = error(GPG.to_passphrase(b"x"), with_secret(key="OURS"))
    assert isinstance(problem, CouldNotVerify) and "{openpgp: {passphrase: " in problem.remedy


def test_a_private_key_may_have_a_passphrase_and_may_be_binary(tmp_path: Path) -> None:
    home, path = Path(GPG.home), tmp_path / "key.pgp"
    (home / "of-the-key").write_text("tr0ub4dor & 3")
    given = ("--pinentry-mode", "loopback", "--passphrase-file", str(home / "of-the-key"))
    GPG.run(*given, "--quick-generate-key", "protected", "rsa2048", "encr", "never")
    path.write_bytes(GPG.run(*given, "--export-secret-keys", "protected"))
    path.chmod(0o600)
    encrypted, key = GPG.to_key(b"x", name="protected"), SecretReference("file", str(path))
    (tmp_path / "passphrase").write_text("tr0ub4dor & 3\n")
    (tmp_path / "passphrase").chmod(0o600)
    assert decode(encrypted, OpenPgpCodec({"key": key, "passphrase": reference(tmp_path / "passphrase")})) == b"x"
    problem = error(encrypted, OpenPgpCodec({"key": key}))
    assert isinstance(problem, CouldNotVerify) and "needs a passphrase" in problem.cause
    wrong = SecretReference("env", "PGP_TEST_WRONG")
    problem = error(encrypted, OpenPgpCodec({"key": key, "passphrase": wrong}))
    assert isinstance(problem, CouldNotVerify) and "does not unlock the private key" in problem.cause


def reference(path: Path) -> SecretReference:
    return SecretReference("file", str(path))


def test_an_unusable_key_is_no_verdict(tmp_path: Path) -> None:
    encrypted, path = GPG.to_key(b"x"), tmp_path / "key"
    public = GPG.run("--armor", "--export", "ours").decode()
    for text, why in ((public, "only a public key"), ("lorem ipsum", "no OpenPGP key"), (public[:300], "no OpenPGP")):
        path.write_text(text)
        path.chmod(0o600)
        problem = error(encrypted, OpenPgpCodec({"key": reference(path)}))
        assert isinstance(problem, CouldNotVerify) and why in problem.cause and "lorem" not in str(problem)
    path.write_text(GPG.secret("ours"))
    assert decode(encrypted, OpenPgpCodec({"key": reference(path)})) == b"x"


def test_a_private_key_is_hidden_in_whatever_is_written() -> None:
    text = GPG.secret("other")
    assert "BLOCK" not in redact(f"before {text} behind")


# --- what gpg says of the bytes


def test_a_message_without_integrity_protection_is_refused() -> None:
    """As gpg wrote before 2000, and as one bit in a packet's tag makes of a new one."""
    old = GPG.to_passphrase(b"x" * 100, "--rfc2440", "--disable-mdc", "--cipher-algo", "3DES")
    problem = error(old)
    assert isinstance(problem, BackupFailed) and "without integrity protection" in problem.cause
    assert decode(GPG.to_passphrase(b"x" * 100)) == b"x" * 100


def test_damage_at_the_end_of_a_large_message_is_noticed_behind_its_content() -> None:
    data = content(400_000)
    encoded = bytearray(GPG.to_key(data, "--compress-algo", "none"))
    encoded[-60_000] ^= 1
    got = []
    with pytest.raises(BackupFailed, match="integrity code"):
        for chunk in with_secret(key="OURS").decode(pieces(bytes(encoded), 65536)):
            got.append(chunk)
    assert sum(map(len, got)) > 300_000  # so that whoever reads it must discard it


def test_a_signature_inside_changes_nothing() -> None:
    assert decode(GPG.to_key(b"x", "--sign", "--local-user", "other")) == b"x"


def test_what_is_signed_and_not_encrypted_is_refused() -> None:
    signed = GPG.run("--armor", "--sign", "--local-user", "ours", stdin=b"x")
    assert OpenPgpCodec.recognises(signed)
    problem = error(signed)
    assert isinstance(problem, BackupFailed) and "no encrypted data" in problem.cause


@pytest.mark.parametrize("damage", ["crlf", "checksum", "header", "line", "end"])
def test_armor_damage(damage: str) -> None:
    """What gpg itself lets pass is read; what it cannot read is damage."""
    data = content(20_000)
    lines = armored(data).split(b"\n")
    at = next(number for number, line in enumerate(lines) if not line)
    harmless = {"crlf": b"\r\n".join(lines), "checksum": b"\n".join([*lines[:-2], b"=AAAA", lines[-1]])}
    harmless["header"] = b"\n".join([lines[0], b"Comment: nightly", *lines[1:]])
    if damage in harmless:
        assert decode(harmless[damage]) == data
        return
    lines[{"line": at + 9, "end": -1}[damage]] = b"*" * 64
    problem = error(b"\n".join(lines))
    assert isinstance(problem, BackupFailed) and "armor" in problem.cause


def test_an_altered_ocb_message_that_gpg_calls_good_is_damaged() -> None:
    """gpg 2.2.40 says DECRYPTION_OKAY and GOODMDC of it: every chunk's tag must count nevertheless."""
    whole = ocb(content(150_000))
    codec = with_secret(passphrase="PASSPHRASE")
    assert decode(whole, codec) == content(150_000)
    assert codec.facts()["integrity"] == "AEAD"
    for at in (100_000, len(whole) - 20_000, len(whole) - 20, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        assert isinstance(error(bytes(flipped)), BackupFailed)


def test_a_status_line_ends_where_gpg_ends_it() -> None:
    """The name that a message gives its content stands in one, and must not forge another."""
    told = Told()
    told.read("[GNUPG:] PLAINTEXT 62 0 a\u2028[GNUPG:] GOODMDC\r[GNUPG:] GOODMDC\n[GNUPG:] END_DECRYPTION\n".encode())
    assert "GOODMDC" not in told and "END_DECRYPTION" in told


def test_a_bomb_is_held_by_the_limits() -> None:
    bomb = GPG.to_key(bytes(64 << 20), "--compress-algo", "bzip2", "--bzip2-compress-level", "9")
    assert len(bomb) < 10_000
    with pytest.raises(BackupFailed, match=r"limits\.bytes"):
        for _ in Bound(with_secret(key="OURS").decode(iter([bomb])), len(bomb), 1000, 4 << 20):
            pass


# --- the program and what it leaves


def test_a_missing_program_is_no_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    encrypted = GPG.to_passphrase(b"x")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        problem = error(encrypted)
    assert isinstance(problem, ProgramMissing) and "apt-get install gnupg" in problem.remedy
    assert decode(encrypted) == b"x"


def test_secrets_are_in_no_command_line_and_no_environment() -> None:
    encoded = GPG.to_key(content(3 << 20), "--compress-algo", "none")
    decoded = with_secret(key="OURS", passphrase="PASSPHRASE").decode(pieces(encoded, 65536))
    assert next(decoded)
    (home,) = homes()
    assert home.stat().st_mode & 0o777 == 0o700
    found = processes(home)
    assert {Path(argv[0]).name for argv, _ in found.values()} == {"gpg", "gpg-agent"}
    secrets = [PASSPHRASE, *(line for line in GPG.secret("ours").splitlines() if len(line) > 20 and line[0] != "-")]
    seen = " ".join(" ".join(argv) + environment for argv, environment in found.values())
    assert not [secret for secret in secrets if secret in seen]
    assert "PGP_TEST" not in seen
    decoded.close()  # type: ignore[attr-defined]
    assert processes(home) == {} and not home.exists()


def processes(home: Path) -> dict[int, tuple[list[str], str]]:
    """The processes that were started for a home: their arguments and environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            argv = (entry / "cmdline").read_text().split("\0") if entry.name.isdigit() else []
            if str(home) in argv:
                found[int(entry.name)] = argv, (entry / "environ").read_text()
        except (OSError, UnicodeDecodeError):
            continue  # it ended, or is somebody else's
    return found


KILLED = """
import os, pathlib, signal, sys
from restore_drill.codecs import _gnupg
_gnupg._base = lambda: pathlib.Path(sys.argv[1])
home = _gnupg.Home()
home.import_key(sys.stdin.buffer.read())
print(home.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, GPG.home], input=GPG.secret("ours").encode(), capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    left = Path(done.stdout.decode().strip())
    assert left in homes()
    agent = os.pidfd_open(_gnupg._agent(left / "S.gpg-agent"))
    encrypted = GPG.to_key(b"x")
    assert decode(encrypted) == b"x"
    assert left in homes()  # so young that it may be about to be locked
    os.utime(left, (1, 1))
    assert decode(encrypted) == b"x"
    assert left not in homes()
    assert select.select([agent], [], [], 60)[0]
    os.close(agent)
