"""Validated models to a plan: everything inherited filled in, every address absolute, every duration in seconds."""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from restore_drill import outline, runbooks
from restore_drill.catalogue.controls import control_files
from restore_drill.catalogue.ledger import LedgerModel
from restore_drill.catalogue.models import ApprovedException, CatalogueModel, CopyModel, TargetModel
from restore_drill.catalogue.places import DEFAULT_TIERS, Address, StateModel, StoreModel, Tier, local_root
from restore_drill.catalogue.set_resolving import with_sets
from restore_drill.codecs.base import Given
from restore_drill.outline import Reference
from restore_drill.patterns import PathPattern
from restore_drill.plan import LedgerSettings, Plan, PlannedCopy, PlannedTarget
from restore_drill.registry import load, store_class
from restore_drill.runbooks import PlannedRunbook
from restore_drill.secrets import SecretReference
from restore_drill.stores.base import StoreSettings


def project_root(catalogue: Path) -> Path:
    """The project that a catalogue belongs to: its directory, or the one above when that is called ``drills``."""
    directory = Path(os.path.abspath(catalogue)).parent  # noqa: PTH100 - lexical: a link's own place counts
    return directory.parent if directory.name == "drills" else directory


def default_reports(catalogue: Path) -> Path:
    """Where runs are written unless the caller says otherwise."""
    return project_root(catalogue) / "reports"


def default_state(catalogue: Path) -> str:
    """The url of the state of a catalogue that names none."""
    return f"file:{project_root(catalogue) / '.restore-drill' / 'state'}"


def resolve(
    path: Path, model: CatalogueModel, files: Sequence[bytes], reports: Path, *, references: bool = True
) -> Plan:
    """Make the plan.

    Args:
        path: The catalogue.
        model: What it says, includes and defaults merged in.
        files: The bytes of all its files, in load order.
        reports: Where runs are written.
        references: Whether the files that ``expect.structure`` names are read.
    """
    base = Path(os.path.abspath(path)).parent  # noqa: PTH100 - as above
    tiers = {**DEFAULT_TIERS, **model.tiers}
    settings = {name: _store_settings(name, store, base) for name, store in model.stores.items()}
    exceptions: dict[str, list[ApprovedException]] = {}
    for exception in model.exceptions:
        exceptions.setdefault(exception.target, []).append(exception)
    targets = tuple(
        _target(
            name,
            target,
            tiers[target.tier],
            model.stores,
            settings,
            exceptions.get(name, ()),
            base,
            references=references,
        )
        for name, target in model.targets.items()
    )
    targets = with_sets(targets, model.sets)
    digest = hashlib.sha256()
    for data in files:
        digest.update(data)
    return Plan(
        catalogue=os.path.abspath(path),  # noqa: PTH100 - as above
        digest=digest.hexdigest(),
        targets=targets,
        state=_state_settings(model.state or StateModel(url=default_state(path)), base),
        ledger=_ledger_settings(model.ledger, base),
        controls=model.controls.frameworks,
        control_files=tuple(file for files in control_files(base, model.controls.include).values() for file in files),
        alerts=model.alerts,
        pings=model.pings,
        prices=model.prices,
        reports=os.path.abspath(reports),  # noqa: PTH100 - as above
        demo=model.demo,
        break_glass=model.break_glass,
        tiers=tuple(sorted(tiers, key=lambda name: (tiers[name].rto, tiers[name].rpo))),  # of equals, as written
        notes=_shared(targets),
    )


