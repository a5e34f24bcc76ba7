"""One run: where it writes, what it was asked for, what it shares between drills."""

from __future__ import annotations

import json
import os
import platform
import secrets as random_source
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from restore_drill.choosing import Choice, choose
from restore_drill.evidence.record import FactsFile
from restore_drill.history import History
from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
from restore_drill.registry import load, store_class
from restore_drill.sampling import FILE, Sampling, split
from restore_drill.sharding import Shard
from restore_drill.state import open_state
from restore_drill.stores.base import Store

if TYPE_CHECKING:
    from restore_drill.break_glass import BreakGlass
    from restore_drill.policy.proofs import Proofs

#: Proved snapshots of a copy that are remembered.
_PROOFS = 64


class Progress(Protocol):
    """Is told how far long work is."""

    def begin(self, target: str, copy: str, stage: str, total: int) -> None:
        """A stage of a drill begins; ``total`` is its bytes, or -1 when unknown."""

    def advance(self, count: int) -> None:
        """So many more bytes are done."""

    def end(self) -> None:
        """The stage ended."""


class Silent:
    """Nobody watches."""

    def begin(self, target: str, copy: str, stage: str, total: int) -> None:
        """Not told."""

    def advance(self, count: int) -> None:
        """Not told."""

    def end(self) -> None:
        """Not told."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the person who started the run asked for.

    Attributes:
        snapshot: Id of the snapshot to drill instead of the newest.
        keep_restored: Leave what was restored, and say where.
        work_dir: Where drills work (default: the system's temporary directory).
        concurrency: How many drills run at once.
        shard: Which part of the plan this run has, ``None`` for all of it.
        break_glass: How the run was stripped, ``None`` where it was not.
        sampling: Which older snapshots are drilled beside the newest, ``None`` for none.
    """

    snapshot: str = ""
    keep_restored: bool = False
    work_dir: str = ""
    concurrency: int = 1
    fresh_sandboxes: bool = False
    shard: Shard | None = None
    sampling: Sampling | None = None
    break_glass: BreakGlass | None = None


@dataclass
class Run:
    """Everything that the drills of one process share.

    Attributes:
        id: The run's name, the same in every worker.
        directory: Where it is written: ``reports/<run id>``.
        clock: The time, in seconds since the epoch.
        sandboxes: Why kinds of sandboxes cannot be used here, as far as that was found out: see ``choosing.choose``.
    """

    id: str
    directory: Path
    plan: Plan
    options: RunOptions = RunOptions()
    clock: Callable[[], float] = time.time
    progress: Progress = field(default_factory=Silent)
    sandboxes: dict[str, str] = field(default_factory=dict)
    _stores: dict[str, Store] = field(default_factory=dict)
    _drawn: dict[str, dict[str, Any]] = field(default_factory=dict)
    _choices: dict[str, Choice] = field(default_factory=dict)

    @cached_property
    def history(self) -> History:
        """What earlier drills found."""
        return History(open_state(self.plan.state))

    @property
    def work_dir(self) -> Path:
        """Where drills work."""
        return Path(self.options.work_dir or tempfile.gettempdir())

    @cached_property
    def threads(self) -> int:
        """Cores that one drill may use."""
        return max(1, len(os.sched_getaffinity(0)) // max(1, self.options.concurrency))

    @cached_property
    def machine(self) -> str:
        """What drills run on, for evidence."""
        return f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"

    def sandbox_of(self, target: PlannedTarget) -> Choice:
        """The kind of sandbox that a target is restored in.

        Raises:
            CouldNotVerify: This machine has none for it.
        """
        model, engine = target.model.sandbox, target.model.engine
        if not model.model_fields_set and engine in self._choices:
            return self._choices[engine]
        for kind, why in self.plan.passed_over:
            self.sandboxes.setdefault(kind, why)
        chosen = choose(model.kind, load("engines", engine).sandboxes, model.options, model.given, self.sandboxes)
        if not model.model_fields_set:  # the catalogue says nothing of it: so it is with every such target
            self._choices[engine] = chosen
        return chosen

    def drawn(self, target: str, copy: str) -> dict[str, Any]:
        """What was drawn of a copy's older snapshots (see :mod:`restore_drill.drawing`), ``{}`` when nothing was.

        A slot's name is understood, too. Whatever process of the run drew it wrote it down.
        """
        key = f"{target}/{split(copy)[0]}"
        if self.options.sampling is not None and key not in self._drawn:
            self._drawn = read_drawn(self.directory)
        return self._drawn.get(key, {})

    @cached_property
    def proofs(self) -> Proofs:
        """What earlier drills proved of targets with an expiry; the ledger is read once, when it is first asked for.

        Raises:
            CouldNotVerify: There is no state, or the ledger cannot be read.
        """
        from restore_drill.ledger.opening import open_ledger
        from restore_drill.policy.proofs import Proofs

        names = {target.name for target in self.plan.targets if any(copy.expiry for copy in target.copies)}
        self.history.target(min(names))  # says what to do where the state was never set up
        entries = open_ledger(self.plan.state).entries()
        return Proofs.of((entry.evidence for entry in entries if entry.kind == "run"), targets=names, keep=_PROOFS)

    def store(self, copy: PlannedCopy) -> Store:
        """The store of a copy; one connection a store and process."""
        if copy.store_name not in self._stores:
            self._stores[copy.store_name] = store_class(copy.settings.url)(copy.settings)
        return self._stores[copy.store_name]

    @cached_property
    def facts(self) -> FactsFile:
        """Where the drills of this process are recorded."""
        return FactsFile(self.directory)

    def close(self) -> None:
        """Give up connections."""
        self.facts.close()
        for store in self._stores.values():
            store.close()
        self._stores.clear()


def read_drawn(directory: Path) -> dict[str, dict[str, Any]]:
    """What was drawn in a run, by ``target/copy``."""
    try:
        found: dict[str, dict[str, Any]] = json.loads((directory / FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def new_run_id(now: float) -> str:
    """A name that sorts by time and is not given twice: ``20261123T020000Z-3f9a1c``."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{random_source.token_hex(3)}"
