"""Does it come back, whole and in time, and is nothing of it left afterwards?"""

from restore_drill import policy


def test_snapshot_unpacks(drill):
    """It decrypts, decompresses and unpacks to its very end, and nothing in it reaches outside."""
    drill.require(policy.unpacked(drill.transfer))


def test_chain_is_complete(drill):
    """Every full, differential, incremental and log artifact that the snapshot needs is there, in order."""
    drill.require(policy.chain_complete(drill.chain))


def test_snapshot_restores(drill):
    """The engine brings the system back, and something came back."""
    drill.require(policy.restored(drill.restore))


def test_restore_meets_rto(drill):
    """From the first byte fetched to the first query answered (or last file written) took no longer than the RTO."""
    drill.require(policy.within_rto(drill.restore, drill.target))


def test_runbook_recovers(drill):
    """The team's own runbook, executed step by step, brings back what passes the same content cases; and leads back."""
    drill.require(drill.measured.judge())


def test_restored_copy_is_disposed(drill):
    """After the drill nothing of the restored copy is left on the machine."""
    drill.require(policy.disposed(*drill.left_behind))
