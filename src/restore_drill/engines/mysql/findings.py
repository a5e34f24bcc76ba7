"""What the client reports while it loads a dump, as a verdict.

The server's own words may repeat values of rows, so that a message of ours stands for each number of an error; its
words are among the details. Numbers are those of https://mariadb.com/kb/en/mariadb-error-codes/ and MySQL's manual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from restore_drill.engines.mysql.answers import Problem, problems
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.process import Completed

#: The backup's fault, whatever server loads it.
_DAMAGE: Final = {
    1062: "a row is there twice: its key exists already",
    1586: "a row is there twice: its key exists already",
    1050: "a table is created twice",
    1007: "a database is created twice",
    1304: "a routine is created twice",
    1359: "a trigger is created twice",
    1146: "a table is used that the dump does not create before",
    1049: "a database is used that the dump does not create",
    1046: "the dump does not say which database it fills",
    1054: "a column is used that its table does not have",
    1136: "a row has not as many values as its table has columns",
    1048: "a column that must have a value has none",
    1364: "a column that must have a value has none",
    1406: "a value is longer than its column",
    1264: "a number is beyond what its column holds",
    1292: "a value is no date, time or number where one must be",
    1366: "a value is not of its column's type or character set",
    1265: "a value is not of its column's type",
    # What InnoDB says when rows were added in bulk, without looking at their keys one by one.
    1180: "the rows of a table cannot be kept together: as a rule a key is there twice",
    1452: "a row refers to one that is not there (foreign key)",
    1005: "a table cannot be created, by its foreign keys or options",
    1822: "a foreign key has no matching index in the table that it refers to",
    1824: "a foreign key refers to a table that is not there",
    3819: "a row breaks a CHECK constraint",
    4025: "a row breaks a CHECK constraint",
    1305: "a routine is used that the dump does not create",
    1356: "a view refers to what is not there, or its definer may not use it",
    1449: "a definer does not exist",
    1411: "a value is no date, time or number where one must be",
    1525: "a value is no date, time or number where one must be",
    1526: "a row belongs to no partition of its table",
    # As MariaDB up to 11 does for what its own dump program writes.
    1100: "a table has a default from a sequence, which its LOCK TABLES leaves out (--skip-add-locks avoids that)",
    4127: "a number is beyond what its sequence holds",
}
#: A statement reaches for what no backup needs, and what the account that loads it may not do.
_FORBIDDEN: Final = frozenset({1044, 1045, 1142, 1227, 1290, 1143, 1148, 4166, 3948})
#: This server is not like the one that was backed up: nothing is known about the backup.
_OTHER_SERVER: Final = {
    1273: "this server does not know a collation of the dump",
    1115: "this server does not know a character set of the dump",
    1193: "this server does not know a setting that the dump makes",
    1231: "this server does not take a value of a setting that the dump makes",
    1286: "this server does not have a storage engine of the dump",
    1524: "this server does not have a plugin that the dump needs",
    1126: "this server does not have a library that the dump needs",
    1128: "this server does not have a function that the dump uses",
    1911: "this server does not know an option of a table",
    4161: "this server does not know a type of column",
}
_SHORT: Final = {
    1021: "the disk is full",
    1114: "the disk of the sandbox is full, or a table is as large as it may be",
    1037: "memory did not suffice",
    1038: "memory did not suffice",
    1041: "memory did not suffice",
    1153: "a statement is longer than the server takes",
    1205: "a lock was waited for too long",
    1206: "the locks did not fit into memory",
}
#: Values that a column cannot hold are changed and warned of: dumps are loaded without the strict mode.
_CHANGED: Final = frozenset({1048, 1264, 1265, 1292, 1366, 1406, 1411, 1525})
_WARNING: Final = re.compile(r"^Warning \(Code (\d+)\): ", re.M)
#: Numbers of the storage engine's own in the server's 1030 and 1180: what they mean to it.
_ENGINES: Final = {120: 1452, 121: 1062, 151: 1452, 152: 1452, 28: 1021, 128: 1041, 135: 1114, 146: 1205}
_ENGINE: Final = re.compile(r"[Gg]ot error (\d+)")
_LOST: Final = frozenset({2006, 2013, 2002, 2026, 1053, 1927})
_CLIENT: Final = re.compile(r"Unknown command|Not allowed in the sandbox mode|ASCII '\\0' appeared", re.I)
_TRY: Final = "Load line by line into a server by hand to see the whole message, and look at how the dump was made."


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known where an error is judged.

    Attributes:
        alike: The server is of the family that was backed up, and not older.
        server: What it is: ``MariaDB 10.11``.
        dumped: What was backed up: ``MySQL 8.0``.
        alive: The server still answers.
        about: What the text is about where the error arose.
    """

    alike: bool
    server: str
    dumped: str
    alive: bool = True
    about: str = ""


