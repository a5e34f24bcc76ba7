"""The contract of a repository: how snapshots are laid out, and how one becomes a verified payload.

A repository MUST

* ``survey`` without reading any backup's bytes, in memory that does not grow with what is not a recovery point;
* take a snapshot's time from its name or metadata, never from a listing's modification time alone (of a rotation,
  whose name has none, that time is labelled as such, and the catalogue must say how the data bears it out);
* ``every``: the same points as ``survey`` in the same order, however many there are;
* ``unfinished``: say why a snapshot cannot be complete yet, or ``None``;
* ``fetch`` everything a snapshot needs in one pass into the staging's quarantine, and record there what was found;
  it raises nothing for a bad backup: what broke is in ``Transfer.broken`` with the stage that owns it.

Every repository passes :class:`restore_drill.testing.repository.RepositoryConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from restore_drill.errors import RestoreDrillError
from restore_drill.model import Payload, Snapshot, Stage
from restore_drill.sandboxes.base import Sandbox
from restore_drill.stores.base import Store

if TYPE_CHECKING:
    from restore_drill.catalogue.models import TargetModel
    from restore_drill.engines.base import Engine
    from restore_drill.plan import PlannedCopy

#: How many of the newest recovery points of each kind a survey describes in full.
KEPT = 64


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Something that looks like a snapshot still being written: a temporary name, or an incomplete set.

    Attributes:
        modified: When the store last saw anything of it written (seconds since the epoch).
        is_absent: Nothing of it is there: ``why`` says by what it must be.
    """

    name: str
    taken_at: datetime
    modified: float
    why: str
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that has the name of a snapshot and is of a kind that is never read: a FIFO, a link that leads out."""

    name: str
    taken_at: datetime
    modified: float
    what: str


@dataclass(slots=True)
class Survey:
    """What lies in a store for one copy.

    Attributes:
        newest: The newest recovery points, newest first (at most :data:`KEPT` of each kind).
        times: Every recovery point's time, ascending (seconds since the epoch).
        unfinished: Uploads under way or abandoned (the newest of them, by the time they claim).
        unreadable: What has a snapshot's name and is none (the newest of them, likewise).
        clashes: Pairs of keys among the newest that claim the same instant.
        listed: Objects looked at.
        wanted: The snapshot that was asked for by id, wherever in the past it lies.
    """

    newest: list[Snapshot] = field(default_factory=list)
    times: array[float] = field(default_factory=lambda: array("d"))
    unfinished: list[Unfinished] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    clashes: list[tuple[str, str]] = field(default_factory=list)
    listed: int = 0
    wanted: Snapshot | None = None

    def note_unfinished(self, unfinished: Unfinished) -> None:
        """One more upload under way or abandoned; of many the newest are kept."""
        self.unfinished.append(unfinished)
        _keep_newest(self.unfinished)

    def note_unreadable(self, unreadable: Unreadable) -> None:
        """One more name of a snapshot that stands for none; of many the newest are kept."""
        self.unreadable.append(unreadable)
        _keep_newest(self.unreadable)


def name_pins(transfer: Transfer, snapshot: Snapshot, pattern: str) -> None:
    """Give what was fetched of a rotation names for its pinned digests: tomorrow its key is another snapshot's."""
    if snapshot.rotation is not None:
        for number, artifact in enumerate(transfer.artifacts):
            artifact["pin"] = f"{pattern}@{snapshot.id}" + (f"#{number}" if number else "")


def _keep_newest(noted: list[Any]) -> None:
    if len(noted) >= 2 * KEPT:
        noted.sort(key=lambda each: each.taken_at, reverse=True)
        del noted[KEPT:]


@dataclass(slots=True)
class DigestCheck:
    """A recorded digest and what became of it.

    Attributes:
        artifact: The stored artifact's name.
        source: Where the digest was recorded.
        layer: Which bytes it speaks of: ``stored``, ``decoded``, ``content`` or ``tree``; ``""`` when none fits.
        actual: What those bytes hash to, ``""`` when they could not be computed.
        base: The algorithm that decides what it is worth, where ``algorithm`` says more than its name.
    """

    artifact: str
    source: str
    algorithm: str
    expected: str
    layer: str = ""
    actual: str = ""
    notes: list[str] = field(default_factory=list)
    base: str = ""


