"""What a kind of store declares about itself, so that a catalogue is checked before anything is contacted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

#: Options that stand beside the url in the catalogue, because several kinds of store have them; others stand under
#: ``options:``. A store that declares none of this name refuses it.
BESIDE_THE_URL = ("endpoint", "region", "profile", "path_style")

_WORDS = {str: "text", bool: "true or false", int: "a whole number", tuple: "a list of texts", Path: "a path"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option that a kind of store knows.

    Attributes:
        kind: ``str``, ``bool``, ``int``, ``tuple`` (a list of texts) or ``Path`` (a file or directory of this machine,
            relative to the catalogue's directory). ``settings.options`` holds it as this type.
        description: One sentence for the person who writes a catalogue.
        example: A value as the catalogue writes it.
        required: Whether the store is of no use without it.
        choices: The only words it may be; any text where empty.
        least: The smallest number it may be.
    """

    kind: type
    description: str
    example: Any
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int = 0

    @property
    def wanted(self) -> str:
        """What it must be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return f"{_WORDS[self.kind]}, {self.least} or more" if self.kind is int else _WORDS[self.kind]

    def takes(self, value: Any) -> bool:
        """Whether a value of the catalogue is what it must be."""
        if self.kind is tuple:
            return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)
        if self.kind is int:
            return isinstance(value, int) and not isinstance(value, bool) and value >= self.least
        if self.kind is bool:
            return isinstance(value, bool)
        return isinstance(value, str) and bool(value) and "\0" not in value and value in (self.choices or (value,))

    def read(self, value: Any, base: Path) -> Any:
        """The value as :class:`StoreSettings` holds it.

        Args:
            value: One that it takes.
            base: The catalogue's directory.
        """
        if self.kind is Path:
            return (base / Path(value).expanduser()).absolute()
        return tuple(value) if self.kind is tuple else value


@dataclass(frozen=True, slots=True)
class Credential:
    """One secret that a kind of store knows, by the name it has under ``credentials:``.

    Attributes:
        description: One sentence for the person who writes a catalogue.
        required: Whether it must be there where any credentials are.
    """

    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """What a catalogue says about where a store is, as far as it is well-formed.

    Attributes:
        url: As it is written.
        options: What is given of the declared options, beside the url or under ``options:``. One that is a reference to
            a secret is not here.
        credentials: The names of the secrets that are given; what they hold is not known.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    credentials: frozenset[str] = frozenset()

    @property
    def scheme(self) -> str:
        """In lower case."""
        return self.url.partition(":")[0].lower()

    @property
    def rest(self) -> str:
        """What follows the scheme and its colon: ``//host/path``."""
        return self.url.partition(":")[2]


class Trouble(NamedTuple):
    """Something that is wrong with an address.

    Attributes:
        message: One sentence. It repeats no value that could be a secret.
        hint: How to mend it.
        at: What it is about: ``url``, or the name of an option or credential.
        secret: Whether the line in the catalogue must not be shown.
    """

    message: str
    hint: str = ""
    at: str = "url"
    secret: bool = False
