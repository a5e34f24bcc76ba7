"""Dated folders that one run of a job fills for many targets: one in which a target's own backup is missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from restore_drill.model import Artifact
from restore_drill.repositories.base import KEPT, Survey, Unfinished

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy


@dataclass(slots=True)
class _Folder:
    taken_at: datetime
    modified: float
    others: int = 0
    is_own: bool = False


class Folders:
    """Watches a listing pass by; of many folders the newest are kept.

    Does nothing unless the copy says ``shared_folder``.
    """

    def __init__(self, copy: PlannedCopy) -> None:
        self._copy = copy
        self._pattern = copy.pattern.folder if copy.model.shared_folder else None
        self._depth = self._pattern.text.count("/") if self._pattern else 0
        self._folders: dict[str, _Folder] = {}

    def note(self, artifact: Artifact, *, is_own: bool) -> None:
        """One more object (or directory), and whether it belongs to this very target."""
        if self._pattern is None:
            return
        parts = artifact.key.rstrip("/").split("/")
        key = "/".join(parts[: self._depth]) + "/"
        if len(parts) <= self._depth:
            return
        folder = self._folders.get(key)
        if folder is None:
            match = self._pattern.match(key, near=artifact.modified)
            if match is None:
                return
            folder = self._folders[key] = _Folder(match.taken_at, artifact.modified)
            self._keep_newest()
        folder.modified = max(folder.modified, artifact.modified)
        folder.is_own = folder.is_own or is_own
        folder.others += not is_own

    def _keep_newest(self) -> None:
        if len(self._folders) > 2 * KEPT:
            newest = sorted(self._folders, key=lambda key: self._folders[key].taken_at, reverse=True)[:KEPT]
            self._folders = {key: self._folders[key] for key in newest}

    def note_absent(self, survey: Survey) -> None:
        """Note every folder that is newer than the newest snapshot and holds others, but none of this target."""
        newest = survey.newest[0].taken_at if survey.newest else None
        wanted = self._copy.pattern.text.rstrip("/").rpartition("/")[2]
        for key, folder in sorted(self._folders.items(), key=lambda item: item[1].taken_at, reverse=True):
            if folder.is_own or (newest is not None and folder.taken_at <= newest):
                continue
            plural = "s" if folder.others > 1 else ""
            why = f"the newest folder {key} holds {folder.others} other object{plural}, but no {wanted}"
            survey.note_unfinished(Unfinished(key, folder.taken_at, folder.modified, why, is_absent=True))
