"""Channels and pings that could never be used, and URLs that somebody wrote into the catalogue."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.secrets import SecretReference

KEY = "T0kenCanary8842"
BASE = """version: 1
stores: {nas: {url: file:/nowhere/store, media: disk}}
state: file:/nowhere/state
targets:
  orders-db: {tier: critical, engine: toy, timezone: UTC, copies: {nas: {path: "{time:%Y%m%d}.db"}}}
"""


@pytest.mark.parametrize(
    ("written", "line", "column", "said"),
    [
        ("alerts: {a: {url: 'https://h/KEY'}}", 6, 19, "a secret is never in the catalogue: write env:NAME"),
        ("alerts: {a: 'https://h/KEY'}", 6, 13, "a secret is never in the catalogue: write env:NAME"),
        ("alerts: {a: ['https://h/KEY']}", 6, 10, "a secret is never in the catalogue: write env:NAME"),
        ("alerts: {a: {command: ['https://h/KEY']}}", 6, 14, "unknown option 'command'"),
        ("alerts: {a: {uri: 'https://h/KEY'}}", 6, 14, "did you mean 'url'?"),
        ("alerts: {a: {url: env:A, tiers: 'https://h/KEY'}}", 6, 33, "'tiers' needs a list"),
        ("alerts: 'https://h/KEY'", 6, 9, "the url of a channel is a secret: write {url: env:NAME}"),
        ("pings: {critical: 'https://h/KEY'}", 6, 19, "a secret is never in the catalogue: write env:NAME"),
        ("pings: {critical: {url: env:A, fail_url: 'https://h/KEY'}}", 6, 42, "a secret is never in the catalogue"),
        ("pings: 'https://h/KEY'", 6, 8, "the url of a channel is a secret: write {url: env:NAME}"),
    ],
)
def test_a_url_is_refused_and_not_repeated(tmp_path: Path, written: str, line: int, column: int, said: str) -> None:
    text = _refused(tmp_path, written.replace("KEY", KEY))
    assert f":{line}:{column}: " in text and said in text
    assert KEY not in text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("alerts: {a: {url: env:A, tell: [recovery]}}", "a recovery is told where the trouble was told"),
        ("alerts: {a: {url: env:A, tell: []}}", "a recovery is told where the trouble was told"),
        ("alerts: {a: {url: env:A, tell: [failed]}}", "'tell' may be 'failure'"),
        ("alerts: {a: {url: env:A, tiers: [critcal]}}", "no tier is called 'critcal'\n"),
        ("alerts: {a: {url: env:A, targets: ['web-*']}}", "'web-*' matches no target"),
        ("alerts: {a: {url: env:A, tiers: [archival], targets: ['orders-*']}}", "no target that this matches is of"),
        ("alerts: {a: {url: env:A, deadline: 11m}}", "deadline may be at most 10m"),
        ("alerts: {a: {url: env:A, remind: 0s}}", "'remind' cannot be used"),
        ("pings: {critcal: env:A}", "no tier is called 'critcal'\n"),
        ("pings: {archival: env:A}", "no target is of the tier 'archival', so this would never be pinged"),
        ("pings: {critical: {url: env:A, fail_url: env:A}}", "url and fail_url are the same"),
        ("pings: {critical: {url: env:A, timeout: 1h}}", "timeout may be at most 10m"),
        ("pings: {critical: {url: env:A, method: DELETE}}", "'method' may be 'GET', 'HEAD' or 'POST'"),
    ],
)
def test_what_could_not_work_is_refused(tmp_path: Path, written: str, said: str) -> None:
    assert said in _refused(tmp_path, written)


def test_what_works_is_planned(tmp_path: Path) -> None:
    (tmp_path / "targets.yaml").write_text(
        f"{BASE}alerts:\n  short: env:A\n  long: {{url: {{command: [vault, get]}}, tell: [failure], tiers: [critical],"
        " targets: ['orders-*'], remind: 7d, deadline: 10m}\npings: {critical: 'file:ping.url'}\n"
    )
    plan = load(tmp_path / "targets.yaml")
    short, long = plan.alerts["short"], plan.alerts["long"]
    assert (short.url, short.tell, short.remind) == (
        SecretReference("env", "A"), ("failure", "could-not-verify", "overdue", "recovery"), None
    )  # fmt: skip
    assert (long.url.kind, long.tell, long.targets) == ("command", ("failure",), ("orders-*",))
    assert (long.remind, short.deadline) == (timedelta(days=7), timedelta(minutes=1))
    assert plan.pings["critical"].url == SecretReference("file", str(tmp_path / "ping.url"))


def _refused(directory: Path, written: str) -> str:
    (directory / "targets.yaml").write_text(f"{BASE}{written}\n")
    with pytest.raises(CatalogueInvalid) as caught:
        load(directory / "targets.yaml")
    return str(caught.value) + "\n"
