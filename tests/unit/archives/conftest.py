from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall

from restore_drill.archives.unpack import unpack_tree

Unpack = Callable[..., dict[str, Any]]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Unpack bytes into ``tmp_path/work/<name>``; keyword arguments are limits, ``digest`` and ``discard``."""
    work = tmp_path / "work"
    work.mkdir()

    def run(
        data: bytes, name: str = "root", *, digest: bool = True, discard: bool = False, **limits: Any
    ) -> dict[str, Any]:
        feed = (data[at : at + 65_536] for at in range(0, len(data), 65_536))
        call = DirectCall(work, feed)
        return unpack_tree(call, archive="tar", root=name, limits=limits, digest=digest, discard=discard)

    return run
