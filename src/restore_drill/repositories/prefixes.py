"""One prefix a snapshot on a store of objects: what ``aws s3 sync``, ``rclone copy`` and their relatives leave.

Everything below the prefix is read in one pass and becomes a tree in the quarantine, as if the directory that it was
made of had been there; objects come back as they are stored, nothing is decoded. On the way to the sandbox it is a tar
stream made here, so that names, limits and the tree digest are judged by what judges archives: a key never becomes a
path of ours, and what could lead out of the tree is refused there.

The digest is a manifest inside the prefix (``SHA256SUMS``), or a digest beside each object where the catalogue names
one (``checksum: {sidecar: "{name}.sha256"}``).
"""

from __future__ import annotations

import tarfile
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.catalogue.models import ChecksumRule
from restore_drill.checksums import decode, parse_manifest
from restore_drill.digests import new
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Snapshot, Stage
from restore_drill.patterns import Match
from restore_drill.repositories import points, recorded
from restore_drill.repositories.base import KEPT, DigestCheck, Staging, Survey, Transfer, Unreadable
from restore_drill.repositories.folders import Folders
from restore_drill.repositories.generations import GenerationRepository
from restore_drill.stores.base import Store

#: Objects of at most this many bytes are read ahead by several connections, where the store has them.
_SMALL = 1 << 20
_BLOCK = 512


class PrefixRepository(GenerationRepository):
    """Prefixes of any store whose names match the copy's pattern."""

    name: ClassVar[str] = "prefixes"

    def survey(self, wanted: str = "") -> Survey:
        """List every object under the pattern's literal beginning; of a snapshot only its sums are kept."""
        self._folders = Folders(self.copy)
        survey = points.survey(self._snapshots, wanted, points.Sets)
        self._folders.note_absent(survey)
        return survey

    def every(self) -> list[Snapshot]:
        """As :meth:`survey`."""
        self._folders = Folders(self.copy)
        return points.every(self._snapshots, points.Sets)

    def _snapshots(self, survey: Survey) -> Iterator[Snapshot]:
        pattern = self.copy.pattern
        depth = pattern.text.rstrip("/").count("/") + 1
        filling: dict[str, Artifact] = {}
        last: tuple[str, Match | None] = ("", None)
        for artifact in self.store.list(pattern.prefix):
            survey.listed += 1
            head = artifact.key.split("/", depth)
            if len(head) <= depth:
                self._folders.note(artifact, is_own=False)
                self._note_object(artifact, survey)
                continue
            key = f"{'/'.join(head[:depth])}/"
            if key != last[0]:
                last = key, pattern.match(key, near=artifact.modified)
            match, whole = last[1], Artifact(key, artifact.size, artifact.modified)
            self._folders.note(whole, is_own=match is not None)
            if match is None:
                _gather(filling, whole)
                continue
            taken_at = match.taken_at
            yield Snapshot(taken_at, (whole,), match.kind, pattern.resolution, match.sequence, (), match.ambiguous)
        for whole in filling.values():
            self._note_unfinished(whole, survey)

    def _note_object(self, artifact: Artifact, survey: Survey) -> None:
        match = self.copy.pattern.match(f"{artifact.key}/", near=artifact.modified)
        if match is not None and "{any}" not in self.copy.pattern.text:
            what = "an object of that very name and no prefix"
            survey.note_unreadable(Unreadable(artifact.name, match.taken_at, artifact.modified, what))

    def unfinished(self, snapshot: Snapshot, *, settling: bool) -> str | None:
        """As for a directory; while it is settling also objects that its manifest lists and that are not there yet."""
        why = super().unfinished(snapshot, settling=settling)
        if why or not settling or self.copy.model.complete_when:
            return why
        manifest = self._manifest_name(snapshot) if self._needs_manifest() else None
        if manifest is None:
            return "further objects may follow until it has settled"
        return self._not_there_yet(snapshot, manifest)

    def _not_there_yet(self, snapshot: Snapshot, manifest: str) -> str | None:
        """Uploads go by name, and ``SHA256SUMS`` comes before ``etc/``: a manifest alone is no sign of completion."""
        key = snapshot.main.key
        try:
            raw = self.store.read_small(f"{key}{manifest}") or b""
            names = {line.name for line in parse_manifest(decode(raw))}
        except BackupFailed:
            return None  # it cannot be used, and the checksum case will say why
        listed = len(names)
        for artifact in self.store.list(key):
            names.discard(artifact.key.removeprefix(key))
        return f"{len(names)} of {listed} files of {manifest} are not there yet" if names else None

    @property
    def _by_sidecar(self) -> bool:
        return self.copy.checksum.sidecar is not None

    def _needs_manifest(self) -> bool:
        return super()._needs_manifest() and not self._by_sidecar

    def _has(self, key: str) -> bool:
        return self.store.stat(key) is not None

    def _exists(self, key: str) -> bool:
        return next(iter(self.store.list(key)), None) is not None

    def _fetch_link(self, link: Snapshot, root: Path, staging: Staging, transfer: Transfer, *, deferred: bool) -> None:
        super()._fetch_link(link, root, staging, transfer, deferred=deferred)
        if self._by_sidecar and not transfer.broken and not staging.discard:
            self._objects.judge(transfer)

    def _copy(self, snapshot: Snapshot, staging: Staging, root: Path) -> dict[str, Any]:
        rule = self.copy.checksum if self._by_sidecar else None
        limits, self._objects = self.model.limits, _Objects(self.store, snapshot, staging, rule)
        objects = self._objects
        arguments = {
            "archive": "tar",
            "root": str(root),
            "limits": {
                "members": limits.members,
                "bytes": limits.bytes,
                "ratio": limits.ratio,
                "allow": list(limits.allow),
            },
            "digest": staging.tree_digest or staging.discard or self._is_pinned,
            "discard": staging.discard,
            "reserve": staging.reserve,
        }
        deadline = max(1.0, staging.until - time.monotonic())
        try:
            facts: dict[str, Any] = staging.sandbox.call(
                "restore_drill.archives.unpack:unpack_tree", arguments, deadline=deadline, feed=objects.chunks()
            )
        except RestoreDrillError:
            if objects.failure is not None:  # whatever the sandbox made of a stream that broke off
                raise objects.failure from None
            raise
        facts.pop("archive_bytes", None)
        return {**facts, "objects": objects.count}


