"""zip around a single file (APPNOTE.TXT 6.3.10; :mod:`restore_drill.zips`): what is in it is peeled further.

Its directory stands at its end: the whole stream is put on disk first. An archive of several files is a tree, not a
layer: it is unpacked as one where the engine takes trees, and refused where it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from restore_drill.codecs.base import StagedCodec
from restore_drill.disk import Staged
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.zips.ending import END, MEMBER
from restore_drill.zips.reader import ZipReader

#: Directories that may accompany the one file.
_MOST_MEMBERS = 10_000
#: The pipeline bounds the expansion of a codec.
_ANY_RATIO = 1 << 40


class ZipCodec(StagedCodec):
    """One file in a zip archive: its CRC-32 and sizes, and that the directory agrees, are verified."""

    name = "zip"
    suffixes = (".zip",)
    holds_files = True
    _method = -1

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the first member's mark, or that of the end where there is no member."""
        return head.startswith((MEMBER, END))

    @classmethod
    def holds_one(cls, whole: Staged) -> bool:
        """Whether it is an archive of a single regular file, directories apart."""
        others = (entry for entry in ZipReader(whole).entries() if not entry.is_directory)
        first = next(others, None)
        return first is not None and first.is_file and next(others, None) is None

    def read(self, whole: Staged) -> Iterator[bytes]:
        """Unpack the one file; see :meth:`Codec.decode`."""
        reader = ZipReader(whole)
        _refuse_many(reader)
        for entry, content in reader.members(_MOST_MEMBERS, _ANY_RATIO):
            if entry.is_directory:
                for _ in content:
                    pass
                continue
            self._method = entry.method
            yield from content

    def facts(self) -> dict[str, Any]:
        """Bytes that were staged, and the method by which the file is compressed."""
        return {**super().facts(), "method": self._method}


def _refuse_many(reader: ZipReader) -> None:
    files = others = 0
    for entry in reader.entries():
        files += entry.is_file
        others += not (entry.is_file or entry.is_directory)
        _refuse_climbing(entry.name)
    if files == 1 and not others:
        return
    plural = "" if files == 1 else "s"
    links = f" and {others} of another kind" if others else ""
    raise BackupFailed(
        f"the zip archive holds {files} file{plural}{links}, and what is to be restored is one file",
        remedy="Let the backup job put one file into each archive, or restore it with an engine that takes trees.",
        stage=Stage.UNPACK,
    )


def _refuse_climbing(name: bytes) -> None:
    """The name is not used here; but whoever unpacks this by hand would follow it."""
    if name.startswith((b"/", b"\\")) or b".." in name.replace(b"\\", b"/").split(b"/"):
        raise BackupFailed(
            "a member's name is absolute or climbs out with '..'",
            remedy="Do not unpack this archive by hand; find out what wrote it.",
            stage=Stage.UNPACK,
        )
