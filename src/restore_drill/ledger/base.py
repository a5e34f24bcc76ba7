"""What a ledger is: entries in order, each chained to the one before it, to which more can only be appended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from restore_drill.ledger.entry import Entry, Head, Kind, Signer
from restore_drill.ledger.envelope import read_entry, read_link

__all__ = ["FOLDER", "Entry", "Head", "Kind", "Ledger", "Signer"]
#: Directory (or prefix) of the ledger in the state.
FOLDER = "ledger"


class Ledger(ABC):
    """Entries in order."""

    @abstractmethod
    def append(self, kind: Kind, content: Mapping[str, Any], signer: Signer | None = None) -> Entry:
        """Write an entry after the last one; when it returns, the entry is safe.

        Args:
            kind: ``run`` for an evidence document, ``review`` for a sign-off.
            content: The document.
            signer: Who signs it; ``None``: nobody.

        Raises:
            CouldNotVerify: The ledger cannot be read or written.
        """

    @abstractmethod
    def lines(self, first: int = 1) -> Iterator[bytes]:
        """The entries as they are stored, in order and unread, from the one at place ``first``.

        Raises:
            CouldNotVerify: The ledger cannot be read.
        """

    @abstractmethod
    def tail_lines(self, count: int) -> list[bytes]:
        """The last entries as they are stored, in order, without reading those before them."""

    @abstractmethod
    def hint(self) -> Head | None:
        """The head as an earlier append wrote it down; it may lag behind, ``None`` when there is none."""

    @abstractmethod
    def where(self) -> str:
        """The place as a person would write it."""

    def remarks(self) -> list[str]:
        """What is to be told about the place beside its entries; filled by reading :meth:`lines` to the end."""
        return []

    def entries(self, first: int = 0) -> Iterator[Entry]:
        """Entries in order from the one at place ``first``; signatures and chain are not looked at.

        Raises:
            CouldNotVerify: The ledger cannot be read, or an entry is not one.
        """
        start = max(first, 1)
        for place, line in enumerate(self.lines(start), start):
            yield read_entry(line, place, self.where())

    def tail(self, count: int) -> list[Entry]:
        """The last entries in order, without reading those before them.

        Raises:
            CouldNotVerify: The ledger cannot be read, or an entry is not one.
        """
        return [read_entry(line, 0, self.where()) for line in self.tail_lines(count)]

    def head(self) -> Head | None:
        """The last entry's number and digest, ``None`` of a ledger without entries.

        Raises:
            CouldNotVerify: The ledger cannot be read, or its last entry is not one.
        """
        last = self.tail_lines(1)
        return read_link(last[0], self.where()).head if last else None
