"""Names of files beside an artifact, made from its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache

from restore_drill.checksums import decoded_name
from restore_drill.registry import load, names


@cache
def _endings() -> dict[str, tuple[str, ...]]:
    return {name: load("codecs", name).suffixes for name in names("codecs")}


def stems(name: str) -> list[str]:
    """A name and what is left of it as each codec's ending goes: ``a.db.gz.age``, ``a.db.gz``, ``a.db``."""
    return [name, *(rest for _, rest in peeled(name))]


def peeled(name: str) -> Iterator[tuple[str, str]]:
    """The codecs that the endings of a name stand for, from the outside in, each with what is left of the name."""
    return iter(_peeled(name))


@lru_cache(maxsize=64)  # asked for the same one several times a drill
def _peeled(name: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    known = [ending for endings in _endings().values() for ending in endings]
    while (rest := decoded_name(name, known)) is not None:
        codec = next(codec for codec, endings in _endings().items() if decoded_name(name, endings) == rest)
        found.append((codec, rest))
        name = rest
    return tuple(found)


@cache
def _unproven_endings() -> tuple[str, ...]:
    """Of formats that cannot tell whether they were altered."""
    kinds = [load("codecs", name) for name in names("codecs")]
    return tuple(suffix for kind in kinds if kind.needs_content_digest for suffix in kind.suffixes)


def by_worth(found: list[str]) -> list[str]:
    """Stems in the order in which a digest is looked for: of what nothing else proves, that of the content is first."""
    last = max((at for at, stem in enumerate(found) if stem.lower().endswith(_unproven_endings())), default=-1)
    return found[last + 1 :] + found[: last + 1]


def fill(template: str, name: str) -> str:
    """A sibling's name: ``{name}`` is the artifact's, ``{stem}`` the same without its codecs' endings."""
    return template.replace("{name}", name).replace("{stem}", stems(name)[-1])


def join(directory: str, name: str) -> str:
    """A key in a directory; ``""`` is the store's own."""
    return f"{directory}/{name}" if directory else name
