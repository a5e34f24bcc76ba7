"""What is known of a base backup before any program has touched it. Runs inside the sandbox."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.postgres import physical_control as control
from restore_drill.engines.postgres import physical_manifest as manifests
from restore_drill.engines.postgres.physical_layout import arrange
from restore_drill.engines.postgres.physical_manifest import MANIFEST, Findings
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_LABEL: Final = re.compile(r"([A-Z][A-Z ]*[A-Z]): (.*)")
_POSITION: Final = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})")
_OLDEST, _NEWEST = 12, 18
_MOST: Final = 1 << 16
_LATER: Final = "Take base backups with pg_basebackup -X stream, which brings the write-ahead log that they need along."


def examine(call: Call, *, payload: str, known: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Lay the backup out below ``root`` (:func:`.physical_layout.arrange`), and read what it says of itself.

    Returns:
        ``form``, ``version`` (the major one), ``control``, ``label``, ``spaces``, ``manifest`` (whether there is one),
        ``listed`` (files in it), ``sealed`` (by which algorithms), ``files``, ``bytes``, ``wal`` (files), ``problems``,
        ``details``, ``notes``.

    Raises:
        BackupFailed: Nothing can start from it (stage ``restore``).
        CouldNotVerify: It is of a kind that is not restored here.
    """
    findings = Findings()
    laid = arrange(call, payload, known, call.work / root)
    version = _version(laid.data)
    cluster = control.parse(_begin_of(laid.data / "global" / "pg_control", "global/pg_control"))
    label = _label(laid.data)
    listed = _listed(laid.data, findings)
    seen = manifests.compare(laid.data, listed, findings)
    if listed and listed.system and listed.system != cluster.system:
        findings.add(MANIFEST, "the manifest is of another cluster than the data")
    wal = seen.pop("wal")
    notes = [*seen.pop("notes"), *_consistent(cluster, label, listed is not None, findings)]
    _require_wal(cluster, label, listed.ranges if listed else [], wal)
    return {
        **seen,
        "form": laid.form,
        "version": version,
        "control": cluster.to_json(),
        "label": label,
        "spaces": sorted(laid.spaces),
        "manifest": (laid.data / MANIFEST).is_file(),
        "listed": len(listed.files) if listed else 0,
        "wal": len(wal),
        "sealed": sorted(_kinds(listed)),
        "problems": findings.problems,
        "details": findings.details,
        "notes": notes,
    }


def _kinds(listed: manifests.Listed | None) -> set[str]:
    return {algorithm or "none" for _, algorithm, _ in listed.files.values()} if listed else set()


def _begin_of(path: Path, name: str) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(_MOST)
    except OSError as problem:
        raise BackupFailed(
            f"{name} is missing from the base backup" if isinstance(problem, FileNotFoundError) else
            f"{name} of the base backup cannot be read",
            remedy="Nothing can start without it: use another copy or snapshot, and check what the backup job copies.",
            stage=Stage.RESTORE,
        ) from problem  # fmt: skip


def _version(data: Path) -> str:
    text = _begin_of(data / "PG_VERSION", "PG_VERSION")[:20].decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9]{1,2}(?:\.[0-9])?", text, re.ASCII):
        raise BackupFailed(
            "PG_VERSION of the base backup holds no version",
            remedy="The file was damaged after the backup was made: use another copy or snapshot.",
            stage=Stage.RESTORE,
        )
    if not _OLDEST <= float(text) < _NEWEST + 1:
        raise CouldNotVerify(
            f"it is a base backup of PostgreSQL {text}, and those of {_OLDEST} to {_NEWEST} can be drilled",
            remedy="Drill a dump of it instead.",
            stage=Stage.RESTORE,
        )
    return text


