"""7z around a single file (:mod:`restore_drill.sevenzips`): what is in it is peeled further.

Its header stands at its end: the whole stream is put on disk first. An archive of several files is a tree, not a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from restore_drill.codecs.base import StagedCodec
from restore_drill.disk import Staged
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.sevenzips.header import MAGIC, File
from restore_drill.sevenzips.reader import SevenZipReader

#: Directories that may accompany the one file.
_MOST_MEMBERS = 10_000
#: The pipeline bounds the expansion of a codec.
_ANY_RATIO = 1 << 40


class SevenZipCodec(StagedCodec):
    """One file in a 7z archive: the CRC-32 of header and content, where it has one, is verified."""

    name = "7z"
    suffixes = (".7z",)
    holds_files = True
    #: The format lets a content go without its CRC-32; :meth:`facts` say of the one that was read.
    self_checking = False
    _checked = False
    _methods: tuple[str, ...] = ()

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the six magic bytes."""
        return head.startswith(MAGIC)

    @classmethod
    def holds_one(cls, whole: Staged) -> bool:
        """Whether it is an archive of a single regular file, directories apart."""
        others = _others(SevenZipReader(whole, _MOST_MEMBERS))
        return len(others) == 1 and others[0].is_file

    def read(self, whole: Staged) -> Iterator[bytes]:
        """Unpack the one file; see :meth:`Codec.decode`."""
        reader = SevenZipReader(whole, _MOST_MEMBERS)
        if reader.count <= _MOST_MEMBERS:  # else it refuses itself
            _refuse_many(_others(reader))
        self._checked, self._methods = reader.checked, tuple(reader.methods)
        for _, _, content in reader.members(_ANY_RATIO):
            yield from content

    def facts(self) -> dict[str, Any]:
        """Bytes that were staged, the methods by number, and whether the content has a CRC-32."""
        return {**super().facts(), "methods": list(self._methods), "self_checking": self._checked}


def _others(reader: SevenZipReader) -> list[File]:
    return [each for each in reader.files if not each.is_directory]


def _refuse_many(others: list[File]) -> None:
    regular = sum(each.is_file for each in others)
    if any(name.startswith((b"/", b"\\")) or b".." in name.replace(b"\\", b"/").split(b"/") for name in _names(others)):
        raise BackupFailed(
            "a member's name is absolute or climbs out with '..'",
            remedy="Do not unpack this archive by hand; find out what wrote it.",
            stage=Stage.UNPACK,
        )
    if regular == len(others) == 1:
        return
    plural = "" if regular == 1 else "s"
    links = f" and {len(others) - regular} of another kind" if len(others) > regular else ""
    raise BackupFailed(
        f"the 7z archive holds {regular} file{plural}{links}, and what is to be restored is one file",
        remedy="Let the backup job put one file into each archive, or restore it with an engine that takes trees.",
        stage=Stage.UNPACK,
    )


def _names(others: list[File]) -> list[bytes]:
    return [each.name for each in others]
