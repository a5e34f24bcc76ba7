"""Physical base backups: the files of a server, brought up again as they were.

The files are looked at by our own code before any program runs (:mod:`.physical_examination`), copied, given a
configuration of ours and recovered (:mod:`.physical_recovery`); what is wrong with them and keeps nothing from starting
is told by ``integrity`` (:mod:`.physical_integrity`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.postgres import logical, outcome
from restore_drill.engines.postgres import physical_integrity as integrity
from restore_drill.engines.postgres import physical_recovery as recovery
from restore_drill.engines.postgres.prepare import Loaded
from restore_drill.engines.postgres.restored import RestoredPostgres
from restore_drill.engines.postgres.server import SUPERUSER, PostgresServer
from restore_drill.engines.postgres.session import sqlstate
from restore_drill.engines.postgres.settings import Settings as LogicalSettings
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.model import Payload, Stage
from restore_drill.sandboxes.base import Sandbox

_EXAMINE: Final = "restore_drill.engines.postgres.physical_examination:examine"
_SURVEY: Final = "restore_drill.engines.postgres.physical_layout:survey"
_UNPACK: Final = "restore_drill.archives.packed:unpack_file"
_ROOT: Final = "base-backup"
_PIECES: Final = "base-backup-pieces"
#: Set-id bits are told by ``integrity``, and nothing in these archives is ever executed.
_LIMITS: Final = {"allow": ["setuid"]}
_LIBRARY: Final = re.compile(r"[A-Za-z0-9_]{1,63}")
_BASE: Final = re.compile(r"base\.tar(?:\.[0-9A-Za-z]+)?")
_DEEP: Final = 3
#: What a server says when its own files are not what they were: data and index corrupted.
_DAMAGED: Final = ("XX001", "XX002")
_NO_FILE: Final = re.compile(r'could not open file "(?:base|global|pg_[a-z_]+)/')
_STATE: Final = (
    "select pg_is_in_recovery(), current_setting('archive_mode'), s.system_identifier, c.timeline_id, "
    "current_setting('server_version'), current_setting('data_checksums'), current_setting('shared_preload_libraries') "
    "from pg_control_system() s, pg_control_checkpoint() c"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The target's own options.

    Attributes:
        preload: Libraries that must be loaded at the start, by the catalogue's word and never by the backup's.
        superuser: Who may log in and do everything; ``""``: it is found out.
        atomic: The files were copied at one instant (a file-system snapshot), so that they need no ``backup_label``.
    """

    preload: tuple[str, ...] = ()
    superuser: str = ""
    atomic: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Read them.

        Raises:
            UsageProblem: One has a wrong value.
        """
        preload, atomic, name = given.get("preload", ()), given.get("atomic", False), given.get("superuser", "")
        fine = isinstance(preload, list | tuple) and all(
            isinstance(each, str) and _LIBRARY.fullmatch(each) for each in preload
        )
        if not (fine and isinstance(atomic, bool) and isinstance(name, str) and len(name) < 64):
            raise UsageProblem(
                "an option of the postgres engine has a wrong value",
                remedy="preload lists libraries without a path, superuser is a role's name, atomic is true or false.",
            )
        return cls(tuple(preload), name, atomic)


@dataclass(slots=True)
class Physical:
    """A server that has recovered from a base backup.

    Attributes:
        facts: What the restore measured.
    """

    server: PostgresServer
    facts: dict[str, Any]
    notes: list[str]
    _found: Mapping[str, Any]
    _source: str
    _given: Mapping[str, str]
    _told: integrity.Report = field(default_factory=integrity.empty)

    def integrity(self, mode: str = "full", *, seconds: float) -> integrity.Report:
        """``problems``, ``checked``, ``details`` and ``undone``, in the form of :meth:`Restored.integrity`."""
        until = time.monotonic() + seconds
        reports = [self._told]

        def left() -> float:
            return max(1.0, until - time.monotonic())

        if self._found["manifest"]:
            reports.append(integrity.verify(self.server, self._source, quick=mode != "full", seconds=left()))
        if mode == "full" and self._found["control"]["checksums"]:
            reports.append(integrity.data_checksums(self.server, self._given, seconds=left()))
        return integrity.joined(reports)


def looks_physical(path: Path) -> bool:
    """Whether a tree holds a base backup, by names alone; nothing in it is opened."""
    return _looks(path, _DEEP)


def _looks(path: Path, deep: int) -> bool:
    if not path.is_dir() or path.is_symlink():
        return False
    names = sorted(entry.name for entry in path.iterdir())
    if ("PG_VERSION" in names and "global" in names) or any(_BASE.fullmatch(name) for name in names):
        return True
    return deep > 0 and len(names) < 1000 and any(_looks(path / name, deep - 1) for name in names)


def restore(payload: Payload, sandbox: Sandbox, options: RestoreOptions) -> Restored:
    """Bring a base backup back; see :func:`bring_back`.

    Raises:
        BackupFailed: As there, or there is nothing in it, or not the database that the catalogue names.
    """
    until = time.monotonic() + options.deadline
    asked = logical.Plan(sandbox, options, LogicalSettings.of(options.settings), [], until)
    try:
        physical = bring_back(payload, sandbox, options)
        came = outcome.find(physical.server, asked, Loaded())
    except CouldNotVerify as problem:
        raise _of_files(problem) or problem from problem.__cause__

    def of_files(mode: str, databases: Sequence[str]) -> Mapping[str, Any]:  # noqa: ARG001 - files belong to all
        return physical.integrity(mode, seconds=options.deadline)

    facts = {**physical.facts, **came.facts}
    notes = [*physical.notes, *came.notes]
    return RestoredPostgres(physical.server, options, came.databases, facts, notes, physical=True, of_files=of_files)


def _of_files(problem: CouldNotVerify) -> BackupFailed | None:
    """The same error as one of the backup, when the server cannot read its own catalogues: nothing else wrote them."""
    said = "\n".join(problem.details)
    if sqlstate(said) not in _DAMAGED and not _NO_FILE.search(said):
        return None
    return BackupFailed(
        "the server cannot read its own catalogues: files of the backup are missing or damaged",
        remedy="Use another copy or an earlier snapshot, and see the details on the terminal.",
        stage=Stage.RESTORE,
        details=problem.details,
    )


def bring_back(payload: Payload, sandbox: Sandbox, options: RestoreOptions) -> Physical:
    """Restore a base backup, and leave its server running.

    Raises:
        BackupFailed: It is no base backup, it is damaged, or its write-ahead log does not make it consistent.
        CouldNotVerify: A program, an image, a library or time is missing, or it is of a kind not restored here.
    """
    until = time.monotonic() + options.deadline
    settings = Settings.of(options.settings)
    if options.depth != "full":
        raise CouldNotVerify(
            f"a base backup comes back whole or not at all, and the depth asked for is {options.depth}",
            remedy="Drill it with depth: full, or drill a dump of it.",
            stage=Stage.RESTORE,
        )
    found = _examine(payload, sandbox, until)
    major = int(found["version"])
    ground = sandbox.equip(logical.need(str(major)))
    server = PostgresServer(sandbox, ground, until=until, threads=options.threads)
    source = sandbox.admit(sandbox.work / _ROOT)
    clock = time.monotonic()
    data, empty = recovery.copy(server, source, seconds=max(1.0, until - clock))
    copied = time.monotonic() - clock
    given = recovery.settings(found["control"], settings.preload, major)
    server.adopt(data, str(major))
    server.session = dict(recovery.SESSION)
    recovery.start(server, given, until=until)
    _greet(server, given, settings, until)
    state = _state(server, until)
    _require(state, found)
    facts = {**_facts(found, state, ground.facts), "copy_seconds": round(copied, 3)}
    told = _told(found, settings)
    return Physical(server, facts, _notes(found, empty, settings), found, source, given, told)


def _examine(payload: Payload, sandbox: Sandbox, until: float) -> dict[str, Any]:
    """Unpack what is packed, lay it out, and look at it."""
    tree = str(payload.path.relative_to(sandbox.work))
    parts = [str(part.relative_to(sandbox.work)) for part in payload.parts]

    def call(function: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = sandbox.call(function, arguments, deadline=max(1.0, until - time.monotonic()))
        return answer

    known = call(_SURVEY, payload=tree, parts=parts, pieces=_PIECES)
    for number, archive in enumerate(known["archives"]):
        archive["place"] = f"{_PIECES}/{number}"
        try:
            call(_UNPACK, path=archive["path"], root=archive["place"], limits=_LIMITS)
        except RestoreDrillError as problem:
            problem.stage = Stage.RESTORE
            problem.looked_at = problem.looked_at or _label(archive["what"])
            raise
    return call(_EXAMINE, payload=tree, known=known, root=_ROOT)


def _label(what: str) -> str:
    return "the archive of a tablespace" if what.isdigit() else f"{what}.tar" if what else "a part of the snapshot"


def _greet(server: PostgresServer, given: Mapping[str, str], settings: Settings, until: float) -> None:
    """See that a superuser may log in; which one that is, is found out where nobody says so."""
    server.user = settings.superuser or SUPERUSER
    left = max(1.0, until - time.monotonic())
    answer = server.ask("template1", ["select 1"], seconds=left)[0]
    refused = answer.problem is not None and re.search(
        r"role .* (?:does not exist|is not permitted)", str(answer.problem)
    )
    if refused and not settings.superuser:
        server.stop()
        server.user = recovery.superuser(server, given, seconds=left)
        recovery.start(server, given, until=until)
        answer = server.ask("template1", ["select 1"], seconds=left)[0]
    if answer.problem:
        raise answer.problem


def _state(server: PostgresServer, until: float) -> list[str]:
    row = server.psql("template1", _STATE, seconds=max(1.0, until - time.monotonic()))[0]
    return [value or "" for value in row]


def _require(state: Sequence[str], found: Mapping[str, Any]) -> None:
    """Hold what the server says of itself against what must be: recovered, archiving nothing, the very cluster."""
    if state[0] != "f":
        raise BackupFailed(
            "the server answers but is still in recovery: it has not reached the end of its write-ahead log",
            remedy="Start it by hand and look at its log.",
            stage=Stage.RESTORE,
        )
    if state[1] != "off" or state[2] != found["control"]["system"]:
        raise CouldNotVerify(
            "the server does not run as it was told to: " +
            ("it archives" if state[1] != "off" else "it is another cluster than the backup's"),
            remedy="Look at the configuration that the image adds.",
            stage=Stage.RESTORE,
        )  # fmt: skip


def _facts(found: Mapping[str, Any], state: Sequence[str], programs: Mapping[str, Any]) -> dict[str, Any]:
    label, control = found["label"], found["control"]
    return {
        "kind": "physical",
        "form": found["form"],
        "version": state[4],
        "system_identifier": state[2],
        "timeline": state[3],
        "archive_mode": state[1],
        "recovery": recovery.Recovery().target,
        "data_checksums": state[5],
        "preloaded": state[6],
        "taken_from": _said(label, "backup from", r"primary|standby|master"),
        "started": _said(label, "start time", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z0-9+-]{1,6}"),
        "checkpoint": control["checkpoint"],
        "wal_files": found["wal"],
        "tablespaces": len(found["spaces"]),
        "files": found["files"],
        "bytes": found["bytes"],
        "manifest": found["listed"],
        "manifest_digests": found["sealed"],
        "programs": dict(programs),
    }


def _said(label: Mapping[str, str], name: str, form: str) -> str:
    """What the label says, where it is what a server writes there: evidence is no place for other text."""
    return label[name] if re.fullmatch(form, label.get(name, "")) else ""


def _told(found: Mapping[str, Any], settings: Settings) -> integrity.Report:
    """What was found before anything started."""
    problems = [each for each in found["problems"] if not (settings.atomic and each["rule"] == "backup_label")]
    return {**integrity.empty(), "problems": problems, "details": list(found["details"]), "checked": ["data directory"]}


def _notes(found: Mapping[str, Any], empty: Sequence[str], settings: Settings) -> list[str]:
    notes = list(found["notes"])
    if empty:
        notes.append(f"{len(empty)} empty directories were missing and made anew, as stores of objects keep none")
    if not found["label"] and settings.atomic:
        notes.append("there is no backup_label: it is taken for a snapshot of one instant (engine_options.atomic)")
    return notes
