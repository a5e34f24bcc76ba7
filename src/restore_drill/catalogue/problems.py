"""What is wrong with a catalogue: every problem with its place, its line, a caret and a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from restore_drill.errors import RestoreDrillError
from restore_drill.printable import shorten as shorten
from restore_drill.secrets import redact

#: Columns of a source line that are shown at most.
_WIDTH = 110
#: How many known names a hint lists when none is near.
_LISTED = 14
#: A key whose value may be a secret, with a value that is not a reference to one.
_SECRETISH = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase)?|pwd|secret|token|credential|identity|private|signature|\bkey|_key|apikey)"
    r"[\w-]*[\"']?\s*:\s*(?!\s*(?:[\"']?(?:env|file|sops):|[\[{#]|$))"
)


class Place(NamedTuple):
    """Where something stands in a file; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1
    source_line: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: The file as the caller named it, or as its include found it.
        line: Counted from 1.
        column: Counted from 1, in characters.
        message: What is wrong, in one sentence.
        hint: How to mend it, or ``""``.
        source_line: The line itself; ``""`` where it may hold a secret.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    source_line: str = ""

    def __str__(self) -> str:
        """``file:line:column: message``, the line with a caret under the place, and the hint."""
        lines = [f"{self.file}:{self.line}:{self.column}: {self.message}"]
        if self.source_line.strip():
            shown, caret = _window(self.source_line, self.column - 1)
            lines += [f"    {shown}", f"    {' ' * caret}^"]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class CatalogueInvalid(RestoreDrillError):
    """The catalogue cannot be used.

    Args:
        problems: Everything that is wrong, sorted by place.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(f"the catalogue has {count} problem{'s' if count != 1 else ''}")
        self.args = (self.problems,)

    def __str__(self) -> str:
        """Every problem, and how many there are."""
        return "\n".join([*map(str, self.problems), f"{self.cause}."])


class Problems:
    """Collects problems; one sentence about one place is kept once."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self._secret: set[tuple[str, int]] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, place: Place, message: str, hint: str = "", *, secret: bool = False) -> None:
        """Note a problem.

        Args:
            place: Where it stands.
            message: What is wrong.
            hint: How to mend it.
            secret: The line holds something that must not be repeated, by no other problem either.
        """
        if secret:
            self._secret.add((place.file, place.line))
        problem = Problem(place.file, place.line, place.column, redact(message), redact(hint), place.source_line)
        self._found.setdefault(problem)

    def sorted(self, files: Iterable[str]) -> tuple[Problem, ...]:
        """All of them, file by file in the given order, then by place."""
        order = {file: index for index, file in enumerate(files)}
        found = (replace(problem, source_line=self._showable(problem)) for problem in self._found)
        return tuple(
            sorted(found, key=lambda each: (order.get(each.file, len(order)), each.line, each.column, each.message))
        )

    def _showable(self, problem: Problem) -> str:
        line = problem.source_line
        hidden = (problem.file, problem.line) in self._secret or redact(line) != line or _SECRETISH.search(line)
        return "" if hidden else line


def suggest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or what there is when nothing is near."""
    names = list(dict.fromkeys(known))
    folded = {each.lower(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.lower(), folded, 1, 0.6)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    listed = ", ".join(names[:_LISTED])
    return f"known: {listed}{', …' if len(names) > _LISTED else ''}" if names else ""


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a line around a column, every character one column wide, and where the caret goes."""
    shown = "".join(char if char.isprintable() else " " for char in line)
    start = max(0, min(column - _WIDTH // 2, len(shown) - _WIDTH))
    part = shown[start : start + _WIDTH].rstrip()
    caret = column - start
    if start:
        part, caret = f"…{part}", caret + 1
    return part + ("…" if start + _WIDTH < len(shown.rstrip()) else ""), caret
