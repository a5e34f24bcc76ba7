"""Leaving out what stages measured must leave out nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import document, history

from restore_drill.cli.status_reading import entries, without_stages
from restore_drill.ledger.directory import DirectoryLedger


def shortened(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, "drills": [{**drill, "stages": []} for drill in found["drills"]]}


def test_entries_are_the_same_but_for_their_stages(tmp_path: Path) -> None:
    ledger = DirectoryLedger(tmp_path)
    for each in history(60, targets=3, faults=0.3):
        ledger.append("run", each)
    ledger.append("review", {"run": "x", "reviewer": "alice"})
    ledger.append("run", document(selected=()))
    whole, short = list(ledger.entries()), list(entries(ledger))
    assert len(whole) == 12
    assert whole != short
    for one, other in zip(whole, short, strict=True):
        assert other.evidence == (shortened(one.evidence) if one.kind == "run" else {})
        assert (other.digest, other.previous, other.run, other.kind, other.review, other.key_id) == (
            one.digest, one.previous, one.run, one.kind, one.review, one.key_id
        )  # fmt: skip


def _sorted(found: dict[str, Any]) -> dict[str, Any]:
    ordered: dict[str, Any] = json.loads(json.dumps(found, sort_keys=True))
    return ordered


def _with_cases_in_a_stage(found: dict[str, Any]) -> dict[str, Any]:
    found["drills"][0]["stages"][0]["facts"] |= {"list": [1], "cases": [{"verdict": "passed"}], "rest": [[]]}
    return found


def _with_stages_elsewhere(found: dict[str, Any]) -> dict[str, Any]:
    found["run"]["stages"] = [1]
    return found


def _quoted(found: dict[str, Any]) -> dict[str, Any]:
    found["drills"][1]["stages"][0]["facts"]["where"] = '],"cases":[ "stages":['
    return found


@pytest.mark.parametrize("change", [_sorted, _with_cases_in_a_stage, _with_stages_elsewhere, _quoted])
def test_what_does_not_fit_is_read_whole(tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    found = change(document(targets=3))
    ledger = DirectoryLedger(tmp_path)
    ledger.append("run", found)
    (entry,) = entries(ledger)
    assert entry.evidence == (shortened(found) if change is _quoted else found)


def test_no_drill_is_lost_whatever_the_order() -> None:
    payload = json.dumps(_sorted(document(targets=3)), separators=(",", ":")).encode()
    cut, count = without_stages(payload)
    assert count == -1
    assert cut == payload
