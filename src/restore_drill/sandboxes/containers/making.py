"""Make a sandbox's container: image, mounts, account, start; and unmake it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.process import ProgramMissing
from restore_drill.sandboxes import workspace
from restore_drill.sandboxes.base import Ground, Need, SandboxOptions
from restore_drill.sandboxes.containers import accounts, images, keeper, labels, removing, spec, volumes
from restore_drill.sandboxes.containers.accounts import Account
from restore_drill.sandboxes.containers.client import Engine, Missing, Refused
from restore_drill.sandboxes.containers.keeper import Keeper
from restore_drill.sandboxes.containers.programs import ContainerProgram

_DEADLINE: Final = 60.0
#: Seconds in which a container that never served must be gone; what is left of one is found by its labels.
_DISCARDED: Final = 10.0
#: Where programs are looked for in an image that says nothing of it.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Prints those of its arguments that are no programs here.
_LOOK: Final = 'for program; do command -v "$program" >/dev/null 2>&1 || echo "$program"; done'
#: Docker's own words for a bind mount whose source the engine does not see; Podman's differ.
_NOT_SEEN: Final = ("bind source path does not exist", "no such file or directory")
#: And for a first process of its own that it does not have.
_NO_INIT: Final = ("docker-init", "catatonit", "init binary", "tini")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose container it is: this process's run directory, the run's id, and what it is for."""

    directory: Path
    run: str
    name: str


@dataclass(frozen=True, slots=True)
class House:
    """What a container has besides, in which functions of ours run: mounts, powers of root's, another's loopback."""

    mounts: tuple[Mapping[str, Any], ...] = ()
    powers: tuple[str, ...] = ()
    beside: str = ""


