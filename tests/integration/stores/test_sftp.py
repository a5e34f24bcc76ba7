"""The SFTP store on a real OpenSSH server, and what goes wrong between us and it."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest
from tests.support.servers import free_ports
from tests.support.ssh_server import SshServer, sshd
from tests.support.tcp_proxy import Break, TcpProxy

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.registry import load
from restore_drill.secrets import SecretReference
from restore_drill.stores import trying
from restore_drill.stores.base import Oddity, Store, StoreSettings
from restore_drill.stores.sftp import SftpStore
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read

StoreOf = Callable[..., SftpStore]
SIZE = 12 << 20
#: What a client that reads asks for (draft-ietf-secsh-filexfer-02, section 6).
READING = {"realpath", "stat", "lstat", "open", "opendir", "close", "closedir", "readlink", "fstat", "read", "readdir"}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "FIRST_PAUSE", 0.001)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[SshServer]:
    """An OpenSSH server; whatever the tests did, its log knows of nothing but reading."""
    with sshd(tmp_path_factory.mktemp("sshd"), require_program) as running:
        yield running
        assert asked_for(running.log) <= READING
        assert set(re.findall(r"^open .* flags (\S+)", running.log, re.M)) <= {"READ"}
        assert set(re.findall(r"bytes read \d+ written (\d+)$", running.log, re.M)) <= {"0"}


def asked_for(log: str) -> set[str]:
    """The operations that an SFTP server logged."""
    return {line.split(" ")[0] for line in log.splitlines() if re.match(r"[a-z]+ (name )?\"", line)}


@pytest.fixture
def store_of(server: SshServer) -> Iterator[StoreOf]:
    """Makes stores with short deadlines, closed at the end: ``store_of(path, port=…, options=…, secrets=…)``."""
    made: list[SftpStore] = []

    def make(path: Path | str, port: int = 0, **more: Any) -> SftpStore:
        options = more.pop("options", None) or {"known_hosts": server.known_hosts}
        secrets = {"private_key": SecretReference("file", str(server.key)), **more.pop("secrets", {})}
        given = {"connect_deadline": 5.0, "read_deadline": 20.0, "retries": 2, **more}
        url = server.url(path, port)
        kept = {name: secret for name, secret in secrets.items() if secret}
        made.append(SftpStore(StoreSettings("nas", url, options=options, secrets=kept, **given)))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir()
    return path


class TestSftp(StoreConformance):
    """Files of this machine, through the server."""

    @pytest.fixture
    def store(self, store_of: StoreOf, root: Path) -> Store:
        return store_of(root)

    @pytest.fixture
    def put(self, root: Path) -> Put:
        seconds = itertools.count(int(time.time()) - 10**6)

        def put(key: str, data: bytes) -> None:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            second = next(seconds)  # version 3 of the protocol tells no finer time
            os.utime(path, (second, second))

        return put

    @pytest.fixture
    def remove(self, root: Path) -> Remove:
        return lambda key: (root / key).unlink()

    @pytest.fixture
    def make_unreachable(self, store_of: StoreOf, root: Path) -> MakeUnreachable:
        return lambda: store_of(root, free_ports(1)[0], retries=1)

    ODD_NAMES: ClassVar[tuple[str, ...]] = (*StoreConformance.ODD_NAMES, "not \udcff utf-8")


def test_is_registered_under_its_scheme() -> None:
    assert load("stores", "sftp") is SftpStore


def refused(store: Store, *, looked_at: bool = True) -> CouldNotVerify:
    """Why a store cannot be listed; nothing is told of the user, and something of how to mend it."""
    with pytest.raises(CouldNotVerify) as failure:
        list(store.list(""))
    assert bool(failure.value.looked_at) is looked_at and failure.value.remedy
    assert "@" not in failure.value.looked_at
    return failure.value


@pytest.fixture
def strange(server: SshServer, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Options with a known_hosts of one's own."""

    def make(text: str) -> dict[str, Any]:
        path = tmp_path / "known hosts"
        path.write_text(text)
        return {"known_hosts": path}

    return make


