"""Fetch a snapshot that was split as the one stream that it is, each part compared with what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from restore_drill.catalogue.models import ChecksumRule
from restore_drill.checksums import SIDECAR_SUFFIXES, algorithm_of_name, decode, parse_manifest
from restore_drill.digests import canonical, new
from restore_drill.errors import BackupFailed, RestoreDrillError
from restore_drill.model import Artifact, Stage
from restore_drill.repositories import recorded
from restore_drill.repositories.artifact import ArtifactFetch, Fetched
from restore_drill.repositories.base import DigestCheck
from restore_drill.repositories.comparing import Expected, expect, problem_of
from restore_drill.repositories.parts import Parts, look, problem
from restore_drill.stores.base import Store
from restore_drill.stream import Layer

Find = Callable[[Artifact], recorded.Recorded]


@dataclass(frozen=True, slots=True)
class JoinedFetch:
    """A snapshot in parts on its way into the quarantine.

    Attributes:
        fetch: As for one object of the name that the parts would have together.
        find: What is recorded of an object.
    """

    fetch: ArtifactFetch
    find: Find

    def run(self, place: Path) -> Fetched:
        """Fetch it; what goes wrong is in the result's ``broken``."""
        store, whole = self.fetch.store, self.fetch.artifact
        before = Fetched(whole)
        parts = look(store, self.fetch.copy.pattern, whole)
        known: dict[str, recorded.Recorded] = {}
        expected: dict[str, Expected] = {}
        if self.fetch.copy.checksum.mode != "pinned":
            try:
                known, parts = self._look_up(parts)
                expected = {part.key: expect(part, known[part.key]) for part in parts.parts if part.key in known}
            except RestoreDrillError as unusable:
                before.unusable = unusable
        if broken := problem(store, parts):
            before.broken[Stage.FETCH] = broken
            return before
        found = self._stream(parts, expected, known, place)
        for signing in {id(each.signing): each.signing for each in known.values() if each.signing}.values():
            found.note_signature(signing)
        found.unusable = found.unusable or (before.unusable if found.digest is None else None)
        return found

    def _look_up(self, parts: Parts) -> tuple[dict[str, recorded.Recorded], Parts]:
        store, rule = self.fetch.store, self.fetch.copy.checksum
        known = recorded_of(store, parts, rule, self.find)
        also = listed(store, known, rule)
        return known, look(store, self.fetch.copy.pattern, parts.whole, also) if also else parts

    def _stream(
        self, parts: Parts, expected: dict[str, Expected], known: Mapping[str, recorded.Recorded], place: Path
    ) -> Fetched:
        joined = Joined(self.fetch.store, parts, expected)
        sizes = [part.size for part in parts.parts]
        whole = Artifact(parts.whole.key, -1 if min(sizes) < 0 else sum(sizes), parts.whole.modified)
        fetch = ArtifactFetch(joined, whole, self.fetch.copy, self.fetch.model, self.fetch.staging)
        found = fetch.run(place, lambda artifact: self._of_the_whole(artifact, known), is_part=False)
        found.notes.append(f"it lies in {len(parts.parts)} parts, which were read as one stream")
        covered = set()
        for part, checks in joined.compared(broken=bool(found.broken)):
            covered.add(part.key)
            found.digests += checks
            for check in checks:
                if wrong := problem_of(check, self.fetch.store.where(part.key)):
                    wrong.cause = f"{part.name}: {wrong.cause}"
                    found.broken.setdefault(Stage.VERIFY, wrong)
                    found.payload = None
        bare = [part.name for part in parts.parts if part.key not in covered]
        if found.absent and covered:
            found.absent = f"{bare[0]} and {len(bare) - 1} other parts: none is recorded" if bare else ""
        return found

    def _of_the_whole(self, artifact: Artifact, known: Mapping[str, recorded.Recorded]) -> recorded.Recorded:
        try:
            return self.find(artifact)
        except BackupFailed:
            if any(each.key.startswith(artifact.key) for each in known.values()):
                return recorded.Recorded()  # a list of the parts under the name of the whole
            raise


