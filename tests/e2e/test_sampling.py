"""Older snapshots are drilled beside the newest: what is drawn, what is found, and what must not be moved by it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.documents import follow
from tests.support.installed import ROOT, environment
from tests.support.project import Outcome, Project, database

from restore_drill.cli import main
from restore_drill.older import LIMIT
from restore_drill.sampling import Sampling, choose, detection

#: The first test of a worker waits for all runs of its fixture.
pytestmark = pytest.mark.timeout(1200)
_PAGE = ROOT / "docs" / "sampling.md"
_SEED = 7
#: Older snapshots of each target that has any, and of the vault.
_OLDER, _KEPT = 6, 2


_NONE = Outcome(0, "")


@dataclass
class Weeks:
    """A project, and the runs over it, one after the other.

    Attributes:
        drawn: The ids that the first run must draw of ``good``.
        damaged: The id of the older snapshot of ``worn`` that rotted, in the store and in its mirror.
        before: What was known of ``good`` after the first run.
        seconds: What was remembered then of how long a drill of each target takes.
    """

    project: Project
    damaged: str = ""
    drawn: Sequence[str] = ()
    first: Outcome = _NONE
    all: Outcome = _NONE
    again: Outcome = _NONE
    mended: Outcome = _NONE
    unreachable: Outcome = _NONE
    refused: tuple[int, str] = (0, "")
    accepted: tuple[int, str] = (0, "")
    before: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    status: tuple[int, str] = (0, "")
    status_mended: tuple[int, str] = (0, "")

    def known(self) -> dict[str, Any]:
        """The history of ``good`` without what the next drill of the newest snapshot changes."""
        found = json.loads((self.project.root / "state" / "targets" / "good.json").read_bytes())["copies"]["nas"]
        pins = {key: pin["sha256"] for key, pin in found["pins"].items()}
        return {"pins": pins, **{name: found.get(name) for name in ("highest", "oldest_seen", "judged_until", "gaps")}}


def _back_up(project: Project) -> None:
    """Hourly backups of a shop that grows; every older one has fewer orders than the rule for the newest allows."""
    for name, count in (("good", _OLDER), ("worn", _OLDER), ("vault", _KEPT)):
        for number in range(1, count + 1):
            for store in project.targets[name]["copies"]:
                project.put(name, database(20 - number), age=timedelta(minutes=50 * number), store=store)


def _keys(project: Project, target: str) -> list[str]:
    """Keys of older snapshots, newest first."""
    return [f"{target}/{path.name}" for path in sorted((project.root / "stores/nas" / target).glob("*.db"))[-2::-1]]


def _drawn(project: Project, target: str, size: int = 2, copy: str = "nas") -> list[str]:
    """What the first run must draw: nothing was drilled before."""
    found = choose(Sampling(size, _SEED), (target, copy), _keys(project, target), {})
    return [Path(each.identity).stem for each in found]


def _rot(project: Project) -> str:
    """Damage a snapshot that the first run does not draw, and let the mirror replicate it."""
    spared = {*_drawn(project, "worn"), *_drawn(project, "worn", copy="mirror")}
    key = next(key for key in _keys(project, "worn") if Path(key).stem not in spared)
    for store in ("nas", "mirror"):
        path = project.root / "stores" / store / key
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    return Path(key).stem


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Weeks:
    project = Project(tmp_path_factory.mktemp("sampling") / "p", ["good", "worn", "young", "vault"], ("nas", "mirror"))
    for name in ("good", "young", "vault"):
        del project.targets[name]["copies"]["mirror"]
    project.targets["vault"]["checksum"] = "pinned"
    project.targets["good"]["expect"] = {
        "rows": {"orders": {"min": 20, "max_drop": "1%"}},
        "queries": [{"name": "all are there", "sql": "select count(*) from orders", "equals": 20}],
        "newest_only": ["query"],
    }
    project.write()
    _back_up(project)
    found = Weeks(project, _rot(project), _drawn(project, "good"))
    found.first = project.run("--snapshots=sample:2", f"--sample-seed={_SEED}")
    found.before = found.known()
    found.seconds = json.loads((project.root / "state" / "durations.json").read_bytes())
    found.all = project.run("--snapshots=all")
    found.after = found.known()
    found.status = _command(project, "status")
    project.put("vault", database(3), age=timedelta(minutes=50))
    found.again = project.run("--snapshots=sample:2", "-n2")
    for store in ("nas", "mirror"):
        for path in (project.root / "stores" / store / "worn").glob(f"{found.damaged}.db*"):
            path.unlink()
    (lost,) = _sample(found.again, "vault")["failed"]
    accept = ("baseline", "accept", "vault", "--reason", "the store is immutable", "--snapshot")
    found.refused = _command(project, *accept, "20200101T000000Z")
    found.accepted = _command(project, *accept, lost)
    found.mended = project.run("--snapshots=sample:1")
    found.status_mended = _command(project, "status")
    shutil.move(project.root / "stores" / "nas", project.root / "stores" / "away")
    found.unreachable = project.run("--snapshots=sample:2", "-k", "good")
    return found


def _command(project: Project, *arguments: str) -> tuple[int, str]:
    """The status of a command, and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main([*arguments, "--catalogue", str(project.path)])
    return status, printed.getvalue()


