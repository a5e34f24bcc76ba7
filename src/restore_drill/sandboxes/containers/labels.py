"""How containers, volumes and networks of ours are told from everybody else's, and whose they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

#: On everything that this package makes in an engine.
PREFIX: Final = "io.restore-drill"
#: Which root directory of which machine the run belongs to: only who holds that may say that a run is over.
OWNER: Final = f"{PREFIX}.owner"
#: The name of the run directory, whose lock is held for as long as the run lives.
DIRECTORY: Final = f"{PREFIX}.directory"
RUN: Final = f"{PREFIX}.run"
NAME: Final = f"{PREFIX}.name"
PID: Final = f"{PREFIX}.pid"
HOST: Final = f"{PREFIX}.host"


def owner_of(root: Path) -> str:
    """A word for a root directory that no other machine's and no other container's has.

    An engine may be shared by machines, and by containers of one machine, whose directories bear the same names. The
    kernel's boot number keeps machines apart, the numbers of device and inode what one kernel shows under one path.
    """
    state = root.stat()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return hashlib.sha256(f"{boot}:{state.st_dev}:{state.st_ino}".encode()).hexdigest()[:24]


def labels(directory: Path, run: str, name: str) -> dict[str, str]:
    """The labels of what a sandbox makes.

    Args:
        directory: This process's run directory.
        run: The run's id.
        name: What the sandbox is for.
    """
    return {
        OWNER: owner_of(directory.parent),
        DIRECTORY: directory.name,
        RUN: run,
        NAME: name,
        PID: str(os.getpid()),
        HOST: os.uname().nodename,
    }
