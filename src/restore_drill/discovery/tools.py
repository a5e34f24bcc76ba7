"""Repositories of backup programs, told by the names inside them; their backups are restored by the program itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_OTHER = "restored by the program itself, which no engine here does; drill it with a case of your own"
#: Program → what is said of it.
TOOLS: Mapping[str, str] = dict.fromkeys(
    (
        "a restic repository", "a Borg repository", "a Kopia repository", "a duplicity archive",
        "a pgBackRest repository", "a Barman catalogue", "a WAL-G archive", "an rdiff-backup repository",
        "a bare Git repository", "a Proxmox Backup Server datastore",
    ),
    _OTHER,
)  # fmt: skip
_NAMES = tuple(
    (re.compile(expression, re.S), tool)
    for expression, tool in (
        (r"(?P<root>(?:.*/)?)(?:keys|snapshots)/[0-9a-f]{64}", "a restic repository"),
        (r"(?P<root>(?:.*/)?)data/\d+/\d+", "a Borg repository"),
        (r"(?P<root>(?:.*/)?)kopia\.repository(?:\.f)?", "a Kopia repository"),
        (r"(?P<root>(?:.*/)?)duplicity-(?:full|inc)[^/]*", "a duplicity archive"),
        (r"(?P<root>(?:.*/)?)backup/[^/]+/backup\.info", "a pgBackRest repository"),
        (r"(?P<root>(?:.*/)?)base/\d{8}T\d{6}/backup\.info", "a Barman catalogue"),
        (r"(?P<root>(?:.*/)?)basebackups_005/.+", "a WAL-G archive"),
        (r"(?P<root>(?:.*/)?)rdiff-backup-data/.+", "an rdiff-backup repository"),
        (r"(?P<root>(?:.*/)?)refs/heads/.+|(?P<other>(?:.*/)?)packed-refs", "a bare Git repository"),
        (r"(?P<root>(?:.*/)?)\.chunks/[0-9a-f]{4}/.+", "a Proxmox Backup Server datastore"),
    )
)
#: What any of these has in it: most names have not, and are many.
_HINT = re.compile(
    r"keys/|snapshots/|data/|kopia\.|duplicity-|backup\.info|basebackups_005/|rdiff-backup-data/|refs/heads/|packed-refs"
    r"|\.chunks/"
)
#: Program → whether names below its root (some of them) bear it out.
MARKS: Mapping[str, Callable[[set[str]], bool]] = {
    "a restic repository": lambda seen: "config" in seen,
    "a Borg repository": lambda seen: "config" in seen and "README" in seen,
    "a bare Git repository": lambda seen: "HEAD" in seen and "config" in seen,
    "a pgBackRest repository": lambda seen: any(name.startswith("archive/") for name in seen),
    **dict.fromkeys(
        (
            "a Kopia repository", "a duplicity archive", "a Barman catalogue", "a WAL-G archive",
            "an rdiff-backup repository", "a Proxmox Backup Server datastore",
        ),
        lambda seen: True,  # noqa: ARG005 - the name alone says it
    ),
}  # fmt: skip


def tool_of(key: str) -> tuple[str, str] | None:
    """The root of the repository that a key seems to lie in, and the program."""
    if not _HINT.search(key):
        return None
    for expression, tool in _NAMES:
        if found := expression.fullmatch(key):
            groups = found.groupdict()
            return groups.get("root") or groups.get("other") or "", tool
    return None
