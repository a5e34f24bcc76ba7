"""What a restored Redis is asked: how many keys of which type it has, its functions, and single read-only commands."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from restore_drill.engines.redis_server import RedisServer
from restore_drill.engines.sqlite_errors import printable
from restore_drill.errors import CouldNotVerify, DeadlineExceeded

#: Keys that one execution goes through: about a second of the server's time.
_AT_ONCE: Final = 500_000
_STEP: Final = 1000
_AGAIN: Final = 3
_NAMES: Final = 2000
#: Walks databases from a cursor on and counts keys by type and by beginning.
_COUNT: Final = """
local given = cjson.decode(ARGV[1])
local types, starts, seen, left = {}, {}, 0, given.budget
redis.call('SELECT', given.database)
local cursor = given.cursor
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', given.step)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'none' then
      types[kind] = (types[kind] or 0) + 1
      for number, start in ipairs(given.prefixes) do
        if string.sub(key, 1, #start) == start then starts[tostring(number)] = (starts[tostring(number)] or 0) + 1 end
      end
    end
  end
  left = left - given.step
until cursor == '0' or left <= 0
return 'drill:' .. cjson.encode({cursor = cursor, types = types, starts = starts})
"""
#: One command's answer with what it is, since JSON tells no number from a text that Lua was given.
_ASK: Final = """
redis.call('SELECT', ARGV[1])
local words = {}
for place = 2, #ARGV do words[#words + 1] = ARGV[place] end
local answer = redis.call(unpack(words))
local kind = type(answer)
if kind == 'table' and answer.ok then answer = answer.ok elseif kind == 'table' then
  local rows = {}
  for place, one in ipairs(answer) do rows[place] = (type(one) == 'table') and 'list' or one end
  return 'drill:' .. cjson.encode({kind = 'list', answer = rows})
end
if kind == 'boolean' then return 'drill:' .. cjson.encode({kind = 'nothing'}) end
return 'drill:' .. cjson.encode({kind = kind, answer = answer})
"""
#: Commands that read and do nothing else, whatever the server's version.
READS: Final = frozenset((
    "BITCOUNT", "DBSIZE", "EXISTS", "EXPIRETIME", "GEODIST", "GET", "GETBIT", "GETRANGE", "HEXISTS", "HGET",
    "HKEYS", "HLEN", "HMGET", "HSTRLEN", "HVALS", "LINDEX", "LLEN", "LRANGE", "MGET", "OBJECT", "PEXPIRETIME",
    "PFCOUNT", "PTTL", "SCARD", "SISMEMBER", "SMEMBERS", "SMISMEMBER", "STRLEN", "TTL", "TYPE", "XLEN",
    "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZMSCORE", "ZRANGE", "ZRANGEBYSCORE", "ZRANK",
    "ZREVRANGE", "ZREVRANK", "ZSCORE",
))  # fmt: skip


def databases(server: RedisServer) -> dict[int, tuple[int, int]]:
    """Databases that have keys: number → keys, and how many of them will expire."""
    found = {}
    for name, value in server.info("keyspace").items():
        parts = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
        if name.startswith("db") and name[2:].isdecimal():
            found[int(name[2:])] = (int(parts.get("keys", 0)), int(parts.get("expires", 0)))
    return found


def count(server: RedisServer, numbers: Sequence[int], prefixes: Sequence[str]) -> dict[str, int]:
    """Keys of each database (``db0``), of each type (``db0.hash``) and beginning (``db0.session:*``) in it.

    A database that was not walked through in time is missing.

    Raises:
        CouldNotVerify: The server does not answer.
    """
    counts: dict[str, int] = {}
    for number in numbers:
        try:
            types, starts = _walked(server, number, prefixes)
        except DeadlineExceeded:
            break
        counts[f"db{number}"] = sum(types.values())
        counts |= {f"db{number}.{printable(kind, 40)}": keys for kind, keys in sorted(types.items())}
        counts |= {f"db{number}.{start}*": starts.get(str(place), 0) for place, start in enumerate(prefixes, 1)}
    return counts


def functions(server: RedisServer) -> dict[str, list[str]]:
    """Libraries of functions and the functions in them; nothing where the server knows no such thing."""
    found = server.functions()
    libraries = sorted(printable(str(one["library_name"]), 100) for one in found)[:_NAMES]
    names = sorted(printable(str(each["name"]), 100) for one in found for each in one["functions"])[:_NAMES]
    return {"function library": libraries, "function": names} if libraries else {}


def ask(server: RedisServer, text: str) -> list[tuple[Any, ...]]:
    """The answer of one reading command, a row for each element; a line ``SELECT 3`` before it chooses a database.

    Raises:
        CouldNotVerify: It is no command that only reads, or the server complains.
    """
    lines = [words for line in text.replace(";", "\n").splitlines() if (words := _words(line))]
    chosen = "0"
    if lines and lines[0][0].upper() == "SELECT" and len(lines[0]) == 2 and lines[0][1].isdecimal():
        chosen = lines.pop(0)[1]
        if not lines:
            lines = [["DBSIZE"]]
    if len(lines) != 1 or lines[0][0].upper() not in READS:
        raise CouldNotVerify(
            "it is not one command of Redis that only reads",
            remedy="Ask like this: GET name, HGET key field, ZCARD key; a line SELECT 3 before it chooses a database.",
        )
    answer = server.evaluate(_ASK, chosen, *lines[0])
    kind, value = answer["kind"], answer.get("answer")
    if kind == "nothing":
        return []
    if kind == "list":
        return [(one,) for one in value] if isinstance(value, list) else []
    return [(_number(value),)]


def _number(value: Any) -> Any:
    """Redis keeps numbers as texts: what reads back as the same text is one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and str(int(value)) == value:
        return int(value)
    return value


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as problem:
        raise CouldNotVerify("a quote in the question is not closed", remedy="Correct the question.") from problem


def _walked(server: RedisServer, number: int, prefixes: Sequence[str]) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """All keys of a database once.

    A walk through a table that is being shrunk may meet a key twice; it is then made again.
    """
    for _ in range(_AGAIN):
        before = databases(server).get(number, (0, 0))[0]
        types: Counter[str] = Counter()
        starts: Counter[str] = Counter()
        cursor = "0"
        while True:
            given = {
                "database": number,
                "cursor": cursor,
                "budget": _AT_ONCE,
                "step": _STEP,
                "prefixes": list(prefixes),
            }
            found = server.evaluate(_COUNT, json.dumps(given))
            types.update(found["types"])
            starts.update(found["starts"])
            cursor = found["cursor"]
            if cursor == "0":
                break
            if time.monotonic() > server.until:
                raise DeadlineExceeded("the keys could not be counted in time")
        if sum(types.values()) <= before:
            return types, starts
    raise CouldNotVerify(
        f"the keys of database {number} cannot be counted: the server meets some of them twice",
        remedy="Try again; an append-only file should be rewritten (BGREWRITEAOF) before it is backed up.",
    )