@pytest.mark.parametrize(
    "known", ["", "\n", "# nothing\n", "other.example ssh-ed25519 AAAA\n", "no line of known_hosts"]
)
def test_an_unknown_host_key_is_not_taken_on_trust(
    server: SshServer, store_of: StoreOf, root: Path, strange: Callable[[str], dict[str, Any]], known: str
) -> None:
    problem = refused(store_of(root, options=strange(known)))
    listed = subprocess.run(["ssh-keygen", "-lf", server.directory / "host.pub"], capture_output=True, text=True)
    assert listed.stdout.split()[1] in problem.cause
    assert "its host key is unknown" in problem.cause
    assert f"ssh-keyscan -p {server.port} 127.0.0.1 >> '" in problem.remedy


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_host_key_that_changed_is_refused(
    server: SshServer,
    store_of: StoreOf,
    root: Path,
    strange: Callable[[str], dict[str, Any]],
    tmp_path: Path,
    kind: str,
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / "other"], check=True)
    line = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    problem = refused(store_of(root, options=strange(f"[127.0.0.1]:{server.port} {line}\n")))
    assert "another machine answers, or it was set up anew (it offers ssh-ed25519 SHA256:" in problem.cause
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f " in problem.remedy


def test_hashed_and_pinned_host_keys(
    server: SshServer, store_of: StoreOf, root: Path, strange: Callable[[str], dict[str, Any]]
) -> None:
    options = strange(server.known_hosts.read_text())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", options["known_hosts"]], check=True, capture_output=True)
    assert "127.0.0.1" not in options["known_hosts"].read_text()
    assert list(store_of(root, options=options).list("")) == []
    public = (server.directory / "host.pub").read_text().strip()
    assert list(store_of(root, options={"host_key": (public,)}).list("")) == []
    stranger = (server.directory / "stranger.pub").read_text().strip()
    assert "not the one of the option host_key" in refused(store_of(root, options={"host_key": (stranger,)})).cause
    missing = refused(store_of(root, options={"known_hosts": root / "missing"}))
    assert "no known_hosts" in missing.cause and missing.looked_at == str(root / "missing")


def test_keys_that_do_not_open(
    server: SshServer, store_of: StoreOf, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = SecretReference("file", str(server.directory / "stranger"))
    assert "does not let the user log in" in refused(store_of(root, secrets={"private_key": stranger})).cause
    monkeypatch.setenv("NO_KEY", "no key at all")
    no_key = refused(store_of(root, secrets={"private_key": SecretReference("env", "NO_KEY")}))
    assert "no private key that can be read" in no_key.cause
    assert "nothing to log in with" in refused(store_of(root, secrets={"private_key": None})).cause


def test_encrypted_keys(server: SshServer, store_of: StoreOf, root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    key = tmp_path / "encrypted"
    shutil.copy(server.key, key)
    key.chmod(0o600)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key], check=True, capture_output=True
    )
    secrets = {"private_key": SecretReference("file", str(key)), "passphrase": SecretReference("env", "WORD")}
    monkeypatch.setenv("WORD", "open sesame")
    assert list(store_of(root, secrets=secrets).list("")) == []
    for word in ("open barley", ""):
        monkeypatch.setenv("WORD", word)
        given = secrets if word else {"private_key": secrets["private_key"]}
        assert "the private key is encrypted" in refused(store_of(root, secrets=given)).cause


