"""What the ``redis`` engine proves itself with: a small shop's keys, and the ways in which a dump of it goes bad.

The format is that of Redis's ``rdb.h`` and ``rdb.c`` (RDB version 9 and 10); commands in an append-only file are RESP
arrays.
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.tables_samples import written

#: Seconds since the epoch at which a snapshot of the good sample would have been taken.
TAKEN: Final = 1_700_000_000
_SESSIONS: Final = 30
_ORDERS: Final = 12
_FAR: Final = 4_000_000_000_000
_PAST: Final = 1_600_000_000_000
_LIBRARY: Final = "#!lua name=shop\nredis.register_function{function_name='total', callback=function() return 1 end}\n"
#: What the catalogue would say of these samples under ``expect:``.
EXPECT: Final[Mapping[str, Any]] = {
    "rows": {"db0": 2 + _SESSIONS + _ORDERS + 3, "db0.hash": _ORDERS, "db3.string": 1, "default": {"max_drop": "0%"}},
    "queries": [{"name": "the-right-server", "sql": "GET shop:environment", "equals": "production"}],
    "newest_record": {"sql": "GET shop:latest", "within": "2h"},
}


def crc64(data: bytes) -> int:
    """The checksum at the end of a dump (Jones's polynomial, reflected, no inversion)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x95AC9329AC4BC9B5 if crc & 1 else crc >> 1
    return crc


def length(number: int) -> bytes:
    """A length as the format stores it."""
    if number < 1 << 6:
        return bytes([number])
    if number < 1 << 14:
        return bytes([0x40 | number >> 8, number & 0xFF])
    return b"\x80" + struct.pack(">I", number)


def text(value: str | bytes) -> bytes:
    """A string with its length before it."""
    raw = value.encode() if isinstance(value, str) else value
    return length(len(raw)) + raw


def key(kind: int, name: str, value: bytes, *, until: int | None = None) -> bytes:
    """A key of one of the types, with its time to live in milliseconds since the epoch."""
    return (b"" if until is None else b"\xfc" + struct.pack("<q", until)) + bytes([kind]) + text(name) + value


def members(*values: str) -> bytes:
    """The value of a list, a set, or (field after field) a hash of as many entries as ``values`` has."""
    return length(len(values)) + b"".join(text(value) for value in values)


def dump(*content: bytes, version: int = 10, aux: Mapping[str, str] | None = None, checksum: bool = True) -> bytes:
    """A whole dump file."""
    fields = {"redis-ver": "7.0.15", "redis-bits": "64", "ctime": str(TAKEN), "used-mem": "1000000", **(aux or {})}
    head = b"REDIS%04d" % version
    head += b"".join(b"\xfa" + text(name) + text(value) for name, value in fields.items())
    body = head + b"".join(content) + b"\xff"
    return body + (struct.pack("<Q", crc64(body)) if checksum else bytes(8))


def database(number: int, *keys: bytes) -> bytes:
    """The keys of one database."""
    expiring = sum(one.startswith(b"\xfc") for one in keys)
    return b"\xfe" + length(number) + b"\xfb" + length(len(keys)) + length(expiring) + b"".join(keys)


def shop(environment: str = "production", *, age: int = 1, orders: int = _ORDERS, past: int = 0) -> list[bytes]:
    """The keys of database 0; so many of the sessions' lives ended long ago."""
    keys = [
        key(0, "shop:environment", text(environment)),
        key(0, "shop:latest", text(str(TAKEN - age * 3600))),
        key(1, "shop:queue", members("a", "b", "c")),
        key(2, "shop:tags", members("x", "y")),
        key(5, "shop:scores", length(2) + b"".join(text(one) + struct.pack("<d", 1.5) for one in "pq")),
    ]
    for number in range(_SESSIONS):
        keys.append(key(0, f"session:{number}", text("s" * 40), until=_PAST if number < past else _FAR))
    for number in range(orders):
        keys.append(key(4, f"order:{number}", length(2) + b"".join(map(text, ("state", "paid", "sum", str(number))))))
    return keys


def sessions(count: int, until: int = _PAST) -> list[bytes]:
    """Keys that live no longer than so many milliseconds since the epoch."""
    return [key(0, f"session:{number}", text("s" * 40), until=until) for number in range(count)]


def good(functions: bool = True, **changes: Any) -> bytes:
    """The good dump, or one whose keys are others; see :func:`shop`."""
    library = b"\xf5" + text(_LIBRARY) if functions else b""
    return dump(library, database(0, *shop(**changes)), database(3, key(0, "other:key", text("value"))))


def commands(*lines: Sequence[str]) -> bytes:
    """Commands as an append-only file holds them."""
    return b"".join(
        b"*%d\r\n" % len(line) + b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in line)
        for line in lines
    )


