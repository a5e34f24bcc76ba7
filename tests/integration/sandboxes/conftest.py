"""Containers of a real engine, made from the Python stand-in: small, with a shell and an interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_drill.sandboxes.base import Limits, Need, SandboxOptions
from restore_drill.sandboxes.container import ContainerSandbox

MEBIBYTE = 1 << 20
LONG = 60.0
#: Makes a sandbox that was not entered yet.
Make = Callable[..., ContainerSandbox]


@pytest.fixture(scope="session")
def need(stand_in: Callable[[str], str]) -> Need:
    """What has the engine make a container from the Python stand-in."""
    return Need("python", "3.11", ("python3",), stand_in("python"))


@pytest.fixture
def make(tmp_path: Path, require_engine: Any) -> Make:
    def sandbox(limits: Limits | None = None, **options: Any) -> ContainerSandbox:
        settings = SandboxOptions(**options)
        return ContainerSandbox(tmp_path, run="test", name="t.c", limits=limits or Limits(), options=settings)

    return sandbox


@pytest.fixture
def ours(require_engine: Any) -> Callable[[Path], list[str]]:
    """Containers that belong to a run directory below a base, by the engine's own account."""
    from restore_drill.sandboxes.containers import labels
    from restore_drill.sandboxes.workspace import safe_root

    def find(base: Path) -> list[str]:
        mark = f"{labels.OWNER}={labels.owner_of(safe_root(base))}"
        return [str(each["Id"]) for each in require_engine.api.containers(all=True, filters={"label": [mark]})]

    return find
