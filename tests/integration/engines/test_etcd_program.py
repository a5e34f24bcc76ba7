"""Snapshots of clusters that the real etcd serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.here import here

from restore_drill.engines import etcd_samples
from restore_drill.engines.base import RestoreOptions
from restore_drill.engines.etcd import EtcdEngine
from restore_drill.engines.etcd_probe import Tools
from restore_drill.errors import CouldNotVerify, DeadlineExceeded, UsageProblem
from restore_drill.model import Payload, PayloadForm
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits, Sandbox


@pytest.fixture(autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    assert require_program("etcd") and require_program("etcdctl")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with load("sandboxes", "directory")(tmp_path, run="test", name="etcd", limits=Limits()) as one:
        yield one


def payload(sandbox: Sandbox, data: bytes) -> Payload:
    path = sandbox.work / "payload-0"
    path.write_bytes(data)
    return Payload(PayloadForm.FILE, path, "etcd-snapshot", len(data))


def test_keys_are_counted_by_a_server_without_a_network(sandbox: Sandbox) -> None:
    options = RestoreOptions(deadline=60, settings={"prefixes": ["/registry/", "/registry/pods/1"]})
    one = EtcdEngine().restore([payload(sandbox, etcd_samples.saved()["good"])], sandbox, options)
    assert one.row_counts() == {"keys": 21, "/registry/": 21, "/registry/pods/1": 11}
    assert one.facts["revision"] == 22
    assert one.facts["etcd"].startswith("3.")
    assert one.structure() == {"prefix": ["/registry/", "/registry/pods/1"]}
    assert not list(sandbox.work.glob("localhost:*/*"))


def test_a_cluster_that_asks_who_is_there_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    tools = Tools(tmp_path / "source", time.monotonic() + 60)
    with tools.server():
        for words in (
            ("put", "a", "b"), ("user", "add", "root:secret"), ("user", "grant-role", "root", "root"),
            ("snapshot", "save", "before"), ("auth", "enable"), ("--user", "root:secret", "snapshot", "save", "after"),
        ):  # fmt: skip
            done = tools.run(*words)
            assert done.returncode == 0, done.stderr
    sandbox = here(tmp_path / "work")
    data = (tmp_path / "source" / "after").read_bytes()
    with pytest.raises(CouldNotVerify, match="asks for a user and a password"):
        EtcdEngine().restore([payload(sandbox, data)], sandbox, RestoreOptions(deadline=60))


def test_a_server_that_is_not_ready_in_time_says_nothing_of_the_backup(tmp_path: Path) -> None:
    work = here(tmp_path / "work").work
    tools = Tools(work, time.monotonic() + 60)
    (work / "snapshot").write_bytes(etcd_samples.saved()["good"])
    tools.restore("snapshot")
    tools._until = time.monotonic()
    with pytest.raises(DeadlineExceeded), tools.server():
        pass
    with (
        pytest.raises(CouldNotVerify, match="etcd ended with status 2"),
        Tools(work, time.monotonic() + 60).server("--no"),
    ):
        pass


def test_options_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    sandbox = here(tmp_path / "work")
    for settings in ({"prefix": ["a"]}, {"prefixes": "/a"}, {"prefixes": ["keys"]}, {"prefixes": ["--all"]}):
        with pytest.raises(UsageProblem, match="etcd engine"):
            EtcdEngine().restore([payload(sandbox, b"x")], sandbox, RestoreOptions(settings=settings))
