"""A directory of this machine: a disk, or a mounted file server.

What counts as an object is a regular file, in any subdirectory. Decided here:

* The root may be a symbolic link. Below it, a link to a file inside the root is an object like any other; a link to a
  directory is followed where a prefix or key names it (``current/``), not while listing what lies under a shorter
  prefix, so that nothing is listed twice and no cycle matters. Links that lead outside are not listed, and refused by
  name when they are asked for. ``lost+found`` of the root belongs to the file system.
* Devices, FIFOs and sockets are no objects and are never opened.
* Names that are not UTF-8 are listed with surrogate escapes (PEP 383), so that they can be opened again.
* The marker of a version (``etag``) is size, modification time and inode; without the inode on file systems that
  number their files anew while mounted (FUSE, CIFS, 9p).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.model import Artifact, Stage
from restore_drill.printable import shorten
from restore_drill.stores.base import CHUNK, Address, Oddity, Store, StoreSettings, Trouble
from restore_drill.stores.beneath import LeadsOutside, NotRegular, open_file, resolve
from restore_drill.stores.scan import walk
from restore_drill.stores.watched import Watched

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
#: What a failing disk, a dead file server or a lost mount answers.
_FAILING = frozenset({
    errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EREMOTEIO, errno.ENOLINK,
    errno.ENOMEDIUM, errno.EUCLEAN, errno.ESHUTDOWN,
})  # fmt: skip
#: File systems of this machine's own disks: a call into them comes back, with an error at worst, so that it need not be
#: watched. Everything else (a file server, FUSE, what nobody here has heard of) may keep a caller waiting for good.
_OWN = frozenset({"bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "squashfs", "tmpfs",
                  "vfat", "xfs", "zfs"})  # fmt: skip
#: File systems that number their files anew while they are mounted.
_RENUMBERED = frozenset({"fuse", "cifs", "smb3", "9p", "vboxsf"})

_Result = TypeVar("_Result")


class LocalStore(Store):
    """Files below a directory; ``settings.url`` is ``file:///path``, taken literally (no percent encoding)."""

    schemes = ("file",)

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._root = settings.url.removeprefix("file:")
        if self._root.startswith("//"):
            self._root = self._root[2:]
        if not self._root.startswith("/") or "\0" in self._root:
            raise CouldNotVerify(
                "the store's url names no absolute path", looked_at=settings.url, remedy="Write file:///path."
            )
        self._watched = Watched(settings.read_deadline)
        self._identity: int | None = None
        self._comes_back = False

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """A path as it stands, absolute or relative to the catalogue."""
        rest = address.rest
        if not rest or rest == "//":
            yield Trouble("the url names no directory", "write file:///path, or file:path relative to the catalogue")
        elif rest.startswith("//") and not rest.startswith("///"):
            host, _, path = rest[2:].partition("/")
            yield Trouble(
                f"a file: url has no host, and {shorten(host)} stands where one would be",
                f"write file:///{path} for an absolute path, file:{rest[2:]} for one relative to the catalogue",
            )
        elif rest.startswith("~"):
            yield Trouble("~ is not expanded", "write the whole path: file:///home/…")
        elif "\0" in rest:
            yield Trouble("a path cannot hold a zero byte")

    @classmethod
    def hosts(cls, address: Address) -> Iterator[tuple[str, str]]:  # noqa: ARG003 - a path has none
        """None."""
        yield from ()

    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every file whose key begins with ``prefix``, in the byte order of the keys.

        A directory that disappears meanwhile is empty; one that may not be read is an error, not an empty one.

        Raises:
            CouldNotVerify: The root is missing, or something in it denies access or does not answer.
        """
        return self.scan(prefix, lambda oddity: None)  # noqa: ARG005 - what is no object is not listed

    def scan(
        self, prefix: str, odd: Callable[[Oddity], None], closed: Callable[[str, str], None] | None = None
    ) -> Iterator[Artifact]:
        """The same, telling of directories, devices, FIFOs, sockets, and links that lead to no file of this store."""
        self._check_root()
        folder, slash, start = prefix.rpartition("/")
        if slash and not _is_key(folder):
            return
        for key, status in walk(self._root, folder, start, self._ask, odd, closed):
            yield _artifact(key, status)

    def stat(self, key: str) -> Artifact | None:
        """One file, or ``None`` when there is none of that name.

        Raises:
            CouldNotVerify: The root is missing, access is denied, or the name is a link that leads outside.
        """
        self._check_root()
        if not _is_key(key):
            return None
        try:
            status = self._watch(key, None, _status, self._root, key)
        except OSError:  # only what means "absent" is left
            self._check_root()
            return None
        return _artifact(key, status) if stat.S_ISREG(status.st_mode) else None

    def open(self, artifact: Artifact) -> Generator[bytes, None, None]:
        """The bytes of a file in chunks of 1 MiB.

        Raises:
            BackupFailed: It vanished, changed since it was listed or while it was read, or is no regular file.
            CouldNotVerify: Access is denied, or the disk or file server fails.
        """
        descriptor = self._open(artifact)
        try:
            before = self._watch(artifact.key, Stage.FETCH, os.fstat, descriptor)
            self._compare(artifact, before)
            if hasattr(os, "posix_fadvise"):
                self._watch(artifact.key, Stage.FETCH, os.posix_fadvise, descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            size = 0
            while chunk := self._watch(artifact.key, Stage.FETCH, os.read, descriptor, CHUNK):
                size += len(chunk)
                if size > before.st_size:
                    break
                yield chunk
            after = self._watch(artifact.key, Stage.FETCH, os.fstat, descriptor)
            if size != before.st_size or _marker(after) != _marker(before):
                raise self._changed(
                    artifact, f"while it was read: {before.st_size} bytes before, {after.st_size} after"
                )
        finally:
            os.close(descriptor)

    def metadata(self, artifact: Artifact) -> Mapping[str, str]:
        """The ``user.*`` extended attributes of a file (xattr(7)), without that prefix; ``{}`` where there are none."""
        descriptor = self._open(artifact)
        try:
            self._compare(artifact, self._watch(artifact.key, Stage.FETCH, os.fstat, descriptor))
            return self._watch(artifact.key, Stage.FETCH, _attributes, descriptor)
        finally:
            os.close(descriptor)

    def local_path(self, key: str) -> Path:
        """Where a key lies; ``""`` is the root. Links in it are not resolved.

        Raises:
            CouldNotVerify: It is no name in this store (absolute, or with ``..``).
        """
        if key.rstrip("/") and not _is_key(key.rstrip("/")):
            raise self._no_key(key)
        return Path(self._root, key)

    def failure_domain(self) -> str | None:
        """The device the root lies on (``device 8:1``); ``None`` while it is not there.

        Partitions of one disk, and the subvolumes and exports of one server, have numbers of their own.
        """
        try:
            device = self._watched.call(os.stat, self._root).st_dev
        except (OSError, DeadlineExceeded):
            return None
        return f"device {os.major(device)}:{os.minor(device)}"

    def close(self) -> None:
        """End the threads that wait for the file system."""
        self._watched.close()

    def _open(self, artifact: Artifact) -> int:
        self._check_root()
        if not _is_key(artifact.key):
            raise self._no_key(artifact.key)
        try:
            return self._watch(artifact.key, Stage.FETCH, open_file, self._root, artifact.key)
        except NotRegular as problem:
            raise BackupFailed(
                f"it is {problem.strerror} and not a regular file",
                looked_at=self.where(artifact.key),
                remedy="Find out what put it among the backups.",
                stage=Stage.FETCH,
            ) from problem
        except OSError as problem:
            self._check_root()
            raise self._changed(artifact, "after it was listed: it is gone") from problem

    def _compare(self, artifact: Artifact, status: os.stat_result) -> None:
        known = artifact.etag == _marker(status) if artifact.etag else artifact.modified == status.st_mtime
        if not known or artifact.size != status.st_size:
            raise self._changed(
                artifact, f"after it was listed: {artifact.size} bytes then, {status.st_size} now, or another time"
            )

    def _changed(self, artifact: Artifact, how: str) -> BackupFailed:
        return BackupFailed(
            f"it changed {how}",
            looked_at=self.where(artifact.key),
            remedy="If the backup job was still writing it, let it write under another name and rename when done.",
            stage=Stage.FETCH,
        )

    def _no_key(self, key: str) -> CouldNotVerify:
        return CouldNotVerify(
            "this is not a name inside the store",
            looked_at=self.where(key),
            remedy="Names are relative to the store's url, without '..' and empty parts.",
        )

    def _check_root(self) -> None:
        """Make sure that the root is there, and the one that was there before.

        A disk that was unmounted leaves an empty directory behind, which must not pass for an empty store.
        """
        try:
            status = self._watch("", None, os.stat, self._root)
        except OSError as problem:
            raise CouldNotVerify(
                f"the store's directory is not there ({os.strerror(problem.errno or 0)})",
                looked_at=self.where(),
                remedy="Is the disk mounted? Mount it, or correct the store's url.",
            ) from problem
        if not stat.S_ISDIR(status.st_mode):
            raise CouldNotVerify(
                "the store's url is not a directory",
                looked_at=self.where(),
                remedy="Let it name the directory that holds the backups.",
            )
        if self._identity not in (None, status.st_ino):
            raise CouldNotVerify(
                "the store's directory is another one than at the beginning of this run",
                looked_at=self.where(),
                remedy="Was the disk unmounted meanwhile? Mount it and run again.",
            )
        if self._identity is None:
            self._comes_back = is_own_disk(_mounts(), os.path.realpath(self._root))
        self._identity = status.st_ino

    def _ask(self, key: str, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """What a listing asks of the file system; an ``OSError`` that comes back means that something is absent."""
        try:
            return self._watch(key, None, function, *arguments)
        except OSError:
            self._check_root()
            raise

    def _watch(self, key: str, stage: Stage | None, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call into the file system; only errors that mean "absent" or "not a file" come back as they are."""
        try:
            return function(*arguments) if self._comes_back else self._watched.call(function, *arguments)
        except NotRegular:
            raise
        except OSError as problem:
            if problem.errno in _ABSENT:
                raise
            self._fail(problem, key, stage)
        except DeadlineExceeded as problem:
            raise DeadlineExceeded(
                f"the file system gave {problem.cause}",
                looked_at=self.where(key),
                remedy="Is the file server up? Look at `mount` and `dmesg`, or raise the store's read_deadline.",
                stage=stage,
            ) from problem

    def _fail(self, problem: OSError, key: str, stage: Stage | None) -> NoReturn:
        cause, remedy = _diagnosis(problem)
        raise CouldNotVerify(cause, looked_at=self.where(key), remedy=remedy, stage=stage) from problem


