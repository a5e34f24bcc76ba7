"""What a container may not use up: the run ends with a verdict that says how to mend it, and others go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sandboxes.conftest import LONG, MEBIBYTE, Make

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.sandboxes.base import Need

_FILL = "import os\nwhile True: os.write(1, bytes(1 << 20))"


@pytest.mark.parametrize("place", ["/drill/data", "/drill/sockets"])
def test_filling_loop_is_ended_by_the_budget(make: Make, need: Need, place: str) -> None:
    with make(disk=64 * MEBIBYTE) as sandbox, make() as other:
        other.equip(need)
        sandbox.equip(need)
        with pytest.raises(CouldNotVerify, match=r"more than the 67\.1 MB that its container may write") as caught:
            sandbox.exec(["sh", "-c", f'exec python3 -c "$0" >{place}/full', _FILL], deadline=LONG)
        assert caught.value.remedy.startswith("Raise disk:")
        with pytest.raises(CouldNotVerify, match=r"more than the 67\.1 MB"):
            sandbox.exec(["true"], deadline=LONG)
        assert other.exec(["echo", "unharmed"], deadline=LONG).stdout == b"unharmed\n"
        assert sandbox.dispose().left == ()


@pytest.mark.parametrize("place", ["/drill/data", "/tmp"])
def test_sparse_file_of_a_hundred_gigabytes_ends_it(make: Make, need: Need, place: str) -> None:
    with make(disk=64 * MEBIBYTE) as sandbox:
        sandbox.equip(need)
        assert sandbox.exec(["truncate", "-s", "100G", f"{place}/sparse"], deadline=LONG).returncode == 0
        with pytest.raises(CouldNotVerify, match="107 GB, more than"):
            sandbox.exec(["sleep", "60"], deadline=LONG)


def test_what_stays_within_the_budget_is_left_alone(make: Make, need: Need) -> None:
    with make(disk=64 * MEBIBYTE) as sandbox:
        sandbox.equip(need)
        assert sandbox.exec(["truncate", "-s", "32M", "file"], deadline=LONG).returncode == 0
        assert sandbox.exec(["sleep", "1.5"], deadline=LONG).returncode == 0


def test_memory_that_runs_out_is_named(make: Make, need: Need) -> None:
    with make(memory=64 * MEBIBYTE) as sandbox, make() as other:
        other.equip(need)
        sandbox.equip(need)
        assert sandbox.exec(["python3", "-c", "print(len(bytearray(16 << 20)))"], deadline=LONG).returncode == 0
        with pytest.raises(CouldNotVerify, match=r"memory ran out in the container, which may use 67\.1 MB"):
            sandbox.exec(["python3", "-c", "x = bytearray(1 << 30)"], deadline=LONG)
        assert other.exec(["true"], deadline=LONG).returncode == 0


def test_fork_bomb_meets_its_bound_and_the_deadline(make: Make, need: Need, require_engine: Any) -> None:
    with make(processes=64) as sandbox, make() as other:
        other.equip(need)
        sandbox.equip(need)
        bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="python3 did not end in time"):
            sandbox.exec(["python3", "-c", bomb], deadline=2.0)
        with pytest.raises(CouldNotVerify, match="ended because the program python3 did not end in time"):
            sandbox.exec(["true"], deadline=LONG)
        assert other.exec(["true"], deadline=LONG).returncode == 0
        assert sandbox.dispose().left == ()
        assert time.monotonic() - began < LONG


def test_end_from_outside_is_told_from_a_fault_of_the_backup(
    make: Make, need: Need, ours: Callable[[Path], list[str]], require_engine: Any, tmp_path: Path
) -> None:
    with make() as sandbox:
        sandbox.equip(need)
        running = sandbox.begin(["sleep", "60"], deadline=LONG)
        [container] = ours(tmp_path)
        require_engine.api.remove_container(container, force=True)
        with pytest.raises(CouldNotVerify, match="the container ended although it was in use"):
            running.result()
        disposal = sandbox.dispose()
        assert disposal.left == () and "the engine does not know it" in disposal.confirmed


def test_engines_disk_is_never_filled(make: Make, need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    with make() as sandbox:
        sandbox.equip(need)
        assert sandbox.exec(["true"], deadline=LONG).returncode == 0
        # As if it were nearly full already.
        monkeypatch.setattr("restore_drill.sandboxes.containers.watch.disk.reserve", lambda path: 1 << 60)
        with pytest.raises(CouldNotVerify, match=r"less than the .* that a drill leaves free") as caught:
            sandbox.exec(["sleep", "60"], deadline=LONG)
        assert "disk:" in caught.value.remedy
