"""One pass from the store to the sandbox: read, hash, decrypt, decompress, hash, write.

A source of chunks is peeled layer by layer: what the first bytes are recognised as decides the codec, until nothing
is left to decode. Every layer is counted; the layers that a recorded digest speaks of are hashed as they pass. Large
artifacts run their layers in threads over bounded queues (the native decoders and hashes let go of the interpreter
lock), small ones in the caller's thread. Nothing here judges: the caller compares digests and decides.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from restore_drill import digests
from restore_drill.checksums import decoded_name
from restore_drill.codecs.base import HEAD, Codec, StagedCodec
from restore_drill.disk import Workspace
from restore_drill.errors import BackupFailed, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.quantities import format_size

#: Below this many stored bytes threads cost more than they gain.
THREADED_FROM = 4 << 20
#: Layers of compression and encryption that an honest backup has at most.
MAX_LAYERS = 6
#: Expansion is not judged below this many decoded bytes.
RATIO_FREE = 256 << 20
_QUEUE_DEPTH = 6

#: Sees the bytes of a layer as they pass, and never raises.
Watch = Callable[[bytes], object]


@dataclass(slots=True)
class Layer:
    """One stage of the peeling: the bytes before a codec was applied, or the content.

    Attributes:
        names: What a file holding exactly these bytes would be called.
        format: The codec that recognised them, or what the content was recognised as.
        size: Bytes seen.
        digests: Algorithm → hexadecimal digest; complete only when ``whole``.
        whole: The layer was read to its end without an error.
        facts: What the codec has to say (frames, recipients).
    """

    names: tuple[str, ...]
    format: str = ""
    size: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


class Tap:
    """An iterator that counts and hashes what passes, and remembers why it ended.

    Closing what consumes it does not close it: after a failure downstream the rest can still be drained, so that the
    digest of a damaged artifact is known.
    """

    def __init__(
        self, chunks: Iterable[bytes], algorithms: Iterable[str], until: float, watch: Iterable[Watch] = ()
    ) -> None:
        self._chunks = iter(chunks)
        self._hashes = {name: digests.new(name) for name in algorithms}
        self._watch = tuple(watch)
        self._until = until
        self.size = 0
        self.whole = False
        self.failure: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self.whole = self.failure is None  # a generator that failed ends when it is asked again
            raise
        except BaseException as problem:
            self.failure = problem
            raise
        if time.monotonic() > self._until:
            self.failure = DeadlineExceeded(
                f"only {format_size(self.size)} had arrived at the deadline",
                remedy="Raise deadlines.fetch, or find out why the store is slow.",
                stage=Stage.FETCH,
            )
            raise self.failure
        self.size += len(chunk)
        for digest in self._hashes.values():
            digest.update(chunk)
        for watch in self._watch:
            watch(chunk)
        return chunk

    def digests(self) -> dict[str, str]:
        """The digests of what has passed so far."""
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}

    def drain(self) -> None:
        """Read what is left, for the digest's sake; a failure of the source is remembered, not raised."""
        if self.whole or self.failure:
            return
        try:
            for _ in self:
                pass
        except RestoreDrillError:
            return


class Bound:
    """An iterator that refuses to hand on more than the limits allow: what a decompression bomb meets."""

    def __init__(self, chunks: Iterator[bytes], stored: int, ratio: int, limit: int | None) -> None:
        self._chunks = chunks
        self._ceiling = max(RATIO_FREE, ratio * stored) if stored >= 0 else None
        self._limit = limit
        self._ratio = ratio
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._size += len(chunk)
        if self._limit is not None and self._size > self._limit:
            raise _bomb(f"more than the {format_size(self._limit)} that limits.bytes allows", "limits.bytes")
        if self._ceiling is not None and self._size > self._ceiling:
            raise _bomb(f"more than {self._ratio} times its stored size", "limits.ratio")
        return chunk

    def close(self) -> None:
        """End the stages before it."""
        close(self._chunks)


