"""The etcd engine against the rules for every engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from restore_drill.engines.etcd import EtcdEngine
from restore_drill.engines.etcd_samples import EXPECT, SETTINGS
from restore_drill.testing.engine import EngineConformance


@pytest.fixture(autouse=True)
def etcd(require_program: Callable[[str], str]) -> str:
    return require_program("etcd") and require_program("etcdctl")


class TestEtcdEngine(EngineConformance):
    engine = EtcdEngine
    expect = EXPECT
    settings = SETTINGS
