"""A run with the escrowed keys alone: what they open is drilled, and what only the vault has the key of is named."""

from __future__ import annotations

import pyrage
import pytest
from tests.support.project import Outcome, Project, database

#: What a case of somebody's own sees of the process that it runs in.
_OWN = """
import os
from pathlib import Path


def test_nothing_is_left_of_the_environment():
    assert "VAULT_KEY" not in os.environ and "AWS_PROFILE" not in os.environ
    assert os.environ["NAMED"] == "stays"
    assert not list(Path.home().iterdir())
"""


class Vault:
    """A production key that a variable brings, and one in a safe."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.production = pyrage.x25519.Identity.generate()
        self.escrowed = pyrage.x25519.Identity.generate()
        safe = project.root / "safe"
        safe.mkdir()
        (safe / "escrow.key").write_text(str(self.escrowed))
        (safe / "escrow.key").chmod(0o600)
        project.environment |= {"VAULT_KEY": str(self.production), "NAMED": "stays", "AWS_PROFILE": "production"}

    def encrypt(self, target: str, *keys: pyrage.x25519.Identity) -> None:
        """Back a target up, encrypted to these keys; the catalogue opens it by the vault's."""
        options = self.project.targets[target]
        options["copies"]["nas"]["path"] = f"{target}/{{time:%Y%m%dT%H%M%SZ}}.db.age"
        options |= {"sensitive": True, "decrypt": {"age": {"identity": "env:VAULT_KEY"}}}
        sealed = pyrage.encrypt(database(), [key.to_public() for key in keys])
        self.project.put(target, sealed, ending=".db.age")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    vault = Vault(Project(tmp_path_factory.mktemp("glass") / "project", ["escrowed", "plain", "vaulted"]))
    vault.encrypt("escrowed", vault.production, vault.escrowed)
    vault.encrypt("vaulted", vault.production)
    vault.project.catalogue["break_glass"] = {
        "environment": ["NAMED", "NOT_SET"],
        "targets": {"escrowed": {"decrypt": {"age": {"identity": "file:../safe/escrow.key"}}}},
    }
    vault.project.write()
    return vault


def keys(run: Outcome) -> dict[str, list[str]]:
    return {name: list(drill["keys"]) for name, drill in run.drills.items()}


def test_with_the_vault_everything_opens(vault: Vault) -> None:
    run = vault.project.run()
    run.check_whole()
    assert run.status == 0, run.screen
    ours = [str(vault.production.to_public())]
    assert keys(run) == {"escrowed/nas": ours, "plain/nas": [], "vaulted/nas": ours}
    assert "break_glass" not in run.evidence["run"]


def test_with_the_escrowed_key_alone_the_rest_is_named(vault: Vault) -> None:
    """In another process than the one that was stripped, too."""
    own = vault.project.file("drills/test_own.py", _OWN)
    run = vault.project.run("--break-glass", "-n", "1")
    own.unlink()
    run.check_whole()
    assert run.status == 75, run.screen
    assert run.causes == {"vaulted/nas/unpacks": "error"}
    assert run.cases["vaulted/nas/unpacks"]["message"].startswith("no key in escrow opens vaulted/nas: age")
    assert "break_glass.decrypt" in run.cases["vaulted/nas/unpacks"]["remedy"] + run.screen
    escrowed = str(vault.escrowed.to_public())
    told = run.evidence["run"]["break_glass"]
    assert told["opened"] == {escrowed: ["escrowed/nas"]}
    assert told["environment"] == ["NAMED"] and told["removed"] >= 2
    place = f"age: file:{vault.project.root / 'drills' / '../safe/escrow.key'}"
    assert told["escrow"] == {"escrowed/nas": [place], "vaulted/nas": []}
    assert keys(run) == {"escrowed/nas": [escrowed], "plain/nas": [], "vaulted/nas": []}
    assert "BREAK-GLASS: " in run.screen and "NO KEY IN ESCROW for 1 of 2 encrypted copies" in run.screen
    page = (run.directory / "report.html").read_text() if run.directory else ""
    assert "escrowed keys only, variables that stayed: NAMED" in page
    assert str(vault.production) not in (run.directory / "evidence.json").read_text()  # type: ignore[operator]
