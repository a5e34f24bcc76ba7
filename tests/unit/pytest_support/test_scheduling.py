"""Every drill runs once, on one worker, whatever dies when; what cannot run any more is reported, and only that."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.plan import PlannedCase
from restore_drill.pytest_support.scheduling import TargetScheduling

#: Node id → its case; node ids here say it themselves: ``target/copy/case``, or ``file.py::test`` for other tests.
_Find = Callable[[str], PlannedCase | None]


def _find(nodeid: str) -> PlannedCase | None:
    return None if "::" in nodeid else PlannedCase(*nodeid.split("/"))


@dataclass(eq=False)
class FakeNode:
    """A worker as xdist's controller sees it, and what the worker's own loop would do."""

    id: str
    queue: list[int] = field(default_factory=list)
    shutting_down: bool = False
    state: str = "starting"
    running: int | None = None
    reported: bool = False

    @property
    def gateway(self) -> Any:
        return SimpleNamespace(id=self.id)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down, "work after the notice to end is never done"
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_begin(self) -> bool:
        """A worker runs an item only when it knows what comes next."""
        return self.running is None and (len(self.queue) > 1 or (bool(self.queue) and self.shutting_down))


class Simulation:
    """Xdist's controller (``DSession``): turns what workers do into calls of the scheduler.

    Args:
        items: The collection.
        workers: How many begin.
        crashes: How many may die.
        restarts: How many of those are replaced.
        choose: Decides what happens next.
    """

    def __init__(
        self,
        items: Sequence[str],
        workers: int,
        choose: random.Random,
        *,
        crashes: int = 0,
        restarts: int = 1000,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.items = list(items)
        self.crashes = crashes
        self.restarts = restarts
        self.choose = choose
        self.ran: list[tuple[str, str]] = []
        self.reports: list[str] = []
        self.quarantined: list[tuple[str, ...]] = []
        self.died_in: list[str] = []
        config: Any = None
        self.sched = TargetScheduling(config, workers, _find, lambda: seconds or {}, self._quarantine)
        self.nodes = [FakeNode(f"gw{number}") for number in range(workers)]
        self.begun = workers
        self.shutting_down = False

    def _quarantine(self, nodeids: Sequence[str]) -> None:
        self.quarantined.append(tuple(nodeids))

    def run(self) -> Simulation:
        """Let things happen until nothing can any more."""
        while moves := list(self._moves()):
            self.choose.choice(moves)()
            if self.sched.tests_finished:
                self._end_all()
        assert not self.nodes, f"these workers wait for ever: {self.nodes}"
        return self

    def _moves(self) -> Iterator[Callable[[], None]]:
        for node in self.nodes:
            if node.state == "starting":
                yield lambda node=node: self._ready(node)
            elif node.state == "collecting":
                yield lambda node=node: self._collected(node)
            elif node.running is not None:
                yield lambda node=node: self._go_on(node)
            elif node.can_begin:
                yield lambda node=node: self._begin(node)
            elif node.shutting_down and not node.queue:
                yield lambda node=node: self._finish(node)
            if self.crashes:
                yield lambda node=node: self._die(node)

    def _ready(self, node: FakeNode) -> None:
        node.state = "collecting"
        if self.shutting_down:
            node.shutdown()
            node.state = "idle"
        else:
            self.sched.add_node(node)  # type: ignore[arg-type]

    def _collected(self, node: FakeNode) -> None:
        node.state = "idle"
        if not self.shutting_down:
            self.sched.add_node_collection(node, self.items)  # type: ignore[arg-type]
            if self.sched.collection_is_completed:
                self.sched.schedule()

    def _begin(self, node: FakeNode) -> None:
        node.running = node.queue.pop(0)
        self.ran.append((self.items[node.running], node.id))

    def _go_on(self, node: FakeNode) -> None:
        assert node.running is not None
        if not node.reported:
            self.reports.append(self.items[node.running])
            node.reported = True
            return
        index, node.running, node.reported = node.running, None, False
        self.sched.mark_test_complete(node, index)  # type: ignore[arg-type]

    def _finish(self, node: FakeNode) -> None:
        self.nodes.remove(node)
        if node in self.sched.nodes:  # type: ignore[comparison-overlap]
            assert self.sched.remove_node(node) is None  # type: ignore[arg-type, func-returns-value]

    def _die(self, node: FakeNode) -> None:
        self.crashes -= 1
        self.nodes.remove(node)
        held = [*([] if node.running is None else [node.running]), *node.queue]
        before = len(self.quarantined)
        if node in self.sched.nodes:  # type: ignore[comparison-overlap]
            assert self.sched.remove_node(node) is None  # type: ignore[arg-type, func-returns-value]
        if held:
            self.died_in.append(self.items[held[0]])
            assert [lost[0] for lost in self.quarantined[before:]] == [self.items[held[0]]]
        else:
            assert len(self.quarantined) == before
        if self.restarts:
            self.restarts -= 1
            self.shutting_down = False
            self.nodes.append(FakeNode(f"gw{self.begun}"))
            self.begun += 1
        else:
            self._end_all()

    def _end_all(self) -> None:
        self.shutting_down = True
        for node in self.nodes:
            if node.state != "starting":
                node.shutdown()
                node.state = "idle"

    @property
    def missing(self) -> list[str]:
        """What neither reported nor was quarantined."""
        heard = {*self.reports, *(nodeid for lost in self.quarantined for nodeid in lost)}
        return [nodeid for nodeid in self.items if nodeid not in heard]


@st.composite
def collections(draw: st.DrawFn) -> list[str]:
    """Targets of one to three copies, some with cases across them; and tests that are no drills."""
    items = []
    for number in range(draw(st.integers(1, 5))):
        for copy in range(draw(st.integers(1, 3))):
            items += [f"t{number}/c{copy}/{case}" for case in range(draw(st.integers(1, 3)))]
        items += [f"t{number}//{case}" for case in range(draw(st.integers(0, 2)))]
    return items + [f"file{n % 2}.py::test_{n}" for n in sorted(range(draw(st.integers(0, 4))), key=lambda n: n % 2)]


def _drill(nodeid: str) -> tuple[str, str]:
    case = _find(nodeid)
    return (case.target, case.copy) if case else ("", nodeid)


def _unit(nodeid: str) -> str:
    return nodeid.split("::")[0].split("/")[0]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(items=collections(), workers=st.integers(1, 7), choose=st.randoms(use_true_random=False))
def test_every_target_runs_whole_and_in_order_on_one_worker(
    items: list[str], workers: int, choose: random.Random
) -> None:
    done = Simulation(items, workers, choose).run()
    where = defaultdict(set)
    for nodeid, worker in done.ran:
        where[_unit(nodeid)].add(worker)
    assert all(len(found) == 1 for found in where.values())
    for unit in where:
        assert [nodeid for nodeid, _ in done.ran if _unit(nodeid) == unit] == [n for n in items if _unit(n) == unit]
    assert sorted(done.reports) == sorted(items)
    assert not done.quarantined


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    items=collections(), workers=st.integers(1, 5), crashes=st.integers(1, 4), choose=st.randoms(use_true_random=False)
)
def test_crashes_cost_only_the_drills_they_happen_in(
    items: list[str], workers: int, crashes: int, choose: random.Random
) -> None:
    done = Simulation(items, workers, choose, crashes=crashes).run()
    assert not done.missing
    assert max(Counter(nodeid for nodeid, _ in done.ran).values(), default=1) == 1, "nothing is tried again"
    assert max(Counter(done.reports).values(), default=1) == 1
    lost = [nodeid for each in done.quarantined for nodeid in each]
    assert len(lost) == len(set(lost))
    for each in done.quarantined:
        target, copy = _drill(each[0])
        allowed = {(target, copy), (target, "")}
        assert {_drill(nodeid) for nodeid in each} <= allowed
        assert not {nodeid for nodeid in done.reports if nodeid in each[1:]}
    where = defaultdict(set)
    for nodeid, worker in done.ran:
        where[_drill(nodeid)].add(worker)
    assert all(len(found) == 1 for found in where.values()), "a drill is never divided"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    items=collections(),
    workers=st.integers(1, 4),
    crashes=st.integers(1, 4),
    restarts=st.integers(0, 2),
    choose=st.randoms(use_true_random=False),
)
def test_without_replacements_the_run_still_ends_and_nothing_is_reported_twice(
    items: list[str], workers: int, crashes: int, restarts: int, choose: random.Random
) -> None:
    done = Simulation(items, workers, choose, crashes=crashes, restarts=restarts).run()
    lost = [nodeid for each in done.quarantined for nodeid in each]
    first = [each[0] for each in done.quarantined]
    heard = Counter(done.reports) + Counter(nodeid for nodeid in lost if nodeid not in first)
    assert max(heard.values(), default=1) == 1
    assert set(done.missing).isdisjoint(heard)


# --- particular courses -----------------------------------------------------------------------------------------------

_TWO = ["a/nas/1", "a/nas/2", "a/off/1", "a/off/2", "a//agree", "b/nas/1", "b/nas/2"]


class Hand:
    """A scheduler operated by hand, with workers that have collected."""

    def __init__(self, items: Sequence[str], workers: int, seconds: Callable[[], Mapping[str, float]] = dict) -> None:
        self.items = list(items)
        self.lost: list[list[str]] = []
        self.refused: list[Any] = []
        config: Any = SimpleNamespace(hook=SimpleNamespace(pytest_collectreport=self._refuse))
        self.sched = TargetScheduling(config, workers, _find, seconds, lambda each: self.lost.append(list(each)))
        self.nodes: list[Any] = []
        for _ in range(workers):
            self.join()

    def _refuse(self, report: Any) -> None:
        self.refused.append(report)

    def join(self, items: Sequence[str] | None = None) -> Any:
        """One more worker."""
        node: Any = FakeNode(f"gw{len(self.nodes)}")
        self.nodes.append(node)
        self.sched.add_node(node)
        self.sched.add_node_collection(node, self.items if items is None else items)
        if self.sched.collection_is_completed:
            self.sched.schedule()
        return node

    def given(self, node: Any) -> list[str]:
        """What a worker was given so far."""
        return [self.items[index] for index in node.queue]

    def complete(self, node: Any, nodeid: str) -> None:
        """A worker is through with an item."""
        self.sched.mark_test_complete(node, self.items.index(nodeid))


def test_a_crash_quarantines_its_copy_and_the_cases_across_copies() -> None:
    hand = Hand(_TWO, 1)
    (node,) = hand.nodes
    assert hand.given(node) == _TWO[:5]
    hand.complete(node, "a/nas/1")
    hand.sched.remove_node(node)
    assert hand.lost == [["a/nas/2", "a//agree"]]
    assert hand.given(hand.join()) == ["a/off/1", "a/off/2"]


def test_a_crash_in_the_cases_across_copies_costs_those_only() -> None:
    hand = Hand(_TWO, 1)
    (node,) = hand.nodes
    for nodeid in _TWO[:4]:
        hand.complete(node, nodeid)
    assert hand.given(node) == _TWO, "it is given the next target before it runs the last case of this one"
    hand.sched.remove_node(node)
    assert hand.lost == [["a//agree"]]
    assert hand.given(hand.join()) == ["b/nas/1", "b/nas/2"]


def test_a_crash_outside_of_any_drill_costs_one_test() -> None:
    items = ["x.py::a", "x.py::b", "x.py::c"]
    hand = Hand(items, 1)
    hand.sched.remove_node(hand.nodes[0])
    assert hand.lost == [["x.py::a"]]
    assert hand.given(hand.join()) == ["x.py::b", "x.py::c"]


def test_two_crashes_at_once_in_two_drills() -> None:
    hand = Hand(_TWO, 2)
    first, second = hand.nodes
    hand.sched.remove_node(second)
    hand.sched.remove_node(first)
    assert hand.lost == [["b/nas/1", "b/nas/2"], ["a/nas/1", "a/nas/2", "a//agree"]]
    assert hand.given(hand.join()) == ["a/off/1", "a/off/2"]


def test_a_worker_that_dies_idle_costs_nothing() -> None:
    hand = Hand(_TWO[:5], 2)
    _, idle = hand.nodes
    assert idle.shutting_down and not idle.queue
    hand.sched.remove_node(idle)
    assert not hand.lost


def test_a_worker_that_dies_before_it_has_collected_is_waited_for_no_longer() -> None:
    hand = Hand(_TWO, 0)
    hand.sched = TargetScheduling(hand.sched.config, 2, _find, dict, lambda each: hand.lost.append(list(each)))
    dead: Any = FakeNode("dead")
    hand.sched.add_node(dead)
    first = hand.join()
    assert not hand.sched.collection_is_completed and not first.queue
    hand.sched.remove_node(dead)
    replacement = hand.join()
    assert sorted(hand.given(first) + hand.given(replacement)) == sorted(_TWO)
    assert not hand.lost


def test_more_workers_than_targets_are_told_to_end() -> None:
    hand = Hand(_TWO, 4)
    assert [hand.given(node) for node in hand.nodes] == [_TWO[:5], _TWO[5:], [], []]
    assert [node.shutting_down for node in hand.nodes] == [False, False, True, True]


def test_a_replacement_joins_while_the_others_work() -> None:
    items = [f"t{number}/nas/{case}" for number in range(4) for case in (1, 2)]
    hand = Hand(items, 2)
    hand.sched.remove_node(hand.nodes[0])
    assert hand.given(hand.join()) == items[4:6]


def test_the_longest_come_first_and_the_unknown_before_them() -> None:
    items = [f"{name}/nas/{case}" for name in ("quick", "slow", "new") for case in (1, 2)]
    hand = Hand(items, 3, lambda: {"quick": 1.0, "slow": 60.0})
    assert [_unit(hand.given(node)[0]) for node in hand.nodes] == ["new", "slow", "quick"]


def test_the_state_is_not_asked_for_one_target() -> None:
    def fail() -> Mapping[str, float]:
        raise AssertionError("asked")

    assert Hand(_TWO[:5], 1, fail).nodes[0].queue
    with pytest.raises(AssertionError, match="asked"):
        Hand(_TWO, 1, fail)


def test_a_worker_that_collected_something_else_runs_nothing() -> None:
    hand = Hand(_TWO, 1)
    stranger = hand.join(_TWO[:3])
    assert stranger.shutting_down and not stranger.queue
    (report,) = hand.refused
    assert report.failed and "collected other cases" in str(report.longrepr)
    assert not Hand(_TWO, 2).refused


def test_a_stranger_at_the_beginning_leaves_the_work_to_the_others() -> None:
    hand = Hand(_TWO, 0)
    hand.sched = TargetScheduling(hand.sched.config, 2, _find, dict, lambda each: hand.lost.append(list(each)))
    honest, stranger = hand.join(), hand.join(_TWO[:3])
    assert stranger.shutting_down and not stranger.queue
    assert hand.given(honest) == _TWO[:5]
    assert len(hand.refused) == 1


def test_nothing_is_finished_before_the_last_case_is_under_way() -> None:
    hand = Hand(["a/nas/1", "a/nas/2", "a/nas/3"], 1)
    (node,) = hand.nodes
    assert hand.sched.has_pending and not hand.sched.tests_finished
    hand.complete(node, "a/nas/1")
    assert not hand.sched.tests_finished and not node.shutting_down
    hand.complete(node, "a/nas/2")
    assert hand.sched.tests_finished and node.shutting_down
    hand.complete(node, "a/nas/3")
    assert not hand.sched.has_pending


def test_what_would_tear_a_target_apart_is_refused() -> None:
    hand = Hand(_TWO, 1)
    with pytest.raises(NotImplementedError):
        hand.sched.mark_test_pending("a/nas/1")
    with pytest.raises(NotImplementedError):
        hand.sched.remove_pending_tests_from_node(hand.nodes[0], [0])
