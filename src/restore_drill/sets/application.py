"""The application of a set: its own image, over everything that came back, cut off from everything else."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from restore_drill import disk
from restore_drill.catalogue.sets import SetApplication
from restore_drill.engines.base import Restored
from restore_drill.engines.volume_application import Application
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.plan import PlannedTarget
from restore_drill.process import ProgramMissing
from restore_drill.registry import load
from restore_drill.run import Run
from restore_drill.sandboxes.base import Disposal, Limits, Need, SandboxOptions, Volume
from restore_drill.sandboxes.container import ContainerSandbox
from restore_drill.sandboxes.containers.relay import Door, RelaySandbox

#: Each server has an address of the loopback to itself, so that two of a kind keep their usual port.
_ADDRESS: Final = "127.0.0.{}"
_FIRST: Final = 2
_STARTED_IN: Final = 60.0
#: Bytes that an application may write besides its copies of what came back.
_DISK: Final = 20 * 2**30
_READABLE: Final = 0o666


class Booted:
    """An application on its way up.

    Args:
        name: Of the set.
        rule: What the catalogue says of it.
        members: The targets of the set that came back, and how.
        run: Shared by all drills of this process.
    """

    def __init__(
        self, name: str, rule: SetApplication, members: Mapping[str, tuple[PlannedTarget, Restored]], run: Run
    ) -> None:
        self._rule = rule
        self._members = members
        self._copied_bytes = sum(int(members[name][1].facts.get("bytes", 0)) for name in rule.mounts)
        room = rule.disk or _DISK + 2 * self._copied_bytes
        options = SandboxOptions(image=rule.image, pull=rule.pull, memory=rule.memory, disk=room)
        limits = Limits(processes=run.threads)
        self._sandbox = ContainerSandbox(
            run.work_dir, run=run.id, name=f"{name}.application", limits=limits, options=options
        )
        relay = SandboxOptions(image=rule.relay_image or "", pull="never" if rule.pull == "never" else "missing")
        self._relay = RelaySandbox(run.work_dir, run=run.id, name=f"{name}.relay", limits=limits, options=relay)
        self._entered: list[ContainerSandbox] = []

    def boot(self) -> dict[str, Any]:
        """Start it and ask until it answers as it should or the time is over.

        Returns:
            What :meth:`Application.ask` finds, ``seconds`` from making its container, ``sandbox`` and ``notes``.

        Raises:
            CouldNotVerify: It cannot be started here.
        """
        clock = time.monotonic()
        doors, hosts, notes = self._doors()
        self._enter(self._sandbox)
        disk.require(self._sandbox.work, self._copied_bytes, "the application's copies of what came back")
        need = Need(
            system="the application",
            programs=("sh",),
            user=self._rule.user or "",
            volumes=tuple(self._volumes()),
            hosts=hosts,
        )
        ground = self._sandbox.equip(need)
        if doors:
            self._enter(self._relay)
            self._relay.open(self._sandbox, doors)
        found = self._try(Application(self._sandbox, ground, self._rule.command, self._rule.environment))
        facts = {**self._sandbox.facts(), "reaches": [f"{name} at {address}" for name, address in hosts]}
        return {**found, "seconds": time.monotonic() - clock, "sandbox": facts, "notes": notes}

    def _try(self, application: Application) -> dict[str, Any]:
        """Start it, and ask until it answers as it should; what an image lacks is told in a set's words."""
        health, until = self._rule.health, time.monotonic() + self._rule.within.total_seconds()
        asked = {"port": health.port, "path": health.path, "status": health.status, "contains": health.contains}
        try:
            application.start(_STARTED_IN)
            return application.ask(asked, max(1.0, until - time.monotonic()))
        except ProgramMissing as problem:
            problem.remedy = "Correct the command, or the image, of the set's application."
            raise
        except CouldNotVerify as problem:
            if "no program of the image can ask" in problem.cause:
                problem.remedy = "Name an image with one of them in it for the set's application."
            raise

    def dispose(self) -> Disposal:
        """End it and remove everything of it; what could not be removed is told."""
        disposals = [sandbox.dispose() for sandbox in reversed(self._entered)]
        left = tuple(each for disposal in disposals for each in disposal.left)
        confirmed = "; ".join(disposal.confirmed for disposal in disposals if disposal.confirmed)
        return Disposal(left, next((each.reason for each in disposals if each.left), ""), confirmed=confirmed)

    def _enter(self, sandbox: ContainerSandbox) -> None:
        sandbox.__enter__()
        self._entered.append(sandbox)

    def _doors(self) -> tuple[list[Door], tuple[tuple[str, str], ...], list[str]]:
        """A door for each server; the names under which the application finds them; remarks."""
        doors: list[Door] = []
        names: list[tuple[str, str]] = []
        notes: list[str] = []
        servers = [name for name, (target, _) in self._members.items() if load("engines", target.model.engine).port]
        for number, name in enumerate(servers, _FIRST):
            target, restored = self._members[name]
            address = _ADDRESS.format(number)
            login = self._rule.logins.get(name)
            served = restored.serve(login.user, login.password) if login else restored.serve("", "")
            doors.append(Door(address, load("engines", target.model.engine).port, served.socket))
            others = [host for host, meant in self._rule.hosts.items() if meant == name]
            names += [(host, address) for host in (name, *others)]
            notes += served.notes
        return doors, tuple(names), notes

    def _volumes(self) -> list[Volume]:
        """A copy of each tree where the application wants it; of a database that is a file, a tree with that file."""
        found = []
        for name, place in self._rule.mounts.items():
            path = Path(self._members[name][1].path)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise CouldNotVerify(f"what came back of {name} is nothing that can be mounted", stage=Stage.CONTENT)
            if path.is_dir():
                found.append(Volume(place, path))
            else:
                inside = PurePosixPath(place)
                found.append(Volume(str(inside.parent), self._copied(name, path, inside.name)))
        return found

    def _copied(self, name: str, path: Path, called: str) -> Path:
        """A tree of one file, which any account of the application's container may write to: nobody else sees it."""
        tree = self._sandbox.work / f"mount-{name}"
        tree.mkdir(mode=0o777)
        tree.chmod(0o777)
        for ending in ("", "-wal"):
            source = path.with_name(path.name + ending)
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with open(descriptor, "rb") as reader, (tree / (called + ending)).open("xb") as writer:  # noqa: PTH123
                    shutil.copyfileobj(reader, writer, 1 << 20)
                (tree / (called + ending)).chmod(_READABLE)
        return tree
