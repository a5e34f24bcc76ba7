"""From a dump to a server that has loaded it: looked through, a server made for it, loaded, and what came back told."""

# ruff: noqa: S608 - names and values are quoted where they become SQL

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from restore_drill.engines.base import UNNAMED, RestoreOptions, nothing_came_back
from restore_drill.engines.mysql import feeding, findings
from restore_drill.engines.mysql.answers import Problem
from restore_drill.engines.mysql.options import Settings, settings
from restore_drill.engines.mysql.recognise import MARIADB, STREAM, TEXT
from restore_drill.engines.mysql.restored import RestoredMysql
from restore_drill.engines.mysql.scan import OWN
from restore_drill.engines.mysql.server import ACCOUNTS, MysqlServer, need
from restore_drill.engines.mysql.sql import identifier, literal, wild
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Payload, Stage
from restore_drill.process import Completed
from restore_drill.sandboxes.base import Running, Sandbox

_SCAN: Final = "restore_drill.engines.mysql.scan"
_GRACE: Final = 10.0
_FAMILIES: Final = {"mysql": "MySQL", "mariadb": "MariaDB"}
#: What a definer's stand-in may do: as much as views, triggers and routines need, and nothing to the server itself.
_STAND_IN: Final = "SELECT, INSERT, UPDATE, DELETE, EXECUTE, SHOW VIEW, TRIGGER, CREATE TEMPORARY TABLES, EVENT"


def restore(payload: Payload, sandbox: Sandbox, options: RestoreOptions, family: str) -> RestoredMysql:
    """Bring a dump back; see :meth:`MysqlEngine.restore`."""
    chosen = settings(options.settings)
    if payload.format != TEXT:
        raise _physical() if payload.format == STREAM else _no_dump(payload.format)
    until = time.monotonic() + options.deadline
    name = str(payload.path.relative_to(sandbox.work))
    dump = sandbox.call(f"{_SCAN}:examine", {"payload": name}, deadline=options.deadline + _GRACE)
    wanted = chosen.server or family or dump["family"] or MARIADB
    version = chosen.version or (dump["version"] if wanted == dump["family"] else "")
    needed = need(wanted, version)
    ground = sandbox.equip(needed)
    text = sandbox.admit(payload.path)
    programs = (needed.programs[0], needed.programs[1])
    server = MysqlServer(sandbox, ground, wanted, programs, until=until, threads=options.threads)
    server.look()
    notes = _compare(server, dump, chosen)
    server.initialise()
    names = chosen.lower_case_table_names
    server.start({"lower-case-table-names": str(names)} if names else None)
    load = _Load(server, dump, name, text, chosen, until)
    load.prepare()
    seconds = load.run()
    return _came_back(server, options, load, chosen, [*notes, *load.notes()], seconds)


