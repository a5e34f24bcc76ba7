"""ci/drill and ci/test: set up once, pass everything on, say what is missing.

Python, pip, apt-get and id are stand-ins that write down how they were called, so that a set-up takes milliseconds. The
last tests use the real pytest on the real catalogue.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ("ci/drill", "ci/test", "ci/coverage", "ci/setup.sh", "ci/engine.sh", ".ci/run")
#: What the scripts use of the system.
SYSTEM = ("bash", "cat", "cksum", "cp", "dirname", "env", "flock", "mkdir", "mktemp", "readlink", "rm", "rmdir")
#: And of it to start a container engine.
ENGINE = ("setpriv", "setsid", "sleep", "tail")

PYTHON3 = r"""#!/bin/bash
printf '%s\n' "python3 $*" >>"$LOG/calls"
[ "$1" = -c ] && exit "${OLD_PYTHON:-0}"
[ "$1 $2" = "-m venv" ] || exit 99
mkdir -p "$3/bin"
printf 'home\n' >"$3/pyvenv.cfg"
[ -e "$LOG/no-ensurepip" ] && exit 1
cp "$LOG/venv-python" "$3/bin/python"
"""
VENV_PYTHON = r"""#!/bin/bash
printf '%s\n' "venv $*" >>"$LOG/calls"
case "$1 $2" in
  "-V ") echo "Python 3.11.2" ;;
  "-c import docker"*) [ -z "$NO_ENGINE" ] || [ -e "$LOG/engine" ] ;;
  "-m pip")
    printf '%s\n' "index=$PIP_INDEX_URL user=$PIP_USER target=$PIP_TARGET" >>"$LOG/pip"
    [ -z "$PIP_FAILS" ] || { echo "ERROR: No matching distribution found for moto" >&2; exit 1; } ;;
  "-m pytest")
    shift 2
    pwd >"$LOG/cwd"
    [ ! -p "$LOG/hold" ] || cat "$LOG/hold"
    : >"$LOG/pytest"
    [ ! -e "$LOG/engine" ] || : >"$LOG/tested-with-engine"
    [ $# = 0 ] || printf '%s\0' "$@" >"$LOG/pytest"
    exit "${PYTEST_STATUS:-0}" ;;
  "-m ruff") exit "${RUFF_STATUS:-0}" ;;
  "-m coverage")
    [ ! -e "$LOG/engine" ] || : >"$LOG/tested-with-engine"
    exit "${COVERAGE_STATUS:-0}" ;;
esac
"""
APT_GET = r"""#!/bin/bash
printf '%s\n' "apt-get $*" >>"$LOG/calls"
case " $* " in
  *" update "*) : >"$LOG/lists" ;;
  *) [ -e "$LOG/lists" ] && [ ! -e "$LOG/apt-fails" ] || { echo "E: Unable to locate package" >&2; exit 100; }
     rm -f "$LOG/no-ensurepip" ;;