def written_out(environment: str = "production") -> bytes:
    """The good sample as commands."""
    lines: list[Sequence[str]] = [("SELECT", "0"), ("SET", "shop:environment", environment)]
    lines += [("SET", "shop:latest", str(TAKEN - 3600)), ("RPUSH", "shop:queue", "a", "b", "c")]
    lines += [("SADD", "shop:tags", "x", "y"), ("ZADD", "shop:scores", "1.5", "p", "1.5", "q")]
    lines += [("SET", f"session:{number}", "s" * 40, "PXAT", str(_FAR)) for number in range(_SESSIONS)]
    lines += [("HSET", f"order:{number}", "state", "paid", "sum", str(number)) for number in range(_ORDERS)]
    lines += [("FUNCTION", "LOAD", _LIBRARY), ("SELECT", "3"), ("SET", "other:key", "value")]
    return commands(*lines)


def in_parts(increment: bytes, *, base: bytes | None = None, lost: str = "") -> Callable[[Path], Path]:
    """A tar of a data directory with an append-only file in parts (Redis 7)."""
    name = "appendonly.aof"
    files = {
        f"{name}.1.base.rdb": good(functions=True) if base is None else base,
        f"{name}.1.incr.aof": increment,
        f"{name}.manifest": f"file {name}.1.base.rdb seq 1 type b\nfile {name}.1.incr.aof seq 1 type i\n".encode(),
    }
    return packed({f"data/appendonlydir/{part}": raw for part, raw in files.items() if part != lost})


def packed(files: Mapping[str, bytes]) -> Callable[[Path], Path]:
    """A tar of files."""

    def build(directory: Path) -> Path:
        path = directory / "sample.tar"
        with tarfile.open(path, "w") as archive:
            for name, raw in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode, member.mtime = len(raw), 0o644, TAKEN
                archive.addfile(member, io.BytesIO(raw))
        return path

    return build


def _flipped(raw: bytes) -> bytes:
    place = raw.index(b"order:7") + 3
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def samples() -> Iterator[Sample]:
    """The good ones first."""
    whole, aof = good(), written_out()
    more = commands(("SELECT", "0"), ("SET", "shop:environment", "production"))
    module = key(7, "filter", b"\x81" + struct.pack(">Q", _module_id("MBbloom--", 4)) + b"\x00")
    yield Sample("good", "", written(whole))
    yield Sample("good-append-only", "", written(aof))
    yield Sample("good-in-parts", "", in_parts(more))
    yield Sample("good-directory", "", packed({"data/dump.rdb": whole}))
    yield Sample("cut", "restores", written(whole[: len(whole) * 2 // 3]))
    yield Sample("flipped", "restores", written(_flipped(whole)))
    yield Sample("tail", "restores", written(whole + b"garbage"))
    yield Sample("needs-module", "restores", written(dump(database(0, module))))
    yield Sample("no-keys", "restores", written(dump()))
    yield Sample("append-only-cut", "restores", written(aof[:-9]))
    yield Sample(
        "append-only-flipped", "restores", written(aof.replace(b"order:7", b"order\r7").replace(b"$7", b"$9", 1))
    )
    yield Sample("append-only-foreign", "restores", written(aof + commands(("SHUTDOWN", "NOSAVE"))))
    yield Sample("part-lost", "restores", in_parts(more, lost="appendonly.aof.1.base.rdb"))
    yield Sample("part-cut", "restores", in_parts(more[:-5]))
    yield Sample("functions-lost", "structure", written(good(functions=False)))
    yield Sample("keys-lost", "rows", written(good(orders=_ORDERS - 2)))
    yield Sample("expired", "rows", written(good(past=20)))
    yield Sample("wrong-server", "query", written(good(environment="staging")))
    yield Sample("stale", "newest", written(good(age=30)))


def _module_id(name: str, version: int) -> int:
    """How the format names a module's type: nine characters of six bits, and ten bits of version."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = 0
    for letter in name:
        number = number << 6 | letters.index(letter)
    return number << 10 | version
