"""YAML text to a tree of plain data; hostile or careless text to problems.

The parser's events are read one by one: PyYAML's own composer recurses in C and dies of a deeply nested file, and
nothing stops it before it holds ten million nodes. Here every limit holds while reading. Tags beyond the core schema,
duplicate keys, several documents, cycles and alias bombs are refused. Merge keys (``<<``) work as in PyYAML's safe
loader; what they bring keeps the place where it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from restore_drill.catalogue import scalars
from restore_drill.catalogue.nodes import Bounds, Document, Node, Stop
from restore_drill.catalogue.problems import Place, Problems, suggest

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    "null": (type(None),), "bool": (bool,), "int": (int,), "float": (float, int)
}  # fmt: skip


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read."""

    node: Node
    anchor: str | None
    counted: int
    key: Node | None = None
    merges: list[Node] = field(default_factory=list)


class Composer:
    """Builds nodes from the parser's events, under limits."""

    def __init__(self, document: Document, problems: Problems, bounds: Bounds) -> None:
        self._document = document
        self._problems = problems
        self._bounds = bounds
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self._root: Node | None = None

    def compose(self) -> Node:
        """The root of the only document.

        Raises:
            Stop: The text is not YAML, or is more than it may be.
        """
        documents = 0
        for event in self._events():
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._add(self._scalar(event), event.anchor)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._begin(event, kind is yaml.MappingStartEvent)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._end()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._fatal(event, "a second document begins here", "one file holds one document: remove the ---")
        if self._root is None or self._root.value is None:
            self._problems.add(Place(self._document.file), "the file is empty", "see docs/catalogue.md for an example")
            raise Stop
        return self._root

    def _events(self) -> Iterator[Any]:
        loader = _Loader(self._document.text)
        try:
            while (event := loader.get_event()) is not None:
                yield event
        except yaml.YAMLError as problem:
            mark = getattr(problem, "problem_mark", None)
            place = self._document.place(mark.line, mark.column) if mark else Place(self._document.file)
            reason = getattr(problem, "problem", None) or " ".join(str(problem).split())
            context = getattr(problem, "context", None)
            while_doing = f" ({context})" if context else ""
            self._problems.add(place, f"this is not YAML: {reason}{while_doing}", _syntax_hint(place))
            raise Stop from problem
        finally:
            loader.dispose()

    def _scalar(self, event: Any) -> Node:
        mark, text, tag = event.start_mark, event.value, event.tag
        node = Node(mark.line, mark.column, text, text)
        if tag is None:
            if event.implicit[0]:
                node.plain = True
                node.value = scalars.read(text)
        elif tag != f"{_CORE}str":
            self._tagged(node, tag)
        if type(node.value) is scalars.Ambiguous:
            self._note(node, node.value.message, node.value.hint)
            node.value, node.doubtful = text, True
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            self._note(node, "half of a surrogate pair is not a character", "write the character itself")
            node.value = text = node.text = text.encode("utf-8", "replace").decode("utf-8")
        return node

    def _tagged(self, node: Node, tag: str) -> None:
        """A scalar with an explicit tag: of the core schema, and of the type it claims."""
        node.doubtful = True
        wanted = _SCALAR_TAGS.get(tag.removeprefix(_CORE)) if tag.startswith(_CORE) else None
        if wanted is None:
            self._refuse_tag(node, tag)
            return
        value = scalars.read(node.text)
        node.doubtful = type(value) not in wanted
        if node.doubtful:
            self._note(node, f"{_shown(tag)} does not fit {node.text!r}", "remove the tag")
        else:
            node.value = value

    def _refuse_tag(self, node: Node, tag: str) -> None:
        self._note(node, f"the tag {_shown(tag)} is not allowed", "a catalogue holds plain values: remove the tag")
        node.doubtful = True

    def _begin(self, event: Any, mapping: bool) -> None:
        mark = event.start_mark
        node = Node(mark.line, mark.column, {} if mapping else [], children={})
        if len(self._open) >= self._bounds.depth:
            self._fatal(event, f"more than {self._bounds.depth} levels of nesting", "a catalogue is never that deep")
        if event.tag not in (None, f"{_CORE}{'map' if mapping else 'seq'}"):
            if event.tag in (f"{_CORE}map", f"{_CORE}seq"):
                self._note(
                    node, f"{_shown(event.tag)} does not fit a {'mapping' if mapping else 'list'}", "remove the tag"
                )
                node.doubtful = True
            else:
                self._refuse_tag(node, event.tag)
        self._open.append(_Open(node, event.anchor, self._count))
        if event.anchor:
            self._anchor(event.anchor, node)

    def _end(self) -> None:
        frame = self._open.pop()
        if frame.merges:
            self._merge(frame)
        frame.node.size = self._count - frame.counted + 1
        self._add(frame.node, None)

    def _anchor(self, name: str, node: Node) -> None:
        if name in self._anchors:
            first = self._anchors[name].line + 1
            self._note(node, f"the anchor &{name} is defined twice", f"rename one; the first is on line {first}")
        self._anchors[name] = node

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._fatal(event, f"*{event.anchor} names no anchor", suggest(event.anchor, self._anchors))
        elif any(frame.node is node for frame in self._open):
            self._fatal(event, f"*{event.anchor} stands inside what it repeats", "a catalogue has no cycles")
        else:
            self._count += node.size - 1
            self._add(node, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        self._count += 1
        if self._count > self._bounds.nodes:
            self._problems.add(
                self._document.place_of(node),
                f"more than {self._bounds.nodes} keys and values up to here, aliases written out",
                "split the catalogue, or repeat less by aliases",
            )
            raise Stop
        if anchor:
            self._anchor(anchor, node)
        if not self._open:
            self._root = node
            return
        frame = self._open[-1]
        parent = frame.node
        children: dict[str | int, Node] = parent.children  # type: ignore[assignment]  # a collection has them
        if type(parent.value) is list:
            children[len(parent.value)] = node
            parent.value.append(node.value)
        elif frame.key is None:
            frame.key = node
        else:
            key, frame.key = frame.key, None
            self._pair(frame, key, node)

    def _pair(self, frame: _Open, key: Node, node: Node) -> None:
        if key.plain and key.text == "<<":
            frame.merges.append(node)
            return
        parent = frame.node
        name = key.value
        if type(name) is not str:
            name = self._name(key)
        if name in parent.keys:
            first = parent.keys[name].line + 1
            self._note(key, f"{name!r} is written twice", f"keep one of them; the first is on line {first}")
            return
        parent.value[name] = node.value
        parent.keys[name] = key
        parent.children[name] = node  # type: ignore[index]  # a mapping has them

    def _name(self, key: Node) -> str:
        """The name that a key means which is not text."""
        if key.children is not None:
            self._note(key, "a key must be text", "quote a text that begins with { or [")
        elif not key.text:
            self._note(key, "a key is missing", "write a name before the colon")
        elif not key.doubtful:
            read = "a truth value" if isinstance(key.value, bool) else f"a {type(key.value).__name__}"
            read = {"a int": "a number", "a float": "a number", "a NoneType": "nothing", "a Instant": "a time"}.get(
                read, read
            )
            self._note(key, f"the key {key.text} is read as {read} by YAML", f"put it in quotes: '{key.text}'")
        return key.text

    def _merge(self, frame: _Open) -> None:
        """Bring in what merge keys name: nearer ones win over farther ones, own keys over both."""
        sources: list[Node] = []
        for node in frame.merges:
            listed = list((node.children or {}).values()) if type(node.value) is list else [node]
            for each in listed:
                if type(each.value) is dict:
                    sources.append(each)
                else:
                    self._note(each, "<< needs a mapping, or a list of mappings", "name an anchor: <<: *common")
        own = frame.node
        merged = Node(own.line, own.column, {}, children={})
        for source in [*reversed(sources), own]:
            merged.value.update(source.value)
            merged.children.update(source.children or {})  # type: ignore[union-attr]  # given above
            merged.keys.update(source.keys)
        own.value.clear()
        own.value.update(merged.value)  # the very dict may already be known under an anchor
        own.children, own.keys = merged.children, merged.keys

    def _note(self, node: Node, message: str, hint: str = "") -> None:
        self._problems.add(self._document.place_of(node), message, hint)

    def _fatal(self, event: Any, message: str, hint: str) -> None:
        mark = event.start_mark
        self._problems.add(self._document.place(mark.line, mark.column), message, hint)
        raise Stop


def _shown(tag: str) -> str:
    return f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag


def _syntax_hint(place: Place) -> str:
    line = place.source_line
    here = line[place.column - 1 : place.column]
    if "\t" in line[: place.column]:
        return "indent with spaces; YAML does not allow tabs"
    if re.search(r":\s*\{(?:time|kind|seq|any)\b", line):
        return "a path that begins with { needs quotes"
    if here and here in "@`%" and place.column > 1:
        return f"text that begins with {here} needs quotes"
    if re.search(r":\s.*:\s", line):
        return "text with a colon and a space in it needs quotes"
    return "check indentation, brackets and quotes here and just above"
