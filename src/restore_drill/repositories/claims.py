"""Which objects of a store belong to a copy: its snapshots, and everything that its rules say lies beside them.

Names alone decide; nothing is opened. What a copy may own is claimed generously (an upload under way, the digest of a
digest's signature), since what nobody claims is told to a person as something that nobody restores.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from restore_drill.checksums import MANIFEST_NAMES, SIDECAR_SUFFIXES, strip_suffix
from restore_drill.manifests.base import usual_names
from restore_drill.repositories.names import join, stems
from restore_drill.repositories.signed import endings

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy, PlannedTarget

#: Endings and beginnings of names under which tools write before they rename.
_ENDINGS = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".incomplete", ".inprogress", ".upload")
_BEGINNINGS = ("incomplete-", "incomplete_", ".incomplete-", "in-progress-", ".")
_RSYNC = re.compile(r"\.(?P<name>.+)\.[A-Za-z0-9]{6}", re.DOTALL)
#: How many of these can be around a name: ``SHA256SUMS.asc.tmp``.
_LAYERS = 3
_ANY_SIGNATURE = (".asc", ".sig", ".minisig", ".bundle")


class CopyClaims:
    """What belongs to one copy."""

    def __init__(self, target: PlannedTarget, copy: PlannedCopy) -> None:
        self._pattern = copy.pattern
        self._depth = copy.pattern.text.rstrip("/").count("/") + 1
        rule, model = copy.checksum, copy.model
        signature = rule.signature
        self._exact = {key for key in (model.latest, None if copy.pattern.is_directory else rule.manifest) if key}
        beside = [*model.parts, model.complete_when, rule.sidecar, target.model.expect.recorded]
        beside += [signature.name if signature else None]
        self._templates = [_as_expression(template) for template in dict.fromkeys(beside) if template]
        self._suffixes = (*SIDECAR_SUFFIXES, *endings(signature), *_ANY_SIGNATURE, *_ENDINGS)
        name = copy.pattern.text.rstrip("/").rpartition("/")[2]
        # What codecs append: a digest may be of db, db.gz or db.gz.age.
        self._tails = [name[len(stem) :] for stem in stems(name) if name.startswith(stem)]

    @property
    def directory(self) -> str:
        """The directory in which, or below which, everything of it lies, but for what is named by its whole key."""
        return self._pattern.prefix.rpartition("/")[0]

    @property
    def exact(self) -> frozenset[str]:
        """Keys that are named as they are."""
        return frozenset(self._exact)

    def has(self, key: str) -> bool:
        """Whether an object belongs to it."""
        return any(self._is_own(form) for form in _forms(key, self._suffixes))

    def _is_own(self, key: str) -> bool:
        if self._pattern.is_directory:
            return self._in_directory(key)
        directory, _, name = key.rpartition("/")
        if any(self._pattern.match(key + tail) for tail in self._tails):
            return True
        for template in self._templates:
            if (found := template.fullmatch(name)) and found.groupdict():
                inner = next((part for part in found.groupdict().values() if part), "")
                if any(self._pattern.match(join(directory, inner + tail)) for tail in self._tails):
                    return True
        return False

    def _in_directory(self, key: str) -> bool:
        """Anything below a snapshot; beside it what is named after it."""
        parts = key.split("/")
        if len(parts) > self._depth:
            directory = "/".join(parts[: self._depth - 1])
            return any(
                self._pattern.match(f"{join(directory, form)}/") for form in _directory_forms(parts[self._depth - 1])
            )
        directory, name = "/".join(parts[:-1]), parts[-1]
        forms = [name] + [next(iter(found.groupdict().values()), "") or "" for found in self._found(name)]
        return len(parts) == self._depth and any(self._pattern.match(f"{join(directory, form)}/") for form in forms)

    def _found(self, name: str) -> Iterator[re.Match[str]]:
        for template in self._templates:
            if found := template.fullmatch(name):
                yield found


class Claims:
    """What belongs to any copy in one place.

    Args:
        copies: Every copy there, with its target.
    """

    def __init__(self, copies: list[tuple[PlannedTarget, PlannedCopy]]) -> None:
        self._by_directory: dict[str, list[CopyClaims]] = defaultdict(list)
        self._exact: set[str] = set()
        self._above: set[str] = {""}
        self._markers: set[str] = set()
        for target, copy in copies:
            claims = CopyClaims(target, copy)
            self._by_directory[claims.directory].append(claims)
            self._exact |= claims.exact
            self._above |= set(_ancestors(claims.directory))
            if copy.model.complete_when and "{" not in copy.model.complete_when:
                self._markers.add(copy.model.complete_when)

    def has(self, key: str) -> bool:
        """Whether an object belongs to any of them."""
        bare = strip_suffix(key, (*_ANY_SIGNATURE, *_ENDINGS)) or key
        if key in self._exact or bare in self._exact:
            return True
        directory, _, name = bare.rpartition("/")
        places = list(_ancestors(directory))
        if name in _manifest_names() or name in self._markers:
            # It speaks of what lies beside and below it: of backups, where there are any.
            return directory in self._above or any(place in self._by_directory for place in places)
        return any(claims.has(key) for place in places for claims in self._by_directory.get(place, ()))


def _manifest_names() -> frozenset[str]:
    return frozenset((*MANIFEST_NAMES, *usual_names()))


def _ancestors(directory: str) -> Iterator[str]:
    """A directory, those above it, and the store's own (``""``)."""
    while directory:
        yield directory
        directory = directory.rpartition("/")[0]
    yield ""


def _forms(key: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """A key, and what it may be about: without the endings of digests, signatures and uploads under way."""
    for _ in range(_LAYERS + 1):
        yield key
        directory, _, name = key.rpartition("/")
        if found := _RSYNC.fullmatch(name):
            yield join(directory, found["name"])
        shorter = strip_suffix(key, suffixes)
        if shorter is None:
            return
        key = shorter


def _directory_forms(name: str) -> Iterator[str]:
    """The name of a directory, and of what it becomes when it is filled."""
    yield name
    yield from (name[len(beginning) :] for beginning in _BEGINNINGS if name.startswith(beginning))
    if (shorter := strip_suffix(name, _ENDINGS)) is not None:
        yield shorter


def _as_expression(template: str) -> re.Pattern[str]:
    """Names that a template makes: ``{name}`` and ``{stem}`` are the artifact's, only its last part counts here."""
    last = template.rpartition("/")[2] if template.rpartition("/")[2] else template
    pieces = re.split(r"\{(?:name|stem)\}", last)
    return re.compile("(?P<name>.+)".join(map(re.escape, pieces[:2])) + ".*".join(map(re.escape, ["", *pieces[2:]])))
