"""What each kind of signature decides for itself; each refusal beside the signature that is fine."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from tests.support.signers import CosignSigner, GpgSigner, MinisignSigner, run

from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.signatures import gpg
from restore_drill.signatures.base import Signature, Signer
from restore_drill.signatures.cosign import CosignSignature
from restore_drill.signatures.gpg import GpgSignature
from restore_drill.signatures.minisign import MinisignSignature

DATA = b"PGDMP" * 1000


def verify(kind: type[Signature], signature: bytes, *keys: bytes, data: bytes = DATA) -> Signer:
    judge = kind(signature, keys, time.monotonic() + 60)
    try:
        judge.update(data)
        return judge.conclude()
    finally:
        judge.close()


# --- gpg --------------------------------------------------------------------------------------------------------------


def test_gpg_says_who_and_when(gpg_signers: list[GpgSigner]) -> None:
    signer = gpg_signers[0]
    before = int(time.time())
    found = verify(GpgSignature, signer.sign(DATA), signer.public)
    assert found.key == signer.shown
    assert found.made_at is not None and before <= found.made_at.timestamp() <= time.time()


def test_gpg_binary_signatures_and_keys(gpg_signers: list[GpgSigner]) -> None:
    signer = gpg_signers[1]
    signature, public = signer.gpg("--detach-sign", stdin=DATA), signer.gpg("--export")
    assert not signature.isascii() and not public.isascii()
    assert verify(GpgSignature, signature, public).key == signer.shown


def test_gpg_one_of_several_signatures_is_enough(gpg_signers: list[GpgSigner]) -> None:
    one, other = gpg_signers
    both = one.gpg("--detach-sign", stdin=DATA) + other.gpg("--detach-sign", stdin=DATA)
    for signer in gpg_signers:
        assert verify(GpgSignature, both, signer.public).key == signer.shown
    spoiled = one.gpg("--detach-sign", stdin=DATA) + other.gpg("--detach-sign", stdin=b"other bytes")
    with pytest.raises(BackupFailed, match="is not one of these bytes"):
        verify(GpgSignature, spoiled, one.public, other.public)


def test_gpg_names_the_key_that_is_not_pinned(gpg_signers: list[GpgSigner]) -> None:
    mine, other = gpg_signers
    with pytest.raises(BackupFailed, match=f"another key than the pinned: {other.shown}"):
        verify(GpgSignature, other.sign(DATA), mine.public)
    assert verify(GpgSignature, mine.sign(DATA), mine.public).key == mine.shown


def test_gpg_keys_that_ended(tmp_path_factory: pytest.TempPathFactory, gpg_signers: list[GpgSigner]) -> None:
    place = Path(gpg_signers[0]._home).parent
    signer = GpgSigner(place, expires="1y", at="20240101T000000")
    signer.at = "20240601T000000"
    in_time = signer.sign(DATA)
    signer.at = ""
    # gpgv itself says EXPKEYSIG and ends with status 0: the key has expired since, and signed before.
    assert verify(GpgSignature, in_time, signer.public).key == signer.shown
    signer.at = "20240601T000001"
    with pytest.raises(BackupFailed, match=f"the key {signer.shown} that signed it is revoked"):
        verify(GpgSignature, in_time, signer.revoke())
    signer.close()


def test_gpg_signed_after_the_key_had_expired(monkeypatch: pytest.MonkeyPatch, gpg_signers: list[GpgSigner]) -> None:
    """gpg refuses to make one; whoever has the key needs no gpg. The status lines are those of a real one."""
    mine = gpg_signers[0]
    judge = GpgSignature(mine.sign(DATA), [mine.public], time.monotonic() + 60)
    judge.close()
    lines = (
        "[GNUPG:] NEWSIG x\n[GNUPG:] KEYEXPIRED {}\n[GNUPG:] EXPKEYSIG A x\n"
        "[GNUPG:] VALIDSIG {} 2024-06-01 1717200000 0 4 0 22 8 00 {}\n"
    )
    assert judge._judge(lines.format(1717200000, mine.shown, mine.shown)).key == mine.shown
    with pytest.raises(BackupFailed, match="had expired when it signed"):
        judge._judge(lines.format(1717199999, mine.shown, mine.shown))
    with pytest.raises(BackupFailed, match="has expired"):
        judge._judge(lines.format(1717200000, mine.shown, mine.shown) + "[GNUPG:] EXPSIG A x\n")
    with pytest.raises(BackupFailed, match="another key than the pinned"):
        judge._judge(lines.format(1717200000, mine.shown, "F" * 40))
    with pytest.raises(CouldNotVerify, match="says nothing"):
        judge._judge("")


def test_gpg_signatures_that_prove_nothing(gpg_signers: list[GpgSigner]) -> None:
    mine, rsa = gpg_signers
    with pytest.raises(BackupFailed, match="a digest that can be forged"):
        verify(GpgSignature, rsa.sign(DATA, "--digest-algo", "SHA1"), rsa.public)
    with pytest.raises(BackupFailed, match="over text without its line ends"):
        verify(GpgSignature, mine.sign(DATA, "--textmode"), mine.public)
    for option in ("--sign", "--clearsign"):
        with pytest.raises(BackupFailed):
            verify(GpgSignature, mine.gpg("--armor", option, stdin=DATA), mine.public)
    with pytest.raises(BackupFailed, match="something else than detached signatures"):
        verify(GpgSignature, mine.gpg("--sign", stdin=DATA), mine.public)
    assert verify(GpgSignature, mine.sign(DATA), mine.public).key == mine.shown


def test_gpg_a_secret_key_is_not_pinned(gpg_signers: list[GpgSigner]) -> None:
    mine = gpg_signers[0]
    for armor in ([], ["--armor"]):
        with pytest.raises(CouldNotVerify, match="key cannot be used: it is a secret key"):
            verify(GpgSignature, mine.sign(DATA), mine.gpg(*armor, "--export-secret-keys"))


def test_gpg_without_its_program(gpg_signers: list[GpgSigner], monkeypatch: pytest.MonkeyPatch) -> None:
    mine = gpg_signers[0]
    signature = mine.sign(DATA)
    monkeypatch.setattr(gpg, "find", lambda name: None)
    with pytest.raises(CouldNotVerify, match="gpgv is not installed") as raised:
        verify(GpgSignature, signature, mine.public)
    assert "Install gpgv" in raised.value.remedy


def test_gpg_that_does_not_read_on_is_late(
    tmp_path: Path, gpg_signers: list[GpgSigner], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = gpg_signers[0]
    signature = mine.sign(DATA)
    program = tmp_path / "gpgv"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(gpg, "find", lambda name: str(program))
    judge = GpgSignature(signature, [mine.public], time.monotonic() + 0.2)
    try:
        judge.update(b"x" * (1 << 20))
        with pytest.raises(DeadlineExceeded):
            judge.conclude()
    finally:
        judge.close()


# --- minisign ---------------------------------------------------------------------------------------------------------


def test_minisign_says_who_and_when_by_either_form_of_the_key(minisign_signers: list[MinisignSigner]) -> None:
    signer = minisign_signers[0]
    line = signer.public.split(b"\n")[1]
    for public in (signer.public, line, line + b"\n"):
        found = verify(MinisignSignature, signer.sign(DATA), public)
        assert found.key == signer.shown
        assert found.made_at is not None and abs(found.made_at.timestamp() - time.time()) < 600


def test_minisign_names_the_key_that_is_not_pinned(minisign_signers: list[MinisignSigner]) -> None:
    mine, other = minisign_signers
    with pytest.raises(BackupFailed, match=f"another key than the pinned: {other.shown}"):
        verify(MinisignSignature, other.sign(DATA), mine.public)


def test_minisign_a_changed_trusted_comment(minisign_signers: list[MinisignSigner]) -> None:
    signer = minisign_signers[0]
    signature = signer.sign(DATA, "-t", "made by cron")
    assert verify(MinisignSignature, signature, signer.public) == Signer(signer.shown, None)
    with pytest.raises(BackupFailed, match=r"trusted comment of the signature .* was changed"):
        verify(MinisignSignature, signature.replace(b"cron", b"mule"), signer.public)


def test_minisign_of_the_old_form_is_bounded(minisign_signers: list[MinisignSigner]) -> None:
    signer = minisign_signers[0]
    assert verify(MinisignSignature, signer.sign(DATA, "-l"), signer.public).key == signer.shown
    with pytest.raises(BackupFailed, match="not one of these bytes"):
        verify(MinisignSignature, signer.sign(DATA, "-l"), signer.public, data=DATA + b"x")
    large = bytes(17 << 20)
    with pytest.raises(BackupFailed, match="larger than 16 MiB"):
        verify(MinisignSignature, signer.sign(large, "-l"), signer.public, data=large)


# --- cosign -----------------------------------------------------------------------------------------------------------


def test_cosign_raw_signatures_and_rsa(cosign_signers: list[CosignSigner], tmp_path: Path) -> None:
    signer = cosign_signers[0]
    assert verify(CosignSignature, signer.raw(DATA), signer.public).key == signer.shown
    broken = base64.encodebytes(signer.raw(DATA))  # in lines of 76, as base64(1) and openssl do
    assert broken.count(b"\n") > 1
    assert verify(CosignSignature, broken, signer.public).key == signer.shown
    with pytest.raises(BackupFailed, match="not one of these bytes"):
        verify(CosignSignature, broken, signer.public, data=DATA[:-1])
    rsa = CosignSigner(tmp_path, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    assert verify(CosignSignature, rsa.sign(DATA), signer.public, rsa.public).key == rsa.shown
    with pytest.raises(BackupFailed, match=f"by a pinned key .{signer.shown}"):
        verify(CosignSignature, rsa.sign(DATA), signer.public)


def test_cosign_ed25519_signs_the_whole_and_is_bounded(tmp_path: Path) -> None:
    signer = CosignSigner(tmp_path, "-algorithm", "ED25519")
    assert verify(CosignSignature, base64.b64encode(signer.raw_whole(DATA)), signer.public).key == signer.shown
    with pytest.raises(BackupFailed, match="not one of these bytes"):
        verify(CosignSignature, base64.b64encode(signer.raw_whole(DATA)), signer.public, data=DATA[:-1])
    large = bytes(17 << 20)
    with pytest.raises(BackupFailed, match="larger than 16 MiB: sign its manifest"):
        verify(CosignSignature, base64.b64encode(signer.raw_whole(large)), signer.public, data=large)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "on P-256"),
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "1024 bits can be forged"),
        (("-algorithm", "X25519"), "neither ECDSA, RSA nor Ed25519"),
    ],
)
def test_cosign_keys_that_are_refused(
    options: tuple[str, ...], says: str, cosign_signers: list[CosignSigner], tmp_path: Path
) -> None:
    with pytest.raises(CouldNotVerify, match=says):
        verify(CosignSignature, cosign_signers[0].sign(DATA), CosignSigner(tmp_path, *options).public)


def test_cosign_bundles(cosign_signers: list[CosignSigner], tmp_path: Path) -> None:
    signer = cosign_signers[0]
    signature = signer.sign(DATA).decode().strip()
    certificate = str(
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=x", "-keyout", str(tmp_path / "key")), "ascii"
    )  # fmt: skip
    held = base64.b64encode(signer.public).decode()
    good: list[object] = [
        {"base64Signature": signature, "rekorBundle": {}},
        {"base64Signature": signature, "cert": held},
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
            "messageSignature": {"messageDigest": {"algorithm": "SHA2_256", "digest": ""}, "signature": signature},
        },
    ]
    for bundle in good:
        assert verify(CosignSignature, json.dumps(bundle).encode(), signer.public).key == signer.shown
    keyless: list[object] = [
        {"base64Signature": signature, "cert": base64.b64encode(certificate.encode()).decode()},
        {"verificationMaterial": {"certificate": {"rawBytes": ""}}, "messageSignature": {"signature": signature}},
    ]
    for bundle in keyless:
        with pytest.raises(BackupFailed, match="keyless bundle"):
            verify(CosignSignature, json.dumps(bundle).encode(), signer.public)
    other: list[object] = [{"dsseEnvelope": {}, "verificationMaterial": {"publicKey": {}}}, {"base64Signature": 7}]
    for bundle in other:
        with pytest.raises(BackupFailed, match="cannot be used"):
            verify(CosignSignature, json.dumps(bundle).encode(), signer.public)
