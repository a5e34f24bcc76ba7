"""Redis and Valkey: dumps (RDB), append-only files in one piece or in parts, and data directories with either.

What a backup holds is looked at by a confined process first, then by the checker that comes with the server, and then
a server loads it for good: the checker is content with what no server takes (a value of a module that is not there).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from restore_drill.engines import redis_measure as measure
from restore_drill.engines.base import Engine, Restored, RestoreOptions, Sample, Served, nothing_came_back
from restore_drill.engines.redis_format import COMMANDS, MAGIC, branch
from restore_drill.engines.redis_refusals import refused, too_new
from restore_drill.engines.redis_server import RedisServer
from restore_drill.errors import BackupFailed, CouldNotVerify, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.sandboxes.base import Need, Sandbox

_LOOK: Final = "restore_drill.engines.redis_probe:look"
_MODULE: Final = re.compile(r"/[\w./+-]{1,300}\.so", re.ASCII)
_PREFIX: Final = re.compile(r"[^\s*]{1,100}")
_OPTIONS: Final = {"file": "", "modules": (), "prefixes": (), "server": ""}
#: Types that stay when they are used up: Redis itself removes a list, a set or a sorted set with its last element, so
#: that a queue which was empty for once is nothing that vanished.
_LASTING: Final = frozenset({"string", "hash", "stream"})
_TYPES: Final = _LASTING | {"list", "set", "zset"}
_PACKAGES: Final = {"redis": "redis-server", "valkey": "valkey-server"}
_IMAGES: Final = {"redis": "redis", "valkey": "valkey/valkey"}
#: The release that is asked for where a backup does not say who wrote it.
_USUAL: Final = {"redis": "7.0", "valkey": "8.0"}

_UNRELEASED: Final = 255


class RedisEngine(Engine):
    """A Redis server, or a Valkey server.

    Options: ``file`` (which file of a tree is loaded, where it holds several), ``modules`` (files of modules that the
    server loads first), ``prefixes`` (beginnings of keys that are counted on their own), ``server`` (``redis`` or
    ``valkey``, where another one than the writer is to load it).
    """

    name: ClassVar[str] = "redis"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE, PayloadForm.TREE)
    sandboxes: ClassVar[tuple[str, ...]] = ("container", "directory")
    checks: ClassVar[frozenset[str]] = frozenset({"structure", "rows", "query", "newest"})
    port: ClassVar[int] = 6379
    programs: ClassVar[tuple[str, ...]] = ("redis-server", "redis-cli", "redis-check-rdb", "redis-check-aof")

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """By the magic of a dump, or by the first command of an append-only file."""
        if MAGIC.match(head):
            return "redis-dump"
        return "redis-append-only" if COMMANDS.match(head) else None

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Check it, and have a server load it.

        Raises:
            BackupFailed: It is damaged, a server refuses it, or there is not one key.
            CouldNotVerify: A program or an image is missing, the dump is of a newer server, or time did not suffice.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        settings, until = _settings(options.settings), time.monotonic() + options.deadline
        payload = payloads[-1].path
        arguments = {"payload": str(payload.relative_to(sandbox.work)), "file": settings["file"]}
        found = sandbox.call(_LOOK, arguments, deadline=options.deadline)
        family = settings["server"] or found["family"]
        if found["contradicts"]:
            raise _contradiction(found)
        ground = sandbox.equip(_need(family, found["release"] if family == found["family"] else ""))
        server = RedisServer(sandbox, ground, family, until)
        _fits(found, server)
        place = server.lay_out(found["kind"], [sandbox.admit(sandbox.work / path) for path in found["paths"]])
        checked = _checked(server, found, place)
        server.start(commands=found["kind"] != "dump", modules=settings["modules"])
        restored = RestoredRedis(server, options, payload, found, checked, dict(ground.facts), settings["prefixes"])
        restored.judge_emptiness()
        return restored

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Good backups and damaged ones; see :mod:`.redis_samples`."""
        from restore_drill.engines.redis_samples import samples

        yield from samples()


