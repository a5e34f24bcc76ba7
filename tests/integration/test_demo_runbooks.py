"""The runbook that is generated for every target of the demo is drilled: it passes, and fails without any one step."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import databases
from tests.support.bench import Bench
from tests.support.project import Project

from restore_drill.catalogue.load import load
from restore_drill.catalogue.runbook import RunbookModel
from restore_drill.drill import Drill
from restore_drill.lifecycle import fit_demo, start_demo
from restore_drill.model import Stage, Verdict
from restore_drill.plan import Plan
from restore_drill.recovery.generated import document_of
from restore_drill.recovery.judging import RunbookCheck
from restore_drill.recovery.rehearsal import rehearse
from restore_drill.run import Run, RunOptions
from restore_drill.runbooks import PlannedRunbook
from restore_drill.target_drill import TargetDrill

CHECKOUT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def plan() -> Iterator[Plan]:
    """The demo's own catalogue, its estate built, its offsite store served."""
    plan = fit_demo(load(CHECKOUT / "drills" / "targets.yaml"))
    demo = start_demo(plan)
    yield plan
    demo.close()


@pytest.fixture(scope="module")
def run(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("runbooks")
    (root / "work").mkdir()
    run = Run("run", root / "reports" / "run", plan, RunOptions(work_dir=str(root / "work")), clock=time.time)
    yield run
    run.close()


def measured(run: Run, target: str, copy: str) -> TargetDrill:
    """One drill that has come back and was asked for its content, for every document of its target."""
    planned = run.plan.by_name[target]
    whole = TargetDrill(planned, run, planned.cases())
    drill = whole.drill(copy)
    drill.reach(Stage.RESTORE)
    for case in drill.cases:
        if case.case in ("structure", "files"):
            drill.measure(case)
    return whole


def verdict(drill: Drill, text: str, restored: str) -> tuple[Verdict, str]:
    rule = RunbookModel(generated=True).model_copy(update={"restored": restored})
    found = rehearse(drill, PlannedRunbook(rule, "generated", text, "0" * 64))
    finding = RunbookCheck().judge(found, drill.context(drill.target.cases()[0]))
    return finding.verdict, "\n".join([finding.message, *finding.details])


def stops_without(root: Path, drill: Drill, scripts: list[str]) -> set[int]:
    """Which of these steps, left out, make bash alone come to a step that fails; without a sandbox that is cheap."""
    (root / "whole").mkdir(parents=True)
    bench = Bench(root / "whole")
    url = drill.copy.settings.url
    if url.startswith("file:"):
        bench.variables["BACKUP_DIR"] = url.removeprefix("file://")
    else:
        bench.variables["BACKUP_DIR"] = str(CHECKOUT / "fixtures/estate/offsite/objects" / url.removeprefix("s3://"))
        bench.offline(url)
    bench.variables["KEY_AGE_IDENTITY"] = str(CHECKOUT / "fixtures/estate/keys/orders-age.txt")
    found = set()
    for number, script in enumerate(scripts):
        rest = scripts[number + 1 :]
        if bench.twin(root / f"without-{number}").type(rest)[0] < len(rest):
            found.add(number)
        assert bench.type([script]) == (1, "")
    return found


@pytest.mark.parametrize(
    ("target", "copy"),
    [
        ("orders-db", "nas"),
        ("metrics-db", "nas"),
        ("uploads-volume", "offsite"),
        ("inventory-db", "nas"),
        ("app-config", "nas"),
        ("legacy-dump", "offsite"),
        ("reports-archive", "offsite"),
    ],
)
def test_it_recovers_and_every_step_is_needed(run: Run, target: str, copy: str, tmp_path: Path) -> None:
    """Of the first target everything is drilled; of the others, what bash alone would not stop at."""
    whole = measured(run, target, copy)
    try:
        drill = whole.drill(copy)
        text, restored = document_of(drill)
        assert verdict(drill, text, restored) == (Verdict.PASSED, "")
        blocks = list(BLOCK.finditer(text))
        scripts = [block[1] for block in blocks]
        assert len(scripts) >= 7
        # No server is there for bash alone.
        alone = [script for script in scripts[:-1] if target != "inventory-db" or "psql" not in script]
        stops = stops_without(tmp_path / "alone", drill, alone) if target != "orders-db" else set()
        for number, block in enumerate(blocks):
            if number not in stops:
                without = text[: block.start()] + text[block.end() :]
                found, said = verdict(drill, without, restored)
                assert found is Verdict.FAILED, f"without {block[0]}: {said}"
    finally:
        whole.close()


def test_what_a_server_must_have_before_is_made(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """Roles and accounts that dumps speak of; a dump without a name for its database; a file that a server reads."""
    for program in ("postgres", "createdb", "mariadbd", "mariadb", "redis-server", "redis-check-rdb"):
        require_program(program)
    made = databases.backups({"whole": b"", "fewer": b"", "cut": b""})
    chosen = {name: made[f"{name}-good"] for name in ("plain", "mariadb", "redis")}
    tmp_path.chmod(0o711)
    project = Project(tmp_path / "project", ["shop"])
    del project.targets["shop"]
    project.work.chmod(0o711)
    databases.declare(project, chosen, lambda _: "directory")
    for name in chosen:
        project.targets[name]["runbook"] = {"generated": True}
    project.write()
    outcome = project.run()
    assert outcome.causes == {}, outcome.screen
    drilled = {drill["target"]: drill["runbook"] for drill in outcome.drills.values()}
    assert {name: each["rollback"] for name, each in drilled.items()} == dict.fromkeys(chosen, "drilled")
    headings = {name: [step["heading"] for step in each["steps"]] for name, each in drilled.items()}
    assert "5. Make the roles" in headings["plain"]
    assert "5. Make the accounts" in headings["mariadb"]
    assert project.left == []


def test_every_target_of_the_demo_is_among_them(plan: Plan) -> None:
    cases = test_it_recovers_and_every_step_is_needed.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {target for target, _ in cases} == {*plan.by_name, *(name for name, _ in plan.left_out)}
    assert "demo_estate" in sys.modules
