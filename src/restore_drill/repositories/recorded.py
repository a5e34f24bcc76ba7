"""Where the digest of an artifact is recorded, and which of its layers it speaks of.

Looked at in this order unless the catalogue names a place: a sidecar of the stored name (``db.gz.sha256``), a sidecar
of the name without its codecs' endings (``db.sha256``, what hashing before compressing leaves), a manifest
(``SHA256SUMS``) in the same directory and then in each one above it; after all of these the same by weak algorithms.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from functools import cache
from os.path import commonprefix

from restore_drill.catalogue.models import ChecksumRule
from restore_drill.checksums import (
    MANIFEST_NAMES,
    SIDECAR_SUFFIXES,
    RecordedDigest,
    algorithm_of_name,
    decode,
    parse_manifest,
    strip_suffix,
)
from restore_drill.digests import canonical, is_weak
from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Stage
from restore_drill.repositories.names import by_worth, join
from restore_drill.repositories.names import fill as fill
from restore_drill.repositories.names import stems as stems
from restore_drill.repositories.signed import Signing, of_file
from restore_drill.stores.base import ProviderDigest, Store

#: Names of sidecars (``.sha512``, ``.sha256``) that are looked at before a store is asked which there are.
_USUAL = 2


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is recorded for an artifact.

    Attributes:
        digest: The line that speaks of it, or ``None``.
        source: Where it stands.
        key: Key of the file it stands in, ``""`` for the catalogue itself.
        looked_at: Names of the files that were looked for.
        provided: What the store keeps, where the catalogue takes that.
        signing: What became of the signature of that file, where the catalogue wants one.
    """

    digest: RecordedDigest | None = None
    source: str = ""
    key: str = ""
    looked_at: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    provided: tuple[ProviderDigest, ...] = ()
    signing: Signing | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is recorded."""
        return self.digest is not None or bool(self.provided)


def find(store: Store, artifact: Artifact, rule: ChecksumRule) -> Recorded:
    """Find the recorded digest of an artifact.

    Raises:
        BackupFailed: A file that should hold it is malformed (stage ``verify``).
        CouldNotVerify: The store could not be asked.
    """
    for algorithm in ("sha256", "sha512"):
        if value := getattr(rule, algorithm):
            return Recorded(RecordedDigest(artifact.name, algorithm, value.lower()), "the catalogue")
    if rule.provider:
        return _provided(store, artifact, rule)
    directory = artifact.key.rpartition("/")[0]
    if rule.sidecar:
        key = join(directory, fill(rule.sidecar, artifact.name))
        return _read_sidecar(store, key, artifact, rule) or Recorded(looked_at=(key,))
    if rule.manifest:
        return _read_manifest(store, rule.manifest, artifact, rule) or Recorded(looked_at=(rule.manifest,))
    return _search(store, artifact, directory, rule)


def _provided(store: Store, artifact: Artifact, rule: ChecksumRule) -> Recorded:
    known = store.recorded_digests(artifact)
    taken = tuple(digest for digest in known if digest.by_uploader or rule.provider == "any")
    looked_at = "a digest in its metadata" if rule.provider == "metadata" else "a digest that the store keeps"
    return Recorded(source=store.where(artifact.key), provided=taken, looked_at=(looked_at,))


def _search(store: Store, artifact: Artifact, directory: str, rule: ChecksumRule) -> Recorded:
    sidecars = {weak: _sidecar_keys(artifact, directory, weak=weak) for weak in (False, True)}
    beside = _Beside(store, commonprefix(sidecars[False] + sidecars[True]))  # noqa: RUF071 - by signs, not by parts
    for weak, keys in sidecars.items():
        for key in filter(beside.may_hold, keys):
            if recorded := _read_sidecar(store, key, artifact, rule):
                return recorded
        for key in _manifest_keys(directory, weak=weak):
            if recorded := _read_manifest(store, key, artifact, rule):
                return recorded
    looked = [key.rpartition("/")[2] for key in sidecars[False]]
    return Recorded(looked_at=(looked[0], looked[1], MANIFEST_NAMES[1]))


class _Beside:
    """Which of the many names a sidecar may have are worth a look.

    The most usual ones are asked for at once; for all others the store is asked, once, what there is.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._asked = 0
        self._known: Set[str] | None = None

    def may_hold(self, key: str) -> bool:
        self._asked += 1
        if self._asked == _USUAL + 1:
            self._known = self._store.keys_beginning(self._prefix)
        return self._known is None or key in self._known


