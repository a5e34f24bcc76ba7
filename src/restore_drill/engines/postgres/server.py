"""A PostgreSQL server inside a sandbox: made or adopted, started, asked, stopped.

It listens on a Unix socket only and trusts whoever reaches it; the directory of sockets is what keeps others away. It
is disposable: nothing is synchronised to disk, and what its own configuration file says gives way to the command line.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

from restore_drill.engines.base import never_up
from restore_drill.engines.postgres.session import (
    Answer,
    Row,
    Session,
    connection,
    identifier,
    last_lines,
    literal,
    parameters,
    quoted,
    refusal,
    sqlstate,
)
from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.process import Completed
from restore_drill.sandboxes.base import Ground, Running, Sandbox, Server

__all__ = [
    "SOCKET",
    "SUPERUSER",
    "Answer",
    "PostgresServer",
    "Row",
    "Session",
    "connection",
    "identifier",
    "literal",
    "quoted",
    "refusal",
    "sqlstate",
]

#: The superuser of a server that we make.
SUPERUSER: Final = "postgres"
#: What its socket is called.
SOCKET: Final = ".s.PGSQL.5432"
#: StartupMessage, protocol 3.0 (PostgreSQL documentation, 55.7): a ready server answers ``R``, one that starts ``E``.
_HELLO: Final = b"user\0postgres\0database\0postgres\0\0"
_STARTUP: Final = (len(_HELLO) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + _HELLO
_UP_IN: Final = 120.0
_MIB: Final = 2**20
#: What the command line says whatever a configuration file says.
_ALWAYS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": "5432",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "archive_mode": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    # Messages are read by programs.
    "lc_messages": "C",
    "max_connections": "60",
    # pg_dump locks every table at once.
    "max_locks_per_transaction": "1024",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "ssl": "off",
    "bonjour": "off",
    "max_prepared_transactions": "0",
}


class PostgresServer:
    """One server of one sandbox.

    Args:
        sandbox: Where it runs, equipped for PostgreSQL.
        ground: What equipping returned.
        until: ``time.monotonic()`` at which making and starting it is given up.
        threads: How many cores it may use.
    """

    def __init__(self, sandbox: Sandbox, ground: Ground, *, until: float, threads: int = 1) -> None:
        self.sandbox = sandbox
        self.ground = ground
        self.threads = threads
        self.data = ""
        self.version = ""
        #: Whom client programs connect as; the one who took a base backup's server over says who that is there.
        self.user = SUPERUSER
        #: Parameters of every session, which win over what the databases and roles of a base backup set for it.
        self.session: dict[str, str] = {}
        #: Databases without an encoding (``SQL_ASCII``): their text may be no UTF-8, and is taken as it is.
        self.unencoded: set[str] = set()
        self._until = until
        self._server: Server | None = None
        self._locales: list[str] = []
        self._encoding = "UTF8"
        self._checksums = True

    @property
    def major(self) -> int:
        """The first number of its version (9 for 9.6)."""
        return int(self.version.partition(".")[0] or 0)

    # --- its life ---------------------------------------------------------------------------------------------------

    def initialise(self, *, encoding: str = "UTF8", locale: str = "") -> str:
        """Make an empty cluster, and return the locale that it has.

        Args:
            encoding: Of its template databases.
            locale: Wanted; where the machine or image lacks it, ``C.UTF-8`` or ``C`` stands in.

        Raises:
            CouldNotVerify: ``initdb`` refuses.
        """
        return self.end_initialise(self.begin_initialise(encoding=encoding, locale=locale))

    def begin_initialise(self, *, encoding: str = "UTF8", locale: str = "", checksums: bool = True) -> Running:
        """Start to make an empty cluster; see :meth:`initialise`.

        Args:
            encoding: As there.
            locale: As there.
            checksums: Have its pages carry checksums (18 and newer always do).
        """
        self.data = f"{self.ground.data}/cluster"
        fallback = ("C.UTF-8", "C") if encoding == "UTF8" else ("C",)
        self._locales = list(dict.fromkeys([*([locale] if locale else []), *fallback]))
        self._encoding = encoding
        self._checksums = checksums
        return self._initdb(self._locales[0])

    def end_initialise(self, making: Running) -> str:
        """Wait for it; see :meth:`initialise`."""
        done = making.result()
        while done.returncode and len(self._locales) > 1 and re.search(rb"locale|encoding", done.stderr):
            self._locales.pop(0)
            done = self._initdb(self._locales[0]).result()
        if done.returncode:
            raise CouldNotVerify(
                "initdb cannot make a cluster",
                remedy="Look at the details on the terminal; the sandbox's memory or disk may not suffice.",
                stage=Stage.RESTORE,
                details=last_lines(done.stderr),
            )
        found = re.search(rb"\(PostgreSQL\) (\d+(?:\.\d+)*)", done.stdout)
        self.version = found[1].decode() if found else self._program_version()
        return self._locales[0]

    def adopt(self, data: str, version: str = "") -> None:
        """Serve an existing data directory, which belongs to the account (``version``: as ``PG_VERSION`` says)."""
        self.data = data
        self.version = version or self._program_version()

    def start(self, settings: Mapping[str, str] | None = None, *, seconds: float | None = None) -> None:
        """Start it and wait until it answers.

        Args:
            settings: On top of what a drill's server always has; they win.
            seconds: How long it may take (recovery of a base backup takes its time).

        Raises:
            CouldNotVerify: It does not come up.
        """
        given = {**_ALWAYS, **self._sized(), **(settings or {})}
        argv = ["postgres", "-D", self.data, "-k", self.ground.sockets]
        for name, value in given.items():
            argv += ["-c", f"{name}={value}"]
        deadline = min(_UP_IN, self._left()) if seconds is None else seconds
        try:
            self._server = self.sandbox.start(argv, ready=self._ready, deadline=deadline)
        except DeadlineExceeded as problem:
            if seconds is not None:
                raise
            raise never_up(problem) from problem

    def stop(self) -> Completed | None:
        """Stop it; what it wrote to its log, or ``None`` when it does not run."""
        server, self._server = self._server, None
        return server.stop() if server else None

    # --- questions --------------------------------------------------------------------------------------------------

    def psql(self, database: str, sql: str, *, seconds: float, settings: Mapping[str, str] | None = None) -> list[Row]:
        """The rows of one statement, every value as text, NULL as ``None``.

        Args:
            database: Where it is run.
            sql: The statement; metacommands of psql are not.
            seconds: What the statement may take.
            settings: Parameters of the session (``default_transaction_read_only``).

        Raises:
            CouldNotVerify: The server refuses it, or the answer is too long.
            DeadlineExceeded: It took too long.
        """
        answer = self.ask(database, [sql], seconds=seconds, settings=settings)[0]
        if answer.problem:
            raise answer.problem
        return answer.rows

    def psql_many(
        self, questions: Sequence[tuple[str, str]], *, seconds: float, parallel: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> list[Answer]:  # fmt: skip
        """What became of each of many statements, in their order.

        Args:
            questions: Database and statement.
            seconds: What each statement, and all of them together, may take.
            parallel: How many sessions work at once.
            settings: Parameters of the sessions.
        """
        answers: dict[int, Answer] = {}
        by_database: dict[str, list[int]] = {}
        for number, (database, _) in enumerate(questions):
            by_database.setdefault(database, []).append(number)
        sessions = [
            (database, numbers[start::parallel])
            for database, numbers in by_database.items()
            for start in range(min(parallel, len(numbers)))
        ]
        until = time.monotonic() + seconds
        waiting: list[tuple[list[int], Session]] = []
        for place, (database, numbers) in enumerate(sessions):
            left = max(1.0, until - time.monotonic())
            session = Session(self, database, [questions[number][1] for number in numbers], left, settings or {})
            waiting.append((numbers, session))
            if len(waiting) >= parallel or place == len(sessions) - 1:
                for these, under_way in waiting:
                    answers.update(zip(these, under_way.answers(), strict=True))
                waiting = []
        return [answers[number] for number in range(len(questions))]

    def ask(
        self, database: str, statements: Sequence[str], *, seconds: float, settings: Mapping[str, str] | None = None
    ) -> list[Answer]:
        """What became of each statement, all of them in one session."""
        return Session(self, database, statements, seconds, settings or {}).answers()

    def run(self, argv: Sequence[str], *, seconds: float, stdin: bytes = b"", **environment: str) -> Completed:
        """Run a client program to its end (``pg_restore``, ``pg_amcheck``) with everything it needs to connect."""
        return self.begin(argv, seconds=seconds, stdin=stdin, **environment).result()

    def begin(self, argv: Sequence[str], *, seconds: float, stdin: bytes = b"", **environment: str) -> Running:
        """Start a client program; several may run at once."""
        told = self.environment() | environment
        if self.session:
            told["PGOPTIONS"] = f"{self.options()} {told.get('PGOPTIONS', '')}".rstrip()
        return self.sandbox.begin(argv, deadline=seconds, stdin=stdin, environment=told)

    def options(self) -> str:
        """What every session is told, as libpq's ``options`` and ``PGOPTIONS`` take it."""
        return parameters(self.session)

    def environment(self) -> dict[str, str]:
        """The variables by which client programs find it."""
        return {
            "PGHOST": self.ground.sockets, "PGPORT": "5432", "PGUSER": self.user, "PGCLIENTENCODING": "UTF8",
            "PGCONNECT_TIMEOUT": "30", "PGAPPNAME": "restore-drill",
        }  # fmt: skip

    def encoding(self, database: str) -> str:
        """The ``PGCLIENTENCODING`` of clients of this database."""
        return "SQL_ASCII" if database in self.unencoded else "UTF8"

    def dsn(self, database: str) -> str:
        """How a driver on this machine connects.

        Raises:
            CouldNotVerify: The sandbox is on another machine.
        """
        if self.ground.reachable is None:
            raise CouldNotVerify(
                "the server cannot be connected to from this machine: its sandbox is on another one",
                remedy="Ask by the restored fixture's query() instead, or drill with a local engine.",
            )
        return f"host={quoted(str(self.ground.reachable))} port=5432 user={quoted(self.user)} dbname={quoted(database)}"

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        if self.ground.reachable is not None:
            with contextlib.suppress(PermissionError):
                return self._greets(str(self.ground.reachable / SOCKET))
        return self.run(["pg_isready", "-q"], seconds=10).returncode == 0

    def _greets(self, path: str) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(5)
                line.connect(path)
                line.sendall(_STARTUP)
                return line.recv(1) == b"R"
        except PermissionError:
            raise
        except OSError:
            return False

    def _sized(self) -> dict[str, str]:
        """Memory in proportion to what a process of the sandbox may hold."""
        memory = self.sandbox_memory()
        return {
            "shared_buffers": f"{max(32, min(1024, memory // 8 // _MIB))}MB",
            "maintenance_work_mem": f"{max(32, min(512, memory // 8 // max(1, self.threads) // _MIB))}MB",
            "max_worker_processes": str(max(2, 2 * self.threads)),
            "max_parallel_maintenance_workers": str(self.threads),
            "max_parallel_workers_per_gather": "0",
            "unix_socket_permissions": "0777",
        }

    def sandbox_memory(self) -> int:
        """Bytes that the sandbox allows."""
        limits = getattr(self.sandbox, "limits", None)
        return int(limits.memory) if limits is not None else 2**30

    def _initdb(self, locale: str) -> Running:
        """Its version comes with it, which spares an execution."""
        line = 'rm -rf "$0" && initdb --version && exec initdb -D "$0" "$@"'
        options = ["-U", self.user, "-E", self._encoding, "-A", "trust", "--no-sync"]
        options += ["--data-checksums"] if self._checksums else []
        return self.begin(["sh", "-c", line, self.data, *options, f"--locale={locale}"], seconds=self._left())

    def _program_version(self) -> str:
        told = self.run(["postgres", "--version"], seconds=60).stdout.decode(errors="replace")
        found = re.search(r"(\d+(?:\.\d+)*)", told)
        return found[1] if found else ""

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("there was no time left to make and start a server")
        return left
