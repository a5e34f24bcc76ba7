"""A store on disk and a shell: what a generated runbook says is done by bash, step by step, without any sandbox."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.plans import planned_target

from restore_drill.plan import PlannedCopy
from restore_drill.policy.proofs import Proof
from restore_drill.recovery.book import Drilled, WrittenStep
from restore_drill.recovery.runbook import Runbook
from restore_drill.recovery.stand_ins import STAND_INS

NOW = 1_800_000_000.0


class Bench:
    """A store's content on disk, and a shell that does what a runbook says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store, self.work, self.live = root / "store", root / "work", root / "live"
        for directory in (self.store, self.live, root / "bin"):
            directory.mkdir()
        self.variables = {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}", "BACKUP_DIR": str(self.store), "WORK_DIR": str(self.work),
            "RESTORE_DIR": str(self.live), "HOME": str(root), "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def twin(self, root: Path) -> Bench:
        """The same bench as it is now, in another place."""
        shutil.copytree(self.root, root, symlinks=True)
        found = copy.copy(self)
        found.root, found.store, found.work, found.live = root, root / "store", root / "work", root / "live"
        found.variables = {name: each.replace(str(self.root), str(root)) for name, each in self.variables.items()}
        return found

    def put(self, key: str, content: bytes) -> str:
        """Store it; returns its digest."""
        (self.store / key).parent.mkdir(parents=True, exist_ok=True)
        (self.store / key).write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def offline(self, url: str) -> None:
        """Clients of stores are stood in for."""
        self.variables["BACKUP_URL"] = url
        for name, script in STAND_INS.items():
            (self.root / "bin" / name).write_text(script)
            (self.root / "bin" / name).chmod(0o755)

    def run(self, steps: list[WrittenStep]) -> tuple[int, str]:
        """Do steps in one shell each, up to the first that fails; how many went well, and what the last one said."""
        return self.type([step.script() for step in steps])

    def type(self, scripts: list[str]) -> tuple[int, str]:
        """The same of what is typed."""
        self.work.mkdir(exist_ok=True)
        for number, script in enumerate(scripts):
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=self.work, env=self.variables, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            if done.returncode:
                return number, done.stdout + done.stderr
        return len(scripts), ""


def all_of(runbook: Runbook) -> list[WrittenStep]:
    return [*runbook.steps, *runbook.verification, *runbook.going_live]


def drilled(stored_copy: PlannedCopy, key: str, stored: bytes, layers: list[dict[str, Any]], **target: Any) -> Drilled:
    """What the drill of one object measured, as its evidence has it."""
    digest = hashlib.sha256(stored).hexdigest()
    payload = {"form": "file", "format": layers[-1]["format"]}
    fetched = {"artifacts": [{"key": key, "sha256": digest, "layers": layers}], "payloads": [payload]}
    stages = [
        {"stage": "fetch", "seconds": 1.0, "facts": {**fetched, "seconds": 1.5, "stored_bytes": len(stored)}},
        {"stage": "restore", "seconds": 1.0, "facts": {"seconds": 0.5, "facts": {}}},
        {"check": ["structure", ""], "seconds": 0.1, "facts": {"counts": {"orders": 20}}},
    ]
    proof = Proof("R-1", NOW, "passed", "whole", "query", NOW - 60, snapshot="S-1")
    return Drilled(
        planned_target(stored_copy, **target), stored_copy, proof, {"stages": stages, "achieved": {"rto_seconds": 2.0}}
    )


def gzipped(content: bytes) -> bytes:
    return subprocess.run(["gzip", "-n"], input=content, stdout=subprocess.PIPE, check=True).stdout


def of_tree(
    stored_copy: PlannedCopy,
    artifacts: list[dict[str, Any]],
    found: dict[str, Any],
    *,
    fetched: Any = None,
    **target: Any,
) -> Drilled:
    """What the drill of a tree measured: its artifacts, and how many files and bytes came back."""
    payload = {"form": "tree", "format": "tar"}
    facts = {"artifacts": artifacts, "payloads": [payload], "seconds": 1.0, **(fetched or {})}
    stages = [
        {"stage": "fetch", "seconds": 1.0, "facts": facts},
        {"stage": "restore", "seconds": 1.0, "facts": {"seconds": 0.5, "facts": found}},
    ]
    proof = Proof("R-1", NOW, "passed", "whole", "restore", NOW - 60, snapshot="S-1")
    model = {"engine": "files", **target}
    return Drilled(planned_target(stored_copy, name="tree", **model), stored_copy, proof, {"stages": stages})
