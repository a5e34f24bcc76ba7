"""Digests that S3 servers keep of objects: of the whole, of parts, in metadata; and what is none."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.servers import S3Server

from restore_drill import digests
from restore_drill.catalogue.models import ChecksumRule
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.repositories import recorded
from restore_drill.repositories.comparing import expect, problem_of
from restore_drill.stores import s3_digests
from restore_drill.stores.base import ProviderDigest
from restore_drill.stores.s3 import S3Store
from restore_drill.stream import Layer, Tap
from restore_drill.testing.store import content, found

StoreOf = Callable[..., S3Store]
PART = 5 << 20
DATA = content(2 * PART + 1000)
PARTS = (PART, PART, 1000)


@pytest.fixture(params=["seaweed", "moto_s3"])
def server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


def upload(server: S3Server, key: str, **more: Any) -> None:
    """As a backup job does: boto3, in parts."""
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, preferred_transfer_client="classic")
    server.client().upload_fileobj(io.BytesIO(DATA), "backups", key, ExtraArgs=more, Config=config)


def of_parts(algorithm: str) -> str:
    hasher = digests.Composite(algorithm, PARTS)
    hasher.update(DATA)
    return hasher.hexdigest()


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME"])
def test_additional_checksums_of_one_part(server: S3Server, store_of: StoreOf, place: str, algorithm: str) -> None:
    server.client().put_object(Bucket="backups", Key=f"{place}/one", Body=b"x" * 1000, ChecksumAlgorithm=algorithm)
    store = store_of(server.endpoint, f"s3://backups/{place}")
    name = algorithm.lower()
    expected = [ProviderDigest(name, digests.new(name, b"x" * 1000).hexdigest(), f"x-amz-checksum-{name}")]
    assert store.recorded_digests(found(store, "one")) == expected


@pytest.mark.parametrize("algorithm", ["SHA256", "CRC64NVME"])
def test_additional_checksums_of_several_parts(server: S3Server, store_of: StoreOf, place: str, algorithm: str) -> None:
    upload(server, f"{place}/many", ChecksumAlgorithm=algorithm)
    store = store_of(server.endpoint, f"s3://backups/{place}")
    (kept,) = store.recorded_digests(found(store, "many"))
    if algorithm == "CRC64NVME":
        assert (kept.hexdigest, kept.parts) == (digests.new("crc64nvme", DATA).hexdigest(), ())
    else:
        assert (kept.hexdigest, kept.parts) == (of_parts("sha256"), PARTS)


def test_crc32c_of_several_parts(seaweed: S3Server, moto_s3: S3Server, store_of: StoreOf, place: str) -> None:
    """moto does not say what it is of: then nothing is known."""
    for server in (seaweed, moto_s3):
        upload(server, f"{place}/many", ChecksumAlgorithm="CRC32C")
    store = store_of(seaweed.endpoint, f"s3://backups/{place}")
    (kept,) = store.recorded_digests(found(store, "many"))
    assert (kept.algorithm, kept.hexdigest, kept.parts) == ("crc32c", of_parts("crc32c"), PARTS)
    store = store_of(moto_s3.endpoint, f"s3://backups/{place}")
    with pytest.raises(CouldNotVerify, match="does not say whether its crc32c is of the object or of its parts"):
        store.recorded_digests(found(store, "many"))


def test_a_multipart_etag_is_no_digest(server: S3Server, store_of: StoreOf, place: str) -> None:
    upload(server, f"{place}/many")
    server.client().put_object(Bucket="backups", Key=f"{place}/one", Body=b"x")
    store = store_of(server.endpoint, f"s3://backups/{place}")
    many = found(store, "many")
    assert many.etag.endswith("-3")
    known = {each.algorithm for each in (*store.recorded_digests(many), *store.recorded_digests(found(store, "one")))}
    assert known <= {"crc32", "crc64nvme"}  # what newer clients add by themselves


def test_digests_in_metadata(server: S3Server, store_of: StoreOf, place: str) -> None:
    body = b"lorem ipsum"
    md5, sha256 = hashlib.md5(body), hashlib.sha256(body)
    metadata = {
        "sha256": sha256.hexdigest().upper(), "md5chksum": base64.b64encode(md5.digest()).decode(),  # rclone
        "s3cmd-attrs": f"atime:1/ctime:1/gid:0/md5:{md5.hexdigest()}/mode:33188/uid:0",
        "checksum-blake3": digests.new("blake3", body).hexdigest(), "mtime": "1700000000.5", "taken-at": "2026",
    }  # fmt: skip
    server.client().put_object(Bucket="backups", Key=f"{place}/one", Body=body, Metadata=metadata)
    store = store_of(server.endpoint, f"s3://backups/{place}")
    kept = store.recorded_digests(found(store, "one"))
    assert {(each.algorithm, each.hexdigest, each.source) for each in kept} == {
        ("sha256", sha256.hexdigest(), "user metadata sha256"),
        ("md5", md5.hexdigest(), "user metadata md5chksum"),
        ("md5", md5.hexdigest(), "user metadata s3cmd-attrs"),
        ("blake3", digests.new("blake3", body).hexdigest(), "user metadata checksum-blake3"),
    }
    assert all(each.by_uploader for each in kept)
    server.client().put_object(Bucket="backups", Key=f"{place}/bad", Body=body, Metadata={"sha256": "5891b5"})
    with pytest.raises(BackupFailed, match="user metadata sha256 is damaged") as raised:
        store.recorded_digests(found(store, "bad"))
    assert raised.value.stage is Stage.VERIFY


def test_parts_that_are_not_listed_are_asked_for(
    seaweed: S3Server, store_of: StoreOf, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(seaweed, f"{place}/many", ChecksumAlgorithm="SHA256")
    store = store_of(seaweed.endpoint, f"s3://backups/{place}")
    many = found(store, "many")
    asked: list[Any] = []
    request = store._connection.request

    def without_listing(operation: str, parameters: Any) -> Any:
        asked.append(parameters.get("PartNumber"))
        return {} if operation == "get_object_attributes" else request(operation, parameters)

    monkeypatch.setattr(store._connection, "request", without_listing)
    (kept,) = store.recorded_digests(many)
    assert kept.parts == PARTS
    assert asked[-3:] == [1, 2, 3]
    monkeypatch.setattr(s3_digests, "_MOST_ASKED", 2)
    with pytest.raises(CouldNotVerify, match="does not list the sizes of the 3 parts") as raised:
        store.recorded_digests(many)
    assert "s3:GetObjectAttributes" in raised.value.remedy


@pytest.mark.parametrize("algorithm", ["SHA256", "CRC64NVME"])
def test_other_bytes_than_the_store_checked_are_noticed(
    seaweed: S3Server, proxy: FaultProxy, store_of: StoreOf, place: str, tmp_path: Path, algorithm: str
) -> None:
    """The whole way of an artifact; a byte of the second part is changed in passing."""
    upload(seaweed, f"{place}/20261123.db", ChecksumAlgorithm=algorithm)
    store = store_of(proxy.endpoint, f"s3://backups/{place}")
    (artifact,) = store.list("")
    changed = DATA[: PART + 7] + bytes([DATA[PART + 7] ^ 1]) + DATA[PART + 8 :]
    etag = store.stat(artifact.key).etag  # type: ignore[union-attr]
    head = f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Length: {len(DATA)}\r\nConnection: close\r\n\r\n'
    proxy.only = "GET /backups"
    for data, same in ((None, True), (changed, False)):
        expected = expect(artifact, recorded.find(store, artifact, ChecksumRule(provider="any")))
        proxy.faults.append(Fault("answer", text=head.encode() + data) if data else None)
        tap = Tap(store.open(artifact), expected.algorithms, float("inf"), expected.watch)
        assert sum(map(len, tap)) == len(DATA)
        stored = Layer((artifact.name,), size=tap.size, whole=tap.whole, digests=tap.digests())
        (check,) = expected.compare([stored], broken=False)
        assert check.algorithm == ("sha256 of 3 parts" if algorithm == "SHA256" else "crc64nvme")
        problem = problem_of(check, "here")
        assert (problem is None) is same
        assert problem is None or problem.cause.startswith(f"{check.algorithm} of the stored bytes is {check.actual}")
