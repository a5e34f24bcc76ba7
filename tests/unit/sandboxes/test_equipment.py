"""What a directory sandbox's programs are: found by version, run as whom, and what they see of the machine."""

from __future__ import annotations

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.unprivileged import open_directory

from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.process import ProgramMissing
from restore_drill.sandboxes import accounts, equipment, found, launcher, workspace
from restore_drill.sandboxes.base import Disposal, Limits, Need, SandboxOptions
from restore_drill.sandboxes.directory import DirectorySandbox
from restore_drill.sandboxes.isolation import Isolation
from restore_drill.sandboxes.watching import size_of

TRIALS = "restore_drill.sandboxes.trials"
LONG = 60.0
SHELL = Need("shell", programs=("sh",), user="nobody")


def _program(directory: Path, name: str, said: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return directory


def _need(*places: Path, version: str = "15") -> Need:
    return Need(
        "toyserver", version, programs=("toyd",), places=tuple(map(str, places)), package=f"toyserver-{version}"
    )


# Finding them


def test_program_of_the_version_is_found_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fourteen = _program(tmp_path / "14" / "bin", "toyd", "toyd 14.2")
    fifteen = _program(tmp_path / "15" / "bin", "toyd", "toyd (Toy) 15.7 (Debian 15.7-0+deb12u1)")
    monkeypatch.setenv("PATH", str(fourteen), prepend=os.pathsep)
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        ground = sandbox.equip(_need(fifteen))
        assert ground.facts["programs"] == "toyserver 15.7"
        # Where programs do not see the machine's temporary files they see these nevertheless.
        assert sandbox.exec(["toyd"], deadline=LONG).stdout.startswith(b"toyd (Toy) 15.7")


def test_program_that_does_not_say_its_version_is_taken_as_it_is(tmp_path: Path) -> None:
    place = _program(tmp_path / "toy" / "bin", "toyd", "usage: 3")
    (place / "toyd").write_text("#!/bin/sh\necho 'usage: toyd 3'; exit 2\n")
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        assert sandbox.equip(_need(place)).facts["programs"] == "toyserver 15"


def test_program_that_its_account_may_not_start_is_told(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # its own files are not found at all when they cannot be started
    place = _program(tmp_path / "toy" / "bin", "toyd", "toyd 15.1")
    (place / "toyd").chmod(0o700)
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        with pytest.raises(ProgramMissing, match="toyd cannot be started: Permission denied") as caught:
            sandbox.equip(_need(place))
        assert "closed to others" in caught.value.remedy


def test_newest_is_found_where_any_version_will_do(tmp_path: Path) -> None:
    for version in ("9.6", "10", "15"):
        _program(tmp_path / version / "bin", "toyd", f"toyd {version}")
    need = replace(_need(tmp_path / "*" / "bin"), version="")
    assert found.find_programs(need) == {"toyd": tmp_path / "15" / "bin"}
    (tmp_path / "15" / "bin" / "toyd").unlink()
    assert found.find_programs(need) == {"toyd": tmp_path / "10" / "bin"}


def test_other_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9", "14"):
        _program(tmp_path / version / "bin", "toyd", f"toyd {version}.2")
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        with pytest.raises(ProgramMissing) as caught:
            sandbox.equip(_need(tmp_path / "15" / "bin"))
        assert caught.value.cause == (
            "the program toyd of toyserver 15 is not on this machine; this machine has toyserver 9, 14"
        )
        assert caught.value.remedy == "Install toyserver-15, or let the target run in a container."
        monkeypatch.setenv("PATH", str(tmp_path / "14" / "bin"), prepend=os.pathsep)
        with pytest.raises(ProgramMissing, match=r"this machine has toyserver 9, 14, 14\.2"):
            sandbox.equip(_need(tmp_path / "15" / "bin"))
        # What was tried before stands in nobody's way.
        assert sandbox.equip(_need(tmp_path / "14" / "bin", version="14")).facts["programs"] == "toyserver 14.2"
        with pytest.raises(UsageProblem, match="equipped already"):
            sandbox.equip(SHELL)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "15.14"),
        ("postgres (PostgreSQL) 18devel", "18"),
        ("mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64", "10.11.14"),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "7.0.15"),
        ("toy 3", "3"),
        ("no version", ""),
    ],
)
def test_version_is_read_from_what_programs_say(said: str, version: str) -> None:
    assert found.version_in(said) == version


@pytest.mark.parametrize(
    ("has", "wanted", "right"),
    [("15.7", "15", True), ("15", "15", True), ("150.1", "15", False), ("14.15", "15", False), ("3", "", True)],
)
def test_a_version_leaves_its_last_parts_open(has: str, wanted: str, right: bool) -> None:
    assert found.is_version(has, wanted) is right


