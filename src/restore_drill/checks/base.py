"""The contract of a check: measure a restored system, then judge what was measured.

The two halves are apart so that a drill can be judged again, from its record, by tomorrow's policy. A check MUST

* ``measure`` without judging, and return JSON values that may be published: numbers and names, never a row's text;
* ``judge`` without measuring: facts, rule and baseline in, :class:`Finding` out;
* raise :class:`CouldNotVerify` when something could not be measured, never return a passing finding.

Every check passes :class:`restore_drill.testing.check.CheckConformance`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from restore_drill.depth import FULL
from restore_drill.engines.base import Restored
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Finding, Snapshot
from restore_drill.outline import Reference

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What earlier passed, whole drills of this copy measured.

    Attributes:
        initialised: Whether there is a state at all; without it no bound that needs history can be judged.
        run: The run that recorded it, ``""`` for a target that is drilled for the first time.
        counts: Rows by table in the last passed drill (files and bytes of a tree under ``files`` and ``bytes``).
        highest: The highest count by table in 30 days, and the day it was seen.
        structure: Names of objects by type in the last passed drill.
        accepted: Tables whose drop a person accepted since: table → ``reason``.
        kept: Parts of an earlier run than ``run``, because what came later failed under an exception: ``structure`` or
            ``rows:TABLE`` → that earlier run.
        problem: Why nothing is known, when the state cannot be used.
    """

    initialised: bool = False
    run: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    highest: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    structure: Mapping[str, list[str]] = field(default_factory=dict)
    accepted: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    problem: CouldNotVerify | None = None

    def run_of(self, part: str) -> str:
        """The run that measured ``structure`` or ``rows:TABLE``."""
        return self.kept.get(part, self.run)

    def require(self) -> None:
        """Refuse to judge a bound that needs history when there is no state that can be used.

        Raises:
            CouldNotVerify: The state was never initialised, cannot be read, or is damaged.
        """
        if self.problem is not None:
            raise self.problem
        if not self.initialised:
            raise CouldNotVerify(
                "there is no baseline to compare with: the state was never initialised",
                remedy="Initialise it once: restore-drill baseline init",
            )


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check may know besides the restored system.

    Attributes:
        detail: The part of the case's name after the copy: a table, a query's name, or ``""``.
        rule: The part of the catalogue that asks for this check (a catalogue model; a third party's own mapping).
        snapshot: What was restored.
        baseline: What earlier drills measured.
        deadline: Seconds one measurement may take.
        recorded: Counts recorded beside the snapshot, or ``None``.
        zone: The zone of times in the data that carry no offset.
        manifest: Name of the manifest inside a tree whose digests were recorded with it, or ``None``.
        selected: Short names of the cases of this drill that run, so that one cause fails one of them.
        depth: How deep the restore went: ``full``, ``schema`` or ``sample``.
        sample: The tables whose rows were restored, at depth ``sample``.
        reference: What must be there, as a person reviewed it, or ``None``.
    """

    detail: str
    rule: Any
    snapshot: Snapshot
    baseline: Baseline
    deadline: float = 600.0
    recorded: Mapping[str, int] | None = None
    zone: ZoneInfo = _UTC
    manifest: str | None = None
    selected: frozenset[str] = frozenset()
    depth: str = FULL
    sample: tuple[str, ...] = ()
    reference: Reference | None = None

    def restored_rows(self, table: str) -> bool:
        """Whether the rows of a table were restored at all."""
        return self.depth == FULL or table in self.sample


def is_ignored(table: str, context: CheckContext) -> bool:
    """Whether a table may vanish, empty or shrink, as ``rows.ignore`` of the catalogue has it."""
    rows = context.rule.rows
    return rows is not None and any(fnmatchcase(table, pattern) for pattern in rows.ignore)


def uncounted(tables: Collection[str]) -> CouldNotVerify:
    """The error for tables that are there and could not be counted before the deadline."""
    some = ", ".join(sorted(tables)[:3]) + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")
    return CouldNotVerify(
        f"the rows of {some} could not be counted in time: there is an estimate only, which no rule is judged by",
        remedy="Give the target's deadlines: check: more time, or drill on a faster machine.",
    )


def least(before: int, max_drop: float) -> int:
    """How many must be left of ``before`` when at most a share of ``max_drop`` may go.

    11 of 20 when that is 45 %, although ``20 * (1 - 0.45)`` is a little more than 11.
    """
    return math.ceil(before * (1 - max_drop) - before * 1e-9)


class Check(ABC):
    """One kind of assertion."""

    short: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """What the rule is about, measured on the restored system (JSON values that may be published).

        A key ``details`` (a list of strings) is kept out of everything but the terminal and the 0600 file.

        Raises:
            CouldNotVerify: It cannot be measured.
        """

    @abstractmethod
    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """What the rule says of the facts."""
