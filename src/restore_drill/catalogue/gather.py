"""The catalogue's files gathered into one draft: includes read, defaults merged, every part still with its place.

What an include may be: a file that a glob relative to the catalogue's directory matches, and that lies inside that
directory once symbolic links are followed (a mounted ConfigMap is made of such links). It may hold targets, tiers,
stores and exceptions. Hidden files are matched only by a pattern that says so. A file counts once.
"""

from __future__ import annotations

import glob
import os.path
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from restore_drill.catalogue.nodes import DEFAULT_BOUNDS, Bounds, Document, Node
from restore_drill.catalogue.problems import Place, Problems, suggest
from restore_drill.catalogue.source import read_file

#: A path into the catalogue: keys and indexes.
Loc = tuple[str | int, ...]

_NAMED = {"tiers": "tier", "stores": "store", "targets": "target"}
_INCLUDABLE = (*_NAMED, "exceptions")
_MAIN_ONLY = ("version", "state", "ledger", "controls", "sets", "defaults", "demo", "include", "break_glass")
_NOT_INHERITED = ("newest_record", "newest_file")
_MOST_FILES = 2000
#: Keys and values in all files together, and what the defaults may come to in all targets together.
_MOST_NODES = 1_000_000
_MOST_INHERITED = 2_000_000


class Step(NamedTuple):
    """One step on the way to a place: the key's node (``None`` for a list's member and for the whole) and the value."""

    key: Node | None
    node: Node


@dataclass(frozen=True, slots=True)
class Entry:
    """A tier, store, target or exception, and the file it stands in."""

    document: Document
    step: Step


@dataclass
class Draft:
    """A catalogue as it is written: one tree of plain data, and where each part of it stands.

    Attributes:
        path: The catalogue.
        main: Its document.
        documents: All of its files, in load order.
        raw: The whole tree; targets have the defaults merged in.
        entries: Tiers, stores, targets and exceptions by name or index.
        problems: What is wrong with it.
        complete: Whether every file that belongs to it could be read.
        references: Whether the files that ``expect.structure`` names are looked at.
    """

    path: Path
    main: Document
    problems: Problems
    documents: list[Document] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, dict[str | int, Entry]] = field(default_factory=lambda: {part: {} for part in _INCLUDABLE})
    complete: bool = True
    references: bool = True

    @property
    def readable(self) -> bool:
        """Whether the main file is a mapping: without it nothing else can be said."""
        return self.main.root is not None and isinstance(self.main.root.value, dict)

    @property
    def base(self) -> Path:
        """The catalogue's directory: what relative paths in it start from."""
        return self.path.parent

    def part(self, name: str) -> dict[str, Any]:
        """Tiers, stores or targets by name, as they are written."""
        found = self.raw.get(name)
        return found if isinstance(found, dict) else {}

    def own(self, target: str) -> dict[str, Any]:
        """What a target says itself, without the defaults."""
        value = self.entries["targets"][target].step.node.value
        return value if isinstance(value, dict) else {}

    def report(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False, secret: bool = False) -> None:
        """Note a problem with what stands at ``loc``, or where it would stand; a doubtful value has had its own."""
        if at_key or secret or not self.node(loc).doubtful:
            self.problems.add(self.place(loc, at_key=at_key), message, hint, secret=secret)

    def place(self, loc: Loc, *, at_key: bool = False) -> Place:
        """Where something stands; what is not written has the place of what it would belong to.

        A mapping or a list has the place of its key: its own first line may be far below.
        """
        document, steps = self._trace(loc)
        key, node = steps[-1]
        return document.place_of(key if key is not None and (at_key or node.children is not None) else node)

    def node(self, loc: Loc) -> Node:
        """The node at ``loc``, or of what it would belong to."""
        return self._trace(loc)[1][-1].node

    def name(self, loc: Loc) -> str:
        """The last key on the way to ``loc`` that is written."""
        keys = [step.key.text for step in self._trace(loc)[1] if step.key is not None]
        return keys[-1] if keys else str(loc[-1]) if loc else ""

    def _trace(self, loc: Loc) -> tuple[Document, list[Step]]:
        best: tuple[Document, list[Step]] | None = None
        for document, step, rest in self._roots(loc):
            steps = [step, *follow(step.node, rest)]
            if best is None or len(steps) > len(best[1]):
                best = document, steps
        return best or (self.main, [Step(None, Node(0, 0))])

    def _roots(self, loc: Loc) -> Iterator[tuple[Document, Step, Loc]]:
        """Where to look for ``loc``: the part's own entry, after it the defaults; the main file's root otherwise."""
        entry = self.entries.get(str(loc[0]), {}).get(loc[1]) if len(loc) > 1 else None
        root = self.main.root
        if entry is not None:
            yield entry.document, entry.step, loc[2:]
        elif root is not None:
            yield self.main, Step(None, root), loc
        if entry is not None and loc[0] == "targets" and root is not None and root.children:
            defaults = root.children.get("defaults")
            if defaults is not None:
                yield self.main, Step(root.keys["defaults"], defaults), loc[2:]


