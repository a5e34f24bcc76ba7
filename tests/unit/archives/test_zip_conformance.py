from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.support import zip_builder

from restore_drill.archives.members import Type
from restore_drill.archives.zip import ZipArchive
from restore_drill.testing.archive import ArchiveConformance, Entry


class TestZip(ArchiveConformance):
    archive = ZipArchive
    types = frozenset(Type) - {Type.HARDLINK}

    def build(self, entries: Sequence[Entry]) -> bytes:
        return zip_builder.of_entries(entries)

    def guarded(self, data: bytes) -> Iterable[range]:
        # Everything up to the directory, in which modes and times stand that nothing protects, and the end.
        return [range(int.from_bytes(data[-6:-2], "little")), range(len(data) - 22, len(data))]
