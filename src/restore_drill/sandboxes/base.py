"""The contract of a sandbox: where hostile bytes may be touched.

A sandbox is a work directory and a way to run things over it. It MUST

* be entered before and left after use; leaving it, however that comes about, ends what runs in it, unless whoever
  disposes of it allows that an idle process waits in the emptied directory for the next one;
* give what runs in it an emptied environment, no credential of ours, bounded memory, file size and time;
* survive whatever the bytes do to a call: the call fails, the next one runs in a fresh process;
* run programs as an account without privileges, with no network, where the payload can be read and only ``Ground``
  be written to;
* say in ``facts`` what its network state is, without promising more than it enforces;
* leave nothing behind after ``dispose``, and say what it could not remove.

Every sandbox passes :class:`restore_drill.testing.sandbox.SandboxConformance` and
:class:`restore_drill.testing.programs.ProgramsConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from restore_drill.errors import CouldNotVerify
from restore_drill.process import Completed


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use.

    Attributes:
        memory: Bytes of private memory a process may hold.
        file_size: Bytes one file may grow to.
        open_files: Descriptors a process may hold.
        processes: How many cores' worth of workers a call may start.
        disk: Bytes that programs may write altogether, where that can be watched (``facts`` says so).
        tasks: Processes and threads that programs may have at once, where that can be bounded.
    """

    memory: int = 2 * 2**30
    file_size: int = 2**50
    open_files: int = 1024
    processes: int = 1
    disk: int = 2**50
    tasks: int = 1024


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What the catalogue asks of a target's sandbox; what is ``None`` follows from :class:`Limits`.

    Attributes:
        image: The image to use instead of the one that the backup's version leads to; may be pinned by digest.
        pull: ``missing``, ``never`` or ``always``.
        memory: Bytes of memory: a container's altogether, otherwise each process's own.
        cpus: How many processors' time it may use.
        processes: Processes and threads it may have at once.
        disk: Bytes it may write altogether.
        host: The container engine: ``unix:///run/podman/podman.sock``, ``tcp://…``, ``ssh://…``; ``""`` is what
            ``DOCKER_HOST`` says, or the local one.
    """

    image: str = ""
    pull: str = "missing"
    memory: int | None = None
    cpus: float | None = None
    processes: int | None = None
    disk: int | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a container's own that is there, with its content, before anything runs in it.

    Attributes:
        place: Where it is mounted; an absolute path of the container.
        tree: A directory below the work directory that becomes its root, with owners, modes and times as they are.
        owned: Whether its owners are those of the backup; where they are not, all of it becomes the account's.
    """

    place: str
    tree: Path
    owned: bool = True


