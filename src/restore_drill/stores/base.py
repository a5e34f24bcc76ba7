"""The contract of a store: list, look at and read what somebody else's backup job put there.

A store MUST

* be read-only by construction: no method writes, renames, deletes or changes metadata;
* list lazily, in bounded memory, whatever the number of objects;
* return keys relative to its URL, with ``/`` between parts, exactly as they are stored: what is odd about a name (a
  leading slash, ``..``, bytes that are not UTF-8 as surrogate escapes) is the object's own, never added, never mended;
* read the very version it listed or looked at, and raise :class:`BackupFailed` when that was replaced meanwhile;
* end every wait at a deadline, and raise :class:`CouldNotVerify` with a remedy when it cannot be reached, does not
  know the credentials or denies access: an unreachable store is never an empty one.

A store MAY offer ``scan`` (where names can stand for what is no object), ``local_path`` and ``failure_domain``. Every
store passes :class:`restore_drill.testing.store.StoreConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Stage
from restore_drill.secrets import SecretReference

#: What one read returns at most (bytes).
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What a store is built from.

    Attributes:
        name: The store's name in the catalogue.
        url: Where it is; the scheme selects the class.
        connect_deadline: Seconds to connect.
        read_deadline: Seconds without a byte after which a read is given up.
        retries: How often a broken read is resumed, and a failed request repeated.
        ranges: Parallel ranged reads of one object; 1 reads it as one stream.
        options: What only this kind of store knows (``endpoint``, ``region``, ``profile``, …).
        secrets: The credentials it needs, by name.
    """

    name: str
    url: str
    connect_deadline: float = 10.0
    read_deadline: float = 60.0
    retries: int = 4
    ranges: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, SecretReference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that has the name of an object and is none.

    Attributes:
        key: Its name in the store.
        modified: When it was last changed (seconds since the epoch); of a link, the link itself.
        what: What it is, in words: ``a FIFO``.
        is_directory: Whether it is a directory itself, and no link to one.
    """

    key: str
    modified: float
    what: str
    is_directory: bool = False


class Store(ABC):
    """A place that holds backups."""

    #: URL schemes it serves.
    schemes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings

    @abstractmethod
    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every object whose key begins with ``prefix``, in any order.

        Raises:
            CouldNotVerify: The store cannot be reached, or denies it.
        """

    def scan(self, prefix: str, odd: Callable[[Oddity], None]) -> Iterator[Artifact]:  # noqa: ARG002 - most have none
        """:meth:`list`, which tells ``odd`` on the way of everything under that name that is no object."""
        return self.list(prefix)

    @abstractmethod
    def stat(self, key: str) -> Artifact | None:
        """One object, or ``None`` when there is none of that name."""

    @abstractmethod
    def open(self, artifact: Artifact) -> Iterator[bytes]:
        """The bytes of an object, in order, in chunks of at most :data:`CHUNK`.

        Raises:
            BackupFailed: It vanished, or changed since it was listed (stage ``fetch``).
            CouldNotVerify: It could not be read to its end.
        """

    def metadata(self, artifact: Artifact) -> Mapping[str, str]:  # noqa: ARG002 - a store without metadata has none
        """The user's own metadata of an object (``{}`` where the store has none), names in lower case."""
        return {}

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002 - only a local store has one
        """Where a key lies on this machine, or ``None`` for a remote store."""
        return None

    def failure_domain(self) -> str | None:
        """What fails together with this store as far as the machine can tell (a device), or ``None``."""
        return None

    def where(self, key: str = "") -> str:
        """The address of a key as a person would write it, without credentials; what cannot be printed is escaped."""
        address = f"{self.settings.url.rstrip('/')}/{key}"
        if address.isprintable():
            return address
        return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in address)

    def close(self) -> None:
        """Give up connections; the store is not used again."""

    def read_small(self, key: str, limit: int = 16 * 2**20) -> bytes | None:
        """A small object (a sidecar, a manifest) whole, or ``None`` when there is none.

        Raises:
            BackupFailed: It is larger than ``limit`` bytes.
        """
        artifact = self.stat(key)
        if artifact is None:
            return None
        if artifact.size > limit:
            raise BackupFailed(
                f"{artifact.name} is {artifact.size} bytes, too large for what it should be",
                looked_at=self.where(key),
                stage=Stage.VERIFY,
            )
        return b"".join(self.open(artifact))
