"""Questions to a server through ``psql``, and its answers, which are read as hostile bytes.

Every boundary in an answer is a token that was drawn for this one execution. What is published of a refusal has no
value of a row in it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.process import Completed

if TYPE_CHECKING:
    from restore_drill.engines.postgres.server import PostgresServer

Row = list[str | None]

#: Seconds that psql gets beyond what a statement may take.
_GRACE: Final = 15.0
#: Bytes of one argument; Linux allows 128 KiB.
_LONGEST: Final = 100 * 2**10
_ESCAPED: Final = str.maketrans({" ": "\\ ", "\\": "\\\\"})
#: ``ERROR:  42P01: relation "x" does not exist`` as VERBOSITY=verbose writes it.
_SAID: Final = re.compile(r"^(?:psql:[^\n]*?)?(?:ERROR|FATAL|PANIC): +(?:([0-9A-Z]{5}): )?(.*)$", re.M)
#: Classes of SQLSTATE in whose messages values of rows may stand (data exceptions, integrity violations, raised texts).
_VALUES: Final = ("22", "23", "P0", "XX")


@dataclass(slots=True)
class Answer:
    """What became of one statement: its rows, or what the server said against it and its SQLSTATE (``""``: nothing)."""

    rows: list[Row]
    problem: CouldNotVerify | None = None
    state: str = ""


class Session:
    """One execution of psql that asks several statements, under way; see :meth:`PostgresServer.ask`."""

    def __init__(
        self, server: PostgresServer, database: str, statements: Sequence[str], seconds: float,
        settings: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._token, self._seconds, self._count = secrets.token_hex(8), seconds, len(statements)
        token = self._token
        argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=0", "-v", "VERBOSITY=verbose"]
        argv += ["-v", "SHOW_CONTEXT=never", "-P", "pager=off"]
        argv += ["-F", f"\x1f{token}", "-R", f"\x1e{token}", "-P", f"null=\x1a{token}", "-d", connection(database)]
        for number, statement in enumerate(statements):
            begin = f"{token}{number}"
            argv += ["-c", rf"\echo ={begin}", "-c", rf"\warn ={begin}", "-c", plain(statement)]
            argv += ["-c", rf"\echo ;{token} :ERROR"]
        if any(len(each.encode()) > _LONGEST for each in argv):
            raise CouldNotVerify("a statement is too long", remedy="Make it shorter than 100 KiB.")
        limit = str(max(1, int(seconds * 1000)))
        # A database may lend its sessions another role (ALTER DATABASE ... SET role), which sees less.
        options = {"role": "none", "statement_timeout": limit, "lock_timeout": limit, **settings}
        self._running = server.begin(
            argv, seconds=seconds + _GRACE, PGOPTIONS=parameters(options), PGCLIENTENCODING=server.encoding(database)
        )

    def answers(self) -> list[Answer]:
        """Wait for all of them; one whose answer was cut off has a problem of its own."""
        done = self._running.result()
        said, rows = _sections(done.stderr, self._token), _sections(done.stdout, self._token)
        return [
            self._answer(rows[number], said.get(number, "")) if number in rows else Answer([], _last_words(done))
            for number in range(self._count)
        ]

    def _answer(self, text: str, said: str) -> Answer:
        body, mark, end = text.rpartition(f";{self._token} ")
        if not mark or not end.startswith("false"):
            return Answer([], refusal(said, self._seconds), sqlstate(said))
        if not body:
            return Answer([])
        null, rows = f"\x1a{self._token}", body.removesuffix("\n").split(f"\x1e{self._token}")
        return Answer([[None if value == null else value for value in row.split(f"\x1f{self._token}")] for row in rows])


def parameters(settings: Mapping[str, str]) -> str:
    """Parameters of a session as libpq's ``options`` and ``PGOPTIONS`` take them."""
    return " ".join(f"-c {name}={value.translate(_ESCAPED)}" for name, value in settings.items())


def sqlstate(said: str) -> str:
    """The code of the error in what the server said, ``""`` where it said none."""
    found = _SAID.search(said)
    return (found[1] or "") if found else ""


def refusal(said: str, seconds: float) -> CouldNotVerify:
    """What the server said against a statement, without what may be a value."""
    found = _SAID.search(said)
    state, message = (found[1] or "", found[2]) if found else ("", "")
    details = last_lines(said.encode())
    if state == "57014":
        return DeadlineExceeded(f"the statement took longer than {seconds:g} s", details=details)
    if not message or state.startswith(_VALUES):
        message = f"SQLSTATE {state}" if state else "the connection was lost"
    return CouldNotVerify(
        f"the server refuses the statement: {message[:300]}", remedy="See the details on the terminal.", details=details
    )


def connection(database: str) -> str:
    """The connection string for a database, whatever its name holds."""
    return f"dbname={quoted(database)}"


def quoted(value: str) -> str:
    """A value of a connection string (libpq, 34.1.1.1)."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def literal(value: str) -> str:
    """A string constant of SQL; ``standard_conforming_strings`` is on."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted name of SQL."""
    return '"' + name.replace('"', '""') + '"'


def plain(sql: str) -> str:
    r"""A statement that psql hands to the server as it is: ``-c`` takes what begins with ``\`` for its own."""
    text = sql.strip()
    if text.startswith("\\") or "\0" in text or not text:
        raise CouldNotVerify("this is no SQL statement", remedy="Write one statement of SQL; psql's own are not run.")
    return text


def _sections(stream: bytes, token: str) -> dict[int, str]:
    """What stands behind each beginning, by its number."""
    found = {}
    for part in stream.decode(errors="replace").split(f"={token}")[1:]:
        number, _, text = part.partition("\n")
        if number.isdecimal():
            found[int(number)] = text
    return found


def _last_words(done: Completed) -> CouldNotVerify:
    if done.stdout and done.returncode == 0:
        return CouldNotVerify("the answer is longer than 4 MiB", remedy="Ask for less: an aggregate, or a limit.")
    found = _SAID.search(done.stderr.decode(errors="replace"))
    return CouldNotVerify(
        f"the server cannot be asked{': ' + found[2][:300] if found else ''}",
        remedy="See the details on the terminal.",
        details=last_lines(done.stderr),
    )


def last_lines(text: bytes, last: int = 40) -> tuple[str, ...]:
    """The end of what a program wrote."""
    return tuple(text.decode(errors="replace").splitlines()[-last:])
