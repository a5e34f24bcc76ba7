"""Did it arrive, is it what was written, and did it come back in time."""

from __future__ import annotations

from collections.abc import Sequence

from restore_drill.digests import Strength, is_weak, strength
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
    if transfer.unsigned:
        return Finding(
            Verdict.FAILED,
            f"no signature is there for {transfer.unsigned[0]}",
            "Sign it when the backup is made, and store the signature beside it; say signature.name in the catalogue "
            "where its name has another ending.",
            expected=f"a {copy.checksum.signature.kind} signature" if copy.checksum.signature else "a signature",
            actual="none",
        )
    signed = _signed(transfer, copy)
    if copy.checksum.mode == "pinned":
        return Finding(
            expected="as pinned",
            actual="as pinned",
            notes=("pinned at the first drill: not checked against its origin", *signed),
        )
    if transfer.unproven:
        name, _, codec = transfer.unproven[0].rpartition(": ")
        return Finding(
            Verdict.FAILED,
            f"no digest of the content of {name} is recorded, and {codec} cannot tell whether it was altered",
            "Record it before it is encrypted: sha256sum FILE > FILE.sha256, FILE being what is encrypted to "
            "FILE.enc, and store it beside; a digest of what is stored proves no content.",
            expected="a recorded digest of the content",
            actual="of the stored bytes" if transfer.digests else "none",
        )
    if transfer.absent:
        return Finding(
            Verdict.FAILED,
            f"no digest is recorded for {transfer.absent[0]}",
            "Write one when the backup is made (sha256sum FILE > FILE.sha256; inside a directory a SHA256SUMS of all "
            "files in it), or say checksum: pinned.",
            expected="a recorded digest",
            actual="none",
        )
    if not transfer.digests:
        if Stage.UNPACK in transfer.broken:  # a tree is hashed when all of it is there
            raise Blocked("unpacks", transfer.broken[Stage.UNPACK].cause)
        raise CouldNotVerify("no digest was compared", remedy="Look at what the drill of this copy says.")
    for check in transfer.digests:
        if finding := _digest_problem(check, transfer, copy):
            return finding
    _require_computed(transfer)
    notes = (*(note for check in transfer.digests for note in check.notes), *signed)
    return Finding(
        expected=_short(transfer.digests, "expected"), actual=_short(transfer.digests, "actual"), notes=notes
    )


def _signed(transfer: Transfer, copy: PlannedCopy) -> list[str]:
    """Who signed what, and no more than that."""
    if copy.checksum.signature and not transfer.signatures and not transfer.absent:
        raise CouldNotVerify(
            "no signature was verified",
            remedy="Signatures are verified of artifacts, and of the file in which a digest of them is recorded.",
        )
    if not all(check.key for check in transfer.signatures):
        if Stage.UNPACK in transfer.broken:
            raise Blocked("unpacks", transfer.broken[Stage.UNPACK].cause)
        raise CouldNotVerify("what is signed was not read to its end")
    return [f"{check.signed} is signed by the pinned {check.kind} key {check.key}" for check in transfer.signatures]


def _require_computed(transfer: Transfer) -> None:
    """A digest of bytes that could not be read to their end was not compared with anything."""
    if all(check.actual for check in transfer.digests):
        return
    if Stage.UNPACK in transfer.broken:
        raise Blocked("unpacks", transfer.broken[Stage.UNPACK].cause)
    raise CouldNotVerify("the bytes that the recorded digest is of were not read to their end")


def _digest_problem(check: DigestCheck, transfer: Transfer, copy: PlannedCopy) -> Finding | None:
    if not check.layer:
        return Finding(
            Verdict.FAILED,
            f"the recorded digest fits none of the bytes: it names a file that {check.artifact} does not contain",
            "Record the digest of the stored file itself.",
            expected=check.expected,
            actual="nothing to compare with",
            notes=tuple(check.notes),
        )
    if copy.checksum.weak == "fail" and _is_weak_alone(check, transfer):
        why = "can be forged" if strength(_base(check)) is Strength.FORGEABLE else "proves nothing against a forger"
        return Finding(
            Verdict.FAILED,
            f"only {'a' if _base(check)[0] in 'bc' else 'an'} {_base(check).upper()} digest is recorded, which {why}",
            "Record SHA-256, or accept it with checksum: {weak: accept}.",
            expected="SHA-256 or stronger",
            actual=check.algorithm,
        )
    return None


def _base(check: DigestCheck) -> str:
    return check.base or check.algorithm


def _is_weak_alone(check: DigestCheck, transfer: Transfer) -> bool:
    """Whether no strong digest of the same artifact is recorded beside it; all of them must match."""
    bases = [_base(each).split("+") for each in transfer.digests if each.artifact == check.artifact]
    return _any_weak(_base(check).split("+")) and all(map(_any_weak, bases))


def _any_weak(algorithms: Sequence[str]) -> bool:
    return any(map(is_weak, algorithms))


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
