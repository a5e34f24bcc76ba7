"""The record of a drill: what is written, when, and what never is."""

from __future__ import annotations

import json
import math
import resource
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.evidence.record import DrillRecord, FactsFile, encode, read, snapshot_facts, stage_facts, to_json
from restore_drill.facts import Located, RestoreFacts
from restore_drill.model import Artifact, Kind, Payload, PayloadForm, Snapshot, Stage
from restore_drill.plan import PlannedCase
from restore_drill.repositories.base import DigestCheck, Transfer
from restore_drill.sandboxes.base import Disposal
from restore_drill.secrets import SecretReference

NOW = datetime(2026, 11, 23, 2, 0, 0, 123456, tzinfo=UTC)
SNAPSHOT = Snapshot(NOW, (Artifact("db/x.db", 10, NOW.timestamp(), version="v1"),))


@pytest.fixture
def record(tmp_path: Path) -> DrillRecord:
    return DrillRecord(FactsFile(tmp_path), "orders-db", "nas")


def lines(directory: Path) -> list[dict[str, Any]]:
    found = read(directory)
    assert found.keys() <= {("orders-db", "nas")}
    return found.get(("orders-db", "nas"), [])


def file(directory: Path) -> Path:
    (path,) = (directory / "facts").iterdir()
    return path


def test_only_the_first_stage_is_announced(record: DrillRecord, tmp_path: Path) -> None:
    record.begin(Stage.LOCATE, NOW)
    begun = {"started": "2026-11-23T02:00:00.123Z", "stage": "locate"}
    assert lines(tmp_path) == [begun]
    record.end(Stage.LOCATE, NOW, 0.1234567, {"points": 3})
    record.begin(Stage.FETCH, NOW)
    ended = {"stage": "locate", "started": begun["started"], "seconds": 0.123457, "facts": {"points": 3}}
    assert lines(tmp_path) == [begun, ended]


def test_a_stage_that_broke_has_no_facts(record: DrillRecord, tmp_path: Path) -> None:
    record.begin(Stage.LOCATE, NOW)
    record.end(Stage.LOCATE, NOW, 1, None)
    assert lines(tmp_path)[1]["facts"] is None


