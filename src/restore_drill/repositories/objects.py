"""One object (and its parts) a snapshot, named by a path pattern: what most backup scripts leave."""

from __future__ import annotations

import heapq
import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Kind, Snapshot, Stage
from restore_drill.repositories import chain, recorded
from restore_drill.repositories.artifact import ArtifactFetch, absorb
from restore_drill.repositories.base import KEPT, Repository, Staging, Survey, Transfer, Unfinished

#: Endings and forms of names under which tools write before they rename.
_TEMPORARY = re.compile(r"(?P<name>.+?)\.(?:tmp|temp|part|partial|filepart|crdownload|incomplete|inprogress|upload)")
_RSYNC_TEMPORARY = re.compile(r"(?P<directory>.*/|)\.(?P<name>.+)\.[A-Za-z0-9]{6}")


class ObjectRepository(Repository):
    """Objects of a store whose names match the copy's pattern."""

    name = "objects"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._digests: dict[str, recorded.Recorded] = {}

    def survey(self, wanted: str = "") -> Survey:
        """List the objects under the pattern's literal beginning and keep the newest of those that match."""
        survey = Survey()
        newest: list[tuple[float, str, Snapshot]] = []
        for artifact in self.store.list(self.copy.pattern.prefix):
            survey.listed += 1
            snapshot = self._read_name(artifact)
            if snapshot is None:
                self._note_unfinished(artifact, survey)
                continue
            stamp = snapshot.taken_at.timestamp()
            survey.times.append(stamp)
            entry = (stamp, artifact.key, snapshot)
            if len(newest) < KEPT:
                heapq.heappush(newest, entry)
            else:
                heapq.heappushpop(newest, entry)
            if wanted and wanted in (snapshot.id, artifact.key, artifact.name):
                survey.wanted = snapshot
        self._finish(survey, [snapshot for *_, snapshot in sorted(newest, reverse=True)])
        return survey

    def _finish(self, survey: Survey, newest: list[Snapshot]) -> None:
        if self.copy.model.time_metadata:
            newest = self._read_times(newest)
            survey.times = type(survey.times)("d", sorted(snapshot.taken_at.timestamp() for snapshot in newest))
        else:
            survey.times = type(survey.times)("d", sorted(survey.times))
        survey.clashes = _clashes(newest)
        survey.newest = chain.link(newest)
        if survey.wanted:
            survey.wanted = next((each for each in survey.newest if each.main == survey.wanted.main), survey.wanted)

    def _read_name(self, artifact: Artifact) -> Snapshot | None:
        match = self.copy.pattern.match(artifact.key, near=artifact.modified)
        if match is None:
            return None
        taken_at = match.taken_at if self.copy.pattern.has_time else datetime.fromtimestamp(artifact.modified, UTC)
        return Snapshot(
            taken_at, (artifact,), match.kind, self.copy.pattern.resolution, match.sequence, ambiguous=match.ambiguous
        )

    def _read_times(self, snapshots: list[Snapshot]) -> list[Snapshot]:
        """The same snapshots with the time their metadata records (the newest by modification time are asked)."""
        name = self.copy.model.time_metadata or ""
        found = []
        for snapshot in snapshots:
            text = self.store.metadata(snapshot.main).get(name.lower())
            found.append(_with_time(snapshot, text, name, self.store.where(snapshot.main.key)))
        return sorted(found, key=lambda snapshot: snapshot.taken_at, reverse=True)

    def _note_unfinished(self, artifact: Artifact, survey: Survey) -> None:
        for form in (_TEMPORARY, _RSYNC_TEMPORARY):
            found = form.fullmatch(artifact.key)
            name = (found.groupdict().get("directory") or "") + found["name"] if found else ""
            match = self.copy.pattern.match(name) if name else None
            if match:
                survey.unfinished.append(
                    Unfinished(
                        artifact.name, match.taken_at, artifact.modified, "it has the name of an upload under way"
                    )
                )
                return

    def unfinished(self, snapshot: Snapshot, *, settling: bool) -> str | None:
        """An empty object, a missing part or marker, or (while settling) a digest that is not there yet."""
        main = snapshot.main
        if main.size == 0:
            return "it is empty (0 bytes)"
        for key in self._part_keys(main):
            if self.store.stat(key) is None:
                return f"its part {key.rpartition('/')[2]} is missing"
        marker = self.copy.model.complete_when
        if marker and self.store.stat(self._beside(main, marker)) is None:
            return f"its marker {recorded.fill(marker, main.name)} is missing"
        if settling and not self._has_digest(main):
            return "its digest is not there yet"
        return None

    def _has_digest(self, main: Artifact) -> bool:
        rule = self.copy.checksum
        if rule.mode == "pinned" or rule.sha256 or rule.sha512:
            return True
        try:
            return self._recorded(main).digest is not None
        except BackupFailed:
            return True  # there is one, and the checksum case will say what is wrong with it

    def _recorded(self, artifact: Artifact) -> recorded.Recorded:
        known = self._digests.get(artifact.key)
        if known is None or known.digest is None:
            known = self._digests[artifact.key] = recorded.find(self.store, artifact, self.copy.checksum)
        return known

    def _beside(self, main: Artifact, template: str) -> str:
        directory = main.key.rpartition("/")[0]
        name = recorded.fill(template, main.name)
        return f"{directory}/{name}" if directory else name

    def _part_keys(self, main: Artifact) -> list[str]:
        return [self._beside(main, template) for template in self.copy.model.parts]

    def fetch(self, snapshot: Snapshot, staging: Staging) -> Transfer:
        """Stream every artifact of the chain, oldest first."""
        transfer = Transfer()
        started = time.monotonic()
        links = [*snapshot.parents, snapshot]
        for position, link in enumerate(links):
            self._fetch_link(link, position, staging, transfer)
            if transfer.broken:
                break
        transfer.seconds = time.monotonic() - started - transfer.verify_seconds
        if problem := chain.problem(snapshot):
            transfer.broken.setdefault(Stage.CHAIN, problem)
        return transfer

    def _fetch_link(self, link: Snapshot, position: int, staging: Staging, transfer: Transfer) -> None:
        directory = staging.quarantine / str(position)
        directory.mkdir(mode=0o700)
        payload = None
        for artifact in self._artifacts(link, transfer):
            fetch = ArtifactFetch(self.store, artifact, self.copy, self.model, staging)
            found = fetch.run(directory, self._recorded, is_part=artifact != link.main)
            payload = absorb(transfer, found, payload)
            if transfer.broken:
                return
        if payload:
            transfer.payloads.append(payload)

    def _artifacts(self, link: Snapshot, transfer: Transfer) -> Iterator[Artifact]:
        yield link.main
        for key in self._part_keys(link.main):
            part = self.store.stat(key)
            if part is None:
                transfer.broken[Stage.FETCH] = BackupFailed(
                    f"the part {key.rpartition('/')[2]} of the snapshot is missing",
                    looked_at=self.store.where(key),
                    remedy="The backup job must store all files of one state.",
                    stage=Stage.FETCH,
                )
                return
            yield part

    def recorded_counts(self, snapshot: Snapshot) -> Mapping[str, int] | None:
        """The JSON object of counts that ``expect.rows.recorded`` names."""
        rows = self.model.expect.rows
        if rows is None or rows.recorded is None:
            return None
        key = self._beside(snapshot.main, rows.recorded)
        raw = self.store.read_small(key)
        if raw is None:
            raise CouldNotVerify(
                "the counts recorded beside the snapshot are missing",
                looked_at=self.store.where(key),
                remedy="Have the backup job write them, or remove rows.recorded.",
            )
        return _counts(raw, self.store.where(key))


