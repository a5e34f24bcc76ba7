"""``--snapshots``: the cases of older snapshots.

Their slots are made before anybody selects, and those are dropped for which the store then turns out to have no
snapshot; of a sample only what is selected is listed, once a run, by whoever collects first. How many slots all older
snapshots need only listings tell: then every target of the shard is listed before anybody selects.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Generator, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.pytest_support.naming import CaseDirectory
from restore_drill.sampling import Sampling, parse, slot_of, split

if TYPE_CHECKING:
    from restore_drill.run import Run

#: The name under which the plug-in is registered.
OLDER = "restore-drill-older"
_Planned = tuple[PlannedCase, PlannedTarget]


def sampling_of(config: pytest.Config) -> Sampling | None:
    """What was asked for; the seed is drawn now where none was given.

    Raises:
        pytest.UsageError: It is nothing that can be done.
    """
    given = config.getoption("--sample-seed")
    try:
        sampling = parse(config.getoption("--snapshots"), secrets.randbelow(2**48) if given is None else given)
    except ValueError as problem:
        raise pytest.UsageError(f"--snapshots: {problem}") from None
    if sampling is not None and config.getoption("--snapshot"):
        raise pytest.UsageError("--snapshots and --snapshot were both given: name one, or have some drawn")
    if given is not None and (sampling is None or sampling.size is None):
        raise pytest.UsageError("--sample-seed decides what --snapshots sample:N draws, which was not asked for")
    return sampling


class OlderSnapshots:
    """Makes and drops the slots for older snapshots.

    Args:
        run: What is drilled, and how many.
        directory: Finds cases by node id.
        only_collected: Nothing is drilled, and so no store is listed: as many slots stand there as there may be.
    """

    def __init__(self, run: Run, directory: CaseDirectory, *, only_collected: bool) -> None:
        self._run = run
        self._directory = directory
        self._only_collected = only_collected

    @cached_property
    def by_case(self) -> dict[str, list[_Planned]]:
        """The cases of all slots, by short name."""
        found: dict[str, list[_Planned]] = defaultdict(list)
        keep = self._run.options.keep_restored
        for target, slot in self._slots():
            for case in target.cases_of(slot):
                if not (keep and case.case == "disposed"):
                    found[case.case].append((case, target))
        return found

    def _slots(self) -> Iterator[tuple[PlannedTarget, str]]:
        sampling, shard = self._run.options.sampling, self._run.options.shard
        assert sampling is not None  # noqa: S101 - else nobody makes this
        targets = [each for each in self._run.plan.targets if shard is None or shard.drills(each.name)]
        places = [(target.name, copy.name) for target in targets for copy in target.copies]
        if sampling.size is None and not self._only_collected:
            counts = self._draw(places)
        else:
            counts = dict.fromkeys(places, sampling.size or 1)
        for (name, copy), count in counts.items():
            for number in range(1, count + 1):
                yield self._run.plan.by_name[name], slot_of(copy, number)

    def _draw(self, places: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
        from restore_drill.drawing import draw

        try:
            return draw(self._run, places)
        except OSError as problem:
            raise pytest.UsageError(
                f"what was drawn cannot be written down in {self._run.directory}: {problem.strerror}"
            ) from problem

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        """When everybody has chosen, draw, and drop the slots that have nothing to drill."""
        result = yield
        if self._only_collected:
            return result
        places = {item: self._place(item.nodeid) for item in items}
        counts = self._draw(sorted({(target, copy) for target, copy, _ in filter(None, places.values())}))
        gone = [item for item, place in places.items() if place and place[2] > counts[place[:2]]]
        if gone:
            dropped = set(gone)
            items[:] = [item for item in items if item not in dropped]
            config.hook.pytest_deselected(items=gone)
        return result

    def _place(self, nodeid: str) -> tuple[str, str, int] | None:
        """Target, copy and number of the slot that a case belongs to."""
        case = self._directory.find(nodeid)
        copy, number = split(case.copy) if case is not None else ("", 0)
        return (case.target, copy, number) if case is not None and number else None

    def pytest_report_header(self) -> str:
        """What is drilled beside the newest."""
        sampling = self._run.options.sampling
        assert sampling is not None  # noqa: S101 - as above
        if sampling.size is None:
            return "older snapshots: all of them"
        return f"older snapshots: {sampling.size} of each copy, drawn by the seed {sampling.seed}"
