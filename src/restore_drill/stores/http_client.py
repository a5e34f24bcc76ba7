"""Requests that can read and nothing else: GET and HEAD, to hosts on a list, redirected within bounds.

A redirect (RFC 9110, section 15.4) is followed at most :data:`MOST_REDIRECTS` times, to hosts that are allowed, never
from https to http; credentials go to the origin of the store's url and nowhere else. The address that a connection
really has is looked at before anything is sent, because a name can lead inside.
"""

from __future__ import annotations

import base64
import os
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from restore_drill import __version__, hosts
from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.secrets import register
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.pieces import read_some
from restore_drill.stores.watched import Watched

MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}


class _Looking:
    """Looks at the address of a new connection before anything is sent."""

    def _new_conn(self) -> Any:
        connection = super()._new_conn()  # type: ignore[misc]
        if hosts.is_refused(str(connection.getpeername()[0])):
            connection.close()
            raise CouldNotVerify(
                "the name of the web server leads to an address that serves a machine's own credentials",
                looked_at=str(getattr(self, "host", "")),
                remedy="Find out who changed the name's DNS record.",
            )
        return connection


class _Plain(_Looking, HTTPConnection):
    pass


class _Secure(_Looking, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class Client:
    """A pool of connections a process.

    Args:
        settings: The store's.
        where: What is said to have been looked at when no request comes about.
    """

    def __init__(self, settings: StoreSettings, where: str) -> None:
        self._settings = settings
        self._where = where
        self._origin = origin(settings.url)
        self._lock = threading.Lock()
        self._pools: Any = None
        self._watched: Watched | None = None
        self._process = 0
        self._secrets: dict[str, str] = {}

    @property
    def secrets(self) -> dict[str, str]:
        """The credentials, read when they are first needed.

        Raises:
            SecretUnavailable: One is not there.
        """
        if not self._secrets and self._settings.secrets:
            found = {name: secret.resolve() for name, secret in self._settings.secrets.items()}
            for name in {"url", "query"} & found.keys():
                # Parts of a signed url turn up by themselves, in errors of the library for one.
                register(found[name].partition("?")[2] or found[name])
            self._secrets = found
        return self._secrets

    def send(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> tuple[Any, str]:
        """Send a request and follow where it leads; the body of the answer is not read yet.

        Args:
            method: ``GET`` or ``HEAD``.
            url: Without its signature.
            headers: Of the request itself; credentials come on top.

        Returns:
            The answer (of urllib3), and the url that gave it.

        Raises:
            CouldNotVerify: It leads where it must not, or too far.
            Exception: As urllib3 raises them.
        """
        if method not in ("GET", "HEAD"):
            raise RuntimeError(f"this client only reads; it does not send {method}")
        here = self._signed(url)
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._send(method, here, {**(headers or {}), **self._authority(here)})
            if answer.status not in _REDIRECTS:
                return answer, here
            target = answer.headers.get("Location", "")
            answer.close()
            here = self._next(here, target)
        raise self._misled(
            f"the web server redirects more than {MOST_REDIRECTS} times", "Is it a loop? Correct the url."
        )

    def whole(self, answer: Any, most: int) -> bytes:
        """The body of an answer that is meant to be small.

        Raises:
            CouldNotVerify: It is larger than ``most`` bytes.
            Exception: As urllib3 raises them; it came short, or so slowly that it would never end.
        """
        chunks, size, begun = [], 0, time.monotonic()
        while piece := read_some(answer, most + 1 - size):
            chunks.append(piece)
            size += len(piece)
            if size > most:
                raise self._misled(f"what the web server lists is larger than {most} bytes", "Name a narrower url.")
            if time.monotonic() - begun > self._settings.read_deadline * (1 + size / (1 << 20)):
                raise DeadlineExceeded("the answer drips in")
        announced = answer.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) != size:
            raise urllib3.exceptions.ProtocolError("cut short")
        return b"".join(chunks)

    def close(self) -> None:
        """Give up the connections."""
        with self._lock:
            if self._pools is not None and self._process == os.getpid():
                self._pools.clear()
            if self._watched is not None:
                self._watched.close()
            self._pools = self._watched = None

    def _send(self, method: str, url: str, headers: Mapping[str, str]) -> Any:
        pools, watched = self._connected()
        settings = self._settings
        timeout = urllib3.Timeout(connect=settings.connect_deadline, read=settings.read_deadline)

        def send() -> Any:
            return pools.request(
                method, url, headers=headers, timeout=timeout, retries=False, redirect=False,
                preload_content=False, decode_content=False,
            )  # fmt: skip

        # A header that drips in byte by byte keeps every single wait short: the whole of it has a deadline too.
        return watched.call(send)

    def _connected(self) -> tuple[Any, Watched]:
        with self._lock:
            if self._pools is None or self._watched is None or self._process != os.getpid():
                pools = urllib3.PoolManager(num_pools=8, maxsize=16, ssl_context=self._trust())
                pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
                self._watched = Watched(self._settings.connect_deadline + self._settings.read_deadline)
                self._pools, self._process = pools, os.getpid()
            return self._pools, self._watched

    def _trust(self) -> ssl.SSLContext:
        file = self._settings.options.get("ca_file")
        try:
            return ssl.create_default_context(cafile=str(file) if file else None)
        except (OSError, ssl.SSLError) as problem:
            raise CouldNotVerify(
                "the store's ca_file cannot be used",
                looked_at=str(file),
                remedy="Let it name a file of PEM certificates that the user who runs the drills can read.",
            ) from problem

    def _authority(self, url: str) -> dict[str, str]:
        """Who we are, for the origin of the store's url only, and what every request says."""
        headers = {"User-Agent": f"restore-drill/{__version__}", "Accept-Encoding": "identity"}
        if origin(url) != self._origin:
            return headers
        secrets, header = self.secrets, self._settings.options.get("token_header")
        if "token" in secrets:
            return headers | ({header: secrets["token"]} if header else {"Authorization": f"Bearer {secrets['token']}"})
        if "username" in secrets:
            plain = f"{secrets['username']}:{secrets.get('password', '')}".encode()
            both = base64.b64encode(plain).decode("ascii")
            register(both)
            return {**headers, "Authorization": f"Basic {both}"}
        return headers

    def _signed(self, url: str) -> str:
        """The url with what proves that we may read it."""
        secrets = self.secrets
        if "url" in secrets:
            return secrets["url"]
        if "query" in secrets:
            return f"{url}?{secrets['query'].lstrip('?')}"
        return url

    def _next(self, here: str, target: str) -> str:
        """Where a redirect leads.

        Raises:
            CouldNotVerify: Where it must not. The target is not quoted whole: it may be signed.
        """
        try:
            there = urljoin(here, target)
            parts = urlsplit(there)
            scheme, host, port = origin(there)
        except ValueError as problem:
            raise self._misled("the web server redirects to what is no url", "Look at the server.") from problem
        shown = f"{scheme}://{host}" + ("" if port == _PORTS.get(scheme) else f":{port}")
        if not target or scheme not in _PORTS or not host or "@" in parts.netloc:
            raise self._misled("the web server redirects to what is no url of a web server", "Look at the server.")
        if scheme == "http" and urlsplit(here).scheme == "https":
            raise self._misled(f"the web server redirects from https to {shown}", "Let it redirect to https.")
        if why := hosts.refusal(f"//{parts.netloc}"):
            raise self._misled(
                f"the web server redirects to a host that is never followed: {why}", "Look at the server."
            )
        if not self._is_allowed(scheme, host, port):
            hint = f"If it belongs to the store, add it: `options: {{hosts: [{shown.partition('//')[2]}]}}`."
            raise self._misled(f"the web server redirects to another host, {shown}", hint)
        return there

    def _is_allowed(self, scheme: str, host: str, port: int) -> bool:
        own_scheme, own_host, own_port = self._origin
        if host == own_host and (port == own_port or (own_port == _PORTS[own_scheme] and port == _PORTS[scheme])):
            return True
        usual = port == _PORTS[scheme]
        named = {str(each).lower() for each in self._settings.options.get("hosts", ())}
        bracketed = f"[{host}]" if ":" in host else host
        return f"{bracketed}:{port}" in named or (usual and bracketed in named)

    def _misled(self, cause: str, remedy: str) -> CouldNotVerify:
        return CouldNotVerify(cause, looked_at=self._where, remedy=remedy)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a url.

    Raises:
        ValueError: It has none.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)
