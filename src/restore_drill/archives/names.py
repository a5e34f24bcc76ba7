"""Names and link targets as archives carry them: bytes, believed in nothing.

A name is refused, never mended, when it could reach outside the tree it belongs to: what a careful program would
rename, a careless one would follow, and a backup that needs either is not one to restore at three in the morning.
"""

from __future__ import annotations

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: Longest component in bytes (NAME_MAX of Linux file systems).
MAX_NAME = 255
#: Longest path below the root in bytes (PATH_MAX of Linux, its final NUL apart).
MAX_PATH = 4095
#: Deepest nesting; tools that hold one descriptor a level still stay below the usual limit of 1024.
MAX_DEPTH = 256

_SELF = (b"", b".")
_DISTRUST = "Do not restore this archive by hand; find out what wrote it."


def normalise(name: bytes) -> bytes:
    """The path of a member relative to the root, without ``.`` and empty components; ``b""`` is the root itself.

    Raises:
        BackupFailed: It is empty, absolute, climbs with ``..`` (also between backslashes), holds a NUL, or is too long.
    """
    if not name:
        raise hostile("a member has an empty name", name)
    if b"\0" in name:
        raise hostile("a member's name holds a NUL byte", name)
    if name[:1] == b"/":
        raise hostile(
            "a member's name is absolute", name, "Make the archive with relative names (tar -C DIR ., without -P)."
        )
    parts = [part for part in name.split(b"/") if part not in _SELF]
    if b".." in parts or (b"\\" in name and b".." in name.replace(b"\\", b"/").split(b"/")):
        raise hostile("a member's name climbs out with '..'", name)
    path = b"/".join(parts)
    if len(path) > MAX_PATH or len(parts) > MAX_DEPTH or max(map(len, parts), default=0) > MAX_NAME:
        raise hostile(
            f"a member's name is too long: over {MAX_NAME} bytes in a part, {MAX_PATH} in all, or {MAX_DEPTH} deep",
            name,
            "Nothing on Linux can read such a tree back; look at what was backed up.",
        )
    return path


def check_target(path: bytes, target: bytes, *, outside: bool) -> bool:
    """Judge a symbolic link by its text alone; tells whether it must be looked at again in the finished tree.

    Components that come after a name may pass through another link: then only the finished tree can tell where ``..``
    leads from there.

    Args:
        path: Where the link stands, normalised.
        target: What it says.
        outside: Links that lead outside are accepted.

    Raises:
        BackupFailed: It is empty, too long, holds a NUL, or leads outside the tree.
    """
    if not target or b"\0" in target or len(target) > MAX_PATH:
        raise hostile("a symbolic link's target is empty, too long or holds a NUL byte", path)
    if outside:
        return False
    if target[:1] == b"/":
        raise leads_outside("a symbolic link has an absolute target", path)
    depth, names_before, again = path.count(b"/"), False, False
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            again = again or names_before
            if depth < 0:
                raise leads_outside("a symbolic link leads outside the tree", path)
        elif part not in _SELF:
            depth += 1
            names_before = True
    return again


def leads_outside(cause: str, path: bytes) -> BackupFailed:
    """The error for a link that leaves the tree."""
    remedy = "If the original really has such links, set limits.allow: [outside-links]; they are never followed."
    return hostile(cause, path, remedy)


def hostile(cause: str, name: bytes, remedy: str = _DISTRUST) -> BackupFailed:
    """The error for a member that is refused: the kind of thing in the cause, its name in the details only."""
    return BackupFailed(cause, remedy=remedy, stage=Stage.UNPACK, details=(f"member {shown(name)}",))


def shown(name: bytes) -> str:
    """A name as one line of printable characters, cut to 300."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= 300 else f"{text[:297]}…"