def _gather(filling: dict[str, Artifact], whole: Artifact) -> None:
    """Remember a prefix of another name, as new as its newest object; of many the newest are kept."""
    known = filling.get(whole.key)
    if known is None or whole.modified > known.modified:
        filling[whole.key] = whole
    if len(filling) > 4 * KEPT:
        newest = sorted(filling.values(), key=lambda each: each.modified, reverse=True)[: 2 * KEPT]
        filling.clear()
        filling.update((each.key, each) for each in newest)


@dataclass(slots=True)
class _Objects:
    """Everything below one prefix, as a tar stream.

    Attributes:
        rule: Where each object's own digest is, or ``None`` where they have none.
        failure: Why the stream broke off.
        verified: How many objects had the bytes that were recorded, by algorithm.
    """

    store: Store
    snapshot: Snapshot
    staging: Staging
    rule: ChecksumRule | None = None
    count: int = 0
    failure: RestoreDrillError | None = None
    verified: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    unusable: RestoreDrillError | None = None

    def chunks(self) -> Iterator[bytes]:
        """The stream; to be read once."""
        try:
            yield from self._members()
        except RestoreDrillError as problem:
            self.failure = problem
            raise

    def _members(self) -> Iterator[bytes]:
        with closing(self._read()) as objects:
            for artifact, chunks in objects:
                if artifact.size < 0:
                    raise CouldNotVerify(
                        "the store does not say how large an object is before it is read",
                        looked_at=self.store.where(self.snapshot.main.key),
                        remedy="Keep the snapshot as one archive in a store of this kind.",
                        stage=Stage.FETCH,
                    )
                self.count += 1
                yield _header(artifact, self._name(artifact))
                yield from self._content(artifact, chunks)
        if not self.count:
            raise BackupFailed(
                "no object of the snapshot is there any more",
                looked_at=self.store.where(self.snapshot.main.key),
                remedy="It was pruned while the drill began: run the drill again.",
                stage=Stage.FETCH,
            )
        yield bytes(2 * _BLOCK)

    def _name(self, artifact: Artifact) -> str:
        name = artifact.key.removeprefix(self.snapshot.main.key)
        if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise BackupFailed(
                "an object's key leads to no place below its snapshot",
                looked_at=self.store.where(self.snapshot.main.key),
                remedy="No such key comes from copying a directory: find out what wrote it.",
                stage=Stage.UNPACK,
                details=(self.store.where(artifact.key),),
            )
        return name

    def _content(self, artifact: Artifact, chunks: Iterator[bytes]) -> Iterator[bytes]:
        line = self._recorded(artifact)
        hasher = new(line.algorithm) if line else None
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > artifact.size:
                break
            if hasher:
                hasher.update(chunk)
            if self.staging.advance:
                self.staging.advance(len(chunk))
            yield chunk
        if size != artifact.size:
            raise BackupFailed(
                "an object is being replaced, or was cut: other bytes arrived than were listed",
                looked_at=self.store.where(self.snapshot.main.key),
                remedy="Run the drill again, and check the upload.",
                stage=Stage.FETCH,
                details=(self.store.where(artifact.key),),
            )
        if line and hasher:
            if hasher.hexdigest() == line.hexdigest:
                self.verified[line.algorithm] = self.verified.get(line.algorithm, 0) + 1
            else:
                self.wrong.append(self.store.where(artifact.key))
        yield bytes(-size % _BLOCK)

    def _recorded(self, artifact: Artifact) -> Any:
        suffix = (self.rule.sidecar or "").removeprefix("{name}") if self.rule else ""
        if self.rule is None or artifact.key.endswith(suffix):
            return None
        try:
            line = recorded.find(self.store, artifact, self.rule).digest
        except BackupFailed as problem:
            self.unusable = self.unusable or problem
            return None
        if line is None:
            self.bare.append(self.store.where(artifact.key))
            del self.bare[KEPT:]
        return line

    def _read(self) -> Generator[tuple[Artifact, Iterator[bytes]], None, None]:
        """Each object and its bytes, in the order of the listing; small ones are read ahead by several connections."""
        connections = self.store.settings.ranges if self.store.reads_ranges else 1
        listing = self.store.list(self.snapshot.main.key)
        if connections <= 1:
            for artifact in listing:
                yield artifact, self.store.open(artifact)
            return
        ahead: deque[tuple[Artifact, Future[list[bytes]] | None]] = deque()
        with ThreadPoolExecutor(connections, "restore-drill-prefix") as pool:
            try:
                for artifact in listing:
                    is_small = 0 <= artifact.size <= _SMALL
                    ahead.append((artifact, pool.submit(self._whole, artifact) if is_small else None))
                    if len(ahead) > 2 * connections:
                        yield self._next(ahead)
                while ahead:
                    yield self._next(ahead)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _next(self, ahead: deque[tuple[Artifact, Future[list[bytes]] | None]]) -> tuple[Artifact, Iterator[bytes]]:
        artifact, future = ahead.popleft()
        return artifact, iter(future.result()) if future else self.store.open(artifact)

    def _whole(self, artifact: Artifact) -> list[bytes]:
        return list(self.store.open(artifact))

    def judge(self, transfer: Transfer) -> None:
        """Say what comparing each object with its own digest gave."""
        name, where = self.snapshot.main.name, self.store.where(self.snapshot.main.key)
        good, wrong = sum(self.verified.values()), len(self.wrong)
        transfer.unusable = transfer.unusable or self.unusable
        if self.bare or not good + wrong:
            transfer.absent.append(f"{name}: {len(self.bare)} or more objects have none beside them")
        for algorithm in sorted(self.verified) or (["sha256"] if wrong else []):
            expected, actual = f"{good + wrong} objects by their sidecars", f"{good} objects by their sidecars"
            transfer.digests.append(DigestCheck(name, where, algorithm, expected, "tree", actual))
        if wrong:
            transfer.broken[Stage.VERIFY] = BackupFailed(
                f"{wrong} of {good + wrong} objects differ from the digests beside them",
                looked_at=where,
                remedy="They changed after the backup was made: use another copy or snapshot. Their names are on the "
                "terminal.",
                stage=Stage.VERIFY,
                details=tuple(self.wrong[:KEPT]),
            )


def _header(artifact: Artifact, name: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = artifact.size, max(0, int(artifact.modified)), 0o644
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