esac
"""
DOCKERD = r"""#!/bin/bash
printf '%s\n' "dockerd $*" >>"$LOG/calls"
[ -z "$DOCKERD_FAILS" ] || { echo 'failed to mount overlay: operation not permitted' >&2; exit 1; }
trap 'rm "$LOG/engine"; exit' TERM
: >"$LOG/engine"
while :; do sleep 0.1; done
"""
ID = r"""#!/bin/bash
echo "${STUB_UID:-1000}"
"""


class Checkout:
    """A checkout of its scripts only, and a machine on which every program is a stand-in."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "a check out"
        self.bin = directory / "bin"
        self.log = directory / "log"
        for path in (self.root / "drills", self.bin, self.log):
            path.mkdir(parents=True)
        for script in SCRIPTS:
            (self.root / script).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / script, self.root / script)
        for name in ("pyproject.toml", "drills/test_policy.py"):
            shutil.copy(ROOT / name, self.root / name)
        for name in SYSTEM:
            (self.bin / name).symlink_to(shutil.which(name) or "/missing")
        for name, text in (("python3", PYTHON3), ("id", ID)):
            self.add(name, text)
        _executable(self.log / "venv-python", VENV_PYTHON)

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def add(self, name: str, text: str) -> None:
        """Another program on this machine."""
        _executable(self.bin / name, text)

    def run(self, *argv: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        script, *arguments = argv
        environment = {"PATH": str(self.bin), "LOG": str(self.log), **variables}
        command = [script if script.startswith("/") else str(self.root / script), *arguments]
        return subprocess.run(
            command, cwd=cwd or self.root, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    def calls(self, beginning: str) -> list[str]:
        """What was called since the last time that anybody asked for all of it."""
        path = self.log / "calls"
        return [line for line in path.read_text().splitlines() if line.startswith(beginning)] if path.exists() else []

    @property
    def passed_on(self) -> list[str]:
        """What pytest was given."""
        return (self.log / "pytest").read_text().split("\0")[:-1]

    @property
    def installs(self) -> int:
        return len(self.calls("venv -m pip install"))


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


# --- setting up -------------------------------------------------------------------------------------------------------


def test_the_first_run_sets_up_and_the_second_does_not(checkout: Checkout) -> None:
    first = checkout.run("ci/drill")
    assert first.returncode == 0, first.stderr
    assert checkout.calls("venv -m pip") == [
        f"venv -m pip install --quiet --disable-pip-version-check --editable {checkout.root}[demo]"
    ]
    assert "making a virtual environment" in first.stderr
    (checkout.bin / "python3").unlink()
    second = checkout.run("ci/drill")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert checkout.installs == 1


def test_a_changed_dependency_is_installed(checkout: Checkout) -> None:
    checkout.run("ci/drill")
    project = checkout.root / "pyproject.toml"
    project.write_text(project.read_text() + "\n# another dependency\n")
    assert checkout.run("ci/drill").returncode == 0
    assert checkout.installs == 2
    checkout.run("ci/drill")
    assert checkout.installs == 2


def test_what_the_tests_need_is_enough_for_drills(checkout: Checkout) -> None:
    assert checkout.run("ci/test", "tests/unit").returncode == 0
    assert checkout.calls("venv -m pip")[0].endswith("[demo,dev]")
    checkout.run("ci/drill")
    assert checkout.installs == 1


def test_what_drills_need_is_not_enough_for_the_tests(checkout: Checkout) -> None:
    checkout.run("ci/drill")
    checkout.run("ci/test", "tests/unit")
    assert checkout.installs == 2


def test_a_broken_environment_is_made_again(checkout: Checkout) -> None:
    checkout.run("ci/drill")
    python = checkout.venv / "bin" / "python"
    python.unlink()
    python.symlink_to("/usr/lib/python-that-was-removed")
    (checkout.venv / "leftover").touch()
    assert checkout.run("ci/drill").returncode == 0
    assert not (checkout.venv / "leftover").exists()
    assert checkout.installs == 2


def test_a_directory_that_is_no_environment_is_left_alone(checkout: Checkout, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    done = checkout.run("ci/drill", RESTORE_DRILL_VENV=str(precious))
    assert done.returncode == 69
    assert "is not a virtual environment" in done.stderr
    assert (precious / "file").read_text() == "mine"
    (precious / "file").unlink()
    assert checkout.run("ci/drill", RESTORE_DRILL_VENV=str(precious)).returncode == 0


def test_the_environment_may_lie_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "some where" / "venv"
    assert checkout.run("ci/drill", RESTORE_DRILL_VENV=str(elsewhere)).returncode == 0
    assert (elsewhere / "bin" / "python").is_file()
    assert not checkout.venv.exists()


def test_without_flock_it_works_all_the_same(checkout: Checkout) -> None:
    (checkout.bin / "flock").unlink()
    done = checkout.run("ci/drill")
    assert (done.returncode, checkout.installs) == (0, 1)
    assert not list(checkout.root.glob("*.lock")) + list(checkout.root.glob(".*.lock"))


def test_two_at_once_set_up_once(checkout: Checkout) -> None:
    environment = {"PATH": str(checkout.bin), "LOG": str(checkout.log)}
    running = [
        subprocess.Popen([checkout.root / "ci/drill"], env=environment, stderr=subprocess.PIPE) for _ in range(3)
    ]
    assert [process.communicate(timeout=300) and process.returncode for process in running] == [0, 0, 0]
    assert checkout.installs == 1
    assert len(checkout.calls("python3 -m venv")) == 1


def test_the_settings_of_pip_are_the_users(checkout: Checkout) -> None:
    mine = {"PIP_INDEX_URL": "https://index.example/simple", "PIP_USER": "1", "PIP_TARGET": "/elsewhere"}
    assert checkout.run("ci/drill", **mine).returncode == 0
    assert (checkout.log / "pip").read_text() == "index=https://index.example/simple user=0 target=\n"


def test_a_failed_installation_is_seen_and_tried_again(checkout: Checkout) -> None:
    failed = checkout.run("ci/drill", PIP_FAILS="yes")
    assert failed.returncode == 69
    assert "No matching distribution found for moto" in failed.stderr
    assert "remedy: " in failed.stderr
    assert not (checkout.log / "pytest").exists()
    assert checkout.run("ci/drill").returncode == 0
    assert checkout.installs == 2


# --- what the machine lacks -------------------------------------------------------------------------------------------


def test_no_python(checkout: Checkout) -> None:
    done = checkout.run("ci/drill", OLD_PYTHON="1")
    assert done.returncode == 69
    assert "no Python 3.11 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_a_newer_python_beside_an_old_one_is_found(checkout: Checkout) -> None:
    checkout.add("python3", "#!/bin/bash\nexit 1\n")
    checkout.add("python3.12", PYTHON3)
    done = checkout.run("ci/drill")
    assert done.returncode == 0
    assert f"with {checkout.bin}/python3.12" in done.stderr


def _debian_without_venv(checkout: Checkout) -> None:
    """Debian's python3 without python3-venv, on a machine whose package lists are empty."""
    (checkout.log / "no-ensurepip").touch()
    checkout.add("apt-get", APT_GET)


def test_root_on_debian_gets_python3_venv(checkout: Checkout) -> None:
    _debian_without_venv(checkout)
    done = checkout.run("ci/drill", STUB_UID="0")
    assert done.returncode == 0, done.stderr
    assert "installing python3-venv" in done.stderr
    assert [call.split()[-1] for call in checkout.calls("apt-get")] == ["python3-venv", "update", "python3-venv"]
    assert checkout.installs == 1


def test_root_on_debian_without_a_mirror(checkout: Checkout) -> None:
    _debian_without_venv(checkout)
    (checkout.log / "apt-fails").touch()
    done = checkout.run("ci/drill", STUB_UID="0")
    assert done.returncode == 69
    assert "Unable to locate package" in done.stderr
    assert not checkout.venv.exists()


def test_others_on_debian_are_told_the_command(checkout: Checkout) -> None:
    _debian_without_venv(checkout)
    done = checkout.run("ci/drill")
    assert done.returncode == 69
    assert "remedy: sudo apt-get install python3-venv" in done.stderr
    assert checkout.calls("apt-get") == []
    assert not checkout.venv.exists()


def test_missing_programs_are_named_and_the_tests_run(checkout: Checkout) -> None:
    done = checkout.run("ci/test", "tests/unit")
    assert done.returncode == 0
    assert "cannot run: rsync sqlite3 age" in done.stderr
    assert "remedy: sudo apt-get install rsync sqlite3 age" in done.stderr
    assert checkout.passed_on == ["tests/unit"]


def test_missing_programs_are_installed_by_root(checkout: Checkout) -> None:
    checkout.add("apt-get", APT_GET)
    (checkout.log / "lists").touch()
    done = checkout.run("ci/test", "tests/unit", STUB_UID="0")
    assert "cannot run" not in done.stderr
    (installation,) = checkout.calls("apt-get")
    assert {"rsync", "sqlite3", "age", "shellcheck"} <= set(installation.split())


def _machine_with_docker(checkout: Checkout) -> None:
    checkout.add("dockerd", DOCKERD)
    for name in ENGINE:
        (checkout.bin / name).symlink_to(shutil.which(name) or "/missing")


def _dockerd(checkout: Checkout) -> str:
    (call,) = checkout.calls("dockerd ")
    return call


@pytest.mark.parametrize("arguments", [["tests/unit"], []])
@pytest.mark.parametrize("status", ["0", "3"])
def test_root_gets_a_container_engine_for_as_long_as_the_tests_run(
    checkout: Checkout, arguments: list[str], status: str
) -> None:
    _machine_with_docker(checkout)
    done = checkout.run(
        "ci/test", *arguments, STUB_UID="0", NO_ENGINE="1", PYTEST_STATUS=status, COVERAGE_STATUS=status
    )
    assert done.returncode == int(status), done.stderr
    assert "starting dockerd" in done.stderr
    assert (checkout.log / "tested-with-engine").exists()
    assert not (checkout.log / "engine").exists()
    pid_file = Path(_dockerd(checkout).split()[-1])
    assert pid_file.name == "dockerd.pid"
    assert not pid_file.parent.exists()


def test_an_engine_ends_with_a_killed_script(checkout: Checkout) -> None:
    _machine_with_docker(checkout)
    environment = {"PATH": str(checkout.bin), "LOG": str(checkout.log), "STUB_UID": "0", "NO_ENGINE": "1"}
    os.mkfifo(checkout.log / "hold")
    process = subprocess.Popen([checkout.root / "ci/test", "tests/unit"], env=environment, stderr=subprocess.DEVNULL)
    with (checkout.log / "hold").open("w"):  # opens when pytest reads from it
        assert (checkout.log / "engine").exists()
        process.kill()
        process.wait(300)
        until = time.monotonic() + 300
        while (checkout.log / "engine").exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert not (checkout.log / "engine").exists()


def test_an_engine_that_is_there_is_used(checkout: Checkout) -> None:
    _machine_with_docker(checkout)
    done = checkout.run("ci/test", "tests/unit", STUB_UID="0")
    assert (done.returncode, checkout.calls("dockerd ")) == (0, [])
    assert "container engine" not in done.stderr


@pytest.mark.parametrize("variables", [{"STUB_UID": "1000"}, {"STUB_UID": "0", "DOCKER_HOST": "tcp://127.0.0.1:1"}])
def test_without_an_engine_the_remedy_is_named_and_the_tests_run(checkout: Checkout, variables: dict[str, str]) -> None:
    _machine_with_docker(checkout)
    done = checkout.run("ci/test", "tests/unit", NO_ENGINE="1", **variables)
    assert (done.returncode, checkout.calls("dockerd ")) == (0, [])
    assert "no container engine answers" in done.stderr
    assert "remedy: start Docker Engine as root, or set DOCKER_HOST" in done.stderr
    assert checkout.passed_on == ["tests/unit"]


def test_an_engine_that_does_not_start_says_why(checkout: Checkout) -> None:
    _machine_with_docker(checkout)
    done = checkout.run("ci/test", "tests/unit", STUB_UID="0", NO_ENGINE="1", DOCKERD_FAILS="1")
    assert done.returncode == 0
    assert "dockerd does not answer" in done.stderr
    assert "failed to mount overlay: operation not permitted" in done.stderr
    assert checkout.passed_on == ["tests/unit"]


def test_images_are_built_only_for_all_of_the_tests(checkout: Checkout) -> None:
    checkout.run("ci/test", "tests/unit")
    assert not checkout.calls("venv fixtures/images")
    checkout.run("ci/test")
    assert checkout.calls("venv fixtures/images") == ["venv fixtures/images build"]


# --- arguments --------------------------------------------------------------------------------------------------------

ONE = "drills/test_restore.py::test_snapshot_restores[critical/orders-db/nas]"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], ["drills/", "-k", "critical"]),
        (["-n", "2"], ["drills/", "-k", "critical", "-n", "2"]),
        (["--co"], ["drills/", "-k", "critical", "--co"]),
        (["-k", "important"], ["drills/", "-k", "important"]),
        (["-k", "important", "-n", "2"], ["drills/", "-k", "important", "-n", "2"]),
        (["-k", ""], ["drills/", "-k", ""]),
        (["-kimportant"], ["drills/", "-kimportant"]),
        (["-xk", "important or archival"], ["drills/", "-xk", "important or archival"]),
        (["-m", "critical"], ["drills/", "-m", "critical"]),
        (["-m", "critical", "--maxfail", "1"], ["drills/", "-m", "critical", "--maxfail", "1"]),
        (["--maxfail=1"], ["drills/", "-k", "critical", "--maxfail=1"]),
        (["--lf"], ["drills/", "--lf"]),
        ([ONE], [ONE]),
        ([ONE, "-v"], [ONE, "-v"]),
        (["-v", ONE], ["-v", ONE]),
        (["--deselect", ONE], ["drills/", "-k", "critical", "--deselect", ONE]),
        ([f"--deselect={ONE}"], ["drills/", "-k", "critical", f"--deselect={ONE}"]),
        (["drills/test_policy.py"], ["-k", "critical", "drills/test_policy.py"]),
        (["drills/test_policy.py", "-k", "321"], ["drills/test_policy.py", "-k", "321"]),
        (["--reports-dir", "drills"], ["drills/", "-k", "critical", "--reports-dir", "drills"]),
        (["-k", "drills"], ["drills/", "-k", "drills"]),
        (["drills/typo.py"], ["drills/", "-k", "critical", "drills/typo.py"]),
        (["--snapshot", "20261120T020000Z"], ["drills/", "-k", "critical", "--snapshot", "20261120T020000Z"]),
    ],
    ids=" ".join,
)
def test_arguments_of_drill(checkout: Checkout, arguments: list[str], given: list[str]) -> None:
    assert checkout.run("ci/drill", *arguments).returncode == 0
    assert checkout.passed_on == given