def _label(data: Path) -> dict[str, str]:
    """``backup_label``: where recovery begins; empty where there is none.

    Raises:
        BackupFailed: It is damaged.
        CouldNotVerify: The backup is an incremental one.
    """
    path = data / "backup_label"
    if not os.path.lexists(path):
        return {}
    text = _begin_of(path, "backup_label").decode("utf-8", "replace")
    label = {found[1]: found[2] for line in text.splitlines() if (found := _LABEL.fullmatch(line))}
    if "INCREMENTAL FROM LSN" in label:
        raise CouldNotVerify(
            "it is an incremental backup, which holds only what changed since another one",
            remedy="Drill what pg_combinebackup makes of the chain, or the full backup that it builds on.",
            stage=Stage.RESTORE,
        )
    if not _POSITION.match(label.get("START WAL LOCATION", "")):
        raise BackupFailed(
            "backup_label of the base backup is damaged: it does not say where recovery begins",
            remedy="Without it a server would start from the wrong place: use another copy or snapshot.",
            stage=Stage.RESTORE,
        )
    return {name.lower(): value[:200] for name, value in label.items()}


def _listed(data: Path, findings: Findings) -> manifests.Listed | None:
    path = data / MANIFEST
    if not path.is_file() or path.is_symlink():
        return None
    try:
        return manifests.read(path)
    except manifests.Malformed as problem:
        findings.add(MANIFEST, f"the manifest cannot be believed: {problem}")
        return None


def _consistent(known: control.Control, label: Mapping[str, str], sealed: bool, findings: Findings) -> list[str]:
    """What can be said about whether the files were copied at one instant."""
    notes = []
    if not label and known.was_shut_down:
        notes.append("there is no backup_label: it is the copy of a server that was stopped")
    elif not label:
        findings.add(
            "backup_label",
            f"it is missing although the server was {known.state}: recovery begins at the wrong place, and pages that "
            "were being written stay torn",
        )
    if not sealed:
        notes.append(
            "there is no backup_manifest that could be used: only the data itself shows whether files are missing"
        )
    return notes


def _require_wal(
    known: control.Control, label: Mapping[str, str], ranges: Sequence[tuple[int, str, str]], wal: Mapping[str, int]
) -> None:
    """Refuse to start where the write-ahead log that makes the files consistent is not there.

    Raises:
        BackupFailed: It is missing, or a part of it is (stage ``restore``).
    """
    if not label:
        return
    if not wal:
        raise _no_wal("holds no write-ahead log", _LATER)
    start = label["start wal location"]
    timeline = (
        int(label.get("start timeline", known.timeline)) if str(label.get("start timeline", "1")).isdigit() else 1
    )
    wanted = dict.fromkeys([_segment(timeline, start, known.segment)])
    for line, first, last in ranges:
        wanted |= dict.fromkeys(_segments(line, first, last, known.segment))
    missing = [name for name in wanted if name not in wal]
    if missing:
        raise _no_wal(f"lacks {len(missing)} of the {len(wanted)} files of write-ahead log that it needs", _LATER)
    if short := [name for name in wanted if wal[name] != known.segment]:
        raise _no_wal(
            f"has {len(short)} files of write-ahead log that are cut, of the {len(wanted)} that it needs",
            "Use another copy or snapshot.",
        )


def _no_wal(what: str, remedy: str) -> BackupFailed:
    return BackupFailed(
        f"the base backup {what}, so that it cannot become consistent",
        looked_at="pg_wal",
        remedy=remedy,
        stage=Stage.RESTORE,
    )


def _value(position: str) -> int:
    found = _POSITION.match(position)
    return (int(found[1], 16) << 32) + int(found[2], 16) if found else 0


def _segment(timeline: int, position: str, size: int) -> str:
    number = _value(position) // max(size, 1)
    each = (1 << 32) // max(size, 1)
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


def _segments(timeline: int, first: str, last: str, size: int) -> list[str]:
    """The files of a range; its end is the first byte that is not needed any more."""
    count = (max(_value(last) - 1, _value(first)) // max(size, 1)) - _value(first) // max(size, 1) + 1
    if count > 1 << 20:
        raise _no_wal("needs more write-ahead log than any backup has: its manifest is damaged", "Use another copy.")
    start = _value(first) // max(size, 1) * size
    return [
        _segment(timeline, f"{at >> 32:X}/{at & 0xFFFFFFFF:X}", size) for at in range(start, start + count * size, size)
    ]
