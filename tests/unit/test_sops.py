"""Files that the real SOPS wrote: one value is read, nothing that was altered is, and no secret is repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from restore_drill import secrets
from restore_drill.errors import SecretUnavailable
from restore_drill.secrets import SecretReference, parse_reference, redact
from restore_drill.sops import value_of

Encrypt = Callable[..., Path]
IDENTITY, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
PLAIN_YAML = """# of the shop
db:
    password: s3cret & sound
    port: 5432
    ratio: 1.50
    "on": true
    none: null
    empty: ""
    nodes:
        - name: a
          key: first key
        - name: b
          key: "second: key"
    dotted.name: x y z
text_unencrypted: hello
number_unencrypted: 7
float_unencrypted: 2.50
truth_unencrypted: false
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secrets, "_KNOWN", set())
    for name in ("SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


@pytest.fixture(scope="module")
def sops(require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypt]:
    """Encrypt a text with the program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        program = require_program("sops")
        home = tmp_path_factory.mktemp("sops")

        def encrypt(name: str, text: str | bytes, *options: str, to: pyrage.x25519.Identity = IDENTITY) -> Path:
            path = home / name
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            command = [program, "encrypt", "--age", str(to.to_public()), *options, "--in-place", str(path)]
            subprocess.run(command, capture_output=True, check=True, env={**os.environ, "HOME": str(home)})
            return path

        yield encrypt


def read(path: Path, key: str, identity: pyrage.x25519.Identity = IDENTITY) -> str:
    return value_of(path, key, f"# created: today\n{identity}\n").decode()


@pytest.mark.parametrize("options", [(), ("--mac-only-encrypted",), ("--encrypted-regex", "^(password|key|port)$")])
def test_yaml(sops: Encrypt, options: tuple[str, ...]) -> None:
    path = sops("secrets.yaml", PLAIN_YAML, *options)
    assert read(path, "db.password") == "s3cret & sound"
    assert read(path, "db.port") == "5432"
    assert [read(path, f"db.nodes.{number}.key") for number in (0, 1)] == ["first key", "second: key"]
    assert read(path, '["db"]["nodes"][1]["key"]') == "second: key"


def test_json_dotenv_and_binary(sops: Encrypt) -> None:
    tree = {"a": {"pass": 'x/y "z"', "n": 5, "big": 1e21, "t": False, "none": None}, "list": ["q", 1, [2.5, "deep"]]}
    path = sops("secrets.json", json.dumps(tree), "--unencrypted-suffix", "_plain")
    assert [read(path, key) for key in ("a.pass", "a.n", "a.t", "list.0", "list.2.1")] == [
        'x/y "z"', "5", "False", "q", "deep",
    ]  # fmt: skip
    path = sops("secrets.env", "A=hello\n# comment\nB=two words\n\nC=line\\nnext\n")
    assert [read(path, key) for key in "ABC"] == ["hello", "two words", "line\nnext"]
    path = sops("key.bin", bytes(range(256)))
    assert value_of(path, "data", str(IDENTITY)) == bytes(range(256))


def test_where_the_identity_is_found(sops: Encrypt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = sops("where.yaml", "a: found it\n")
    reference = parse_reference(f"sops:{path}#a", tmp_path)
    with pytest.raises(SecretUnavailable, match="no identity is given") as raised:
        reference.resolve()
    assert "SOPS_AGE_KEY_FILE" in raised.value.remedy
    monkeypatch.setenv("SOPS_AGE_KEY", str(IDENTITY))
    assert reference.resolve() == "found it" and str(IDENTITY) not in redact(f"x{IDENTITY}")
    monkeypatch.delenv("SOPS_AGE_KEY")
    (tmp_path / "keys.txt").write_text(f"# mine\n{IDENTITY}\n")
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(tmp_path / "keys.txt"))
    assert reference.resolve() == "found it"
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", "/nonexistent")
    monkeypatch.setenv("MY_IDENTITY", str(IDENTITY))
    own = SecretReference.in_sops(f"{path}#a", tmp_path, SecretReference("env", "MY_IDENTITY"))
    assert own.resolve() == "found it" and own.resolve_bytes() == b"found it"
    asked = SecretReference.in_sops(f"{path}#a", tmp_path, SecretReference("command", f"cat\0{tmp_path / 'keys.txt'}"))
    assert asked.resolve() == "found it"
    assert str(own) == str(asked) == f"sops:{path}#a"
    assert redact("it says found it") == "it says [redacted]"


def test_a_wrong_identity_and_none_of_age(sops: Encrypt, tmp_path: Path) -> None:
    path = sops("wrong.yaml", "a: found it\n")
    with pytest.raises(SecretUnavailable, match=str(IDENTITY.to_public())):
        read(path, "a", OTHER)
    assert read(sops("two.yaml", "a: b\n", "--age", f"{IDENTITY.to_public()},{OTHER.to_public()}"), "a", OTHER) == "b"
    for text in ("hunter22", "# nothing\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n"):
        with pytest.raises(SecretUnavailable, match="the identity is") as raised:
            value_of(path, "a", text)
        assert "hunter22" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("number_unencrypted: 7", "number_unencrypted: 8"),
        ("text_unencrypted: hello\n", ""),
        ("    port: ", "    ports: "),
        (",type:int]", ",type:str]"),
        ('lastmodified: "2', 'lastmodified: "1'),
    ],
    ids=["plain value", "line gone", "renamed", "type", "time"],
)
def test_what_was_altered_is_refused(sops: Encrypt, old: str, new: str) -> None:
    """All but the type, which SOPS guards by the MAC of what it makes of the value, and which gives the same text."""
    path = sops("altered.yaml", PLAIN_YAML)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    if "type" in old:
        assert read(path, "db.port") == "5432"
        return
    with pytest.raises(SecretUnavailable, match="altered"):
        read(path, "db.password")


def test_values_that_changed_places_are_refused(sops: Encrypt) -> None:
    path = sops("swapped.yaml", "a: one thing\nb: another\n")
    lines = path.read_text().splitlines()
    values = [line.partition(": ")[2] for line in lines[:2]]
    path.write_text("\n".join([f"a: {values[1]}", f"b: {values[0]}", *lines[2:]]))
    with pytest.raises(SecretUnavailable, match="altered"):
        read(path, "a")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("nope", "no value at nope"), ("db", "a part, and no value"), ("db.none", "no value"),
        ("text_unencrypted", "not encrypted"), ("db.nodes.7.key", "no value"), ("db.password.x", "no value"),
        ("[db]", "cannot be asked"),
    ],
)  # fmt: skip
def test_a_key_that_leads_to_no_secret(sops: Encrypt, key: str, why: str) -> None:
    path = sops("keys.yaml", PLAIN_YAML)
    with pytest.raises(SecretUnavailable, match=why) as raised:
        read(path, key)
    assert raised.value.remedy and "s3cret" not in str(raised.value)


def test_files_that_are_none_of_sops(tmp_path: Path) -> None:
    unreadable = "no file that can be read"
    for name, text, why in (
        ("a.yaml", "a: b\n", "not encrypted by SOPS"), ("b.yaml", "{", unreadable), ("c.json", "[1]", unreadable),
        ("d.env", "no equals sign", unreadable), ("e.yaml", "sops: {age: []}\na: b\n", "to no age recipient"),
        ("f.yaml", "sops: {shamir_threshold: 2, key_groups: [{age: []}]}\n", "among groups"),
        ("g.json", "[" * 5000, unreadable), ("h.yaml", "a: " + "[" * 400, unreadable),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(SecretUnavailable, match=why):
            value_of(tmp_path / name, "a", str(IDENTITY))
    with pytest.raises(SecretUnavailable, match="No such file"):
        value_of(tmp_path / "absent.yaml", "a", str(IDENTITY))
