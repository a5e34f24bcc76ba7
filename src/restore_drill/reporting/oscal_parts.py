"""Small parts of OSCAL documents: identifiers that are the same each time, properties, texts in the allowed form."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

#: The namespace of our properties, and of our identifiers (RFC 9562, version 5): a name, there is nothing to fetch.
NAMESPACE = "https://restore-drill.example/oscal"
_ROOT = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE)
#: What Markdown, of which OSCAL's texts are a subset, and its ``{{ insert }}`` would read as more than text.
_MARKUP = re.compile(r"([\\`*\[\]<>&{}^~#|])")
_LONGEST = 4000


def uid(*names: object) -> str:
    """The identifier of something, always the same for the same names."""
    return str(uuid.uuid5(_ROOT, "\0".join(map(str, names))))


def line(text: object) -> str:
    """A text in one line, as values and titles must be; ``-`` where nothing is left."""
    return " ".join(str(text).split())[:_LONGEST].strip() or "-"


def prose(text: object) -> str:
    """A text of ours or from outside as OSCAL's markup means it: as it stands."""
    return _MARKUP.sub(r"\\\1", line(text))


def prop(name: str, value: object, remarks: str = "") -> dict[str, str]:
    """A property of ours."""
    found = {"name": name, "ns": NAMESPACE, "value": line(value)}
    return {**found, "remarks": prose(remarks)} if remarks else found


def props(values: Mapping[str, object]) -> list[dict[str, str]]:
    """Properties of ours, without what is not known."""
    return [prop(name, value) for name, value in values.items() if value not in (None, "")]


def without_empty(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part without members that the model would not have empty."""
    return {name: value for name, value in part.items() if value not in (None, "", [], {})}


def parties(names: Iterable[str], role: str) -> list[dict[str, Any]]:
    """People, as parties of a role."""
    return [{"uuid": uid("party", role, name), "type": "person", "name": line(name)} for name in sorted(set(names))]


def responsible(names: Iterable[str], role: str) -> list[dict[str, Any]]:
    """Who has a role; nothing when nobody has."""
    those = [uid("party", role, name) for name in sorted(set(names))]
    return [{"role-id": role, "party-uuids": those}] if those else []
