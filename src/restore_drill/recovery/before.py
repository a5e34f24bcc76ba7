"""What stands in for the system as it was before the restore, so that the way back can be tried; and what was left."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

if TYPE_CHECKING:
    from restore_drill.recovery.shell import Shell
    from restore_drill.sandboxes.base import Sandbox

_WITHIN: Final = 60.0
#: The one file of a tree that stands in.
MARKED: Final = ".restore-drill-before"


def put(sandbox: Sandbox, shell: Shell, path: str, mark: str, *, tree: bool, database: bool) -> None:
    """Put a system that holds a mark where the runbook will restore to.

    Args:
        sandbox: Where programs run.
        shell: Of the runbook.
        path: Where to, as programs see it.
        mark: What it holds.
        tree: A directory with one file in it; else a file.
        database: Of SQLite, which programs may ask before they replace it.

    Raises:
        CouldNotVerify: It cannot be written.
    """
    content = _database(mark) if database and not tree else f"{mark}\n".encode()
    file = f"{path}/{MARKED}" if tree else path
    argv = ["sh", "-c", f'mkdir -p "${{0%/*}}" && cat >{shlex.quote(file)}', file]
    if sandbox.exec(argv, deadline=_WITHIN, stdin=content).returncode:
        cause = "what was there before cannot be stood in for"
        raise CouldNotVerify(cause, looked_at=shell.restore, stage=Stage.CONTENT)


def is_there(sandbox: Sandbox, path: str, mark: str, seconds: float) -> bool:
    """Whether what was put somewhere is there: itself, with nothing beside it, and not somewhere in it."""
    line = (
        '[ ! -L "$0" ] || exit 1; '
        'if [ -d "$0" ]; then [ "$(ls -A -- "$0")" = "$2" ] || exit 1; set -- "$1" "$0/$2"; else set -- "$1" "$0"; fi; '
        "tr '\\0' '\\n' <\"$2\" 2>/dev/null | grep -qaF -e \"$1\""  # grep holds a line in memory: zeros end one, too
    )
    return sandbox.exec(["sh", "-c", line, path, mark, MARKED], deadline=seconds).returncode == 0


def found(path: Path, root: Path, name: str) -> Path:
    """What the steps left, as this machine sees it.

    Args:
        path: Where it should be.
        root: What it lies below; ours.
        name: What the catalogue calls it.

    Raises:
        BackupFailed: There is nothing, or what is on the way to it is no directory.
    """
    at = root
    for part in path.relative_to(root).parts:
        at /= part
        try:
            mode = at.lstat().st_mode
        except FileNotFoundError:
            raise BackupFailed(f"its steps ended well, and left nothing at $RESTORE_DIR/{name}") from None
        if not (stat.S_ISDIR(mode) or (at == path and stat.S_ISREG(mode))):
            what = "is no file and no directory, or behind a link"
            raise BackupFailed(f"what its steps left at $RESTORE_DIR/{name} {what}")
    marked = path / MARKED
    if path.is_dir() and not marked.is_symlink():
        marked.unlink(missing_ok=True)  # unpacked over what stood in, which is no part of what came back
    return path


def _database(mark: str) -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table restore_drill_before (mark text)")
        connection.execute("insert into restore_drill_before values (?)", (mark,))
        connection.commit()
        return connection.serialize()
