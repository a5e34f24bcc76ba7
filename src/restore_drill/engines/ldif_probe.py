"""What the ``ldif`` engine does with restored bytes. Every function runs inside the sandbox."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from restore_drill import process
from restore_drill.engines.base import nothing_came_back
from restore_drill.engines.ldif_reader import Entry, entries
from restore_drill.engines.sqlite_connection import Reading, connect, forbid_outside
from restore_drill.engines.sqlite_errors import ERRORS, printable, translate
from restore_drill.engines.sqlite_probe import deadline_of
from restore_drill.engines.streamed import EndedInError, environment, last_lines, program, shortage, streamed
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_DIRECTORY: Final = "restored-directory"
_CONFIGURATION: Final = "slapd.conf"
_DATABASE: Final = "entries.db"
_SCHEMAS: Final = Path("/etc/ldap/schema"), Path("/etc/openldap/schema")
#: In an order in which each finds what it builds on. The last ones exist in some packages only.
_USUAL: Final = (
    "core", "cosine", "inetorgperson", "nis", "misc", "openldap", "dyngroup", "collective", "corba", "java", "pmi",
    "namedobject", "duaconf",
)  # fmt: skip
_MODULES: Final = Path("/usr/lib/ldap"), Path("/usr/lib64/openldap"), Path("/usr/lib/openldap")
#: What OpenLDAP itself keeps below these names.
_OWN: Final = frozenset({"cn=config", "cn=schema", "cn=monitor", "cn=subschema"})
_CLASSES: Final = 2_000
_LEAST_MAP: Final = 1 << 30


def restore(call: Call, payload: str, settings: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Read it, load it, and read it back."""
    slapadd, slapcat = program("slapadd", "slapd"), program("slapcat", "slapd")
    until = min(call.until - 1, time.monotonic() + seconds)
    source = call.work / payload
    read, first = _read_through(source)
    if first is None:
        raise nothing_came_back("the export has no entry")
    suffix = settings["suffix"] or first.dn
    _configure(call.work, suffix, settings, source.stat().st_size)
    how = ["-f", _CONFIGURATION, "-b", suffix, "-l", payload]
    how += ["-j", str(first.skipped)] if first.skipped else []
    done = process.run(
        [slapadd, *how, *([] if settings["schema_check"] else ["-s"])],
        deadline=max(1.0, until - time.monotonic()),
        environment=environment(),
        cwd=call.work,
    )
    if done.returncode:
        raise _refused(done.returncode, done.stderr.decode(errors="replace"))
    counts = _read_back(slapcat, suffix, call.work, until)
    if counts.get("entries", 0) != read:
        raise BackupFailed(
            f"slapadd took {counts.get('entries', 0)} of {read} entries",
            remedy="Load it by hand with slapadd -v and compare.",
            stage=Stage.RESTORE,
            details=last_lines(done.stderr),
        )
    notes = [] if settings["schema_check"] else ["the schemas were not looked at (schema_check: false)"]
    notes += ["slapadd wrote remarks: see them when loading by hand"] if done.stderr.strip() else []
    return {"counts": counts, "suffix": printable(suffix, 200), "notes": notes, "version": _version(call.work)}


def load(call: Call, payload: str, seconds: float) -> str:
    """Write the export's entries into a SQLite database, and return its path in the work directory.

    The export's and not the directory's: slapadd gives entries that come without times the time of the drill.
    """
    database = call.work / _DATABASE
    database.touch(mode=0o600)
    with deadline_of(call, seconds) as deadline, (call.work / payload).open("rb") as file:
        try:
            with contextlib.closing(connect(database, deadline, forbid_outside, reading=Reading.MAKING)) as connection:
                connection.execute("PRAGMA journal_mode=OFF").fetchall()
                connection.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, dn, created_at, modified_at)")
                connection.execute("CREATE TABLE attributes (entry, name, value)")
                connection.execute("BEGIN")
                for number, entry in enumerate(entries(file)):
                    if number % 1000 == 0:
                        deadline.check()
                    times = (_time(entry, "createtimestamp"), _time(entry, "modifytimestamp"))
                    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (number, entry.dn, *times))
                    rows = ((number, name, _text(value)) for name, value in entry.attributes)
                    connection.executemany("INSERT INTO attributes VALUES (?, ?, ?)", rows)
                connection.execute("COMMIT")
        except ERRORS as problem:
            raise translate(problem, "the entries cannot be loaded for questions", database) from problem
    return _DATABASE


def _read_through(source: Path) -> tuple[int, Entry | None]:
    """How many entries there are, and the first one."""
    count, first = 0, None
    with source.open("rb") as file:
        for entry in entries(file):
            first = first or entry
            count += 1
    return count, first


