"""What must hold of prices: they are of stores that exist."""

from __future__ import annotations

from restore_drill.catalogue.gather import Draft
from restore_drill.catalogue.problems import suggest
from restore_drill.catalogue.references import mapping


def check_prices(draft: Draft) -> None:
    """Note prices of stores that there are not: they would be added to nothing."""
    stores = list(draft.part("stores"))
    for name in mapping(mapping(draft.raw.get("prices")).get("stores")):
        if name not in stores and draft.complete:
            draft.report(("prices", "stores", name), f"no store is called {name!r}", suggest(name, stores), at_key=True)