class Joined(Store):
    """A store in which one snapshot that was split is one object; every other call goes to the store it lies in.

    Args:
        expected: Key of a part → what its own bytes should hash to.
    """

    def __init__(self, store: Store, parts: Parts, expected: Mapping[str, Expected]) -> None:
        super().__init__(store.settings)
        self._store = store
        self._parts = parts
        self._expected = expected
        self._layers: dict[str, Layer] = {}

    def list(self, prefix: str) -> Iterator[Artifact]:
        """As the store itself."""
        return self._store.list(prefix)

    def stat(self, key: str) -> Artifact | None:
        """As the store itself."""
        return self._store.stat(key)

    def where(self, key: str = "") -> str:
        """As the store itself."""
        return self._store.where(key)

    def open(self, artifact: Artifact) -> Iterator[bytes]:
        """The bytes of all parts, one after the other."""
        if artifact.key != self._parts.whole.key:
            yield from self._store.open(artifact)
            return
        for part in self._parts.parts:
            yield from self._read(part)

    def _read(self, part: Artifact) -> Iterator[bytes]:
        expected = self._expected.get(part.key)
        hashers = {name: new(name) for name in (expected.algorithms if expected else ())}
        watch = [*(hasher.update for hasher in hashers.values()), *(expected.watch if expected else ())]
        size = 0
        for chunk in self._store.open(part):
            size += len(chunk)
            for update in watch:
                update(chunk)
            yield chunk
        if part.size not in (-1, size):
            raise BackupFailed(
                f"{size} of {part.size} bytes of {part.name} arrived",
                looked_at=self._store.where(part.key),
                remedy="It is being replaced or was cut: run the drill again, and check the upload.",
                stage=Stage.FETCH,
            )
        digests = {name: hasher.hexdigest() for name, hasher in hashers.items()}
        self._layers[part.key] = Layer((part.name,), size=size, digests=digests, whole=True)

    def compared(self, *, broken: bool) -> Iterator[tuple[Artifact, Sequence[DigestCheck]]]:
        """Each part of which something is recorded, with what became of that."""
        for part in self._parts.parts:
            expected = self._expected.get(part.key)
            if expected and expected.recorded.is_there:
                layer = self._layers.get(part.key) or Layer((part.name,))
                yield part, expected.compare([layer], broken=broken)


def recorded_of(store: Store, parts: Parts, rule: ChecksumRule, find: Find) -> dict[str, recorded.Recorded]:
    """What is recorded of each part, by its key; empty when nothing is recorded of the first one.

    Beside the usual places, a sidecar of the joined name may list the parts: ``sha256sum name.part-* > name.sha256``.

    Raises:
        BackupFailed: What should hold it is malformed (stage ``verify``).
    """
    if not parts.parts:
        return {}
    first = find(parts.parts[0])
    if not first.is_there:
        listed = _listed_by_sidecar(store, parts, rule)
        if listed is None:
            return {}
        find = listed
    return {part.key: find(part) for part in parts.parts}


def _listed_by_sidecar(store: Store, parts: Parts, rule: ChecksumRule) -> Find | None:
    if rule.manifest or rule.sidecar or rule.provider:
        return None
    for suffix in SIDECAR_SUFFIXES:
        key = f"{parts.whole.key}{suffix}"
        if store.stat(key) is not None:
            stated = rule.model_copy(update={"manifest": key})
            if recorded.find(store, parts.parts[0], stated).digest is not None:
                return lambda part: recorded.find(store, part, stated)
    return None


def listed(store: Store, found: Mapping[str, recorded.Recorded], rule: ChecksumRule) -> tuple[str, ...]:
    """Keys that stand in the lists which the digests of parts come from: what must be there.

    Raises:
        BackupFailed: Such a list is malformed (stage ``verify``).
    """
    keys: list[str] = []
    for key in dict.fromkeys(each.key for each in found.values() if each.key):
        if len([each for each in found.values() if each.key == key]) == 1 and len(found) > 1:
            continue  # a sidecar of one part
        base = key.rpartition("/")[0]
        hint = canonical(rule.algorithm or "") or algorithm_of_name(key)
        lines = parse_manifest(decode(store.read_small(key) or b""), hint)
        keys += [f"{base}/{line.name}" if base else line.name for line in lines]
    return tuple(keys)
