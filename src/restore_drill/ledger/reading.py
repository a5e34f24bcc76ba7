"""Ledgers that are only read: an export, a copy on an auditor's disk, a state's directory."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from restore_drill.errors import MISSHAPEN, CouldNotVerify, UsageProblem
from restore_drill.ledger.base import FOLDER, Entry, Head, Kind, Ledger, Signer
from restore_drill.ledger.directory import ENTRIES, HEAD, DirectoryLedger, parse_head

#: The file by which an export is known as one: what it holds begins where it says.
PERIOD = "period.json"
#: How long a head may be (bytes).
_SMALL = 65536
Opener = Callable[[str], AbstractContextManager[IO[bytes]]]


@contextlib.contextmanager
def understood(ledger: Ledger, what: str = "an entry of the ledger cannot be understood") -> Iterator[None]:
    """Around what reads the evidence of entries: a document of another shape is no defect of the program.

    Raises:
        CouldNotVerify: One is there.
    """
    try:
        yield
    except MISSHAPEN as problem:
        raise CouldNotVerify(what, looked_at=ledger.where(), remedy="See restore-drill ledger verify.") from problem


class StoredLedger(Ledger):
    """Entries in files that are not written.

    Args:
        where: The place as a person would write it.
        opener: Opens a file of the ledger by its name; raises ``KeyError`` or ``FileNotFoundError`` when it has none.
        entries: The name of the file of entries.
    """

    def __init__(self, where: str, opener: Opener, entries: str = ENTRIES) -> None:
        self._where = where
        self._opener = opener
        self._entries = entries
        self._remarks: list[str] = []

    def where(self) -> str:
        """The place."""
        return self._where

    def append(self, kind: Kind, content: Mapping[str, Any], signer: Signer | None = None) -> Entry:  # noqa: ARG002
        """Refused.

        Raises:
            UsageProblem: Always.
        """
        raise UsageProblem("this ledger is only read", looked_at=self._where)

    def lines(self, first: int = 1) -> Iterator[bytes]:
        """Line by line; a last one without its end is left out, and remarked on."""
        self._remarks = []
        with self._open(self._entries) as file:
            for place, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    self._remarks.append(f"the last line ({place}, {len(line)} bytes) is not finished")
                elif place >= first:
                    yield line[:-1]

    def tail_lines(self, count: int) -> list[bytes]:
        """The last of all lines."""
        return list(deque(self.lines(), count))

    def hint(self) -> Head | None:
        """``head.json``."""
        raw = self.small(HEAD)
        return parse_head(raw) if raw is not None else None

    def remarks(self) -> list[str]:
        """Lines that were never finished."""
        return list(self._remarks)

    @property
    def begins(self) -> Head | None:
        """The entry before its first one, as an export of a period says; ``None`` when it is no such export.

        Raises:
            CouldNotVerify: What it says cannot be understood.
        """
        raw = self.small(PERIOD)
        if raw is None:
            return None
        try:
            period = json.loads(raw)
            first, previous = int(period["first"]), period["previous"]
            return Head(first - 1, str(previous)) if previous is not None else Head(0, "")
        except (ValueError, TypeError, LookupError, RecursionError) as problem:
            raise CouldNotVerify(
                f"{PERIOD} does not say where the export begins",
                looked_at=self._where,
                remedy="Have it exported again.",
            ) from problem

    def small(self, name: str) -> bytes | None:
        """A small file of it, ``None`` when it has none of that name."""
        try:
            with self._opener(name) as file:
                return file.read(_SMALL)
        except (KeyError, FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, tarfile.TarError, EOFError) as problem:
            raise self._unreadable(problem) from problem

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._opener(name) as file:
                yield file
        except KeyError as problem:
            raise CouldNotVerify(f"there is no {name} in it", looked_at=self._where, remedy=_REMEDY) from problem
        except (OSError, tarfile.TarError, EOFError) as problem:
            raise self._unreadable(problem) from problem

    def _unreadable(self, problem: Exception) -> CouldNotVerify:
        reason = getattr(problem, "strerror", None) or str(problem)
        return CouldNotVerify(f"the ledger cannot be read: {reason}", looked_at=self._where, remedy=_REMEDY)


_REMEDY = "Name an export (a directory or a .tar), a state's directory, or a file of entries (entries.jsonl)."


def open_path(path: Path) -> Ledger:
    """The ledger in a place: an export as directory or tar, a state's directory, or a file of entries.

    Raises:
        CouldNotVerify: There is none.
    """
    if (path / FOLDER / ENTRIES).is_file():
        return DirectoryLedger(path)
    if path.is_dir():
        if not (path / ENTRIES).is_file():
            raise CouldNotVerify("there is no ledger here", looked_at=str(path), remedy=_REMEDY)
        return StoredLedger(str(path), lambda name: (path / name).open("rb"))
    if not path.exists():
        raise CouldNotVerify("there is no such file or directory", looked_at=str(path), remedy=_REMEDY)
    if tarfile.is_tarfile(path):
        return StoredLedger(str(path), lambda name: _member(path, name))
    # Alone, a file has no head beside it.
    return StoredLedger(
        str(path), lambda name: (path if name == path.name else path.parent / name).open("rb"), path.name
    )


@contextlib.contextmanager
def _member(path: Path, name: str) -> Iterator[IO[bytes]]:
    """A regular file of an archive by its last name, wherever it lies; nothing is unpacked."""
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isreg() and member.name.rpartition("/")[2] == name:
                file = archive.extractfile(member)
                if file is not None:
                    with file:
                        yield file
                    return
        raise KeyError(name)
