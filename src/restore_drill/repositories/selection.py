"""Which snapshot is drilled, and what was stepped over on the way to it.

The newest by its own recorded time. Not one from the future, not one whose object is older than the time it claims;
an upload younger than ``settle`` is stepped over for its predecessor, an older one is a failure.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from restore_drill.catalogue.models import TargetModel
from restore_drill.errors import BackupFailed
from restore_drill.model import Snapshot, Stage
from restore_drill.quantities import format_duration, format_percentage, format_size
from restore_drill.repositories.base import Repository, Survey, Unfinished

#: How many predecessors the size of a snapshot is compared with at most, unless the catalogue wants more.
_SIZE_WINDOW = 10
#: Seconds by which the times of files written one after the other may differ without meaning anything.
_SAME_MOMENT = 2.0
#: How many leftovers are named.
_NOTED = 3


@dataclass(slots=True)
class Selection:
    """The snapshot to drill, or why there is none.

    Attributes:
        stepped_over: Names of newer snapshots that were not drilled, each with the reason.
        failure: The cause when the newest snapshot is bad as it lies.
        lag_seconds: How long after its recorded time the object was written.
    """

    snapshot: Snapshot | None = None
    stepped_over: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: BackupFailed | None = None
    lag_seconds: float = 0.0
    typical_size: int = 0


def choose(
    survey: Survey, repository: Repository, now: float, *, wanted: str = "", sizes_from: float = 0.0
) -> Selection:
    """Pick the snapshot to drill.

    Args:
        survey: What lies in the store.
        repository: Asked whether a snapshot is complete.
        now: Seconds since the epoch.
        wanted: Id (or artifact name) of the snapshot to drill instead of the newest.
        sizes_from: Predecessors taken before this are not compared with (a person accepted a change of size).
    """
    selection = Selection()
    try:
        if wanted:
            selection.snapshot = _named(survey, wanted, repository)
        else:
            _newest(survey, repository, now, selection)
            _judge_size(survey, repository, selection, sizes_from)
    except BackupFailed as failure:
        selection.failure = failure
    if selection.snapshot:
        _note_lag(selection, repository.model, timed=repository.copy.model.time_metadata is not None)
    return selection


def choose_older(survey: Survey, repository: Repository, now: float) -> Selection:
    """Take the snapshot that was drawn, if it is what it claims to be, and whole.

    Its size is not compared with its predecessors': what they were is not known any more when it is an old one.

    Args:
        survey: Made for that snapshot.
        repository: Asked whether it is complete.
        now: Seconds since the epoch.
    """
    selection = Selection(snapshot=survey.wanted)
    assert survey.wanted is not None  # noqa: S101 - the caller looked
    try:
        _plausible(survey.wanted, repository, now)
        why = repository.unfinished(survey.wanted, settling=False)
        if why is not None:
            raise _located(
                f"the older snapshot {survey.wanted.main.name} is not complete: {why}",
                repository,
                "It can never be restored: remove it, or copy it again from another store.",
            )
    except BackupFailed as failure:
        selection.snapshot, selection.failure = None, failure
    if selection.snapshot:
        _note_lag(selection, repository.model, timed=repository.copy.model.time_metadata is not None)
    return selection


def _named(survey: Survey, wanted: str, repository: Repository) -> Snapshot:
    if survey.wanted:
        return survey.wanted
    known = ", ".join(snapshot.id for snapshot in survey.newest[:5]) or "none"
    raise _located(
        f"there is no snapshot {wanted}", repository, f"The newest are {known}; give one of these ids to --snapshot."
    )


def _newest(survey: Survey, repository: Repository, now: float, selection: Selection) -> None:
    for unfinished in survey.unfinished:
        _pass_over(unfinished, survey, repository, now, selection)
    _note_leftovers(selection)
    for snapshot in survey.newest:
        _plausible(snapshot, repository, now)
        _unmistakable(snapshot, survey, repository)
        _in_turn(snapshot, survey, repository)
        age = _age(snapshot.modified, snapshot.taken_at, repository, now)
        settling = age <= repository.model.settle.total_seconds()
        why = repository.unfinished(snapshot, settling=settling)
        if why is None:
            _pass_by(survey, repository, now, selection, after=snapshot.taken_at)
            selection.snapshot = snapshot
            return
        if not settling:
            raise _located(
                f"the newest snapshot {snapshot.main.name} is not complete after {format_duration(age)}: {why}",
                repository,
                "Check the backup job: it did not finish. Raise settle if uploads take longer.",
            )
        selection.stepped_over.append((snapshot.main.name, f"{why}, {format_duration(max(age, 0))} old"))
    _pass_by(survey, repository, now, selection, after=None)
    stepped = f" ({len(selection.stepped_over)} still being written)" if selection.stepped_over else ""
    raise _located(
        f"no snapshot{stepped}, {survey.listed} objects looked at",
        repository,
        f"Check that the backup job writes here, and the copy's path: {repository.copy.model.path}",
    )


def _pass_over(
    unfinished: Unfinished, survey: Survey, repository: Repository, now: float, selection: Selection
) -> None:
    newest = survey.newest[0].taken_at if survey.newest else datetime.fromtimestamp(0, UTC)
    age = _age(unfinished.modified, unfinished.taken_at, repository, now)
    if age > repository.model.settle.total_seconds() and unfinished.taken_at > newest:
        if unfinished.is_absent:
            raise _located(
                f"{unfinished.why}, {format_duration(age)} after the last of them was written",
                repository,
                "Check the backup job: it ran, and left this target out.",
            )
        raise _located(
            f"{unfinished.name} was begun {format_duration(age)} ago and never finished: {unfinished.why}",
            repository,
            "Check the backup job: its last run did not end. Remove the leftover once a newer snapshot is complete.",
        )
    if age <= repository.model.settle.total_seconds():
        selection.stepped_over.append((unfinished.name, f"{unfinished.why}, {format_duration(max(age, 0))} old"))
    elif not unfinished.is_absent:
        selection.notes.append(f"{unfinished.name} is a leftover of an upload that never finished")


def _pass_by(
    survey: Survey, repository: Repository, now: float, selection: Selection, *, after: datetime | None
) -> None:
    """What claims to be newer than the snapshot that is drilled and cannot be read: younger than ``settle``, or bad."""
    for unreadable in survey.unreadable:
        if after is not None and unreadable.taken_at <= after:
            continue
        age = _age(unreadable.modified, unreadable.taken_at, repository, now)
        why = f"it is {unreadable.what}, which is never read"
        if age > repository.model.settle.total_seconds():
            raise _located(
                f"{unreadable.name} has the name of the newest snapshot, and {why}",
                repository,
                "Find out what put it among the backups. If it is a link, let the store's url name the directory "
                "that it leads to.",
            )
        selection.stepped_over.append((unreadable.name, f"{why}, {format_duration(max(age, 0))} old"))


def _note_leftovers(selection: Selection) -> None:
    """Some by name, of the others how many."""
    if len(selection.notes) > _NOTED:
        selection.notes[_NOTED:] = [f"{len(selection.notes) - _NOTED} or more other leftovers are like it"]


def _age(modified: float, taken_at: datetime, repository: Repository, now: float) -> float:
    """Seconds since it was written; since the time it claims when it seems to have been written in the future."""
    skewed = modified > now + repository.model.clock_skew.total_seconds()
    return now - (taken_at.timestamp() if skewed else modified)


def _unmistakable(snapshot: Snapshot, survey: Survey, repository: Repository) -> None:
    for pair in survey.clashes:
        if snapshot.main.key in pair:
            what = "time" if snapshot.rotation is None else "number"
            raise _located(
                f"{pair[0]} and {pair[1]} claim the same {what}",
                repository,
                "Give the path pattern what tells them apart.",
            )


def _in_turn(snapshot: Snapshot, survey: Survey, repository: Repository) -> None:
    """Numbers of rotations and times must not contradict each other: then neither tells which one is the newest."""
    if snapshot.rotation is None:
        return
    latest = max(survey.newest, key=lambda each: each.taken_at)
    lead = (latest.taken_at - snapshot.taken_at).total_seconds()
    if lead > _SAME_MOMENT and latest.rotation is not None and latest.rotation > snapshot.rotation:
        raise _located(
            f"{latest.main.name} is newer than {snapshot.main.name} by {format_duration(lead)}, although its number "
            "says that it is older",
            repository,
            "Check the rotation: it renamed in the wrong order, stopped half-way, or something wrote into an old one.",
        )


def _plausible(snapshot: Snapshot, repository: Repository, now: float) -> None:
    skew = repository.model.clock_skew
    ahead = snapshot.taken_at.timestamp() - now
    if ahead > skew.total_seconds():
        raise _located(
            f"{snapshot.main.name} claims to be from the future, by {format_duration(ahead)}",
            repository,
            "Check the clock of the machine that makes the backup, and the timezone of its names in the catalogue.",
        )
    early = snapshot.taken_at.timestamp() - snapshot.modified
    if early > skew.total_seconds():
        raise _located(
            f"{snapshot.main.name} was written {format_duration(early)} before the time it claims",
            repository,
            "It is an older file under a newer name, or the timezone of its names in the catalogue is wrong.",
        )


def _judge_size(survey: Survey, repository: Repository, selection: Selection, sizes_from: float) -> None:
    chosen, model = selection.snapshot, repository.model
    if chosen is None or chosen.size < 0:
        return
    older = [
        snapshot.size
        for snapshot in survey.newest
        if snapshot.taken_at < chosen.taken_at
        and snapshot.kind is chosen.kind
        and snapshot.size > 0
        and snapshot.taken_at.timestamp() >= sizes_from
    ][: max(_SIZE_WINDOW, model.size.predecessors)]
    if len(older) < model.size.predecessors:
        return
    selection.typical_size = int(statistics.median(older))
    if chosen.size < selection.typical_size * (1 - model.size.max_drop):
        selection.snapshot = None
        raise _located(
            f"{chosen.main.name} has {format_size(chosen.size)}, its {len(older)} predecessors typically "
            f"{format_size(selection.typical_size)}: more than {format_percentage(model.size.max_drop)} smaller",
            repository,
            "Check what the backup job left out. If the data really shrank: restore-drill baseline accept TARGET "
            "--size --reason ...",
        )


def _of_rotation(snapshot: Snapshot, *, timed: bool) -> list[str]:
    first = f"the newest rotation has the number {snapshot.rotation}" if (snapshot.rotation or 0) > 0 else ""
    by = "" if timed else "names of rotations carry no time: this and all others are known by when they were written"
    return [note for note in (first, by) if note]


def _note_lag(selection: Selection, model: TargetModel, *, timed: bool) -> None:
    snapshot = selection.snapshot
    assert snapshot is not None  # noqa: S101 - the caller checked
    selection.lag_seconds = max(0.0, snapshot.modified - (snapshot.taken_at + snapshot.resolution).timestamp())
    if selection.lag_seconds > model.settle.total_seconds():
        selection.notes.append(f"it reached this store {format_duration(selection.lag_seconds)} after it was taken")
    if snapshot.rotation is not None and not model.frozen:
        selection.notes += _of_rotation(snapshot, timed=timed)
    if snapshot.ambiguous:
        selection.notes.append("its name falls into the double hour at the end of summer time")
    if snapshot.resolution >= timedelta(hours=1):
        selection.notes.append(f"its name states its time to within {format_duration(snapshot.resolution)}")


def _located(cause: str, repository: Repository, remedy: str) -> BackupFailed:
    where = repository.store.where(repository.copy.pattern.prefix)
    return BackupFailed(cause, looked_at=where, remedy=remedy, stage=Stage.LOCATE)