class _Load:
    """One dump on its way into one server."""

    def __init__(
        self, server: MysqlServer, dump: Mapping[str, Any], name: str, text: str, chosen: Settings, until: float
    ) -> None:
        self._sandbox, self._server, self._name, self._text, self._until = server.sandbox, server, name, text, until
        self.dump = dump
        self.database = ""
        #: That it is not called so anywhere.
        self.unnamed = False
        #: How many clients loaded it at once.
        self.clients = 1
        #: What the server repeats when a client came to its end.
        self._last = secrets.token_hex(16)
        if dump["names_none"]:
            named = chosen.database or str(dump["database"])
            self.unnamed = not named or named.lower() in OWN or len(named) > 64
            self.database = UNNAMED if self.unnamed else named

    @property
    def stood_in(self) -> list[tuple[str, str]]:
        """The accounts that its objects belong to; dumps bring none."""
        return [(user, host) for user, host in self.dump["definers"] if user not in ACCOUNTS]

    def prepare(self) -> None:
        """Create what the dump takes for granted: its database, and the accounts that its objects belong to."""
        missing = [name for name in self.dump["databases"] if name not in self.dump["created"]]
        missing += [self.database] if self.database else []
        statements = [f"CREATE DATABASE IF NOT EXISTS {identifier(name)}" for name in missing]
        definers = [f"{literal(user)}@{literal(host)}" for user, host in self.stood_in]
        statements += [f"CREATE USER IF NOT EXISTS {account} ACCOUNT LOCK" for account in definers]
        for name in dict.fromkeys([*missing, *self.dump["created"]]):
            scope = f"{identifier(wild(name))}.*"
            statements.append(f"GRANT ALL ON {scope} TO '{self._server.loader}'@'localhost' WITH GRANT OPTION")
            statements += [f"GRANT {_STAND_IN} ON {scope} TO {account}" for account in definers]
        for statement, answer in zip(
            statements, self._server.ask(statements, seconds=120.0, account=self._server.admin), strict=True
        ):
            if answer.problem:
                raise CouldNotVerify(
                    f"what the dump takes for granted cannot be created (error {answer.problem.number})",
                    looked_at=statement[:200],
                    remedy="Look at the details on the terminal.",
                    stage=Stage.RESTORE,
                    details=(answer.problem.message,),
                )

    def run(self) -> float:
        """Load it, and return how many seconds that took.

        What may be loaded out of its order is loaded by several clients at once. Should one of them meet a problem, all
        of it is loaded anew in its order: a verdict never hangs on who was first.

        Raises:
            RestoreDrillError: What the first error means.
        """
        started = time.monotonic()
        at_once, pieces = feeding.lanes(self.dump["parts"], self._server.threads), feeding.uncut(self.dump)
        if at_once and self._together(at_once):
            self.clients = len(at_once)
            pieces = feeding.between(self.dump["parts"])
        elif at_once:
            self._begin_anew()
        self._judge_whole(self._begin(pieces).result())
        return time.monotonic() - started

    def _begin(self, pieces: Sequence[int]) -> Running:
        """Start a client that reads pieces of the text (all of it when there are none)."""
        # Ends of lines as Windows writes them are no part of DELIMITER: only without this mode are they left out.
        options = ["--batch", "--show-warnings", *([] if self.dump["crlf"] else ["--binary-mode"])]
        options += [f"--database={self.database}"] if self.database else []
        argv = ["sh", "-c", feeding.SCRIPT, "sh", self._text, " ".join(map(str, pieces)), self._last]
        argv += self._server.client(self._server.loader, *options)
        return self._server.begin(argv, seconds=max(1.0, self._until - time.monotonic()))

    def _judge_whole(self, done: Completed) -> None:
        if (problem := findings.first(done)) is not None:
            raise self._judge(problem, done)
        if self._last.encode() not in done.stdout:
            raise CouldNotVerify(
                "the dump was not read to its end inside the sandbox",
                remedy="Look at the details on the terminal, and at the disk of this machine.",
                stage=Stage.RESTORE,
                details=tuple(done.stderr.decode(errors="replace").splitlines()[-20:]),
            )
        if (changed := findings.changed(done)) is not None:
            raise changed

    def _together(self, at_once: Sequence[Sequence[int]]) -> bool:
        """Load sections by several clients; whether all of them did, without a remark that decides anything.

        Raises:
            RestoreDrillError: The server ended over it.
        """
        running = [self._begin(pieces) for pieces in at_once]
        results = [each.result() for each in running]
        amiss = [done for done in results if not self._is_clean(done)]
        if amiss and not self._server.alive():
            self._judge_whole(amiss[0])
        return not amiss

    def _is_clean(self, done: Completed) -> bool:
        return findings.first(done) is None and self._last.encode() in done.stdout and findings.changed(done) is None

    def _begin_anew(self) -> None:
        names = dict.fromkeys([*self.dump["databases"], *([self.database] if self.database else [])])
        statements = [f"DROP DATABASE IF EXISTS {identifier(name)}" for name in names]
        self._server.ask(statements, seconds=120.0, account=self._server.admin)
        self.prepare()

    def notes(self) -> list[str]:
        """What was not loaded as it stands, or cannot be told of it."""
        dump, found = self.dump, []
        own = [name for name in dump["own"] if name in ("mysql", "sys")]
        if own:
            found.append(
                f"the server's own databases ({', '.join(own)}) were not loaded: accounts and privileges are not "
                "verified"
            )
        if any(what == "server" for *_, what in dump["cuts"]):
            found.append("statements for the server as a whole (SET GLOBAL, replication, FLUSH) were left out")
        if definers := self.stood_in:
            accounts = ", ".join(f"{user}@{host}" for user, host in definers[:5])
            more = f" and {len(definers) - 5} more" if definers[5:] else ""
            found.append(f"definers were stood in for by locked accounts: {accounts}{more}; a real restore needs them")
        if not dump["witness"]:
            found.append("nothing in the dump tells whether it is whole: its program writes no last line")
        return found

    def _judge(self, problem: Problem, done: Completed) -> RestoreDrillError:
        about = ""
        if problem.line:
            arguments = {"payload": self._name, "line": problem.line}
            about = str(self._sandbox.call(f"{_SCAN}:place_of", arguments, deadline=120.0))
        how = findings.Circumstances(
            alike=alike(self._server, self.dump),
            server=shown(self._server.family, ".".join(self._server.version.split(".")[:2])),
            dumped=shown(self.dump["family"], self.dump["version"]),
            alive=self._server.alive(),
            about=about,
        )
        return findings.verdict(problem, how, tuple(done.stderr.decode(errors="replace").splitlines()[-20:]))


def alike(server: MysqlServer, dump: Mapping[str, Any]) -> bool:
    """Whether the server is of the family that was backed up, and not older."""
    return server.family == dump["family"] and server.numbers >= _numbers(dump["version"])


def shown(family: str, version: str) -> str:
    """A server in words."""
    return f"{_FAMILIES.get(family, 'a server of unknown family')} {version}".strip()


