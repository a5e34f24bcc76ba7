"""Exports: the entries of a period, and what somebody needs to check them who neither has nor trusts this package."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.ledger.base import Head, Ledger
from restore_drill.ledger.directory import ENTRIES, HEAD, head_json
from restore_drill.ledger.envelope import NotAnEntry, digest_of, read_small
from restore_drill.ledger.reading import PERIOD
from restore_drill.ledger.signing import PublicKey

#: Name of the directory in an archive.
NAME = "restore-drill-ledger"
_SHIPPED = Path(__file__).parent / "bundle"
_INSTRUCTIONS = ("README.md", "check.sh", "check.py")


@dataclass(frozen=True, slots=True)
class Span:
    """Which entries an export holds.

    Attributes:
        first: The place of the first one, counted from 1.
        last: The place of the last one.
        later: Numbers of reviews that were recorded after it, of runs in it.
    """

    first: int
    last: int
    later: list[int] = field(default_factory=list)


def span_of(ledger: Ledger, since: str, until: str) -> Span:
    """The entries of a period: from the first to the last that was recorded in it, with all between: they are a chain.

    Args:
        ledger: Where they are.
        since: The period's first instant, as entries write it (UTC, ISO 8601).
        until: The first instant after it.

    Raises:
        UsageProblem: None was.
    """
    first = last = 0
    runs: set[str] = set()
    reviews: list[tuple[int, int, str]] = []
    for place, line in enumerate(ledger.lines(), 1):
        try:
            part = read_small(line)
        except NotAnEntry:
            continue  # damaged ones are exported with those around them: whoever checks must see them
        if since <= str(part.get("recorded_at", "")) < until:
            first, last = first or place, place
            runs.add(str(part.get("run", "")))
        elif part["kind"] == "review":
            reviews.append((place, part["sequence"], str(part.get("run", ""))))
    if not first:
        raise UsageProblem(f"no entry was recorded from {since} until {until}", looked_at=ledger.where())
    return Span(first, last, [number for place, number, run in reviews if place > last and run in runs])


def export(ledger: Ledger, span: Span, keys: Sequence[PublicKey], out: Path) -> Head:
    """Write an export: a directory, or an archive when the name ends in ``.tar``; returns its last entry.

    Raises:
        UsageProblem: Something is there already.
        OSError: It cannot be written; nothing is left of it.
    """
    if out.exists():
        raise UsageProblem("this is there already", looked_at=str(out), remedy="Name a place where nothing is.")
    temporary = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    try:
        folder = temporary / NAME
        folder.mkdir()
        head = _fill(ledger, span, keys, folder)
        if out.suffix == ".tar":
            _archive(folder, temporary / "archive")
            (temporary / "archive").rename(out)
        else:
            folder.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return head


def _fill(ledger: Ledger, span: Span, keys: Sequence[PublicKey], folder: Path) -> Head:
    """Write all files."""
    head, begin = Head(0, ""), dict[str, Any]()
    with (folder / ENTRIES).open("wb") as file:
        for place, line in enumerate(ledger.lines(), 1):
            if place > span.last:
                break
            if place < span.first:
                continue
            file.write(line + b"\n")
            try:
                part = read_small(line)
            except NotAnEntry:
                continue
            begin = begin or part
            head = Head(part["sequence"], digest_of(line))
        file.flush()
        os.fsync(file.fileno())
    if not head.digest:
        raise CouldNotVerify("no entry of the period can be read", looked_at=ledger.where())
    (folder / HEAD).write_bytes(head_json(head))
    period = {"ledger": begin["ledger"], "first": begin["sequence"], "previous": begin["previous"],
              "last": head.sequence, "entries": span.last - span.first + 1}  # fmt: skip
    (folder / PERIOD).write_text(json.dumps(period, indent=1) + "\n", "utf-8")
    (folder / "keys").mkdir()
    for key in keys:
        (folder / "keys" / f"{key.key_id}.pub").write_bytes(key.pem)
    for name in _INSTRUCTIONS:
        shutil.copyfile(_SHIPPED / name, folder / name)
    return head


def _archive(folder: Path, out: Path) -> None:
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted([folder, *folder.rglob("*")]):
            name = str(Path(NAME) / path.relative_to(folder)).rstrip("/.")
            archive.add(path, name, recursive=False, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who exported it on which machine is nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member