def follow(node: Node, loc: Loc) -> list[Step]:
    """The longest way along ``loc``; names that only a validator knows (``tables``, a union's member) are left out."""
    if not loc or not node.children:
        return []
    taken: list[Step] = []
    child = node.children.get(loc[0])
    if child is not None:
        taken = [Step(node.keys.get(loc[0]), child), *follow(child, loc[1:])]
        if len(taken) == len(loc):
            return taken
    left_out = follow(node, loc[1:])
    return taken if len(taken) >= len(left_out) else left_out


def gather(path: Path) -> Draft:
    """Read a catalogue and what it includes; whatever is wrong is noted in the draft."""
    problems = Problems()
    main = read_file(path, str(path), problems)
    draft = Draft(path, main, problems, [main])
    if main.root is None:
        return draft
    if not isinstance(main.root.value, dict):
        if not main.root.doubtful:
            problems.add(main.place_of(main.root), "a catalogue is a mapping", "begin with version: 1 and targets:")
        return draft
    draft.raw = {key: value for key, value in main.root.value.items() if key not in _INCLUDABLE}
    _collect(draft, main)
    for document in _includes(draft):
        draft.documents.append(document)
        _collect(draft, document)
    _inherit(draft)
    return draft


def _includes(draft: Draft) -> Iterator[Document]:
    written = draft.raw.get("include", [])
    patterns = [written] if isinstance(written, str) else written if isinstance(written, list) else []
    seen = {os.path.realpath(draft.path)}
    for index, pattern in enumerate(patterns):
        loc: Loc = ("include", index) if isinstance(written, list) else ("include",)
        if not isinstance(pattern, str) or not pattern:
            continue
        for relative in _matches(draft, loc, pattern):
            file = draft.base / relative
            real = os.path.realpath(file)
            if real in seen:
                continue
            seen.add(real)
            if not _inside(real, draft.base):
                draft.complete = False
                draft.report(loc, f"{relative} leads outside the catalogue's directory", "move the file inside it")
            elif len(seen) > _MOST_FILES:
                draft.complete = False
                draft.report(loc, f"more than {_MOST_FILES} files are included", "write a narrower pattern")
                return
            else:
                left = _MOST_NODES - sum(document.root.size for document in draft.documents if document.root)
                bounds = Bounds(nodes=min(left, DEFAULT_BOUNDS.nodes))
                yield read_file(file, str(file), draft.problems, bounds)


def _matches(draft: Draft, loc: Loc, pattern: str) -> list[str]:
    if os.path.isabs(pattern) or ".." in pattern.split("/") or "\0" in pattern:  # noqa: PTH117 - a glob, not a path
        draft.complete = False
        draft.report(loc, "an include stays inside the catalogue's directory", "write a relative glob without '..'")
        return []
    found = sorted(glob.glob(pattern, root_dir=draft.base, recursive=True))  # noqa: PTH207 - root_dir, hidden files
    files = [name for name in found if (draft.base / name).is_file()]
    if not files:
        draft.complete = False
        draft.report(loc, f"{pattern!r} matches no file", f"looked in {draft.base}; correct the pattern or remove it")
    return files


