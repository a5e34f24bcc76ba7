"""One directory a snapshot on a mounted disk: what ``rsync --link-dest`` and its relatives leave.

The digest of a generation is the manifest inside it (``SHA256SUMS``): its files are copied into the quarantine first
and hashed there, so that the bytes that were judged are the bytes that are restored.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.checksums import MANIFEST_NAMES
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Payload, PayloadForm, Snapshot, Stage
from restore_drill.repositories import chain, points
from restore_drill.repositories.base import DigestCheck, Repository, Staging, Survey, Transfer, Unfinished, Unreadable

#: How scripts name a directory while they fill it.
_TEMPORARY = re.compile(r"(?P<name>.+?)\.(?:tmp|temp|part|partial|incomplete|inprogress)", re.DOTALL)
_PREFIXES = ("incomplete-", "incomplete_", ".incomplete-", "in-progress-", ".")


class GenerationRepository(Repository):
    """Directories below a ``file:`` store whose names match the copy's pattern."""

    name: ClassVar[str] = "generations"

    def survey(self, wanted: str = "") -> Survey:
        """Look at the directories as deep as the pattern goes; nothing inside a generation is listed."""
        return points.survey(self._snapshots, wanted)

    def _snapshots(self, survey: Survey) -> Iterator[Snapshot]:
        resolution = self.copy.pattern.resolution
        for artifact in self._directories(survey):
            survey.listed += 1
            match = self.copy.pattern.match(artifact.key, near=artifact.modified)
            if self._note_unfinished(artifact, survey) or match is None:
                continue
            yield Snapshot(
                match.taken_at, (artifact,), match.kind, resolution, match.sequence, ambiguous=match.ambiguous
            )

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
        """A link to the newest generation that does not point here yet, or (while settling) a missing manifest."""
        latest = self.copy.model.latest
        if latest:
            target = self._link_target(latest, snapshot)
            if target is None:
                return f"the link {latest} is missing"
            match = self.copy.pattern.match(target)
            if target != snapshot.main.key and (match is None or match.taken_at < snapshot.taken_at):
                return f"the link {latest} still points to {target.rstrip('/')}"
        if settling and self._needs_manifest() and self._manifest_name(snapshot) is None:
            return "its manifest is not there yet"
        return None

    def _link_target(self, latest: str, snapshot: Snapshot) -> str | None:
        """The key that a link points to; one that leads elsewhere counts by its name, beside the snapshot."""
        root = self._root()
        try:
            text = (root / latest).readlink()
        except OSError:
            return None
        for base in (str(root), os.path.realpath(root)):
            target = os.path.normpath(Path(base, latest).parent / text)  # by name: what it points to may be gone
            if target.startswith(f"{base}/"):
                return f"{os.path.relpath(target, base)}/"
        return f"{snapshot.main.key.removesuffix(f'{snapshot.main.name}/')}{text.name}/"

    @property
    def _is_pinned(self) -> bool:
        return self.copy.checksum.mode == "pinned" or self.model.frozen

    def _needs_manifest(self) -> bool:
        return self.copy.checksum.mode != "pinned"

    def _manifest_name(self, snapshot: Snapshot) -> str | None:
        names = [self.copy.checksum.manifest] if self.copy.checksum.manifest else list(MANIFEST_NAMES)
        generation = self._root() / snapshot.main.key
        return next((name for name in names if (generation / name).is_file()), None)

    def fetch(self, snapshot: Snapshot, staging: Staging) -> Transfer:
        """Copy every generation of the chain into the quarantine, and compare it there with its manifest."""
        transfer = Transfer(plain=snapshot.main.name)
        started = time.monotonic()
        # A files case sees the final tree: only where that is one generation is its manifest the tree's.
        deferred = staging.files_judged and not snapshot.parents
        for position, link in enumerate([*snapshot.parents, snapshot]):
            self._fetch_link(link, staging.quarantine / str(position), staging, transfer, deferred=deferred)
            if transfer.broken:
                break
        transfer.seconds = time.monotonic() - started - transfer.verify_seconds
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
        if staging.advance:
            staging.advance(int(found["bytes"]))

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
            looked = self.copy.checksum.manifest or ", ".join(MANIFEST_NAMES[:2])
            transfer.absent.append(f"{snapshot.main.name}: looked for {looked} inside it")
            return
        try:
            found = staging.sandbox.call(
                "restore_drill.engines.files_probe:hash_tree",
                {"root": str(root), "manifest": manifest, "threads": staging.threads}
                | ({} if deferred else {"ignore": self._unlisted()}),
                deadline=max(1.0, staging.until - time.monotonic()),
            )
        except BackupFailed as problem:
            transfer.unusable = problem
            return
        except RestoreDrillError as problem:
            transfer.broken[Stage.VERIFY] = problem
            return
        self._compare(transfer, snapshot, manifest, found, deferred=deferred)

    def _unlisted(self) -> list[str]:
        """Globs of files that the manifest need not list."""
        rule = self.model.expect.files
        return list(rule.manifest_ignore) if rule else []

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
