"""Lay one restored tree over another: what an incremental archive does to the full one before it."""

from __future__ import annotations

import errno
import os
import shutil
import stat

from restore_drill.engines.trees.walk import OPEN_DIRECTORY, walk
from restore_drill.errors import BackupFailed
from restore_drill.links import resolve
from restore_drill.model import Stage


def overlay(base: int, over: int) -> None:
    """Move everything from one open directory into another; what is there already gives way.

    Directories are merged. A directory takes mode, owner, attributes and time of the later one, unless an archive only
    implied that one (its time is then the epoch); afterwards ``over`` holds empty directories at most.
    """
    before, later = os.fstat(base), os.fstat(over)
    with os.scandir(over) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        existing = _kind(base, name)
        if is_directory and existing == "directory":
            _overlay_directory(base, over, name)
            continue
        if existing == "directory":
            shutil.rmtree(name, dir_fd=base)
        elif is_directory and existing:
            os.unlink(name, dir_fd=base)
        os.rename(name, name, src_dir_fd=over, dst_dir_fd=base)
    recorded = later if later.st_mtime_ns else before
    if os.geteuid() == 0:
        os.fchown(base, recorded.st_uid, recorded.st_gid)
    if recorded is later:
        _take_attributes(base, over)
    os.fchmod(base, stat.S_IMODE(recorded.st_mode))
    os.utime(base, ns=(recorded.st_mtime_ns, recorded.st_mtime_ns))


def _take_attributes(base: int, over: int) -> None:
    """Give one directory the extended attributes and access lists of another, those of the security modules apart."""
    before, later = _attributes(base), _attributes(over)
    for name in before - later:
        os.removexattr(base, name)
    for name in later:
        os.setxattr(base, name, os.getxattr(over, name))


def _attributes(directory: int) -> set[str]:
    try:
        return {name for name in os.listxattr(directory) if not name.startswith("security.")}
    except OSError as problem:
        if problem.errno != errno.ENOTSUP:
            raise
        return set()  # then an archive could not give it any


def _overlay_directory(base: int, over: int, name: str) -> None:
    lower = os.open(name, OPEN_DIRECTORY, dir_fd=base)
    try:
        upper = os.open(name, OPEN_DIRECTORY, dir_fd=over)
        try:
            overlay(lower, upper)
        finally:
            os.close(upper)
    finally:
        os.close(lower)


def _kind(parent: int, name: str) -> str:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return ""
    return "directory" if stat.S_ISDIR(status.st_mode) else "other"


def check_links(root: int) -> None:
    """Look again at the links of a tree that was put together: each was judged in its own archive only.

    Links that state an outside target are there because the catalogue allows them; then nothing is judged here.

    Raises:
        BackupFailed: One leads outside through another (stage ``unpack``).
    """
    links: list[bytes] = []

    def collect(path: str, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink():
            links.append(os.fsencode(path))

    walk(root, collect)
    if any(_says_outside(path, os.readlink(path, dir_fd=root)) for path in links):
        return
    for path in links:
        try:
            resolve(root, path)
        except ValueError as problem:
            raise BackupFailed(
                "a symbolic link leads outside the tree through a link of another archive of the chain",
                remedy="If the original really has such links, set limits.allow: [outside-links].",
                stage=Stage.UNPACK,
                details=(ascii(path),),
            ) from problem


def _says_outside(path: bytes, target: bytes) -> bool:
    depth = path.count(b"/")
    for part in target.split(b"/"):
        depth += {b"..": -1, b"": 0, b".": 0}.get(part, 1)
        if depth < 0:
            return True
    return target[:1] == b"/"
