"""What every codec must do: subclass :class:`CodecConformance` in a test module, and pytest runs it.

::

    class TestMyCodec(CodecConformance):
        def codec(self):
            return MyCodec()

        def encode(self, data):
            return my_format.compress(data)

A codec that encrypts subclasses :class:`EncryptingCodecConformance`.
"""

# ruff: noqa: S101, S311 - assertions are what this is for, and its random data is meant to be the same each time

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from restore_drill.codecs.base import HEAD, Codec, StagedCodec
from restore_drill.disk import Workspace
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.secrets import SecretReference

#: What a codec may hand on at once (bytes).
CHUNK = 1 << 20
_SMALL = b"one small stream, whose every byte and bit is tried"
_BOMB = 64 * CHUNK


def content(size: int, seed: int = 1) -> bytes:
    """Data that is the same each time: text, runs and noise in turn."""
    source = random.Random(seed)
    words = [bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz", k=source.randint(2, 9))) for _ in range(400)]
    parts, length = [], 0
    while length < size:
        text = b" ".join(source.choices(words, k=300))
        part = source.choice((text, bytes([source.randrange(256)]) * 3000, source.randbytes(2000)))
        parts.append(part)
        length += len(part)
    return b"".join(parts)[:size]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The data in chunks of one size."""
    return (data[start : start + size] for start in range(0, len(data), size))


def ragged(data: bytes, seed: int) -> Iterator[bytes]:
    """The data in chunks of random sizes, empty ones among them."""
    source, start = random.Random(seed), 0
    while start < len(data):
        size = source.choice((0, 1, 2, 17, 511, 4096, 70000))
        yield data[start : start + size]
        start += size


class CodecConformance(ABC):
    """The rules for every codec; the class attributes say what a format allows."""

    #: Whether streams written one after the other are one stream of the format.
    concatenates: ClassVar[bool] = True
    #: The bytes that are padding behind the end: zeros (a multiple of 512 at a time), or white space.
    padding: ClassVar[bytes] = b""
    #: Whether :meth:`encode` writes streams in which a flipped bit cannot change the content unnoticed.
    notices_flips: ClassVar[bool] = True
    #: Of the bits and lengths at which a stream is harmed one by one, every how many-th is tried: more than 1 only for
    #: a codec that starts a program for each stream, and an odd number, so that bits of every weight have their turn.
    stride: ClassVar[int] = 1

    @abstractmethod
    def codec(self) -> Codec:
        """A new codec, with the right key where it needs one."""

    @abstractmethod
    def encode(self, data: bytes) -> bytes:
        """The data as one stream (member, frame) of the format, written by something other than the codec."""

    def decode(self, encoded: bytes) -> bytes:
        """What a new codec makes of a stream that comes in one chunk."""
        return b"".join(self.codec().decode(iter([encoded])))

    def refuses(self, chunks: Iterator[bytes]) -> RestoreDrillError:
        """The error with which a new codec refuses a stream as bad."""
        with pytest.raises(BackupFailed) as caught:
            for _ in self.codec().decode(chunks):
                pass
        assert caught.value.stage is Stage.UNPACK
        assert caught.value.remedy
        return caught.value

    def notices(self, chunks: Iterator[bytes], how: str, data: bytes) -> None:
        """Assert that a stream that was cut or added to is refused with these words.

        Where nothing in the format could tell (and a digest is required), it may also be taken for a wrong key, or
        decode to anything else but the content.
        """
        if not self.codec().needs_content_digest:
            assert how in self.refuses(chunks).cause
            return
        with contextlib.suppress(RestoreDrillError):
            assert b"".join(self.codec().decode(chunks)) != data

    def _is_staged(self) -> bool:
        return isinstance(self.codec(), StagedCodec)

    def test_has_a_name_and_suffixes(self) -> None:
        """Both are what catalogues and recorded names are matched with."""
        codec = self.codec()
        assert codec.name
        assert all(suffix.startswith(".") for suffix in codec.suffixes)
        assert codec.encrypts is isinstance(self, EncryptingCodecConformance)
        assert codec.encrypts is bool(codec.keys)
        assert codec.secrets.keys() <= set(codec.keys)
        assert codec.settings.keys() <= codec.options.keys()
        assert not codec.options.keys() & set(codec.keys)
        assert not (codec.needs_content_digest and codec.self_checking)

    def test_recognises_its_own_streams(self) -> None:
        """By their beginning, however much of it there is."""
        for data in (b"", _SMALL, content(3 * HEAD)):
            assert self.codec().recognises(self.encode(data)[:HEAD])

    @pytest.mark.parametrize(
        "head", [b"", b"\0" * HEAD, b"-- PostgreSQL database dump\n", b"SQLite format 3\0", b"\x1f"]
    )
    def test_recognises_nothing_else(self, head: bytes) -> None:
        """Plain data must not be taken for the format."""
        assert not self.codec().recognises(head)

    @pytest.mark.parametrize("size", [0, 1, 1000, 65535, 65536, 65537, 131072, 3 * CHUNK + 5])
    def test_decodes_in_any_chunking(self, size: int) -> None:
        """Whole, ragged, and (the small ones) byte by byte."""
        data = content(size)
        encoded = self.encode(data)
        assert self.decode(encoded) == data
        assert b"".join(self.codec().decode(ragged(encoded, size))) == data
        assert b"".join(self.codec().decode(ragged(encoded, size + 1))) == data
        step = 1 if size <= 1000 else 4099
        assert b"".join(self.codec().decode(pieces(encoded, step))) == data

    def test_a_codec_can_be_used_again(self) -> None:
        """Nothing of one stream is left over for the next, not even of a bad one."""
        codec, encoded = self.codec(), self.encode(_SMALL)
        with pytest.raises(BackupFailed):
            list(codec.decode(iter([encoded[:-1]])))
        assert b"".join(codec.decode(iter([encoded]))) == _SMALL
        assert b"".join(codec.decode(iter([encoded]))) == _SMALL

    def test_refuses_nothing_at_all(self) -> None:
        """An empty stream is no stream, in no chunk and in empty ones."""
        assert "empty" in self.refuses(iter([])).cause
        assert "empty" in self.refuses(iter([b"", b""])).cause

    def test_refuses_another_format(self) -> None:
        """An error page, or a dump that was never encoded."""
        self.refuses(iter([b"<html><title>404 Not Found</title></html>\n" * 50]))
        self.refuses(iter([b"x"]))

    def test_refuses_a_small_stream_cut_anywhere(self) -> None:
        """At every single length, in one chunk and with the end in a chunk of its own."""
        encoded = self.encode(_SMALL)
        assert self.decode(encoded) == _SMALL
        for length in range(len(encoded) - 1, 0, -self.stride):
            self.notices(iter([encoded[:length]]), "truncated", _SMALL)
            self.notices(iter([encoded[: length - 1], encoded[length - 1 : length]]), "", _SMALL)

    def test_refuses_a_large_stream_cut_anywhere(self) -> None:
        """At random lengths, at powers of two and shortly before the end."""
        encoded = self.encode(content(700_000))
        lengths = {random.Random(2).randrange(1, len(encoded)) for _ in range(60)}
        lengths |= {1 << power for power in range(10, 20) if 1 << power < len(encoded)}
        lengths |= set(range(len(encoded) - 20, len(encoded)))
        for length in sorted(lengths)[:: self.stride]:
            self.notices(pieces(encoded[:length], 65536), "truncated", content(700_000))

    def test_no_flipped_bit_changes_the_content(self) -> None:
        """Every bit: the stream is refused, or it still says the same (a time, a name, a reserved field)."""
        encoded = self.encode(_SMALL)
        refused = 0
        for position in range(0, 8 * len(encoded), self.stride):
            flipped = bytearray(encoded)
            flipped[position // 8] ^= 1 << position % 8
            try:
                decoded = self.decode(bytes(flipped))
            except RestoreDrillError:
                refused += 1
            else:
                assert decoded == _SMALL or not self.notices_flips, f"bit {position} of {len(encoded)} bytes"
        assert refused > 3 * len(encoded) // self.stride or not self.notices_flips

    @pytest.mark.parametrize("glued", [True, False], ids=["same-chunk", "own-chunk"])
    @pytest.mark.parametrize(
        "garbage",
        [b"x", b"\0", b"\xff" * 8, b"\0" * 5 + b"x", b"\n", b"garbage " * 9000],
        ids=lambda data: repr(data[:6]),
    )
    def test_refuses_trailing_bytes(self, garbage: bytes, glued: bool) -> None:
        """One byte or many; where they are padding in this format, with something behind them."""
        if not garbage.strip(self.padding or b""):
            garbage += b"\1"
        for size in (len(_SMALL), 65536):
            encoded = self.encode(content(size))
            assert self.decode(encoded) == content(size)
            chunks = [encoded + garbage] if glued else [encoded, garbage]
            self.notices(iter(chunks), "trailing bytes", content(size))

    def test_zero_padding(self) -> None:
        """Tapes and block devices pad with zeros: passed over or refused, as the format's own tool does."""
        encoded = self.encode(_SMALL)
        for zeros in (512, 10240, 3 * CHUNK):
            if b"\0" in self.padding:
                assert self.decode(encoded + bytes(zeros)) == _SMALL
                assert b"".join(self.codec().decode(pieces(encoded + bytes(zeros), 1000))) == _SMALL
            else:
                self.notices(iter([encoded + bytes(zeros)]), "trailing bytes", _SMALL)

    def test_concatenated_streams(self) -> None:
        """Joined or refused, never cut silently; a cut in the second is noticed."""
        first, second = self.encode(content(5000)), self.encode(content(6000, seed=2))
        if not self.concatenates:
            self.notices(iter([first + second]), "trailing bytes", content(5000))
            return
        both = content(5000) + content(6000, seed=2)
        assert self.decode(first + second) == both
        assert b"".join(self.codec().decode(pieces(first + second, 7))) == both
        assert "truncated" in self.refuses(iter([first + second[:-1]])).cause
        assert "truncated" in self.refuses(iter([first, second[: len(second) // 2]])).cause

    @pytest.mark.parametrize(
        "error",
        [KeyError("k"), OSError(5, "i"), EOFError(), MemoryError(), BackupFailed("b"), KeyboardInterrupt()],
        ids=repr,
    )
    def test_errors_of_the_source_pass_through(self, error: BaseException) -> None:
        """Unchanged, from the first chunk on or later, and leaving no thread behind."""
        encoded, before = self.encode(content(300_000)), set(threading.enumerate())
        for good in (0, 1, 3):
            with pytest.raises(type(error)) as caught:
                list(self.codec().decode(_breaking(pieces(encoded, 50_000), good, error)))
            assert caught.value is error
        assert set(threading.enumerate()) <= before

    def test_can_be_closed_early(self) -> None:
        """By whoever has seen enough; the source is left where it was, and no thread stays behind."""
        encoded, before = self.encode(content(3 * CHUNK)), set(threading.enumerate())
        source = pieces(encoded, 30_000)
        decoded = self.codec().decode(source)
        assert next(decoded)
        decoded.close()  # type: ignore[attr-defined]
        assert next(source, b"") or self._is_staged()
        assert set(threading.enumerate()) <= before
        abandoned = self.codec().decode(pieces(encoded, 30_000))
        assert next(abandoned)
        del abandoned
        assert set(threading.enumerate()) <= before

    def test_reads_nothing_before_it_is_asked(self) -> None:
        """Nothing is decoded, and no key read, by the call alone."""
        source = pieces(self.encode(_SMALL), 10)
        self.codec().decode(source)
        assert len(next(source)) == 10

    def test_hands_on_what_it_has(self) -> None:
        """The first output comes long before the last input is read; what is staged is read to its end first."""
        data = random.Random(3).randbytes(8 * CHUNK)
        read = itertools.count()
        encoded = self.encode(data)
        decoded = self.codec().decode(chunk for chunk, _ in zip(pieces(encoded, 65536), read, strict=False))
        assert next(decoded)
        assert (next(read) < 50) is not self._is_staged()

    def test_expands_in_bounded_steps(self) -> None:
        """Of a thousandfold expansion it takes no more memory, and hands on no more at once, than of any other."""
        encoded = self.encode(bytes(_BOMB))
        tracemalloc.start()
        try:
            decoded, total = self.codec().decode(iter([encoded])), 0
            while total < 16 * CHUNK:
                chunk = next(decoded)
                assert 0 < len(chunk) <= CHUNK
                total += len(chunk)
            assert tracemalloc.get_traced_memory()[1] < 12 * CHUNK
            decoded.close()  # type: ignore[attr-defined]
        finally:
            tracemalloc.stop()

    def test_what_is_staged_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """Not a name at any time, not a descriptor at the end, however it ends; and how much it was is recorded."""
        codec, encoded = self.codec(), self.encode(content(200_000))
        if not isinstance(codec, StagedCodec):
            return
        codec.workspace, before = Workspace(tmp_path), len(list(Path("/proc/self/fd").iterdir()))
        for chunks in (pieces(encoded, 4096), iter([encoded[:-1]]), _breaking(pieces(encoded, 999), 2, KeyError("k"))):
            with contextlib.suppress(BackupFailed, KeyError):
                for _ in codec.decode(chunks):
                    assert list(tmp_path.iterdir()) == []
            assert list(tmp_path.iterdir()) == []
            assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert b"".join(codec.decode(iter([encoded]))) == content(200_000)
        assert codec.facts()["staged"] == len(encoded)
        codec.workspace = Workspace(tmp_path, reserve=1 << 62, expected=len(encoded))
        with pytest.raises(CouldNotVerify):
            list(codec.decode(iter([encoded])))

    def test_facts_can_be_recorded(self) -> None:
        """They are JSON values, before and after a stream was decoded."""
        codec = self.codec()
        assert isinstance(json.loads(json.dumps(codec.facts())), dict)
        list(codec.decode(iter([self.encode(_SMALL)])))
        facts = codec.facts()
        assert json.loads(json.dumps(facts)) == facts


class EncryptingCodecConformance(CodecConformance):
    """The further rules for a codec that needs a key."""

    @abstractmethod
    def wrong_key_codec(self) -> Codec:
        """A new codec with a key that does not open what :meth:`encode` writes."""

    def cannot_verify(self, codec: Codec, encoded: bytes) -> CouldNotVerify:
        """The error with which a codec says that nothing is known about a stream."""
        with pytest.raises(CouldNotVerify) as caught:
            list(codec.decode(iter([encoded])))
        assert caught.value.remedy
        return caught.value

    def test_a_wrong_key_says_nothing_about_the_backup(self) -> None:
        """Also when the backup is bad behind its header; and the right key opens it."""
        encoded = self.encode(content(70_000))
        assert self.decode(encoded) == content(70_000)
        self.cannot_verify(self.wrong_key_codec(), encoded)
        self.refuses(iter([encoded[:-1]]))
        if not self.codec().needs_content_digest:  # else a length may show the damage, and nothing the wrong key
            self.cannot_verify(self.wrong_key_codec(), encoded[:-1])

    def test_a_missing_key_names_the_catalogue_option(self) -> None:
        """The remedy says what to write where."""
        codec = type(self.codec())()
        assert f"decrypt: {{{codec.name}: " in self.cannot_verify(codec, self.encode(_SMALL)).remedy

    def test_a_key_is_read_when_it_is_needed(self) -> None:
        """A secret that is not there is no error before something has to be decrypted."""
        absent = SecretReference("env", "RESTORE_DRILL_CONFORMANCE_ABSENT")
        codec = type(self.codec())({**self.codec().settings, **dict.fromkeys(self.codec().secrets, absent)})
        assert codec.recognises(self.encode(_SMALL)[:HEAD])
        assert absent.value in self.cannot_verify(codec, self.encode(_SMALL)).cause

    def test_no_secret_is_recorded(self) -> None:
        """Neither in facts nor in errors, in no part of them."""
        encoded = self.encode(_SMALL)
        for codec in (self.codec(), self.wrong_key_codec()):
            secrets = [line for secret in codec.secrets.values() for line in secret.resolve().splitlines()]
            words = [repr(codec)]
            for stream in (encoded, encoded[:-1]):
                try:
                    list(codec.decode(iter([stream])))
                except RestoreDrillError as problem:
                    words += [str(problem), repr(problem.__cause__), *problem.details]
                words.append(repr(codec.facts()))
            assert secrets
            assert not [
                secret for secret in secrets if len(secret) > 5 and secret[0] != "#" and secret in " ".join(words)
            ]


def _breaking(chunks: Iterator[bytes], good: int, error: BaseException) -> Iterator[bytes]:
    yield from itertools.islice(chunks, good)
    raise error
