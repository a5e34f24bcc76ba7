"""The rclone store: rclone itself on a directory, and on a server that it serves."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.support.servers import KEYS, S3Server, free_ports
from tests.support.tcp_proxy import Break, TcpProxy

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.registry import load
from restore_drill.secrets import SecretReference
from restore_drill.stores import rclone_program, trying
from restore_drill.stores.base import Store, StoreSettings
from restore_drill.stores.rclone import RcloneStore
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read

SIZE = 12 << 20
PASSWORD = "sesame-of-rclone-31"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    require_program("rclone")
    monkeypatch.setattr(trying, "FIRST_PAUSE", 0.001)
    for name in [name for name in os.environ if name.startswith("RCLONE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RCLONE_EXCLUDE", "*")  # what would change what is listed is not passed on


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir()
    return path


@pytest.fixture
def store_of(tmp_path: Path, root: Path) -> Callable[..., RcloneStore]:
    """Makes stores with short deadlines: ``store_of(url, text of the configuration, …)``."""

    def make(url: str = "", config: str = "[disk]\ntype = local\n", **more: Any) -> RcloneStore:
        path = tmp_path / "rclone.conf"
        path.write_text(config)
        given = {"connect_deadline": 5.0, "read_deadline": 20.0, "retries": 1, "options": {"config": path}, **more}
        return RcloneStore(StoreSettings("anywhere", url or f"rclone:disk:{root}", **given))

    return make


def webdav(port: int, password: str = PASSWORD) -> str:
    """A configuration with the served directory."""
    hidden = subprocess.run(
        [rclone_program.program(), "obscure", "-"], input=password, capture_output=True, text=True, check=True
    )
    lines = ("[disk]", "type = local", "[web]", "type = webdav", "vendor = rclone", f"url = http://127.0.0.1:{port}",
             "user = reader", f"pass = {hidden.stdout.strip()}", "")  # fmt: skip
    return "\n".join(lines)


class TestRclone(StoreConformance):
    """Files of this machine, through rclone."""

    #: rclone has a spelling of its own for control characters (``␊``), and reads what it spelled.
    ODD_NAMES: ClassVar[tuple[str, ...]] = tuple(
        name for name in StoreConformance.ODD_NAMES if not {"\n", "\t"} & set(name)
    )

    @pytest.fixture
    def store(self, store_of: Callable[..., RcloneStore]) -> Store:
        return store_of()

    @pytest.fixture
    def put(self, root: Path) -> Put:
        def put(key: str, data: bytes) -> None:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

        return put

    @pytest.fixture
    def remove(self, root: Path) -> Remove:
        return lambda key: (root / key).unlink()

    @pytest.fixture
    def make_unreachable(self, store_of: Callable[..., RcloneStore]) -> MakeUnreachable:
        return lambda: store_of("rclone:web:", webdav(free_ports(1)[0]), retries=0)


def test_is_registered_under_its_scheme() -> None:
    assert load("stores", "rclone") is RcloneStore


def refused(store: Store) -> CouldNotVerify:
    """Why a store cannot be listed; no secret is told."""
    with pytest.raises(CouldNotVerify) as failure:
        list(store.list(""))
    assert failure.value.cause and failure.value.remedy
    assert PASSWORD not in str(failure.value) and "http://" not in str(failure.value)
    return failure.value


def test_only_reading_verbs_are_run(store_of: Callable[..., RcloneStore]) -> None:
    for verb in ("delete", "copy", "sync", "rcat", "config"):
        with pytest.raises(RuntimeError, match="only reads"):
            next(rclone_program.output(store_of().settings, verb, "--", "disk:"))


def test_what_is_not_there(store_of: Callable[..., RcloneStore], root: Path) -> None:
    (root / "one").write_bytes(b"1")
    assert "the store's directory is not there" in refused(store_of(f"rclone:disk:{root}/missing")).cause
    assert "is not a directory" in refused(store_of(f"rclone:disk:{root}/one")).cause
    missing = refused(store_of("rclone:nowhere:x"))
    assert "has no such remote" in missing.cause and "listremotes" in missing.remedy
    assert "does not know this kind of remote" in refused(store_of(config="[disk]\ntype = strange\n")).cause


def test_a_configuration_that_is_a_secret(
    store_of: Callable[..., RcloneStore], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "one").write_bytes(b"1")
    monkeypatch.setenv("TEST_CONFIG", f"[hidden]\ntype = alias\nremote = {root}\n")
    secrets = {"config_text": SecretReference("env", "TEST_CONFIG")}
    assert store_of("rclone:hidden:", options={}, secrets=secrets).read_small("one") == b"1"


def test_a_configuration_that_is_encrypted(
    store_of: Callable[..., RcloneStore], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "one").write_bytes(b"1")
    path = tmp_path / "encrypted.conf"
    path.write_text(f"[hidden]\ntype = alias\nremote = {root}\n")
    encrypt = ["config", "encryption", "set", "--password-command", f"echo {PASSWORD}"]
    subprocess.run([rclone_program.program(), "--config", path, *encrypt], check=True, capture_output=True, timeout=30)
    assert str(root) not in path.read_text()
    secrets = {"config_password": SecretReference("env", "TEST_WORD")}
    monkeypatch.setenv("TEST_WORD", PASSWORD)
    assert store_of("rclone:hidden:", options={"config": path}, secrets=secrets).read_small("one") == b"1"
    monkeypatch.setenv("TEST_WORD", "barley-of-rclone")
    for given in (secrets, {}):
        problem = refused(store_of("rclone:hidden:", options={"config": path}, secrets=given))
        assert "is encrypted, and the password does not open it" in problem.cause


def test_without_its_program(
    store_of: Callable[..., RcloneStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rclone_program, "find", lambda name: None)
    monkeypatch.setattr(rclone_program.sysconfig, "get_path", lambda name: str(tmp_path))
    problem = refused(store_of())
    assert "needs the program rclone" in problem.cause and "[rclone]" in problem.remedy


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]
) -> Iterator[tuple[Path, int]]:
    """A directory, and the port at which rclone serves it by WebDAV."""
    require_program("rclone")
    path, port = tmp_path_factory.mktemp("served"), free_ports(1)[0]
    argv = ["serve", "webdav", str(path), "--addr", f"127.0.0.1:{port}", "--user", "reader", "--pass", PASSWORD]
    process = subprocess.Popen(
        [rclone_program.program(), *argv, "--read-only", "--config", os.devnull, "--dir-cache-time", "0s"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "HOME": str(path)},
    )  # fmt: skip
    until = time.monotonic() + 60
    try:
        while process.poll() is None and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                break
            except OSError:
                time.sleep(0.05)
        (path / "dir").mkdir()
        (path / "dir" / "object").write_bytes(content(SIZE))
        yield path, port
    finally:
        process.kill()
        process.wait()


def test_a_server_and_what_it_denies(store_of: Callable[..., RcloneStore], served: tuple[Path, int]) -> None:
    store = store_of("rclone:web:dir", webdav(served[1]))
    assert [each.key for each in store.list("")] == ["object"]
    assert read(store, found(store, "object")) == content(SIZE)
    assert "the remote denies access" in refused(store_of("rclone:web:dir", webdav(served[1], "barley"))).cause


def test_what_breaks_and_what_stalls(store_of: Callable[..., RcloneStore], served: tuple[Path, int]) -> None:
    proxy = TcpProxy(("127.0.0.1", served[1]))
    try:
        artifact = found(store_of("rclone:web:dir", webdav(served[1])), "object")
        store = store_of("rclone:web:dir", webdav(proxy.port), retries=3)
        reader = store.open(artifact)
        begun = next(reader)
        assert begun + b"".join(reader) == content(SIZE)
        proxy.otherwise = Break("cut", 3 << 20)
        assert read(store, artifact) == content(SIZE)
        proxy.otherwise = Break("stall", 1 << 20)
        stalled = store_of("rclone:web:dir", webdav(proxy.port), read_deadline=1.0, retries=0)
        with pytest.raises(CouldNotVerify, match=r"in time|gave up") as failure:
            read(stalled, artifact)
        assert failure.value.stage is Stage.FETCH
    finally:
        proxy.close()


def test_replaced_while_it_is_read_by_something_of_the_same_size(
    store_of: Callable[..., RcloneStore], root: Path
) -> None:
    (root / "object").write_bytes(content(SIZE))
    store = store_of()
    reader = store.open(found(store, "object"))
    next(reader)
    (root / "object").write_bytes(content(SIZE, 2))
    with pytest.raises(BackupFailed, match="it changed while it was read"):
        list(reader)


def test_a_bucket(store_of: Callable[..., RcloneStore], seaweed: S3Server) -> None:
    for key in ("remote/a/one", "remote/ab", "remoted"):
        seaweed.client().put_object(Bucket="backups", Key=key, Body=content(5000))
    lines = ("[s3]", "type = s3", "provider = Other", f"endpoint = {seaweed.endpoint}", "access_key_id = {}",
             "secret_access_key = {}", "")  # fmt: skip
    store = store_of("rclone:s3:backups/remote", "\n".join(lines).format(*KEYS["reader"]))
    assert sorted(each.key for each in store.list("")) == ["a/one", "ab"]
    assert [each.key for each in store.list("a/")] == ["a/one"]
    assert read(store, found(store, "a/one")) == content(5000)
    assert store.stat("a") is store.stat("missing") is None
    nowhere = store_of("rclone:s3:no-such-bucket/x", "\n".join(lines).format(*KEYS["admin"]))
    assert "the store's directory is not there" in refused(nowhere).cause
    wrong = store_of("rclone:s3:backups/remote", "\n".join(lines).format(KEYS["reader"][0], "another-secret"))
    assert "the remote denies access" in refused(wrong).cause
