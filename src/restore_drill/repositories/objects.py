"""One object (and its parts) a snapshot, named by a path pattern: what most backup scripts leave."""

from __future__ import annotations

import re
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from restore_drill.checksums import SIDECAR_SUFFIXES, strip_suffix
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Snapshot, Stage
from restore_drill.repositories import chain, joined, pointers, points, recorded, signed
from restore_drill.repositories.artifact import ArtifactFetch, absorb
from restore_drill.repositories.base import Repository, Staging, Survey, Transfer, Unfinished, Unreadable, name_pins
from restore_drill.repositories.counts import read_counts
from restore_drill.repositories.folders import Folders
from restore_drill.repositories.parts import Parts, look, unfinished
from restore_drill.stores.base import Oddity

#: Endings and forms of names under which tools write before they rename.
_TEMPORARY = re.compile(r"(?P<name>.+?)\.(?:tmp|temp|part|partial|filepart|crdownload|incomplete|inprogress|upload)")
_RSYNC_TEMPORARY = re.compile(r"(?P<directory>.*/|)\.(?P<name>.+)\.[A-Za-z0-9]{6}")
#: What a name has that may be a temporary one or a digest's, although a pattern with {any} matches it.
_AMONG_OTHERS = re.compile(
    r"\.(?:tmp|temp|part|partial|filepart|crdownload|incomplete|inprogress|upload"
    r"|sha\w+|md5\w*|b[23]|blake\w+|xxh\w*|crc\w+"
    r"|asc|sig|minisig|bundle|json)\Z|(?:\A|/)\.[^/]*\Z",
    re.I,
)


