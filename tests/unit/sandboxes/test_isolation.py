"""What the directory sandbox promises beyond the contract, as far as its own facts say that it is in force."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.directory import DirectorySandbox

TRIALS = "restore_drill.sandboxes.trials"
LONG = 60.0


def test_network_is_out_of_reach(sandbox: DirectorySandbox) -> None:
    facts = sandbox.facts()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        answer = sandbox.call(f"{TRIALS}:try_to_connect", {"port": port}, deadline=LONG)
    closed_to_tcp = facts["landlock"] >= 4
    assert answer == ("ENETUNREACH" if facts["network"] == "none" else "EACCES" if closed_to_tcp else "")


def test_nothing_is_written_outside(sandbox: DirectorySandbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = sandbox.work / "inside"
    assert sandbox.call(f"{TRIALS}:try_to_write", {"path": str(inside)}, deadline=LONG) == ""
    answer = sandbox.call(f"{TRIALS}:try_to_write", {"path": str(outside)}, deadline=LONG)
    held = sandbox.facts()["writes"] == "sandbox directory"
    assert answer == ("EACCES" if held else "")
    assert outside.exists() is not held
    assert sandbox.exec(["sh", "-c", "echo x > /dev/null"], deadline=LONG).returncode == 0


def test_files_move_between_directories(sandbox: DirectorySandbox) -> None:
    script = "mkdir a b && echo x > a/f && mv a/f b/f && ln b/f a/g && : > b/f && rm -r a b"
    assert sandbox.exec(["sh", "-c", script], deadline=LONG).stderr == b""


def test_environment_of_the_host_is_out_of_reach(sandbox: DirectorySandbox) -> None:
    path = f"/proc/{os.getpid()}/environ"
    assert Path(path).read_bytes() != b""
    assert sandbox.call(f"{TRIALS}:try_to_read", {"path": path}, deadline=LONG) == "EACCES"


def test_host_cannot_be_signalled(sandbox: DirectorySandbox) -> None:
    own = sandbox.call(f"{TRIALS}:process", {}, deadline=LONG)
    assert sandbox.call(f"{TRIALS}:try_to_signal", {"process": own}, deadline=LONG) == ""
    # Its number may be somebody's inside, but not the host's.
    inside = sandbox.facts()["processes"] == "own"
    answer = sandbox.call(f"{TRIALS}:try_to_signal", {"process": os.getpid()}, deadline=LONG)
    assert answer == ("ESRCH" if inside else "EPERM")


def test_powers_are_those_of_the_facts(sandbox: DirectorySandbox) -> None:
    status = sandbox.exec(["cat", "/proc/self/status"], deadline=LONG).stdout.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    numbers = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "SETFCAP": 31}
    kept = sum(1 << numbers[name] for name in sandbox.facts()["capabilities"])
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == kept
    assert fields["NoNewPrivs"] == "1"


def test_temporary_files_of_programs_go_with_the_sandbox(sandbox: DirectorySandbox) -> None:
    made = sandbox.exec(["mktemp"], deadline=LONG).stdout.decode().strip()
    assert Path(made).exists()
    assert sandbox.work not in Path(made).parents
    sandbox.dispose()
    assert not Path(made).exists()


def test_process_that_speaks_another_language_is_ended(sandbox: DirectorySandbox) -> None:
    with pytest.raises(CouldNotVerify, match="answered with what is no answer"):
        sandbox.call(f"{TRIALS}:babble", {}, deadline=LONG)
    assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1


def test_socket_of_a_server_fits_its_name(sandbox: DirectorySandbox) -> None:
    # sun_path has room for 108 bytes; what the base, the run's id and the names take must leave some.
    prefix = len(os.fsencode(sandbox.work)) - len(os.fsencode(sandbox.work.parents[3]))
    assert prefix < 80


def test_sandbox_is_used_between_entering_and_disposal(sandbox: DirectorySandbox) -> None:
    sandbox.dispose()
    with pytest.raises(Exception, match="not in use"):
        sandbox.call(f"{TRIALS}:echo", {}, deadline=LONG)
    with sandbox:
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1
