"""What every sandbox must do for a system's programs: subclass :class:`ProgramsConformance`, as ``SandboxConformance``.

The cases run ``sh`` and ``perl``, which any system's image and most machines have; a sandbox that takes them from an
image overrides ``need``.
"""

# ruff: noqa: S101, S603, D102

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.process import Completed, ProgramMissing
from restore_drill.sandboxes.base import Ground, Limits, Need, Sandbox, SandboxOptions
from restore_drill.sandboxes.reaper import reap
from restore_drill.testing.sandbox import LONG, SandboxFactory, processes_marked

_MEBIBYTE = 1 << 20
_TASKS = 64
#: A server that answers whoever connects, until it is asked to end.
_SERVER = """
use Socket;
$SIG{TERM} = sub { print "down\\n"; exit 0 };
socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die "$!"; listen($s, 5);
$| = 1; print "up\\n";
while (1) { my $c; accept($c, $s) or next; syswrite($c, "hello\\n"); close $c }
"""
_CLIENT = """
use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; connect($s, sockaddr_un($ARGV[0])) or die "$!"; print <$s>;
"""
_CALL_HOME = """
use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) or die;
print connect($s, sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))) ? "reached" : "cut off";
"""
_BOMB = """
my $n = 0; for (1..500) { my $p = fork(); last unless defined $p; if (!$p) { sleep 3600; exit } $n++ } print $n;
"""
_RUN = """
import json, sys
from pathlib import Path
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits, Need, SandboxOptions
asked = json.loads(sys.argv[1])
need = Need(**{name: tuple(value) if isinstance(value, list) else value for name, value in asked["need"].items()})
sandbox = load("sandboxes", asked["kind"])(
    Path(asked["base"]), run="killed", name="target.copy", limits=Limits(), options=SandboxOptions(**asked["options"]))
sandbox.__enter__()
ground = sandbox.equip(need)
server = sandbox.start(["sh", "-c", ": " + asked["marker"] + "; sleep 3600 & wait"], ready=lambda: True, deadline=60)
running = sandbox.begin(["sh", "-c", "sleep 3600; : " + asked["marker"]], deadline=3600)
sandbox.exec(["true"], deadline=60)
print(json.dumps({"work": str(sandbox.work), "sockets": str(ground.reachable or "")}), flush=True)
sys.stdin.read()
"""


