"""What is taken of a mirror or a work tree: objects and references, and nothing that git would act upon.

Runs inside the sandbox.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from restore_drill.engines.git_repository import Repository
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: Bytes of a file besides objects at most.
_SMALL: Final = 256 << 20
_DETAILS: Final = 50
_REFERENCE: Final = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64}|ref: refs/[^\n\0]{1,4000})\n?")


def adopt(own: Repository, root: Path, name: str) -> str:
    """Take objects and references of a mirror, and nothing else; returns the branch that its HEAD names."""
    mirror = _find(root, name)
    config = _small(mirror / "config").decode(errors="replace").lower()
    if re.search(r"^\s*refstorage\s*=\s*reftable", config, re.MULTILINE):
        raise CouldNotVerify(
            "the repository keeps its references in a reftable, which cannot be adopted",
            remedy="Back up a bundle: git bundle create FILE --all.",
        )
    sha256 = re.search(r"^\s*objectformat\s*=\s*sha256", config, re.MULTILINE)
    own.make("sha256" if sha256 else "sha1")
    if any(_small(mirror / "objects/info" / kind).strip() for kind in ("alternates", "http-alternates")):
        raise BackupFailed(
            "the repository borrows objects from another one (alternates), which is not in the backup",
            remedy="Back up a clone that has all of its objects: git clone --mirror --dissociate.",
            stage=Stage.RESTORE,
        )
    _require_plain(mirror / "objects")
    _require_plain(mirror / "refs")
    for part in ("objects", "refs"):
        _replace(mirror / part, own.path / part)
    for part in ("packed-refs", "shallow"):
        if data := _small(mirror / part):
            (own.path / part).write_bytes(data)
    head = _small(mirror / "HEAD")
    if not _REFERENCE.fullmatch(head):
        raise BackupFailed("the repository has no valid HEAD", remedy="Use another copy.", stage=Stage.RESTORE)
    (own.path / "HEAD").write_bytes(head)
    return head.decode(errors="replace").strip().removeprefix("ref: refs/heads/")


def _find(root: Path, name: str) -> Path:
    """The repository in a tree: at the named place, at its root, or the only one that is found by looking."""
    start = root / name
    if name and not start.resolve().is_relative_to(root.resolve()):
        raise BackupFailed("the repository lies behind a link", remedy="Name its real place.", stage=Stage.RESTORE)
    for candidate in (start, start / ".git"):
        if _is_repository(candidate):
            return candidate
    found = [] if name else [path for path in _directories(root) if _is_repository(path)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CouldNotVerify(
            f"the tree holds {len(found)} Git repositories",
            remedy="Name one of them in the catalogue: engine_options: {repository: path/in/the/tree}.",
            details=tuple(str(path.relative_to(root)) for path in found[:_DETAILS]),
        )
    raise BackupFailed("the tree holds no Git repository", remedy="Check what the job packs.", stage=Stage.RESTORE)


def _directories(root: Path) -> Iterator[Path]:
    for directory, names, _ in os.walk(root):
        path = Path(directory)
        if _is_repository(path):
            names.clear()  # submodules and worktrees within it are its own affair
            yield path


def _is_repository(path: Path) -> bool:
    kinds = {"HEAD": stat.S_ISREG, "objects": stat.S_ISDIR, "refs": stat.S_ISDIR}
    try:
        return all(test((path / name).lstat().st_mode) for name, test in kinds.items())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _require_plain(directory: Path) -> None:
    """Only directories and regular files, as git makes them; references that look like ones."""
    is_refs = directory.name == "refs"
    for base, subdirectories, names in os.walk(directory):
        for name in (*subdirectories, *names):
            path = Path(base, name)
            mode = path.lstat().st_mode
            good = stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and (not is_refs or _REFERENCE.fullmatch(_small(path))))
            if not good:
                raise BackupFailed(
                    f"the repository's {directory.name} hold something that git does not write there",
                    remedy="Look into it by hand, and do not run git in it.",
                    stage=Stage.RESTORE,
                    details=(str(path.relative_to(directory.parent)),),
                )


def _small(path: Path) -> bytes:
    """The content of a regular file, ``b""`` when there is none."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return b""
    except (FileNotFoundError, NotADirectoryError):
        return b""
    with path.open("rb") as file:
        return file.read(_SMALL)


def _replace(source: Path, target: Path) -> None:
    for directory in (source.parent, source):
        directory.chmod(0o700)
    for base, names, _ in os.walk(target, topdown=False):
        for name in names:
            Path(base, name).rmdir()
    target.rmdir()
    source.rename(target)
