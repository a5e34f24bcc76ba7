from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[DirectorySandbox]:
    """A directory sandbox in use."""
    with DirectorySandbox(tmp_path, run="test", name="target.copy", limits=Limits()) as sandbox:
        yield sandbox
