"""The ``directory`` sandbox: a private directory on this machine, and confined processes that work in it."""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from restore_drill.errors import CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.sandboxes import admission, launcher, protocol, workspace
from restore_drill.sandboxes.base import Disposal, Ground, Limits, Need, Sandbox, SandboxOptions
from restore_drill.sandboxes.calls import PendingCall
from restore_drill.sandboxes.equipment import Equipment, prepare, take_back
from restore_drill.sandboxes.found import check_version, find_programs
from restore_drill.sandboxes.running import RunningProgram, as_input
from restore_drill.sandboxes.servers import DirectoryServer
from restore_drill.sandboxes.watching import DiskWatch
from restore_drill.sandboxes.worker import Worker

#: Seconds in which the permissions of what was restored are put right.
_ADMITTED_WITHIN = 3600.0
#: Seconds in which a program says its version.
_VERSION_WITHIN = 60.0
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
        options: Memory and processes, where they differ from ``limits``.
    """

    name = "directory"
    understands = frozenset({"memory", "processes", "disk"})

    def __init__(
        self,
        base: Path,
        *,
        run: str,
        name: str,
        limits: Limits,
        circle: str = "",
        options: SandboxOptions | None = None,
    ) -> None:
        options = options or SandboxOptions()
        self.limits = replace(
            limits,
            memory=options.memory or limits.memory,
            tasks=options.processes or limits.tasks,
            disk=options.disk or limits.disk,
        )
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
        self._equipment: Equipment | None = None
        self._watch: DiskWatch | None = None

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
        self._watch = None
        self._served, self._plain = 1, True
        undisposed.add(self)
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

    def equip(self, need: Need) -> Ground:
        """Have the programs of a system ready; see :meth:`Sandbox.equip`.

        They are this machine's own. As root, they run as the system's account or as ``nobody``.
        """
        place = self._in_use()
        self._plain = False
        if self._equipment is not None:
            raise UsageProblem("the sandbox is equipped already", remedy="Make another one.")
        found = find_programs(need)
        equipment = self._equipment = prepare(need, found, place, launcher.current().isolation(), self.limits)
        try:
            version = self._version(need, found)
        except BaseException:
            self._equipment = None
            take_back(place, equipment.sockets)
            raise
        programs_fact = f"{need.system} {version}".strip()
        ground = replace(equipment.ground, facts={**equipment.ground.facts, "programs": programs_fact})
        self._equipment = replace(equipment, ground=ground)
        self._watch = DiskWatch((place.data, place.home), self.limits.disk, self._kill_programs)
        return ground

    def admit(self, path: Path) -> str:
        """Let programs read a file or directory of the work directory; see :meth:`Sandbox.admit`."""
        place, equipment = self._in_use(), self._equipment
        if equipment is None:
            raise UsageProblem("the sandbox is not equipped", remedy="Equip it before something is admitted.")
        seen = equipment.path_of(path, place)
        group = equipment.account.group if equipment.account.change else None
        arguments = {"path": str(path.relative_to(place.work)), "group": group}
        self.call(admission.ADMIT, arguments, deadline=_ADMITTED_WITHIN)
        return seen

    def outside(self, path: str) -> Path:
        """Where a path below ``Ground.data`` lies as seen from this machine; see :meth:`Sandbox.outside`."""
        place, equipment = self._in_use(), self._equipment
        if equipment is None or not Path(path).is_relative_to(equipment.ground.data) or ".." in Path(path).parts:
            raise UsageProblem("this is no path of the sandbox's programs", looked_at=path)
        return place.data / Path(path).relative_to(equipment.ground.data)

    def begin(
        self, argv: Sequence[str], *, deadline: float, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> RunningProgram:
        """Run a program in a process of its own; see :meth:`Sandbox.begin`. Any thread may do so."""
        self._plain = False
        descriptor = as_input(stdin)
        try:
            worker = self._new_worker(for_programs=True, stdin=descriptor)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return RunningProgram(worker, argv, deadline, self._variables(environment), self._retire, self._why)

    def start(
        self,
        argv: Sequence[str],
        *,
        ready: Callable[[], bool],
        deadline: float,
        environment: Mapping[str, str] | None = None,
    ) -> DirectoryServer:
        """Start a server and wait until ``ready`` is true; see :meth:`Sandbox.start`.

        It has a process of its own, so that a call that is killed leaves it up.
        """
        self._plain = False
        server = DirectoryServer(self._new_worker(for_programs=True), argv, self._variables(environment), self._why)
        server.await_ready(ready, deadline)
        return server

    def facts(self) -> dict[str, Any]:
        """Kind, network state, user, limits, and what the kernel refused to cut off."""
        limits = self.limits
        return {
            "kind": self.name,
            "user": os.geteuid(),
            "limits": {
                "memory": limits.memory,
                "file_size": limits.file_size,
                "open_files": limits.open_files,
                "processes": limits.tasks,
                "disk": limits.disk if limits.disk < Limits().disk else None,
            },
            **launcher.current().isolation().facts(),
            **(self._equipment.facts() if self._equipment else {}),
        }

    def dispose(self, *, keep: bool = False, reuse: bool = False) -> Disposal:
        """End what runs, remove the work directory (unless it is to be kept), and say what is left. Repeatable."""
        if self._disposal is not None and not self._disposal.left:
            return self._disposal
        if reuse and not keep and self._leave_to_next():
            self._disposal = Disposal()
            return self._disposal
        if self._watch is not None:
            self._watch.stop()
        for worker in self._workers:
            if not worker.ended:
                worker.end()
            worker.let_go()
        running = [worker for worker in self._workers if not worker.ended]
        self._workers = running
        self._worker = self._pending = None
        stripped = [] if running else self._strip()
        self._disposal = self._clear(keep, running)
        if stripped:
            self._disposal = Disposal((*self._disposal.left, *stripped), "some of it cannot be removed")
        if not self._disposal.left:
            self._place = None
            undisposed.discard(self)
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
        undisposed.discard(self)
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
            with contextlib.suppress(ValueError):
                self._workers.remove(worker)

    def _new_worker(self, *, for_programs: bool = False, stdin: int = -1) -> Worker:
        place, equipment = self._in_use(), self._equipment
        if equipment is not None and for_programs:
            settings = equipment.settings
        else:
            settings = {"work": str(place.work), "scratch": str(place.scratch), "writable": [str(place.directory)]}
        worker = Worker(settings, self.limits, stdin)
        self._workers.append(worker)
        return worker

    def _in_use(self) -> workspace.Place:
        if self._place is None:
            raise UsageProblem("the sandbox is not in use", remedy="Use it between entering and disposal.")
        return self._place

    def _variables(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**(self._equipment.environment if self._equipment else {}), **(more or {})}

    def _version(self, need: Need, found: Mapping[str, Path]) -> str:
        """The version of the programs, as the first of them says it.

        Raises:
            ProgramMissing: It is not the one that is needed.
        """
        if not need.programs:
            return need.version
        said = self.exec([need.programs[0], "--version"], deadline=_VERSION_WITHIN)
        words = b"" if said.returncode else said.stdout + b"\n" + said.stderr
        return check_version(need, found[need.programs[0]], words.decode(errors="replace"))

    def _kill_programs(self) -> None:
        for worker in list(self._workers):
            if worker is not self._worker:
                worker.kill()

    def _why(self) -> RestoreDrillError | None:
        return self._watch.problem if self._watch else None

    def _strip(self) -> list[str]:
        """Take away what :meth:`equip` gave outside the sandbox's directory, and return what is left."""
        equipment, self._equipment = self._equipment, None
        return equipment.sockets.close() if equipment else []


def close_all() -> list[str]:
    """End this process's sandboxes and their zygote and remove its run directories; returns what is left."""
    left = [line for sandbox in list(undisposed) for line in sandbox.dispose().left]
    for close in at_end:
        close()
    launcher.stop()
    return left + workspace.close_all()


#: Sandboxes of any kind that are still to be disposed of when this process ends.
undisposed: weakref.WeakSet[Sandbox] = weakref.WeakSet()
#: What else of other kinds is to be closed once all sandboxes are disposed of.
at_end: list[Callable[[], None]] = []
atexit.register(close_all)
