"""What is sent into a container: readable by all, owned by root, links as links; and what is opened where it lies."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from restore_drill.sandboxes.containers import archives


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "deep").mkdir(parents=True, mode=0o700)
    (root / "deep" / "file").write_bytes(b"x" * 700)
    (root / "deep" / "file").chmod(0o600)
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o700)
    (root / os.fsdecode(b"odd \xe4")).write_text("y")
    (root / ("long" * 60)).write_text("z")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    return root


def test_tree_is_sent_whole(tree: Path) -> None:
    sent = b"".join(archives.tree(tree, "drill/work/tree"))
    with tarfile.open(fileobj=io.BytesIO(sent), errors="surrogateescape") as archive:
        found = {entry.name: entry for entry in archive}
        assert {name.removeprefix("drill/work/tree").lstrip("/") for name in found} == {
            "", "deep", "deep/file", "run", os.fsdecode(b"odd \xe4"), "long" * 60, "link",
        }  # fmt: skip
        content = archive.extractfile("drill/work/tree/deep/file")
        assert content is not None and content.read() == b"x" * 700
    modes = {Path(name).name: entry.mode for name, entry in found.items()}
    assert (modes["file"], modes["run"], modes["deep"]) == (0o444, 0o555, 0o755)
    assert {(entry.uid, entry.gid) for entry in found.values()} == {(0, 0)}
    assert found["drill/work/tree/link"].linkname == "/etc/passwd"


def test_one_file_is_sent(tree: Path) -> None:
    sent = b"".join(archives.tree(tree / "run", "drill/work/run"))
    with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
        assert archive.getnames() == ["drill/work/run"]


def test_file_that_shrinks_is_no_shorter_one(tree: Path) -> None:
    sending = archives.tree(tree / "deep" / "file", "f")
    next(sending)
    os.truncate(tree / "deep" / "file", 10)
    with pytest.raises(OSError, match="became shorter"):
        list(sending)


def test_modes_are_opened_and_links_left_alone(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    outside.chmod(0o600)
    (tree / "out").symlink_to(outside)
    (tree / "deep" / "file").chmod(0)
    (tree / "deep").chmod(0)
    archives.open_to_all(tree)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tree, tree / "deep", tree / "deep" / "file")}
    assert modes == {"tree": 0o755, "deep": 0o755, "file": 0o444}
    assert (tree / "run").stat().st_mode & 0o777 == 0o755
    assert outside.stat().st_mode & 0o777 == 0o600


def test_first_file_of_an_engines_answer() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("passwd", "shadow"):
            entry = tarfile.TarInfo(name)
            entry.size = 5
            archive.addfile(entry, io.BytesIO(name[:5].encode()))
    sent = stream.getvalue()
    assert archives.first_file([sent[:100], sent[100:]], 1 << 10) == b"passw"
    assert archives.first_file([b"no archive" * 100], 1 << 10) == b""
