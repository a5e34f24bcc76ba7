"""What the end-to-end tests share."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.estate import BUCKET
from tests.support.matrix import FaultMatrix, Matrix, run_matrix, twins
from tests.support.servers import S3Server, moto

from restore_drill.whole_files import write_whole


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server in a process of its own, with the bucket that estates use."""
    directory: Path = tmp_path_factory.mktemp("cloud")
    with moto(directory) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """The faults of a module, its ``ROWS``, in few runs; ``IN_CLOUD`` and ``CONFTEST`` say what these need besides.

    Workers that share the tests of a module share its runs: whoever is first makes them.
    """
    module, base = request.module, tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / module.__name__.rpartition(".")[2]
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = place / "matrix.pickle"
        if not result.exists():
            shutil.rmtree(place, ignore_errors=True)  # a worker failed to make it
            place.mkdir()
            cloud: S3Server | None = request.getfixturevalue("cloud") if getattr(module, "IN_CLOUD", False) else None
            server = (cloud.client(), cloud.endpoint) if cloud else None
            made = run_matrix(place / "project", module.ROWS, server, conftest=getattr(module, "CONFTEST", ""))
            write_whole(result, pickle.dumps(made))
        found: Matrix = pickle.loads(result.read_bytes())
        return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each row of a module, and for the undamaged twin of each."""
    if metafunc.cls is None or not issubclass(metafunc.cls, FaultMatrix):
        return
    rows = metafunc.module.ROWS
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", rows, ids=str)
    if "undamaged" in metafunc.fixturenames:
        metafunc.parametrize("undamaged", twins(rows))