def first(done: Completed) -> Problem | None:
    """The first error of a load, ``None`` when there is none."""
    found = problems(done.stderr)
    if found:
        return found[0]
    return Problem(0, 0, "") if done.returncode else None


def changed(done: Completed) -> RestoreDrillError | None:
    """The error for values that did not come back as they are in the dump, ``None`` when none is warned of."""
    text = done.stdout.decode(errors="replace")
    numbers = [int(number) for number in _WARNING.findall(text) if int(number) in _CHANGED]
    if not numbers:
        return None
    return BackupFailed(
        f"values of the dump are not ones that their columns hold, and came back changed: {_DAMAGE[numbers[0]]} "
        f"(warning {numbers[0]})",
        looked_at=f"{len(numbers)} warnings of the server",
        remedy=_TRY,
        stage=Stage.RESTORE,
        details=tuple(line for line in text.splitlines() if _WARNING.match(line))[:20],
    )


def verdict(problem: Problem, how: Circumstances, details: tuple[str, ...] = ()) -> RestoreDrillError:
    """What the first error of a load means."""
    place = f"line {problem.line}" if problem.line else "the load"
    place += f", {how.about}" if how.about else ""
    number = f" (error {problem.number})" if problem.number else ""
    if problem.number in (1030, 1180) and (inner := _ENGINE.search(problem.message)):
        problem = replace(problem, number=_ENGINES.get(int(inner[1]), problem.number))
    if problem.late:
        return DeadlineExceeded("the dump was not loaded in time", looked_at=place, details=details)
    if problem.number in _LOST or not how.alive:
        return _unknown(f"the server ended while it loaded the dump{number}", place, details, _MEMORY)
    if problem.number in _SHORT:
        return _unknown(f"{_SHORT[problem.number]}{number}", place, details, _MEMORY)
    if problem.number in _OTHER_SERVER:
        return _unknown(f"{_OTHER_SERVER[problem.number]}{number}", place, details, _same(how))
    if problem.number in _FORBIDDEN:
        return _failed(f"a statement of the dump reaches beyond its databases, and was refused{number}", place, details)
    if problem.number == 0 and _CLIENT.search(problem.message):
        return _failed("the dump holds a command for the client, which was not executed", place, details)
    if problem.number in _DAMAGE:
        return _failed(f"{_DAMAGE[problem.number]}{number}", place, details)
    if not how.alike:
        cause = f"{how.server} does not take a statement of a dump of {how.dumped}{number}"
        return _unknown(cause, place, details, _same(how))
    if problem.number == 1064:
        return _failed(f"a statement of the dump is no valid SQL{number}", place, details)
    return _failed(f"the server refuses a statement of the dump{number}", place, details)


_MEMORY: Final = "Look at the details on the terminal, and give the sandbox more memory or disk."


def _same(how: Circumstances) -> str:
    return (
        f"Restore it into a server like the one that was backed up ({how.dumped}): a container with its image, or "
        "engine_options.version of one that is installed."
    )


def _unknown(cause: str, place: str, details: tuple[str, ...], remedy: str) -> CouldNotVerify:
    return CouldNotVerify(cause, looked_at=place, remedy=remedy, stage=Stage.RESTORE, details=details)


def _failed(cause: str, place: str, details: tuple[str, ...]) -> BackupFailed:
    return BackupFailed(cause, looked_at=place, remedy=_TRY, stage=Stage.RESTORE, details=details)
