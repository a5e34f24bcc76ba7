"""What drilling an estate takes in a month: bytes read, requests, machine hours, disk, and what that costs.

Pure arithmetic, explained in docs/scale.md. Prices are given by whoever asks; none is known here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Days of a month, the twelfth part of a Gregorian year.
MONTH_DAYS = 365.2425 / 12
_DAY = 86400.0
_GB = 10**9
#: Bytes of one read of an object that is read by several at once.
_PART = 8 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """What one drill of one copy reads.

    Attributes:
        store: From where.
        stored: Bytes of the snapshot as they are stored.
        objects: Objects of the snapshot, without their digests.
        ranges: How many reads of one object go on at once.
    """

    store: str
    stored: int
    objects: int = 1
    ranges: int = 1

    @property
    def requests(self) -> int:
        """Requests of a drill: one listing, a digest and the content of every object; more listings for long ones."""
        reads = self.objects if self.ranges == 1 else max(self.objects, math.ceil(self.stored / _PART))
        return 1 + self.objects + reads


@dataclass(frozen=True, slots=True)
class Load:
    """A target, or several that are alike.

    Attributes:
        every: Seconds between two drills of it.
        seconds: How long one drill of all its copies takes.
        content: Bytes of its largest snapshot, decoded.
        readings: One a copy.
        targets: How many are alike.
    """

    tier: str
    every: float
    seconds: float
    content: int
    readings: tuple[Reading, ...]
    targets: int = 1

    def drills(self, samples: int = 0) -> float:
        """How often each copy is drilled in a month, older snapshots that are drilled beside the newest included."""
        return MONTH_DAYS * _DAY / self.every * (1 + samples)


@dataclass(frozen=True, slots=True)
class StorePrices:
    """What reading costs.

    Attributes:
        egress_gb: A gigabyte (10^9 bytes) that is read: transfer and retrieval together.
        requests_1000: A thousand requests.
    """

    egress_gb: float | None = None
    requests_1000: float | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost; ``None`` where nobody said.

    Attributes:
        currency: Of all prices.
        machine_hour: A machine for an hour.
        disk_gb_month: A gigabyte (10^9 bytes) of a machine's disk for a month.
        disk_factor: How many times a snapshot's content its drill takes up at once: what was fetched, and what it
            became.
        stores: By store.
    """

    currency: str = ""
    machine_hour: float | None = None
    disk_gb_month: float | None = None
    disk_factor: float = 2.0
    stores: Mapping[str, StorePrices] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TierBill:
    """A tier's part, a month."""

    tier: str
    targets: int
    copies: int
    drills: float
    fetched: float
    hours: float


@dataclass(frozen=True, slots=True)
class StoreBill:
    """What is read from a store, a month, and its price."""

    store: str
    fetched: float
    requests: float
    egress_cost: float | None
    requests_cost: float | None


@dataclass(frozen=True, slots=True)
class Bill:
    """All of it, a month.

    Attributes:
        tiers: By tier.
        stores: By store.
        machines: How many there are.
        hours: Hours in which a machine works.
        hours_cost: What those cost.
        disk: Bytes of disk that each machine needs, for the largest target.
        disk_cost: What the disks of all machines cost.
        total: What everything with a price costs.
        unpriced: What has none.
    """

    tiers: tuple[TierBill, ...]
    stores: tuple[StoreBill, ...]
    machines: int
    hours: float
    hours_cost: float | None
    disk: float
    disk_cost: float | None
    total: float
    unpriced: tuple[str, ...]


def reckon(loads: Sequence[Load], prices: Prices, *, machines: int = 1, samples: int = 0) -> Bill:
    """What drilling all of it takes.

    Args:
        loads: The estate.
        prices: What things cost.
        machines: On how many machines.
        samples: How many older snapshots each drill takes beside the newest.
    """
    tiers = tuple(
        _tier(tier, [load for load in loads if load.tier == tier], samples)
        for tier in dict.fromkeys(load.tier for load in loads)
    )
    names = dict.fromkeys(reading.store for load in loads for reading in load.readings)
    stores = tuple(_store(name, loads, prices.stores.get(name, StorePrices()), samples) for name in names)
    hours = sum(tier.hours for tier in tiers)
    disk = max((load.content for load in loads), default=0) * prices.disk_factor
    hours_cost, disk_cost = _times(hours, prices.machine_hour), _times(machines * disk / _GB, prices.disk_gb_month)
    costs = {"machine hours": hours_cost, "disk": disk_cost}
    for store in stores:
        costs |= {f"egress of {store.store}": store.egress_cost, f"requests of {store.store}": store.requests_cost}
    return Bill(
        tiers, stores, machines, hours, hours_cost, disk, disk_cost,
        total=sum(cost for cost in costs.values() if cost is not None),
        unpriced=tuple(what for what, cost in costs.items() if cost is None),
    )  # fmt: skip


def _tier(tier: str, loads: Sequence[Load], samples: int) -> TierBill:
    return TierBill(
        tier,
        targets=sum(load.targets for load in loads),
        copies=sum(load.targets * len(load.readings) for load in loads),
        drills=sum(load.targets * len(load.readings) * load.drills(samples) for load in loads),
        fetched=sum(
            load.targets * load.drills(samples) * reading.stored for load in loads for reading in load.readings
        ),
        hours=sum(load.targets * load.drills(samples) * load.seconds for load in loads) / 3600,
    )


def _store(name: str, loads: Sequence[Load], prices: StorePrices, samples: int) -> StoreBill:
    fetched = requests = 0.0
    for load in loads:
        for reading in load.readings:
            if reading.store == name:
                fetched += load.targets * load.drills(samples) * reading.stored
                requests += load.targets * load.drills(samples) * reading.requests
    return StoreBill(
        name, fetched, requests, _times(fetched / _GB, prices.egress_gb), _times(requests / 1000, prices.requests_1000)
    )


def _times(amount: float, price: float | None) -> float | None:
    return None if price is None else amount * price
