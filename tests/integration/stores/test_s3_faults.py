"""What goes wrong between us and S3: a real server behind a proxy that breaks connections and changes answers."""

from __future__ import annotations

import contextlib
import socket
import time
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.fault_proxy import BUSY, Fault, FaultProxy, answer, refusal
from tests.support.servers import S3Server, certificate

from restore_drill.catalogue.models import ChecksumRule
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.repositories import recorded
from restore_drill.stores import trying
from restore_drill.stores.s3 import S3Store
from restore_drill.stores.s3_reader import PART
from restore_drill.testing.store import content, found, read

StoreOf = Callable[..., S3Store]
SIZE = 6 << 20
#: Far from what anything here takes, and from what any deadline here allows.
ENDED = 30.0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "FIRST_PAUSE", 0.001)


@pytest.fixture(scope="module")
def stored(seaweed: S3Server) -> bytes:
    """An object, ``faults/object``."""
    seaweed.client().put_object(Bucket="backups", Key="faults/object", Body=content(SIZE))
    return content(SIZE)


@pytest.fixture
def through(proxy: FaultProxy, store_of: StoreOf, stored: bytes) -> Callable[..., S3Store]:
    """A store behind the proxy, which meddles only with the object."""
    proxy.only = "GET /backups/faults/object"
    return lambda **more: store_of(proxy.endpoint, "s3://backups/faults", **more)


def begins(proxy: FaultProxy) -> list[int | None]:
    """From which byte each request asked."""
    return [request.begin for request in proxy.requests]


def test_no_fault(proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes) -> None:
    store = through()
    assert read(store, found(store, "object")) == stored
    assert begins(proxy) == [None]


@pytest.mark.parametrize("cuts", [(1,), (1 << 20,), (0, 100, 3 << 20), (SIZE - 1,), (70_000,) * 12])
def test_a_cut_connection_is_resumed_where_it_broke(
    proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes, cuts: tuple[int, ...]
) -> None:
    store = through(retries=1)
    proxy.faults.extend(Fault("cut", after=cut) for cut in cuts)
    assert read(store, found(store, "object")) == stored
    positions = [sum(cuts[:number]) for number in range(len(cuts) + 1)]
    assert begins(proxy) == [position or None for position in positions]
    assert {request.if_match for request in proxy.requests} == {f'"{found(store, "object").etag}"'}


def test_a_reset_connection_is_resumed_and_no_byte_that_arrived_is_asked_for_again(
    proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes
) -> None:
    store = through()
    proxy.faults.append(Fault("reset", after=2 << 20))
    sizes, resumed = [], None
    for chunk in store.open(found(store, "object")):
        if resumed is None and len(proxy.requests) == 2:
            resumed = sum(sizes)
        sizes.append(len(chunk))
    assert sum(sizes) == SIZE
    first, second = begins(proxy)
    # A reset drops what the kernel had not handed over yet; what it had is neither lost nor asked for again.
    assert first is None and second == resumed and 0 < (second or 0) <= 2 << 20


def test_a_connection_that_brings_nothing_is_given_up(
    proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes
) -> None:
    store = through(retries=3)
    artifact = found(store, "object")
    proxy.faults.append(Fault("cut", after=1000))
    proxy.otherwise = Fault("cut", after=0)
    with pytest.raises(CouldNotVerify, match="connection broke") as failure:
        read(store, artifact)
    assert f"1000 of {SIZE} bytes had arrived, and 3 further attempts brought nothing" in failure.value.cause
    assert failure.value.stage is Stage.FETCH and failure.value.remedy and "faults/object" in failure.value.looked_at
    assert begins(proxy) == [None, 1000, 1000, 1000]
    proxy.otherwise = None
    assert read(store, artifact) == stored


def test_retries_zero_means_none(proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes) -> None:
    store = through(retries=0)
    artifact = found(store, "object")
    proxy.faults.append(Fault("cut", after=1000))
    with pytest.raises(CouldNotVerify, match=f"1000 of {SIZE} bytes had arrived"):
        read(store, artifact)
    assert begins(proxy) == [None]


@pytest.mark.parametrize("fault", [Fault("stall", after=100_000), Fault("mute")], ids=lambda fault: fault.kind)
def test_a_stalled_connection_ends_at_the_deadline(
    proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes, fault: Fault
) -> None:
    store = through(read_deadline=2.0, retries=10)
    artifact = found(store, "object")
    proxy.faults.append(fault)
    proxy.otherwise = Fault("mute")
    started = time.monotonic()
    with pytest.raises(CouldNotVerify, match="does not answer in time") as failure:
        read(store, artifact)
    assert time.monotonic() - started < ENDED
    assert f"{fault.after} of {SIZE} bytes had arrived" in failure.value.cause
    assert begins(proxy) == [None, fault.after or None]  # once more, not ten times
    proxy.otherwise = None
    assert read(store, artifact) == stored


def test_a_stall_is_resumed(proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes) -> None:
    store = through(read_deadline=2.0)
    proxy.faults.append(Fault("stall", after=300_000))
    assert read(store, found(store, "object")) == stored
    assert begins(proxy) == [None, 300_000]


@pytest.mark.parametrize("call", ["list", "stat"])
def test_a_server_that_accepts_and_never_answers(proxy: FaultProxy, store_of: StoreOf, call: str) -> None:
    store = store_of(proxy.endpoint, "s3://backups", read_deadline=0.3, retries=10)
    proxy.otherwise = Fault("mute")
    started = time.monotonic()
    with pytest.raises(CouldNotVerify, match="does not answer in time"):
        list(store.list("x")) if call == "list" else store.stat("x")
    assert time.monotonic() - started < ENDED
    assert len(proxy.requests) == 2


