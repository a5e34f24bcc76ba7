"""What only all copies of a target together can say."""

from restore_drill import policy


def test_follows_3_2_1(drill):
    """Three copies (the live one counts), two media, one offsite; a backup counts once its own whole drill passed."""
    drill.require(policy.three_two_one(drill.standings, drill.target))


def test_copies_agree(drill):
    """The newest snapshot that all copies have is recent enough, and has the same content in each."""
    drill.require(policy.copies_agree(drill.agreement, drill.target))


def test_retention(drill):
    """The recovery points that the retention policy promises exist."""
    drill.require(policy.retention_kept(drill.retention, drill.now, drill.zone))


def test_expiry_spares_what_is_proved(drill):
    """Nothing is about to remove the last snapshot that a drill proved."""
    drill.require(policy.expiry_spares(drill.expiry, drill.now))


def test_exceptions_are_current(drill):
    """No approved exception of the target has expired."""
    drill.require(policy.exceptions_current(drill.target.exceptions, drill.today))
