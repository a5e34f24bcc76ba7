"""The ``container`` sandbox: programs run in a container, our own functions in a confined process beside it."""

from __future__ import annotations

import importlib.util
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.sandboxes.base import Disposal, Ground, Limits, Need, Pending, Sandbox, SandboxOptions
from restore_drill.sandboxes.containers import admission, client, description, inside, making, reaping, spec, watch
from restore_drill.sandboxes.containers.making import Made
from restore_drill.sandboxes.containers.programs import ContainerProgram, ContainerServer
from restore_drill.sandboxes.directory import DirectorySandbox, at_end, undisposed


class ContainerSandbox(Sandbox):
    """A container without a network for the programs of a system, and a directory sandbox for everything before.

    The payload is staged, unpacked and looked at by our own functions in the directory sandbox, whose work directory
    is this one's; :meth:`equip` makes the container, in which it can be read and nothing of it be written.

    Args:
        base: Directory below which the work directory is made.
        run: The run's id.
        name: What it is for.
        limits: What processes beside the container may use, and the container where its options say nothing.
        circle: Within which the directory may be handed on.
        options: What the target asks of its container.
    """

    name = "container"
    understands = frozenset({"image", "pull", "memory", "cpus", "processes", "disk", "host"})

    @classmethod
    def unavailable(cls, options: SandboxOptions) -> str:
        """Why no container can be made on this machine, or ``""``."""
        if importlib.util.find_spec("docker") is None:
            return "the library docker is not installed"
        try:
            client.connect(options.host)
        except CouldNotVerify as problem:
            return f"{problem.cause} ({problem.looked_at})" if problem.looked_at else problem.cause
        return ""

    @classmethod
    def inspect(cls, options: SandboxOptions) -> str:
        """The engine, and whether the image that the catalogue names is there; see :meth:`Sandbox.inspect`."""
        return description.inspect(client.connect(options.host), options)

    def __init__(
        self,
        base: Path,
        *,
        run: str,
        name: str,
        limits: Limits,
        circle: str = "",
        options: SandboxOptions = SandboxOptions(),  # noqa: B008 - frozen
    ) -> None:
        self.limits = limits
        self.options = options
        self._near = DirectorySandbox(base, run=run, name=name, limits=limits, circle=circle)
        self._run = run
        self._label = name
        self._made: Made | None = None
        self._inside: inside.Inside | None = None
        self._confirmed = ""
        self._pid = 0

    @property
    def held_up(self) -> float:
        """Seconds in which the image was pulled."""
        return self._made.image.pull_seconds if self._made is not None else 0.0

    def __enter__(self) -> Self:
        """Create the work directory; the container comes with :meth:`equip`.

        Raises:
            CouldNotVerify: It cannot be made.
        """
        self._near.__enter__()
        self.work = self._near.work
        self._pid = os.getpid()
        self._confirmed = ""
        undisposed.add(self)
        _living.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Dispose of everything, without judging it."""
        self.dispose()

    def submit(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        deadline: float,
        feed: Iterable[bytes] | None = None,
        progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Pending:
        """Start a call of one of our functions: beside the container, or in it once :meth:`enclose` was called."""
        if self._inside is not None:
            return self._inside.submit(function, arguments, deadline=deadline, feed=feed, progress=progress)
        return self._near.submit(function, arguments, deadline=deadline, feed=feed, progress=progress)

    def equip(self, need: Need) -> Ground:
        """Make the container; see :meth:`Sandbox.equip`."""
        if self._made is not None:
            raise UsageProblem("the sandbox is equipped already", remedy="Make another one.")
        self._make(client.connect(self.options.host), need, self.limits, making.House())
        return self._equipped().ground()

    def _make(self, engine: client.Engine, need: Need, limits: Limits, house: making.House) -> None:
        bounds = spec.Bounds.of(limits, self.options, watch.size(self.work))
        owner = making.Owner(self.work.parent.parent, self._run, self._label)
        reaping.note(owner.directory, engine.host)
        self._made = Made(engine, need, self.options, bounds, owner, self.work, house)

    def enclose(self) -> None:
        """Have our own functions run in a container; see :meth:`Sandbox.enclose`."""
        if self._made is not None:
            raise UsageProblem("the sandbox is equipped already", remedy="Make another one.")
        engine = client.connect(self.options.host)
        if engine.remote:
            raise CouldNotVerify(
                "functions of ours run in containers of this machine's own engine only",
                looked_at=engine.host,
                remedy="Set sandbox: directory, or leave out the sandbox's host.",
            )
        limits = inside.limits_of(self.limits, self.options)
        self._make(engine, inside.need(), limits, inside.house(self.work.parent))
        self._inside = inside.Inside(self._equipped().keeper, self.work, self.limits)

    def admit(self, path: Path) -> str:
        """Let programs read something of the work directory; see :meth:`Sandbox.admit`.

        Raises:
            CouldNotVerify: It cannot be opened to them, or be sent to where they are.
        """
        return admission.admit(self._equipped(), self.work, path)

    def begin(
        self, argv: Sequence[str], *, deadline: float, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> ContainerProgram:
        """Run a program without waiting for it; see :meth:`Sandbox.begin`."""
        keeper = self._equipped().keeper
        return ContainerProgram(keeper, argv, keeper.begin(argv, stdin, environment), deadline)

    def start(
        self,
        argv: Sequence[str],
        *,
        ready: Callable[[], bool],
        deadline: float,
        environment: Mapping[str, str] | None = None,
    ) -> ContainerServer:
        """Start a server and wait until ``ready`` is true; see :meth:`Sandbox.start`."""
        server = ContainerServer(self._equipped().keeper, argv, dict(environment or {}))
        server.await_ready(ready, deadline)
        return server

    def facts(self) -> dict[str, Any]:
        """Kind, engine, image, network state as the engine reports it, account, limits, mounts; and what is beside."""
        beside = self._near.facts()
        if self._made is None:
            return {**beside, "kind": self.name}
        return {"kind": self.name, **description.describe(self._made), "beside": beside}

    def dispose(self, *, keep: bool = False, reuse: bool = False) -> Disposal:
        """Remove the container, ask the engine whether it is gone, then dispose of the work directory. Repeatable.

        Args:
            keep: Leave the work directory, which has the payload; what programs wrote goes with the container.
            reuse: See :meth:`Sandbox.dispose`.
        """
        made = self._made
        left: list[str] = []
        if self._inside is not None:
            self._inside.close()
            self._inside = None
        if made is not None:
            left, confirmed = made.remove()
            self._confirmed = confirmed
            if not left:
                self._made = None
            admission.close_way(self.work)
        beside = self._near.dispose(keep=keep, reuse=reuse)
        left += beside.left
        if not left:
            undisposed.discard(self)
            _living.discard(self)
        reason = "the container engine did not confirm its removal" if made and self._made else beside.reason
        return Disposal(tuple(left), reason, beside.kept, self._confirmed)

    def _equipped(self) -> Made:
        if self._made is None:
            raise UsageProblem("the sandbox has no programs yet", remedy="Equip it first.")
        return self._made

    def _let_go(self) -> None:
        if self._made is not None:
            self._made.keeper.let_go()
            self._made = None


def _forget() -> None:
    """In a forked copy of a process, containers are its parent's: their connections are closed and nothing else."""
    for sandbox in list(_living):
        sandbox._let_go()
    _living.clear()


_living: weakref.WeakSet[ContainerSandbox] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget)
at_end.append(client.close_all)
