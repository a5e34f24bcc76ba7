"""The contents of a 7z archive in the order in which they lie, unpacked and verified as they are read."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from restore_drill.disk import Staged
from restore_drill.errors import BackupFailed
from restore_drill.sevenzips.header import (
    ENCODED,
    END,
    FILES,
    HEADER,
    MAGIC,
    MOST_FILES,
    MOST_HEADER,
    STREAMS,
    Coder,
    Cursor,
    File,
    Folder,
    bad,
    files,
    streams,
    unread,
)
from restore_drill.unpackers import (
    ERRORS,
    RATIO_FREE,
    Decompressor,
    Surplus,
    dictionary,
    exceeds,
    inflate,
    lzma1,
    refusal,
    run,
    run_to,
    too_large,
    unzstd,
)

_SIGNATURE = 32
_COPY, _LZMA1, _LZMA2, _DELTA = b"\x00", b"\x03\x01\x01", b"\x21", b"\x03"
_DEFLATE, _BZIP2, _ZSTD, _AES = b"\x04\x01\x08", b"\x04\x02\x02", b"\x04\xf7\x11\x01", b"\x06\xf1\x07\x01"
#: Filters that make programs compress better, as liblzma numbers them.
_BRANCHES = {
    b"\x03\x03\x01\x03": lzma.FILTER_X86, b"\x04": lzma.FILTER_X86,
    b"\x03\x03\x02\x05": lzma.FILTER_POWERPC, b"\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64, b"\x06": lzma.FILTER_IA64,
    b"\x03\x03\x05\x01": lzma.FILTER_ARM, b"\x07": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB, b"\x08": lzma.FILTER_ARMTHUMB,
    b"\x03\x03\x08\x05": lzma.FILTER_SPARC, b"\x09": lzma.FILTER_SPARC,
}  # fmt: skip
_NAMES = {b"\x04\x01\x09": "Deflate64", b"\x03\x04\x01": "PPMd", b"\x0a": "ARM64", b"\x0b": "RISC-V"}


class SevenZipReader:
    """One archive on disk.

    Args:
        whole: The archive.
        most: How many files are accepted.

    Raises:
        BackupFailed: Empty, truncated, followed by something else, or its header is damaged.
        CouldNotVerify: It is encrypted, or uses something that is not read here.
    """

    def __init__(self, whole: Staged, most: int) -> None:
        self._whole = whole
        self._most = most
        self._folders: list[Folder] = []
        #: How many files there are, and what they are unless that is more than accepted.
        self.count = 0
        self.files: list[File] = []
        self._open()

    def _open(self) -> None:
        data = _next_header(self._whole)
        encoded = 0
        while data and data[0] == ENCODED:
            encoded += 1
            if encoded > 2:
                raise bad("damaged: its header is compressed over and over")
            data = b"".join(self._folder(_of_header(streams(Cursor(data[1:])))))
        if data:
            self._read(Cursor(data))

    def _read(self, cursor: Cursor) -> None:
        cursor.expect(HEADER)
        while (kind := cursor.expect(STREAMS, FILES, END)) != END:
            if kind == STREAMS:
                self._folders = streams(cursor)
                continue
            self.count = cursor.count(MOST_FILES)
            if self.count > self._most:
                return
            self.files = files(cursor, self.count)
        parts = sum(len(folder.sizes) for folder in self._folders)
        if parts != sum(each.has_data for each in self.files):
            raise bad("damaged: its header speaks of more or fewer contents than files")

    @property
    def checked(self) -> bool:
        """Whether every content has a CRC-32."""
        return all(crc is not None for folder in self._folders for crc in folder.crcs)

    @property
    def methods(self) -> list[str]:
        """The methods by which the contents are compressed, as numbers in hexadecimal."""
        return sorted({coder.method.hex() for folder in self._folders for coder in folder.coders})

    def members(self, ratio: int) -> Iterator[tuple[File, int, Iterator[bytes]]]:
        """Every file with its size and content, which must be consumed before the next one is asked for.

        Args:
            ratio: Most unpacked bytes per stored byte, beyond 256 MiB.
        """
        if self.count > self._most:
            raise exceeds(f"more than {self._most} members", "limits.members")
        if sum(folder.size for folder in self._folders) > max(RATIO_FREE, ratio * self._whole.size):
            raise exceeds(f"more than {ratio} times its stored size", "limits.ratio")
        contents = self._contents()
        for each in self.files:
            if each.has_data:
                size, content = next(contents)
                yield each, size, content
            else:
                yield each, 0, iter(())
        for _ in contents:  # what is behind the last file of the last folder is looked at
            pass

    def _contents(self) -> Iterator[tuple[int, Iterator[bytes]]]:
        for folder in self._folders:
            cut = _Cut(self._unpacked(folder))
            for size, crc in zip(folder.sizes, folder.crcs, strict=True):
                yield size, cut.part(size, crc)
            cut.finish()

    def _folder(self, folder: Folder) -> Iterator[bytes]:
        cut = _Cut(self._unpacked(folder))
        yield from cut.part(folder.size, folder.crc)
        cut.finish()

    def _unpacked(self, folder: Folder) -> Iterator[bytes]:
        if folder.start + folder.packed > self._whole.size:
            raise bad("damaged: its header speaks of data beyond its end")
        packed = self._whole.pieces(folder.start, folder.start + folder.packed)
        try:
            yield from _decoded(folder, packed)
            if next(packed, b""):
                raise Surplus
        except ERRORS as problem:
            raise refusal(problem, _damaged) from problem
        except MemoryError as problem:
            raise too_large() from problem


def _of_header(folders: list[Folder]) -> Folder:
    if len(folders) != 1 or folders[0].crc is None:
        raise bad("damaged: its header is compressed in no known way")
    if folders[0].size > MOST_HEADER:
        raise unread(f"has a header of more than {MOST_HEADER >> 20} MiB")
    return folders[0]


def _damaged(how: str) -> BackupFailed:
    return bad(f"damaged: a content {how}")


class _Cut:
    """Divides a stream into the files that it holds."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def part(self, size: int, crc: int | None) -> Iterator[bytes]:
        """The next so many bytes, whose CRC-32 is judged at their end."""
        found = 0
        while size:
            piece = self._rest or next(self._pieces, b"")
            if not piece:
                raise _damaged("ends before its size")
            piece, self._rest = piece[:size], piece[size:]
            size -= len(piece)
            found = zlib.crc32(piece, found)
            yield piece
        if crc is not None and found != crc:
            raise _damaged("has another CRC-32 than its header says")

    def finish(self) -> None:
        """Nothing may be left."""
        if self._rest or next(self._pieces, b""):
            raise _damaged("goes on behind its size")


