"""Stores on the servers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.fault_proxy import FaultProxy
from tests.support.servers import KEYS, S3Server, without_credentials

from restore_drill.secrets import SecretReference
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.s3 import S3Store

StoreOf = Callable[..., S3Store]
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in without_credentials(dict(os.environ)).items():
        monkeypatch.setenv(name, value)
    for name in [
        name for name in os.environ if name.startswith("AWS_") and "METADATA" not in name and "FILE" not in name
    ]:
        monkeypatch.delenv(name)


@pytest.fixture
def store_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreOf]:
    """Makes stores with short deadlines, closed at the end: ``store_of(endpoint, url, who="reader", **settings)``."""
    made: list[S3Store] = []

    def make(endpoint: str, url: str, who: str | None = "reader", **more: Any) -> S3Store:
        secrets = {}
        if who:
            for name, value in zip(("access_key_id", "secret_access_key"), KEYS.get(who, (who, who)), strict=True):
                variable = f"TEST_{who.upper()}_{name.upper()}"
                monkeypatch.setenv(variable, value)
                secrets[name] = SecretReference("env", variable)
        options = {"endpoint": endpoint, "region": "us-east-1", "path_style": True, **more.pop("options", {})}
        secrets.update(more.pop("secrets", {}))
        given = {"connect_deadline": 5.0, "read_deadline": 20.0, "retries": 2, **more}
        made.append(S3Store(StoreSettings("offsite", url, options=options, secrets=secrets, **given)))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def place() -> str:
    """A prefix of the bucket ``backups`` that nobody else uses."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def proxy(seaweed: S3Server) -> Iterator[FaultProxy]:
    """A connection to seaweedfs that can be broken."""
    proxy = FaultProxy(seaweed.address)
    yield proxy
    proxy.close()


@pytest.fixture
def versioned(seaweed: S3Server) -> str:
    """A bucket that keeps versions."""
    client = seaweed.client()
    if "versioned" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="versioned")
        client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return "versioned"
