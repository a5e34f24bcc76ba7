"""The engine over the real sandbox."""

from __future__ import annotations

import contextlib
import io
import signal
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import crashing_probe

from restore_drill.engines import sqlite
from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.sqlite import SqliteEngine
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, SandboxDied, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox

SCRIPT = """
    CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX t_b ON t (b);
    INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL);
"""


class CountingSandbox(DirectorySandbox):
    """Remembers which functions were called."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.called: list[tuple[str, Any]] = []

    def submit(self, function: str, arguments: Any, **more: Any) -> Any:
        self.called.append((function.partition(":")[2], arguments.get("wanted")))
        return super().submit(function, arguments, **more)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[CountingSandbox]:
    with CountingSandbox(tmp_path, run="test", name="sqlite", limits=Limits(processes=2)) as sandbox:
        yield sandbox


def payload(sandbox: DirectorySandbox, script: str = SCRIPT) -> Payload:
    path = sandbox.work / "quarantine" / "payload-0"
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)
    return Payload(PayloadForm.FILE, path, "sqlite-database", path.stat().st_size)


def tree(sandbox: DirectorySandbox, **databases: str) -> Payload:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, script in databases.items():
            with contextlib.closing(sqlite3.connect(":memory:")) as connection:
                connection.executescript(script)
                data = connection.serialize()
            member = tarfile.TarInfo(f"app/{name}.db")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    root = sandbox.work / "payload-0"
    arguments = {"archive": "tar", "root": str(root), "limits": {}}
    sandbox.call("restore_drill.archives.unpack:unpack_tree", arguments, deadline=60, feed=[out.getvalue()])
    return Payload(PayloadForm.TREE, root, "tar", len(out.getvalue()))


def restore(sandbox: DirectorySandbox, *payloads: Payload, **options: Any) -> Restored:
    return SqliteEngine().restore(payloads, sandbox, RestoreOptions(**{"deadline": 60.0, "threads": 2, **options}))


def test_a_file(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox))
    assert restored.path == sandbox.work / "restored" / "database.db"
    assert restored.path.is_file()
    assert restored.facts["summary"].endswith("with 1 tables")
    assert restored.facts["tables"] == 1
    assert restored.notes == []
    assert restored.row_counts() == {"t": 3}
    assert restored.structure()["index"] == ["t_b"]
    assert restored.integrity()["problems"] == []
    assert restored.query("SELECT * FROM t ORDER BY a") == [(1, "one"), (2, "two"), (3, None)]
    assert restored.scalar("SELECT max(a) FROM t") == 3
    assert restored.scalar("SELECT a FROM t WHERE 0") is None


def test_a_tree(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, tree(sandbox, one=SCRIPT))
    assert restored.row_counts() == {"t": 3}
    assert restored.path.is_file()


def test_a_tree_with_several(sandbox: CountingSandbox) -> None:
    staged = tree(sandbox, one=SCRIPT, two="CREATE TABLE u (a); INSERT INTO u VALUES (1)")
    with pytest.raises(CouldNotVerify, match="2 SQLite databases"):
        restore(sandbox, staged)
    assert restore(sandbox, staged, settings={"database": "app/two.db"}).row_counts() == {"u": 1}


def test_a_text(sandbox: CountingSandbox) -> None:
    path = sandbox.work / "payload-0"
    path.write_text(f"BEGIN;{SCRIPT}COMMIT;")
    restored = restore(sandbox, Payload(PayloadForm.FILE, path, "sql-text", path.stat().st_size))
    assert restored.row_counts() == {"t": 3}
    assert restored.facts["complete"] == "COMMIT"
    path.write_text(SCRIPT)
    again = restore(sandbox, Payload(PayloadForm.FILE, path, "sql-text", path.stat().st_size))
    assert "nothing in it proves" in again.notes[0]


@pytest.mark.parametrize(
    "settings", [{"databse": "x"}, {"database": 5}, {"database": "/etc/passwd"}, {"database": "a/../../b"}]
)
def test_options_that_make_no_sense(sandbox: CountingSandbox, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem):
        restore(sandbox, payload(sandbox), settings=settings)
    assert sandbox.called == []


def test_content_that_is_something_else(sandbox: CountingSandbox) -> None:
    staged = payload(sandbox)
    with pytest.raises(BackupFailed) as caught:
        restore(sandbox, Payload(PayloadForm.FILE, staged.path, "ldif", 1))
    assert caught.value.stage is Stage.RESTORE


def test_nothing_came_back_unless_it_may_be_empty(sandbox: CountingSandbox) -> None:
    staged = payload(sandbox, "CREATE TABLE t (a)")
    assert restore(sandbox, staged, allow_empty=True).row_counts() == {"t": 0}
    Path(sandbox.work / "restored" / "database.db").rename(staged.path)
    with pytest.raises(BackupFailed, match="nothing came back"):
        restore(sandbox, staged)


# --- measuring ------------------------------------------------------------------------------------------------------


def test_what_is_wanted_is_measured_in_one_call(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox))
    restored.prepare(frozenset({"integrity", "structure", "rows", "query", "rpo"}))
    restored.prepare(frozenset({"integrity"}))
    for _ in range(2):
        assert restored.integrity()["problems"] == []
        assert restored.structure()["table"] == ["t"]
        assert restored.row_counts() == {"t": 3}
    assert sandbox.called == [("restore_file", None), ("measure", ["integrity full", "rows", "structure"])]


def test_only_what_is_wanted_is_measured(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox), integrity="quick")
    restored.prepare(frozenset({"rpo", "query"}))
    assert sandbox.called == [("restore_file", None)]
    restored.prepare(frozenset({"integrity"}))
    assert restored.integrity("quick")["checked"] == ["quick_check"]
    assert restored.row_counts() == {"t": 3}
    assert sandbox.called[1:] == [("measure", ["integrity quick"]), ("measure", ["rows"])]
    assert restored.integrity("full")["checked"] == ["integrity_check"]


def test_a_question_may_be_asked_while_measuring(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox))
    restored.prepare(frozenset({"integrity", "rows"}))
    assert restored.scalar("SELECT count(*) FROM t") == 3
    assert restored.row_counts() == {"t": 3}


def test_errors_come_back_whole(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox))
    with pytest.raises(CouldNotVerify, match="does more than read") as caught:
        restored.query("DELETE FROM t")
    assert caught.value.remedy
    with pytest.raises(DeadlineExceeded):
        restored.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", 0.3)
    assert restored.scalar("SELECT count(*) FROM t") == 3


def test_a_damaged_table_fails_the_counts_and_not_the_structure(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox, f"PRAGMA page_size=512; {SCRIPT} CREATE TABLE u (x)"))
    data = bytearray(restored.path.read_bytes())
    data[512:1536] = b"\xff" * 1024
    restored.path.write_bytes(data)
    restored.prepare(frozenset({"integrity", "structure"}))
    assert restored.structure()["table"] == ["t", "u"]
    assert {problem["rule"] for problem in restored.integrity()["problems"]} == {"b_tree"}
    for _ in range(2):
        with pytest.raises(BackupFailed) as caught:
            restored.row_counts()
        assert caught.value.stage is Stage.CONTENT


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PROBE", crashing_probe.__name__)
    monkeypatch.setattr(sqlite, "_QUERY", crashing_probe.__name__)


class _Ending:
    """A call under way that ends in an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def result(self) -> Any:
        raise self._error


