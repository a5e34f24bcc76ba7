"""A base backup in whatever form it came, laid out in one way. Runs inside the sandbox, before any program does.

What comes in: a data directory (``pg_basebackup -Fp``, a copy between ``pg_backup_start`` and ``pg_backup_stop``,
either as it is or packed), or the archives of ``pg_basebackup -Ft`` in one folder, or the first of them with the others
as parts. What goes out: ``data``, and ``tablespaces/<oid>`` beside it, to which ``data/pg_tblspc/<oid>`` leads by a
relative link: the whole can be copied anywhere, and no link leads out of it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.postgres.physical_manifest import MANIFEST, walk
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.links import resolve
from restore_drill.manifests.base import usual_names
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_DEEP: Final = 3
#: What one of the archives is called, whatever compresses it.
_NAME: Final = re.compile(r"(?P<what>base|pg_wal|[0-9]+)\.tar(?:\.[0-9A-Za-z]+)?")
_SPACE: Final = re.compile(r"[0-9]+")
_OWN: Final = re.compile(r"PG_[0-9]+_[0-9]+")
_SEGMENT: Final = re.compile(r"[0-9A-F]{24}")
_SIGNED: Final = (".asc", ".sig", ".gpg", ".minisig", ".bundle")


@dataclass(slots=True)
class Laid:
    """A base backup as :func:`arrange` leaves it.

    Attributes:
        root: What has ``data`` and ``tablespaces`` in it.
        form: ``plain`` or ``tar``.
        mapped: Tablespaces that must be there, by their numbers.
        spaces: Those that are.
        beside: Lists of digests that lay inside the data directory, and were put beside it.
    """

    root: Path
    form: str
    mapped: set[str] = field(default_factory=set)
    spaces: set[str] = field(default_factory=set)
    beside: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"


def find(place: Path) -> tuple[str, Path] | None:
    """Where in a tree the base backup is: ``plain`` and its data directory, or ``tar`` and the folder of archives.

    Raises:
        BackupFailed: There are several (stage ``restore``).
    """
    found = list(_candidates(place, _DEEP))
    if len(found) > 1:
        raise BackupFailed(
            f"the snapshot holds {len(found)} base backups",
            remedy="Give each of them a snapshot of its own.",
            stage=Stage.RESTORE,
        )
    return found[0] if found else None


def _candidates(place: Path, deep: int) -> Iterator[tuple[str, Path]]:
    with os.scandir(place) as entries:
        inside = {entry.name: entry for entry in entries}
    if "PG_VERSION" in inside and "global" in inside:
        yield "plain", place
        return
    if any((found := _NAME.fullmatch(name)) and found["what"] == "base" for name in inside):
        yield "tar", place
        return
    for name in sorted(inside) if deep else ():
        if inside[name].is_dir(follow_symlinks=False):
            yield from _candidates(place / name, deep - 1)


def survey(call: Call, *, payload: str, parts: Sequence[str], pieces: str) -> dict[str, Any]:
    """Which archives there are to be unpacked before :func:`arrange` can lay them out.

    Args:
        call: Where this runs.
        payload: The tree that came.
        parts: Further files of the same snapshot; their names are lost.
        pieces: A directory that is made, for what they are unpacked into.

    Returns:
        ``form``, ``place`` (of the data directory, or of the archives), ``archives`` (``what`` each holds, ``""`` where
        nothing says so, and its ``path``), ``manifest`` (its path, ``""`` where it is in the data directory).

    Raises:
        BackupFailed: It is no base backup (stage ``restore``).
    """
    found = find(call.work / payload)
    if found is None:
        raise BackupFailed(
            "there is neither a data directory nor a base.tar in it",
            remedy="Check what the backup job copies: pg_basebackup writes PG_VERSION and global/, or base.tar.",
            stage=Stage.RESTORE,
        )
    form, place = found
    (call.work / pieces).mkdir(mode=0o700)
    archives = [] if form == "plain" else _archives(place)
    manifests = [place / MANIFEST] if form == "tar" and (place / MANIFEST).is_file() else []
    for part in parts:
        path = call.work / part
        if _is_manifest(path):
            manifests.append(path)
        else:
            archives.append(("", path))
    return {
        "form": form,
        "place": str(place.relative_to(call.work)),
        "archives": [{"what": what, "path": str(path.relative_to(call.work))} for what, path in archives],
        "manifest": str(manifests[0].relative_to(call.work)) if manifests else "",
    }


def arrange(call: Call, payload: str, known: Mapping[str, Any], root: Path) -> Laid:
    """Lay a base backup out below a directory that does not exist yet.

    Args:
        call: Where this runs.
        payload: The tree that came.
        known: What :func:`survey` found, and for each archive the ``place`` into which it was unpacked.
        root: That directory.

    Raises:
        BackupFailed: A tablespace is missing, or a link leads outside (stage ``restore``).
        CouldNotVerify: What a part is cannot be told.
    """
    laid = Laid(root, known["form"])
    root.mkdir(mode=0o700)
    (root / "tablespaces").mkdir(mode=0o700)
    pieces = [(each["what"], call.work / each["place"]) for each in known["archives"]]
    base = call.work / known["place"] if laid.form == "plain" else pieces.pop(0)[1]
    base.rename(laid.data)
    if known["manifest"]:
        (call.work / known["manifest"]).rename(laid.data / MANIFEST)
    for each in known["archives"]:
        (call.work / each["path"]).unlink()
    for what, place in pieces:
        _piece(what, place, laid)
    _open_up(root)
    _put_beside(laid)
    tree = call.work / payload
    _link(laid, tree if tree.exists() else laid.data)
    _require_spaces(laid)
    _refuse_links_outside(laid)
    return laid


def _archives(place: Path) -> list[tuple[str, Path]]:
    """The archives of a folder and what they hold, the data directory first."""
    found = [(match["what"], path) for path in place.iterdir() if (match := _NAME.fullmatch(path.name))]
    if len({what for what, _ in found}) < len(found):
        raise BackupFailed(
            "the folder holds one archive of the base backup twice",
            remedy="Let the backup job write into an empty folder.",
            stage=Stage.RESTORE,
        )
    return sorted(found, key=lambda each: (each[0] != "base", each))


def _piece(what: str, place: Path, laid: Laid) -> None:
    """Put one further piece where it belongs; what it is, is told by what is in it where its name is lost."""
    inside = sorted(path.name for path in place.iterdir())
    if what == "pg_wal" or (not what and any(_SEGMENT.fullmatch(name) for name in inside)):
        _merge(place, laid.data / "pg_wal")
    elif what or any(_OWN.fullmatch(name) for name in inside):
        oid = what or _number_of(place, laid)
        place.rename(laid.root / "tablespaces" / oid)
        laid.spaces.add(oid)
    else:
        raise BackupFailed(
            "a part of the snapshot is neither write-ahead log, nor a tablespace, nor a manifest",
            remedy="List only pg_wal.tar, the tablespaces' archives and backup_manifest under parts.",
            stage=Stage.RESTORE,
        )


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"PostgreSQL-Backup-Manifest-Version"' in file.read(200)


def _merge(source: Path, place: Path) -> None:
    if place.is_symlink():
        place.unlink()  # of a log that lay elsewhere, and came separately
    place.mkdir(mode=0o700, exist_ok=True)
    for path in sorted(source.iterdir()):
        target = place / path.name
        if target.is_dir() and path.is_dir() and not target.is_symlink():
            _merge(path, target)
        else:
            path.rename(target)
    source.rmdir()


def _number_of(place: Path, laid: Laid) -> str:
    """Which tablespace a part is: the one whose files the manifest lists, or the only one that is missing."""
    wanted = _mapped(laid.data) - laid.spaces
    own = next(path.name for path in place.iterdir() if _OWN.fullmatch(path.name))
    one = next((Path(base, name).relative_to(place) for base, _, names in os.walk(place / own) for name in names), None)
    manifest = laid.data / MANIFEST
    if len(wanted) > 1 and one and manifest.is_file():
        text = manifest.read_text("utf-8", "surrogateescape")
        wanted = {oid for oid in wanted if f'"pg_tblspc/{oid}/{one}"' in text} or wanted
    if len(wanted) != 1:
        raise CouldNotVerify(
            "which tablespace a part of the snapshot is cannot be told",
            remedy="List backup_manifest before the archives of tablespaces under parts, or keep the files of a "
            "snapshot in one folder under the names that pg_basebackup gave them.",
            stage=Stage.RESTORE,
        )
    return wanted.pop()


def _mapped(data: Path) -> set[str]:
    """The tablespaces that ``tablespace_map`` lists."""
    path = data / "tablespace_map"
    if not path.is_file() or path.is_symlink():
        return set()
    lines = path.read_text("utf-8", "surrogateescape").splitlines()
    return {line.partition(" ")[0] for line in lines if _SPACE.fullmatch(line.partition(" ")[0])}


def _open_up(root: Path) -> None:
    """Let the owner go through every directory: where modes forbade it, nothing could be looked at."""
    for base, directories, _ in os.walk(root):
        for name in directories:
            path = Path(base, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
                path.chmod(stat.S_IMODE(mode) | 0o700)


def _put_beside(laid: Laid) -> None:
    """A list of digests that the backup job wrote into the directory is no file of the server."""
    for name in usual_names():
        for path in sorted(laid.data.glob(f"{escape(name)}*")):
            if path.is_file() and not path.is_symlink() and path.name.removeprefix(name) in ("", *_SIGNED):
                path.rename(laid.root / path.name)
                laid.beside.append(path.name)


def _link(laid: Laid, elsewhere: Path) -> None:
    """Bring tablespaces (and a write-ahead log) that links lead to beside the data, and make the links anew."""
    place = laid.data / "pg_tblspc"
    if place.is_symlink():
        raise _leads_outside("pg_tblspc")
    place.mkdir(mode=0o700, exist_ok=True)
    laid.mapped |= _mapped(laid.data)
    for entry in sorted(path for path in place.iterdir() if _SPACE.fullmatch(path.name)):
        laid.mapped.add(entry.name)
        found = entry if entry.is_dir() else None
        if entry.is_symlink():
            found = _moved(str(entry.readlink()), [elsewhere, laid.data], _OWN)
            entry.unlink()
        if found and entry.name not in laid.spaces:
            found.rename(laid.root / "tablespaces" / entry.name)
            laid.spaces.add(entry.name)
    for oid in laid.spaces:
        (place / oid).symlink_to(f"../../tablespaces/{oid}")
    wal = laid.data / "pg_wal"
    if wal.is_symlink() and (found := _moved(str(wal.readlink()), [elsewhere, laid.data], _SEGMENT)):
        wal.unlink()
        found.rename(wal)


def _moved(target: str, places: Sequence[Path], inside: re.Pattern[str]) -> Path | None:
    """The directory that an absolute link meant, where it lies now: as much of the end of its path as is there."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    for start in range(len(parts) if ".." not in parts else 0):
        for place in places:
            path = place.joinpath(*parts[start:])
            is_own = path.is_dir() and path.resolve() == place.resolve().joinpath(*parts[start:])
            if is_own and any(inside.fullmatch(each.name) for each in path.iterdir()):
                return path
    return None


def _require_spaces(laid: Laid) -> None:
    if missing := len(laid.mapped - laid.spaces):
        raise BackupFailed(
            f"{missing} of {len(laid.mapped)} tablespaces did not come with the base backup",
            looked_at="tablespace_map, pg_tblspc",
            remedy="Store every <oid>.tar in the snapshot, or with the plain format the directories that "
            "--tablespace-mapping names.",
            stage=Stage.RESTORE,
        )


def _refuse_links_outside(laid: Laid) -> None:
    descriptor = os.open(laid.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name, status in walk(laid.data):
            if stat.S_ISLNK(status.st_mode):
                try:
                    resolve(descriptor, b"data/" + name)
                except ValueError as problem:
                    raise _leads_outside(os.fsdecode(name)) from problem
    finally:
        os.close(descriptor)


def _leads_outside(name: str) -> BackupFailed:
    return BackupFailed(
        "a symbolic link in the data directory leads outside of the backup",
        remedy="What it leads to did not come along, and nothing is read through it here: find out what made it. A "
        "write-ahead log that lies elsewhere is brought along by pg_basebackup -X stream.",
        stage=Stage.RESTORE,
        details=(name,),
    )
