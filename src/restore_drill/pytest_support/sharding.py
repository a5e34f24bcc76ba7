"""``--shard``: of everything that was selected, keep the targets of this run's part."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from restore_drill.pytest_support.naming import CaseDirectory
from restore_drill.sharding import Shard, parse, plan_digest

if TYPE_CHECKING:
    from restore_drill.plan import Plan

#: What decides what is selected, beside the arguments themselves: pytest's options and ours.
_SELECTING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "snapshot", "keep_restored")
#: The name under which the plug-in is registered, and that of what workers tell of it.
SHARDING = "restore-drill-shard"


def shard_of(config: pytest.Config, plan: Plan) -> Shard | None:
    """The part of the plan that this run was asked for; ``None`` for all of it.

    Raises:
        pytest.UsageError: What was asked for is no part.
    """
    text = config.getoption("--shard")
    if not text:
        return None
    try:
        shard = parse(text, os.environ)
    except ValueError as problem:
        raise pytest.UsageError(f"--shard: {problem}") from None
    return Shard(shard.index, shard.total, plan_digest(plan.digest, _selection(config, plan)))


def _selection(config: pytest.Config, plan: Plan) -> list[tuple[str, str]]:
    """What was asked for, the same on every machine that checked the same project out."""
    found = [("argument", _relative(config, argument)) for argument in config.args]
    options = {name: getattr(config.option, name, None) for name in _SELECTING}
    found += [("left out", name) for name, _ in plan.left_out]  # what a machine cannot drill, no other one does for it
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
    """

    def __init__(self, shard: Shard, directory: CaseDirectory) -> None:
        self._shard = shard
        self._directory = directory
        self._targets: list[str] = []
        self._files: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether the plan has something, and this shard no drill of it."""
        if self._targets:
            return not self._kept
        return bool(self._files) and not any(map(self._shard.has, self._files))

    @property
    def _kept(self) -> list[str]:
        return [name for name in self._targets if self._shard.has(name)]

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
            (mine if found.setdefault(unit, self._shard.has(unit[1])) else others).append(item)
        self._targets = [name for is_target, name in found if is_target]
        self._files = [name for is_target, name in found if not is_target]
        if others:
            items[:] = mine
            config.hook.pytest_deselected(items=others)
        return result

    def _unit(self, nodeid: str) -> tuple[bool, str]:
        """What is never parted: a target, or the file of tests that are no drills."""
        case = self._directory.find(nodeid)
        return (True, case.target) if case is not None else (False, nodeid.partition("::")[0])

    # --- workers collect: the controller is told by the first of them that ends ---------------------------------------

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the controller what there was."""
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[SHARDING] = [self._targets, self._files]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear of it."""
        self._targets, self._files = getattr(node, "workeroutput", {}).get(SHARDING) or (self._targets, self._files)

    # --- what a person sees -------------------------------------------------------------------------------------------

    def pytest_report_header(self) -> str:
        """Which part this is."""
        return f"shard: {self._shard}, plan {self._shard.plan[:12]}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How much of the plan this shard had; that an empty one is no mishap."""
        if self._targets:
            has = f"{len(self._kept)} of the plan's {len(self._targets)} targets"
            rest = "" if self._kept else ": nothing to drill here"
            terminalreporter.write_line(f"shard {self._shard}: {has}{rest}")