def _shared(targets: Sequence[PlannedTarget]) -> tuple[str, ...]:
    """Which targets of one engine look at the same backups; within a tier that was refused."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    notes = []
    for target in targets:
        for copy in target.copies:
            how = f"{target.model.engine} {target.model.engine_options!r} {copy.settings.options!r}"
            other, its = first.setdefault(
                (f"{copy.settings.url.rstrip('/')}/{copy.model.path}", how), (target.name, copy.name)
            )
            if other != target.name:
                notes.append(f"{target.name}/{copy.name} is the same backups as {other}/{its}, in another tier")
    return tuple(notes)


def _target(
    name: str,
    model: TargetModel,
    tier: Tier,
    stores: Mapping[str, StoreModel],
    settings: Mapping[str, StoreSettings],
    exceptions: Sequence[ApprovedException],
    base: Path,
    *,
    references: bool,
) -> PlannedTarget:
    rpo = model.rpo or tier.rpo
    copy_lag = model.copy_lag or rpo
    return PlannedTarget(
        name=name,
        tier=model.tier,
        model=model,
        rpo=rpo,
        rto=model.rto or tier.rto,
        drill_every=model.drill_every or tier.drill_every,
        copy_lag=copy_lag,
        copies=tuple(_copy(each, copy, model, copy_lag, stores, settings) for each, copy in model.copies.items()),
        exceptions=tuple(exceptions),
        reference=_reference(model, base) if references else None,
        runbook=_runbook(model, base) if references else None,
    )


def _reference(model: TargetModel, base: Path) -> Reference | None:
    """What somebody reviewed; the rules looked at the file before."""
    name = model.expect.reference
    if name is None or "structure" not in load("engines", model.engine).checks:
        return None
    return outline.read(base / name, name)


def _runbook(model: TargetModel, base: Path) -> PlannedRunbook | None:
    """The procedure that its drill follows; the rules looked at the document before."""
    rule = model.runbook
    if rule is None or rule.document is None:
        return PlannedRunbook(rule, runbooks.GENERATED, "", "") if rule else None
    return runbooks.read(base / rule.document, rule.document, rule)


def _copy(
    name: str,
    model: CopyModel,
    target: TargetModel,
    copy_lag: timedelta,
    stores: Mapping[str, StoreModel],
    settings: Mapping[str, StoreSettings],
) -> PlannedCopy:
    store = model.store or name
    return PlannedCopy(
        name=name,
        store_name=store,
        store=stores[store],
        settings=settings[store],
        model=model,
        pattern=PathPattern(model.path, model.timezone or target.timezone),
        checksum=model.checksum or target.checksum,
        decrypt=_merged_keys(target.decrypt, model.decrypt or {}),
        retention=model.retention or target.retention,
        expiry=model.expiry or target.expiry,
        lag=model.lag or (copy_lag if stores[store].offsite else timedelta(0)),
    )


def _merged_keys(general: Mapping[str, Given], own: Mapping[str, Given]) -> dict[str, Given]:
    return {name: {**general.get(name, {}), **own.get(name, {})} for name in {**general, **own}}


def _store_settings(name: str, store: StoreModel, base: Path) -> StoreSettings:
    return StoreSettings(
        name=name,
        url=_absolute(store.url, base),
        connect_deadline=store.connect_deadline.total_seconds(),
        read_deadline=store.read_deadline.total_seconds(),
        retries=store.retries,
        ranges=store.ranges,
        options={**_address_options(store), **_own_options(store, base)},
        secrets=_address_secrets(store),
    )


def _state_settings(state: StateModel, base: Path) -> StoreSettings:
    return StoreSettings(
        "state", _absolute(state.url, base), options=_address_options(state), secrets=_address_secrets(state)
    )


def _ledger_settings(ledger: LedgerModel, base: Path) -> LedgerSettings:
    return LedgerSettings(ledger.key, tuple(str(base / path) for path in ledger.public_keys), ledger.required)


def _absolute(url: str, base: Path) -> str:
    """The url as stores take it: ``file://`` before an absolute path, others as they stand without a final slash."""
    local = local_root(url, base)
    scheme, _, rest = url.partition(":")
    return f"file://{local}" if local is not None else f"{scheme.lower()}:{rest}".rstrip("/")


def _address_options(address: Address) -> dict[str, str | bool]:
    """What only this kind of store knows; left out where the catalogue says nothing."""
    found = {"endpoint": address.endpoint, "region": address.region, "profile": address.profile}
    options: dict[str, str | bool] = {name: value for name, value in found.items() if isinstance(value, str)}
    return {**options, "path_style": True} if address.path_style else options


def _own_options(store: StoreModel, base: Path) -> dict[str, Any]:
    """What stands under ``options:``, as the kind of store declares it."""
    if not store.options:
        return {}
    known = store_class(store.url).options
    return {name: known[name].read(value, base) for name, value in store.options.items()}


def _address_secrets(address: Address) -> dict[str, SecretReference]:
    secrets = dict(address.credentials or {})
    return {**secrets, "endpoint": address.endpoint} if isinstance(address.endpoint, SecretReference) else secrets
