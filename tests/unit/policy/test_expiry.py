"""Whether somebody is about to remove the last proved snapshot: when that is told, and when it is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from restore_drill.catalogue.keeping import ExpiryRule
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.policy import expiry_spares
from restore_drill.policy.expiry import ExpiryFacts, Proved

DAY = 86400.0
NOW = datetime(2026, 11, 23, 2, tzinfo=UTC).timestamp()
NIGHTS = [NOW - (20 - night) * DAY for night in range(21)]


def proved(age: float, oldest: float | None = None) -> Proved:
    return Proved(f"of-day-{age:g}", NOW - age * DAY, NOW - (age if oldest is None else oldest) * DAY)


def facts(*ages: Proved, **more: Any) -> ExpiryFacts:
    rule = ExpiryRule(**{name: more.pop(name) for name in ("after", "keep_last", "by") if name in more})
    return ExpiryFacts(**{"copy": "nas", "rule": rule, "warn": DAY, "proved": ages, "times": NIGHTS, **more})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (facts(proved(0), after="2d"), ""),
        (facts(proved(0.5), after="2d", times=None), ""),
        (facts(proved(1), after="2d"), "nas: the last proved snapshot of-day-1 is removed 2026-11-24 02:00Z, in 1 d: "
         "the expiry removes after 2 d, and nothing newer is proved"),
        (facts(proved(9), proved(3), after="2d", by="rule X"), "nas: the last proved snapshot of-day-3 may be gone "
         "since 2026-11-22 02:00Z: rule X removes after 2 d, and nothing newer is proved"),
        (facts(proved(0, 6), after="7d"), "nas: the last proved snapshot of-day-0 (what it builds on is of 2026-11-17 "
         "02:00Z) is removed 2026-11-24 02:00Z, in 1 d: the expiry removes after 7 d, and nothing newer is proved"),
        (facts(proved(0, 5), after="7d"), ""),
        (facts(proved(0), keep_last=2), ""),
        (facts(proved(0), keep_last=1), "nas: the last proved snapshot of-day-0 is removed 2026-11-24 02:00Z, in 1 d: "
         "the expiry keeps the newest 1, and 1 more will push it out, and nothing newer is proved"),
        (facts(proved(0), keep_last=7, times=[NOW]), ""),
        (facts(proved(4), keep_last=7), ""),
        (facts(proved(6), keep_last=7), "nas: the last proved snapshot of-day-6 is removed 2026-11-24 02:00Z, in 1 d: "
         "the expiry keeps the newest 7, and 1 more will push it out, and nothing newer is proved"),
        (facts(proved(30), after="90d"), "nas: no proved snapshot is left: the last, of-day-30, is gone, and nothing "
         "newer is proved"),
        (facts(proved(0, 40), after="90d"), "nas: no proved snapshot is left: the last, of-day-0, is gone, and nothing "
         "newer is proved"),
        (facts(proved(30), proved(10), after="90d"), ""),
    ],
)  # fmt: skip
def test_it_is_told_when_no_other_drill_can_come_first(given: ExpiryFacts, said: str) -> None:
    finding = expiry_spares([given], NOW)
    assert (finding.message, finding.passed) == (said, not said)
    assert ("restore-drill retention" in finding.remedy) is bool(said)


def test_what_is_not_proved_is_not_taken_for_safe() -> None:
    good = facts(proved(0), after="9d")
    with pytest.raises(CouldNotVerify, match="nothing of the copy nas is proved yet"):
        expiry_spares([good, facts(after="9d")], NOW)
    with pytest.raises(Blocked) as blocked:
        expiry_spares([facts(after="9d", blocked_by="restores", why_not="restores: it does not come back")], NOW)
    assert blocked.value.by == "restores"
    assert expiry_spares([facts(after="9d")], NOW, only_bad=True).passed
    assert not expiry_spares([facts(after="9d"), facts(proved(9), after="9d")], NOW).passed
    assert expiry_spares([good], NOW).actual == "removed 2026-12-02 02:00Z at the earliest"
