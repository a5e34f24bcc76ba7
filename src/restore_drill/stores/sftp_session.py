"""An SFTP connection that can read and nothing else, run by an event loop in a thread of its own.

The host key is compared with known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") and nothing else: an unknown one is
never taken on trust. ``~/.ssh/config``, the keys in ``~/.ssh`` and agent forwarding are not used.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import shlex
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from restore_drill.errors import CouldNotVerify
from restore_drill.stores.base import StoreSettings

_Result = TypeVar("_Result")
#: Processors encrypt these several times as fast as the library's first choice.
_FAST = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
#: Host keys of other kinds than the known ones, offered behind those: a server that was set up anew is to be told from
#: one that cannot be talked to.
_OTHER_KEYS = "+ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"


class Reader:
    """What the store may ask of an SFTP server: to look, to list and to read.

    Args:
        client: The library's, which is kept out of reach.
    """

    def __init__(self, client: asyncssh.SFTPClient) -> None:
        self.lstat = client.lstat
        self.realpath: Callable[[bytes], Awaitable[bytes]] = client.realpath
        self.scandir = client.scandir
        self.stat = client.stat
        self._open = client.open

    async def open(self, path: bytes) -> asyncssh.SFTPClientFile:
        """A file, for reading (``SSH_FXF_READ`` and no other flag)."""
        return await self._open(path, asyncssh.FXF_READ, encoding=None)


class Session:
    """One connection a process, made when it is first needed and again when it broke.

    Args:
        settings: The store's.
        address: Host, port and user.
        jump: Host, port and user of a host to go through, or ``None``.
        where: What is said to have been looked at when no connection comes about.
    """

    def __init__(
        self, settings: StoreSettings, address: tuple[str, int, str], jump: tuple[str, int, str] | None, where: str
    ) -> None:
        self._settings = settings
        self._address = address
        self._jump = jump
        self._where = where
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._connections: list[asyncssh.SSHClientConnection] = []
        self._reader: Reader | None = None

    def run(self, make: Callable[[Reader], Coroutine[Any, Any, _Result]]) -> _Result:
        """Ask something of the server and wait for the answer, at most ``read_deadline`` seconds.

        Raises:
            CouldNotVerify: The host key is not known, a secret is missing, …
            asyncssh.Error, OSError, TimeoutError: As the library raises them; after one of the connection's, the next
                call makes a new connection.
        """
        reader = self.reader()
        return self.wait(self.begin(make(reader)))

    def reader(self) -> Reader:
        """The connection, made if there is none."""
        with self._lock:
            if self._process != os.getpid():  # a forked child has neither the thread nor the connection
                self._loop, self._reader, self._connections, self._process = None, None, [], os.getpid()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_exception_handler(lambda *_: None)  # of what was given up; the rest is awaited
                threading.Thread(target=_run, args=(self._loop,), name="restore-drill-sftp", daemon=True).start()
            if self._reader is None:
                hops = 2 if self._jump else 1
                patience = hops * 2 * self._settings.connect_deadline + 5
                connecting = asyncio.run_coroutine_threadsafe(self._connect(), self._loop)
                try:
                    self._reader = connecting.result(patience)
                finally:
                    connecting.cancel()  # of no effect on what has ended
            return self._reader

    def begin(self, work: Coroutine[Any, Any, _Result]) -> concurrent.futures.Future[_Result]:
        """Start something in the loop's thread."""
        assert self._loop is not None  # noqa: S101 - there is a reader
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def later(self, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Start something whose outcome does not matter, unless the connection is already given up."""
        with self._lock:
            loop = self._loop
            if self._reader is not None and loop is not None and self._process == os.getpid():
                loop.call_soon_threadsafe(lambda: loop.create_task(make()))

    def wait(self, future: concurrent.futures.Future[_Result]) -> _Result:
        """What something that was begun came to.

        Raises:
            TimeoutError: ``read_deadline`` has passed; the connection is given up.
        """
        try:
            return future.result(self._settings.read_deadline)
        except TimeoutError:
            future.cancel()
            self.drop()
            raise
        except concurrent.futures.CancelledError as problem:  # the connection was given up meanwhile
            raise asyncssh.SFTPConnectionLost("given up") from problem
        except (asyncssh.DisconnectError, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, OSError):
            self.drop()
            raise

    def drop(self) -> None:
        """Give the connection up, whatever it is doing."""
        with self._lock:
            connections, self._connections, self._reader = self._connections, [], None
            if self._loop is not None and self._process == os.getpid():
                for connection in connections:
                    self._loop.call_soon_threadsafe(connection.abort)

    def close(self) -> None:
        """End the connection and its thread."""
        self.drop()
        with self._lock:
            if self._loop is not None and self._process == os.getpid():
                asyncio.run_coroutine_threadsafe(_end(), self._loop)
            self._loop = None

    async def _connect(self) -> Reader:
        tunnel = None
        self._connections = []
        if self._jump:
            tunnel = await self._log_in(self._jump, None)
            self._connections.append(tunnel)
        try:
            connection = await self._log_in(self._address, tunnel)
            self._connections.append(connection)
            opened = connection.start_sftp_client(path_encoding=None)
            return Reader(await asyncio.wait_for(opened, self._settings.connect_deadline))
        except BaseException:
            for each in self._connections:
                each.abort()
            raise

    async def _log_in(
        self, address: tuple[str, int, str], tunnel: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        host, port, user = address
        known = self._known_hosts(host, port)
        offered: list[asyncssh.SSHKey] = []

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
                offered.append(key)
                return False

        secrets = {name: secret.resolve() for name, secret in self._settings.secrets.items()}
        agent, keys = await self._keys(secrets)
        try:
            return await asyncssh.connect(
                host, port, username=user, tunnel=tunnel or (), config=None, client_factory=Client,
                known_hosts=known, client_keys=keys or None, agent_path=None, password=secrets.get("password"),
                connect_timeout=self._settings.connect_deadline, login_timeout=self._settings.connect_deadline,
                gss_kex=False, gss_auth=False, host_based_auth=False, encryption_algs=_FAST,
                server_host_key_algs=_OTHER_KEYS,
            )  # fmt: skip
        except asyncssh.HostKeyNotVerifiable as problem:
            raise self._untrusted(host, port, known, offered[0] if offered else None) from problem
        finally:
            if agent is not None:
                agent.close()

    async def _keys(self, secrets: dict[str, str]) -> tuple[asyncssh.SSHAgentClient | None, list[Any]]:
        """What to log in with: the key that the catalogue names, or those of the agent."""
        keys: list[Any] = []
        if "private_key" in secrets:
            keys.append(_imported(secrets["private_key"], secrets.get("passphrase")))
        if not self._settings.options.get("agent"):
            if not keys and "password" not in secrets:
                raise CouldNotVerify(
                    "the store says nothing to log in with",
                    looked_at=self._where,
                    remedy="Give it `credentials` (private_key or password), or `options: {agent: true}`.",
                )
            return None, keys
        path = os.environ.get("SSH_AUTH_SOCK", "")
        try:
            agent = await asyncio.wait_for(asyncssh.connect_agent(path), self._settings.connect_deadline)
            return agent, [*keys, *await agent.get_keys()]
        except (OSError, ValueError, TimeoutError) as problem:
            raise CouldNotVerify(
                "no SSH agent answers",
                looked_at=f"SSH_AUTH_SOCK={path}",
                remedy="Start one for the user who runs the drills (`ssh-add -l` must list the key), "
                "or give the store a private_key.",
            ) from problem

    def _known_hosts(self, host: str, port: int) -> bytes:
        """The lines that host keys are compared with."""
        pinned = self._settings.options.get("host_key")
        if pinned:
            name = host if port == 22 else f"[{host}]:{port}"
            return "".join(f"{name} {line}\n" for line in pinned).encode()
        path = self._known_hosts_file()
        try:
            return path.read_bytes()
        except OSError as problem:
            raise CouldNotVerify(
                f"there is no known_hosts to compare the server's key with ({os.strerror(problem.errno or 0)})",
                looked_at=str(path),
                remedy="Name one with the store's option `known_hosts`, or the key itself with `host_key`.",
            ) from problem

    def _known_hosts_file(self) -> Path:
        return Path(self._settings.options.get("known_hosts") or Path("~/.ssh/known_hosts").expanduser())

    def _untrusted(self, host: str, port: int, known: bytes, key: asyncssh.SSHKey | None) -> CouldNotVerify:
        """The error for a server whose key is not the known one."""
        offered = f" (it offers {key.get_algorithm()} {key.get_fingerprint()})" if key else ""
        file = shlex.quote(str(self._known_hosts_file()))
        name = shlex.quote(host if port == 22 else f"[{host}]:{port}")
        add = f"`ssh-keyscan -p {port} {shlex.quote(host)} >> {file}`"
        compare = (
            "Compare the fingerprint with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the server"
        )
        if self._settings.options.get("host_key"):
            cause, mend = "its host key is not the one of the option host_key", "if it is the same, correct the option"
        elif _is_known(known, host, port):
            cause = "its host key is not the one in known_hosts: another machine answers, or it was set up anew"
            mend = f"if it is the same, `ssh-keygen -R {name} -f {file}` and {add}"
        else:
            cause, mend = "its host key is unknown", f"if it is the same, {add}"
        return CouldNotVerify(
            f"the SSH server {host}:{port} is not trusted: {cause}{offered}", looked_at=self._where,
            remedy=f"{compare}; {mend}.",
        )  # fmt: skip


def _imported(text: str, passphrase: str | None) -> asyncssh.SSHKey:
    """A private key.

    Raises:
        asyncssh.KeyEncryptionError: The passphrase is missing or wrong.
        asyncssh.KeyImportError: It is no key.
    """
    try:
        return asyncssh.import_private_key(text + "\n", passphrase)
    except asyncssh.KeyImportError as problem:
        if "passphrase" in str(problem).lower():
            raise asyncssh.KeyEncryptionError("encrypted") from problem
        raise


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """The thread of a connection: until it is closed."""
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _end() -> None:
    """End a loop when what still goes on in it has been called off."""
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    loop.call_soon(loop.stop)


def _is_known(known: bytes, host: str, port: int) -> bool:
    """Whether known_hosts has any key of a host."""
    with suppress(ValueError, OSError, asyncssh.Error):
        return any(asyncssh.match_known_hosts(known, host, "", port)[:2])
    return False
