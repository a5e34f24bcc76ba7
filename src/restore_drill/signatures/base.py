"""The contract of a kind of detached signature: who signed these very bytes.

A kind MUST

* trust the public keys it is given and nothing else: no key ring, key server, web of trust, certificate or
  transparency log of the machine or the network;
* take the signed bytes once, in chunks of any size, in bounded memory, without raising: what goes wrong on the way is
  raised by :meth:`Signature.conclude`;
* raise :class:`BackupFailed` (stage ``verify``) for a malformed signature, one of other bytes, and one by another key
  (naming that key where the signature tells);
* raise :class:`CouldNotVerify` (stage ``verify``) when a key cannot be used, or a program or library is missing: that
  says nothing about the backup;
* refuse a signature that could hold anything but a signature (a signed message, an embedded certificate).

Every kind passes :class:`restore_drill.testing.signature.SignatureConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: What a detached signature takes at most (bytes); all kinds take less than a hundredth of it.
MOST_BYTES = 64 << 10
_MOST_KEY = 4 << 20


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed, and when.

    Attributes:
        key: The signing key as its own program names it: a fingerprint or a key id.
        made_at: When, as the signature itself claims, in UTC; ``None`` where it claims nothing.
    """

    key: str
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """A public key of the catalogue: its text, or the file that holds it."""

    text: str = ""
    path: str = ""

    def read(self) -> bytes:
        """The key.

        Raises:
            CouldNotVerify: Its file cannot be read, or is far too large for a key (stage ``verify``).
        """
        if not self.path:
            return self.text.encode()
        try:
            with Path(self.path).open("rb") as file:
                found = file.read(_MOST_KEY + 1)
        except OSError as problem:
            raise _no_key_file(self.path, problem.strerror or "it is no file") from problem
        if len(found) > _MOST_KEY:
            raise _no_key_file(self.path, "it is too large for a public key")
        return found

    def __str__(self) -> str:
        """As it stands in the catalogue."""
        return f"file:{self.path}" if self.path else self.text


class Signature(ABC):
    """One detached signature on its way to a verdict.

    Args:
        signature: The bytes of the signature's file, at most :data:`MOST_BYTES`.
        keys: The pinned public keys as they were given to the people who verify, each whole.
        until: ``time.monotonic()`` by which it must be concluded.

    Raises:
        BackupFailed: The signature is malformed, or no detached signature of this kind.
        CouldNotVerify: A key cannot be used, or a program or library is missing.
    """

    name: ClassVar[str]
    #: Endings of the file, the most usual first.
    suffixes: ClassVar[tuple[str, ...]] = ()
    #: Programs without which nothing of this kind can be verified.
    programs: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def check_key(cls, text: str) -> None:
        """Look at a key that stands in the catalogue itself.

        Raises:
            ValueError: It is none of this kind; the message says what one looks like.
        """

    @abstractmethod
    def __init__(self, signature: bytes, keys: Sequence[bytes], until: float) -> None: ...

    @abstractmethod
    def update(self, chunk: bytes) -> None:
        """Take the next signed bytes; never raises."""

    @abstractmethod
    def conclude(self) -> Signer:
        """Who signed what was taken.

        Raises:
            BackupFailed: None of the pinned keys signed these bytes.
            CouldNotVerify: It could not be found out.
        """

    def close(self) -> None:
        """Let go of programs and files, concluded or not."""


def wrong(cause: str, remedy: str = "") -> BackupFailed:
    """The error for a signature that does not prove what it should."""
    return BackupFailed(
        cause,
        remedy=remedy or "Do not restore it: find out who changed the backup, its signature or its key.",
        stage=Stage.VERIFY,
    )


def malformed(kind: str, why: str) -> BackupFailed:
    """The error for what is no detached signature of its kind."""
    return BackupFailed(
        f"the {kind} signature cannot be used: {why}",
        remedy="Sign the file itself when the backup is made, with a detached signature.",
        stage=Stage.VERIFY,
    )


def unusable_key(kind: str, why: str) -> CouldNotVerify:
    """The error for a pinned key that nothing can be verified with."""
    return CouldNotVerify(
        f"the pinned {kind} key cannot be used: {why}",
        remedy="Put the signer's public key into the catalogue, as its program exports it.",
        stage=Stage.VERIFY,
    )


def _no_key_file(path: str, why: str) -> CouldNotVerify:
    return CouldNotVerify(
        "a pinned public key cannot be read",
        looked_at=path,
        remedy=f"Put the signer's public key there, or name another place: {why}.",
        stage=Stage.VERIFY,
    )
