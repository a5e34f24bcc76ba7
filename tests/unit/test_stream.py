"""The one pass: the same bytes and digests whatever the chunks and layers, and an orderly end whatever happens."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.zip_builder import Part, build

from restore_drill import stream
from restore_drill.codecs.base import Codec
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.recognise import codec_detector
from restore_drill.secrets import SecretReference
from restore_drill.stream import Ahead, Layer, Peeled, Peeling, Tap, peek

Encode = Callable[[bytes], bytes]
CONTENT = bytes(random.Random(1).randbytes(40_000)) + b"compressible " * 20_000


def _zstd(data: bytes) -> bytes:
    try:
        from compression.zstd import compress
    except ImportError:
        from backports.zstd import compress
    return compress(data)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Encode, dict[str, dict[str, SecretReference]]]]:
    """Encrypt for a fresh identity, and where to find it."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    path = tmp_path_factory.mktemp("age") / "key"
    path.write_text(str(identity))
    path.chmod(0o600)
    recipient = identity.to_public()

    def encrypt(data: bytes) -> bytes:
        return bytes(pyrage.encrypt(data, [recipient]))

    return encrypt, {"age": {"identity": SecretReference("file", str(path))}}


@pytest.fixture(params=[False, True], ids=["alone", "threads"])
def threaded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(stream, "THREADED_FROM", 0 if request.param else 1 << 62)
    return bool(request.param)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [each.name for each in threading.enumerate() if each.name == "restore-drill-stream"] == []


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """The data in pieces of these sizes, again and again."""
    sizes = list(sizes) or [1 << 20]
    at = 0
    while at < len(data):
        for size in sizes:
            yield data[at : at + size]
            at += size


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def how(data: bytes = b"", **more: Any) -> Peeling:
    given = {
        "name": "db.gz",
        "size": len(data),
        "detect": codec_detector({}),
        "wanted": lambda names: frozenset[str](),
        **more,
    }
    return Peeling(**given)


def peel(data: bytes, chunks: Iterable[bytes] | None = None, **more: Any) -> tuple[bytes, list[Layer]]:
    peeled = Peeled(iter([data]) if chunks is None else chunks, how(data, **more))
    try:
        peeled.open()
        content = b"".join(peeled.content())
    finally:
        peeled.finish()
    return content, peeled.layers


# --- the same bytes ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    layers=st.lists(st.sampled_from(["gzip", "xz", "zstd", "age"]), max_size=4),
    sizes=st.lists(st.integers(0, 70_000), min_size=1, max_size=5).filter(any),
    length=st.integers(1, len(CONTENT)),
    threads=st.booleans(),
)
def test_any_layers_in_any_chunks_give_the_same_bytes_and_digests(
    layers: list[str], sizes: list[int], length: int, threads: bool, age: tuple[Encode, Any]
) -> None:
    encode = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": _zstd, "age": age[0]}
    stored = [CONTENT[-length:]]
    for name in layers:
        stored.append(encode[name](stored[-1]))
    stored.reverse()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "THREADED_FROM", 0 if threads else 1 << 62)
        content, found = peel(
            stored[0],
            cut(stored[0], sizes),
            detect=codec_detector(age[1]),
            wanted=lambda names: frozenset({"sha512", "sha256"}),
        )
    assert content == stored[-1]
    assert [layer.format for layer in found[:-1]] == layers[::-1]
    assert all(layer.whole for layer in found)
    assert [layer.size for layer in found] == [len(data) for data in stored]
    assert [layer.digests["sha256"] for layer in found] == [sha256(data) for data in stored]
    assert [layer.digests["sha512"] for layer in found] == [hashlib.sha512(data).hexdigest() for data in stored]


def test_each_layer_knows_what_a_file_of_its_bytes_is_called(threaded: bool) -> None:
    data = gzip.compress(lzma.compress(CONTENT))
    _, layers = peel(data, name="orders.db.xz.gz")
    assert [layer.names for layer in layers] == [("orders.db.xz.gz",), ("orders.db.xz",), ("orders.db",)]
    _, layers = peel(gzip.compress(CONTENT), name="tree.tgz")
    assert layers[1].names == ("tree.tar",)
    _, layers = peel(gzip.compress(CONTENT), name="unnamed")
    assert [layer.names for layer in layers] == [("unnamed",), ()]


