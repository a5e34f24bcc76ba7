"""The volume engine against the rules for every engine, in real containers over real volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from restore_drill.engines.volume import VolumeEngine
from restore_drill.engines.volume_samples import EXPECT, SETTINGS, TAKEN
from restore_drill.sandboxes.base import Limits, Sandbox, SandboxOptions
from restore_drill.sandboxes.container import ContainerSandbox
from restore_drill.testing.engine import EngineConformance


class TestVolumeEngine(EngineConformance):
    engine = VolumeEngine
    expect = EXPECT
    settings = SETTINGS
    taken = TAKEN
    image: ClassVar[str] = ""

    @pytest.fixture(autouse=True)
    def application(self, stand_in: Callable[[str], str]) -> None:
        type(self).image = stand_in("app")

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        (base / "sandboxes").mkdir(parents=True, exist_ok=True)
        options = SandboxOptions(image=self.image, pull="never")
        return ContainerSandbox(base / "sandboxes", run="conformance", name=name, limits=Limits(), options=options)
