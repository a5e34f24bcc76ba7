"""Is there a backup, how old is it, and did all of it arrive unchanged?"""

from restore_drill import policy


def test_snapshot_is_located(drill):
    """The store holds a complete snapshot: not from the future, not older than it claims, not collapsed in size."""
    drill.require(policy.located(drill.located))


def test_snapshot_is_within_rpo(drill):
    """The newest snapshot, by its own recorded time, is not older than the RPO of its tier plus the stated grace."""
    drill.require(policy.within_rpo(drill.located, drill.target, drill.copy))


def test_no_gap_exceeds_rpo(drill):
    """Since the last drill no two consecutive recovery points lie further apart than the RPO plus the stated grace."""
    drill.require(policy.no_gap(drill.located, drill.target, drill.copy))


def test_snapshot_is_fetched(drill):
    """Every byte that the store lists was read, unchanged while it was read, and looks like what it should be."""
    drill.require(policy.fetched(drill.transfer))


def test_checksum_matches(drill):
    """A digest was recorded when the backup was made, and the bytes that were read have it."""
    drill.require(policy.checksum(drill.transfer, drill.copy))


def test_encrypted_at_rest(drill):
    """A sensitive target's stored bytes cannot be read without a key, and the key held opens them."""
    drill.require(policy.encrypted(drill.transfer, drill.copy))
