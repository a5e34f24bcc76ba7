"""The ``directory`` sandbox: a private directory on this machine, and confined processes that work in it."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from restore_drill.errors import CouldNotVerify, DeadlineExceeded, UsageProblem
from restore_drill.process import Completed
from restore_drill.quantities import format_size
from restore_drill.sandboxes import launcher, programs, protocol, workspace
from restore_drill.sandboxes.base import Disposal, Limits, Sandbox
from restore_drill.sandboxes.calls import PendingCall
from restore_drill.sandboxes.servers import DirectoryServer
from restore_drill.sandboxes.worker import Worker

#: Seconds more than a program's own deadline, in which its end is reported.
_MARGIN = 5.0


#: Sandboxes that one process serves at most, one after another.
_SERVES = 100


@dataclass(slots=True)
class _Spare:
    """An emptied directory and its process, which waits for a call."""

    place: workspace.Place
    worker: Worker
    served: int
    circle: str

    def end(self) -> None:
        self.worker.end()
        self.worker.let_go()


class DirectorySandbox(Sandbox):
    """A work directory and a process that is confined to it.

    The process is forked from one that never saw hostile bytes; when a call ends it, the next call gets another. What
    it is cut off from is in :meth:`facts` and differs by kernel and user. One thread at a time may use a sandbox.

    A directory that was emptied and its process serve the next sandbox where :meth:`dispose` is told that they may,
    and nothing but calls that gave a result went before: making a process costs more than a small drill.

    Args:
        base: Directory below which its own is made.
        run: The run's id, which becomes part of the directory's name.
        name: What it is for, ditto; one that was handed on keeps the name of the first.
        limits: What its processes may use.
        circle: Within which it may be handed on.
    """

    name = "directory"

    def __init__(self, base: Path, *, run: str, name: str, limits: Limits, circle: str = "") -> None:
        self.limits = limits
        self._circle = circle
        self._base = base
        self._run = run
        self._label = name
        self._directory: workspace.RunDirectory | None = None
        self._place: workspace.Place | None = None
        self._worker: Worker | None = None
        self._workers: list[Worker] = []
        self._pending: PendingCall | None = None
        self._disposal: Disposal | None = None
        self._served = 0
        self._plain = True

    def __enter__(self) -> Self:
        """Create the work directory.

        Raises:
            CouldNotVerify: It cannot be made.
        """
        if self._place is not None:
            raise UsageProblem("the sandbox is in use already", remedy="Make another one.")
        try:
            self._directory = workspace.run_directory(self._base, self._run)
            spare = self._take_spare(self._directory)
            self._place = spare.place if spare else self._directory.new_place(self._label)
        except OSError as problem:
            raise CouldNotVerify(
                f"no work directory can be made: {problem.strerror}",
                looked_at=str(self._base),
                remedy="Make room there, or name another directory for restores.",
            ) from problem
        self.work = self._place.work
        self._disposal = None
        self._served, self._plain = 1, True
        _undisposed.add(self)
        if spare:
            self._served += spare.served
            self._worker = spare.worker
            self._workers.append(spare.worker)
            return self
        # Forked while the caller does something else; what goes wrong is reported by the first call.
        with contextlib.suppress(CouldNotVerify):
            self._worker = self._new_worker()
        return self

    def submit(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        deadline: float,
        feed: Iterable[bytes] | None = None,
        progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> PendingCall:
        """Start a call of one of our functions inside the sandbox; a call under way is waited for first.

        Raises:
            DeadlineExceeded: The deadline passed while ``feed`` was not yet at its end.
            CouldNotVerify: No process can be started.
        """
        if not protocol.is_function_name(function):
            raise UsageProblem(f"{function!r} does not name a function of a module", remedy="Write module:name.")
        if self._pending is not None:
            self._pending.settle()
            self._plain = self._plain and self._pending.succeeded
        pending = self._pending = PendingCall(self._ready_worker(), function, deadline, progress)
        pending.begin(arguments, fed=feed is not None)
        launcher.current().remember(function)
        if feed is not None:
            pending.feed(feed)
        return pending

    def exec(self, argv: Sequence[str], *, deadline: float, stdin: bytes = b"") -> Completed:
        """Run a program in the work directory to its end; see :meth:`Sandbox.exec`."""
        self._plain = False
        arguments = {"argv": list(argv), "deadline": deadline}
        try:
            completed = programs.decode(
                self.call(programs.RUN, arguments, deadline=deadline + _MARGIN, feed=(stdin,) if stdin else ())
            )
        except DeadlineExceeded:
            # What the program started may have left its process group; the process's end reaches that, too.
            if self._worker is not None:
                self._worker.end()
            raise
        if completed.returncode == -signal.SIGXFSZ:
            raise CouldNotVerify(
                f"the program {Path(argv[0]).name} wrote a file beyond the sandbox's limit of "
                f"{format_size(self.limits.file_size)}",
                remedy="Raise the limit if the backup is that big.",
                details=tuple(completed.stderr.decode(errors="replace").splitlines()[-20:]),
            )
        return completed

    def start(self, argv: Sequence[str], *, ready: Callable[[], bool], deadline: float) -> DirectoryServer:
        """Start a server and wait until ``ready`` is true; see :meth:`Sandbox.start`.

        It has a process of its own, so that a call that is killed leaves it up.
        """
        self._plain = False
        server = DirectoryServer(self._new_worker(), argv)
        server.await_ready(ready, deadline)
        return server

    def facts(self) -> dict[str, Any]:
        """Kind, network state, user, limits, and what the kernel refused to cut off."""
        limits = self.limits
        return {
            "kind": self.name,
            "user": os.geteuid(),
            "limits": {"memory": limits.memory, "file_size": limits.file_size, "open_files": limits.open_files},
            **launcher.current().isolation().facts(),
        }

    def dispose(self, *, keep: bool = False, reuse: bool = False) -> Disposal:
        """End what runs, remove the work directory (unless it is to be kept), and say what is left. Repeatable."""
        if self._disposal is not None and not self._disposal.left:
            return self._disposal
        if reuse and not keep and self._leave_to_next():
            self._disposal = Disposal()
            return self._disposal
        for worker in self._workers:
            if not worker.ended:
                worker.end()
            worker.let_go()
        running = [worker for worker in self._workers if not worker.ended]
        self._workers = running
        self._worker = self._pending = None
        self._disposal = self._clear(keep, running)
        if not self._disposal.left:
            self._place = None
            _undisposed.discard(self)
        return self._disposal

    def _take_spare(self, directory: workspace.RunDirectory) -> _Spare | None:
        spare = cast("_Spare | None", directory.take_spare())
        if spare is None:
            return None
        if spare.worker.usable and (spare.worker.limits, spare.circle) == (self.limits, self._circle):
            return spare
        spare.end()
        directory.remove(spare.place)
        return None

    def _leave_to_next(self) -> bool:
        """Empty the directory and leave it, with its process, to the next sandbox; says False where that may not be."""
        place, directory, worker = self._place, self._directory, self._worker
        if place is None or directory is None or worker is None or directory.spare is not None:
            return False
        served = self._pending is None or self._pending.succeeded
        if not (
            served
            and not worker.busy
            and self._plain
            and self._served < _SERVES
            and self._workers == [worker]
            and worker.usable
        ):
            return False
        if directory.empty(place):
            return False
        directory.spare = _Spare(place, worker, self._served, self._circle)
        self._workers, self._worker, self._pending, self._place = [], None, None, None
        _undisposed.discard(self)
        return True

    def _clear(self, keep: bool, running: list[Worker]) -> Disposal:
        if self._place is None or self._directory is None:
            return Disposal()
        if running:
            return Disposal(left=(str(self._place.directory),), reason="a process in it cannot be ended")
        if keep:
            return Disposal(kept=str(self._directory.keep(self._place, self._label)))
        left = tuple(self._directory.remove(self._place))
        return Disposal(left, "some of it cannot be removed" if left else "")

    def _ready_worker(self) -> Worker:
        if self._worker is None or not self._worker.usable:
            if self._worker is not None:
                self._retire(self._worker)
            self._worker = self._new_worker()
        return self._worker

    def _retire(self, worker: Worker) -> None:
        worker.end()
        worker.let_go()
        if worker.ended:
            self._workers.remove(worker)

    def _new_worker(self) -> Worker:
        if self._place is None:
            raise UsageProblem("the sandbox is not in use", remedy="Use it between entering and disposal.")
        place = self._place
        settings = {"directory": str(place.directory), "work": str(place.work), "scratch": str(place.scratch)}
        worker = Worker(settings, self.limits)
        self._workers.append(worker)
        return worker


def close_all() -> list[str]:
    """End this process's sandboxes and their zygote and remove its run directories; returns what is left."""
    left = [line for sandbox in list(_undisposed) for line in sandbox.dispose().left]
    launcher.stop()
    return left + workspace.close_all()


_undisposed: weakref.WeakSet[DirectorySandbox] = weakref.WeakSet()
atexit.register(close_all)
