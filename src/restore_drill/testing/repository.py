"""What every repository must do: subclass :class:`RepositoryConformance` in a test module, and pytest runs it.

::

    class TestMyLayout(RepositoryConformance):
        @pytest.fixture
        def repository(self): ...                  # over an empty store
        @pytest.fixture
        def staging(self): ...                     # a Staging over a real sandbox
        @pytest.fixture
        def back_up(self): ...                     # (taken_at, content) -> None: a whole snapshot, with its digest
        @pytest.fixture
        def stored(self): ...                      # (taken_at) -> Path of a file whose bytes are the backup's
        @pytest.fixture
        def forget_digest(self): ...               # (taken_at) -> None: remove what records the digest
        @pytest.fixture
        def prune(self): ...                       # (taken_at) -> None: remove the snapshot
        @pytest.fixture
        def unreachable(self): ...                 # a repository whose store cannot be read

``content`` is bytes that the staging's engine accepts; what a test damages, it damages behind the repository's back.
"""

# ruff: noqa: S101 - assertions are what this is for

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import PayloadForm, Stage
from restore_drill.repositories.base import Repository, Staging, Transfer

BackUp = Callable[[datetime, bytes], None]
Stored = Callable[[datetime], Path]

#: Three nights; times in names are UTC.
NIGHTS = [datetime(2026, 11, day, 2, tzinfo=UTC) for day in (20, 21, 22)]
#: The stages that may own the cause of damaged bytes, by what the layout can tell.
_READING = (Stage.FETCH, Stage.VERIFY, Stage.UNPACK)


def latest(repository: Repository, staging: Staging) -> Transfer:
    """Fetch the newest snapshot."""
    return repository.fetch(repository.survey().newest[0], staging)


