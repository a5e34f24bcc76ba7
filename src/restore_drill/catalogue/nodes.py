"""A file of the catalogue as a tree that knows where everything stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from restore_drill.catalogue.problems import Place

#: What YAML 1.1 takes for the end of a line; the parser counts by it.
LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a file may be at most.

    Attributes:
        size: Bytes.
        nodes: Keys and values, with every alias written out.
        depth: Collections inside one another.
    """

    size: int = 10 * 2**20
    nodes: int = 200_000
    depth: int = 40


DEFAULT_BOUNDS = Bounds()


@dataclass(slots=True)
class Node:
    """A value and where it stands.

    Attributes:
        line: Counted from 0.
        column: Counted from 0.
        value: Plain data: ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool``, ``None``, ``date``.
        text: A scalar as it is written, without quotes.
        plain: Whether it is a scalar without quotes.
        children: The nodes of a mapping by key, of a list by index.
        keys: The nodes of a mapping's keys.
        size: How many nodes it stands for, aliases written out.
        doubtful: A problem has been noted: nothing more needs to be said of its type.
    """

    line: int
    column: int
    value: Any = None
    text: str = ""
    plain: bool = False
    children: dict[str | int, Node] | None = None
    keys: dict[str | int, Node] = field(default_factory=dict)
    size: int = 1
    doubtful: bool = False


@dataclass
class Document:
    """One file of a catalogue.

    Attributes:
        file: Its name in messages.
        data: Its bytes.
        root: Its content; ``None`` when it could not be read.
    """

    file: str
    data: bytes = b""
    text: str = ""
    root: Node | None = None

    @cached_property
    def lines(self) -> list[str]:
        """Its lines as the parser counts them."""
        return LINE_END.split(self.text)

    def place(self, line: int, column: int) -> Place:
        """A place in it, from 0-based line and column; what lies behind the end has the place of the end."""
        if line >= len(self.lines):
            line = len(self.lines) - 1
            column = len(self.lines[line])
        return Place(self.file, line + 1, column + 1, self.lines[line])

    def place_of(self, node: Node) -> Place:
        """Where a node stands."""
        return self.place(node.line, node.column)


class Stop(Exception):
    """Nothing more can be read of a file; the reason has been noted."""
