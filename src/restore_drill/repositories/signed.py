"""Detached signatures beside what they sign: found by name, verified in the pass that reads the bytes."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from restore_drill.errors import BackupFailed, DeadlineExceeded, RestoreDrillError
from restore_drill.links import resolve
from restore_drill.model import Stage
from restore_drill.registry import load
from restore_drill.repositories.base import SignatureCheck, Transfer
from restore_drill.repositories.names import fill, join, stems
from restore_drill.signatures.base import MOST_BYTES, Signature
from restore_drill.stores.base import CHUNK, Store
from restore_drill.stream import Layer

if TYPE_CHECKING:
    from restore_drill.catalogue.signatures import SignatureRule

#: How long a manifest's signature may take (seconds).
_SOON = 120.0


@dataclass(slots=True)
class Signing:
    """What became of a signature.

    Attributes:
        checks: Who signed what; empty until it is known.
        problem: Why the signature proves nothing, or could not be judged.
        absent: What has no signature, and what was looked for.
    """

    checks: list[SignatureCheck] = field(default_factory=list)
    problem: RestoreDrillError | None = None
    absent: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the bytes must not be restored."""
        return isinstance(self.problem, BackupFailed)


@dataclass(slots=True)
class Witness:
    """A signature that is verified while what it signs passes.

    Attributes:
        signed: Name of what it signs.
        where: Where it is kept.
    """

    rule: SignatureRule
    signed: str
    where: str
    judge: Signature

    def conclude(self) -> Signing:
        """The verdict, once the bytes have passed."""
        check = SignatureCheck(self.signed, self.where, self.rule.kind)
        try:
            signer = self.judge.conclude()
        except RestoreDrillError as problem:
            problem.looked_at = problem.looked_at or self.where
            return Signing([check], problem)
        finally:
            self.judge.close()
        check.key, check.made_at = signer.key, signer.made_at
        return Signing([check])

    def judged(self, layers: Sequence[Layer]) -> Signing:
        """The verdict over an artifact; without one where the bytes that are signed were not read to their end."""
        layer = next((layer for layer in layers if self.signed in layer.names), None)
        if layer is not None and layer.whole:
            return self.conclude()
        self.judge.close()
        return Signing([SignatureCheck(self.signed, self.where, self.rule.kind)])


def endings(rule: SignatureRule | None) -> tuple[str, ...]:
    """How the names of signatures end; nothing where none is asked for."""
    found: tuple[str, ...] = load("signatures", rule.kind).suffixes if rule else ()
    return found


def keys(rule: SignatureRule, key: str, *, decoded: bool) -> Iterator[tuple[str, str]]:
    """Keys where a signature may lie, each with the name of what it would sign.

    Args:
        rule: The catalogue's.
        key: Key of what should be signed.
        decoded: It may also be what that decodes to.
    """
    directory, _, name = key.rpartition("/")
    found = stems(name) if decoded else [name]
    if rule.name:
        own = fill(rule.name, name)
        yield join(directory, own), max((stem for stem in found if own.startswith(stem)), key=len, default=name)
        return
    for stem in found:
        for suffix in endings(rule):
            yield join(directory, stem + suffix), stem


def is_there(store: Store, rule: SignatureRule, key: str, *, decoded: bool) -> bool:
    """Whether there is a signature, good or bad."""
    return any(store.stat(each) is not None for each, _ in keys(rule, key, decoded=decoded))


def witness(store: Store, rule: SignatureRule, key: str, until: float, *, decoded: bool) -> Witness | Signing:
    """Get ready to verify what is about to be read; where that cannot be, the reason.

    Raises:
        CouldNotVerify: The store could not be asked.
    """
    looked: list[str] = []
    for each, signed in keys(rule, key, decoded=decoded):
        looked.append(each.rpartition("/")[2])
        try:
            raw = store.read_small(each, MOST_BYTES)
            if raw is None:
                continue
            judge = load("signatures", rule.kind)(raw, [pinned.read() for pinned in rule.keys], until)
        except RestoreDrillError as problem:
            problem.looked_at = problem.looked_at or store.where(each)
            return Signing(problem=problem)
        return Witness(rule, signed, store.where(each), judge)
    return Signing(absent=f"{key.rpartition('/')[2]}: looked for {', '.join(looked[:3])}")


def of_file(store: Store, rule: SignatureRule, key: str, chunks: Iterable[bytes]) -> Signing:
    """Verify a sidecar or manifest that is at hand."""
    until = time.monotonic() + _SOON
    found = witness(store, rule, key, until, decoded=False)
    if isinstance(found, Signing):
        return found
    try:
        for chunk in chunks:
            found.judge.update(chunk)
            if time.monotonic() > until:
                raise _late(found.where)
    except RestoreDrillError as problem:
        found.judge.close()
        return Signing(problem=problem)
    return found.conclude()


def pieces(root: Path, name: str) -> Iterator[bytes]:
    """The bytes of a file inside an unpacked tree, which may be anything but must not lead out of it.

    Raises:
        BackupFailed: It is no file of the tree (stage ``verify``).
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = resolve(descriptor, os.fsencode(name))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(path or b".", flags, dir_fd=descriptor)
    except (OSError, ValueError) as problem:
        raise _no_file() from problem
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _no_file()
    with os.fdopen(file, "rb") as opened:
        while piece := opened.read(CHUNK):
            yield piece


def note(transfer: Transfer, signing: Signing) -> None:
    """Add what became of a signature to a transfer."""
    transfer.signatures += signing.checks
    transfer.unsigned += [signing.absent] if signing.absent else []
    if signing.problem and signing.is_wrong:
        transfer.broken.setdefault(Stage.VERIFY, signing.problem)
    elif signing.problem:
        transfer.unusable = transfer.unusable or signing.problem


def _no_file() -> BackupFailed:
    return BackupFailed("the manifest that should be signed is no file of the tree", stage=Stage.VERIFY)


def _late(where: str) -> DeadlineExceeded:
    return DeadlineExceeded("its signature was not verified in time", looked_at=where, stage=Stage.VERIFY)
