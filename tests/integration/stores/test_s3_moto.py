"""The S3 store on moto's server: every key that S3 allows, storage classes, encryption, versions that are ``null``."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
from tests.support.servers import S3Server, free_ports

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.stores.base import Store
from restore_drill.stores.s3 import S3Store
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read

StoreOf = Callable[..., S3Store]


class TestMoto(StoreConformance):
    """One stream an object; small ones, moto is slow with large ones."""

    # moto's web framework takes no line breaks in a path.
    ODD_NAMES: ClassVar[tuple[str, ...]] = (
        *(name for name in StoreConformance.ODD_NAMES if "\n" not in name),
        "/leading/slash", "//two", "empty//part", "a/../b", "../up", "./here", "here/.", "..", "a/..", "trailing/",
        "\x01\x1f\x7f", "\ufffe", "a\u2028b", "x" * 900,
    )  # fmt: skip
    LARGE: ClassVar[int] = 20 << 20
    DIGESTS: ClassVar[frozenset[str]] = frozenset({"sha256"})

    @pytest.fixture
    def store(self, moto_s3: S3Server, store_of: StoreOf, place: str) -> Store:
        return store_of(moto_s3.endpoint, f"s3://backups/{place}")

    @pytest.fixture
    def put(self, moto_s3: S3Server, place: str) -> Put:
        given = {"Bucket": "backups", "ChecksumAlgorithm": "SHA256"}
        return lambda key, data: moto_s3.client().put_object(Key=f"{place}/{key}", Body=data, **given)

    @pytest.fixture
    def remove(self, moto_s3: S3Server, place: str) -> Remove:
        return lambda key: moto_s3.client().delete_object(Bucket="backups", Key=f"{place}/{key}")

    @pytest.fixture
    def make_unreachable(self, store_of: StoreOf) -> MakeUnreachable:
        return lambda: store_of(f"http://127.0.0.1:{free_ports(1)[0]}", "s3://backups", retries=0)


@pytest.mark.parametrize("ranges", [1, 3])
def test_by_ranges(moto_s3: S3Server, store_of: StoreOf, place: str, ranges: int) -> None:
    moto_s3.client().put_object(Bucket="backups", Key=f"{place}/one", Body=content(20 << 20))
    store = store_of(moto_s3.endpoint, f"s3://backups/{place}", ranges=ranges)
    assert read(store, found(store, "one")) == content(20 << 20)


def test_directory_markers_are_no_objects(moto_s3: S3Server, store_of: StoreOf, place: str) -> None:
    for key, data in (("", b""), ("dir/", b""), ("full/", b"x"), ("dir/one", b"1")):
        moto_s3.client().put_object(Bucket="backups", Key=f"{place}/{key}", Body=data)
    store = store_of(moto_s3.endpoint, f"s3://backups/{place}")
    assert sorted(artifact.key for artifact in store.list("")) == ["dir/one", "full/"]
    assert store.stat("dir/") is None
    full = store.stat("full/")
    assert full is not None and read(store, full) == b"x"


@pytest.mark.parametrize(("asked", "reported"), [({}, ""), ({"ServerSideEncryption": "AES256"}, "AES256"),
                                                 ({"ServerSideEncryption": "aws:kms"}, "aws:kms")])  # fmt: skip
def test_says_how_the_server_encrypts(
    moto_s3: S3Server, store_of: StoreOf, place: str, asked: dict[str, str], reported: str
) -> None:
    moto_s3.client().put_object(Bucket="backups", Key=f"{place}/one", Body=b"x", **asked)
    artifact = store_of(moto_s3.endpoint, f"s3://backups/{place}").stat("one")
    assert artifact is not None and artifact.encryption == reported


def test_an_archived_object_must_be_restored_first(moto_s3: S3Server, store_of: StoreOf, place: str) -> None:
    for key, storage in (("cold", "GLACIER"), ("warm", "STANDARD_IA")):
        moto_s3.client().put_object(Bucket="backups", Key=f"{place}/{key}", Body=b"x", StorageClass=storage)
    store = store_of(moto_s3.endpoint, f"s3://backups/{place}")
    assert read(store, found(store, "warm")) == b"x"
    with pytest.raises(CouldNotVerify, match="archived") as failure:
        read(store, found(store, "cold"))
    assert "restore-object" in failure.value.remedy and failure.value.stage is Stage.FETCH


def test_a_bucket_whose_versions_are_suspended(moto_s3: S3Server, store_of: StoreOf) -> None:
    """Its version is called ``null`` and is overwritten: the ETag must hold it."""
    client = moto_s3.client()
    client.create_bucket(Bucket="suspended")
    for status in ("Enabled", "Suspended"):
        client.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": status})
    client.put_object(Bucket="suspended", Key="one", Body=b"old")
    store = store_of(moto_s3.endpoint, "s3://suspended")
    artifact = store.stat("one")
    assert artifact is not None and artifact.version == ""
    assert read(store, artifact) == b"old"
    client.put_object(Bucket="suspended", Key="one", Body=b"new")
    with pytest.raises(BackupFailed, match="replaced after it was listed"):
        read(store, artifact)


def test_metadata_is_remembered_for_what_was_looked_at(moto_s3: S3Server, store_of: StoreOf, place: str) -> None:
    client = moto_s3.client()
    client.put_object(Bucket="backups", Key=f"{place}/one", Body=b"x", Metadata={"Taken-At": "now"})
    store = store_of(moto_s3.endpoint, f"s3://backups/{place}")
    artifact = store.stat("one")
    assert artifact is not None
    client.delete_object(Bucket="backups", Key=f"{place}/one")
    assert store.metadata(artifact) == {"taken-at": "now"}
    with pytest.raises(BackupFailed, match="replaced or removed"):
        store_of(moto_s3.endpoint, f"s3://backups/{place}").metadata(artifact)
