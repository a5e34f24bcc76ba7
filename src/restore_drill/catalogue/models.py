"""Targets and the whole file: the catalogue's frozen models, with a description and an example per option."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from restore_drill.catalogue.alerting import AlertChannel, Ping
from restore_drill.catalogue.break_glass import BreakGlassModel
from restore_drill.catalogue.controls import ControlsModel
from restore_drill.catalogue.copies import ChecksumRule, CopyModel, RetentionRule, SizeRule
from restore_drill.catalogue.decrypting import Decrypt
from restore_drill.catalogue.expect import ApprovedException, Expect
from restore_drill.catalogue.fields import Duration, Many, Options, Part, Size, Slug, Text, TimeZone
from restore_drill.catalogue.keeping import ExpiryRule, Hold
from restore_drill.catalogue.ledger import LedgerModel
from restore_drill.catalogue.places import DEFAULT_TIERS, StateModel, StoreModel, Tier
from restore_drill.catalogue.prices import PricesModel
from restore_drill.catalogue.runbook import RunbookModel
from restore_drill.catalogue.sandboxing import SandboxModel
from restore_drill.catalogue.sets import SetModel

__all__ = [
    "DEFAULT_TIERS", "ApprovedException", "CatalogueModel", "ChecksumRule", "CopyModel", "Deadlines",
    "Expect", "Live", "RetentionRule", "SizeRule", "StateModel", "StoreModel", "TargetModel", "Tier", "UnpackLimits",
]  # fmt: skip


class UnpackLimits(Part):
    """What a hostile archive may not exceed, and what an honest one may be allowed."""

    ratio: int = Field(
        1000, ge=2, description="Decoded bytes per stored byte, beyond the first 256 MiB.", examples=[1000]
    )
    bytes: Size | None = Field(
        None, description="Decoded bytes; the free disk space always bounds it.", examples=["2 TiB"]
    )
    members: int = Field(10_000_000, ge=1, description="Members of an archive or tree.", examples=[1000000])
    allow: Many[Literal["outside-links", "setuid", "special-files"]] = Field(
        (), description="Accept symbolic links that lead outside, set-id bits, or devices and FIFOs.",
        examples=[["outside-links"]],
    )  # fmt: skip
    concatenated: bool = Field(
        False, description="Accept several archives written one after the other (tar --ignore-zeros).", examples=[True]
    )


class Deadlines(Part):
    """After how long a stage is given up. Left out, a stage has twice the target's RTO, at least ten minutes."""

    fetch: Duration | None = Field(None, description="Fetching, verifying and unpacking.", examples=["2h"])
    restore: Duration | None = Field(None, description="Restoring.", examples=["1h"])
    check: Duration | None = Field(None, description="One check.", examples=["30m"])


class Live(Part):
    """The original: it counts as one of the three copies."""

    media: Text | None = Field(None, description="What it runs on.", examples=["disk"])
    failure_domain: Text | None = Field(None, description="What fails as one with it.", examples=["dc1-san"])


def _live_form(value: Any) -> str:
    return "gone" if value is False else "original"


#: ``false`` or a mapping; told apart beforehand, so that a mistake in the mapping is reported once.
_LiveOrGone = Annotated[
    Annotated[Live, Tag("original")] | Annotated[Literal[False], Tag("gone")], Discriminator(_live_form)
]


