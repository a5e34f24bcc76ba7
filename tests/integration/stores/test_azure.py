"""The Azure store on azurite, and what goes wrong between us and it."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.support.clouds import ACCOUNT, ACCOUNT_KEY, Cloud, azurite
from tests.support.servers import free_ports
from tests.support.tcp_proxy import Break, TcpProxy

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.registry import load
from restore_drill.secrets import SecretReference
from restore_drill.stores import trying
from restore_drill.stores.azure import AzureStore
from restore_drill.stores.base import Store, StoreSettings
from restore_drill.stores.cloud_worker import PART
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read

StoreOf = Callable[..., AzureStore]
SIZE = 20 << 20
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "FIRST_PAUSE", 0.001)
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEST_ACCOUNT_KEY", ACCOUNT_KEY)
    # What an environment says decides nothing about where is read from.
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AZURE_CONTAINER_NAME", "another")
    monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", "sv=1&sig=another")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[Cloud]:
    with azurite(tmp_path_factory.mktemp("azurite"), require_program) as running:
        yield running


@pytest.fixture
def container(cloud: Cloud) -> Any:
    return cloud.azure().create_container(f"test-{next(_numbers)}")


@pytest.fixture
def store_of(cloud: Cloud, container: Any) -> Iterator[StoreOf]:
    """Makes stores with short deadlines, closed at the end: ``store_of(prefix, port=…, secrets=…)``."""
    made: list[AzureStore] = []

    def make(prefix: str = "", port: int = 0, **more: Any) -> AzureStore:
        options = {"account": ACCOUNT, "endpoint": f"{cloud.endpoint(port)}/{ACCOUNT}", **more.pop("options", {})}
        secrets = more.pop("secrets", {"account_key": SecretReference("env", "TEST_ACCOUNT_KEY")})
        given = {"connect_deadline": 5.0, "read_deadline": 20.0, "retries": 2, **more}
        url = given.pop("url", f"az://{container.container_name}/{prefix}")
        made.append(AzureStore(StoreSettings("vault", url, options=options, secrets=secrets, **given)))
        return made[-1]

    yield make
    for store in made:
        store.close()


class TestAzure(StoreConformance):
    """A container of its own each test."""

    #: What the library cannot handle is refused, which :func:`test_a_name_that_the_library_cannot_handle` looks at;
    #: Azure itself makes a slash of a backslash.
    ODD_NAMES: ClassVar[tuple[str, ...]] = tuple(
        name for name in StoreConformance.ODD_NAMES if not {"\n", "\t", "\\"} & set(name)
    )
    NOWHERE: ClassVar[tuple[str, ...]] = ("", "dir", "dir/", "dir/one/below")

    @pytest.fixture
    def store(self, store_of: StoreOf) -> Store:
        return store_of()

    @pytest.fixture
    def put(self, container: Any) -> Put:
        return lambda key, data: container.upload_blob(key, data, overwrite=True)

    @pytest.fixture
    def remove(self, container: Any) -> Remove:
        return container.delete_blob

    @pytest.fixture
    def make_unreachable(self, store_of: StoreOf) -> MakeUnreachable:
        return lambda: store_of(port=free_ports(1)[0], retries=1)

    def test_lists_more_than_a_page(self, store: Store, put: Put) -> None:
        """Azurite's pages hold 5,000, too many to write here; the library pages, and Google's pages are small."""
        keys = [f"many/{number % 3}/{number:04d}" for number in range(130)]
        for key in keys:
            put(key, b"")
        assert sorted(artifact.key for artifact in store.list("many/")) == sorted(keys)


def test_is_registered_under_its_scheme() -> None:
    assert load("stores", "az") is AzureStore


def refused(store: Store, key: str = "") -> CouldNotVerify:
    """Why a store cannot be listed, or an object of it be looked at; no secret and no url is told."""
    with pytest.raises(CouldNotVerify) as failure:
        store.stat(key) if key else list(store.list(""))
    assert failure.value.cause and failure.value.remedy
    for hidden in (ACCOUNT_KEY, "sig=", "http://", "comp=list"):
        assert hidden not in str(failure.value)
    return failure.value


@pytest.mark.parametrize("odd", ["one//two", "new\nline"])
def test_a_name_that_the_library_cannot_handle(store_of: StoreOf, container: Any, odd: str) -> None:
    container.upload_blob("plain/one", b"1")
    container.upload_blob(f"odd/{odd}", b"1")
    name = "a name that the library cannot handle"
    assert name in refused(store_of()).cause and name in refused(store_of("odd")).cause
    assert name in refused(store_of("odd"), odd).cause
    assert [each.key for each in store_of("plain").list("")] == ["one"]


def test_markers_of_directories_are_no_objects(store_of: StoreOf, container: Any) -> None:
    for key in ("dir/", "dir/one", "solo/", "empty"):
        container.upload_blob(key, b"")
    container.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
    store = store_of()
    assert [each.key for each in store.list("")] == ["dir/one", "empty"]
    assert store.stat("solo") is store.stat("folder") is None
    assert store.stat("empty") is not None


def test_below_a_prefix(store_of: StoreOf, container: Any) -> None:
    for key in ("pre/fix/a/one", "pre/fix/ab", "pre/fixed", "a/one"):
        container.upload_blob(key, b"1")
    store = store_of("pre/fix")
    assert [each.key for each in store.list("")] == ["a/one", "ab"]
    assert [each.key for each in store.list("a")] == ["a/one", "ab"]
    assert read(store, found(store, "a/one")) == b"1"
    assert store.where("a") == f"az://{container.container_name}/pre/fix/a"


def test_metadata_and_the_digest_in_it(store_of: StoreOf, container: Any) -> None:
    container.upload_blob("one", b"abc", metadata={"Taken": "2026-01-01", "sha256": "0" * 64})
    store = store_of()
    artifact = found(store, "one")
    assert store.metadata(artifact) == {"taken": "2026-01-01", "sha256": "0" * 64}
    (digest,) = store.recorded_digests(artifact)
    assert (digest.algorithm, digest.by_uploader) == ("sha256", True)
    container.upload_blob("one", b"abd", overwrite=True)
    with pytest.raises(BackupFailed, match="was replaced"):
        store.metadata(artifact)


def test_signatures(store_of: StoreOf, container: Any, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    container.upload_blob("one", b"1")
    name, until = container.container_name, datetime.now(UTC) + timedelta(hours=1)
    secrets = {"sas_token": SecretReference("env", "TEST_SAS")}
    for rights, when, cause in (
        (ContainerSasPermissions(read=True, list=True), until, ""),
        (ContainerSasPermissions(read=True), until, "the service denies access"),
        (ContainerSasPermissions(read=True, list=True), until - timedelta(days=1), "the service denies access"),
    ):
        token = generate_container_sas(ACCOUNT, name, ACCOUNT_KEY, permission=rights, expiry=when)
        monkeypatch.setenv("TEST_SAS", token)
        store = store_of(secrets=secrets)
        if cause:
            assert cause in refused(store).cause
        else:
            assert read(store, found(store, "one")) == b"1"


def test_what_is_denied_and_what_is_not_there(store_of: StoreOf, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(store_of().list("")) == []
    nowhere = store_of(url="az://no-such-container")
    assert "no such bucket or container" in refused(nowhere).cause
    assert "no such bucket or container" in refused(nowhere, "one").cause
    monkeypatch.setenv("TEST_ACCOUNT_KEY", ACCOUNT_KEY.replace("Eby", "Zby"))
    assert "the service denies access" in refused(store_of()).cause
    assert "the service denies access" in refused(store_of(), "one").cause
    monkeypatch.setenv("TEST_ACCOUNT_KEY", "@@@@@@@@")
    assert "the account_key is no key" in refused(store_of()).cause
    assert "denies access" in refused(store_of(secrets={}, options={"anonymous": True})).cause
    assert "not a URL" in refused(store_of(options={"endpoint": "127.0.0.1:1"})).cause
    plain = cloud.endpoint().replace("http:", "https:")
    assert "speak TLS" in refused(store_of(secrets={}, options={"endpoint": plain, "anonymous": True})).cause


def test_without_its_library(store_of: StoreOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    problem = refused(store_of())
    assert problem.cause == "a store of az: needs obstore, which is not installed"
    assert problem.remedy == "pip install 'pytest-restore-drill[azure]'"


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[TcpProxy]:
    proxy = TcpProxy(("127.0.0.1", cloud.port))
    yield proxy
    proxy.close()


@pytest.fixture
def through(store_of: StoreOf, container: Any, proxy: TcpProxy) -> Callable[..., tuple[AzureStore, Artifact]]:
    """A store behind the proxy, and an object in it."""
    container.upload_blob("object", content(SIZE))

    def make(**more: Any) -> tuple[AzureStore, Artifact]:
        return store_of(port=proxy.port, **more), found(store_of(), "object")

    return make


@pytest.mark.parametrize(("kind", "ranges"), [("cut", 1), ("reset", 1), ("cut", 3)])
def test_a_broken_connection_is_taken_up_again(
    proxy: TcpProxy, through: Callable[..., Any], kind: str, ranges: int
) -> None:
    proxy.breaks.extend([Break(kind, 2 << 20), Break(kind, 5 << 20), Break(kind, 100)])
    store, artifact = through(ranges=ranges)
    assert artifact.size > 2 * PART
    assert read(store, artifact) == content(SIZE)
    assert proxy.connections >= 4


def test_a_stall_ends_at_the_deadline(proxy: TcpProxy, through: Callable[..., Any]) -> None:
    proxy.breaks.append(Break("stall", 3 << 20))
    store, artifact = through(read_deadline=2.0)
    assert read(store, artifact) == content(SIZE)
    proxy.otherwise = Break("stall", 100)
    store, artifact = through(read_deadline=2.0, retries=0)
    with pytest.raises(CouldNotVerify, match="does not answer in time") as failure:
        read(store, artifact)
    assert failure.value.stage is Stage.FETCH
    assert "does not answer in time" in refused(store).cause


def test_a_connection_that_breaks_again_and_again(proxy: TcpProxy, through: Callable[..., Any]) -> None:
    proxy.breaks.append(Break("cut", 3 << 20))
    proxy.otherwise = Break("cut", 100)
    store, artifact = through()
    with pytest.raises(CouldNotVerify, match=rf"broke; \d+ of {SIZE} bytes had arrived") as failure:
        read(store, artifact)
    assert failure.value.stage is Stage.FETCH and failure.value.remedy


def test_replaced_while_the_connection_was_broken(proxy: TcpProxy, through: Callable[..., Any], container: Any) -> None:
    proxy.breaks.append(Break("cut", 3 << 20))
    store, artifact = through()
    reader = store.open(artifact)
    begun = next(reader)
    container.upload_blob("object", content(SIZE, 2), overwrite=True)
    with pytest.raises(BackupFailed, match="was replaced") as failure:
        for chunk in reader:
            begun += chunk
    assert failure.value.stage is Stage.FETCH
    assert content(SIZE).startswith(begun)


def test_a_process_that_ends_is_no_end_of_the_object(through: Callable[..., Any]) -> None:
    store, artifact = through()
    reader = store.open(artifact)
    begun = next(reader)
    for process in Path("/proc").glob("[0-9]*"):
        if _is_worker_of_ours(process):
            os.kill(int(process.name), signal.SIGKILL)
    assert begun + b"".join(reader) == content(SIZE)


def _is_worker_of_ours(process: Path) -> bool:
    try:
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        return parent == str(os.getpid()) and "cloud_worker.py" in (process / "cmdline").read_text()
    except OSError:
        return False


def test_a_forked_process_asks_by_a_process_of_its_own(store_of: StoreOf, container: Any) -> None:
    container.upload_blob("one", b"1")
    store = store_of()
    assert store.read_small("one") == b"1"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if store.read_small("one") == b"1" else 2
            store.close()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.read_small("one") == b"1"
