"""Keys and envelopes, as others read them: openssl, securesystemslib, and the in-toto library."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from tests.support.ledgers import filled, forged, key, review_of, small, statement_of, stored

from restore_drill.errors import CouldNotVerify, SecretUnavailable, UsageProblem
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.envelope import open_line, pre_authentication
from restore_drill.ledger.signing import KeySigner, parse_public_key, read_public_key, read_signer, signer_of
from restore_drill.plan import LedgerSettings
from restore_drill.secrets import SecretReference


def test_what_is_signed_is_what_the_specification_says() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"  # protocol.md of DSSE, test vectors
    assert pre_authentication(b"hello world", "http://example.com/HelloWorld") == expected


def test_another_implementation_accepts_an_envelope_and_refuses_a_forged_one(tmp_path: Path) -> None:
    filled(tmp_path, 2, key())
    raw = key().public._key.public_bytes_raw().hex()
    theirs = SSlibKey(key().key_id, "ed25519", "ed25519", {"public": raw})
    line = stored(tmp_path)[1]
    assert Envelope.from_dict(json.loads(line)).verify([theirs], 1).keys() == {key().key_id}
    stated = statement_of(line)
    stated["predicate"]["result"] = "PASSED"
    with pytest.raises(VerificationError):
        Envelope.from_dict(json.loads(forged(line, stated))).verify([theirs], 1)


def test_a_statement_is_one_of_in_toto(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2)
    local = small("r3", "error", not_run=["a case"])
    del local["run"]["ci"]
    ledger.append("run", local)
    ledger.append("run", small("r4", "excepted"))
    ledger.append("review", review_of(ledger, 3, "Ann O'Neil", report="d" * 64))
    stated = [statement_of(line) for line in stored(tmp_path)]
    for each in stated:
        Statement.copy_from_pb(ParseDict(each, statement_pb2.Statement())).validate()
        names = [subject["name"] for subject in each["subject"]]
        assert len(set(names)) == len(names)
    assert [each["predicate"].get("result") for each in stated] == ["PASSED", "FAILED", "FAILED", "WARNED", None]
    assert stated[2]["predicate"]["failedTests"] == ["rows[orders-db/nas/orders]", "a case"]
    assert stated[3]["predicate"]["warnedTests"] == ["rows[orders-db/nas/orders]"]
    assert stated[0]["predicate"]["passedTests"][-1] == "3-2-1[orders-db]"
    assert stated[0]["predicate"]["configuration"][0]["digest"] == {"sha256": "c" * 64}
    assert stated[0]["predicate"]["url"] == "https://ci.example/1" and "url" not in stated[2]["predicate"]
    assert stated[4]["predicate"]["verifier"]["id"] == "urn:restore-drill:reviewer:Ann%20O%27Neil"
    assert stated[4]["predicate"]["timeCreated"] == stated[4]["predicate"]["restoreDrill"]["recorded_at"]


def test_openssl_knows_a_key_by_the_same_fingerprint_and_verifies_with_it(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    openssl = require_program("openssl")
    (tmp_path / "key.pub").write_bytes(key().public.pem)
    der = subprocess.check_output([openssl, "pkey", "-pubin", "-in", "key.pub", "-outform", "DER"], cwd=tmp_path)
    assert hashlib.sha256(der).hexdigest() == key().key_id
    (tmp_path / "message").write_bytes(b"said")
    (tmp_path / "signature").write_bytes(key().sign(b"said"))
    command = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pub",
        "-rawin",
        "-in",
        "message",
        "-sigfile",
        "signature",
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "message").write_bytes(b"unsaid")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0


def test_a_key_that_openssl_made_signs(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    openssl = require_program("openssl")
    path = tmp_path / "own.key"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True)
    path.chmod(0o600)
    pub = subprocess.check_output([openssl, "pkey", "-in", str(path), "-pubout"])
    signer = read_signer(SecretReference("file", str(path)))
    assert signer.public == parse_public_key(pub)
    assert parse_public_key(pub).verifies(b"said", signer.sign(b"said"))


@pytest.mark.parametrize("form", ["pem", "base64"])
def test_both_forms_of_a_private_key_are_read(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = KeySigner.generate()
    raw = base64.b64encode(own._private.private_bytes_raw()).decode()
    monkeypatch.setenv("OWN_KEY", own.private_pem().decode() if form == "pem" else raw)
    signer = signer_of(LedgerSettings(SecretReference("env", "OWN_KEY")))
    assert signer is not None and signer.key_id == own.key_id
    assert signer_of(LedgerSettings()) is None


@pytest.mark.parametrize(
    "text", ["hello", "aGVsbG8=", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "é"]
)
def test_what_is_no_private_key_is_refused_and_not_repeated(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_KEY", text)
    with pytest.raises(SecretUnavailable, match="the secret env:OWN_KEY is no Ed25519 private key") as raised:
        read_signer(SecretReference("env", "OWN_KEY"))
    assert "hello" not in str(raised.value)


def test_a_key_that_nobody_could_verify_does_not_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pub").write_bytes(key("a").public.pem)
    (tmp_path / "b.pub").write_bytes(key("b").public.pem)
    monkeypatch.setenv("OWN_KEY", key("b").private_pem().decode())
    reference = SecretReference("env", "OWN_KEY")
    with pytest.raises(CouldNotVerify, match="fits none of its public keys"):
        signer_of(LedgerSettings(reference, (str(tmp_path / "a.pub"),)))
    assert signer_of(LedgerSettings(reference, (str(tmp_path / "a.pub"), str(tmp_path / "b.pub")))) is not None


def test_what_is_no_public_key_is_refused(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    own = KeySigner.generate()
    other = subprocess.run(
        [require_program("openssl"), "genpkey", "-algorithm", "x25519"], capture_output=True, check=True
    )
    pub = subprocess.run(["openssl", "pkey", "-pubout"], input=other.stdout, capture_output=True, check=True).stdout
    for content, why in ((b"x", "not PEM"), (own.private_pem(), "it is a private key"), (pub, "not of Ed25519")):
        (tmp_path / "key.pub").write_bytes(content)
        with pytest.raises(UsageProblem, match=why):
            read_public_key(tmp_path / "key.pub")
    with pytest.raises(UsageProblem, match="No such file"):
        read_public_key(tmp_path / "gone.pub")


def test_base64_for_urls_is_read_as_well(tmp_path: Path) -> None:
    DirectoryLedger(tmp_path).append("run", small("r1", note="?>~" * 9), key())
    line = stored(tmp_path)[0]
    envelope = json.loads(line)
    for part in (envelope, envelope["signatures"][0]):
        for name in {"payload", "sig"} & part.keys():
            part[name] = part[name].replace("+", "-").replace("/", "_")
    other = open_line(json.dumps(envelope).encode())
    assert (other.payload, other.signatures) == (open_line(line).payload, open_line(line).signatures)