def _is_weak(name: str) -> bool:
    family = algorithm_of_name(name)
    return family == "xxh" or is_weak(family)


@cache
def _of_worth(names: tuple[str, ...], *, weak: bool) -> tuple[str, ...]:
    return tuple(name for name in names if _is_weak(name) is weak)


def _sidecar_keys(artifact: Artifact, directory: str, *, weak: bool) -> list[str]:
    found = by_worth(stems(artifact.name))
    return [join(directory, stem + suffix) for stem in found for suffix in _of_worth(SIDECAR_SUFFIXES, weak=weak)]


def _manifest_keys(directory: str, *, weak: bool) -> Iterator[str]:
    while True:
        for name in _of_worth(MANIFEST_NAMES, weak=weak):
            yield join(directory, name)
        if not directory:
            return
        directory = directory.rpartition("/")[0]


def _read_sidecar(store: Store, key: str, artifact: Artifact, rule: ChecksumRule) -> Recorded | None:
    raw = store.read_small(key)
    if raw is None:
        return None
    wanted = stems(artifact.name)
    name = key.rpartition("/")[2]
    # What the sidecar's name adds to the artifact's: that one may speak of algorithms, too.
    own = next((name.removeprefix(stem) for stem in wanted if name.startswith(stem)), name)
    lines = _lines(raw, store.where(key), _hint(rule) or algorithm_of_name(own))
    if len(lines) == 1 and not lines[0].name:
        lines = [replace(lines[0], name=strip_suffix(name, SIDECAR_SUFFIXES) or artifact.name)]
    for stem in by_worth(wanted):
        by_name = [line for line in lines if line.name == stem] or [line for line in lines if line.basename == stem]
        if by_name:
            line = _only(by_name, store.where(key), "sidecar")
            return _found(store, key, line, wanted, _signing(store, rule, key, raw))
    raise BackupFailed(
        f"the recorded digest is of another file: {name} speaks of {lines[0].basename or 'no file by name'}",
        looked_at=store.where(key),
        remedy="Write the digest of this very artifact when it is made.",
        stage=Stage.VERIFY,
    )


def _read_manifest(store: Store, key: str, artifact: Artifact, rule: ChecksumRule) -> Recorded | None:
    raw = store.read_small(key)
    if raw is None:
        return None
    base = key.rpartition("/")[0]
    wanted = stems(artifact.key.removeprefix(f"{base}/") if base else artifact.key)
    lines = _lines(raw, store.where(key), _hint(rule) or algorithm_of_name(key))
    by_name = {line.name: line for line in lines}
    for stem in by_worth(wanted):
        if stem in by_name:
            return _found(store, key, by_name[stem], wanted, _signing(store, rule, key, raw))
        absolute = [line for line in lines if line.is_absolute and line.name.endswith(f"/{stem}")]
        if absolute:
            line = _only(absolute, store.where(key), "manifest")
            return _found(store, key, line, wanted, _signing(store, rule, key, raw))
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


def _hint(rule: ChecksumRule) -> str:
    return canonical(rule.algorithm or "")


def _signing(store: Store, rule: ChecksumRule, key: str, raw: bytes) -> Signing | None:
    """Over the very bytes that the digest was read from."""
    wanted = rule.signature if rule.signature and rule.signature.of == "digest" else None
    return of_file(store, wanted, key, (raw,)) if wanted else None


def _found(store: Store, key: str, line: RecordedDigest, wanted: list[str], signing: Signing | None) -> Recorded:
    notes = []
    if line.is_absolute:
        notes.append("it names the file by an absolute path: sha256sum -c works only where the backup was made")
    if line.basename != wanted[0].rpartition("/")[2]:
        notes.append(
            f"it is the digest of {line.basename}, which is not what is stored: sha256sum -c cannot succeed beside it; "
            "the decoded bytes were hashed instead"
        )
    return Recorded(line, store.where(key), key, notes=tuple(notes), signing=signing)


def _lines(raw: bytes, where: str, hint: str) -> list[RecordedDigest]:
    try:
        return parse_manifest(decode(raw), hint)
    except BackupFailed as problem:
        problem.looked_at = where
        raise
