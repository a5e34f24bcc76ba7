"""The git engine against the rules for every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from restore_drill.engines.git import GitEngine
from restore_drill.engines.git_samples import EXPECT, TAKEN, first_commit
from restore_drill.testing.engine import EngineConformance


@pytest.fixture(autouse=True)
def git(require_program: Callable[[str], str]) -> str:
    return require_program("git")


class TestGitEngine(EngineConformance):
    engine = GitEngine
    expect: ClassVar[Mapping[str, Any]] = {
        **EXPECT,
        "queries": [
            {
                "name": "the same beginning",
                "sql": f"SELECT count(*) FROM commits WHERE id = '{first_commit()}' AND parents = ''",
                "equals": 1,
            }
        ],
    }
    taken = TAKEN
