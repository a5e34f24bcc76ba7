"""A repository of our own, and git over it. Runs inside the sandbox."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from restore_drill import process
from restore_drill.engines.streamed import EndedInError, environment, last_lines, shortage, streamed
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.process import Completed

_SAFE: Final = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat", "protocol.allow=never", "gc.auto=0",
    "maintenance.auto=false", "init.templateDir=", "init.defaultBranch=main",
    "pack.threads=1", "core.commitGraph=false", "core.multiPackIndex=false",
)  # fmt: skip


class Repository:
    """A bare repository of our own, and git over it: no configuration, no hook and no network but ours.

    Args:
        path: Where it is, or is made.
        until: ``time.monotonic()`` at which everything has to end.
    """

    def __init__(self, path: Path, until: float) -> None:
        self.path = path
        self._until = until
        self._environment = environment(
            GIT_DIR=str(path),
            GIT_CONFIG_NOSYSTEM="1",
            GIT_CONFIG_GLOBAL="/dev/null",
            GIT_ALLOW_PROTOCOL="none",
            GIT_NO_REPLACE_OBJECTS="1",
            GIT_TERMINAL_PROMPT="0",
            GIT_OPTIONAL_LOCKS="0",
            GIT_ATTR_NOSYSTEM="1",
        )

    def make(self, algorithm: str) -> None:
        """Create it."""
        made = self.run("init", "--quiet", "--bare", "--template=", f"--object-format={algorithm}", str(self.path))
        if made.returncode:
            raise CouldNotVerify(
                f"this git cannot make a repository of {algorithm} objects",
                remedy="Install a newer git.",
                details=last_lines(made.stderr),
            )

    def run(self, *arguments: str, stdin: bytes = b"") -> Completed:
        """Run git to its end."""
        left = max(0.1, self._until - time.monotonic())
        return process.run(
            _git(*arguments), deadline=left, stdin=stdin, environment=self._environment, cwd=self.path.parent
        )

    @contextlib.contextmanager
    def output(self, *arguments: str, reads: IO[bytes] | None = None) -> Iterator[IO[bytes]]:
        """The output of git, of any length; see :func:`restore_drill.engines.streamed.streamed`."""
        argv, own = _git(*arguments), self._environment
        with streamed(argv, until=self._until, environment=own, cwd=self.path.parent, reads=reads) as lines:
            yield lines

    @contextlib.contextmanager
    def stream(self, *arguments: str, reads: IO[bytes] | None = None) -> Iterator[IO[bytes]]:
        """The output of git when it walks what must all be there.

        Raises:
            BackupFailed: It ended in an error (stage ``restore``).
        """
        try:
            with self.output(*arguments, reads=reads) as lines:
                yield lines
        except EndedInError as problem:
            raise shortage(problem.status, "\n".join(problem.lines), "git") or BackupFailed(
                "git cannot walk the history: objects are missing or damaged",
                remedy="Use another copy or an earlier snapshot, and run git fsck in the live repository.",
                stage=Stage.RESTORE,
                details=problem.lines,
            ) from problem


def _git(*arguments: str) -> list[str]:
    return ["git", *(part for setting in _SAFE for part in ("-c", setting)), *arguments]