def test_only_the_layers_that_are_asked_for_are_hashed_beside_the_outer_and_the_content(threaded: bool) -> None:
    data = gzip.compress(lzma.compress(CONTENT))
    _, layers = peel(data, name="a.xz.gz", wanted=lambda names: frozenset({"md5"} if "a.xz" in names else ()))
    assert [set(layer.digests) for layer in layers] == [{"sha256"}, {"md5"}, {"sha256"}]


def test_who_watches_a_layer_sees_all_its_bytes_and_those_of_no_other(threaded: bool) -> None:
    data = gzip.compress(lzma.compress(CONTENT))
    seen: dict[str, list[bytes]] = {name: [] for name in ("a.xz.gz", "a.xz", "a")}
    peel(data, cut(data, [1000]), name="a.xz.gz", watch=lambda names: [seen[name].append for name in names])
    assert [b"".join(chunks) for chunks in seen.values()] == [data, lzma.compress(CONTENT), CONTENT]


def test_the_head_is_shown_before_anything_is_consumed(threaded: bool) -> None:
    data = gzip.compress(CONTENT)
    peeled = Peeled(cut(data, [7]), how(data))
    assert peeled.open() == CONTENT[: stream.HEAD]
    assert b"".join(peeled.content()) == CONTENT
    peeled.finish()


def test_progress_counts_stored_bytes(threaded: bool) -> None:
    data = gzip.compress(CONTENT)
    seen: list[int] = []
    peel(data, cut(data, [1000]), advance=seen.append)
    assert sum(seen) == len(data)


def test_empty_content_is_content(threaded: bool) -> None:
    content, layers = peel(gzip.compress(b""))
    assert content == b""
    assert layers[1].digests["sha256"] == sha256(b"")
    assert layers[1].whole


def test_nothing_at_all_is_content_too() -> None:
    content, layers = peel(b"")
    assert (content, layers[0].whole, layers[0].digests["sha256"]) == (b"", True, sha256(b""))


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [30, 20_000, -5])
def test_after_damage_the_rest_is_read_so_that_the_stored_digest_is_known(at: int, threaded: bool) -> None:
    data = bytearray(gzip.compress(CONTENT))
    data[at] ^= 0xFF
    peeled = Peeled(cut(bytes(data), [5000]), how(bytes(data)))
    with pytest.raises(BackupFailed) as raised:
        peeled.open()
        for _ in peeled.content():
            pass
    peeled.finish()
    assert raised.value.stage is Stage.UNPACK
    assert peeled.source_failure is None
    assert peeled.layers[0].whole
    assert peeled.layers[0].digests["sha256"] == sha256(bytes(data))
    assert not peeled.layers[-1].whole


def test_a_consumer_that_stops_early_still_learns_the_stored_digest(threaded: bool) -> None:
    data = gzip.compress(CONTENT)
    peeled = Peeled(cut(data, [1000]), how(data))
    peeled.open()
    next(iter(peeled.content()))
    peeled.finish()
    assert peeled.layers[0].digests["sha256"] == sha256(data)
    assert peeled.layers[0].whole
    assert not peeled.layers[1].whole


def test_a_stage_that_was_never_begun_is_no_obstacle() -> None:
    data = gzip.compress(CONTENT)
    peeled = Peeled(cut(data, [1000]), how(data))
    peeled.finish()
    assert peeled.layers[0].digests["sha256"] == sha256(data)


@pytest.mark.parametrize(
    "problem",
    [CouldNotVerify("the store is gone"), BackupFailed("it changed", stage=Stage.FETCH), OSError(5, "broken")],
    ids=lambda problem: type(problem).__name__,
)
@pytest.mark.parametrize("after", [0, 10, 30_000])
def test_what_fails_upstream_arrives_unchanged(problem: Exception, after: int, threaded: bool) -> None:
    data = gzip.compress(CONTENT)

    def source() -> Iterator[bytes]:
        yield from cut(data[:after], [4096])
        raise problem

    peeled = Peeled(source(), how(data))
    with pytest.raises(type(problem)) as raised:
        peeled.open()
        for _ in peeled.content():
            pass
    assert raised.value is problem
    peeled.finish()
    assert peeled.source_failure is problem
    assert not peeled.layers[0].whole


