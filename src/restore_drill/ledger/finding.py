"""Finding a run in a ledger, and what was said of it later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from restore_drill.errors import UsageProblem
from restore_drill.ledger.base import Entry, Ledger
from restore_drill.ledger.envelope import NotAnEntry, read_entry, read_small
from restore_drill.ledger.statement import evidence_digest

#: How many runs are named when one is not found.
_NAMED = 3


@dataclass(frozen=True)
class FoundRun:
    """A run of the ledger.

    Attributes:
        entry: Its entry.
        reviews: What reviewers said of it, in order.
    """

    entry: Entry
    reviews: tuple[dict[str, Any], ...]

    @property
    def evidence_digest(self) -> str:
        """What reviews are bound to."""
        return evidence_digest(self.entry.evidence)


def find_run(ledger: Ledger, run: str) -> FoundRun:
    """A run by its id, the beginning of it, or ``latest``.

    Raises:
        UsageProblem: No run, or more than one, is called so.
        CouldNotVerify: The ledger cannot be read.
    """
    runs: dict[str, bytes] = {}
    names: list[str] = []
    reviews: list[bytes] = []
    for line in ledger.lines():
        for part in _small(line):
            name = str(part.get("run", ""))
            if part["kind"] == "review":
                reviews.append(line)
                continue
            names.append(name)
            if run == "latest":
                runs = {name: line}
            elif name.startswith(run) and run:
                runs[name] = line  # the last one: a run taken for crashed may record itself later
    if run in runs:
        runs = {run: runs[run]}
    if len(runs) != 1:
        raise _unknown(ledger, run, list(runs) or names[-_NAMED:], many=bool(runs))
    (line,) = runs.values()
    entry = read_entry(line, 0, ledger.where())
    said = (read_entry(each, 0, ledger.where()) for each in reviews)
    return FoundRun(entry, tuple(each.review for each in said if each.run == entry.run))


def _small(line: bytes) -> Iterator[dict[str, Any]]:
    """The small parts of an entry; one that is damaged is none of those that are looked for."""
    try:
        yield read_small(line)
    except NotAnEntry:
        return


def _unknown(ledger: Ledger, run: str, near: list[str], *, many: bool) -> UsageProblem:
    if many:
        return UsageProblem(
            f"several runs begin with {run!r}",
            looked_at=ledger.where(),
            remedy=f"Give more of it: {', '.join(near[:_NAMED])}.",
        )
    hint = f"The last ones are {', '.join(near)}." if near else "It has no runs."
    return UsageProblem(f"the ledger has no run {run!r}", looked_at=ledger.where(), remedy=hint)
