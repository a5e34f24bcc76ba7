"""However a run ends, its containers end with it; what could not, the next one removes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sandboxes.conftest import LONG, Make

from restore_drill.cli import main
from restore_drill.sandboxes.base import Need
from restore_drill.sandboxes.containers import labels, reaping, volumes
from restore_drill.sandboxes.containers.client import connect
from restore_drill.sandboxes.reaper import reap
from restore_drill.sandboxes.workspace import run_directory, safe_root
from restore_drill.testing.programs import eventually

_RUN = """
import json, os, signal, sys
from pathlib import Path
from restore_drill.sandboxes.base import Limits, Need
from restore_drill.sandboxes.container import ContainerSandbox
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
sandbox = ContainerSandbox(Path(sys.argv[1]), run="ended", name="t.c", limits=Limits())
sandbox.__enter__()
sandbox.equip(Need("python", "3.11", (), sys.argv[2]))
if sys.argv[3] == "fork":
    child = os.fork()
    if child == 0:
        os.execvp("sleep", ["sleep", "3600"]) if os.fork() else os._exit(0)
running = sandbox.begin(["sleep", "3600"], deadline=3600)
print(json.dumps(str(sandbox.work)), flush=True)
if sys.argv[3] == "raise":
    raise SystemError("nobody foresaw it")
running.result()
"""


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("run", signal.SIGTERM),
        ("run", signal.SIGINT),
        ("run", signal.SIGKILL),
        ("raise", None),
        ("fork", signal.SIGKILL),
    ],
)
def test_container_ends_with_its_process(
    need: Need, ours: Callable[[Path], list[str]], tmp_path: Path, how: str, number: int | None
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(tmp_path), need.image, how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert run.stdout
    work = Path(json.loads(run.stdout.readline()))
    try:
        if number is not None:
            assert len(ours(tmp_path)) == 1
            run.send_signal(number)
        run.wait(LONG)
        eventually(lambda: ours(tmp_path) == [])
        assert work.exists() is (number == signal.SIGKILL)
        reap(tmp_path)
        assert not work.exists()
    finally:
        os.killpg(run.pid, signal.SIGKILL) if how == "fork" else run.kill()
        run.communicate()


def test_what_was_made_and_not_started_is_reaped(
    need: Need, ours: Callable[[Path], list[str]], require_engine: Any, tmp_path: Path
) -> None:
    engine = connect()
    root = safe_root(tmp_path)
    left = root / "dead-1-aaaa"
    left.mkdir()
    reaping.note(left, engine.host)
    alive = run_directory(tmp_path, "alive").path
    made = {}
    for directory in (left, alive):
        marks = labels.labels(directory, "run", "t.c")
        container = require_engine.api.create_container(need.image, ["true"], labels=marks)["Id"]
        network = require_engine.api.create_network(f"con-{directory.name}", internal=True, labels=marks)["Id"]
        made[directory] = (container, volumes.create(engine, marks), network)
    try:
        removed = [str(each) for each in reap(tmp_path)]
        assert removed == [*map(_words, ("container", "volume", "network"), made[left]), str(left)]
        assert ours(tmp_path) == [made[alive][0]]
    finally:
        for directory in made:
            for kind, name in reaping._find(engine, directory):
                assert reaping._remove(engine, kind, name)


def _words(kind: str, name: str) -> str:
    return f"{kind} {name[:40]}"


def test_clean_finds_what_nothing_points_to(
    capsys: pytest.CaptureFixture[str],
    need: Need,
    ours: Callable[[Path], list[str]],
    require_engine: Any,
    make: Make,
    tmp_path: Path,
) -> None:
    gone = safe_root(tmp_path) / "gone-1-aaaa"
    container = require_engine.api.create_container(need.image, ["true"], labels=labels.labels(gone, "run", "t.c"))
    with make() as alive:
        alive.equip(need)
        assert len(ours(tmp_path)) == 2
        assert main(["clean", "--work-dir", str(tmp_path)]) == 0
        assert capsys.readouterr().out == f"removed container {container['Id'][:40]}\n1 leftover removed\n"
        assert alive.exec(["true"], deadline=LONG).returncode == 0


def test_engine_that_does_not_answer_leaves_the_directory_to_the_next_time(tmp_path: Path) -> None:
    left = safe_root(tmp_path) / "dead-1-aaaa"
    left.mkdir()
    reaping.note(left, f"unix://{tmp_path}/no.sock")
    assert reap(tmp_path) == []
    assert left.is_dir()


def test_other_machines_containers_are_not_ours(
    need: Need, ours: Callable[[Path], list[str]], require_engine: Any, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    left = [safe_root(tmp_path / name) / "dead-1-aaaa" for name in ("a", "b")]
    for directory in left:
        directory.mkdir()
        reaping.note(directory, connect().host)
    container = require_engine.api.create_container(need.image, ["true"], labels=labels.labels(left[0], "run", "t.c"))
    assert [str(each) for each in reap(tmp_path / "b")] == [str(left[1])]
    assert ours(tmp_path / "a") == [container["Id"]]
    assert len(reap(tmp_path / "a")) == 2
    assert ours(tmp_path / "a") == []
