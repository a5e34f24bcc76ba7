"""``restore-drill plan --cost``: what drilling an estate takes a month, and what that costs at given prices."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from restore_drill import balancing
from restore_drill.cli.measured import Measured, listed, measured
from restore_drill.costs import Bill, Load, Prices, Reading, StorePrices, reckon
from restore_drill.errors import UsageProblem
from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
from restore_drill.plan_file import MOST_SHARDS, Expected, expectations, weights
from restore_drill.printable import printable
from restore_drill.quantities import format_duration, format_size

_OF_MACHINES = ("machine_hour", "disk_gb_month", "disk_factor")
_OF_STORES = ("egress_gb", "requests_1000")


@dataclass(frozen=True, slots=True)
class Known:
    """What the figures rest on.

    Attributes:
        loads: The estate, as far as it is known.
        times: How long each target takes.
        guessed: Targets whose time is a guess.
        unread: Copies of whose size nothing is known: what is read of them is in no figure.
        packed: Targets of which only the stored size is known: what they become on the disk may be more.
    """

    loads: tuple[Load, ...]
    times: Mapping[str, Expected]
    guessed: tuple[str, ...]
    unread: tuple[str, ...]
    packed: tuple[str, ...]


def tell(plan: Plan, targets: Sequence[PlannedTarget], arguments: argparse.Namespace) -> int:
    """Print it."""
    machines = 1 if arguments.shards is None else arguments.shards
    if not 1 <= machines <= MOST_SHARDS or arguments.samples < 0:
        raise UsageProblem("--shards and --samples are numbers of machines and snapshots: at least 1, and at least 0")
    prices = with_prices(plan, arguments.price)
    known, sizes, refused = measured(plan, targets), dict[tuple[str, str], int](), list[str]()
    if arguments.list:
        sizes, refused = listed(plan, [each for each in targets if not known.size(each)])
    found = _known(targets, known, sizes)
    bill = reckon(found.loads, prices, machines=machines, samples=arguments.samples)
    once = _once(found.times, machines)
    if arguments.json:
        beside = {"currency": prices.currency, "once_seconds": once, "guessed": found.guessed, "unknown": found.unread}
        print(json.dumps({**asdict(bill), **beside}, indent=1))
        return 0
    for line in (*_told(bill, prices, once), *_doubts(bill, found), *(f"not listed: {why}" for why in refused)):
        print(printable(line))
    return 0


# --- prices -----------------------------------------------------------------------------------------------------------


def with_prices(plan: Plan, given: Sequence[str]) -> Prices:
    """The catalogue's prices, and those that were given beside them.

    Raises:
        UsageProblem: One of them is of nothing that there is, or is no price.
    """
    prices = plan.prices.prices() if plan.prices else Prices()
    stores = {copy.store_name for target in plan.targets for copy in target.copies}
    for text in given:
        name, _, number = text.partition("=")
        store, _, what = name.rpartition(".")
        if name == "currency":
            prices = replace(prices, currency=number)
        elif name in _OF_MACHINES:
            changed: dict[str, Any] = {name: _price(text, number)}
            prices = replace(prices, **changed)
        elif store in stores and what in _OF_STORES:
            of_store = replace(prices.stores.get(store, StorePrices()), **{what: _price(text, number)})
            prices = replace(prices, stores={**prices.stores, store: of_store})
        else:
            known = [*_OF_MACHINES, "currency", *(f"{each}.{what}" for each in sorted(stores) for what in _OF_STORES)]
            raise UsageProblem(f"--price {text}: there is no such price", remedy=f"There are {', '.join(known)}.")
    return prices


def _price(text: str, number: str) -> float:
    try:
        price = float(number)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise UsageProblem(f"--price {text}: give a number, such as 0.05")
    return price


# --- the estate -------------------------------------------------------------------------------------------------------


def _known(targets: Sequence[PlannedTarget], known: Measured, sizes: Mapping[tuple[str, str], int]) -> Known:
    by_target = {target.name: _size(target, known, sizes) for target in targets}
    times = expectations(by_target, known.seconds, by_target)
    unread = tuple(
        f"{target.name}/{copy.name}" for target in targets for copy in target.copies
        if not _stored(target, copy, known, sizes)
    )  # fmt: skip
    guessed = tuple(name for name, each in times.items() if each.basis != "measured")
    loads = tuple(_load(target, times[target.name], known, sizes) for target in targets)
    packed = tuple(target.name for target in targets if by_target[target.name] and not _content(target, known))
    return Known(loads, times, guessed, unread, packed)


def _content(target: PlannedTarget, known: Measured) -> int:
    """Bytes of its largest snapshot, decoded; 0 where no drill has told."""
    return max(int(known.copies.get((target.name, copy.name), {}).get("content_bytes", 0)) for copy in target.copies)


def _once(times: Mapping[str, Expected], machines: int) -> float:
    """Seconds until all targets were drilled once, spread over so many machines."""
    weighed = weights(times)
    return max(balancing.loads(weighed, balancing.assign(weighed, machines), machines)) / 1000


def _size(target: PlannedTarget, known: Measured, sizes: Mapping[tuple[str, str], int]) -> int:
    found = [_stored(target, copy, known, sizes) for copy in target.copies]
    return sum(found) if all(found) else 0


def _stored(target: PlannedTarget, copy: PlannedCopy, known: Measured, sizes: Mapping[tuple[str, str], int]) -> int:
    key = (target.name, copy.name)
    return sizes.get(key) or int(known.copies.get(key, {}).get("stored_bytes", 0))


def _load(target: PlannedTarget, expected: Expected, known: Measured, sizes: Mapping[tuple[str, str], int]) -> Load:
    facts = {copy.name: known.copies.get((target.name, copy.name), {}) for copy in target.copies}
    readings = tuple(
        Reading(
            copy.store_name, _stored(target, copy, known, sizes), int(facts[copy.name].get("objects") or 1),
            copy.settings.ranges,
        )
        for copy in target.copies
    )  # fmt: skip
    content = max(int(facts[copy.name].get("content_bytes", 0)) or reading.stored
                  for copy, reading in zip(target.copies, readings, strict=True))  # fmt: skip
    return Load(target.tier, target.drill_every.total_seconds(), expected.seconds, content, readings)


# --- what is said -----------------------------------------------------------------------------------------------------


def _told(bill: Bill, prices: Prices, once: float) -> Iterator[str]:
    yield f"{'tier':<14} {'targets':>9} {'copies':>9} {'drills':>12} {'read':>10} {'machine hours':>14}   a month"
    for tier in bill.tiers:
        yield (
            f"{tier.tier:<14} {tier.targets:>9,} {tier.copies:>9,} {tier.drills:>12,.1f} "
            f"{format_size(round(tier.fetched)):>10} {tier.hours:>14,.2f}"
        )
    for store in bill.stores:
        costs = f"egress {_money(store.egress_cost, prices)}, requests {_money(store.requests_cost, prices)}"
        yield f"store {store.store}: {format_size(round(store.fetched))} in {store.requests:,.0f} requests; {costs}"
    many = f"{bill.machines} machine" + "s" * (bill.machines > 1)
    yield f"machine hours: {bill.hours:,.2f}; {_money(bill.hours_cost, prices)}"
    yield f"all targets once, on {many}: {format_duration(round(once, 2))}"
    yield f"disk: {format_size(round(bill.disk))} for each of {many}; {_money(bill.disk_cost, prices)}"
    yield f"in all: {_money(bill.total, prices)} a month"


def _money(cost: float | None, prices: Prices) -> str:
    return "no price" if cost is None else f"{cost:,.2f} {prices.currency}".rstrip()


def _doubts(bill: Bill, found: Known) -> Iterator[str]:
    """What the sum leaves out, or guesses."""
    if bill.unpriced:
        yield f"NOT IN THE SUM, without a price (prices: in the catalogue, or --price): {', '.join(bill.unpriced)}"
    if found.unread:
        yield f"NOT IN THE FIGURES, never drilled and of unknown size (--list asks the stores): {_some(found.unread)}"
    if found.guessed:
        yield f"time guessed, never drilled: {_some(found.guessed)}"
    if found.packed:
        yield f"disk reckoned by what is stored, which may be packed, never drilled: {_some(found.packed)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
