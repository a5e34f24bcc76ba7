"""What the ``redis`` engine reads of restored bytes before a server does. Every function runs inside the sandbox."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import nothing_came_back
from restore_drill.engines.redis_format import COMMANDS, Header, has_checksum, header
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_PART: Final = re.compile(r'file\s+("?)([^\s"/\\]{1,250})\1\s+seq\s+\d+\s+type\s+([bhi])(?:\s.*)?')
_PARTS: Final = 1000
_MANIFEST: Final = 1 << 20
_DEPTH: Final = 6
_ENTRIES: Final = 100_000


def look(call: Call, payload: str, file: str) -> dict[str, Any]:
    """Find what a server would load, and read how it begins.

    Args:
        call: Where it runs.
        payload: A file or a tree, relative to the work directory.
        file: Which file of a tree it is; ``""`` to find it.

    Returns:
        ``kind`` (``dump``, ``commands`` or ``parts``), ``paths`` (relative to the work directory; a manifest first),
        ``sizes``, what the dump at the beginning says (``format``, ``family``, ``release``, ``dumped``, ``checksum``),
        and ``notes``.

    Raises:
        BackupFailed: There is nothing that Redis writes, or a part of it is missing.
        CouldNotVerify: There are several, and the catalogue does not say which.
    """
    path = call.work / payload
    if not stat.S_ISDIR(path.lstat().st_mode):
        return _described(call.work, [path], _kind(path), [])
    chosen, notes = _chosen(path, file)
    if chosen.name.endswith(".manifest"):
        return _described(call.work, [chosen, *_parts(chosen)], "parts", notes)
    return _described(call.work, [chosen], _kind(chosen), notes)


def _chosen(root: Path, file: str) -> tuple[Path, list[str]]:
    """The file of a tree that a server with this data directory would load."""
    found = [path for path in _files(root) if path.suffix in (".rdb", ".aof", ".manifest")]
    if file:
        named = [path for path in _files(root) if path.relative_to(root).as_posix() == file]
        if not named:
            raise BackupFailed(
                "the file that the catalogue names is not in the backup",
                remedy="Compare engine_options.file with what is in it.",
                stage=Stage.RESTORE,
            )
        return named[0], []
    manifests = [path for path in found if path.suffix == ".manifest"]
    within = {path.parent for path in manifests}
    commands = [path for path in found if path.suffix == ".aof" and path.parent not in within]
    dumps = [path for path in found if path.suffix == ".rdb" and path.parent not in within]
    choice = manifests or commands or dumps
    if not choice:
        if _lost_its_manifest(found):
            raise _missing("the manifest")
        raise nothing_came_back("there is no .rdb, .aof or .manifest file")
    if len(choice) > 1:
        raise CouldNotVerify(
            f"there are {len(choice)} files of the same kind that a server could load",
            remedy="Name one in engine_options: {file: data/dump.rdb}.",
            stage=Stage.RESTORE,
            details=tuple(str(path.relative_to(root)) for path in choice[:20]),
        )
    return choice[0], [
        "a dump (.rdb) lies beside the append-only file and was not loaded"
    ] if dumps != choice and dumps else []


def _lost_its_manifest(found: list[Path]) -> bool:
    return any(re.search(r"\.\d+\.(?:base|incr)\.", path.name) for path in found)


def _files(root: Path) -> Iterator[Path]:
    """The regular files of a tree, as far as a data directory reaches."""
    pending, seen = [(root, 0)], 0
    while pending:
        directory, depth = pending.pop()
        for entry in sorted(directory.iterdir()):
            seen += 1
            if seen > _ENTRIES:
                return
            mode = entry.lstat().st_mode
            if stat.S_ISDIR(mode) and depth < _DEPTH:
                pending.append((entry, depth + 1))
            elif stat.S_ISREG(mode):
                yield entry


def _parts(manifest: Path) -> list[Path]:
    """The files that a manifest lists as living; its history was to be removed and is not loaded."""
    with manifest.open("rb") as file:
        lines = file.read(_MANIFEST).decode(errors="replace").splitlines()
    parts = []
    for line in lines:
        found = _PART.fullmatch(line.strip())
        if line.strip() and not line.startswith("#") and not found:
            raise BackupFailed(
                "the manifest of the append-only file has a line that is none",
                remedy="It is damaged: use another copy.",
                stage=Stage.RESTORE,
            )
        if found and found[3] != "h":
            parts.append(manifest.parent / found[2])
    if not parts or len(parts) > _PARTS:
        raise nothing_came_back(f"the manifest of the append-only file lists {len(parts)} files")
    for path in parts:
        if not path.exists() or not stat.S_ISREG(path.lstat().st_mode):
            raise _missing("a file that its manifest lists")
    return parts


def _missing(what: str) -> BackupFailed:
    return BackupFailed(
        f"the append-only file is not whole: {what} is missing",
        remedy="Back up the whole appendonlydir at one moment, while no rewrite is under way.",
        stage=Stage.RESTORE,
    )


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(1024)
        file.seek(0)
        found = header(file)
    if found is not None:
        return "commands" if found.begins_commands else "dump"
    if COMMANDS.match(head):
        return "commands"
    raise _unknown(head)


def _unknown(head: bytes) -> RestoreDrillError:
    if not head:
        empty: RestoreDrillError = nothing_came_back("the file is empty")
        return empty
    return BackupFailed(
        "it is neither a dump nor an append-only file of Redis",
        remedy="Look at how it begins, and at what the backup job writes.",
        stage=Stage.RESTORE,
    )


def _described(work: Path, paths: list[Path], kind: str, notes: list[str]) -> dict[str, Any]:
    first = paths[1] if kind == "parts" else paths[0]
    sizes = [path.stat().st_size for path in paths]
    with first.open("rb") as file:
        found = header(file)
        checked = kind == "dump" and found and has_checksum(file, sizes[0], found.version)
    if kind == "dump" and not checked:
        notes.append("the dump carries no checksum of its own (rdbchecksum no, or Redis older than 2.6)")
    return {
        "kind": kind,
        "paths": [str(path.relative_to(work)) for path in paths],
        "sizes": sizes,
        "notes": notes,
        "checksum": bool(checked),
        **_told(found),
    }


def _told(found: Header | None) -> dict[str, Any]:
    if found is None:
        return {"format": 0, "family": "redis", "release": "", "dumped": 0, "contradicts": False}
    written = found.fields.get("ctime", "")
    return {
        "format": found.version,
        "family": found.family,
        "release": found.release,
        "dumped": int(written) if written.isdecimal() else 0,
        "contradicts": found.contradicts_itself,
    }