class RestoredRedis(Restored):
    """A server that is up and has loaded everything."""

    def __init__(
        self,
        server: RedisServer,
        options: RestoreOptions,
        payload: Path,
        found: Mapping[str, Any],
        checked: Mapping[str, Any],
        programs: Mapping[str, Any],
        prefixes: Sequence[str],
    ) -> None:
        self._server = server
        self._options = options
        self._payload = payload
        self._prefixes = prefixes
        self._counts: dict[str, int] | None = None
        self._structure: dict[str, list[str]] | None = None
        self._keys = measure.databases(server)
        #: Databases that the backup names, whether a key of them is left or not.
        self._numbers = sorted({*self._keys, *checked["databases"]})
        keys = sum(count for count, _ in self._keys.values())
        lost, self._before = max(0, checked["keys"] - keys), checked["keys"]
        dumped = datetime.fromtimestamp(found["dumped"], UTC).isoformat() if found["dumped"] else ""
        kinds = {"dump": "a dump", "commands": "an append-only file", "parts": "an append-only file in parts"}
        self.facts = {
            "summary": f"{keys:,} keys in {len(self._keys)} databases, from {kinds[found['kind']]}",
            "keys": keys,
            "expiring": sum(expires for _, expires in self._keys.values()),
            "keys_in_backup": checked["keys"],
            "expired_at_load": lost,
            "rdb_version": found["format"],
            "written_by": found["release"],
            "written_at": dumped,
            "checksum": found["checksum"],
            "server": server.name,
            "programs": programs,
        }
        self.notes = [*found["notes"], *_expired(lost, checked)]

    def judge_emptiness(self) -> None:
        """Not a single key: nothing came back, unless row counts will say so of keys that were past their time to live.

        Raises:
            BackupFailed: There is not one key.
        """
        if self.facts["keys"] or self._options.allow_empty:
            return
        if not self._before:
            raise nothing_came_back("there is not one key")
        if "rows" not in self._options.wanted:
            raise nothing_came_back(f"all {self._before:,} keys of it were past their time to live")

    def structure(self) -> dict[str, list[str]]:
        """Databases, the types of keys in them that are not removed with their last element, and functions."""
        if self._structure is None:
            counts = self.row_counts()
            self._begin()
            named = [name for name in counts if "." in name and not name.endswith("*")]
            lasting = [name for name in named if (kind := name.partition(".")[2]) in _LASTING or kind not in _TYPES]
            types = {"type of key": lasting} if lasting else {}
            listed = {"database": [f"db{number}" for number in self._numbers]}
            self._structure = {**listed, **types, **measure.functions(self._server)}
        return {kind: list(names) for kind, names in self._structure.items()}

    def row_counts(self) -> dict[str, int]:
        """Keys of each database (``db0``), of each type (``db0.hash``) and prefix (``db0.session:*``) in it."""
        if self._counts is None:
            self._begin()
            self._counts = measure.count(self._server, self._numbers, self._prefixes)
        return dict(self._counts)

    def estimates(self) -> dict[str, int]:
        """Keys of databases that could not be walked through in time, those included that have expired since."""
        counts = self.row_counts()
        return {f"db{one}": keys for one, (keys, _) in self._keys.items() if f"db{one}" not in counts}

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """The answer to one command of Redis that only reads, a row for each element: ``HGET shop:1 name``.

        A line ``SELECT 3`` before it (or ``SELECT 3;``) chooses a database.
        """
        self._begin(deadline)
        return measure.ask(self._server, sql)

    def dsn(self) -> str:
        """For redis-py: ``redis.Redis.from_url(restored.dsn())``; ``?db=3`` behind it chooses a database."""
        return self._server.url

    def serve(self, account: str, password: str) -> Served:  # noqa: ARG002 - none is asked
        """Whoever reaches the socket is let in; what a live server knows of users is no part of a dump.

        Raises:
            CouldNotVerify: The server is on another machine, or an account was named.
        """
        if account:
            raise CouldNotVerify(
                "Redis has no accounts in what is restored of it",
                looked_at=account,
                remedy="Remove the login from the set, and the user from the application's configuration.",
            )
        return Served(self._server.socket)

    @property
    def path(self) -> Path:
        """The file or tree that was loaded."""
        return self._payload

    def close(self) -> None:
        """Nothing is kept: the sandbox ends the server."""

    def _begin(self, deadline: float | None = None) -> None:
        self._server.until = time.monotonic() + (self._options.deadline if deadline is None else deadline)


