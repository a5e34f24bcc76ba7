"""Names of files beside an artifact, made from its own."""

from __future__ import annotations

from functools import cache, lru_cache

from restore_drill.checksums import decoded_name
from restore_drill.registry import load, names


@cache
def _endings() -> tuple[str, ...]:
    return tuple(suffix for name in names("codecs") for suffix in load("codecs", name).suffixes)


def stems(name: str) -> list[str]:
    """A name and what is left of it as each codec's ending goes: ``a.db.gz.age``, ``a.db.gz``, ``a.db``."""
    return list(_stems(name))


@lru_cache(maxsize=64)  # asked for the same one several times a drill
def _stems(name: str) -> tuple[str, ...]:
    found = [name]
    while (stem := decoded_name(found[-1], _endings())) is not None:
        found.append(stem)
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
