"""A container engine: Docker's interface, as Podman serves it too, over a Unix socket or the network."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.containers.hijack import Hijack, HijackRefused

if TYPE_CHECKING:
    from docker.api.client import APIClient

_DOCKER: Final = "Docker Engine"
_LOCAL: Final = "unix:///var/run/docker.sock"
#: Seconds in which the engine answers a question.
_PATIENCE: Final = 60
#: Seconds in which a connection to it is made, or refused, and its version told.
_CONNECT: Final = 10.0
#: The oldest version of the interface that the library speaks; every engine tells its own under any.
_FLOOR: Final = "1.24"
_PLAIN_PORT: Final = 2375
_NOT_FOUND: Final = 404
_MESSAGE_LIMIT: Final = 500


class Missing(Exception):
    """The engine does not know what it was asked about."""


class Refused(Exception):
    """The engine said no.

    Args:
        message: In its own words.
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Engine:
    """One container engine; safe to be used by several threads at once. Use :func:`connect`.

    Args:
        host: Its URL: ``unix://``, ``tcp://`` or ``ssh://``.

    Raises:
        CouldNotVerify: It cannot be reached.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        #: Whether it runs on another machine, so that no directory of this one can be mounted.
        self.remote = not host.startswith("unix://")
        self._tunnel: Any = None
        self._url = host
        if host.startswith("ssh://"):
            from restore_drill.sandboxes.containers.tunnel import Tunnel

            self._tunnel = Tunnel(host)
            self._url = f"unix://{self._tunnel.socket}"
        self._tls = self._tls_directory()
        self._version = ""
        try:
            self.api = self.new_client()
        except CouldNotVerify:
            self._end_tunnel()
            raise
        with self.asking("say which one it is"):
            self.version: dict[str, Any] = self.api.version()
        self._about: dict[str, Any] | None = None

    @property
    def about(self) -> dict[str, Any]:
        """What it says of itself (``docker info``), asked once."""
        if self._about is None:
            with self.asking("describe itself"):
                self._about = self.api.info()
        return self._about

    @property
    def place(self) -> Path | None:
        """Where it keeps what containers write, when that can be seen from here."""
        root = str(self.about.get("DockerRootDir") or "")
        return Path(root) if root and not self.remote and Path(root).is_dir() else None

    @property
    def kind(self) -> str:
        """``Podman Engine`` or ``Docker Engine``, as the first component of its version is called."""
        components = self.version.get("Components") or []
        name = str(components[0].get("Name", "")) if components else ""
        return name if "podman" in name.lower() else _DOCKER

    @property
    def tells_shortages(self) -> bool:
        """Whether it tells that the kernel ended a program beside a container's first process; Podman does not."""
        return self.kind == _DOCKER

    def new_client(self, patience: float = _PATIENCE) -> APIClient:
        """Another client with connections of its own, for a thread of its own.

        Raises:
            CouldNotVerify: The engine cannot be reached.
        """
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        try:
            if not self._version:
                # Asked without the library's help, which would let variables of the environment choose whom to trust.
                self._version = str(self._client(_FLOOR, _CONNECT).version(api_version=False)["ApiVersion"])
            made = self._client(self._version, patience)
        except (DockerException, RequestException, OSError) as problem:
            raise unreachable(self.host, problem) from problem
        return made

    def _client(self, version: str, patience: float) -> APIClient:
        from docker.api.client import APIClient
        from docker.tls import TLSConfig

        tls: Any = False
        if self._tls:
            pair = (str(self._tls / "cert.pem"), str(self._tls / "key.pem"))
            tls = TLSConfig(client_cert=pair, ca_cert=str(self._tls / "ca.pem"), verify=True)
        made = APIClient(base_url=self._url, version=version, timeout=patience, tls=tls)
        made.trust_env = False
        return made

    @contextlib.contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Translate what goes wrong while the engine is asked for something.

        Args:
            what: What it was asked to do, in words that follow "the container engine did not".

        Raises:
            Missing: It knows no such thing.
            Refused: It said no.
            CouldNotVerify: It could not be reached, or gave no answer.
        """
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except APIError as problem:
            message = str(problem.explanation or problem)[:_MESSAGE_LIMIT]
            status = problem.response.status_code if problem.response is not None else 0
            raise _refusal(message, status) from problem
        except HijackRefused as problem:
            raise _refusal(str(problem), problem.status) from problem
        except (DockerException, RequestException, HTTPError, OSError) as problem:
            raise CouldNotVerify(
                f"the container engine did not {what}: {type(problem).__name__}",
                looked_at=self.host,
                remedy="Look at the engine's own log, and whether it still runs.",
                details=(str(problem)[:_MESSAGE_LIMIT],),
            ) from problem

    def hijack(self, path: str, body: Any = None) -> Hijack:
        """Send a request whose connection then carries a program's streams.

        Raises:
            Missing: There is no such thing.
            Refused: The engine said no.
            CouldNotVerify: It could not be reached.
        """
        with self.asking("open a stream"):
            return Hijack(self._connect(), f"/v{self.api.api_version}{path}", body)

    def close(self) -> None:
        """Let go of its connections."""
        self.api.close()
        self._end_tunnel()

    def _end_tunnel(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()

    def _connect(self) -> socket.socket:
        if self._url.startswith("unix://"):
            line = socket.socket(socket.AF_UNIX)
            try:
                line.settimeout(_CONNECT)
                line.connect(self._url.removeprefix("unix://"))
            except BaseException:
                line.close()
                raise
            return line
        name, _, port = self._url.partition("://")[2].rstrip("/").rpartition(":")
        plain = socket.create_connection((name.strip("[]"), int(port or _PLAIN_PORT)), timeout=_CONNECT)
        if not self._tls:
            return plain
        context = ssl.create_default_context(cafile=str(self._tls / "ca.pem"))
        context.load_cert_chain(self._tls / "cert.pem", self._tls / "key.pem")
        return context.wrap_socket(plain, server_hostname=name.strip("[]"))

    def _tls_directory(self) -> Path | None:
        """Where this user's certificates for engines are, when Docker's own variable asks for them."""
        if not self.host.startswith("tcp://") or not os.environ.get("DOCKER_TLS_VERIFY"):
            return None
        return Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")


def connect(host: str = "") -> Engine:
    """The engine that a target, or ``DOCKER_HOST``, or nobody names; one for each process.

    Raises:
        CouldNotVerify: It cannot be reached; the cause says whether that is for want of a right.
    """
    host = host or os.environ.get("DOCKER_HOST", "") or _LOCAL
    with _connecting:
        if host not in _engines:
            _engines[host] = Engine(host)
        return _engines[host]


def _refusal(message: str, status: int) -> Missing | Refused:
    return Missing(message) if status == _NOT_FOUND else Refused(message, status)


def unreachable(host: str, problem: BaseException) -> CouldNotVerify:
    """The error for an engine that does not answer."""
    text = str(problem)
    if "Permission denied" in text or "PermissionError" in text:
        cause, remedy = (
            "this user may not use the container engine",
            "Add the user to the group that owns the engine's socket, or set sandbox: directory.",
        )
    else:
        cause, remedy = (
            "no container engine answers",
            "Start Docker Engine (or podman system service), set DOCKER_HOST or the sandbox's host, or set "
            "sandbox: directory.",
        )
    return CouldNotVerify(cause, looked_at=host, remedy=remedy, details=(text[:_MESSAGE_LIMIT],))


def close_all() -> None:
    """Let go of all engines of this process; the next one that is asked for is connected to anew."""
    with _connecting:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()


def _forget() -> None:
    """A forked copy of this process makes connections of its own."""
    global _connecting  # noqa: PLW0603 - the lock may have been held by a thread that is not here
    _connecting = threading.Lock()
    _engines.clear()


_connecting = threading.Lock()
_engines: dict[str, Engine] = {}
os.register_at_fork(after_in_child=_forget)
