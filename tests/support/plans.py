"""Plans without a catalogue file: one target or copy, given in the catalogue's own words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from restore_drill.catalogue.expect import ApprovedException
from restore_drill.catalogue.models import ChecksumRule, CopyModel, RetentionRule, StoreModel, TargetModel
from restore_drill.patterns import PathPattern
from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
from restore_drill.quantities import parse_duration
from restore_drill.secrets import SecretReference
from restore_drill.stores.base import StoreSettings

NAME = "db/{time:%Y%m%d_%H%M%S}.db"


def planned_copy(
    name: str = "nas",
    path: str = NAME,
    *,
    root: Path | str = "/nowhere",
    url: str = "",
    store: Mapping[str, Any] | None = None,
    timezone: str = "UTC",
    checksum: Any = "required",
    decrypt: dict[str, dict[str, SecretReference]] | None = None,
    retention: Mapping[str, int] | None = None,
    lag: str = "",
    **model: Any,
) -> PlannedCopy:
    """A copy in a store of its own; ``model`` is the copy's part of the catalogue."""
    place = {"url": url or f"file://{root}", "media": "disk", **(store or {})}
    written = CopyModel.model_validate({"path": path, "timezone": timezone, **model})
    assert written.timezone is not None
    return PlannedCopy(
        name=name,
        store_name=name,
        store=StoreModel.model_validate(place),
        settings=StoreSettings(name, place["url"]),
        model=written,
        pattern=PathPattern(path, written.timezone),
        checksum=ChecksumRule.model_validate(checksum),
        decrypt=decrypt or {},
        retention=RetentionRule.model_validate(retention) if retention else None,
        lag=parse_duration(lag) if lag else timedelta(0),
    )


def target_model(**options: Any) -> TargetModel:
    """A target's part of the catalogue, without copies that anybody looks at."""
    given = {"tier": "critical", "engine": "sqlite", "copies": {"nas": {"path": NAME}}, **options}
    return TargetModel.model_validate(given)


def planned_target(
    *copies: PlannedCopy,
    name: str = "orders-db",
    rpo: str = "1h",
    rto: str = "15m",
    drill_every: str = "1d",
    copy_lag: str = "",
    exceptions: tuple[Mapping[str, Any], ...] = (),
    **options: Any,
) -> PlannedTarget:
    """A target with its objectives; ``options`` is its part of the catalogue."""
    return PlannedTarget(
        name=name,
        tier="critical",
        model=target_model(**options),
        rpo=parse_duration(rpo),
        rto=parse_duration(rto),
        drill_every=parse_duration(drill_every),
        copy_lag=parse_duration(copy_lag or rpo),
        copies=copies or (planned_copy(),),
        exceptions=tuple(ApprovedException.model_validate(each) for each in exceptions),
    )


def plan_of(*targets: PlannedTarget, state: Path | str = "/nowhere/state", reports: Path | str = "/nowhere") -> Plan:
    """A plan of some targets."""
    return Plan("targets.yaml", "0" * 64, targets, StoreSettings("state", f"file://{state}"), str(reports))