@pytest.mark.parametrize("full", [True, False])
def test_facts_that_cannot_be_written_are_no_pass(record: DrillRecord, tmp_path: Path, full: bool) -> None:
    record.begin(Stage.LOCATE, NOW)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = file(tmp_path).stat().st_size + 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (room if full else soft, hard))
    try:
        if full:  # a part of the line has room
            with pytest.raises(CouldNotVerify, match="what was measured cannot be recorded: File too large") as caught:
                record.end(Stage.LOCATE, NOW, 1, {"points": 3})
            assert "--reports-dir" in caught.value.remedy
        else:
            record.end(Stage.LOCATE, NOW, 1, {"points": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    written = file(tmp_path).read_text("ascii").splitlines()
    assert len(written) == 2 and ('"points":3}}' in written[1]) is not full
    record.end(Stage.FETCH, NOW, 1, {"points": 4})
    stages = [line["stage"] for line in lines(tmp_path) if "facts" in line]
    assert stages == (["fetch"] if full else ["locate", "fetch"]), "a line that was cut spoils no other"


def test_details_of_a_check_stay_out(record: DrillRecord, tmp_path: Path) -> None:
    record.check(PlannedCase("orders-db", "nas", "files"), NOW, 1, {"files": 3, "details": ["letters/to-erika.txt"]})
    assert lines(tmp_path) == []  # with the next stage, or when the drill is closed
    record.close()
    (line,) = lines(tmp_path)
    assert line["check"] == ["files", ""] and line["facts"] == {"files": 3}


def test_what_is_left_is_counted_and_not_named(record: DrillRecord, tmp_path: Path) -> None:
    record.disposed(NOW, 0.5, Disposal(left=("/tmp/a/letters/to-erika.txt",), reason="busy"))
    (line,) = lines(tmp_path)
    assert line["stage"] == "dispose" and line["facts"] == {"left": 1, "reason": "busy", "kept": ""}


def test_nothing_is_written_for_nothing(record: DrillRecord, tmp_path: Path) -> None:
    record.close()
    record.close()
    assert list(tmp_path.iterdir()) == []


def test_the_drills_of_a_process_share_a_file(tmp_path: Path) -> None:
    facts = FactsFile(tmp_path)
    for number, copy in enumerate(("nas", "offsite", "nas")):
        record = DrillRecord(facts, "orders-db", copy)
        record.end(Stage.LOCATE, NOW, number, None)
        record.close()
    facts.close()
    DrillRecord(facts, "orders-db", "nas").end(Stage.LOCATE, NOW, 3, None)
    file(tmp_path)
    found = read(tmp_path)
    assert {key: [line["seconds"] for line in value] for key, value in found.items()} == {
        ("orders-db", "nas"): [0, 2, 3],
        ("orders-db", "offsite"): [1],
    }


def test_of_a_drill_that_was_begun_again_the_last_beginning_counts(tmp_path: Path) -> None:
    """Whatever the numbers of the processes: the first one ended in the middle of it."""
    for process, (later, points) in {"9": (1, 4), "10": (0, 3)}.items():
        facts = FactsFile(tmp_path)
        facts.path = str(tmp_path / "facts" / f"{process}.jsonl")
        record = DrillRecord(facts, "orders-db", "nas")
        record.begin(Stage.LOCATE, NOW + timedelta(seconds=later))
        record.end(Stage.LOCATE, NOW + timedelta(seconds=later), 0.1, {"points": points})
        facts.close()
    assert [line["facts"] for line in lines(tmp_path) if "facts" in line] == [{"points": 4}]


def test_what_several_processes_recorded_is_read_together(tmp_path: Path) -> None:
    for process in range(2):
        facts = FactsFile(tmp_path)
        facts.path = str(tmp_path / "facts" / f"{process}.jsonl")
        DrillRecord(facts, "orders-db", f"copy-{process}").end(Stage.LOCATE, NOW, process, None)
        facts.close()
    assert sorted(copy for _, copy in read(tmp_path)) == ["copy-0", "copy-1"]


@pytest.mark.parametrize("name", ["latin-\udcff", "line\nfeed", "nul\0", "\u2028", "ünïcödé", "\U0001f4be"])
def test_any_name_can_be_written_and_read_back(record: DrillRecord, tmp_path: Path, name: str) -> None:
    snapshot = Snapshot(NOW, (Artifact(f"db/{name}", 1, 0.0),))
    record.end(Stage.LOCATE, NOW, 0, {"snapshot": snapshot_facts(snapshot), name: name})
    (line,) = lines(tmp_path)
    assert line["facts"]["snapshot"]["artifacts"] == [f"db/{name}"]
    assert line["facts"][name] == name


def test_a_secret_is_never_written(record: DrillRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_PASSPHRASE", "correct-horse-battery")
    SecretReference("env", "ORDERS_PASSPHRASE").resolve()
    record.end(Stage.FETCH, NOW, 0, {"cause": "it said correct-horse-battery", "other": "kept"})
    (line,) = lines(tmp_path)
    assert "horse" not in json.dumps(line) and line["facts"]["other"] == "kept"


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_located_snapshot_is_told_without_its_listing() -> None:
    facts = stage_facts(Located(SNAPSHOT, "s3://b/", 1.0, 0.5, 3, 5, 0.0, times=(1.0, 2.0)))
    assert "times" not in facts
    assert facts["snapshot"]["id"] == "20261123T020000Z" and facts["snapshot"]["version"] == "v1"


def test_a_transfer_is_told_without_local_paths() -> None:
    transfer = Transfer(plain="x")
    transfer.payloads = [Payload(PayloadForm.FILE, Path("/tmp/secret-place/payload-0"), "sqlite-database", 10, "ab")]
    transfer.broken = {Stage.UNPACK: BackupFailed("cut", looked_at="s3://b/x", details=("letters/to-erika.txt",))}
    transfer.unusable = CouldNotVerify("not text", looked_at="SHA256SUMS")
    transfer.digests = [DigestCheck("x.db", "x.db.sha256", "sha256", "aa", notes=["a note"])]
    text = encode(stage_facts(transfer))
    facts = json.loads(text)
    assert facts["payloads"] == [{"form": "file", "format": "sqlite-database", "size": 10, "sha256": "ab"}]
    assert facts["broken"] == {"unpack": {"verdict": "failed", "cause": "cut", "looked_at": "s3://b/x"}}
    assert facts["unusable"]["verdict"] == "error"
    assert facts["digests"][0]["notes"] == ["a note"]
    assert "secret-place" not in text and "erika" not in text
    assert json.loads(encode(stage_facts(Transfer(plain="x"))))["unusable"] is None


def test_a_chain_names_its_parents() -> None:
    log = Snapshot(NOW, SNAPSHOT.artifacts, Kind.LOG, timedelta(minutes=1), 2, (SNAPSHOT,))
    facts = snapshot_facts(log)
    assert (facts["kind"], facts["parents"], facts["resolution_seconds"]) == ("log", ["20261123T020000Z"], 60.0)


def test_how_it_came_back_is_told_whole() -> None:
    facts = stage_facts(RestoreFacts("3 tables", 1.0, 2.0, "x86_64", 1, {"network": "none"}, {"tables": 3}, ("n",)))
    assert facts["summary"] == "3 tables" and facts["facts"] == {"tables": 3} and facts["notes"] == ("n",)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (NOW, "2026-11-23T02:00:00.123Z"),
        (date(2026, 11, 23), "2026-11-23"),
        (timedelta(minutes=1), 60.0),
        (Path("/srv/a"), "/srv/a"),
        (b"\xffa", "\\xffa"),
        ({"b", "a"}, ["a", "b"]),
        (Artifact("k", 1, 0.0), {"key": "k", "size": 1, "modified": 0.0, "version": ""}),
        (Stage.FETCH, "fetch"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
        ([Path("/a"), {"n": [math.nan, 1.5]}], ["/a", {"n": ["NaN", 1.5]}]),
    ],
)
def test_every_value_has_a_form(value: Any, written: Any) -> None:
    found = json.loads(encode({"it": value}), parse_constant=pytest.fail)["it"]
    assert found == written or found.items() >= written.items()


def test_what_has_no_place_in_evidence_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no place in evidence"):
        encode({"it": object()})
    with pytest.raises(TypeError, match="type has no place"):
        to_json(Artifact)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
        max_leaves=10,
    )
)
def test_whatever_is_measured_becomes_strict_ascii_json_in_one_line(value: Any) -> None:
    text = encode(value)
    assert text.isascii() and "\n" not in text
    json.loads(text, parse_constant=pytest.fail)
