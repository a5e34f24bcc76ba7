"""Names of images as registries and engines understand them, and the slots that a catalogue may put into one.

The grammar is that of the distribution project: ``[registry/]repository[:tag][@sha256:digest]``
(https://pkg.go.dev/github.com/distribution/reference).
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import Final

#: What may stand in braces in the catalogue's ``sandbox.image``.
SLOTS: Final = ("version", "major", "system")
_HUB: Final = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_REGISTRY = re.compile(rf"{_HOST}\Z")
_TAG = re.compile(r"\w[\w.-]{0,127}\Z", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_EXAMPLE: Final = "registry.example/postgres:{major}@sha256:…"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name in its parts.

    Attributes:
        registry: ``""`` for Docker Hub.
        repository: Without the registry.
        tag: ``""`` when none is named.
        digest: What the image is pinned to, ``sha256:…``, or ``""``.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """The name as it is written."""
        return f"{self.named}@{self.digest}" if self.digest else self.named

    @property
    def place(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def named(self) -> str:
        """The name without its pin."""
        return f"{self.place}:{self.tag}" if self.tag else self.place

    @property
    def last(self) -> str:
        """The last part of the repository with the tag: ``postgres:15``."""
        return f"{self.repository.rpartition('/')[2]}:{self.tag or 'latest'}"


def parse(text: str) -> Reference:
    """Take an image's name apart.

    Raises:
        ValueError: It is none; the reason, to be read after "the image's name".
    """
    name, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise ValueError("is pinned to something else than sha256: and 64 hexadecimal digits")
    name, colon, tag = _split_tag(name)
    if colon and not _TAG.match(tag):
        raise ValueError("has a malformed tag")
    registry, repository = _split_registry(name)
    if registry and not _REGISTRY.match(registry):
        raise ValueError("has a malformed registry")
    if not _REPOSITORY.match(repository):
        reason = "has upper-case letters in its repository" if repository.lower() != repository else "is malformed"
        raise ValueError(reason)
    return Reference("" if registry == _HUB else registry, repository, tag, digest)


def _split_tag(name: str) -> tuple[str, str, str]:
    """A colon before the last slash belongs to the registry's port."""
    before, colon, tag = name.rpartition(":")
    return (before, colon, tag) if colon and "/" not in tag else (name, "", "")


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "", name


def fill(template: str, *, system: str, version: str) -> str:
    """Put a backup's version into the slots of a catalogue's name.

    Args:
        template: ``registry.example/{system}:{major}``.
        system: ``postgres``.
        version: ``15.4``; ``""`` when the backup does not say it.

    Raises:
        ValueError: There is a slot for a version that nobody knows, or a slot that there is not.
    """
    wanted = slots(template)
    if not version and {"version", "major"} & wanted:
        raise ValueError("has a slot for the version, which this backup does not record")
    values = {"system": system, "version": version, "major": major(system, version)}
    return template.format_map({name: values[name] for name in wanted})


def major(system: str, version: str) -> str:
    """What is called the major version of a system: the first number; two for PostgreSQL before 10."""
    first, _, rest = version.partition(".")
    if system == "postgres" and first.isdecimal() and int(first) < 10 and rest:
        return f"{first}.{rest.partition('.')[0]}"
    return first


def slots(template: str) -> set[str]:
    """The slots of a name.

    Raises:
        ValueError: One is unknown, or the braces are malformed.
    """
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as problem:
        raise ValueError("has malformed braces") from problem
    for _, name, form, conversion in fields:
        if name not in SLOTS or form or conversion:
            known = ", ".join(f"{{{slot}}}" for slot in SLOTS)
            raise ValueError(f"has an unknown slot {{{name}}}; there are {known}")
    return {str(name) for _, name, _, _ in fields}


def problem(template: str) -> str:
    """What is wrong with a catalogue's name of an image, to be read after "the image's name"; ``""``: nothing."""
    try:
        parse(fill(template, system="postgres", version="15"))
    except ValueError as reason:
        return f"{reason}; an example: {_EXAMPLE}"
    return ""
