"""A Redis (or Valkey) inside a sandbox: its checkers, its start over restored files, and questions to it.

It listens on a Unix socket and on nothing else, keeps nothing, follows nobody, and lacks the commands with which the
content of an append-only file could reach further: such a file is executed command by command, without asking the
server's own protections.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.redis_format import branch
from restore_drill.engines.redis_refusals import refusal
from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.process import Completed
from restore_drill.sandboxes.base import Ground, Sandbox, Server

_COMMANDS: Final = "appendonly.aof"
_PARTS: Final = "appendonlydir"
_DUMP: Final = "dump.rdb"
_CONFIGURATION: Final = "drill.conf"
#: More than any server keeps.
_DATABASES: Final = 16384
#: What no server ever writes to its append-only file, by the version that brought it.
_WITHHELD: Final[Mapping[tuple[int, int], tuple[str, ...]]] = {
    (0, 0): (
        "BGREWRITEAOF", "BGSAVE", "CLUSTER", "CONFIG", "DEBUG", "MIGRATE", "MONITOR", "PSYNC", "REPLCONF", "SAVE",
        "SHUTDOWN", "SLAVEOF", "SYNC",
    ),
    (4, 0): ("MODULE",),
    (5, 0): ("REPLICAOF",),
    (6, 0): ("ACL",),
    (6, 2): ("FAILOVER",),
}  # fmt: skip
_SETTINGS: Final[Mapping[tuple[int, int], tuple[str, ...]]] = {
    (0, 0): (
        "port 0", "unixsocketperm 777", 'save ""', "daemonize no", 'logfile ""', "protected-mode yes", "maxmemory 0",
        f"databases {_DATABASES}", "aof-load-truncated no", "auto-aof-rewrite-percentage 0", "appendfsync no",
        f"dbfilename {_DUMP}", f"appendfilename {_COMMANDS}",
    ),
    (6, 2): ("sanitize-dump-payload yes", "crash-memcheck-enabled no"),
    (7, 0): (
        "enable-debug-command no", "enable-module-command no", "enable-protected-configs no",
        f"appenddirname {_PARTS}",
    ),
}  # fmt: skip
#: Lays out what is loaded: a dump is read where it is, an append-only file is opened for writing by a server.
_LAY_OUT: Final = {
    "dump": f'ln -s "$1" "$0/{_DUMP}"',
    "commands": f'cat "$1" >"$0/{_COMMANDS}"',
    "parts": f'd="$0/{_PARTS}"; mkdir -m 700 "$d" && cat "$1" >"$d/{_COMMANDS}.manifest" && shift && '
    'for f in "$@"; do cat "$f" >"$d/${f##*/}" || exit 1; done',
}
_ANSWER: Final = b"drill:"


class RedisServer:
    """The programs of one family over the ground of a sandbox.

    Args:
        family: ``redis`` or ``valkey``: how the programs' names begin.
        until: ``time.monotonic()`` by which what is under way must have ended; to be set anew for each piece of work.
    """

    def __init__(self, sandbox: Sandbox, ground: Ground, family: str, until: float) -> None:
        self.until = until
        self._sandbox = sandbox
        self._ground = ground
        self._family = family
        self._server: Server | None = None
        self._socket = f"{ground.sockets}/redis.sock"
        self.release = self._release()

    @property
    def name(self) -> str:
        """Program and version, for messages."""
        return f"{self._family}-server {self.release}"

    @property
    def url(self) -> str:
        """How a driver on this machine connects."""
        return f"unix://{self.socket}"

    @property
    def socket(self) -> Path:
        """Its socket, as seen from this machine."""
        if self._ground.reachable is None:
            raise CouldNotVerify(
                "the restored server cannot be connected to from here: its container runs on another machine",
                remedy="Ask with restored.query, or run the case where the containers run.",
            )
        return self._ground.reachable / "redis.sock"

    def run(self, argv: Sequence[str], *, stdin: bytes = b"") -> Completed:
        """Run a program to its end, within what is left of the time."""
        return self._sandbox.exec(argv, deadline=self._left(), stdin=stdin)

    def lay_out(self, kind: str, paths: Sequence[str]) -> str:
        """Bring the files where the server looks for them, and return what a checker is given.

        Raises:
            CouldNotVerify: There is no room, or they cannot be read.
        """
        data = self._ground.data
        done = self.run(["sh", "-c", f"umask 077; {_LAY_OUT[kind]}", data, *paths])
        if done.returncode:
            raise CouldNotVerify(
                "what is to be loaded cannot be laid out for the server",
                remedy="Free space where restores are made.",
                stage=Stage.RESTORE,
                details=_lines(done),
            )
        places = {"dump": _DUMP, "commands": _COMMANDS, "parts": f"{_PARTS}/{_COMMANDS}.manifest"}
        return f"{data}/{places[kind]}"

    def check(self, kind: str, place: str) -> tuple[int, str]:
        """What the family's own checker says of it: status and output."""
        program = f"{self._family}-check-{'rdb' if kind == 'dump' else 'aof'}"
        done = self.run([program, place])
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def start(self, *, commands: bool, modules: Sequence[str]) -> None:
        """Start it and wait until everything is loaded.

        Raises:
            BackupFailed: It refuses what it was to load.
            CouldNotVerify: It did not start for a reason of this machine's, or time did not suffice.
        """
        lines = [f"unixsocket {self._socket}", f"dir {_quoted(self._ground.data)}"]
        lines += [line for since, some in _SETTINGS.items() if self._has(since) for line in some]
        lines += [f"appendonly {'yes' if commands else 'no'}", *(f"loadmodule {path}" for path in modules)]
        withheld = [name for since, some in _WITHHELD.items() if self._has(since) for name in some]
        lines += [f'rename-command {name} ""' for name in withheld]
        configuration = f"{self._ground.data}/{_CONFIGURATION}"
        self._sandbox.put(configuration, "".join(f"{line}\n" for line in lines).encode(), deadline=self._left())
        argv = [f"{self._family}-server", configuration]
        try:
            self._server = self._sandbox.start(argv, ready=self._answers, deadline=self._left())
        except DeadlineExceeded:
            raise
        except CouldNotVerify as problem:
            raise refusal(problem, self.name) from problem

    def stop(self) -> None:
        """End it, where it was started."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def info(self, section: str) -> dict[str, str]:
        """What it says of itself."""
        done = self._client(["INFO", section])
        pairs = (line.partition(":") for line in done.stdout.decode(errors="replace").splitlines())
        return {name: value.strip() for name, colon, value in pairs if colon}

    def evaluate(self, script: str, *arguments: str) -> Any:
        """Run a script of ours in it that returns ``drill:`` and a JSON text.

        Raises:
            CouldNotVerify: It complains.
        """
        done = self._client(["EVAL", script, "0", *arguments])
        if not done.stdout.startswith(_ANSWER):
            raise CouldNotVerify(
                f"{self.name} does not answer the question",
                remedy="See the details.",
                details=_lines(done),
            )
        return self._read(done.stdout.removeprefix(_ANSWER))

    def functions(self) -> list[dict[str, Any]]:
        """Its libraries of functions, without their code; none where it is older than they are."""
        if not self._has((7, 0)):
            return []
        answer = self._read(self._client(["--json", "FUNCTION", "LIST"]).stdout)
        return answer if isinstance(answer, list) else []

    def _read(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError as problem:
            raise CouldNotVerify(
                f"the answer of {self.name} is too long or cannot be read",
                remedy="Ask for less.",
                details=tuple(text[-1000:].decode(errors="replace").splitlines()),
            ) from problem

    def _client(self, words: Sequence[str]) -> Completed:
        return self.run([f"{self._family}-cli", "-s", self._socket, *words])

    def _answers(self) -> bool:
        return self._client(["PING"]).stdout.strip() == b"PONG"

    def _release(self) -> str:
        done = self.run([f"{self._family}-server", "--version"])
        found = re.search(rb"v=(\d{1,3}\.\d{1,3}(?:\.\d{1,4})?)", done.stdout)
        if found is None:
            raise CouldNotVerify(
                f"{self._family}-server does not say its version",
                remedy="Use an image, or a package, of the server itself.",
                details=_lines(done),
            )
        return found[1].decode()

    def _has(self, since: tuple[int, int]) -> bool:
        # Valkey began as Redis 7.2.
        return self._family == "valkey" or (branch(self.release) or (0, 0)) >= since

    def _left(self) -> float:
        return max(1.0, self.until - time.monotonic())


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(done: Completed) -> tuple[str, ...]:
    return tuple((done.stdout[-4000:] + done.stderr[-4000:]).decode(errors="replace").splitlines()[-20:])