def order(sandbox: DirectorySandbox, what: str) -> None:
    (sandbox.work / crashing_probe.ORDER).write_text(what)


@pytest.mark.usefixtures("crashing")
@pytest.mark.parametrize("how", crashing_probe.CRASHES)
def test_a_crash_while_restoring_is_the_backups_fault(sandbox: CountingSandbox, how: str) -> None:
    staged = payload(sandbox)
    order(sandbox, f"restore {how}")
    with pytest.raises(BackupFailed) as caught:
        restore(sandbox, staged)
    assert how in caught.value.cause
    assert caught.value.stage is Stage.RESTORE
    order(sandbox, "nothing 0")
    assert restore(sandbox, staged).row_counts() == {"t": 3}


def test_an_end_by_the_machine_says_nothing_about_the_backup(
    sandbox: CountingSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = payload(sandbox)
    with monkeypatch.context() as patched:
        patched.setattr(sandbox, "submit", lambda *_, **__: _Ending(SandboxDied("killed", signal=signal.SIGKILL)))
        with pytest.raises(SandboxDied):
            restore(sandbox, staged)
    assert restore(sandbox, staged).row_counts() == {"t": 3}


@pytest.mark.usefixtures("crashing")
def test_a_crash_while_measuring_fails_what_crashed_and_nothing_else(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox))
    order(sandbox, "measure integrity full SIGSEGV")
    restored.prepare(frozenset({"integrity", "structure", "rows"}))
    assert restored.row_counts() == {"t": 3}
    for _ in range(2):
        with pytest.raises(BackupFailed, match="SIGSEGV") as caught:
            restored.integrity()
        assert caught.value.stage is Stage.CONTENT
    assert restored.structure()["table"] == ["t"]
    assert [wanted for name, wanted in sandbox.called if name == "measure"] == [
        ["integrity full", "rows", "structure"], ["rows"], ["integrity full"], ["structure"],
    ]  # fmt: skip


