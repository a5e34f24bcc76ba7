"""Backups of servers that try to get out of their sandbox, and what on this machine they would have to touch."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.contents import gz
from tests.support.databases import Backup

from restore_drill.engines import redis_samples
from restore_drill.engines.mysql import samples as mysql_samples
from restore_drill.engines.postgres import samples as postgres_samples
from restore_drill.engines.volume_samples import contents, volume

#: A word in a row that no report may have.
PERSON = "Ottilie-Canary"
_GOOD = postgres_samples.shop()
_SET = "SET row_security = off;\n"
_END = "--\n-- PostgreSQL database dump complete"
_ROWS = {"rows": {"customers": 12, "orders": 40}}
#: When what never ends is ended.
_SOON = "5s"


@dataclass
class Bait:
    """What is in reach of everybody on this machine.

    Attributes:
        place: A directory that everybody may write, with a file in it that everybody may read.
        word: What is in that file.
        port: Where something listens on the loopback interface.
        calls: Who connected to it.
    """

    place: Path
    word: str
    port: int
    calls: list[object] = field(default_factory=list)

    @property
    def markers(self) -> list[str]:
        """What somebody wrote."""
        found = [*self.place.iterdir(), *Path("/tmp").glob(f"{self.place.name}*")]
        return sorted(str(path) for path in found if path.name != "secret")

    def script(self) -> str:
        """Tries everything, says what it achieved, and leaves a process behind."""
        return (
            f"(echo ran; touch {self.place}/marker && echo wrote; touch /tmp/{self.place.name};"
            f" cat {self.place}/secret;"
            " cat /proc/[0-9]*/environ | tr '\\000' '\\n'; ls /var/run/docker.sock && echo engine;"
            f' perl -MIO::Socket::INET -e "print qq(connected) if IO::Socket::INET->new(q(127.0.0.1:{self.port}))";'
            " (sleep 300 >/dev/null &) ) 2>/dev/null | tr '\\011\\134' '  '; true"
        )


@contextlib.contextmanager
def laid_out() -> Iterator[Bait]:
    """Lay the bait, outside of the directories that programs in a sandbox have for themselves where that may be."""
    place = Path(tempfile.mkdtemp(prefix="bait-", dir="/srv" if os.access("/srv", os.W_OK) else "/var/tmp"))
    listener = socket.create_server(("127.0.0.1", 0))
    bait = Bait(place, f"word-of-{place.name}", listener.getsockname()[1])
    place.chmod(0o777)
    (place / "secret").write_text(f"{bait.word}\n")
    (place / "secret").chmod(0o644)

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = listener.accept()
                bait.calls.append(peer)
                connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield bait
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        shutil.rmtree(place)


def backups(bait: Bait, *, counted: bool) -> dict[str, Backup]:
    """Those for every sandbox; who has no cause loads, does what it can, and is as good as any other backup.

    Args:
        bait: What they are after.
        counted: The sandbox counts the length of files, and not only what they take on the disk.
    """
    return {
        "pg-twin": _postgres(_GOOD),
        "pg-runs": _postgres(_runs(bait)),
        "pg-reaches": _postgres(_reaches(bait)),
        "pg-sparse": _postgres(_does("truncate -s 100G sparse; sleep 300"), "restores", "" if counted else _SOON),
        "pg-bomb": _postgres(_does("more() { more | more & }; more; sleep 60"), "restores", _SOON),
        "pg-shell": _postgres(_GOOD.replace(_SET, f"{_SET}\\! touch {bait.place}/shell\n"), "restores"),
        "pg-copy": _postgres(
            _GOOD.replace(_SET, f"{_SET}\\copy x from program 'touch {bait.place}/copy'\n"), "restores"
        ),
        "pg-output": _postgres(_GOOD.replace(_SET, f"{_SET}\\o |touch {bait.place}/output\n"), "restores"),
        "pg-include": _postgres(_GOOD.replace(_SET, f"{_SET}\\i {bait.place}/secret\n"), "restores"),
        "pg-person": _postgres(_with_person(), "restores"),
        "maria-twin": _mariadb(mysql_samples.dump()),
        "maria-runs": _mariadb(_tries(bait)),
        "maria-shell": _mariadb(_before(f"system touch {bait.place}/system\n"), "restores"),
        "maria-local": _mariadb(
            _before(f"LOAD DATA LOCAL INFILE '{bait.place}/secret' INTO TABLE settings;\n"), "restores"
        ),
        "maria-person": _mariadb(
            _before(f"INSERT INTO `settings` VALUES ('{PERSON}','a'),('{PERSON}','b');\n"), "restores"
        ),
        "redis-twin": _redis(redis_samples.good()),
        "redis-loops": _redis(_looping_library(), "restores"),
        "redis-evals": _redis(
            redis_samples.written_out() + redis_samples.commands(("EVAL", "while true do end", "0")), "restores", ".aof"
        ),
    }


def volumes() -> dict[str, Backup]:
    """Those that need a container: a good one, a smoke command that multiplies, and a file of 100 GB of nothing."""
    run = ["python3", "-I", "/opt/app/serve.py", "check"]
    bomb = {"name": "bomb", "run": ["sh", "-c", "while :; do sleep 600 & done"], "within": "2s"}
    with tempfile.TemporaryDirectory() as place:
        good = volume(contents())(Path(place)).read_bytes()
    own = {"smoke": [{"name": "own", "run": run}]}
    return {
        "volume-twin": _volume(good, own),
        "volume-bomb": _volume(good, {"smoke": [bomb]}, "smoke/bomb"),
        "volume-sparse": _volume(_sparse(), own, "unpacks"),
    }


def _volume(packed: bytes, expect: Mapping[str, object], cause: str = "") -> Backup:
    options = {"engine_options": {"mount": "/data"}}
    return Backup("volume", ".tar.gz", lambda: gz(packed), expect, cause, "app", options)


def _sparse() -> bytes:
    """An archive of a file of 100 GB that has not one byte, as GNU tar writes it."""
    with tempfile.TemporaryDirectory() as place:
        with Path(place, "sparse").open("wb") as file:
            file.truncate(100 << 30)
        return subprocess.run(["tar", "-C", place, "--sparse", "-c", "."], capture_output=True, check=True).stdout


def _postgres(text: str, cause: str = "", restore: str = "") -> Backup:
    options = {"deadlines": {"restore": restore}} if restore else {}
    return Backup("postgres", ".sql.gz", lambda: gz(text.encode()), _ROWS, cause, "postgres", options)


def _mariadb(content: bytes, cause: str = "") -> Backup:
    expect = {"rows": dict(mysql_samples.EXPECT["rows"]) | {"default": {"min": 0}}}
    return Backup("mariadb", ".sql.gz", lambda: gz(content), expect, cause, "mariadb")


def _redis(content: bytes, cause: str = "", ending: str = ".rdb") -> Backup:
    # What never ends is ended soon; its twin has the time that a busy machine may need.
    options = {"deadlines": {"restore": "3s"}} if cause else {}
    return Backup("redis", ending, lambda: content, {}, cause, "redis", options)


def _does(command: str) -> str:
    """As a superuser may, past the look at the text: in a block, by a statement that is put together there."""
    block = (
        f"DO $x$ BEGIN EXECUTE 'CREATE TEMP TABLE p (a text); COPY p FR' || $c$OM PROGRAM '{command}'$c$; END $x$;\n"
    )
    return _GOOD.replace(_END, block + _END)


def _runs(bait: Bait) -> str:
    """Once as an event trigger, which every later statement fires, and once in an index, which integrity reads."""
    program = bait.script().replace("'", "''")
    body = f"EXECUTE 'COPY public.loot FR' || $c$OM PROGRAM '{program}'$c$"
    before = (
        "CREATE TABLE public.loot (what text);\n"
        f"CREATE FUNCTION public.fire() RETURNS event_trigger LANGUAGE plpgsql AS $x$ BEGIN {body}; END $x$;\n"
        f"CREATE FUNCTION public.reach() RETURNS integer LANGUAGE plpgsql AS $x$ BEGIN "
        f"EXECUTE 'COPY (SELECT 1) T' || $c$O PROGRAM 'cat >/dev/null; touch {bait.place}/index; true'$c$; "
        "RETURN 1; END $x$;\n"
        "CREATE FUNCTION public.mark(a integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS "
        "$x$ BEGIN RETURN a * public.reach(); END $x$;\n"
    )
    after = (
        "CREATE EVENT TRIGGER fires ON ddl_command_end EXECUTE FUNCTION public.fire();\n"
        "CREATE TABLE public.later (id integer PRIMARY KEY);\n"
        "CREATE INDEX marked ON public.settings (public.mark(length(name)));\n"
    )
    return _GOOD.replace(_SET, _SET + before).replace(_END, after + _END)


def _reaches(bait: Bait) -> str:
    """Foreign servers, a file of this machine, a subscription; each says what came of it."""
    at = f"host ''127.0.0.1'', port ''{bait.port}'', dbname ''postgres''"
    tries = [
        f"CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({at})",
        "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user ''x'', password ''x'')",
        "CREATE FOREIGN TABLE public.there (a integer) SERVER far",
        "INSERT INTO public.loot SELECT a::text FROM public.there",
        f"INSERT INTO public.loot SELECT a FROM public.dblink(''host=127.0.0.1 port={bait.port} user=x password=x'', "
        "''select 1'') AS t(a text)",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        f"CREATE FOREIGN TABLE public.file (a text) SERVER files OPTIONS (filename ''{bait.place}/secret'')",
        "INSERT INTO public.loot SELECT a FROM public.file",
        f"CREATE SUBSCRIPTION pull CONNECTION ''host=127.0.0.1 port={bait.port} user=x dbname=x'' PUBLICATION p "
        "WITH (connect = false, slot_name = s)",
        "ALTER SUBSCRIPTION pull ENABLE",
    ]
    extensions = "".join(
        f"CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA public;\n"
        for name in ("postgres_fdw", "dblink", "file_fdw")
    )
    blocks = "".join(
        f"DO $x$ BEGIN EXECUTE '{one}'; INSERT INTO public.loot VALUES ('did {number}'); EXCEPTION WHEN OTHERS THEN "
        f"INSERT INTO public.loot VALUES ('not {number}'); END $x$;\n"
        for number, one in enumerate(tries)
    )
    return _GOOD.replace(_END, f"CREATE TABLE public.loot (what text);\n{extensions}{blocks}{_END}")


def _with_person() -> str:
    return _GOOD.replace("\\.\n\n\nCOPY public.orders", f"1\t{PERSON}\t\\N\n\\.\n\n\nCOPY public.orders")


def _before(more: str) -> bytes:
    good = mysql_samples.dump()
    place = good.index(b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;")
    return good[:place] + more.encode() + good[place:]


def _tries(bait: Bait) -> bytes:
    """A procedure that goes on after every refusal, and an event that would come every second."""
    tries = [
        f"SELECT 1 INTO OUT', 'FILE \"{bait.place}/outfile\"",
        f"INSERT INTO loot SELECT LOAD_FI', 'LE(\"{bait.place}/secret\")",
        "INSTALL SONA', 'ME \"ha_federatedx\"",
        f"CREATE TABLE far (a INT) ENGINE=CONNECT TABLE_TYPE=MYSQL CONNECTION=', '\"mysql://x@127.0.0.1:{bait.port}/a/b\"",
    ]
    body = "".join(
        f"SET @s = CONCAT('{one}'); PREPARE p FROM @s; EXECUTE p; INSERT INTO loot VALUES ('tried {number}');\n"
        for number, one in enumerate(tries)
    )
    return _before(
        "CREATE TABLE `loot` (`what` text);\nDELIMITER ;;\nCREATE PROCEDURE `grab`()\nBEGIN\n"
        f"DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;\n{body}END ;;\n"
        "CREATE EVENT `often` ON SCHEDULE EVERY 1 SECOND STARTS '2020-01-01' DO INSERT INTO loot VALUES ('event') ;;\n"
        "DELIMITER ;\nCALL grab();\n"
    )


def _looping_library() -> bytes:
    library = "#!lua name=loop\nwhile true do end\n"
    content = redis_samples.database(0, *redis_samples.shop())
    return redis_samples.dump(b"\xf5" + redis_samples.text(library), content)