def _counts(raw: bytes, where: str) -> dict[str, int]:
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(type(count) is int and count >= 0 for count in value.values()):
        raise CouldNotVerify(
            "the counts recorded beside the snapshot cannot be read",
            looked_at=where,
            remedy='They must be a JSON object of whole numbers: {"customers": 59}.',
        )
    return value


def _with_time(snapshot: Snapshot, text: str | None, name: str, where: str) -> Snapshot:
    try:
        taken_at = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        taken_at = None
    if taken_at is None or taken_at.tzinfo is None:
        raise CouldNotVerify(
            f"its metadata {name!r} holds no time with an offset",
            looked_at=where,
            remedy="Write it as 2026-11-23T02:00:00Z when the backup is made.",
            stage=Stage.LOCATE,
        )
    return Snapshot(taken_at.astimezone(UTC), snapshot.artifacts, snapshot.kind, sequence=snapshot.sequence)


def _clashes(newest: list[Snapshot]) -> list[tuple[str, str]]:
    seen: dict[tuple[datetime, Kind, int | None], str] = {}
    clashes = []
    for snapshot in newest:
        key = (snapshot.taken_at, snapshot.kind, snapshot.sequence)
        if key in seen:
            clashes.append((seen[key], snapshot.main.name))
        seen[key] = snapshot.main.name
    return clashes
