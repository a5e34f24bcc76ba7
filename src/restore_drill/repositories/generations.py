"""One directory a snapshot on a mounted disk: what ``rsync --link-dest`` and its relatives leave.

The digest of a generation is the manifest inside it (``SHA256SUMS``): its files are copied into the quarantine first
and hashed there, so that the bytes that were judged are the bytes that are restored.
"""

from __future__ import annotations

import heapq
import os
import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.checksums import MANIFEST_NAMES
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Payload, PayloadForm, Snapshot, Stage
from restore_drill.repositories import chain
from restore_drill.repositories.base import KEPT, DigestCheck, Repository, Staging, Survey, Transfer, Unfinished

#: How scripts name a directory while they fill it.
_TEMPORARY = re.compile(r"(?P<name>.+?)\.(?:tmp|temp|part|partial|incomplete|inprogress)/|(?P<prefixed>.+)/")
_PREFIXES = ("incomplete-", "incomplete_", ".incomplete-", "in-progress-", ".")


class GenerationRepository(Repository):
    """Directories below a ``file:`` store whose names match the copy's pattern."""

    name: ClassVar[str] = "generations"

    def survey(self, wanted: str = "") -> Survey:
        """Look at the directories as deep as the pattern goes; nothing inside a generation is listed."""
        survey = Survey()
        newest: list[tuple[float, int, Snapshot]] = []
        order = count()
        for artifact in self._directories():
            survey.listed += 1
            match = self.copy.pattern.match(artifact.key, near=artifact.modified)
            if match is None:
                self._note_unfinished(artifact, survey)
                continue
            resolution = self.copy.pattern.resolution
            snapshot = Snapshot(
                match.taken_at, (artifact,), match.kind, resolution, match.sequence, ambiguous=match.ambiguous
            )
            survey.times.append(match.taken_at.timestamp())
            heapq.heappush(newest, (match.taken_at.timestamp(), next(order), snapshot))
            if len(newest) > KEPT:
                heapq.heappop(newest)
            if wanted and wanted in (snapshot.id, artifact.key, artifact.name):
                survey.wanted = snapshot
        survey.times = type(survey.times)("d", sorted(survey.times))
        survey.newest = chain.link([snapshot for *_, snapshot in sorted(newest, reverse=True)])
        return survey

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

    def _directories(self) -> Iterator[Artifact]:
        depth = self.copy.pattern.text.rstrip("/").count("/")
        yield from _descend(self._root(), "", self.copy.pattern.prefix, depth)

    def _note_unfinished(self, artifact: Artifact, survey: Survey) -> None:
        directory, _, name = artifact.key.rstrip("/").rpartition("/")
        base = f"{directory}/" if directory else ""
        candidates = [name[len(prefix) :] for prefix in _PREFIXES if name.startswith(prefix)]
        found = _TEMPORARY.fullmatch(f"{name}/")
        candidates += [found["name"]] if found and found["name"] else []
        for candidate in candidates:
            match = self.copy.pattern.match(f"{base}{candidate}/")
            if match:
                why = "it has the name of a generation being written"
                survey.unfinished.append(Unfinished(artifact.name, match.taken_at, artifact.modified, why))
                return

    def unfinished(self, snapshot: Snapshot, *, settling: bool) -> str | None:
        """A link to the newest generation that does not point here yet, or (while settling) a missing manifest."""
        latest = self.copy.model.latest
        if latest:
            name = snapshot.main.name
            target = self._link_target(latest)
            if target is None:
                return f"the link {latest} is missing"
            if target != name and self._is_older(target, snapshot):
                return f"the link {latest} still points to {target}"
        if settling and self._needs_manifest() and self._manifest_name(snapshot) is None:
            return "its manifest is not there yet"
        return None

    def _link_target(self, latest: str) -> str | None:
        try:
            return (self._root() / latest).readlink().name
        except OSError:
            return None

    def _is_older(self, target: str, snapshot: Snapshot) -> bool:
        directory = snapshot.main.key.rstrip("/").rpartition("/")[0]
        match = self.copy.pattern.match(f"{directory}/{target}/" if directory else f"{target}/")
        return match is None or match.taken_at < snapshot.taken_at

    def _needs_manifest(self) -> bool:
        return self.copy.checksum.mode != "pinned"

    def _manifest_name(self, snapshot: Snapshot) -> str | None:
        names = [self.copy.checksum.manifest] if self.copy.checksum.manifest else list(MANIFEST_NAMES)
        generation = self._root() / snapshot.main.key
        return next((name for name in names if (generation / name).is_file()), None)

    def fetch(self, snapshot: Snapshot, staging: Staging) -> Transfer:
        """Copy the generation into the quarantine, then compare it there with its manifest."""
        transfer = Transfer(plain=snapshot.main.name)
        root = staging.quarantine / "0"
        started = time.monotonic()
        try:
            found = self._copy(snapshot, staging, root)
        except RestoreDrillError as problem:
            transfer.broken[problem.stage or Stage.FETCH] = problem
            return transfer
        transfer.seconds = time.monotonic() - started
        self._note(transfer, snapshot, found, root)
        if self._needs_manifest() and not staging.discard:
            started = time.monotonic()
            self._verify(transfer, snapshot, staging, root)
            transfer.verify_seconds = time.monotonic() - started
        if staging.advance:
            staging.advance(int(found["bytes"]))
        return transfer

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
                "digest": staging.tree_digest or staging.discard or self.copy.checksum.mode == "pinned",
                "discard": staging.discard,
                "reserve": staging.reserve,
                "threads": staging.threads,
            },
            deadline=max(1.0, staging.until - time.monotonic()),
        )
        return facts

    def _note(self, transfer: Transfer, snapshot: Snapshot, found: dict[str, Any], root: Path) -> None:
        digest = str(found.get("digest") or "")
        transfer.unpack = {key: value for key, value in found.items() if key != "digest"}
        transfer.stored_bytes = transfer.content_bytes = int(found["bytes"])
        transfer.payloads = [Payload(PayloadForm.TREE, root, "directory", int(found["bytes"]), digest)]
        layer = {"format": "directory", "size": found["bytes"], "whole": True, "sha256": digest}
        transfer.artifacts = [{"key": snapshot.main.key, "size": found["bytes"], "sha256": digest, "layers": [layer]}]

    def _verify(self, transfer: Transfer, snapshot: Snapshot, staging: Staging, root: Path) -> None:
        manifest = self._manifest_name(snapshot)
        if manifest is None:
            looked = self.copy.checksum.manifest or ", ".join(MANIFEST_NAMES[:2])
            transfer.absent.append(f"{snapshot.main.name}: looked for {looked} inside it")
            return
        try:
            found = staging.sandbox.call(
                "restore_drill.engines.files_probe:hash_tree",
                {"root": str(root), "manifest": manifest, "threads": staging.threads},
                deadline=max(1.0, staging.until - time.monotonic()),
            )
        except BackupFailed as problem:
            transfer.unusable = problem
            return
        except RestoreDrillError as problem:
            transfer.broken[Stage.VERIFY] = problem
            return
        self._compare(transfer, snapshot, manifest, found)

    def _compare(self, transfer: Transfer, snapshot: Snapshot, manifest: str, found: dict[str, Any]) -> None:
        """Files that differ break the stage; files that are missing or extra are the files case's to judge."""
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
        if found["mismatched"]:
            transfer.broken[Stage.VERIFY] = BackupFailed(
                f"{found['mismatched']} of {hashed} files differ from {manifest}",
                looked_at=where,
                remedy="They changed after the backup was made: use another copy or generation. Their names are on the "
                "terminal.",
                stage=Stage.VERIFY,
                details=tuple(found.get("details", ())),
            )


def _descend(root: Path, key: str, prefix: str, depth: int) -> Iterator[Artifact]:
    """Directories ``depth`` levels further down whose keys can begin with the prefix; links are not followed."""
    try:
        with os.scandir(root / key) as entries:
            found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return  # nothing was ever backed up below this literal part: located says so
    except OSError as problem:
        raise CouldNotVerify(
            f"the store cannot be listed: {problem.strerror}",
            looked_at=str(root / key),
            remedy="Give this user read permission, or run the drill as one that has it.",
            stage=Stage.LOCATE,
        ) from problem
    for entry in found:
        inner = f"{key}{entry.name}/"
        if not (inner.startswith(prefix) or prefix.startswith(inner)):
            continue
        if depth:
            yield from _descend(root, inner, prefix, depth - 1)
        else:
            # ctime: rsync -a gives a generation the modification time of its source, which is older than its name.
            yield Artifact(inner, -1, entry.stat(follow_symlinks=False).st_ctime)
