"""Fetch one artifact: stream it through its layers into the quarantine, and compare what was recorded of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.catalogue.models import TargetModel
from restore_drill.checksums import RecordedDigest
from restore_drill.disk import FileSink
from restore_drill.errors import BackupFailed, RestoreDrillError
from restore_drill.model import Artifact, Payload, PayloadForm, Stage
from restore_drill.recognise import archive_of, codec_detector, describe
from restore_drill.registry import load
from restore_drill.repositories.base import DigestCheck, Staging, Transfer
from restore_drill.repositories.recorded import Recorded, stems
from restore_drill.stores.base import Store
from restore_drill.stream import Layer, Peeled, Peeling

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy

#: Why codec and archive errors do not matter: the recorded digest of the stored bytes is already wrong.
_FIRST = (Stage.FETCH, Stage.VERIFY, Stage.UNPACK)


@dataclass(slots=True)
class Fetched:
    """What became of one artifact."""

    artifact: Artifact
    layers: list[Layer] = field(default_factory=list)
    payload: Payload | None = None
    digest: DigestCheck | None = None
    absent: str = ""
    unusable: RestoreDrillError | None = None
    unpack: dict[str, Any] = field(default_factory=dict)
    broken: dict[Stage, RestoreDrillError] = field(default_factory=dict)
    encrypted: str = ""
    is_part: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ArtifactFetch:
    """One artifact on its way from a store into the quarantine."""

    store: Store
    artifact: Artifact
    copy: PlannedCopy
    model: TargetModel
    staging: Staging

    def run(self, place: Path, find: Callable[[Artifact], Recorded], *, is_part: bool) -> Fetched:
        """Fetch it to a place where nothing is yet; what goes wrong is in the result's ``broken``."""
        found = Fetched(self.artifact, is_part=is_part)
        recorded = self._find(find, found)
        if self.artifact.size == 0:
            _broke(found, BackupFailed("it is empty (0 bytes)", looked_at=self._where(), stage=Stage.FETCH))
            return found
        try:
            peeled = Peeled(self.store.open(self.artifact), self._how(recorded.digest))
        except RestoreDrillError as problem:
            _broke(found, problem, Stage.FETCH)
            return found
        try:
            self._consume(peeled, place, found)
        except RestoreDrillError as problem:
            _broke(found, problem)
        except BaseException:
            peeled.abandon()
            raise
        peeled.finish()
        self._conclude(peeled, recorded, found)
        return found

    def _find(self, find: Callable[[Artifact], Recorded], found: Fetched) -> Recorded:
        if self.copy.checksum.mode == "pinned":
            return Recorded(source="pinned")
        try:
            recorded = find(self.artifact)
        except RestoreDrillError as problem:
            found.unusable = problem
            return Recorded()
        if recorded.digest is None:
            found.absent = f"{self.artifact.name}: looked for {', '.join(recorded.looked_at)}"
        return recorded

    def _how(self, digest: RecordedDigest | None) -> Peeling:
        # Of every layer, not only of the one that it names: so it can be told when it is that of another one.
        algorithms = frozenset({digest.algorithm}) if digest else frozenset[str]()

        limits = self.model.limits
        return Peeling(
            name=self.artifact.name,
            size=self.artifact.size,
            detect=codec_detector(self.copy.decrypt, self.copy.model.codecs),
            wanted=lambda names: algorithms,  # noqa: ARG005 - others choose by name
            ratio=limits.ratio,
            limit=limits.bytes,
            until=self.staging.until,
            advance=self.staging.advance,
        )

    def _consume(self, peeled: Peeled, path: Path, found: Fetched) -> None:
        head = peeled.open()
        content = peeled.layers[-1]
        content.format = self._recognise(head, peeled, is_part=found.is_part)
        form = PayloadForm.FILE
        if self.staging.discard and content.format not in _archive_names():
            size = sum(len(chunk) for chunk in peeled.content())
        elif content.format in _archive_names() and not found.is_part:
            form = PayloadForm.TREE
            found.unpack = self._unpack(content.format, path, peeled.content())
            size = int(found.unpack.get("bytes", 0))
        else:
            size = FileSink(path, self.staging.reserve).write(peeled.content())
        found.payload = Payload(form, path, content.format, size)

    def _recognise(self, head: bytes, peeled: Peeled, *, is_part: bool) -> str:
        if is_part:
            return "part"
        engine = self.staging.engine
        known = engine.recognises(head) if PayloadForm.FILE in engine.forms else None
        archive = archive_of(head) if PayloadForm.TREE in engine.forms else None
        zeros = not head.strip(b"\0")
        if known:
            return known
        if archive and not (zeros and engine.forms[0] is PayloadForm.FILE):
            return archive
        inside = len(peeled.layers) > 1
        raise BackupFailed(
            f"{'inside ' + peeled.layers[-2].format + ' it' if inside else 'it'} begins like {describe(head)}, "
            f"not like anything the engine {engine.name} can restore",
            looked_at=self._where(),
            remedy="Look at what the backup job wrote: an error message may have been stored instead of data.",
            stage=Stage.UNPACK if inside else Stage.FETCH,
        )

    def _unpack(self, archive: str, root: Path, chunks: Iterator[bytes]) -> dict[str, Any]:
        limits = self.model.limits
        facts: dict[str, Any] = self.staging.sandbox.call(
            "restore_drill.archives.unpack:unpack_tree",
            {
                "archive": archive,
                "root": str(root),
                "limits": {
                    "members": limits.members,
                    "bytes": limits.bytes,
                    "ratio": limits.ratio,
                    "allow": list(limits.allow),
                    "concatenated": limits.concatenated,
                },
                "digest": self.staging.tree_digest or self.staging.discard,
                "discard": self.staging.discard,
                "reserve": self.staging.reserve,
            },
            deadline=max(1.0, self.staging.until - time.monotonic()),
            feed=chunks,
        )
        return facts

    def _conclude(self, peeled: Peeled, recorded: Recorded, found: Fetched) -> None:
        found.layers = peeled.layers
        codecs = [layer.format for layer in peeled.layers[:-1]]
        found.encrypted = next((name for name in codecs if load("codecs", name).encrypts), "")
        self._judge_source(peeled, found)
        self._judge_end(peeled, found)
        if recorded.digest:
            found.digest = _compare(self.artifact, recorded, peeled.layers, broken=bool(found.broken))
            if problem := _digest_problem(found.digest, self.store.where(self.artifact.key)):
                _broke(found, problem, Stage.VERIFY)
        if found.broken:
            found.payload = None
        elif found.payload:
            digest = found.unpack.get("digest") or peeled.layers[-1].digests["sha256"]
            found.payload = replace(found.payload, digest=str(digest))

    def _judge_source(self, peeled: Peeled, found: Fetched) -> None:
        failure = peeled.source_failure
        if isinstance(failure, RestoreDrillError):
            found.broken.clear()
            _broke(found, failure, Stage.FETCH)
        elif peeled.layers[0].whole and self.artifact.size not in (-1, peeled.layers[0].size):
            _broke(
                found,
                BackupFailed(
                    f"{peeled.layers[0].size} of {self.artifact.size} bytes arrived",
                    looked_at=self._where(),
                    remedy="It is being replaced or was cut: run the drill again, and check the upload.",
                    stage=Stage.FETCH,
                ),
            )

    def _judge_end(self, peeled: Peeled, found: Fetched) -> None:
        """Nothing was read past: a consumer that was content too early has not seen whether the rest is good."""
        if not found.broken and not peeled.layers[-1].whole:
            problem = BackupFailed("it goes on behind its end", looked_at=self._where(), stage=Stage.UNPACK)
            _broke(found, problem)

    def _where(self) -> str:
        return self.store.where(self.artifact.key)