@dataclass(slots=True)
class SignatureCheck:
    """A detached signature and who made it.

    Attributes:
        signed: Name of what is signed: the artifact, what it decodes to, or the file that its digest is recorded in.
        source: Where the signature is kept.
        kind: ``gpg``, ``minisign`` or ``cosign``.
        key: The pinned key that made it, ``""`` when the bytes could not be read to their end.
        made_at: When, as the signature itself claims; ``None`` where it claims nothing.
    """

    signed: str
    source: str
    kind: str
    key: str = ""
    made_at: datetime | None = None


@dataclass(slots=True)
class Transfer:
    """What fetching a snapshot gave.

    Attributes:
        payloads: Ready for the engine, the chain's oldest first; empty when something broke.
        layers: Per artifact the layers that were peeled (JSON values).
        digests: The recorded digests and how they compare.
        signatures: The signatures that were asked for, and who made them.
        unsigned: What should be signed and is not, with where was looked.
        absent: Artifacts (or, for a tree, its manifest) without a recorded digest, with where was looked.
        unproven: Artifacts, with the format, that nothing but a digest of their content proves, and that have none.
        manifest: Name of the manifest inside the tree whose missing and extra files are left to the files case, ``""``
            when they are judged already or there is none.
        unusable: Why a digest or signature that is recorded cannot be used; like an absent one it blocks nothing.
        encrypted: The codec that keeps the stored bytes unreadable, ``""`` when none does.
        plain: An artifact that can be read without a key, ``""`` when there is none.
        broken: The error of each stage that broke; its earliest stage is the cause.
        seconds: Time from the first byte to the last written, verification apart.
        verify_seconds: Time for verification that was not part of the pass.
    """

    payloads: list[Payload] = field(default_factory=list)
    stored_bytes: int = 0
    content_bytes: int = 0
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    digests: list[DigestCheck] = field(default_factory=list)
    signatures: list[SignatureCheck] = field(default_factory=list)
    unsigned: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    manifest: str = ""
    unusable: RestoreDrillError | None = None
    encrypted: str = ""
    plain: str = ""
    broken: dict[Stage, RestoreDrillError] = field(default_factory=dict)
    unpack: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    verify_seconds: float = 0.0


@dataclass(slots=True)
class Staging:
    """Where a snapshot's bytes go, and what they may cost.

    Attributes:
        sandbox: Unpacks archives; its work directory holds the quarantine.
        quarantine: A directory nobody reads from before the checksum verdict.
        engine: Says which content it recognises and which payload forms it takes.
        until: ``time.monotonic()`` of the deadline.
        reserve: Bytes that must stay free on the disk.
        tree_digest: Compute the digest of a tree while unpacking it.
        discard: Only read, decode and hash; keep no content (for comparing copies).
        files_judged: A files case will compare the restored tree with its manifest both ways; where none does, what is
            missing from a tree or too much in it must break the transfer.
        advance: Called with stored bytes as they are read.
    """

    sandbox: Sandbox
    quarantine: Path
    engine: type[Engine]
    until: float
    reserve: int = 0
    threads: int = 1
    tree_digest: bool = False
    discard: bool = False
    files_judged: bool = False
    advance: Callable[[int], None] | None = None


class Repository(ABC):
    """One way of laying out snapshots."""

    name: ClassVar[str]

    def __init__(self, store: Store, copy: PlannedCopy, model: TargetModel) -> None:
        self.store = store
        self.copy = copy
        self.model = model

    @abstractmethod
    def survey(self, wanted: str = "") -> Survey:
        """List the copy's recovery points.

        Args:
            wanted: Id, key or name of a snapshot that must be described however old it is.

        Raises:
            CouldNotVerify: The store cannot be read.
        """

    @abstractmethod
    def every(self) -> list[Snapshot]:
        """Every recovery point, newest first; memory grows with their number.

        Of its parents each has the one that it directly builds on: the others are found by following it.

        Raises:
            CouldNotVerify: The store cannot be read.
        """

    @abstractmethod
    def unfinished(self, snapshot: Snapshot, *, settling: bool) -> str | None:
        """Why a snapshot cannot be complete, or ``None``.

        Args:
            snapshot: One of a survey.
            settling: It was written so recently that what accompanies it (a digest) may still be on its way; later
                than that a missing digest is not incompleteness but the checksum case's failure.
        """

    @abstractmethod
    def fetch(self, snapshot: Snapshot, staging: Staging) -> Transfer:
        """Read, verify, decode and write a snapshot and its parents into the quarantine."""

    def recorded_counts(self, snapshot: Snapshot) -> Mapping[str, int] | None:  # noqa: ARG002 - most layouts have none
        """Counts recorded beside the snapshot (of rows by table, or of a tree), or ``None``."""
        return None
