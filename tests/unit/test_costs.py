"""What drilling takes and costs: the arithmetic of docs/scale.md, by hand."""

from __future__ import annotations

import pytest

from restore_drill.costs import MONTH_DAYS, Load, Prices, Reading, StorePrices, reckon

DAY, GB = 86400.0, 10**9
#: Two targets that are drilled daily from two stores, and one weekly from one of them.
LOADS = (
    Load("critical", DAY, 90.0, 3 * GB, (Reading("nas", GB), Reading("offsite", GB, objects=3)), targets=2),
    Load("important", 7 * DAY, 3600.0, 20 * GB, (Reading("offsite", 10 * GB, ranges=8),)),
)
PRICES = Prices("EUR", 0.5, 0.1, 2.0, {"offsite": StorePrices(0.05, 0.004), "nas": StorePrices(0.0, 0.0)})


def test_a_month_is_a_twelfth_of_a_year() -> None:
    assert pytest.approx(30.436875) == MONTH_DAYS


def test_what_is_read_and_how_long_it_takes() -> None:
    critical, important = reckon(LOADS, PRICES).tiers
    assert (critical.targets, critical.copies, important.targets, important.copies) == (2, 4, 1, 1)
    assert critical.drills == pytest.approx(4 * 30.436875) and important.drills == pytest.approx(30.436875 / 7)
    assert critical.fetched == pytest.approx(4 * 30.436875 * GB)
    assert critical.hours == pytest.approx(2 * 30.436875 * 90 / 3600), "of both copies together"
    assert important.hours == pytest.approx(30.436875 / 7)


def test_requests_are_a_listing_a_digest_and_the_content() -> None:
    assert Reading("nas", GB).requests == 3
    assert Reading("offsite", GB, objects=3).requests == 7
    assert Reading("offsite", 10 * GB, ranges=8).requests == 1 + 1 + 1193, "10 GB in pieces of 8 MiB"
    assert Reading("offsite", 10, objects=3, ranges=8).requests == 7


def test_everything_has_its_price() -> None:
    bill = reckon(LOADS, PRICES, machines=4)
    nas, offsite = bill.stores
    read, asked = 30.436875 * (2 + 10 / 7), 30.436875 * (2 * 7 + 1195 / 7)
    assert offsite.fetched == pytest.approx(read * GB) and offsite.egress_cost == pytest.approx(read * 0.05)
    assert offsite.requests == pytest.approx(asked) and offsite.requests_cost == pytest.approx(asked / 1000 * 0.004)
    assert (nas.egress_cost, nas.requests_cost) == (0.0, 0.0)
    assert bill.hours_cost == pytest.approx(bill.hours * 0.5)
    assert bill.disk == 40 * GB and bill.disk_cost == pytest.approx(4 * 40 * 0.1)
    parts = (offsite.egress_cost, offsite.requests_cost, bill.hours_cost, bill.disk_cost)
    assert bill.total == pytest.approx(sum(filter(None, parts))) and bill.unpriced == ()


def test_what_has_no_price_is_named_and_never_free() -> None:
    bill = reckon(LOADS, Prices("EUR", 0.5, stores={"offsite": StorePrices(egress_gb=0.05)}))
    assert bill.unpriced == ("disk", "egress of nas", "requests of nas", "requests of offsite")
    assert bill.total == pytest.approx(bill.hours * 0.5 + (bill.stores[1].egress_cost or 0))


def test_older_snapshots_are_read_beside_the_newest() -> None:
    plain, sampled = reckon(LOADS, PRICES), reckon(LOADS, PRICES, samples=2)
    assert [tier.fetched for tier in sampled.tiers] == pytest.approx([3 * tier.fetched for tier in plain.tiers])
    assert sampled.hours == pytest.approx(3 * plain.hours) and sampled.disk == plain.disk


def test_nothing_costs_nothing() -> None:
    assert reckon((), PRICES).total == 0
