"""Writers of one ledger, killed at random: ``ledger_killer.py ROOT WRITERS KILLS SEED``.

Prints each entry that a writer said was finished (``SEQUENCE:DIGEST``). A writer is a process of its own, forked so
that hundreds can be killed in seconds; it says so through a pipe, by one write that is never torn.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from tests.support.ledgers import small

from restore_drill.ledger.directory import DirectoryLedger


def write_on(root: Path, name: str, pipe: int) -> None:
    """Append entries until killed."""
    ledger, number = DirectoryLedger(root), 0
    while True:
        number += 1
        head = ledger.append("run", small(f"{name}-{number}")).head
        os.write(pipe, f"{head}\n".encode())


def main(root: Path, writers: int, kills: int, seed: int) -> None:
    """Kill one of the writers after another."""
    chance, running, started = random.Random(seed), [], 0
    source, sink = os.pipe()
    told = b""
    for _ in range(kills + writers):
        while len(running) < writers and started < kills:
            started += 1
            pid = os.fork()
            if pid == 0:
                write_on(root, f"w{started}", sink)
            running.append(pid)
        time.sleep(chance.uniform(0, 0.006))
        if running and (len(running) == writers or started == kills):
            pid = running.pop(chance.randrange(len(running)))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        while select.select([source], [], [], 0)[0]:
            told += os.read(source, 65536)
    sys.stdout.write(told.decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
