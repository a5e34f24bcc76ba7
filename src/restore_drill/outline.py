"""What a restored system consists of as text that a person reviews: one object a line, sorted, ``table: orders``.

Such a list is committed beside the catalogue (``expect.structure: {reference: FILE}``) and compared with what every
drill brings back. Names that hold what a line cannot (a line break, a backslash, spaces at the end) are escaped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from restore_drill.documents import read_document

#: Bytes that a reference may have.
MOST: Final = 16 << 20
_LINE: Final = re.compile(r"[^:#\s][^:]*: \S.*")
_FIRST: Final = (
    "# What must come back of {target}: one object a line. Review it, commit it, and name it in the catalogue:\n"
)
_SECOND: Final = "# expect: {{structure: {{reference: FILE}}}}\n"


@dataclass(frozen=True, slots=True)
class Reference:
    """A reviewed list of objects that a restored system must have.

    Attributes:
        path: The file, as the catalogue names it.
        sha256: Of its bytes.
        lines: One an object, without comments.
    """

    path: str
    sha256: str
    lines: tuple[str, ...]


def lines_of(structure: Mapping[str, Iterable[str]]) -> list[str]:
    """Names by type as sorted lines."""
    return sorted({f"{kind}: {escaped(name)}" for kind, names in structure.items() for name in names})


def escaped(name: str) -> str:
    """A name as it stands on a line of its own."""
    text = "".join(
        each if each.isprintable() and each != "\\" else each.encode("unicode_escape").decode() for each in name
    )
    bare = text.rstrip(" ")
    return bare + "\\x20" * (len(text) - len(bare))


def written(target: str, lines: Iterable[str]) -> str:
    """A whole file, as it is to be committed."""
    return _FIRST.format(target=target) + _SECOND.format() + "".join(f"{line}\n" for line in lines)


def read(path: Path, name: str) -> Reference:
    """A file that somebody reviewed; empty lines and those that begin with ``#`` mean nothing.

    Args:
        path: Where it is.
        name: What the catalogue calls it.

    Raises:
        ValueError: It cannot be read, or is no such list; the message says why.
    """
    text, data = read_document(path, f"the reference {name!r}", MOST)
    lines = []
    for number, line in enumerate(re.split("\r?\n", text), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not _LINE.fullmatch(line):
            raise ValueError(f"line {number} of the reference {name!r} is not a type, a colon and a name")
        lines.append(line.rstrip())
    if not lines:
        raise ValueError(f"the reference {name!r} lists nothing: everything would pass")
    return Reference(name, hashlib.sha256(data).hexdigest(), tuple(sorted(set(lines))))
