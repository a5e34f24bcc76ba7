"""Globs over the paths of a tree, compiled once and tried together on each path.

``*`` and ``?`` match within one component (dots at its beginning included), ``[abc]``, ``[a-z]`` and ``[!a]`` one
character of it, ``**`` as a whole component any number of components, none included; at the end it matches everything
below. A trailing slash asks for a directory. Case matters. A leading ``/`` or ``./`` means the root of the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CLASS = re.compile(r"\[(?P<not>[!^]?)(?P<set>\]?[^\]]*)\]")


class GlobError(ValueError):
    """A glob that means nothing, or not what it seems to."""


class Globs:
    """Several globs.

    Args:
        patterns: As the catalogue has them.

    Raises:
        GlobError: One of them cannot be used.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        self._compiled = [(pattern, pattern.endswith("/"), compile_glob(pattern)) for pattern in self.patterns]
        # One expression for all of them, as most paths match none.
        self._any = re.compile("|".join(f"(?:{one.pattern})" for _, _, one in self._compiled), re.DOTALL).fullmatch

    def matches(self, path: str, *, is_directory: bool) -> Sequence[str]:
        """Those of the globs that match a path (relative to the root, without a leading slash)."""
        if not self._compiled or not self._any(path):
            return ()
        return [
            pattern
            for pattern, wants_directory, compiled in self._compiled
            if (is_directory or not wants_directory) and compiled.fullmatch(path)
        ]


def compile_glob(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob, to be matched against a whole path.

    Raises:
        GlobError: It is empty, climbs with ``..``, holds a reversed range, or ``**`` is not a component of its own.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise GlobError(f"the glob {pattern!r} names nothing inside the tree")
    expressions: list[str] = []
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            expressions.append(".+" if last else "(?:[^/]+/)*")
        elif "**" in part:
            raise GlobError(f"in the glob {pattern!r} write ** between slashes: **/*.tmp, not **.tmp")
        else:
            expressions.append(_component(part) + ("" if last else "/"))
    try:
        return re.compile("".join(expressions), re.DOTALL)
    except re.error as problem:
        raise GlobError(f"the glob {pattern!r} has a range that cannot be read") from problem


def _component(part: str) -> str:
    if part == "*":
        return "[^/]+"
    out, at = "", 0
    while at < len(part):
        char = part[at]
        match = _CLASS.match(part, at) if char == "[" else None
        if match and match["set"]:
            out += f"(?!/)[{'^' if match['not'] else ''}{_set(match['set'])}]"
            at = match.end()
            continue
        out += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
        at += 1
    return out


def _set(text: str) -> str:
    """The inside of a class: ranges keep their hyphen, everything else is literal."""
    out = ""
    for position, char in enumerate(text):
        is_range = char == "-" and 0 < position < len(text) - 1
        out += "-" if is_range else re.escape(char) if char != "-" else r"\-"
    return out
