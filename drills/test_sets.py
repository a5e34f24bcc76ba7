"""Do targets that belong together come back to one moment, do they agree, and does the application run on them?"""

from restore_drill import policy


def test_set_is_restored(drill):
    """A snapshot of each, near enough to the others' and new enough, and all of them come back together."""
    drill.require(policy.set_restored(drill.together, drill.planned_set))


def test_set_query(drill):
    """What one of them answers is what another holds."""
    drill.require(policy.set_query(*drill.answered))


def test_set_application_answers(drill):
    """The application starts over all of it, cut off from everything else, and its health endpoint answers."""
    drill.require(policy.set_boots(drill.booted, drill.planned_set.model.application))


def test_set_is_disposed(drill):
    """After the drill nothing of what came back together is left on the machine."""
    drill.require(policy.disposed(*drill.left_of_set))
