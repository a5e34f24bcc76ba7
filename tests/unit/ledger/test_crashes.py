"""Writers that are killed, and writers at once: the ledger verifies, and what was said to be finished is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support import ledger_killer
from tests.support.ledgers import filled, small, verified

import restore_drill
from restore_drill.ledger import directory
from restore_drill.ledger.directory import DirectoryLedger

SEED = int.from_bytes(os.urandom(4))


def killed(root: Path, writers: int, kills: int) -> list[str]:
    """What killed writers had said was finished."""
    path = os.pathsep.join([str(Path(__file__).parents[3]), str(Path(restore_drill.__file__).parents[1])])
    command = [sys.executable, ledger_killer.__file__, str(root), str(writers), str(kills), str(SEED)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(("writers", "kills"), [(1, 70), (2, 60), (4, 70)])
def test_no_kill_breaks_the_ledger_or_loses_what_was_finished(tmp_path: Path, writers: int, kills: int) -> None:
    finished = killed(tmp_path, writers, kills)
    ledger = DirectoryLedger(tmp_path)
    found = verified(ledger)
    assert found.problems == [], f"seed {SEED}"
    heads = [str(entry.head) for entry in ledger.entries()]
    assert set(finished) <= set(heads), f"seed {SEED}"
    assert len(heads) - len(finished) <= kills  # of each writer, at most the entry that it did not come to tell of
    assert finished
    after = ledger.append("run", small("after"))
    again = verified(ledger, head=after.head)
    assert (again.problems, again.entries) == ([], len(heads) + 1)


class Dies:
    """``os``, of which one call is the process's last; a write is cut in the middle.

    Args:
        last: How many calls that change something are made before.
    """

    def __init__(self, last: int) -> None:
        self._left = last

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _step(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def write(self, descriptor: int, data: Any) -> int:
        if self._left == 0:
            os.write(descriptor, bytes(data)[: len(data) // 2])
        self._step()
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._step()
        os.fsync(descriptor)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._step()
        os.ftruncate(descriptor, size)


def dies_after(root: Path, steps: int) -> bool:
    """Whether an append came to an end that may change something so often only."""
    pid = os.fork()
    if pid == 0:
        try:
            directory.os = Dies(steps)  # type: ignore[attr-defined,assignment]
            real = directory.write_whole

            def write_whole(*arguments: Any) -> None:
                directory.os._step()  # type: ignore[attr-defined]
                real(*arguments)

            directory.write_whole = write_whole  # type: ignore[attr-defined]
            DirectoryLedger(root).append("run", small(f"dying-{steps}"))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "after a torn line"])
def test_wherever_an_append_dies_the_next_one_goes_on(tmp_path: Path, torn: bool) -> None:
    steps, ended = 0, False
    while not ended:
        root = tmp_path / str(steps)
        ledger = filled(root, 2)
        if torn:
            with (root / "ledger" / "entries.jsonl").open("ab") as file:
                file.write(b'{"payloadType":')
        ended = dies_after(root, steps)
        found = verified(ledger)
        assert found.problems == []
        assert found.entries in (2, 3) and (found.entries == 3 or not ended)
        after = ledger.append("run", small("after"))
        assert after.sequence == found.entries + 1
        found = verified(ledger)
        assert (found.problems, found.entries) == ([], after.sequence)
        steps += 1
    assert steps > (6 if torn else 4)
