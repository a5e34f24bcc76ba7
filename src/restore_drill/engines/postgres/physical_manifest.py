"""``backup_manifest`` held against the files of a base backup, both ways, without following a link.

``pg_verifybackup`` compares sizes and digests of what the manifest lists. It passes over ``postgresql.auto.conf``,
``standby.signal``, ``recovery.signal`` and everything in ``pg_wal``, follows symbolic links, and never looks at modes:
that is what is looked at here, beside names and sizes. Every function runs inside the sandbox.

Source: PostgreSQL documentation, chapter "Backup Manifest Format". The server writes one file a line, and the checksum
of the manifest is over these very bytes: a reader of lines is enough, and needs no memory for the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.postgres.physical_control import crc32c

MANIFEST: Final = "backup_manifest"
AUTO: Final = b"postgresql.auto.conf"
SIGNALS: Final = (b"standby.signal", b"recovery.signal")
#: What lies in ``pg_wal`` of an honest backup.
_WAL: Final = re.compile(
    rb"pg_wal/(?:[0-9A-F]{24}(?:\.partial)?|[0-9A-F]{8}\.history|[0-9A-F]{24}\.[0-9A-F]{8}\.backup"
    rb"|archive_status/[0-9A-F.a-z]+\.(?:ready|done)|summaries/[0-9A-F]{40}\.summary|xlogtemp\.[0-9]+)"
)
#: What ``pg_basebackup --write-recovery-conf`` appends.
_WRITTEN: Final = re.compile(rb"\s*(?:(?:primary_conninfo|primary_slot_name) *= *'(?:[^'\n]|'')*'[ \t]*\n\s*)+")
_TABLESPACE: Final = re.compile(rb"pg_tblspc/[0-9]+")
_LONGEST: Final = 1 << 16
_MOST_TEXT: Final = 1 << 20
_NAMED: Final = 20


class Malformed(ValueError):
    """It is no manifest that a server writes."""


@dataclass(slots=True)
class Listed:
    """What a manifest says.

    Attributes:
        files: Size, algorithm and digest by path.
        ranges: Timeline, first and last position of the write-ahead log that it takes to restore.
        system: The identifier of the cluster, from version 2 on (PostgreSQL 17), else ``""``.
        twice: Paths that stand in it more than once.
    """

    files: dict[bytes, tuple[int, str, str]] = field(default_factory=dict)
    ranges: list[tuple[int, str, str]] = field(default_factory=list)
    system: str = ""
    twice: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """Problems by kind, with a few of the names that have them; the names are for the terminal only."""

    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)

    def add(self, rule: str, message: str, name: bytes = b"") -> None:
        """One more of a kind."""
        count = self._counts[rule, message] = self._counts.get((rule, message), 0) + 1
        if name and count <= _NAMED:
            self._names.append(f"{message}: {os.fsdecode(name)}")

    @property
    def problems(self) -> list[dict[str, Any]]:
        """As a restored system reports them."""
        return [{"rule": rule, "message": what, "count": count} for (rule, what), count in self._counts.items()]

    @property
    def details(self) -> list[str]:
        """The names."""
        return [name.encode(errors="backslashreplace").decode() for name in self._names]


def read(path: Path) -> Listed:
    """Read a manifest.

    Raises:
        Malformed: It is not what a server writes, or its checksum does not fit.
    """
    listed, digest = Listed(), hashlib.sha256()
    with path.open("rb") as file:
        while line := file.readline(_LONGEST):
            if line.startswith(b'"Manifest-Checksum"'):
                if digest.hexdigest().encode() not in line or file.read(1):
                    raise Malformed("its own checksum does not fit")
                return listed
            digest.update(line)
            _take(line.strip().rstrip(b","), listed)
    raise Malformed("it has no end")


def _take(line: bytes, listed: Listed) -> None:
    if line.startswith(b'"System-Identifier"'):
        listed.system = line.partition(b":")[2].strip().decode("ascii", "replace")
    if not (line.startswith(b'{ "') and line.endswith(b"}")):
        return
    try:
        entry = json.loads(line)
        if "Timeline" in entry:
            listed.ranges.append((int(entry["Timeline"]), str(entry["Start-LSN"]), str(entry["End-LSN"])))
            return
        path = bytes.fromhex(entry["Encoded-Path"]) if "Encoded-Path" in entry else entry["Path"].encode()
        value = int(entry["Size"]), str(entry.get("Checksum-Algorithm", "")), str(entry.get("Checksum", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise Malformed("a line of it is damaged") from problem
    if path in listed.files:
        listed.twice.append(path)
    listed.files[path] = value


def walk(data: Path) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every file of a data directory and of its tablespaces, and what stands there instead of one.

    Only the links of tablespaces are followed, which were made anew (:mod:`.physical_layout`).
    """
    pending = [b""]
    root = os.fsencode(data) + b"/"
    while pending:
        below = pending.pop()
        with os.scandir(root + below) as entries:
            for entry in entries:
                name = below + entry.name
                status = entry.stat(follow_symlinks=False)
                is_space = stat.S_ISLNK(status.st_mode) and _TABLESPACE.fullmatch(name)
                if stat.S_ISDIR(status.st_mode) or is_space:
                    pending.append(name + b"/")
                if not is_space:
                    yield name, status


