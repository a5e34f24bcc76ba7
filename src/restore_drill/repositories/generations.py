"""One directory a snapshot on a mounted disk: what ``rsync --link-dest`` and its relatives leave.

The digest of a generation is the manifest inside it (``SHA256SUMS``, or one of another format): its files are copied
into the quarantine first and hashed there, so that the bytes that were judged are the bytes that are restored.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.manifests.base import usual_names
from restore_drill.model import Artifact, Payload, PayloadForm, Snapshot, Stage
from restore_drill.repositories import chain, pointers, points, signed
from restore_drill.repositories.base import (
    DigestCheck,
    Repository,
    Staging,
    Survey,
    Transfer,
    Unfinished,
    Unreadable,
    name_pins,
)
from restore_drill.repositories.counts import read_counts
from restore_drill.repositories.folders import Folders
from restore_drill.repositories.recorded import fill

#: How scripts name a directory while they fill it.
_TEMPORARY = re.compile(r"(?P<name>.+?)\.(?:tmp|temp|part|partial|incomplete|inprogress)", re.DOTALL)
_PREFIXES = ("incomplete-", "incomplete_", ".incomplete-", "in-progress-", ".")


class GenerationRepository(Repository):
    """Directories below a ``file:`` store whose names match the copy's pattern."""

    name: ClassVar[str] = "generations"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._folders = Folders(self.copy)

    def survey(self, wanted: str = "") -> Survey:
        """Look at the directories as deep as the pattern goes; nothing inside a generation is listed."""
        self._folders = Folders(self.copy)
        survey = points.survey(self._snapshots, wanted)
        self._folders.note_absent(survey)
        return survey

    def every(self) -> list[Snapshot]:
        """As :meth:`survey`."""
        self._folders = Folders(self.copy)
        return points.every(self._snapshots)

    def _snapshots(self, survey: Survey) -> Iterator[Snapshot]:
        resolution = self.copy.pattern.resolution
        for artifact in self._directories(survey):
            survey.listed += 1
            match = self.copy.pattern.match(artifact.key, near=artifact.modified)
            is_unfinished = self._note_unfinished(artifact, survey)
            self._folders.note(artifact, is_own=match is not None or is_unfinished)
            if is_unfinished or match is None:
                continue
            if match.rotation is None:
                taken_at = match.taken_at
            else:
                taken_at, resolution = self._written(artifact), timedelta(seconds=1)
            yield Snapshot(
                taken_at, (artifact,), match.kind, resolution, match.sequence, (), match.ambiguous, match.rotation
            )

    def _written(self, artifact: Artifact) -> datetime:
        """When a rotation was made: rsnapshot(1) sets its directory's time then, and renaming it leaves that alone."""
        try:
            written = (self._root() / artifact.key).stat().st_mtime
        except FileNotFoundError:  # it was renamed just now
            written = artifact.modified
        return datetime.fromtimestamp(min(written, artifact.modified), UTC)

    def _root(self) -> Path:
        root = self.store.local_path("")
        if root is None:
            raise CouldNotVerify(
                "directory generations can be read on a mounted disk only",
                looked_at=self.store.where(),
                remedy="Give the store a file: url, or keep the generations as archives.",
                stage=Stage.LOCATE,
            )
        if not root.is_dir():
            raise CouldNotVerify(
                "the store's directory does not exist",
                looked_at=str(root),
                remedy="Check that the disk is mounted.",
                stage=Stage.LOCATE,
            )
        return root

    def _directories(self, survey: Survey) -> Iterator[Artifact]:
        pattern = self.copy.pattern
        depth = pattern.text.rstrip("/").count("/")

        def note(entry: os.DirEntry[str], key: str) -> None:
            is_file = entry.is_file(follow_symlinks=False)
            if is_file and (beside := _look_at(entry, key.rstrip("/"))):
                self._folders.note(beside, is_own=False)
            if "{any}" in pattern.text and is_file:
                return  # a log beside its generation, say
            if (status := _status(entry)) and (match := pattern.match(key, near=status.st_ctime)):
                what = "a symbolic link" if entry.is_symlink() else "a file" if is_file else "a device, FIFO or socket"
                survey.note_unreadable(
                    Unreadable(entry.name, match.taken_at, status.st_ctime, f"{what} and no directory")
                )

        yield from _descend(self._root(), "", pattern.prefix, depth, note)

    def _note_unfinished(self, artifact: Artifact, survey: Survey) -> bool:
        """Whether a directory has the name of one that is being filled and will match."""
        directory, _, name = artifact.key.rstrip("/").rpartition("/")
        base = f"{directory}/" if directory else ""
        candidates = [name[len(prefix) :] for prefix in _PREFIXES if name.startswith(prefix)]
        candidates += [found["name"]] if (found := _TEMPORARY.fullmatch(name)) else []
        for candidate in candidates:
            match = self.copy.pattern.match(f"{base}{candidate}/")
            if match:
                why = "it has the name of a generation being written"
                survey.note_unfinished(Unfinished(artifact.name, match.taken_at, artifact.modified, why))
                return True
        return False

    def unfinished(self, snapshot: Snapshot, *, settling: bool) -> str | None:
        """A missing marker, a ``latest`` that does not point here yet, or (while settling) a missing manifest."""
        marker = self._marker(snapshot)
        if marker and not self._has(marker):
            return f"its marker {fill(self.copy.model.complete_when or '', snapshot.main.name)} is missing"
        if why := pointers.problem(self.store, self.copy, snapshot, self._exists):
            return why
        if settling and self._needs_manifest() and self._manifest_name(snapshot) is None:
            return "its manifest is not there yet"
        return None

    def _marker(self, snapshot: Snapshot) -> str:
        """The key of the object that says that a snapshot is complete, ``""`` when none is asked for."""
        template = self.copy.model.complete_when
        beside = snapshot.main.key.removesuffix(f"{snapshot.main.name}/")
        return beside + fill(template, snapshot.main.name) if template else ""

    def _marker_inside(self, snapshot: Snapshot) -> str:
        """Where the marker lies inside the snapshot, ``""`` when it does not: no manifest can list it."""
        marker, key = self._marker(snapshot), snapshot.main.key
        return marker.removeprefix(key) if marker.startswith(key) else ""

    def _has(self, key: str) -> bool:
        return (self._root() / key).is_file()

    def _exists(self, key: str) -> bool:
        return (self._root() / key).is_dir()

    @property
    def _is_pinned(self) -> bool:
        return self.copy.checksum.mode == "pinned" or self.model.frozen

    def _needs_manifest(self) -> bool:
        return self.copy.checksum.mode != "pinned"

    def _manifest_name(self, snapshot: Snapshot) -> str | None:
        names = [self.copy.checksum.manifest] if self.copy.checksum.manifest else list(usual_names())
        return next((name for name in names if self._has(f"{snapshot.main.key}{name}")), None)

    def recorded_counts(self, snapshot: Snapshot) -> Mapping[str, int] | None:
        """The JSON object of counts beside (or in) the generation that ``expect.files.recorded`` names."""
        template = self.model.expect.recorded
        if not template:
            return None
        directory = snapshot.main.key.rstrip("/").rpartition("/")[0]
        name = fill(template, snapshot.main.name)
        return read_counts(self.store, f"{directory}/{name}" if directory else name)

    def fetch(self, snapshot: Snapshot, staging: Staging) -> Transfer:
        """Copy every generation of the chain into the quarantine, and compare it there with its manifest."""
        transfer = Transfer(plain=snapshot.main.name)
        started = time.monotonic()
        # A files case sees the final tree: only where that is one generation is its manifest the tree's.
        is_plain = not self._marker_inside(snapshot) and not self.copy.checksum.signature
        deferred = staging.files_judged and not snapshot.parents and is_plain
        for position, link in enumerate([*snapshot.parents, snapshot]):
            self._fetch_link(link, staging.quarantine / str(position), staging, transfer, deferred=deferred)
            if transfer.broken:
                break
        transfer.seconds = time.monotonic() - started - transfer.verify_seconds
        name_pins(transfer, snapshot, self.copy.pattern.text)
        if problem := chain.problem(snapshot):
            transfer.broken.setdefault(Stage.CHAIN, problem)
        return transfer

    def _fetch_link(self, link: Snapshot, root: Path, staging: Staging, transfer: Transfer, *, deferred: bool) -> None:
        try:
            found = self._copy(link, staging, root)
        except RestoreDrillError as problem:
            transfer.broken[problem.stage or Stage.FETCH] = problem
            return
        self._note(transfer, link, found, root)
        if self._needs_manifest() and not staging.discard:
            started = time.monotonic()
            self._verify(transfer, link, staging, root, deferred=deferred)
            transfer.verify_seconds += time.monotonic() - started

    def _copy(self, snapshot: Snapshot, staging: Staging, root: Path) -> dict[str, Any]:
        limits = self.model.limits
        facts: dict[str, Any] = staging.sandbox.call(
            "restore_drill.archives.copying:copy_generation",
            {
                "source": str(self._root() / snapshot.main.key),
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
                "threads": staging.threads,
            },
            deadline=max(1.0, staging.until - time.monotonic()),
        )
        if staging.advance:
            staging.advance(int(facts["bytes"]))
        return facts

    def _note(self, transfer: Transfer, snapshot: Snapshot, found: dict[str, Any], root: Path) -> None:
        digest, size = str(found.get("digest") or ""), int(found["bytes"])
        transfer.unpack = transfer.unpack or {key: value for key, value in found.items() if key != "digest"}
        transfer.stored_bytes += size
        transfer.content_bytes += size
        transfer.payloads.append(Payload(PayloadForm.TREE, root, "directory", size, digest))
        layer = {"format": "directory", "size": size, "whole": True, "sha256": digest}
        transfer.artifacts.append({"key": snapshot.main.key, "size": size, "sha256": digest, "layers": [layer]})

    def _verify(self, transfer: Transfer, snapshot: Snapshot, staging: Staging, root: Path, *, deferred: bool) -> None:
        manifest = self._manifest_name(snapshot)
        transfer.manifest = (manifest or self.copy.checksum.manifest or "") if deferred else ""
        if manifest is None:
            looked = self.copy.checksum.manifest or ", ".join(usual_names()[:2])
            transfer.absent.append(f"{snapshot.main.name}: looked for {looked} inside it")
            return
        if rule := self.copy.checksum.signature:
            signing = signed.of_file(self.store, rule, f"{snapshot.main.key}{manifest}", signed.pieces(root, manifest))
            signed.note(transfer, signing)
            if signing.is_wrong:
                return
        try:
            found = staging.sandbox.call(
                "restore_drill.engines.files_probe:hash_tree",
                {"root": str(root), "manifest": manifest, "threads": staging.threads}
                | ({} if deferred else {"ignore": self._unlisted(snapshot, manifest)}),
                deadline=max(1.0, staging.until - time.monotonic()),
            )
        except BackupFailed as problem:
            transfer.unusable = problem
            return
        except RestoreDrillError as problem:
            transfer.broken[Stage.VERIFY] = problem
            return
        self._compare(transfer, snapshot, manifest, found, deferred=deferred)

    def _unlisted(self, snapshot: Snapshot, manifest: str) -> list[str]:
        """Globs of files that the manifest need not list."""
        rule, marker = self.model.expect.files, self._marker_inside(snapshot)
        own = [escape(name) for name in (marker, self._signature_name(snapshot, manifest)) if name]
        return [*(rule.manifest_ignore if rule else ()), *own]

    def _signature_name(self, snapshot: Snapshot, manifest: str) -> str:
        """Where the signature of the manifest lies inside the snapshot, ``""`` when there is none: nothing lists it."""
        rule = self.copy.checksum.signature
        names = [name for name, _ in signed.keys(rule, manifest, decoded=False)] if rule else []
        return next((name for name in names if self._has(f"{snapshot.main.key}{name}")), "")

    def _compare(
        self, transfer: Transfer, snapshot: Snapshot, manifest: str, found: dict[str, Any], *, deferred: bool
    ) -> None:
        """Files that differ break the stage; so do missing and extra ones, unless that is deferred to a files case."""
        where = self.store.where(f"{snapshot.main.key}{manifest}")
        hashed = found["verified"] + found["mismatched"]
        transfer.digests.append(
            DigestCheck(
                artifact=snapshot.main.name,
                source=where,
                algorithm=str(found.get("algorithm", "sha256")),
                expected=f"{hashed} files of {manifest}",
                layer="tree",
                actual=f"{found['verified']} files of {manifest}",
                notes=list(found.get("notes", [])),
            )
        )
        for stage, cause, remedy in _differences(found, manifest, deferred=deferred):
            details = tuple(found.get("details", ()))
            transfer.broken[stage] = BackupFailed(
                cause,
                looked_at=where,
                remedy=f"{remedy} Their names are on the terminal.",
                stage=stage,
                details=details,
            )


