"""What the document says of one drill: how deep it came, what was achieved, by which key, where, and what is left."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import validate
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.evidence.account import DrillAccount
from restore_drill.evidence.document import Course, build
from restore_drill.evidence.drilled import CLOCK, Earlier, reached
from restore_drill.evidence.isolation import disposal, isolation
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.results import CaseResult
from restore_drill.run import Run, RunOptions
from restore_drill.secrets import SecretReference

DIGEST = "d7" * 32
SNAPSHOT = {"id": "20261123T015000Z", "kind": "full", "taken_at": "2026-11-23T01:50:00.000Z", "artifacts": ["db/1.age"]}
LOCATED = {"now": 1795399200.0, "taken": 1795398600.0, "points": 12, "snapshot": SNAPSHOT}
LAYER = {"format": "age", "opened_by": "age1recipient"}
ARTIFACT = {"key": "db/1.age", "sha256": DIGEST, "layers": [LAYER, {"format": "gzip"}]}
FETCHED = {"artifacts": [ARTIFACT], "broken": {}, "unusable": None, "encrypted": "age"}
SANDBOX = {"kind": "directory", "network": "none", "processes": "own", "writes": "sandbox directory", "landlock": 7}
RESTORED = {"rto_seconds": 4.5, "sandbox": SANDBOX, "facts": {"sqlite": "3.45.1"}}
STARTED = "2026-11-23T02:00:00.000Z"


def line(stage: str, facts: Any) -> dict[str, Any]:
    return {"stage": stage, "started": STARTED, "seconds": 1.0, "facts": facts}


def check(case: str, facts: Any) -> dict[str, Any]:
    return {"check": [case, ""], "started": STARTED, "seconds": 2.0, "facts": facts}


WHOLE = [
    {"started": STARTED, "stage": "locate"},
    line("locate", LOCATED),
    line("fetch", FETCHED),
    line("restore", RESTORED),
    check("newest", {"newest": "2026-11-23T01:49:00+00:00"}),
    check("query", {"answer": 0}),
    line("dispose", {"left": 0, "reason": "", "kept": ""}),
]
TARGET = planned_target(planned_copy(), planned_copy("offsite"), drill_every="1d")


def account(*lines: dict[str, Any], target: PlannedTarget = TARGET) -> DrillAccount:
    return DrillAccount(target, "nas", frozenset(), list(lines))


def built(tmp_path: Path, *lines: dict[str, Any], earlier: Earlier | None = None, **options: Any) -> dict[str, Any]:
    """The document's drill; the whole document is of the form."""
    target = options.pop("target", TARGET)
    run = Run("20261123T020000Z-aaaaaa", tmp_path, plan_of(target), RunOptions(**options))
    case = PlannedCase(target.name, "nas", "located")
    known = account(*lines, target=target)
    known.results.append(CaseResult(case, Verdict.PASSED))
    course = Course(0.0, 60.0, planned=[case], earlier={(target.name, "nas"): earlier} if earlier else {})
    document = build(run, {(target.name, "nas"): known}, {case: known.results[0]}, course)
    validate(document)
    return document["drills"][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("lines", "depth"),
    [
        ([], "nothing"),
        ([line("locate", None)], "nothing"),
        ([line("locate", LOCATED)], "metadata"),
        ([line("locate", LOCATED), line("fetch", None)], "metadata"),
        ([line("locate", LOCATED), line("fetch", {**FETCHED, "broken": {"verify": {}}})], "metadata"),
        ([line("locate", LOCATED), line("fetch", {**FETCHED, "broken": {"unpack": {}}})], "checksum"),
        ([line("locate", LOCATED), line("fetch", {**FETCHED, "unusable": {"cause": "x"}})], "checksum"),
        ([*WHOLE[:3]], "full read"),
        ([*WHOLE[:3], line("restore", {"sandbox": SANDBOX})], "full read"),
        ([*WHOLE[:4]], "restore"),
        ([*WHOLE[:4], check("rows", {})], "restore"),
        ([*WHOLE[:5], check("files", {"files": 3}), check("integrity", {"problems": []})], "restore"),
        (WHOLE, "query"),
    ],
    ids=["no record", "no snapshot", "located", "unfetched", "wrong digest", "damaged", "unfit", "read", "unrestored",
         "restored", "unanswered", "looked at", "asked"],
)  # fmt: skip
def test_how_deep_a_drill_came(lines: list[dict[str, Any]], depth: str) -> None:
    assert reached(account(*lines)) == depth


