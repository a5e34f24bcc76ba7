"""A runbook as Markdown: for a person who is tired, and for the drill that executes it. Everything is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from restore_drill.quantities import format_duration, format_instant, format_size
from restore_drill.recovery.book import WrittenStep
from restore_drill.recovery.prose import code, text
from restore_drill.recovery.runbook import Runbook

_TICKS = re.compile(r"`+")


def render(runbook: Runbook, now: float) -> str:
    """The whole document.

    Args:
        runbook: What it says.
        now: When it is written (seconds since the epoch).
    """
    return "\n".join(_lines(runbook, now)) + "\n"


def _lines(runbook: Runbook, now: float) -> Iterator[str]:
    target = runbook.target
    yield f"# Recovery of {target.name}"
    yield ""
    yield from _standing(runbook)
    yield from _table(("", ""), _facts(runbook))
    yield from _prerequisites(runbook)
    number = 0
    for heading, steps in (
        ("Steps", runbook.steps), ("Verification", runbook.verification), ("Going live", runbook.going_live),
    ):  # fmt: skip
        yield from ("", f"## {heading}")
        for step in steps:
            number += 1
            yield from _step(f"{number}. {step.title}", step, runbook.executed)
    yield from ("", "## Rollback", "", "Only if what was put in place turns out to be wrong.")
    for step in runbook.rollback:
        yield from _step(step.title, step, runbook.executed)
    yield from ("", "## Where this comes from", "")
    written = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%MZ")
    yield (
        f"Written {written} by `restore-drill runbook {target.name} --copy {runbook.copy.name}` from the catalogue and "
        "the ledger of drills. It is about one snapshot: write it again after every drill."
    )
    if target.model.runbook is None:
        yield from ("", "To have it drilled every night, add to the target:", "")
        yield from ("```yaml", "runbook: {generated: true}", "```")


def _standing(runbook: Runbook) -> Iterator[str]:
    """What is proved, before anything else."""
    proof, target = runbook.drilled.proof, runbook.target
    if proof is None:
        why = text(runbook.reason or "no whole drill of it has passed")
        yield f"> **NEVER PROVED: {why}.**"
        yield "> What follows is made of the catalogue alone; nobody has seen it work. Formats are guessed by names."
        yield ""
    else:
        rto = _rto(runbook)
        yield f"**Last proved on {format_instant(proof.finished)}**, by the run {code(proof.run)}: restored{rto}."
        if runbook.executed:
            yield "That drill also executed these steps, one by one."
        if runbook.reason:
            yield f"**IN DOUBT: {text(runbook.reason)}.** What follows brings back the newest snapshot that is proved."
        if proof.verdict != "passed":
            yield "**Some of its cases failed under an approved exception.**"
        yield ""
    if runbook.parts.by_hand:
        yield "> **Not everything is in the commands:**"
        yield from (f"> - {line}" for line in runbook.parts.by_hand)
        yield ""
    if not target.is_full:
        yield f"> **Drills of this target restore less than everything: {target.depth}.**"
        yield ""


def _rto(runbook: Runbook) -> str:
    seconds = _measured(runbook)
    if seconds is None:
        return ""
    objective = format_duration(runbook.target.rto)
    return f" in {format_duration(seconds)}, where the RTO allows {objective}"


def _measured(runbook: Runbook) -> float | None:
    found = runbook.drilled.evidence.get("achieved", {}).get("rto_seconds")
    return float(found) if found is not None else None


def _facts(runbook: Runbook) -> list[tuple[str, str]]:
    target, copy, drilled, proof = runbook.target, runbook.copy, runbook.drilled, runbook.drilled.proof
    rows = [
        ("What", text(target.model.description or target.name)),
        ("Owner", f"**{text(target.model.owner)}**" if target.model.owner else "**not named in the catalogue**"),
        ("Tier", f"{target.tier}: RPO {format_duration(target.rpo)}, RTO {format_duration(target.rto)}"),
        ("Engine", " ".join(filter(None, [target.model.engine, text(drilled.evidence.get("engine_version", ""))]))),
        ("Copy", f"{copy.name}, in the store {copy.store_name} ({code(copy.settings.url)})"),
    ]
    if proof is None:
        return [*rows, ("Snapshot", f"to be chosen: {code(copy.pattern.text)}")]
    rows += [
        ("Snapshot", f"{code(proof.snapshot)}, taken {format_instant(proof.taken_at)}"),
        ("Data", f"{format_size(drilled.stored_bytes)} to fetch, {format_size(drilled.content_bytes)} restored"),
    ]
    for stored in drilled.stored:
        rows.append((f"Digest of {code(stored.key)}", f"sha256 {code(stored.sha256)}"))
    return rows


def _prerequisites(runbook: Runbook) -> Iterator[str]:
    parts, target = runbook.parts, runbook.target
    yield from ("", "## Prerequisites", "")
    if target.model.depends_on:
        first = ", ".join(f"**{name}**" for name in target.model.depends_on)
        yield f"- Bring back first: {first}."
    yield "- One shell for all steps: bash, on a machine with these programs: " + (
        ", ".join(code(program) for program in parts.programs) + "."
    )
    yield from (f"- {line}" for line in parts.cautions)
    yield "- These variables, set in that shell (`export NAME=value`):"
    yield ""
    rows = [(code(each.name), each.meaning, code(each.example) if each.example else "") for each in parts.variables]
    yield from _table(("variable", "meaning", "in the catalogue, or for example"), rows)


def _step(title: str, step: WrittenStep, executed: Mapping[str, float]) -> Iterator[str]:
    yield from ("", f"### {title}", "")
    if step.about:
        yield from (step.about, "")
    if title in executed:
        yield from (f"Took {format_duration(executed[title])} in that drill, which executed these steps.", "")
    elif step.took:
        yield from (f"Took {step.took}.", "")
    script = step.script()
    fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(script)), default=0))
    yield from (f"{fence}sh", script, fence)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