class RepositoryConformance:
    """The contract of :class:`restore_drill.repositories.base.Repository`."""

    #: Content for a snapshot that the staging's engine accepts.
    content: bytes

    def test_an_empty_store_has_no_snapshot(self, repository: Repository) -> None:
        """No snapshot is no error here; that it is a failure is for the located case to say."""
        survey = repository.survey()
        assert survey.newest == []
        assert list(survey.times) == []

    def test_the_newest_is_first_and_every_time_is_known(self, repository: Repository, back_up: BackUp) -> None:
        """By the recorded time, whatever the order in which they were stored."""
        for night in (NIGHTS[1], NIGHTS[2], NIGHTS[0]):
            back_up(night, self.content)
        survey = repository.survey()
        assert [snapshot.taken_at for snapshot in survey.newest] == NIGHTS[::-1]
        assert list(survey.times) == [night.timestamp() for night in NIGHTS]

    def test_every_one_is_known_in_the_same_order(self, repository: Repository, back_up: BackUp) -> None:
        """Whoever decides what may be removed must have seen all of them."""
        assert repository.every() == []
        for night in (NIGHTS[1], NIGHTS[2], NIGHTS[0]):
            back_up(night, self.content)
        newest = repository.survey().newest
        assert [(each.id, each.main.key) for each in repository.every()] == [
            (each.id, each.main.key) for each in newest
        ]

    def test_a_modification_time_decides_nothing(self, repository: Repository, back_up: BackUp, stored: Stored) -> None:
        """An old snapshot that was touched stays old."""
        back_up(NIGHTS[0], self.content)
        back_up(NIGHTS[1], self.content)
        later = (NIGHTS[2] + timedelta(days=1)).timestamp()
        os.utime(stored(NIGHTS[0]), (later, later))
        assert repository.survey().newest[0].taken_at == NIGHTS[1]

    def test_a_snapshot_can_be_asked_for_by_id(self, repository: Repository, back_up: BackUp) -> None:
        """However old it is."""
        for night in NIGHTS:
            back_up(night, self.content)
        oldest = repository.survey().newest[-1]
        wanted = repository.survey(oldest.id).wanted
        assert wanted is not None
        assert wanted.taken_at == NIGHTS[0]
        assert repository.survey("20010101T000000Z").wanted is None

    def test_an_unreachable_store_is_not_an_empty_one(self, unreachable: Repository) -> None:
        """It raises, with a remedy."""
        with pytest.raises(CouldNotVerify) as raised:
            unreachable.survey()
        assert raised.value.remedy

    def test_a_good_snapshot_becomes_a_payload(self, repository: Repository, staging: Staging, back_up: BackUp) -> None:
        """Nothing is broken, the digest was compared, the content is on disk inside the quarantine."""
        back_up(NIGHTS[0], self.content)
        transfer = latest(repository, staging)
        assert transfer.broken == {}
        assert transfer.absent == []
        assert transfer.digests
        assert all(check.actual == check.expected and check.layer for check in transfer.digests)
        (payload,) = transfer.payloads
        assert payload.path.is_relative_to(staging.quarantine)
        assert payload.path.is_dir() is (payload.form is PayloadForm.TREE)
        assert payload.digest

    def test_the_same_content_has_the_same_digest(
        self, repository: Repository, staging: Staging, back_up: BackUp
    ) -> None:
        """That is what copies are compared by, so reading it without keeping it must give the same."""
        back_up(NIGHTS[0], self.content)
        kept = latest(repository, staging)
        staging.quarantine = staging.sandbox.work / "compared"
        staging.quarantine.mkdir()
        staging.discard = True
        compared = latest(repository, staging)
        assert compared.broken == {}
        assert compared.payloads[0].digest == kept.payloads[0].digest

    def test_a_flipped_bit_is_caught_by_the_digest(
        self, repository: Repository, staging: Staging, back_up: BackUp, stored: Stored
    ) -> None:
        """And nothing is handed on."""
        back_up(NIGHTS[0], self.content)
        path = stored(NIGHTS[0])
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
        transfer = latest(repository, staging)
        assert isinstance(transfer.broken[Stage.VERIFY], BackupFailed)
        assert min(transfer.broken, key=list(Stage).index) is Stage.VERIFY

    def test_half_a_file_is_caught(
        self, repository: Repository, staging: Staging, back_up: BackUp, stored: Stored
    ) -> None:
        """By whatever notices it first."""
        back_up(NIGHTS[0], self.content)
        path = stored(NIGHTS[0])
        os.truncate(path, path.stat().st_size // 2)
        transfer = latest(repository, staging)
        assert any(isinstance(transfer.broken.get(stage), BackupFailed) for stage in _READING)

    def test_a_missing_digest_is_told_and_blocks_nothing(
        self,
        repository: Repository,
        staging: Staging,
        back_up: BackUp,
        forget_digest: Callable[[datetime], None],
    ) -> None:
        """The checksum case fails by it; the drill goes on."""
        back_up(NIGHTS[0], self.content)
        forget_digest(NIGHTS[0])
        transfer = latest(repository, staging)
        assert transfer.absent
        assert transfer.broken == {}
        assert transfer.payloads

    def test_a_settling_snapshot_without_digest_is_unfinished(
        self, repository: Repository, back_up: BackUp, forget_digest: Callable[[datetime], None]
    ) -> None:
        """It may still be on its way; later that is no excuse."""
        back_up(NIGHTS[0], self.content)
        snapshot = repository.survey().newest[0]
        assert repository.unfinished(snapshot, settling=True) is None
        forget_digest(NIGHTS[0])
        snapshot = repository.survey().newest[0]
        assert repository.unfinished(snapshot, settling=True)
        assert repository.unfinished(snapshot, settling=False) is None

    def test_what_vanishes_meanwhile_breaks_the_fetch(
        self, repository: Repository, staging: Staging, back_up: BackUp, prune: Callable[[datetime], None]
    ) -> None:
        """A snapshot that is pruned between listing and reading is a failure of the fetch, not a crash."""
        back_up(NIGHTS[0], self.content)
        snapshot = repository.survey().newest[0]
        prune(NIGHTS[0])
        transfer = repository.fetch(snapshot, staging)
        assert min(transfer.broken, key=list(Stage).index) is Stage.FETCH
        assert transfer.payloads == []
