"""What verifying a ledger found."""

from __future__ import annotations

from dataclasses import dataclass, field

from restore_drill.ledger.entry import Head


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        sequence: The first entry that is concerned.
        what: Its name, see above.
        text: What was found, in one sentence.
    """

    sequence: int
    what: str
    text: str

    def __str__(self) -> str:
        """As it is printed."""
        return f"entry {self.sequence}: {self.what}: {self.text}"


@dataclass
class Verification:
    """What was found.

    Attributes:
        where: The ledger.
        ledger: Its id.
        first: The number of its first entry: more than 1 of an export of a period.
        entries: Entries that are there.
        signed: Entries with a signature that one of the public keys verifies.
        unsigned: Entries without a signature: nobody answers for them.
        unverified: Entries with a signature, where no public key was given to verify it by.
        runs: Runs that are recorded.
        reviews: Reviews that are recorded.
        keys: How many entries each key signed, by fingerprint.
        head: The last entry.
        problems: What is wrong, by entry.
        remarks: What is to be told and is no problem.
        more: Problems beyond those that are told.
    """

    where: str
    ledger: str = ""
    first: int = 1
    entries: int = 0
    signed: int = 0
    unsigned: int = 0
    unverified: int = 0
    runs: int = 0
    reviews: int = 0
    keys: dict[str, int] = field(default_factory=dict)
    head: Head | None = None
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    more: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it, and every signature that is there was verified."""
        return not self.problems and not self.unverified
