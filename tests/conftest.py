"""Shared by all of the project's own tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

import pytest

# A shell ignores SIGINT on behalf of what it runs in the background, and what is ignored is inherited: the processes
# that tests interrupt must not depend on how the tests were started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Where a program is installed; without it the test is skipped, and fails where CI=true."""

    def find(name: str) -> str:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is None:
            reason = f"{name} is not installed; ci/test installs it where it may"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find
