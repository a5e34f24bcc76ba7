"""The thread that looks after one container: what it writes, and whether it is still there.

Local volumes and the writable layer of a container have no limit of their own on most file systems: what a program
writes is measured again and again, and the container is ended when it is too much.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from restore_drill import disk
from restore_drill.errors import CouldNotVerify
from restore_drill.quantities import format_size
from restore_drill.sandboxes.containers.client import Engine, Missing, Refused
from restore_drill.sandboxes.containers.memory import Shortages
from restore_drill.sandboxes.containers.spec import Bounds
from restore_drill.sandboxes.containers.volumes import used

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: Seconds between two looks at the engine's disk, and at least between two at the container's layer: measuring that
#: means walking through it.
_SOONEST: Final = 0.5
#: Seconds between two of the latter at most, however long they take.
_LATEST: Final = 15.0
#: How many times as long as one took is waited before the next.
_REST: Final = 10.0
#: Seconds that a look may take.
_PATIENCE: Final = 120.0
#: Looks in a row that may fail before the container counts as lost.
_FORGIVEN: Final = 3


class Watched(Protocol):
    """A container that is looked after."""

    engine: Engine
    container: str
    bounds: Bounds

    def end(self, reason: CouldNotVerify) -> None:
        """End it, and keep the reason."""


class Watch:
    """Looks after a container until :meth:`stop`.

    Args:
        watched: The container; it is ended, with the reason, when it must be or is found ended.
        shortages: Tells whether memory ran out.
        sockets: A directory of this machine that it may write to as well, or ``None``.
        volumes: Names of volumes that it may write to as well.
    """

    def __init__(
        self,
        watched: Watched,
        shortages: Shortages,
        sockets: Path | None,
        volumes: Sequence[str] = (),
    ) -> None:
        self.used = 0
        self._watched = watched
        self._engine = watched.engine
        self._bounds = watched.bounds
        self._shortages = shortages
        self._sockets = sockets
        self._volumes = tuple(volumes)
        self._place = watched.engine.place if sockets is not None else None
        self._stopped = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"watch-{watched.container[:12]}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; the thread is not waited for while it asks the engine."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            client = self._engine.new_client(_PATIENCE)
        except CouldNotVerify as problem:
            self._watched.end(problem)
            return
        try:
            self._watch(client)
        finally:
            client.close()

    def _watch(self, client: APIClient) -> None:
        look_at = time.monotonic()
        while not self._stopped.wait(_SOONEST):
            began = time.monotonic()
            found = self._room()
            if found is None and began >= look_at:
                found = self._look(client)
                took = time.monotonic() - began
                look_at = began + took + min(_LATEST, max(_SOONEST, _REST * took))
            if found is not None:
                if not self._stopped.is_set():
                    self._watched.end(found)
                return

    def _room(self) -> CouldNotVerify | None:
        """Whether the engine's disk, where it is one of this machine, has what a drill leaves free."""
        if self._place is None:
            return None
        free, kept = disk.free_space(self._place), disk.reserve(self._place)
        return too_full(free, kept, self._place) if free < kept else None

    def _look(self, client: APIClient) -> CouldNotVerify | None:
        try:
            with self._engine.asking("say how much a container has written"):
                found: list[dict[str, Any]] = client.containers(
                    all=True, size=True, filters={"id": self._watched.container}
                )
        except (Missing, Refused, CouldNotVerify) as problem:
            self._failures += 1
            return None if self._failures <= _FORGIVEN else lost(problem)
        self._failures = 0
        if not found or found[0].get("State", "running") != "running":
            return gone()
        self.used = int(found[0].get("SizeRw") or 0) + size(self._sockets)
        if self._volumes:
            with contextlib.suppress(Missing, Refused, CouldNotVerify):
                self.used += used(self._engine, self._volumes)
        if self.used > self._bounds.disk:
            return over_budget(self.used, self._bounds.disk)
        with contextlib.suppress(Missing, Refused, CouldNotVerify):
            # What goes on after the kernel has ended a part of it may say anything.
            if self._shortages.happened(client):
                return out_of_memory(self._bounds.memory)
        return None


def over_budget(used: int, budget: int) -> CouldNotVerify:
    """The error for a container that wrote too much."""
    return CouldNotVerify(
        f"the restore wrote {format_size(used)}, more than the {format_size(budget)} that its container may write",
        remedy="Raise disk: of the target's sandbox if the backup is that big.",
    )


def too_full(free: int, kept: int, place: Path) -> CouldNotVerify:
    """The error for a container engine whose disk is about to be full."""
    return CouldNotVerify(
        f"the container engine's disk has {format_size(max(free, 0))} left, less than the {format_size(kept)} that a "
        "drill leaves free",
        looked_at=str(place),
        remedy="Free space there, or bound what the target may write with disk: of its sandbox.",
    )


def out_of_memory(limit: int, how_sure: str = "") -> CouldNotVerify:
    """The error for a container in which the kernel ended a process for want of memory."""
    return CouldNotVerify(
        f"memory {how_sure}ran out in the container, which may use {format_size(limit)}",
        remedy="Raise memory: of the target's sandbox if the backup needs it.",
    )


def gone() -> CouldNotVerify:
    """The error for a container that the engine does not know any more."""
    return CouldNotVerify(
        "the container ended although it was in use",
        remedy="The container engine was restarted, or somebody ended it: look at the engine's log, then run it again.",
    )


def lost(problem: Exception) -> CouldNotVerify:
    """The error for an engine that says nothing of a container any more."""
    return CouldNotVerify(
        "the container engine says nothing of the container any more",
        remedy="Look at the container engine's own log, then run the drill again.",
        details=(str(problem),),
    )


def size(directory: Path | None) -> int:
    """What is below a directory, in bytes on the disk."""
    total = 0
    waiting = [directory] if directory else []
    while waiting:
        try:
            for entry in waiting.pop().iterdir():
                state = entry.lstat()
                total += state.st_blocks * 512
                if entry.is_dir() and not entry.is_symlink():
                    waiting.append(entry)
        except OSError:
            continue
    return total
