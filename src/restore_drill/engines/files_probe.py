"""What the ``files`` engine does inside its sandbox: put trees together, count them, compare them with a manifest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restore_drill import listings
from restore_drill.engines.trees.dumpdirs import Chain
from restore_drill.engines.trees.examination import Examination
from restore_drill.engines.trees.globs import GlobError, Globs
from restore_drill.engines.trees.merge import check_links, overlay
from restore_drill.engines.trees.walk import open_root, summarise
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call


def assemble(call: Call, *, trees: Sequence[str], root: str, not_archived: Sequence[str] = ()) -> dict[str, Any]:
    """Make the final tree from quarantined ones, oldest first; see :func:`join`.

    Returns:
        The counts of :class:`restore_drill.engines.trees.walk.Summary`, and ``owners_restored``.
    """
    join(call, trees=trees, root=root, not_archived=not_archived)
    descriptor = open_root(_inside(call.work, root))
    try:
        return {**summarise(descriptor).facts(), "owners_restored": os.geteuid() == 0}
    finally:
        os.close(descriptor)


def join(call: Call, *, trees: Sequence[str], root: str, not_archived: Sequence[str] = ()) -> dict[str, int]:
    """Make one tree of several, oldest first: the first becomes it, the others are laid over it.

    Where archives list what their directories held (:mod:`restore_drill.listings`), that is applied, and the result is
    held against the last of these lists.

    Args:
        call: Where this runs.
        trees: Directories inside the work directory; they are gone afterwards.
        root: A directory inside the work directory that does not exist yet.
        not_archived: Globs of what no archive need hold although it is listed.

    Returns:
        ``removed`` and ``renamed``: what the lists had done; ``astray``: what they name as renamed and is not there.

    Raises:
        BackupFailed: The trees together hold a link that leads outside, or an archive lacks what it lists (stage
            ``unpack``); an archive of the chain is missing (stage ``chain``).
        CouldNotVerify: A glob means nothing.
    """
    left_out = _globs(not_archived)
    final = _inside(call.work, root)
    first, *later = [_inside(call.work, tree) for tree in trees]
    first.rename(final)
    descriptor = open_root(final)
    chain = Chain(
        descriptor,
        final.with_name(f"{final.name}.aside"),
        lambda path: any(left_out.matches(path, is_directory=kind) for kind in (False, True)),
    )
    try:
        chain.expect(first, descriptor)
        chain.follow(first, 1)
        for number, tree in enumerate(later, 2):
            over = open_root(tree)
            try:
                chain.follow(tree, number)
                chain.apply(tree)
                chain.expect(tree, over)
                overlay(descriptor, over)
            finally:
                os.close(over)
            shutil.rmtree(tree)
        if later:
            check_links(descriptor)
        chain.conclude([first, *later][-1], len(trees))
        return {"removed": chain.removed, "renamed": chain.moved, "astray": chain.astray}
    finally:
        os.close(descriptor)
        for tree in (first, *later):
            listings.beside(tree).unlink(missing_ok=True)


def examine(
    call: Call,
    *,
    root: str,
    must_exist: Sequence[str] = (),
    must_not_exist: Sequence[str] = (),
    manifest: str | None = None,
    manifest_ignore: Sequence[str] = (),
    below: Sequence[str] = (),
    threads: int = 1,
) -> dict[str, Any]:
    """Count a tree, try globs on all its paths, and compare it with the manifest inside it.

    Args:
        call: Where this runs.
        root: The tree, inside the work directory.
        must_exist: Globs to count the matches of.
        must_not_exist: Likewise; the names of matches are among the details.
        manifest: Path of a manifest in the tree.
        manifest_ignore: Globs of files that the manifest need not list.
        below: Directories to count the files below, each with a slash at its end.
        threads: How many processes hash.

    Returns:
        The counts of :class:`restore_drill.engines.trees.walk.Summary`; ``must_exist`` and ``must_not_exist`` (glob →
        matches); ``below`` (the files below each of those directories, in their order); ``manifest`` (``algorithm``,
        ``listed``, ``verified``, ``mismatched``, ``missing``, ``extra``, ``bytes``, or only ``problem`` and ``remedy``
        when it cannot be used); ``notes``; and ``details`` with names.

    Raises:
        CouldNotVerify: A glob means nothing, or the tree cannot be read.
    """
    descriptor = open_root(_inside(call.work, root))
    try:
        globs = _globs(must_exist), _globs(must_not_exist), _globs(manifest_ignore)
        examination = Examination(descriptor, *globs, below=below)
        if manifest:
            examination.compare_with(manifest)
        return examination.run(threads, call.until)
    finally:
        os.close(descriptor)


def hash_tree(call: Call, *, root: str, manifest: str, ignore: Sequence[str] = (), threads: int = 1) -> dict[str, Any]:
    """Compare a tree with the manifest inside it: the part ``manifest`` of :func:`examine`, and ``details``.

    Raises:
        BackupFailed: The manifest cannot be used (stage ``verify``).
        CouldNotVerify: The tree cannot be read.
    """
    found = examine(call, root=root, manifest=manifest, manifest_ignore=ignore, threads=threads)
    compared: dict[str, Any] = found["manifest"]
    if "problem" in compared:
        raise BackupFailed(
            f"the manifest of the tree cannot be used: {compared['problem']}",
            remedy=compared["remedy"],
            stage=Stage.VERIFY,
            details=tuple(found["details"]),
        )
    return {**compared, "notes": found["notes"], "details": found["details"]}


def _globs(patterns: Sequence[str]) -> Globs:
    try:
        return Globs(patterns)
    except GlobError as problem:
        remedy = "Mend the glob in expect.files."
        raise CouldNotVerify(f"a rule cannot be used: {problem}", remedy=remedy, stage=Stage.CONTENT) from problem


def _inside(work: Path, name: str) -> Path:
    path = work / name
    if work.resolve() not in (path.parent.resolve() / path.name).parents or path.name == "..":
        raise CouldNotVerify("a path of the work directory was expected", stage=Stage.RESTORE)
    return path
