"""One entry of a ledger, its head, and whoever signs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal["run", "review"]


class Signer(Protocol):
    """A private key that signs entries."""

    @property
    def key_id(self) -> str:
        """The fingerprint of its public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature of a message."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a ledger: whoever remembers it notices when entries are cut off or replaced.

    Attributes:
        digest: SHA-256 of the entry's line.
    """

    sequence: int
    digest: str

    def __str__(self) -> str:
        """As reports print it and ``ledger verify --head`` takes it."""
        return f"{self.sequence}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read ``SEQUENCE:DIGEST``.

        Raises:
            ValueError: It is not that.
        """
        sequence, _, digest = text.strip().partition(":")
        if (
            not sequence.isascii()
            or not sequence.isdigit()
            or len(digest) != 64
            or set(digest) - set("0123456789abcdef")
        ):
            raise ValueError("a head is written SEQUENCE:DIGEST, the digest in 64 hexadecimal digits")
        return cls(int(sequence), digest)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        sequence: Its number, the first one's is 1.
        digest: SHA-256 of its line, without the newline.
        previous: The digest of the entry before it, ``""`` of the first.
        recorded_at: When it was written (UTC, ISO 8601 with Z).
        evidence: The evidence document (kind ``run``).
        review: Who reviewed what (kind ``review``).
        key_id: Fingerprint of the key that is said to have signed it, ``""`` when it is unsigned.
        ledger: The id of the ledger it was written for.
        run: The id of the run that it records or reviews.
    """

    sequence: int
    digest: str
    previous: str
    recorded_at: str
    kind: Kind
    evidence: dict[str, Any] = field(default_factory=dict)
    review: dict[str, Any] = field(default_factory=dict)
    key_id: str = ""
    ledger: str = ""
    run: str = ""

    @property
    def head(self) -> Head:
        """What is to be remembered when it is the last one."""
        return Head(self.sequence, self.digest)
