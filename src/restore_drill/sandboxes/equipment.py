"""What the programs of a directory sandbox are given: an account, a ground, and a view of the file system."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.process import BARE_ENVIRONMENT
from restore_drill.sandboxes import accounts, workspace
from restore_drill.sandboxes.accounts import Account
from restore_drill.sandboxes.base import Ground, Limits, Need
from restore_drill.sandboxes.isolation import Isolation
from restore_drill.sandboxes.removal import remove_tree

#: Where a machine has its sockets and temporary files.
_HIDDEN = ("/tmp", "/var/tmp", "/run", "/var/run")  # noqa: S108 - as above
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - as above
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Equipment:
    """A ground that was prepared.

    Attributes:
        account: Who programs run as.
        ground: Where they work.
        settings: What their processes are told at their start.
        environment: Variables besides the bare ones.
        inside: The sandbox's directory as programs see it.
        sockets: What has the directory of sockets, to be closed at the end.
        writes_held: Whether the kernel holds programs to their ground.
    """

    account: Account
    ground: Ground
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    inside: Path
    sockets: workspace.RunDirectory
    writes_held: bool

    def facts(self) -> dict[str, Any]:
        """What evidence says of programs: account and version, and whether the payload is safe from them."""
        safe = self.account.change or bool(self.writes_held)
        return {"programs": dict(self.ground.facts), "payload": "read-only" if safe else "as the user may"}

    def path_of(self, path: Path, place: workspace.Place) -> str:
        """A path of the work directory as programs see it."""
        if not path.is_relative_to(place.work) or ".." in path.parts:
            raise UsageProblem("a path outside the work directory cannot be admitted", looked_at=str(path))
        return str(self.inside / path.relative_to(place.directory))


def prepare(
    need: Need, found: Mapping[str, Path], place: workspace.Place, isolation: Isolation, limits: Limits
) -> Equipment:
    """Make a ground beside a sandbox's work directory.

    Raises:
        CouldNotVerify: It cannot be made, or the account could not get there.
    """
    account = accounts.choose(need.user, isolation)
    sockets = workspace.RunDirectory(workspace.SHORT, workspace.SOCKETS)
    try:
        return _prepare(need, found, place, isolation, limits, account, sockets)
    except OSError as problem:
        take_back(place, sockets)
        raise CouldNotVerify(
            f"no place for programs can be made: {problem.strerror}",
            looked_at=str(place.directory),
            remedy="Make room there, or name another directory for restores.",
        ) from problem
    except BaseException:
        take_back(place, sockets)
        raise


def take_back(place: workspace.Place, sockets: workspace.RunDirectory) -> list[str]:
    """Remove a ground, so that another one may be made, and return what is left."""
    return [*sockets.close(), *remove_tree(place.data), *remove_tree(place.home)]


def _prepare(
    need: Need,
    found: Mapping[str, Path],
    place: workspace.Place,
    isolation: Isolation,
    limits: Limits,
    account: Account,
    sockets: workspace.RunDirectory,
) -> Equipment:
    own_view = isolation.mounts == "own"
    inside = sockets.path / "g" if own_view else place.directory
    own_sockets = sockets.path / "s"
    for path in (place.data, place.home, own_sockets):
        _make(path, account)
    if account.change:
        for path in (place.directory, place.work):
            workspace.let_pass(path, account.group, others=False)
        workspace.let_pass(sockets.path, account.group, others=True)
        if not own_view:
            _open_way(place.directory.parent, account)
            _open_way(sockets.path, account)
    directories = list(dict.fromkeys(found.values()))
    data, home = inside / place.data.name, inside / place.home.name
    settings: dict[str, Any] = {
        "work": str(data),
        "scratch": str(home),
        "writable": [str(data), str(home), str(own_sockets)],
        "tasks": limits.tasks + accounts.tasks_of(account.user, isolation),
    }
    if account.change:
        settings["account"] = [account.user, account.group]
        if isolation.processes == "own" and accounts.counts_apart():
            settings["tasks_apart"] = limits.tasks
    if own_view:
        hidden = (*_HIDDEN, *(accounts.belongings(account) if account.change else ()))
        settings["hide"] = {**dict.fromkeys(hidden, 0), _SHARED_MEMORY: max(need.shared_memory, 1 << 20)}
        settings["show"] = [
            [str(place.directory), str(inside)],
            [str(own_sockets)] * 2,
            *_shown(directories, settings["hide"]),
        ]
        settings["writable"].append(_SHARED_MEMORY)
    search = os.pathsep.join((*map(str, directories), BARE_ENVIRONMENT["PATH"], _SYSTEM_PATH))
    facts = {"kind": "directory", "account": account.name}
    ground = Ground(str(data), str(own_sockets), own_sockets, facts)
    return Equipment(account, ground, settings, {"PATH": search}, inside, sockets, isolation.landlock > 0)


def _make(path: Path, account: Account) -> None:
    path.mkdir(mode=0o700)
    if account.change:
        os.chown(path, account.user, account.group)


def _shown(directories: Iterable[Path], hidden: Iterable[str]) -> list[list[str]]:
    """Programs that are installed where something is hidden, with what they bring along."""
    closed = [Path(each) for each in hidden]
    shown = set()
    for directory in directories:
        real = directory.resolve()
        if any(real.is_relative_to(each) for each in closed):
            trees = {_tree(directory, closed), _tree(real, closed)}
            shown |= {(str(tree.resolve()), str(tree)) for tree in trees if tree.resolve() not in closed}
    return [list(pair) for pair in sorted(shown)]


def _tree(directory: Path, closed: Iterable[Path]) -> Path:
    whole = directory.name in ("bin", "sbin") and directory.parent not in closed
    return directory.parent if whole else directory


def _open_way(run: Path, account: Account) -> None:
    """Let an account pass through a run directory and what is around it, of which only ours is changed."""
    workspace.let_pass(run, account.group, others=True)
    workspace.let_pass(run.parent, account.group, others=True)
    for above in run.parent.parents:
        state = above.stat()
        bit = 0o100 if state.st_uid == account.user else 0o010 if state.st_gid == account.group else 0o001
        if not state.st_mode & bit:
            raise CouldNotVerify(
                f"programs run as {account.name}, who may not enter the directory that is restored into",
                looked_at=str(above),
                remedy="Name a directory for restores that other users may pass through, such as /var/tmp.",
            )
