"""The contract of a store: list, look at and read what somebody else's backup job put there.

A store MUST

* be read-only by construction: no method writes, renames, deletes or changes metadata;
* list lazily, in bounded memory, whatever the number of objects;
* return keys relative to its URL, with ``/`` between parts, exactly as they are stored: what is odd about a name (a
  leading slash, ``..``, bytes that are not UTF-8 as surrogate escapes) is the object's own, never added, never mended;
* read the very version it listed or looked at, and raise :class:`BackupFailed` when that was replaced meanwhile;
* end every wait at a deadline, and raise :class:`CouldNotVerify` with a remedy when it cannot be reached, does not
  know the credentials or denies access: an unreachable store is never an empty one.

A store MAY offer ``scan`` (where names can stand for what is no object), ``keys_beginning`` (where one request tells
them), ``recorded_digests`` (where it keeps digests of its objects), ``local_path`` and ``failure_domain``.

A store DECLARES what a catalogue may say about it, and the catalogue is refused, with file, line and column, when it
says anything else: its ``schemes``; its ``options`` and ``credentials`` by name; whether it reads by ``ranges`` and
whether a user may stand in its url; what is wrong with one particular address (``check``); and every host that the
address leads to (``hosts``), none of which may be one where a machine's own credentials are served. None of this
contacts anything, reads a secret or needs a library beyond the standard one: a store imports its library when it first
uses it (see :func:`restore_drill.registry.library`). Every store passes
:class:`restore_drill.testing.store.StoreConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Stage
from restore_drill.secrets import SecretReference
from restore_drill.stores.declared import BESIDE_THE_URL as BESIDE_THE_URL
from restore_drill.stores.declared import Address as Address
from restore_drill.stores.declared import Credential as Credential
from restore_drill.stores.declared import Option as Option
from restore_drill.stores.declared import Trouble as Trouble

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
        options: What only this kind of store knows, as it declares them; left out where the catalogue says nothing.
        secrets: The credentials the catalogue names, as it declares them (and ``endpoint``, where that is a secret).
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


@dataclass(frozen=True, slots=True)
class ProviderDigest:
    """A digest of an object's stored bytes that the store keeps beside it.

    Attributes:
        algorithm: A name of :mod:`restore_drill.digests`; where the store uses another algorithm, its name for it.
        hexdigest: In lower-case hexadecimal, the most significant byte first
            (:func:`restore_drill.digests.from_base64`).
        source: The field that holds it, for messages: ``x-amz-checksum-sha256``, ``user metadata md5chksum``.
        by_uploader: Whether whoever uploaded the object wrote it and the store never looked at it (user metadata,
            ``Content-MD5`` where the store takes it as it comes); the others the store computed or checked itself.
        parts: Of a digest of digests the sizes of the parts (bytes, in order, adding up to the object's size); empty
            where the digest is of the whole object.
    """

    algorithm: str
    hexdigest: str
    source: str
    by_uploader: bool = False
    parts: tuple[int, ...] = ()


class Store(ABC):
    """A place that holds backups."""

    #: URL schemes it serves, in lower case.
    schemes: ClassVar[tuple[str, ...]] = ()
    #: The options it knows, by name; in the catalogue under ``options:``, those of ``BESIDE_THE_URL`` beside the url.
    options: ClassVar[Mapping[str, Option]] = {}
    #: The secrets it knows, by their names under ``credentials:``.
    credentials: ClassVar[Mapping[str, Credential]] = {}
    #: Whether ``settings.ranges`` means something to it.
    reads_ranges: ClassVar[bool] = False
    #: Whether a user may stand before the host in its url. A password never may, whatever the store.
    user_in_url: ClassVar[bool] = True

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:  # noqa: ARG003 - any address will do
        """What is wrong with an address beyond what is declared; everything, not only the first thing."""
        yield from ()

    @classmethod
    def hosts(cls, address: Address) -> Iterator[tuple[str, str]]:
        """Every host that an address leads to, as ``("url", "//host/…")``: the option that names it, and a url.

        Without its scheme, so that it is read alike whatever that is. An ``endpoint`` need not be repeated.
        """
        if address.rest.startswith("//"):
            yield "url", address.rest

    @abstractmethod
    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every object whose key begins with ``prefix``, in any order.

        Raises:
            CouldNotVerify: The store cannot be reached, or denies it.
        """

    def scan(
        self,
        prefix: str,
        odd: Callable[[Oddity], None],  # noqa: ARG002 - most have none
        closed: Callable[[str, str], None] | None = None,  # noqa: ARG002 - as above
    ) -> Iterator[Artifact]:
        """:meth:`list`, which tells ``odd`` on the way of everything under that name that is no object.

        A store MAY call ``closed`` with the name of a directory that it is denied, and with the cause, and go on beside
        it: for who wants to know what is there at all, and passes it. Without it that is an error, as for :meth:`list`.
        """
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

    def keys_beginning(self, prefix: str) -> Set[str] | None:  # noqa: ARG002 - most have to be asked for each
        """Every key that begins so, where few do and one request tells them; ``None`` where each must be looked at.

        Raises:
            CouldNotVerify: The store cannot be reached, or denies it.
        """
        return None

    def metadata(self, artifact: Artifact) -> Mapping[str, str]:  # noqa: ARG002 - a store without metadata has none
        """The user's own metadata of an object (``{}`` where the store has none), names in lower case."""
        return {}

    def recorded_digests(self, artifact: Artifact) -> Sequence[ProviderDigest]:  # noqa: ARG002 - most keep none
        """The digests that the store keeps of an object, without reading its bytes; ``()`` where it keeps none.

        They MUST be of the very version that was listed or looked at, and of the bytes as :meth:`open` gives them (a
        digest of what a server decompresses on the way is none). Whatever is no digest of the bytes (a multipart ETag)
        is left out; a field that should hold a digest and is malformed is an error, not an absent one.

        Raises:
            BackupFailed: The object vanished or was replaced (stage ``fetch``); a field is malformed (``verify``).
            CouldNotVerify: The store cannot be reached, or denies it.
        """
        return ()

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
