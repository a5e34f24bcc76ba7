"""Make file trees with everything in them that an archive should keep, and look at trees in full."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from pathlib import Path
from typing import Any

IS_ROOT = os.geteuid() == 0
_SECONDS = 1_650_000_000


def plain_tree(root: Path) -> Path:
    """What even the oldest formats hold: short names, whole seconds."""
    source = random.Random(1)
    for number, name in enumerate(("etc/app.toml", "etc/hosts", "srv/data/a.bin", "srv/data/b.bin", "srv/empty")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(0 if name.endswith("empty") else 700 * (number + 1)))
        path.chmod((0o644, 0o600, 0o755, 0o444, 0o640)[number])
    (root / "srv" / "void").mkdir()
    (root / "srv" / "void").chmod(0o2750)
    (root / "etc" / "link").symlink_to("hosts")
    (root / "srv" / "up").symlink_to("../etc/app.toml")
    os.link(root / "srv/data/a.bin", root / "srv/hard")
    _own_and_date(root, nanoseconds=0)
    return root


def rich_tree(root: Path) -> Path:
    """Long names, odd bytes, a linked link, holes, nanoseconds, owners."""
    plain_tree(root)
    long = root / ("long-directory-name-" * 4) / ("and-another-one-" * 6)
    long.mkdir(parents=True)
    (long / ("file-" * 40)).write_bytes(b"long\n")
    (long / "target").symlink_to("t" * 150)
    Path(os.fsdecode(os.fsencode(root) + b"/not-utf8-\xff\xfe")).write_bytes(b"bytes\n")
    (root / "new\nline").write_bytes(b"line\n")
    (root / "back\\slash").write_bytes(b"slash\n")
    (root / "ünï ").write_bytes(b"unicode\n")
    os.link(root / "etc/link", root / "etc/link-too", follow_symlinks=False)
    with (root / "holes").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"data" * 5000)
        file.seek(5 << 20)
        file.write(b"more" * 3000)
        file.truncate(9 << 20)
    _own_and_date(root, nanoseconds=123_456_789)
    return root


def _own_and_date(root: Path, nanoseconds: int) -> None:
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        if IS_ROOT:
            mode = path.lstat().st_mode
            os.chown(path, 1000 + number % 3, 2000 + number % 2, follow_symlinks=False)
            if not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode))
        stamp = (_SECONDS + 1000 * number) * 10**9 + nanoseconds
        os.utime(path, ns=(stamp, stamp), follow_symlinks=False)
    os.utime(root, ns=(_SECONDS * 10**9, _SECONDS * 10**9))


def look(root: Path, *, seconds: bool = False, owners: bool = IS_ROOT) -> dict[bytes, tuple[Any, ...]]:
    """Everything about every entry: type, mode, time, owner, content or target, and which names share an inode.

    Args:
        seconds: Compare times in whole seconds.
        owners: Compare owners.
    """
    found: dict[bytes, tuple[Any, ...]] = {}
    inodes: dict[int, bytes] = {}
    base = os.fsencode(root)
    for directory, names, files in os.walk(base):
        for name in sorted(names + files):
            path = directory + b"/" + name
            status = os.lstat(path)
            relative = path[len(base) + 1 :]
            time = status.st_mtime_ns // 10**9 if seconds else status.st_mtime_ns
            owner = (status.st_uid, status.st_gid) if owners else ()
            content: Any = None
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
                first = inodes.setdefault(status.st_ino, relative)
                content = (content, first if status.st_nlink > 1 else b"")
            elif stat.S_ISLNK(status.st_mode):
                content = Path(os.fsdecode(path)).readlink()
            found[relative] = (status.st_mode, time, owner, content)
    return found
