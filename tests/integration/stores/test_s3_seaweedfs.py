"""The S3 store on a real server that checks signatures and rights: seaweedfs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from botocore.awsrequest import AWSRequest
from tests.support.servers import S3Server, free_ports

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.registry import load
from restore_drill.secrets import SecretReference
from restore_drill.stores.base import Store, StoreSettings
from restore_drill.stores.s3 import S3Store
from restore_drill.stores.s3_client import ReadOnlyClient
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read

StoreOf = Callable[..., S3Store]


class TestSeaweedfs(StoreConformance):
    """Read with keys that may list and read, and nothing else; one stream an object."""

    RANGES: ClassVar[int] = 1
    # seaweedfs keeps objects as files of a tree: it turns backslashes into slashes, drops empty parts and refuses "..".
    ODD_NAMES: ClassVar[tuple[str, ...]] = tuple(name for name in StoreConformance.ODD_NAMES if "\\" not in name)
    NOWHERE: ClassVar[tuple[str, ...]] = ("", "dir", "dir/", "dir/one/below")

    @pytest.fixture
    def store(self, seaweed: S3Server, store_of: StoreOf, place: str) -> Store:
        return store_of(seaweed.endpoint, f"s3://backups/{place}", ranges=self.RANGES)

    @pytest.fixture
    def put(self, seaweed: S3Server, place: str) -> Put:
        return lambda key, data: seaweed.client().put_object(Bucket="backups", Key=f"{place}/{key}", Body=data)

    @pytest.fixture
    def remove(self, seaweed: S3Server, place: str) -> Remove:
        return lambda key: seaweed.client().delete_object(Bucket="backups", Key=f"{place}/{key}")

    @pytest.fixture
    def make_unreachable(self, store_of: StoreOf) -> MakeUnreachable:
        return lambda: store_of(f"http://127.0.0.1:{free_ports(1)[0]}", "s3://backups", retries=1)


class TestSeaweedfsByRanges(TestSeaweedfs):
    """Two connections an object."""

    RANGES: ClassVar[int] = 2
    LARGE: ClassVar[int] = 48 << 20
    MEMORY: ClassVar[int] = 32 << 20


def test_is_registered_under_its_scheme() -> None:
    assert load("stores", "s3") is S3Store
    assert S3Store.schemes == ("s3",)


def test_importing_it_does_not_import_boto3() -> None:
    program = "import sys, restore_drill.stores.s3; print([name for name in sys.modules if name.startswith('boto')])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_the_whole_bucket_is_a_store_too(seaweed: S3Server, store_of: StoreOf, place: str) -> None:
    seaweed.client().put_object(Bucket="backups", Key=f"{place}/one", Body=b"x")
    for url in ("s3://backups", "s3://backups/"):
        store = store_of(seaweed.endpoint, url)
        assert [artifact.key for artifact in store.list(f"{place}/")] == [f"{place}/one"]
        assert store.read_small(f"{place}/one") == b"x"
    assert store_of(seaweed.endpoint, f"s3://backups/{place}/").read_small("one") == b"x"
    seaweed.client().put_object(Bucket="backups", Key=f"{place}-whole/one", Body=b"x")
    assert store_of(seaweed.endpoint, f"s3://backups/{place}-whole").stat("one") is not None
    assert store_of(seaweed.endpoint, f"s3://backups/{place}-whol").stat("one") is None


def test_metadata_and_what_a_listing_lacks(seaweed: S3Server, store_of: StoreOf, place: str) -> None:
    seaweed.client().put_object(
        Bucket="backups", Key=f"{place}/one", Body=b"x", Metadata={"Taken-At": "2026-11-20T02:00:00Z"}
    )
    seaweed.client().put_object(Bucket="backups", Key=f"{place}/two", Body=b"x")
    store = store_of(seaweed.endpoint, f"s3://backups/{place}")
    assert store.metadata(found(store, "one")) == {"taken-at": "2026-11-20T02:00:00Z"}
    assert store.metadata(found(store, "two")) == {}
    artifact = store.stat("one")
    assert artifact is not None and artifact.etag == found(store, "one").etag and '"' not in artifact.etag
    assert (artifact.version, artifact.encryption) == ("", "")


def test_metadata_of_an_object_replaced_meanwhile(seaweed: S3Server, store_of: StoreOf, place: str) -> None:
    seaweed.client().put_object(Bucket="backups", Key=f"{place}/one", Body=b"x", Metadata={"a": "1"})
    store = store_of(seaweed.endpoint, f"s3://backups/{place}")
    listed = found(store, "one")
    seaweed.client().put_object(Bucket="backups", Key=f"{place}/one", Body=b"y", Metadata={"a": "2"})
    with pytest.raises(BackupFailed, match="replaced or removed") as failure:
        store.metadata(listed)
    assert failure.value.stage is Stage.FETCH
    assert store.metadata(found(store, "one")) == {"a": "2"}


def test_directory_markers_are_no_objects(seaweed: S3Server, store_of: StoreOf, place: str) -> None:
    for key, data in (("", b""), ("dir/", b""), ("dir/one", b"1"), ("dir/empty", b"")):
        seaweed.client().put_object(Bucket="backups", Key=f"{place}/{key}", Body=data)
    store = store_of(seaweed.endpoint, f"s3://backups/{place}")
    assert sorted(artifact.key for artifact in store.list("")) == ["dir/empty", "dir/one"]
    assert store.stat("dir/") is None
    assert store.stat("dir/empty") is not None


@pytest.mark.parametrize("ranges", [1, 2])
@pytest.mark.parametrize("how", ["listed", "looked at"])
def test_a_version_overwritten_while_it_is_read_is_delivered(
    seaweed: S3Server, store_of: StoreOf, place: str, versioned: str, ranges: int, how: str
) -> None:
    old, new = content(40 << 20, 1), content(30 << 20, 2)
    client, key = seaweed.client(), f"{place}/one"
    client.put_object(Bucket=versioned, Key=key, Body=old)
    store = store_of(seaweed.endpoint, f"s3://{versioned}", ranges=ranges)
    artifact = found(store, key) if how == "listed" else store.stat(key)
    assert artifact is not None and bool(artifact.version) is (how == "looked at")
    reader = store.open(artifact)
    begun = next(reader)
    client.put_object(Bucket=versioned, Key=key, Body=new)
    client.delete_object(Bucket=versioned, Key=key)
    assert begun + b"".join(reader) == old
    assert store.stat(key) is None
    client.put_object(Bucket=versioned, Key=key, Body=new)
    assert read(store, found(store, key)) == new


def test_a_version_that_was_looked_at_can_be_read_after_it_was_replaced(
    seaweed: S3Server, store_of: StoreOf, place: str, versioned: str
) -> None:
    client, key = seaweed.client(), f"{place}/one"
    client.put_object(Bucket=versioned, Key=key, Body=b"old")
    store = store_of(seaweed.endpoint, f"s3://{versioned}")
    listed, looked_at = found(store, key), store.stat(key)
    assert looked_at is not None
    client.put_object(Bucket=versioned, Key=key, Body=b"new")
    assert read(store, looked_at) == b"old"
    with pytest.raises(BackupFailed, match="replaced after it was listed"):
        read(store, listed)
    client.delete_object(Bucket=versioned, Key=key, VersionId=looked_at.version)
    with pytest.raises(BackupFailed, match="vanished after it was listed"):
        read(store, looked_at)


class TestNothingButReading:
    """The read-only promise, at three depths: names, attributes, and the wire."""

    @pytest.fixture
    def client(self, seaweed: S3Server, store_of: StoreOf) -> ReadOnlyClient:
        return store_of(seaweed.endpoint, "s3://backups", who="admin")._connection.client

    @staticmethod
    def behind(client: ReadOnlyClient) -> Any:
        """boto3's own client, as code bent on writing would dig it out."""
        (cell,) = [cell for cell in client.get_object.__closure__ or () if hasattr(cell.cell_contents, "meta")]
        return cell.cell_contents

    def test_the_client_offers_four_operations(self, client: ReadOnlyClient) -> None:
        offered = {name for name in dir(client) if not name.startswith("_")}
        assert offered == {"list_objects_v2", "head_object", "get_object", "get_object_attributes", "close"}
        with pytest.raises(AttributeError):
            client.put_object = print  # type: ignore[attr-defined]

    def test_every_operation_that_changes_something_is_refused(self, client: ReadOnlyClient) -> None:
        behind = self.behind(client)
        model, sent = behind.meta.service_model, []
        for name in model.operation_names:
            method = model.operation_model(name).http["method"]
            request = AWSRequest(method=method, url="http://127.0.0.1/").prepare()
            try:
                behind.meta.events.emit(f"before-send.s3.{name}", request=request)
                sent.append(name)
            except RuntimeError as refusal:
                assert "only reads" in str(refusal)  # noqa: PT017 - both outcomes are looked at below
        assert {"GetObject", "HeadObject", "ListObjectsV2"} <= set(sent)
        verbs = (
            "Put",
            "Delete",
            "Create",
            "Copy",
            "Upload",
            "Complete",
            "Abort",
            "Restore",
            "Write",
            "Update",
            "Rename",
        )
        # A session for a directory bucket is asked for with GET, and changes nothing.
        assert [name for name in sent if name.startswith(verbs)] == ["CreateSession"]
        assert len(sent) < len(model.operation_names)

    def test_nothing_is_written_even_with_keys_that_may(
        self, client: ReadOnlyClient, seaweed: S3Server, store_of: StoreOf, place: str
    ) -> None:
        seaweed.client().put_object(Bucket="backups", Key=f"{place}/one", Body=b"x")
        behind = self.behind(client)
        key = {"Bucket": "backups", "Key": f"{place}/one"}
        for write in (
            lambda: behind.put_object(Body=b"y", **key),
            lambda: behind.delete_object(**key),
            lambda: behind.delete_objects(Bucket="backups", Delete={"Objects": [{"Key": key["Key"]}]}),
            lambda: behind.copy_object(CopySource=key, Bucket="backups", Key=f"{place}/two"),
            lambda: behind.create_bucket(Bucket="another"),
            lambda: behind.create_multipart_upload(**key),
        ):
            with pytest.raises(RuntimeError, match="only reads"):
                write()
        store = store_of(seaweed.endpoint, f"s3://backups/{place}")
        assert [(artifact.key, read(store, artifact)) for artifact in store.list("")] == [("one", b"x")]
        assert "another" not in [bucket["Name"] for bucket in seaweed.client().list_buckets()["Buckets"]]


