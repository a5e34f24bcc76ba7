"""Fetch one artifact: stream it through its layers into the quarantine, and compare what was recorded of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.catalogue.models import TargetModel
from restore_drill.disk import FileSink, Workspace
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError, SecretUnavailable
from restore_drill.model import Artifact, Payload, PayloadForm, Stage
from restore_drill.recognise import archive_of, codec_detector, describe, is_text, unread
from restore_drill.registry import load
from restore_drill.repositories import unproven
from restore_drill.repositories.base import DigestCheck, SignatureCheck, Staging, Transfer
from restore_drill.repositories.comparing import Expected, expect, problem_of
from restore_drill.repositories.recorded import Recorded
from restore_drill.repositories.signed import Signing, Witness, witness
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
    digests: list[DigestCheck] = field(default_factory=list)
    signatures: list[SignatureCheck] = field(default_factory=list)
    absent: str = ""
    unsigned: str = ""
    unusable: RestoreDrillError | None = None
    unpack: dict[str, Any] = field(default_factory=dict)
    broken: dict[Stage, RestoreDrillError] = field(default_factory=dict)
    encrypted: str = ""
    unproven: str = ""
    is_part: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def digest(self) -> DigestCheck | None:
        """What became of the digest that was recorded of it, if one was."""
        return self.digests[0] if self.digests else None

    def note_signature(self, signing: Signing) -> None:
        """One that is wrong breaks the stage; one that could not be judged, or is missing, like a digest, does not."""
        self.signatures += signing.checks
        self.unsigned = self.unsigned or signing.absent
        if signing.problem and signing.is_wrong:
            _broke(self, signing.problem, Stage.VERIFY)
        self.unusable = self.unusable or (None if signing.is_wrong else signing.problem)


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
        expected = self._find(find, found)
        if self.artifact.size == 0:
            _broke(found, BackupFailed("it is empty (0 bytes)", looked_at=self._where(), stage=Stage.FETCH))
            return found
        signature = self._signature(found)
        try:
            peeled = Peeled(self.store.open(self.artifact), self._how(expected, signature, is_part=is_part))
        except RestoreDrillError as problem:
            _broke(found, problem, Stage.FETCH)
            if signature:
                signature.judge.close()
            return found
        try:
            self._consume(peeled, place, found)
        except RestoreDrillError as problem:
            known = unproven.as_known(problem, peeled.layers)
            if not isinstance(known, SecretUnavailable):
                # Codecs do not know what they read, and a chain has many.
                known.looked_at = known.looked_at or self._where()
            _broke(found, known)
        except BaseException:
            peeled.abandon()
            if signature:
                signature.judge.close()
            raise
        peeled.finish()
        self._conclude(peeled, expected, signature, found)
        return found

    def _find(self, find: Callable[[Artifact], Recorded], found: Fetched) -> Expected:
        if self.copy.checksum.mode == "pinned":
            return Expected(self.artifact, Recorded(source="pinned"))
        try:
            recorded = find(self.artifact)
            if recorded.signing:
                found.note_signature(recorded.signing)
            expected = expect(self.artifact, recorded)
        except RestoreDrillError as problem:
            found.unusable = problem
            return Expected(self.artifact, Recorded())
        if not recorded.is_there:
            found.absent = f"{self.artifact.name}: looked for {', '.join(recorded.looked_at)}"
        return expected

    def _signature(self, found: Fetched) -> Witness | None:
        """The judge of the artifact's own signature, where the catalogue wants one and it is there."""
        rule = self.copy.checksum.signature
        if rule is None or rule.of != "artifact":
            return None
        result = witness(self.store, rule, self.artifact.key, self.staging.until, decoded=True)
        if isinstance(result, Witness):
            return result
        found.note_signature(result)
        return None

    def _how(self, expected: Expected, signature: Witness | None, *, is_part: bool) -> Peeling:
        def watch(names: tuple[str, ...]) -> list[Callable[[bytes], object]]:
            signed = signature is not None and signature.signed in names
            judges: list[Callable[[bytes], object]] = [signature.judge.update] if signature and signed else []
            return judges + (expected.watch if self.artifact.name in names else [])

        limits, forms, codecs = self.model.limits, self.staging.engine.forms, self.copy.model.codecs
        return Peeling(
            name=self.artifact.name,
            size=self.artifact.size,
            detect=codec_detector(self.copy.decrypt, codecs, files=PayloadForm.FILE in forms or is_part),
            # Of every layer, not only of the one that it names: so it can be told when it is that of another one.
            wanted=lambda names: expected.algorithms,  # noqa: ARG005 - others choose by name
            watch=watch,
            ratio=limits.ratio,
            limit=limits.bytes,
            until=self.staging.until,
            advance=self.staging.advance,
            workspace=Workspace(self.staging.quarantine, self.staging.reserve),
            trees=PayloadForm.TREE in forms and codecs is None and not is_part,
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
        # What a wrong key gives is noise; what can be read was decrypted, and is no backup.
        if not is_text(head) and (wrong_key := unproven.unreadable(peeled.layers, self._where())):
            raise wrong_key
        inside = len(peeled.layers) > 1
        foreign = unread(head)
        # Of a format that is only not read here, nothing is known; anything else is not what a backup job should write.
        kind = CouldNotVerify if foreign else BackupFailed
        raise kind(
            f"{'inside ' + peeled.layers[-2].format + ' it' if inside else 'it'} begins like {describe(head)}, "
            f"not like anything the engine {engine.name} can restore",
            looked_at=self._where(),
            remedy=foreign[1]
            if foreign
            else "Look at what the backup job wrote: an error message may have been stored instead of data.",
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

    def _conclude(self, peeled: Peeled, expected: Expected, signature: Witness | None, found: Fetched) -> None:
        found.layers = peeled.layers
        codecs = [layer.format for layer in peeled.layers[:-1]]
        found.encrypted = next((name for name in codecs if load("codecs", name).encrypts), "")
        if self.copy.checksum.mode != "pinned" and not unproven.is_proven(peeled.layers, expected.recorded.digest):
            found.unproven = f"{self.artifact.name}: {unproven.format_without_proof(peeled.layers)}"
        self._judge_source(peeled, found)
        self._judge_end(peeled, found)
        if signature:
            found.note_signature(signature.judged(peeled.layers))
        found.digests = expected.compare(peeled.layers, broken=bool(found.broken))
        for check in found.digests:
            if problem := problem_of(check, self.store.where(self.artifact.key)):
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
    transfer.digests += found.digests
    transfer.signatures += found.signatures
    transfer.unsigned += [found.unsigned] if found.unsigned else []
    transfer.absent += [found.absent] if found.absent else []
    transfer.unusable = transfer.unusable or found.unusable
    transfer.encrypted = transfer.encrypted or found.encrypted
    transfer.unproven += [found.unproven] if found.unproven else []
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


def _broke(found: Fetched, problem: RestoreDrillError, stage: Stage | None = None) -> None:
    found.broken.setdefault(stage or problem.stage or Stage.UNPACK, problem)


def _archive_names() -> frozenset[str]:
    from restore_drill.registry import names

    return frozenset(names("archives"))
