"""The contract of a sandbox: where hostile bytes may be touched.

A sandbox is a work directory and a way to run things over it. It MUST

* be entered before and left after use; leaving it, however that comes about, ends what runs in it, unless whoever
  disposes of it allows that an idle process waits in the emptied directory for the next one;
* give what runs in it an emptied environment, no credential of ours, bounded memory, file size and time;
* survive whatever the bytes do to a call: the call fails, the next one runs in a fresh process;
* say in ``facts`` what its network state is, without promising more than it enforces;
* leave nothing behind after ``dispose``, and say what it could not remove.

Every sandbox passes :class:`restore_drill.testing.sandbox.SandboxConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from restore_drill.process import Completed


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use.

    Attributes:
        memory: Bytes of private memory a process may hold.
        file_size: Bytes one file may grow to.
        open_files: Descriptors a process may hold.
        processes: How many cores' worth of workers a call may start.
    """

    memory: int = 2 * 2**30
    file_size: int = 2**50
    open_files: int = 1024
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Disposal:
    """How a sandbox ended: what is left (paths, for the terminal only) and why."""

    left: tuple[str, ...] = ()
    reason: str = ""
    kept: str = ""


class Call(Protocol):
    """What a function that runs inside a sandbox is given as its first argument.

    The function is called as ``function(call, **arguments)`` and returns JSON values; a :class:`RestoreDrillError` that
    it raises is raised again, with all its parts, where the call was made.
    """

    #: The work directory as seen inside the sandbox; also the current directory.
    work: Path
    #: ``time.monotonic()`` at which the caller gives up.
    until: float

    def chunks(self) -> Iterator[bytes]:
        """The bytes that the caller feeds, in order; to be consumed once."""

    def report(self, progress: Mapping[str, Any]) -> None:
        """Tell the caller how far the work is (JSON values)."""


class Pending(Protocol):
    """A call under way."""

    def result(self) -> Any:
        """Wait for the call's answer (JSON values).

        Raises:
            RestoreDrillError: What the function raised, with its verdict.
            DeadlineExceeded: It did not answer in time; its process was ended.
            SandboxDied: Its process ended on its own.
        """


class Server(Protocol):
    """A program that stays up inside the sandbox until it is stopped."""

    def stop(self) -> Completed:
        """End it in order, by force after ten seconds, and return what it wrote."""


class Sandbox(ABC):
    """A private directory and a process that may work in it."""

    name: ClassVar[str]
    #: The work directory as seen from this machine (a container's is a mount or a copy of it).
    work: Path

    @abstractmethod
    def __init__(self, base: Path, *, run: str, name: str, limits: Limits, circle: str = "") -> None:
        """Prepare a sandbox; nothing is created yet.

        Args:
            base: Directory below which it works.
            run: Id of the run, part of every name it makes.
            name: What it is for: ``<target>.<copy>``.
            limits: What it may use.
            circle: Only within it may a sandbox be handed on to another one, see :meth:`dispose`.
        """

    @abstractmethod
    def __enter__(self) -> Self:
        """Create the work directory."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Dispose of everything, without judging it."""
        self.dispose()

    @abstractmethod
    def submit(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        deadline: float,
        feed: Iterable[bytes] | None = None,
        progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Pending:
        """Start a call of one of our functions inside the sandbox.

        Args:
            function: ``package.module:name``; it is called with a ``Call`` and the arguments.
            arguments: JSON values. Paths inside the work directory only; never a secret.
            deadline: Seconds until the process is ended and the call fails.
            feed: Bytes streamed to the function; consumed before this returns.
            progress: Called with what the function reports while it works.
        """

    def call(self, function: str, arguments: Mapping[str, Any], *, deadline: float, **more: Any) -> Any:
        """Call one of our functions inside the sandbox and wait; see :meth:`submit`."""
        return self.submit(function, arguments, deadline=deadline, **more).result()

    @abstractmethod
    def exec(self, argv: Sequence[str], *, deadline: float, stdin: bytes = b"") -> Completed:
        """Run a program in the work directory to its end.

        Raises:
            ProgramMissing: It is not there.
            DeadlineExceeded: It had to be ended.
        """

    @abstractmethod
    def start(self, argv: Sequence[str], *, ready: Callable[[], bool], deadline: float) -> Server:
        """Start a server and wait until ``ready`` is true.

        Raises:
            ProgramMissing: It is not there.
            CouldNotVerify: It ended before it was ready; its output is among the details.
            DeadlineExceeded: It was not ready in time.
        """

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Kind, network state, user, limits: what evidence says about where a restore took place."""

    @abstractmethod
    def dispose(self, *, keep: bool = False, reuse: bool = False) -> Disposal:
        """End what runs, remove the work directory (unless it is to be kept), and say what is left. Repeatable.

        Args:
            keep: Leave the work directory for inspection, and say where.
            reuse: What was in it is beyond suspicion: the emptied directory, and a process that waits in it, may serve
                another sandbox of the same run, limits and circle.
        """
