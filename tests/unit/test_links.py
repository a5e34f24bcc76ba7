from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from restore_drill.links import resolve


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    tree = tmp_path / "tree"
    (tree / "d" / "e").mkdir(parents=True)
    (tree / "d" / "e" / "f").write_bytes(b"1")
    for name, target in {
        "here": "d/e", "chain": "here", "up": "d/e/..", "d/back": "..", "out": "..", "through": "d/back/..",
        "far": "/etc", "dangling": "nowhere/at/all", "loop": "loop", "ping": "pong", "pong": "ping", "past": "d/e/f/x",
    }.items():  # fmt: skip
        (tree / name).symlink_to(target)
    descriptor = os.open(tree, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        (b"d/e/f", b"d/e/f"), (b"./d//e/", b"d/e"), (b"here/f", b"d/e/f"), (b"chain/f", b"d/e/f"), (b"up", b"d"),
        (b"d/back", b""), (b"d/back/here/../back/chain", b"d/e"), (b"dangling", None), (b"loop", None),
        (b"ping/x", None), (b"past", None), (b"nothing", None),
    ],
)  # fmt: skip
def test_paths_that_stay_inside(root: int, path: bytes, real: bytes | None) -> None:
    assert resolve(root, path) == real


@pytest.mark.parametrize("path", [b"..", b"d/../..", b"out", b"through", b"far", b"far/passwd", b"d/back/out"])
def test_paths_that_leave(root: int, path: bytes) -> None:
    with pytest.raises(ValueError, match=r"climbs above the root|absolute"):
        resolve(root, path)
