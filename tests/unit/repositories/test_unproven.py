"""Encryption without authentication: what proves the content, and what its beginning says of the key."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeRepository, MakeStaging, Objects, database, sha256
from tests.support.contents import with_openssl

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage, Verdict
from restore_drill.policy.transfer import checksum
from restore_drill.repositories.base import Transfer
from restore_drill.repositories.names import by_worth, stems
from restore_drill.secrets import SecretReference

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
GIVEN = {
    "password": SecretReference("env", "UNPROVEN_PASSWORD"),
    "cipher": "aes-256-cbc",
    "kdf": "pbkdf2",
    "iterations": 10,
}


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNPROVEN_PASSWORD", PASSWORD)
    monkeypatch.setenv("UNPROVEN_WRONG", "incorrect horse")


class Backup:
    """One encrypted snapshot and what is recorded beside it."""

    def __init__(self, root: Path, make: MakeRepository, staging: MakeStaging, ending: str = ".db.enc") -> None:
        text = "db/{time:%Y%m%d_%H%M%S}" + ending
        self.content = database()
        inner = gzip.compress(self.content, mtime=0) if ".gz" in ending else self.content
        self.path = Objects(root / "store", text).put(
            NOW - timedelta(hours=1), with_openssl(inner, PASSWORD, iterations=10), digest=False
        )
        self._make, self._staging, self._text = make, staging, text

    def record(self, name: str, data: bytes) -> None:
        (self.path.parent / f"{name}.sha256").write_text(f"{sha256(data)}  {name}\n")

    def harm(self, at: int) -> None:
        data = bytearray(self.path.read_bytes())
        data[at] ^= 0x10
        self.path.write_bytes(data)

    def fetch(self, **copy: Any) -> tuple[Transfer, Any]:
        repository = self._make(path=self._text, **{"decrypt": {"openssl": GIVEN}, **copy})
        return repository.fetch(repository.survey().newest[0], self._staging()), repository.copy


@pytest.fixture
def backup(tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging) -> Backup:
    return Backup(tmp_path, make_repository, make_staging)


def test_a_digest_of_the_ciphertext_alone_is_not_enough(backup: Backup) -> None:
    backup.record(backup.path.name, backup.path.read_bytes())
    transfer, copy = backup.fetch()
    assert transfer.broken == {} and len(transfer.payloads) == 1  # like an absent digest, it blocks nothing
    finding = checksum(transfer, copy)
    assert finding.verdict is Verdict.FAILED and "no digest of the content" in finding.message
    assert "before it is encrypted" in finding.remedy
    backup.record(backup.path.stem, backup.content)
    transfer, copy = backup.fetch()  # of both, the one that proves something is taken
    assert checksum(transfer, copy).passed and transfer.digests[0].layer == "content"


def test_no_digest_at_all_and_a_pinned_one(backup: Backup) -> None:
    transfer, copy = backup.fetch()
    assert "no digest of the content" in checksum(transfer, copy).message
    transfer, copy = backup.fetch(checksum="pinned")
    assert checksum(transfer, copy).passed


def test_a_digest_of_what_was_compressed_before_proves_it(
    tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    backup = Backup(tmp_path, make_repository, make_staging, ".db.gz.enc")
    for name, data in (
        (backup.path.stem, gzip.compress(backup.content, mtime=0)),
        (Path(backup.path.stem).stem, backup.content),
    ):
        backup.record(name, data)
        transfer, copy = backup.fetch()
        assert checksum(transfer, copy).passed
        (backup.path.parent / f"{name}.sha256").unlink()


def test_damage_and_a_wrong_password_are_told_apart_by_the_beginning(backup: Backup) -> None:
    backup.record(backup.path.stem, backup.content)
    wrong = {"openssl": {**GIVEN, "password": SecretReference("env", "UNPROVEN_WRONG")}}
    transfer, _ = backup.fetch(decrypt=wrong)
    (problem,) = transfer.broken.values()
    assert isinstance(problem, CouldNotVerify) and "is nothing known" in problem.cause
    backup.harm(-1)
    transfer, _ = backup.fetch()
    assert isinstance(transfer.broken[Stage.UNPACK], BackupFailed)
    backup.harm(-1)
    assert backup.fetch()[0].broken == {}
    backup.harm(len(backup.content) // 2)
    transfer, _ = backup.fetch()
    assert list(transfer.broken) == [Stage.VERIFY] and "recorded is" in transfer.broken[Stage.VERIFY].cause


def test_names_are_looked_for_by_what_they_prove() -> None:
    assert by_worth(stems("a.db.gz.enc")) == ["a.db.gz", "a.db", "a.db.gz.enc"]
    assert by_worth(stems("a.db.gz.age")) == ["a.db.gz.age", "a.db.gz", "a.db"]