# Whom they run as


def _isolation(**changes: object) -> Isolation:
    usual = Isolation("none", "own", False, "sandbox directory", 4, (), "own", True, ())
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_account_is_the_systems_own_only_where_it_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert accounts.choose("daemon", _isolation()).name == "daemon"
    for changes in ({"mounts": "shared"}, {"landlock": 0}):
        assert accounts.choose("daemon", _isolation(**changes)).name == "nobody"
    for name in ("", "no-such-account", "root"):
        account = accounts.choose(name, _isolation())
        assert (account.name, account.change) == ("nobody", True) and account.user != 0
    with pytest.raises(CouldNotVerify, match="would have to run as root"):
        accounts.choose("daemon", _isolation(accounts=False))


def test_account_of_an_ordinary_user_is_the_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    account = accounts.choose("daemon", _isolation(accounts=False))
    assert (account.user, account.change) == (65534, False)


def test_account_that_cannot_get_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        return  # another user's programs run as that user, who made the directory
    real = launcher.current().isolation()
    monkeypatch.setattr(launcher.Launcher, "isolation", lambda _: replace(real, mounts="shared"))
    tmp_path.chmod(0o700)
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        with pytest.raises(CouldNotVerify, match="nobody, who may not enter the directory") as caught:
            sandbox.equip(SHELL)
        assert "/var/tmp" in caught.value.remedy
        assert sandbox.dispose() == Disposal()


# What they see


def test_sockets_of_the_machine_are_out_of_sight() -> None:
    with open_directory() as base, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(base / "listening"))
        base.chmod(0o711)
        with DirectorySandbox(base, run="test", name="a", limits=Limits()) as sandbox:
            sandbox.equip(SHELL)
            seen = sandbox.exec(["sh", "-c", 'test -S "$0"', str(base / "listening")], deadline=LONG).returncode == 0
            assert seen is (sandbox.facts()["mounts"] != "own")
        workspace.close_all()


def test_processes_of_the_machine_are_out_of_sight(tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        sandbox.equip(SHELL)
        seen = sandbox.exec(["sh", "-c", "echo /proc/[0-9]*"], deadline=LONG).stdout.split()
        facts = sandbox.facts()
        alone = facts["mounts"] == "own" and not any("process list" in each for each in facts["refused"])
        assert (len(seen) == 2) is alone
        assert alone or f"/proc/{os.getpid()}".encode() in seen


@pytest.mark.parametrize(
    ("directory", "shown"),
    [("/usr/bin", []), ("/tmp", []), ("/tmp/bin", ["/tmp/bin"]), ("/tmp/pg/15/bin", ["/tmp/pg/15"])],
)
def test_hidden_programs_are_shown_with_what_they_bring_and_no_more(directory: str, shown: list[str]) -> None:
    assert equipment._shown([Path(directory)], ["/tmp", "/run"]) == [[each, each] for each in shown]


def test_data_of_a_real_system_is_out_of_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        return  # nobody else's account can be used, nor be given anything
    real, other = tmp_path / "lib" / "real", tmp_path / "lib" / "other"
    for path, user in ((real, 65534), (other, 0)):
        path.mkdir(parents=True)
        (path / "data").write_text("of a real system")
        os.chown(path, user, -1)
    monkeypatch.setattr(accounts, "_STATE", tmp_path / "lib")
    nobody = accounts.Account("nobody", 65534, 65534, change=True)
    assert accounts.belongings(nobody) == [str(real)]


def test_others_cannot_look_into_the_ground(tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        ground = sandbox.equip(SHELL)
        assert ground.reachable is not None
        place, sockets = sandbox.work.parent, ground.reachable
        for path in (place, sandbox.work, place / "data", place / "home", sockets, sockets.parent):
            mode = stat.S_IMODE(path.stat().st_mode)
            # Whoever may pass through cannot list, and what is in it is closed to all but the account.
            assert mode & 0o066 == 0
            assert path == sockets.parent or mode & 0o007 == 0
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700


def test_what_programs_ran_in_serves_nobody_else(tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as first:
        first.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG)
        first.equip(SHELL)
        assert first.dispose(reuse=True) == Disposal()
        assert not first.work.exists()
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as second:
        assert second.work != first.work


def test_memory_of_programs_is_what_the_catalogue_says(tmp_path: Path) -> None:
    options = SandboxOptions(memory=64 << 20)
    argv = ["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"]
    for given, status in ((options, 1), (SandboxOptions(), 0)):
        with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits(), options=given) as sandbox:
            sandbox.equip(SHELL)
            assert sandbox.exec(argv, deadline=LONG).returncode == status
            assert sandbox.facts()["limits"]["memory"] == (given.memory or Limits().memory)


def test_programs_that_write_too_much_are_ended(tmp_path: Path) -> None:
    script = "echo up; dd if=/dev/zero of=big bs=1M count=8 2>/dev/null; while :; do sleep 1; done"
    options = SandboxOptions(disk=4 << 20)
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits(), options=options) as sandbox:
        ground = sandbox.equip(SHELL)
        server = sandbox.start(["sh", "-c", ": > up; sleep 3600 & wait"], ready=lambda: True, deadline=LONG)
        with pytest.raises(CouldNotVerify, match=r"programs wrote 8\.39 MB, they may write 4\.19 MB") as caught:
            sandbox.exec(["sh", "-c", script], deadline=LONG)
        assert "sandbox.disk" in caught.value.remedy
        with pytest.raises(CouldNotVerify, match="they may write"):
            server.stop()
        assert Path(ground.data, "up") and sandbox.dispose() == Disposal()