class TargetModel(Part):
    """One thing that is backed up."""

    tier: Slug = Field(
        description="Criticality: critical, important, archival, or a tier of your own.", examples=["critical"]
    )
    engine: Slug = Field(description="What kind of system it is.", examples=["sqlite"])
    copies: dict[Slug, CopyModel] = Field(
        min_length=1,
        description="Its backups, by store.",
        examples=[{"nas": {"path": "db/{time:%Y%m%d_%H%M%S}.db.gz"}}],
    )
    description: Text | None = Field(None, description="What it is, for reports.", examples=["Orders of the web shop"])
    owner: Text | None = Field(None, description="Who is called.", examples=["payments team"])
    depends_on: Many[Slug] = Field(
        (),
        description="Targets that must be brought back before it, for the recovery plan.",
        examples=[["accounts-db"]],
    )
    sensitive: bool = Field(False, description="Every copy must be encrypted at rest.", examples=[True])
    frozen: bool = Field(
        False, description="It no longer changes: its age is not judged, its digest is pinned.", examples=[True]
    )
    live: _LiveOrGone = Field(
        Live(), description="The original; false when there is none any more.",
        examples=[{"media": "disk", "failure_domain": "dc1-san"}],
    )  # fmt: skip
    expect: Expect = Field(
        Expect(),
        description="What must hold of the restored system, and how deep it is examined.",
        examples=[{"rows": {"customers": 59}}],
    )
    rpo: Duration | None = Field(None, description="Its own RPO instead of the tier's.", examples=["30m"])
    rto: Duration | None = Field(None, description="Its own RTO, for drill hardware.", examples=["1h"])
    drill_every: Duration | None = Field(None, description="Its own drill interval.", examples=["1w"])
    timezone: TimeZone | None = Field(
        None, description="Zone of times in names and data that carry no offset.", examples=["Europe/Berlin"]
    )
    grace: Duration = Field(timedelta(minutes=15), description="How late a backup may be.", examples=["15m"])
    settle: Duration = Field(timedelta(minutes=15), description="How long an upload may take.", examples=["15m"])
    clock_skew: Duration = Field(timedelta(minutes=5), description="How far clocks may disagree.", examples=["5m"])
    copy_lag: Duration | None = Field(
        None, description="How far copies may lie behind each other (default: the RPO).", examples=["6h"]
    )
    checksum: ChecksumRule = Field(ChecksumRule(), description="Where digests are recorded.", examples=["required"])
    decrypt: Decrypt = Field(
        default_factory=dict, description="Keys (and what else must be known) by format, for every copy.",
        examples=[{"age": {"identity": "env:ORDERS_AGE_KEY"}}],
    )  # fmt: skip
    size: SizeRule = Field(
        SizeRule(), description="When a snapshot counts as collapsed.", examples=[{"max_drop": "50%"}]
    )
    retention: RetentionRule | None = Field(
        None, description="Recovery points that must exist.", examples=[{"daily": 7}]
    )
    expiry: ExpiryRule | None = Field(
        None, description="How its backups are removed by somebody else: the case expiry warns before the last proved "
        "one would be.", examples=[{"after": "30d"}],
    )  # fmt: skip
    holds: Many[Hold] = Field(
        (), description="Snapshots that must stay, whatever the retention says.",
        examples=[[{"id": "LH-2026-7", "reason": "litigation, matter 4711", "by": "legal", "first": "2026-03-01"}]],
    )  # fmt: skip
    three_two_one: bool = Field(True, description="Whether 3-2-1 is judged.", examples=[False])
    limits: UnpackLimits = Field(UnpackLimits(), description="Limits on unpacking.", examples=[{"ratio": 2000}])
    deadlines: Deadlines = Field(Deadlines(), description="Limits on time.", examples=[{"check": "30m"}])
    sandbox: SandboxModel = Field(
        SandboxModel(), description="Where it is restored: a kind, or what is asked of it.",
        examples=["container", {"kind": "container", "memory": "4 GiB"}],
    )  # fmt: skip
    depth: Literal["full", "schema", "sample"] = Field(
        "full",
        description="How much is restored: everything, no row (schema), or the rows of the tables under sample only. "
        "Anything but full is printed in capitals, never counts as a whole drill, and cases that it cannot honour are "
        "listed as not run.",
        examples=["schema"],
    )
    sample: Many[Text] = Field(
        (), description="The tables whose rows are restored at depth: sample.", examples=[["orders", "sales.invoices"]]
    )
    runbook: RunbookModel | None = Field(
        None, description="The recovery procedure that its drill follows, beside restoring it in its own way.",
        examples=[{"document": "../runbooks/orders.md", "stubs": ["systemctl"]}],
    )  # fmt: skip
    engine_options: Options = Field(
        default_factory=dict, description="Options of the engine.", examples=[{"database": "app/data.db"}]
    )