@pytest.mark.usefixtures("crashing")
def test_a_crash_of_a_question_is_the_backups_fault(sandbox: CountingSandbox) -> None:
    restored = restore(sandbox, payload(sandbox))
    order(sandbox, "query SIGSEGV")
    with pytest.raises(BackupFailed, match="SIGSEGV"):
        restored.query("SELECT 1")
    order(sandbox, "nothing 0")
    assert restored.scalar("SELECT 1") == 1


def test_a_deadline_of_the_sandbox_fails_everything_that_was_asked(
    sandbox: CountingSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = restore(sandbox, payload(sandbox))

    with monkeypatch.context() as patched:
        patched.setattr(sandbox, "submit", lambda *_, **__: _Ending(DeadlineExceeded("too late")))
        restored.prepare(frozenset({"integrity", "rows"}))
    for ask in (restored.integrity, restored.row_counts):
        with pytest.raises(DeadlineExceeded, match="too late"):
            ask()
    assert restored.structure()["table"] == ["t"]


@pytest.mark.parametrize("size", [300, 300_000_000])
def test_a_lack_of_memory_is_of_the_check_that_it_stops(tmp_path: Path, size: int) -> None:
    script = f"""
        PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES (4, 'four');
        CREATE TABLE u (x INT CHECK (length(hex(zeroblob({size} + x))) > 0)); INSERT INTO u VALUES (1);
    """
    with CountingSandbox(tmp_path, run="test", name="memory", limits=Limits(memory=400 << 20, processes=2)) as sandbox:
        restored = restore(sandbox, payload(sandbox, SCRIPT + script))
        restored.prepare(frozenset({"integrity", "rows"}))
        if size == 300:
            assert restored.integrity()["problems"] == []
        else:
            with pytest.raises(CouldNotVerify, match="memory ran out"):
                restored.integrity()
        assert restored.row_counts() == {"t": 4, "u": 1}
        assert [name for name, _ in sandbox.called].count("measure") == 1


def test_temporary_files_stay_inside(sandbox: CountingSandbox) -> None:
    """Sorting more than memory holds needs files; SQLite would put them elsewhere."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)"
    restored = restore(sandbox, payload(sandbox, f"CREATE TABLE t (a); {numbers} INSERT INTO t SELECT i FROM n"))
    distinct = "SELECT count(*) FROM (SELECT x FROM (SELECT hex(randomblob(300)) AS x FROM t) GROUP BY x)"
    assert restored.scalar(distinct) == 300_000
