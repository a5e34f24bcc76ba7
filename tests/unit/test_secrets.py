"""Secrets: read when needed, and never in anything that is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill import secrets
from restore_drill.errors import SecretUnavailable
from restore_drill.secrets import SecretReference, parse_reference, redact, register

MASK = "[redacted]"
AGE_KEY = "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_KNOWN", set())


def command(code: str) -> SecretReference:
    return SecretReference("command", "\0".join([sys.executable, "-c", code]))


def test_a_variable_is_read_without_its_newline_and_redacted_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_KEY", "correct horse battery\r\n")
    assert redact("correct horse battery") == "correct horse battery"
    assert SecretReference("env", "ORDERS_KEY").resolve() == "correct horse battery"
    assert redact("it is 'correct horse battery'!") == f"it is '{MASK}'!"


def test_a_missing_or_empty_secret_says_where_it_should_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ORDERS_KEY", raising=False)
    with pytest.raises(SecretUnavailable, match="ORDERS_KEY is not set"):
        SecretReference("env", "ORDERS_KEY").resolve()
    monkeypatch.setenv("ORDERS_KEY", "\n")
    with pytest.raises(SecretUnavailable, match="env:ORDERS_KEY is empty"):
        SecretReference("env", "ORDERS_KEY").resolve()
    with pytest.raises(SecretUnavailable, match="No such file"):
        SecretReference("file", str(tmp_path / "key")).resolve()
    with pytest.raises(SecretUnavailable, match="Is a directory"):
        SecretReference("file", str(tmp_path)).resolve()


def test_a_file_is_read_unless_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"# created: today\n{AGE_KEY}\n")
    path.chmod(0o604)
    with pytest.raises(SecretUnavailable, match="everyone") as raised:
        SecretReference("file", str(path)).resolve()
    assert f"chmod 600 {path}" in raised.value.remedy
    path.chmod(0o600)
    assert SecretReference("file", str(path)).resolve() == f"# created: today\n{AGE_KEY}"
    assert redact("# created: today") == "# created: today"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SecretUnavailable, match="it is not text"):
        SecretReference("file", str(path)).resolve()


def test_a_command_is_asked(tmp_path: Path) -> None:
    assert command("print('from the vault')").resolve() == "from the vault"
    assert redact("from the vault") == MASK


def test_a_command_that_fails_is_never_quoted() -> None:
    with pytest.raises(SecretUnavailable, match="ended with status 3") as raised:
        command("print('half a secret'); raise SystemExit(3)").resolve()
    assert "half a secret" not in f"{raised.value} {raised.value.details}"
    with pytest.raises(SecretUnavailable, match="is not installed"):
        SecretReference("command", "/nonexistent/vault").resolve()
    with pytest.raises(SecretUnavailable, match="is empty"):
        command("").resolve()


def test_a_reference_can_be_printed_and_the_arguments_of_a_command_are_not() -> None:
    assert str(SecretReference("env", "NAME")) == "env:NAME"
    assert str(SecretReference("command", "vault\0--token\0x")) == "command:vault"


def test_references_are_read_relative_to_the_catalogue(tmp_path: Path) -> None:
    assert parse_reference("env:NAME", tmp_path) == SecretReference("env", "NAME")
    assert parse_reference("file:keys/a", tmp_path) == SecretReference("file", str(tmp_path / "keys/a"))
    assert parse_reference("file:/run/a", tmp_path) == SecretReference("file", "/run/a")


@pytest.mark.parametrize("text", ["hunter22", "env:", "file:", "", "vault:x", "sops:", AGE_KEY])
def test_what_may_be_the_secret_itself_is_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="never in the catalogue") as raised:
        parse_reference(text, tmp_path)
    assert not text or text not in str(raised.value).replace("env:NAME, file:PATH, sops:FILE#KEY", "")


def test_a_secret_that_begins_with_another_one_leaves_nothing_behind() -> None:
    for known in ("tiger1", "tiger1-and-lion", "tiger1-and-lion-and-bear"):
        register(known)
    assert redact("x tiger1-and-lion-and-bear y tiger1-and-lion z tiger1") == f"x {MASK} y {MASK} z {MASK}"


def test_every_line_of_a_key_is_known_and_comments_of_a_file_are_not() -> None:
    register("# public key: age1abc\nfirst-line\nsecond-line\nabc")
    assert redact("second-line, first-line") == f"{MASK}, {MASK}"
    assert redact("# public key: age1abc") == "# public key: age1abc"
    assert redact("abc") == "abc"


def test_a_password_may_begin_like_a_comment() -> None:
    register("#1-in-the-list")
    assert redact("it is #1-in-the-list") == f"it is {MASK}"


@given(st.text(min_size=6, max_size=30).filter(lambda text: len(text.strip()) >= 6 and len(text.splitlines()) == 1))
def test_a_secret_is_found_however_it_is_written(secret: str) -> None:
    secrets._KNOWN.clear()
    register(secret)
    plain = secret.strip()
    for written in (plain, json.dumps({"url": plain}), quote_plus(plain), f"<{plain}>"):
        hidden = redact(written)
        assert MASK in hidden
        assert plain not in hidden.replace(MASK, "")
    assert json.loads(redact(json.dumps({"where": plain, "n": 1})))["n"] == 1


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"key {AGE_KEY} end", f"key {MASK} end"),
        (AGE_KEY.lower(), MASK),
        ("postgres://app:s3cr3t@db/orders", f"postgres://{MASK}@db/orders"),
        ("redis://:s3cr3t@cache:6379", f"redis://{MASK}@cache:6379"),
        ("amqp://u:p@ss@host", f"amqp://{MASK}@host"),
        ("https://host/x?X-Amz-Signature=0aF3&y=1", f"https://host/x?X-Amz-Signature={MASK}&y=1"),
        ("?X-Amz-Security-Token=IQoJ%2F+x/&y", f"?X-Amz-Security-Token={MASK}&y"),
        ("https://blob/x?sv=1&sig=abc%3D", f"https://blob/x?sv=1&sig={MASK}"),
        ("/b/x?X-Goog-Credential=me&X-Goog-Signature=0af3&y", f"/b/x?X-Goog-Credential=me&X-Goog-Signature={MASK}&y"),
        ("/x?Expires=1&Signature=ab~c_-&Key-Pair-Id=K", f"/x?Expires=1&Signature={MASK}&Key-Pair-Id=K"),
        ("GET /x?token=c2Vj HTTP/1.1", f"GET /x?token={MASK} HTTP/1.1"),
        ("/x?private_token=glpat-1&ref=main", f"/x?private_token={MASK}&ref=main"),
        ("Authorization: Bearer abc.def-", f"Authorization: Bearer {MASK}"),
        ("a signature=unknown; the token=5", "a signature=unknown; the token=5"),
        ("-----BEGIN EC PRIVATE KEY-----\nAA\n-----END EC PRIVATE KEY-----.", f"{MASK}."),
    ],
)
def test_what_has_the_shape_of_a_secret_is_hidden_unasked(text: str, hidden: str) -> None:
    assert redact(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "s3://acme-backups/prod/x@y", "file:///srv/a:b@c", "http://127.0.0.1:5000/x", "mail ops@example.com: https://x",
        "20261123T020000Z", "sha256 of the stored bytes",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_line_of_json_stays_one_whatever_is_hidden_in_it() -> None:
    line = {"where": "s3://bucket", "a": "x:y@z", "u": "http://h:1", "m": "a@b", "t": "?sig=abc", "k": AGE_KEY}
    compact = json.dumps(line, separators=(",", ":"))
    read = json.loads(redact(compact))
    assert read == {**line, "t": f"?sig={MASK}", "k": MASK}