def test_a_slow_connection_hands_on_what_it_has(
    proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever reads can watch a deadline of its own; and nothing is given up that still moves."""
    monkeypatch.setattr("restore_drill.stores.pieces._IMPATIENT", 0.01)
    store = through(read_deadline=5)
    proxy.faults.append(Fault("drip", piece=4000))
    chunks = list(store.open(found(store, "object")))
    assert b"".join(chunks) == stored
    assert len(chunks) > 2 * SIZE // (256 << 10)
    assert begins(proxy) == [None]


def test_small_pieces_are_collected(proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes) -> None:
    store = through()
    proxy.faults.append(Fault("none", piece=4000))
    chunks = list(store.open(found(store, "object")))
    assert b"".join(chunks) == stored
    assert len(chunks) <= SIZE // (256 << 10)


def test_a_refused_connection(proxy: FaultProxy, store_of: StoreOf, seaweed: S3Server, stored: bytes) -> None:
    artifact = found(store_of(seaweed.endpoint, "s3://backups/faults"), "object")
    store = store_of(proxy.endpoint, "s3://backups/faults")
    assert read(store, artifact) == stored
    proxy.close()
    for attempt in (lambda: list(store.list("")), lambda: store.stat("object"), lambda: read(store, artifact)):
        with pytest.raises(CouldNotVerify, match=r"cannot be reached \(connection refused\)") as failure:
            attempt()
        assert "endpoint" in failure.value.remedy


def test_a_connection_that_is_never_accepted(store_of: StoreOf) -> None:
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # the queue of connections to be accepted is full then
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        store = store_of(endpoint, "s3://backups", connect_deadline=0.3, read_deadline=ENDED, retries=10)
        started = time.monotonic()
        with pytest.raises(CouldNotVerify, match="does not accept the connection in time"):
            list(store.list(""))
        assert time.monotonic() - started < ENDED


@pytest.mark.parametrize(
    ("name", "days", "trusted", "words"),
    [
        ("127.0.0.1", 1, True, ""),
        ("127.0.0.1", 1, False, "its certificate is self-signed"),
        ("127.0.0.1", -1, True, "its certificate has expired"),
        ("192.0.2.7", 1, True, "its certificate is for another name"),
    ],
    ids=["good", "unknown", "expired", "another name"],
)
def test_tls(
    seaweed: S3Server,
    store_of: StoreOf,
    stored: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    days: int,
    trusted: bool,
    words: str,
) -> None:
    proxy = FaultProxy(seaweed.address, certificate(tmp_path / "server.pem", name, days=days))
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "server.pem"))
    store = store_of(proxy.endpoint, "s3://backups/faults")
    if words:
        with pytest.raises(CouldNotVerify, match="no trusted TLS connection") as failure:
            list(store.list(""))
        assert words in failure.value.cause and "AWS_CA_BUNDLE" in failure.value.remedy
        assert proxy.requests == []
    else:
        assert read(store, found(store, "object")) == stored
    proxy.close()


def test_a_server_that_goes_away_while_it_is_read(
    proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes
) -> None:
    store = through()
    artifact = found(store, "object")
    proxy.faults.append(Fault("cut", after=1 << 20))
    reader = store.open(artifact)
    next(reader)
    proxy.close()
    with pytest.raises(CouldNotVerify, match=rf"cannot be reached .*; {1 << 20} of {SIZE} bytes had arrived"):
        for _ in reader:
            pass


@pytest.mark.parametrize("call", ["list", "stat", "open"])
def test_a_busy_server_is_asked_again(
    proxy: FaultProxy, store_of: StoreOf, seaweed: S3Server, stored: bytes, call: str
) -> None:
    store = store_of(proxy.endpoint, "s3://backups/faults", retries=3)
    artifact = found(store_of(seaweed.endpoint, "s3://backups/faults"), "object")
    calls: dict[str, Callable[[], object]] = {
        "list": lambda: [artifact.key for artifact in store.list("object")],
        "stat": lambda: store.stat("object"),
        "open": lambda: read(store, artifact),
    }
    proxy.faults.extend([Fault("busy")] * 3)
    assert calls[call]() == {"list": ["object"], "stat": store.stat("object"), "open": stored}[call]
    proxy.requests.clear()
    proxy.faults.extend([Fault("busy")] * 4)
    with pytest.raises(CouldNotVerify, match="too busy") as failure:
        calls[call]()
    assert "retries" in failure.value.remedy
    assert len(proxy.requests) == 4


REFUSALS = [
    ("RequestTimeTooSkewed", "403 Forbidden", "clocks", "timedatectl"),
    ("ExpiredToken", "400 Bad Request", "token has expired", "Renew"),
    ("InvalidToken", "400 Bad Request", "token is not valid", "Renew"),
    ("InvalidObjectState", "403 Forbidden", "archived", "restore-object"),
    ("PermanentRedirect", "301 Moved Permanently", "lies in the region eu-north-1", "region"),
    ("AuthorizationHeaderMalformed", "400 Bad Request", "lies in the region eu-north-1", "region"),
    ("AllAccessDisabled", "403 Forbidden", "closed all access", "administrator"),
    ("KMS.DisabledException", "400 Bad Request", "encrypts", "KMS"),
    ("NotImplemented", "501 Not Implemented", "does not know", "S3-compatible"),
    ("SomethingNew", "418 Teapot", "refuses the request (SomethingNew)", "aws s3 ls"),
    ("InternalError", "500 Oops", "fails (InternalError)", "S3 server"),
]


@pytest.mark.parametrize(("code", "status", "cause", "remedy"), REFUSALS, ids=[row[0] for row in REFUSALS])
@pytest.mark.parametrize("call", ["list", "open"])
def test_refusals_in_words(
    proxy: FaultProxy, store_of: StoreOf, stored: bytes, call: str, code: str, status: str, cause: str, remedy: str
) -> None:
    store = store_of(proxy.endpoint, "s3://backups/faults", retries=0)
    artifact = found(store, "object")
    secret = "<StringToSign>AWS4-secret</StringToSign><AWSAccessKeyId>READERKEY</AWSAccessKeyId>"
    proxy.otherwise = Fault("answer", text=refusal(status, code, f"<Region>eu-north-1</Region>{secret}"))
    with pytest.raises(CouldNotVerify) as failure:
        list(store.list("")) if call == "list" else read(store, artifact)
    assert cause in failure.value.cause and code in failure.value.cause
    assert remedy in failure.value.remedy
    assert "READERKEY" not in str(failure.value) and "secret" not in str(failure.value)


@pytest.mark.parametrize("body", [b"<html><h1>Sign in</h1></html>", b"<html><br></html>", b"", b"{}", b"\0\xff" * 99])
@pytest.mark.parametrize("call", ["list", "stat", "open"])
def test_a_login_page_is_neither_an_empty_store_nor_a_bad_backup(
    proxy: FaultProxy, store_of: StoreOf, stored: bytes, call: str, body: bytes
) -> None:
    store = store_of(proxy.endpoint, "s3://backups/faults", retries=0)
    artifact = found(store, "object")
    proxy.otherwise = Fault("answer", text=answer("200 OK", body, "text/html"))
    calls: dict[str, Callable[[], object]] = {
        "list": lambda: list(store.list("")),
        "stat": lambda: store.stat("object"),
        "open": lambda: read(store, artifact),
    }
    with pytest.raises(CouldNotVerify) as failure:
        calls[call]()
    assert failure.value.remedy
    proxy.otherwise = None
    assert calls[call]() in ([artifact], store.stat("object"), stored)


def test_a_listing_that_breaks_off(proxy: FaultProxy, store_of: StoreOf) -> None:
    store = store_of(proxy.endpoint, "s3://backups", retries=0)
    page = b"<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated></ListBucketResult>"
    proxy.faults.append(Fault("answer", text=answer("200 OK", page)))
    with pytest.raises(CouldNotVerify, match="broke its listing off"):
        list(store.list(""))
    page = page.replace(b"true", b"false")
    proxy.faults.append(Fault("answer", text=answer("200 OK", page)))
    assert list(store.list("")) == []


def test_a_server_that_knows_no_ranges(proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes) -> None:
    """It answers with the whole object: taking that for the rest would deliver wrong bytes."""
    store = through()
    artifact = found(store, "object")
    whole = answer("200 OK", stored).replace(b"Connection", f'ETag: "{artifact.etag}"\r\nConnection'.encode(), 1)
    proxy.faults.extend([Fault("answer", text=whole)])
    assert read(store, artifact) == stored
    proxy.faults.extend([Fault("cut", after=1000), Fault("answer", text=whole)])
    with pytest.raises(CouldNotVerify, match="does not send the range"):
        read(store, artifact)


def test_a_server_that_knows_no_conditions(proxy: FaultProxy, through: Callable[..., S3Store], stored: bytes) -> None:
    """It sends what is there now: the ETag of its answer tells."""
    store = through()
    artifact = found(store, "object")
    other = answer("200 OK", b"x" * SIZE).replace(b"Connection", b'ETag: "another"\r\nConnection', 1)
    proxy.faults.append(Fault("answer", text=other))
    with pytest.raises(BackupFailed, match="replaced after it was listed"):
        read(store, artifact)
    short = answer("200 OK", b"x").replace(b"Connection", f'ETag: "{artifact.etag}"\r\nConnection'.encode(), 1)
    proxy.faults.append(Fault("answer", text=short))
    with pytest.raises(BackupFailed, match=f"has 1 bytes, and had {SIZE}"):
        read(store, artifact)
    assert read(store, artifact) == stored


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "removed"])
def test_replaced_between_two_parts_of_a_read(
    proxy: FaultProxy, store_of: StoreOf, seaweed: S3Server, place: str, replaced: bool
) -> None:
    client, key = seaweed.client(), f"{place}/one"
    client.put_object(Bucket="backups", Key=key, Body=content(3 << 20, 1))
    store = store_of(proxy.endpoint, "s3://backups")
    proxy.only = f"GET /backups/{key}"
    artifact = found(store, key)
    proxy.faults.append(Fault("cut", after=1 << 20))
    reader = store.open(artifact)
    next(reader)
    if replaced:
        client.put_object(Bucket="backups", Key=key, Body=content(3 << 20, 2))
    else:
        client.delete_object(Bucket="backups", Key=key)
    with pytest.raises(BackupFailed, match="replaced after" if replaced else "vanished after") as failure:
        for _ in reader:
            pass
    assert failure.value.stage is Stage.FETCH
    assert [begin or 0 for begin in begins(proxy)] == [0, 1 << 20]


def test_a_version_replaced_between_two_parts_of_a_read_is_delivered(
    proxy: FaultProxy, store_of: StoreOf, seaweed: S3Server, place: str, versioned: str
) -> None:
    """A listing has no version ids: the first answer says which one it sends, and the rest is asked for by that."""
    client, key = seaweed.client(), f"{place}/one"
    client.put_object(Bucket=versioned, Key=key, Body=content(3 << 20, 1))
    store = store_of(proxy.endpoint, f"s3://{versioned}")
    proxy.only = f"GET /{versioned}/{key}"
    artifact = found(store, key)
    assert artifact.version == ""
    proxy.faults.append(Fault("cut", after=1 << 20))
    reader = store.open(artifact)
    begun = next(reader)
    client.put_object(Bucket=versioned, Key=key, Body=content(3 << 20, 2))
    assert begun + b"".join(reader) == content(3 << 20, 1)
    assert begins(proxy) == [None, 1 << 20]


class TestByRanges:
    """Several connections at once, each with faults of its own."""

    SIZE = 3 * PART + 12_345

    @pytest.fixture
    def artifact(self, seaweed: S3Server, proxy: FaultProxy, store_of: StoreOf) -> Artifact:
        store = store_of(seaweed.endpoint, "s3://backups/faults")
        if store.stat("parts") is None:
            seaweed.client().put_object(Bucket="backups", Key="faults/parts", Body=content(self.SIZE))
        proxy.only = "GET /backups/faults/parts"
        return found(store, "parts")

    def test_every_byte_is_asked_for_once(self, proxy: FaultProxy, store_of: StoreOf, artifact: Artifact) -> None:
        store = store_of(proxy.endpoint, "s3://backups/faults", ranges=3)
        assert read(store, artifact) == content(self.SIZE)
        assert sorted(begin or 0 for begin in begins(proxy)) == [0, PART, 2 * PART, 3 * PART]

    def test_cuts_are_resumed(self, proxy: FaultProxy, store_of: StoreOf, artifact: Artifact) -> None:
        store = store_of(proxy.endpoint, "s3://backups/faults", ranges=3)
        proxy.faults.extend(Fault("cut", after=cut) for cut in (1, 5 << 20, 0, 12_000, 1 << 20))
        assert read(store, artifact) == content(self.SIZE)
        assert len(proxy.requests) == 4 + 5

    def test_a_part_that_cannot_be_had(self, proxy: FaultProxy, store_of: StoreOf, artifact: Artifact) -> None:
        store = store_of(proxy.endpoint, "s3://backups/faults", ranges=3, retries=1)
        proxy.faults.extend([None, None, None])
        proxy.otherwise = Fault("busy")
        with pytest.raises(CouldNotVerify, match=f"of {self.SIZE} bytes had arrived"):
            read(store, artifact)

    def test_a_stall_ends_at_the_deadline(self, proxy: FaultProxy, store_of: StoreOf, artifact: Artifact) -> None:
        store = store_of(proxy.endpoint, "s3://backups/faults", ranges=3, read_deadline=0.4)
        proxy.otherwise = Fault("mute")
        started = time.monotonic()
        with pytest.raises(CouldNotVerify, match="does not answer in time"):
            read(store, artifact)
        assert time.monotonic() - started < ENDED

    def test_memory_stays_bounded_when_the_reader_is_slow(
        self, proxy: FaultProxy, store_of: StoreOf, artifact: Artifact
    ) -> None:
        """Every part that may be under way has been asked for, and no more, until the first is taken."""
        store = store_of(proxy.endpoint, "s3://backups/faults", ranges=2)
        reader = store.open(artifact)
        next(reader)
        assert set(begins(proxy)) <= {0, PART, 2 * PART, None}
        assert b"".join(reader)
        assert len(proxy.requests) == 4


@pytest.mark.parametrize(
    ("lying", "digits", "requests"),
    [
        ("db.gz.sha256", 64, 3),  # the second name that is looked at, which is read
        ("db.blake3", 64, 5),  # then the store is asked once which names there are
        ("db.gz.md5", 32, 9),  # strong lists come before weak sidecars
        ("", 0, 10),  # two names, the others at once, seven lists
    ],
)
def test_looking_for_a_digest_takes_few_requests(
    seaweed: S3Server, proxy: FaultProxy, store_of: StoreOf, place: str, lying: str, digits: int, requests: int
) -> None:
    """And finds the same where the bucket may be listed below other prefixes only."""
    for name in filter(None, ("db.gz", lying)):
        seaweed.client().put_object(Bucket="backups", Key=f"{place}/{name}", Body=b"0" * digits)
    store = store_of(proxy.endpoint, f"s3://backups/{place}", retries=0)
    artifact = store.stat("db.gz")
    assert artifact is not None
    proxy.requests.clear()
    found = recorded.find(store, artifact, ChecksumRule(weak="accept"))
    assert (found.digest is not None, found.source) == (bool(lying), store.where(lying) if lying else "")
    assert len(proxy.requests) <= requests
    proxy.only, proxy.otherwise = "list-type", Fault("answer", text=refusal("403 Forbidden", "AccessDenied"))
    assert recorded.find(store, artifact, ChecksumRule(weak="accept")) == found


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    size=st.integers(0, 3 << 20),
    cuts=st.lists(st.tuples(st.sampled_from(["cut", "reset"]), st.integers(0, 2 << 20)), max_size=5),
    piece=st.sampled_from([1 << 10, 9_999, 1 << 16, 1 << 20]),
    ranges=st.sampled_from([1, 3]),
)
def test_any_size_any_cut_any_pieces_give_the_same_bytes(
    proxy: FaultProxy,
    store_of: StoreOf,
    seaweed: S3Server,
    size: int,
    cuts: list[tuple[str, int]],
    piece: int,
    ranges: int,
) -> None:
    data = content(size, size)
    seaweed.client().put_object(Bucket="backups", Key="faults/any", Body=data)
    proxy.only = "GET /backups/faults/any"
    proxy.requests.clear()
    proxy.faults.clear()
    proxy.faults.extend(Fault(kind, after=after, piece=piece) for kind, after in cuts)
    store = store_of(proxy.endpoint, "s3://backups/faults", retries=6, ranges=ranges)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("s3", "s3_reader"):
            patch.setattr(f"restore_drill.stores.{module}.PART", 1 << 20)
        assert read(store, found(store, "any")) == data
    store.close()


def test_lists_100_000_objects_in_bounded_memory(seaweed: S3Server, store_of: StoreOf) -> None:
    """On seaweedfs, in pages of 1,000. The last 30,000 are traced (it is slow): kept, they would take 12 MB."""
    seaweed.client().create_bucket(Bucket="many")
    seaweed.fill("many", 100_000)
    store = store_of(seaweed.endpoint, "s3://many")
    listing = store.list("")
    assert [artifact.key for artifact in islice(listing, 70_000)][-1] == "k/0069999"
    tracemalloc.start()
    try:
        count = sum(1 for _ in listing)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 6 << 20
    assert [artifact.key for artifact in store.list("k/009999")] == [f"k/009999{digit}" for digit in range(10)]


def test_the_pauses_between_attempts_grow_and_end() -> None:
    pauses: list[float] = []
    patience = trying.Patience(9, pauses.append)
    again = trying.Diagnosis(trying.Nature.AGAIN, "", "")
    timeout = trying.Diagnosis(trying.Nature.TIMEOUT, "", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trying, "FIRST_PAUSE", 0.2)
        assert [patience.bears(again) for _ in range(10)] == [True] * 9 + [False]
    for pause, longest in zip(pauses, (0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5), strict=True):
        assert longest / 2 <= pause <= longest
    patience.progressed()
    assert [patience.bears(timeout) for _ in range(2)] == [True, False]
    assert not trying.Patience(9, pauses.append).bears(trying.Diagnosis(trying.Nature.FINAL, "", ""))
    assert BUSY.startswith(b"HTTP/1.1 503")
