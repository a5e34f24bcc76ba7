"""The members of a zip archive in the order in which they lie, unpacked and verified as they are read."""

from __future__ import annotations

import bz2
import lzma
import zlib
from array import array
from collections.abc import Iterator
from functools import partial

from restore_drill.disk import Staged
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.unpackers import (
    ERRORS,
    MEMORY,
    RATIO_FREE,
    Surplus,
    exceeds,
    inflate,
    lzma1,
    refusal,
    run,
    run_to,
    too_large,
    unzstd,
)
from restore_drill.zips.ending import bad, locate
from restore_drill.zips.entries import Entry, data_of, entries, entry_at, locked, overlapping

STORED, DEFLATED, BZIP2, LZMA, ZSTD, XZ = 0, 8, 12, 14, 93, 95
#: Names of methods that are known and not read (4.4.5).
_OTHERS = {
    1: "shrink", 2: "reduce", 3: "reduce", 4: "reduce", 5: "reduce", 6: "implode", 9: "Deflate64",
    10: "PKWARE DCL implode", 18: "IBM TERSE", 19: "IBM LZ77", 94: "MP3", 96: "JPEG", 97: "WavPack", 98: "PPMd",
    99: "AES encryption",
}  # fmt: skip
#: A member's header and its entry in the directory take at least so many bytes (30 and 46).
_LEAST = 30


class ZipReader:
    """One archive on disk.

    Args:
        whole: The archive.

    Raises:
        BackupFailed: It has no directory, or more than one end.
    """

    def __init__(self, whole: Staged) -> None:
        self._whole = whole
        self._ending = locate(whole)
        self._starts = self._places = array("Q")

    def entries(self) -> Iterator[Entry]:
        """Every entry in the order of the directory."""
        return (entry for _, entry in entries(self._whole, self._ending))

    def survey(self, most: int, ratio: int) -> list[int] | range:
        """Read the directory once and judge it as a whole; returns the order in which the members lie.

        Raises:
            BackupFailed: Members overlap, there are too many of them, or they expand too much.
        """
        self._starts, self._places = array("Q"), array("Q")
        total, ascending, reached = 0, True, 0
        for place, entry in entries(self._whole, self._ending):
            if len(self._starts) >= most:
                raise exceeds(f"more than {most} members", "limits.members")
            ascending = ascending and entry.start >= reached
            reached = entry.start + _LEAST + len(entry.name) + entry.packed
            self._starts.append(entry.start)
            self._places.append(place)
            total += entry.size
        if total > max(RATIO_FREE, ratio * self._whole.size):
            raise exceeds(f"more than {ratio} times its stored size", "limits.ratio")
        if ascending:
            return range(len(self._starts))
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        self._refuse_overlaps(order)
        return order

    def _refuse_overlaps(self, order: list[int]) -> None:
        reached = 0
        for number in order:
            entry, _ = entry_at(self._whole, self._places[number])
            if entry.start < reached:
                raise overlapping()
            reached = entry.start + _LEAST + len(entry.name) + entry.packed

    def members(self, most: int, ratio: int) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Every member and its content, which must be consumed before the next one is asked for.

        Args:
            most: How many members are accepted.
            ratio: Most unpacked bytes per stored byte, beyond 256 MiB.

        Raises:
            BackupFailed: Anything is wrong with it; that the content is whole is known at its end.
            CouldNotVerify: A member is encrypted, or compressed by a method that is not read here.
        """
        order = self.survey(most, ratio)
        first = self._starts[order[0]] if order else self._ending.start
        if first:
            raise bad("damaged: its first member does not stand at its beginning")
        for rank, number in enumerate(order):
            entry, _ = entry_at(self._whole, self._places[number])
            following = self._starts[order[rank + 1]] if rank + 1 < len(order) else self._ending.start
            start = data_of(self._whole, entry, following)
            if entry.is_encrypted:
                raise locked()
            yield entry, self._content(entry, start)

    def _content(self, entry: Entry, start: int) -> Iterator[bytes]:
        crc, size = 0, 0
        packed = self._whole.pieces(start, start + entry.packed)
        try:
            for piece in _unpacked(packed, entry):
                size += len(piece)
                if size > entry.size:
                    break
                crc = zlib.crc32(piece, crc)
                yield piece
        except ERRORS as problem:
            raise refusal(problem, partial(self._damaged, entry)) from problem
        except MemoryError as problem:
            raise too_large() from problem
        if size != entry.size:
            raise self._damaged(entry, f"unpacks to {'more' if size > entry.size else 'less'} than its size")
        if next(packed, b""):
            raise self._damaged(entry, "goes on behind the end of its data")
        if crc != entry.crc:
            raise self._damaged(entry, "has another CRC-32 than its directory says")

    def _damaged(self, entry: Entry, how: str) -> BackupFailed:
        return bad(f"damaged: the member at byte {entry.start} {how}")


def _unpacked(packed: Iterator[bytes], entry: Entry) -> Iterator[bytes]:
    method = entry.method
    if method == STORED:
        if entry.packed != entry.size:
            raise Surplus
        return packed
    if method == DEFLATED:
        return run(inflate(), packed)
    if method == BZIP2:
        return run(bz2.BZ2Decompressor(), packed)
    if method == XZ:
        return run(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY), packed)
    if method == ZSTD:
        return run(unzstd(), packed)
    if method == LZMA:
        return _lzma(packed, entry)
    name = _OTHERS.get(method, "unknown")
    raise CouldNotVerify(
        f"a member of the zip archive is compressed by method {method} ({name}), which is not read here",
        remedy="Let the backup job write deflate, bzip2, LZMA, xz or zstd; until then test it with 7zz t.",
        stage=Stage.UNPACK,
    )


def _lzma(packed: Iterator[bytes], entry: Entry) -> Iterator[bytes]:
    """LZMA (5.8.8): its properties, and an end mark only where a flag says so; else the size ends it."""
    first = next(packed, b"")
    if first[2:4] != b"\x05\0":
        raise EOFError("its properties are damaged")
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[lzma1(first[4:9], entry.size)])
    rest_of = _chained(first[9:], packed)
    return run(decompressor, rest_of) if entry.flags & 2 else run_to(decompressor, rest_of, entry.size)


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
