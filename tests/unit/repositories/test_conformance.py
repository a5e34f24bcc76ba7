"""The built-in layouts keep the contract of every repository."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from tests.support.backups import Generations, MakeRepository, MakeStaging, Objects, database, date, sha256

from restore_drill.repositories.base import Repository, Staging
from restore_drill.repositories.generations import GenerationRepository
from restore_drill.repositories.objects import ObjectRepository
from restore_drill.repositories.prefixes import PrefixRepository
from restore_drill.testing.repository import BackUp, RepositoryConformance, Stored

OBJECT = "db/{time:%Y%m%d_%H%M%S}.db"
GENERATION = "app/{time:%Y-%m-%d_%H%M%S}/"
SPLIT = "db/{time:%Y%m%d_%H%M%S}.db.part-{part}"


class TestObjects(RepositoryConformance):
    """One file a snapshot, with a sidecar."""

    content = database()

    @pytest.fixture
    def repository(self, make_repository: MakeRepository) -> Repository:
        repository = make_repository(path=OBJECT)
        assert isinstance(repository, ObjectRepository)
        return repository

    @pytest.fixture
    def staging(self, make_staging: MakeStaging) -> Staging:
        return make_staging("sqlite")

    @pytest.fixture
    def job(self, tmp_path: Path, repository: Repository) -> Objects:
        return Objects(tmp_path / "store", OBJECT)

    @pytest.fixture
    def back_up(self, job: Objects) -> BackUp:
        return lambda when, content: job.put(when, content) and None

    @pytest.fixture
    def stored(self, job: Objects) -> Stored:
        return job.path

    @pytest.fixture
    def forget_digest(self, job: Objects) -> Callable[[datetime], None]:
        return lambda when: job.sidecar(job.path(when)).unlink()

    @pytest.fixture
    def prune(self, job: Objects) -> Callable[[datetime], None]:
        return lambda when: job.path(when).unlink()

    @pytest.fixture
    def unreachable(self, make_repository: MakeRepository, tmp_path: Path) -> Repository:
        return make_repository(path=OBJECT, root=tmp_path / "unmounted")


class TestSplitObjects(RepositoryConformance):
    """One snapshot in three parts, with a sidecar of the whole."""

    content = database()

    @pytest.fixture
    def repository(self, make_repository: MakeRepository) -> Repository:
        repository = make_repository(path=SPLIT)
        assert isinstance(repository, ObjectRepository)
        return repository

    @pytest.fixture
    def staging(self, make_staging: MakeStaging) -> Staging:
        return make_staging("sqlite")

    @pytest.fixture
    def stored(self, tmp_path: Path) -> Stored:
        return lambda when: tmp_path / "store" / "db" / f"{when:%Y%m%d_%H%M%S}.db.part-ab"

    @pytest.fixture
    def back_up(self, stored: Stored) -> BackUp:
        def write(when: datetime, content: bytes) -> None:
            stored(when).parent.mkdir(exist_ok=True)
            for position, letter in enumerate("abc"):
                part = stored(when).with_suffix(f".part-a{letter}")
                part.write_bytes(content[position * 3000 : (position + 1) * 3000 if letter != "c" else None])
                date(part, when)
            whole = stored(when).with_suffix("")
            whole.with_name(f"{whole.name}.sha256").write_text(f"{sha256(content)}  {whole.name}\n")

        return write

    @pytest.fixture
    def forget_digest(self, stored: Stored) -> Callable[[datetime], None]:
        return lambda when: stored(when).with_suffix(".sha256").unlink()

    @pytest.fixture
    def prune(self, stored: Stored) -> Callable[[datetime], None]:
        return lambda when: [path.unlink() for path in stored(when).parent.glob("*.part-*")] and None

    @pytest.fixture
    def unreachable(self, make_repository: MakeRepository, tmp_path: Path) -> Repository:
        return make_repository(path=SPLIT, root=tmp_path / "unmounted")


class TestGenerations(RepositoryConformance):
    """One directory a snapshot, with a manifest."""

    content = b"[server]\nport = 8080\n" * 50

    @pytest.fixture
    def repository(self, make_repository: MakeRepository) -> Repository:
        repository = make_repository(path=GENERATION, target={"engine": "files"})
        assert isinstance(repository, GenerationRepository)
        return repository

    @pytest.fixture
    def staging(self, make_staging: MakeStaging) -> Staging:
        return make_staging("files")

    @pytest.fixture
    def job(self, tmp_path: Path, repository: Repository) -> Generations:
        return Generations(tmp_path / "store", GENERATION)

    @pytest.fixture
    def back_up(self, job: Generations) -> BackUp:
        return lambda when, content: job.put(when, {"etc/app.toml": content, "hosts": b"::1\n"}) and None

    @pytest.fixture
    def stored(self, job: Generations) -> Stored:
        return lambda when: job.path(when) / "etc/app.toml"

    @pytest.fixture
    def forget_digest(self, job: Generations) -> Callable[[datetime], None]:
        return lambda when: (job.path(when) / "SHA256SUMS").unlink()

    @pytest.fixture
    def prune(self, job: Generations) -> Callable[[datetime], None]:
        return lambda when: shutil.rmtree(job.path(when))

    @pytest.fixture
    def unreachable(self, make_repository: MakeRepository, tmp_path: Path) -> Repository:
        return make_repository(path=GENERATION, root=tmp_path / "unmounted", target={"engine": "files"})


class TestPrefixes(TestGenerations):
    """The same, read object by object as from a store that knows no directories."""

    @pytest.fixture
    def repository(self, make_repository: MakeRepository) -> Repository:
        return over_prefixes(make_repository(path=GENERATION, target={"engine": "files"}))

    @pytest.fixture
    def unreachable(self, make_repository: MakeRepository, tmp_path: Path) -> Repository:
        return over_prefixes(make_repository(path=GENERATION, root=tmp_path / "unmounted", target={"engine": "files"}))


def over_prefixes(repository: Repository) -> Repository:
    return PrefixRepository(repository.store, repository.copy, repository.model)
