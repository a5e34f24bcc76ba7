"""Counts that a backup job records beside a snapshot: a JSON object of whole numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping

from restore_drill.errors import CouldNotVerify
from restore_drill.stores.base import Store


def read_counts(store: Store, key: str) -> Mapping[str, int]:
    """Read them.

    Raises:
        CouldNotVerify: They are missing, or no JSON object of whole numbers.
    """
    raw = store.read_small(key)
    if raw is None:
        raise CouldNotVerify(
            "the counts recorded beside the snapshot are missing",
            looked_at=store.where(key),
            remedy="Have the backup job write them, or remove recorded from expect.rows or expect.files.",
        )
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(type(count) is int and count >= 0 for count in value.values()):
        raise CouldNotVerify(
            "the counts recorded beside the snapshot cannot be read",
            looked_at=store.where(key),
            remedy='They must be a JSON object of whole numbers: {"customers": 59}, for a tree {"files": 1204}.',
        )
    return value
