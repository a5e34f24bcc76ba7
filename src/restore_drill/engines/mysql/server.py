"""A MySQL or MariaDB server inside a sandbox: made, started, asked, stopped.

It listens on a Unix socket only, and its accounts have no password: the directory of sockets keeps others away. It is
disposable: nothing is synchronised to disk. No account that a dump or a question runs as may read or write files, set
what concerns the server as a whole, or load a library: the directory of plugins is an empty one, and so is the only
one that files could be exchanged through.
"""

# ruff: noqa: S608 - names and values are quoted where they become SQL

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

from restore_drill.engines.base import never_up
from restore_drill.engines.mysql.answers import Answer, Session
from restore_drill.engines.mysql.recognise import MARIADB
from restore_drill.engines.mysql.scripts import MAKE_MARIADB, MAKE_MYSQL, TELL_VERSION
from restore_drill.engines.mysql.sql import literal
from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.process import Completed
from restore_drill.sandboxes.base import Ground, Need, Running, Sandbox, Server

#: Who asks, and can write nothing. Who prepares and who loads have names that no dump can know, and make its definers.
READER: Final = "restore_drill"
#: Whom a server has for itself.
ACCOUNTS: Final = ("mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema")
#: What its socket is called.
SOCKET: Final = "mysqld.sock"
_UP_IN: Final = 120.0
_MIB: Final = 2**20
#: MariaDB's privileges are as fine as needed since 10.5.2.
_FINE: Final = (10, 5)
#: The programs of MariaDB have names of its own since 10.5; older ones go by MySQL's.
_OWN_NAMES: Final = (10, 5)