def _diagnosis(problem: OSError) -> tuple[str, str]:
    reason = os.strerror(problem.errno or 0)
    if isinstance(problem, LeadsOutside):
        return (
            "a symbolic link leads out of the store, and is not followed",
            "Let the store's url name the directory that the link leads to, or move the files below the url.",
        )
    if problem.errno in (errno.EACCES, errno.EPERM):
        user = f"user {os.geteuid()}"
        return f"{user} may not read it", f"Give {user} read access to it and to the directories above it."
    if problem.errno in _FAILING:
        return f"the disk or file server fails ({reason})", "Look at `dmesg` and `mount`; test the disk or the server."
    if problem.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open", "Raise `ulimit -n`, or run fewer drills at a time."
    return f"it cannot be read ({reason})", "Try to read it by hand, as the user who runs the drills."


def _status(root: str, key: str) -> os.stat_result:
    with resolve(root, key) as place:
        return place.status


def _attributes(descriptor: int) -> dict[str, str]:
    if not hasattr(os, "listxattr"):
        return {}
    try:
        names = [name for name in os.listxattr(descriptor) if name.startswith("user.")]
        return {name[5:].lower(): os.getxattr(descriptor, name).decode("utf-8", "replace") for name in names}
    except OSError as problem:
        if problem.errno == errno.EOPNOTSUPP:
            return {}
        raise


