"""What SQLite's consistency checks report, sorted into kinds that may be published.

The raw lines name rowids, which may be somebody's customer number: they stay among the details.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from restore_drill.engines.sqlite_errors import printable

#: Lines that SQLite gives at most unless it is asked for more.
LINES_AT_MOST: Final = 100
_DETAILS_AT_MOST: Final = 200

#: Pattern of a line → rule, and what it means; ``{}`` is the object that the line names.
_KINDS: Final = tuple(
    (re.compile(pattern, re.DOTALL), rule, meaning)
    for pattern, rule, meaning in (
        (r"row .*? missing from index (.+)", "index", "rows are missing from the index {}"),
        (r"wrong # of entries in index (.+)", "index", "the index {} has a wrong number of entries"),
        (r"row .*? values differ from index (.+)", "index", "values differ between the index {} and its table"),
        (r"rowid not at end-of-record for row .*? of index (.+)", "index", "entries of the index {} have no rowid"),
        (r"non-unique entry in index (.+)", "unique", "the unique index {} holds the same key twice"),
        (r"NULL value in (.+)", "not_null", "there are NULL values in {}"),
        (r"CHECK constraint failed in (.+)", "check_constraint", "rows break a CHECK constraint of {}"),
        (r"row not in PRIMARY KEY order for (.+)", "key_order", "rows of {} are not in the order of their key"),
        (r"(?:non-)?[A-Z]+ value in (.+)", "datatype", "values in {} are not of the declared type"),
        (r"(?:Page|page) \d+(?:: | is )never used", "unused_page", "pages belong to nothing"),
        (r".*[Ff]reelist.*", "freelist", "the list of free pages is damaged"),
        (r".*(?:ptr ?map|Pointer map|pointer map).*", "pointer_map", "the pointer map is damaged"),
        (r".*(?:no such table|unable to validate).*", "virtual_table", "a virtual table's content cannot be read"),
    )
)
_B_TREE: Final = ("b_tree", "the pages of a b-tree are damaged")


@dataclass(slots=True)
class Verdicts:
    """Collects the problems that several checks find.

    Attributes:
        lines: What ``integrity_check`` and ``quick_check`` said, each line once, however many of them say it.
        others: What other checks found: (rule, meaning) → how often.
        details: What goes with those.
        capped: At least one check stopped at the number of problems it reports at most.
        checked: Names of the checks that came to an end.
        notes: What could not be checked although nothing says that it is damaged.
    """

    lines: dict[str, None] = field(default_factory=dict)
    others: Counter[tuple[str, str]] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    capped: bool = False
    checked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, rule: str, meaning: str, count: int = 1, detail: str = "") -> None:
        """A problem that another check than SQLite's own found."""
        self.others[rule, meaning] += count
        if detail:
            self.details.append(detail)

    def absorb(self, other: Verdicts) -> None:
        """Take over what another check found."""
        self.lines |= other.lines
        self.others += other.others
        self.details += other.details
        self.capped = self.capped or other.capped
        self.checked += other.checked
        self.notes += other.notes

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.lines and not self.others

    def as_json(self) -> dict[str, Any]:
        """The answer of ``Restored.integrity``; ``total`` is a lower bound when ``at_least`` is true."""
        counts = Counter(classify(line) for line in self.lines) + self.others
        details = [*self.lines, *self.details][:_DETAILS_AT_MOST]
        return {
            "problems": [
                {"rule": rule, "message": meaning, "count": count} for (rule, meaning), count in counts.items()
            ],
            "checked": self.checked,
            "total": sum(counts.values()),
            "at_least": self.capped,
            "notes": self.notes,
            "details": [printable(line, 1000) for line in details],
        }


def classify(line: str) -> tuple[str, str]:
    """The rule that a line of ``integrity_check`` falls under, and its meaning without the row it names."""
    for pattern, rule, meaning in _KINDS:
        if found := pattern.fullmatch(line):
            return rule, meaning.format(printable(found[1], 200)) if found.groups() else meaning
    return _B_TREE


def problem_lines(rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """The lines of an answer of ``integrity_check``; empty only for exactly one row that says ``ok``."""
    values = [row[0] for row in rows]
    if values == ["ok"]:
        return []
    lines = [line for value in values for line in str(value).splitlines()]
    found = [line for line in lines if line.strip() and not line.startswith("*** in database")]
    return found or ["integrity_check gave no answer"]
