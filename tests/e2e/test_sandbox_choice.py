"""Which sandbox a run takes when the catalogue leaves it open, and what evidence says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import Outcome, Project

from restore_drill.engines import redis_samples
from restore_drill.engines.redis import RedisEngine

_NO_ENGINE = "unix:///nonexistent/no-engine.sock"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Outcome:
    """A run on a machine where no container engine answers, shared by two workers."""
    for name in RedisEngine.programs:
        require_program(name)
    made = Project(tmp_path_factory.mktemp("choice") / "project", ["left-open", "bounded", "contained"])
    asked = {"bounded": {"memory": "1 GiB", "processes": 100}, "contained": {"kind": "container"}}
    for name, target in made.targets.items():
        target |= {"engine": "redis", "expect": {"rows": {"db0": {"min": 45}}}}
        target["copies"] = {"nas": {"path": f"{name}/{{time:%Y%m%dT%H%M%SZ}}.rdb"}}
        if name in asked:
            target["sandbox"] = asked[name]
        made.put(name, redis_samples.good(), ending=".rdb")
    made.write()
    made.environment["DOCKER_HOST"] = _NO_ENGINE
    return made.run("-n", "2")


def _sandbox(outcome: Outcome, target: str) -> dict[str, Any]:
    stages = outcome.drills[f"{target}/nas"]["stages"]
    found: dict[str, Any] = next(stage for stage in stages if stage["stage"] == "restore")["facts"]["sandbox"]
    return found


def test_a_machine_without_an_engine_restores_in_a_directory_and_says_so(outcome: Outcome) -> None:
    assert outcome.causes == {"contained/nas/restores": "error"}, outcome.screen
    for target in ("left-open", "bounded"):
        assert _sandbox(outcome, target)["kind"] == "directory"
        assert _sandbox(outcome, target)["chosen"] == f"no container: no container engine answers ({_NO_ENGINE})"
    assert "no container engine answers" in outcome.cases["contained/nas/restores"]["message"]


def test_evidence_says_what_programs_were_held_to(outcome: Outcome) -> None:
    facts = _sandbox(outcome, "bounded")
    assert (facts["limits"]["memory"], facts["limits"]["processes"]) == (1 << 30, 100)
    assert facts["programs"]["programs"].startswith("redis ")
    assert facts["programs"]["account"] != "root"
    assert facts["payload"] == "read-only" or not facts["landlock"]
    assert Path("/") not in map(Path, facts["programs"].values())