def _artifact(key: str, status: os.stat_result) -> Artifact:
    return Artifact(key, status.st_size, status.st_mtime, etag=_marker(status))


def _marker(status: os.stat_result) -> str:
    inode = status.st_ino if _keeps_inodes(status.st_dev) else 0
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{inode:x}"


@cache
def _keeps_inodes(device: int) -> bool:
    """Whether a file on a device keeps its inode number while it exists; where that is not known, it does."""
    return not file_systems(_mounts(), device) & _RENUMBERED


def _mounts() -> str:
    """What is mounted, ``""`` where that is not told."""
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return ""


def is_own_disk(mountinfo: str, root: str) -> bool:
    """Whether a directory, and everything mounted below it, lies on file systems of this machine's own disks.

    Args:
        mountinfo: The text of ``/proc/self/mountinfo``; see proc_pid_mountinfo(5).
        root: An absolute path without symbolic links.
    """
    holding, types = "", set()
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), (after.split() or [""])[0]
        if len(fields) < 5:
            return False
        point = fields[4].replace("\\040", " ")
        if point == root or point.startswith(f"{root.rstrip('/')}/"):
            types.add(kind)
        if (root == point or f"{root}/".startswith(f"{point.rstrip('/')}/")) and len(point) >= len(holding):
            holding, of_root = point, kind  # a later mount on the same point hides the earlier one
    return bool(holding) and {*types, of_root} <= _OWN


def file_systems(mountinfo: str, device: int) -> set[str]:
    """The types of the file systems mounted from a device, without what follows a dot (``fuse.sshfs``).

    Source of the format: proc_pid_mountinfo(5).
    """
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = [line.partition(" - ") for line in mountinfo.splitlines()]
    return {after.split()[0].partition(".")[0] for before, _, after in mounts if before.split()[2:3] == [number]}


def _is_key(key: str) -> bool:
    try:
        name = os.fsencode(key)
    except UnicodeEncodeError:  # nothing the file system could hold
        return False
    return b"\0" not in name and all(part not in (b"", b".", b"..") for part in name.split(b"/"))
