"""``summary.md``: what a pipeline's job page shows of a run, in GitHub's Markdown; readable as plain text, too.

Names and messages come from outside. Whatever could be Markdown, HTML, a mention, a reference or a link in them is
written such that a page shows it as it is (GitHub Flavored Markdown 0.29, sections 2.4, 4.10 and 6.6).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from restore_drill.printable import printable
from restore_drill.reporting.causes import Cause
from restore_drill.reporting.model import Objective
from restore_drill.reporting.page import LedgerState, RunPage, run_page
from restore_drill.reporting.words import counted, instant, listed, span
from restore_drill.sampling import chance

#: What GitHub keeps of all that one step writes to its summary.
JOB_PAGE_LIMIT = 1024 * 1024
#: So many entries of a list are shown; the report has all of them.
_SHOWN = 25
_FAILED = 5
_LONGEST = 600
_CUT = "\n\n*The rest was cut: this page would grow beyond what is shown. `report.html` and `summary.md` have it.*\n"
#: What code between backticks can hold as it is, in a table as well.
_PLAIN = re.compile(r"[^`|\\]+")
_MARKUP = re.compile(r"([\\`*_\[\]{}|~$!^=])")
_FOUND_LATER = re.compile(r"[@#]|(?:https?|ftp|mailto|xmpp)(?=:)|www(?=\.)", re.IGNORECASE)
_WORD = {"failed": "FAILED", "error": "NOT VERIFIED", "missed": "MISSED"}
Document = Mapping[str, Any]


def render(document: Document, *, population: Any = None, ledger: LedgerState | None = None) -> str:
    """The summary of a run.

    Args:
        document: The run's evidence.
        population: What the ledger knows of all copies up to this run; without it nothing is said of earlier drills.
        ledger: What the ledger says of the run's entry, ``None`` where none was asked.
    """
    page = run_page(document, population=population, ledger=ledger)
    sections = (
        _head(page), _causes(page.causes), _unanswered(page), _tiers(page), _older(page), _sets(page),
        _reconciled(page), _exceptions(page), _ledger(page),
    )  # fmt: skip
    return "\n".join("\n".join(section) + "\n" for section in map(list, sections) if section)


def append_to_job_page(text: str, environment: Mapping[str, str] = os.environ) -> None:
    """Append a summary to the job page that GitHub (or what works like it) offers; elsewhere nothing is done.

    What would take the page beyond its limit is cut, and says so: GitHub would show nothing at all.

    Raises:
        OSError: It could not be written.
    """
    named = environment.get("GITHUB_STEP_SUMMARY")
    if not named:
        return
    path = Path(named)
    room = JOB_PAGE_LIMIT - (path.stat().st_size if path.exists() else 0) - 1
    with path.open("ab") as file:
        file.write(b"\n" + cut(text, room) if room > 0 else b"")


def cut(text: str, room: int) -> bytes:
    """As much of a summary as there is room for, whole lines, and a last one that says that there was more."""
    whole = text.encode()
    if len(whole) <= room:
        return whole
    kept = whole[: max(0, room - len(_CUT.encode()))].rpartition(b"\n")[0]
    return kept + _CUT.encode() if kept else b""


# --- sections ---------------------------------------------------------------------------------------------------------


def _head(page: RunPage) -> Iterator[str]:
    run = page.run
    yield f"## Restore drills: {_title(page)}"
    yield ""
    yield f"**{prose(_sentence(page))}**"
    yield ""
    for word, sentence in page.notices:
        yield f"> **{prose(word)}:** {prose(sentence)}"
        yield ""
    selection = run.get("selection", {})
    selected = ""
    if selection and selection["cases"] < selection["of_cases"]:
        selected = f", {selection['cases']} of {selection['of_cases']} cases selected"
    counts = ", ".join(f"{count} {word}" for word, count in page.document["counts"].items() if count)
    yield f"Run {name(str(run['id']))}, ended {instant(run.get('finished'))}, by {name(_operator(run))}: " + (
        f"{counts or 'no cases'}{selected}."
    )


def _title(page: RunPage) -> str:
    words = {"passed": "passed", "failed": "failed", "error": "could not verify", "excepted": "passed with exceptions"}
    return words[page.verdict]


def _sentence(page: RunPage) -> str:
    """The page's own; a shard without a target says that this is no mishap."""
    shard = page.run.get("shard")
    if shard and not page.drills and page.verdict == "passed":
        return f"Shard {shard['index']} of {shard['total']} has none of the plan's targets: nothing to drill here."
    missing = page.run.get("shards", {}).get("missing", ())
    if missing:
        total = page.run["shards"]["total"]
        return f"{page.sentence} Missing: shard {listed([str(index) for index in missing])} of {total}."
    return page.sentence