class ProgramsConformance:
    """What the contract says of :meth:`~restore_drill.sandboxes.base.Sandbox.equip` and what follows it, as tests."""

    #: Its kind and options, for a sandbox in a process that is killed.
    kind = "directory"
    options = SandboxOptions()

    @pytest.fixture
    def sandbox_factory(self) -> SandboxFactory:
        """How a sandbox is made; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        """Where sandboxes are made that are killed."""
        return tmp_path

    @pytest.fixture
    def need(self) -> Need:
        """A system whose programs are ``sh`` and ``perl``."""
        return Need("shell", programs=("sh", "perl"), user="nobody", package="perl-base")

    @pytest.fixture
    def sandbox(self, sandbox_factory: SandboxFactory) -> Iterator[Sandbox]:
        """A sandbox in use."""
        with sandbox_factory(Limits(tasks=_TASKS)) as sandbox:
            yield sandbox

    @pytest.fixture
    def ground(self, sandbox: Sandbox, need: Need) -> Ground:
        """Its ground."""
        return sandbox.equip(need)

    @pytest.fixture
    def marker(self) -> str:
        """A word that is in no other process's arguments."""
        return f"marked-{secrets.token_hex(8)}"

    def reap(self, base: Path) -> None:
        """Remove what killed runs left; to be extended by sandboxes that are not of files alone."""
        reap(base)

    # What programs find

    def test_programs_work_in_their_ground(self, sandbox: Sandbox, ground: Ground) -> None:
        found = shell(sandbox, 'pwd; stat -c "%a %u" . "$0"; id -u; ls -A .', ground.sockets).stdout.decode().split()
        directory, mode, owner, _, other, user, *content = found
        assert directory == ground.data and content == []
        assert (mode, owner, other) == ("700", user, user)
        assert len(os.fsencode(ground.sockets)) < 80
        assert json.loads(json.dumps(dict(ground.facts)))
        assert json.loads(json.dumps(sandbox.facts()))["kind"] == sandbox.name == self.kind

    def test_programs_have_no_privilege(self, sandbox: Sandbox, ground: Ground) -> None:  # noqa: ARG002 - equips
        own = shell(sandbox, "id -u; id -G").stdout.decode().split()
        status = shell(sandbox, "cat /proc/self/status").stdout.decode()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert own[0] != "0" and "0" not in own[1:]
        assert len(own) == 2 or os.geteuid() != 0
        assert [int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [0] * 4
        assert fields["NoNewPrivs"] == "1"

    def test_environment_is_emptied(
        self, sandbox: Sandbox, ground: Ground, monkeypatch: pytest.MonkeyPatch  # noqa: ARG002 - equips
    ) -> None:  # fmt: skip
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        listed = sandbox.exec(["env"], deadline=LONG, environment={"GIVEN": "this"}).stdout.decode().splitlines()
        assert "GIVEN=this" in listed
        assert not [line for line in listed if "canary" in line]

    def test_there_is_no_network(self, sandbox: Sandbox, ground: Ground) -> None:  # noqa: ARG002 - equips
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
            answer = sandbox.exec(["perl", "-e", _CALL_HOME, port], deadline=LONG).stdout
        facts = sandbox.facts()
        held = facts["network"] == "none" or facts.get("landlock", 0) >= 4
        assert answer == (b"cut off" if held else b"reached")

    def test_missing_program_is_named(self, sandbox: Sandbox, need: Need) -> None:
        with pytest.raises(ProgramMissing, match="no-such-program") as caught:
            sandbox.equip(replace(need, programs=(*need.programs, "no-such-program")))
        assert caught.value.remedy
        assert sandbox.dispose().left == ()

    def test_program_that_cannot_be_started_is_named(self, sandbox: Sandbox, ground: Ground) -> None:  # noqa: ARG002
        with pytest.raises(ProgramMissing, match="no-such-program"):
            sandbox.exec(["no-such-program"], deadline=LONG)
        with pytest.raises(ProgramMissing, match="no-such-server"):
            sandbox.start(["no-such-server"], ready=lambda: False, deadline=LONG)

    def test_payload_can_be_read_and_not_written(self, sandbox: Sandbox, need: Need) -> None:
        root = sandbox.work / "payload"
        (root / "deep" / "er").mkdir(parents=True)
        (root / "deep" / "er" / "file").write_text("restored")
        (root / "deep" / "er" / "file").chmod(0o400)
        (root / "deep").chmod(0o700)
        outside = sandbox.work / "private"
        outside.write_text("x")
        outside.chmod(0o600)
        (root / "link").symlink_to(outside)
        sandbox.equip(need)
        seen = sandbox.admit(root)
        found = shell(sandbox, 'cat "$0/deep/er/file"; [ -L "$0/link" ] && echo " link"', seen)
        assert found.stdout == b"restored link\n"
        assert outside.stat().st_mode & 0o777 == 0o600
        tried = shell(
            sandbox, '(echo y >> "$0/deep/er/file") || rm "$0/deep/er/file" || (: > "$0/new") || echo held', seen
        )
        assert (tried.stdout == b"held\n") is (sandbox.facts().get("payload", "read-only") == "read-only")
        assert sorted(path.name for path in root.iterdir())[:1] == ["deep"]

    def test_one_file_is_admitted(self, sandbox: Sandbox, need: Need) -> None:
        (sandbox.work / "a b").write_text("dump")
        (sandbox.work / "a b").chmod(0)
        sandbox.equip(need)
        assert shell(sandbox, 'cat "$0"', sandbox.admit(sandbox.work / "a b")).stdout == b"dump"

    def test_nothing_is_written_outside_the_ground(self, sandbox: Sandbox, ground: Ground) -> None:
        above = str(Path(ground.data).parent)
        places = [ground.data, ground.sockets, above, "/etc", "/usr", "/var/lib"]
        script = 'for place; do (: > "$place/probe") 2>/dev/null && echo "$place"; done'
        written = sandbox.exec(["sh", "-c", script, "sh", *places], deadline=LONG).stdout.decode().split()
        assert written == [ground.data, ground.sockets]

    def test_small_files_are_put(self, sandbox: Sandbox, ground: Ground) -> None:
        sandbox.put(f"{ground.data}/a 'b", b"\x00\xff")
        assert sandbox.exec(["cat", f"{ground.data}/a 'b"], deadline=LONG).stdout == b"\x00\xff"
        with pytest.raises(CouldNotVerify, match="cannot be written"):
            sandbox.put("/etc/passwd", b"x")

    # How they run

    def test_output_is_cut_to_its_end(self, sandbox: Sandbox, ground: Ground) -> None:  # noqa: ARG002 - equips
        script = 'print "x" x (6 << 20), "out"; print STDERR "y" x (5 << 20), "err"; exit 3'
        completed = sandbox.exec(["perl", "-e", script], deadline=LONG)
        assert completed.returncode == 3
        for stream, end in ((completed.stdout, b"xout"), (completed.stderr, b"yerr")):
            assert len(stream) == 4 * _MEBIBYTE
            assert stream.endswith(end)

    def test_programs_run_side_by_side(self, sandbox: Sandbox, ground: Ground) -> None:
        # The first reads neither of its inputs before the second has begun.
        shell(sandbox, "mkfifo pipe")
        first = sandbox.begin(["sh", "-c", "cat pipe; wc -c"], deadline=LONG, stdin=bytes(8 * _MEBIBYTE))
        second = sandbox.begin(["sh", "-c", "echo begun > pipe; echo done"], deadline=LONG)
        assert first.result().stdout.split() == [b"begun", str(8 * _MEBIBYTE).encode()]
        assert second.result().stdout == b"done\n"
        assert first.result().returncode == 0
        assert shell(sandbox, "ls").stdout == b"pipe\n"
        assert ground.data

    def test_processes_are_limited(self, sandbox: Sandbox, ground: Ground) -> None:  # noqa: ARG002 - equips
        counted = sandbox.exec(["perl", "-e", "$| = 1;" + _BOMB + "kill -9, getpgrp"], deadline=LONG)
        assert 0 < int(counted.stdout) <= _TASKS

    def test_program_that_hangs_is_ended_with_all_it_started(
        self, sandbox: Sandbox, ground: Ground, marker: str  # noqa: ARG002 - equips
    ) -> None:  # fmt: skip
        script = f"setsid sh -c 'sleep 3600; : {marker}' & echo begun; sleep 3600"
        with pytest.raises(DeadlineExceeded):
            sandbox.exec(["sh", "-c", script], deadline=0.5)
        eventually(lambda: processes_marked(marker) == [])
        assert sandbox.dispose().left == ()

    # Servers

    def test_server_answers_programs_and_the_host(self, sandbox: Sandbox, ground: Ground) -> None:
        server = self._serve(sandbox, ground)
        assert sandbox.exec(["perl", "-e", _CLIENT, f"{ground.sockets}/s"], deadline=LONG).stdout == b"hello\n"
        if ground.reachable is not None:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(ground.reachable / "s"))
                assert client.recv(100) == b"hello\n"
        completed = server.stop()
        assert (completed.returncode, completed.stdout) == (0, b"up\ndown\n")

    def test_server_that_ends_early_is_reported(self, sandbox: Sandbox, ground: Ground) -> None:  # noqa: ARG002 - equips
        with pytest.raises(CouldNotVerify, match="before it was ready") as caught:
            sandbox.start(["sh", "-c", "echo why >&2; exit 5"], ready=lambda: False, deadline=LONG)
        assert "why" in caught.value.details

    # The end

    def test_disposal_ends_and_removes_everything(
        self, sandbox_factory: SandboxFactory, need: Need, marker: str
    ) -> None:  # fmt: skip
        with sandbox_factory(Limits()) as sandbox:
            ground = sandbox.equip(need)
            self._serve(sandbox, ground, marker)
            running = sandbox.begin(["sh", "-c", f"sleep 3600; : {marker}"], deadline=LONG)
            shell(sandbox, "mkdir -p a/b; echo x > a/b/c; chmod 0 a/b a; ln -s / root")
            assert processes_marked(marker) != []
            work, reachable = sandbox.work, ground.reachable
            assert sandbox.dispose().left == ()
        eventually(lambda: processes_marked(marker) == [])
        assert not work.exists()
        assert reachable is None or not reachable.exists()
        with pytest.raises(CouldNotVerify):
            running.result()

    def test_a_killed_run_leaves_nothing_but_for_the_next(self, need: Need, base: Path, marker: str) -> None:
        asked = {"kind": self.kind, "base": str(base), "marker": marker, "need": asdict(need)}
        run = subprocess.Popen(
            [sys.executable, "-c", _RUN, json.dumps({**asked, "options": asdict(self.options)})],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert run.stdout
            made: dict[str, Any] = json.loads(run.stdout.readline())
            assert processes_marked(marker) != [run.pid]
            os.kill(run.pid, signal.SIGKILL)
        finally:
            run.kill()
            run.communicate()
        eventually(lambda: processes_marked(marker) == [])
        self.reap(base)
        assert not Path(made["work"]).exists()
        assert not made["sockets"] or not Path(made["sockets"]).exists()

    def _serve(self, sandbox: Sandbox, ground: Ground, marker: str = "") -> Any:
        name = f"{ground.sockets}/s"

        def ready() -> bool:
            if ground.reachable is not None:
                return (ground.reachable / "s").exists()
            return shell(sandbox, 'test -S "$0"', name).returncode == 0

        return sandbox.start(["perl", "-e", _SERVER, name, marker], ready=ready, deadline=LONG)


def shell(sandbox: Sandbox, script: str, *arguments: str) -> Completed:
    """Run a script of the shell's; its first argument is ``$0``."""
    return sandbox.exec(["sh", "-c", script, *arguments], deadline=LONG)


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)
