"""An engine on another machine: the payload is sent, nothing of this machine is mounted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sandboxes.conftest import LONG, MEBIBYTE, Make
from tests.support.servers import free_ports

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.base import Need
from restore_drill.sandboxes.containers import client


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Bytes and their end, in one direction."""
    try:
        while data := source.recv(1 << 18):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for line in (source, target):
            line.close()


@pytest.fixture(scope="module")
def far(require_engine: Any) -> Iterator[str]:
    """The address under which this machine's engine is found over the network."""
    path = require_engine.api.base_url
    local = (
        "/var/run/docker.sock" if path.startswith("http+docker") else pytest.fail("the engine is not on a Unix socket")
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    ours, _ = listener.accept()
                except OSError:
                    return
                theirs = socket.socket(socket.AF_UNIX)
                theirs.connect(local)
                for pair in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        client.close_all()
        listener.shutdown(socket.SHUT_RDWR)


def test_payload_is_sent_and_nothing_is_mounted(make: Make, need: Need, far: str, tmp_path: Path) -> None:
    content = os.urandom(3 * MEBIBYTE + 7)
    with make(host=far) as sandbox:
        tree = sandbox.work / "quarantine" / "tree"
        (tree / "deep").mkdir(parents=True)
        (tree / "deep" / "file").write_bytes(content)
        (tree / "deep" / "file").chmod(0o600)
        (tree / "name of\udce4 bytes").write_text("x")
        (tree / "link").symlink_to("/etc/shadow")
        ground = sandbox.equip(need)
        inside = sandbox.admit(tree)
        assert ground.reachable is None
        found = sandbox.exec(
            ["sh", "-c", 'cd "$0" && cat deep/file && readlink link >&2 && ls | wc -l >&2', inside], deadline=LONG
        )
        assert (found.stdout, found.stderr) == (content, b"/etc/shadow\n3\n")
        assert sandbox.exec(["sh", "-c", 'echo x >>"$0/deep/file"', inside], deadline=LONG).returncode != 0
        assert sandbox.admit(tree / "deep" / "file") == f"{inside}/deep/file"
        facts = sandbox.facts()
        assert (facts["engine"]["remote"], facts["mounts"], facts["network"]) == (True, [], "none")
        server = sandbox.start(
            ["sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"], ready=lambda: True, deadline=LONG
        )
        assert server.stop().returncode == 4
        assert sandbox.dispose().left == ()


def test_connection_that_is_refused_is_no_fault_of_the_backup(make: Make, need: Need) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with make(host=host) as sandbox, pytest.raises(CouldNotVerify, match="no container engine answers"):
            sandbox.equip(need)


@pytest.fixture
def ssh_server(
    tmp_path: Path, require_program: Callable[[str], str], require_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An SSH server with this user's shell, and a client that knows it; yields its address."""
    programs = {name: require_program(name) for name in ("sshd", "ssh", "ssh-keygen")}
    for name in ("host", "user"):
        subprocess.run(
            [programs["ssh-keygen"], "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True
        )
    shutil.copy(tmp_path / "user.pub", tmp_path / "allowed")
    (port,) = free_ports(1)
    (tmp_path / "sshd").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/allowed\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n"
    )
    (tmp_path / "config").write_text(
        f"Host *\nIdentityFile {tmp_path}/user\nStrictHostKeyChecking no\nUserKnownHostsFile {tmp_path}/known\n"
    )
    (tmp_path / "bin").mkdir()
    own = tmp_path / "bin" / "ssh"
    own.write_text(f'#!/bin/sh\nexec {programs["ssh"]} -F {tmp_path}/config "$@"\n')
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{own.parent}:{os.environ['PATH']}")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([programs["sshd"], "-D", "-e", "-f", str(tmp_path / "sshd")], stderr=subprocess.PIPE)
    assert server.stderr and b"listening" in server.stderr.readline()
    try:
        yield f"ssh://127.0.0.1:{port}"
    finally:
        client.close_all()
        server.terminate()
        server.communicate()


def test_engine_behind_ssh(make: Make, need: Need, ssh_server: str) -> None:
    with make(host=ssh_server) as sandbox:
        (sandbox.work / "file").write_text("sent")
        sandbox.equip(need)
        assert sandbox.exec(["cat", sandbox.admit(sandbox.work / "file")], deadline=LONG).stdout == b"sent"
        assert sandbox.dispose().left == ()
    with make(host="ssh://127.0.0.1:1") as sandbox, pytest.raises(CouldNotVerify, match="over SSH") as caught:
        sandbox.equip(need)
    assert "BatchMode" in caught.value.remedy and caught.value.details
