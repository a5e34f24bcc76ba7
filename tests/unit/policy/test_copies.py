"""3-2-1, agreement of copies, and exceptions that run out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from tests.support.plans import planned_copy, planned_target

from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.policy import copies_agree, exceptions_current, three_two_one
from restore_drill.policy.copies import Agreement, CopyContent, CopyStanding

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC).timestamp()
HOUR = 3600.0


def standing(name: str, **more: Any) -> CopyStanding:
    given = {"media": "disk", "offsite": False, "domains": frozenset({name}), "proved": True, **more}
    return CopyStanding(name, **given)


NAS = standing("nas")
CLOUD = standing("cloud", media="object-storage", offsite=True)


def test_the_original_and_two_copies_keep_the_rule() -> None:
    finding = three_two_one([NAS, CLOUD], planned_target(live={"media": "disk"}))
    assert finding == Finding(expected="3 copies, 2 media, 1 offsite", actual="3 copies, 2 media, 1 offsite")


@pytest.mark.parametrize(
    ("copies", "live", "missing"),
    [
        ([NAS], {}, "2 of 3 independent copies, 1 of 2 media, none offsite"),
        ([CLOUD, NAS], False, "2 of 3 independent copies"),
        ([NAS, standing("tape", media="tape")], {}, "none offsite"),
        ([standing("a", offsite=True), standing("b")], {"media": "disk"}, "1 of 2 media"),
        ([standing("a", domains=CLOUD.domains), CLOUD], {"media": "disk"}, "2 of 3 independent copies"),
        (
            [standing("nas", domains=frozenset({"dc1-san", "device 8:1"})), CLOUD],
            {"failure_domain": "dc1-san"},
            "2 of 3 independent copies",
        ),
        (
            [
                standing("a", domains=frozenset({"device 8:1"})),
                standing("b", domains=frozenset({"x", "device 8:1"})),
                CLOUD,
            ],
            False,
            "2 of 3 independent copies",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_counted(copies: list[CopyStanding], live: Any, missing: str) -> None:
    finding = three_two_one(copies, planned_target(live=live))
    assert finding.verdict is Verdict.FAILED
    assert missing in finding.message
    assert finding.remedy


def test_copies_without_a_known_domain_are_apart() -> None:
    copies = [standing("a", domains=frozenset()), standing("b", domains=frozenset(), media="tape", offsite=True)]
    assert three_two_one(copies, planned_target()).passed


def test_a_domain_shared_by_two_others_counts_once_in_any_order() -> None:
    both = standing("both", domains=frozenset({"a", "b"}))
    copies = [standing("a"), standing("b"), both, CLOUD]
    found = {
        three_two_one(order, planned_target()).actual for order in (copies, copies[::-1], [both, *copies[:2], CLOUD])
    }
    assert found == {"4 copies, 2 media, 1 offsite"}


def test_a_copy_counts_once_it_was_proved() -> None:
    unproved = standing(
        "cloud", media="object-storage", offsite=True, proved=False, why_not="no whole drill passed yet"
    )
    with pytest.raises(CouldNotVerify, match="cloud is not proved: no whole drill passed yet"):
        three_two_one([NAS, unproved], planned_target())
    spare = three_two_one([NAS, CLOUD, standing("old", proved=False, why_not="31 d old")], planned_target())
    assert spare.passed
    assert spare.notes == ("old does not count: 31 d old",)


def test_a_copy_whose_drill_failed_in_this_run_blocks_by_that_case() -> None:
    failed = standing(
        "cloud", media="object-storage", offsite=True, proved=False, why_not="its drill did not pass: rows: x",
        blocked_by="rows",
    )  # fmt: skip
    with pytest.raises(Blocked) as raised:
        three_two_one([NAS, failed], planned_target())
    assert raised.value.by == "rows"


def test_what_is_missing_fails_even_when_nothing_is_proved() -> None:
    finding = three_two_one([standing("nas", proved=False, why_not="never drilled")], planned_target())
    assert finding.verdict is Verdict.FAILED
    assert finding.notes == ("nas does not count: never drilled",)


# --- agreement --------------------------------------------------------------------------------------------------------


def agreement(common: float | None, *digests: str, kinds: tuple[str, ...] = ("files", "files")) -> Agreement:
    contents = [CopyContent(name, "s", kind, digest) for name, kind, digest in zip("ab", kinds, digests, strict=False)]
    return Agreement({"a": NOW, "b": NOW - HOUR}, common, contents)


TARGET = planned_target(planned_copy("a"), planned_copy("b"), copy_lag="6h", grace="15m")


def test_copies_agree_when_a_recent_common_snapshot_has_the_same_content() -> None:
    finding = copies_agree(agreement(NOW - HOUR, "d" * 64, "d" * 64), TARGET)
    assert finding.passed
    assert finding.actual == "equal at 2026-11-23 02:00Z"
    assert finding.notes == ("newest: a 2026-11-23 03:00Z, b 2026-11-23 02:00Z",)


def test_copies_that_differ_fail_with_the_beginning_of_each_digest() -> None:
    finding = copies_agree(agreement(NOW - HOUR, "d" * 64, "e" * 64), TARGET)
    assert finding.verdict is Verdict.FAILED
    assert finding.message == (
        "the copies of 2026-11-23 02:00Z differ in content: a dddddddddddddddd, b eeeeeeeeeeeeeeee"
    )


@pytest.mark.parametrize(("behind", "passed"), [(6.25 * HOUR, True), (6.25 * HOUR + 1, False)])
def test_the_common_snapshot_may_lag_as_far_as_the_catalogue_says(behind: float, passed: bool) -> None:
    finding = copies_agree(agreement(NOW - behind, "d" * 64, "d" * 64), TARGET)
    assert finding.passed is passed
    assert passed or "no snapshot in common since 2026-11-22 20:44Z" in finding.message


def test_nothing_in_common_fails() -> None:
    assert "no snapshot in common at all" in copies_agree(agreement(None), TARGET).message


def test_what_cannot_be_compared_is_never_equal() -> None:
    with pytest.raises(CouldNotVerify, match="file trees, files"):
        copies_agree(agreement(NOW, "d" * 64, "d" * 64, kinds=("files", "file trees")), TARGET)
    with pytest.raises(CouldNotVerify, match="copy b has no digest"):
        copies_agree(agreement(NOW, "d" * 64, ""), TARGET)
    with pytest.raises(CouldNotVerify, match="copy a has no digest"):
        copies_agree(agreement(NOW, "", ""), TARGET)


# --- exceptions -------------------------------------------------------------------------------------------------------


def exceptions(*expiries: str) -> Any:
    return planned_target(
        exceptions=tuple(
            {"id": f"EX-{number}", "target": "orders-db", "case": "rows", "reason": "purged", "approver": "ciso",
             "expires": expires}
            for number, expires in enumerate(expiries)
        )
    ).exceptions  # fmt: skip


def test_an_exception_is_current_up_to_its_last_day() -> None:
    today = date(2026, 11, 23)
    finding = exceptions_current(exceptions("2026-11-23", "2027-01-01"), today)
    assert finding == Finding(expected="none expired", actual="2 current, the first ends on 2026-11-23")
    finding = exceptions_current(exceptions("2026-11-22", "2027-01-01"), today)
    assert finding.verdict is Verdict.FAILED
    assert finding.message == "the exception EX-0 for rows expired on 2026-11-22 (approved by ciso)"
