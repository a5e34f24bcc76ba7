"""Where sandboxes keep what they restore: private directories that outlive no run.

``<base>/restore-drill-<uid>/`` belongs to this user alone. Each process that restores has a *run directory* in it,
named ``<run>-<pid>-<random>``, and holds a lock on the file ``lock`` in it for as long as it lives: a run directory
whose lock is free was left by a process that was killed (:mod:`restore_drill.sandboxes.reaper`). What is to stay goes
to ``kept``. Making, claiming and unmaking a run directory happens under a lock on the root, so that nobody sees one
half made.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.removal import empty_tree, remove_tree

LOCK = "lock"
KEPT = "kept"
#: In a run directory: the container engines that its process used, one a line.
ENGINES = "engines"
#: The base of directories for sockets, whatever that of sandboxes is: the name of a socket has room for 107 bytes.
SHORT = Path("/tmp")  # noqa: S108 - what is made in it is private
#: The label of such a directory.
SOCKETS = "s"
#: Characters of a name that become part of a path.
_NAME = 24
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
#: Permission to pass through a directory, for those whom it does not belong to.
_PASSING = stat.S_IXGRP | stat.S_IXOTH
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """One sandbox's own directory: ``work`` for what is restored, ``scratch`` for temporary files.

    A system's programs have ``data`` and ``home``, which are made for them.
    """

    directory: Path
    work: Path
    scratch: Path

    @property
    def data(self) -> Path:
        """Where servers keep their data."""
        return self.directory / "data"

    @property
    def home(self) -> Path:
        """For temporary files of a system's programs."""
        return self.directory / "home"


class Spare(Protocol):
    """An emptied place, with all that belongs to it."""

    place: Place

    def end(self) -> None:
        """End what runs in it."""


class RunDirectory:
    """The run directory of this process under one base. Use :func:`run_directory`.

    Args:
        base: Where the root is, or is made.
        run: The run's id, for people who look at the disk.
    """

    def __init__(self, base: Path, run: str) -> None:
        self._root = safe_root(base)
        self._count = itertools.count(1)
        self.in_use = 0
        self.spare: Spare | None = None
        self.path = self._root / f"{_label(run, 40)}-{os.getpid()}-{secrets.token_hex(4)}"
        with locked(self._root):
            self.path.mkdir(mode=0o700)
            self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def new_place(self, name: str) -> Place:
        """Make a directory for one more sandbox; short, for sockets in it have little room for a name."""
        directory = self.path / f"{next(self._count)}-{_label(name, _NAME)}"
        place = Place(directory, directory / "work", directory / "tmp")
        for path in (place.directory, place.work, place.scratch):
            path.mkdir(mode=0o700)
        self.in_use += 1
        return place

    def remove(self, place: Place) -> list[str]:
        """Remove a sandbox's directory, and return what is left."""
        left = remove_tree(place.directory)
        self.in_use -= not left
        return left

    def empty(self, place: Place) -> list[str]:
        """Remove what is in a sandbox's directories, which another one may then use; returns what is left."""
        left = [*empty_tree(place.work), *empty_tree(place.scratch)]
        self.in_use -= not left
        return left

    def take_spare(self) -> Spare | None:
        """What the last sandbox left for the next one, which has it from now on."""
        spare, self.spare = self.spare, None
        self.in_use += spare is not None
        return spare

    def keep(self, place: Place, name: str) -> Path:
        """Move a sandbox's directory to where no reaper looks, and return its work directory's new path."""
        (self._root / KEPT).mkdir(mode=0o700, exist_ok=True)
        number = place.directory.name.partition("-")[0]
        kept = self._root / KEPT / f"{self.path.name}-{number}-{_label(name, _NAME)}"
        place.directory.rename(kept)
        self.in_use -= 1
        remove_tree(kept / place.scratch.name)
        return kept / place.work.name

    def close(self) -> list[str]:
        """Remove it, and return what is left."""
        if self.spare is not None:
            self.spare.end()
            self.spare = None
        left = unmake(self._root, self.path)
        self.let_go()
        return left

    def let_go(self) -> None:
        """Close our descriptor of the lock; a copy that another process inherited still holds it."""
        with contextlib.suppress(OSError):
            os.close(self._lock)


def directory_name() -> str:
    """The name of this user's own directory under a base."""
    return f"restore-drill-{os.geteuid()}"


def safe_root(base: Path) -> Path:
    """This user's own directory under a base that others may write to, made if it is not there.

    Raises:
        CouldNotVerify: The base cannot be used, or somebody else made the directory first.
    """
    try:
        base = base.resolve(strict=True)
        state = base.stat()
        if state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
            raise _unusable("anybody may replace what is made in it", base)
        root = base / directory_name()
        with contextlib.suppress(FileExistsError):
            root.mkdir(mode=0o700)
        state = root.lstat()
    except OSError as problem:
        raise _unusable(problem.strerror or type(problem).__name__, base) from problem
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        raise _unusable("it is not a directory of this user", root)
    # Passing through is all that the account of a sandbox's programs is given, see let_pass.
    if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~_PASSING:
        raise _unusable("others may look into it", root)
    return root


def let_pass(path: Path, group: int, *, others: bool) -> None:
    """Let a directory of ours be passed through, which shows nothing in it, by a group, or as well by anybody."""
    directory = os.open(path, _OPEN_DIRECTORY)
    try:
        if not others:
            os.fchown(directory, -1, group)
        os.fchmod(directory, 0o711 if others else 0o710)
    finally:
        os.close(directory)


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock on the root."""
    directory = os.open(root, _OPEN_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def unmake(root: Path, path: Path) -> list[str]:
    """Remove a run directory whose lock is held by the caller, the lock last; returns what is left."""
    left = remove_tree(path, spare=frozenset({LOCK}))
    if not left:
        # Somebody may have removed it with all that is around it.
        with contextlib.suppress(FileNotFoundError), locked(root):
            left = remove_tree(path)
    return left


def run_directory(base: Path, run: str) -> RunDirectory:
    """This process's run directory under a base, made once; those of other bases and runs go when nothing uses them."""
    key = (os.getpid(), base, run)
    if key not in _open or not _open[key].path.is_dir():
        for other, directory in list(_open.items()):
            if other == key or (other[0] == key[0] and not directory.in_use):
                _open.pop(other).close()
        _open[key] = RunDirectory(*key[1:])
    return _open[key]


def close_all() -> list[str]:
    """Remove this process's run directories and return what is left; for the end of a run."""
    left: list[str] = []
    for key in [key for key in _open if key[0] == os.getpid()]:
        left += _open.pop(key).close()
    return left


def _label(text: str, length: int) -> str:
    return _UNSAFE.sub("-", text)[:length].strip(".-") or "drill"


def _unusable(why: str, path: Path) -> CouldNotVerify:
    return CouldNotVerify(
        f"nothing can be restored into this directory: {why}",
        looked_at=str(path),
        remedy="Name another directory for restores, or have it put right.",
    )


_open: dict[tuple[int, Path, str], RunDirectory] = {}
