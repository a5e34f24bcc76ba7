"""Digest algorithms by name: how long they are, what they are worth, and which library computes them.

Names are lower-case: ``md5``, ``sha1``, ``sha224``, ``sha256``, ``sha384``, ``sha512``, ``sha512-224``, ``sha512-256``
(FIPS 180-4), ``sha3-224`` … ``sha3-512`` (FIPS 202), ``blake2b`` and ``blake2b-N`` for ``b2sum -l N`` (RFC 7693),
``blake2s``, ``blake3``, ``xxh32``, ``xxh64``, ``xxh3``, ``xxh128`` (the xxHash specification), ``crc32`` (ISO 3309, as
zlib and gzip have it), ``crc32c`` (RFC 3720), ``crc64nvme`` (NVM Express command set, section 5.2.1.3.4).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Protocol

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage


class Hasher(Protocol):
    """What computes a digest, as :mod:`hashlib` has it."""

    def update(self, data: Any, /) -> object:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The digest of what was taken so far, the most significant byte first."""

    def hexdigest(self) -> str:
        """The same in lower-case hexadecimal."""


class Strength(StrEnum):
    """What a digest proves when it fits."""

    STRONG = "strong"
    #: Collisions can be made: it shows accidents, and nothing against somebody who wants to deceive.
    FORGEABLE = "forgeable"
    #: Made against accidents alone; whoever wants to can change the bytes and keep it.
    CHECKSUM = "not cryptographic"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One algorithm.

    Attributes:
        name: Its name here.
        length: Hexadecimal digits of a digest.
        make: Gives a fresh hasher that has taken its argument; raises ImportError where a library is missing.
        extra: The extra of this package that brings the library, ``""`` where Python has it.
    """

    name: str
    length: int
    strength: Strength
    make: Callable[..., Hasher]
    extra: str = ""


class _Crc:
    """A running cyclic redundancy check as a hasher."""

    __slots__ = ("_function", "_size", "_value")

    def __init__(self, function: Callable[[Any, int], int], size: int, data: Any = b"") -> None:
        self._function = function
        self._size = size
        self._value = function(data, 0)

    def update(self, data: Any) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")

    def hexdigest(self) -> str:
        return self.digest().hex()


def _hashlib(name: str, **options: Any) -> Callable[..., Hasher]:
    function = getattr(hashlib, name, None)
    if function is None:  # one that only OpenSSL has
        return lambda data=b"": hashlib.new(name, data, usedforsecurity=False)
    return lambda data=b"": function(data, **options, usedforsecurity=False)


def _crc32(data: Any = b"") -> Hasher:
    from isal import isal_zlib  # three times as fast as zlib's

    return _Crc(isal_zlib.crc32, 4, data)


def _crt(function: str, size: int) -> Callable[..., Hasher]:
    def make(data: Any = b"") -> Hasher:
        from awscrt import checksums

        return _Crc(getattr(checksums, function), size, data)

    return make


def _blake3(data: Any = b"") -> Hasher:
    from blake3 import blake3

    hasher: Hasher = blake3(data)
    return hasher


def _xxhash(function: str) -> Callable[..., Hasher]:
    def make(data: Any = b"") -> Hasher:
        import xxhash

        hasher: Hasher = getattr(xxhash, function)(data)
        return hasher

    return make


def _built_in() -> Iterable[Algorithm]:
    strong, forgeable, checksum = Strength.STRONG, Strength.FORGEABLE, Strength.CHECKSUM
    yield Algorithm("md5", 32, forgeable, _hashlib("md5"))
    yield Algorithm("sha1", 40, forgeable, _hashlib("sha1"))
    for bits in (224, 256, 384, 512):
        yield Algorithm(f"sha{bits}", bits // 4, strong, _hashlib(f"sha{bits}"))
        yield Algorithm(f"sha3-{bits}", bits // 4, strong, _hashlib(f"sha3_{bits}"))
    yield Algorithm("sha512-224", 56, strong, _hashlib("sha512_224"))
    yield Algorithm("sha512-256", 64, strong, _hashlib("sha512_256"))
    yield Algorithm("blake2b", 128, strong, _hashlib("blake2b"))
    yield Algorithm("blake2s", 64, strong, _hashlib("blake2s"))
    yield Algorithm("blake3", 64, strong, _blake3, "blake3")
    yield Algorithm("xxh32", 8, checksum, _xxhash("xxh32"), "xxhash")
    yield Algorithm("xxh64", 16, checksum, _xxhash("xxh64"), "xxhash")
    yield Algorithm("xxh3", 16, checksum, _xxhash("xxh3_64"), "xxhash")
    yield Algorithm("xxh128", 32, checksum, _xxhash("xxh3_128"), "xxhash")
    yield Algorithm("crc32", 8, checksum, _crc32)
    yield Algorithm("crc32c", 8, checksum, _crt("crc32c", 4), "crc")
    yield Algorithm("crc64nvme", 16, checksum, _crt("crc64nvme", 8), "crc")


#: Name → algorithm; shorter BLAKE2b has a name for each length (:func:`find`).
ALGORITHMS: dict[str, Algorithm] = {each.name: each for each in _built_in()}
#: Hexadecimal digits → what a digest of this length is where nothing says more. Of the lengths that have no habit
#: (8 and 16 digits are several checksums') none is assumed.
BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
#: A digest shorter than this many bits is not one that nobody can forge, whatever the algorithm.
_STRONG_BITS = 160
_SHORT_BLAKE2B = re.compile(r"blake2b-(\d{1,3})")
#: What ``xxhsum`` writes, as far as its lines do not say (of XXH3 they do).
_FAMILY, _XXHSUM = "xxh", {8: "xxh32", 16: "xxh64", 32: "xxh128"}
#: How programs write the names: without case, ``-``, ``_``, ``/`` and a trailing ``sum``.
_ALIASES = {
    **{re.sub(r"[-]", "", name): name for name in ALGORITHMS},
    **{f"sha2{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)},
    "sha": "sha1", "sha2512256": "sha512-256", "sha2512224": "sha512-224",
    "b2": "blake2b", "blake2": "blake2b", "blake2b512": "blake2b", "blake2s256": "blake2s", "b3": "blake3",
    "xxh364": "xxh3", "xxh3128": "xxh128", "xxhash": "xxh", "xxh": "xxh",
    "xxhash32": "xxh32", "xxhash64": "xxh64", "xxhash3": "xxh3", "xxhash128": "xxh128",
}  # fmt: skip


def canonical(written: str) -> str:
    """The name here of an algorithm as a program writes it (``SHA2-256``, ``BLAKE2b-256``, ``XXH3_64``), or ``""``.

    Of ``b2sum`` and ``xxhsum`` it may be a family: which one it is takes a digest's length (:func:`of_length`).
    """
    bare = re.sub(r"[-_/ ]", "", written.lower())
    bare = re.sub(r"sums?\Z", "", bare)
    if bare in _ALIASES:
        return _ALIASES[bare]
    if short := re.fullmatch(r"(?:blake2b?|b2)(\d{1,3})", bare):
        name = f"blake2b-{int(short[1])}"
        return name if find(name) else ""
    return ""


@cache
def find(name: str) -> Algorithm | None:
    """An algorithm by its name here, ``None`` where there is none of that name."""
    if found := ALGORITHMS.get(name):
        return found
    short = _SHORT_BLAKE2B.fullmatch(name)
    bits = int(short[1]) if short else 0
    if not 0 < bits < 512 or bits % 8:
        return None
    strength = Strength.STRONG if bits >= _STRONG_BITS else Strength.FORGEABLE
    return Algorithm(name, bits // 4, strength, _hashlib("blake2b", digest_size=bits // 8))


def of_length(name: str, length: int) -> str:
    """The algorithm that ``name`` means for a digest of this many hexadecimal digits, ``""`` where there is none.

    ``b2sum -l`` writes shorter digests without saying so, ``xxhsum`` tells its own apart by their length; every other
    algorithm has one length.
    """
    if name == _FAMILY:
        name = _XXHSUM.get(length, "")
    if name == "blake2b" and length != ALGORITHMS[name].length:
        name = f"blake2b-{length * 4}"
    known = find(name)
    return name if known and known.length == length else ""


def strength(name: str) -> Strength:
    """What a digest by an algorithm is worth; of an unknown one nothing."""
    known = find(name)
    return known.strength if known else Strength.CHECKSUM


def is_weak(name: str) -> bool:
    """Whether a digest by this algorithm is enough only where the catalogue accepts it."""
    return strength(name) is not Strength.STRONG


def new(name: str, data: Any = b"") -> Hasher:
    """A fresh hasher, which has taken ``data``.

    Raises:
        BackupFailed: No algorithm has that name (stage ``verify``).
        CouldNotVerify: The library that computes it is not installed; the remedy names the extra (stage ``verify``).
    """
    known = find(name)
    if known is None:
        raise BackupFailed(
            f"the digest is by {name}, an algorithm that is not known here",
            remedy="Record a SHA-256 when the backup is made.",
            stage=Stage.VERIFY,
        )
    try:
        return known.make(data)
    except ImportError as problem:
        raise CouldNotVerify(
            f"a digest by {name} needs {problem.name or 'a library'}, which is not installed",
            remedy=f"pip install 'pytest-restore-drill[{known.extra}]'",
            stage=Stage.VERIFY,
        ) from problem
    except ValueError as problem:  # OpenSSL in FIPS mode, or built without it
        raise CouldNotVerify(
            f"this machine's OpenSSL does not compute {name}",
            remedy="Record a SHA-256 when the backup is made, or drill on a machine that has it.",
            stage=Stage.VERIFY,
        ) from problem


def from_base64(text: str, name: str) -> str:
    """A digest as headers carry it, in base64 (RFC 4648), in hexadecimal; ``""`` if it is none of ``name``."""
    known = find(name)
    try:
        value = base64.b64decode(text.strip(), validate=True).hex()
    except (binascii.Error, ValueError):
        return ""
    return value if known and known.length == len(value) else ""


class Composite:
    """The digest of the digests of an object's parts, as S3 keeps it of a multipart upload, in one pass.

    (S3 User Guide, checking object integrity: composite checksums.)

    Args:
        name: The algorithm, of the parts and of the whole.
        parts: Sizes of the parts in bytes, in order.
    """

    def __init__(self, name: str, parts: Iterable[int]) -> None:
        self._name = name
        self._outer = new(name)
        self._inner = new(name)
        self._parts = iter(parts)
        self._left = next(self._parts, None)
        self._excess = False
        if self._left == 0:
            self._next_part()

    def update(self, data: bytes) -> None:
        """Take the next bytes of the object."""
        view = memoryview(data)
        while len(view):
            if self._left is None:
                self._excess = True
                return
            piece = view[: self._left]
            self._inner.update(piece)
            self._left -= len(piece)
            view = view[len(piece) :]
            if not self._left:
                self._next_part()

    def _next_part(self) -> None:
        self._left = 0
        while self._left == 0:  # of an empty part there is nothing to wait for
            self._outer.update(self._inner.digest())
            self._inner = new(self._name)
            self._left = next(self._parts, None)

    def hexdigest(self) -> str:
        """The digest, ``""`` where the parts do not add up to what was taken."""
        return "" if self._excess or self._left is not None else self._outer.hexdigest()