def compare(data: Path, listed: Listed | None, findings: Findings) -> dict[str, Any]:
    """Hold the files against the manifest, and look at what needs none.

    Args:
        data: The data directory, with its tablespaces in place.
        listed: What the manifest says; ``None``: there is none.
        findings: Takes what is wrong.

    Returns:
        ``files``, ``bytes``, ``wal`` (names of files of write-ahead log with their sizes), ``notes``.
    """
    seen: set[bytes] = set()
    facts: dict[str, Any] = {"files": 0, "bytes": 0, "wal": {}, "notes": []}
    for name, status in walk(data):
        _look_at(name, status, findings)
        if stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IRUSR:
            (data / os.fsdecode(name)).chmod(0o400)  # so that the server can start all the same
        if stat.S_ISDIR(status.st_mode):
            continue
        seen.add(name)
        facts["files"] += 1
        facts["bytes"] += status.st_size
        if re.fullmatch(rb"pg_wal/[0-9A-F]{24}", name):
            facts["wal"][name[7:].decode()] = status.st_size
        elif name.startswith(b"pg_wal/") and not _WAL.fullmatch(name) and not (listed and name in listed.files):
            findings.add("wal", "a file in pg_wal is no write-ahead log", name)
        elif listed is not None:
            _one(name, status, listed.files, findings)
    if listed is not None:
        _rest(data, seen, listed, findings, facts["notes"])
    return facts


def _look_at(name: bytes, status: os.stat_result, findings: Findings) -> None:
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        findings.add("link", "a symbolic link stands in place of a file or directory", name)
    elif not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        findings.add("kind", "something other than a file stands in the data directory", name)
    elif mode & (stat.S_ISUID | stat.S_ISGID) and not (stat.S_ISDIR(mode) and not mode & stat.S_ISUID):
        findings.add("mode", "a file has a set-user-id or set-group-id bit", name)
    elif not mode & stat.S_IRUSR:
        findings.add("mode", "a file or directory can be read by nobody", name)


def _one(name: bytes, status: os.stat_result, files: Mapping[bytes, tuple[int, str, str]], findings: Findings) -> None:
    if name in (MANIFEST.encode(), AUTO, *SIGNALS) or name.startswith(b"pg_wal/"):
        return
    known = files.get(name)
    if known is None:
        findings.add(MANIFEST, "a file is not in the manifest", name)
    elif stat.S_ISREG(status.st_mode) and status.st_size != known[0]:
        findings.add(MANIFEST, "a file has another size than the manifest says", name)


def _rest(data: Path, seen: set[bytes], listed: Listed, findings: Findings, notes: list[str]) -> None:
    for name in listed.files:
        if name not in seen and not name.startswith(b"pg_wal/"):
            findings.add(MANIFEST, "a file of the manifest is missing", name)
    for name in listed.twice:
        findings.add(MANIFEST, "the manifest lists a file twice", name)
    written = _configuration(data, listed, findings)
    if written:
        notes.append("it was taken with pg_basebackup --write-recovery-conf: what that added was taken away again")
    for name in SIGNALS:
        if name in seen and name not in listed.files and not (written and name == SIGNALS[0]):
            findings.add("configuration", f"{name.decode()} was added after the backup was made", name)


def _configuration(data: Path, listed: Listed, findings: Findings) -> bool:
    """Whether ``pg_basebackup -R`` wrote into ``postgresql.auto.conf``; anything else that did is a finding."""
    path, known = data / os.fsdecode(AUTO), listed.files.get(AUTO)
    if not path.is_file() or path.is_symlink() or known is None:
        if path.is_file() and known is None:
            findings.add("configuration", "postgresql.auto.conf was added after the backup was made")
        return False
    size, algorithm, digest = known
    with path.open("rb") as file:
        text = file.read(_MOST_TEXT)
    same = _digest(algorithm, text[:size]) == digest if algorithm in _ALGORITHMS else True
    if same and len(text) == size:
        return False
    if same and len(text) > size and _WRITTEN.fullmatch(text[size:]):
        return True
    findings.add("configuration", "postgresql.auto.conf was changed after the backup was made", AUTO)
    return False


#: ``Checksum-Algorithm`` → how PostgreSQL writes it: a CRC as the bytes that it has in memory.
_ALGORITHMS: Final = {"CRC32C": "", "SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}


def _digest(algorithm: str, content: bytes) -> str:
    if algorithm == "CRC32C":
        return crc32c(content).to_bytes(4, "little").hex()
    return hashlib.new(_ALGORITHMS[algorithm], content).hexdigest()