class MysqlServer:
    """One server of one sandbox.

    Args:
        sandbox: Where it runs, equipped for it.
        ground: What equipping returned.
        family: ``mysql`` or ``mariadb``.
        programs: The server's and the client's name.
        until: ``time.monotonic()`` at which making and starting it is given up.
        threads: How many cores it may use.
    """

    def __init__(
        self, sandbox: Sandbox, ground: Ground, family: str, programs: tuple[str, str], *, until: float, threads: int
    ) -> None:
        self.sandbox = sandbox
        self.ground = ground
        self.family = family
        self.threads = max(1, threads)
        self.version = ""
        self.client_sandbox = False
        #: Who may do everything, and who loads the dump: into the databases that it names, and nowhere else.
        self.admin, self.loader = (f"drill_{secrets.token_hex(8)}" for _ in range(2))
        self._daemon, self._client = programs
        self._until = until
        self._server: Server | None = None

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor number."""
        parts = [int(each) for each in self.version.split(".")[:2]]
        return (parts[0], parts[1]) if len(parts) == 2 else (0, 0)

    # --- its life ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Find out which version it is, and of which family.

        Raises:
            CouldNotVerify: The program does not say, or is of the other family.
        """
        done = self.sandbox.exec(["sh", "-c", TELL_VERSION, self._daemon, self._client], deadline=60.0)
        told = done.stdout.decode(errors="replace")
        found = re.search(r"Ver (?:\S+ Distrib )?(\d+\.\d+\.\d+)(-MariaDB)?", told)
        family = MARIADB if found and found[2] else "mysql"
        if not found or family != self.family:
            raise CouldNotVerify(
                f"the server program here is not of the family {self.family}",
                looked_at=f"{self._daemon} --version",
                remedy=f"Install {self.family}, let the target run in a container, or load it into what is here with "
                f"engine_options: {{server: {family}}}.",
                stage=Stage.RESTORE,
                details=tuple(told.splitlines()[:3]),
            )
        self.version = found[1]
        self.client_sandbox = told.splitlines()[-1].strip() not in ("", "0")

    def initialise(self) -> None:
        """Make an empty data directory.

        Raises:
            CouldNotVerify: It cannot be made.
        """
        script = MAKE_MARIADB if self.family == MARIADB else MAKE_MYSQL
        argv = ["sh", "-c", script, "sh", self._data, self._daemon, *_given(self._storage())]
        done = self.sandbox.exec(argv, deadline=self._left(), stdin=self._accounts().encode())
        if done.returncode:
            raise CouldNotVerify(
                "no empty server can be made",
                remedy="Look at the details on the terminal; the sandbox's memory or disk may not suffice.",
                stage=Stage.RESTORE,
                details=tuple((done.stdout + done.stderr).decode(errors="replace").splitlines()[-20:]),
            )

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it answers.

        Args:
            settings: Options on top of what a drill's server always has; they win.

        Raises:
            CouldNotVerify: It does not come up.
        """
        options = self._options() | dict(settings or {})
        argv = [self._daemon, "--no-defaults", *_given(options)]
        try:
            self._server = self.sandbox.start(argv, ready=self._ready, deadline=min(_UP_IN, self._left()))
        except DeadlineExceeded as problem:
            raise never_up(problem) from problem

    def stop(self) -> Completed | None:
        """Stop it; what it wrote to its log, or ``None`` when it does not run."""
        server, self._server = self._server, None
        return server.stop() if server else None

    # --- questions --------------------------------------------------------------------------------------------------

    def ask(
        self, statements: Sequence[str], *, seconds: float, parallel: int = 1, account: str = READER, database: str = ""
    ) -> list[Answer]:
        """What became of each statement, in their order.

        Args:
            statements: One statement each, without its end; rows come back as texts.
            seconds: What all of them together may take: one that comes too late has a problem.
            parallel: How many sessions work at once.
            account: Who asks.
            database: The current one.
        """
        lanes = max(1, min(parallel, len(statements)))
        sessions = [
            Session(self, statements[lane::lanes], seconds=seconds, account=account, database=database)
            for lane in range(lanes)
        ]
        answers: list[Answer | None] = [None] * len(statements)
        for lane, session in enumerate(sessions):
            answers[lane::lanes] = session.answers()
        return [answer for answer in answers if answer is not None]

    def client(self, account: str, *options: str) -> list[str]:
        """The client's command line: no command of its own is obeyed but ``DELIMITER``, and it reads no file."""
        argv = [self._client, "--no-defaults", f"--socket={self.ground.sockets}/{SOCKET}", f"--user={account}"]
        argv += ["--local-infile=0", "--max-allowed-packet=1G", "--default-character-set=utf8mb4", "--skip-reconnect"]
        return [*argv, *(["--sandbox"] if self.client_sandbox else []), *options]

    @property
    def socket_path(self) -> str:
        """Its socket, as programs of the sandbox see it."""
        return f"{self.ground.sockets}/{SOCKET}"

    def begin(self, argv: Sequence[str], *, seconds: float, stdin: bytes = b"") -> Running:
        """Start a program beside it."""
        return self.sandbox.begin(argv, deadline=seconds, stdin=stdin)

    def alive(self) -> bool:
        """Whether it still answers."""
        return self._ready()

    def dsn(self, database: str) -> str:
        """How a driver on this machine connects.

        Raises:
            CouldNotVerify: The sandbox is on another machine.
        """
        from urllib.parse import quote

        if self.ground.reachable is None:
            raise CouldNotVerify(
                "the server cannot be connected to from this machine: its sandbox is on another one",
                remedy="Ask by the restored fixture's query() instead, or drill with a local engine.",
            )
        path = quote(str(self.ground.reachable / SOCKET), safe="")
        return f"mysql://{READER}@localhost/{quote(database, safe='')}?unix_socket={path}&charset=utf8mb4"

    # --- helpers ----------------------------------------------------------------------------------------------------

    @property
    def _data(self) -> str:
        return f"{self.ground.data}/server"

    def _storage(self) -> dict[str, str]:
        """How data are kept: the same from the first start on, or they would have to be changed at the second."""
        memory = int(getattr(getattr(self.sandbox, "limits", None), "memory", 2**31))
        options = {
            "datadir": self._data,
            "innodb-flush-log-at-trx-commit": "0",
            "innodb-doublewrite": "OFF",
            "innodb-buffer-pool-size": str(max(64 * _MIB, min(2**30, memory // 4))),
            "innodb-buffer-pool-dump-at-shutdown": "OFF",
            "innodb-buffer-pool-load-at-startup": "OFF",
            "innodb-stats-persistent": "OFF",
            "innodb-io-capacity": "4000",
        }
        if self.family == MARIADB:
            options |= {"innodb-log-file-size": str(256 * _MIB), "loose-innodb-flush-method": "nosync"}
        return options

    def _options(self) -> dict[str, str]:
        options = {
            **self._storage(),
            "socket": f"{self.ground.sockets}/{SOCKET}",
            "pid-file": f"{self._data}.pid",
            "skip-networking": "",
            "skip-name-resolve": "",
            "plugin-dir": f"{self._data}.none",
            "secure-file-priv": f"{self._data}.none" if self.family == MARIADB else "NULL",
            "local-infile": "0",
            "symbolic-links": "0",
            "event-scheduler": "OFF",
            "performance-schema": "OFF",
            "max-allowed-packet": "1G",
            "max-connections": "100",
            # A machine may be so busy that a client says nothing for half a minute; how long anything may take is ours.
            "net-read-timeout": "86400",
            "net-write-timeout": "86400",
            "character-set-server": "utf8mb4",
            "innodb-fast-shutdown": "2",
        }
        if self.family != MARIADB:
            options |= {"init-file": f"{self._data}.init", "skip-log-bin": "", "loose-mysqlx": "OFF"}
        return options

    def _accounts(self) -> str:
        """Statements, one a line, that leave no account but ours; also after mariadb-install-db."""
        own = ", ".join(map(literal, ACCOUNTS))
        table = "mysql.global_priv" if self.family == MARIADB and self.numbers >= (10, 4) else "mysql.user"
        lines = [
            "FLUSH PRIVILEGES",
            f"DELETE FROM {table} WHERE User NOT IN ({own})",
            "DELETE FROM mysql.proxies_priv",
            "FLUSH PRIVILEGES",
        ]
        lines += [f"CREATE USER '{account}'@'localhost'" for account in (self.admin, self.loader, READER)]
        lines += [
            f"GRANT ALL ON *.* TO '{self.admin}'@'localhost' WITH GRANT OPTION",
            *self._loaders(),
            f"GRANT SELECT, SHOW VIEW, EXECUTE, TRIGGER, EVENT, SHOW DATABASES ON *.* TO '{READER}'@'localhost'",
            "FLUSH PRIVILEGES",
        ]
        return "".join(f"{line};\n" for line in lines)

    def _loaders(self) -> list[str]:
        """What a dump needs besides its databases: definers of other names, and no binary log."""
        who = f"TO '{self.loader}'@'localhost'"
        if self.family == MARIADB:
            fine = "SET USER, BINLOG ADMIN" if self.numbers >= _FINE else "SUPER"
            # Keys may refer to tables of databases that are not in the dump.
            return [f"GRANT CREATE USER, REFERENCES, {fine} ON *.* {who}"]
        # Dynamic privileges have other names in every series of MySQL: all, but for those that reach files.
        withheld = "FILE, SHUTDOWN, SUPER" if self.numbers >= (8, 0) else "FILE, SHUTDOWN"
        return [f"GRANT ALL ON *.* {who}", f"REVOKE {withheld} ON *.* FROM '{self.loader}'@'localhost'"]

    def _ready(self) -> bool:
        """Whether it greets (protocol version 10); an error packet begins with 255."""
        if self.ground.reachable is not None:
            with contextlib.suppress(PermissionError):
                return self._greets(str(self.ground.reachable / SOCKET))
        done = self.sandbox.exec(self.client(READER, "-e", "SELECT 1"), deadline=30.0)
        return done.returncode == 0

    @staticmethod
    def _greets(path: str) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(5)
                line.connect(path)
                return line.recv(5)[4:5] == b"\x0a"
        except PermissionError:
            raise
        except OSError:
            return False

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("there was no time left to make and start a server")
        return left


def need(family: str, version: str) -> Need:
    """What a sandbox must have for a server of this family and version (``""``: any)."""
    programs = programs_of(family, version)
    # Which version is good enough is judged by the engine, as a newer one is: only the image's name is exact.
    tag = version or "lts"
    return Need(
        system=family,
        programs=programs,
        image=f"{family}:{tag}",
        user="mysql",
        places=("/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin", "/usr/libexec"),
        package="mariadb-server" if family == MARIADB else "mysql-server",
    )


def _given(options: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]


def programs_of(family: str, version: str) -> tuple[str, str]:
    """The names of the server and of its client."""
    numbers = tuple(int(each) for each in version.split(".")[:2]) if version else _OWN_NAMES
    return ("mariadbd", "mariadb") if family == MARIADB and numbers >= _OWN_NAMES else ("mysqld", "mysql")
