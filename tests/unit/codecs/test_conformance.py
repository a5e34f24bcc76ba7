"""The conformance suite itself: codecs that are wrong in one way each, and the rule that must notice it."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken

from restore_drill.codecs.base import Codec, damaged
from restore_drill.codecs.gzip import GzipCodec
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.secrets import SecretReference
from restore_drill.testing.codec import CodecConformance, EncryptingCodecConformance

NOTICED = (AssertionError, pytest.fail.Exception)


class Overlooking(GzipCodec):
    """zlib's own decompressor: one member, no look at the end."""

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        decompressor = zlib.decompressobj(wbits=31)
        for chunk in chunks:
            yield decompressor.decompress(chunk)


class Unverified(GzipCodec):
    """Neither CRC nor length are looked at."""

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        data = b"".join(chunks)
        try:
            yield zlib.decompress(data[10:-8], wbits=-15)
        except zlib.error as problem:
            raise damaged("gzip", "damaged") from problem


class Hoarding(GzipCodec):
    """Reads everything first, and hands on everything at once."""

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield b"".join(super().decode(iter([b"".join(chunks)])))


class Wrapping(GzipCodec):
    """Takes every error for damage, its source's too."""

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from super().decode(chunks)
        except Exception as problem:
            raise BackupFailed("truncated, trailing bytes, empty", remedy="r", stage=Stage.UNPACK) from problem


class Leaking(GzipCodec):
    """Starts a thread that nothing ends."""

    left: threading.Event

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        threading.Thread(target=self.left.wait, daemon=True).start()
        yield from super().decode(chunks)


class Eager(GzipCodec):
    """Begins before it is asked."""

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        first = next(chunks, b"")
        return super().decode(iter([first, *chunks]))


class Stateful(GzipCodec):
    """Keeps what a bad stream left behind."""

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        self._kept = getattr(self, "_kept", b"") + b"".join(chunks)
        yield from super().decode(iter([self._kept]))


class Boastful(GzipCodec):
    """Its facts are no JSON values."""

    def facts(self) -> dict[str, Any]:
        return {"start": b"\x1f\x8b"}


class Greedy(GzipCodec):
    """Takes everything for its own."""

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        return head is not None


@pytest.mark.parametrize(
    ("faulty", "rule", "arguments"),
    [
        (Overlooking, "test_refuses_a_small_stream_cut_anywhere", {}),
        (Overlooking, "test_refuses_a_large_stream_cut_anywhere", {}),
        (Overlooking, "test_refuses_trailing_bytes", {"garbage": b"x", "glued": True}),
        (Overlooking, "test_refuses_nothing_at_all", {}),
        (Overlooking, "test_concatenated_streams", {}),
        (Unverified, "test_no_flipped_bit_changes_the_content", {}),
        (Unverified, "test_refuses_trailing_bytes", {"garbage": b"x", "glued": False}),
        (Hoarding, "test_expands_in_bounded_steps", {}),
        (Hoarding, "test_hands_on_what_it_has", {}),
        (Wrapping, "test_errors_of_the_source_pass_through", {"error": OSError(5, "i")}),
        (Leaking, "test_can_be_closed_early", {}),
        (Leaking, "test_errors_of_the_source_pass_through", {"error": KeyError()}),
        (Eager, "test_reads_nothing_before_it_is_asked", {}),
        (Stateful, "test_a_codec_can_be_used_again", {}),
        (Boastful, "test_facts_can_be_recorded", {}),
        (Greedy, "test_recognises_nothing_else", {"head": b""}),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "with"),
)
def test_a_faulty_codec_is_noticed(faulty: type[Codec], rule: str, arguments: dict[str, Any]) -> None:
    class Suite(CodecConformance):
        padding = b"\0"
        codec_class: type[Codec] = GzipCodec

        def codec(self) -> Codec:
            return self.codec_class()

        def encode(self, data: bytes) -> bytes:
            return gzip.compress(data)

    suite = Suite()
    getattr(suite, rule)(**arguments)
    suite.codec_class = faulty
    Leaking.left = threading.Event()
    try:
        with pytest.raises((*NOTICED, EOFError, zlib.error, TypeError, BackupFailed, StopIteration)):
            getattr(suite, rule)(**arguments)
    finally:
        Leaking.left.set()


class Sealed(Codec):
    """A small codec that encrypts as it should, as one whole."""

    name = "sealed"
    encrypts = True
    keys = ("key",)

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        return head.startswith(b"gAAAA")

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if "key" not in self.secrets:
            raise CouldNotVerify("no key", remedy="Write decrypt: {sealed: {key: env:NAME}}.")
        key = self.secrets["key"].resolve()
        try:
            yield Fernet(key).decrypt(b"".join(chunks))
        except InvalidToken as problem:
            raise self.refusal(key) from problem

    def refusal(self, key: str) -> Exception:
        assert key
        return CouldNotVerify("the key is wrong, or it is damaged", remedy="Give the right key.")


class Accusing(Sealed):
    """Calls a backup bad for which it has no key."""

    def refusal(self, key: str) -> Exception:
        assert key
        return damaged("sealed", "damaged")


class Talking(Sealed):
    """Tells its secret."""

    def refusal(self, key: str) -> Exception:
        return CouldNotVerify(f"the key {key} is wrong", remedy="Give the right key.")


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (Accusing, "test_a_wrong_key_says_nothing_about_the_backup"),
        (Talking, "test_no_secret_is_recorded"),
        (GzipCodec, "test_a_missing_key_names_the_catalogue_option"),
        (GzipCodec, "test_has_a_name_and_suffixes"),
    ],
)
def test_a_faulty_encrypting_codec_is_noticed(faulty: type[Codec], rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALED_OURS", Fernet.generate_key().decode())
    monkeypatch.setenv("SEALED_OTHER", Fernet.generate_key().decode())

    class Suite(EncryptingCodecConformance):
        codec_class: type[Codec] = Sealed

        def codec(self) -> Codec:
            return self.codec_class({"key": SecretReference("env", "SEALED_OURS")})

        def wrong_key_codec(self) -> Codec:
            return self.codec_class({"key": SecretReference("env", "SEALED_OTHER")})

        def encode(self, data: bytes) -> bytes:
            return Fernet(self.codec().secrets["key"].resolve()).encrypt(data)

        def refuses(self, chunks: Iterator[bytes]) -> Any:
            """This little format cannot tell damage from a wrong key."""

    suite = Suite()
    getattr(suite, rule)()
    suite.codec_class = faulty
    with pytest.raises((*NOTICED, BackupFailed)):
        getattr(suite, rule)()
