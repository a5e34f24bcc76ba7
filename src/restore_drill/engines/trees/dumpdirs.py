"""Apply what incremental archives list of their directories: to the tree so far, and to the proof that all is there.

GNU tar restores such a chain archive by archive (``tar --listed-incremental=/dev/null -x``): before it extracts into a
directory it moves what the list says was renamed, and deletes what the list no longer names. The same is done here, to
trees that lie apart until then. No step follows a link: every directory on the way is opened by itself, so that no list
can move or delete anything outside the tree.

A list also proves what has to be there. What it says is held in its own archive must have come with it; what it says
has not changed must have come with an earlier one. GNU tar looks at neither.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from restore_drill.engines.trees.walk import OPEN_DIRECTORY
from restore_drill.errors import BackupFailed
from restore_drill.listings import CHANGED, DIRECTORY, HELD, SOURCE, SPECIAL, TARGET, UNCHANGED, Listing, read
from restore_drill.model import Stage

#: Told whether a path (relative to the root) need not be in any archive.
LeftOut = Callable[[str], bool]
#: Seconds by which a clock may have been set back between two archives.
_CLOCK = 300
#: Names that an error carries in its details.
_NAMED = 20


@dataclass(slots=True)
class Chain:
    """The lists of a chain's archives, applied in turn.

    Attributes:
        root: Descriptor of the tree's root, as the archives so far have made it.
        aside: A path outside the tree, on the same file system, where nothing is yet.
        left_out: What no archive need hold: what the job excludes, sockets.
        removed: Names deleted because a list no longer has them.
        moved: Directories renamed.
        astray: Directories that should have been renamed and were not there. GNU tar writes such records by itself when
            directories change places several times, so that they prove nothing.
    """

    root: int
    aside: Path
    left_out: LeftOut
    removed: int = 0
    moved: int = 0
    astray: int = 0
    _lost: set[bytes] = field(default_factory=set)
    _special: set[bytes] = field(default_factory=set)
    _changed: dict[bytes, int] = field(default_factory=dict)

    def follow(self, tree: Path, number: int) -> None:
        """Hold the next archive against the one before it: directories change forward in time.

        Lists name what is there and not what it holds, so that two archives which took each other's place may fit in
        by their names. The times at which the file system changed the directories cannot be set by anybody, and every
        archive states those of all directories.

        Raises:
            BackupFailed: It was made before the one that it should follow (stage ``chain``).
        """
        before, now = self._changed, _changes(tree)
        self._changed = now
        both = before.keys() & now.keys()
        if (
            not both
            or max(now.values()) > max(before.values()) - _CLOCK
            or any(now[path] > before[path] for path in both)
        ):
            return
        raise _backwards(number, max(before.values()), max(now.values()))

    def apply(self, tree: Path) -> None:
        """Move and delete what the lists of the next archive say, before its own tree is laid over this one."""
        for listing in read(tree):
            self._move(listing)
            if not listing.body.startswith(SPECIAL):
                self._purge(listing)
        if self.aside.exists():
            shutil.rmtree(self.aside)

    def expect(self, tree: Path, descriptor: int) -> None:
        """Remember what the lists of an archive say is held in it, and is not.

        Such a name may have been gone before it was read; when a later list knows it still, it was lost.
        """
        for listing in read(tree):
            if listing.body.startswith(SPECIAL):
                self._special.update(listing.path(entry.name) for entry in listing.entries())
                continue
            there = _names_in(descriptor, listing.directory)
            self._lost.update(
                listing.path(entry.name)
                for entry in listing.entries()
                if entry.code == HELD and there.get(entry.name) is not False
            )

    def conclude(self, tree: Path, archives: int) -> None:
        """Judge the finished tree by the lists of the last archive.

        Raises:
            BackupFailed: A file that an archive says it holds is in none (stage ``unpack``); something that was
                brought by an earlier archive is not there (stage ``chain``).
        """
        if lost := self._wanting(self._lost):
            raise _lost(lost)
        if unmet := self._wanting(self._unmet(tree)):
            raise _broken(unmet, archives)

    def _unmet(self, tree: Path) -> Iterator[bytes]:
        for listing in read(tree):
            there = _names_in(self.root, listing.directory)
            for code, name in listing.entries():
                if code in (UNCHANGED, DIRECTORY) and there.get(name) is not (code == DIRECTORY):
                    yield listing.path(name)

    def _wanting(self, paths: set[bytes] | Iterator[bytes]) -> list[bytes]:
        """Those that really have to be there, and were not made elsewhere than here only."""
        return sorted(path for path in paths if path not in self._special and not self.left_out(os.fsdecode(path)))

    # --- moving -----------------------------------------------------------------------------------------------------

    def _move(self, listing: Listing) -> None:
        for source, target in _moves(listing):
            self._rename(source, target)

    def _rename(self, source: bytes, target: bytes) -> None:
        """Move a directory; ``b""`` stands for the place aside, which breaks a cycle of names.

        It goes through a second place aside, so that what is in its way can be removed although it was inside of that.
        """
        passing = self.aside.with_name(f"{self.aside.name}.passing")
        if not self._take(source, passing):
            self.astray += 1
            return
        self._follow(source, target)
        self.moved += 1
        if not target:
            passing.rename(self.aside)
            return
        parent, leaf = self._make_parent(target)
        try:
            _remove(parent, leaf)
            os.rename(passing, leaf, dst_dir_fd=parent)
        finally:
            os.close(parent)

    def _take(self, source: bytes, passing: Path) -> bool:
        if not source:
            found = self.aside.exists()
            if found:
                self.aside.rename(passing)
            return found
        head, _, leaf = source.rpartition(b"/")
        with _opened(self.root, source) as directory, _opened(self.root, head) as parent:
            if directory is None or parent is None:
                return False
            os.rename(leaf, passing, src_dir_fd=parent)
        return True

    def _make_parent(self, path: bytes) -> tuple[int, bytes]:
        """The directory that a path lies in, made where it is not there; what is no directory gives way."""
        *parts, leaf = path.split(b"/")
        descriptor = os.dup(self.root)
        for part in parts:
            try:
                try:
                    inner = os.open(part, OPEN_DIRECTORY, dir_fd=descriptor)
                except OSError:
                    _remove(descriptor, part)
                    os.mkdir(part, 0o700, dir_fd=descriptor)
                    inner = os.open(part, OPEN_DIRECTORY, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor, leaf

    def _follow(self, source: bytes, target: bytes) -> None:
        """What was lost in a directory is known by its new name."""
        if self._lost:
            old, new = (path + b"/" if path else b"\0" for path in (source, target))
            self._lost = {new + path[len(old) :] if path.startswith(old) else path for path in self._lost}

    # --- deleting ---------------------------------------------------------------------------------------------------

    def _purge(self, listing: Listing) -> None:
        """Delete from a directory what its list does not have, or has as something else."""
        listed = {name: code for code, name in listing.entries() if code in (HELD, UNCHANGED, DIRECTORY)}
        self._forget(listing, listed)
        with _opened(self.root, listing.directory) as descriptor:
            if descriptor is None:
                return
            for name, is_directory in _entries(descriptor):
                code = listed.get(name)
                if code is None or code == (HELD if is_directory else DIRECTORY):
                    self.removed += 1
                    _remove(descriptor, name)

    def _forget(self, listing: Listing, listed: dict[bytes, bytes]) -> None:
        """What was lost and is held now, or no longer listed, is no longer missed."""
        if not self._lost:
            return
        prefix = listing.path(b"")
        self._lost = {path for path in self._lost if not path.startswith(prefix) or _stays(path[len(prefix) :], listed)}


def _changes(tree: Path) -> dict[bytes, int]:
    return {
        listing.directory: int(entry.name)
        for listing in read(tree)
        for entry in listing.entries()
        if entry.code == CHANGED
    }


def _moves(listing: Listing) -> list[tuple[bytes, bytes]]:
    """What was renamed to what, in order.

    GNU tar writes how each directory came to its name, so that one that took the place of another is told twice: first
    before that one made room, then after. The last time is the right one.
    """
    paths = [name for code, name in listing.entries() if code in (SOURCE, TARGET)]
    moves = list(zip(paths[::2], paths[1::2], strict=True))
    return list(dict.fromkeys(reversed(moves)))[::-1]


def _stays(rest: bytes, listed: dict[bytes, bytes]) -> bool:
    name, deeper, _ = rest.partition(b"/")
    return listed.get(name) == (DIRECTORY if deeper else UNCHANGED)


def _names_in(root: int, directory: bytes) -> dict[bytes, bool]:
    with _opened(root, directory) as descriptor:
        return {} if descriptor is None else dict(_entries(descriptor))


def _entries(descriptor: int) -> list[tuple[bytes, bool]]:
    with os.scandir(descriptor) as entries:
        return [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]


@contextmanager
def _opened(root: int, path: bytes) -> Iterator[int | None]:
    """A directory of the tree, reached without following a link; ``None`` where there is none."""
    descriptor = os.dup(root)
    try:
        for part in path.split(b"/") if path else ():
            inner = os.open(part, OPEN_DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    except (FileNotFoundError, NotADirectoryError):
        os.close(descriptor)
        yield None
        return
    except BaseException:
        os.close(descriptor)
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(parent: int, leaf: bytes) -> None:
    """Delete a name, whatever it is, with everything in it; nothing is fine, too."""
    try:
        os.unlink(leaf, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # POSIX has EPERM for directories
        shutil.rmtree(leaf, dir_fd=parent)


def _lost(paths: list[bytes]) -> BackupFailed:
    return BackupFailed(
        f"{_files(len(paths))} that the lists of the incremental archives say they hold {_are(len(paths))} not in them",
        remedy="Members were lost, or tar could not read them when the backup was made (look at its messages). What it "
        "never stores (sockets) or what comes and goes is named in engine_options.not_archived.",
        stage=Stage.UNPACK,
        details=_named(paths),
    )


def _broken(paths: list[bytes], archives: int) -> BackupFailed:
    many = _files(len(paths))
    if archives == 1:
        cause = f"it is an incremental archive without those before it: it counts on {many} that they brought"
        remedy = "Have the catalogue tell full and incremental ones apart ({kind:full=...|incremental=...} in path), "
    else:
        cause = f"the last archive of the chain counts on {many} that no archive of it brought"
        remedy = "An archive is missing or out of order: take a full backup now. "
    return BackupFailed(
        f"the chain is broken: {cause}",
        remedy=remedy + "What the job leaves out (--exclude) is named in engine_options.not_archived.",
        stage=Stage.CHAIN,
        details=_named(paths),
    )


def _backwards(number: int, before: int, now: int) -> BackupFailed:
    return BackupFailed(
        f"the chain is out of order: archive {number} was made before the one that it should follow (its directories "
        f"were last changed at {_moment(now)}, those of the one before at {_moment(before)})",
        remedy="Give the archives their right names; if they have them, the system was set back to an older state: "
        "take a full backup now.",
        stage=Stage.CHAIN,
    )


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"


def _files(count: int) -> str:
    return "1 name" if count == 1 else f"{count:,} names"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _named(paths: list[bytes]) -> tuple[str, ...]:
    return tuple(ascii(os.fsdecode(path)) for path in paths[:_NAMED])
