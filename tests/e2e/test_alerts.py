"""Nights of real runs with channels and dead-man's switches: what is told, when, and what that changes (nothing)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.contents import shop
from tests.support.documents import follow
from tests.support.estate import Outcome, Project
from tests.support.installed import ROOT, environment
from tests.support.matrix import Site
from tests.support.receivers import Receiver, receiver

from restore_drill.cli import main

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
KEY = "h00kC4naryKey77"
#: Kills the run in the middle of its first drill, as a machine that runs out of memory does.
_KILLER = """
import os, signal

def pytest_runtest_teardown(item):
    if os.environ.get("E2E_DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Estate:
    """One target that is backed up every night, two channels of which one refuses, and a switch."""

    def __init__(self, root: Path, stack: ExitStack, now: datetime) -> None:
        self.project = project = Project(root, now)
        self.oncall, self.refuses = stack.enter_context(receiver()), stack.enter_context(receiver(403))
        self.switch: Receiver = stack.enter_context(receiver())
        project.catalogue["tiers"] = {"nightly": {"rpo": "1d", "rto": "15m", "drill_every": "1d"}}
        project.catalogue["alerts"] = {
            "oncall": project.secret("oncall", f"json://127.0.0.1:{self.oncall.port}/{KEY}-a"),
            "refuses": project.secret("refuses", f"json://127.0.0.1:{self.refuses.port}/{KEY}-b"),
        }  # fmt: skip
        switch = f"http://127.0.0.1:{self.switch.port}/{KEY}"
        fail = project.secret("fail", f"{switch}/fail")
        project.catalogue["pings"] = {"nightly": {"url": project.secret("ping", switch), "fail_url": fail}}
        project.conftest(_KILLER)
        self.site = Site(project, "orders", "nightly")
        self.site.copy("{time:%Y%m%d_%H%M%S}.db")
        self.site.options["expect"] = {"rows": {"orders": {"min": 1}}}

    def back_up(self, number: int, *, damaged: bool = False) -> None:
        when = self.project.now + number * _HOUR
        path = self.site.disk(self.site.put(self.project.now - when, shop(when)))
        if damaged:
            path.write_bytes(path.read_bytes()[:-100])


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Estate]:
    with ExitStack() as stack:
        yield Estate(tmp_path / "project", stack, datetime.now(UTC) - 4 * _HOUR)


@pytest.fixture
def alert(
    there: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """What ``restore-drill alert`` says, some time from now."""

    def run(*arguments: str, after: timedelta) -> list[str]:
        now = time.time() + after.total_seconds()
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda: now)
            patch.chdir(there.project.root)
            assert main(["alert", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def alerts_of(run: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.directory / "alerts.json").read_text())
    return found


def test_what_is_told_and_what_that_changes(there: Estate, alert: Callable[..., list[str]]) -> None:
    """A bad night and a good one; then cron looks at the calendar; a run is killed; everything comes back."""
    failed, recovered, overdue = (f"restore-drill: 1 {word}" for word in ("failed", "recovered", "overdue"))
    there.back_up(0, damaged=True)
    bad = there.project.drill("--log-file=run.log", "--log-file-level=DEBUG")
    assert (bad.status, bad.evidence["verdict"], bad.evidence["problems"]) == (1, "failed", [])
    why = "it answered HTTP 403"
    assert alerts_of(bad)["undelivered"] == [{"channel": "refuses", "why": why}]
    for line in (
        f"alert sent to oncall: {failed}",
        f"ALERT NOT DELIVERED to refuses: {why}",
        "ping withheld for nightly",
    ):
        assert line in bad.screen
    there.back_up(1)
    good = there.project.drill()
    assert (good.status, alerts_of(good)["undelivered"], alerts_of(good)["pinged"]) == (0, [], ["nightly"])
    assert (there.oncall.titles, _metric(bad), _metric(good)) == ([failed, recovered], 1, 0)
    # A recovery is no news to whoever never heard of the trouble.
    assert [request.path for request in there.switch.take()] == [f"/{KEY}/fail", f"/{KEY}"]
    there.refuses.answers[:] = [200]
    assert [line.strip() for line in alert("--dry-run", after=3 * _DAY)][1] == overdue
    assert alert(after=3 * _DAY) == [f"alert sent to {name}: {overdue}" for name in ("oncall", "refuses")]
    there.project.environment["E2E_DIE"] = "1"
    there.project.drill()
    there.project.environment.clear()
    assert alert(after=3 * _DAY)[0] == "alert sent to oncall: restore-drill: 1 could not be verified"
    assert "the run crashed" in there.oncall.take()[1].json["message"]
    assert (there.project.drill().status, there.oncall.titles) == (0, ["restore-drill: 2 recovered"])
    _no_secret_is_anywhere(there.project.root)


def _metric(run: Outcome) -> float:
    lines = (run.directory / "metrics.prom").read_text().splitlines()
    (line,) = [line for line in lines if "undelivered" in line and not line.startswith("#")]
    return float(line.rpartition(" ")[2])


def _no_secret_is_anywhere(root: Path) -> None:
    written = [path for path in root.rglob("*") if path.is_file() and path.parent.name != "keys"]
    assert root / "run.log" in written
    holding = [str(path) for path in written if KEY.encode() in path.read_bytes()]
    assert holding == []


def test_the_page_about_alerts(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "sha256sum"):
        require_program(program)
    done = follow(ROOT / "docs/alerts.md", tmp_path, environment().variables)
    assert sum(command.startswith("pytest drills/ -m critical") for command in done) == 2
    assert "restore-drill alert --test" in done
