"""What ``pg_restore`` and ``psql`` say while they restore, sorted; their exit status alone is never believed.

Messages of a server may quote values of rows. Whatever is published is put together here from names (tables,
constraints, extensions, roles); the words themselves go to the details.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.process import Completed


class Weight(IntEnum):
    """What a message means for the restore; the heaviest decides."""

    NOTHING = 0
    NOTE = 1
    FAILED = 2
    #: Something of ours was missing: what else went wrong follows from it, and nothing is known.
    ERROR = 3
    #: The bytes themselves are not all there: nothing else can be the cause.
    DAMAGED = 4


@dataclass(frozen=True, slots=True)
class Message:
    """One message, sorted."""

    weight: Weight
    text: str
    remedy: str = ""


@dataclass(slots=True)
class Said:
    """Everything that a program said."""

    messages: list[Message] = field(default_factory=list)
    lines: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What changes no verdict."""
        return _counted(message.text for message in self.messages if message.weight is Weight.NOTE)

    def problem(self) -> RestoreDrillError | None:
        """The error that it amounts to."""
        worst = max((message.weight for message in self.messages), default=Weight.NOTHING)
        if worst <= Weight.NOTE:
            return None
        these = [message for message in self.messages if message.weight is worst]
        texts = _counted(message.text for message in these)
        cause = "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
        kind = CouldNotVerify if worst is Weight.ERROR else BackupFailed
        remedy = these[0].remedy or "Restore it by hand to see all of it; the details are on the terminal."
        return kind(cause, remedy=remedy, stage=Stage.RESTORE, details=self.lines)