def _next_header(whole: Staged) -> bytes:
    start = whole.read(0, _SIGNATURE)
    if not start:
        raise bad("empty: not one byte", "Look for the job that should have written it.")
    if not (start.startswith(MAGIC) or MAGIC.startswith(start)):
        raise bad("damaged: it does not begin as this format does")
    if len(start) < _SIGNATURE:
        raise bad("truncated: it ends inside its first 32 bytes")
    if start[6]:
        raise unread(f"is of version {start[6]}")
    if zlib.crc32(start[12:]) != int.from_bytes(start[8:12], "little"):
        raise bad("damaged: the CRC-32 of its first 32 bytes does not fit")
    at, size, crc = (int.from_bytes(start[a:b], "little") for a, b in ((12, 20), (20, 28), (28, 32)))
    end = _SIGNATURE + at + size
    if end > whole.size:
        raise bad(
            f"truncated: {end - whole.size} bytes are missing at its end",
            "Compare its size with the original; if it is the first of several volumes, join them: cat NAME.7z.0*.",
        )
    if end < whole.size:
        raise bad(
            f"followed by trailing bytes: from byte {end} on, behind its end, stands something else",
            "Find out what was appended to it; most tools would ignore that part.",
        )
    if size > MOST_HEADER:
        raise unread(f"has a header of more than {MOST_HEADER >> 20} MiB")
    data = whole.read(_SIGNATURE + at, size)
    if zlib.crc32(data) != crc:
        raise bad("damaged: the CRC-32 of its header does not fit")
    return data


def _decoded(folder: Folder, packed: Iterator[bytes]) -> Iterator[bytes]:
    """Undo the methods: those of liblzma together, any other one alone."""
    methods = [coder.method for coder in folder.coders]
    if _AES in methods:
        raise unread("is encrypted with a password")
    if methods[-1] in (_LZMA1, _LZMA2):
        return _of_liblzma(folder, packed)
    if len(methods) == 1 and methods[0] == _COPY:
        return packed
    decompressor = _single(methods[0]) if len(methods) == 1 else None
    if decompressor is None:
        known = _NAMES.get(methods[-1], "+".join(method.hex() for method in methods))
        raise unread(f"is compressed by another method ({known})")
    return run(decompressor, packed)


def _single(method: bytes) -> Decompressor | None:
    if method == _DEFLATE:
        return inflate()
    if method == _BZIP2:
        return bz2.BZ2Decompressor()
    return unzstd() if method == _ZSTD else None


def _of_liblzma(folder: Folder, packed: Iterator[bytes]) -> Iterator[bytes]:
    *filters, last = folder.coders
    chain = [_filter(coder) for coder in filters]
    if last.method == _LZMA2:
        chain.append({"id": lzma.FILTER_LZMA2, "dict_size": _dictionary2(last, folder.size)})
        return run(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), packed)
    if any(coder.method in _BRANCHES for coder in filters):
        # Without an end mark liblzma keeps back the last bytes of what such a filter has.
        raise unread("is compressed by another method (LZMA with a filter for programs)")
    chain.append(lzma1(last.properties, folder.size))
    return run_to(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), packed, folder.size)


def _dictionary2(coder: Coder, size: int) -> int:
    if len(coder.properties) != 1 or coder.properties[0] > 40:
        raise EOFError("its properties are damaged")
    bits = coder.properties[0]
    stated = 0xFFFFFFFF if bits == 40 else (2 | bits & 1) << bits // 2 + 11
    return dictionary(stated, size)


def _filter(coder: Coder) -> dict[str, Any]:
    if coder.method == _DELTA and len(coder.properties) == 1:
        return {"id": lzma.FILTER_DELTA, "dist": coder.properties[0] + 1}
    if coder.method in _BRANCHES and not coder.properties:
        return {"id": _BRANCHES[coder.method]}
    raise unread(f"is compressed by another method ({_NAMES.get(coder.method, coder.method.hex())})")
