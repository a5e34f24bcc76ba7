"""What the ``etcd`` engine proves itself with: snapshots that a real etcd saves, and the ways in which they go bad."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.etcd_probe import Tools
from restore_drill.engines.tables_samples import written
from restore_drill.process import Completed

_PODS: Final = 20
#: What the catalogue would say of these samples: ``engine_options`` and ``expect``.
SETTINGS: Final[Mapping[str, Any]] = {"prefixes": ["/registry/pods/", "/registry/secrets/"]}
EXPECT: Final[Mapping[str, Any]] = {"rows": {"keys": {"min": _PODS}, "/registry/pods/": _PODS}}
_PAGE: Final = 4096


def samples() -> Iterator[Sample]:
    """The good one first."""
    for name, caught_by, how in (
        ("good", "", lambda made: made["good"]),
        ("cut", "unpacks", lambda made: made["good"][:-_PAGE]),
        ("copied-without-its-digest", "unpacks", lambda made: made["good"][:-32]),
        ("bit-flipped", "unpacks", lambda made: _flip(made["good"])),
        ("no-key", "restores", lambda made: made["empty"]),
        ("pages-damaged-before-the-digest", "restores", lambda made: _damaged(made["good"])),
        ("pods-lost", "rows", lambda made: made["fewer"]),
        ("secrets-lost", "structure", lambda made: made["no secrets"]),
        ("full", "integrity", lambda made: made["alarmed"]),
    ):
        yield Sample(name, caught_by, lambda directory, how=how: written(how(saved()))(directory))  # type: ignore[misc]


@cache
def saved() -> dict[str, bytes]:
    """What a small cluster looked like at several times, one server made them all."""
    work = Path(tempfile.mkdtemp(prefix="etcd-"))
    tools = Tools(work, time.monotonic() + 120)
    made: dict[str, bytes] = {}

    def run(*arguments: str) -> Completed:
        done = tools.run(*arguments)
        assert done.returncode == 0, done.stderr  # noqa: S101 - the sample could not be made
        return done

    def save(name: str) -> None:
        run("snapshot", "save", "snapshot")
        made[name] = (work / "snapshot").read_bytes()

    try:
        with tools.server("--name", "default", "--quota-backend-bytes", str(1 << 18)):
            save("empty")
            for number in range(_PODS):
                run("put", f"/registry/pods/{number}", "running" * 10)
            run("put", "/registry/secrets/token", "value")
            save("good")
            run("del", "/registry/secrets/token")
            run("put", "/registry/other", "value")
            save("no secrets")
            run("put", "/registry/secrets/token", "value")
            run("del", "/registry/pods/7")
            save("fewer")
            run("put", "/registry/pods/7", "running")
            # It is full once a commit has shown how large it is, which takes a tenth of a second.
            while tools.run("put", "/registry/large", "x" * 50_000).returncode == 0:
                pass
            save("alarmed")
    finally:
        shutil.rmtree(work)
    return made


def _flip(data: bytes) -> bytes:
    return data[:9000] + bytes([data[9000] ^ 1]) + data[9001:]


def _damaged(data: bytes) -> bytes:
    """Every page but the two that describe the others is noise, and the digest is that of the noise."""
    pages = data[: 2 * _PAGE] + bytes(number * 167 % 251 for number in range(len(data) - 32 - 2 * _PAGE))
    return pages + hashlib.sha256(pages).digest()
