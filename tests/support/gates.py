"""Stages of a drill that wait: a test learns where a run is, and decides when it goes on.

The waiting is done by code in the project's own ``conftest.py``, in whatever process runs the drill.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.project import Project, Started, until

#: Where a drill may be asked to wait: with nothing on the disk, with the payload there, with the system restored.
STAGES = ("locate", "fetch", "restore", "content", "dispose", "across")
_CODE = """
import os, time
from pathlib import Path

from restore_drill.checks.integrity import IntegrityCheck
from restore_drill.content import Content
from restore_drill.drill import Drill
from restore_drill.target_drill import TargetDrill
from restore_drill.transferring import Transferring

_GATES = Path({gates!r})
_STAGE = {stage!r}


def _wait(target):
    mark = _GATES / target
    try:
        mark.with_suffix(".new").write_text(str(os.getpid()))
        mark.with_suffix(".new").rename(mark)
    except FileNotFoundError:
        return  # no gate any more
    while _GATES.exists():
        time.sleep(0.01)


def _target(part):
    return getattr(part, "_drill", part).target.name


def _before(owner, name):
    real = getattr(owner, name)

    def method(self, *arguments):
        if not hasattr(self, "_waited"):
            self._waited = True
            _wait(_target(self))
        return real(self, *arguments)

    setattr(owner, name, method)


def _after(owner, name):
    real = getattr(owner, name)

    def method(self, *arguments):
        result = real(self, *arguments)
        _wait(_target(self))
        return result

    setattr(owner, name, method)


if _STAGE == "locate":
    _before(Drill, "_locate")
elif _STAGE == "fetch":
    _after(Transferring, "fetch")
elif _STAGE == "restore":
    _after(Drill, "_restore")
elif _STAGE == "content":
    _measure_case, _measure = Content._measure, IntegrityCheck.measure

    def _measure_of(self, *arguments):
        IntegrityCheck.measure = lambda *facts: (_wait(self._drill.target.name), _measure(*facts))[1]
        return _measure_case(self, *arguments)

    Content._measure = _measure_of
elif _STAGE == "dispose":
    _before(Drill, "dispose")
else:
    _before(TargetDrill, "agreement")
"""


class Gates:
    """A gate in one stage of every drill of a project.

    Args:
        stage: One of :data:`STAGES`.
    """

    def __init__(self, project: Project, stage: str) -> None:
        self._path = project.root / "gates"
        self._path.mkdir()
        project.file("drills/conftest.py", _CODE.format(gates=str(self._path), stage=stage))

    def reached(self, run: Started, target: str = "db-0") -> int:
        """Wait until a drill of a target is at its gate; the number of the process that runs it."""
        mark = self._path / target
        run.until(mark.exists, f"{target} was at its gate")
        return int(mark.read_text())

    def open(self) -> None:
        """Let every drill go on, from now on."""
        self._path.rename(self._path.with_name("opened"))


def wait_for_end(pid: int) -> None:
    """Wait until a process that is no child of ours is gone."""
    until(lambda: not _is_there(pid), f"the end of process {pid}")


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