def error_of(store: S3Store, key: str = "one", *, call: str = "list") -> CouldNotVerify:
    """The error of a store that does not let us in; it names no secret and no address with one."""
    calls: dict[str, Callable[[], object]] = {
        "list": lambda: list(store.list("")),
        "stat": lambda: store.stat(key),
        "open": lambda: read(store, found(store, key)),
    }
    with pytest.raises(CouldNotVerify) as failure:
        calls[call]()
    text = str(failure.value)
    assert failure.value.cause and failure.value.looked_at and failure.value.remedy
    assert "secret-" not in text and "Signature=" not in text and "WRONGKEY" not in text
    return failure.value


class TestDenied:
    """Each reason has a message of its own, whether the server says it in a body (GET) or only by status (HEAD)."""

    @pytest.fixture(autouse=True)
    def _object(self, seaweed: S3Server) -> None:
        seaweed.client().put_object(Bucket="backups", Key="denied/one", Body=b"x")

    def test_allowed(self, seaweed: S3Server, store_of: StoreOf) -> None:
        assert store_of(seaweed.endpoint, "s3://backups/denied").read_small("one") == b"x"

    @pytest.mark.parametrize("call", ["list", "stat"])
    def test_unknown_key_id(self, seaweed: S3Server, store_of: StoreOf, call: str) -> None:
        error = error_of(store_of(seaweed.endpoint, "s3://backups/denied", who="WRONGKEY"), call=call)
        assert "does not know the access key id" in error.cause and "access_key_id" in error.remedy

    @pytest.mark.parametrize("call", ["list", "stat"])
    def test_wrong_secret(
        self, seaweed: S3Server, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        store = store_of(seaweed.endpoint, "s3://backups/denied")
        monkeypatch.setenv("TEST_READER_SECRET_ACCESS_KEY", "another-secret-value")
        error = error_of(store, call=call)
        assert "secret access key does not belong" in error.cause and "secret_access_key" in error.remedy

    def test_may_list_but_not_read(self, seaweed: S3Server, store_of: StoreOf) -> None:
        store = store_of(seaweed.endpoint, "s3://backups/denied", who="lister")
        assert [artifact.key for artifact in store.list("")] == ["one"]
        error = error_of(store, call="open")
        assert "do not allow to read the object" in error.cause and "s3:GetObject" in error.remedy
        assert error.stage is Stage.FETCH
        assert "do not allow to read the object" in error_of(store, call="stat").cause

    @pytest.mark.parametrize("call", ["list", "stat"])
    def test_no_such_bucket(self, seaweed: S3Server, store_of: StoreOf, call: str) -> None:
        error = error_of(store_of(seaweed.endpoint, "s3://no-such-bucket/denied"), call=call)
        assert "no such bucket" in error.cause and "endpoint" in error.remedy

    @pytest.mark.parametrize("call", ["list", "stat"])
    def test_impossible_bucket(self, seaweed: S3Server, store_of: StoreOf, call: str) -> None:
        assert "no possible bucket" in error_of(store_of(seaweed.endpoint, "s3://no such bucket/x"), call=call).cause

    @pytest.mark.parametrize("call", ["list", "stat"])
    def test_no_credentials(self, seaweed: S3Server, store_of: StoreOf, call: str) -> None:
        error = error_of(store_of(seaweed.endpoint, "s3://backups/denied", who=None), call=call)
        assert "no S3 credentials were found" in error.cause and "profile" in error.remedy

    def test_credentials_of_the_environment(
        self, seaweed: S3Server, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        admin = seaweed.client()._request_signer._credentials
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", admin.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", admin.secret_key)
        assert store_of(seaweed.endpoint, "s3://backups/denied", who=None).read_small("one") == b"x"

    def test_unknown_profile(self, seaweed: S3Server, store_of: StoreOf) -> None:
        error = error_of(store_of(seaweed.endpoint, "s3://backups", who=None, options={"profile": "nope"}))
        assert "no profile of that name" in error.cause and "`profile`" in error.remedy

    @pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://127.0.0.1", "http://", "http://host:port"])
    def test_an_endpoint_that_is_no_url(self, store_of: StoreOf, endpoint: str) -> None:
        assert "not a URL" in error_of(store_of(endpoint, "s3://backups")).cause

    def test_a_secret_that_is_missing(self, seaweed: S3Server, store_of: StoreOf) -> None:
        secrets = {"secret_access_key": SecretReference("env", "TEST_NOT_SET")}
        store = store_of(seaweed.endpoint, "s3://backups", secrets=secrets)
        with pytest.raises(CouldNotVerify, match="TEST_NOT_SET is not set"):
            list(store.list(""))


def test_an_endpoint_may_be_a_secret(seaweed: S3Server, monkeypatch: pytest.MonkeyPatch, store_of: StoreOf) -> None:
    monkeypatch.setenv("TEST_ENDPOINT", seaweed.endpoint)
    secrets = {"endpoint": SecretReference("env", "TEST_ENDPOINT")}
    seaweed.client().put_object(Bucket="backups", Key="hidden/one", Body=b"x")
    assert store_of("http://127.0.0.1:1", "s3://backups/hidden", secrets=secrets).read_small("one") == b"x"
    monkeypatch.setenv("TEST_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    error = error_of(store_of("http://127.0.0.1:1", "s3://backups/hidden", secrets=secrets, retries=0))
    assert "cannot be reached (connection refused)" in error.cause
    assert "127.0.0.1" not in str(error)


def test_tls_to_a_server_that_speaks_none(seaweed: S3Server, store_of: StoreOf) -> None:
    error = error_of(store_of(seaweed.endpoint.replace("http:", "https:"), "s3://backups", retries=0))
    assert "no trusted TLS connection" in error.cause and "does not speak TLS" in error.cause


def test_one_client_serves_a_forked_child_and_its_parent(seaweed: S3Server, store_of: StoreOf) -> None:
    store = store_of(seaweed.endpoint, "s3://backups")
    first = store._connection.client
    assert store._connection.client is first
    child = os.fork()
    if child == 0:
        os._exit(0 if store._connection.client is not first and list(store.list("nothing")) == [] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store._connection.client is first


def test_settings_alone_open_no_connection() -> None:
    store = S3Store(StoreSettings("offsite", "s3://bucket/prefix", options={"endpoint": "http://127.0.0.1:1"}))
    assert store.where("a/b") == "s3://bucket/prefix/a/b"
    assert store.local_path("a") is None and store.failure_domain() is None
    assert store._connection._client is None
    store.close()
