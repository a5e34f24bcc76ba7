"""Shared by all of the project's own tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# A shell ignores SIGINT on behalf of what it runs in the background, and what is ignored is inherited: the processes
# that tests interrupt must not depend on how the tests were started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Where a program is installed; without it the test is skipped, and fails where CI=true."""

    def find(name: str) -> str:
        # Debian keeps the programs of a PostgreSQL server beside each other by version, and none of them in the path.
        servers = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        path = shutil.which(name, path=":".join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *servers]))
        if path is None:
            reason = f"{name} is not installed; ci/test installs it where it may"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(scope="session")
def require_engine() -> Iterator[Any]:
    """A client of the container engine; without one the test is skipped, and fails where CI=true."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=120)
    except DockerException as problem:
        reason = f"no container engine answers ({problem}); ci/test starts Docker where it may"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield client
    client.close()


@pytest.fixture(scope="session")
def stand_in(require_engine: Any, require_program: Callable[[str], str]) -> Callable[[str], str]:
    """The name of an image made from Debian's packages (``postgres``, ``mariadb``, ``redis``, ``python``, ``app``).

    Where the engine lacks it, it is built first: half a minute, once a machine, whoever asks first.
    """

    @cache
    def build(name: str) -> str:
        require_program("mmdebstrap")
        program = Path(__file__).parents[1] / "fixtures" / "images"
        command = [sys.executable, str(program), "build", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
        if done.returncode:
            pytest.fail(f"the image {name} cannot be built: {done.stderr}")
        return done.stdout.split()[0]

    return build
