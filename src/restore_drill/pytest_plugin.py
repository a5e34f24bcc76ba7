"""The pytest plugin: loaded by every pytest run on a machine, inert until a catalogue is found.

Everything else is imported when there is something to drill, so that this costs nothing where there is not.
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from restore_drill.pytest_support.view import CaseView

#: Where a project's catalogue is looked for, below its own directory.
DEFAULT_CATALOGUE = os.path.join("drills", "targets.yaml")  # noqa: PTH118 - pathlib costs more than the whole plugin
_NAME = "restore-drill"
_WITHOUT_CATALOGUE = "restore-drill: no catalogue"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a drill."""
    group = parser.getgroup(_NAME, "restore drills")
    group.addoption("--catalogue", metavar="PATH", help="Catalogue of backup targets (default: drills/targets.yaml).")
    group.addoption("--snapshot", metavar="ID", default="", help="Drill this snapshot instead of the newest.")
    group.addoption(
        "--snapshots", metavar="WHICH", default="",
        help="latest (the default): the newest snapshot of each copy; sample:N: N older ones, too; all: all of them.",
    )  # fmt: skip
    group.addoption(
        "--sample-seed", metavar="NUMBER", type=int, default=None,
        help="Draw older snapshots by this seed (default: a new one; evidence records it).",
    )  # fmt: skip
    group.addoption(
        "--keep-restored", action="store_true", help="Leave what was restored for inspection, and say where it is."
    )
    group.addoption(
        "--fresh-sandboxes", action="store_true", help="Give every drill a sandbox process that served no other one."
    )
    group.addoption(
        "--break-glass", action="store_true",
        help="Drill with the escrowed keys alone, in an environment stripped to what break_glass: names.",
    )  # fmt: skip
    group.addoption("--work-dir", metavar="DIR", default="", help="Where drills restore to (default: TMPDIR).")
    group.addoption("--reports-dir", metavar="DIR", default="", help="Where runs are written (default: reports).")
    group.addoption(
        "--junit-strict", action="store_true",
        help="Write junit-strict.xml, too: without properties in a case, as Jenkins' schema of JUnit wants it.",
    )  # fmt: skip
    group.addoption(
        "--shard", metavar="I/N", default="",
        help="Drill the I-th of N parts of what is selected; auto: as CI_NODE_INDEX and CI_NODE_TOTAL say, auto/N: as "
        "JOB_COMPLETION_INDEX says.",
    )  # fmt: skip
    group.addoption(
        "--plan", metavar="FILE", default="",
        help="With --shard: drill what this file of restore-drill plan --out says, spread as it says.",
    )  # fmt: skip
    group.addoption(
        "--heartbeat", metavar="SECONDS", type=_seconds, default=30.0,
        help="How often a log is told what takes long (default: 30); a terminal shows it all the time.",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Wake up when there is a catalogue for this run."""
    config.addinivalue_line("markers", "target(name, ...): drill these targets in a case of your own.")
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        if _NAME in worker:
            from restore_drill.pytest_support.session import start_worker

            start_worker(config, worker[_NAME])
        return
    catalogue = _catalogue(config)
    if catalogue is not None:
        from restore_drill.pytest_support.session import start_controller

        start_controller(config, catalogue)
    elif config.getoption("tx", None):
        config.pluginmanager.register(_WithoutCatalogue(), "restore-drill-without-catalogue")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set a standard case up; here, in the plug-in itself, since it is loaded before any conftest and so comes last."""
    running: Any = item.config.pluginmanager.get_plugin("restore-drill-running")
    if running is not None:
        running.set_up(item)


@pytest.fixture
def drill(request: pytest.FixtureRequest) -> Iterator[CaseView]:
    """The drill that a standard case judges, measured as far as the case needs."""
    plugin: Any = request.config.pluginmanager.get_plugin("restore-drill-running")
    if plugin is None or not hasattr(request, "param"):
        raise _no_catalogue(request)
    return plugin.view(request.node)  # type: ignore[no-any-return]


@pytest.fixture
def restored(drill: CaseView) -> Any:
    """The restored system of a target that ``@pytest.mark.target`` names, for a case of your own."""
    return drill.restored


def _seconds(text: str) -> float:
    """A time that can be waited for.

    Raises:
        ArgumentTypeError: It is none; argparse says so.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError(f"give seconds, more than 0 (not {text!r})")
    return seconds


class _WithoutCatalogue:
    """Ends a run whose workers came upon a drill without a catalogue."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, message in report.user_properties:
            if name == _WITHOUT_CATALOGUE:
                pytest.exit(str(message), returncode=pytest.ExitCode.USAGE_ERROR)


def _no_catalogue(request: pytest.FixtureRequest) -> BaseException:
    """What ends the run, at once and not case by case; a worker has its controller end it."""
    message = (
        f"{request.node.nodeid} uses a drill, but no catalogue was found: give --catalogue PATH, set "
        "RESTORE_DRILL_CATALOGUE, or make drills/targets.yaml with restore-drill init"
    )
    if hasattr(request.config, "workerinput"):
        request.node.user_properties.append((_WITHOUT_CATALOGUE, message))
        return pytest.fail.Exception(message, pytrace=False)
    return pytest.exit.Exception(message, returncode=pytest.ExitCode.USAGE_ERROR)


def _catalogue(config: pytest.Config) -> Path | None:
    """The catalogue this run is about: named by option or environment, or found below a directory that is collected."""
    named = config.getoption("--catalogue") or os.environ.get("RESTORE_DRILL_CATALOGUE")
    if named:
        return Path(config.invocation_params.dir, named)
    root, here = str(config.rootpath), str(config.invocation_params.dir)
    for argument in config.args:
        path = os.path.normpath(os.path.join(here, argument.split("::", 1)[0]))  # noqa: PTH118 - as above
        for project in _projects(path, root):
            found = os.path.join(project, DEFAULT_CATALOGUE)  # noqa: PTH118 - as above
            if os.path.isfile(found):  # noqa: PTH113 - as above
                return Path(found)
    return None


def _projects(path: str, root: str) -> Iterator[str]:
    """The directories whose drills a collected path may be about; pytest's root is elsewhere without an ini-file."""
    yield path
    if os.path.commonpath((path, root)) == path:
        yield root
    while path != os.path.dirname(path):  # noqa: PTH120 - as above
        path, name = os.path.split(path)
        if name == "drills":
            yield path
