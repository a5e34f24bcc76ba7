"""The disaster-recovery plan for a terminal, as Markdown, and as plain values for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from restore_drill.printable import printable
from restore_drill.quantities import format_duration, format_instant, format_size
from restore_drill.recovery.dr_plan import Clock, DrPlan, Recovery, SetRow
from restore_drill.recovery.prose import code, text

_HEAD = (
    "#", "target", "wave", "after", "owner", "snapshot", "proved", "would lose", "restoring", "done after",
    "in parallel", "objective",
)  # fmt: skip
FORM = "restore-drill/dr-plan/1"
CLOCKS = (
    "One after the other: in the order of this list. In parallel: each as soon as all that it waits for is done. "
    "Times are those of the last passed drills, on the machines that drilled."
)


def clock(value: Clock) -> str:
    """When something is done."""
    return f"{'at least ' if value.at_least else ''}{format_duration(value.seconds)}"


def lines(plan: DrPlan, catalogue: str, now: float, problems: Sequence[str]) -> Iterator[str]:
    """For a terminal; what is not proved comes first and last."""
    yield f"Disaster-recovery plan, {format_instant(now)}, of {printable(catalogue)}"
    if plan.without:
        yield f"without the stores {', '.join(plan.without)}, which are taken for lost"
    yield from _alarms(plan, problems)
    yield _totals(plan)
    yield CLOCKS
    yield from (f"To be restored to one moment: {_set(each)}" for each in plan.sets)
    for each in plan.recoveries:
        yield ""
        yield from _recovery(each)
    if list(_alarms(plan, ())):
        yield ""
        yield from _alarms(plan, ())


def _alarms(plan: DrPlan, problems: Sequence[str]) -> Iterator[str]:
    yield from (f"PROBLEM: {printable(problem)}" for problem in problems)
    for each in plan.unproved:
        yield f"NOT PROVED: {each.target.name}: {printable(each.why_not)}"
    for each in plan.recoveries:
        if each.doubt:
            yield f"IN DOUBT: {each.target.name}: {printable(each.doubt)}"
    for torn in (each for each in plan.sets if each.torn):
        yield (
            f"NOT ONE MOMENT: {_set(torn)}: these snapshots lie {format_duration(torn.apart or 0.0)} apart, and may "
            f"{format_duration(torn.within)}: choose older ones that fit, as the drill of the set does"
        )
    for each in plan.late:
        yield f"TOO LATE: {each.target.name}: back after {clock(each.in_parallel)} at best, {_rto(each)}"


def _set(found: SetRow) -> str:
    return f"the set {found.name} ({', '.join(found.members)})"


def _totals(plan: DrPlan) -> str:
    proved = len(plan.recoveries) - len(plan.unproved)
    data = f"{format_size(plan.stored_bytes)} to fetch, {format_size(plan.content_bytes)} restored"
    if plan.unproved:
        data = f"at least {data}"
    when = f"all back after {clock(plan.alone)} one after the other, {clock(plan.in_parallel)} in parallel"
    return f"{len(plan.recoveries)} targets, {proved} of them proved; {data}; {when}"


def _recovery(each: Recovery) -> Iterator[str]:
    target = each.target
    waits = f", after {', '.join(target.model.depends_on)}" if target.model.depends_on else ""
    lifted = f", early because {each.turn.lifted_by} waits for it" if each.turn.lifted_by else ""
    owner = printable(target.model.owner) if target.model.owner else "owner NOT NAMED"
    yield f"{each.number}. {target.name} ({target.tier}, wave {each.turn.wave}{waits}{lifted}), {owner}"
    if each.proof is None or each.copy is None:
        yield f"   NOT PROVED: {printable(each.why_not)}"
    else:
        yield (
            f"   snapshot {each.proof.snapshot} of {each.copy.name}, taken {format_instant(each.proof.taken_at)}, "
            f"proved {format_instant(each.proof.finished)}"
            f"{' under an exception' if each.proof.verdict != 'passed' else ''}; {_loss(each)}"
        )
    took = "not known" if each.seconds is None else format_duration(each.seconds)
    done = f"done after {clock(each.alone)}; in parallel {clock(each.in_parallel)}"
    yield f"   restoring took {took}{_data(each)}; {done}; {_rto(each)}"


def _rto(each: Recovery) -> str:
    objective = f"RTO {format_duration(each.target.rto)}"
    if each.late_in_parallel:
        return f"{objective} MISSED"
    if each.late_alone:
        return f"{objective} met only in parallel"
    return objective


def _loss(each: Recovery) -> str:
    if each.loses is None:
        return "what would be lost is not known"
    if each.target.model.frozen:
        return "frozen, nothing is lost"
    said = f"would lose {format_duration(max(0.0, each.loses))}, RPO {format_duration(each.target.rpo)}"
    return f"{said}: MORE THAN ALLOWED unless a newer one can be restored" if each.too_old else said


def _data(each: Recovery) -> str:
    if each.stored_bytes is None or each.content_bytes is None:
        return ""
    return f", {format_size(each.stored_bytes)} fetched, {format_size(each.content_bytes)} restored"


def markdown(plan: DrPlan, catalogue: str, now: float, problems: Sequence[str]) -> Iterator[str]:
    """For a wiki, or on paper."""
    yield "# Disaster-recovery plan"
    yield ""
    yield f"Of {code(catalogue)}, {format_instant(now)}. {text(_totals(plan))}. {text(CLOCKS)}"
    if plan.without:
        yield f"Without the stores {', '.join(code(name) for name in plan.without)}, which are taken for lost."
    yield from (f"To be restored to one moment: {text(_set(each))}." for each in plan.sets)
    alarms = list(_alarms(plan, problems))
    if alarms:
        yield ""
        yield from (f"> - **{text(alarm)}**" for alarm in alarms)
    yield ""
    yield f"| {' | '.join(_HEAD)} |"
    yield "|" + "---|" * len(_HEAD)
    for each in plan.recoveries:
        yield f"| {' | '.join(_cells(each))} |"


def _cells(each: Recovery) -> list[str]:
    target, proof = each.target, each.proof
    proved = bool(proof and each.copy)
    return [
        str(each.number),
        f"**{target.name}** ({target.tier})",
        str(each.turn.wave),
        ", ".join(target.model.depends_on),
        text(target.model.owner) if target.model.owner else "**not named**",
        f"{code(proof.snapshot)} of {each.copy.name}"
        if proof and each.copy
        else f"**NOT PROVED: {text(each.why_not)}**",
        format_instant(proof.finished) if proof else "",
        text(_loss(each)) if proved else "",
        ("not known" if each.seconds is None else format_duration(each.seconds)) + text(_data(each)),
        clock(each.alone),
        clock(each.in_parallel),
        text(_rto(each)),
    ]


def plain(plan: DrPlan, catalogue: str, now: float, problems: Sequence[str]) -> dict[str, Any]:
    """For programs; times in seconds, moments in seconds since the epoch."""
    return {
        "form": FORM,
        "catalogue": catalogue,
        "at": round(now, 3),
        "without": list(plan.without),
        "problems": list(problems),
        "not_proved": [each.target.name for each in plan.unproved],
        "too_late": [each.target.name for each in plan.late],
        "stored_bytes": plan.stored_bytes,
        "content_bytes": plan.content_bytes,
        "one_after_the_other": _as_values(plan.alone),
        "in_parallel": _as_values(plan.in_parallel),
        "sets": [
            {"set": each.name, "targets": list(each.members), "apart_seconds": each.apart, "one_moment": not each.torn}
            for each in plan.sets
        ],
        "targets": [_as_row(each) for each in plan.recoveries],
    }


def _as_values(value: Clock) -> dict[str, Any]:
    return {"seconds": round(value.seconds, 3), "at_least": value.at_least}


def _as_row(each: Recovery) -> dict[str, Any]:
    target, proof = each.target, each.proof
    return {
        "target": target.name, "tier": target.tier, "owner": target.model.owner, "engine": target.model.engine,
        "number": each.number, "wave": each.turn.wave, "depends_on": list(target.model.depends_on),
        "lifted_by": each.turn.lifted_by or None,
        "copy": each.copy.name if each.copy else None, "store": each.copy.store_name if each.copy else None,
        "proved": proof is not None, "why_not": each.why_not or None,
        "doubt": each.doubt or None,
        "snapshot": proof.snapshot if proof else None, "run": proof.run if proof else None,
        "verdict": proof.verdict if proof else None,
        "taken_at": proof.taken_at if proof else None, "proved_at": proof.finished if proof else None,
        "would_lose_seconds": None if each.loses is None else round(each.loses, 3), "too_old": each.too_old,
        "restore_seconds": each.seconds, "stored_bytes": each.stored_bytes, "content_bytes": each.content_bytes,
        "one_after_the_other": _as_values(each.alone), "in_parallel": _as_values(each.in_parallel),
        "rto_seconds": target.rto.total_seconds(), "rpo_seconds": target.rpo.total_seconds(),
        "meets_rto": {"one_after_the_other": not each.late_alone, "in_parallel": not each.late_in_parallel},
    }  # fmt: skip
