"""Turn the plan into pytest items: parametrize the standard cases and a user's own, and put them in order."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from restore_drill.cases import BY_FUNCTION
from restore_drill.plan import Plan, PlannedCase, PlannedTarget, sort_key
from restore_drill.pytest_support.naming import OWN, CaseDirectory, case_id
from restore_drill.pytest_support.older import OlderSnapshots
from restore_drill.run import RunOptions

#: Where the case that an item stands for is kept.
CASE = pytest.StashKey[PlannedCase]()


class Collection:
    """Generates and orders the cases of a plan.

    Args:
        plan: What the run may do.
        options: What the person asked for; some cases make no sense with some options.
        directory: Finds cases by node id.
        older: Makes the cases of older snapshots, where any are drilled.
    """

    def __init__(
        self, plan: Plan, options: RunOptions, directory: CaseDirectory, older: OlderSnapshots | None = None
    ) -> None:
        self._plan = plan
        self._older = older
        self._directory = directory
        self._by_short: dict[str, list[tuple[PlannedCase, PlannedTarget]]] = {}
        shard = options.shard if options.shard and options.shard.whole else None
        for target in plan.targets:
            if shard is not None and not shard.drills(target.name):
                continue  # of ten thousand targets, collecting all took each shard longer than most drills
            for case in target.cases():
                if applies(case, options):
                    self._by_short.setdefault(case.case, []).append((case, target))
        self._order = {target.name: position for position, target in enumerate(plan.targets)}
        self._marks = {tier: getattr(pytest.mark, tier) for tier in plan.tiers if tier.isidentifier()}

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize what uses the ``drill`` or the ``restored`` fixture."""
        if "drill" not in metafunc.fixturenames:
            return
        standard = BY_FUNCTION.get(metafunc.function.__name__)
        marker = metafunc.definition.get_closest_marker("target")
        if marker is None and standard is not None:
            beside = self._older.by_case.get(standard.short, []) if self._older is not None else []
            self._parametrize(metafunc, [*self._by_short.get(standard.short, []), *beside])
        elif marker is not None:
            self._parametrize(metafunc, self._own(metafunc, marker))
        else:
            raise pytest.Collector.CollectError(
                f"{metafunc.definition.nodeid} uses a drill: say of which target with @pytest.mark.target('NAME')"
            )

    def _own(self, metafunc: pytest.Metafunc, marker: pytest.Mark) -> list[tuple[PlannedCase, PlannedTarget]]:
        found = []
        for name in marker.args:
            target = self._plan.by_name.get(name)
            if target is None:
                known = ", ".join(self._plan.by_name) or "none"
                raise pytest.Collector.CollectError(
                    f"{metafunc.definition.nodeid}: the catalogue has no target {name!r}; it has {known}"
                )
            found += [(PlannedCase(name, copy.name, OWN), target) for copy in target.copies]
        return found

    def _parametrize(self, metafunc: pytest.Metafunc, cases: list[tuple[PlannedCase, PlannedTarget]]) -> None:
        metafunc.parametrize(
            "drill",
            [
                pytest.param(case, id=case_id(case, target.tier), marks=self._marks.get(target.tier, ()))
                for case, target in cases
            ],
            indirect=True,
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, object, object]:
        """Drop cases that apply to nothing before anybody counts them."""
        made = yield
        return [item for item in made if not _applies_to_nothing(item)] if isinstance(made, list) else made

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        """Put the cases in order when everybody has chosen."""
        result = yield
        self._sort(items)
        return result

    def _sort(self, items: list[pytest.Item]) -> None:
        """Target by target, copy by copy, stage by stage; other tests stay where they were, behind the drills."""
        keys: dict[pytest.Item, tuple[int, ...]] = {}
        for position, item in enumerate(items):
            case = self._directory.find(item.nodeid)
            if case is None:
                keys[item] = (len(self._order), position)
            else:
                item.stash[CASE] = case
                keys[item] = (self._order[case.target], *sort_key(case, self._plan.by_name[case.target]), position)
        items.sort(key=keys.__getitem__)


def _applies_to_nothing(item: pytest.Item | pytest.Collector) -> bool:
    """Whether pytest made a skipped item of a case without a single parameter: such a case does not exist."""
    return "drill" in getattr(item, "fixturenames", ()) and item.name.endswith("[NOTSET]")


def applies(case: PlannedCase, options: RunOptions) -> bool:
    """Whether a planned case makes sense with the options of a run."""
    if options.keep_restored and case.case == "disposed":
        return False
    return not (options.snapshot and (case.case in ("rpo", "gap") or not case.copy))