def test_a_whole_drill_says_what_why_when_and_what_was_achieved(tmp_path: Path) -> None:
    drill = built(tmp_path, *WHOLE)
    assert (drill["started"], drill["finished"], drill["seconds"]) == (STARTED, "2026-11-23T02:00:02.000Z", 2.0)
    assert drill["why"] == {"rule": "newest", "population": 12, "sample": 1, "seed": None}
    assert drill["snapshot"] == {**SNAPSHOT, "sha256": {"db/1.age": DIGEST}}
    assert drill["achieved"] == {
        "rpo_seconds": 600.0, "newest_record_age_seconds": 660.0, "rto_seconds": 4.5, "rto_clock": CLOCK,
    }  # fmt: skip
    assert drill["keys"] == ["age1recipient"]
    assert drill["engine_version"] == "3.45.1"
    assert "due" not in drill and "retest_of" not in drill and "owner" not in drill and "depth" not in drill
    assert built(tmp_path, *WHOLE, snapshot="20261123T015000Z")["why"]["rule"] == "named"


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    drill = built(tmp_path)
    assert not {"started", "snapshot", "isolation", "disposal"} & drill.keys()
    assert (drill["achieved"], drill["keys"], drill["stages"], drill["reached"]) == ({}, [], [], "nothing")


def test_a_drill_is_due_by_the_one_before_and_answers_its_failure(tmp_path: Path) -> None:
    failed = {"run": "earlier", "verdict": "failed", "finished": "2026-11-22T02:00:00.000Z"}
    drill = built(tmp_path, *WHOLE, earlier=Earlier(86400.0, failed))
    assert drill["due"] == {"by": "1970-01-03T00:00:00.000Z", "previous": "1970-01-02T00:00:00.000Z"}
    assert drill["retest_of"] == failed


@pytest.mark.parametrize(
    ("given", "fetched", "told"),
    [
        ({}, {**FETCHED, "artifacts": [ARTIFACT, ARTIFACT]}, ["age1recipient"]),
        (
            {"age": {"passphrase": SecretReference("env", "SHOP_PASS")}},
            {**FETCHED, "artifacts": [{**ARTIFACT, "layers": [{"format": "age", "opened_by": "passphrase"}]}]},
            ["passphrase of env:SHOP_PASS"],
        ),
        (
            {"openssl": {"password": SecretReference("file", "/keys/shop")}},
            {**FETCHED, "encrypted": "openssl", "artifacts": [{**ARTIFACT, "layers": [{"format": "openssl"}]}]},
            ["passphrase of file:/keys/shop"],
        ),
        ({}, {**FETCHED, "encrypted": "", "artifacts": [{**ARTIFACT, "layers": []}]}, []),
        ({}, {**FETCHED, "broken": {"unpack": {}}, "artifacts": [{**ARTIFACT, "layers": [{"format": "age"}]}]}, []),
    ],
    ids=["age", "passphrase", "openssl", "plain", "unopened"],
)
def test_keys_are_told_by_their_ids(tmp_path: Path, given: Any, fetched: dict[str, Any], told: list[str]) -> None:
    target = planned_target(planned_copy(decrypt=given))
    assert built(tmp_path, WHOLE[1], line("fetch", fetched), target=target)["keys"] == told


# --- where it was, and that it is gone --------------------------------------------------------------------------------


def test_a_directory_says_what_it_was_cut_off_from() -> None:
    assert isolation(account(*WHOLE), "drills-1") == {
        "kind": "directory",
        "network": "none",
        "proof": [
            "no network: no interface of it is up",
            "processes of its own namespace only",
            "writes confined to its directory (Landlock 7)",
            "restored on the host drills-1",
        ],
    }
    open_one = {**RESTORED, "sandbox": {"kind": "directory", "network": "host"}}
    assert isolation(account(line("restore", open_one)), "h")["proof"][0] == "the network was not cut off: host"
    assert isolation(account(line("restore", None)), "h") == {}