def _need(family: str, release: str) -> Need:
    found = branch(release)
    # What is built from source between two releases calls itself 255.255.255 or 999.999.999.
    wanted = f"{found[0]}.{found[1]}" if found and found[0] < _UNRELEASED else ""
    return Need(
        system=family,
        version=wanted,
        programs=tuple(f"{family}-{program}" for program in ("server", "cli", "check-rdb", "check-aof")),
        image=f"{_IMAGES[family]}:{wanted or _USUAL[family]}",
        user=family,
        package=_PACKAGES[family],
        newer=True,
    )


def _contradiction(found: Mapping[str, Any]) -> BackupFailed:
    return BackupFailed(
        f"the dump says RDB version {found['format']}, which its writer {found['release']} does not write",
        remedy="Its beginning is damaged: use another copy.",
        stage=Stage.RESTORE,
    )


def _fits(found: Mapping[str, Any], server: RedisServer) -> None:
    """Whether this server is one that can have written it."""
    if found["kind"] == "parts" and (branch(server.release) or (0, 0)) < (7, 0):
        raise CouldNotVerify(
            f"an append-only file in parts needs a server of version 7 or later, and this is {server.name}",
            remedy="Name a newer image in the target's sandbox, or install a newer server.",
            stage=Stage.RESTORE,
        )


def _checked(server: RedisServer, found: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What the checker says: keys, those past their time to live, and databases; zeros for an append-only file."""
    status, text = server.check(found["kind"], place)
    version = re.findall(r"Can't handle RDB format version (\d+)", text)
    if version:
        raise too_new(version[-1], server.name, found["release"], tuple(text.splitlines()[-10:]))
    if status:
        raise refused(text, f"the checker of {server.name}")
    if found["kind"] != "dump":
        return {"keys": 0, "expired": 0, "databases": []}
    end = _last(r"\[offset (\d+)\] \\o/ RDB looks OK!", text)
    if 0 < end < found["sizes"][0]:
        raise BackupFailed(
            f"there are {found['sizes'][0] - end:,} bytes behind the end of the dump",
            looked_at=f"{found['sizes'][0]:,} bytes, {end:,} of them a dump",
            remedy="Check the backup job: something was appended, or a shorter dump was written over a longer one.",
            stage=Stage.RESTORE,
        )
    numbers = {int(number) for number in re.findall(r"^\[offset \d+\] Selecting DB ID (\d{1,5})$", text, re.M)}
    return {
        "keys": _last(r"\[info\] (\d+) keys read", text),
        "expired": _last(r"\[info\] (\d+) already expired", text),
        "databases": sorted(numbers),
    }


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def _expired(lost: int, checked: Mapping[str, Any]) -> list[str]:
    if not lost:
        return []
    return [
        f"{lost:,} of {checked['keys']:,} keys of the dump did not come back: {checked['expired']:,} of them "
        "were past their time to live when it was checked"
    ]


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    settings = {**_OPTIONS, **given}
    if unknown := sorted(settings.keys() - _OPTIONS.keys()):
        raise UsageProblem(
            f"the redis engine has no option {', '.join(unknown)}", remedy=f"It has {', '.join(_OPTIONS)}."
        )
    file = settings["file"]
    good = {
        "file": isinstance(file, str) and file.isprintable() and not file.startswith("/") and len(file) < 1000,
        "modules": _all(settings["modules"], _MODULE),
        "prefixes": _all(settings["prefixes"], _PREFIX) and not _TYPES & set(settings["prefixes"]),
        "server": settings["server"] in ("", "redis", "valkey"),
    }
    if wrong := [name for name, fine in good.items() if not fine]:
        raise UsageProblem(
            f"the redis engine's option {wrong[0]} has a wrong value",
            remedy="file is a path within the backup, modules are absolute paths of .so files, prefixes are beginnings "
            "of keys without a star, server is redis or valkey.",
        )
    return {**settings, "modules": list(settings["modules"]), "prefixes": list(settings["prefixes"])}


def _all(values: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(one, str) and pattern.fullmatch(one) for one in values)
