"""Drills in containers, as a catalogue asks for them: what evidence says of them, and that nothing stays."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import CASES, Project

from restore_drill.evidence.record import read
from restore_drill.sandboxes.containers import labels
from restore_drill.sandboxes.workspace import safe_root

_TARGETS = ("good", "other", "emptied", "third")


@pytest.fixture
def project(tmp_path: Path, stand_in: Callable[[str], str]) -> Project:
    """Four targets in containers, of which one came back without its table."""
    project = Project(tmp_path / "project", _TARGETS)
    for target in project.targets.values():
        target["sandbox"] = {"kind": "container", "image": stand_in("python"), "pull": "never", "disk": "1GiB"}
    project.break_restore("emptied")
    project.write()
    return project


@pytest.fixture
def engines_own(require_engine: Any) -> Callable[[Project], list[str]]:
    """What the engine knows of a project: containers, volumes and networks."""

    def find(project: Project) -> list[str]:
        marks = {"label": [f"{labels.OWNER}={labels.owner_of(safe_root(project.work))}"]}
        api = require_engine.api
        found = [*api.containers(all=True, filters=marks), *api.networks(filters=marks)]
        return [str(each["Id"]) for each in found] + [
            str(each["Name"]) for each in api.volumes(filters=marks).get("Volumes") or ()
        ]

    return find


def test_each_has_its_own_and_none_stays(project: Project, engines_own: Callable[[Project], list[str]]) -> None:
    outcome = project.run("-n", "2")
    outcome.check_whole()
    assert outcome.status == 1
    assert {name for name in outcome.causes if not name.startswith("emptied/")} == set()
    assert {f"good/nas/{case}": "passed" for case in CASES}.items() <= outcome.verdicts.items()
    assert outcome.directory is not None
    images = set()
    for (target, _), lines in read(outcome.directory).items():
        stages = {line["stage"]: line["facts"] for line in lines if "stage" in line and "facts" in line}
        assert " removed; asked again at " in stages["dispose"]["confirmed"], target
        sandbox = stages["restore"]["sandbox"]  # also of the restore that failed
        assert (sandbox["kind"], sandbox["network"], sandbox["limits"]["disk"]) == ("container", "none", 1 << 30)
        assert sandbox["chosen"] == "the catalogue names it"
        images.add(sandbox["image_id"])
        assert ("summary" in stages["restore"]) == (target != "emptied")
    assert len(images) == 1
    assert (engines_own(project), project.left) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_that_is_ended_leaves_nothing_after_the_next(
    project: Project, engines_own: Callable[[Project], list[str]], number: signal.Signals
) -> None:
    started = project.start()
    started.until(lambda: engines_own(project), "a container was made")
    started.send(number)
    started.process.wait(300)
    if number is signal.SIGTERM:
        assert (engines_own(project), project.left) == ([], [])
    project.run("-k", "good")
    assert (engines_own(project), project.left) == ([], [])
