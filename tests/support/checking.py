"""A restored system of which everything is known, and what a check is told beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from restore_drill.catalogue.expect import Expect
from restore_drill.checks.base import Baseline, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.model import Artifact, Snapshot

TAKEN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
SNAPSHOT = Snapshot(TAKEN, (Artifact("db/20261123_020000.db", 4096, TAKEN.timestamp() + 30),))


class Known(Restored):
    """A system that answers what it was told to; what it was not told it cannot answer.

    Args:
        counts: Rows by table.
        structure: Names by type.
        answers: The first value of the answer, by statement.
        integrity: What its own checks found.
        tree: Facts of a tree.
        estimates: What is assumed of tables that were not counted.
        remarks: What its own checks remarked on.
        undone: What they had no time for.
        tried: What came of trying an application.
    """

    def __init__(
        self,
        *,
        counts: Mapping[str, int] | None = None,
        structure: Mapping[str, list[str]] | None = None,
        answers: Mapping[str, Any] | None = None,
        integrity: list[dict[str, Any]] | None = None,
        tree: Mapping[str, Any] | None = None,
        estimates: Mapping[str, int] | None = None,
        remarks: list[dict[str, Any]] | None = None,
        undone: list[str] | None = None,
        tried: Mapping[str, Any] | None = None,
    ) -> None:
        self.facts = {}
        self.notes = []
        self.asked: list[Any] = []
        self._counts = counts
        self._structure = structure
        self._answers = answers
        self._integrity = integrity
        self._tree = tree
        self._estimates = estimates or {}
        self._more = {"remarks": remarks, "undone": undone}
        self._tried = tried

    def row_counts(self) -> dict[str, int]:
        return super().row_counts() if self._counts is None else dict(self._counts)

    def estimates(self) -> dict[str, int]:
        return dict(self._estimates)

    def structure(self) -> dict[str, list[str]]:
        if self._structure is None:
            return super().structure()
        return {kind: list(names) for kind, names in self._structure.items()}

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        if self._answers is None:
            return super().query(sql, deadline)
        self.asked.append((sql, deadline))
        return [(self._answers[sql],)] if sql in self._answers else []

    def integrity(self, mode: str = "full") -> dict[str, Any]:
        if self._integrity is None:
            return super().integrity(mode)
        self.asked.append(mode)
        more = {name: value for name, value in self._more.items() if value}
        return {"problems": self._integrity, "checked": ["everything"], "details": ["the row of a customer"], **more}

    def files(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        if self._tree is None:
            return super().files(rule)
        self.asked.append(dict(rule))
        return dict(self._tree)

    def smoke(self, rule: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        if self._tried is None:
            return super().smoke(rule, deadline)
        self.asked.append((dict(rule), deadline))
        return dict(self._tried)


def context(expect: Mapping[str, Any] | None = None, *, detail: str = "", **more: Any) -> CheckContext:
    """What a check is told; ``expect`` is that part of the catalogue."""
    given = {"baseline": Baseline(initialised=True), "snapshot": SNAPSHOT, **more}
    return CheckContext(detail=detail, rule=Expect.model_validate(expect or {}), **given)


def baseline(**found: Any) -> Baseline:
    """What an earlier drill found."""
    return Baseline(**{"initialised": True, "run": "20261122T020000Z-aaaaaa", **found})
