"""What a container of ours looks like before it exists: cut off, without powers, bounded, gone with its owner."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from restore_drill.process import BARE_ENVIRONMENT
from restore_drill.sandboxes.base import Limits, SandboxOptions
from restore_drill.sandboxes.containers.accounts import NOBODY

#: Everything of ours in a container is below it.
ROOT: Final = "/drill"
DATA: Final = f"{ROOT}/data"
SOCKETS: Final = f"{ROOT}/sockets"
WORK: Final = f"{ROOT}/work"
SCRATCH: Final = f"{ROOT}/tmp"  # noqa: S108 - in the container
#: Its first process: it ends with its standard input, which is a connection of ours, and with it everything else.
KEEPER: Final = ("cat",)
_NANO: Final = 10**9
#: The first process, and what the engine puts before it.
_TASKS_OF_OURS: Final = 2
#: The part of the memory that one place for volumes may take.
_SHARE: Final = 4
#: The smallest memory that engines accept.
_LEAST_MEMORY: Final = 16 * 2**20
#: What a container may write where nobody says: so many bytes, and so many times the payload. Dumps compress to a fifth
#: and less, indexes are built anew, and temporary files come on top of both.
_DISK: Final = 20 * 2**30
_TIMES: Final = 30
#: What holds for every container, whatever runs in it.
_CUT_OFF: Final[Mapping[str, Any]] = {
    "NetworkMode": "none",
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges"],
    "Privileged": False,
    "IpcMode": "private",
    "AutoRemove": True,
    "LogConfig": {"Type": "none"},
    "RestartPolicy": {"Name": "no"},
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a container may use.

    Attributes:
        memory: Bytes of memory, all processes together; there is no swap besides.
        disk: Bytes written altogether.
        tasks: Processes and threads.
        cpus: Processors' time, 0 for as much as there is.
        file_size: Bytes of one file.
        open_files: Descriptors of one process.
    """

    memory: int
    disk: int
    tasks: int
    cpus: float
    file_size: int
    open_files: int

    @classmethod
    def of(cls, limits: Limits, options: SandboxOptions, payload: int) -> Bounds:
        """What a target asked for, and the sandbox's limits where it asked for nothing.

        Args:
            limits: The sandbox's.
            options: The target's.
            payload: Bytes of what is restored: where nobody bounded the disk, it is bounded in proportion to that.
        """
        return cls(
            memory=max(_LEAST_MEMORY, options.memory or limits.memory),
            disk=options.disk or min(limits.disk, _DISK + _TIMES * payload),
            tasks=options.processes or limits.tasks,
            cpus=options.cpus or 0.0,
            file_size=limits.file_size,
            open_files=limits.open_files,
        )


def creation(
    image: str,
    *,
    bounds: Bounds,
    labels: Mapping[str, str],
    mounts: Sequence[Mapping[str, Any]],
    volumes: Sequence[str],
    shared_memory: int,
    path: str,
    init: bool,
    checked: bool = False,
    powers: Sequence[str] = (),
    hosts: Sequence[tuple[str, str]] = (),
    beside: str = "",
) -> dict[str, Any]:
    """The body of ``POST /containers/create``.

    Args:
        image: Its id.
        bounds: What it may use.
        labels: What it is told by.
        mounts: Bind mounts and volumes.
        volumes: Places where the image declares volumes: what is written there is in memory, and bounded with it; an
            engine's own volume would be past the watch over the disk.
        shared_memory: Bytes of ``/dev/shm``.
        path: Where programs are looked for.
        init: Have the engine's own first process collect what orphans leave.
        checked: The image has a check of its health, which is not to be run.
        powers: Those of root's that programs keep.
        hosts: Names and addresses of its own loopback that they stand for.
        beside: The container whose loopback it shares, and with it nothing else: that one has no network either.
    """
    network, way_out = _network(hosts, beside)
    taken = {str(mount["Target"]) for mount in mounts}
    return {
        "Image": image,
        **_first_process(path, powers),
        "Labels": dict(labels),
        **network,
        **({"Healthcheck": {"Test": ["NONE"]}} if checked else {}),
        "HostConfig": {
            **_CUT_OFF,
            **way_out,
            "CapAdd": list(powers),
            "Init": init,
            "Mounts": [dict(mount) for mount in mounts],
            "Tmpfs": _in_memory((place for place in volumes if place not in taken), bounds.memory // _SHARE),
            "ShmSize": shared_memory,
            **_limits(bounds),
        },
    }


def _first_process(path: str, powers: Sequence[str]) -> dict[str, Any]:
    environment = {**BARE_ENVIRONMENT, "PATH": path, "HOME": SCRATCH, "TMPDIR": SCRATCH}
    return {
        "Entrypoint": list(KEEPER),
        "Cmd": [],
        # Programs get their powers from the first process's: an engine gives none to that of an ordinary user.
        "User": "0:0" if powers else f"{NOBODY}:{NOBODY}",
        "WorkingDir": "/",
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "AttachStdin": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "Tty": False,
    }


def _network(hosts: Sequence[tuple[str, str]], beside: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a container and its host say of it: there is none; or names of its own loopback; or another's loopback.

    An engine writes names, and joins a container to another's loopback, only where networks are not off.
    """
    if beside:
        if hosts:
            raise ValueError("a container beside another one has that one's names")
        return {"NetworkDisabled": False}, {"NetworkMode": f"container:{beside}"}
    named = {"ExtraHosts": [f"{name}:{address}" for name, address in hosts]} if hosts else {}
    return {"Hostname": "drill", "NetworkDisabled": not hosts}, named


def _in_memory(places: Iterable[str], size: int) -> dict[str, str]:
    return dict.fromkeys(places, f"rw,noexec,nosuid,nodev,mode=1777,size={size}")


def bind(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    """A directory of this machine, mounted; that it is there is the engine's to check."""
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _limits(bounds: Bounds) -> dict[str, Any]:
    ulimits = [("core", 0), ("nofile", bounds.open_files)]
    if bounds.file_size < Limits().file_size:
        ulimits.append(("fsize", bounds.file_size))
    return {
        "Memory": bounds.memory,
        "MemorySwap": bounds.memory,
        "PidsLimit": bounds.tasks + _TASKS_OF_OURS,
        "NanoCpus": math.floor(bounds.cpus * _NANO),
        "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in ulimits],
    }
