"""A framework and its requirements, as the files beside this one state them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from restore_drill.cases import CASES

#: Evidence that every drill of a copy may hold beside its cases.
OF_A_DRILL = ("isolation", "disposal")
#: Evidence that the records as a whole are: of runs, and of a period.
OF_THE_RECORDS = ("report", "ledger", "population", "sign-off")
#: Whatever ``supports`` may name.
KINDS = (*CASES, *OF_A_DRILL, *OF_THE_RECORDS)
#: How a framework's text was read.
READ = ("primary", "secondary")
#: Whether a cadence is asked of every target, or of a sample of them.
OF = ("each", "sample")


@dataclass(frozen=True, slots=True)
class Support:
    """What of our records speaks to a requirement, and how.

    Attributes:
        evidence: The short name of a case, or a kind of :data:`OF_A_DRILL` or :data:`OF_THE_RECORDS`.
        how: One sentence.
    """

    evidence: str
    how: str

    @property
    def is_of_copies(self) -> bool:
        """Whether each drill of a copy has it or has not; else it is a property of the records as a whole."""
        return self.evidence not in OF_THE_RECORDS


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often a test is asked for, where the framework says so.

    Attributes:
        words: As the framework states it.
        days: The longest interval that it allows.
        of: ``each`` target, or a ``sample`` of them.
    """

    words: str
    days: int
    of: str = "each"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement, in our own words.

    Attributes:
        asks: What it asks for.
        tested_by: What must have come to a verdict in a drill for the test that it asks for to have been made.
        asks_also: What it asks for beside, and no record of ours shows.
        oscal: Its id in NIST's own OSCAL catalogue, where it has one.
    """

    id: str
    title: str
    asks: str
    supports: tuple[Support, ...]
    tested_by: tuple[str, ...] = ()
    cadence: Cadence | None = None
    asks_also: tuple[str, ...] = ()
    oscal: str = ""

    @property
    def of_copies(self) -> frozenset[str]:
        """The evidence that is looked for in each drill."""
        return frozenset(each.evidence for each in self.supports if each.is_of_copies)

    @property
    def speaks_of_copies(self) -> bool:
        """Whether it asks something of every copy. That an exception is current says nothing of the others."""
        return bool(self.of_copies - {"exceptions"})


@dataclass(frozen=True, slots=True)
class Framework:
    """One framework.

    Attributes:
        source: Where its text is published.
        read: ``primary``: from the original text; ``secondary``: from what others write about it.
        note: What a reader must know of this file; why nothing is mapped where nothing is.
    """

    id: str
    title: str
    version: str
    source: str
    read: str
    requirements: tuple[Requirement, ...] = ()
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """What reports show of it."""
        return {
            "framework": self.id,
            "framework_title": self.title,
            "version": self.version,
            "source": self.source,
            "read": self.read,
        }
