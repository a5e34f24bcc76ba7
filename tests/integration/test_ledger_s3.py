"""The ledger in a bucket: the same suite over two servers, writers at once, and what somebody does to objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.ledgers import head_of, key, problems, review_of, small, verified
from tests.support.servers import S3Server, free_ports, keep_only_state_keys, state_settings

from restore_drill.errors import CouldNotVerify
from restore_drill.ledger.bucket import BucketLedger
from restore_drill.ledger.opening import open_ledger


def bucket_ledger(endpoint: str, url: str) -> BucketLedger:
    """A ledger on the server, by the keys in this process's environment."""
    ledger = open_ledger(state_settings(endpoint, url))
    assert isinstance(ledger, BucketLedger)
    return ledger


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials but ours."""
    keep_only_state_keys(monkeypatch)


@pytest.fixture(params=["moto", "seaweedfs"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue({"moto": "moto_s3", "seaweedfs": "seaweed"}[request.param])
    return found


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"ledgers/{request.node.name.replace('[', '-').rstrip(']')}"


@pytest.fixture
def ledger(server: S3Server, prefix: str) -> BucketLedger:
    return bucket_ledger(server.endpoint, f"s3://backups/{prefix}")


class Objects:
    """What lies in the bucket, behind the ledger's back."""

    def __init__(self, server: S3Server, prefix: str) -> None:
        self._client: Any = server.client()
        self._prefix = f"{prefix}/ledger/"

    def name(self, number: int | str) -> str:
        return self._prefix + (number if isinstance(number, str) else f"{number:012d}.json")

    def names(self) -> Iterator[str]:
        for item in self._client.list_objects_v2(Bucket="backups", Prefix=self._prefix).get("Contents", ()):
            yield item["Key"].removeprefix(self._prefix)

    def get(self, number: int | str) -> bytes:
        body: bytes = self._client.get_object(Bucket="backups", Key=self.name(number))["Body"].read()
        return body

    def put(self, number: int | str, body: bytes) -> None:
        self._client.put_object(Bucket="backups", Key=self.name(number), Body=body)

    def delete(self, number: int | str) -> None:
        self._client.delete_object(Bucket="backups", Key=self.name(number))


@pytest.fixture
def objects(server: S3Server, prefix: str) -> Objects:
    return Objects(server, prefix)


def test_entries_are_chained_objects_of_which_none_is_written_twice(ledger: BucketLedger, objects: Objects) -> None:
    assert (ledger.head(), ledger.tail(3), list(ledger.entries())) == (None, [], [])
    written = [ledger.append("run", small(f"r{number}"), key()) for number in range(1, 4)]
    written.append(ledger.append("review", review_of(ledger, 2), key("alice")))
    assert [entry.sequence for entry in written] == [1, 2, 3, 4]
    assert list(ledger.entries()) == written
    assert list(ledger.entries(3)) == written[2:]
    assert (ledger.tail(2), ledger.tail(9), ledger.head()) == (written[2:], written, written[-1].head)
    assert sorted(objects.names()) == [*(f"{number:012d}.json" for number in range(1, 5)), "head.json"]
    found = verified(ledger, "ledger", "alice", head=written[1].head)
    assert (found.problems, found.remarks, found.signed, found.reviews) == ([], [], 4, 1)
    assert not ledger._put(2, b"another")  # the condition is the server's: nothing that is there is replaced
    assert verified(ledger, "ledger", "alice").good


def test_what_somebody_does_to_objects_is_named(ledger: BucketLedger, objects: Objects) -> None:
    for number in range(1, 6):
        ledger.append("run", small(f"r{number}"), key())
    good, head = {number: objects.get(number) for number in range(1, 6)}, objects.get("head.json")
    objects.delete(3)
    assert problems(ledger) == [(3, "deleted")]
    objects.put(3, good[4])
    assert (3, "deleted") in problems(ledger)
    objects.put(3, good[3])
    objects.delete(5)
    assert problems(ledger) == [(5, "truncated")]
    objects.put("head.json", json.dumps({"sequence": 4, "digest": head_of([good[4]]).digest}).encode())
    assert problems(ledger) == []
    assert problems(ledger, head=head_of([good[5]])) == [(5, "truncated")]
    objects.put("head.json", head)
    follower = ledger.append("run", small("r6"), key())
    assert follower.sequence == 5
    assert problems(ledger) == [(4, "truncated")]  # whoever wrote it saw that the end was gone, and said so
    objects.put("notes.txt", b"hello")
    assert any("notes.txt" in remark for remark in verified(ledger).remarks)


