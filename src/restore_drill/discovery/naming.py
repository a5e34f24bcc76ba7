"""Names for targets, made from where their backups lie."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Protocol

import yaml

from restore_drill.repositories.names import stems

#: Names that say nothing by themselves.
_DULL = frozenset({
    "backup", "backups", "bak", "dump", "dumps", "db", "data", "database", "full", "all", "archive", "export",
    "snapshot", "snapshots", "daily", "weekly", "monthly", "hourly", "yearly", "base", "sql", "tar", "file",
    "files", "prod",
})  # fmt: skip
#: What is a number in YAML 1.2 (section 10.3.2) and may be a text in 1.1.
_NUMBER = re.compile(r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:e[-+]?\d+)?|0o[0-7]+", re.I)


class Named(Protocol):
    """What gets a name."""

    name: str
    pattern: str
    engine: str


def target_name(pattern: str) -> str:
    """A name for what lies under a pattern."""
    bare = re.sub(r"[._-]*(?:part|vol|split)?[-_.]*\{part\}\Z|\{rotation[^}]*\}", "", pattern.rstrip("/"))
    *directories, last = re.sub(r"\{[^}]*\}", " ", bare).split("/")
    own = _slug(_without_endings(re.sub(r"\s+(?=\.)", "", last)))
    if own and own.lower() not in _DULL and not own.isdigit():
        return own[:56].rstrip("-_.")
    above = [_slug(part) for part in directories if _slug(part)]
    near = next((part for part in reversed(above) if part.lower() not in _DULL), above[-1] if above else "")
    if near and near.lower() not in _DULL:
        return near[:56].rstrip("-_.")
    joined = "-".join(part for part in (near, own) if part)
    return joined[:56].rstrip("-_.") or "backup"


def _without_endings(name: str) -> str:
    stem = stems(name.strip(" _-") or "-")[-1]
    if re.fullmatch(r"[\s._-]*\.?[a-z0-9]{1,8}", stem, re.I) and stem.lstrip(" _-").startswith("."):
        return ""  # nothing but the ending was there beside the time
    known = re.compile(
        r"\.(?:db3?|sqlite3?|sql|dump|tar|tgz|zip|rdb|aof|csv|ndjson|jsonl|parquet|ldif|bundle|json|7z)\Z", re.I
    )
    while (shorter := known.sub("", stem)) != stem and shorter.strip(" -_."):
        stem = shorter
    return stem


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[-_.]*-[-_.]*", "-", re.sub(r"[^A-Za-z0-9_.]+", "-", plain)).strip("-_.")


def plain(name: str, prefix: str) -> str:
    """The name, with a prefix where YAML (1.1 or 1.2) takes it for a number, a date or a word of its own."""
    if yaml.safe_load(name) != name or name.lower() in ("y", "n") or _NUMBER.fullmatch(name):
        return f"{prefix}-{name}"
    return name


def number(proposals: Sequence[Named]) -> None:
    """Give every target a name of its own, whatever the case of its letters."""
    alike: dict[str, list[Named]] = {}
    for proposal in proposals:
        alike.setdefault(proposal.name.lower(), []).append(proposal)
    for group in alike.values():
        if len(group) > 1:
            _tell_apart(group)
    taken: set[str] = set()
    for proposal in proposals:
        base, at = proposal.name[:56].rstrip("-_."), 2
        base = plain(base, "backup")
        proposal.name = base
        while proposal.name.lower() in taken:
            proposal.name, at = f"{base}-{at}", at + 1
        taken.add(proposal.name.lower())


def _tell_apart(group: Sequence[Named]) -> None:
    """Add to each name what differs: a directory, the engine, the file's ending; the first that tells all apart."""
    for ways in _WAYS:
        extra = [[way(proposal) for way in ways] for proposal in group]
        names = ["-".join(part for part in parts if part) for parts in extra]
        if len({name.lower() for name in names}) == len(group):
            for proposal, name in zip(group, names, strict=True):
                proposal.name = name
            return


def _above(depth: int) -> Callable[[Named], str]:
    """The slug of a directory of its path, so many levels above the object."""

    def find(proposal: Named) -> str:
        parts = re.sub(r"\{[^}]*\}", " ", proposal.pattern.rstrip("/")).split("/")[:-1]
        return _slug(parts[-depth]) if depth <= len(parts) else ""

    return find


def _whole_path(proposal: Named) -> str:
    parts = [_slug(part) for part in re.sub(r"\{[^}]*\}", " ", proposal.pattern.rstrip("/")).split("/")[:-1]]
    return "-".join(part for part in parts if part and part not in proposal.name)


def _ending(proposal: Named) -> str:
    last = re.sub(r"\{[^}]*\}", "", proposal.pattern.rstrip("/")).rpartition("/")[2]
    return _slug(last.partition(".")[2]).replace(".", "-")


_NAME: Callable[[Named], str] = lambda proposal: proposal.name  # noqa: E731
_ENGINE: Callable[[Named], str] = lambda proposal: proposal.engine  # noqa: E731
_WAYS: tuple[tuple[Callable[[Named], str], ...], ...] = (
    *((_above(depth), _NAME) for depth in (1, 2, 3, 4)),
    (_NAME, _ENGINE), (_NAME, _ending), (_above(1), _NAME, _ENGINE), (_above(1), _NAME, _ending),
    (_whole_path, _NAME), (_whole_path, _NAME, _ending),
)  # fmt: skip
