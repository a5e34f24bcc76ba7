"""Bring a base backup up: a copy of it, a configuration of ours, recovery to consistency.

Nothing that configures a server is taken over. ``postgresql.conf`` and its relatives of the backup are thrown away
before anything reads them, and with them ``archive_command``, ``restore_command``, ``primary_conninfo``, preloaded
libraries and whatever they include; what recovery demands of a server comes from ``pg_control``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.process import ProgramMissing

#: What of a data directory decides how a server behaves or says that one runs; ours takes its place, or nothing.
_DROPPED: Final = (
    "postgresql.conf", "postgresql.auto.conf", "postgresql.base.conf", "conf.d", "pg_hba.conf", "pg_ident.conf",
    "standby.signal", "recovery.signal", "recovery.conf", "recovery.done", "postmaster.pid", "postmaster.opts",
    "tablespace_map", "tablespace_map.old", "backup_manifest", "current_logfiles", "pg_replslot",
)  # fmt: skip
#: Directories that a server must find although nothing need be in them; stores of objects do not keep empty ones.
_EMPTY: Final = (
    "pg_commit_ts", "pg_dynshmem", "pg_logical/mappings", "pg_logical/snapshots", "pg_multixact/members",
    "pg_multixact/offsets", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp",
    "pg_subtrans", "pg_tblspc", "pg_twophase", "pg_wal/archive_status", "pg_xact",
)  # fmt: skip
_COPY: Final = """set -e
umask 077
cp -RP "$0" "$1"
chmod -R u+rwX,go-rwx "$1"
cd "$1/data"
rm -rf {dropped}
mkdir pg_replslot
for name in {empty}; do test -d "$name" || {{ mkdir -p "$name" && echo "$name"; }}; done
echo '# Everything is said on the command line.' >postgresql.conf
printf 'local all all trust\\nlocal replication all trust\\n' >pg_hba.conf
: >pg_ident.conf
"""
#: On top of what every server of a drill has. Nothing here may work on its own: no subscription, no planted library.
_ALWAYS: Final[Mapping[str, str]] = {
    "wal_level": "replica", "max_wal_senders": "4", "max_replication_slots": "64", "restore_command": "",
    "archive_command": "", "archive_cleanup_command": "", "recovery_end_command": "", "primary_conninfo": "",
    "max_logical_replication_workers": "0", "hot_standby": "off", "log_min_messages": "log", "log_checkpoints": "off",
    "dynamic_library_path": "$libdir", "zero_damaged_pages": "off", "ignore_checksum_failure": "off",
}  # fmt: skip
#: What a database or role of the backup may set for its sessions, and may not here.
SESSION: Final[Mapping[str, str]] = {"session_preload_libraries": "", "local_preload_libraries": ""}
_LEVELS: Final = ("minimal", "replica", "logical")


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far write-ahead log is replayed.

    Attributes:
        target: ``consistency``: as far as what came with the backup reaches.
    """

    target: str = "consistency"


def copy(server: PostgresServer, source: str, *, seconds: float) -> tuple[str, list[str]]:
    """Copy what was laid out where the account may write, with a configuration of ours.

    Returns:
        The data directory, and the empty directories that had to be made anew.

    Raises:
        CouldNotVerify: There is not room enough, or it cannot be read.
    """
    place = f"{server.ground.data}/physical"
    script = _COPY.format(dropped=" ".join(_DROPPED), empty=" ".join(_EMPTY))
    done = server.sandbox.exec(["sh", "-c", script, source, place], deadline=seconds)
    if done.returncode:
        words = done.stderr.decode(errors="replace")
        room = "No space left" in words
        raise CouldNotVerify(
            "the base backup cannot be copied for a server to run on" + (": the disk is full" if room else ""),
            remedy="Give the sandbox more disk." if room else "See the details on the terminal.",
            stage=Stage.RESTORE,
            details=tuple(words.splitlines()[-20:]),
        )
    return f"{place}/data", [name for name in done.stdout.decode(errors="replace").split() if name in _EMPTY]


def settings(control: Mapping[str, Any], preload: Sequence[str], major: int) -> dict[str, str]:
    """What the server is told, so that recovery finds everything at least as large as where the backup was taken."""
    asked = dict(control["demands"])
    # pg_dump locks every table at once; the lock table has so many places for each connection.
    least = {
        "max_connections": 60,
        "max_locks_per_transaction": 60_000 // max(60, int(asked.get("max_connections", 60))),
    }
    demands = {name: str(max(int(value), least.get(name, 0))) for name, value in asked.items()}
    senders = max(int(demands.pop("max_wal_senders", "0")), int(_ALWAYS["max_wal_senders"]))
    level = max(str(control["wal_level"]), "replica", key=lambda each: _LEVELS.index(each) if each in _LEVELS else 0)
    more = {"event_triggers": "off"} if major >= 17 else {}
    return {
        **_ALWAYS, **demands, **more, "max_wal_senders": str(senders), "wal_level": level,
        "shared_preload_libraries": ",".join(preload),
    }  # fmt: skip


