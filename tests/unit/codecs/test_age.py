from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.codecs._age_header import remove_armor
from restore_drill.codecs._source import CHUNK, Source
from restore_drill.codecs.age import AgeCodec
from restore_drill.codecs.base import Codec
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.secrets import SecretReference
from restore_drill.testing.codec import EncryptingCodecConformance, content, pieces, ragged

OURS, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
SSH = ed25519.Ed25519PrivateKey.generate()
PIECE = 65536 + 16
SECRETS = {
    "OURS": str(OURS),
    "OTHER": str(OTHER),
    "PASSPHRASE": "correct horse 🐎",
    "WRONG_PASSPHRASE": "incorrect horse",
}


@pytest.fixture(scope="module", autouse=True)
def _secrets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(f"AGE_TEST_{name}", value)
        patch.setenv("AGE_TEST_SSH", openssh(SSH))
        yield


def openssh(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def ssh_recipient(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def with_secret(**names: str) -> AgeCodec:
    return AgeCodec({kind: SecretReference("env", f"AGE_TEST_{name}") for kind, name in names.items()})


def with_key_file(path: Path, text: str) -> AgeCodec:
    path.write_text(text)
    path.chmod(0o600)
    return AgeCodec({"identity": SecretReference("file", str(path))})


def decode(encoded: bytes, codec: Codec | None = None) -> bytes:
    return b"".join((codec or with_secret(identity="OURS", passphrase="PASSPHRASE")).decode(iter([encoded])))


def error(encoded: bytes, codec: Codec | None = None) -> RestoreDrillError:
    with pytest.raises(RestoreDrillError) as caught:
        decode(encoded, codec)
    return caught.value


def encrypt(data: bytes, *recipients: object) -> bytes:
    return bytes(pyrage.encrypt(data, list(recipients) or [OURS.to_public()]))


def armor(binary: bytes, end: str = "\n") -> bytes:
    text = base64.b64encode(binary).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return end.join(["-----BEGIN AGE ENCRYPTED FILE-----", *lines, "-----END AGE ENCRYPTED FILE-----"]).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def scrypt_stanza(file_key: bytes, factor: str, passphrase: str = SECRETS["PASSPHRASE"]) -> str:
    salt, cost = os.urandom(16), 1 << min(int(factor), 10)
    key = hashlib.scrypt(
        passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt, n=cost, r=8, p=1, maxmem=2**26, dklen=32
    )
    return f"-> scrypt {b64(salt)} {factor}\n{b64(ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))}\n"


def assemble(file_key: bytes, stanzas: str, payload: bytes) -> bytes:
    text = f"age-encryption.org/v1\n{stanzas}---".encode()
    return text + b" " + b64(hmac.digest(derive(file_key, b"", b"header"), text, "sha256")).encode() + b"\n" + payload


def seal(file_key: bytes, parts: list[bytes], *, end: bool = True) -> bytes:
    nonce = os.urandom(16)
    cipher = ChaCha20Poly1305(derive(file_key, nonce, b"payload"))
    sealed = [
        cipher.encrypt(number.to_bytes(11, "big") + bytes([end and number == len(parts) - 1]), part, None)
        for number, part in enumerate(parts)
    ]
    return nonce + b"".join(sealed)


def encrypt_with_passphrase(data: bytes, factor: str = "2") -> bytes:
    file_key = os.urandom(16)
    return assemble(file_key, scrypt_stanza(file_key, factor), seal(file_key, list(pieces(data, 65536)) or [b""]))


class AgeConformance(EncryptingCodecConformance):
    concatenates = False


class TestAgeIdentity(AgeConformance):
    def codec(self) -> AgeCodec:
        return with_secret(identity="OURS")

    def wrong_key_codec(self) -> AgeCodec:
        return with_secret(identity="OTHER")

    def encode(self, data: bytes) -> bytes:
        return encrypt(data)


class TestAgeArmor(TestAgeIdentity):
    padding = b" \t\r\n"

    def encode(self, data: bytes) -> bytes:
        return armor(encrypt(data))


class TestAgeSsh(AgeConformance):
    def codec(self) -> AgeCodec:
        return with_secret(identity="SSH")

    def wrong_key_codec(self) -> AgeCodec:
        return with_secret(identity="OURS")

    def encode(self, data: bytes) -> bytes:
        return encrypt(data, pyrage.ssh.Recipient.from_str(ssh_recipient(SSH)))


class TestAgePassphrase(AgeConformance):
    def codec(self) -> AgeCodec:
        return with_secret(passphrase="PASSPHRASE")

    def wrong_key_codec(self) -> AgeCodec:
        return with_secret(passphrase="WRONG_PASSPHRASE")

    def encode(self, data: bytes) -> bytes:
        return encrypt_with_passphrase(data)


BOTH_KINDS = pytest.mark.parametrize("encode", [encrypt, encrypt_with_passphrase], ids=["identity", "passphrase"])


@BOTH_KINDS
@pytest.mark.parametrize("whole", [1, 2, 3])
def test_a_cut_between_two_pieces_is_truncation(encode: Callable[[bytes], bytes], whole: int) -> None:
    data = content(4 * 65536)
    encoded = encode(data)
    assert decode(encoded) == data
    start = len(encoded) - 4 * PIECE
    for more, cause in ((0, "the age stream is truncated: it ends before its last piece"), (15, "truncated")):
        problem = error(encoded[: start + whole * PIECE + more])
        assert isinstance(problem, BackupFailed)
        assert cause in problem.cause


@BOTH_KINDS
def test_bytes_behind_a_full_last_piece_are_trailing(encode: Callable[[bytes], bytes]) -> None:
    data = content(2 * 65536)
    encoded = encode(data)
    assert decode(encoded) == data
    problem = error(encoded + content(100_000))
    assert isinstance(problem, BackupFailed)
    assert problem.cause.startswith("the age stream is followed by trailing bytes")


@BOTH_KINDS
def test_damage_in_the_payload_is_located(encode: Callable[[bytes], bytes]) -> None:
    encoded = bytearray(encode(content(4 * 65536)))
    at = len(encoded) - 2 * PIECE - 30_000
    encoded[at] ^= 1
    problem = error(bytes(encoded))
    assert isinstance(problem, BackupFailed)
    assert problem.cause.startswith(
        "the age stream is damaged or followed by trailing bytes: what stands shortly before byte "
    )
    assert abs(int(problem.cause.split("byte ")[1].split(" ")[0]) - at) < PIECE
    pieces_swapped = encode(content(4 * 65536))
    start = len(pieces_swapped) - 4 * PIECE
    first, second = pieces_swapped[start : start + PIECE], pieces_swapped[start + PIECE : start + 2 * PIECE]
    assert isinstance(
        error(pieces_swapped[:start] + second + first + pieces_swapped[start + 2 * PIECE :]), BackupFailed
    )


@pytest.mark.parametrize("kind", ["identity", "passphrase"])
def test_what_a_flip_in_the_header_looks_like(kind: str) -> None:
    """In the stanza of our own recipient like a wrong key, in the version like the future, elsewhere like damage."""
    encoded = (
        encrypt(b"content", OTHER.to_public(), OURS.to_public())
        if kind == "identity"
        else encrypt_with_passphrase(b"c")
    )
    own = encoded.split(b"-> ")[2 if kind == "identity" else 1].split(b"\n---")[0]
    beginning = encoded.index(own)
    assert decode(encoded)
    causes = set()
    for position in range(8 * encoded.index(b"\n---")):
        flipped = bytearray(encoded)
        flipped[position // 8] ^= 1 << position % 8
        problem = error(bytes(flipped))
        inside = beginning <= position // 8 < beginning + len(own)
        version = position // 8 == encoded.index(b"v1") + 1
        assert isinstance(problem, BackupFailed) or inside or version
        causes.add(type(problem))
    assert causes == {BackupFailed, CouldNotVerify}


def test_every_flip_of_the_authentication_code_is_damage() -> None:
    for encoded in (encrypt(b"content"), encrypt_with_passphrase(b"content")):
        assert decode(encoded) == b"content"
        start = encoded.index(b"\n--- ") + 1
        for position in range(8 * start, 8 * (start + 48)):
            flipped = bytearray(encoded)
            flipped[position // 8] ^= 1 << position % 8
            assert isinstance(error(bytes(flipped)), BackupFailed)


def test_facts_name_recipients_and_the_key_that_opened() -> None:
    codec = with_secret(identity="OURS")
    assert decode(encrypt(b"x", OTHER.to_public(), OURS.to_public()), codec) == b"x"
    assert codec.facts()["recipients"] == {"X25519": 2}
    assert codec.facts()["opened_by"] == str(OURS.to_public())
    assert codec.facts()["armored"] is False
    assert decode(armor(encrypt(b"x")), codec) == b"x"
    assert codec.facts()["armored"] is True
    codec = with_secret(passphrase="PASSPHRASE")
    assert decode(encrypt_with_passphrase(b"x", "3"), codec) == b"x"
    assert codec.facts() | {"recipients": {"scrypt": 1}, "work_factor": 3, "opened_by": "passphrase"} == codec.facts()
    with pytest.raises(CouldNotVerify):
        decode(encrypt(b"x"), codec)
    assert "opened_by" not in codec.facts()


def test_the_right_secret_of_two_is_used() -> None:
    both = with_secret(identity="OURS", passphrase="PASSPHRASE")
    assert decode(encrypt(b"x"), both) == b"x"
    assert decode(encrypt_with_passphrase(b"x"), both) == b"x"


def test_the_other_secret_is_not_enough() -> None:
    assert "identity" in error(encrypt(b"x"), with_secret(passphrase="PASSPHRASE")).remedy
    problem = error(encrypt_with_passphrase(b"x"), with_secret(identity="OURS"))
    assert isinstance(problem, CouldNotVerify)
    assert "given is only: identity" in problem.cause and "{age: {passphrase: " in problem.remedy


def test_a_wrong_key_is_told_with_both_public_halves() -> None:
    problem = error(encrypt(b"x"), with_secret(identity="OTHER"))
    assert isinstance(problem, CouldNotVerify)
    assert "1 × X25519" in problem.cause and str(OTHER.to_public()) in problem.cause


# --- identities


def test_a_key_file_as_age_keygen_writes_it(tmp_path: Path) -> None:
    text = f"# created: 2026-01-02T03:04:05Z\n# public key: {OURS.to_public()}\n{OURS}\n"
    codec = with_key_file(tmp_path / "key.txt", text)
    assert decode(encrypt(b"x"), codec) == b"x"
    assert isinstance(error(encrypt(b"x", OTHER.to_public()), codec), CouldNotVerify)


def test_several_identities_in_one_file(tmp_path: Path) -> None:
    codec = with_key_file(tmp_path / "keys.txt", f"# old\r\n{OTHER}\r\n\r\n  {OURS}\r\n{openssh(SSH)}")
    for recipient, opened_by in (
        (OTHER.to_public(), str(OTHER.to_public())),
        (OURS.to_public(), str(OURS.to_public())),
        (pyrage.ssh.Recipient.from_str(ssh_recipient(SSH)), "ssh-ed25519 SHA256:"),
    ):
        assert decode(encrypt(b"x", recipient), codec) == b"x"
        assert codec.facts()["opened_by"].startswith(opened_by)


@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.TraditionalOpenSSL], ids=["openssh", "pem"])
def test_an_ssh_rsa_key(tmp_path: Path, form: PrivateFormat, require_program: Callable[[str], str]) -> None:
    key = rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    codec = with_key_file(tmp_path / "id_rsa", text)
    assert decode(encrypt(b"x", pyrage.ssh.Recipient.from_str(ssh_recipient(key))), codec) == b"x"
    (tmp_path / "id_rsa.pub").write_text(ssh_recipient(key))
    command = [require_program("ssh-keygen"), "-l", "-f", str(tmp_path / "id_rsa.pub")]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert codec.facts()["opened_by"] == f"ssh-rsa {shown.split()[1]}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("# nothing but a comment\n", "holds no key"),
        (str(OURS.to_public()), "the public half"),
        (str(OURS)[:-1] + ("3" if str(OURS).endswith("2") else "2"), "line 1 that is no identity"),
        (f"{OURS}\nnonsense of mine\n", "line 2 that is no identity"),
        ("AGE-PLUGIN-YUBIKEY-1ABC", "needs a plugin"),
        ("AGE-SECRET-KEY-PQ-1ABC", "post-quantum"),
        (encrypt_with_passphrase(b"x").decode("latin-1").split("\n---")[0], "itself encrypted"),
        (openssh(ec.generate_private_key(ec.SECP256R1())), "unsupported key"),
        (openssh(SSH)[:150], "cannot use"),
    ],
    ids=["empty", "public", "checksum", "nonsense", "plugin", "pq", "encrypted", "ssh-ecdsa", "ssh-cut"],
)
def test_an_unusable_identity_is_no_verdict(tmp_path: Path, text: str, reason: str) -> None:
    problem = error(encrypt(b"x"), with_key_file(tmp_path / "key", text))
    assert isinstance(problem, CouldNotVerify)
    assert reason in problem.cause and problem.remedy
    assert not [line for line in text.splitlines() if len(line) > 12 and line[0] != "#" and line in str(problem)]