def test_a_lost_hint_costs_nothing_but_a_listing(ledger: BucketLedger, objects: Objects) -> None:
    ledger.append("run", small("r1"))
    ledger.append("run", small("r2"))
    for hint in (b'{"sequence": 1, "digest": "%s"}' % (b"0" * 64), b"not json", None):
        objects.delete("head.json") if hint is None else objects.put("head.json", hint)
        assert [entry.run for entry in ledger.tail(1)] == ["r2"]
    assert ledger.append("run", small("r3")).sequence == 3
    assert ledger.hint() == ledger.head()


def test_an_answer_that_was_lost_is_no_second_entry(ledger: BucketLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object was written, and the connection broke: the repeated request finds it there."""
    from botocore.exceptions import ConnectionClosedError

    monkeypatch.setattr("restore_drill.stores.trying.FIRST_PAUSE", 0.0)
    ledger.append("run", small("r1"))
    put, lost = ledger._client.put_object, []

    def loses(**request: Any) -> Any:
        answer = put(**request)
        if not lost:
            lost.append(request["Key"])
            raise ConnectionClosedError(endpoint_url="http://here")
        return answer

    monkeypatch.setattr(ledger._client, "put_object", loses)
    assert ledger.append("run", small("r2")).sequence == 2
    assert lost
    assert [entry.run for entry in ledger.entries()] == ["r1", "r2"]


def test_writers_at_once_follow_one_another(server: S3Server, prefix: str) -> None:
    """Each with a connection of its own: between them stands nothing but the server's condition."""
    url = f"s3://backups/{prefix}"

    def write(writer: int) -> list[str]:
        ledger = bucket_ledger(server.endpoint, url)
        return [str(ledger.append("run", small(f"w{writer}-{number}")).head) for number in range(6)]

    with ThreadPoolExecutor(4) as pool:
        finished = [head for heads in pool.map(write, range(4)) for head in heads]
    ledger = bucket_ledger(server.endpoint, url)
    assert sorted(str(entry.head) for entry in ledger.entries()) == sorted(finished)
    found = verified(ledger)
    assert (found.problems, found.entries, found.unsigned) == ([], 24, 24)


def test_a_bucket_whose_objects_are_locked_is_welcome(moto_s3: S3Server) -> None:
    client = moto_s3.client()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    client.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=rule)
    ledger = bucket_ledger(moto_s3.endpoint, "s3://locked/drills")
    heads = [ledger.append("run", small(f"r{number}"), key()).head for number in range(3)]
    assert verified(ledger, head=heads).good
    stored = client.head_object(Bucket="locked", Key="drills/ledger/000000000002.json", ChecksumMode="ENABLED")
    assert stored["ObjectLockMode"] == "COMPLIANCE" and stored["ChecksumSHA256"]
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket="locked", Key="drills/ledger/000000000002.json", VersionId=stored["VersionId"])


@pytest.mark.parametrize("what", ["bucket", "server"])
def test_a_place_that_cannot_be_used_is_told_and_never_taken_for_an_empty_one(
    what: str, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, url = moto_s3.endpoint, "s3://backups/x"
    if what == "bucket":
        url = "s3://no-such-bucket/x"
    else:
        endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
        monkeypatch.setattr("restore_drill.stores.trying.FIRST_PAUSE", 0.0)
    broken = bucket_ledger(endpoint, url)
    for attempt in (broken.head, lambda: list(broken.lines()), lambda: broken.append("run", small("r1"))):
        with pytest.raises(CouldNotVerify) as raised:
            attempt()
        assert raised.value.remedy
