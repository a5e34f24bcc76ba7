"""Let an application in one container reach restored servers of other sandboxes, without a network.

Restored servers listen on Unix sockets only, and have no network. A container beside the application's shares that
one's loopback, on which nothing but the two of them is, and passes connections on to the sockets: the application finds
each server under a name and its usual port, as in production, and can reach nothing else. A network of the engine's own
would be less cut off: even an internal one leads to the machine that it is on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import restore_drill
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.sandboxes.container import ContainerSandbox
from restore_drill.sandboxes.containers import client, inside, making, spec

_LIBRARY: Final = f"{spec.ROOT}/relaying.py"
_DOORS: Final = f"{spec.ROOT}/doors"
_READY: Final = f"{spec.SCRATCH}/ready"
#: Seconds in which the doors are open.
_OPEN_IN: Final = 60.0
#: The directories of sockets belong to the servers' accounts.
_POWERS: Final = ("DAC_OVERRIDE",)
_MEMORY: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Door:
    """A server that an application may reach.

    Attributes:
        address: Of the application's loopback.
        port: Where it looks for the server.
        socket: The server's, on this machine.
    """

    address: str
    port: int
    socket: Path


class RelaySandbox(ContainerSandbox):
    """A container that shares the loopback of another one, and opens doors there."""

    def open(self, application: ContainerSandbox, doors: Sequence[Door]) -> None:
        """Open the doors for an application whose container is made and whose programs are not started.

        Raises:
            CouldNotVerify: There is no image to run them in, the containers are on another machine, or a server cannot
                be reached from here.
        """
        if self._made is not None:
            raise UsageProblem("the doors are open already", remedy="Open them once.")
        beside = application._equipped()
        if beside.remote:
            raise CouldNotVerify(
                "an application on another machine cannot reach servers that were restored on this one",
                looked_at=beside.engine.host,
                remedy="Let the set's application run in this machine's own container engine.",
            )
        mounts, inner = self._mounts(doors)
        powers = _POWERS if os.geteuid() == 0 else ()
        house = making.House(mounts, powers, beside.keeper.container)
        limits = replace(self.limits, memory=_MEMORY)
        self._make(client.connect(self.options.host), inside.need(), limits, house)
        asked = {"doors": [[door.address, door.port, path] for door, path in zip(doors, inner, strict=True)]}
        argv = ["python3", "-I", "-B", _LIBRARY, json.dumps({**asked, "ready": _READY})]
        self.start(argv, ready=self._is_open, deadline=_OPEN_IN)

    def _mounts(self, doors: Sequence[Door]) -> tuple[tuple[dict[str, Any], ...], list[str]]:
        """The script and the directories of sockets; and what the sockets are called there."""
        script = Path(restore_drill.__file__).parent / "sandboxes" / "containers" / "relaying.py"
        mounts = [spec.bind(str(script), _LIBRARY, read_only=True)]
        inner = []
        for number, door in enumerate(doors):
            mounts.append(spec.bind(str(door.socket.parent), f"{_DOORS}/{number}", read_only=True))
            inner.append(f"{_DOORS}/{number}/{door.socket.name}")
        return tuple(mounts), inner

    def _is_open(self) -> bool:
        return self.exec(["test", "-e", _READY], deadline=_OPEN_IN).returncode == 0