class ObjectRepository(Repository):
    """Objects of a store whose names match the copy's pattern."""

    name = "objects"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        #: What was found since the last survey, so that a fetch need not look again.
        self._digests: dict[str, recorded.Recorded] = {}
        self._folders = Folders(self.copy)
        self._newest: list[Snapshot] = []

    def survey(self, wanted: str = "") -> Survey:
        """List the objects under the pattern's literal beginning and keep the newest of those that match."""
        self._digests.clear()
        self._folders = Folders(self.copy)
        survey = points.survey(self._snapshots, wanted, points.Sets if self.copy.pattern.is_split else points.Points)
        self._folders.note_absent(survey)
        if self.copy.model.time_metadata:
            self._read_times(survey, wanted)
        self._newest = survey.newest
        return survey

    def every(self) -> list[Snapshot]:
        """One request an object where the time is in its metadata."""
        self._folders = Folders(self.copy)
        found = points.every(self._snapshots, points.Sets if self.copy.pattern.is_split else points.Points)
        if self.copy.model.time_metadata:
            found = points.directly(sorted(map(self._with_time, found), key=points.order, reverse=True))
        return found

    def _snapshots(self, survey: Survey) -> Iterator[Snapshot]:
        for artifact in self.store.scan(self.copy.pattern.prefix, lambda oddity: self._note_unreadable(oddity, survey)):
            survey.listed += 1
            if pointers.is_pointer(self.copy, artifact.key):
                continue
            snapshot = self._read_name(artifact)
            is_unfinished = snapshot is None and self._note_unfinished(artifact, survey)
            self._folders.note(artifact, is_own=snapshot is not None or is_unfinished)
            if snapshot and not (_AMONG_OTHERS.search(artifact.key) and self._is_companion(artifact, survey)):
                yield snapshot

    def _read_name(self, artifact: Artifact) -> Snapshot | None:
        match = self.copy.pattern.match(artifact.key, near=artifact.modified)
        if match is None:
            return None
        taken_at = match.taken_at if self.copy.pattern.has_time else datetime.fromtimestamp(artifact.modified, UTC)
        if match.part:  # its set is known by the name of the whole; what marks one version is no property of it
            artifact = Artifact(match.joined, artifact.size, artifact.modified)
        resolution = self.copy.pattern.resolution if match.rotation is None else timedelta(seconds=1)
        return Snapshot(
            taken_at, (artifact,), match.kind, resolution, match.sequence, (), match.ambiguous, match.rotation
        )

    def _note_unreadable(self, oddity: Oddity, survey: Survey) -> None:
        """Note what has the name of a snapshot and is no object; a directory only where no ``{any}`` lets it in."""
        pattern = self.copy.pattern
        match = pattern.match(oddity.key, near=oddity.modified)
        is_loose = "{any}" in pattern.text and (oddity.is_directory or _AMONG_OTHERS.search(oddity.key))
        if match is not None and not is_loose:
            name = oddity.key.rpartition("/")[2]
            survey.note_unreadable(Unreadable(name, match.taken_at, oddity.modified, oddity.what))

    def _read_times(self, survey: Survey, wanted: str) -> None:
        """Take the time from the metadata of the newest objects; the others are known by when they were stored."""
        timed = [self._with_time(snapshot) for snapshot in survey.newest]
        replaced = Counter(snapshot.taken_at.timestamp() for snapshot in survey.newest)
        others = (Counter(survey.times) - replaced).elements()
        survey.times = array("d", sorted([*others, *(snapshot.taken_at.timestamp() for snapshot in timed)]))
        asked = [snapshot for snapshot in timed if wanted in points.names(snapshot)]
        if asked:
            survey.wanted = max(asked, key=points.order)
        elif survey.wanted is not None:  # by its key or name; an id was made of a time that is not its own
            survey.wanted = None if wanted == survey.wanted.id else self._with_time(survey.wanted)
        points.conclude(survey, sorted(timed, key=points.order, reverse=True))

    def _with_time(self, snapshot: Snapshot) -> Snapshot:
        name = self.copy.model.time_metadata or ""
        text = self.store.metadata(snapshot.main).get(name.lower())
        taken_at = _time(text, name, self.store.where(snapshot.main.key))
        return replace(snapshot, taken_at=taken_at, resolution=timedelta(seconds=1), parents=(), ambiguous=False)

    def _note_unfinished(self, artifact: Artifact, survey: Survey) -> bool:
        """Whether an object has the name of an upload under way to a name that would match."""
        for form in (_TEMPORARY, _RSYNC_TEMPORARY):
            found = form.fullmatch(artifact.key)
            name = (found.groupdict().get("directory") or "") + found["name"] if found else ""
            match = self.copy.pattern.match(name) if name else None
            if match:
                why = "it has the name of an upload under way"
                has_time = self.copy.pattern.has_time
                claimed = match.taken_at if has_time else datetime.fromtimestamp(artifact.modified, UTC)
                survey.note_unfinished(Unfinished(artifact.name, claimed, artifact.modified, why))
                return True
        return False

    def _is_companion(self, artifact: Artifact, survey: Survey) -> bool:
        """Whether it is an upload to, or the digest or signature of, another one that matches: {any} fits all."""
        stem = strip_suffix(artifact.key, (*SIDECAR_SUFFIXES, *signed.endings(self.copy.checksum.signature)))
        is_digest = stem is not None and self.copy.pattern.match(stem) is not None
        return is_digest or self._note_unfinished(artifact, survey)

    def unfinished(self, snapshot: Snapshot, *, settling: bool) -> str | None:
        """An empty object, a missing marker, a ``latest`` that stands for another one, or a part or digest to come.

        A part that is still missing later is no upload under way: fetching the set fails, and says which one it is.
        """
        main = snapshot.main
        if main.size == 0:
            return "it is empty (0 bytes)"
        if self.copy.pattern.is_split:
            found = look(self.store, self.copy.pattern, main)
            marker = self._missing_marker(main) or self._pointer_problem(snapshot)
            return unfinished(found, settling=settling) or marker or (self._may_go_on(found) if settling else None)
        parts = {key: self.store.stat(key) for key in self._part_keys(main)} if settling else {}
        for key, part in parts.items():
            if part is None:
                return f"its part {key.rpartition('/')[2]} is missing"
        if why := self._missing_marker(main) or self._pointer_problem(snapshot):
            return why
        if settling and not all(self._has_digest(each) for each in (main, *parts.values()) if each):
            return "its digest is not there yet"
        if settling and not all(self._has_signature(each) for each in (main, *parts.values()) if each):
            return "its signature is not there yet"
        return None

    def _missing_marker(self, main: Artifact) -> str | None:
        marker = self.copy.model.complete_when
        if marker and self.store.stat(self._beside(main, marker)) is None:
            return f"its marker {recorded.fill(marker, main.name)} is missing"
        return None

    def _pointer_problem(self, snapshot: Snapshot) -> str | None:
        newer = [each for each in self._newest if points.order(each) > points.order(snapshot)]
        return pointers.problem(self.store, self.copy, snapshot, self._exists, newer)

    def _exists(self, key: str) -> bool:
        if self.copy.pattern.is_split:
            return bool(look(self.store, self.copy.pattern, Artifact(key, -1, 0.0)).parts)
        return self.store.stat(key) is not None

    def _may_go_on(self, found: Parts) -> str | None:
        """Why further parts may follow: nothing says yet how many there are, or what they must be."""
        if self.copy.checksum.mode != "pinned":
            try:
                if self._recorded(found.whole).digest is not None:  # it was written when the last part was known
                    return None if self._has_signature(found.whole) else "its signature is not there yet"
                known = joined.recorded_of(self.store, found, self.copy.checksum, self._recorded)
                keys = joined.listed(self.store, known, self.copy.checksum)
            except BackupFailed:
                return None  # there is one, and the checksum case will say what is wrong with it
            if not known:
                return "its digest is not there yet"
            if keys:
                return unfinished(look(self.store, self.copy.pattern, found.whole, keys), settling=True)
        return None if self.copy.model.complete_when else "further parts may follow until it has settled"

    def _has_digest(self, artifact: Artifact) -> bool:
        if self.copy.checksum.mode == "pinned":
            return True
        try:
            return self._recorded(artifact).is_there
        except BackupFailed:
            return True  # there is one, and the checksum case will say what is wrong with it

    def _has_signature(self, artifact: Artifact) -> bool:
        rule = self.copy.checksum.signature
        if rule is None:
            return True
        if rule.of == "artifact":
            return signed.is_there(self.store, rule, artifact.key, decoded=True)
        try:
            signing = self._recorded(artifact).signing
        except BackupFailed:
            return True  # as above
        return signing is None or not signing.absent

    def _recorded(self, artifact: Artifact) -> recorded.Recorded:
        known = self._digests.get(artifact.key)
        if known is None or not known.is_there:
            rule = self.copy.checksum
            is_own = (self.copy.pattern.match(artifact.key) is None) is self.copy.pattern.is_split
            if (rule.sha256 or rule.sha512) and not is_own:
                rule = rule.model_copy(update={"sha256": None, "sha512": None})  # it is of the object, not of its parts
            if self.copy.pattern.is_split and is_own and rule.provider:
                return recorded.Recorded(looked_at=("a digest that the store keeps of each part",))
            known = self._digests[artifact.key] = recorded.find(self.store, artifact, rule)
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
        name_pins(transfer, snapshot, self.copy.pattern.text)
        if problem := chain.problem(snapshot):
            transfer.broken.setdefault(Stage.CHAIN, problem)
        return transfer

    def _fetch_link(self, link: Snapshot, position: int, staging: Staging, transfer: Transfer) -> None:
        payload = None
        for number, artifact in enumerate(self._artifacts(link, transfer)):
            fetch = ArtifactFetch(self.store, artifact, self.copy, self.model, staging)
            # The local name never comes from the key: a hostile one cannot choose where it lands.
            place = staging.quarantine / f"payload-{position}-{number}"
            if self.copy.pattern.is_split:
                found = joined.JoinedFetch(fetch, self._recorded).run(place)
            else:
                found = fetch.run(place, self._recorded, is_part=artifact != link.main)
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
        """The JSON object of counts that ``expect.rows.recorded`` or ``expect.files.recorded`` names."""
        template = self.model.expect.recorded
        return read_counts(self.store, self._beside(snapshot.main, template)) if template else None


def _time(text: str | None, name: str, where: str) -> datetime:
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
    return taken_at.astimezone(UTC)
