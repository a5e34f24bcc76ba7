"""What a run will do: the catalogue resolved into targets, copies and cases.

A plan is made once, by pytest's controller or the command line, and handed to workers as bytes. Nothing in it has
touched a store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from restore_drill import depth, older, sampling
from restore_drill.cases import ORDER, SET_CASES
from restore_drill.model import Kind
from restore_drill.patterns import PathPattern
from restore_drill.stores.base import StoreSettings

if TYPE_CHECKING:
    from restore_drill.catalogue.alerting import AlertChannel, Ping
    from restore_drill.catalogue.break_glass import BreakGlassModel
    from restore_drill.catalogue.expect import ApprovedException
    from restore_drill.catalogue.keeping import ExpiryRule
    from restore_drill.catalogue.models import ChecksumRule, CopyModel, RetentionRule, StoreModel, TargetModel
    from restore_drill.catalogue.prices import PricesModel
    from restore_drill.catalogue.sets import SetModel
    from restore_drill.codecs.base import Given
    from restore_drill.outline import Reference
    from restore_drill.runbooks import PlannedRunbook
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
    expiry: ExpiryRule | None = None

    @property
    def layout(self) -> str:
        """Which repository reads it."""
        if not self.pattern.is_directory:
            return "objects"
        return "generations" if self.settings.url.startswith("file:") else "prefixes"


@dataclass(frozen=True)
class PlannedSet:
    """Targets that are brought back together; its cases are those of its first target as a whole.

    Attributes:
        members: Target and copy of each.
        rpo: How old their common moment may be.
    """

    name: str
    model: SetModel
    members: tuple[tuple[str, str], ...]
    rpo: timedelta

    def cases(self) -> list[tuple[str, str]]:
        """Short names and details of its cases, in order."""
        queries = [("set-query", f"{self.name}/{query.name}") for query in self.model.queries]
        boots = [("set-boot", self.name)] if self.model.application else []
        return [("set", self.name), *queries, *boots, ("set-disposed", self.name)]


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
    runbook: PlannedRunbook | None = None
    sets: tuple[PlannedSet, ...] = ()

    @property
    def runbook_copy(self) -> str:
        """The copy that its runbook recovers from, ``""`` when it has no runbook."""
        rule = self.model.runbook
        return "" if rule is None else rule.copy_ or self.copies[0].name

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

    @cached_property
    def of_older(self) -> PlannedTarget:
        """The target as it holds for snapshots that are not the newest."""
        return replace(self, model=older.relaxed(self.model), reference=None)

    def drilled_as(self, copy: str) -> PlannedTarget:
        """The target by whose rules a copy, or a slot for one of its older snapshots, is drilled."""
        return self.of_older if sampling.split(copy)[1] else self

    def planned_copy(self, name: str) -> PlannedCopy:
        """A copy; of a slot for an older snapshot, the copy under the slot's name: its ``latest`` is of the newest."""
        copy, slot = sampling.split(name)
        planned = self.copies_by_name[copy]
        return replace(planned, name=name, model=older.relaxed_copy(planned.model)) if slot else planned

    def cases_of(self, copy: str) -> list[PlannedCase]:
        """The cases of a copy's drill, or of a slot's."""
        if not sampling.split(copy)[1]:
            return [case for case in self.cases() if case.copy == copy]
        return [case for case in self._asked_of_older(copy) if self.of_older._honours(case)]

    def _asked_of_older(self, slot: str) -> list[PlannedCase]:
        asked = _copy_cases(self.of_older.model, self.planned_copy(slot), _content_cases(self.of_older))
        fit = older.CASES - set(self.model.expect.newest_only)
        return [PlannedCase(self.name, slot, *case) for case in asked if case[0] in fit]

    def deadline(self, stage: str) -> float:
        """Seconds after which ``fetch``, ``restore`` or ``check`` is given up."""
        stated: timedelta | None = getattr(self.model.deadlines, stage)
        return (stated or max(2 * self.rto, timedelta(minutes=10))).total_seconds()

    def cases(self) -> list[PlannedCase]:
        """The cases that apply, copy by copy in the catalogue's order, then those of the target."""
        return list(self._cases[0])

    def not_run(self, copy: str) -> list[PlannedCase]:
        """The cases of a copy, and of the target, that the target's depth cannot honour."""
        if sampling.split(copy)[1]:
            return [case for case in self._asked_of_older(copy) if not self.of_older._honours(case)]
        return [case for case in self._cases[1] if case.copy in (copy, "")]

    @cached_property
    def _cases(self) -> tuple[list[PlannedCase], list[PlannedCase]]:
        """The cases that its depth can honour, and those that it cannot; asked for again and again in a run."""
        parts: tuple[list[PlannedCase], list[PlannedCase]] = ([], [])
        for case in self._asked():
            parts[not self._honours(case)].append(case)
        return parts

    def __getstate__(self) -> dict[str, Any]:
        """What was reckoned out of the rest need not be handed to another process."""
        return {name: value for name, value in vars(self).items() if name in self.__dataclass_fields__}

    def _honours(self, case: PlannedCase) -> bool:
        return depth.honours(self.model, case.case, case.detail, OTHER_TABLES)

    def _asked(self) -> list[PlannedCase]:
        """What the catalogue asks for, whatever the depth."""
        content = _content_cases(self)
        planned = [
            PlannedCase(self.name, copy.name, *case)
            for copy in self.copies
            for case in _copy_cases(self.model, copy, [*content, *self._rehearsed(copy)])
        ]
        planned += [PlannedCase(self.name, "", case) for case in _target_cases(self)]
        planned += [PlannedCase(self.name, "", *case) for each in self.sets for case in each.cases()]
        return planned

    def _rehearsed(self, copy: PlannedCopy) -> list[tuple[str, str]]:
        return [("runbook", "")] if copy.name == self.runbook_copy else []

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
        tiers: Names, the shortest RTO first.
        state: Where baselines and the ledger are kept.
        ledger: How the ledger is signed.
        alerts: Who is told of changes, by channel.
        pings: What is requested when all is well, by tier.
        prices: What drilling costs, as far as the catalogue says.
        controls: Ids of the frameworks that reports speak of, all when empty.
        control_files: Files with frameworks beside the built-in ones, absolute.
        break_glass: What is left of keys and variables in a break-glass run.
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
    prices: PricesModel | None = None
    ledger: LedgerSettings = LedgerSettings()
    controls: tuple[str, ...] = ()
    control_files: tuple[str, ...] = ()
    break_glass: BreakGlassModel | None = None

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
        and exception.copy_ in (None, sampling.split(case.copy)[0])
        and exception.detail in (None, case.detail)
    )


def sort_key(case: PlannedCase, target: PlannedTarget) -> tuple[int, int, int]:
    """Where a case stands within its target: copies in turn, stages in order, the target's own cases last.

    Older snapshots come when the newest of every copy is through.

    A user's own cases stand with the content cases: behind what they need, before the restored copy is disposed of.
    Sets come last, one after the other, so that only one of them is there at a time.
    """
    names = [copy.name for copy in target.copies]
    if case.case in SET_CASES:
        sets = [each.name for each in target.sets]
        return len(names) + 2, sets.index(case.detail.partition("/")[0]), ORDER[case.case]
    name, slot = sampling.split(case.copy)
    place = names.index(name) if name in names else 0
    block = (len(names) if slot else place) if name in names else len(names) + 1
    return block, place * 10**6 + slot, ORDER.get(case.case, ORDER["check"])


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
    cases += ["expiry"] if any(copy.expiry for copy in target.copies) else []
    return cases + (["exceptions"] if target.exceptions else [])