def absorb(transfer: Transfer, found: Fetched, payload: Payload | None) -> Payload | None:
    """Add what became of an artifact to its snapshot's transfer; returns the link's payload so far."""
    stored, content = found.layers[:1], found.layers[-1:]
    transfer.stored_bytes += sum(layer.size for layer in stored)
    transfer.content_bytes += sum(layer.size for layer in content)
    transfer.artifacts.append(_facts(found))
    transfer.notes += found.notes
    transfer.unpack = transfer.unpack or found.unpack
    transfer.digests += [found.digest] if found.digest else []
    transfer.absent += [found.absent] if found.absent else []
    transfer.unusable = transfer.unusable or found.unusable
    transfer.encrypted = transfer.encrypted or found.encrypted
    transfer.plain = transfer.plain or ("" if found.encrypted else found.artifact.name)
    for stage in _FIRST:
        if stage in found.broken:
            transfer.broken.setdefault(stage, found.broken[stage])
    if not found.is_part or payload is None or found.payload is None:
        return payload if found.is_part else found.payload
    return replace(payload, parts=(*payload.parts, found.payload.path))


def _facts(found: Fetched) -> dict[str, Any]:
    return {
        "key": found.artifact.key,
        "size": found.artifact.size,
        "version": found.artifact.version,
        "encryption": found.artifact.encryption,
        "sha256": found.layers[0].digests.get("sha256", "") if found.layers and found.layers[0].whole else "",
        "layers": [
            {"format": layer.format, "size": layer.size, "whole": layer.whole, **layer.digests, **layer.facts}
            for layer in found.layers
        ],
    }


def _compare(artifact: Artifact, recorded: Recorded, layers: list[Layer], *, broken: bool) -> DigestCheck:
    assert recorded.digest  # noqa: S101 - the caller checked
    digest = recorded.digest
    check = DigestCheck(artifact.name, recorded.source, digest.algorithm, digest.hexdigest, notes=list(recorded.notes))
    for position, layer in enumerate(layers):
        if digest.basename in layer.names:
            check.layer = _layer_name(position, layers)
            check.actual = layer.digests.get(digest.algorithm, "") if layer.whole else ""
            break
    if not check.layer and broken and digest.basename in stems(artifact.name):
        check.layer = "decoded"  # decoding did not get so far
    if check.actual and check.actual != check.expected:
        same = (
            position for position, layer in enumerate(layers) if layer.digests.get(digest.algorithm) == check.expected
        )
        check.notes += [
            f"the recorded digest is that of the {_layer_name(position, layers)} bytes" for position in same
        ]
    return check


def _layer_name(position: int, layers: list[Layer]) -> str:
    return "stored" if position == 0 else "content" if position == len(layers) - 1 else "decoded"


def _digest_problem(check: DigestCheck, where: str) -> BackupFailed | None:
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


def _broke(found: Fetched, problem: RestoreDrillError, stage: Stage | None = None) -> None:
    found.broken.setdefault(stage or problem.stage or Stage.UNPACK, problem)


def _archive_names() -> frozenset[str]:
    from restore_drill.registry import names

    return frozenset(names("archives"))