def test_an_ssh_key_with_a_passphrase_is_no_verdict(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    path = tmp_path / "id_ed25519"
    keygen = [require_program("ssh-keygen"), "-q", "-t", "ed25519", "-f", str(path), "-N"]
    subprocess.run([*keygen, "secret"], check=True)
    recipient = pyrage.ssh.Recipient.from_str(path.with_suffix(".pub").read_text())
    problem = error(encrypt(b"x", recipient), with_key_file(path, path.read_text()))
    assert isinstance(problem, CouldNotVerify)
    assert "decrypted first" in problem.cause
    path.unlink()
    subprocess.run([*keygen, ""], check=True)
    recipient = pyrage.ssh.Recipient.from_str(path.with_suffix(".pub").read_text())
    assert decode(encrypt(b"x", recipient), with_key_file(path, path.read_text())) == b"x"


# --- header and passphrase


def test_a_work_factor_beyond_reason_is_no_verdict() -> None:
    assert decode(encrypt_with_passphrase(b"x", "10")) == b"x"
    for factor in ("23", "64", "9" * 5000):
        file_key = bytes(16)
        stanza = f"-> scrypt {b64(bytes(16))} {factor}\n{b64(bytes(32))}\n"
        problem = error(assemble(file_key, stanza, bytes(40)))
        assert isinstance(problem, CouldNotVerify)
        assert "work factor" in problem.cause and "4 GiB" in problem.cause


@pytest.mark.parametrize(
    "change",
    [
        (" 2\n", " 02\n"),
        (" 2\n", " 0\n"),
        (" 2\n", " -2\n"),
        (" 2\n", " 2 2\n"),
        (" 2\n", "\n"),
        ("-> scrypt ", "-> scrypt  "),
        ("-> scrypt ", "->scrypt "),
        ("-> scrypt ", "-> scrypt A"),
        ("--- ", "---  "),
        ("\n--- ", "=\n--- "),
        ("\n--- ", "\n\n--- "),
        ("v1\n", "v1\r\n"),
    ],
    ids=repr,
)
def test_a_header_that_breaks_the_rules_is_damaged(change: tuple[str, str]) -> None:
    encoded = encrypt_with_passphrase(b"x")
    assert decode(encoded) == b"x"
    before, after = (text.encode() for text in change)
    assert before in encoded
    assert isinstance(error(encoded.replace(before, after, 1)), BackupFailed)


def test_a_passphrase_beside_a_recipient_is_refused() -> None:
    file_key = os.urandom(16)
    payload = seal(file_key, [b"x"])
    alone, foreign = scrypt_stanza(file_key, "2"), "-> X25519 abc\nZGVm\n"
    assert decode(assemble(file_key, alone, payload)) == b"x"
    assert "beside other recipients" in error(assemble(file_key, foreign + alone, payload)).cause
    assert "beside other recipients" in error(assemble(file_key, alone + alone, payload)).cause


def test_an_empty_last_piece_is_refused() -> None:
    file_key = os.urandom(16)
    stanza = scrypt_stanza(file_key, "2")
    full = content(65536)
    assert decode(assemble(file_key, stanza, seal(file_key, [full]))) == full
    assert decode(assemble(file_key, stanza, seal(file_key, [b""]))) == b""
    assert "empty" in error(assemble(file_key, stanza, seal(file_key, [full, b""]))).cause


def test_a_payload_without_its_last_piece_is_truncated() -> None:
    file_key = os.urandom(16)
    stanza = scrypt_stanza(file_key, "2")
    for parts in ([content(65536)], [content(65536), content(100)]):
        assert decode(assemble(file_key, stanza, seal(file_key, parts))) == b"".join(parts)
        assert "truncated" in error(assemble(file_key, stanza, seal(file_key, parts, end=False))).cause


def test_a_header_without_end_is_refused() -> None:
    endless = b"age-encryption.org/v1\n" + b"-> X25519 abc\nZGVm\n" * 100_000
    read = 0

    def source() -> Iterator[bytes]:
        nonlocal read
        for chunk in pieces(endless, 65536):
            read += len(chunk)
            yield chunk

    with pytest.raises(BackupFailed, match="does not end within 1048576 bytes"):
        list(AgeCodec().decode(source()))
    assert read < len(endless)
    assert isinstance(error(b"age-encryption.org/v1\n-> X25519 " + b"a" * 2_000_000), BackupFailed)


def test_text_of_the_header_is_not_repeated() -> None:
    """Nothing has authenticated it."""
    codec = with_secret(identity="OTHER")
    assert isinstance(error(encrypt(b"x"), codec), CouldNotVerify)
    assert codec.facts()["recipients"] == {"X25519": 1}
    strange = assemble(
        bytes(16), "-> <script>alert(1)</script> a\nZGVm\n-> abc-grease\n\n-> X25519 a\nZGVm\n", bytes(40)
    )
    assert "script" not in str(error(strange, codec))
    assert codec.facts()["recipients"] == {"X25519": 1, "other": 1}


def test_a_later_version_of_the_format_is_no_verdict() -> None:
    problem = error(encrypt(b"x").replace(b"/v1\n", b"/v2\n", 1))
    assert isinstance(problem, CouldNotVerify)
    assert "version v2" in problem.cause


# --- armor


@pytest.mark.parametrize("size", [0, 1, 2, 3, 20, 48, 100_000, 800_000, 1_600_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_armor_of_any_length(size: int, end: str) -> None:
    data = content(size)
    armored = armor(encrypt(data), end)
    assert decode(armored) == data
    for extra in (b"", end.encode(), b" \r\n\t\n" * 3000):
        assert b"".join(with_secret(identity="OURS").decode(ragged(b"\n  " + armored + extra, size))) == data


def test_an_empty_line_behind_a_full_one_is_refused() -> None:
    """The header's length is random, so that the last line is full for some content only."""
    armored = next(
        text for size in range(500, 4000) if len((text := armor(encrypt(content(size)))).splitlines()[-2]) == 64
    )
    assert decode(armored)
    assert isinstance(error(armored.replace(b"\n-----END", b"\n\n-----END")), BackupFailed)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace(b"-----BEGIN AGE", b"-----BEGIN  AGE"), id="first-line"),
        pytest.param(lambda text: text.replace(b"FILE-----\n", b"FILE----- \n", 1), id="first-line-space"),
        pytest.param(lambda text: text.replace(b"FILE-----\n", b"FILE-----\n\n", 1), id="empty-first"),
        pytest.param(lambda text: text.replace(b"\n-----END", b"\n\n-----END"), id="empty-last"),
        pytest.param(lambda text: text.replace(b"\n-----END", b"-----END"), id="no-last-feed"),
        pytest.param(lambda text: text.replace(b"-----END", b"----END"), id="last-line"),
        pytest.param(lambda text: text[:100] + b"\n" + text[100:], id="short-line"),
        pytest.param(lambda text: text[:100] + b"=" + text[101:], id="early-padding"),
        pytest.param(lambda text: text[:100] + b" " + text[101:], id="space"),
        pytest.param(lambda text: text[:99] + text[100:], id="missing-character"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n", 2), id="mixed-ends"),
        pytest.param(lambda text: text.replace(b"\n-----END", b"=\n-----END"), id="excess-padding"),
        pytest.param(lambda text: text[: text.index(b"-----END")], id="no-last-line"),
        pytest.param(lambda text: text + b"\n" + text, id="twice"),
        pytest.param(lambda text: b"x" + text, id="text-before"),
    ],
)
def test_armor_that_breaks_the_rules_is_refused(change: Callable[[bytes], bytes]) -> None:
    armored = armor(encrypt(content(500)))
    assert decode(armored) == content(500)
    assert isinstance(error(change(armored)), BackupFailed)


def test_armor_is_padded_at_its_end_only() -> None:
    full, padded = b"A" * 64 + b"\n", b"A" * 63 + b"=\n"
    for before, behind in ((0, 0), (5, 0), (5, 5), (CHUNK // 65 - 1, 1), (CHUNK // 65, CHUNK // 65)):
        begin, end = b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"-----END AGE ENCRYPTED FILE-----\n"
        good = begin + full * (before + behind) + padded + end
        assert b"".join(remove_armor(Source(iter([good])))) == bytes(48 * (before + behind) + 47)
        if behind:
            with pytest.raises(BackupFailed, match="base64"):
                list(remove_armor(Source(iter([begin + full * before + padded + full * behind + end]))))


@pytest.mark.parametrize("size", [100, 101, 102])
def test_armor_that_is_not_canonical_is_refused(size: int) -> None:
    """The bits that the last group of base64 does not use must be zero: one file has one armor."""
    armored = armor(encrypt_with_passphrase(content(size)))
    at = len(armored.split(b"\n-----END")[0].rstrip(b"=")) - 1
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert decode(armored) == content(size)
    for other in set(alphabet) - {armored[at]}:
        assert isinstance(error(armored[:at] + bytes([other]) + armored[at + 1 :]), BackupFailed)


# --- other implementations


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=2000), seed=st.integers(0, 1000), armored=st.booleans(), passphrase=st.booleans())
def test_any_data(data: bytes, seed: int, armored: bool, passphrase: bool) -> None:
    encoded = encrypt_with_passphrase(data) if passphrase else encrypt(data)
    codec = with_secret(identity="OURS", passphrase="PASSPHRASE")
    assert b"".join(codec.decode(ragged(armor(encoded) if armored else encoded, seed))) == data


def test_random_damage_is_never_overlooked() -> None:
    source, before = random.Random(24), set(threading.enumerate())
    for encode in (encrypt, encrypt_with_passphrase):
        encoded = encode(content(150_000))
        for _ in range(150):
            harmed = bytearray(encoded)
            at = source.randrange(source.choice((300, len(harmed))))
            harmed[at : at + source.randrange(4)] = source.randbytes(source.randrange(4))
            if harmed != encoded:
                assert isinstance(error(bytes(harmed)), BackupFailed | CouldNotVerify)
    assert set(threading.enumerate()) <= before


def test_pyrage_opens_what_the_tests_encrypt() -> None:
    """The tests' own encryption with a passphrase is the format, and not just what the codec takes for it."""
    for data in (b"", content(65536), content(200_000)):
        assert pyrage.passphrase.decrypt(encrypt_with_passphrase(data), SECRETS["PASSPHRASE"]) == data


def test_opens_what_pyrage_encrypts_with_a_passphrase() -> None:
    assert decode(pyrage.passphrase.encrypt(content(100_000), SECRETS["PASSPHRASE"])) == content(100_000)


@pytest.mark.parametrize("options", [[], ["--armor"]], ids=["binary", "armored"])
def test_opens_what_the_program_encrypts(require_program: Callable[[str], str], options: list[str]) -> None:
    program, data = require_program("age"), content(300_000)
    for recipient, codec in (
        (str(OURS.to_public()), with_secret(identity="OURS")),
        (ssh_recipient(SSH), with_secret(identity="SSH")),
    ):
        command = [program, *options, "-r", str(OTHER.to_public()), "-r", recipient]
        encoded = subprocess.run(command, input=data, capture_output=True, check=True).stdout
        assert AgeCodec.recognises(encoded[:100])
        assert decode(encoded, codec) == data
        assert isinstance(error(encoded[:-3000], codec), BackupFailed)


@pytest.mark.parametrize("options", [[], ["--armor"]], ids=["binary", "armored"])
def test_opens_what_the_program_encrypts_with_a_passphrase(
    require_program: Callable[[str], str], tmp_path: Path, options: list[str]
) -> None:
    """The program asks a terminal and nothing else, which script(1) makes for it."""
    program, script = require_program("age"), require_program("script")
    (tmp_path / "plain").write_bytes(content(100_000))
    command = f"{program} {' '.join(options)} -p -o {tmp_path}/sealed {tmp_path}/plain"
    typed = f"{SECRETS['WRONG_PASSPHRASE']}\n" * 2
    subprocess.run([script, "-qec", command, "/dev/null"], input=typed.encode(), capture_output=True, check=True)
    codec = with_secret(passphrase="WRONG_PASSPHRASE")
    assert decode((tmp_path / "sealed").read_bytes(), codec) == content(100_000)
    assert codec.facts()["work_factor"] == 18


def test_the_program_agrees_about_damage(require_program: Callable[[str], str], tmp_path: Path) -> None:
    program, source = require_program("age"), random.Random(25)
    (tmp_path / "key").write_text(str(OURS))
    encoded = encrypt(content(70_000))
    assert encoded == armor_removed(program, encoded, tmp_path)
    for _ in range(60):
        harmed = bytearray(source.choice((encoded, armor(encoded))))
        at = source.randrange(source.choice((300, len(harmed))))
        harmed[at] ^= 1 << source.randrange(8)
        command = [program, "-d", "-i", str(tmp_path / "key")]
        done = subprocess.run(command, input=harmed, capture_output=True, check=False)
        try:
            ours = decode(bytes(harmed))
        except RestoreDrillError:
            ours = None
        assert (ours is None) is (done.returncode != 0), (done.stderr, harmed[:400])


def armor_removed(program: str, encoded: bytes, directory: Path) -> bytes:
    command = [program, "-d", "-i", str(directory / "key")]
    assert subprocess.run(command, input=armor(encoded), capture_output=True, check=True).stdout == content(70_000)
    return encoded
