"""Faults of compression and archives: what is cut, damaged, empty or goes on, and what readers pass over in silence."""

from __future__ import annotations

import bz2
import gzip
from typing import Any

from tests.support.contents import files, gz, lz4, manifest, shop, tar, xz, zst
from tests.support.matrix import AGES, FaultMatrix, Make, Matrix, Row, Site, cut, flip, stored, unsigned
from tests.support.sevenzip_builder import of_entries
from tests.support.tar_builder import BLOCK, END, header_offsets
from tests.support.zip_builder import Part, build, of_tree

from restore_drill.testing.archive import entry

_TIME = "{time:%Y%m%d_%H%M%S}"
#: What shrinks on purpose is not to be stopped by its size.
_ANY_SIZE = {"predecessors": 60}


def _databases(site: Site, suffix: str, pack: Any) -> None:
    site.copy(f"{_TIME}.db{suffix}")
    site.options["size"] = _ANY_SIZE
    for age in AGES:
        site.put(age, pack(shop(site.now - age)))


def gzipped(site: Site) -> None:
    _databases(site, ".gz", gz)


def xz_compressed(site: Site) -> None:
    _databases(site, ".xz", xz)


def zstd_compressed(site: Site) -> None:
    _databases(site, ".zst", zst)


def zstd_without_checksum(site: Site) -> None:
    _databases(site, ".zst", lambda data: zst(data, checksum=False))


def bzip2_compressed(site: Site) -> None:
    _databases(site, ".bz2", bz2.compress)


def lz4_compressed(site: Site) -> None:
    _databases(site, ".lz4", lz4)


def zipped(site: Site) -> None:
    _databases(site, ".zip", lambda data: build([Part(b"shop.db", data)]))


def _volumes(site: Site, suffix: str, pack: Any) -> None:
    site.copy(f"{_TIME}.tar{suffix}")
    rules = {"manifest": "SHA256SUMS", "min": 10}
    site.options |= {"engine": "files", "size": _ANY_SIZE, "expect": {"files": rules}}
    for age in AGES:
        site.put(age, pack(_archive(site, site.now - age)))


def _tree(stamp: str) -> dict[str, bytes]:
    tree = files(stamp=stamp)
    return {**tree, "SHA256SUMS": manifest(tree)}


def _archive(site: Site, when: Any) -> bytes:
    return tar(_tree(str(when)), when)


def a_volume(site: Site) -> None:
    _volumes(site, "", bytes)


def a_compressed_volume(site: Site) -> None:
    _volumes(site, ".gz", gz)


def a_tree_in_zstd(site: Site) -> None:
    _volumes(site, ".zst", zst)


def a_volume_without_manifest(site: Site) -> None:
    a_volume(site)
    site.options["expect"] = {"files": {"min": 14}}
    for age in AGES:
        site.put(age, tar(files(stamp=str(age)), site.now - age))


def in_7z(site: Site) -> None:
    _databases(site, ".7z", lambda data: of_entries([entry("shop.db", data)]))


def a_tree_in_zip(site: Site) -> None:
    """The same name as a tar would have: what it is is told by its bytes."""
    _volumes(site, "", bytes)
    for age in AGES:
        site.put(age, of_tree(_tree(str(site.now - age)), site.now - age))


def in_zip(*more: Part) -> Make:
    """The newest archive of files holds further members."""

    def make(site: Site) -> None:
        tree = _tree(str(site.when(site.newest())))
        site.rewrite(build([*(Part(name.encode(), data) for name, data in tree.items()), *more]))
        site.sign()

    return make


def at_member(number: int, change: Any) -> Make:
    """The archive is changed where the header of this member stands."""

    def harm(data: bytes) -> bytes:
        at = header_offsets(data)[number]
        changed: bytes = change(data, at)
        return changed

    return stored(harm)


def two_archives(site: Site) -> None:
    when = site.when(site.newest())
    tree = _tree(str(when))
    names = sorted(tree)
    site.rewrite(b"".join(tar({name: tree[name] for name in part}, when) for part in (names[:7], names[7:])))
    site.sign()


