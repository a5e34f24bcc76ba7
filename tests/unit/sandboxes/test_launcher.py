from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.sandboxes.waiting import eventually, is_gone

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes import directory, launcher
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox

TRIALS = "restore_drill.sandboxes.trials"
LONG = 60.0


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], DirectorySandbox]]:
    launcher.stop()
    yield lambda: DirectorySandbox(tmp_path, run="test", name="target.copy", limits=Limits())
    launcher.stop()


def test_prestart_is_what_the_first_sandbox_uses(make: Callable[[], DirectorySandbox]) -> None:
    launcher.prestart()
    first = launcher.current().pid
    with make() as sandbox:
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1
    assert launcher.current().pid == first


def test_stop_ends_it_and_the_next_sandbox_starts_another(make: Callable[[], DirectorySandbox]) -> None:
    first = launcher.current().pid
    launcher.stop()
    assert is_gone(first)
    with make() as sandbox:
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1
    assert launcher.current().pid != first


def test_thread_that_started_it_may_end(make: Callable[[], DirectorySandbox]) -> None:
    thread = threading.Thread(target=launcher.prestart)
    thread.start()
    thread.join()
    with make() as sandbox:
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1


def test_sandbox_survives_the_end_of_the_zygote(make: Callable[[], DirectorySandbox]) -> None:
    with make() as sandbox:
        pending = sandbox.submit(f"{TRIALS}:hang", {}, deadline=LONG)
        first = launcher.current()
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(CouldNotVerify, match="there is no sandbox process to run restore_drill"):
            pending.result()
        eventually(lambda: not first.alive)
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1
        assert sandbox.dispose().left == ()


def test_forked_copy_of_the_host_has_sandboxes_of_its_own(make: Callable[[], DirectorySandbox]) -> None:
    with make() as sandbox:
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with make() as other:
                    status = other.call(f"{TRIALS}:echo", {"value": 42}, deadline=LONG)
                directory.close_all()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
        assert sandbox.call(f"{TRIALS}:echo", {"value": 2}, deadline=LONG) == 2


def test_interpreter_that_is_not_there_is_named(
    make: Callable[[], DirectorySandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with make() as sandbox, pytest.raises(CouldNotVerify) as caught:
        sandbox.call(f"{TRIALS}:echo", {}, deadline=LONG)
    assert caught.value.looked_at == "/no/such/python"
    monkeypatch.undo()
    with make() as sandbox:
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1


def test_interpreter_that_cannot_run_it_tells_why(
    make: Callable[[], DirectorySandbox], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho what a pity >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with make() as sandbox, pytest.raises(CouldNotVerify) as caught:
        sandbox.facts()
    assert "what a pity" in caught.value.details


def test_modules_found_later_are_found_inside(
    make: Callable[[], DirectorySandbox], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launcher.prestart()
    (tmp_path / "late_probe.py").write_text("def answer(call):\n    return 'late'\n")
    with make() as sandbox, pytest.raises(CouldNotVerify, match="late_probe"):
        sandbox.call("late_probe:answer", {}, deadline=LONG)
    monkeypatch.syspath_prepend(tmp_path)
    with make() as sandbox:
        assert sandbox.call("late_probe:answer", {}, deadline=LONG) == "late"
