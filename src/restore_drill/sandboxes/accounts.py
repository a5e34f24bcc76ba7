"""Which account the programs of a directory sandbox run as."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.isolation import Isolation

#: Where systems keep their data.
_STATE = Path("/var/lib")
#: The first kernel that counts a user's processes by user namespace.
_COUNTED_APART = (5, 14)
_NOBODY = "nobody"
_NOBODY_NUMBER = 65534


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine; ``change`` says whether it is another one than ours."""

    name: str
    user: int
    group: int
    change: bool


def choose(wanted: str, isolation: Isolation) -> Account:
    """The account for a system's programs: our own, or as root the system's own, or else ``nobody``.

    The system's own account may own a real system's files and be let in at its socket by name. It is taken only where
    programs see no socket of this machine and write nowhere but in their ground.

    Raises:
        CouldNotVerify: They would run as root.
    """
    own = os.geteuid()
    if own != 0:
        return Account(_name_of(own), own, os.getegid(), change=False)
    if not isolation.accounts:
        raise CouldNotVerify(
            "programs would have to run as root: this process may not change its user",
            remedy="Run it as an ordinary user, or with the capabilities SETUID, SETGID and KILL.",
        )
    cut_off = isolation.mounts == "own" and isolation.landlock > 0
    for name in (wanted, _NOBODY) if cut_off else (_NOBODY,):
        try:
            entry = pwd.getpwnam(name)
        except (KeyError, ValueError):
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid, change=True)
    return Account(_NOBODY, _NOBODY_NUMBER, _NOBODY_NUMBER, change=True)


def belongings(account: Account) -> list[str]:
    """Directories that are an account's own on this machine: the data of a real system may be in them."""
    found = {str(path) for path in _STATE.iterdir()} if _STATE.is_dir() else set()
    with contextlib.suppress(KeyError):
        found.add(pwd.getpwuid(account.user).pw_dir)
    return sorted(path for path in found if _is_owned(Path(path), account.user))


def _is_owned(path: Path, user: int) -> bool:
    try:
        state = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == user


def counts_apart() -> bool:
    """Whether the kernel counts a user's processes in each user namespace on their own."""
    return _release() >= _COUNTED_APART


def tasks_of(user: int, isolation: Isolation) -> int:
    """How many processes and threads a user has on this machine, as far as the kernel counts them against its limit."""
    if isolation.user_namespace and counts_apart():
        return 0
    count = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if process.stat().st_uid == user:
                    count += sum(1 for _ in (process / "task").iterdir())
            except OSError:
                continue  # it has ended
    return count


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
