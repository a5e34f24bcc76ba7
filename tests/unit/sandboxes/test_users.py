"""The directory sandbox without root's powers, and where the kernel or a container allows less."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.unprivileged import open_directory

import restore_drill

_NOBODY = 65534

_TOUR = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from restore_drill.errors import RestoreDrillError
from restore_drill.sandboxes.base import Limits, Need
from restore_drill.sandboxes.directory import DirectorySandbox, close_all
from restore_drill.sandboxes.reaper import reap
TRIALS = "restore_drill.sandboxes.trials:"
def attempt(function, arguments, deadline):
    try:
        return sandbox.call(TRIALS + function, arguments, deadline=deadline)
    except RestoreDrillError as problem:
        return type(problem).__name__
base = Path(sys.argv[2])
found = {}
with DirectorySandbox(base, run="run", name="a", limits=Limits(memory=1 << 28)) as sandbox:
    found["facts"] = sandbox.facts()
    for function, arguments, deadline in [
        ("echo", {"value": 1}, 60), ("crash", {}, 60), ("abort", {}, 60), ("leave", {"status": 0}, 60),
        ("hang", {}, 0.2),
        ("allocate", {"size": 1 << 29}, 60), ("leave_daemon", {"marker": sys.argv[3]}, 60),
        ("try_to_read", {"path": f"/proc/{os.getpid()}/environ"}, 60),
        ("try_to_write", {"path": str(base / "outside")}, 60),
    ]:
        found[function] = attempt(function, arguments, deadline)
    found["feed"] = sandbox.call(TRIALS + "digest", {}, deadline=60, feed=[b"x" * 1000] * 1000)["size"]
    script = "id -u; stat -c %u . ; mkdir -p a/b; echo x > a/b/c; chmod 0 a/b a"
    found["program"] = sandbox.exec(["sh", "-c", script], deadline=60).stdout.decode().split()
    found["owner"] = sandbox.work.stat().st_uid
    found["left"] = sandbox.dispose().left
with DirectorySandbox(base, run="run", name="b", limits=Limits()) as sandbox:
    dump = sandbox.work / "dump"
    dump.write_text("dump")
    dump.chmod(0)
    ground = sandbox.equip(Need("shell", programs=("sh",), user="root"))
    script = 'id -u; cat "$0"; echo; (: > "$0.more") 2>/dev/null && echo tampered; ls -A /run | wc -l; : > a && ls'
    seen = sandbox.admit(dump)
    found["programs"] = sandbox.exec(["sh", "-c", script, seen], deadline=60).stdout.decode().split()
    found["ground"] = dict(ground.facts)
    found["equipped"] = sandbox.facts()
    found["left of programs"] = [*sandbox.dispose().left, *(str(each) for each in [ground.reachable] if each.exists())]
found["left after all"] = close_all()
found["reaped"] = len(reap(base))
print(json.dumps(found))
"""


def _python_for_everybody() -> str:
    """An interpreter that another user may start, which one in root's home directory is not."""
    candidates = [sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"]
    for candidate in candidates:
        argv = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(argv, user=_NOBODY, group=_NOBODY, extra_groups=[], cwd="/", check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    raise AssertionError(f"another user can start none of {candidates}; install Debian's python3")


def _tour(marker: str) -> dict[str, Any]:
    other = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    python = _python_for_everybody() if os.geteuid() == 0 else sys.executable
    with open_directory() as shared:
        shutil.copytree(Path(restore_drill.__file__).parent, shared / "source" / "restore_drill")
        subprocess.run(["chmod", "-R", "a+rX", str(shared / "source")], check=True)
        base = shared / "base"
        base.mkdir()
        base.chmod(0o1777)
        done = subprocess.run(
            [python, "-c", _TOUR, str(shared / "source"), str(base), marker],
            env={"CANARY": "secret"}, capture_output=True, text=True, cwd="/", check=False, **other,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        root = base / f"restore-drill-{_NOBODY if other else os.geteuid()}"
        assert list(root.iterdir()) == []
        found["outside"] = (base / "outside").exists()
    return found


def test_user_without_privileges() -> None:
    found = _tour("marked-tour-of-nobody")
    facts = found["facts"]
    assert facts["user"] == found["owner"] == int(found["program"][0]) == int(found["program"][1]) != 0
    assert facts["capabilities"] == []
    assert facts["user_namespace"] is (facts["network"] == "none") is (facts["processes"] == "own")
    assert found["outside"] is (facts["writes"] != "sandbox directory")
    if facts["user_namespace"] or facts["landlock"]:
        assert found["try_to_read"] == "EACCES"
    assert {name: found[name] for name in ("echo", "crash", "abort", "leave", "hang", "allocate", "leave_daemon")} == {
        "echo": 1,
        "crash": "SandboxDied",
        "abort": "SandboxDied",
        "leave": "SandboxDied",
        "hang": "DeadlineExceeded",
        "allocate": "CouldNotVerify",
        "leave_daemon": True,
    }
    assert found["feed"] == 1_000_000
    assert (found["left"], found["left after all"], found["reaped"]) == ([], [], 0)


def test_programs_of_a_user_without_privileges() -> None:
    found = _tour("marked-programs-of-nobody")
    facts = found["equipped"]
    user, dump, *rest = found["programs"]
    assert (int(user), dump) == (facts["user"], "dump")
    assert ("tampered" in rest) is (facts["payload"] != "read-only") is (facts["landlock"] == 0)
    assert (rest[-2] == "0") is (facts["mounts"] == "own") is facts["user_namespace"]
    assert rest[-1] == "a"
    assert found["ground"]["account"] == pwd.getpwuid(facts["user"]).pw_name
    assert found["left of programs"] == []


_WITHOUT_NAMESPACES = """
import os, sys
from restore_drill.sandboxes import kernel
admin = 1 << kernel.CAPABILITIES["SYS_ADMIN"]
kernel.drop_capability_bounds(~admin)
kernel.set_capabilities(kernel.effective_capabilities() & ~admin)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_root_in_a_container_that_allows_no_namespaces(pytestconfig: pytest.Config) -> None:
    if os.geteuid() != 0:
        return  # another user needs no privilege to make one
    suite = ["test_directory.py", "test_isolation.py", "test_lifetime.py", "test_shared.py", "test_programs.py"]
    tests = [str(Path(__file__).parent / name) for name in suite]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NAMESPACES, "-q", "-p", "no:cacheprovider", *tests],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RESTORE_DRILL_EXPECT_PROCESSES": "shared"},
        capture_output=True, text=True, cwd=pytestconfig.rootpath, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
