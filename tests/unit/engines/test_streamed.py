"""Programs whose output is read while they run, and what their ends say."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from restore_drill.engines.crashes import crashed
from restore_drill.engines.streamed import EndedInError, environment, program, shortage, streamed
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, SandboxDied
from restore_drill.model import Stage
from restore_drill.process import ProgramMissing


def read(tmp_path: Path, *argv: str, seconds: float = 30) -> bytes:
    with streamed(argv, until=time.monotonic() + seconds, environment=environment(), cwd=tmp_path) as output:
        return output.read()


def test_output_of_any_length_is_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, "head", "-c", "6000000", "/dev/zero")) == 6_000_000


def test_an_end_in_an_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(EndedInError) as caught:
        read(tmp_path, "sh", "-c", "echo no >&2; exit 3")
    assert (caught.value.status, caught.value.lines) == (3, ("no",))


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        read(tmp_path, "sh", "-c", "exec >&-; exec sleep 60", seconds=0)


def test_a_missing_program_is_none_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing):
        read(tmp_path, "a-program-nobody-has")
    with pytest.raises(ProgramMissing, match="a-program-nobody-has is missing") as caught:
        program("a-program-nobody-has", "a-package")
    assert "a-package" in caught.value.remedy


def test_a_lack_of_memory_or_disk_is_no_damage() -> None:
    assert isinstance(shortage(128, "fatal: Out of memory, malloc failed", "git"), CouldNotVerify)
    assert isinstance(shortage(-signal.SIGKILL, "", "git"), CouldNotVerify)
    assert isinstance(shortage(1, "write error: No space left on device", "slapadd"), CouldNotVerify)
    assert shortage(128, "fatal: pack is corrupted", "git") is None
    assert shortage(-signal.SIGSEGV, "", "git") is None


def test_a_crash_is_the_bytes_fault_and_an_end_by_a_limit_is_not() -> None:
    died = SandboxDied("it died", signal=signal.SIGSEGV)
    failed = crashed(died, "the tables", "the reader", Stage.RESTORE)
    assert isinstance(failed, BackupFailed)
    assert failed.cause == "reading the tables crashed the reader (SIGSEGV)"
    killed = SandboxDied("it was killed", signal=signal.SIGKILL)
    assert crashed(killed, "the tables", "the reader", Stage.RESTORE) is killed
