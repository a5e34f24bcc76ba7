"""A target's copies beside each other: 3-2-1, agreement, and the exceptions made for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from restore_drill.catalogue.expect import ApprovedException
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.plan import PlannedTarget
from restore_drill.quantities import format_duration, format_instant


@dataclass(frozen=True, slots=True)
class CopyStanding:
    """What 3-2-1 needs to know of one copy.

    Attributes:
        proved: Its last whole drill passed within the interval.
        why_not: Otherwise, why not.
        blocked_by: The case of this run because of which it is not, where it is that.
        domains: What fails with it: the catalogue's word, and the device it lies on.
    """

    name: str
    media: str
    offsite: bool
    domains: frozenset[str]
    proved: bool
    why_not: str = ""
    blocked_by: str = ""


def three_two_one(copies: Sequence[CopyStanding], target: PlannedTarget) -> Finding:
    """Three copies (the live one counts), two media, one offsite; a copy counts once it was proved by a whole drill."""
    expected = "3 copies, 2 media, 1 offsite"
    declared = _count(copies, target)
    proved = _count([copy for copy in copies if copy.proved], target)
    unproved = [copy for copy in copies if not copy.proved]
    notes = tuple(f"{copy.name} does not count: {copy.why_not}" for copy in unproved)
    if not _short_of(proved):
        return Finding(expected=expected, actual=_counted(proved), notes=notes)
    if missing := _short_of(declared):
        return Finding(
            Verdict.FAILED,
            f"3-2-1 is not kept: {', '.join(missing)}",
            "Add a copy in another store; two stores on one device or failure domain count once.",
            expected=expected,
            actual=_counted(declared),
            notes=notes,
        )
    if unproved[0].blocked_by:
        raise Blocked(unproved[0].blocked_by, f"{unproved[0].name} is not proved: {unproved[0].why_not}")
    raise CouldNotVerify(
        f"3-2-1 would be kept, but {unproved[0].name} is not proved: {unproved[0].why_not}",
        remedy="It counts again when its own whole drill passes.",
    )


def _count(copies: Sequence[CopyStanding], target: PlannedTarget) -> tuple[int, int, int]:
    """Copies, media and offsite copies, those that share a failure domain counted once."""
    live = target.model.live
    domains: list[frozenset[str]] = []
    media: set[str] = set()
    offsite = 0
    if live is not False:
        domains.append(frozenset({live.failure_domain}) if live.failure_domain else frozenset({"live"}))
        media |= {live.media} if live.media else set()
    # One that shares domains with several others comes after them, so that the order in the catalogue decides nothing.
    for copy in sorted(copies, key=lambda copy: (len(copy.domains), not copy.offsite)):
        if any(copy.domains & known for known in domains):
            continue
        domains.append(copy.domains or frozenset({f"copy {copy.name}"}))
        media.add(copy.media)
        offsite += copy.offsite
    return len(domains), len(media), offsite


def _short_of(counted: tuple[int, int, int]) -> list[str]:
    copies, media, offsite = counted
    missing = [f"{copies} of 3 independent copies"] if copies < 3 else []
    missing += [f"{media} of 2 media"] if media < 2 else []
    return missing + ([] if offsite else ["none offsite"])


def _counted(counted: tuple[int, int, int]) -> str:
    return f"{counted[0]} copies, {counted[1]} media, {counted[2]} offsite"


def exceptions_current(exceptions: Iterable[ApprovedException], today: date) -> Finding:
    """No exception of the target has run out."""
    known = list(exceptions)
    expired = [exception for exception in known if exception.expires < today]
    expected = "none expired"
    if not expired:
        soon = min(exception.expires for exception in known)
        return Finding(expected=expected, actual=f"{len(known)} current, the first ends on {soon}")
    first = expired[0]
    return Finding(
        Verdict.FAILED,
        f"the exception {first.id} for {first.case} expired on {first.expires} (approved by {first.approver})",
        "Mend what it excused, or have it approved again with a new date.",
        expected=expected,
        actual=f"{len(expired)} expired",
    )


@dataclass(frozen=True, slots=True)
class CopyContent:
    """One copy's content of the newest snapshot that all copies have.

    Attributes:
        kind: ``file`` or ``tree``: digests of different kinds cannot be compared.
        digest: SHA-256 of the content.
    """

    name: str
    snapshot: str
    kind: str
    digest: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is known of a target's copies beside each other (times in seconds since the epoch).

    Attributes:
        newest: Copy → the time of its newest snapshot.
        common: The time of the newest snapshot that every copy has, or ``None``.
    """

    newest: Mapping[str, float]
    common: float | None
    contents: Sequence[CopyContent] = ()


def copies_agree(facts: Agreement, target: PlannedTarget) -> Finding:
    """The newest snapshot that all copies have is recent enough, and has the same content everywhere."""
    bound = target.copy_lag + target.model.grace
    expected = f"the same content, at most {format_duration(bound)} behind"
    ahead = max(facts.newest.values())
    listed = ", ".join(f"{name} {format_instant(taken)}" for name, taken in facts.newest.items())
    if facts.common is None or ahead - facts.common > bound.total_seconds():
        behind = "at all" if facts.common is None else f"since {format_instant(facts.common)}"
        return Finding(
            Verdict.FAILED,
            f"the copies have no snapshot in common {behind} (newest: {listed}; allowed are {format_duration(bound)})",
            "Check the replication between the stores, or raise copy_lag.",
            expected=expected,
            actual=f"none in common {behind}",
        )
    if unknown := [content.name for content in facts.contents if not content.digest]:
        raise CouldNotVerify(
            f"the content of the copy {unknown[0]} has no digest to compare",
            remedy="Look at what the drill of this copy says.",
        )
    kinds = {content.kind for content in facts.contents}
    if len(kinds) > 1:
        raise CouldNotVerify(
            "the copies keep the same snapshot in forms that cannot be compared: " + ", ".join(sorted(kinds)),
            remedy="Keep them in one form, or compare them in a case of your own.",
        )
    digests = {content.digest for content in facts.contents}
    if len(digests) == 1:
        return Finding(
            expected=expected, actual=f"equal at {format_instant(facts.common)}", notes=(f"newest: {listed}",)
        )
    shown = ", ".join(f"{content.name} {content.digest[:16]}" for content in facts.contents)
    return Finding(
        Verdict.FAILED,
        f"the copies of {format_instant(facts.common)} differ in content: {shown}",
        "One of them is not what was backed up: compare both with the recorded digest and the live system.",
        expected=expected,
        actual=f"{len(digests)} different contents",
    )
