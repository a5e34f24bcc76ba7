"""What a drill did not check is said, and nothing that it did."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.plans import planned_copy, planned_target

from restore_drill.evidence import limits

EVERYTHING: dict[str, Any] = {
    "sensitive": True,
    "expect": {
        "rows": {"orders": 1, "default": {"min": 1}},
        "queries": [{"name": "q", "sql": "select 1", "equals": 1}],
        "newest_record": {"sql": "select 1", "within": "1h"},
    },
}


def found(copy: dict[str, Any] | None = None, **options: Any) -> list[str]:
    given = {**EVERYTHING, **options, "expect": {**EVERYTHING["expect"], **options.get("expect", {})}}
    return limits.of(planned_target(planned_copy(**{"retention": {"daily": 7}, **(copy or {})}), **given), "nas")


def test_a_target_that_is_asked_everything_has_no_limit() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("copy", "options", "limit"),
    [
        ({"checksum": "pinned"}, {}, "the digest was pinned at the first drill: not checked against its origin"),
        (
            {"checksum": {"provider": "any"}},
            {},
            "the digest is one that the store keeps of the object: what was before the upload is not covered",
        ),
        ({"checksum": {"weak": "accept"}}, {}, "digests that can be forged are accepted"),
        (
            {"checksum": {"signature": {"kind": "gpg", "keys": ["file:key"]}}},
            {},
            "signatures say who signed these bytes, not that the signer would call them the latest",
        ),
        ({"retention": None}, {}, "no retention policy is declared for this copy"),
        ({}, {"frozen": True}, "frozen: the snapshot's age is not judged"),
        ({}, {"sensitive": False}, "encryption at rest is not judged: the target is not declared sensitive"),
        ({}, {"three_two_one": False}, "3-2-1 is not judged"),
        ({}, {"expect": {"integrity": "quick"}}, "integrity checked QUICK"),
        ({}, {"expect": {"integrity": "off"}}, "integrity checked OFF"),
        ({}, {"expect": {"structure": "off"}}, "structure is not compared with earlier drills"),
        ({}, {"expect": {"rows": None}}, "no table has a row-count rule"),
        (
            {},
            {"expect": {"rows": {"orders": 1}}},
            "row-count rules for 1 table(s) only; others are watched for vanishing",
        ),
        (
            {},
            {"expect": {"rows": {"orders": 1, "default": {"min": 1}, "ignore": ["tmp_*", "s"]}}},
            "tables that may vanish or empty: tmp_*, s",
        ),
        ({}, {"expect": {"queries": []}}, "no query with a known answer"),
        ({}, {"expect": {"newest_record": None}}, "the freshness of the data inside is not judged"),
    ],
)
def test_each_thing_that_is_not_asked_is_a_limit(copy: dict[str, Any], options: dict[str, Any], limit: str) -> None:
    assert found(copy, **options) == [limit]


def test_a_depth_that_is_not_full_comes_first_with_what_was_not_run_for_it() -> None:
    schema = found(depth="schema", three_two_one=False)
    assert schema[0] == "DEPTH SCHEMA: no row is restored; the drill counts as partial"
    assert schema[1] == (
        "NOT RUN at this depth: integrity, structure, rows(orders), rows(other-tables), query(q), newest"
    )
    sample = found(depth="sample", sample=["orders", "items"], three_two_one=False)
    assert sample[0] == "DEPTH SAMPLE (2 tables): rows are restored of orders, items only; the drill counts as partial"
    assert sample[1] == "NOT RUN at this depth: structure, query(q), newest"


def test_an_engine_has_the_limits_of_its_own_checks() -> None:
    tree = planned_target(planned_copy(retention={"daily": 7}), engine="files", sensitive=True)
    assert limits.of(tree, "nas") == ["the freshness of the data inside is not judged"]
