"""The recovery runbook of a target: put together from the catalogue and what the last passed drill measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from restore_drill.quantities import format_duration
from restore_drill.recovery import fetching
from restore_drill.recovery.book import Command, Drilled, Parts, Variable, WrittenStep
from restore_drill.recovery.opening import opened
from restore_drill.recovery.systems.base import System
from restore_drill.recovery.systems.files import OneFile, Tree
from restore_drill.recovery.systems.mysql import Mysql
from restore_drill.recovery.systems.postgres import postgres
from restore_drill.recovery.systems.sqlite import Sqlite
from restore_drill.runbooks import GENERATED

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy, PlannedTarget

#: What remains to be done with the file or the tree that the commands put in place.
_LEFT_TO_PEOPLE: Final = {
    "redis": "Start the server on it: it reads `dump.rdb`, but not with `appendonly yes`; start it without, once.",
    "etcd": "Make a data directory of it: `etcdutl snapshot restore FILE --data-dir DIR`, for each member.",
    "git": "Make a repository of it: `git clone --mirror FILE REPOSITORY`.",
    "ldif": "Load it into an empty directory server: `slapadd -l FILE`.",
    "postgres": "Start a server of the same version on it, or load it with `pg_restore`: it is no single dump.",
    "mysql": "Prepare it with the program that made it, and start a server of the same version on it.",
    "mariadb": "Prepare it with the program that made it, and start a server of the same version on it.",
}
_PLACES: Final = "fetched verified decrypted opened restored accepted"


@dataclass(frozen=True, slots=True)
class Runbook:
    """All that a runbook says.

    Attributes:
        drilled: The snapshot, and the drill that proved it.
        restored: What ``runbook.restored`` of the catalogue calls what is there in the end.
        reason: Why nothing is proved; or what the last drill found wrong, when something older is.
        parts: Programs, variables, cautions, and what must be done by hand.
        steps: Up to a restored system; ``verification`` and ``going_live`` and ``rollback`` after them.
    """

    drilled: Drilled
    restored: str
    reason: str
    parts: Parts
    steps: Sequence[WrittenStep]
    verification: Sequence[WrittenStep]
    going_live: Sequence[WrittenStep]
    rollback: Sequence[WrittenStep]

    @property
    def executed(self) -> Mapping[str, float]:
        """Seconds of each step by its heading, where the drill executed the runbook that it wrote; else nothing."""
        rule, done = self.target.model.runbook, self.drilled.evidence.get("runbook", {})
        steps = done.get("steps", ())
        if rule is None or not rule.generated or done.get("document") != GENERATED:
            return {}  # it may have been the team's own in those days
        if any(step.get("status") != 0 for step in steps) or done.get("rollback") not in ("drilled", "not asked for"):
            return {}  # excused, and no proof of these steps
        return {str(step["heading"]): float(step["seconds"]) for step in steps}

    @property
    def target(self) -> PlannedTarget:
        """Whose runbook it is."""
        return self.drilled.target

    @property
    def copy(self) -> PlannedCopy:
        """Which of its copies is restored."""
        return self.drilled.copy


def compose(drilled: Drilled, reason: str = "") -> Runbook:
    """Put a runbook together.

    Args:
        drilled: What is known of the snapshot.
        reason: Why nothing is proved, where nothing is; or what the last drill found wrong.
    """
    parts = Parts()
    room = f"an empty directory{_room(drilled)}"
    parts.takes(Variable("WORK_DIR", room, f"/var/tmp/restore-{drilled.target.name}"))  # noqa: S108 - an example
    if not drilled.is_proved:
        about = "which snapshot: its key in the store, relative to the url above"
        if drilled.copy.settings.url.lower().startswith("http"):
            about += ", percent-encoded as in an address"
        parts.takes(Variable("SNAPSHOT_KEY", about, drilled.copy.pattern.text.rstrip("/")))
    prepare = WrittenStep(
        "Prepare",
        (
            Command('mkdir -p -m 700 -- "$WORK_DIR"'), Command('cd "$WORK_DIR"'), Command(f"mkdir {_PLACES}"),
        ),
        "What is left of an earlier attempt must go first: `mkdir` refuses to mix two attempts.",
    )  # fmt: skip
    took = _took(drilled)
    fetch, digests = fetching.fetch(drilled, parts, took["fetch"]), fetching.verify(drilled, parts)
    opening, places = opened(drilled, parts)
    system = _kind(drilled)(drilled, places, parts)
    if isinstance(system, Tree | OneFile) and (left := _LEFT_TO_PEOPLE.get(drilled.target.model.engine)):
        parts.by_hand.append(left)
    restoring = system.restore()
    restoring[-1] = _timed(restoring[-1], took["restore"])
    return Runbook(
        drilled, system.name, reason, parts,
        steps=[prepare, fetch, digests, *opening, *restoring],
        verification=[_timed(system.verify(), took["checks"])],
        going_live=[system.go_live()],
        rollback=[system.roll_back()],
    )  # fmt: skip


def _timed(step: WrittenStep, took: str) -> WrittenStep:
    return WrittenStep(step.title, step.commands, step.about, took)


def _took(drilled: Drilled) -> Mapping[str, str]:
    """What the drill measured. It fetches, verifies, decrypts and unpacks in one pass; that is not taken apart here."""
    if not drilled.is_proved:
        return {"fetch": "", "restore": "", "checks": ""}
    one_pass = float(drilled.facts("fetch").get("seconds", 0.0))
    restored = float(drilled.facts("restore").get("seconds", 0.0))
    checked = sum(seconds for *_, seconds in drilled.checks())
    return {
        "fetch": f"{format_duration(one_pass)} in the drill, with verifying, decrypting and decompressing in one pass",
        "restore": f"{format_duration(restored)} in the drill",
        "checks": f"{format_duration(checked)} in the drill, with everything else that it asks",
    }


def _room(drilled: Drilled) -> str:
    from restore_drill.quantities import format_size

    if not drilled.content_bytes:
        return ""
    # What is fetched, what it becomes, and once more while it is restored.
    return f" with {format_size(drilled.stored_bytes + 3 * drilled.content_bytes)} free"


def _kind(drilled: Drilled) -> Callable[[Drilled, Sequence[str], Parts], System]:
    """Which system it is: by its engine, and by the form in which the engine was given it."""
    engine, form = drilled.target.model.engine, drilled.form
    physical = (drilled.facts("restore").get("facts") or {}).get("kind") == "physical"
    if engine == "sqlite" and form == "file":
        return Sqlite
    if engine == "postgres" and not physical and form == "file":
        return postgres
    if engine in ("mysql", "mariadb") and not physical and form == "file" and "physical" not in drilled.format:
        return Mysql
    return Tree if form == "tree" else OneFile