def _inside(real: str, base: Path) -> bool:
    return Path(real).is_relative_to(os.path.realpath(base))


def _collect(draft: Draft, document: Document) -> None:
    """Add a file's tiers, stores, targets and exceptions to the draft."""
    root = document.root
    if root is None or not isinstance(root.value, dict) or root.children is None:
        draft.complete = False
        if root is not None:
            draft.problems.add(
                document.place_of(root), "an included file is a mapping", f"with {', '.join(_INCLUDABLE)}"
            )
        return
    for part, node in root.children.items():
        step = Step(root.keys[part], node)
        if part in _NAMED and isinstance(node.value, dict):
            _collect_named(draft, document, str(part), node)
        elif part == "exceptions" and isinstance(node.value, list):
            _collect_exceptions(draft, document, node)
        elif document is not draft.main:
            _misplaced(draft, document, str(part), step)
        else:
            draft.raw.setdefault(str(part), node.value)


def _collect_named(draft: Draft, document: Document, part: str, node: Node) -> None:
    values = draft.raw.setdefault(part, {})
    known = draft.entries[part]
    for name, child in (node.children or {}).items():
        step = Step(node.keys[name], child)
        if name in known and isinstance(values, dict):
            first = known[name]
            place = first.document.place_of(first.step.key or first.step.node)
            draft.problems.add(
                document.place_of(node.keys[name]),
                f"the {_NAMED[part]} {name!r} is declared twice",
                f"rename one of them; the first is at {place.file}:{place.line}",
            )
        elif isinstance(values, dict):
            known[name] = Entry(document, step)
            values[name] = child.value


def _collect_exceptions(draft: Draft, document: Document, node: Node) -> None:
    values = draft.raw.setdefault("exceptions", [])
    for child in (node.children or {}).values():
        if isinstance(values, list):
            draft.entries["exceptions"][len(values)] = Entry(document, Step(None, child))
            values.append(child.value)


def _misplaced(draft: Draft, document: Document, part: str, step: Step) -> None:
    place = document.place_of(step.key or step.node)
    if part in _MAIN_ONLY:
        message, hint = f"{part!r} is of the catalogue itself, not of an included file", f"move it to {draft.main.file}"
    elif part in _INCLUDABLE:
        kind = "list" if part == "exceptions" else "mapping"
        message, hint = f"{part!r} needs a {kind}", "write it as in the catalogue itself"
    else:
        message, hint = f"unknown option {part!r}", suggest(part, _INCLUDABLE)
    draft.problems.add(place, message, hint)


def _inherit(draft: Draft) -> None:
    """Merge the defaults into every target."""
    defaults = draft.raw.get("defaults")
    if not isinstance(defaults, dict) or not defaults:
        return
    expect = defaults.get("expect")
    if isinstance(expect, dict):
        for name in _NOT_INHERITED:
            if name in expect:
                draft.report(
                    ("defaults", "expect", name),
                    f"{name} is never inherited: what is fresh for one target says nothing of another",
                    "write it in each target it is meant for",
                    at_key=True,
                )
        defaults = {**defaults, "expect": {key: rule for key, rule in expect.items() if key not in _NOT_INHERITED}}
    targets = draft.part("targets")
    if draft.node(("defaults",)).size * len(targets) > _MOST_INHERITED:
        draft.report(("defaults",), "the defaults are too large for so many targets", "move options into the targets")
        return
    for name, target in targets.items():
        if isinstance(target, dict):
            targets[name] = merge(defaults, target)


def merge(default: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Defaults and what overrides them: mappings key by key, ``None`` takes back, everything else is replaced.

    Neither is changed.
    """
    merged = {**default, **own}
    for key in default.keys() & own.keys():
        if isinstance(default[key], dict) and isinstance(own[key], dict):
            merged[key] = merge(default[key], own[key])
        elif own[key] is None:
            del merged[key]
    return merged