class Made:
    """A container of ours that is running, with what is known of it.

    Args:
        engine: Where it is made.
        need: What programs look for in it.
        options: What the target asks of it.
        bounds: What it may use.
        owner: Whose it is.
        work: The directory of this machine with the payload.
        house: What it has besides.

    Raises:
        ProgramMissing: The image lacks a program.
        CouldNotVerify: It cannot be made.
    """

    def __init__(
        self,
        engine: Engine,
        need: Need,
        options: SandboxOptions,
        bounds: spec.Bounds,
        owner: Owner,
        work: Path,
        house: House = House(),
    ) -> None:
        self.engine = engine
        self.need = need
        self.bounds = bounds
        self.image = images.resolve(engine, need, options)
        self.remote = engine.remote
        self._owner = owner
        self._work = work
        self._house = house
        self._config = _configuration(engine, self.image.id)
        self._sockets: Path | None = None
        self._short: workspace.RunDirectory | None = None
        self._volumes: list[str] = []
        # With powers of root's, ending all processes of the account must not end the keeper: that is the first process
        # then, which no signal from inside reaches.
        self.init = not house.powers
        self.admitted: set[PurePosixPath] = set()
        self.keeper = self._begin()
        try:
            self._look_for_programs()
        except BaseException:
            self.remove()
            raise

    def ground(self) -> Ground:
        """Where programs work in it."""
        config = self._config
        return Ground(
            spec.DATA,
            spec.SOCKETS,
            self._sockets,
            {"kind": "container", "account": self.keeper.account.name, **self.image.facts()},
            command=(*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())),
            environment=self.image.environment,
            directory=str(config.get("WorkingDir") or ""),
        )

    def remove(self) -> tuple[list[str], str]:
        """Remove it, its volumes and its sockets; returns what is left, and how it is known that nothing is."""
        gone, how = self.keeper.remove()
        left = [] if gone else [f"container {self.keeper.container[:12]}: {how}"]
        left += self._remove_surroundings() if gone else []
        return left, how if gone else ""

    def _begin(self) -> Keeper:
        """Create and start it, in the ways that this engine may need, one after another."""
        while True:
            container = ""
            try:
                container = keeper.create(self.engine, self._body())
                account = accounts.find(self.engine, container, self.need.user, self.image.user)
                self._give_sockets(account)
                keeper.lay_out(self.engine, container, account, mounted=not self.remote)
                for volume in self.need.volumes:
                    volumes.fill(self.engine, container, volume, account, budget=self.bounds.disk)
                made = Keeper(self.engine, container, account, self.bounds)
                self._start(made)
            except (Missing, Refused) as problem:
                self._discard(container)
                self._adapt(problem)
            except BaseException:
                self._discard(container)
                raise
            else:
                return made

    def _start(self, made: Keeper) -> None:
        before = _identity(self._work)
        try:
            made.start(self._sockets, self._volumes)
            self._check_work(before)
        except BaseException:
            made.remove()
            raise

    def _check_work(self, before: tuple[int, int, int]) -> None:
        """What handles the payload may write beside its work directory, and must not put a link in that's place."""
        if not self.remote and (before != _identity(self._work) or not stat.S_ISDIR(before[2])):
            raise CouldNotVerify(
                "the work directory was exchanged while the container was made",
                remedy="What unpacked the backup did it: treat the backup as hostile.",
            )

    def _adapt(self, problem: Missing | Refused) -> None:
        """Try another way, or say that there is none."""
        text = str(problem)
        ours = any(path in text for path in (str(self._work), str(self._sockets)))
        if self._house.mounts and ours:
            raise CouldNotVerify(
                "functions of ours cannot run in a container of this engine, which does not see this machine's files",
                looked_at=self.engine.host,
                remedy="Set sandbox: directory, or name an engine on this machine.",
                details=(text,),
            ) from problem
        if not self.remote and ours and any(words in text for words in _NOT_SEEN):
            # An engine behind a local socket that does not see our files: this process is in a container of its own.
            self.remote = True
        elif self.init and any(words in text for words in _NO_INIT):
            self.init = False
        else:
            raise CouldNotVerify(
                "the container engine cannot start the container",
                looked_at=self.image.reference,
                remedy="An image must have cat and sh; otherwise look at the engine's log.",
                details=(text,),
            ) from problem

    def _body(self) -> dict[str, Any]:
        owner = self._owner
        marks = labels.labels(owner.directory, owner.run, owner.name)
        mounts: list[Mapping[str, Any]] = []
        if not self.remote:
            mounts.append(spec.bind(str(self._work), spec.WORK, read_only=True))
            mounts.append(spec.bind(str(self._make_sockets()), spec.SOCKETS, read_only=False))
        mounts += self._house.mounts
        for volume in self.need.volumes:
            self._volumes.append(volumes.create(self.engine, marks))
            mounts.append(volumes.mount(self._volumes[-1], volume.place))
        return spec.creation(
            self.image.id,
            bounds=self.bounds,
            labels=marks,
            mounts=mounts,
            volumes=self.image.volumes,
            shared_memory=self.need.shared_memory,
            path=":".join((*self.need.places, self.image.environment.get("PATH") or _PATH)),
            init=self.init,
            checked=bool(self._config.get("Healthcheck")),
            powers=self._house.powers,
            hosts=self.need.hosts,
            beside=self._house.beside,
        )

    def _make_sockets(self) -> Path:
        """A directory that the account and this process may use, and nobody else: those above it are ours alone.

        It is not in the sandbox's own directory, where what handles the payload could put a link in its place.
        """
        if self._sockets is None:
            self._short = workspace.RunDirectory(workspace.SHORT, workspace.SOCKETS)
            path = self._short.path / "s"
            path.mkdir(mode=0o700)
            path.chmod(0o777)
            self._sockets = path
        return self._sockets

    def _give_sockets(self, account: Account) -> None:
        """Where this process may, have their directory belong to the account, as some servers insist."""
        if self._sockets is not None and os.geteuid() == 0:
            os.chown(self._sockets, account.user, account.group)
            self._sockets.chmod(0o700)

    def _remove_surroundings(self) -> list[str]:
        """Remove what only the container used, and return what is left."""
        left = [f"volume {name}" for name in volumes.remove(self.engine, self._volumes)]
        self._volumes = []
        if self._short is not None:
            left += self._short.close()
        self._short = self._sockets = None
        return left

    def _discard(self, container: str) -> None:
        if container:
            removing.remove(self.engine, "container", container, seconds=_DISCARDED)
        self._remove_surroundings()

    def _look_for_programs(self) -> None:
        key = (self.engine.host, self.image.id, *self.need.places, "", *self.need.programs)
        if not self.need.programs or key in _complete:
            return
        argv = ["sh", "-c", _LOOK, "sh", *self.need.programs]
        found = ContainerProgram(self.keeper, argv, self.keeper.begin(argv, b"", None), _DEADLINE).result()
        absent = found.stdout.decode(errors="replace").split()
        if absent or found.returncode:
            raise ProgramMissing(
                f"the image for {self.need.system} has no program {', '.join(absent) or 'to look for others'}",
                looked_at=self.image.reference,
                remedy=f"Name an image that has {self.need.package or self.need.system}.",
            )
        _complete.add(key)


def _configuration(engine: Engine, image: str) -> Mapping[str, Any]:
    key = (engine.host, image)
    if key not in _configurations:
        try:
            with engine.asking("describe an image"):
                _configurations[key] = engine.api.inspect_image(image).get("Config") or {}
        except (Missing, Refused) as problem:
            raise CouldNotVerify("the image is gone", looked_at=image, remedy="Pull or build it again.") from problem
    return _configurations[key]


def _identity(path: Path) -> tuple[int, int, int]:
    state = os.lstat(path)
    return state.st_dev, state.st_ino, state.st_mode


_configurations: dict[tuple[str, str], Mapping[str, Any]] = {}
_complete: set[tuple[str, ...]] = set()
