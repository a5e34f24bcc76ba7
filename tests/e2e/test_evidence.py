"""Every run is on record: what failed and was drilled again, was killed, refused, interrupted, could not be signed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import validate
from tests.support.gates import Gates, wait_for_end
from tests.support.project import CASES, Project

from restore_drill.ledger.base import Entry
from restore_drill.ledger.opening import open_ledger
from restore_drill.ledger.signing import KeySigner, PublicKey
from restore_drill.ledger.verify import verify
from restore_drill.stores.base import StoreSettings


def entries(project: Project, *keys: PublicKey) -> list[Entry]:
    """What is in the ledger, which is whole; every document in it is of the published form."""
    ledger = open_ledger(StoreSettings("state", f"file://{project.root}/state"))
    assert verify(ledger, keys, required=bool(keys)).problems == []
    found = list(ledger.entries())
    for entry in found:
        validate(entry.evidence)
    return found


def runs(project: Project) -> list[tuple[str, str, str]]:
    """Each entry's run, how it ended, and its verdict."""
    told = (entry.evidence for entry in entries(project))
    return [(each["run"]["id"], each["run"]["ended"], each["verdict"]) for each in told]


def markers(project: Project) -> list[str]:
    return sorted(path.name for path in (project.root / "state" / "runs").glob("*"))


# --- a failure, and the drill that answers it -------------------------------------------------------------------------


def test_a_drill_names_the_failure_that_it_answers(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=["good", "bad"])
    signer = KeySigner.generate()
    key = project.file("keys/ledger.key", signer.private_pem().decode())
    key.chmod(0o600)
    public = project.file("keys/ledger.pub", signer.public.pem.decode())
    project.catalogue["ledger"] = {"key": f"file:{key}", "public_keys": [str(public)], "required": True}
    project.write()
    project.break_restore("bad")
    failed = project.run()
    assert failed.status == 1
    failed.check_whole()
    project.put("bad")
    repaired = project.run()
    again = project.run()
    assert (repaired.status, again.status) == (0, 0)
    for outcome in (repaired, again):
        outcome.check_whole()
    answer = repaired.drills["bad/nas"]["retest_of"]
    assert answer["run"] == failed.evidence["run"]["id"] and answer["verdict"] == "failed"
    assert answer["finished"] == failed.drills["bad/nas"]["finished"]
    others = [outcome.drills[drill] for outcome, drill in (
        (failed, "bad/nas"), (failed, "good/nas"), (repaired, "good/nas"), (again, "bad/nas"))]  # fmt: skip
    assert not any("retest_of" in drill for drill in others)
    assert "due" not in failed.drills["good/nas"] and "due" in repaired.drills["good/nas"]
    found = entries(project, signer.public)
    assert [entry.evidence for entry in found] == [failed.evidence, repaired.evidence, again.evidence]
    assert {entry.key_id for entry in found} == {signer.key_id}
    assert f"ledger: entry 2, signed by {signer.key_id[:16]}" in repaired.screen


