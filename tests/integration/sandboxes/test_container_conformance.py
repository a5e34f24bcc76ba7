"""The container sandbox keeps the contract, in its calls and for programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from restore_drill.sandboxes.base import Limits, Need
from restore_drill.sandboxes.container import ContainerSandbox
from restore_drill.testing.programs import ProgramsConformance
from restore_drill.testing.sandbox import SandboxConformance, SandboxFactory


class TestContainerSandbox(SandboxConformance):
    @pytest.fixture
    def sandbox_factory(self, tmp_path: Path) -> SandboxFactory:
        def make(limits: Limits) -> ContainerSandbox:
            return ContainerSandbox(tmp_path, run="test", name="target.copy", limits=limits)

        return make


class TestContainerPrograms(ProgramsConformance):
    kind = "container"

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def need(self, need: Need) -> Need:
        return replace(need, system="shell", version="", programs=("sh", "perl"))

    @pytest.fixture
    def sandbox_factory(self, base: Path, need: Need) -> SandboxFactory:
        def make(limits: Limits) -> ContainerSandbox:
            return ContainerSandbox(base, run="test", name="target.copy", limits=limits)

        return make
