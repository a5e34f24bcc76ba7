"""Is what came back what was backed up? Each case measures the restored system; the rules stand in the catalogue."""


def test_integrity(drill):
    """The engine's own consistency checks find nothing wrong."""
    drill.require(drill.measured.judge())


def test_structure(drill):
    """No table, index, view or trigger vanished, and no table was emptied, since the last drill that passed."""
    drill.require(drill.measured.judge())


def test_row_count(drill):
    """The table has as many rows as its rule, the drills of the last 30 days, or the recorded counts ask for."""
    drill.require(drill.measured.judge())


def test_query(drill):
    """A question whose answer the catalogue knows is answered so."""
    drill.require(drill.measured.judge())


def test_files(drill):
    """The tree has the files, bytes and paths that it should have, and its manifest agrees both ways."""
    drill.require(drill.measured.judge())


def test_newest_record(drill):
    """The newest record inside is hardly older than the snapshot: a fresh file with stale content fails."""
    drill.require(drill.measured.judge())


def test_smoke(drill):
    """The application runs on what was restored: a command ends well, an endpoint answers as it should."""
    drill.require(drill.measured.judge())


def test_check(drill):
    """A check that a plug-in brought passes."""
    drill.require(drill.measured.judge())