_IMAGE: Final = (
    "Name an image that has it (sandbox: {image: ...}), or install its package beside the server's programs."
)
_ROOM: Final = "Give the sandbox more memory or disk, or free some on this machine."
_COPY_AGAIN: Final = "Use another copy; check the backup job's exit status."
_REPAIR: Final = "The rows in the backup contradict its own rules. Look at the live database; take a new backup."
_N: Final = r'"((?:[^"]|"")*)"'
#: What is said, how heavy that is, how it is published (groups are names), and what to do. The first that fits counts.
_RULES: Final = tuple(
    (re.compile(pattern, re.I), weight, text, remedy)
    for pattern, weight, text, remedy in (
        (r"no space left on device|could not extend file|disk full|could not resize shared memory", Weight.ERROR,
         "the sandbox ran out of space", _ROOM),
        (r"out of memory|out of shared memory|cannot allocate memory", Weight.ERROR,
         "the sandbox ran out of memory", _ROOM),
        (r"server closed the connection|terminating connection|connection to server (?:was lost|.*failed)|"
         r"the database system is (?:shutting down|in recovery)|no connection to the server", Weight.ERROR,
         "the server ended while it restored", _ROOM),
        (r"could not read from input file|could not uncompress|unexpected end of file|"
         r"incorrect (?:data check|header check)|invalid (?:block type|distance|stored block|code lengths)|"
         r"corrupt tar header|found unexpected block ID|could not find block ID|did not find magic string|"
         r"unrecognized data block type|premature end|could not open input file|actual file length|"
         r"could not decompress|could not close data file|could not read |could not find header for file|"
         r"LZ4F?_|frame descriptor|data corruption", Weight.DAMAGED,
         "the archive is damaged or cut short: pg_restore cannot read all of it", _COPY_AGAIN),
        (r"restoring data out of order is not supported|input file appears to be a text format dump|"
         r"input file does not appear to be a valid", Weight.DAMAGED, "pg_restore refuses the archive", _COPY_AGAIN),
        (r"unsupported version \(([\d.]+)\) in file header", Weight.ERROR,
         "pg_restore is too old for an archive of version {0}",
         "Set engine_options.version to the newer major version."),
        (rf"extension {_N} is not available|extension control file .*/([\w-]+)\.control", Weight.ERROR,
         "the extension {0} is not installed", _IMAGE),
        (rf"could not (?:access file|load library) {_N}|required file is not", Weight.ERROR,
         "a library is not installed: {0}", _IMAGE),
        (r"could not (?:create|open) (?:locale|collator)|invalid locale name|encoding .* does not match locale|"
         rf"collation {_N} for encoding|ICU is not supported|could not find .*collation", Weight.ERROR,
         "a locale or collation is not installed", "Name an image that has it (sandbox: {image: ...})."),
        (r"invalid command \\+restrict", Weight.ERROR,
         "psql is too old for \\restrict, which the dump uses", "Use an image or programs of a newer minor version."),
        (r"backslash commands are restricted", Weight.FAILED,
         "the script has a metacommand of psql that no dump has", "It was not executed. Use another copy."),
        (rf"unrecognized configuration parameter {_N}", Weight.NOTE,
         "the parameter {0} is unknown to this version and was left out", ""),
        (r'schema "public" already exists|(?:language|extension) "plpgsql" already exists', Weight.NOTHING, "", ""),
        (rf"could not connect to server {_N}|could not establish connection", Weight.NOTE,
         "a foreign server {0} was asked for rows, and nothing outside the sandbox can be reached", ""),
        (rf"materialized view {_N} has not been populated", Weight.NOTE,
         "a materialised view could not be filled from {0}, which holds nothing here", ""),
        (rf"security label provider {_N} is not loaded", Weight.NOTE,
         "security labels of {0} were left out: this server does not load what provides them", ""),
        (rf"role {_N} does not exist", Weight.ERROR,
         "the role {0} does not exist, and was not found in the dump either",
         "List it in engine_options.roles."),
        (rf"table {_N} violates foreign key constraint {_N}", Weight.FAILED,
         "{0} has rows without their parents (foreign key {1})", _REPAIR),
        (rf"could not create unique index {_N}|duplicate key value violates unique constraint {_N}", Weight.FAILED,
         "rows are there twice (unique index {0})", _REPAIR),
        (rf"relation {_N} (?:violates check constraint|is violated)|check constraint {_N}", Weight.FAILED,
         "rows break a check constraint ({0})", _REPAIR),
        (rf"violates check constraint {_N}", Weight.FAILED, "rows break the check constraint {0}", _REPAIR),
        (rf"null value in column {_N}|column {_N} .*contains null values", Weight.FAILED,
         "rows lack a value in the column {0}", _REPAIR),
        (rf"no partition of relation {_N}|partition constraint", Weight.FAILED,
         "rows fit into no partition of {0}", _REPAIR),
        (r"missing data for column|extra data after last expected column|unexpected EOF|literal newline|"
         r"literal carriage return|end-of-copy marker corrupt|invalid command \\", Weight.FAILED,
         "rows are garbled", _COPY_AGAIN),
        (r"invalid input syntax for|invalid input value|out of range|value too long|invalid byte sequence|"
         r"invalid hexadecimal|malformed|cannot be represented|has no equivalent in encoding", Weight.FAILED,
         "a value is not of its column's type, or cannot be read", _COPY_AGAIN),
        (rf"(relation|table|type|function|schema|column|operator(?: class| family)?|constraint|index|view|sequence|"
         rf"trigger|database|language|server|text search \w+) {_N}(?: of relation .*)? does not exist", Weight.FAILED,
         "{0} {1} is missing, on which something else depends", "Restore it by hand; the backup may be partial."),
        (rf"(relation|table|type|function|schema|role|database|extension|constraint|trigger)? ?{_N}(?: .*)? already "
         r"exists",
         Weight.FAILED, "{0} {1} is there twice", "Check how the dump was put together."),
        (r"worker process died|program .* failed", Weight.FAILED, "a program that it runs failed", ""),
        (r"syntax error", Weight.FAILED, "a statement is no SQL", _COPY_AGAIN),
    )
)  # fmt: skip
#: Warnings that follow from how a drill's server is set up, or that nobody can do anything about.
_HARMLESS: Final = re.compile(
    r"errors ignored on restore|wal_level is insufficient|there is no transaction in progress|publish logical changes|"
    r"no privileges (?:were granted|could be revoked)|collation version mismatch|skipping|does not exist, skipping",
    re.I,
)
_LINE: Final = re.compile(
    r"(?:psql:[^\n]*?:(?P<line>\d+): )?(?P<level>ERROR|FATAL|PANIC|WARNING): +(?P<said>.*)|"
    r"(?:psql|pg_restore)(?::[^\n]*?:(?P<place>\d+))?: (?P<kind>error|fatal|warning): (?P<told>.*)|"
    r"psql:[^\n]*?:(?P<at>\d+): (?P<raw>(?!NOTICE|INFO|LOG|DEBUG).*)"
)
_ENTRY: Final = re.compile(r"pg_restore: from TOC entry \d+; \d+ \d+ (.*) \S+$")
_COPYING: Final = re.compile(rf"COPY failed for table {_N}: ")
_INNER: Final = re.compile(r"(?:ERROR|FATAL|PANIC): +(.*)")
#: The status of a psql that stopped at an error of its script.
_STOPPED: Final = 3
_TOO_MUCH: Final = 4 * 2**20 - 1
_ERRORS: Final = re.compile(r"^(?:psql|pg_restore)[^\n]*?: (?:error|fatal|ERROR|FATAL|PANIC):", re.M)
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'|\(.*\)|[:=].*")


