"""Stands in for the SQLite probe where its library would not withstand what it reads: the process crashes."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore_drill.engines import sqlite_probe, sqlite_query
from restore_drill.sandboxes.base import Call

#: A file in the work directory that says which function is to crash, and how: ``measure rows SIGSEGV``.
ORDER = "crash"


def restore_file(call: Call, **arguments: Any) -> Any:
    _maybe(call.work, "restore")
    return sqlite_probe.restore_file(call, **arguments)


def measure(call: Call, **arguments: Any) -> Any:
    for wanted in arguments["wanted"]:
        _maybe(call.work, f"measure {wanted}")
    return sqlite_probe.measure(call, **arguments)


def query(call: Call, **arguments: Any) -> Any:
    _maybe(call.work, "query")
    return sqlite_query.query(call, **arguments)


def _maybe(work: Path, what: str) -> None:
    order = work / ORDER
    if order.exists():
        named, _, how = order.read_text().rpartition(" ")
        if named == what:
            CRASHES[how](work)


def _segment(work: Path) -> None:
    ctypes.string_at(0)


def _bus(work: Path) -> None:
    with (work / "short").open("w+b") as file:
        file.truncate(mmap.PAGESIZE)
        mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        mapped[0]


def _abort(work: Path) -> None:
    os.abort()


#: Real faults: the first process of a process namespace is not ended by signals that it sends itself.
CRASHES: dict[str, Callable[[Path], None]] = {"SIGSEGV": _segment, "SIGBUS": _bus, "SIGABRT": _abort}