def _sample(run: Outcome, target: str, copy: str = "nas") -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(
        each for each in run.evidence["samples"] if (each["target"], each["copy"]) == (target, copy)
    )
    return found


def _slots(run: Outcome, target: str) -> dict[str, Mapping[str, Any]]:
    return {
        key.partition("/")[2]: drill for key, drill in run.drills.items()
        if drill["target"] == target and drill["why"]["rule"] == "sampled"
    }  # fmt: skip


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_a_drill_takes_as_long_as_its_newest_snapshot(weeks: Weeks) -> None:
    """Plans and costs reckon with it, and count older snapshots by themselves."""
    cases = [each for each in weeks.first.junit.iter("testcase") if "/good/" in each.get("name")]
    newest = [float(each.get("time")) for each in cases if "~" not in each.get("name")]
    assert 0 < len(newest) < len(cases)
    assert weeks.seconds["good"] == pytest.approx(sum(newest), abs=0.001 * len(newest))


def test_the_seed_draws_what_anybody_can_draw_again(weeks: Weeks) -> None:
    run = weeks.first
    run.check_whole()
    assert run.status == 0, run.screen
    slots = _slots(run, "good")
    assert [slots["nas~1"]["snapshot"]["id"], slots["nas~2"]["snapshot"]["id"]] == weeks.drawn
    assert slots["nas~1"]["why"] == {
        "rule": "sampled", "of": "nas", "sample": 2, "population": _OLDER, "drawn": "never drilled", "seed": _SEED
    }  # fmt: skip
    assert all(drill["scope"] == "whole" and LIMIT in drill["limits"] for drill in slots.values())


def test_an_older_snapshot_is_judged_by_itself(weeks: Weeks) -> None:
    """It has fewer orders than today's rules ask for, and that is right."""
    cases = {case["case"]: case for case in _slots(weeks.first, "good")["nas~1"]["cases"]}
    assert list(cases) == [
        "located",
        "fetched",
        "checksum",
        "unpacks",
        "restores",
        "rto",
        "integrity",
        "rows",
        "disposed",
    ]
    assert (cases["rows"]["expected"], cases["rows"]["actual"] < 20) == ("at least 1", True)
    assert "rpo_seconds" not in _slots(weeks.first, "good")["nas~1"]["achieved"]
    assert weeks.first.verdicts["good/nas/query/all-are-there"] == "passed"


def test_a_target_without_older_snapshots_has_no_such_cases(weeks: Weeks) -> None:
    assert not _slots(weeks.first, "young")
    assert not [name for name in weeks.first.testcases if "young" in name and "~" in name]
    assert _sample(weeks.first, "young")["population"] == 0
    assert "young/nas: there is none beside the newest" in weeks.first.screen


def test_only_what_is_selected_is_listed(weeks: Weeks) -> None:
    assert [each["target"] for each in weeks.unreachable.evidence["samples"]] == ["good"]


# --- what is found ----------------------------------------------------------------------------------------------------


def test_a_mirror_that_replicates_damage_is_found_out(weeks: Weeks) -> None:
    """Row 81: the newest of both copies is good and they agree; older ones in both are not what they were."""
    run = weeks.all
    run.check_whole()
    assert run.status == 1
    slots = {name: drill for name, drill in _slots(run, "worn").items() if drill["snapshot"]["id"] == weeks.damaged}
    assert sorted(name.partition("~")[0] for name in slots) == ["mirror", "nas"]
    assert run.causes == {f"worn/{name}/checksum": "failed" for name in slots}
    assert run.verdicts["worn//agree"] == "passed"
    assert f"FAILED: {weeks.damaged}" in run.screen
    assert len(_slots(run, "good")) == _OLDER
    assert all(drill["verdict"] == "passed" for drill in _slots(run, "good").values())


def test_status_does_not_forget_it_until_it_is_gone(weeks: Weeks) -> None:
    code, text = weeks.status
    assert code == 1
    assert text.startswith("2 older snapshots failed and are still kept.")
    assert text.count(f"failed: {weeks.damaged}") == 2
    assert weeks.mended.status == 0, weeks.mended.screen
    assert _sample(weeks.mended, "worn")["failed"] == []
    code, text = weeks.status_mended
    assert (code, "still kept" in text) == (0, False), text


def test_what_failed_is_drilled_again_first(weeks: Weeks) -> None:
    run = weeks.again
    run.check_whole()
    retest, other = _slots(run, "worn")["nas~1"], _slots(run, "worn")["nas~2"]
    assert (retest["snapshot"]["id"], retest["why"]["drawn"]) == (weeks.damaged, "failed before")
    assert retest["retest_of"]["run"] == weeks.all.evidence["run"]["id"]
    assert (other["verdict"], other["why"]["drawn"]) == ("passed", "drilled longest ago")


