"""``openssl enc`` against the real program, with the ciphers, digests and key derivations that it has had."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.codecs.base import UnprovenKey
from restore_drill.codecs.openssl import OpensslCodec
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.secrets import SecretReference
from restore_drill.testing.codec import EncryptingCodecConformance, content, ragged

PASSWORD = "correct horse battery staple"
SALT = bytes(range(8))
USUAL = {"cipher": "aes-256-cbc", "kdf": "pbkdf2", "iterations": 1000}
OPTIONS = ("-aes-256-cbc", "-pbkdf2", "-iter", "1000")
PROGRAM = ""


@pytest.fixture(scope="module", autouse=True)
def _program(require_program: Callable[[str], str]) -> Iterator[None]:
    global PROGRAM
    PROGRAM = require_program("openssl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSSL_TEST_PASSWORD", PASSWORD)
        patch.setenv("OPENSSL_TEST_WRONG", "incorrect horse")
        yield


@cache
def encrypt(data: bytes, *options: str) -> bytes:
    """With a random salt, as backup jobs call it."""
    command = [PROGRAM, "enc", *(options or OPTIONS), "-pass", "env:OPENSSL_TEST_PASSWORD"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@cache
def encrypt_with_known_salt(data: bytes) -> bytes:
    """The same each time: openssl leaves out the beginning when it is given a salt."""
    body = encrypt(data, *OPTIONS, "-S", SALT.hex())
    return body if body.startswith(b"Salted__") else b"Salted__" + SALT + body


def codec(secret: str = "PASSWORD", **settings: str | int) -> OpensslCodec:
    return OpensslCodec({"password": SecretReference("env", f"OPENSSL_TEST_{secret}"), **(settings or USUAL)})


def decode(encoded: bytes, **settings: str | int) -> bytes:
    return b"".join(codec(**settings).decode(iter([encoded])))


def error(encoded: bytes, used: OpensslCodec | None = None) -> RestoreDrillError:
    with pytest.raises(RestoreDrillError) as caught:
        list((used or codec()).decode(iter([encoded])))
    return caught.value


class TestOpenssl(EncryptingCodecConformance):
    concatenates: ClassVar[bool] = False
    notices_flips: ClassVar[bool] = False

    def codec(self) -> OpensslCodec:
        return codec()

    def wrong_key_codec(self) -> OpensslCodec:
        return codec("WRONG")

    def encode(self, data: bytes) -> bytes:
        return encrypt_with_known_salt(data)


@pytest.mark.parametrize("cipher", OpensslCodec.options["cipher"].choices)
def test_every_cipher(cipher: str) -> None:
    for size in (0, 1, 15, 16, 17, 200_000):
        encrypted = encrypt(content(size), f"-{cipher}", "-pbkdf2")
        assert decode(encrypted, cipher=cipher, kdf="pbkdf2") == content(size)


@pytest.mark.parametrize("digest", OpensslCodec.options["digest"].choices)
@pytest.mark.parametrize("kdf", ["pbkdf2", "legacy"])
def test_every_way_to_make_a_key(kdf: str, digest: str) -> None:
    how = ("-pbkdf2", "-iter", "7") if kdf == "pbkdf2" else ()
    encrypted = encrypt(b"content", "-aes-192-cbc", "-md", digest, *how)
    more = {"iterations": 7} if how else {}
    assert decode(encrypted, cipher="aes-192-cbc", kdf=kdf, digest=digest, **more) == b"content"


def test_the_program_s_own_defaults_are_ours() -> None:
    assert decode(encrypt(b"content", "-aes-256-cbc", "-pbkdf2"), cipher="aes-256-cbc", kdf="pbkdf2") == b"content"
    assert decode(encrypt(b"content", "-aes-256-cbc"), cipher="aes-256-cbc", kdf="legacy") == b"content"


@pytest.mark.parametrize("form", ["-a", "-A"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 100_000, 1_500_000])
def test_base64(form: str, size: int) -> None:
    if form == "-A" and size > 1000:
        size = 40_000  # the program itself reads no longer lines
    encrypted = encrypt(content(size), *OPTIONS, *(("-a",) if form == "-a" else ("-a", "-A")))
    assert OpensslCodec.recognises(encrypted[:1024])
    read = codec()
    assert b"".join(read.decode(ragged(encrypted, size))) == content(size)
    assert read.facts()["base64"] is True
    for harmed in (encrypted + b"x", b"*".join([encrypted[:20], encrypted[20:]])):
        assert isinstance(error(harmed), BackupFailed)
    assert isinstance(error(encrypted.rstrip().rstrip(b"=")[:-3]), BackupFailed)


def test_a_wrong_password_is_told_apart_where_it_can_be() -> None:
    encrypted = encrypt_with_known_salt(content(1000))
    assert decode(encrypted) == content(1000)
    problem = error(encrypted, codec("WRONG"))
    assert isinstance(problem, UnprovenKey) and "the password does not open" in problem.cause
    assert "cipher: aes-256-cbc" in problem.looked_at and isinstance(problem.damage, BackupFailed)
    for settings in ({**USUAL, "iterations": 1001}, {**USUAL, "digest": "sha512"}, {**USUAL, "cipher": "aes-128-cbc"}):
        assert isinstance(error(encrypted, codec(**settings)), CouldNotVerify)
    cut = error(encrypted[:-3])
    assert isinstance(cut, BackupFailed) and "not made of whole blocks" in cut.cause


def test_what_is_not_given_is_named() -> None:
    encrypted = encrypt_with_known_salt(b"x")
    assert "its cipher and kdf are not given" in error(encrypted, codec(iterations=5)).cause
    assert "its password is not given" in error(encrypted, OpensslCodec(USUAL)).cause


def test_facts_say_how_and_promise_nothing() -> None:
    read = codec()
    assert b"".join(read.decode(iter([encrypt_with_known_salt(b"x")]))) == b"x"
    facts = read.facts()
    assert facts.pop("library").startswith("cryptography ")
    assert facts == {**USUAL, "digest": "sha256", "base64": False}
    assert not OpensslCodec.self_checking and OpensslCodec.needs_content_digest


@given(st.binary(max_size=300), st.integers(0, 1 << 30), st.booleans())
def test_any_content_in_any_chunking(data: bytes, seed: int, stream: bool) -> None:
    """Encrypted here, so that a thousand contents cost no thousand processes; the program agrees with it above."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    settings = {"cipher": "aes-256-ctr" if stream else "aes-256-cbc", "kdf": "legacy", "digest": "md5"}
    material = OpensslCodec(settings)._derive(PASSWORD.encode(), SALT, 48)
    mode = modes.CTR(material[32:]) if stream else modes.CBC(material[32:])
    count = 16 - len(data) % 16
    encryptor = Cipher(algorithms.AES(material[:32]), mode).encryptor()
    body = encryptor.update(data if stream else data + bytes([count]) * count)
    encoded = b"Salted__" + SALT + body
    assert b"".join(codec(**settings).decode(ragged(encoded, seed))) == data
