"""What a sandbox process gives up before it meets hostile bytes.

Two steps: the zygote isolates itself once (namespaces, capabilities that nobody needs), each sandbox process then
confines itself (limits, last capabilities, where it may write). What a kernel or a container refuses is recorded,
never assumed: :class:`~restore_drill.sandboxes.isolation.Isolation` says what is in force.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from restore_drill.sandboxes import kernel
from restore_drill.sandboxes.isolation import Isolation

#: What restoring owners, modes and attributes needs of root's powers; every other one is dropped.
_KEPT: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP")
#: What the zygote needs besides: to make namespaces, to start programs as somebody else, and to end those.
_FORKING: Final = ("SYS_ADMIN", "SETUID", "SETGID", "KILL")
_WRITES: Final = (
    kernel.WRITE_FILE | kernel.REMOVE_DIR | kernel.REMOVE_FILE | kernel.MAKE_CHAR | kernel.MAKE_DIR | kernel.MAKE_REG
    | kernel.MAKE_SOCK | kernel.MAKE_FIFO | kernel.MAKE_BLOCK | kernel.MAKE_SYM | kernel.REFER
)  # fmt: skip
_DEVICES: Final = kernel.MAKE_CHAR | kernel.MAKE_BLOCK
_HARMLESS: Final = ("/dev/null", "/dev/zero", "/dev/full")
# Before version 2 no file could be moved from one directory to another, which restoring does.
_LANDLOCK_NEEDED: Final = 2
#: Bytes of an empty file system in which nothing but mount points is made.
_MOUNT_POINTS: Final = 1 << 20
# Raising it needs no privilege: short of memory, the kernel ends a sandbox and not the run.
_OUT_OF_MEMORY_SCORE: Final = b"500"


def isolate() -> Isolation:
    """Cut the calling process off, once, before it forks any sandbox process."""
    refused: list[str] = []
    root = os.geteuid() == 0
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:  # noqa: PTH123
        score.write(_OUT_OF_MEMORY_SCORE)
    kernel.become_subreaper()
    if root:
        network = _attempt("network namespace", lambda: kernel.unshare(kernel.NEWNET), refused)
        processes = _attempt("process namespace", _try_process_namespace, refused)
        _attempt("IPC namespace", lambda: kernel.unshare(kernel.NEWIPC), refused)
    else:
        network = processes = _attempt("user namespace", _enter_user_namespace, refused)
    mounts = processes and _attempt("mount namespace", lambda: _in_child(_try_mounts), refused)
    if mounts:
        _attempt("process list", lambda: _in_child(_try_process_list), refused)
    version = kernel.landlock_version()
    landlock = version if version >= _LANDLOCK_NEEDED else 0
    if not landlock:
        refused.append("Landlock: not in this kernel" if not version else "Landlock: too old")
    _reduce_powers(_FORKING if processes else _FORKING[1:])
    return Isolation(
        network="none" if network else "host",
        processes="own" if processes else "shared",
        user_namespace=processes and not root,
        writes="sandbox directory" if landlock else "as the user may",
        landlock=landlock,
        capabilities=_kept_names() if root else (),
        mounts="own" if mounts else "shared",
        accounts=root and _has(("SETUID", "SETGID", "KILL")),
        refused=tuple(refused),
    )


def drop_admin(isolation: Isolation) -> None:
    """Give up the last powers, which only the zygote needs."""
    kernel.set_capabilities(_bits(isolation.capabilities))


def become(user: int, group: int, *, apart: bool) -> bool:
    """Go on as somebody else, without any power and for good.

    Args:
        user: Its number.
        group: That of its only group.
        apart: Try to be counted apart.

    Returns:
        Whether it is in a user namespace of its own, in which the kernel counts its processes apart from all others of
        that user (Linux 5.14 and later). It is tried in a child first: one that was entered half cannot be left again.
    """
    os.setgroups([])
    os.setresgid(group, group, group)
    kernel.keep_capabilities()
    os.setresuid(user, user, user)
    with contextlib.suppress(OSError):
        # Systems that let no ordinary user make one let whoever has this power.
        kernel.set_capabilities(_bits(("SYS_ADMIN",)))
    try:
        if apart:
            _in_child(lambda: kernel.own_user_namespace(user, group))
            kernel.own_user_namespace(user, group)
    except OSError:
        apart = False
    kernel.set_capabilities(0)
    kernel.forbid_dumps()
    return apart


def arrange(hide: Mapping[str, int], show: Sequence[tuple[str, str]]) -> None:
    """Give the calling process a view of the file system of its own.

    Args:
        hide: Directories behind which the machine's own sockets and temporary files are, with the bytes that fit into
            the empty ones that take their place; those of 0 bytes are for mount points only.
        show: What is to be seen nevertheless, and where.
    """
    kernel.own_mounts()
    opened = [(os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), path) for source, path in show]
    # Mount points are for every account to pass through.
    mask = os.umask(0o022)
    try:
        for path, size in hide.items():
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
                kernel.mount_empty(path, size or _MOUNT_POINTS, 0o1777 if size else 0o755)
        for directory, path in opened:
            os.makedirs(path, mode=0o755, exist_ok=True)  # noqa: PTH103
            kernel.mount_again(directory, path)
        # Where that is refused, isolate has found it out and said so.
        with contextlib.suppress(OSError):
            kernel.mount_processes()
    finally:
        os.umask(mask)
        for directory, _ in opened:
            os.close(directory)


def limit(memory: int, file_size: int, open_files: int, tasks: int | None = None) -> None:
    """Set the resource limits of the calling process and all that it starts."""
    if tasks is not None:
        _limit(resource.RLIMIT_NPROC, tasks)
    _limit(resource.RLIMIT_DATA, memory)
    _limit(resource.RLIMIT_FSIZE, file_size)
    _limit(resource.RLIMIT_NOFILE, open_files)
    # One byte, not none: a core that is piped to a handler ignores a limit of 0 and is not made at 1 (core(5)).
    _limit(resource.RLIMIT_CORE, 1)


def writing_rules(isolation: Isolation, directories: Sequence[str]) -> int:
    """Rules for a process that may write beneath some directories only, and signal nothing that it did not start.

    Returns:
        A descriptor for :func:`restore_drill.sandboxes.kernel.obey`, or -1 where the kernel has no such rules.
    """
    if not isolation.landlock:
        return -1
    truncate = kernel.TRUNCATE if isolation.landlock >= 3 else 0
    allowed = {path: kernel.WRITE_FILE | truncate for path in _HARMLESS if os.path.exists(path)}  # noqa: PTH110
    return kernel.make_rules(
        isolation.landlock,
        files=_WRITES | truncate,
        # A host's network that could not be left is at least closed to TCP.
        network=0 if isolation.network == "none" else kernel.BIND_TCP | kernel.CONNECT_TCP,
        scoped=kernel.SCOPE_ABSTRACT_SOCKETS | kernel.SCOPE_SIGNALS,
        allowed={**dict.fromkeys(directories, (_WRITES & ~_DEVICES) | truncate), **allowed},
    )


def _attempt(what: str, action: Callable[[], None], refused: list[str]) -> bool:
    try:
        action()
    except OSError as problem:
        refused.append(f"{what}: {os.strerror(problem.errno or 0)}")
        return False
    return True


def _try_process_namespace() -> None:
    """Find out whether process namespaces can be made, and undo it: the calling process's children stay where it is."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.NEWPID)
        kernel.enter(own, kernel.NEWPID)
    finally:
        os.close(own)