@dataclass(frozen=True, slots=True)
class Need:
    """What an engine wants to find in a sandbox before it runs programs there.

    Attributes:
        system: What it is: ``postgres``. Part of messages and of the image's name.
        version: Which one: ``15``; ``""`` for any.
        programs: What will be run, by bare name.
        image: The image that has them when the catalogue names no other: ``postgres:15``.
        user: The account that programs run as, in the image as on this machine: ``postgres``.
        places: Directories of this machine where the programs of this version are looked for, before ``PATH``. A ``*``
            stands for any version, the newest first.
        package: What to install when a program is missing: ``postgresql-15``.
        shared_memory: Bytes of ``/dev/shm`` that the programs need.
        newer: Whether a later version does as well: this machine has one, and an image is of the version itself.
        volumes: What programs find mounted and may write to; containers only.
        hosts: Names that programs find under addresses of their own loopback (127.0.0.2), in pairs; containers only.
    """

    system: str
    version: str = ""
    programs: tuple[str, ...] = ()
    image: str = ""
    user: str = ""
    places: tuple[str, ...] = ()
    package: str = ""
    shared_memory: int = 64 * 2**20
    newer: bool = False
    volumes: tuple[Volume, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ground:
    """Where programs work; paths as they see them.

    Attributes:
        data: An empty directory that belongs to the account, mode 0700: servers keep their data in it.
        sockets: A directory for Unix sockets; its path is short.
        reachable: The same directory of sockets as seen from this machine, or ``None`` where it cannot be (an engine on
            another machine).
        facts: What evidence says about the programs: image and digest, or package and version.
        command: What the image itself would start: its entry point and its command.
        environment: The image's own variables.
        directory: Where the image's own command starts.
    """

    data: str
    sockets: str
    reachable: Path | None
    facts: Mapping[str, Any]
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Disposal:
    """How a sandbox ended: what is left (paths, for the terminal only) and why.

    Attributes:
        left: What could not be removed.
        reason: Why.
        kept: Where what was to be kept is now.
        confirmed: How and when it was confirmed that nothing is left, where somebody else had to remove it.
    """

    left: tuple[str, ...] = ()
    reason: str = ""
    kept: str = ""
    confirmed: str = ""


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


class Running(Protocol):
    """A program under way."""

    def result(self) -> Completed:
        """Wait for its end.

        Raises:
            ProgramMissing: It is not there.
            DeadlineExceeded: It had to be ended; a container is ended as a whole, and nothing can be run in it
                any more.
            CouldNotVerify: Its sandbox ended, and why.
        """


class Server(Protocol):
    """A program that stays up inside the sandbox until it is stopped."""

    def ended(self) -> bool:
        """Whether it has ended on its own; returns at once."""

    def stop(self) -> Completed:
        """End it in order, by force after ten seconds, and return what it wrote."""


class Sandbox(ABC):
    """A private directory and a process that may work in it."""

    name: ClassVar[str]
    #: Names of the :class:`SandboxOptions` that mean something to this kind.
    understands: ClassVar[frozenset[str]] = frozenset()
    #: The work directory as seen from this machine (a container's is a mount or a copy of it).
    work: Path

    @property
    def held_up(self) -> float:
        """Seconds in which it waited for what is no part of a restore: the pull of an image."""
        return 0.0

    @classmethod
    def unavailable(cls, options: SandboxOptions) -> str:  # noqa: ARG003 - others depend on an engine
        """Why this kind cannot be used on this machine, in a few words, or ``""``; takes a moment at most."""
        return ""

    @classmethod
    def inspect(cls, options: SandboxOptions) -> str:  # noqa: ARG003 - as above
        """What this machine has of this kind, in a few words, for ``restore-drill doctor``.

        Raises:
            CouldNotVerify: Something is missing that a drill would miss.
        """
        return ""

    @abstractmethod
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
        """Prepare a sandbox; nothing is created yet.

        Args:
            base: Directory below which it works.
            run: Id of the run, part of every name it makes.
            name: What it is for: ``<target>.<copy>``.
            limits: What it may use.
            circle: Only within it may a sandbox be handed on to another one, see :meth:`dispose`.
            options: What the catalogue asks of it.
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

    def enclose(self) -> None:
        """Have our own functions run where programs would, from now on; once, instead of :meth:`equip`.

        For engines that run no programs (``Engine.functions_inside``). A directory sandbox confines them from its
        beginning, in its own way.

        Raises:
            CouldNotVerify: There is no container engine, or no image to run them in.
        """

    @abstractmethod
    def equip(self, need: Need) -> Ground:
        """Have the programs of a system ready, once per sandbox and after the payload is in the work directory.

        From then on ``begin``, ``exec`` and ``start`` find the system's programs by bare name and run them as its
        account in ``Ground.data``; before it, only a directory sandbox runs programs, in its work directory.

        Raises:
            ProgramMissing: A program, or this version of it, is not there; the remedy says what to install.
            CouldNotVerify: There is no container engine, or no image and no way to pull it.
        """

    @abstractmethod
    def admit(self, path: Path) -> str:
        """Let programs read a file or directory of the work directory, and return its path as they see it.

        To be called after ``equip``. Symbolic links are not followed.
        """

    @abstractmethod
    def begin(
        self, argv: Sequence[str], *, deadline: float, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> Running:
        """Run a program without waiting for it; several may run at once.

        Args:
            argv: The program and its arguments; never a secret.
            deadline: Seconds until it is ended.
            stdin: What it reads.
            environment: Variables besides the bare ones; never a secret.
        """

    def exec(
        self, argv: Sequence[str], *, deadline: float, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> Completed:
        """Run a program to its end; each of its streams is cut to the last 4 MiB.

        Raises:
            ProgramMissing: It is not there.
            DeadlineExceeded: It had to be ended.
        """
        return self.begin(argv, deadline=deadline, stdin=stdin, environment=environment).result()

    def outside(self, path: str) -> Path:
        """Where a path below ``Ground.data`` lies as seen from this machine.

        Raises:
            CouldNotVerify: It does not lie on this machine.
        """
        raise CouldNotVerify("what programs wrote cannot be seen from this machine", looked_at=path)

    def put(self, path: str, content: bytes, *, deadline: float = 60.0) -> None:
        """Write a small file where programs may write; ``path`` as they see it.

        Raises:
            CouldNotVerify: It cannot be written.
        """
        written = self.exec(["sh", "-c", 'cat >"$0"', path], deadline=deadline, stdin=content)
        if written.returncode:
            raise CouldNotVerify(
                "a file cannot be written inside the sandbox",
                looked_at=path,
                details=tuple(written.stderr.decode(errors="replace").splitlines()[-5:]),
            )

    @abstractmethod
    def start(
        self,
        argv: Sequence[str],
        *,
        ready: Callable[[], bool],
        deadline: float,
        environment: Mapping[str, str] | None = None,
    ) -> Server:
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
