"""What is there before a run and after it: in a container engine, among processes, in a directory for temporary files.

Other tests use the same engine and the same machine at the same time. What belongs to another owner's root directory is
theirs, and so is what goes away while one waits for it; what stays is a leftover of the run.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.project import Project, until

from restore_drill.sandboxes.containers import labels
from restore_drill.sandboxes.workspace import safe_root

#: Seconds between two looks at the processes of the machine.
_PAUSE = 0.1


class EngineView:
    """Everything in an engine, whoever made it, and which of it is a project's.

    Args:
        client: The library's client.
        project: Whose drills are looked at.
    """

    def __init__(self, client: Any, project: Project) -> None:
        self._api = client.api
        self._owner = labels.owner_of(safe_root(project.work))
        self._before = self._all()

    def ours(self, kind: str = "") -> set[str]:
        """What bears the project's label: ``container``, ``volume`` or ``network``, or all three."""
        return {name for name, owner in self._all().items() if owner == self._owner and name.startswith(kind)}

    def check_empty(self) -> None:
        """Nothing of the project is there, and nothing without an owner that was not there before."""
        assert self.ours() == set()
        suspects = {name for name, owner in self._all().items() if not owner} - set(self._before)
        until(lambda: not suspects & set(self._all()), f"the end of {sorted(suspects)}")

    def _all(self) -> dict[str, str]:
        """Kind and name of everything, and the owner that its labels name; others' volumes in use are left out."""
        found = {f"container {each['Id']}": each["Labels"] for each in self._api.containers(all=True)}
        found |= {f"network {each['Id']}": each["Labels"] for each in self._api.networks()}
        loose = self._api.volumes(filters={"dangling": True})["Volumes"] or ()
        held = self._api.volumes(filters={"label": labels.OWNER})["Volumes"] or ()
        found |= {f"volume {each['Name']}": each["Labels"] for each in (*loose, *held)}
        return {name: (marks or {}).get(labels.OWNER, "") for name, marks in found.items()}


@dataclass
class Processes:
    """What was seen of the machine's processes.

    Attributes:
        lines: Every command line of every process, whoever started it.
        family: The descendants of one process: number and start time, which together are never used again.
    """

    lines: set[bytes] = field(default_factory=set)
    family: set[tuple[int, str]] = field(default_factory=set)

    def look(self, root: int) -> None:
        """Look once."""
        stats = dict(_stats())
        for pid in stats:
            with contextlib.suppress(OSError):
                self.lines.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        known = {pid for pid, start in self.family if pid in stats and stats[pid][1] == start} | {root}
        grown = True
        while grown:
            more = {pid for pid, (parent, _) in stats.items() if parent in known} - known
            grown = bool(more)
            known |= more
        self.family |= {(pid, stats[pid][1]) for pid in known if pid in stats}

    def alive(self) -> set[tuple[int, str]]:
        """Who of the family is there still; who has ended and was not yet fetched by its parent is not."""
        return self.family & {(pid, start) for pid, (_, start) in _stats()}


@contextlib.contextmanager
def watched(root: int) -> Iterator[Processes]:
    """Look at the processes again and again while the block runs."""
    seen, end = Processes(), threading.Event()

    def watch() -> None:
        while not end.wait(_PAUSE):
            seen.look(root)

    seen.look(root)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def _stats() -> Iterator[tuple[int, tuple[int, str]]]:
    """Number, parent and start time of every process that runs."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = Path(entry.path, "stat").read_text("latin-1").rpartition(")")[2].split()
                if words[0] not in "ZX":
                    yield int(entry.name), (int(words[1]), words[19])
