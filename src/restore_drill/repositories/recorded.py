"""Where the digest of an artifact is recorded, and which of its layers it speaks of.

Looked at in this order unless the catalogue names a place: a sidecar of the stored name (``db.gz.sha256``), a sidecar
of the name without its codecs' endings (``db.sha256``, what hashing before compressing leaves), a manifest
(``SHA256SUMS``) in the same directory and then in each one above it; after all of these the same by weak algorithms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from restore_drill.catalogue.models import ChecksumRule
from restore_drill.checksums import (
    MANIFEST_NAMES,
    SIDECAR_SUFFIXES,
    WEAK,
    RecordedDigest,
    algorithm_of_name,
    decoded_name,
    parse_manifest,
    strip_suffix,
)
from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Stage
from restore_drill.registry import load, names
from restore_drill.stores.base import Store


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is recorded for an artifact.

    Attributes:
        digest: The line that speaks of it, or ``None``.
        source: Where it stands.
        key: Key of the file it stands in, ``""`` for the catalogue itself.
        looked_at: Names of the files that were looked for.
    """

    digest: RecordedDigest | None = None
    source: str = ""
    key: str = ""
    looked_at: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


@cache
def _endings() -> tuple[str, ...]:
    return tuple(suffix for name in names("codecs") for suffix in load("codecs", name).suffixes)


def stems(name: str) -> list[str]:
    """A name and what is left of it as each codec's ending goes: ``a.db.gz.age``, ``a.db.gz``, ``a.db``."""
    found = [name]
    while (stem := decoded_name(found[-1], _endings())) is not None:
        found.append(stem)
    return found


def fill(template: str, name: str) -> str:
    """A sibling's name: ``{name}`` is the artifact's, ``{stem}`` the same without its codecs' endings."""
    return template.replace("{name}", name).replace("{stem}", stems(name)[-1])


def find(store: Store, artifact: Artifact, rule: ChecksumRule) -> Recorded:
    """Find the recorded digest of an artifact.

    Raises:
        BackupFailed: A file that should hold it is malformed (stage ``verify``).
        CouldNotVerify: The store could not be asked.
    """
    for algorithm in ("sha256", "sha512"):
        if value := getattr(rule, algorithm):
            return Recorded(RecordedDigest(artifact.name, algorithm, value.lower()), "the catalogue")
    directory = artifact.key.rpartition("/")[0]
    if rule.sidecar:
        key = _join(directory, fill(rule.sidecar, artifact.name))
        return _read_sidecar(store, key, artifact) or Recorded(looked_at=(key,))
    if rule.manifest:
        return _read_manifest(store, rule.manifest, artifact) or Recorded(looked_at=(rule.manifest,))
    return _search(store, artifact, directory)


def _search(store: Store, artifact: Artifact, directory: str) -> Recorded:
    looked: list[str] = []
    for weak in (False, True):
        for key in _sidecar_keys(artifact, directory, weak=weak):
            looked.append(key.rpartition("/")[2])
            if recorded := _read_sidecar(store, key, artifact):
                return recorded
        for key in _manifest_keys(directory, weak=weak):
            if recorded := _read_manifest(store, key, artifact):
                return recorded
    return Recorded(looked_at=(looked[0], looked[1], MANIFEST_NAMES[1]))


def _is_weak(name: str) -> bool:
    return algorithm_of_name(name) in WEAK


def _sidecar_keys(artifact: Artifact, directory: str, *, weak: bool) -> Iterator[str]:
    for stem in stems(artifact.name):
        for suffix in SIDECAR_SUFFIXES:
            if _is_weak(suffix) is weak:
                yield _join(directory, stem + suffix)


def _manifest_keys(directory: str, *, weak: bool) -> Iterator[str]:
    while True:
        for name in MANIFEST_NAMES:
            if _is_weak(name) is weak:
                yield _join(directory, name)
        if not directory:
            return
        directory = directory.rpartition("/")[0]


def _read_sidecar(store: Store, key: str, artifact: Artifact) -> Recorded | None:
    raw = store.read_small(key)
    if raw is None:
        return None
    wanted = stems(artifact.name)
    name = key.rpartition("/")[2]
    # What the sidecar's name adds to the artifact's: that one may speak of algorithms, too.
    own = next((name.removeprefix(stem) for stem in wanted if name.startswith(stem)), name)
    lines = _lines(raw, store.where(key), algorithm_of_name(own))
    if len(lines) == 1 and not lines[0].name:
        lines = [replace(lines[0], name=strip_suffix(name, SIDECAR_SUFFIXES) or artifact.name)]
    for stem in wanted:
        by_name = [line for line in lines if line.name == stem] or [line for line in lines if line.basename == stem]
        if by_name:
            return _found(store, key, _only(by_name, store.where(key), "sidecar"), wanted)
    raise BackupFailed(
        f"the recorded digest is of another file: {name} speaks of {lines[0].basename or 'no file by name'}",
        looked_at=store.where(key),
        remedy="Write the digest of this very artifact when it is made.",
        stage=Stage.VERIFY,
    )


def _read_manifest(store: Store, key: str, artifact: Artifact) -> Recorded | None:
    raw = store.read_small(key)
    if raw is None:
        return None
    base = key.rpartition("/")[0]
    wanted = stems(artifact.key.removeprefix(f"{base}/") if base else artifact.key)
    lines = _lines(raw, store.where(key), algorithm_of_name(key))
    by_name = {line.name: line for line in lines}
    for stem in wanted:
        if stem in by_name:
            return _found(store, key, by_name[stem], wanted)
        absolute = [line for line in lines if line.is_absolute and line.name.endswith(f"/{stem}")]
        if absolute:
            return _found(store, key, _only(absolute, store.where(key), "manifest"), wanted)
    return None


def _only(lines: list[RecordedDigest], where: str, what: str) -> RecordedDigest:
    """The one digest that all these lines record; their order must not decide."""
    digests = {line.hexdigest for line in lines}
    if len(digests) == 1:
        return lines[0]
    raise BackupFailed(
        f"the recorded digest cannot be used: {len(digests)} lines of the {what} could speak of it",
        looked_at=where,
        remedy=f"Write the {what} inside the file's own directory: cd DIR && sha256sum FILE > "
        f"{'FILE.sha256' if what == 'sidecar' else 'SHA256SUMS'}.",
        stage=Stage.VERIFY,
    )


def _found(store: Store, key: str, line: RecordedDigest, wanted: list[str]) -> Recorded:
    notes = []
    if line.is_absolute:
        notes.append("it names the file by an absolute path: sha256sum -c works only where the backup was made")
    if line.basename != wanted[0].rpartition("/")[2]:
        notes.append(
            f"it is the digest of {line.basename}, which is not what is stored: sha256sum -c cannot succeed beside it; "
            "the decoded bytes were hashed instead"
        )
    return Recorded(line, store.where(key), key, notes=tuple(notes))


def _lines(raw: bytes, where: str, hint: str) -> list[RecordedDigest]:
    try:
        # As names of files are read: one that is not UTF-8 is no reason to refuse the others.
        return parse_manifest(raw.decode("utf-8", "surrogateescape"), hint)
    except BackupFailed as problem:
        problem.looked_at = where
        raise


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
