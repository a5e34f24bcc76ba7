"""Drill in a process of its own while this one judges and reports what it measured before.

One drill runs at a time, as without: only the judging, which is pytest's work, goes on meanwhile; and while a short
measurement is waited for, the next target's snapshot is looked up. The process is forked when the first drill begins,
so that it has whatever plug-ins, clocks and variables this one has by then; it never returns into pytest. When it dies,
the drill it died in could not be verified, and the next ones get another process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from types import FrameType
from typing import NoReturn

from restore_drill.checks.base import Baseline
from restore_drill.content import ContentFacts
from restore_drill.errors import CouldNotVerify
from restore_drill.forks import end_with
from restore_drill.handover import DrillResults
from restore_drill.model import Stage
from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.run import Progress, Run
from restore_drill.sandboxes import launcher
from restore_drill.sandboxes.directory import close_all
from restore_drill.target_drill import TargetDrill

#: Targets that may be drilled before they are judged: judging comes in bursts.
_WINDOW = 4
#: Seconds in which a process that was told to end must have removed what it restored.
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Task:
    """A target to be drilled ahead.

    Attributes:
        cases: The cases of it that will be judged.
        after: How many targets before it this process drills itself: they must have been left first.
    """

    target: PlannedTarget
    cases: frozenset[PlannedCase]
    after: int = 0


class Ahead:
    """Drills targets in a forked process, in a given order.

    Args:
        run: Shared by all drills of this process; the forked one gets connections of its own.
        tasks: What is drilled, in the order in which it will be asked for.
        progress: Makes the forked process's teller of progress.
    """

    def __init__(self, run: Run, tasks: Sequence[Task], progress: Callable[[], Progress]) -> None:
        self._run = run
        self._tasks = list(tasks)
        self._position = {task.target.name: position for position, task in enumerate(tasks)}
        self._progress = progress
        self._granted = 0
        self._done = 0
        self._left = 0
        self._received: dict[str, dict[str, DrillResults]] = {}
        self._line: Connection | None = None
        self._pid = 0

    def left(self) -> None:
        """This process has left one more of the targets that it drills itself."""
        self._left += 1
        if self._line is not None:
            self._grant(self._line)

    def take(self, target: str) -> dict[str, DrillResults] | None:
        """What was measured of a target, by copy; waits for it. ``None`` when it is no task, or was passed before.

        Raises:
            OSError: There is no room for another process.
        """
        position = self._position.get(target)
        if position is None or position < self._done:
            return None
        while self._done <= position:
            line = self._line or self._start()
            self._grant(line, position)
            self._receive(line)
        return self._received.pop(target)

    def close(self) -> None:
        """End the process; what it restored is gone when this returns, or is left to the reaper."""
        if self._line is None:
            return
        idle = self._granted <= self._done
        self._line.close()
        self._line = None
        if not idle:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
        self._await_end()

    # --- this side ------------------------------------------------------------------------------------------------

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns of other threads: what they hold (a terminal's line, a heartbeat) is not used there.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            ours.close()
            _serve(self, theirs)
        theirs.close()
        self._pid, self._line = pid, ours
        self._granted = self._done
        return ours

    def _grant(self, line: Connection, needed: int = -1) -> None:
        """Allow as many more targets as the window and this process's own drills leave room for."""
        while self._granted < min(self._done + _WINDOW, len(self._tasks)):
            if self._granted > needed and self._tasks[self._granted].after > self._left:
                return
            self._granted += 1
            with contextlib.suppress(BrokenPipeError):  # its end is noticed where its answer is awaited
                line.send_bytes(b"go")

    def _receive(self, line: Connection) -> None:
        """Take all results of the next target."""
        task = self._tasks[self._done]
        found: dict[str, DrillResults] = {}
        try:
            while (answer := line.recv()) is not None:
                copy, results = answer
                found[copy] = results
        except (EOFError, ConnectionResetError):
            problem = self._died(line)
            for copy in dict.fromkeys([*task.target.copies_by_name, *(case.copy for case in task.cases if case.copy)]):
                found.setdefault(copy, _nothing(problem))
        self._received = {task.target.name: found}
        self._done += 1

    def _died(self, line: Connection) -> CouldNotVerify:
        line.close()
        self._line = None
        status = self._await_end()
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return CouldNotVerify(
            f"the process that drilled it {how}",
            remedy="Drill this target alone to see why; short of memory, the kernel ends the largest process.",
        )

    def _await_end(self) -> int:
        """The exit status of the process, which is killed when it does not end in time."""
        descriptor = os.pidfd_open(self._pid)
        try:
            if not select.select([descriptor], [], [], _PATIENCE)[0]:
                os.kill(self._pid, signal.SIGKILL)
        finally:
            os.close(descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    # --- the other side -------------------------------------------------------------------------------------------

    def drill_all(self, line: Connection) -> None:
        """Drill what is allowed until nothing more is; the forked process's whole work."""
        run = Run(
            self._run.id,
            self._run.directory,
            self._run.plan,
            self._run.options,
            self._run.clock,
            self._progress(),
            self._run.sandboxes,
        )
        launcher.prestart()
        queue = _Queue(line, run, self._tasks[self._done :])
        try:
            while whole := queue.take():
                try:
                    for answer in whole.complete(queue.look_ahead):
                        line.send(answer)
                finally:
                    whole.close()
                line.send(None)
        finally:
            queue.close()
            run.close()
            close_all()


class _Queue:
    """What the forked process drills next.

    Args:
        line: Says of each target that it may be drilled, in their order.
        run: The forked process's own.
        tasks: The targets.
    """

    def __init__(self, line: Connection, run: Run, tasks: Sequence[Task]) -> None:
        self._line = line
        self._run = run
        self._tasks = deque(tasks)
        self._next: TargetDrill | None = None

    def take(self) -> TargetDrill | None:
        """The next target, as soon as it may be drilled; after the last one it waits for the end."""
        if self._next is None:
            self._line.recv_bytes()
            self._next = self._begin()
        whole, self._next = self._next, None
        return whole

    def look_ahead(self, store: str) -> None:
        """Locate the next target's first snapshot in a store, while a sandbox process is busy with this target."""
        if self._next is None and self._tasks and self._line.poll():
            self._line.recv_bytes()
            self._next = self._begin()
            if self._next is not None:
                self._next.look(store)

    def _begin(self) -> TargetDrill | None:
        if not self._tasks:
            return None
        task = self._tasks.popleft()
        return TargetDrill(task.target, self._run, task.cases)

    def close(self) -> None:
        """Leave what was only begun."""
        if self._next is not None:
            self._next.close()


def _nothing(problem: CouldNotVerify) -> DrillResults:
    return DrillResults({}, (Stage.LOCATE, problem), ContentFacts({}, Baseline()), None, {})


def _serve(ahead: Ahead, line: Connection) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the other one ends this one
        signal.signal(signal.SIGTERM, _interrupt)
        end_with(os.getppid(), signal.SIGTERM)
        ahead.drill_all(line)
        status = 0
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        status = 0
    except BaseException:  # nothing may return into pytest from here; how it ended is told where it is missed
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(status)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
