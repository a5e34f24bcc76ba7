"""Who ran a drill, where, by which pipeline and with which tools."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version

from restore_drill import __version__
from restore_drill.secrets import redact

_PACKAGES = ("pytest", "pytest-xdist", "boto3", "isal", "backports.zstd", "lz4", "pyrage", "cryptography")


def operator() -> dict[str, str]:
    """The account and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, in a container
        user = str(os.getuid())
    return {"user": user, "host": socket.gethostname()}


def pipeline() -> dict[str, str]:
    """The job that ran it and the commit it ran on, as the common CI systems tell."""
    environment = os.environ
    url = environment.get("CI_JOB_URL") or environment.get("BUILD_URL") or ""
    if not url and environment.get("GITHUB_RUN_ID"):
        server, repository = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
        url = f"{server}/{repository}/actions/runs/{environment['GITHUB_RUN_ID']}"
    commit = environment.get("GITHUB_SHA") or environment.get("CI_COMMIT_SHA") or environment.get("GIT_COMMIT") or ""
    return {name: redact(value) for name, value in (("url", url), ("commit", commit)) if value}


def tools() -> dict[str, str]:
    """Versions of what took part; servers and images tell theirs with the drill."""
    import sqlite3

    found = {"restore-drill": __version__, "python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, int | str]:
    """Cores that the run may use, and the platform."""
    return {"cores": len(os.sched_getaffinity(0)), "platform": platform.platform()}