def test_account_with_all_its_processes_starts_no_other(tmp_path: Path) -> None:
    options = SandboxOptions(processes=1)  # which is the one that would start it
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits(), options=options) as sandbox:
        with pytest.raises(CouldNotVerify, match="sh cannot be started: its account has as many processes") as caught:
            sandbox.equip(SHELL)
        assert "sandbox.processes" in caught.value.remedy
        assert sandbox.dispose() == Disposal()


def test_process_that_cannot_be_cut_off_says_why(tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        place = sandbox.work.parent
        sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG)
        sandbox.work.rename(place / "elsewhere")
        with pytest.raises(CouldNotVerify, match="cannot be cut off as it should be: No such file") as caught:
            sandbox.exec(["true"], deadline=LONG)
        assert caught.value.looked_at == str(sandbox.work)
        (place / "elsewhere").rename(sandbox.work)
        assert sandbox.exec(["true"], deadline=LONG).returncode == 0


def test_what_takes_no_room_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    (tmp_path / "link").symlink_to("/usr")
    assert size_of(tmp_path) == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(bytes(1 << 20))
    assert size_of(tmp_path) == 1 << 20


def test_programs_may_be_run_from_several_threads(tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        sandbox.equip(SHELL)

        def run(number: int) -> bytes:
            return sandbox.exec(["sh", "-c", f"echo {number}; cat"], deadline=LONG, stdin=b"x").stdout

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(run, range(12))) == [f"{number}\nx".encode() for number in range(12)]
        assert sandbox._workers == [sandbox._worker]


# Admitting


def test_admitting_grants_reading_and_nothing_else(tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        tree = sandbox.work / "tree"
        tree.mkdir()
        outside = sandbox.work / "outside"
        for path, mode in ((tree / "setuid", 0o4755), (tree / "open", 0o666), (tree / "closed", 0), (outside, 0o600)):
            path.write_text("x")
            path.chmod(mode)
        os.mkfifo(tree / "pipe", 0o600)
        (tree / "link").symlink_to(outside)
        sandbox.equip(SHELL)
        sandbox.admit(tree)
        modes = {
            path.name: stat.S_IMODE(path.lstat().st_mode) for path in (*tree.iterdir(), outside) if path.name != "link"
        }
        grants = os.geteuid() == 0
        assert modes == {
            "setuid": 0o745 if grants else 0o755,
            "open": 0o646 if grants else 0o666,
            "closed": 0o440 if grants else 0o400,
            "pipe": 0o600,
            "outside": 0o600,
        }


def test_only_what_was_restored_is_admitted(tmp_path: Path) -> None:
    with DirectorySandbox(tmp_path, run="test", name="a", limits=Limits()) as sandbox:
        with pytest.raises(UsageProblem, match="not equipped"):
            sandbox.admit(sandbox.work)
        sandbox.equip(SHELL)
        for path in (tmp_path, sandbox.work / ".." / "data", Path("/etc/passwd")):
            with pytest.raises(UsageProblem, match="outside the work directory"):
                sandbox.admit(path)
        (sandbox.work / "link").symlink_to("/etc")
        with pytest.raises(CouldNotVerify):
            sandbox.admit(sandbox.work / "link" / "passwd")
        assert sandbox.exec(["sh", "-c", 'cd "$0"', sandbox.admit(sandbox.work)], deadline=LONG).returncode == 0
