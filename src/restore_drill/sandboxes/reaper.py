"""Remove what runs that were killed left on the disk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from restore_drill.sandboxes.removal import remove_tree
from restore_drill.sandboxes.workspace import KEPT, LOCK, locked, safe_root, unmake


def reap(base: Path, *, kept: bool = False) -> list[Path]:
    """Remove the run directories of this user that no living process holds, and return them.

    Safe against others that reap or start at the same time. What cannot be removed is left for the next time and not
    returned.

    Args:
        base: Where runs restore to.
        kept: Remove also what was kept on purpose.

    Raises:
        CouldNotVerify: The base cannot be used.
    """
    root = safe_root(base)
    removed: list[Path] = []
    for path in sorted(root.iterdir()):
        lock = _claim(root, path)
        if lock is None:
            continue
        try:
            if not unmake(root, path):
                removed.append(path)
        finally:
            os.close(lock)
    return removed + (_remove_kept(root / KEPT) if kept else [])


def _remove_kept(directory: Path) -> list[Path]:
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
