"""Volumes and the applications over them, in real containers: what a health endpoint says, and what hostile ones do."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.volume import VolumeEngine
from restore_drill.engines.volume_samples import contents, volume
from restore_drill.errors import CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Limits, Sandbox, SandboxOptions
from restore_drill.sandboxes.container import ContainerSandbox

ALL = frozenset({"files", "newest", "smoke"})
HEALTH = {"port": 8080, "path": "/health", "status": 200, "contains": "ok"}
LOOK = "import os,sys; s=os.stat(sys.argv[1]); print(s.st_uid, s.st_gid, oct(s.st_mode), int(s.st_mtime))"
#: Answers with these statuses one after the other (0: hangs up without an answer), and ends.
ANSWERS = """
import socket, sys
server = socket.create_server(("127.0.0.1", 8080))
for status in map(int, sys.argv[1:]):
    line, _ = server.accept()
    line.recv(4096)
    line.sendall(b"HTTP/1.0 %d Said\\r\\n\\r\\nok" % status if status else b"")
    line.close()
"""
#: Lives until it is ended, and starts more of itself than it may have.
BOMB = "while :; do sleep 600 & done"


@pytest.fixture
def sandbox(tmp_path: Path, stand_in: Callable[[str], str]) -> Iterator[Sandbox]:
    limits = Limits(memory=256 << 20, tasks=100)
    options = SandboxOptions(image=stand_in("app"), pull="never")
    with ContainerSandbox(tmp_path, run="volume", name="test", limits=limits, options=options) as sandbox:
        yield sandbox


def restored(sandbox: Sandbox, files: Mapping[str, bytes], **settings: Any) -> Restored:
    tree = sandbox.work / "payload-0"
    tree.mkdir()
    with tarfile.open(volume(files)(sandbox.work)) as archive:
        archive.extractall(tree, filter="tar")
    options = RestoreOptions(deadline=60.0, wanted=ALL, settings={"mount": "/data", **settings})
    return VolumeEngine().restore([Payload(PayloadForm.TREE, tree, "tar", 1)], sandbox, options)


def outcome(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return found["outcome"], found["status"], found["contains"]


def ours(engine: Any) -> set[str]:
    volumes = engine.api.volumes()["Volumes"] or []
    named = {each["Name"] for each in volumes if each["Name"].startswith("restore-drill-")}
    return named | {each["Id"] for each in engine.api.containers(all=True)}


def test_an_application_on_its_volume_is_healthy(sandbox: Sandbox) -> None:
    found = restored(sandbox, contents())
    assert outcome(found.smoke(HEALTH, 30)) == ("answered", 200, True)
    assert outcome(found.smoke({"run": ["python3", "-I", "/opt/app/serve.py", "check"]}, 30)) == ("ended", 0, True)
    looked = found.smoke({"run": ["python3", "-c", LOOK, "/data/uploads/3.bin"]}, 30)
    owner = 1000 if os.geteuid() == 0 else looked["details"][0].split()[0]
    assert looked["details"] == [f"{owner} {owner} 0o100640 1700000000"]
    assert found.files({"must_exist": ["uploads/*.bin"]})["must_exist"] == {"uploads/*.bin": 12}


def test_an_application_whose_file_is_lost_says_so(sandbox: Sandbox) -> None:
    found = restored(sandbox, {name: data for name, data in contents().items() if name != "uploads/7.bin"})
    assert outcome(found.smoke({**HEALTH, "status": 503, "contains": "missing"}, 30)) == ("answered", 503, True)
    assert outcome(found.smoke(HEALTH, 3)) == ("answered", 503, False)
    assert outcome(found.smoke({"run": ["python3", "-I", "/opt/app/serve.py", "check"]}, 30)) == ("ended", 1, True)


def test_an_application_that_ends_is_not_waited_for(sandbox: Sandbox) -> None:
    found = restored(sandbox, contents(), command=["sh", "-c", "echo no licence >&2; exit 3"])
    tried = found.smoke(HEALTH, 600)
    assert outcome(tried) == ("silent", 0, False)
    assert tried["application"].startswith("ended")
    assert "no licence" in tried["details"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([503, 0], ("answered", 503, True)),
        ([0, 503, 500, 0, 0], ("answered", 500, True)),
        ([503, 0, 200], ("answered", 200, True)),
        ([0, 0], ("silent", 0, False)),
    ],
)
def test_the_last_answer_that_there_was_is_told(
    sandbox: Sandbox, answers: list[int], told: tuple[str, int, bool]
) -> None:
    found = restored(sandbox, contents(), command=["python3", "-I", "-c", ANSWERS, *map(str, answers)])
    assert outcome(found.smoke(HEALTH, 120)) == told


def test_a_command_that_the_image_lacks_cannot_be_verified(sandbox: Sandbox) -> None:
    found = restored(sandbox, contents(), command=[])
    assert found.facts["application"] == "none"
    with pytest.raises(CouldNotVerify) as caught:
        found.smoke({"run": ["no-such-program"]}, 30)
    assert caught.value.looked_at == "no-such-program"
    assert outcome(found.smoke({"run": ["sh", "-c", "exit 127"]}, 30)) == ("ended", 127, True)


def test_it_starts_with_the_variables_and_the_account_of_the_catalogue(sandbox: Sandbox) -> None:
    found = restored(sandbox, contents(), environment={"APP_PORT": "8081"}, user="1000:1000")
    assert outcome(found.smoke({**HEALTH, "port": 8081}, 30)) == ("answered", 200, True)
    assert outcome(found.smoke({"run": ["sh", "-c", 'test "$(id -u) $APP_PORT" = "1000 8081"']}, 30)) == (
        "ended",
        0,
        True,
    )


def test_it_has_no_network(sandbox: Sandbox) -> None:
    found = restored(sandbox, contents())
    call = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    assert found.smoke({"run": ["python3", "-c", call]}, 30)["status"] == 1
    alone = "import socket; assert [name for _, name in socket.if_nameindex()] == ['lo']"
    assert outcome(found.smoke({"run": ["python3", "-c", alone]}, 30)) == ("ended", 0, True)


@pytest.mark.parametrize("command", ["sleep 600", BOMB], ids=["hang", "fork-bomb"])
def test_a_command_that_does_not_end_is_ended(sandbox: Sandbox, command: str, require_engine: Any) -> None:
    found = restored(sandbox, contents())
    assert found.smoke({"run": ["sh", "-c", command]}, 2)["outcome"] == "late"
    with pytest.raises(CouldNotVerify):
        found.smoke({"run": ["true"]}, 30)
    assert sandbox.dispose().left == ()


def test_nothing_of_it_is_left(sandbox: Sandbox, require_engine: Any) -> None:
    from restore_drill.sandboxes.containers.client import connect

    restored(sandbox, contents())
    facts = sandbox.facts()
    assert {"at": "/data", "kind": "volume", "writable": True} in facts["mounts"]
    [made] = [each for each in connect().api.containers() if each["Labels"].get("io.restore-drill.run") == "volume"]
    names = {mount["Name"] for mount in made["Mounts"] if mount["Type"] == "volume"}
    assert len(names) == 1
    assert names <= ours(connect())
    assert sandbox.dispose().left == ()
    assert not (names | {made["Id"]}) & ours(connect())


@pytest.mark.parametrize(
    "settings",
    [
        {"mount": ""},
        {"mount": "data"},
        {"mount": "/data/../etc"},
        {"mount": "/drill/work"},
        {"command": "app serve"},
        {"environment": {"APP PORT": "1"}},
        {"environment": {"APP_PORT": 1}},
        {"user": "root; id"},
        {"volume": "app"},
    ],
)
def test_an_option_that_means_nothing_is_refused(settings: Mapping[str, Any], tmp_path: Path) -> None:
    options = RestoreOptions(settings={"mount": "/data", **settings})
    payload = Payload(PayloadForm.TREE, tmp_path, "tar", 1)
    with pytest.raises(UsageProblem) as caught:
        VolumeEngine().restore([payload], ContainerSandbox(tmp_path, run="r", name="n", limits=Limits()), options)
    assert isinstance(caught.value, RestoreDrillError)
    assert caught.value.remedy


def test_what_it_writes_into_the_volume_is_bounded(tmp_path: Path, stand_in: Callable[[str], str]) -> None:
    options = SandboxOptions(image=stand_in("app"), pull="never", disk=8 << 20)
    with ContainerSandbox(tmp_path, run="volume", name="full", limits=Limits(), options=options) as sandbox:
        found = restored(sandbox, contents(), command=[])
        with pytest.raises(CouldNotVerify, match="may write"):
            found.smoke({"run": ["sh", "-c", "head -c 64000000 /dev/zero >/data/more; sleep 600"]}, 120)
        assert sandbox.dispose().left == ()


def test_a_sparse_volume_beyond_the_budget_is_not_filled(tmp_path: Path, stand_in: Callable[[str], str]) -> None:
    options = SandboxOptions(image=stand_in("app"), pull="never", disk=8 << 20)
    with ContainerSandbox(tmp_path, run="volume", name="sparse", limits=Limits(), options=options) as sandbox:
        tree = sandbox.work / "payload-0"
        tree.mkdir()
        with (tree / "sparse").open("wb") as file:
            file.truncate(100 << 30)
        payload = Payload(PayloadForm.TREE, tree, "tar", 1)
        with pytest.raises(CouldNotVerify, match="107 GB"):
            VolumeEngine().restore([payload], sandbox, RestoreOptions(settings={"mount": "/data"}))
