"""A sandbox to fetch into, and repositories over directories."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeRepository, MakeStaging
from tests.support.plans import planned_copy, target_model

from restore_drill.registry import load
from restore_drill.repositories.base import Repository, Staging
from restore_drill.sandboxes.base import Limits, Sandbox
from restore_drill.stores.local import LocalStore


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    (tmp_path / "work").mkdir()
    with load("sandboxes", "directory")(tmp_path / "work", run="test", name="t.c", limits=Limits()) as one:
        yield one


@pytest.fixture
def make_staging(sandbox: Sandbox) -> MakeStaging:
    """A quarantine for an engine; each a new one."""
    count = 0

    def make(engine: str = "sqlite", **more: Any) -> Staging:
        nonlocal count
        count += 1
        quarantine = sandbox.work / f"quarantine-{count}"
        quarantine.mkdir(mode=0o700)
        given = {"until": time.monotonic() + 120, "tree_digest": True, **more}
        return Staging(sandbox, quarantine, load("engines", engine), **given)

    return make


@pytest.fixture
def make_repository(tmp_path: Path) -> Iterator[MakeRepository]:
    """A repository over ``store`` below the test's directory: ``make(path=..., target={...}, **copy)``."""
    stores: list[LocalStore] = []

    def make(*, root: Path | None = None, target: dict[str, Any] | None = None, **copy: Any) -> Repository:
        place = root or tmp_path / "store"
        if root is None:
            place.mkdir(exist_ok=True)
        planned = planned_copy(root=place, **copy)
        stores.append(LocalStore(planned.settings))
        repository: Repository = load("repositories", planned.layout)(
            stores[-1], planned, target_model(**(target or {}))
        )
        return repository

    yield make
    for store in stores:
        store.close()
