"""What stands under ``decrypt``: keys by reference, and what a format must be told beside them, with its limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.catalogue.problems import Problem
from restore_drill.plan import Plan
from restore_drill.secrets import SecretReference

LoadPlan = Callable[[str], Plan]
Problems = Callable[[str], list[Problem]]
PATH = '"db/{time:%Y%m%d_%H%M%S}.db.gz"'
KEYS = "password: env:P, cipher: aes-256-cbc, kdf: pbkdf2"


def with_decrypt(good: str, copy: str, target: str = "") -> str:
    """The good catalogue with keys at a copy, at its target, or both."""
    path = f"nas: {{path: {PATH}"
    text = good.replace(f"{path}}}", f"{path}, decrypt: {{{copy}}}}}")
    return text.replace("    engine: toy\n", f"    engine: toy\n    decrypt: {{{target}}}\n") if target else text


def test_settings_stand_beside_secrets_and_are_merged(plan: LoadPlan, good: str) -> None:
    found = plan(with_decrypt(good, "openssl: {cipher: aes-256-ctr}", f"openssl: {{{KEYS}, iterations: 600000}}"))
    nas, offsite = found.targets[0].copies
    password = SecretReference("env", "P")
    assert nas.decrypt == {
        "openssl": {"password": password, "cipher": "aes-256-ctr", "kdf": "pbkdf2", "iterations": 600000}
    }
    assert offsite.decrypt["openssl"]["cipher"] == "aes-256-cbc"


@pytest.mark.parametrize(
    ("given", "says", "hint"),
    [
        ("password: env:P, cipher: aes-256-cbb, kdf: pbkdf2", "'cipher' may be aes-128-cbc", "mean 'aes-256-cbc'?"),
        (f"{KEYS}, iterations: many", "'iterations' needs a whole number from 1 to 100000000", "600000"),
        (f"{KEYS}, iterations: 0", "'iterations' needs a whole number", "600000"),
        (f"{KEYS}, iterations: true", "'iterations' needs a whole number", "600000"),
        (f"{KEYS}, iteration: env:X", "openssl has no key called 'iteration'", "did you mean 'iterations'?"),
        ("password: env:P, kdf: pbkdf2", "'cipher' is missing in 'openssl'", "for example cipher: aes-256-cbc"),
        ("password: env:P, cipher: aes-256-ctr, kdf: legacy, iterations: 5", "means nothing unless kdf is", "remove"),
        ("password: env:P, cipher: [aes-256-cbc], kdf: pbkdf2", "'cipher' may be", "for example aes-256-cbc"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_right_is_told_at_its_place(
    problems: Problems, good: str, given: str, says: str, hint: str
) -> None:
    text = with_decrypt(good, f"openssl: {{{given}}}")
    (problem,) = problems(text)
    assert says in problem.message and hint.lower() in problem.hint.lower()
    line = text.splitlines()[problem.line - 1]
    assert "openssl" in line and problem.column > line.index("decrypt")


def test_a_secret_that_is_written_out_is_refused_and_not_repeated(problems: Problems, good: str) -> None:
    for key in ("password: hunter22, cipher: aes-256-cbc, kdf: pbkdf2",):
        (problem,) = problems(with_decrypt(good, f"openssl: {{{key}}}"))
        assert "never in the catalogue" in problem.message and "hunter22" not in str(problem)
    (problem,) = problems(with_decrypt(good, "age: {identity: aes-256-cbc}"))
    assert "never in the catalogue" in problem.message


def test_a_secret_may_stand_in_a_file_of_sops(plan: LoadPlan, good: str, tmp_path: Path) -> None:
    """Relative to the catalogue, with an identity of its own or without."""
    short = plan(with_decrypt(good, "age: {identity: sops:keys/s.yaml#shop.age}"))
    (reference,) = short.targets[0].copies[0].decrypt["age"].values()
    assert isinstance(reference, SecretReference) and str(reference).endswith("/keys/s.yaml#shop.age")
    assert reference == SecretReference.in_sops("keys/s.yaml#shop.age", Path(short.catalogue).parent)
    long = plan(with_decrypt(good, "age: {identity: {sops: s.yaml#shop.age, identity: env:MINE}}"))
    mine = SecretReference("env", "MINE")
    expected = SecretReference.in_sops("s.yaml#shop.age", Path(long.catalogue).parent, mine)
    assert long.targets[0].copies[0].decrypt["age"]["identity"] == expected


@pytest.mark.parametrize(
    "wrong", ["sops:s.yaml", "{sops: s.yaml}", "{sops: [s.yaml]}", "{sops: a#b, identity: hunter22}",
              "{sops: a#b, identity: sops:c#d}", "{sops: a#b, identify: env:X}"],
)  # fmt: skip
def test_a_wrong_reference_to_sops_is_refused(problems: Problems, good: str, wrong: str) -> None:
    (problem,) = problems(with_decrypt(good, f"age: {{identity: {wrong}}}"))
    assert "sops" in problem.message.lower() and "hunter22" not in str(problem)
