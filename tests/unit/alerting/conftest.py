"""A catalogue whose cases are those of ``tests.support.evidence``, with channels and pings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import evidence

from restore_drill.alerting import Delivery, deliver
from restore_drill.alerting.sender import compose
from restore_drill.alerting.sending import Outcome
from restore_drill.catalogue.load import load
from restore_drill.plan import Plan

NIGHT = timedelta(days=1)
_EXPECT = {
    "rows": {"orders": 5},
    "queries": [{"name": "every-item-has-an-order", "sql": "select 0", "equals": 0}],
    "newest_record": {"sql": "select max(at) from orders", "within": "26h"},
}


class Post:
    """Takes messages and pings as the sender does, and delivers them to nobody.

    Attributes:
        refused: Names of channels and pings that do not get through.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.messages: list[dict[str, Any]] = []
        self.pings: list[dict[str, Any]] = []

    def __call__(
        self, channels: Sequence[Mapping[str, Any]], pings: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Outcome]:
        self.messages += [{**each, "message": compose(dict(each), "text", 32768)} for each in channels]
        self.pings += [dict(each) for each in pings]
        names = [each["name"] for each in (*channels, *pings)]
        return {
            name: Outcome(name, name not in self.refused, 1, "it answered HTTP 500" * (name in self.refused))
            for name in names
        }

    def take(self) -> list[dict[str, Any]]:
        """What was sent since the last time."""
        found, self.messages[:] = list(self.messages), []
        return found

    @property
    def titles(self) -> list[str]:
        """The titles of what was sent since the last time."""
        return [each["title"] for each in self.take()]


class Estate:
    """Nights of runs over one catalogue: every run's evidence is delivered as a run would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.post = Post()
        self.targets = [evidence.Target("orders-db"), evidence.Target("wiki", tier="important")]
        self.alerts: dict[str, Any] = {"oncall": {"url": "env:ONCALL_URL"}}
        self.pings: dict[str, Any] = {}
        self.night = 0

    @property
    def now(self) -> datetime:
        return evidence.WHEN + self.night * NIGHT

    def plan(self) -> Plan:
        targets = {
            each.name: {
                "tier": each.tier, "engine": each.engine, "timezone": "UTC", "expect": _EXPECT,
                "copies": {copy: {"path": each.name + "/{time:%Y%m%d_%H%M%S}.db"} for copy in each.copies},
            }
            for each in self.targets
        }  # fmt: skip
        stores = {copy: {"url": f"file:stores/{copy}", "media": "disk"} for copy in ("nas", "offsite", "attic")}
        path = self.root / "targets.yaml"
        catalogue = {"version": 1, "state": "file:state", "stores": stores, "targets": targets}
        path.write_text(yaml.safe_dump({**catalogue, "alerts": self.alerts, "pings": self.pings}))
        return load(path)

    def document(self, plan: Plan, **given: Any) -> dict[str, Any]:
        """The evidence of tonight's run."""
        catalogue = {"path": plan.catalogue, "sha256": plan.digest}
        given = {"targets": self.targets, **given}
        run = given.pop("run_keys", {})
        found = evidence.document(self.now, **given) | {"catalogue": catalogue}
        found["run"] |= run
        return found

    def run(self, verdicts: Mapping[str, str] | None = None, **given: Any) -> Delivery:
        """Tonight's run, and the night after it begins."""
        options = {name: given.pop(name) for name in ("population", "ledger", "directory", "dry") if name in given}
        plan = self.plan()
        delivery = self.deliver(plan, self.document(plan, verdicts=verdicts, **given), **options)
        self.night += 1
        return delivery

    def deliver(self, plan: Plan, *documents: dict[str, Any], **options: Any) -> Delivery:
        """Deliver evidence, ten minutes after tonight's run began."""
        return deliver(plan, documents, now=self.now.timestamp() + 600, send=self.post, **options)


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)