def two_archives_as_agreed(site: Site) -> None:
    two_archives(site)
    site.options["limits"] = {"concatenated": True}


def two_members_of_gzip(site: Site) -> None:
    """What ``cat a.gz b.gz`` and parallel compressors write."""
    content = shop(site.when(site.newest()))
    site.rewrite(gz(content[:9000]) + gz(content[9000:]))
    site.sign()


def two_frames_of_zstd(site: Site) -> None:
    content = shop(site.when(site.newest()))
    site.rewrite(zst(content[:9000]) + zst(content[9000:]))
    site.sign()


def without_files(site: Site) -> None:
    when = site.when(site.newest())
    site.rewrite(tar({}, when, directories=("etc", "letters")))
    site.sign()


def inside_gzip(change: Any) -> Make:
    """The archive is damaged before it is compressed."""
    return stored(lambda data: gz(change(gzip.decompress(data))))


def _flip_in_a_letter(data: bytes) -> bytes:
    at = data.index(b"letter 7\n") + 3
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def inside_a_member(data: bytes) -> bytes:
    return data[: header_offsets(data)[7] + 700]


_AGAIN = "take the backup again|Compare its size"

ROWS = [
    Row(
        25, "gzip CRC", gzipped, stored(flip(-6)), "nas/unpacks", "gzip stream is .*(CRC|check)", _AGAIN,
        blocked=("nas/restores", "nas/integrity"),
    ),
    Row(25, "gzip ISIZE", gzipped, stored(flip(-2)), "nas/unpacks", "gzip stream is", _AGAIN),
    Row(25, "gzip cut", gzipped, stored(cut(500)), "nas/unpacks", "gzip stream is .*(cut|trunc|ends)", _AGAIN),
    Row(25, "gzip cut before its trailer", gzipped, stored(cut(8)), "nas/unpacks", "gzip stream is", _AGAIN),
    Row(25, "gzip data changed", gzipped, stored(flip(0.5)), "nas/unpacks", "gzip stream is", _AGAIN),
    Row(26, "truncated zstd", zstd_compressed, stored(cut(300)), "nas/unpacks", "zstd stream is", _AGAIN),
    Row(26, "zstd without its last bytes", zstd_compressed, stored(cut(3)), "nas/unpacks", "zstd stream is", _AGAIN),
    Row(
        27, "zstd frame without checksum: flip", zstd_without_checksum, unsigned(flip(0.5)), "nas/checksum",
        "recorded is", "use another copy",
    ),
    Row(
        28, "trailing garbage on xz", xz_compressed, stored(lambda data: data + b"garbage\n"), "nas/unpacks",
        "xz stream is", ".",
    ),
    Row(
        28, "trailing garbage on gzip", gzipped, stored(lambda data: data + b"garbage\n"), "nas/unpacks",
        "gzip stream is", ".",
    ),
    Row(
        28, "trailing garbage on zstd", zstd_compressed, stored(lambda data: data + b"garbage\n"), "nas/unpacks",
        "zstd stream is", ".",
    ),
    Row(28, "zero padding on gzip", gzipped, stored(lambda data: data + bytes(512))),
    Row(
        28, "trailing garbage on bzip2", bzip2_compressed, stored(lambda data: data + b"garbage\n"), "nas/unpacks",
        "bzip2 stream is followed by", "appended",
    ),
    Row(25, "lz4 cut", lz4_compressed, stored(cut(300)), "nas/unpacks", "lz4 stream is truncated", _AGAIN),
    Row(25, "zip cut", zipped, stored(cut(30)), "nas/unpacks", "zip archive is truncated", _AGAIN),
    Row(25, "zip CRC", zipped, stored(flip(0.5)), "nas/unpacks", "zip archive is damaged", _AGAIN),
    Row(25, "7z cut", in_7z, stored(cut(30)), "nas/unpacks", "7z archive is truncated", _AGAIN),
    Row(25, "7z CRC", in_7z, stored(flip(0.5)), "nas/unpacks", "7z archive is damaged", _AGAIN),
    Row(25, "zip of a tree cut", a_tree_in_zip, stored(cut(30)), "nas/unpacks", "zip archive is truncated", _AGAIN),
    Row(
        89, "zip whose members are one and the same", a_tree_in_zip,
        in_zip(Part(b"a", b"x"), Part(b"b", b"x", central={"start": 0})), "nas/unpacks", "overlap", "what made it",
    ),
    Row(
        29, "tar cut at a member boundary", a_volume, at_member(7, lambda data, at: data[:at]), "nas/unpacks", "end",
        ".",
    ),
    Row(
        29, "tar cut at a member boundary, end blocks added", a_volume, at_member(7, lambda data, at: data[:at] + END),
        "nas/files", "files of the manifest are missing|nothing|manifest", "live tree",
    ),
    Row(
        29, "tar without manifest cut likewise", a_volume_without_manifest,
        at_member(7, lambda data, at: data[:at] + END), "nas/files", "7 files, expected at least 14", "live tree",
    ),
    Row(
        29, "tar cut inside a member", a_volume, at_member(7, lambda data, at: data[: at + 700]), "nas/unpacks",
        "ends inside a member|end", ".",
    ),
    Row(
        30, "bad header mid-tar", a_volume,
        at_member(5, lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]), "nas/unpacks",
        "a header.* of the tar archive", "take the backup again",
    ),
    Row(
        30, "header of garbage mid-tar", a_volume,
        at_member(5, lambda data, at: data[:at] + b"\xa5" * BLOCK + data[at + BLOCK :]), "nas/unpacks",
        "a header.* of the tar archive", "take the backup again",
    ),
    Row(
        31, "zero blocks mid-tar", a_volume, at_member(5, lambda data, at: data[:at] + END + data[at:]), "nas/unpacks",
        "end the tar archive, but another archive or more members follow", ".",
    ),
    Row(
        31, "a zero block over a header mid-tar", a_volume,
        at_member(5, lambda data, at: data[:at] + bytes(BLOCK) + data[at + BLOCK :]), "nas/unpacks",
        "something that is no archive follows the end", ".",
    ),
    Row(32, "concatenated tar", a_volume, two_archives, "nas/unpacks", "archive|end", "concatenated"),
    Row(32, "concatenated tar where the catalogue allows it", a_volume, two_archives_as_agreed),
    Row(32, "concatenated gz", gzipped, two_members_of_gzip),
    Row(32, "concatenated zstd", zstd_compressed, two_frames_of_zstd),
    Row(
        33, "bit flip in tar data", a_volume, unsigned(_flip_in_a_letter), "nas/checksum", "recorded is",
        "use another copy",
    ),
    Row(
        33, "bit flip in tar data, digest taken afterwards", a_volume, stored(_flip_in_a_letter), "nas/files",
        "1 files differ from the manifest", "live tree",
    ),
    Row(
        33, "bit flip in tar data inside gzip", a_compressed_volume, inside_gzip(_flip_in_a_letter), "nas/files",
        "1 files differ from the manifest", "live tree",
    ),
    Row(
        33, "cut tar inside gzip", a_compressed_volume, inside_gzip(inside_a_member), "nas/unpacks",
        "ends inside a member|end", ".",
    ),
    Row(33, "flip in zstd of a tree", a_tree_in_zstd, stored(flip(0.5)), "nas/unpacks", "zstd stream is", _AGAIN),
    Row(
        35, "zero files restored with exit 0", a_volume_without_manifest, without_files, "nas/restores",
        "nothing came back: not a single file in 2 directories", ".",
    ),
    Row(
        35, "an archive without members", a_volume_without_manifest, stored(lambda data: bytes(10240)), "nas/restores",
        "nothing came back: not a single file", ".",
    ),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""


def test_evidence_records_the_versions_of_the_tools(matrix: Matrix) -> None:
    """Row 34: versions disagree about what is damaged, so that a verdict is worth little without them."""
    tools = matrix.runs["failing"].evidence["run"]["tools"]
    assert {"python", "sqlite", "isal", "backports.zstd", "pyrage", "cryptography", "restore-drill"} <= tools.keys()
    assert all(tools.values())