def test_arguments_of_test(checkout: Checkout) -> None:
    assert checkout.run("ci/test", "tests/e2e", "-k", "two words").returncode == 0
    assert checkout.passed_on == ["tests/e2e", "-k", "two words"]


def test_everything_is_tested_without_arguments(checkout: Checkout) -> None:
    assert checkout.run("ci/test").returncode == 0
    steps = [call.removeprefix("venv -m ") for call in checkout.calls("venv -m") if "pip" not in call]
    assert [step.split()[0] for step in steps] == ["ruff", "ruff", "mypy", "pytest"]
    assert checkout.passed_on[0] == "tests"


def test_everything_can_be_measured(checkout: Checkout) -> None:
    assert checkout.run("ci/coverage").returncode == 0
    steps = [call.removeprefix("venv -m ") for call in checkout.calls("venv -m") if "pip" not in call]
    assert [step.split()[0] for step in steps] == ["ruff", "ruff", "mypy", *["coverage"] * 4]
    assert any(step.startswith("coverage run -m pytest tests ") for step in steps)
    assert checkout.run("ci/coverage", COVERAGE_STATUS="2").returncode == 2


def test_the_first_bad_step_ends_the_tests(checkout: Checkout) -> None:
    assert checkout.run("ci/test", RUFF_STATUS="3").returncode == 3
    assert not checkout.calls("venv -m mypy")


