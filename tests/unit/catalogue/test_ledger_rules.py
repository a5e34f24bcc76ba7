"""The catalogue's ``ledger:``: keys that can sign and verify, told at their place when they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.plan import LedgerSettings, Plan
from restore_drill.secrets import SecretReference

PEM = "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"


@pytest.fixture(autouse=True)
def _keys(here: Path) -> None:
    (here / "keys").mkdir()
    for name, content in (("a.pub", PEM), ("b.pub", PEM), ("a.key", PEM.replace("PUBLIC", "PRIVATE")), ("note", "x")):
        (here / "keys" / name).write_text(content)


def test_what_it_says_is_planned(good: str, here: Path, plan: Callable[..., Plan]) -> None:
    assert plan(good).ledger == LedgerSettings()
    ledger = "ledger: {key: env:LEDGER_KEY, public_keys: [keys/a.pub, keys/b.pub], required: true}\n"
    paths = (str(here / "keys/a.pub"), str(here / "keys/b.pub"))
    assert plan(good + ledger).ledger == LedgerSettings(SecretReference("env", "LEDGER_KEY"), paths, True)
    assert plan(good + "ledger: {public_keys: [keys/a.pub]}\n").ledger.key is None


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ("{public_keys: [keys/a.pub, ¦keys/gone.pub]}", "the public key cannot be read: No such file or directory"),
        ("{public_keys: [¦keys/a.key]}", "this is a private key"),
        ("{public_keys: [¦keys/note]}", "this is no public key in PEM"),
        ("{public_keys: [keys/a.pub, ¦keys/a.pub]}", "this public key is named twice"),
        ("{required: ¦true}", "signed entries are required, and no key is named that could sign them"),
        ("{key: ¦AAAA}", "'key': a secret is never in the catalogue"),
    ],
)
def test_what_could_not_work_is_told_at_its_place(
    good: str, only_problem: Callable[..., str], ledger: str, said: str
) -> None:
    line = good.count("\n") + 1
    column = len("ledger: ") + ledger.index("¦") + 1
    found = only_problem(f"{good}ledger: {ledger.replace('¦', '')}\n")
    assert found.startswith(f"targets.yaml:{line}:{column}: {said}"), found
