"""Documents in a directory: whole or not at all, whoever writes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.unprivileged import as_nobody, open_directory

from restore_drill import state as module
from restore_drill.errors import CouldNotVerify
from restore_drill.state import BucketState, DirectoryState, open_state
from restore_drill.stores.base import StoreSettings

COUNT = """
import sys
from pathlib import Path
from restore_drill.state import DirectoryState
state = DirectoryState(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    state.update("counts/one.json", lambda body: str(int(body or b"0") + 1).encode())
"""


def test_a_document_is_what_was_written_last(tmp_path: Path) -> None:
    state = DirectoryState(tmp_path / "new" / "state")
    assert state.read("targets/a.json") is None
    state.update("targets/a.json", lambda body: b"one" if body is None else b"")
    state.update("targets/a.json", lambda body: (body or b"") + b" two")
    assert state.read("targets/a.json") == b"one two"
    assert state.where() == str(tmp_path / "new" / "state")


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    state = DirectoryState(tmp_path)
    state.update("a.json", lambda _: b"before")

    def fail(_: bytes | None) -> bytes:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        state.update("a.json", fail)
    assert state.read("a.json") == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a.json"]


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    source = str(Path(module.__file__).parents[1])
    command = [sys.executable, "-c", COUNT, str(tmp_path), "40"]
    writers = [subprocess.Popen(command, env={"PYTHONPATH": source}) for _ in range(4)]
    assert [writer.wait(300) for writer in writers] == [0] * 4
    assert DirectoryState(tmp_path).read("counts/one.json") == b"160"
    assert [path.name for path in (tmp_path / "counts").iterdir()] == ["one.json"]


def test_a_writer_that_is_killed_leaves_the_document_whole_and_unlocked(tmp_path: Path) -> None:
    state = DirectoryState(tmp_path)
    state.update("counts/one.json", lambda _: b"7")
    code = COUNT.replace("lambda body:", "lambda body: __import__('os').kill(__import__('os').getpid(), 9) or")
    source = str(Path(module.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), "1"], env={"PYTHONPATH": source}, check=False)
    assert done.returncode == -9
    state.update("counts/one.json", lambda body: (body or b"") + b"8")
    assert state.read("counts/one.json") == b"78"


def test_a_place_that_cannot_be_used_is_told_and_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = DirectoryState(tmp_path / "file")
    with pytest.raises(CouldNotVerify, match="cannot be read: Not a directory") as raised:
        blocked.read("a.json")
    assert raised.value.looked_at == str(tmp_path / "file")
    with pytest.raises(CouldNotVerify, match="cannot be written"):
        blocked.update("a.json", lambda _: b"")
    (tmp_path / "directory.json").mkdir()
    with pytest.raises(CouldNotVerify, match="Is a directory"):
        DirectoryState(tmp_path).read("directory.json")


def test_a_directory_without_permission_is_told() -> None:
    with open_directory() as place:
        place.chmod(0o555)

        def write() -> None:
            with pytest.raises(CouldNotVerify, match="cannot be written: Permission denied"):
                DirectoryState(place / "state").update("a.json", lambda _: b"")

        as_nobody(write)
        place.chmod(0o777)
        as_nobody(lambda: DirectoryState(place / "state").update("a.json", lambda _: b""))
        assert DirectoryState(place / "state").read("a.json") == b""


@pytest.mark.parametrize("path", ["/srv/state", "/srv/with space/ünï#?%20"])
def test_the_url_of_a_directory_is_its_path(path: str) -> None:
    assert open_state(StoreSettings("state", f"file://{path}")).where() == path


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [("s3://b", "b", "m"), ("s3://b/", "b", "m"), ("s3://b/p/q", "b", "p/q/m"), ("s3://b/p/", "b", "p/m")],
)
def test_the_url_of_a_bucket_is_its_name_and_a_prefix(url: str, bucket: str, key: str) -> None:
    state = open_state(StoreSettings("state", url))
    assert isinstance(state, BucketState)
    assert (state._bucket, state._prefix + "m") == (bucket, key)


def test_a_document_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    DirectoryState(tmp_path).update("a.json", lambda _: json.dumps([1]).encode())
    assert len(synced) == 1
    assert synced[0].startswith(".a.json.")


def test_documents_are_listed_by_folder_and_can_be_removed(tmp_path: Path) -> None:
    state = DirectoryState(tmp_path / "state")
    assert state.names("runs") == []
    state.remove("runs/a.json")
    for name in ("runs/b.json", "runs/a.json", "e.json"):
        state.update(name, lambda _: b"{}")
    (tmp_path / "state" / "runs" / ".a.json.being-written").write_text("")
    assert state.names("runs") == ["runs/a.json", "runs/b.json"]
    state.remove("runs/a.json")
    assert state.names("runs") == ["runs/b.json"] and state.read("runs/a.json") is None
    (tmp_path / "state" / "other").write_text("no folder")
    (tmp_path / "state" / "kept" / "inside").mkdir(parents=True)
    for asked in (lambda: state.names("other"), lambda: state.remove("kept/inside")):
        with pytest.raises(CouldNotVerify) as caught:
            asked()
        assert caught.value.looked_at == str(tmp_path / "state")
