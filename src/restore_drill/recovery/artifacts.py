"""What a runbook finds in place of the store: the drilled snapshot as it lies there, with what stands beside it.

Every byte is what the drill's checksum verdict was about: objects are read again and must have the digest they had
then; a directory is read and verified again as the drill did, and must have the digest it had then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from restore_drill.checksums import MANIFEST_NAMES
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Stage
from restore_drill.repositories.base import Transfer
from restore_drill.repositories.names import stems

if TYPE_CHECKING:
    from restore_drill.drill import Drill
    from restore_drill.sandboxes.base import Sandbox
    from restore_drill.stores.base import Store

#: Bytes of a digest, signature or list beside a snapshot.
_SMALL: Final = 16 << 20


def lay_out(drill: Drill, sandbox: Sandbox, root: Path) -> str:
    """Put the drilled snapshot, its chain and what stands beside them below a directory, by their keys.

    Args:
        drill: A drill whose snapshot passed its checksum verdict.
        sandbox: In whose work directory ``root`` is.
        root: Where; it is made.

    Returns:
        The key of the snapshot's main artifact.

    Raises:
        CouldNotVerify: The store cannot be read any more, or what it holds is no longer what was drilled.
    """
    root.mkdir(mode=0o700)
    key = drill.located().snapshot.main.key
    try:
        if drill.copy.layout == "objects":
            _objects(drill, root)
        else:
            _tree(drill, sandbox, root)
    except RestoreDrillError as problem:
        raise CouldNotVerify(
            f"the snapshot could not be read again for the runbook: {problem.cause}",
            looked_at=problem.looked_at, remedy=problem.remedy, stage=Stage.CONTENT, details=problem.details,
        ) from problem  # fmt: skip
    _pointer(drill, root, key)
    return key.rstrip("/")


def _objects(drill: Drill, root: Path) -> None:
    store, transfer = drill.run.store(drill.copy), drill.transfer()
    known = {str(each["key"]) for each in transfer.artifacts}
    for fetched in transfer.artifacts:
        key, expected = str(fetched["key"]), str(fetched.get("sha256", ""))
        digest = hashlib.sha256()
        for part in _parts(drill, store, key):
            _copy(store, part, root, digest)
        if expected and digest.hexdigest() != expected:
            raise CouldNotVerify("it changed since it was verified", looked_at=store.where(key), stage=Stage.CONTENT)
    for artifact in _beside(drill, store, known):
        if artifact.size <= _SMALL:
            _copy(store, artifact, root, hashlib.sha256())


def _parts(drill: Drill, store: Store, key: str) -> Iterator[Artifact]:
    """The object of a key; of a set that was split its parts, in order."""
    found = store.stat(key)
    if found is not None:
        yield found
        return
    parts = [each for each in store.list(key) if (match := drill.copy.pattern.match(each.key)) and match.joined == key]
    if not parts:
        raise CouldNotVerify("it is not there any more", looked_at=store.where(key), stage=Stage.CONTENT)
    yield from sorted(parts, key=lambda part: part.key)


def _beside(drill: Drill, store: Store, known: Set[str]) -> Iterator[Artifact]:
    """What stands beside artifacts: all that begins like one of them, and lists of digests."""
    found: dict[str, Artifact] = {}
    lists = {drill.copy.checksum.manifest or ""} - {""}
    for key in known:
        directory, slash, name = key.rpartition("/")
        listed = store.list(f"{directory}{slash}{stems(name)[-1]}")
        found |= {each.key: each for each in listed if drill.copy.pattern.match(each.key) is None}
        lists |= {f"{directory}{slash}{each}" for each in MANIFEST_NAMES}
    for key in lists - found.keys():  # each of them is a request
        if (list_ := store.stat(key)) is not None:
            found[key] = list_
    yield from (found[key] for key in sorted(found.keys() - known))


def _copy(store: Store, artifact: Artifact, root: Path, digest: hashlib._Hash) -> None:
    place = _place(root, artifact.key)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with place.open("xb") as file:
        for chunk in store.open(artifact):
            digest.update(chunk)
            file.write(chunk)
    os.utime(place, (artifact.modified, artifact.modified))  # `ls -t` is how many a runbook finds the newest


def _tree(drill: Drill, sandbox: Sandbox, root: Path) -> None:
    transfer: Transfer = drill.transferring.read_again(sandbox)
    for problem in transfer.broken.values():
        raise problem
    # What no recorded digest vouches for is what it was, or nothing is executed on it.
    first = [payload.digest for payload in drill.transfer().payloads]
    if [payload.digest for payload in transfer.payloads] != first:
        where = drill.run.store(drill.copy).where(drill.located().snapshot.main.key)
        raise CouldNotVerify("it changed since it was verified", looked_at=where, stage=Stage.CONTENT)
    links = [*drill.located().snapshot.parents, drill.located().snapshot]
    for link, payload in zip(links, transfer.payloads, strict=True):
        place = _place(root, link.main.key)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        payload.path.rename(place)


def _pointer(drill: Drill, root: Path, key: str) -> None:
    """The link to the newest one, where the catalogue names it: ``latest``."""
    latest = drill.copy.model.latest
    if latest:
        place = _place(root, latest)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.symlink_to(os.path.relpath(_place(root, key), place.parent))


def _place(root: Path, key: str) -> Path:
    """Where a key lies below a directory; a store's names are hostile."""
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts or "\0" in key:
        raise CouldNotVerify("its name leads out of its store", stage=Stage.CONTENT, details=(key,))
    return root.joinpath(*parts)
