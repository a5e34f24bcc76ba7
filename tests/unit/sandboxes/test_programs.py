"""The directory sandbox keeps the contract for programs, with this machine's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.unprivileged import open_directory

from restore_drill.sandboxes import workspace
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox
from restore_drill.testing.programs import ProgramsConformance
from restore_drill.testing.sandbox import SandboxFactory


class TestDirectoryPrograms(ProgramsConformance):
    @pytest.fixture(autouse=True)
    def programs(self, require_program: Callable[[str], str]) -> None:
        require_program("perl")

    @pytest.fixture
    def base(self) -> Iterator[Path]:
        # Where a view of the file system cannot be had, the programs' account must be able to pass through.
        with open_directory() as path:
            path.chmod(0o711)
            yield path
            workspace.close_all()

    @pytest.fixture
    def sandbox_factory(self, base: Path) -> SandboxFactory:
        def make(limits: Limits) -> DirectorySandbox:
            return DirectorySandbox(base, run="test", name="target.copy", limits=limits)

        return make