@pytest.mark.parametrize("status", ["0", "1", "5", "75", "130"])
@pytest.mark.parametrize("script", ["ci/drill", "ci/test"])
def test_the_exit_status_is_that_of_pytest(checkout: Checkout, script: str, status: str) -> None:
    assert checkout.run(script, "drills/test_policy.py", PYTEST_STATUS=status).returncode == int(status)


@pytest.mark.parametrize("how", ["absolute", "relative", "linked", "CDPATH"])
def test_it_may_be_called_from_anywhere(checkout: Checkout, tmp_path: Path, how: str) -> None:
    elsewhere = tmp_path / "else where"
    (elsewhere / "ci").mkdir(parents=True)
    (elsewhere / "drill").symlink_to(checkout.root / "ci" / "drill")
    called, cwd, variables = {
        "absolute": (str(checkout.root / "ci/drill"), elsewhere, {}),
        "relative": ("ci/drill", checkout.root, {}),
        "linked": (str(elsewhere / "drill"), elsewhere, {}),
        "CDPATH": ("ci/drill", checkout.root, {"CDPATH": str(elsewhere)}),
    }[how]
    mapping: Mapping[str, str] = variables
    environment = {"PATH": str(checkout.bin), "LOG": str(checkout.log), **mapping}
    done = subprocess.run([called], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (checkout.log / "cwd").read_text() == f"{checkout.root}\n"
    assert f"--editable {checkout.root}[demo]" in checkout.calls("venv -m pip")[0]


def test_a_landing_runs_the_tests_and_then_the_drills(checkout: Checkout) -> None:
    assert checkout.run(".ci/run").returncode == 0
    assert checkout.passed_on == ["drills/", "-k", "critical"]
    assert [call.split()[3] for call in checkout.calls("venv -m pytest")] == ["tests", "drills/"]
    assert checkout.run(".ci/run", RUFF_STATUS="1").returncode == 1


# --- the scripts themselves -------------------------------------------------------------------------------------------


def test_shellcheck_finds_nothing(require_program: Callable[[str], str], tmp_path: Path) -> None:
    program = require_program("shellcheck")
    command = [program, "-x", *SCRIPTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    faulty = tmp_path / "faulty"
    faulty.write_text("#!/bin/sh\nrm $1\n")
    assert subprocess.run([program, faulty], capture_output=True, timeout=300, check=False).returncode == 1


def test_scripts_can_be_executed() -> None:
    called = [script for script in SCRIPTS if os.access(ROOT / script, os.X_OK)]
    assert called == ["ci/drill", "ci/test", "ci/coverage", ".ci/run"]


@pytest.mark.parametrize(
    ("arguments", "least", "only"),
    [
        (["--co", "-q"], 60, "critical/"),
        (["--co", "-q", ONE], 1, "critical/orders-db/nas"),
    ],
    ids=["default", "id"],
)
def test_selections_of_the_demo(tmp_path: Path, arguments: list[str], least: int, only: str) -> None:
    """With the real pytest: cases are found, and only those that were asked for."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    interpreter = f'#!/bin/bash\n[ "$1 $2" = "-m pip" ] || exec "{sys.executable}" "$@"\n'
    _executable(venv / "bin" / "python", interpreter)
    environment = {**os.environ, "RESTORE_DRILL_VENV": str(venv), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [ROOT / "ci/drill", *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    ids = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(ids) >= least
    assert [line for line in ids if f"[{only}" not in line] == []
