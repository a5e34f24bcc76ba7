"""Runs inside a container, as a script: takes connections on a loopback, and passes them on to Unix sockets.

Its argument is a JSON object: ``doors`` (address, port and socket of each server) and ``ready``, a file that it makes
once all of them are open and somebody is behind each. Everything runs in one loop; what one side sends is taken only as
fast as the other takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

_PIECE = 256 << 10


async def main(settings: dict[str, Any]) -> None:
    """Open every door, say so, and serve until the container ends."""
    servers = [
        await asyncio.start_server(_door(path), address, port) for address, port, path in settings["doors"]
    ]  # fmt: skip
    for _, _, path in settings["doors"]:
        await _knock(path)
    Path(settings["ready"]).touch()
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _knock(path: str) -> None:
    """End all of it where nobody answers: an application would be refused as if what came back was bad."""
    try:
        _, tried = await asyncio.open_unix_connection(path)
    except OSError as problem:
        sys.exit(f"{path}: {problem.strerror}")
    tried.close()


def _door(path: str) -> Any:
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, ours), _pump(theirs, writer))
        for each in (ours, writer):
            each.close()

    return pass_on


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Everything that one side sends to the other; its end is passed on, too."""
    with contextlib.suppress(OSError):
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        target.write_eof()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
