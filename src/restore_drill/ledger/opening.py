"""Which ledger a state has."""

from __future__ import annotations

from pathlib import Path

from restore_drill.ledger.base import Ledger
from restore_drill.stores.base import StoreSettings


def open_ledger(settings: StoreSettings) -> Ledger:
    """The ledger of a state (``plan.state``): in its directory or below its prefix.

    Nothing is written before the first entry is.
    """
    if settings.url.startswith("file:"):
        from restore_drill.ledger.directory import DirectoryLedger

        return DirectoryLedger(Path(settings.url.removeprefix("file://")))
    from restore_drill.ledger.bucket import BucketLedger

    return BucketLedger(settings)
