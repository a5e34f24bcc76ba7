"""``--shard`` and ``--plan``: of everything that was selected, keep the targets of this run's part."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from restore_drill.errors import UsageProblem
from restore_drill.printable import printable
from restore_drill.pytest_support.naming import CaseDirectory
from restore_drill.sharding import Shard, parse, plan_digest

if TYPE_CHECKING:
    from restore_drill.plan import Plan
    from restore_drill.plan_file import PlanFile

#: What decides what is selected, beside the arguments themselves: pytest's options and ours.
_SELECTING = (
    "keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "snapshot", "keep_restored",
    "break_glass",
)  # fmt: skip
#: Those that pick cases, so that it must be known of every target whether it has any.
_PICKING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
#: The name under which the plug-in is registered, and that of what workers tell of it.
SHARDING = "restore-drill-shard"
#: How many targets that a plan leaves out are named.
_NAMED = 5


def shard_of(config: pytest.Config, plan: Plan) -> Shard | None:
    """The part of the plan that this run was asked for; ``None`` for all of it.

    Raises:
        pytest.UsageError: What was asked for is no part.
    """
    text, path = config.getoption("--shard"), config.getoption("--plan")
    if path and not text:
        raise pytest.UsageError("--plan: write which part of the plan this run has: --shard 2/5, or --shard auto")
    if not text:
        return None
    try:
        return _planned(config, plan, text, path) if path else _by_name(config, plan, text)
    except ValueError as problem:
        raise pytest.UsageError(f"--shard: {problem}") from None
    except UsageProblem as problem:
        raise pytest.UsageError(f"--plan: {problem}") from None


def _by_name(config: pytest.Config, plan: Plan, text: str) -> Shard:
    shard = parse(text, os.environ)
    return Shard(shard.index, shard.total, plan_digest(plan.digest, _selection(config, plan)))


def _planned(config: pytest.Config, plan: Plan, text: str, path: str) -> Shard:
    """A part of what a plan file says.

    Raises:
        UsageProblem: The file is none, or is of another catalogue.
    """
    from restore_drill import balancing, plan_file

    place = Path(config.invocation_params.dir, path)
    found = plan_file.read(place)
    _check_same_catalogue(found, plan, place)
    shard = parse(text, os.environ, found.shards)
    digest = plan_digest(plan.digest, [*_selection(config, plan), ("plan", found.digest)], balancing.METHOD)
    assigned = found.assignment(shard.total)
    return Shard(shard.index, shard.total, digest, assigned, found.digest, whole=_selects_nothing(config))


def _selects_nothing(config: pytest.Config) -> bool:
    """Whether whole directories are collected, and no option picks anything out of them."""
    if any(getattr(config.option, name, None) for name in _PICKING):
        return False
    return all((config.invocation_params.dir / argument).is_dir() for argument in config.args)


def _check_same_catalogue(found: PlanFile, plan: Plan, place: Path) -> None:
    if found.catalogue != plan.digest:
        raise UsageProblem(
            f"the plan was made of another catalogue ({printable(f'{found.path}, {found.made}')[:200]})",
            looked_at=f"{place}; {plan.catalogue}",
            remedy="Make the plan of the same commit: restore-drill plan --out FILE.",
        )
    if lacking := sorted(found.targets.keys() - plan.by_name.keys()):
        raise UsageProblem(
            f"this machine does not have the plan's target {lacking[0]!r}", looked_at=str(place),
            remedy="Make the plan on a machine that is equipped as this one is.",
        )  # fmt: skip


def _selection(config: pytest.Config, plan: Plan) -> list[tuple[str, str]]:
    """What was asked for, the same on every machine that checked the same project out."""
    found = [("argument", _relative(config, argument)) for argument in config.args]
    options = {name: getattr(config.option, name, None) for name in _SELECTING}
    found += [("left out", name) for name, _ in plan.left_out]  # what a machine cannot drill, no other one does for it
    if (which := config.getoption("--snapshots")) not in ("", "latest"):
        found += [("snapshots", which), ("sample-seed", repr(config.getoption("--sample-seed")))]
    return found + [(name, repr(value)) for name, value in options.items() if value]


def _relative(config: pytest.Config, argument: str) -> str:
    path, colons, rest = argument.partition("::")
    place = os.path.relpath(config.invocation_params.dir / path, config.rootpath)
    return f"{place}{colons}{rest}"


class Sharding:
    """Deselects what other shards have: whole targets, and of tests that are no drills whole files.

    Args:
        shard: This run's part.
        directory: Finds cases by node id.
        names: All targets of the catalogue.
    """

    def __init__(self, shard: Shard, directory: CaseDirectory, names: Iterable[str] = ()) -> None:
        self._shard = shard
        self._names = names
        self._directory = directory
        self._targets: list[str] = []
        self._files: list[str] = []
        self._beyond: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether the plan has something, and this shard no drill of it."""
        if self._targets:
            return not self._kept
        return bool(self._files) and not any(map(self._shard.has, self._files))

    @property
    def _kept(self) -> list[str]:
        return [name for name in self._targets if self._shard.drills(name)]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        """Deselect, when everybody has chosen."""
        result = yield
        mine: list[pytest.Item] = []
        others: list[pytest.Item] = []
        found: dict[tuple[bool, str], bool] = {}
        for item in items:
            unit = self._unit(item.nodeid)
            if unit not in found:
                found[unit] = self._shard.drills(unit[1]) if unit[0] else self._shard.has(unit[1])
            (mine if found[unit] else others).append(item)
        planned = self._shard.assigned
        targets = self._of_all_shards([name for is_target, name in found if is_target])
        self._targets = [name for name in targets if planned is None or name in planned]
        self._beyond = [name for name in targets if planned is not None and name not in planned]
        self._files = [name for is_target, name in found if not is_target]
        if others:
            items[:] = mine
            config.hook.pytest_deselected(items=others)
        return result

    def _of_all_shards(self, found: list[str]) -> list[str]:
        """The targets that were selected, those of other shards among them although they were not collected."""
        planned = self._shard.assigned
        if not self._shard.whole or planned is None:
            return found
        others = [name for name in planned if not self._shard.drills(name)]
        if not found and len(others) < len(planned):
            return []  # nothing of its own was collected: that is no empty shard
        beyond = [name for name in self._names if name not in planned]
        return list(dict.fromkeys([*found, *others, *beyond]))

    def _unit(self, nodeid: str) -> tuple[bool, str]:
        """What is never parted: a target, or the file of tests that are no drills."""
        case = self._directory.find(nodeid)
        return (True, case.target) if case is not None else (False, nodeid.partition("::")[0])

    # --- workers collect: the controller is told by the first of them that ends ---------------------------------------

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the controller what there was."""
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[SHARDING] = [self._targets, self._files, self._beyond]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear of it."""
        if told := getattr(node, "workeroutput", {}).get(SHARDING):
            self._targets, self._files, self._beyond = told

    # --- what a person sees -------------------------------------------------------------------------------------------

    def pytest_report_header(self) -> str:
        """Which part this is."""
        assigned = self._shard.assigned
        planned = "" if assigned is None else f", {len(assigned)} targets in the plan file"
        return f"shard: {self._shard}, plan {self._shard.plan[:12]}{planned}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How much of the plan this shard had; that an empty one is no mishap."""
        if self._targets:
            has = f"{len(self._kept)} of the plan's {len(self._targets)} targets"
            rest = "" if self._kept else ": nothing to drill here"
            terminalreporter.write_line(f"shard {self._shard}: {has}{rest}")
        if self._beyond:
            some = ", ".join(self._beyond[:_NAMED]) + (", …" if len(self._beyond) > _NAMED else "")
            terminalreporter.write_line(f"not in the plan file, and drilled by no shard: {some} ({len(self._beyond)})")