def test_a_layer_that_failed_is_never_whole_however_often_it_is_asked() -> None:
    def source() -> Iterator[bytes]:
        yield b"x"
        raise CouldNotVerify("gone")

    tap = Tap(source(), ["sha256"], float("inf"))
    assert next(tap) == b"x"
    with pytest.raises(CouldNotVerify):
        next(tap)
    assert list(tap) == []
    tap.drain()
    assert not tap.whole


def test_draining_meets_what_breaks_meanwhile_and_remembers_it() -> None:
    problem = CouldNotVerify("gone")

    def source() -> Iterator[bytes]:
        yield b"x" * 100
        raise problem

    peeled = Peeled(source(), how(b"x" * 200))
    peeled.finish()
    assert peeled.source_failure is problem
    assert (peeled.layers[0].size, peeled.layers[0].whole) == (100, False)


def test_the_deadline_ends_reading_and_is_the_sources_failure(threaded: bool) -> None:
    data = gzip.compress(CONTENT)
    peeled = Peeled(cut(data, [1000]), how(data, until=time.monotonic() - 1))
    with pytest.raises(DeadlineExceeded, match="had arrived at the deadline") as raised:
        peeled.open()
    peeled.finish()
    assert raised.value.stage is Stage.FETCH
    assert peeled.source_failure is raised.value


# --- bombs ------------------------------------------------------------------------------------------------------------


