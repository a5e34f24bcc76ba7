"""ci/container and ci/kubernetes: the image is built on the stand-in base, and drills as the manifests run it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.support.documents import blocks
from tests.support.installed import ROOT, wheel
from tests.support.project import Project

IMAGE = "restore-drill/suite:test"
NIGHTLY, SHARDS = (ROOT / "ci" / "kubernetes" / f"{name}.yaml" for name in ("nightly", "shards"))
PAGE = ROOT / "docs" / "pipeline.md"
#: The oldest and the newest release of Kubernetes that the manifests are for.
RELEASES = ("1.31", "1.37")
_OF_ROOT = os.getuid() == 0
_USER = "10001:10001" if _OF_ROOT else f"{os.getuid()}:{os.getgid()}"


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text("utf-8")) if each]


def pod_of(document: Mapping[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


# --- as Kubernetes reads them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [NIGHTLY, SHARDS], ids=lambda path: path.name)
def test_the_manifests_are_what_kubernetes_reads(path: Path) -> None:
    for document in documents(path):
        for release in RELEASES:
            kubernetes_validate.validate(document, release, strict=True)
    (wrong, *_) = [each for each in documents(path) if each["kind"] == "CronJob"]
    wrong["spec"]["concurencyPolicy"] = wrong["spec"].pop("concurrencyPolicy")
    with pytest.raises(kubernetes_validate.ValidationError, match="concurencyPolicy"):
        kubernetes_validate.validate(wrong, RELEASES[-1], strict=True)


@pytest.mark.parametrize("document", [each for path in (NIGHTLY, SHARDS) for each in documents(path)],
                         ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")  # fmt: skip
def test_a_pod_may_do_no_more_than_it_must_and_is_not_tried_again(document: dict[str, Any]) -> None:
    assert document["metadata"]["namespace"] == "restore-drills"
    if document["kind"] != "CronJob":
        return
    job, pod = document["spec"]["jobTemplate"]["spec"], pod_of(document)
    assert document["spec"]["concurrencyPolicy"] == "Forbid" and pod["restartPolicy"] == "Never"
    assert job.get("backoffLimit", job.get("backoffLimitPerIndex")) == 0  # a second try hides the first result
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]} and security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        # Everything is where the image has it, and every volume is declared.
        mounts = {each["name"] for each in container["volumeMounts"]}
        assert mounts <= {each["name"] for each in pod["volumes"]}


# --- the image --------------------------------------------------------------------------------------------------------


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def _alone() -> Iterator[Path]:
    """A directory that stays, for what is fetched; workers of one run do not build side by side."""
    place = Path(sys.prefix) / "wheels"
    place.mkdir(exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place


def _wheels(kept: Path) -> Path:
    """What the suite depends on, as wheels; fetched once, and again when the dependencies are others."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    place = kept / hashlib.sha256(json.dumps([sys.version, *declared]).encode()).hexdigest()[:16]
    if not (place / ".whole").exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                   "--only-binary=:all:", f"--dest={place}", "pip", *declared]  # fmt: skip
        done = subprocess.run(command, timeout=600, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (place / ".whole").touch()
    return place


def _requirements(directory: Path, fetched: Path, suite: Path) -> Path:
    """All of it with versions and hashes, as docs/pipeline.md recommends."""
    path = directory / "requirements.txt"
    with path.open("w") as file:
        for each in (*fetched.glob("*.whl"), suite):
            name, version, *_ = each.name.split("-")
            if name != "pip":
                file.write(f"{name}=={version} --hash=sha256:{hashlib.sha256(each.read_bytes()).hexdigest()}\n")
    return path


@pytest.fixture(scope="module")
def image(require_engine: Any, require_program: Callable[[str], str], stand_in: Callable[[str], str]) -> str:
    """The suite as it is now, on the stand-in for Python's image; the engine keeps what has not changed since."""
    require_program("docker")
    variables = {"BASE": stand_in("python"), "PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
    with _alone() as kept:
        earlier = _identity(IMAGE)
        done = subprocess.run(
            [ROOT / "ci/container/build", IMAGE, "--requirement", _requirements(kept, _wheels(kept), wheel())],
            env={**os.environ, **variables, "PIP_FIND_LINKS": f"{_wheels(kept)} {wheel().parent}"},
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if earlier and earlier != _identity(IMAGE):
            _docker("image", "rm", earlier)
        # The stage before the last one is kept without a name, and is what the next build begins with.
        stages = _docker("images", "--quiet", "--filter=dangling=true", "--filter=label=restore-drill.suite=installed")
        for stage in stages.stdout.split()[1:]:
            _docker("image", "rm", stage)
    return IMAGE


def _identity(image: str) -> str:
    return _docker("image", "inspect", "--format={{.Id}}", image).stdout.strip()


class Cluster:
    """Runs the containers of manifests by an engine, with what they are granted, and with no network at all."""

    def __init__(self, root: Path, image: str) -> None:
        self.project = Project(root / "project")
        self.image = image
        self.reports = root / "reports"
        self.keys = root / "keys"
        for place in (self.reports, self.keys):
            place.mkdir(parents=True)
        if _OF_ROOT:
            for place in (self.reports, *(self.project.root / "state").rglob("*"), self.project.root / "state"):
                os.chown(place, 10001, 10001)

    @property
    def drills(self) -> Path:
        """The volume of the ConfigMap, as a cluster lays it out: every file is a link through a link."""
        place = self.project.root.parent / "drills"
        content = place / "..2026_11_23_03_00_00.1234567890"
        if not place.exists():
            content.mkdir(parents=True)
            (place / "..data").symlink_to(content.name)
            for path in filter(Path.is_file, (self.project.root / "drills").iterdir()):
                shutil.copy(path, content)
                (place / path.name).symlink_to(f"..data/{path.name}")
        return place

    def run(self, document: Mapping[str, Any], *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        pod = pod_of(document)
        (container,) = pod["containers"]
        granted = self._granted(pod, container, variables)
        return _docker("run", "--rm", "--network=none", *granted, *arguments)

    def _granted(
        self, pod: Mapping[str, Any], container: Mapping[str, Any], variables: Mapping[str, str]
    ) -> Iterator[str]:
        yield f"--user={_USER}"
        yield from ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
        assert container["securityContext"]["readOnlyRootFilesystem"]
        yield f"--memory={container['resources']['limits']['memory'].replace('Gi', 'g')}"
        for each in container.get("env", ()):
            yield f"--env={each['name']}={each['value']}"
        for name, value in variables.items():
            yield f"--env={name}={value}"
        places = {"drills": self.drills, "keys": self.keys, "reports": self.reports}
        for mount in container["volumeMounts"]:
            (volume,) = [each for each in pod["volumes"] if each["name"] == mount["name"]]
            if "emptyDir" in volume:
                yield f"--tmpfs={mount['mountPath']}:exec,mode=1777"
            else:
                mode = "ro" if mount.get("readOnly") else "rw"
                yield f"--volume={places[mount['name']]}:{mount['mountPath']}:{mode}"
        # In a cluster these are buckets; here they lie where the catalogue says.
        yield f"--volume={self.project.root / 'stores'}:/project/stores:ro"
        yield f"--volume={self.project.root / 'state'}:/project/state:rw"
        if "command" in container:
            yield f"--entrypoint={container['command'][0]}"
        yield self.image
        yield from container.get("command", [])[1:]


@pytest.fixture
def cluster(tmp_path: Path, image: str) -> Cluster:
    """One that no other test has drilled in, whichever of them runs first."""
    return Cluster(tmp_path / "cluster", image)


def _named(path: Path, name: str) -> dict[str, Any]:
    (found,) = [each for each in documents(path) if each["kind"] == "CronJob" and each["metadata"]["name"] == name]
    return found


def test_a_pod_drills_and_a_damaged_backup_makes_it_fail(cluster: Cluster) -> None:
    nightly = _named(NIGHTLY, "restore-drills")
    good = cluster.run(nightly)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "due: critical" in good.stderr
    evidence = json.loads((cluster.reports / "latest" / "evidence.json").read_text())
    assert evidence["verdict"] == "passed"
    cluster.project.break_checksum("db-0")
    bad = cluster.run(nightly, "critical")
    cluster.project.put("db-0")
    assert bad.returncode == 1
    assert "checksum" in bad.stdout


def test_shards_of_an_indexed_job_are_joined(cluster: Cluster) -> None:
    """Two of them, which is quicker than eight."""
    plan, shards, joined = (
        json.loads(json.dumps(_named(SHARDS, name)).replace('"8"', '"2"').replace("0-7", "0-1").replace("t 8", "t 2"))
        for name in ("restore-drills-plan", "restore-drills-shards", "restore-drills-joined")
    )
    for job, index in ((plan, ""), (shards, "0"), (shards, "1")):
        done = cluster.run(job, JOB_COMPLETION_INDEX=index)
        assert done.returncode == 0, done.stdout + done.stderr
    done = cluster.run(joined)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 shards" in done.stdout
    evidence = json.loads((cluster.reports / "joined" / "evidence.json").read_text())
    assert [drill["scope"] for drill in evidence["drills"]] == ["whole"]
    # The next night no shard begins: what is left of this one is not taken for it, although no copy is overdue.
    done = cluster.run(joined)
    assert done.returncode != 0
    assert "no shard's evidence" in done.stdout + done.stderr
    assert "not overdue" in done.stdout


def test_the_container_runs_as_the_page_says_and_its_state_stays(cluster: Cluster, tmp_path: Path) -> None:
    (block,) = [each.text for each in blocks(PAGE) if each.text.startswith("ci/container/build")]
    command = block[block.index("docker run") :].replace("registry.example.org/restore-drill:1", cluster.image)
    assert "`--entrypoint restore-drill` before the image and `baseline init` behind it" in PAGE.read_text("utf-8")
    project = Project(tmp_path / "project")
    project.catalogue["state"] = "file:/state"
    project.catalogue["stores"]["nas"]["url"] = "file:/backups"
    project.path.write_text(yaml.safe_dump(project.catalogue))
    for name in ("reports", "state"):
        (tmp_path / name).mkdir()
        if _OF_ROOT:
            os.chown(tmp_path / name, 10001, 10001)
    for place, here in (("/srv/", f"{tmp_path}/"), ("/mnt/backups", str(project.root / "stores" / "nas"))):
        assert place in command
        command = command.replace(place, here)
    command = command.replace("docker run", f"docker run --network=none --user={_USER}")

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-ec", line], cwd=project.root, capture_output=True, text=True, timeout=300)

    assert run(command).returncode == 75  # nothing is remembered: that is no pass
    once = run(command.replace(cluster.image, f"--entrypoint restore-drill {cluster.image} baseline init"))
    assert once.returncode == 0, once.stderr
    for said in ("due: critical", "nothing is due"):  # the second night knows of the first
        done = run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stderr


def test_gitlab_runs_its_script_inside_of_the_image(cluster: Cluster) -> None:
    """As a runner does: a shell beside the image's variables, the repository somewhere, and reports kept from there."""
    job = yaml.safe_load((ROOT / "ci/gitlab/restore-drills.yml").read_text("utf-8"))["restore-drills"]
    root, there = cluster.project.root, "/builds/acme/restore-drills"
    (root / "ci").mkdir()
    shutil.copy(ROOT / "ci" / "nightly", root / "ci" / "nightly")
    (root / "reports").mkdir()
    if _OF_ROOT:
        os.chown(root / "reports", 10001, 10001)
    (entrypoint,) = job["image"]["entrypoint"]
    variables = {name: text.replace("$CI_PROJECT_DIR", there) for name, text in job["variables"].items()}
    script = "\n".join([*job["before_script"], *job["script"]])
    done = _docker(
        "run", "--rm", "--network=none", f"--user={_USER}", f"--entrypoint={entrypoint}", f"--volume={root}:{there}:rw",
        f"--workdir={there}", *(f"--env={name}={text}" for name, text in {**variables, "TIERS": "critical"}.items()),
        "--env=AWS_ID_TOKEN=of-tonight", cluster.image, "sh", "-ec", script,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in (root / "reports/latest/summary.md").read_text()
    assert (root / job["artifacts"]["reports"]["junit"]).is_file()
    as_built = _docker("run", "--rm", "--network=none", cluster.image, "sh", "-ec", script)
    assert (as_built.returncode, as_built.stdout) == (64, "")  # so that the entry point has to be told


def test_the_image_holds_nothing_but_the_suite(cluster: Cluster) -> None:
    listed = _docker("run", "--rm", "--network=none", "--entrypoint=sh", cluster.image, "-c",
                     "id -u; ls / /project /wheels 2>&1; find / -xdev -perm -4000 -path '/opt/*'")  # fmt: skip
    assert listed.stdout.splitlines()[0] == "10001"
    assert "cannot access '/wheels'" in listed.stdout