def sort(done: Completed) -> Said:
    """Sort everything that a program wrote to its standard error."""
    text = done.stderr.decode(errors="replace")
    said = Said(lines=tuple(text.splitlines()[-60:]))
    where = ""
    for line in text.splitlines():
        if entry := _ENTRY.match(line):
            where = entry[1]
        elif found := _LINE.match(line):
            said.messages.append(_sorted(found, where))
    if unseen := _unseen(done, text):
        said.messages.append(Message(Weight.FAILED, unseen))
    if done.returncode == _STOPPED and said.problem() is None:
        said.messages.append(_stopped(said))
    return said


def _stopped(said: Said) -> Message:
    """A script that psql gave up at something harmless: what follows it was not loaded all the same."""
    told = f": {said.notes[-1]}" if said.notes else ""
    return Message(
        Weight.ERROR,
        f"psql stopped at a statement that this server refuses, although the backup is not to blame{told}",
        "Back up in custom form (pg_dump -Fc), which is restored past such statements, or take the statement out.",
    )


def _unseen(done: Completed, text: str) -> str:
    """What the status or the length says beyond the messages: of a long one, the sandbox keeps the end."""
    if len(done.stderr) >= _TOO_MUCH:
        return "more statements fail than can be told of"
    if done.returncode and not _ERRORS.search(text):
        return f"the program ended with status {done.returncode} and without a word"
    return ""


def _sorted(found: re.Match[str], where: str) -> Message:
    level = (found["level"] or found["kind"] or "error").upper()
    words = found["said"] or found["told"] or found["raw"] or ""
    if inner := _INNER.search(words):
        table = _COPYING.search(words)
        where, words = f"TABLE DATA {table[1]}" if table else where, inner[1]
    elif table := _COPYING.search(words):
        where = f"TABLE DATA {table[1]}"
    line = found["line"] or found["place"] or found["at"]
    place = where or (f"line {line}" if line else "")
    if level == "WARNING" and _HARMLESS.search(words):  # an error may quote any word of a row
        return Message(Weight.NOTHING, "")
    for pattern, weight, text, remedy in _RULES:
        if match := pattern.search(words):
            names = [group[:100] for group in match.groups() if group]
            told = text.format(*names, "", "", "")
            return Message(weight, _placed(told, place, weight), remedy)
    told = " ".join(_QUOTED.sub("…", words).split())[:160]
    if level == "WARNING":
        return Message(Weight.NOTE, _placed(f"the server warned: {told}", place, Weight.FAILED))
    return Message(Weight.FAILED, _placed(f"a statement fails: {told}", place, Weight.FAILED))


def _placed(text: str, place: str, weight: Weight) -> str:
    return f"{text} ({place})" if place and weight is Weight.FAILED else text


def _counted(texts: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(texts))
