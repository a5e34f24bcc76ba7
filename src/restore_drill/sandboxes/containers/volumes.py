"""Named volumes of a container: made, filled through the engine's archive interface, and seen gone.

That interface is the only way that works for an engine on another machine, too. It wants a container that has the
volume mounted, and takes one that was not started yet: what runs in it finds the volume filled.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.quantities import format_size
from restore_drill.sandboxes.base import Volume
from restore_drill.sandboxes.containers.accounts import Account
from restore_drill.sandboxes.containers.client import Engine, Missing, Refused

_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
_PIECE: Final = 256 << 10
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_XATTR: Final = "SCHILY.xattr."
#: Seconds in which a volume that was told to go must be gone: a container may still hold it for a moment.
_GONE: Final = 30.0
_ASK_EVERY: Final = 0.05


def create(engine: Engine, labels: Mapping[str, str]) -> str:
    """Make an empty volume and return its name.

    Raises:
        CouldNotVerify: The engine does not make it.
    """
    name = f"restore-drill-{secrets.token_hex(8)}"
    try:
        with engine.asking("create a volume"):
            engine.api.create_volume(name=name, driver="local", labels=dict(labels))
    except (Missing, Refused) as problem:
        raise CouldNotVerify(
            "the container engine did not create a volume", remedy="Look at its log.", details=(str(problem),)
        ) from problem
    return name


def mount(name: str, place: str) -> dict[str, Any]:
    """The volume mounted where the application keeps its data; what the image has there is not copied into it."""
    return {"Type": "volume", "Source": name, "Target": place, "VolumeOptions": {"NoCopy": True}}


def fill(engine: Engine, container: str, volume: Volume, account: Account, *, budget: int) -> None:
    """Bring a tree into a volume, with its owners, modes, times, links and extended attributes.

    Who drills without being root has restored no owners: then everything belongs to the account that programs run as.

    Args:
        engine: Where the container is.
        container: One that has the volume mounted and was not started yet.
        volume: Where it is mounted and what it becomes.
        account: What programs run as.
        budget: Bytes that may be written.

    Raises:
        CouldNotVerify: It is more than may be written, cannot be read, or the engine does not take it in.
    """
    owner = None if os.geteuid() == 0 and volume.owned else (account.user, account.group)
    try:
        size = _size(volume.tree)
        if size > budget:
            raise CouldNotVerify(
                f"the volume takes {format_size(size)}, and its container may write {format_size(budget)}",
                remedy="Raise disk: of the target's sandbox if the backup is that big.",
            )
        with engine.asking("take in a volume"):
            # By its parent: an archive's "." would leave the owner and mode of the volume's root as they are.
            place = PurePosixPath(volume.place)
            engine.api.put_archive(container, str(place.parent), _Stream(archived(volume.tree, place.name, owner)))
    except (Missing, Refused) as problem:
        raise CouldNotVerify(
            "the container engine did not take in the volume",
            looked_at=volume.place,
            remedy="Look for room on the engine's disk.",
            details=(str(problem),),
        ) from problem
    except OSError as problem:
        raise CouldNotVerify(
            f"the restored tree cannot be read: {problem.strerror}", remedy="Run it again; see the details.",
            details=(str(problem),),
        ) from problem  # fmt: skip


def used(engine: Engine, names: Sequence[str]) -> int:
    """Bytes on the disk that volumes take: what is written to them is no part of a container's own layer.

    Raises:
        Missing: One is gone.
        Refused: The engine does not say.
        CouldNotVerify: It did not answer.
    """
    if not names:
        return 0
    with engine.asking("say how much a volume holds"):
        if not engine.remote and os.geteuid() == 0:
            places = [str(engine.api.inspect_volume(name).get("Mountpoint") or "") for name in names]
            if all(place and Path(place).is_dir() for place in places):
                return sum(map(_blocks, places))
        found = engine.api.df().get("Volumes") or ()
    return sum(int((each.get("UsageData") or {}).get("Size") or 0) for each in found if each.get("Name") in names)


def _blocks(place: str) -> int:
    """Bytes of what is below a directory, holes left out; what vanishes meanwhile counts nothing."""
    total, waiting = 0, [place]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                        waiting += [entry.path] if entry.is_dir(follow_symlinks=False) else []
        except OSError:
            continue
    return total


def remove(engine: Engine, names: Sequence[str]) -> list[str]:
    """Remove volumes whose container is gone, and return those that the engine still knows."""
    return [name for name in names if not _removed(engine, name)]


def _removed(engine: Engine, name: str) -> bool:
    until = time.monotonic() + _GONE
    while True:
        try:
            with engine.asking("remove a volume"):
                engine.api.remove_volume(name, force=False)
            with engine.asking("say whether a volume is gone"):
                engine.api.inspect_volume(name)
        except Missing:
            return True
        except (Refused, CouldNotVerify):
            pass
        if time.monotonic() > until:
            return False
        time.sleep(_ASK_EVERY)


def archived(tree: Path, name: str, owner: tuple[int, int] | None) -> Iterator[bytes]:
    """A tar archive of a directory.

    Args:
        tree: The directory; its parent is trusted, what is in it is not: no link is followed.
        name: What it is called in the archive.
        owner: Whom everything belongs to; as on the disk otherwise.

    Raises:
        OSError: It cannot be read, or changed while it was.
    """
    writer = _Writer(owner)
    parent = os.open(tree.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from writer.member(parent, tree.name, name)
    finally:
        os.close(parent)
    yield bytes(2 * _BLOCK)


@dataclass(slots=True)
class _Writer:
    """Writes members one after another; remembers files with several names.

    Attributes:
        owner: Whom everything belongs to, or ``None``.
        seen: Device and inode of such a file → its first name.
    """

    owner: tuple[int, int] | None
    seen: dict[tuple[int, int], str] = field(default_factory=dict)

    def member(self, parent: int, entry: str, name: str) -> Iterator[bytes]:
        state = os.stat(entry, dir_fd=parent, follow_symlinks=False)
        kind = stat.S_IFMT(state.st_mode)
        if kind == stat.S_IFLNK:
            yield self._header(name, tarfile.SYMTYPE, state, link=os.readlink(entry, dir_fd=parent))
        elif kind == stat.S_IFDIR:
            directory = os.open(entry, _OPEN | os.O_DIRECTORY, dir_fd=parent)
            try:
                yield self._header(name, tarfile.DIRTYPE, state, attributes=_attributes(directory))
                for child in sorted(os.listdir(directory)):  # noqa: PTH208 - below a held directory
                    yield from self.member(directory, child, f"{name}/{child}")
            finally:
                os.close(directory)
        elif kind == stat.S_IFREG:
            yield from self._file(parent, entry, name, state)

    def _file(self, parent: int, entry: str, name: str, state: os.stat_result) -> Iterator[bytes]:
        place = (state.st_dev, state.st_ino)
        if place in self.seen:
            yield self._header(name, tarfile.LNKTYPE, state, link=self.seen[place])
            return
        if state.st_nlink > 1:
            self.seen[place] = name
        descriptor = os.open(entry, _OPEN, dir_fd=parent)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - opened above, without following a link
            size = os.fstat(descriptor).st_size
            yield self._header(name, tarfile.REGTYPE, state, size=size, attributes=_attributes(descriptor))
            left = size
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise OSError(0, "a file became shorter while it was read")
                left -= len(chunk)
                yield chunk
            yield bytes(-size % _BLOCK)

    def _header(
        self,
        name: str,
        kind: bytes,
        state: os.stat_result,
        *,
        size: int = 0,
        link: str = "",
        attributes: Mapping[str, str] | None = None,
    ) -> bytes:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.size, entry.linkname = kind, stat.S_IMODE(state.st_mode), size, link
        entry.uid, entry.gid = self.owner or (state.st_uid, state.st_gid)
        entry.mtime = state.st_mtime
        entry.pax_headers = dict(attributes or {})
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class _Stream:
    """An archive as a body that is sent in pieces: an iterator without a length; small files share a piece."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        waiting: list[bytes] = []
        size = 0
        for chunk in self._chunks:
            waiting.append(chunk)
            size += len(chunk)
            if size >= _PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
        yield b"".join(waiting)


def _attributes(descriptor: int) -> dict[str, str]:
    """The extended attributes that an archive can carry as text."""
    found = {}
    for name in os.listxattr(descriptor):
        if name.startswith("user."):
            found[_XATTR + name] = os.getxattr(descriptor, name).decode("utf-8", "surrogateescape")
    return found


def _size(tree: Path) -> int:
    """Bytes of all files, each as long as it says it is: holes are filled on the way."""
    return sum(
        os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118 - names may be no text
        for directory, _, names in os.walk(tree)
        for name in names
    )