def test_an_older_artifact_that_was_pinned_may_not_change(weeks: Weeks) -> None:
    """Nobody recorded its digest; the drill before did."""
    pinned = {name: drill["verdict"] for name, drill in _slots(weeks.again, "vault").items()}
    assert sorted(pinned.values()) == ["failed", "passed"]
    failed = next(name for name, verdict in pinned.items() if verdict == "failed")
    message = weeks.again.cases[f"vault/{failed}/checksum"]["message"]
    assert "pinned at the first drill was" in message
    assert weeks.again.verdicts["vault/nas/checksum"] == "passed"


def test_what_is_lost_and_cannot_be_removed_is_given_up(weeks: Weeks) -> None:
    """Such as in a bucket that is locked for a year: nobody reads a night that is red for a year."""
    (lost,) = _sample(weeks.again, "vault")["failed"]
    assert weeks.accepted == (0, "vault: accepted; no run draws it any more\n")
    assert weeks.refused[0] == 2
    assert "earlier drills of vault know no older snapshot that failed" in weeks.refused[1]
    known = _sample(weeks.mended, "vault")
    assert (known["accepted"], known["failed"], known["population"]) == ([lost], [], _KEPT - 1)
    assert [drill["snapshot"]["id"] for drill in _slots(weeks.mended, "vault").values()] != [lost]
    assert f"given up: {lost}" in weeks.mended.screen
    assert f"given up: {lost}" in weeks.status_mended[1]


def test_a_store_that_is_away_is_told_once_a_copy(weeks: Weeks) -> None:
    run = weeks.unreachable
    run.check_whole()
    assert run.status == 75
    assert _sample(run, "good")["problem"]
    assert set(run.causes) == {"good/nas/located", "good/nas~1/located"}
    assert "could not be listed when the run began" in run.cases["good/nas~1/located"]["message"]


# --- what it says, and what it must not move --------------------------------------------------------------------------


def test_coverage_adds_up_and_the_chance_with_it(weeks: Weeks) -> None:
    first, everything, again = (_sample(run, "good") for run in (weeks.first, weeks.all, weeks.again))
    assert (first["population"], first["drawn"], first["drilled"], first["never_drilled"]) == (_OLDER, 2, 2, 4)
    assert first["detection"][0] == {"damaged": 1, "this_run": 0.333333, "so_far": 0.333333}
    assert (everything["drilled"], everything["seed"], everything["rule"]) == (_OLDER, None, "all")
    assert everything["detection"][0]["this_run"] == 1.0
    assert again["detection"][0] == {"damaged": 1, "this_run": 0.333333, "so_far": 1.0}
    assert weeks.all.evidence["run"]["started"] <= again["since"] < weeks.again.evidence["run"]["started"]


def test_the_history_of_the_newest_is_not_moved(weeks: Weeks) -> None:
    assert weeks.before == weeks.after
    state = weeks.project.root / "state"
    known = json.loads((state / "targets" / "good.json").read_bytes())["copies"]
    assert list(known) == ["nas"]
    newest = weeks.all.drills["good/nas"]["snapshot"]["id"]
    assert {each["snapshot"] for each in known["nas"]["recent"]} == {newest, ""}, "the store was away once"
    assert known["nas"]["passed"]["counts"] == {"orders": 20}


def test_reports_tell_older_snapshots_apart(weeks: Weeks) -> None:
    assert weeks.all.directory is not None
    summary = (weeks.all.directory / "summary.md").read_text()
    assert (
        "All 5 backups that this run drilled were restored and verified. Of 20 older snapshots that it drilled, "
        in (summary)
    )
    assert "| `critical` | 5 of 5 | 5 | 0 | 0 | 0 |" in summary
    row = next(line for line in summary.splitlines() if line.startswith("| `worn / nas`"))
    assert row == f"| `worn / nas` | 6 | 6 | 6 |  | 100 % | `{weeks.damaged}` |"
    page = (weeks.all.directory / "report.html").read_text()
    assert '<h2 id="older">Older snapshots</h2>' in page
    assert f"pytest drills/ --snapshot {weeks.damaged} -k " in page


# --- the page about it ------------------------------------------------------------------------------------------------


def test_the_page_can_be_followed(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "sha256sum", "jq"):
        require_program(program)
    followed = follow(_PAGE, tmp_path, environment().variables)
    assert len([command for command in followed if command.startswith("pytest")]) == 2


def test_the_pages_figures_are_right() -> None:
    rows = re.findall(
        r"^\| (\d+) \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) % \|$", _PAGE.read_text("utf-8"), re.M
    )
    assert len(rows) == 6
    for kept, drilled, *told in rows:
        found = [f"{100 * detection(int(kept), int(drilled), damaged):.1f}" for damaged in (1, 3, 9)]
        assert told == found, (kept, drilled)
