"""What drilling costs: the prices that ``restore-drill plan --cost`` reckons with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from restore_drill.catalogue.fields import Part, Slug, Text

if TYPE_CHECKING:
    from restore_drill import costs


class StorePricesModel(Part):
    """What reading a store costs."""

    egress_gb: float | None = Field(
        None, ge=0, description="A gigabyte (10^9 bytes) that is read: transfer and retrieval together.",
        examples=[0.05],
    )  # fmt: skip
    requests_1000: float | None = Field(None, ge=0, description="A thousand requests.", examples=[0.0005])


class PricesModel(Part):
    """What drilling costs, as the bills say; ``restore-drill plan --cost`` knows no price by itself."""

    currency: Text | None = Field(None, description="Of all prices.", examples=["EUR"])
    machine_hour: float | None = Field(None, ge=0, description="A machine that drills, for an hour.", examples=[0.12])
    disk_gb_month: float | None = Field(
        None, ge=0, description="A gigabyte (10^9 bytes) of its disk, for a month.", examples=[0.08]
    )
    disk_factor: float = Field(
        2.0, gt=0, description="How many times a snapshot's content its drill takes up at once.", examples=[2]
    )
    stores: dict[Slug, StorePricesModel] = Field(
        default_factory=dict, description="What reading costs, by store.",
        examples=[{"offsite": {"egress_gb": 0.05, "requests_1000": 0.0005}}],
    )  # fmt: skip

    def prices(self) -> costs.Prices:
        """As they are reckoned with."""
        from restore_drill import costs

        return costs.Prices(
            self.currency or "", self.machine_hour, self.disk_gb_month, self.disk_factor,
            {name: costs.StorePrices(each.egress_gb, each.requests_1000) for name, each in self.stores.items()},
        )  # fmt: skip
