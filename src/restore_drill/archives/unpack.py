"""Unpack an archive inside a sandbox: the function that a drill calls there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from restore_drill.archives.base import Archive
from restore_drill.archives.digest import DigestBook, TreeDigest
from restore_drill.archives.dumpdir import Listings
from restore_drill.archives.members import Tree, TreeLimits
from restore_drill.archives.tree import TreeWriter
from restore_drill.disk import Workspace
from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Call

#: Seconds between two reports of progress.
_REPORT_EVERY = 0.5


def unpack_tree(
    call: Call,
    *,
    archive: str,
    root: str,
    limits: Mapping[str, Any],
    digest: bool = False,
    discard: bool = False,
    reserve: int = 0,
) -> dict[str, Any]:
    """Unpack the bytes that the caller feeds.

    What an incremental archive lists of its directories is written beside the tree (:mod:`restore_drill.listings`).

    Args:
        call: Where this runs.
        archive: Registered name of the format.
        root: A directory inside the work directory that does not exist yet. After an error it holds what had been
            written so far, which nobody may use.
        limits: The target's ``limits``: ``members``, ``bytes``, ``ratio``, ``allow``, ``concatenated``.
        digest: Compute the tree digest (:mod:`restore_drill.archives.digest`).
        discard: Write nothing, only compute the digest.
        reserve: Bytes that must stay free on the disk.

    Returns:
        What :meth:`restore_drill.archives.members.Tree.finish` returns, with ``archive_bytes``.

    Raises:
        BackupFailed: Damaged, hostile, or beyond a limit (stage ``unpack``).
        CouldNotVerify: The disk is too small, or the deadline passed.
    """
    reader: Archive = load("archives", archive)()
    reader.workspace = Workspace(call.work, reserve)
    with (
        full_modes(),
        closing(open_tree(call, root, limits, digest=digest, discard=discard, reserve=reserve)) as tree,
    ):
        fed = Metered(call, tree)
        with _lists(call, root, reserve, tree, discard=discard):
            reader.unpack(fed.chunks(), tree)
        return {**tree.finish(), "archive_bytes": fed.size}


@contextmanager
def _lists(call: Call, root: str, reserve: int, tree: Tree, *, discard: bool) -> Iterator[None]:
    if discard:
        yield
        return
    with closing(Listings(inside(call.work, root), reserve)) as tree.listings:
        yield


@contextmanager
def full_modes() -> Iterator[None]:
    """Let files be created with the very mode that is asked for, which saves a call for each."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def open_tree(
    call: Call, root: str, limits: Mapping[str, Any], *, digest: bool, discard: bool, reserve: int
) -> TreeWriter | TreeDigest:
    """The tree that a call asks for.

    Raises:
        CouldNotVerify: The root lies outside the work directory.
    """
    rules = TreeLimits.from_json(limits)
    if discard:
        return TreeDigest(rules, str(call.work))
    path = inside(call.work, root)
    return TreeWriter(path, rules, book=DigestBook(str(path.parent)) if digest else None, reserve=reserve)


def inside(work: Path, name: str) -> Path:
    """A path of the work directory, its parent resolved.

    Raises:
        CouldNotVerify: It is not inside.
    """
    path = work / name
    resolved = path.parent.resolve() / path.name
    if work.resolve() not in resolved.parents or path.name == "..":
        raise CouldNotVerify("a sandbox was asked to write outside its work directory", stage=Stage.UNPACK)
    return resolved


class Metered:
    """The fed stream, counted, with progress reported and the deadline kept."""

    def __init__(self, call: Call, tree: Tree) -> None:
        self._call = call
        self._tree = tree
        self.size = 0

    def chunks(self) -> Iterator[bytes]:
        """The chunks as they come."""
        pulse = Pulse(self._call)
        for chunk in self._call.chunks():
            self.size += len(chunk)
            pulse.beat({"members": self._tree.files + self._tree.directories, "bytes": self.size})
            yield chunk


class Pulse:
    """Reports progress at most twice a second, and notices the deadline."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._next = 0.0

    def beat(self, progress: Mapping[str, Any]) -> None:
        """Work goes on.

        Raises:
            DeadlineExceeded: The caller has given up.
        """
        now = time.monotonic()
        if now > self._call.until:
            raise DeadlineExceeded("the work did not end in time", remedy="Raise the target's deadlines.")
        if now >= self._next:
            self._next = now + _REPORT_EVERY
            self._call.report(progress)
