from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from restore_drill.archives.digest import DigestBook, TreeDigest, escape, file_line, unescape
from restore_drill.archives.members import Member, TreeLimits, Type
from restore_drill.archives.spool import SortedSpool
from restore_drill.errors import BackupFailed


def digest_of(*lines: bytes) -> str:
    return hashlib.sha256(b"".join(line + b"\n" for line in (b"restore-drill tree 1", *lines))).hexdigest()


def tree_digest(tmp_path: Path, *members: tuple[Member, bytes]) -> dict[str, object]:
    tree = TreeDigest(TreeLimits(special_files=True), str(tmp_path))
    for member, data in members:
        tree.add(member._replace(size=len(data), stored=len(data)), (data,))
    facts = tree.finish()
    tree.close()
    return facts


def file(name: str, data: bytes = b"") -> tuple[Member, bytes]:
    return Member(name.encode(), Type.FILE), data


def other(name: str, kind: Type, target: str = "") -> tuple[Member, bytes]:
    return Member(name.encode(), kind, target=target.encode()), b""


def test_the_digest_is_what_its_definition_says(tmp_path: Path) -> None:
    sha = {text: hashlib.sha256(text).hexdigest().encode() for text in (b"1", b"22")}
    facts = tree_digest(
        tmp_path, file("b/x\ty", b"1"), other("a\\n", Type.SYMLINK, "t\nu"), other("h", Type.HARDLINK, "b/x\ty"),
        file("a", b"22"), other("p", Type.FIFO), other("s", Type.SOCKET), other("./", Type.DIRECTORY),
    )  # fmt: skip
    assert facts["digest"] == digest_of(
        b"a\tf\t2\t" + sha[b"22"],
        b"a\\\\n\tl\tt\\nu",
        b"b\td",
        b"b/x\\ty\tf\t1\t" + sha[b"1"],
        b"h\tf\t1\t" + sha[b"1"],
        b"p\tp",
    )
    assert (facts["files"], facts["directories"], facts["links"], facts["hard_links"], facts["bytes"]) == (
        3,
        1,
        1,
        1,
        4,
    )


def test_order_times_modes_and_implied_directories_have_no_part_in_it(tmp_path: Path) -> None:
    members = [file("d/e/f", b"1"), file("d/g", b"2"), other("d", Type.DIRECTORY), other("d/e", Type.DIRECTORY)]
    expected = tree_digest(tmp_path, *members)["digest"]
    changed = [(member._replace(mode=0o700, mtime=7, uid=9), data) for member, data in reversed(members)]
    assert tree_digest(tmp_path, *changed)["digest"] == expected
    assert tree_digest(tmp_path, *members[:2])["digest"] == expected


@pytest.mark.parametrize(
    "change",
    [
        [file("d/f", b"2")], [file("d/g", b"1")], [file("d/f", b"1"), file("x")], [other("d/f", Type.SYMLINK, "1")],
        [file("d/f", b"1"), other("e", Type.DIRECTORY)],
    ],
)  # fmt: skip
def test_every_difference_shows(tmp_path: Path, change: list[tuple[Member, bytes]]) -> None:
    assert tree_digest(tmp_path, *change)["digest"] != tree_digest(tmp_path, file("d/f", b"1"))["digest"]


def test_links_to_links_are_resolved(tmp_path: Path) -> None:
    linked = tree_digest(tmp_path, file("z", b"1"), *(other(b, Type.HARDLINK, a) for a, b in ("zy", "yx", "xa")))
    copied = tree_digest(tmp_path, *(file(name, b"1") for name in "axyz"))
    assert linked["digest"] == copied["digest"]
    assert (linked["files"], linked["hard_links"], copied["hard_links"]) == (4, 3, 0)


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        ([file("a", b"1"), file("./a", b"1")], "same path"),
        ([file("a", b"1"), file("a/b", b"1")], "same path"),
        ([file("a", b"1"), other("a", Type.DIRECTORY)], "same path"),
        ([file("a", b"1"), other("a", Type.HARDLINK, "a")], "same path"),
        ([other("a", Type.HARDLINK, "b"), other("b", Type.HARDLINK, "a")], "did not hold before"),
    ],
)
def test_contradictions_are_refused_without_writing(
    tmp_path: Path, members: list[tuple[Member, bytes]], cause: str
) -> None:
    with pytest.raises(BackupFailed, match=cause):
        tree_digest(tmp_path, *members)


def test_names_survive_their_escaping() -> None:
    for name in (b"plain", b"\\", b"\\t", b"a\tb\nc\\d", b"\\\n\t\\\\", b"\xff\x01"):
        assert unescape(escape(name)) == name and not {b"\t", b"\n"} & {escape(name)[at : at + 1] for at in range(20)}


def test_a_spool_sorts_more_than_fits_into_memory(tmp_path: Path) -> None:
    source = random.Random(1)
    lines = [b"%020d" % source.randrange(10**20) for _ in range(20_000)]
    spool = SortedSpool(str(tmp_path), in_memory=2_000)
    for line in lines:
        spool.add(line)
    assert list(spool) == sorted(lines) == list(spool)
    assert spool.count == len(lines) and list(tmp_path.iterdir()) == []
    spool.close()
    assert list(spool) == []


def test_a_book_takes_lines_made_elsewhere(tmp_path: Path) -> None:
    one, other_book = DigestBook(str(tmp_path)), DigestBook(str(tmp_path))
    for path in (b"b", b"a"):
        one.add_line(file_line(path, 1, "00"))
    for path in (b"a", b"b"):
        other_book.add_line(file_line(path, 1, "00"))
    assert one.finish() == other_book.finish()
