"""Where symbolic links of a finished tree lead, told without ever following one."""

from __future__ import annotations

import os

#: How many links Linux follows before it gives up (path_resolution(7)).
_MOST_LINKS = 40


def resolve(root: int, path: bytes) -> bytes | None:
    """Follow a path by hand below an open directory.

    Args:
        root: Descriptor of the tree's root.
        path: Relative to it; every component may be a symbolic link.

    Returns:
        The path without links, ``None`` when it leads nowhere (dangling, or a loop).

    Raises:
        ValueError: It leads outside the root.
    """
    pending = path.split(b"/")[::-1]
    here: list[bytes] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not here:
                raise ValueError("it climbs above the root")
            here.pop()
            continue
        target = _target(root, b"/".join([*here, part]))
        if target is None:
            return None
        if not target:
            here.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        if target[:1] == b"/":
            raise ValueError("it passes through an absolute link")
        pending += target.split(b"/")[::-1]
    return b"/".join(here)


def _target(root: int, path: bytes) -> bytes | None:
    """The text of a link, ``b""`` for anything else that exists, ``None`` where nothing is.

    The directories of ``path`` have been resolved, so that looking at it follows nothing.
    """
    try:
        return os.readlink(path, dir_fd=root)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except OSError:
        return b""
