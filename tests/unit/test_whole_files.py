"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from restore_drill.whole_files import write_whole


def test_a_file_replaces_another_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "it"
    (tmp_path / f".it.{os.getpid()}").write_text("left by a process that was killed")
    for content, mode in ((b"one", 0o644), (b"two", 0o600)):
        write_whole(path, content, mode)
        assert path.read_bytes() == content and path.stat().st_mode & 0o777 == mode
    assert [each.name for each in tmp_path.iterdir()] == ["it"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "it"
    write_whole(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, b"new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["it"]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
