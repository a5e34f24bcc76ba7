"""A connection to S3 that can read and nothing else, and how long it goes on trying."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from restore_drill.errors import CouldNotVerify
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.s3_errors import diagnose
from restore_drill.stores.trying import Diagnosis, Patience, could_not_verify


class ReadOnlyClient:
    """What the store may ask of S3: four operations, each a plain function, and nothing of the client behind them.

    A second lock is in the client itself: a request that is neither GET nor HEAD is refused before it is sent.
    """

    __slots__ = ("close", "get_object", "get_object_attributes", "head_object", "list_objects_v2")

    def __init__(self, client: Any) -> None:
        client.meta.events.register_first("before-send.s3", refuse_to_write)
        self.list_objects_v2 = _only(client, "list_objects_v2")
        self.head_object = _only(client, "head_object")
        self.get_object = _only(client, "get_object")
        self.get_object_attributes = _only(client, "get_object_attributes")
        self.close = _only(client, "close")


def _only(client: Any, name: str) -> Callable[..., Any]:
    def operation(**parameters: Any) -> Any:
        return getattr(client, name)(**parameters)

    return operation


def refuse_to_write(request: Any, **_: Any) -> None:
    """Handle botocore's ``before-send``: end whatever would not just read.

    Raises:
        RuntimeError: The request is neither GET nor HEAD.
    """
    if request.method not in ("GET", "HEAD"):
        raise RuntimeError(f"this client only reads; it does not send {request.method}")


class Connection:
    """One client a process, made when it is first needed.

    Args:
        settings: The store's.
        where: What is said to have been looked at when no client comes about.
    """

    def __init__(self, settings: StoreSettings, where: str) -> None:
        self._settings = settings
        self._where = where
        self._lock = threading.Lock()
        self._client: ReadOnlyClient | None = None
        self._process = 0

    @property
    def client(self) -> ReadOnlyClient:
        """The client.

        Raises:
            CouldNotVerify: The profile, the endpoint or a secret is unusable.
        """
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client, self._process = self._connect(), os.getpid()
            return self._client

    def request(self, operation: str, parameters: Mapping[str, Any]) -> Any:
        """Send one request, again where that may help.

        Raises:
            RequestFailed: It has no answer that could be used.
        """
        patience = Patience(self._settings.retries)
        while True:
            try:
                return self.attempt(operation, parameters)
            except Exception as problem:
                diagnosis = diagnose(problem)
                if diagnosis is None:
                    raise
                if not patience.bears(diagnosis):
                    raise RequestFailed(diagnosis) from problem

    def attempt(self, operation: str, parameters: Mapping[str, Any]) -> Any:
        """Send one request once; errors come as botocore raises them."""
        return getattr(self.client, operation)(**parameters)

    def close(self) -> None:
        """Give up the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _connect(self) -> ReadOnlyClient:
        return ReadOnlyClient(make_client(self._settings, self._where))


def make_client(settings: StoreSettings, where: str) -> Any:
    """A client of boto3 as the settings say: the store wraps it, the state of drills writes with one of its own.

    Args:
        settings: Options ``endpoint``, ``region``, ``profile``, ``path_style``, and the credentials.
        where: What is said to have been looked at when no client comes about.

    Raises:
        CouldNotVerify: The profile, the endpoint or a secret is unusable.
    """
    import boto3  # takes a tenth of a second, which only those who use it should pay

    secrets = {name: secret.resolve() for name, secret in settings.secrets.items()}
    options = settings.options
    endpoint = _checked(secrets.pop("endpoint", None) or options.get("endpoint"), where)
    try:
        session = boto3.Session(profile_name=options.get("profile"), region_name=options.get("region"))
        return session.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=secrets.get("access_key_id"),
            aws_secret_access_key=secrets.get("secret_access_key"),
            aws_session_token=secrets.get("session_token"),
            config=_config(settings),
        )
    except Exception as problem:
        diagnosis = diagnose(problem)
        if isinstance(problem, ValueError) and diagnosis is None:
            raise _no_url(where) from problem
        if diagnosis is None:
            raise
        raise could_not_verify(diagnosis, where) from problem


def _config(settings: StoreSettings) -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=settings.connect_deadline,
        read_timeout=settings.read_deadline,
        # Repeating is done here, where the deadlines and what has already arrived are known.
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=max(10, settings.ranges + 2),
        s3={"addressing_style": "path" if settings.options.get("path_style") else "auto"},
        # Everything is hashed anyway, against a digest that does not come from the store.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        tcp_keepalive=True,
        user_agent_extra="restore-drill",
    )


def _checked(endpoint: str | None, where: str) -> str | None:
    if not endpoint:
        return None
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise _no_url(where)
    return endpoint


def _no_url(where: str) -> CouldNotVerify:
    return CouldNotVerify("the store's endpoint is not a URL", looked_at=where, remedy="Write https://host:port.")


class RequestFailed(Exception):
    """A request that was given up, with the reason."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.cause)
        self.diagnosis = diagnosis