def _no_truth_value(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value  # true equals 1, and is not a version


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class CatalogueModel(Part):
    """The whole file."""

    version: Annotated[Literal[1], BeforeValidator(_no_truth_value)] = Field(
        description="Format of this file.", examples=[1]
    )
    targets: dict[Slug, TargetModel] = Field(
        default_factory=dict, description="What is backed up, by name.",
        examples=[{"orders-db": {"tier": "critical", "engine": "sqlite",
                                 "copies": {"nas": {"path": "db/{time:%Y%m%d_%H%M%S}.db.gz"}}}}],
    )  # fmt: skip
    sets: dict[Slug, SetModel] = Field(
        default_factory=dict,
        description="Targets that must come back to a common moment: restored together, and judged together.",
        examples=[{"shop": {"targets": ["shop-db", "shop-files"], "within": "5m",
                            "application": {"image": "registry.example.net/shop:4.2"}}}],
    )  # fmt: skip
    tiers: dict[Slug, Tier] = Field(
        default_factory=dict, description="Objectives, where they differ from the defaults.",
        examples=[{"critical": {"rpo": "30m", "rto": "10m", "drill_every": "1d"}}],
    )  # fmt: skip
    stores: dict[Slug, StoreModel] = Field(
        default_factory=dict, description="Places that hold backups, by name.",
        examples=[{"nas": {"url": "file:///backups", "media": "disk"}}],
    )  # fmt: skip
    defaults: dict[str, Any] = Field(
        default_factory=dict,
        description="Merged into every target: mappings key by key, lists and single values replaced; null takes back.",
        examples=[{"timezone": "Europe/Berlin", "grace": "15m"}],
    )  # fmt: skip
    include: Annotated[Many[Text], BeforeValidator(_one_or_many, json_schema_input_type=str | list[str])] = Field(
        (), description="Further files with targets, tiers, stores or exceptions: a glob relative to this file, or a "
        "list of globs.",
        examples=[["targets.d/*.yaml"]],
    )  # fmt: skip
    exceptions: Many[ApprovedException] = Field(
        (), description="Failing cases that somebody answers for, until a date.",
        examples=[[{"id": "EX-12", "target": "orders-db", "case": "encrypted", "reason": "replaced in Q1",
                    "approver": "ciso", "expires": "2027-03-31"}]],
    )  # fmt: skip
    state: StateModel | None = Field(
        None,
        description="Where baselines are kept (default: .restore-drill/state beside reports/).",
        examples=["s3://acme-drills/state"],
    )
    ledger: LedgerModel = Field(
        LedgerModel(),
        description="How the record of runs, which is kept in the state, is signed and verified.",
        examples=[{"key": "env:RESTORE_DRILL_LEDGER_KEY"}],
    )
    alerts: dict[Slug, AlertChannel] = Field(
        default_factory=dict, description="Channels that are told when something breaks or is repaired, by name.",
        examples=[{"oncall": {"url": "env:ONCALL_URL", "tiers": ["critical"]}}],
    )  # fmt: skip
    pings: dict[Slug, Ping] = Field(
        default_factory=dict,
        description="What is requested when all of a tier was drilled and is good, by tier: a dead-man's switch.",
        examples=[{"critical": "env:PING_CRITICAL"}],
    )
    controls: ControlsModel = Field(
        ControlsModel(),
        description="Which requirements of which frameworks (NIST, ISO, DORA, …) reports show the evidence of.",
        examples=[{"frameworks": ["nist-800-53r5", "dora"]}],
    )
    prices: PricesModel = Field(
        PricesModel(),
        description="What drilling costs, for restore-drill plan --cost.",
        examples=[{"currency": "EUR", "machine_hour": 0.12, "stores": {"offsite": {"egress_gb": 0.05}}}],
    )
    break_glass: BreakGlassModel | None = Field(
        None, description="What a run with --break-glass has: the escrowed keys, and the variables that stay.",
        examples=[{"environment": ["ESCROW_PASSPHRASE"],
                   "decrypt": {"age": {"identity": "file:/media/escrow/age.key"}}}],
    )  # fmt: skip
    demo: bool = Field(
        False, description="The demo estate of the project itself; refused anywhere else.", examples=[True]
    )
