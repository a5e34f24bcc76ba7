"""(d) A tree of a hundred thousand files and its manifest, against ``sha256sum -c``."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.measure import Benchmark, Way
from tests.benchmarks.project import Project

_FILES = 100_000
_IN_A_DIRECTORY = 250
_LARGEST = 4096
_ROOT = Path(__file__).parents[2]


@contextmanager
def build(scratch: Path, *, small: bool) -> Iterator[list[Benchmark]]:
    """One generation of small files, of none to four kibibytes each."""
    project = Project(scratch / "files")
    count = _FILES // (10 if small else 1)
    name = f"{datetime.fromtimestamp(project.taken, UTC):%Y-%m-%d_%H%M%S}"
    tree = project.stores / name
    _write(tree, count)
    project.date(tree)
    project.add(
        "tree",
        "{time:%Y-%m-%d_%H%M%S}/",
        engine="files",
        copy={"checksum": {"manifest": "SHA256SUMS"}},
        expect={"files": {"manifest": "SHA256SUMS"}},
    )
    project.write()
    script = f"cp -a backups/{name} shell && cd shell && sha256sum -c --quiet SHA256SUMS"
    shell = project.root / "shell"
    units = {"file": count}
    environment = {**project.environment, "PYTHONPATH": f"{project.environment['PYTHONPATH']}{os.pathsep}{_ROOT}"}
    yield [
        Benchmark(
            "d",
            f"a manifest of {count} files in place, compared both ways",
            1.0,
            [
                Way("sha256sum -c", ["sha256sum", "-c", "--quiet", "SHA256SUMS"], tree),
                Way(
                    "the files engine",
                    [sys.executable, "-m", "tests.benchmarks.check_manifest", str(tree)],
                    project.root,
                    environment,
                    shown="python -m tests.benchmarks.check_manifest TREE",
                ),
            ],
            units,
            ["the engine also finds files that the manifest does not list"],
        ),
        Benchmark(
            "d",
            f"the same as a whole drill of a generation of {count} files",
            None,
            [
                Way(
                    "cp -a, sha256sum -c",
                    ["sh", "-c", script],
                    project.root,
                    prepare=lambda: shutil.rmtree(shell, ignore_errors=True),
                ),
                project.way("pytest"),
            ],
            units,
        ),
    ]


def _write(tree: Path, count: int) -> None:
    source = random.Random(1)
    lines = []
    for number in range(count):
        name = f"{number // _IN_A_DIRECTORY:04d}/{number % _IN_A_DIRECTORY:03d}.dat"
        content = source.randbytes(source.randrange(_LARGEST))
        if number % _IN_A_DIRECTORY == 0:
            (tree / name).parent.mkdir(parents=True)
        (tree / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  ./{name}\n")
    (tree / "SHA256SUMS").write_text("".join(lines))
