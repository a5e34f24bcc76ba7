from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.support import tar_builder

from restore_drill.archives.tar import TarArchive
from restore_drill.testing.archive import ArchiveConformance, Entry


class TestTar(ArchiveConformance):
    archive = TarArchive

    def build(self, entries: Sequence[Entry]) -> bytes:
        return tar_builder.build(entries)

    def guarded(self, data: bytes) -> Iterable[range]:
        return [range(at, at + 512) for at in tar_builder.header_offsets(data)]

    def end(self, data: bytes) -> int:
        # A lone zero block is an end; what else is lost of the two holds nothing.
        return len(data) - 512
