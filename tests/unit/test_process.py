"""Programs: a deadline that holds, output that is read, nothing left running."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from restore_drill import process
from restore_drill.errors import DeadlineExceeded
from restore_drill.process import ProgramMissing, find, run

ENOUGH = 60.0


def python(code: str, *, deadline: float = ENOUGH, stdin: bytes = b"", **more: object) -> process.Completed:
    return run([sys.executable, "-c", code], deadline=deadline, stdin=stdin, **more)  # type: ignore[arg-type]


def test_a_program_answers_on_both_streams_and_with_a_status() -> None:
    done = python("import sys; sys.stdout.write('out'); sys.stderr.write('err'); sys.exit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out", b"err")


def test_a_program_that_a_signal_ended_has_a_negative_status() -> None:
    assert python("import os; os.kill(os.getpid(), 15)").returncode == -signal.SIGTERM


def test_the_environment_is_empty_unless_one_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    show = "import os; print(sorted(os.environ), os.getcwd())"
    bare = python(show, cwd=tmp_path).stdout.decode()
    assert "AWS" not in bare
    assert str(tmp_path) in bare
    assert "ONLY_THIS" in python(show, environment={"ONLY_THIS": "1"}).stdout.decode()


@pytest.mark.parametrize("size", [1, 4096, 1 << 20, 9 << 20])
def test_input_and_output_of_any_size_flow_both_ways(size: int) -> None:
    data = os.urandom(size)
    done = run(["cat"], deadline=ENOUGH, stdin=data)
    assert done.stdout == data[: 4 << 20]
    assert done.returncode == 0


def test_a_program_that_does_not_read_its_input_is_no_problem() -> None:
    assert python("print('done')", stdin=b"x" * (1 << 20)).stdout == b"done\n"


def test_endless_output_is_cut_and_does_not_outlive_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match="did not end in time"):
        run(["yes"], deadline=0.5)
    done = python("import sys; sys.stdout.buffer.write(b'x' * (5 << 20)); sys.stderr.buffer.write(b'y' * (6 << 20))")
    assert (len(done.stdout), len(done.stderr)) == (4 << 20, 4 << 20)


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(1000)",
        "import os, time; os.close(1); os.close(2); time.sleep(1000)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)",
    ],
    ids=["silent", "closed", "stubborn"],
)
def test_a_program_that_hangs_is_killed_at_the_deadline(code: str) -> None:
    with pytest.raises(DeadlineExceeded):
        python(code, deadline=0.3)


def test_a_deadline_ends_its_children_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
import subprocess, time
child = subprocess.Popen(["sleep", "1000"])
open({str(note)!r}, "w").write(str(child.pid))
time.sleep(1000)
"""
    with pytest.raises(DeadlineExceeded):
        python(code, deadline=5)
    assert _is_gone(int(note.read_text()))


def test_nothing_stays_behind_when_a_program_ended_well() -> None:
    done = run(
        ["sh", "-c", "sleep 1000 >/dev/null 2>&1 </dev/null & echo $!"],
        deadline=ENOUGH,
    )
    assert done.returncode == 0
    assert _is_gone(int(done.stdout))


def _is_gone(pid: int) -> bool:
    """Whether a process that was killed ends."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 30)[0])
    finally:
        os.close(descriptor)


def test_a_missing_program_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing, match="No such file") as raised:
        run(["/nonexistent/gpg"], deadline=1)
    assert raised.value.remedy == "Install gpg."
    plain = tmp_path / "plain"
    plain.write_text("text")
    with pytest.raises(ProgramMissing, match="Permission denied"):
        run([str(plain)], deadline=1)
    plain.chmod(0o700)
    with pytest.raises(ProgramMissing, match="Exec format error"):
        run([str(plain)], deadline=1)


def test_an_interrupt_leaves_nothing_running(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
import os, signal, sys, threading, time
from pathlib import Path
from restore_drill.process import run
note = Path({str(note)!r})
def interrupt():
    while not note.exists() or not note.read_text().endswith("."):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    run(["sh", "-c", "printf '%s.' $$ > {note}; sleep 1000"], deadline=100)
except KeyboardInterrupt:
    sys.exit(7)
"""
    source = Path(process.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, timeout=60, check=False)
    assert done.returncode == 7
    assert _is_gone(int(note.read_text().rstrip(".")))


def test_programs_are_found_in_system_directories_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find("no-such-program-at-all") is None
    assert find("ldconfig") in ("/usr/sbin/ldconfig", "/sbin/ldconfig")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find("sh") in ("/usr/bin/sh", "/bin/sh")
