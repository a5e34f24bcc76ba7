"""Did it arrive, is it what was written, and did it come back in time."""

from __future__ import annotations

from collections.abc import Sequence

from restore_drill.checksums import WEAK
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.facts import RestoreFacts
from restore_drill.model import Finding, Stage, Verdict
from restore_drill.plan import PlannedCopy, PlannedTarget
from restore_drill.quantities import format_duration
from restore_drill.repositories.base import DigestCheck, Transfer


def fetched(transfer: Transfer) -> Finding:
    """Everything that was listed arrived."""
    count = len(transfer.artifacts)
    return Finding(
        expected="all bytes of the listing",
        actual=f"{transfer.stored_bytes} bytes of {count} object{'s' if count != 1 else ''}",
        notes=tuple(transfer.notes),
    )


def checksum(transfer: Transfer, copy: PlannedCopy) -> Finding:
    """A digest was recorded for every artifact, is strong enough, and matches the bytes that it speaks of."""
    if transfer.unusable is not None:
        raise transfer.unusable
    if copy.checksum.mode == "pinned":
        return Finding(
            expected="as pinned",
            actual="as pinned",
            notes=("pinned at the first drill: not checked against its origin",),
        )
    if transfer.absent:
        return Finding(
            Verdict.FAILED,
            f"no digest is recorded for {transfer.absent[0]}",
            "Write one when the backup is made (sha256sum FILE > FILE.sha256), or say checksum: pinned.",
            expected="a recorded digest",
            actual="none",
        )
    if not transfer.digests:
        if Stage.UNPACK in transfer.broken:  # a tree is hashed when all of it is there
            raise Blocked("unpacks", transfer.broken[Stage.UNPACK].cause)
        raise CouldNotVerify("no digest was compared", remedy="Look at what the drill of this copy says.")
    for check in transfer.digests:
        if finding := _digest_problem(check, copy):
            return finding
    _require_computed(transfer)
    notes = tuple(note for check in transfer.digests for note in check.notes)
    return Finding(
        expected=_short(transfer.digests, "expected"), actual=_short(transfer.digests, "actual"), notes=notes
    )


def _require_computed(transfer: Transfer) -> None:
    """A digest of bytes that could not be read to their end was not compared with anything."""
    if all(check.actual for check in transfer.digests):
        return
    if Stage.UNPACK in transfer.broken:
        raise Blocked("unpacks", transfer.broken[Stage.UNPACK].cause)
    raise CouldNotVerify("the bytes that the recorded digest is of were not read to their end")


def _digest_problem(check: DigestCheck, copy: PlannedCopy) -> Finding | None:
    if not check.layer:
        return Finding(
            Verdict.FAILED,
            f"the recorded digest fits none of the bytes: it names a file that {check.artifact} does not contain",
            "Record the digest of the stored file itself.",
            expected=check.expected,
            actual="nothing to compare with",
            notes=tuple(check.notes),
        )
    if check.algorithm in WEAK and copy.checksum.weak == "fail":
        return Finding(
            Verdict.FAILED,
            f"only an {check.algorithm.upper()} digest is recorded, which can be forged",
            "Record SHA-256, or accept it with checksum: {weak: accept}.",
            expected="SHA-256 or stronger",
            actual=check.algorithm,
        )
    return None


def encrypted(transfer: Transfer, copy: PlannedCopy) -> Finding:
    """The stored bytes are an encrypted container that the key held opens, or the store encrypts them itself."""
    expected = "unreadable without the key"
    if transfer.encrypted and not transfer.plain:
        return Finding(expected=expected, actual=f"{transfer.encrypted}, opened with the key held")
    store_side = sorted({str(artifact.get("encryption") or "") for artifact in transfer.artifacts})
    if copy.store.accept_encryption and store_side and all(store_side):
        return Finding(expected=expected, actual=f"encrypted by the store ({', '.join(store_side)})")
    hint = " (the store encrypts it; the catalogue does not accept that)" if any(store_side) else ""
    return Finding(
        Verdict.FAILED,
        f"{transfer.plain or 'it'} can be read without a key{hint}",
        "Encrypt it before it leaves the machine (age, gpg), or set accept_encryption: true on the store.",
        expected=expected,
        actual="readable",
    )


def unpacked(transfer: Transfer) -> Finding:
    """It decoded and unpacked to its end."""
    codecs = [layer["format"] for artifact in transfer.artifacts[:1] for layer in artifact.get("layers", [])]
    notes = tuple(transfer.unpack.get("notes", ()))
    return Finding(
        expected="decodes to its end",
        actual=f"{' > '.join(codecs) or 'a directory'}, {transfer.content_bytes} bytes",
        notes=notes,
    )


def chain_complete(links: Sequence[str]) -> Finding:
    """Every link was there, in order."""
    return Finding(expected="no link missing", actual=" > ".join(links))


def restored(facts: RestoreFacts) -> Finding:
    """The engine brought it back."""
    return Finding(expected="something came back", actual=facts.summary, notes=tuple(facts.notes))


def within_rto(facts: RestoreFacts, target: PlannedTarget) -> Finding:
    """First byte fetched to first query answered (or last file written) took no longer than the RTO."""
    expected, actual = f"at most {format_duration(target.rto)}", format_duration(facts.rto_seconds)
    tolerance = f"none; on {facts.machine}, {facts.concurrency} drill(s) at once; checks and waiting excluded"
    if facts.rto_seconds <= target.rto.total_seconds():
        return Finding(expected=expected, actual=actual, tolerance=tolerance)
    return Finding(
        Verdict.FAILED,
        f"it took {actual} to be back, the RTO is {format_duration(target.rto)}",
        "Look at the seconds of each stage; give the target its own rto if the drill's hardware is slower.",
        expected=expected,
        actual=actual,
        tolerance=tolerance,
    )


def disposed(left: Sequence[str], reason: str) -> Finding:
    """Nothing of the restored copy is left."""
    if not left:
        return Finding(expected="nothing left", actual="nothing left")
    return Finding(
        Verdict.FAILED,
        f"{len(left)} thing(s) of the restored copy could not be removed: {reason}",
        "Remove them by hand: they are a copy of production data. Their names are on the terminal.",
        expected="nothing left",
        actual=f"{len(left)} left",
        details=tuple(left),
    )


def _short(digests: Sequence[DigestCheck], which: str) -> str:
    return ", ".join(f"{check.algorithm}:{getattr(check, which)}" for check in digests) or "none"
