"""What an artifact's bytes should hash to, by whatever recorded it, and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from restore_drill import digests
from restore_drill.checksums import RecordedDigest
from restore_drill.errors import BackupFailed, RestoreDrillError
from restore_drill.model import Artifact, Stage
from restore_drill.repositories.base import DigestCheck
from restore_drill.repositories.names import stems
from restore_drill.repositories.recorded import Recorded
from restore_drill.stores.base import ProviderDigest
from restore_drill.stream import Layer


@dataclass(slots=True)
class Expected:
    """The digests of one artifact, on the way to be compared.

    Attributes:
        algorithms: By which every layer must be hashed.
        notes: What is recorded and could not be computed here, although something else could.
        provided: What the store keeps, and what computes those of them that are of parts.
    """

    artifact: Artifact
    recorded: Recorded
    algorithms: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    provided: list[tuple[ProviderDigest, digests.Composite | None]] = field(default_factory=list)

    @property
    def watch(self) -> list[Callable[[bytes], object]]:
        """What must see the stored bytes."""
        return [composite.update for _, composite in self.provided if composite is not None]

    def compare(self, layers: Sequence[Layer], *, broken: bool) -> list[DigestCheck]:
        """What became of each."""
        found = [self._check_provided(digest, composite, layers[0]) for digest, composite in self.provided]
        if self.recorded.digest:
            found.append(_compare(self.artifact, self.recorded, self.recorded.digest, layers, broken=broken))
        return found

    def _check_provided(
        self, digest: ProviderDigest, composite: digests.Composite | None, stored: Layer
    ) -> DigestCheck:
        algorithm = f"{digest.algorithm} of {len(digest.parts)} parts" if composite else digest.algorithm
        actual = composite.hexdigest() if composite else stored.digests.get(digest.algorithm, "")
        if composite and stored.whole and not actual:
            actual = "of parts that do not add up to the object"
        whose = "written by the uploader" if digest.by_uploader else "computed or checked by the store at the upload"
        source = f"{self.recorded.source}: {digest.source}, {whose}"
        notes = [] if digest.by_uploader else ["the digest is the store's own: it says nothing of before the upload"]
        return DigestCheck(
            self.artifact.name, source, algorithm, digest.hexdigest, "stored", actual if stored.whole else "",
            [*notes, *self.notes], base=digest.algorithm,
        )  # fmt: skip


def expect(artifact: Artifact, recorded: Recorded) -> Expected:
    """Get ready to compute what is recorded.

    Raises:
        BackupFailed: By an unknown algorithm (stage ``verify``).
        CouldNotVerify: A library is missing that it takes, and nothing else is recorded that can be computed.
    """
    expected = Expected(artifact, recorded)
    if recorded.digest:
        digests.new(recorded.digest.algorithm)
        expected.algorithms = frozenset({recorded.digest.algorithm})
    problems: list[RestoreDrillError] = []
    for digest in recorded.provided:
        try:
            composite = digests.Composite(digest.algorithm, digest.parts) if digest.parts else None
            digests.new(digest.algorithm)
        except RestoreDrillError as problem:
            problems.append(problem)
            continue
        expected.provided.append((digest, composite))
        if composite is None:
            expected.algorithms |= {digest.algorithm}
    if problems and not expected.provided:
        raise problems[0]
    expected.notes += [f"not compared: {problem.cause}" for problem in problems]
    return expected


def problem_of(check: DigestCheck, where: str) -> BackupFailed | None:
    """The failure of bytes that are not what was recorded, or ``None``."""
    if not check.actual or check.actual == check.expected:
        return None
    other = next((f": {note}" for note in check.notes if note.startswith("the recorded digest is that of")), "")
    changed = "The backup changed after it was made: use another copy or snapshot, and find out what damaged it."
    return BackupFailed(
        f"{check.algorithm} of the {check.layer} bytes is {check.actual}, recorded is {check.expected}{other}",
        looked_at=f"{where}, {check.source}",
        remedy="Record the digest under the name of the bytes that it is of." if other else changed,
        stage=Stage.VERIFY,
    )


def _compare(
    artifact: Artifact, recorded: Recorded, digest: RecordedDigest, layers: Sequence[Layer], *, broken: bool
) -> DigestCheck:
    check = DigestCheck(artifact.name, recorded.source, digest.algorithm, digest.hexdigest, notes=list(recorded.notes))
    for position, layer in enumerate(layers):
        if digest.basename in layer.names:
            check.layer = _layer_name(position, layers)
            check.actual = layer.digests.get(digest.algorithm, "") if layer.whole else ""
            break
    if not check.layer and broken and digest.basename in stems(artifact.name):
        check.layer = "decoded"  # decoding did not get so far
    if not check.layer and _is_stored_undecoded(artifact, digest, layers):
        check.layer, check.actual = _layer_name(0, layers), digest.hexdigest
        check.notes.append("what is stored under the name of an encoded file is not encoded")
    if check.actual and check.actual != check.expected:
        same = (
            position for position, layer in enumerate(layers) if layer.digests.get(digest.algorithm) == check.expected
        )
        check.notes += [
            f"the recorded digest is that of the {_layer_name(position, layers)} bytes" for position in same
        ]
    return check


def _is_stored_undecoded(artifact: Artifact, digest: RecordedDigest, layers: Sequence[Layer]) -> bool:
    """Whether the digest is of a file that was to be encoded, and was stored as it is."""
    stored = layers[0]
    named = digest.basename in stems(artifact.name)
    return named and len(layers) == 1 and stored.whole and stored.digests.get(digest.algorithm) == digest.hexdigest


def _layer_name(position: int, layers: Sequence[Layer]) -> str:
    return "stored" if position == 0 else "content" if position == len(layers) - 1 else "decoded"