def _bomb(size: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


def test_a_bomb_is_refused_by_its_ratio_in_bounded_memory(threaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RATIO_FREE", 1 << 20)
    data = gzip.compress(_bomb(64 << 20))
    peeled = Peeled(cut(data, [1 << 20]), how(data))
    tracemalloc.start()
    try:
        with pytest.raises(BackupFailed, match="more than 1000 times its stored size") as raised:
            peeled.open()
            for _ in peeled.content():
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        peeled.finish()
    assert raised.value.stage is Stage.UNPACK
    assert "limits.ratio" in raised.value.remedy
    assert peak < 32 << 20
    assert peeled.layers[0].digests["sha256"] == sha256(data)


def test_a_bomb_is_refused_by_its_size(threaded: bool) -> None:
    data = _bomb(4 << 20)
    content, _ = peel(data, limit=4 << 20)
    assert len(content) == 4 << 20
    with pytest.raises(BackupFailed, match=r"limits\.bytes allows"):
        peel(data, limit=(4 << 20) - 1)


def test_expansion_is_free_below_a_size_and_unjudged_where_the_stored_size_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = _bomb(8 << 20)
    assert len(peel(data, ratio=2)[0]) == 8 << 20
    monkeypatch.setattr(stream, "RATIO_FREE", 1 << 20)
    with pytest.raises(BackupFailed, match="2 times its stored size"):
        peel(data, ratio=2)
    assert len(peel(data, ratio=2, size=-1)[0]) == 8 << 20


def test_as_many_layers_as_an_honest_backup_has_and_no_more(threaded: bool) -> None:
    data = b"content"
    for _ in range(stream.MAX_LAYERS):
        data = gzip.compress(data)
    assert peel(data)[0] == b"content"
    data = gzip.compress(data)
    with pytest.raises(BackupFailed, match="more than 6 layers"):
        peel(data)


# --- an orderly end ---------------------------------------------------------------------------------------------------


class Waiting:
    """A source that gives a little, then waits until it is let go."""

    def __init__(self, data: bytes) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        self.closed = False
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        self.reached.set()
        self.go.wait(30)
        yield b""

    def close(self) -> None:
        self.closed = True


def test_an_interrupt_in_the_middle_ends_every_thread_and_the_source(threaded: bool) -> None:
    data = gzip.compress(gzip.compress(CONTENT))
    source = Waiting(data[:-100])
    peeled = Peeled(source, how(data))

    def interrupted() -> Iterator[bytes]:
        for chunk in peeled.content():
            yield chunk
            raise KeyboardInterrupt

    peeled.open()
    with pytest.raises(KeyboardInterrupt):
        list(interrupted())
    source.go.set()
    peeled.abandon()
    assert source.closed


def test_who_waits_for_a_thread_that_waits_for_the_store_is_let_go() -> None:
    source = Waiting(b"x")
    inner = Ahead(iter(source))
    outer = Ahead(inner)
    assert next(outer) == b"x"
    assert source.reached.wait(30)
    inner.stop()
    outer.close()
    assert not outer._thread.is_alive()
    assert list(inner) == []
    source.go.set()
    inner.close()


def test_closing_a_thread_whose_queue_is_full_ends_it() -> None:
    ahead = Ahead(cut(bytes(100_000), [10]))
    assert next(ahead) == bytes(10)
    ahead.close()
    assert list(ahead) == []
    ahead.close()


def test_a_thread_reads_only_a_little_ahead() -> None:
    read = []

    def source() -> Iterator[bytes]:
        for number in range(10_000):
            read.append(number)
            yield b"x"

    ahead = Ahead(source())
    for _ in range(50):
        next(ahead)
    ahead.close()
    assert len(read) < 100


def test_threads_hand_on_a_failure_once_and_then_end() -> None:
    problem = CouldNotVerify("x")

    def source() -> Iterator[bytes]:
        yield b"1"
        raise problem

    ahead = Ahead(source())
    assert next(ahead) == b"1"
    with pytest.raises(CouldNotVerify) as raised:
        next(ahead)
    assert raised.value is problem
    assert list(ahead) == []


def test_finishing_closes_the_source(threaded: bool) -> None:
    data = gzip.compress(CONTENT)
    source = Waiting(data)
    source.go.set()
    peeled = Peeled(source, how(data))
    peeled.open()
    for _ in peeled.content():
        pass
    peeled.finish()
    assert source.closed


@pytest.mark.parametrize("sizes", [[1], [0, 3], [4096]])
def test_peeking_loses_nothing(sizes: list[int]) -> None:
    data = os.urandom(5000)
    head, rest = peek(cut(data, sizes), 1000)
    assert head == data[:1000]
    assert b"".join(rest) == data
    head, rest = peek(cut(data[:10], sizes), 1000)
    assert (head, b"".join(rest)) == (data[:10], data[:10])


def test_a_codec_that_swallows_what_broke_upstream_cannot_hide_it() -> None:
    class Swallowing(Codec):
        name = "swallowing"

        @classmethod
        def recognises(cls, head: bytes) -> bool:
            return head.startswith(b"S")

        def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
            with contextlib.suppress(RestoreDrillError):
                yield from chunks
            yield from chunks

    problem = CouldNotVerify("gone")

    def source() -> Iterator[bytes]:
        yield b"S" * 2000
        raise problem

    def once(head: bytes, depth: int) -> Codec | None:
        return Swallowing() if depth == 0 else None

    peeled = Peeled(source(), how(b"S" * 4000, detect=once))
    peeled.open()
    list(peeled.content())
    peeled.finish()
    assert peeled.source_failure is problem
    assert not peeled.layers[0].whole


def test_a_deadline_holds_for_what_comes_out_of_a_staged_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has nothing to do with it any more: its tap cannot notice."""
    content = bytes(5 << 20)
    encoded = build([Part(b"content", content)])
    for late in (False, True):
        now = [0.0]

        def chunks() -> Iterator[bytes]:
            yield encoded
            now[0] = 100.0 if late else 0.0  # noqa: B023

        monkeypatch.setattr(stream.time, "monotonic", lambda: now[0])  # noqa: B023
        peeled = Peeled(chunks(), Peeling("x.zip", len(encoded), codec_detector({}), lambda _: frozenset(), until=50.0))
        peeled.open()
        if late:
            with pytest.raises(DeadlineExceeded):
                list(peeled.content())
        else:
            assert b"".join(peeled.content()) == content
        peeled.finish()
        assert peeled.source_failure is None
