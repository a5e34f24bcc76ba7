"""Remove what runs that were killed left on the disk and in container engines."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
from pathlib import Path

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.removal import remove_tree
from restore_drill.sandboxes.workspace import ENGINES, KEPT, LOCK, SHORT, SOCKETS, locked, safe_root, unmake


def reap(base: Path, *, kept: bool = False, strays: bool = False) -> list[Path | str]:
    """Remove the run directories of this user that no living process holds, and return what was removed.

    With each goes first what its process made in container engines; where one does not answer, the directory stays.

    Safe against others that reap or start at the same time. What cannot be removed is left for the next time and not
    returned.

    Args:
        base: Where runs restore to.
        kept: Remove also what was kept on purpose.
        strays: Look into the usual container engine for what belongs to runs of which nothing else is left.

    Raises:
        CouldNotVerify: The base cannot be used.
    """
    removed = _remove_left(safe_root(base))
    if base != SHORT:
        # Directories of sockets are always there, and have nothing else in them.
        with contextlib.suppress(CouldNotVerify):
            _remove_left(safe_root(SHORT), only=f"{SOCKETS}-")
    if strays:
        removed += _remove_strays(safe_root(base))
    return removed + (_remove_kept(safe_root(base) / KEPT) if kept else [])


def _remove_left(root: Path, only: str = "") -> list[Path | str]:
    removed: list[Path | str] = []
    for path in sorted(root.iterdir()):
        lock = _claim(root, path) if path.name.startswith(only) else None
        if lock is None:
            continue
        try:
            made, whole = _remove_made(path)
            removed += made
            if whole and not unmake(root, path):
                removed.append(path)
        finally:
            os.close(lock)
    return removed


def _remove_made(path: Path) -> tuple[list[str], bool]:
    """Remove what a process made elsewhere; returns it, and whether nothing is left."""
    if not (path / ENGINES).exists():
        return [], True
    from restore_drill.sandboxes.containers.reaping import reap as reap_engines

    return reap_engines(path)


def _remove_strays(root: Path) -> list[str]:
    if importlib.util.find_spec("docker") is None:
        return []
    from restore_drill.sandboxes.containers.reaping import reap_strays

    return reap_strays(root)


def _remove_kept(directory: Path) -> list[Path | str]:
    if directory.is_symlink() or not directory.is_dir():
        return []
    return [path for path in sorted(directory.iterdir()) if not remove_tree(path)]


def _claim(root: Path, path: Path) -> int | None:
    """Take the lock of a run directory that nobody holds; ``None`` when it is held, kept, gone or no such directory."""
    if path.name == KEPT or path.is_symlink() or not path.is_dir():
        return None
    with locked(root):
        try:
            # A process killed between making the directory and its lock left none.
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock
