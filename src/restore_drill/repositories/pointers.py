"""``latest``: what a backup job points to its newest snapshot with, when that is complete.

Four forms are known: a symbolic link on a disk; an object that holds the name or key of the snapshot (``LATEST``,
``latest.txt``); a copy of the snapshot under a name of its own (``latest.sql.gz``); a hard link, which looks like a
copy. A copy is compared without reading it: it must have the snapshot's size and must not be older than it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Snapshot
from restore_drill.patterns import PathPattern
from restore_drill.stores.base import Store

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy

#: An object that names another one is not larger than this (bytes).
_MOST_TEXT = 4096


def problem(
    store: Store, copy: PlannedCopy, snapshot: Snapshot, exists: Callable[[str], bool], newer: Collection[Snapshot] = ()
) -> str | None:
    """Why ``latest`` does not stand for a snapshot, or ``None``.

    Args:
        store: Where both lie.
        copy: Says where ``latest`` is.
        snapshot: The newest that may be drilled.
        exists: Whether there is a snapshot of this key.
        newer: Snapshots that were stepped over: ``latest`` may be a copy of one of these.

    Raises:
        CouldNotVerify: The store cannot be asked.
    """
    latest = copy.model.latest
    if not latest:
        return None
    linked = _link(store, latest, snapshot)
    if linked is not None:
        return _named(linked, f"the link {latest} still points to", copy.pattern, snapshot, exists)
    pointer = store.stat(latest)
    if pointer is None:
        return f"{_what(store)} {latest} is missing"
    named = _text(store, pointer)
    candidates = _candidates(named, store, latest, snapshot) if named else []
    key = next((each for each in candidates if copy.pattern.match(each)), None)
    if key is not None:
        return _named(key, f"{latest} still names", copy.pattern, snapshot, exists)
    if copy.pattern.is_directory:
        return f"{latest} names no snapshot"
    if any(_copied(pointer, latest, other) is None for other in newer):
        return None
    return _copied(pointer, latest, snapshot)


def is_pointer(copy: PlannedCopy, key: str) -> bool:
    """Whether an object stands for the newest snapshot and is none of its own, although a pattern may match it.

    Where names carry a time, they tell. Where they do not, ``{any}`` lets in what is called ``latest.db.gz``, too.
    """
    if key == copy.model.latest:
        return True
    if copy.pattern.has_time or "{any}" not in copy.pattern.text or "latest" in copy.pattern.text.lower():
        return False
    name = key.rpartition("/")[2].lower()
    return name.split(".")[0].replace("_", "-").split("-")[-1] == "latest"


def _what(store: Store) -> str:
    return "the link" if store.local_path("") is not None else "the pointer"


def _named(key: str, how: str, pattern: PathPattern, snapshot: Snapshot, exists: Callable[[str], bool]) -> str | None:
    match = pattern.match(key)
    named = (match.joined or key) if match else key
    if named == snapshot.main.key:
        return None
    is_newer = match is not None and (
        match.taken_at > snapshot.taken_at if pattern.has_time else _comes_first(match.rotation, snapshot.rotation)
    )
    if not is_newer and not (match and pattern.has_time and match.taken_at == snapshot.taken_at):
        return f"{how} {key.rstrip('/')}"
    return None if exists(named) else f"{how.replace('still ', '')} {key.rstrip('/')}, which does not exist"


def _comes_first(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one < other


def _link(store: Store, latest: str, snapshot: Snapshot) -> str | None:
    """The key that a link points to; one that leads elsewhere counts by its name, beside the snapshot."""
    root = store.local_path("")
    if root is None:
        return None
    try:
        text = (root / latest).readlink()
    except OSError:
        return None
    slash = "/" if snapshot.main.key.endswith("/") else ""
    for base in (str(root), os.path.realpath(root)):
        target = os.path.normpath(Path(base, latest).parent / text)  # by name: what it points to may be gone
        if target.startswith(f"{base}/"):
            return f"{os.path.relpath(target, base)}{slash}"
    return f"{snapshot.main.key.removesuffix(f'{snapshot.main.name}{slash}')}{text.name}{slash}"


def _text(store: Store, pointer: Artifact) -> str:
    """The one line that an object holds, ``""`` when it holds something else."""
    if not 0 < pointer.size <= _MOST_TEXT:
        return ""
    try:
        lines = b"".join(store.open(pointer)).decode("utf-8").strip().splitlines()
    except (UnicodeDecodeError, BackupFailed):  # a copy of a snapshot; or replaced just now, and compared as one
        return ""
    return lines[0].strip() if len(lines) == 1 else ""


def _candidates(named: str, store: Store, latest: str, snapshot: Snapshot) -> list[str]:
    """The keys that a text may mean: an address of the store, a key, a name beside the pointer or the snapshot."""
    address = f"{store.settings.url.rstrip('/')}/"
    named = named.removeprefix(address).removeprefix("./").lstrip("/")
    if snapshot.main.key.endswith("/"):
        named = f"{named.rstrip('/')}/"
    beside = [key.rstrip("/").rpartition("/")[0] for key in (latest, snapshot.main.key)]
    return [named, *(f"{directory}/{named}" for directory in beside if directory)]


def _copied(pointer: Artifact, latest: str, snapshot: Snapshot) -> str | None:
    if pointer.size != snapshot.size:
        return f"{latest} is no copy of it yet: it has {pointer.size} bytes, not {snapshot.size}"
    if pointer.modified < snapshot.taken_at.timestamp():
        return f"{latest} is no copy of it yet: it is older"
    return None
