"""A file tree that is edited at random and backed up by GNU tar after each step, as a nightly job would."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

#: CLOCK_REALTIME_COARSE of Linux, by which files are dated.
_COARSE = 5
_NAMES = ("a", "b", "c", "d", "ü", "new\nline", "back\\slash", "-dash", "n" * 120)


class History:
    """One tree over several nights.

    Args:
        tar: The program.
        root: A directory of its own.
        seed: Decides about every edit.
        options: Further options of tar.
    """

    def __init__(self, tar: str, root: Path, seed: int, *options: str) -> None:
        self.live = root / "live"
        self.live.mkdir(parents=True)
        self._tar = [tar, *options]
        self._root = root
        self._random = random.Random(seed)
        self._count = 0

    def edit(self, times: int) -> None:
        """Do so many things to the tree."""
        for _ in range(times):
            self._random.choice(_EDITS)(self)

    def back_up(self, snapshot: str = "snar", *, keep: bool = True) -> bytes:
        """Write the next archive.

        Args:
            snapshot: The file in which tar remembers what it has seen.
            keep: Leave that file as it was afterwards, as a differential backup does.
        """
        path = self._root / snapshot
        used = path if keep else Path(shutil.copy(path, self._root / "copy"))
        command = [*self._tar, "-c", "-f", "-", f"--listed-incremental={used}", "-C", str(self.live), "."]
        # Where directories changed places, tar leaves an empty `tar.XXXXXX` in the directory it was started in.
        archive = subprocess.run(command, check=True, capture_output=True, cwd=self._root).stdout
        ended = time.clock_gettime(time.CLOCK_REALTIME)
        while time.clock_gettime(_COARSE) <= ended:
            pass  # files are dated by the coarse clock: what is edited now must be younger than what was backed up
        return archive

    # --- edits ------------------------------------------------------------------------------------------------------

    def _directory(self) -> Path:
        return self._random.choice([self.live, *(path for path in self._all() if _is_directory(path))])

    def _all(self) -> list[Path]:
        return sorted(self.live.rglob("*"))

    def _any(self, *, directory: bool) -> Path | None:
        found = [path for path in self._all() if _is_directory(path) is directory]
        return self._random.choice(found) if found else None

    def _free(self) -> Path:
        """A name in some directory; what has it already is removed."""
        path = self._directory() / self._random.choice(_NAMES)
        _remove(path)
        return path

    def _write(self) -> None:
        self._count += 1
        self._free().write_bytes(self._random.randbytes(self._random.choice((0, 10, 700))) + b"%d" % self._count)

    def _change(self) -> None:
        if (path := self._any(directory=False)) and not path.is_symlink():
            path.write_bytes(self._random.randbytes(20))

    def _make_directory(self) -> None:
        self._free().mkdir()

    def _delete(self) -> None:
        if path := self._any(directory=self._random.random() < 0.3):
            _remove(path)

    def _link(self) -> None:
        self._free().symlink_to(self._random.choice(_NAMES))

    def _hard_link(self) -> None:
        source, path = self._any(directory=False), self._free()
        if source and os.path.lexists(source):
            os.link(source, path, follow_symlinks=False)

    def _rename_file(self) -> None:
        self._rename(self._any(directory=False))

    def _rename_directory(self) -> None:
        self._rename(self._any(directory=True))

    def _rename(self, source: Path | None) -> None:
        if source is None:
            return
        aside = self._root / "moving"
        source.rename(aside)
        aside.rename(self._free())

    def _swap(self) -> None:
        """Two directories exchange their names, which takes a temporary one."""
        first, second = self._any(directory=True), self._any(directory=True)
        if not (first and second) or first in (second, *second.parents) or second in first.parents:
            return
        aside = self._root / "moving"
        first.rename(aside)
        second.rename(first)
        aside.rename(second)


_EDITS = (
    *[History._write] * 6, *[History._change] * 2, *[History._make_directory] * 4, *[History._delete] * 2,
    History._link, History._hard_link, *[History._rename_file] * 2, *[History._rename_directory] * 2, History._swap,
)  # fmt: skip


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def restored_by_tar(tar: str, archives: Sequence[bytes], into: Path) -> list[int]:
    """What the program itself makes of a chain; returns its exit statuses."""
    into.mkdir()
    command = [tar, "-x", "-p", "--numeric-owner", "--listed-incremental=/dev/null", "-f", "-", "-C", str(into)]
    runs = [subprocess.run(command, input=data, capture_output=True, check=False, cwd=into.parent) for data in archives]
    return [run.returncode for run in runs]