@dataclass(frozen=True, slots=True)
class Peeling:
    """How to peel an artifact.

    Attributes:
        name: The stored artifact's own name.
        size: Its stored size, ``-1`` when nobody knows: then the ratio is not judged.
        detect: First bytes → a codec ready to decode them, or ``None`` for content.
        wanted: Names of a layer → algorithms that a recorded digest of one of these names needs.
        watch: Names of a layer → what else must see its bytes: the judge of a signature.
        ratio: Most decoded bytes per stored byte.
        limit: Most decoded bytes.
        until: ``time.monotonic()`` of the deadline.
        advance: Called with the number of stored bytes read since the last call.
        workspace: Where what cannot be read as a stream is staged; ``None`` for the system's temporary directory.
        trees: An archive of several files is content, and no layer to be decoded.
    """

    name: str
    size: int
    detect: Callable[[bytes, int], Codec | None]
    wanted: Callable[[tuple[str, ...]], frozenset[str]]
    watch: Callable[[tuple[str, ...]], Iterable[Watch]] = lambda names: ()  # noqa: ARG005
    ratio: int = 1000
    limit: int | None = None
    until: float = float("inf")
    advance: Callable[[int], None] | None = None
    workspace: Workspace | None = None
    trees: bool = False


class Peeled:
    """An artifact being peeled: :meth:`open` it, iterate :meth:`content`, :meth:`finish`, then read ``layers``."""

    def __init__(self, chunks: Iterable[bytes], how: Peeling) -> None:
        self._how = how
        self._source = chunks
        names = (how.name,)
        stored = Tap(_counted(chunks, how.advance), {"sha256"} | how.wanted(names), how.until, how.watch(names))
        self._taps = [stored]
        self._codecs: list[Codec] = []
        self._stages: list[Any] = []
        self._content: Iterator[bytes] = stored
        self.layers = [Layer((how.name,))]
        #: Once a layer was staged, the store's deadline no longer ends what is read.
        self._until = float("inf")

    def open(self) -> bytes:
        """Peel down to the content and return its first bytes, so that the caller can choose where it goes.

        Raises:
            RestoreDrillError: Reading or decoding failed before the content began.
        """
        threaded = self._how.size < 0 or self._how.size >= THREADED_FROM
        for depth in range(MAX_LAYERS + 1):
            head, self._content = peek(self._content)
            codec = self._how.detect(head, depth)
            is_content = codec is None or (self._how.trees and isinstance(codec, StagedCodec))
            if depth:
                self._tap(is_content=is_content)
            if codec is None or not self._decode(codec, threaded):
                return head
        raise BackupFailed(
            f"more than {MAX_LAYERS} layers of compression or encryption are around it",
            remedy="A bomb is made like that. If the backup job really wraps it so often, let it do so less often.",
            stage=Stage.UNPACK,
        )

    def _tap(self, *, is_content: bool) -> None:
        names = self.layers[-1].names
        wanted = self._how.wanted(names) | ({"sha256"} if is_content else frozenset())
        tap = Tap(self._content, wanted, self._until, self._how.watch(names))
        self._taps.append(tap)
        self._content = tap

    def _decode(self, codec: Codec, threaded: bool) -> bool:
        """Add a layer; ``False`` for an archive that is content after all."""
        encoded = self._ahead(self._content) if threaded else self._content
        if isinstance(codec, StagedCodec):
            decoded = self._staged(codec, encoded)
            if decoded is None:
                return False
        else:
            decoded = codec.decode(encoded)
        layer = self.layers[-1]
        layer.format = codec.name
        self._codecs.append(codec)
        self._stages.append(decoded)
        if threaded:
            decoded = self._ahead(decoded)
        self._content = Bound(decoded, self._how.size, self._how.ratio, self._how.limit)
        self.layers.append(Layer(tuple(stem for name in layer.names if (stem := decoded_name(name, codec.suffixes)))))
        return True

    def _staged(self, codec: StagedCodec, encoded: Iterator[bytes]) -> Iterator[bytes] | None:
        """What a codec makes of a stream once it is on disk, ``None`` for an archive, which then is the content."""
        if self._how.workspace is not None:
            expected = self._how.size if len(self.layers) == 1 else -1
            codec.workspace = replace(self._how.workspace, expected=expected)
        whole = codec.stage(encoded)
        self._stages.append(whole)
        self._until = self._how.until
        if not self._how.trees or codec.holds_one(whole):
            return codec.read(whole)
        self._content = whole.pieces(0, whole.size)
        self.layers[-1].facts = {"staged": whole.size}
        return None

    def _ahead(self, chunks: Iterator[bytes]) -> Ahead:
        stage = Ahead(chunks)
        self._stages.append(stage)
        return stage

    def content(self) -> Iterator[bytes]:
        """The decoded bytes, once."""
        return self._content

    def abandon(self) -> None:
        """End every stage and let go of the source; nothing more is read."""
        self._end_stages()
        close(self._source)

    def _end_stages(self) -> None:
        for stage in self._stages:
            if isinstance(stage, Ahead):
                stage.stop()  # all of them first: one may be waiting for another that waits for the store
        for stage in reversed(self._stages):
            close(stage)

    def finish(self) -> None:
        """End every stage, read what is left of the artifact, and fill in ``layers``; never raises for bad bytes."""
        self._end_stages()
        self._taps[0].drain()
        close(self._source)
        for tap, layer in zip(self._taps, self.layers, strict=False):
            layer.size, layer.whole, layer.digests = tap.size, tap.whole, tap.digests()
        for codec, layer in zip(self._codecs, self.layers, strict=False):
            layer.facts = codec.facts()

    @property
    def source_failure(self) -> BaseException | None:
        """Why reading from the store ended early, or ``None``."""
        return self._taps[0].failure


