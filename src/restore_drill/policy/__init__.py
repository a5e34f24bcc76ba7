"""Judgements about facts: age, gaps, transfer, 3-2-1, agreement of copies, retention, expiry, exceptions.

Pure functions: facts and rules in, :class:`~restore_drill.model.Finding` out. Nothing here reads a store, so a record
can be judged again by tomorrow's rules. A fact that is missing raises
:class:`~restore_drill.errors.CouldNotVerify`; it is never taken for good.
"""

from restore_drill.policy.copies import copies_agree, exceptions_current, three_two_one
from restore_drill.policy.expiry import expiry_spares
from restore_drill.policy.retention import retention_kept
from restore_drill.policy.sets import set_boots, set_query, set_restored
from restore_drill.policy.snapshot import located, no_gap, within_rpo
from restore_drill.policy.transfer import (
    chain_complete,
    checksum,
    disposed,
    encrypted,
    fetched,
    restored,
    unpacked,
    within_rto,
)

__all__ = [
    "chain_complete",
    "checksum",
    "copies_agree",
    "disposed",
    "encrypted",
    "exceptions_current",
    "expiry_spares",
    "fetched",
    "located",
    "no_gap",
    "restored",
    "retention_kept",
    "set_boots",
    "set_query",
    "set_restored",
    "three_two_one",
    "unpacked",
    "within_rpo",
    "within_rto",
]
