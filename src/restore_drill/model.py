"""The vocabulary of a drill as plain values: verdicts, stages, snapshots, payloads, findings.

Standard library only: every xdist worker and every sandbox process imports this module.
Times are aware ``datetime`` objects in UTC, sizes are bytes, durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any


class Verdict(StrEnum):
    """What a case concluded; could-not-verify (``error``) is never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    EXCEPTED = "excepted"


class Stage(StrEnum):
    """The stages of a drill, in the order in which they run."""

    LOCATE = "locate"
    FETCH = "fetch"
    VERIFY = "verify"
    UNPACK = "unpack"
    CHAIN = "chain"
    RESTORE = "restore"
    CONTENT = "content"
    DISPOSE = "dispose"
    TARGET = "target"


class Kind(StrEnum):
    """What a recovery point contains, relative to the ones before it."""

    FULL = "full"
    DIFFERENTIAL = "differential"
    INCREMENTAL = "incremental"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One stored object or file of a snapshot.

    Attributes:
        key: Its name in the store, relative to the store's URL.
        size: Bytes as listed; ``-1`` where a listing has no size (a directory generation).
        modified: When the store says it was last written (seconds since the epoch).
        version: The store's version id, where it keeps versions.
        etag: The store's opaque change marker; never a digest.
        encryption: Server-side encryption as the store reports it, or ``""``.
    """

    key: str
    size: int
    modified: float
    version: str = ""
    etag: str = ""
    encryption: str = ""

    @property
    def name(self) -> str:
        """The last component of the key."""
        return self.key.rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A restorable state: what the field calls a recovery point.

    Attributes:
        taken_at: The time recorded in its name or metadata, in UTC.
        resolution: How exactly that name states the time.
        artifacts: The object or directory that gives it its name; what belongs to the same state beside it (``-wal``)
            is found when it is fetched.
        sequence: The link's number in its chain, or ``None``.
        parents: The snapshots that must be restored before this one, oldest first.
        ambiguous: The name fits two instants (the double hour when summer time ends).
        rotation: Its number where names are numbered anew with every backup, the lowest the newest; else ``None``.
    """

    taken_at: datetime
    artifacts: tuple[Artifact, ...]
    kind: Kind = Kind.FULL
    resolution: timedelta = timedelta(seconds=1)
    sequence: int | None = None
    parents: tuple[Snapshot, ...] = ()
    ambiguous: bool = False
    rotation: int | None = None

    @property
    def id(self) -> str:
        """The instant in ISO 8601's basic form, with the kind appended unless it is full."""
        stamp = self.taken_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return stamp if self.kind is Kind.FULL else f"{stamp}-{self.kind}"

    @property
    def main(self) -> Artifact:
        """The artifact that gives the snapshot its name."""
        return self.artifacts[0]

    @property
    def size(self) -> int:
        """Stored bytes of all its artifacts, ``-1`` when the listing does not say."""
        sizes = [artifact.size for artifact in self.artifacts]
        return -1 if min(sizes) < 0 else sum(sizes)

    @property
    def modified(self) -> float:
        """When the store last saw any of its artifacts written (seconds since the epoch)."""
        return max(artifact.modified for artifact in self.artifacts)

    @property
    def moment(self) -> float:
        """The time it is judged by: what its name says, refined by the store's within the name's resolution."""
        claimed = self.taken_at.timestamp()
        if self.resolution < timedelta(hours=1):
            return claimed
        return min(max(self.modified, claimed), claimed + self.resolution.total_seconds())


class PayloadForm(StrEnum):
    """The two shapes in which verified bytes reach an engine."""

    FILE = "file"
    TREE = "tree"


@dataclass(frozen=True, slots=True)
class Payload:
    """Verified, decrypted and decompressed bytes on local disk, ready for an engine.

    Attributes:
        path: A file, or the root directory of a tree, inside the sandbox's work directory.
        format: What the bytes were recognised as, e.g. ``sqlite-database``, ``sql-text``, ``tar``.
        parts: Files that belong to the same state (``-wal``), in the catalogue's order.
        digest: SHA-256 of the content: of the bytes for a file, of the manifest for a tree.
    """

    form: PayloadForm
    path: Path
    format: str
    size: int
    digest: str = ""
    parts: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule concluded from facts. Everything in it may be published, except ``details``.

    Attributes:
        message: The cause in one sentence; empty for a pass.
        remedy: What the person reading it should do.
        expected: What the rule wanted, as a number or a short phrase.
        actual: What was found, in the same terms.
        tolerance: The margin, and where it comes from.
        notes: Remarks that change no verdict.
        details: File names and text values: the terminal and the 0600 file only.
    """

    verdict: Verdict = Verdict.PASSED
    message: str = ""
    remedy: str = ""
    expected: str | int | float | None = None
    actual: str | int | float | None = None
    tolerance: str = ""
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict is Verdict.PASSED


@dataclass(slots=True)
class StageRecord:
    """What one stage measured: times in UTC, seconds of work, and its facts (JSON values only)."""

    stage: Stage
    started: datetime
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