class Ahead:
    """Run an iterator in a thread of its own, a few chunks ahead of its consumer."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._source = chunks
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUE_DEPTH)
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="restore-drill-stream", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for chunk in self._source:
                if not self._put(chunk):
                    return
        except BaseException as problem:  # handed on, unchanged, to the consumer
            self._failure = problem
        self._put(None)

    def _put(self, chunk: bytes | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(chunk, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = None if self._stop.is_set() else self._queue.get()
        if chunk is not None:
            return chunk
        self._stop.set()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        raise StopIteration

    def stop(self) -> None:
        """Have the thread end after the chunk that it is waiting for, and let go who waits for the thread."""
        self._stop.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def close(self) -> None:
        """Stop the thread and wait for it; what it had read ahead is dropped (a tap before it has counted it)."""
        self.stop()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.05)


def peek(chunks: Iterator[bytes], length: int = HEAD) -> tuple[bytes, Iterator[bytes]]:
    """The first ``length`` bytes (fewer when there are no more), and an iterator over everything."""
    first: list[bytes] = []
    size = 0
    for chunk in chunks:
        first.append(chunk)
        size += len(chunk)
        if size >= length:
            break
    return b"".join(first)[:length], _Rejoined(first, chunks)


class _Rejoined:
    """Chunks that were read for a look, followed by the rest."""

    def __init__(self, first: list[bytes], rest: Iterator[bytes]) -> None:
        self._first = first[::-1]
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._first.pop() if self._first else next(self._rest)

    def close(self) -> None:
        close(self._rest)


def close(stage: Any) -> None:
    """End a generator, a thread or a wrapper of one; anything else has nothing to end."""
    end = getattr(stage, "close", None)
    if end is not None:
        end()


def _counted(chunks: Iterable[bytes], advance: Callable[[int], None] | None) -> Iterator[bytes]:
    return iter(chunks) if advance is None else _advancing(chunks, advance)


def _advancing(chunks: Iterable[bytes], advance: Callable[[int], None]) -> Generator[bytes, None, None]:
    for chunk in chunks:
        advance(len(chunk))
        yield chunk


def _bomb(what: str, option: str) -> BackupFailed:
    return BackupFailed(
        f"unpacking it would give {what}",
        remedy=f"If this backup really is like that, raise {option} of the target.",
        stage=Stage.UNPACK,
    )
