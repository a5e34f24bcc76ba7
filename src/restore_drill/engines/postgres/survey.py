"""Which dumps a payload holds, and what each of them says. Every function runs inside the sandbox.

A payload is one dump, or a tree: a dump in directory form, or several dumps side by side (a file of globals and one
dump a database, as many jobs write them).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from restore_drill.engines.postgres import inspect_archive, inspect_script
from restore_drill.engines.postgres.archive import read
from restore_drill.engines.postgres.recognise import CUSTOM, SCRIPT, TAR, recognise
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.recognise import describe
from restore_drill.sandboxes.base import Call

_HEAD: Final = 1024
_DUMPS: Final = 500
_TOC: Final = "toc.dat"
_COMPRESSED: Final = (b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"BZh", b"\x04\x22\x4d\x18")


def headlines(call: Call, paths: list[str], tree: bool, packed: bool) -> list[dict[str, Any]]:
    """The beginning of every dump, scripts first: they may have the roles of the others.

    Args:
        call: The call.
        paths: The payload and its parts, in the work directory.
        tree: The first of them is a directory.
        packed: And was stored as an archive.
    """
    found = []
    for place in paths:
        path = call.work / place
        if tree and place == paths[0]:
            found += [_headline(each, call.work, packed) for each in _in_tree(path)]
        else:
            found.append(_headline(path, call.work, packed))
    return sorted(found, key=lambda each: each["form"] != "script")


def examine(call: Call, path: str, form: str, packed: bool) -> dict[str, Any]:
    """All that is to be known of one dump before it is restored.

    Raises:
        BackupFailed: It is damaged, cut short, or has what no dump has.
    """
    place = call.work / path
    if form == "script":
        return inspect_script.script(place)
    if form == "directory":
        known = inspect_archive.directory(place, packed=packed)
        return {**known, "bytes": sum(path.stat().st_size for path in place.iterdir())}
    known = inspect_archive.custom(place) if form == "custom" else inspect_archive.tar(place)
    return {**known, "bytes": place.stat().st_size}


def sample(call: Call, path: str, form: str, tables: list[str]) -> dict[str, Any]:
    """See :func:`.inspect_archive.selection`."""
    place = call.work / path / _TOC if form == "directory" else call.work / path
    with place.open("rb") as file:
        if form == "tar":
            file.seek(512)
        return inspect_archive.selection(read(file), tables)


def _in_tree(root: Path) -> list[Path]:
    """The dumps in a tree; a directory that has a table of contents is one."""
    found: list[Path] = []
    waiting = [root]
    while waiting:
        place = waiting.pop()
        if (place / _TOC).is_file():
            found.append(place)
            continue
        for path in sorted(place.iterdir()):
            if path.is_symlink():
                continue
            if path.is_dir():
                waiting.append(path)
            elif path.is_file():
                found.append(path)
            if len(found) + len(waiting) > _DUMPS:
                raise CouldNotVerify(
                    f"there are more than {_DUMPS} files in it, and no dump in directory form",
                    remedy="Store a dump, or a directory of dumps.",
                    stage=Stage.RESTORE,
                )
    dumps = [path for path in found if path.is_dir() or path.stat().st_size]
    if not dumps:
        raise BackupFailed("there is no dump in it", remedy="Look at what the backup job packs.", stage=Stage.RESTORE)
    return sorted(dumps)


def _headline(path: Path, work: Path, packed: bool) -> dict[str, Any]:
    place = str(path.relative_to(work))
    if path.is_dir():
        with (path / _TOC).open("rb") as file:
            return {**inspect_archive.describe(read(file)), "form": "directory", "path": place}
    with path.open("rb") as file:
        head = file.read(_HEAD)
        known = recognise(head)
        if known in (CUSTOM, TAR):
            file.seek(0 if known == CUSTOM else 512)
            form = "custom" if known == CUSTOM else "tar"
            described = inspect_archive.describe(read(file))
            return {**described, "form": form, "path": place, "packed": packed}
    if known == SCRIPT:
        return {**inspect_script.headline(path), "path": place}
    raise _unknown(head)


def _unknown(head: bytes) -> BackupFailed | CouldNotVerify:
    if not head:
        return BackupFailed("it is empty", remedy="Use another copy.", stage=Stage.RESTORE)
    if head.startswith(_COMPRESSED):
        return CouldNotVerify(
            "a dump inside the archive is compressed on its own, and only the outermost layer is taken off here",
            remedy="Let the job pack custom dumps (pg_dump -Fc), or compress the archive as a whole.",
            stage=Stage.RESTORE,
        )
    return BackupFailed(
        f"a file of it begins like {describe(head)}, not like a dump of PostgreSQL",
        remedy="Look at what the backup job wrote: an error message may have been stored instead of data.",
        stage=Stage.RESTORE,
    )
