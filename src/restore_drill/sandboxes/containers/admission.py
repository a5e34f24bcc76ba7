"""Bring a payload before the eyes of a container's programs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath

from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.sandboxes.containers import archives, spec
from restore_drill.sandboxes.containers.making import Made


def admit(made: Made, work: Path, path: Path) -> str:
    """Let the account read a file or directory, and return its path in the container.

    Where the work directory is mounted, modes are opened; the directories above it stay closed, so that on this
    machine nobody else can read it. Where it is not, it is sent, a piece at a time.

    Raises:
        CouldNotVerify: It cannot be opened, or sent.
    """
    try:
        inside = PurePosixPath(path.relative_to(work))
    except ValueError as problem:
        raise UsageProblem("what is admitted must be in the work directory", looked_at=str(path)) from problem
    try:
        if made.remote:
            if made.admitted.isdisjoint((inside, *inside.parents)):
                made.keeper.put("/", archives.tree(path, str(PurePosixPath(spec.WORK.strip("/")) / inside)))
                made.admitted.add(inside)
        else:
            _open_way(work, inside)
            archives.open_to_all(path)
    except OSError as problem:
        raise CouldNotVerify(
            f"the payload cannot be brought before the container's programs: {os.strerror(problem.errno or 0)}",
            remedy="Look at the modes and owners of what was unpacked.",
            details=(str(problem),),
        ) from problem
    return str(PurePosixPath(spec.WORK) / inside)


def _open_way(work: Path, inside: PurePosixPath) -> None:
    """Let everybody pass through the directories on the way, beginning with the work directory."""
    directory = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(directory, os.fstat(directory).st_mode & 0o7777 | 0o711)
        for name in inside.parts[:-1]:
            above, flags = directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                directory = os.open(name, flags, dir_fd=above)
            finally:
                os.close(above)
            os.fchmod(directory, os.fstat(directory).st_mode & 0o7777 | 0o711)
    finally:
        os.close(directory)


def close_way(work: Path) -> None:
    """Close the work directory again, which the next sandbox may be given."""
    with contextlib.suppress(OSError):
        directory = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(directory, 0o700)
        finally:
            os.close(directory)