def _configure(work: Path, suffix: str, settings: Mapping[str, Any], size: int) -> None:
    if not suffix.isprintable() or "=" not in suffix:
        raise BackupFailed("the first entry has no valid name", remedy="Use another copy.", stage=Stage.RESTORE)
    if suffix.lower().replace(" ", "").rpartition(",")[2] in _OWN:
        raise CouldNotVerify(
            "it is the configuration of a server and not its data, and a configuration may name programs",
            remedy="Drill the data (slapcat -b SUFFIX), and keep the configuration as files.",
            stage=Stage.RESTORE,
        )
    place = next((path for path in _SCHEMAS if path.is_dir()), _SCHEMAS[0])
    usual = (place / f"{name}.schema" for name in _USUAL)
    modules = next((path for path in _MODULES if path.is_dir()), None)
    name = suffix.replace("\\", "\\\\").replace('"', '\\"')
    lines = [f'include "{path}"' for path in usual if path.exists()]
    lines += [f"modulepath {modules}", "moduleload back_mdb"] if modules else []
    lines += [f"moduleload {module}" for module in settings["modules"]]
    lines += [f'include "{path}"' for path in settings["schemas"]]
    lines += ["database mdb", f'suffix "{name}"', f'directory "{work / _DIRECTORY}"', "dbnosync"]
    lines += [f"maxsize {max(_LEAST_MAP, 16 * size)}"]
    (work / _DIRECTORY).mkdir(mode=0o700)
    (work / _CONFIGURATION).write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _read_back(slapcat: str, suffix: str, work: Path, until: float) -> dict[str, int]:
    """Entries, and entries by object class under the first spelling of its name."""
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    argv = [slapcat, "-f", _CONFIGURATION, "-b", suffix, "-o", "ldif-wrap=no"]
    try:
        with streamed(argv, until=until, environment=environment(), cwd=work) as output:
            for entry in entries(output):
                counts["entries"] += 1
                for name in {value.lower(): value for value in entry.all("objectclass")}.items():
                    if name[0] in spelled or len(spelled) < _CLASSES:
                        counts[spelled.setdefault(name[0], printable(name[1], 100))] += 1
    except EndedInError as problem:
        raise BackupFailed(
            "slapcat cannot read the directory that slapadd made",
            remedy="Load it by hand and look into it.",
            stage=Stage.RESTORE,
            details=problem.lines,
        ) from problem
    return dict(counts)


#: What slapadd writes, what it means, and whether it is the backup's fault. The first that is found counts.
_REASONS: Final = (
    ("unrecognized objectClass", "an object class is in no schema that is loaded", False),
    ("attribute type undefined", "an attribute is in no schema that is loaded", False),
    ("could not open config file", "a schema file cannot be read", False),
    ("lt_dlopenext failed", "a module is not installed", False),
    ("KEYEXIST", "an entry is there twice", True),
    ("entries missing", "entries have no parent", True),
    ("not configured to hold", "an entry lies outside of the suffix", True),
    ("requires attribute", "an entry lacks an attribute that its object class requires", True),
    ("not allowed", "an entry has an attribute that its object classes do not allow", True),
    ("(65)", "an entry breaks the schema", True),
    ("could not parse entry", "an entry is malformed", True),
)  # fmt: skip


def _refused(status: int, text: str) -> RestoreDrillError:
    if short := shortage(status, text, "slapadd"):
        return short
    line = re.search(r"\(line=(\d+)\)|line (\d+):", text)
    where = f"line {line[1] or line[2]}" if line else ""
    reason, ours = next(((words, not bad) for sign, words, bad in _REASONS if sign in text), ("", False))
    details = last_lines(text.encode())
    if ours:
        return CouldNotVerify(
            f"slapadd cannot load it: {reason}",
            looked_at=where,
            remedy="Name the schema files in engine_options.schemas and the overlays in engine_options.modules; a name "
            "that none has may also be damaged.",
            stage=Stage.RESTORE,
            details=details,
        )
    return BackupFailed(
        f"slapadd refuses it: {reason or f'it ends with status {status}'}",
        looked_at=where,
        remedy="Load it by hand with slapadd to see all of it, and check how the export was made.",
        stage=Stage.RESTORE,
        details=details,
    )


def _version(work: Path) -> str:
    """OpenLDAP's, which its server tells and slapadd does not."""
    done = process.run([program("slapd", "slapd"), "-VV"], deadline=30, environment=environment(), cwd=work)
    found = re.search(rb"slapd ([0-9][0-9.]*)", done.stderr + done.stdout)
    return found[1].decode() if found else "unknown"


def _time(entry: Entry, name: str) -> str | None:
    """A GeneralizedTime (RFC 4517, 3.3.13) in UTC as ISO 8601."""
    found = next(iter(entry.all(name)), "")
    parts = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.\d+)?Z", found)
    return "{}-{}-{}T{}:{}:{}Z".format(*parts.groups()) if parts else None


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