def test_a_part_of_a_drill_answers_nothing_and_may_find_what_is_to_be_answered(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.break_checksum("db-0")
    part = project.run("-k", "checksum")
    assert part.status == 1
    project.put("db-0")
    passed, whole = project.run("-k", "checksum"), project.run()
    assert passed.status == whole.status == 0
    told = [outcome.drills["db-0/nas"].get("retest_of", {}).get("run") for outcome in (part, passed, whole)]
    assert told == [None, *[part.evidence["run"]["id"]] * 2]


# --- runs without a word ----------------------------------------------------------------------------------------------


def test_two_runs_at_once_tell_of_a_killed_one_once(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "restore")
    killed = project.start("-n", "2")
    pids = [gates.reached(killed, f"db-{number}") for number in range(2)]
    (name,) = markers(project)
    killed.kill()
    for pid in pids:
        wait_for_end(pid)
    gates.open()
    (project.root / "drills" / "conftest.py").unlink()
    together = [project.start("-k", f"db-{number}", "--reports-dir", f"reports-{number}") for number in range(2)]
    assert [each.process.wait(300) for each in together] == [0, 0], (
        "that an earlier run was killed is not their failure"
    )
    found = [entry.evidence for entry in entries(project)]
    assert sorted(each["run"]["ended"] for each in found) == ["complete", "complete", "crashed"]
    (told,) = [each for each in found if each["run"]["ended"] == "crashed"]
    assert told["run"]["id"] == name.removesuffix(".json")
    assert told["run"]["recorded_by"] in {each["run"]["id"] for each in found if each is not told}
    assert (told["verdict"], told["counts"]["error"]) == ("error", 2 * len(CASES))
    assert {(drill["target"], drill["reached"], "snapshot" in drill) for drill in told["drills"]} == {
        ("db-0", "full read", True), ("db-1", "full read", True),
    }  # fmt: skip
    assert {case["blocked_by"] for drill in told["drills"] for case in drill["cases"]} == {"crash"}
    assert all(each["population"] == told["population"] for each in found) and markers(project) == []


def test_a_run_that_is_ended_in_order_tells_itself(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "fetch")
    run = project.start()
    gates.reached(run)
    run.send(signal.SIGTERM)
    outcome = run.end()
    assert runs(project) == [(outcome.evidence["run"]["id"], "interrupted", "error")]
    assert entries(project)[0].evidence == outcome.evidence and markers(project) == []


# --- runs that cannot begin, and what cannot be recorded --------------------------------------------------------------


def test_a_refused_run_is_on_record_and_one_that_only_looks_is_not(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    within = f"--work-dir={project.root}/stores/nas/work"
    refused = project.run(within)
    assert refused.status == pytest.ExitCode.USAGE_ERROR and "(ledger: entry 1, UNSIGNED" in refused.screen
    (entry,) = entries(project)
    assert (entry.evidence["run"]["ended"], entry.evidence["verdict"]) == ("refused", "error")
    assert "drills would restore inside the store 'nas'" in entry.evidence["problems"][0]
    assert entry.evidence["drills"] == [] and len(entry.evidence["population"]) == 1
    assert within in entry.evidence["run"]["arguments"]
    project.run("--collect-only", within)
    assert project.run().status == 0
    assert [ended for _, ended, _ in runs(project)] == ["refused", "complete"]


def test_a_ledger_that_cannot_be_written_is_no_pass_and_costs_no_verdict(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=["good", "bad"])
    project.break_restore("bad")
    (project.root / "state" / "ledger").write_text("in the way")
    outcome = project.run()
    assert outcome.status == 1 and outcome.causes == {"bad/nas/restores": "failed"}
    (problem,) = outcome.evidence["problems"]
    assert "the ledger cannot be written" in problem and "ledger: NO ENTRY" in outcome.screen
    assert len(markers(project)) == 1, "it is not on record yet"
    (project.root / "state" / "ledger").unlink()
    assert project.run("-k", "good").status == 0
    assert [ended for _, ended, _ in runs(project)] == ["crashed", "complete"] and markers(project) == []


def test_without_a_state_there_is_no_ledger(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    (project.root / "state" / "restore-drill.json").unlink()
    outcome = project.run("-k", "located")
    assert outcome.status == 0 and "ledger: NO ENTRY" in outcome.screen
    assert not (project.root / "state" / "ledger").exists() and markers(project) == []


def test_an_entry_that_cannot_be_signed_is_written_and_no_pass(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.catalogue["ledger"] = {"key": "env:NOT_SET_ANYWHERE"}
    project.write()
    outcome = project.run("-k", "located")
    assert outcome.status == 75 and outcome.evidence["counts"]["passed"] == 1
    (problem,) = outcome.evidence["problems"]
    assert problem.startswith("the ledger's entry is not signed: ") and "NOT_SET_ANYWHERE" in problem
    assert "ledger: entry 1, UNSIGNED" in outcome.screen
    (entry,) = entries(project)
    assert entry.evidence == outcome.evidence, "that it is not signed is itself on record"


# --- what only a whole run shows --------------------------------------------------------------------------------------


def test_every_field_of_an_auditors_list_has_a_value(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", stores=("nas", "offsite"))
    project.targets["db-0"] |= {"owner": "payments team"}
    project.targets["db-0"]["expect"]["newest_record"] = {"sql": "select '2026-11-20T00:00:00Z'", "within": "900d"}
    project.write()
    outcome = project.run()
    assert outcome.status == 0
    outcome.check_whole()
    drill: Mapping[str, Any] = outcome.drills["db-0/offsite"]
    assert drill["why"] == {"rule": "newest", "population": 1, "sample": 1, "seed": None}
    assert set(drill["achieved"]) == {"rpo_seconds", "newest_record_age_seconds", "rto_seconds", "rto_clock"}
    assert drill["started"] < drill["finished"] and "due" not in drill
    assert (drill["reached"], drill["scope"], drill["engine"], drill["owner"]) == (
        "query", "whole", "sqlite", "payments team",
    )  # fmt: skip
    (digest,) = drill["snapshot"]["sha256"].values()
    assert digest == drill["cases"][4]["actual"].removeprefix("sha256:")
    assert drill["isolation"]["kind"] == "directory" and drill["isolation"]["proof"][-1].endswith(os.uname().nodename)
    assert drill["disposal"]["left"] == 0 and drill["disposal"]["confirmed"]
    member = outcome.evidence["population"][0]
    assert [copy["offsite"] for copy in member["copies"]] == [False, True]
    run = outcome.evidence["run"]
    assert run["selection"] == {"cases": 27, "of_cases": 27, "targets": 1, "of_targets": 1}
    assert run["tools"]["python"] == sys.version.split()[0] and run["ended"] == "complete"