def _try_mounts() -> None:
    kernel.own_mounts()
    kernel.mount_empty("/", _MOUNT_POINTS, 0o755)


def _try_process_list() -> None:
    kernel.unshare(kernel.NEWPID)
    _in_child(_mount_processes)


def _mount_processes() -> None:
    kernel.own_mounts()
    kernel.mount_processes()


def _enter_user_namespace() -> None:
    """Enter a user namespace in which this user has the same numbers, and with it namespaces of the other kinds.

    Files keep their owner on both sides; only the giving of files to another group of the user's is lost. It is tried
    in a child first, because a namespace that was entered half cannot be left again.
    """
    _in_child(_rehearse)
    _make_user_namespace()
    child = os.fork()
    if child:
        _stand_by(child)


def _rehearse() -> None:
    _make_user_namespace()
    _in_child(_try_process_namespace)


def _in_child(action: Callable[[], None]) -> None:
    """Try something in a process that is gone afterwards."""
    child = os.fork()
    if child == 0:
        _exit_with(action)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(abs(status), os.strerror(abs(status)))


def _make_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.NEWUSER | kernel.NEWNET | kernel.NEWIPC | kernel.NEWPID)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(text)


def _exit_with(action: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        action()
        status = 0
    except OSError as problem:
        status = min(problem.errno or 1, 255)
    finally:
        os._exit(status)


def _stand_by(child: int) -> NoReturn:
    """Wait for the first process of the new process namespace, which goes on in this one's stead.

    Only a process inside can come back to that namespace after it has made another, which each sandbox needs.
    """
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)


def _reduce_powers(forking: tuple[str, ...]) -> None:
    kept = _bits(_KEPT) if os.geteuid() == 0 else 0
    kernel.drop_capability_bounds(kept)
    kernel.set_capabilities(kernel.effective_capabilities() & (kept | _bits(forking)))
    kernel.forbid_new_privileges()
    kernel.forbid_dumps()


def _kept_names() -> tuple[str, ...]:
    having = kernel.effective_capabilities()
    return tuple(name for name in _KEPT if having >> kernel.CAPABILITIES[name] & 1)


def _has(names: tuple[str, ...]) -> bool:
    return kernel.effective_capabilities() & _bits(names) == _bits(names)


def _bits(names: tuple[str, ...]) -> int:
    return sum(1 << kernel.CAPABILITIES[name] for name in names)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
