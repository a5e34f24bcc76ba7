"""The contract of an archive format: a byte stream that holds a file tree.

``unpack`` runs inside a sandbox process and hands its members to a :class:`~restore_drill.archives.members.Tree`: the
:class:`~restore_drill.archives.tree.TreeWriter`, which refuses every name, link and type that could reach outside, or
the :class:`~restore_drill.archives.digest.TreeDigest`, which writes nothing. Either counts members and bytes. A format
MUST

* recognise itself by the first bytes;
* notice truncation, damaged headers and anything after the end, and raise :class:`BackupFailed` (stage ``unpack``);
* write through the tree only, and consume the data of every member;
* stage what cannot be read as a stream in its ``workspace``, in a file without a name, and nowhere else.

Every format passes :class:`restore_drill.testing.archive.ArchiveConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from restore_drill.archives.members import Tree
    from restore_drill.disk import Workspace


class Archive(ABC):
    """A format that holds many files."""

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    #: Where a stream is staged that cannot be read from its first byte to its last; whoever unpacks it says so.
    workspace: Workspace | None = None

    @classmethod
    @abstractmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a stream that begins with these (at least 512) bytes is of this format."""

    @abstractmethod
    def unpack(self, chunks: Iterator[bytes], tree: Tree) -> None:
        """Write every member of the stream into the tree.

        Raises:
            BackupFailed: Truncated, damaged, hostile, or followed by something else (stage ``unpack``).
        """