def test_a_container_says_its_image_and_a_cluster_who_it_is() -> None:
    image = f"sha256:{DIGEST}"
    sandbox = {
        "kind": "container",
        "network": "none",
        "engine": {},
        "image": "postgres:17",
        "image_id": "sha256:" + "0" * 64,
    }
    found = {"sandbox": {**sandbox, "engine": {"name": "docker"}, "image_digests": [f"postgres@{image}"]}}
    physical = {"kind": "physical", "system_identifier": "7123", "archive_mode": "off"}
    told = isolation(account(line("restore", {**RESTORED, **found, "facts": physical})), "h")
    assert (told["image"], told["image_digest"], told["system_identifier"]) == ("postgres:17", image, "7123")
    assert any("a copy of the original's files (system_identifier 7123)" in each for each in told["proof"])
    assert "archive_mode off" in told["proof"]
    assert "no network: as the container engine reports it" in told["proof"]
    local = isolation(account(line("restore", {"sandbox": {**sandbox, "image_digests": []}})), "h")
    assert local["image_digest"] == sandbox["image_id"]
    own = isolation(account(line("restore", {**found, "facts": {"system_identifier": "9"}})), "h")
    assert "a cluster of its own, made for this drill: system_identifier 9" in own["proof"]


def test_disposal_says_when_and_how_it_was_confirmed() -> None:
    assert disposal(account(*WHOLE)) == {
        "at": "2026-11-23T02:00:01.000Z", "confirmed": ["everything below its work directory was removed"], "left": 0,
    }  # fmt: skip
    container = {"left": 0, "reason": "", "kept": "", "confirmed": "docker knows it no more"}
    assert disposal(account(line("dispose", container)))["confirmed"][1] == "docker knows it no more"
    left = disposal(account(line("dispose", {"left": 2, "reason": "busy", "kept": ""})))
    assert (left["left"], left["reason"], left["confirmed"]) == (2, "busy", [])
    kept = disposal(account(line("dispose", {"left": 0, "reason": "", "kept": "/work/x"})))
    assert (kept["kept"], kept["confirmed"]) == (True, [])
    assert disposal(account()) == {}


# --- what the catalogue promises --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "expires", "state"),
    [
        (Verdict.EXCEPTED, "2099-01-01", "in force"),
        (Verdict.PASSED, "2099-01-01", "stale"),
        (Verdict.ERROR, "2099-01-01", "not exercised"),
        (None, "2099-01-01", "not exercised"),
        (Verdict.FAILED, "1969-12-31", "expired"),
    ],
)
def test_what_became_of_an_exception(tmp_path: Path, verdict: Verdict | None, expires: str, state: str) -> None:
    given = {"id": "EX-7", "target": "orders-db", "case": "rpo", "reason": "replaced", "approver": "ciso"}
    target = planned_target(planned_copy(), exceptions=({**given, "expires": expires},))
    run = Run("r", tmp_path, plan_of(target))
    case = PlannedCase("orders-db", "nas", "rpo")
    results = (
        {case: CaseResult(case, verdict, exception="EX-7" if verdict is Verdict.EXCEPTED else "")} if verdict else {}
    )
    document = build(run, {}, results, Course(0.0, timedelta(hours=1).total_seconds()))
    validate(document)
    assert document["exceptions"] == [{**given, "expires": expires, "state": state}]


def test_the_population_is_the_whole_catalogue(tmp_path: Path) -> None:
    offsite = planned_copy("offsite", store={"offsite": True, "immutable": True, "media": "tape"})
    other = planned_target(planned_copy(), offsite, name="other", owner="web team", drill_every="7d")
    run = Run("r", tmp_path, plan_of(TARGET, other))
    case = PlannedCase("orders-db", "nas", "located")
    document = build(run, {}, {case: CaseResult(case, Verdict.PASSED)}, Course(0.0, 1.0, planned=[case]))
    validate(document)
    first, second = document["population"]
    assert (first["target"], "owner" in first, second["owner"]) == ("orders-db", False, "web team")
    assert (second["engine"], second["drill_every_seconds"], second["rpo_seconds"]) == ("sqlite", 604800.0, 3600.0)
    assert second["copies"][1] == {
        "copy": "offsite", "store": "offsite", "medium": "tape", "offsite": True, "immutable": True,
    }  # fmt: skip
    everything = len(TARGET.cases()) + len(other.cases())
    assert document["run"]["selection"] == {"cases": 1, "of_cases": everything, "targets": 1, "of_targets": 2}
