"""List the regular files of a restored tree inside its sandbox: written down once, and handed out a piece at a time."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from typing import Any, Final

from restore_drill.engines.trees.globs import GlobError, Globs
from restore_drill.engines.trees.walk import open_root, walk
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_CHUNK: Final = 1 << 20


def write(call: Call, *, root: str, glob: str, give: Sequence[str], name: str) -> dict[str, int]:
    """Write a row of JSON for every regular file that a glob matches; links are not followed, and are none.

    Args:
        call: Where this runs.
        root: The tree, inside the work directory.
        glob: Which files.
        give: Which of ``path``, ``bytes`` and ``sha256`` make a row.
        name: The list, inside the work directory.

    Returns:
        ``rows``: how many there are.

    Raises:
        CouldNotVerify: The glob means nothing, or the tree cannot be read.
    """
    try:
        wanted = Globs([glob])
    except GlobError as problem:
        remedy = "Mend the glob in the set's query."
        raise CouldNotVerify(f"a query cannot be asked: {problem}", remedy=remedy, stage=Stage.CONTENT) from problem
    descriptor, rows = open_root(call.work / root), 0
    try:
        with (call.work / name).open("w", encoding="ascii") as listing:

            def visit(path: str, entry: os.DirEntry[str]) -> None:
                nonlocal rows
                state = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(state.st_mode) and wanted.matches(path, is_directory=False):
                    known = {"path": path, "bytes": state.st_size}
                    row = [known[each] if each in known else _digest(descriptor, path) for each in give]
                    listing.write(json.dumps(row) + "\n")
                    rows += 1

            walk(descriptor, visit)
    except OSError as problem:
        raise CouldNotVerify(f"the restored tree cannot be read: {problem.strerror}", stage=Stage.CONTENT) from problem
    finally:
        os.close(descriptor)
    return {"rows": rows}


def read(call: Call, *, name: str, offset: int, rows: int) -> dict[str, Any]:
    """The next rows of a list, and where those behind them begin."""
    with (call.work / name).open("rb") as listing:
        listing.seek(offset)
        lines = [line for _, line in zip(range(rows), listing, strict=False)]
    return {"rows": [json.loads(line) for line in lines], "offset": offset + sum(map(len, lines))}


def _digest(root: int, path: str) -> str:
    """SHA-256 of a file; nothing on the way to it is a link, and it is none itself."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - opened below a held directory
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
