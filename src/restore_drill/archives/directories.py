"""The directories of a tree being written: opened one component at a time, never through a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from restore_drill.archives.attributes import Attributes, pack, unpack
from restore_drill.archives.digest import escape, unescape
from restore_drill.archives.names import MAX_DEPTH, MAX_NAME, MAX_PATH, hostile, normalise
from restore_drill.archives.spool import SortedSpool

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What is done to a finished directory: its descriptor, mode, time, owner, group and attributes.
Apply = Callable[[int, int, int, int, int, Attributes], None]
#: Descriptors kept open between members; one member may add as many as a tree is deep, twice for a hard link.
_KEPT_OPEN = 128
_LEAF_NEEDS_CARE = frozenset((b"", b".", b".."))


class Directories:
    """Finds the directory a member belongs in, making those that the archive only implies.

    While the tree is written its directories are the writer's alone (mode 0700); what the archive says of them is
    collected and applied at the end, children first.

    Args:
        root: Descriptor of the tree's root; closed by :meth:`close`.
        spool: Where modes and times lie meanwhile.
        made: Called with the path of every directory that comes into being.
    """

    def __init__(self, root: int, spool: SortedSpool, made: Callable[[bytes], None]) -> None:
        self.root = root
        self._spool = spool
        self._made = made
        self._open: dict[bytes, int] = {}
        self._places: dict[bytes, tuple[int, bytes]] = {}
        self._sequence = 0
        self._remember(b"", 0o755, 0, -1, -1)

    def place(self, name: bytes) -> tuple[int, bytes, bytes]:
        """Where a member goes: its parent's descriptor, its name there, and its whole path.

        Raises:
            BackupFailed: The name is hostile, or leads through something that is no directory.
        """
        head, _, leaf = name.rpartition(b"/")
        known = self._places.get(head)
        if (
            known is None
            or leaf in _LEAF_NEEDS_CARE
            or len(leaf) > MAX_NAME
            or len(name) > MAX_PATH
            or b"\\" in leaf
            or b"\0" in leaf
        ):
            return self._place_slowly(name)
        return known[0], leaf, known[1] + leaf

    def _place_slowly(self, name: bytes) -> tuple[int, bytes, bytes]:
        path = normalise(name)
        head, _, leaf = path.rpartition(b"/")
        self.trim()
        parent = self.open(head)
        if leaf and name.endswith(leaf):
            self._places[name[: -len(leaf)].removesuffix(b"/")] = (parent, head + b"/" if head else b"")
        return parent, leaf, path

    def open(self, path: bytes, *, make: bool = True) -> int:
        """The descriptor of a directory; valid until the next member is placed.

        Raises:
            BackupFailed: Something on the way is no directory.
            FileNotFoundError: It does not exist and ``make`` is false.
        """
        if not path:
            return self.root
        known = self._open.get(path)
        if known is not None:
            return known
        head, _, leaf = path.rpartition(b"/")
        parent = self.open(head, make=make)
        try:
            descriptor = os.open(leaf, _OPEN, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
            self._imply(parent, leaf, path)
            descriptor = os.open(leaf, _OPEN, dir_fd=parent)
        except OSError as problem:
            if in_the_way(parent, leaf) in ("nothing", "directory"):
                raise
            raise _not_a_directory(parent, leaf, path) from problem
        self._open[path] = descriptor
        return descriptor

    def _imply(self, parent: int, leaf: bytes, path: bytes) -> None:
        os.mkdir(leaf, 0o700, dir_fd=parent)
        # No time was recorded for it: the epoch says so, and lets a later archive's own directory prevail.
        self._remember(path, 0o755, 0, -1, -1)
        self._made(path)

    def add(self, name: bytes, mode: int, mtime: int, uid: int, gid: int, attributes: Attributes | None = None) -> None:
        """Take in a directory that the archive names; naming it again is fine, the last word counts.

        Raises:
            BackupFailed: Something else stands there.
        """
        parent, leaf, path = self.place(name)
        if leaf:
            try:
                os.mkdir(leaf, 0o700, dir_fd=parent)
                self._made(path)
            except FileExistsError as problem:
                if in_the_way(parent, leaf) != "directory":
                    raise _not_a_directory(parent, leaf, path) from problem
        self._remember(path, mode, mtime, uid, gid, pack(attributes) if attributes else b"")

    def _remember(self, path: bytes, mode: int, mtime: int, uid: int, gid: int, attributes: bytes = b"") -> None:
        self._sequence += 1
        depth = path.count(b"/") + 1 if path else 0
        order = b"%04d\t%s\t%012d" % (MAX_DEPTH - depth, escape(path), self._sequence)
        self._spool.add(b"%s\t%d\t%d\t%d\t%d\t%s" % (order, mode, mtime, uid, gid, attributes))

    def complete(self, apply: Apply) -> None:
        """Call ``apply(descriptor, mode, mtime, uid, gid, attributes)`` for every directory, children first."""
        last: list[bytes] = []
        for line in self._spool:
            fields = line.split(b"\t")
            if last and last[:2] != fields[:2]:
                self._apply(last, apply)
            last = fields
        self._apply(last, apply)

    def _apply(self, fields: list[bytes], apply: Apply) -> None:
        mode, mtime, uid, gid = map(int, fields[3:7])
        self.trim()
        apply(self.open(unescape(fields[1])), mode, mtime, uid, gid, unpack(fields[7]) if fields[7] else {})

    def trim(self) -> None:
        """Close descriptors that were opened long ago; only between two members, when none is in use."""
        if len(self._open) <= _KEPT_OPEN and len(self._places) <= 4 * _KEPT_OPEN:
            return
        self._places.clear()
        for path in list(self._open)[: -_KEPT_OPEN // 2]:
            os.close(self._open.pop(path))

    def forget_all(self) -> None:
        """Close every descriptor but the root's."""
        self._places.clear()
        while self._open:
            os.close(self._open.popitem()[1])

    def close(self) -> None:
        """Close everything; may be called again."""
        self.forget_all()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1


def in_the_way(parent: int, leaf: bytes) -> str:
    """What stands under a name: ``nothing``, ``directory``, ``link``, ``file`` or ``special``."""
    try:
        mode = os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return "nothing"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "link"
    return "file" if stat.S_ISREG(mode) else "special"


def _not_a_directory(parent: int, leaf: bytes, path: bytes) -> Exception:
    if in_the_way(parent, leaf) == "link":
        return hostile("a member is written through a symbolic link", path)
    return hostile("a member needs a directory where another member is a file", path)
