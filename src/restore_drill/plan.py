"""What a run will do: the catalogue resolved into targets, copies and cases.

A plan is made once, by pytest's controller or the command line, and handed to workers as bytes. Nothing in it has
touched a store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from restore_drill import depth
from restore_drill.cases import ORDER
from restore_drill.model import Kind
from restore_drill.patterns import PathPattern
from restore_drill.stores.base import StoreSettings

if TYPE_CHECKING:
    from restore_drill.catalogue.alerting import AlertChannel, Ping
    from restore_drill.catalogue.expect import ApprovedException
    from restore_drill.catalogue.models import ChecksumRule, CopyModel, RetentionRule, StoreModel, TargetModel
    from restore_drill.codecs.base import Given
    from restore_drill.outline import Reference
    from restore_drill.secrets import SecretReference


#: The detail of the rows case that judges every table without a rule of its own by ``rows.default``.
OTHER_TABLES = "other-tables"


@dataclass(frozen=True, slots=True, order=True)
class PlannedCase:
    """One case of the plan; the key under which facts, verdicts and exceptions meet.

    Attributes:
        target: The target's name.
        copy: The copy's name, ``""`` for a case about the target as a whole.
        case: The case's short name.
        detail: The table or query, ``""`` where there is none.
    """

    target: str
    copy: str
    case: str
    detail: str = ""


@dataclass(frozen=True)
class PlannedCopy:
    """A target's backups in one store, with everything inherited filled in."""

    name: str
    store_name: str
    store: StoreModel
    settings: StoreSettings
    model: CopyModel
    pattern: PathPattern
    checksum: ChecksumRule
    decrypt: dict[str, Given]
    retention: RetentionRule | None
    lag: timedelta

    @property
    def layout(self) -> str:
        """Which repository reads it."""
        if not self.pattern.is_directory:
            return "objects"
        return "generations" if self.settings.url.startswith("file:") else "prefixes"