def _operator(run: Document) -> str:
    operator = run.get("operator", {})
    return f"{operator.get('user', '')}@{operator.get('host', '')}"


def _causes(causes: Iterable[Cause]) -> Iterator[str]:
    found = list(causes)
    if not found:
        return
    yield f"### Needs a human: {counted(len(found), 'cause')}"
    yield ""
    yield from (_cause(cause) for cause in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"- … and {len(found) - _SHOWN} more, in `report.html`"


def _unanswered(page: RunPage) -> Iterator[str]:
    """What is broken elsewhere: a run of another tier does not make it well."""
    found = page.unanswered
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        told = ", ".join(map(prose, found[:_SHOWN]))
        yield f"**Broken by earlier drills, and not answered by this run:** {told}{more}."


def _cause(cause: Cause) -> str:
    """One line: what is broken, how, since when, what to do."""
    backups = [" / ".join(filter(None, backup)) for backup in cause.backups[:3]]
    more = len(cause.backups) - len(backups)
    what = ", ".join(map(name, backups)) + (f" and {more} more" if more else "") if backups else "the run"
    parts = [f"- **{_WORD.get(cause.state, cause.state)}** {what}: {name(cause.case)}: {_ended(cause.said)}"]
    parts.append(f"Since {prose(cause.since)}.")
    parts += [f"Last good: {prose(cause.good)}."] if cause.good else []
    parts += [f"It blocks {counted(cause.blocked, 'case')}."] if cause.blocked else []
    parts.append(f"*To do:* {_ended(cause.remedy)}")
    parts += [f"*Again:* {name(cause.again)}"] if cause.again else []
    return " ".join(parts)


def _ended(sentence: str) -> str:
    return f"{prose(sentence.rstrip().removesuffix('.'))}."


def _tiers(page: RunPage) -> Iterator[str]:
    if not page.tiers:
        return
    yield "### Tiers"
    yield ""
    yield "| tier | drilled | passed | failed | not verified | excepted | worst age (RPO) | slowest restore (RTO) |"
    yield "|---|---:|---:|---:|---:|---:|---|---|"
    for tier in page.tiers:
        verdicts = [drill.verdict for drill in page.newest if str(drill.data.get("tier", "")) == tier.name]
        counts = " | ".join(str(verdicts.count(each)) for each in ("passed", "failed", "error", "excepted"))
        rpo, rto = _objective(tier.rpo), _objective(tier.rto)
        yield f"| {name(tier.name)} | {tier.drilled} of {tier.known} | {counts} | {rpo} | {rto} |"


def _objective(objective: Objective) -> str:
    if objective.reached is None:
        return objective.state + (f" (wanted {span(objective.wanted)})" if objective.wanted else "")
    state = "" if objective.state == "met" else f" **{objective.state}**"
    return f"{span(objective.reached)} of {span(objective.wanted)}{state}, {name(objective.of)}"


def _sets(page: RunPage) -> Iterator[str]:
    """What was brought back together, and to which moment."""
    if not page.sets:
        return
    yield "### Sets"
    yield ""
    yield "| set | verdict | targets | moments apart (allowed) | age | all of it back in |"
    yield "|---|---|---|---|---|---|"
    for each in page.sets[:_SHOWN]:
        members = ", ".join(name(f"{member['target']} / {member['copy']}") for member in each["members"])
        spread, age, back = (
            span(each[key]) if key in each else "–" for key in ("spread_seconds", "age_seconds", "rto_seconds")
        )
        moments = f"{spread} ({span(each['within_seconds'])})"
        yield f"| {name(str(each['set']))} | {prose(each['verdict'])} | {members} | {moments} | {age} | {back} |"


def _older(page: RunPage) -> Iterator[str]:
    """What is known of older snapshots, copy by copy."""
    if not page.samples:
        return
    yield "### Older snapshots"
    yield ""
    yield "| backup | listed | drilled so far | by this run | seed | chance to have found one more damaged | failed |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for each in page.samples[:_SHOWN]:
        backup, failed = name(f"{each['target']} / {each['copy']}"), ", ".join(map(name, each["failed"][:_FAILED]))
        if each.get("problem"):
            yield f"| {backup} | could not be listed: {prose(str(each['problem']))} | | | | | |"
            continue
        more = f" and {len(each['failed']) - _FAILED} more" if len(each["failed"]) > _FAILED else ""
        seed = "" if each["seed"] is None else str(each["seed"])
        cells = (each["population"], each["drilled"], each["drawn"], seed, chance(each))
        yield f"| {backup} | {' | '.join(map(str, cells))} | {failed}{more} |"
    if len(page.samples) > _SHOWN:
        yield ""
        yield f"… and {len(page.samples) - _SHOWN} more, in `report.html`."


def _reconciled(page: RunPage) -> Iterator[str]:
    """The drill calendar's account, where the ledger is known."""
    if page.population is None:
        return
    totals = page.population.totals
    names = ("due", "ran", "failed", "could_not_verify", "missed", "excepted")
    due, *parts = (getattr(totals, each) for each in names)
    since = f"since {instant(page.population.first)}" if page.population.first is not None else "so far"
    if not due:
        yield f"**Drills due {since}:** none yet."
        return
    words = ("ran and passed", "failed", "could not be verified", "missed", "excepted")
    account = " + ".join(f"{count} {word}" for count, word in zip(parts, words, strict=True))
    yield f"**Drills due {since}:** {due} = {account}."


def _exceptions(page: RunPage) -> Iterator[str]:
    if not page.exceptions:
        return
    yield f"### Exceptions: {len(page.exceptions)}"
    yield ""
    yield "| exception | covers | state | expires | approved by | reason |"
    yield "|---|---|---|---|---|---|"
    for state, each in page.exceptions[:_SHOWN]:
        covers = " / ".join(str(each[part]) for part in ("target", "copy", "case", "detail") if each.get(part))
        cells = (name(str(each["id"])), name(covers), prose(state), prose(str(each.get("expires", ""))))
        yield f"| {' | '.join(cells)} | {prose(str(each.get('approver', '')))} | {prose(str(each.get('reason', '')))} |"
    if len(page.exceptions) > _SHOWN:
        yield ""
        yield f"… and {len(page.exceptions) - _SHOWN} more, in `report.html`."


def _ledger(page: RunPage) -> Iterator[str]:
    ledger = page.ledger
    shards = page.run.get("merged_from", ())
    if shards:
        yield f"**Ledger:** the shards' runs have entries of their own: {listed([name(each) for each in shards])}."
        return
    if ledger is None or ledger.sequence is None:
        yield "**Ledger:** this run is in none."
        return
    signed = f"signed with the key {name(ledger.key_id)}" if ledger.key_id else "**not signed**"
    yield f"**Ledger:** entry {ledger.sequence}, {name(ledger.digest[:16])}, {signed}."


# --- text from outside ------------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """A text as a page shows it word for word, on one line, in a table and outside of one."""
    text = " ".join(printable(text).split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKUP.sub(r"\\\1", text)
    # Mentions, references and addresses are looked for where no escape is left: a space without width keeps them apart.
    return _FOUND_LATER.sub(r"\g<0>&#8203;", text)


def name(text: str) -> str:
    """A name as code."""
    text = " ".join(printable(text).split())[:_LONGEST]
    if not text:
        return ""
    return f"`{text}`" if _PLAIN.fullmatch(text) else f"<code>{prose(text)}</code>"
