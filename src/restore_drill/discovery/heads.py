"""What stored bytes are: the beginning of one object, taken out of what encodes it, as far as that can be opened."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from restore_drill.codecs.base import HEAD, Codec, StagedCodec
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact
from restore_drill.recognise import Decrypt
from restore_drill.registry import load, names
from restore_drill.stores.base import Store

#: How much of an object is read (bytes): more than the largest block that a codec gives nothing of before its end.
_READ = 2 << 20
#: How much of what it decodes to is looked at.
_WANTED = 512 << 10
_MOST_LAYERS = 6


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an object.

    Attributes:
        layers: What encodes it, from the outside in.
        content: How its content begins, as far as it could be opened.
        encrypted: The format that keeps it unreadable, ``""`` when none does.
        by_password: It is opened by a password and not by a key, as far as its beginning tells.
        closed: The content could not be looked at: no key, or the format cannot be read from its beginning alone.
        member: The name of the first file in it, where it is a zip archive.
        alone: Whether it is a zip archive of one file.
        damage: What is wrong with its beginning already.
        unread: Why it could not be read.
    """

    layers: tuple[str, ...] = ()
    content: bytes = b""
    encrypted: str = ""
    by_password: bool = False
    closed: bool = False
    member: str = ""
    alone: bool = False
    damage: str = ""
    unread: str = ""


def look(store: Store, artifact: Artifact, decrypt: Decrypt) -> Head:
    """Read the beginning of an object, and what it encodes; never raises for what is wrong with it."""
    if artifact.size == 0:
        return Head(damage="it is empty")
    try:
        stored, whole = _first(store, artifact)
    except RestoreDrillError as problem:
        return Head(unread=problem.cause)
    return _peel(stored, whole, decrypt)


def _first(store: Store, artifact: Artifact) -> tuple[bytes, bool]:
    found = b""
    chunks = store.open(artifact)
    try:
        for chunk in chunks:
            found += chunk
            if len(found) >= _READ:
                return found, False
        return found, True
    finally:
        if isinstance(chunks, Iterator) and hasattr(chunks, "close"):
            chunks.close()


def _peel(content: bytes, whole: bool, decrypt: Decrypt) -> Head:
    layers: list[str] = []
    encrypted = ""
    while len(layers) < _MOST_LAYERS:
        kind = _codec(content[:HEAD])
        if kind is None or kind.name in ("zip", "7z"):
            break
        layers.append(kind.name)
        if kind.encrypts:
            encrypted = encrypted or kind.name
            if not decrypt.get(kind.name):
                return Head(tuple(layers), b"", encrypted, _by_password(kind.name, content), closed=True)
        if issubclass(kind, StagedCodec):
            return Head(tuple(layers), b"", encrypted, closed=True)
        content, problem = _decode(kind(decrypt.get(kind.name)), content)
        if isinstance(problem, CouldNotVerify):
            return Head(tuple(layers), b"", encrypted, closed=True, unread=problem.cause)
        if problem is not None and (whole or not content):
            return Head(tuple(layers), content, encrypted, damage=problem.cause)
        whole = whole and problem is None and len(content) < _WANTED
    if content.startswith(b"PK\x03\x04"):
        return _zip(tuple(layers), content, whole, encrypted)
    return Head(tuple(layers), content, encrypted)


def _by_password(codec: str, content: bytes) -> bool:
    """Whether it says so: in age's header (age-encryption.org/v1), or by OpenPGP's first packet (RFC 9580, 5.3)."""
    if codec == "age":
        return b"\n-> scrypt " in content[:HEAD]
    return codec == "openssl" or (codec == "openpgp" and content[:1] in (b"\x8c", b"\xc3"))


def _codec(head: bytes) -> type[Codec] | None:
    kinds: Iterator[type[Codec]] = (load("codecs", name) for name in names("codecs"))
    try:
        return next((kind for kind in kinds if kind.recognises(head)), None)
    except CouldNotVerify:
        return None


def _decode(codec: Codec, content: bytes) -> tuple[bytes, RestoreDrillError | None]:
    """What comes out until enough has, and what went wrong: of a beginning that is cut, that is no wonder."""
    found = b""
    pieces = codec.decode(iter([content]))
    try:
        for piece in pieces:
            found += piece
            if len(found) >= _WANTED:
                return found[:_WANTED], None
    except RestoreDrillError as problem:
        return found, problem
    except MemoryError:
        return found, BackupFailed("it asks for more memory than this machine has")
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    return found, None


def _zip(layers: tuple[str, ...], content: bytes, whole: bool, encrypted: str) -> Head:
    """The first file of a zip archive (APPNOTE 4.3.7), and whether it is the only one (4.3.16)."""
    flags, method = (int.from_bytes(content[at : at + 2], "little") for at in (6, 8))
    name_size, extra = (int.from_bytes(content[at : at + 2], "little") for at in (26, 28))
    member = content[30 : 30 + name_size].decode("utf-8", "replace")
    start = 30 + name_size + extra
    end = content.rfind(b"PK\x05\x06") if whole else -1
    alone = end >= 0 and int.from_bytes(content[end + 10 : end + 12], "little") == 1
    inside = content[start : start + _WANTED]
    if method == 8:
        try:
            inside = zlib.decompressobj(-15).decompress(content[start:], _WANTED)
        except zlib.error:
            inside = b""
    if flags & 1:
        return Head(
            (*layers, "zip"), encrypted=encrypted, member=member, unread="its files are encrypted by zip itself"
        )
    return Head((*layers, "zip"), inside, encrypted, member=member, alone=alone)
