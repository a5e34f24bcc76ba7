"""What passes an application's connections on: doors are open when servers are behind them, and not before."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.sandboxes.waiting import eventually

from restore_drill.sandboxes.containers import relaying

_PORT = 5432


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    """What a restored server is to it: something that listens on a socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "server.sock"))
        listening.listen()
        listening.settimeout(60)
        yield listening


@contextmanager
def relay(ready: Path, *sockets: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The script as it runs in a container, and the address of its first door."""
    # Each on an address of its own, as a set has it, and nobody else on this machine.
    network = f"127.{os.getpid() >> 8 & 63 | 64}.{os.getpid() & 255}"
    doors = [[f"{network}.{number}", _PORT, str(path)] for number, path in enumerate(sockets, 1)]
    asked = json.dumps({"doors": doors, "ready": str(ready)})
    command = [sys.executable, "-I", "-B", relaying.__file__, asked]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, doors[0][0]
        finally:
            process.kill()


def test_what_is_said_is_passed_on_both_ways(tmp_path: Path, server: socket.socket) -> None:
    ready = tmp_path / "ready"
    with relay(ready, tmp_path / "server.sock") as (_, address):
        eventually(ready.exists)
        tried, _ = server.accept()
        with tried:
            tried.settimeout(60)
            assert tried.recv(1) == b""  # that somebody is there was asked, and nothing said
        with socket.create_connection((address, _PORT), timeout=60) as application:
            application.sendall(b"who is there?")
            served, _ = server.accept()
            with served:
                assert served.recv(100) == b"who is there?"
                served.sendall(b"a server")
            assert application.recv(100) == b"a server"
            assert application.recv(100) == b""


@pytest.mark.parametrize("gone", ["never there", "ended"])
def test_a_server_that_cannot_be_reached_opens_no_door(tmp_path: Path, server: socket.socket, gone: str) -> None:
    ready, nobody = tmp_path / "ready", tmp_path / "nobody.sock"
    if gone == "ended":
        with socket.socket(socket.AF_UNIX) as ended:
            ended.bind(str(nobody))
            ended.listen()
    with relay(ready, tmp_path / "server.sock", nobody) as (process, _):
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith(f"{nobody}: ") and "Traceback" not in said
    assert not ready.exists()