def _differences(found: Mapping[str, Any], manifest: str, *, deferred: bool) -> Iterator[tuple[Stage, str, str]]:
    """What of a comparison with a manifest breaks a stage: the stage, the cause and what to do."""
    hashed = found["verified"] + found["mismatched"]
    incomplete = "The generation is not whole: use another copy or generation."
    if deferred and not hashed:
        yield Stage.VERIFY, f"none of the {found['listed']} files of {manifest} is there to be verified", incomplete
    elif found["missing"] and not deferred:
        yield Stage.FETCH, f"{found['missing']} of {found['listed']} files of {manifest} are missing", incomplete
    if found["mismatched"]:
        remedy = "They changed after the backup was made: use another copy or generation."
        yield Stage.VERIFY, f"{found['mismatched']} of {hashed} files differ from {manifest}", remedy
    elif found["extra"] and not deferred:
        remedy = "Find out what put them there, or have the backup job list every file of the generation."
        yield Stage.VERIFY, f"{found['extra']} files are not in {manifest}, so that nothing verifies them", remedy


def _descend(
    root: Path, key: str, prefix: str, depth: int, odd: Callable[[os.DirEntry[str], str], None]
) -> Iterator[Artifact]:
    """Directories ``depth`` levels further down whose keys can begin with the prefix; links are not followed.

    What else stands there is told to ``odd``.
    """
    try:
        with os.scandir(root / key) as entries:
            for entry in entries:
                inner = f"{key}{entry.name}/"
                if not (inner.startswith(prefix) or prefix.startswith(inner)):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    if not depth:
                        odd(entry, inner)
                elif depth:
                    yield from _descend(root, inner, prefix, depth - 1, odd)
                elif (artifact := _look_at(entry, inner)) is not None:
                    yield artifact
    except FileNotFoundError:
        return  # nothing was ever backed up below this literal part (located says so), or it was pruned just now
    except OSError as problem:
        raise CouldNotVerify(
            f"the store cannot be listed: {problem.strerror}",
            looked_at=str(root / key),
            remedy="Give this user read permission, or run the drill as one that has it.",
            stage=Stage.LOCATE,
        ) from problem


def _look_at(entry: os.DirEntry[str], key: str) -> Artifact | None:
    """A generation, or ``None`` when it was pruned since it was listed."""
    # ctime: rsync -a gives a generation the modification time of its source, which is older than its name.
    return Artifact(key, -1, status.st_ctime) if (status := _status(entry)) else None


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
