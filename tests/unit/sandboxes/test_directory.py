"""The directory sandbox keeps the contract; what it promises beyond it is in the other tests of this package."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox
from restore_drill.testing.sandbox import SandboxFactory, UnequippedConformance


class TestDirectorySandbox(UnequippedConformance):
    @pytest.fixture
    def sandbox_factory(self, tmp_path: Path) -> SandboxFactory:
        def make(limits: Limits) -> DirectorySandbox:
            return DirectorySandbox(tmp_path, run="test", name="target.copy", limits=limits)

        return make
