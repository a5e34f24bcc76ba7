"""Documents in a bucket: conditional requests of several processes against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target
from tests.support.servers import S3Server, free_ports, keep_only_state_keys, state_settings

from restore_drill import state as module
from restore_drill.errors import CouldNotVerify
from restore_drill.evidence import open_runs
from restore_drill.history import DrillSummary, History
from restore_drill.run import Run
from restore_drill.state import BucketState, Change, State, open_state

ADD = """
import sys
from tests.integration.test_state_s3 import bucket_state
state = bucket_state(sys.argv[1], sys.argv[2])
for _ in range(int(sys.argv[3])):
    state.update("counts/one.json", lambda body: str(int(body or b"0") + 1).encode())
"""


def bucket_state(endpoint: str, url: str) -> State:
    """A state on the server, by the keys in this process's environment."""
    return open_state(state_settings(endpoint, url))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """No credentials but ours."""
    return keep_only_state_keys(monkeypatch)


@pytest.fixture
def state(moto_s3: S3Server, request: pytest.FixtureRequest) -> State:
    return bucket_state(moto_s3.endpoint, f"s3://backups/{request.node.name}/state")


def test_a_document_is_what_was_written_last(state: State, moto_s3: S3Server, request: pytest.FixtureRequest) -> None:
    assert state.read("targets/a.json") is None
    state.update("targets/a.json", lambda body: b"one" if body is None else b"")
    state.update("targets/a.json", lambda body: (body or b"") + b" two")
    assert state.read("targets/a.json") == b"one two"
    stored = moto_s3.client().get_object(Bucket="backups", Key=f"{request.node.name}/state/targets/a.json")
    assert stored["Body"].read() == b"one two"


def test_a_change_meanwhile_is_never_overwritten(state: State) -> None:
    calls: list[bytes | None] = []

    def slow(body: bytes | None) -> bytes:
        calls.append(body)
        if len(calls) == 1:
            state.update("a.json", lambda _: b"theirs")
        return (body or b"") + b"+ours"

    state.update("a.json", slow)
    assert calls == [None, b"theirs"]
    assert state.read("a.json") == b"theirs+ours"
    calls.clear()
    state.update("a.json", slow)
    assert calls == [b"theirs+ours", b"theirs"]


def test_a_document_that_vanished_meanwhile_is_begun_anew(
    state: State, moto_s3: S3Server, request: pytest.FixtureRequest
) -> None:
    state.update("a.json", lambda _: b"old")
    seen: list[bytes | None] = []

    def change(body: bytes | None) -> bytes:
        seen.append(body)
        if len(seen) == 1:
            moto_s3.client().delete_object(Bucket="backups", Key=f"{request.node.name}/state/a.json")
        return b"new"

    state.update("a.json", change)
    assert state.read("a.json") == b"new"
    assert seen[0] == b"old"


def test_a_run_that_always_loses_gives_up_with_a_cause(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    other = 0

    def lose(body: bytes | None) -> bytes:
        nonlocal other
        other += 1
        state.update("a.json", lambda _: str(other).encode()) if other < 100 and body != b"stop" else None
        return b"never"

    with pytest.raises(CouldNotVerify, match=r"another run changed a\.json 8 times meanwhile"):
        state.update("a.json", lose)
    assert state.read("a.json") == b"8"


def test_processes_that_write_at_once_lose_nothing(moto_s3: S3Server, environment: dict[str, str]) -> None:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(Path(module.__file__).parents[1])])
    command = [sys.executable, "-c", ADD, moto_s3.endpoint, "s3://backups/at-once", "10"]
    writers = [subprocess.Popen(command, env={**environment, "PYTHONPATH": path}, cwd=root) for _ in range(3)]
    assert [writer.wait(300) for writer in writers] == [0] * 3
    assert bucket_state(moto_s3.endpoint, "s3://backups/at-once").read("counts/one.json") == b"30"


def test_a_history_lives_there(state: State) -> None:
    history = History(state)
    assert not history.initialised
    assert history.initialise()
    assert not History(state).initialise()
    now = time.time()
    history.record("orders-db", "nas", DrillSummary("r1", "s", "k", now, now, True, counts={"orders": 5}))
    assert History(state).target("orders-db").copy("nas").baseline(now).counts == {"orders": 5}


@pytest.mark.parametrize("what", ["bucket", "server", "key"])
def test_a_place_that_cannot_be_used_is_told_and_never_taken_for_an_empty_one(
    what: str, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, url = moto_s3.endpoint, "s3://backups/x"
    if what == "bucket":
        url = "s3://no-such-bucket/x"
    elif what == "server":
        endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
        monkeypatch.setattr("restore_drill.stores.trying.FIRST_PAUSE", 0.0)
    else:
        monkeypatch.delenv("STATE_SECRET_ACCESS_KEY")
    broken: Any = bucket_state(endpoint, url)
    for attempt in (lambda: broken.read("a.json"), lambda: broken.update("a.json", lambda _: b"")):
        with pytest.raises(CouldNotVerify) as raised:
            attempt()
        assert raised.value.remedy


def test_two_documents_do_not_disturb_each_other(state: State) -> None:
    state.update("a.json", lambda _: json.dumps([1]).encode())
    state.update("b.json", lambda _: b"2")
    assert (state.read("a.json"), state.read("b.json")) == (b"[1]", b"2")
    assert isinstance(state, BucketState)


def test_documents_are_listed_by_folder_and_can_be_removed(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state.names("runs") == []
    for name in ("runs/b.json", "runs/a.json", "runs/deeper/c.json", "runsandmore/d.json", "e.json"):
        state.update(name, lambda _: b"{}")
    assert state.names("runs") == ["runs/a.json", "runs/b.json"]
    state.remove("runs/a.json")
    state.remove("runs/a.json")  # again, harmlessly
    assert state.names("runs") == ["runs/b.json"] and state.read("runsandmore/d.json") == b"{}"
    client = state._client  # type: ignore[attr-defined]
    listed = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **given: listed(**given, MaxKeys=1))
    for number in range(3):
        state.update(f"many/{number}.json", lambda _: b"{}")
    assert state.names("many") == [f"many/{number}.json" for number in range(3)]


def test_a_run_that_was_killed_elsewhere_is_claimed_by_one(moto_s3: S3Server, tmp_path: Path) -> None:
    """Two states, as two machines see them: the second reads before the first has claimed, and comes too late."""
    first, second = (bucket_state(moto_s3.endpoint, "s3://backups/claims/state") for _ in range(2))
    process = {"host": "elsewhere", "boot": "x", "namespace": "x", "pid": 1, "began": "1"}
    target = planned_target(planned_copy())
    began = datetime.fromisoformat("2026-11-23T02:00:00+00:00").timestamp()
    run = Run("killed", tmp_path, plan_of(target))
    open_runs.begin(first, {**open_runs.describe(run, target.cases(), ["drills"], began), "process": process})
    assert open_runs.claim_dead(first, began + 3600) == []

    class Late(BucketState):
        """Another machine claims between the look and the claim."""

        def update(self, name: str, change: Change) -> None:
            assert [each["run"] for each in open_runs.claim_dead(second, began + 90_000)] == ["killed"]
            super().update(name, change)

    late = Late(first._settings)  # type: ignore[attr-defined]
    assert open_runs.claim_dead(late, began + 90_000) == []
    open_runs.end(second, "killed")
    assert first.names("runs") == []
