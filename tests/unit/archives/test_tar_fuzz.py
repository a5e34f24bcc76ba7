"""Headers changed at random and signed again: whatever they say, nothing but the tree is ever written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.support.calls import DirectCall
from tests.support.tar_builder import archive, build, header_offsets, member, pax, sign

from restore_drill.archives.unpack import unpack_tree
from restore_drill.errors import RestoreDrillError
from restore_drill.model import Stage
from restore_drill.testing.archive import tree_of_everything

_PIECES = (
    b"../",
    b"/",
    b"..",
    b"\0",
    b"\\..\\",
    b"\xff",
    b"7777777",
    b"-1",
    b" ",
    b"g",
    b"x",
    b"L",
    b"K",
    b"S",
    b"D",
    b"\x80",
)
_FIELDS = (0, 100, 108, 116, 124, 136, 156, 157, 257, 329, 345, 386, 482, 483)


def mutated(data: bytes, source: random.Random) -> bytes:
    changed = bytearray(data)
    for at in source.sample(header_offsets(data), 2):
        block = bytearray(changed[at : at + 512])
        for _ in range(source.randint(1, 3)):
            start = source.choice(_FIELDS) + source.randint(0, 3)
            piece = source.choice(_PIECES) if source.random() < 0.7 else source.randbytes(source.randint(1, 12))
            block[start : start + len(piece)] = piece
        changed[at : at + 512] = sign(bytes(block[:512].ljust(512, b"\0")))
    return bytes(changed)


@pytest.mark.parametrize("seed", range(8))
def test_signed_nonsense_never_reaches_outside(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    extended = pax({b"path": b"d/x", b"size": b"3", b"GNU.sparse.map": b"0,1", b"GNU.sparse.size": b"9"})
    originals = (build(tree_of_everything()), archive(extended, member(b"a", b"1"), member(b"b", b"2")))
    (tmp_path / "work").mkdir()
    (tmp_path / "sentinel").write_bytes(b"sentinel")
    outcomes = set()
    for number in range(60):
        call = DirectCall(tmp_path / "work", [mutated(originals[number % 2], source)])
        try:
            unpack_tree(call, archive="tar", root=str(number), limits={"bytes": 1 << 20}, digest=True)
            outcomes.add("taken")
        except RestoreDrillError as problem:
            outcomes.add(str(problem.stage))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["sentinel", "work"]
        assert len(list((tmp_path / "work").iterdir())) == number + 1
    assert (tmp_path / "sentinel").read_bytes() == b"sentinel" and (tmp_path / "sentinel").stat().st_nlink == 1
    assert outcomes == {"taken", Stage.UNPACK}
