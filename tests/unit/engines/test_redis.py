"""The redis engine over what a real server wrote, over what it refuses, and asked for more than it may be."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from restore_drill.engines import redis_measure
from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.redis import RedisEngine
from restore_drill.engines.redis_samples import commands, database, dump, good, key, shop, text, written_out
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.sandboxes.base import Limits, Sandbox
from restore_drill.sandboxes.directory import DirectorySandbox

ROWS = frozenset({"rows"})
#: What a real server is told, with every type, groups of a stream, and two databases.
TOLD = """
SET plain value
SETEX short 86400 value
RPUSH list a b c
SADD set 1 2 3
SADD words a b c
ZADD zset 1 a 2.5 b
HSET hash field value
XADD stream 1-1 field value
XADD stream 1-2 field value
XGROUP CREATE stream readers 0
XREADGROUP GROUP readers first COUNT 1 STREAMS stream >
PFADD visitors a b c
SELECT 5
SET other value
"""
COUNTS = {
    "db0": 9, "db0.hash": 1, "db0.list": 1, "db0.set": 2, "db0.stream": 1, "db0.string": 3, "db0.zset": 1, "db5": 1,
    "db5.string": 1,
}  # fmt: skip


@pytest.fixture
def sandbox(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[Sandbox]:
    for name in RedisEngine.programs:
        require_program(name)
    with DirectorySandbox(tmp_path, run="redis", name="test", limits=Limits()) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def wrote(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Path:
    """A data directory as a real server left it: a dump and an append-only file in parts."""
    place = tmp_path_factory.mktemp("redis")
    line = place / "line.sock"
    server = [require_program("redis-server"), "--port", "0", "--unixsocket", str(line), "--dir", str(place)]
    client = [require_program("redis-cli"), "-s", str(line)]
    running = subprocess.Popen([*server, "--appendonly", "yes", "--save", ""], stdout=subprocess.PIPE, text=True)
    assert running.stdout
    assert any("ready to accept" in said for said in running.stdout)

    def tell(told: str) -> None:
        done = subprocess.run(client, input=told, capture_output=True, text=True, check=True, timeout=60)
        assert "ERR" not in done.stdout

    tell(TOLD)
    tell("FUNCTION LOAD \"#!lua name=shop\\nredis.register_function('total', function() return 1 end)\"\nSAVE\n")
    tell("SET since-the-dump value\n")
    running.terminate()
    running.communicate(timeout=60)
    return place


def restored(sandbox: Sandbox, content: bytes | Path, **changes: Any) -> Restored:
    path = sandbox.work / "payload-0"
    form = PayloadForm.FILE
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content.is_dir():
        shutil.copytree(content, path, ignore=shutil.ignore_patterns("*.sock"))
        form = PayloadForm.TREE
    else:
        shutil.copyfile(content, path)
    options = RestoreOptions(**{"deadline": 60.0, "wanted": ROWS, **changes})
    return RedisEngine().restore([Payload(form, path, "", 1)], sandbox, options)


def refused(sandbox: Sandbox, content: bytes | Path, **changes: Any) -> RestoreDrillError:
    with pytest.raises(RestoreDrillError) as caught:
        restored(sandbox, content, **changes)
    assert caught.value.remedy
    return caught.value


def test_a_dump_of_a_real_server_comes_back(wrote: Path, sandbox: Sandbox) -> None:
    found = restored(sandbox, wrote / "dump.rdb")
    assert found.row_counts() == COUNTS
    assert found.structure() == {
        "database": ["db0", "db5"],
        "type of key": ["db0.hash", "db0.stream", "db0.string", "db5.string"],
        "function library": ["shop"],
        "function": ["total"],
    }
    assert found.query("XLEN stream") == [(2,)]
    assert {key: found.facts[key] for key in ("keys", "expiring", "expired_at_load", "checksum")} == {
        "keys": 10, "expiring": 1, "expired_at_load": 0, "checksum": True,
    }  # fmt: skip
    assert found.notes == []


def test_a_driver_on_this_machine_can_connect(wrote: Path, sandbox: Sandbox) -> None:
    found = restored(sandbox, wrote / "dump.rdb")
    url = found.dsn()
    assert str(found.serve("", "").socket) == url.removeprefix("unix://")
    with pytest.raises(CouldNotVerify, match="no accounts"):
        found.serve("shop", "")
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(url.removeprefix("unix://"))
        line.sendall(b"GET plain\r\n")
        assert line.recv(100) == b"$5\r\nvalue\r\n"


def test_a_data_directory_of_a_real_server_comes_back(wrote: Path, sandbox: Sandbox) -> None:
    found = restored(sandbox, wrote)
    assert found.row_counts() == {**COUNTS, "db0": 10, "db0.string": 4}
    assert any("dump" in note for note in found.notes)


def test_a_part_that_is_cut_is_no_backup(wrote: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    copy = shutil.copytree(wrote, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))
    [part] = copy.glob("appendonlydir/*.incr.aof")
    part.write_bytes(part.read_bytes()[:-3])
    problem = refused(sandbox, copy)
    assert isinstance(problem, BackupFailed)
    assert "ends within a command" in problem.cause


def test_the_file_of_a_tree_can_be_named(wrote: Path, sandbox: Sandbox) -> None:
    assert restored(sandbox, wrote, settings={"file": "dump.rdb"}).row_counts() == COUNTS


def test_of_several_dumps_none_is_guessed(sandbox: Sandbox, tmp_path: Path) -> None:
    for name in ("a.rdb", "b.rdb"):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / name).write_bytes(good())
    problem = refused(sandbox, tmp_path / "two")
    assert isinstance(problem, CouldNotVerify)
    assert problem.details == ("a.rdb", "b.rdb")


@pytest.mark.parametrize("beginnings", [["session:", "order:"], ["nothing:"]])
def test_keys_are_counted_by_their_beginning(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, beginnings: list[str]
) -> None:
    monkeypatch.setattr(redis_measure, "_AT_ONCE", 7)
    monkeypatch.setattr(redis_measure, "_STEP", 3)
    counts = restored(sandbox, good(), settings={"prefixes": beginnings}).row_counts()
    expected = {"session:": 30, "order:": 12, "nothing:": 0}
    assert {key: value for key, value in counts.items() if key.startswith("db0") and "*" in key} == {
        f"db0.{start}*": expected[start] for start in beginnings
    }
    assert (counts["db0"], counts["db0.hash"], counts["db3.string"]) == (47, 12, 1)


# --- keys past their time to live -------------------------------------------------------------------------------------


def gone() -> bytes:
    return dump(database(0, *(key(0, f"session:{number}", text("s"), until=1_000) for number in range(5))))


def test_keys_that_expired_are_missing_from_the_counts_and_told(sandbox: Sandbox) -> None:
    found = restored(sandbox, good(past=20))
    assert found.row_counts()["db0"] == 27
    assert (found.facts["keys_in_backup"], found.facts["expired_at_load"]) == (48, 20)
    assert "20 of 48 keys" in " ".join(found.notes)


def test_a_dump_of_nothing_but_expired_keys_has_none(sandbox: Sandbox) -> None:
    found = restored(sandbox, gone())
    assert found.row_counts() == {"db0": 0}
    assert found.structure() == {"database": ["db0"]}


def test_where_nobody_counts_nothing_came_back(sandbox: Sandbox) -> None:
    problem = refused(sandbox, gone(), wanted=frozenset())
    assert (problem.stage, isinstance(problem, BackupFailed)) == (Stage.RESTORE, True)
    assert "all 5 keys" in problem.cause


def test_where_nothing_may_come_back_it_does(sandbox: Sandbox) -> None:
    assert restored(sandbox, gone(), wanted=frozenset(), allow_empty=True).row_counts() == {"db0": 0}


# --- what a server does not take --------------------------------------------------------------------------------------


def test_a_dump_of_a_newer_server_may_be_good(sandbox: Sandbox) -> None:
    newer = dump(database(0, *shop()), version=60, aux={"redis-ver": "90.1.0"})
    problem = refused(sandbox, newer)
    assert isinstance(problem, CouldNotVerify)
    assert "90.1" in problem.cause


def test_a_format_that_no_server_here_knows_may_be_good(sandbox: Sandbox) -> None:
    problem = refused(sandbox, dump(database(0, *shop()), version=60, aux={"redis-ver": "255.255.255"}))
    assert isinstance(problem, CouldNotVerify)
    assert "RDB version 60" in problem.cause


def test_a_version_that_contradicts_its_writer_is_damage(sandbox: Sandbox) -> None:
    problem = refused(sandbox, dump(database(0, *shop()), version=60))
    assert isinstance(problem, BackupFailed)
    assert "7.0.15" in problem.cause


def test_a_module_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    module = next(sample for sample in RedisEngine.samples() if sample.name == "needs-module")
    assert "MBbloom--" in refused(sandbox, module.build(tmp_path)).cause


def test_a_command_of_a_module_is_named(sandbox: Sandbox) -> None:
    problem = refused(sandbox, written_out() + commands(("BF.ADD", "filter", "member")))
    assert "BF.ADD" in problem.cause


@pytest.mark.parametrize(
    "command",
    [
        ("CONFIG", "SET", "dir", "/tmp"),
        ("MODULE", "LOAD", "/tmp/evil.so"),
        ("SLAVEOF", "192.0.2.1", "6379"),
        ("REPLICAOF", "192.0.2.1", "6379"),
        ("DEBUG", "SEGFAULT"),
    ],
)
def test_an_append_only_file_cannot_reach_further(sandbox: Sandbox, command: tuple[str, ...]) -> None:
    problem = refused(sandbox, written_out() + commands(command))
    assert isinstance(problem, BackupFailed)
    assert f"the command {command[0]}" in problem.cause


def test_a_dump_without_a_checksum_is_told(sandbox: Sandbox) -> None:
    found = restored(sandbox, dump(database(0, *shop()), checksum=False))
    assert found.facts["checksum"] is False
    assert any("no checksum" in note for note in found.notes)


def test_an_append_only_file_that_begins_with_a_dump_is_read_to_its_end(sandbox: Sandbox) -> None:
    base = dump(database(0, *shop()), aux={"aof-preamble": "1"})
    found = restored(sandbox, base + commands(("SELECT", "0"), ("SET", "later", "value")))
    assert found.query("EXISTS later") == [(1,)]


# --- questions --------------------------------------------------------------------------------------------------------


def test_a_command_that_reads_is_answered(sandbox: Sandbox) -> None:
    found = restored(sandbox, good())
    answers: dict[str, list[tuple[Any, ...]]] = {
        "GET shop:environment": [("production",)],
        "SELECT 3; GET other:key": [("value",)],
        "select 3\nget other:key": [("value",)],
        "HGET order:3 sum": [(3,)],
        "GET 'no such key'": [],
        "LRANGE shop:queue 0 -1": [("a",), ("b",), ("c",)],
        "TYPE shop:tags": [("set",)],
        "ZSCORE shop:scores p": [("1.5",)],
        "DBSIZE": [(47,)],
    }
    assert {question: found.query(question) for question in answers} == answers


def test_a_command_that_does_more_is_not_sent(sandbox: Sandbox) -> None:
    found = restored(sandbox, good())
    for question in ("SET a b", "DEL shop:latest", "EVAL 'return 1' 0", "GET a; GET b", "FLUSHALL", "GET 'a", ""):
        with pytest.raises(CouldNotVerify):
            found.query(question)
    with pytest.raises(CouldNotVerify):
        found.query("HGET shop:environment field")
    assert found.row_counts()["db0"] == 47


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"fiel": "dump.rdb"},
        {"file": "/etc/passwd"},
        {"modules": ["redisbloom.so"]},
        {"modules": "/usr/lib/redisbloom.so"},
        {"modules": ['/usr/lib/a.so\nrename-command GET ""']},
        {"prefixes": ["session:*"]},
        {"prefixes": ["string"]},
        {"server": "keydb"},
    ],
)
def test_an_option_that_means_nothing_is_refused(sandbox: Sandbox, settings: Mapping[str, Any]) -> None:
    assert isinstance(refused(sandbox, good(), settings=settings), UsageProblem)