def test_a_password(root: Path, tmp_path: Path, server: SshServer, monkeypatch: Any) -> None:
    (root / "one").write_bytes(content(300_000))

    class Door(asyncssh.SSHServer):  # sshd asks the system for passwords, which has none for tests
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("reader", "sesame-31")

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    key = asyncssh.read_private_key(server.directory / "host")

    async def listen() -> Any:
        return await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=Door, sftp_factory=True)

    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
    try:
        known = tmp_path / "known"
        known.write_text(server.known_as(listener.get_port()))
        for word, cause in (("sesame-31", ""), ("barley-31", "does not let the user log in")):
            monkeypatch.setenv("WORD", word)
            url = f"sftp://reader@127.0.0.1:{listener.get_port()}{root}"
            secrets = {"password": SecretReference("env", "WORD")}
            store = SftpStore(StoreSettings("nas", url, options={"known_hosts": known}, secrets=secrets))
            if cause:
                assert cause in refused(store).cause
            else:
                assert read(store, found(store, "one")) == content(300_000)
            store.close()
    finally:
        loop.call_soon_threadsafe(listener.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_without_its_library(store_of: StoreOf, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    monkeypatch.delitem(sys.modules, "restore_drill.stores.sftp_session", raising=False)
    problem = refused(store_of(root, retries=0), looked_at=False)
    assert problem.cause == "an sftp: store needs asyncssh, which is not installed"
    assert problem.remedy == "pip install 'pytest-restore-drill[sftp]'"


def test_the_agent(
    server: SshServer, store_of: StoreOf, root: Path, tmp_path: Path, require_program: Any, monkeypatch: Any
) -> None:
    options = {"known_hosts": server.known_hosts, "agent": True}
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "s"))
    assert "no SSH agent answers" in refused(store_of(root, options=options, secrets={"private_key": None})).cause
    agent = subprocess.Popen(
        [require_program("ssh-agent"), "-D", "-a", tmp_path / "s"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert agent.stdout is not None and agent.stdout.readline()
        subprocess.run(["ssh-add", "-q", server.key], check=True)
        assert list(store_of(root, options=options, secrets={"private_key": None}).list("")) == []
    finally:
        agent.kill()
        agent.wait()


def test_through_another_host(server: SshServer, store_of: StoreOf, root: Path) -> None:
    (root / "one").write_bytes(content(1 << 20))
    jump = f"{server.user}@127.0.0.1:{server.port}"
    store = store_of(root, options={"known_hosts": server.known_hosts, "jump": jump})
    assert read(store, found(store, "one")) == content(1 << 20)
    nowhere = f"{server.user}@127.0.0.1:{free_ports(1)[0]}"
    problem = refused(store_of(root, options={"known_hosts": server.known_hosts, "jump": nowhere}))
    assert "the SSH server cannot be reached (connection refused)" in problem.cause


def test_what_is_not_there_what_is_denied_and_what_is_no_directory(
    server: SshServer, store_of: StoreOf, root: Path, tmp_path_factory: Any, require_program: Any
) -> None:
    (root / "file").write_bytes(b"x")
    assert "the store's directory is not there" in refused(store_of(root / "missing")).cause
    assert "is not a directory" in refused(store_of(root / "file")).cause
    with sshd(tmp_path_factory.mktemp("denying"), require_program, "-P", "open,opendir") as denying:
        options = {"known_hosts": denying.known_hosts}
        key = {"private_key": SecretReference("file", str(denying.key))}
        store = store_of(root, denying.port, options=options, secrets=key)
        assert "may not read it" in refused(store).cause
        artifact = store.stat("file")
        assert artifact is not None and store.stat("missing") is None
        with pytest.raises(CouldNotVerify, match="may not read it") as failure:
            read(store, artifact)
        assert failure.value.stage is Stage.FETCH


def test_links_and_what_is_no_object(store_of: StoreOf, root: Path, tmp_path: Path) -> None:
    (root / "dir").mkdir()
    (root / "dir" / "one").write_bytes(b"1")
    (tmp_path / "outside").write_bytes(b"secret")
    for name, target in {
        "inner": "dir/one",
        "current": "dir",
        "loop": "loop",
        "gone": "nothing",
        "out": "../outside",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    (root / "lost+found").mkdir()
    store = store_of(root)
    odd: list[Oddity] = []
    assert sorted(artifact.key for artifact in store.scan("", odd.append)) == ["dir/one", "inner"]
    assert {each.key: each.what for each in odd} == {
        "dir": "a directory",
        "current": "a symbolic link to a directory",
        "loop": "a symbolic link to nothing",
        "gone": "a symbolic link to nothing",
        "out": "a symbolic link that leads out of the store",
        "fifo": "a FIFO",
    }
    assert [each.key for each in odd if each.is_directory] == ["dir"]
    assert [artifact.key for artifact in store.list("current/")] == ["current/one"]
    assert store.read_small("inner") == store.read_small("current/one") == b"1"
    assert store.stat("fifo") is store.stat("current") is store.stat("gone") is None
    for key in ("out",):
        with pytest.raises(CouldNotVerify, match="leads out of the store"):
            store.stat(key)
    with pytest.raises(BackupFailed, match=r"it is a FIFO"):
        read(store, Artifact("fifo", 0, 0.0))


def test_reading_is_all_that_the_server_sees(server: SshServer, store_of: StoreOf, root: Path) -> None:
    (root / "one").write_bytes(b"1")
    before = len(server.log)
    store = store_of(root)
    assert read(store, found(store, "one")) == b"1"
    store.close()
    asked = server.log[before:]
    assert {"realpath", "stat", "opendir", "open"} <= asked_for(asked) <= READING
    assert re.findall(r"^open .* flags (\S+)", asked, re.M) == ["READ"]


def test_only_directories_that_can_hold_a_prefix_are_read(server: SshServer, store_of: StoreOf, root: Path) -> None:
    for name in ("db/2026/a", "db/2025/a", "wiki/a", "dbs/a"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    before = len(server.log)
    assert [artifact.key for artifact in store_of(root).list("db/2026")] == ["db/2026/a"]
    assert re.findall(r'^opendir ".*/backups(.*)"$', server.log[before:], re.M) == ["/db", "/db/2026"]


def test_a_home_directory_and_a_root_that_is_a_link(store_of: StoreOf, root: Path, tmp_path: Path) -> None:
    (root / "one").write_bytes(b"1")
    (tmp_path / "link").symlink_to(root)
    assert store_of(tmp_path / "link").read_small("one") == b"1"
    relative = os.path.relpath(root / "one", Path.home())
    assert store_of("/~").stat("..") is None
    home = store_of("/~")
    assert ".." in relative or home.stat(relative) is not None


@pytest.fixture
def proxy(server: SshServer) -> Iterator[TcpProxy]:
    proxy = TcpProxy(("127.0.0.1", server.port))
    yield proxy
    proxy.close()


@pytest.fixture
def through(
    server: SshServer, proxy: TcpProxy, store_of: StoreOf, root: Path, tmp_path: Path
) -> Callable[..., tuple[SftpStore, Artifact]]:
    """A store behind the proxy, and an object in it."""
    (root / "object").write_bytes(content(SIZE))
    known = tmp_path / "known"
    known.write_text(server.known_as(proxy.port))

    def make(**more: Any) -> tuple[SftpStore, Artifact]:
        artifact = store_of(root).stat("object")
        assert artifact is not None
        return store_of(root, proxy.port, options={"known_hosts": known}, **more), artifact

    return make


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_broken_connection_is_taken_up_again(
    server: SshServer, proxy: TcpProxy, through: Callable[..., Any], kind: str
) -> None:
    proxy.breaks.extend([Break(kind, 2 << 20), Break(kind, 5 << 20), Break(kind, 500)])
    store, artifact = through()
    before = len(server.log)
    assert read(store, artifact) == content(SIZE)
    assert proxy.connections == 4
    sent = sum(map(int, re.findall(r"bytes read (\d+) written", server.log[before:])))
    assert sent < SIZE + 3 * (4 << 20) + (1 << 20)  # nothing is read twice but what was under way


#: A server that is busy with other tests logs somebody in within this time; how long it is kept waiting costs as much.
_PATIENT = {"connect_deadline": 3.0, "read_deadline": 1.0}


@pytest.mark.parametrize("after", [100, 3 << 20], ids=["while logging in", "in the middle"])
def test_a_stall_ends_at_the_deadline(proxy: TcpProxy, through: Callable[..., Any], after: int) -> None:
    proxy.breaks.append(Break("stall", after))
    store, artifact = through(**_PATIENT)
    assert read(store, artifact) == content(SIZE)
    assert proxy.connections == 2
    store.close()
    proxy.otherwise = Break("stall", after)
    store, artifact = through(**{**_PATIENT, "retries": 0})
    with pytest.raises(CouldNotVerify, match=r"does not answer in time|had arrived") as failure:
        read(store, artifact)
    assert failure.value.stage is Stage.FETCH


def test_a_connection_that_breaks_again_and_again(proxy: TcpProxy, through: Callable[..., Any]) -> None:
    proxy.breaks.append(Break("cut", 3 << 20))
    proxy.otherwise = Break("cut", 3000)
    store, artifact = through()
    with pytest.raises(CouldNotVerify, match=r"broke|ended the connection") as failure:
        read(store, artifact)
    assert re.search(rf"; \d+ of {SIZE} bytes had arrived", failure.value.cause)
    assert failure.value.stage is Stage.FETCH and failure.value.remedy
    assert proxy.connections == 3
    assert "SSH server" in refused(store).cause


def test_replaced_while_the_connection_was_broken(proxy: TcpProxy, through: Callable[..., Any], root: Path) -> None:
    proxy.breaks.append(Break("cut", 3 << 20))
    store, artifact = through()
    reader = store.open(artifact)
    begun = next(reader)
    new = root / "new"
    new.write_bytes(content(SIZE, 2))
    os.utime(new, (artifact.modified + 5, artifact.modified + 5))
    new.rename(root / "object")
    with pytest.raises(BackupFailed, match="it changed after it was listed") as failure:
        for chunk in reader:
            begun += chunk
    assert failure.value.stage is Stage.FETCH
    assert content(SIZE).startswith(begun)


def test_what_speaks_no_ssh(store_of: StoreOf, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert "SSH server" in refused(store_of(root, port, retries=0)).cause
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_forked_process_has_a_connection_of_its_own(store_of: StoreOf, root: Path) -> None:
    (root / "one").write_bytes(b"1")
    store = store_of(root)
    assert store.read_small("one") == b"1"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if store.read_small("one") == b"1" else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.read_small("one") == b"1"
