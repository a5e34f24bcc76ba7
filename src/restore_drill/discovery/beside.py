"""What lies beside a series' newest snapshot: a digest, a signature, a marker, files of the same state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from restore_drill.catalogue.copies import ChecksumRule
from restore_drill.checksums import SIDECAR_SUFFIXES
from restore_drill.digests import canonical, is_weak
from restore_drill.discovery.model import Series
from restore_drill.discovery.names import text_of
from restore_drill.discovery.series import Listing
from restore_drill.errors import BackupFailed, RestoreDrillError
from restore_drill.manifests.base import usual_names
from restore_drill.model import Artifact
from restore_drill.repositories import recorded
from restore_drill.repositories.names import stems
from restore_drill.stores.base import Store

_SIGNATURES = {".asc": "gpg", ".sig": "gpg", ".minisig": "minisign", ".bundle": "cosign", ".sigstore": "cosign"}
_MARKERS = (".done", ".complete", ".completed", ".ok", ".success", ".finished")
#: How many of the newest must have a marker before it is asked for.
_ALL = 0.9
#: How many older snapshots are asked for a digest where the newest has none.
_OLDER = 2


@dataclass(slots=True)
class Beside:
    """What was found.

    Attributes:
        checksum: What stands under ``checksum``, ``None`` where the default will do.
        why: Where the digest is, or that none was recorded.
        extra: Further keys of the copy, with the reason of each.
        remarks: What a person should know.
    """

    checksum: str | Mapping[str, object] | None = None
    why: str = ""
    extra: dict[str, tuple[object, str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def look_beside(store: Store, series: Series, listing: Listing) -> Beside:
    """Look for what accompanies a series."""
    found = Beside()
    if series.is_directory:
        _inside(series, found)
    else:
        _digest(store, series, listing, found)
        _companions(series, listing, found)
    return found


def _inside(series: Series, found: Beside) -> None:
    root = series.newest.key
    names = {artifact.key.removeprefix(root) for artifact in series.inside if series.inside_of == root}
    names |= series.manifests.get(root, set())
    manifest = next((name for name in usual_names() if name in names), "")
    if manifest:
        found.why = f"its digests stand in {manifest}, inside"
    elif any(series.manifests.values()):
        found.why = "a manifest is expected: others of this series have one"
        found.remarks.append("others have a manifest inside, the newest has none: it may never have been finished")
    else:
        found.checksum, found.why = "pinned", "no manifest lies inside: the first drill's digest is remembered"


def _digest(store: Store, series: Series, listing: Listing, found: Beside) -> None:
    try:
        rule = ChecksumRule()
        known = recorded.find(store, series.newest, rule)
        if known.digest is None and (manifest := _list_of(store, series.newest, listing)):
            found.checksum = {"manifest": manifest}
            known = recorded.find(store, series.newest, ChecksumRule(manifest=manifest))
    except BackupFailed as problem:
        found.why = "a digest is recorded, and cannot be used: the drill will say so"
        found.remarks.append(f"its recorded digest: {problem.cause}")
        return
    except RestoreDrillError as problem:
        found.remarks.append(f"whether a digest is recorded could not be seen: {problem.cause}")
        return
    if known.digest is not None:
        name = known.key.rpartition("/")[2]
        found.why = f"its digest stands in {name}"
        if is_weak(canonical(known.digest.algorithm) or known.digest.algorithm):
            found.checksum = {**(found.checksum if isinstance(found.checksum, dict) else {}), "weak": "accept"}
            found.why = f"{known.digest.algorithm} in {name} can be forged; write a .sha256, and remove this"
        return
    if not _others_have_one(store, series, listing, found):
        _unrecorded(store, series, found)


def _others_have_one(store: Store, series: Series, listing: Listing, found: Beside) -> bool:
    """Whether those before the newest have a digest: then it is missing, and was not left out on purpose."""
    for point in series.points[1 : 1 + _OLDER]:
        manifest = ""
        try:
            if recorded.find(store, point.artifact, ChecksumRule()).digest is None:
                manifest = _list_of(store, point.artifact, listing)
                if not manifest:
                    continue
        except BackupFailed:
            pass  # one is recorded, if a bad one
        except RestoreDrillError:
            continue
        found.checksum = {"manifest": manifest} if manifest else None
        found.why = "a digest is expected: others of this series have one"
        found.remarks.append("older snapshots have a digest, the newest has none")
        return True
    return False


def _list_of(store: Store, artifact: Artifact, listing: Listing) -> str:
    """A list of digests with an unusual name, in the directory of an artifact or above it, that speaks of it."""
    directory = artifact.key.rpartition("/")[0]
    for key in sorted(listing.lists, key=len, reverse=True):
        folder = key.rpartition("/")[0]
        if folder and not f"{directory}/".startswith(f"{folder}/"):
            continue
        try:
            if recorded.find(store, artifact, ChecksumRule(manifest=key)).digest is not None:
                return key
        except (RestoreDrillError, ValueError):
            continue
    return ""


def _unrecorded(store: Store, series: Series, found: Beside) -> None:
    try:
        kept = [each for each in store.recorded_digests(series.newest) if not is_weak(each.algorithm)]
    except RestoreDrillError:
        kept = []
    if any(each.by_uploader for each in kept):
        found.checksum, found.why = {"provider": "metadata"}, f"the job wrote it to {kept[0].source}"
    elif kept:
        found.checksum = {"provider": "any"}
        found.why = f"the store keeps it ({kept[0].source}): it says nothing of what was before the upload"
    else:
        found.checksum = "pinned"
        found.why = "no digest was recorded: the first drill's is remembered, and what was wrong before is not seen"


def _companions(series: Series, listing: Listing, found: Beside) -> None:
    shape = text_of(series.pieces, kinds="{kind}") or series.newest.key
    endings: Counter[str] = Counter()
    for stem in stems(shape):
        endings += listing.companions.of(stem)
    for ending, count in endings.items():
        if ending in _MARKERS and count >= _ALL * series.count and _is_own(listing, shape, ending):
            found.extra["complete_when"] = (f"{{name}}{ending}", "it appears when a snapshot is complete")
        elif ending == "-wal" and count >= _ALL * series.count:
            found.extra["parts"] = (["{name}-wal"], "the log that belongs to the database")
        elif kind := _SIGNATURES.get(ending):
            found.remarks.append(
                f"signed ({ending}): add checksum: {{signature: {{kind: {kind}, keys: [file:KEY]}}}} to verify that"
            )
        elif ending == ".counts.json":
            found.remarks.append('counts lie beside it: expect: {rows: {recorded: "{stem}.counts.json"}} compares them')
    digests = [ending for ending in endings if ending in SIDECAR_SUFFIXES]
    if digests and (found.checksum == "pinned" or (isinstance(found.checksum, dict) and "provider" in found.checksum)):
        found.remarks.append(f"older snapshots have a digest ({', '.join(sorted(digests))}), the newest has none")
        found.checksum, found.why = None, "a digest is expected: others of this series have one"


def _is_own(listing: Listing, shape: str, ending: str) -> bool:
    """Whether the marker is one of the artifact itself, and not of its stem."""
    return bool(listing.companions.of(shape)[ending])
