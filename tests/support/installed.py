"""The package as its users have it: built, installed by pip into an environment of its own, without the checkout.

The libraries it depends on are those of the environment that runs the tests, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "src/restore_drill/__init__.py").read_text())[1]  # type: ignore[index]
#: What a distribution is built from.
SOURCES = ("src", "drills", "docs", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")

_PIP = """#!/bin/sh
# Downloads nothing: what is needed is there.
command=$1
shift
case $command in
  install | wheel) set -- --no-index --no-deps --no-build-isolation --disable-pip-version-check "$@" ;;
esac
exec "{python}" -m pip "$command" "$@"
"""
_PYTEST = """#!{python}
import sys
import pytest
sys.exit(pytest.main())
"""


def copy_sources(directory: Path) -> Path:
    """What a distribution is built from, as it is now."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, directory / name)
    return directory


def build(directory: Path, kind: str, sources: Path) -> Path:
    """Build a ``wheel`` or an ``sdist`` into a directory."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", directory]
    subprocess.run(command, cwd=sources, check=True, capture_output=True, timeout=300)
    (built,) = directory.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


@cache
def wheel(version: str = VERSION) -> Path:
    """The wheel of a version, built once; all versions are of the same sources."""
    directory = _kept()
    module = directory / "sources/src/restore_drill/__init__.py"
    shutil.copytree(_sources(), directory / "sources")
    module.write_text(module.read_text().replace(f'"{VERSION}"', f'"{version}"'))
    return build(directory / "dist", "wheel", directory / "sources")


@cache
def _sources() -> Path:
    return copy_sources(_kept() / "sources")


@cache
def _holder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="restore-drill-installed-")


def _kept() -> Path:
    return Path(tempfile.mkdtemp(dir=_holder().name))


class Environment:
    """A virtual environment; its programs, and no others of ours, are found by what it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True, timeout=300)
        (libraries,) = directory.glob("lib/python*/site-packages")
        # A directory named here is searched, but what it says itself (editable installations) is not read.
        (libraries / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        for name, text in (("pip", _PIP), ("pytest", _PYTEST)):
            path = directory / "bin" / name
            path.write_text(text.format(python=directory / "bin" / "python"))
            path.chmod(0o755)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a shell in which it is active."""
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR", "TZ") if name in os.environ}
        path = f"{self.directory / 'bin'}:{os.environ['PATH']}"
        ours = {"PATH": path, "HOME": str(self.directory), "VIRTUAL_ENV": str(self.directory), "USER": "tester"}
        # Plugins that only this project's own tests have.
        return {**kept, **ours, "PYTEST_ADDOPTS": "-p no:hypothesispytest -p no:timeout"}

    def run(
        self, *command: str | Path, cwd: Path, status: int | None = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, and expect an exit status."""
        done = subprocess.run(
            [self.directory / "bin" / command[0], *command[1:]],
            cwd=cwd, env={**self.variables, **variables}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert status in (None, done.returncode), f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def install(self, wheel_file: Path) -> None:
        """Install or upgrade, by pip."""
        self.run("pip", "install", "--quiet", wheel_file, cwd=self.directory)


@cache
def environment() -> Environment:
    """An environment with the current version in it, for tests that install nothing else over it."""
    made = Environment(_kept())
    made.install(wheel())
    return made
