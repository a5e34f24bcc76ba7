"""The few Linux calls that Python has no function for, through the C library."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_LIBC = ctypes.CDLL(None, use_errno=True)

# unshare(2), setns(2)
NEWNS: Final = 0x00020000
NEWIPC: Final = 0x08000000
NEWUSER: Final = 0x10000000
NEWPID: Final = 0x20000000
NEWNET: Final = 0x40000000

# mount(2)
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18

# prctl(2)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

# capabilities(7)
CAPABILITIES: Final = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_ADMIN": 21,
    "SETFCAP": 31,
}  # fmt: skip
_CAPABILITY_VERSION_3: Final = 0x20080522

# landlock(7)
_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_SYS_LANDLOCK_ADD_RULE: Final = 445
_SYS_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_CREATE_RULESET_VERSION: Final = 1
_LANDLOCK_RULE_PATH_BENEATH: Final = 1
WRITE_FILE: Final = 1 << 1
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_CHAR: Final = 1 << 6
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
MAKE_FIFO: Final = 1 << 10
MAKE_BLOCK: Final = 1 << 11
MAKE_SYM: Final = 1 << 12
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
BIND_TCP: Final = 1 << 0
CONNECT_TCP: Final = 1 << 1
SCOPE_ABSTRACT_SOCKETS: Final = 1 << 0
SCOPE_SIGNALS: Final = 1 << 1


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # from Python 3.19 on, _pack_ asks for it
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def unshare(flags: int) -> None:
    """Leave namespaces of the given kinds."""
    _check(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def enter(namespace: int, kind: int) -> None:
    """Enter the namespace a descriptor stands for, see setns(2)."""
    _check(_LIBC.setns(ctypes.c_int(namespace), ctypes.c_int(kind)), "setns")


def keep_capabilities() -> None:
    """Have a change of user leave the permitted ones, until a program is started."""
    _prctl(_PR_SET_KEEPCAPS, 1)


def own_user_namespace(user: int, group: int) -> None:
    """Have a user namespace of our own, in which this user has the same numbers, and all powers until dropped."""
    _prctl(_PR_SET_DUMPABLE, 1)  # otherwise /proc/self is not ours to write to
    unshare(NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - imports no pathlib
            file.write(text)


def own_mounts() -> None:
    """Have a mount namespace of our own, whose changes nobody else sees."""
    unshare(NEWNS)
    _mount(b"none", "/", None, _MS_REC | _MS_PRIVATE, None)


def mount_empty(path: str, size: int, mode: int) -> None:
    """Hide a directory behind an empty one in memory.

    Args:
        path: The directory.
        size: Bytes that fit into it.
        mode: Its permissions.
    """
    _mount(b"tmpfs", path, b"tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size},mode={mode:o}".encode())


def mount_again(directory: int, path: str) -> None:
    """Show a directory that is held open at another path, too."""
    _mount(f"/proc/self/fd/{directory}".encode(), path, None, _MS_BIND | _MS_REC, None)


def mount_processes() -> None:
    """Have ``/proc`` show the processes of our own namespace only."""
    _mount(b"proc", "/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)


def end_with_parent(signal: int) -> None:
    """Have this process sent a signal when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def become_subreaper() -> None:
    """Become the parent of every orphan among this process's descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Have no program started from here on gain anything by being setuid or having capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def forbid_dumps() -> None:
    """Write no core dump, not even to a handler, and let no process of the same user read this one's memory."""
    _prctl(_PR_SET_DUMPABLE, 0)


def drop_capability_bounds(keep: int) -> None:
    """Bar programs started later from every capability outside a bit set; needs CAP_SETPCAP."""
    _LIBC.prctl(_PR_CAP_AMBIENT, *map(ctypes.c_ulong, (_PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)))
    for number in range(64):
        if not keep >> number & 1 and _LIBC.prctl(_PR_CAPBSET_DROP, *map(ctypes.c_ulong, (number, 0, 0, 0))) < 0:
            return  # past the last one the kernel knows, or not privileged and therefore without any to bar


def set_capabilities(keep: int) -> None:
    """Drop every capability outside a bit set: capset(2)."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    words = (keep & 0xFFFFFFFF, keep >> 32)
    data = (_CapabilityData * 2)(*(_CapabilityData(word, word, 0) for word in words))
    _check(_LIBC.capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def effective_capabilities() -> int:
    """The bit set of capabilities this process has."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - imports no pathlib
        return next((int(line.split()[1], 16) for line in status if line.startswith("CapEff:")), 0)


def landlock_version() -> int:
    """The Landlock interface of the running kernel, 0 where there is none."""
    found: int = _LIBC.syscall(
        *map(ctypes.c_long, (_SYS_LANDLOCK_CREATE_RULESET, 0, 0, _LANDLOCK_CREATE_RULESET_VERSION))
    )
    return max(found, 0)


def make_rules(version: int, files: int, network: int, scoped: int, allowed: dict[str, int]) -> int:
    """A descriptor of rules that forbid some actions, except the allowed ones beneath given paths; see landlock(7).

    Args:
        version: What :func:`landlock_version` gave.
        files: Actions on files.
        network: Actions on sockets, where the version knows them.
        scoped: Ways to reach other processes, ditto.
        allowed: By path, the actions allowed beneath it.
    """
    size = 8 if version < 4 else 16 if version < 6 else 24
    attributes = _Ruleset(files, network if version >= 4 else 0, scoped if version >= 6 else 0)
    create = (ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET), ctypes.byref(attributes), ctypes.c_size_t(size))
    rules = _check(_LIBC.syscall(*create, ctypes.c_long(0)), "landlock_create_ruleset")
    try:
        for path, actions in allowed.items():
            _allow(rules, path, actions)
    except BaseException:
        os.close(rules)
        raise
    return rules


def obey(rules: int) -> None:
    """Have the rules of a descriptor hold for this process and all that it starts."""
    _check(_LIBC.syscall(*map(ctypes.c_long, (_SYS_LANDLOCK_RESTRICT_SELF, rules, 0))), "landlock_restrict_self")


def _allow(rules: int, path: str, actions: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(actions, parent)
        result = _LIBC.syscall(
            ctypes.c_long(_SYS_LANDLOCK_ADD_RULE),
            ctypes.c_long(rules),
            ctypes.c_long(_LANDLOCK_RULE_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_long(0),
        )
        _check(result, "landlock_add_rule")
    finally:
        os.close(parent)


def _mount(source: bytes, path: str, kind: bytes | None, flags: int, options: bytes | None) -> None:
    result = _LIBC.mount(source, os.fsencode(path), kind, ctypes.c_ulong(flags), options)
    _check(result, f"mount {path}")


def _prctl(option: int, value: int) -> None:
    _check(_LIBC.prctl(ctypes.c_int(option), *map(ctypes.c_ulong, (value, 0, 0, 0))), f"prctl {option}")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