def start(server: PostgresServer, given: Mapping[str, str], *, until: float) -> None:
    """Start it and wait until it has recovered and answers.

    Raises:
        BackupFailed: It cannot: the write-ahead log or the files are not what they must be (stage ``restore``).
        CouldNotVerify: It cannot, for a reason that is not the backup's.
    """
    try:
        server.start(given, seconds=max(1.0, until - time.monotonic()))
    except (DeadlineExceeded, ProgramMissing):
        raise
    except CouldNotVerify as problem:
        raise refusal(problem) from problem


@dataclass(frozen=True, slots=True)
class _Reason:
    sign: str
    cause: str
    remedy: str
    ours: bool = False


_AGAIN: Final = "Use another copy or snapshot, and take base backups with pg_basebackup -X stream."
#: What a server writes when it gives up, what that means, and whether it says nothing of the backup. The first counts.
_REASONS: Final = (
    _Reason(
        r"No space left on device|could not resize shared memory|could not map anonymous shared memory|out of memory"
        r"|could not fork|could not create semaphores|Cannot allocate memory|was terminated by signal 9",
        "the server has not enough room or memory in its sandbox", "Raise the sandbox's limits.", ours=True,
    ),
    _Reason(
        r"database files are incompatible with server",
        "the files are of another build of PostgreSQL than the programs here (another major version, block size or "
        "catalogue)",
        "Name the image or install the packages that the backed-up server runs.", ours=True,
    ),
    _Reason(
        r"could not (?:access file|load library)",
        "a library that is to be preloaded is not among the programs here",
        "Name an image that has the extension (sandbox: {image: …}), or correct engine_options.preload.", ours=True,
    ),
    _Reason(
        r"unrecognized configuration parameter|invalid value for parameter|could not bind|is not permitted",
        "the server does not take the configuration that it is given", "See the details on the terminal.", ours=True,
    ),
    _Reason(
        r"resource manager with ID \d+ not registered|unregistered",
        "its write-ahead log has records of an extension that is not loaded",
        "List the extension's library under engine_options.preload.", ours=True,
    ),
    _Reason(
        r"could not (?:locate|find) (?:required checkpoint|redo location|a valid checkpoint|required redo)"
        r"|invalid (?:primary )?checkpoint|invalid redo",
        "its write-ahead log does not hold the checkpoint from which recovery must begin: it is missing, of another "
        "backup, or garbage", _AGAIN,
    ),
    _Reason(
        r"WAL ends before (?:end of online backup|consistent recovery point)",
        "its write-ahead log ends before the files are consistent: a part of it is missing or damaged", _AGAIN,
    ),
    _Reason(
        r"incorrect checksum in control file|control file appears to be corrupt", "global/pg_control is damaged", _AGAIN
    ),
    _Reason(r"invalid data in file \"?backup_label", "backup_label is damaged", _AGAIN),
    _Reason(r"PANIC: ", "the server gives up while it recovers: files are missing or damaged", _AGAIN),
    _Reason(r"FATAL: ", "the server refuses to start from it", _AGAIN),
)  # fmt: skip


#: What a server says to whoever asks whether it is ready: a FATAL of that connection, and of nothing else.
_TOO_EARLY: Final = re.compile(r"the database system is (?:starting up|not yet accepting|in recovery|shutting down)")


def refusal(problem: CouldNotVerify) -> RestoreDrillError:
    """What it means that a server did not come up over a base backup."""
    text = "\n".join(line for line in problem.details if not _TOO_EARLY.search(line))
    for reason in _REASONS:
        if re.search(reason.sign, text):
            kind = CouldNotVerify if reason.ours else BackupFailed
            return kind(reason.cause, remedy=reason.remedy, stage=Stage.RESTORE, details=problem.details)
    return problem


_SINGLE: Final = "select rolname from pg_authid where rolsuper and rolcanlogin order by oid limit 1"
_ANSWER: Final = re.compile(r'^\t 1: rolname = "(.{1,63})"\t\(typeid', re.M)


def superuser(server: PostgresServer, given: Mapping[str, str], *, seconds: float) -> str:
    """Ask a stopped cluster for a superuser that may log in, by a server without clients.

    Raises:
        CouldNotVerify: It does not tell.
    """
    argv = ["postgres", "--single", "-D", server.data]
    for name, value in {**given, "log_min_messages": "warning"}.items():
        argv += ["-c", f"{name}={value}"]
    done = server.sandbox.exec([*argv, "template1"], deadline=seconds, stdin=_SINGLE.encode() + b"\n")
    found = _ANSWER.search(done.stdout.decode(errors="replace"))
    if not found:
        raise CouldNotVerify(
            "no superuser of the restored server is known",
            remedy="Name one that may log in: engine_options: {superuser: NAME}.",
            stage=Stage.RESTORE,
            details=tuple(done.stderr.decode(errors="replace").splitlines()[-10:]),
        )
    return found[1]
