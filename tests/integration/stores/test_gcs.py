"""The Google Cloud Storage store on fake-gcs-server; what it shares with Azure's is tested there in more depth."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from tests.support.clouds import Cloud, fake_gcs
from tests.support.servers import free_ports
from tests.support.tcp_proxy import Break, TcpProxy

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.registry import load
from restore_drill.secrets import SecretReference
from restore_drill.stores import trying
from restore_drill.stores.base import Store, StoreSettings
from restore_drill.stores.gcs import GcsStore
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read

StoreOf = Callable[..., GcsStore]
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "FIRST_PAUSE", 0.001)
    for name in [name for name in os.environ if name.startswith("GOOGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEST_TOKEN", "token-of-tests-1")
    # What an environment says decides nothing about where is read from.
    monkeypatch.setenv("GOOGLE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_BUCKET", "another")
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere.json")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with fake_gcs(tmp_path_factory.mktemp("gcs")) as running:
        yield running


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    name = f"test-{next(_numbers)}"
    cloud.google("POST", "/storage/v1/b?project=tests", f'{{"name": "{name}"}}'.encode())
    return name


@pytest.fixture
def put(cloud: Cloud, bucket: str) -> Put:
    def put(key: str, data: bytes) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
        cloud.google("POST", path, data, "application/octet-stream")

    return put


@pytest.fixture
def store_of(cloud: Cloud, bucket: str) -> Iterator[StoreOf]:
    """Makes stores with short deadlines, closed at the end."""
    made: list[GcsStore] = []

    def make(prefix: str = "", port: int = 0, **more: Any) -> GcsStore:
        options = {"endpoint": cloud.endpoint(port), **more.pop("options", {})}
        secrets = more.pop("secrets", {"token": SecretReference("env", "TEST_TOKEN")})
        given = {"connect_deadline": 5.0, "read_deadline": 20.0, "retries": 2, **more}
        settings = StoreSettings("vault", f"gs://{bucket}/{prefix}", options=options, secrets=secrets, **given)
        made.append(GcsStore(settings))
        return made[-1]

    yield make
    for store in made:
        store.close()


class TestGcs(StoreConformance):
    """A bucket of its own each test."""

    #: What the library cannot handle is refused (see the tests of Azure's).
    ODD_NAMES: ClassVar[tuple[str, ...]] = tuple(
        name for name in StoreConformance.ODD_NAMES if not {"\n", "\t"} & set(name)
    )
    NOWHERE: ClassVar[tuple[str, ...]] = ("", "dir", "dir/", "dir/one/below")

    @pytest.fixture
    def store(self, store_of: StoreOf) -> Store:
        return store_of()

    @pytest.fixture
    def put(self, put: Put) -> Put:
        return put

    @pytest.fixture
    def remove(self, cloud: Cloud, bucket: str) -> Remove:
        return lambda key: cloud.google("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")

    @pytest.fixture
    def make_unreachable(self, store_of: StoreOf) -> MakeUnreachable:
        return lambda: store_of(port=free_ports(1)[0], retries=1)


def test_is_registered_under_its_scheme() -> None:
    assert load("stores", "gs") is GcsStore


def test_what_is_not_there_and_what_is_no_key(store_of: StoreOf, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("one", b"1")
    assert read(store_of(secrets={}, options={"anonymous": True}), found(store_of(), "one")) == b"1"
    monkeypatch.setenv("TEST_KEY", '{"type": "service_account"}')
    store = store_of(secrets={"service_account_key": SecretReference("env", "TEST_KEY")})
    with pytest.raises(CouldNotVerify, match="service account's key cannot be used") as failure:
        list(store.list(""))
    assert failure.value.remedy


def test_a_name_that_the_library_cannot_handle(store_of: StoreOf, put: Put) -> None:
    put("plain/one", b"1")
    put("odd/one//two", b"1")
    with pytest.raises(CouldNotVerify, match="a name that the library cannot handle"):
        list(store_of().list(""))
    assert [each.key for each in store_of("plain").list("")] == ["one"]


@pytest.mark.parametrize("ranges", [1, 3])
def test_a_server_that_knows_no_condition_and_breaks(cloud: Cloud, store_of: StoreOf, put: Put, ranges: int) -> None:
    size = 20 << 20
    put("object", content(size))
    artifact = found(store_of(), "object")
    proxy = TcpProxy(("127.0.0.1", cloud.port))
    try:
        proxy.breaks.extend([Break("cut", 3 << 20), Break("reset", 100)])
        assert read(store_of(port=proxy.port, ranges=ranges), artifact) == content(size)
        proxy.breaks.append(Break("cut", 3 << 20))
        reader = store_of(port=proxy.port).open(artifact)
        next(reader)
        put("object", content(size, 2))
        with pytest.raises(BackupFailed, match="was replaced"):
            list(reader)
    finally:
        proxy.close()
