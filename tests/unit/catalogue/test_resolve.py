from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from restore_drill.catalogue.load import load
from restore_drill.catalogue.models import CopyModel, TargetModel
from restore_drill.catalogue.places import local_root
from restore_drill.plan import Plan
from restore_drill.secrets import SecretReference
from restore_drill.stores.base import StoreSettings

FULL = """\
version: 1
tiers: {silver: {rpo: 2h, rto: <30 min, drill_every: 1 week}}
stores:
  nas: {url: "file:../back ups/%41", media: disk, connect_deadline: 5s, read_deadline: 2m, retries: 0}
  cloud:
    url: s3://acme/prod/
    media: object-storage
    offsite: true
    endpoint: https://minio.example:9000
    region: eu
    path_style: true
    ranges: 8
    credentials: {access_key_id: env:A, secret_access_key: file:secret, session_token: {command: [vault, token]}}
  dark: {url: s3://dark, media: tape, offsite: true, endpoint: env:DARK}
state: {url: s3://drills/state/, endpoint: env:MINIO, profile: drills}
targets:
  orders-db:
    tier: silver
    engine: toy
    timezone: Europe/Berlin
    checksum: pinned
    decrypt: {age: {identity: env:ONE, passphrase: env:TWO}}
    retention: {daily: 7}
    copies:
      nas: {path: "a/{time:%Y%m%d}", timezone: UTC, lag: 1m}
      cloud: {path: "a/{time:%Y%m%d}", decrypt: {age: {identity: env:OTHER}, box: {x: env:Y}}}
      third:
        {store: dark, path: "a/{time:%Y%m%d}", retention: {daily: 30}, checksum: {sidecar: "{name}.sha256"}, lag: 5m}
  wiki:
    tier: silver
    engine: tree
    rpo: 1d
    rto: 3h
    drill_every: 2w
    copy_lag: 6h
    copies: {nas: {path: "w/{time:%Y%m%d%z}/"}, cloud: {path: "w/{time:%Y%m%d%z}.tar"}}
"""


@pytest.fixture
def full(plan: Callable[..., Plan]) -> Plan:
    return plan(FULL)


def test_stores_get_absolute_urls_seconds_options_and_secrets(full: Plan, here: Path) -> None:
    copies = full.by_name["orders-db"].copies_by_name
    assert copies["nas"].settings == StoreSettings(
        "nas", f"file://{here.parent}/back ups/%41", connect_deadline=5.0, read_deadline=120.0, retries=0
    )
    assert copies["cloud"].settings == StoreSettings(
        "cloud",
        "s3://acme/prod",
        ranges=8,
        options={"endpoint": "https://minio.example:9000", "region": "eu", "path_style": True},
        secrets={
            "access_key_id": SecretReference("env", "A"),
            "secret_access_key": SecretReference("file", str(here / "secret")),
            "session_token": SecretReference("command", "vault\0token"),
        },
    )
    assert copies["third"].settings == StoreSettings(
        "dark", "s3://dark", secrets={"endpoint": SecretReference("env", "DARK")}
    )
    assert copies["third"].store_name == "dark" and copies["third"].store.media == "tape"


def test_the_state_is_resolved_like_a_store(full: Plan) -> None:
    assert full.state == StoreSettings(
        "state",
        "s3://drills/state",
        options={"profile": "drills"},
        secrets={"endpoint": SecretReference("env", "MINIO")},
    )


def test_what_a_copy_says_goes_before_what_its_target_says(full: Plan) -> None:
    nas, cloud, third = full.by_name["orders-db"].copies
    assert [str(copy.pattern.zone) for copy in (nas, cloud)] == ["UTC", "Europe/Berlin"]
    assert [copy.checksum.mode for copy in (nas, third)] == ["pinned", "required"]
    assert third.checksum.sidecar == "{name}.sha256"
    assert nas.retention is not None and third.retention is not None
    assert (nas.retention.daily, third.retention.daily) == (7, 30)
    one, two, other = (SecretReference("env", name) for name in ("ONE", "TWO", "OTHER"))
    assert nas.decrypt == {"age": {"identity": one, "passphrase": two}}
    assert cloud.decrypt == {"age": {"identity": other, "passphrase": two}, "box": {"x": SecretReference("env", "Y")}}


def test_replication_may_take_the_copy_lag_where_nothing_else_is_said(full: Plan) -> None:
    orders, wiki = full.by_name["orders-db"], full.by_name["wiki"]
    assert orders.copy_lag == timedelta(hours=2)
    assert [copy.lag for copy in orders.copies] == [timedelta(minutes=1), timedelta(hours=2), timedelta(minutes=5)]
    assert [copy.lag for copy in wiki.copies] == [timedelta(0), timedelta(hours=6)]


def test_objectives_of_the_target_go_before_those_of_its_tier(full: Plan) -> None:
    orders, wiki = full.by_name["orders-db"], full.by_name["wiki"]
    assert (orders.rpo, orders.rto, orders.drill_every) == (
        timedelta(hours=2),
        timedelta(minutes=30),
        timedelta(days=7),
    )
    assert (wiki.rpo, wiki.rto, wiki.drill_every) == (timedelta(days=1), timedelta(hours=3), timedelta(days=14))


def test_patterns_of_a_plan_match(full: Plan) -> None:
    match = full.by_name["orders-db"].copies_by_name["cloud"].pattern.match("a/20261123")
    assert match is not None and match.taken_at == datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert full.by_name["wiki"].copies[0].layout == "generations"


def test_a_plan_travels_to_workers(full: Plan) -> None:
    for copy in full.by_name["orders-db"].copies:
        copy.pattern.match("a/20261123")  # what is computed meanwhile stays behind
    sent = pickle.dumps(full, 5)
    received = pickle.loads(sent)
    assert received == full
    assert b"_compiled" not in sent
    assert list(received.cases()) == list(full.cases())
    assert received.by_name["orders-db"].copies[0].pattern.match("a/20261123") is not None


def test_models_can_be_built_from_values() -> None:
    assert TargetModel(
        tier="gold", engine="toy", copies={"a": CopyModel(path="x")}, timezone=ZoneInfo("UTC"), rpo=timedelta(hours=1)
    ).timezone is ZoneInfo("UTC")


@pytest.mark.parametrize(("directory", "root"), [("drills", "."), ("x/drills", "x"), ("x", "x"), (".", ".")])
def test_reports_and_state_lie_beside_the_drills(good: str, here: Path, directory: str, root: str) -> None:
    path = Path(directory, "targets.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(good.replace("state: s3://acme-drills/state\n", ""))
    plan = load(path)
    assert plan.reports == os.path.normpath(here / root / "reports")
    assert plan.state.url == f"file://{os.path.normpath(here / root / '.restore-drill' / 'state')}"
    assert plan.catalogue == str(here / path)
    assert load(here / path) == plan


def test_the_frozen_rule_is_left_as_it_is_written(good: str, plan: Callable[..., Plan]) -> None:
    frozen = plan(good.replace("tier: critical", "tier: critical\n    frozen: true")).by_name["orders-db"]
    assert [copy.checksum.mode for copy in frozen.copies] == ["required", "required"]
    assert "rpo" not in [case.case for case in frozen.cases()]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:x", "/base/x"),
        ("file:../x/./y", "/x/y"),
        ("file:/x", "/x"),
        ("file:///x/", "/x"),
        ("file:.", "/base"),
        ("s3://x", None),
    ],
)
def test_local_roots(url: str, path: str | None) -> None:
    assert local_root(url, Path("/base")) == (Path(path) if path else None)
