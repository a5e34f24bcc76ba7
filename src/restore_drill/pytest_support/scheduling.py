"""How drills are spread over xdist's workers: a target at a time, the longest first, whatever ``--dist`` says.

A worker gets a whole unit: the copies of one target in turn, then the cases across them (tests that are no drills form
a unit a file). When a worker dies, the drill it was in is quarantined: its remaining cases are reported as not
verified, nothing of it is tried again. Everything else the worker held goes back into the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import pytest

from restore_drill.plan import PlannedCase

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

#: A worker runs an item only when it knows the next one: below this many it is given more.
_LOW_WATER = 2


@dataclass(slots=True)
class Unit:
    """What one worker does without interruption: indexes into the collection, in order."""

    name: str
    items: list[int] = field(default_factory=list)


class TargetScheduling:
    """Implements xdist's ``Scheduling`` protocol.

    Args:
        config: pytest's configuration.
        workers: How many workers take part from the beginning.
        find: Node id → the planned case, or ``None``.
        seconds: Target → how long it took last time.
        quarantine: Called with the node ids that a dead worker leaves unreported.
    """

    def __init__(
        self,
        config: pytest.Config,
        workers: int,
        find: Callable[[str], PlannedCase | None],
        seconds: Callable[[], Mapping[str, float]],
        quarantine: Callable[[Sequence[str]], None],
    ) -> None:
        self.config = config
        self._workers = workers
        self._find = find
        self._seconds = seconds
        self._quarantine = quarantine
        self._collection: list[str] | None = None
        self._collected: dict[WorkerController, list[str]] = {}
        self._queue: deque[Unit] = deque()
        self._pending: dict[WorkerController, list[int]] = {}
        self._ever_collected = 0

    # --- what xdist asks ----------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[WorkerController]:
        """The workers that take part."""
        return list(self._pending)

    @property
    def collection_is_completed(self) -> bool:
        """Whether every worker of the beginning has collected, or is gone."""
        return self._collection is not None or self._ever_collected >= self._workers

    @property
    def tests_finished(self) -> bool:
        """Whether nothing is left but what the workers run once they are told to end."""
        if not self.collection_is_completed or self._queue:
            return False
        return all(len(items) < _LOW_WATER for items in self._pending.values())

    @property
    def has_pending(self) -> bool:
        """Whether something is under way."""
        return bool(self._queue) or any(self._pending.values())

    def add_node(self, node: WorkerController) -> None:
        """A worker is there."""
        self._pending[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """A worker has collected."""
        self._ever_collected += 1
        if self._collection is not None and list(collection) != self._collection:
            self._refuse(node)
            return
        self._collected[node] = list(collection)

    def schedule(self) -> None:
        """Hand out work: at the beginning, and again when a replacement has collected."""
        if self._collection is None:
            self._begin()
        for node in self.nodes:
            self._supply(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:  # noqa: ARG002
        """An item is through."""
        self._pending[node].remove(item_index)
        self._supply(node)

    def remove_node(self, node: WorkerController) -> None:
        """A worker ended, in order or not. Returns nothing: what it leaves is reported by us, not by xdist."""
        left = self._pending.pop(node)
        self._collected.pop(node, None)
        if self._collection is None or not left:
            return
        lost, kept = self._split(left)
        self._requeue(kept)
        if lost:
            self._quarantine([self._collection[index] for index in lost])
        for other in self.nodes:
            self._supply(other)

    def mark_test_pending(self, item: str) -> NoReturn:
        """Xdist's ``--looponfail`` protocol, which drills do not have."""
        raise NotImplementedError(item)

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> NoReturn:
        """Work stealing, which would tear a target apart."""
        raise NotImplementedError(node, indices)

    # --- units --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        collections = list(self._collected.values())
        if not collections:
            return
        self._collection = collections[0]
        for node, collection in list(self._collected.items()):
            if collection != self._collection:
                self._refuse(node)
        self._queue.extend(self._units(range(len(self._collection))))

    def _units(self, indexes: Sequence[int]) -> list[Unit]:
        """Group by target, the longest expected first (those never measured before all others)."""
        units: dict[str, Unit] = {}
        for index in indexes:
            units.setdefault(self._unit_of(index), Unit(self._unit_of(index))).items.append(index)
        known = self._seconds() if len(units) > 1 else {}
        return sorted(units.values(), key=lambda unit: -known.get(unit.name, float("inf")))

    def _unit_of(self, index: int) -> str:
        assert self._collection is not None  # noqa: S101 - asked for only once there is one
        nodeid = self._collection[index]
        case = self._find(nodeid)
        return case.target if case else nodeid.split("::", 1)[0]

    def _split(self, left: list[int]) -> tuple[list[int], list[int]]:
        """What a dead worker was in the middle of, and what it had not begun.

        Lost are the rest of that copy's drill and the cases across the target's copies, which would touch it again.
        """
        assert self._collection is not None  # noqa: S101 - as above
        current = self._find(self._collection[left[0]])
        if current is None:
            return left[:1], left[1:]
        lost = [index for index in left if self._same_drill(index, current)]
        return lost, [index for index in left if index not in lost]

    def _same_drill(self, index: int, current: PlannedCase) -> bool:
        assert self._collection is not None  # noqa: S101 - as above
        case = self._find(self._collection[index])
        return case is not None and case.target == current.target and case.copy in (current.copy, "")

    def _requeue(self, kept: list[int]) -> None:
        for unit in reversed(self._units(kept)):
            self._queue.appendleft(unit)

    def _supply(self, node: WorkerController) -> None:
        """Give a worker its next unit in time, or tell it that there is none."""
        if node.shutting_down or node not in self._collected:
            return
        while len(self._pending[node]) < _LOW_WATER:
            if not self._queue:
                node.shutdown()
                return
            unit = self._queue.popleft()
            self._pending[node] += unit.items
            node.send_runtest_some(unit.items)

    def _refuse(self, node: WorkerController) -> None:
        """A worker that collected something else must not run anything; the run is red by that."""
        self._collected.pop(node, None)
        report = pytest.CollectReport(
            nodeid=node.gateway.id,
            outcome="failed",
            longrepr=f"worker {node.gateway.id} collected other cases than the others: is a file being changed?",
            result=[],
        )
        self.config.hook.pytest_collectreport(report=report)
        node.shutdown()
