"""What a container cuts off, how its programs are talked to, and what evidence says of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.sandboxes.conftest import LONG, MEBIBYTE, Make

from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.process import Completed, ProgramMissing
from restore_drill.sandboxes.base import Limits, Need
from restore_drill.sandboxes.container import ContainerSandbox

_STATUS = "grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status; ls /sys/class/net; id -u"


def test_nothing_is_left_to_reach_or_to_be(make: Make, need: Need) -> None:
    with make() as sandbox:
        sandbox.equip(need)
        said = sandbox.exec(["sh", "-c", _STATUS], deadline=LONG).stdout.decode().split()
        facts = json.loads(json.dumps(sandbox.facts()))
    zero = "0" * 16
    assert said == ["CapPrm:", zero, "CapEff:", zero, "CapBnd:", zero, "NoNewPrivs:", "1", "lo", said[-1]]
    assert said[-1] != "0"
    assert (facts["network"], facts["capabilities"], facts["no_new_privileges"]) == ("none", [], True)
    assert facts["engine"]["version"] and facts["image_id"].startswith("sha256:")
    assert facts["authentication"].startswith("none")
    assert {mount["at"]: mount["writable"] for mount in facts["mounts"]} == {
        "/drill/work": False,
        "/drill/sockets": True,
    }
    assert facts["beside"]["kind"] == "directory"


def test_payload_can_be_read_and_not_written(make: Make, need: Need, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    outside.chmod(0o600)
    with make() as sandbox:
        tree = sandbox.work / "quarantine" / "tree"
        tree.mkdir(parents=True, mode=0o700)
        (tree / "file").write_text("content")
        (tree / "link").symlink_to(outside)
        for path, mode in ((tree / "file", 0o600), (tree, 0o700), (tree.parent, 0o700)):
            path.chmod(mode)
        sandbox.equip(need)
        inside = sandbox.admit(tree)
        assert sandbox.exec(["cat", f"{inside}/file"], deadline=LONG).stdout == b"content"
        assert sandbox.exec(["sh", "-c", f"echo x >>{inside}/file"], deadline=LONG).returncode != 0
        assert sandbox.exec(["rm", f"{inside}/file"], deadline=LONG).returncode != 0
        assert outside.stat().st_mode & 0o777 == 0o600
        # On this machine nobody else gets there: what lies above is closed.
        assert sandbox.work.parent.stat().st_mode & 0o077 == 0
        with pytest.raises(UsageProblem, match="must be in the work directory"):
            sandbox.admit(outside)


def test_programs_run_at_once_and_each_says_its_own(make: Make, need: Need) -> None:
    with make() as sandbox:
        sandbox.equip(need)
        # Each waits for the other: one after the other they would never end.
        first = sandbox.begin(["sh", "-c", "mkfifo a; : >a; echo first"], deadline=LONG)
        second = sandbox.begin(["sh", "-c", "until [ -p a ]; do :; done; : <a; echo second"], deadline=LONG)
        assert [second.result().stdout, first.result().stdout] == [b"second\n", b"first\n"]
        assert first.result() == Completed(0, b"first\n", b"")


def test_streams_are_whole_apart_and_bounded(make: Make, need: Need) -> None:
    sent = os.urandom(3 * MEBIBYTE)
    with make() as sandbox:
        sandbox.equip(need)
        echoed = sandbox.exec(["sh", "-c", "tee /dev/stderr"], deadline=LONG, stdin=sent)
        assert (echoed.stdout, echoed.stderr) == (sent, sent)
        script = "import sys\nfor i in range(9): sys.stdout.write(str(i) * (1 << 20))\nsys.exit(3)"
        much = sandbox.exec(["python3", "-c", script], deadline=LONG)
        assert much.returncode == 3
        assert (
            hashlib.sha256(much.stdout).digest()
            == hashlib.sha256(b"".join(b"%d" % number * MEBIBYTE for number in range(5, 9))).digest()
        )
        # Nobody reads what it is fed.
        assert sandbox.exec(["true"], deadline=LONG, stdin=sent).returncode == 0
        assert sandbox.exec(["sh", "-c", "kill -9 $$"], deadline=LONG).returncode == -9


def test_server_whose_log_nobody_reads_goes_on(make: Make, need: Need) -> None:
    chatter = "import sys\nsys.stderr.write('x' * (32 << 20))\nopen('up', 'w')\nimport time\ntime.sleep(3600)"
    with make() as sandbox:
        sandbox.equip(need)
        ready = ["test", "-e", "up"]
        server = sandbox.start(
            ["python3", "-c", chatter],
            ready=lambda: sandbox.exec(ready, deadline=LONG).returncode == 0,
            deadline=LONG,
        )
        ended = server.stop()
        assert (ended.returncode, len(ended.stderr)) == (-15, 4 * MEBIBYTE)
        assert server.stop() == ended


def test_socket_of_a_server_is_reachable_from_here(make: Make, need: Need) -> None:
    script = (
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('/drill/sockets/s')\ns.listen()\n"
        "while True:\n c, _ = s.accept()\n c.sendall(b'hello')\n c.close()"
    )
    import socket

    with make() as sandbox:
        ground = sandbox.equip(need)
        assert ground.reachable is not None
        path = ground.reachable / "s"
        sandbox.start(["python3", "-c", script], ready=path.exists, deadline=LONG)
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(path))
            assert line.recv(16) == b"hello"
        sandbox.dispose()
        assert not ground.reachable.parent.exists()


def test_missing_programs_and_accounts_are_named(make: Make, need: Need) -> None:
    with make() as sandbox, pytest.raises(ProgramMissing, match="has no program no-such, none-such") as caught:
        sandbox.equip(Need("python", "3.11", ("python3", "no-such", "none-such"), need.image))
    assert "python" in caught.value.remedy
    with make() as sandbox, pytest.raises(CouldNotVerify, match="the image has no account called somebody"):
        sandbox.equip(Need("python", "3.11", (), need.image, user="somebody"))


def test_refused_start_leaves_nothing(
    make: Make, need: Need, ours: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    with make() as sandbox:
        with pytest.raises(ProgramMissing):
            sandbox.equip(Need("python", "3.11", ("no-such",), need.image))
        assert ours(tmp_path) == []


def test_engine_that_does_not_answer_is_no_fault_of_the_backup(make: Make, need: Need, tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/no.sock"
    with make(host=host) as sandbox, pytest.raises(CouldNotVerify, match="no container engine answers") as caught:
        sandbox.equip(need)
    assert caught.value.looked_at == host and "sandbox: directory" in caught.value.remedy
    assert ContainerSandbox.unavailable(sandbox.options) == f"no container engine answers ({host})"


def test_work_directory_serves_another_when_it_may(make: Make, need: Need) -> None:
    with make() as first:
        first.equip(need)
        (first.work / "payload").write_text("x")
        first.admit(first.work / "payload")
        assert first.dispose(reuse=True).left == ()
    with make(limits=Limits()) as second:
        assert list(second.work.iterdir()) == []
        assert second.work.stat().st_mode & 0o777 == 0o700