def _compare(server: MysqlServer, dump: Mapping[str, Any], chosen: Settings) -> list[str]:
    """What is to be said of the server and the one that was backed up.

    Raises:
        CouldNotVerify: It is older, and nobody asked for that.
    """
    here = shown(server.family, ".".join(server.version.split(".")[:2]))
    there = shown(dump["family"], dump["version"])
    if not dump["family"]:
        return [f"the dump does not say which server it is from: it was loaded into {here}"]
    if server.family != dump["family"]:
        return [f"a dump of {there} was loaded into {here}: it is not shown that {there} loads it"]
    if server.numbers < _numbers(dump["version"]) and not chosen.version:
        raise CouldNotVerify(
            f"the dump is of {there}, and the server here is the older {here}",
            remedy=f"Have {there} here or as a container's image, or accept this one with engine_options: "
            f'{{version: "{here.split()[-1]}"}}.',
            stage=Stage.RESTORE,
        )
    return [] if server.numbers == _numbers(dump["version"]) else [f"a dump of {there} was loaded into {here}"]


def _came_back(
    server: MysqlServer, options: RestoreOptions, load: _Load, chosen: Settings, notes: Sequence[str], seconds: float
) -> RestoredMysql:
    dump = load.dump
    own = ", ".join(literal(name) for name in sorted(OWN))
    asked = server.ask(
        [
            f"SELECT schema_name FROM information_schema.schemata WHERE LOWER(schema_name) NOT IN ({own})",
            "SELECT table_schema, COUNT(*) FROM information_schema.tables WHERE table_type <> 'VIEW' "
            f"AND LOWER(table_schema) NOT IN ({own}) GROUP BY table_schema",
            "SELECT engine, '' FROM information_schema.engines WHERE support IN ('YES', 'DEFAULT')",
        ],
        seconds=60.0,
    )
    if problem := next((answer.problem for answer in asked if answer.problem), None):
        raise CouldNotVerify(
            "the server cannot be asked what came back", stage=Stage.RESTORE, details=(problem.message,)
        )
    tables = {name: int(count) for name, count in asked[1].rows}
    found = sorted(name for (name,) in asked[0].rows)
    databases = [name for name in found if tables.get(name)] or found
    first = _first(databases, chosen.database, tables)
    databases = [first, *(name for name in databases if name != first)] if first else []
    facts = {
        "server": shown(server.family, server.version),
        "dumped_from": shown(dump["family"], dump["version"]),
        "writer": dump["writer"] or "unknown",
        "witness": dump["witness"] or "none",
        "client": ["binary-mode"] * (not dump["crlf"]) + ["sandbox"] * server.client_sandbox,
        "databases": databases,
        "unnamed": [load.database] * load.unnamed,
        "stood_in": len(load.stood_in),
        "tables": sum(tables.values()),
        "text_bytes": dump["bytes"],
        "statements": dump["statements"],
        "load_seconds": round(seconds, 3),
        "clients": load.clients,
    }
    many = f"{len(databases)} databases" if len(databases) > 1 else "a database"
    facts["summary"] = f"{many} of {facts['tables']} tables in {facts['server']}"
    said = [*notes]
    here_too = {name.lower() for name, _ in asked[2].rows}
    if others := sorted(name for name in dump["engines"] if name.lower() not in here_too):
        said.append(f"tables of the storage engine {', '.join(others)} came back in another one: this server lacks it")
    if len(databases) > 1:
        said.append(f"databases came back: {', '.join(databases[:10])}; {first} is the one that is examined by default")
    restored = RestoredMysql(server, options, databases, facts, said)
    if not options.allow_empty and not (databases and facts["tables"] and restored.has_rows()):
        raise nothing_came_back("no table has a row" if facts["tables"] else "there is not one table")
    return restored


def _first(databases: Sequence[str], chosen: str, tables: Mapping[str, int]) -> str:
    """The database that is examined by default: the one named, or the one with the most tables.

    Raises:
        CouldNotVerify: The one that is named did not come back.
    """
    if chosen and databases and chosen not in databases:
        raise CouldNotVerify(
            f"the database {chosen} did not come back: there are {', '.join(databases[:10])}",
            remedy="Correct engine_options.database.",
            stage=Stage.RESTORE,
        )
    if chosen in databases:
        return chosen
    return max(databases, key=lambda name: (tables.get(name, 0), name), default="")


def _numbers(version: str) -> tuple[int, int]:
    parts = [int(each) for each in version.split(".")[:2] if each]
    return (parts[0], parts[1]) if len(parts) == 2 else (0, 0)


def _physical() -> CouldNotVerify:
    return CouldNotVerify(
        "this is a physical backup of mariadb-backup or xtrabackup, and only dumps are restored",
        remedy="Drill a dump (mariadb-dump, mysqldump), or prepare and start the physical backup by hand.",
        stage=Stage.RESTORE,
    )


def _no_dump(kind: str) -> BackupFailed:
    return BackupFailed(
        f"the content is {kind or 'unknown'}, not a dump of MySQL or MariaDB",
        remedy="Check what the backup job writes, and the target's engine.",
        stage=Stage.RESTORE,
    )
