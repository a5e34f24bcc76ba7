"""Remove what runs that were killed left in container engines.

A container of ours ends with the process that made it: the connection that it reads from is closed. What was created
and not started yet, volumes, and what an engine kept that was restarted at that moment, are found by their labels.
Which engines a process used is written into its run directory before it makes anything there: who never used one is
never kept waiting by one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.containers import labels, removing, volumes
from restore_drill.sandboxes.containers.client import Engine, connect
from restore_drill.sandboxes.workspace import ENGINES

_LIMIT: Final = 1 << 16


def note(directory: Path, host: str) -> None:
    """Write down that the process of a run directory uses an engine.

    Raises:
        OSError: There is no room.
    """
    if host not in noted(directory):
        with (directory / ENGINES).open("a", encoding="utf-8") as file:
            file.write(f"{host}\n")
            file.flush()
            os.fsync(file.fileno())


def noted(directory: Path) -> list[str]:
    """The engines that the process of a run directory used."""
    try:
        with (directory / ENGINES).open(encoding="utf-8", errors="replace") as file:
            return [line.strip() for line in file.read(_LIMIT).splitlines() if line.strip()]
    except FileNotFoundError:
        return []


def reap(directory: Path) -> tuple[list[str], bool]:
    """Remove everything of a run directory's process, which is no more; the directory's lock is held by the caller.

    Returns:
        What was removed, in words, and whether nothing is left; an engine that does not answer may have something.
    """
    removed: list[str] = []
    whole = True
    for host in noted(directory):
        try:
            engine = connect(host)
            for kind, name in _find(engine, directory):
                if _remove(engine, kind, name):
                    removed.append(f"{kind} {name[:40]}")
                else:
                    whole = False
        except CouldNotVerify:
            whole = False
    return removed, whole


def reap_strays(root: Path) -> list[str]:
    """Remove from the usual engine what belongs to run directories of a root that are not there any more.

    For ``restore-drill clean``: it asks the engine whether or not anything points to one.
    """
    try:
        engine = connect()
        marks = {"label": [f"{labels.OWNER}={labels.owner_of(root)}"]}
        with engine.asking("list what is there"):
            found = [*engine.api.containers(all=True, filters=marks), *engine.api.networks(filters=marks)]
            found += engine.api.volumes(filters=marks).get("Volumes") or ()
        gone = {str((each.get("Labels") or {}).get(labels.DIRECTORY, "")) for each in found}
        strays = [name for name in sorted(gone) if "/" not in name and name and not (root / name).exists()]
        things = [thing for name in strays for thing in _find(engine, root / name)]
        return [f"{kind} {name[:40]}" for kind, name in things if _remove(engine, kind, name)]
    except CouldNotVerify:
        return []


def _find(engine: Engine, directory: Path) -> list[tuple[str, str]]:
    """Kind and name of what has a run directory's labels: containers first, which hold the others."""
    marks = [f"{labels.OWNER}={labels.owner_of(directory.parent)}", f"{labels.DIRECTORY}={directory.name}"]
    wanted: Mapping[str, Any] = {"label": marks}
    with engine.asking("list what is there"):
        api = engine.api
        found = [("container", str(each["Id"])) for each in api.containers(all=True, filters=dict(wanted))]
        found += [("volume", str(each["Name"])) for each in api.volumes(filters=dict(wanted)).get("Volumes") or ()]
        return found + [("network", str(each["Id"])) for each in api.networks(filters=dict(wanted))]


def _remove(engine: Engine, kind: str, name: str) -> bool:
    """Remove one thing, and say whether it is gone."""
    if kind == "volume":
        return not volumes.remove(engine, [name])
    return not removing.remove(engine, kind, name)
