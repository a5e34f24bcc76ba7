"""What is said of targets that came back together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from restore_drill.catalogue.sets import SetApplication, SetModel
from restore_drill.plan import PlannedSet
from restore_drill.policy import set_boots, set_restored
from restore_drill.policy.sets import SetFacts

_NOW = 1_700_000_000.0
_HOUR = 3600.0


def _planned(**more: Any) -> PlannedSet:
    members = (("db", "nas"), ("files", "nas"))
    model = SetModel.model_validate({"targets": ["db", "files"], "application": {"image": "app"}, **more})
    return PlannedSet("shop", model, members, timedelta(hours=2))


def _together(database: float, files: float, seconds: float = 30.0) -> SetFacts:
    moments = {"db": _NOW - database * _HOUR, "files": _NOW - files * _HOUR}
    return SetFacts(moments, {"db": 3, "files": 0}, _NOW, timedelta(minutes=15), seconds)


def test_its_age_is_that_of_the_earliest_of_them() -> None:
    finding = set_restored(_together(1, 2.2), _planned())
    assert finding.passed and finding.actual == "1 h 12 min apart, 2 h 12 min old"
    finding = set_restored(_together(1, 2.3), _planned())
    assert finding.message == (
        "the newest common moment of db, files is 2 h 18 min old (2023-11-14 19:55Z), allowed are 2 h 15 min"
    )
    assert finding.remedy.endswith("Newer snapshots without a counterpart: 3 of db.")


def test_what_no_longer_changes_has_no_age() -> None:
    finding = set_restored(SetFacts({}, {}, _NOW, timedelta(0), 1.0), _planned())
    assert finding.passed and finding.actual == "nothing of it changes any more"


def test_how_long_it_took_is_judged_where_the_catalogue_says_how_long_it_may_take() -> None:
    assert set_restored(_together(1, 1, seconds=601), _planned()).passed
    assert set_restored(_together(1, 1, seconds=600), _planned(rto="10m")).passed
    finding = set_restored(_together(1, 1, seconds=601), _planned(rto="10m"))
    assert finding.message == "all of it was back after 10 min 1 s, allowed are 10 min"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, ""),
        ({"status": 503}, "answers with status 503"),
        ({"contains": False}, "answers with status 200 without the text"),
        ({"outcome": "silent", "status": 0}, "gives no answer within 1 min"),
        ({"application": "ended with status 3", "status": 500}, "answers with status 500 and ended with status 3"),
        ({"application": "ended at once", "outcome": "silent"}, "gives no answer and ended at once"),
    ],
)
def test_an_application_that_answers_otherwise_is_told_from_one_that_does_not(facts: dict[str, Any], said: str) -> None:
    rule = SetApplication.model_validate({"image": "app", "health": {"port": 80, "path": "/up", "contains": "ok"}})
    good = {"outcome": "answered", "status": 200, "contains": True, "application": "up", "details": ["a row"]}
    finding = set_boots({**good, **facts}, rule)
    expected = "200 and a certain text from port 80 within 1 min"
    assert finding.expected == expected
    assert finding.message == (f"the application {said}, expected {expected}" if said else "")
    assert finding.details == (("a row",) if said else ())
