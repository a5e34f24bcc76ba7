"""The identities that open an age file, and what pyrage (the Rust implementation) says about them.

pyrage agrees on keys and decrypts, but hands out no file key; an identity is therefore tried on the header alone first,
so that a wrong key, a damaged header and a damaged payload are told apart before anything is decrypted.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

import pyrage

from restore_drill.codecs._age_header import VERSION_PREFIX
from restore_drill.codecs._age_payload import followed, unauthentic
from restore_drill.codecs._coroutine import Feed, run
from restore_drill.codecs._source import Source, truncated
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.secrets import SecretReference

_NONCE = bytes(16)


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key as pyrage holds it, and the name of its public half, which may be published."""

    public: str
    handle: Any


class Answer(Enum):
    """What trying an identity on a header showed."""

    OPENS = "opens"
    OTHER_KEY = "other key"
    DAMAGED = "damaged"


def load(reference: SecretReference) -> list[Identity]:
    """Read identities: ``AGE-SECRET-KEY-1…`` lines as age-keygen writes them, or unencrypted ssh keys.

    Raises:
        CouldNotVerify: There is none, or one cannot be used; its text is never repeated.
    """
    text = reference.resolve()
    if text.startswith((VERSION_PREFIX.decode(), "-----BEGIN AGE")):
        raise _unusable(reference, "is itself encrypted with age", "Decrypt it into the secret store.")
    found: list[Identity] = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if line.startswith("-----BEGIN "):
            found.append(_ssh(_block(line, lines), reference))
        elif line.strip() and not line.lstrip().startswith("#"):
            found.append(_native(line.strip(), number, reference))
    if not found:
        raise _unusable(reference, "holds no key", "Put the file that age-keygen wrote there.")
    return found


def try_on(identity: Identity, header: bytes) -> Answer:
    """Whether an identity opens a header, judged by the header alone.

    A header that opens is followed here by no payload, which pyrage reports as an input error, and by that type alone.
    """
    try:
        pyrage.decrypt_io(_Bytes(header + _NONCE), _Nowhere(), [identity.handle])
    except pyrage.DecryptError as problem:
        return Answer.OTHER_KEY if str(problem) == _other_key_text() else Answer.DAMAGED
    except OSError:
        pass
    return Answer.OPENS


def decrypt(identity: Identity, header: bytes, source: Source) -> Iterator[bytes]:
    """Decrypt the payload, which the source must stand at, with an identity that opens the header.

    Raises:
        BackupFailed: The payload is cut short, damaged, or followed by something else.
    """
    feed = Feed()

    def work(feed: Feed) -> None:
        try:
            pyrage.decrypt_io(feed, feed, [identity.handle])
        except (OSError, pyrage.DecryptError) as problem:
            raise _Refused(str(problem)) from problem

    try:
        yield from run(work, itertools.chain([header], source.rest()), feed)
    except _Refused as problem:
        raise _refusal(str(problem), feed.position, at_end=feed.drained and not source.peek(1)) from problem


class _Refused(Exception):
    """What pyrage said of the payload, told apart from the same exceptions of the source."""


def _refusal(text: str, position: int, *, at_end: bool) -> BackupFailed:
    """Word what pyrage reports; whatever its text, the payload is bad."""
    if "truncated" in text or "fill whole buffer" in text:
        return truncated("age", "before its last piece", position)
    if "last chunk" in text:
        return followed(position)
    return unauthentic(position, at_end=at_end)


@cache
def _other_key_text() -> str:
    """How this version of pyrage words that no identity fits: asked of it rather than written down here."""
    ours, other = (pyrage.x25519.Identity.generate() for _ in range(2))
    try:
        pyrage.decrypt(pyrage.encrypt(b"", [ours.to_public()]), [other])
    except pyrage.DecryptError as problem:
        return str(problem)
    raise AssertionError("pyrage opened a file with a key it was not encrypted to")


def _native(line: str, number: int, reference: SecretReference) -> Identity:
    for prefix, what, remedy in _REFUSED:
        if line.upper().startswith(prefix):
            raise _unusable(reference, what, remedy)
    try:
        handle = pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError as problem:
        remedy = "It should read AGE-SECRET-KEY-1…, as age-keygen writes it."
        raise _unusable(reference, f"has a line {number} that is no identity", remedy) from problem
    return Identity(str(handle.to_public()), handle)


_REFUSED = (
    ("AGE1", "holds a recipient, which is the public half", "Give the identity, which begins AGE-SECRET-KEY-1."),
    ("AGE-PLUGIN-", "needs a plugin", "Encrypt to a further recipient whose identity is a plain key, for drills."),
    (
        "AGE-SECRET-KEY-PQ-",
        "is a post-quantum identity, which pyrage cannot use",
        "Encrypt to a further X25519 recipient, for drills.",
    ),
)


def _block(begin: str, lines: Iterator[tuple[int, str]]) -> bytes:
    block = [begin]
    for _, line in lines:
        block.append(line)
        if line.startswith("-----END "):
            break
    return ("\n".join(block) + "\n").encode()


def _ssh(pem: bytes, reference: SecretReference) -> Identity:
    try:
        handle = pyrage.ssh.Identity.from_buffer(pem)
    except pyrage.IdentityError as problem:
        raise _unusable(
            reference,
            f"holds an ssh key that age cannot use ({problem})",
            "Give an ed25519 or RSA key without a passphrase.",
        ) from problem
    return Identity(_ssh_fingerprint(pem), handle)


def _ssh_fingerprint(pem: bytes) -> str:
    """As ``ssh-keygen -l`` prints it; pyrage does not hand out the public half."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_ssh_private_key,
    )

    read = load_ssh_private_key if b"OPENSSH" in pem.partition(b"\n")[0] else load_pem_private_key
    line = read(pem, password=None).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    kind, encoded = line.split(b" ")[:2]
    digest = hashlib.sha256(base64.b64decode(encoded)).digest()
    return f"{kind.decode()} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _unusable(reference: SecretReference, what: str, remedy: str) -> CouldNotVerify:
    return CouldNotVerify(
        f"the age identity {what}", looked_at=f"decrypt: age: identity: {reference}", remedy=remedy, stage=Stage.UNPACK
    )


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass
