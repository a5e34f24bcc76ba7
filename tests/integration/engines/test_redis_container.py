"""The redis engine in a container: the same verdicts as with this machine's programs, by a few samples of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.engines.base import Sample
from restore_drill.engines.redis import RedisEngine
from restore_drill.engines.redis_samples import EXPECT, TAKEN
from restore_drill.sandboxes.base import Limits, Sandbox, SandboxOptions
from restore_drill.sandboxes.container import ContainerSandbox
from restore_drill.testing.engine import EngineConformance

SOME = ("good", "good-in-parts", "needs-module", "part-cut", "functions-lost", "expired", "wrong-server")
SAMPLES = [sample for sample in RedisEngine.samples() if sample.name in SOME]


class InContainer(EngineConformance):
    engine = RedisEngine
    expect = EXPECT
    taken = TAKEN

    def __init__(self, image: str) -> None:
        self.image = image

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        (base / "sandboxes").mkdir(parents=True, exist_ok=True)
        options = SandboxOptions(image=self.image, pull="never")
        return ContainerSandbox(base / "sandboxes", run="conformance", name=name, limits=Limits(), options=options)


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_samples_are_judged_the_same_in_a_container(
    sample: Sample, stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    judgement = InContainer(stand_in("redis")).judge(sample, tmp_path)
    assert judgement.caught_by == sample.caught_by, judgement.error
    if not sample.caught_by:
        assert judgement.findings
        assert judgement.facts["restored"]["programs"]["kind"] == "container"
