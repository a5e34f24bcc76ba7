"""What every kind of signature must do, as a suite of pytest tests to inherit from.

For example::

    class TestMyKind(SignatureConformance):
        kind = MySignature

        @pytest.fixture
        def make_signer(self, tmp_path):
            return lambda: MySigner(tmp_path)

A signer has ``public`` (the key as it would be pinned), ``shown`` (how the kind names it) and ``sign``; two made one
after the other have different keys.
"""

# ruff: noqa: S101, S311 - assertions are what this is for, and its random data is meant to be the same each time

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Protocol

import pytest

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.signatures.base import MOST_BYTES, Signature, Signer


class KeyHolder(Protocol):
    """Somebody with a key pair, who signs as their own program does."""

    public: bytes
    shown: str

    def sign(self, data: bytes) -> bytes:
        """A detached signature."""


MakeSigner = Callable[[], KeyHolder]


def content(size: int, seed: int = 1) -> bytes:
    """Bytes that are the same each time."""
    return random.Random(seed).randbytes(size)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes in chunks."""
    return (data[at : at + size] for at in range(0, len(data), size))


class SignatureConformance:
    """The contract of :mod:`restore_drill.signatures.base` as tests.

    Attributes:
        kind: What is tested.
        MEMORY: What a signature over :attr:`LARGE` bytes may allocate (bytes).
    """

    kind: ClassVar[type[Signature]]
    LARGE: ClassVar[int] = 24 << 20
    MEMORY: ClassVar[int] = 4 << 20

    @pytest.fixture
    def make_signer(self) -> MakeSigner:
        """Makes somebody with a key of their own."""
        raise NotImplementedError

    def verify(
        self, signature: bytes, keys: Sequence[bytes], data: bytes, size: int = 1 << 16, seconds: float = 60
    ) -> Signer:
        """The whole way."""
        judge = self.kind(signature, keys, time.monotonic() + seconds)
        try:
            for piece in pieces(data, size):
                judge.update(piece)
            return judge.conclude()
        finally:
            judge.close()

    def refused(self, signature: bytes, keys: Sequence[bytes], data: bytes) -> BackupFailed:
        """It must be the backup's fault."""
        with pytest.raises(BackupFailed) as raised:
            self.verify(signature, keys, data)
        assert raised.value.stage is Stage.VERIFY
        assert raised.value.cause and raised.value.remedy
        return raised.value

    def test_has_a_name_and_endings(self) -> None:
        """By which the catalogue and files name it."""
        assert self.kind.name.isascii() and self.kind.suffixes
        assert all(suffix.startswith(".") for suffix in self.kind.suffixes)

    @pytest.mark.parametrize("size", [0, 1, 100_000])
    def test_verifies_what_was_signed(self, make_signer: MakeSigner, size: int) -> None:
        """In chunks of any size, and says by whom."""
        signer, data = make_signer(), content(size)
        signature = signer.sign(data)
        assert len(signature) <= MOST_BYTES
        for chunk in (1 << 10, 1 << 20):
            assert self.verify(signature, [signer.public], data, chunk).key == signer.shown

    def test_any_change_of_the_bytes_is_noticed(self, make_signer: MakeSigner) -> None:
        """Of one bit at either end, one byte less or more, none at all, or others' bytes."""
        signer, data = make_signer(), content(5000)
        signature = signer.sign(data)
        assert self.verify(signature, [signer.public], data).key == signer.shown
        flipped = [bytes([data[0] ^ 1]) + data[1:], data[:-1] + bytes([data[-1] ^ 128])]
        for changed in [*flipped, data[:-1], data[1:], data + b"\0", data + b"\n", b"", content(5000, 2)]:
            self.refused(signature, [signer.public], changed)

    def test_another_key_proves_nothing(self, make_signer: MakeSigner) -> None:
        """However good its signature is; the pinned one's twin is fine."""
        mine, other, data = make_signer(), make_signer(), content(100)
        assert mine.shown != other.shown
        self.refused(other.sign(data), [mine.public], data)
        assert self.verify(mine.sign(data), [mine.public], data).key == mine.shown

    def test_several_keys_may_be_pinned(self, make_signer: MakeSigner) -> None:
        """While one takes over from the other; who signed is told apart."""
        old, new, data = make_signer(), make_signer(), content(100)
        for signer in (old, new):
            assert self.verify(signer.sign(data), [old.public, new.public], data).key == signer.shown

    def test_a_damaged_signature_never_proves_another_thing(self, make_signer: MakeSigner) -> None:
        """Each damage is refused in words, or was not one of what counts."""
        signer, data = make_signer(), content(100)
        signature = signer.sign(data)
        refusals = 0
        for at in range(0, len(signature), max(1, len(signature) // 24)):
            for damaged in (signature[:at], signature[:at] + bytes([signature[at] ^ 4]) + signature[at + 1 :]):
                try:
                    found = self.verify(damaged, [signer.public], data)
                except RestoreDrillError:
                    refusals += 1
                else:
                    assert found.key == signer.shown
        assert refusals >= 24  # every cut, at least

    @pytest.mark.parametrize(
        "junk", [b"", b"\n", b"<html>404</html>", b"\0" * 200, b"\xff" * 200, b"{}", b"-----BEGIN"]
    )
    def test_what_is_no_signature_is_refused(self, make_signer: MakeSigner, junk: bytes) -> None:
        """An error page, an empty file: the backup's fault."""
        self.refused(junk, [make_signer().public], content(100))

    @pytest.mark.parametrize("junk", [b"", b"nonsense", b"\0\xff" * 40, b"-----BEGIN PUBLIC KEY-----\n"])
    def test_an_unusable_key_says_nothing_about_the_backup(self, make_signer: MakeSigner, junk: bytes) -> None:
        """Beside a good one, too: nobody knows which of them should have signed."""
        signer, data = make_signer(), content(100)
        for keys in ([junk], [signer.public, junk]):
            with pytest.raises(CouldNotVerify, match="key cannot be used") as raised:
                self.verify(signer.sign(data), keys, data)
            assert raised.value.stage is Stage.VERIFY
            assert raised.value.remedy

    def test_a_key_in_the_catalogue_is_looked_at(self, make_signer: MakeSigner) -> None:
        """Before anything is fetched; keys that are not text are given by their file."""
        public = make_signer().public
        if public.isascii():
            self.kind.check_key(public.decode())
        for text in ("", "nonsense", "file:", "/etc/key"):
            with pytest.raises(ValueError, match="needs a"):
                self.kind.check_key(text)

    def test_works_in_bounded_memory(self, make_signer: MakeSigner) -> None:
        """Which does not grow with what is signed."""
        signer = make_signer()
        data = content(self.LARGE)
        signature = signer.sign(data)
        assert self.verify(signature, [signer.public], data).key == signer.shown  # what is imported once is not counted
        tracemalloc.start()
        try:
            self.verify(signature, [signer.public], data, 1 << 20)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < self.MEMORY

    def test_may_be_given_up(self, make_signer: MakeSigner) -> None:
        """At any time, and more than once."""
        signer, data = make_signer(), content(1 << 20)
        signature = signer.sign(data)
        for taken in (b"", data[: 1 << 19], data):
            judge = self.kind(signature, [signer.public], time.monotonic() + 60)
            judge.update(taken)
            judge.close()
            judge.close()
        assert self.verify(signature, [signer.public], data).key == signer.shown