@dataclass(frozen=True)
class PlannedTarget:
    """One target with its objectives and copies resolved."""

    name: str
    tier: str
    model: TargetModel
    rpo: timedelta
    rto: timedelta
    drill_every: timedelta
    copy_lag: timedelta
    copies: tuple[PlannedCopy, ...]
    exceptions: tuple[ApprovedException, ...] = ()
    reference: Reference | None = None

    @property
    def is_full(self) -> bool:
        """Whether everything is restored; else its drills are partial, whatever they ran."""
        return bool(self.model.depth == depth.FULL)

    @property
    def depth(self) -> str:
        """How deep its drills go, in capitals; ``""`` when everything is restored."""
        return depth.shown(self.model)

    @cached_property
    def copies_by_name(self) -> dict[str, PlannedCopy]:
        """Copies by name."""
        return {copy.name: copy for copy in self.copies}

    def deadline(self, stage: str) -> float:
        """Seconds after which ``fetch``, ``restore`` or ``check`` is given up."""
        stated: timedelta | None = getattr(self.model.deadlines, stage)
        return (stated or max(2 * self.rto, timedelta(minutes=10))).total_seconds()

    def cases(self) -> list[PlannedCase]:
        """The cases that apply, copy by copy in the catalogue's order, then those of the target."""
        return [case for case in self._asked() if self._honours(case)]

    def not_run(self, copy: str) -> list[PlannedCase]:
        """The cases of a copy, and of the target, that the target's depth cannot honour."""
        return [case for case in self._asked() if case.copy in (copy, "") and not self._honours(case)]

    def _honours(self, case: PlannedCase) -> bool:
        return depth.honours(self.model, case.case, case.detail, OTHER_TABLES)

    def _asked(self) -> list[PlannedCase]:
        """What the catalogue asks for, whatever the depth."""
        content = _content_cases(self)
        planned = [
            PlannedCase(self.name, copy.name, *case)
            for copy in self.copies
            for case in _copy_cases(self.model, copy, content)
        ]
        planned += [PlannedCase(self.name, "", case) for case in _target_cases(self)]
        return planned

    def exception_for(self, case: PlannedCase, today: date) -> ApprovedException | None:
        """The approved, unexpired exception that covers a case."""
        for exception in self.exceptions:
            if exception.expires >= today and covers(exception, case):
                return exception
        return None


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """How the record of runs is signed.

    Attributes:
        key: The private key that signs entries; ``None``: they are unsigned.
        public_keys: Files with public keys, absolute.
        required: Whether an unsigned entry is an error.
    """

    key: SecretReference | None = None
    public_keys: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything a run may do.

    Attributes:
        catalogue: Path of the catalogue.
        digest: SHA-256 over it and what it includes.
        demo: Whether this is the project's own demo estate.
        state: Where baselines and the ledger are kept.
        ledger: How the ledger is signed.
        alerts: Who is told of changes, by channel.
        pings: What is requested when all is well, by tier.
        controls: Ids of the frameworks that reports speak of, all when empty.
        control_files: Files with frameworks beside the built-in ones, absolute.
        reports: Directory in which runs are written.
        left_out: Targets of the demo whose systems cannot be had on this machine, and why; no other plan has any.
        passed_over: Kinds of sandboxes that the demo does without here, and why; ditto.
    """

    catalogue: str
    digest: str
    targets: tuple[PlannedTarget, ...]
    state: StoreSettings
    reports: str
    demo: bool = False
    tiers: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    left_out: tuple[tuple[str, str], ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    alerts: dict[str, AlertChannel] = field(default_factory=dict)
    pings: dict[str, Ping] = field(default_factory=dict)
    ledger: LedgerSettings = LedgerSettings()
    controls: tuple[str, ...] = ()
    control_files: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, PlannedTarget]:
        """Targets by name."""
        return {target.name: target for target in self.targets}

    def cases(self) -> Iterator[PlannedCase]:
        """Every case, target by target."""
        for target in self.targets:
            yield from target.cases()


def covers(exception: ApprovedException, case: PlannedCase) -> bool:
    """Whether an exception speaks of a case, expired or not."""
    return (
        exception.target == case.target
        and exception.case == case.case
        and exception.copy_ in (None, case.copy)
        and exception.detail in (None, case.detail)
    )


def sort_key(case: PlannedCase, target: PlannedTarget) -> tuple[int, int]:
    """Where a case stands within its target: copies in turn, stages in order, the target's own cases last.

    A user's own cases stand with the content cases: behind what they need, before the restored copy is disposed of.
    """
    names = [copy.name for copy in target.copies]
    return (names.index(case.copy) if case.copy in names else len(names), ORDER.get(case.case, ORDER["check"]))


def _copy_cases(model: TargetModel, copy: PlannedCopy, content: list[tuple[str, str]]) -> list[tuple[str, str]]:
    cases = [("located", "")]
    if not model.frozen:
        cases += [("rpo", ""), ("gap", "")]
    cases += [("fetched", ""), ("checksum", "")]
    cases += [("encrypted", "")] if model.sensitive else []
    cases += [("unpacks", "")]
    cases += [("chain", "")] if copy.pattern.kinds - {Kind.FULL} else []
    return [*cases, ("restores", ""), ("rto", ""), *content, ("disposed", "")]


def _content_cases(target: PlannedTarget) -> list[tuple[str, str]]:
    from restore_drill.registry import load

    supported: frozenset[str] = load("engines", target.model.engine).checks
    expect = target.model.expect
    cases: list[tuple[str, str]] = []
    if expect.integrity != "off" and "integrity" in supported:
        cases.append(("integrity", ""))
    if expect.structure != "off" and "structure" in supported:
        cases.append(("structure", ""))
    if expect.rows:
        cases += [("rows", table) for table in expect.rows.tables]
        cases += [("rows", OTHER_TABLES)] if expect.rows.default else []
    cases += [("query", query.name) for query in expect.queries]
    if expect.files or "files" in supported:
        cases.append(("files", ""))
    if expect.newest_record or expect.newest_file:
        cases.append(("newest", ""))
    cases += [("smoke", rule.name) for rule in expect.smoke]
    return cases + [("check", name) for name in expect.checks]


def _target_cases(target: PlannedTarget) -> list[str]:
    cases = ["3-2-1"] if target.model.three_two_one else []
    cases += ["agree"] if len(target.copies) > 1 else []
    cases += ["retention"] if any(copy.retention for copy in target.copies) else []
    return cases + (["exceptions"] if target.exceptions else [])
