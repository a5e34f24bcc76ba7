"""What ``restore-drill status`` writes for people: it fits a terminal of 100 columns."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from restore_drill.printable import printable
from restore_drill.quantities import format_duration, format_size
from restore_drill.sampling import chance

if TYPE_CHECKING:
    from restore_drill.cli.status import Status
    from restore_drill.policy.population import Standing, Totals

#: Signs of the strip of the last drills.
_SIGNS = {"passed": ".", "failed": "F", "error": "?", "excepted": "E"}
_LEGEND = ". passed   F failed   ? could not verify   E excepted   lower case, or a comma: not a whole drill"
_COLOURS = {"red": "31", "yellow": "33", "green": "32", "bold": "1"}
_STATES = {"failing": "failed", "unverified": "unverified", "good": "passed", "excepted": "excepted"}
_NARROWEST, _STRIP = 80, 30
#: Missed windows, and groups of what no target covers, that are listed of each copy and store.
_LISTED, _GROUPS = 5, 15


def lines(status: Status) -> Iterator[str]:
    """Everything, the verdict first."""
    yield from sentence(status)
    yield from _copies(status)
    yield from _older(status)
    yield from _reckoning(status)
    yield from _exceptions(status)
    yield from _uncovered(status)
    yield from _end(status)


# --- the verdict ------------------------------------------------------------------------------------------------------


def headline(status: Status) -> tuple[str, str]:
    """The verdict in one sentence, and its colour."""
    copies = status.copies
    overdue = [each for each in copies if each.overdue]
    failing = [each for each in copies if each.failing_since is not None]
    unverified = [each for each in copies if each.unverified_since is not None]
    bad = [f"{each.target}: {each.case}" for each in status.across]
    parts = [f"{len(overdue)} of {len(copies)} copies {_are(overdue)} overdue{_where(overdue)}"] if overdue else []
    if failing:
        parts.append(f"{len(failing)} {_are(failing)} failing{_since(each.failing_since for each in failing)}")
        parts[-1] += _where(failing)
    if unverified:
        parts.append(f"{len(unverified)} could not be verified{_since(each.unverified_since for each in unverified)}")
        parts[-1] += _where(unverified)
    parts += [f"across copies {', '.join(bad)} {_are(bad)} not passed"] if bad else []
    older = sum(len(each["failed"]) for each in status.samples)
    parts += [f"{older} older snapshot{'' if older == 1 else 's'} failed and {_are([0] * older)} still kept"] * bool(
        older
    )
    if parts:
        return f"{'; '.join(parts)}.", "red" if overdue or failing or older else "yellow"
    never = [each for each in copies if each.last_whole is None]
    if not copies or len(never) == len(copies):
        return f"None of {len(copies)} copies was drilled yet, and none is overdue.", "yellow"
    if len(copies) == 1:
        return "The only copy is good and not overdue.", "green"
    rest = f"; {len(never)} {'was' if len(never) == 1 else 'were'} not drilled yet" if never else ""
    return f"All {len(copies)} copies are good and none is overdue{rest}.", "yellow" if rest else "green"


def sentence(status: Status) -> Iterator[str]:
    """The verdict, and a line for everything that is wrong."""
    text, colour = headline(status)
    yield _paint(text, colour, "bold")
    for each in (each for each in status.copies if each.overdue):
        last = "never drilled" if each.last_whole is None else f"last whole drill {instant(each.last_whole)}"
        yield f"  overdue     {name(each)}: since {instant(each.due_by)} ({last})"
    for each in status.copies:
        since = each.unverified_since if each.failing_since is None else each.failing_since
        if since is not None:
            word = "failing" if each.failing_since is not None else "unverified"
            yield f"  {word:<11} {name(each)}: since {instant(since)}: {each.failing_case}: {printable(each.message)}"
    for case in status.across:
        told = f"since {instant(case.since)}: {case.case}: {printable(case.message)}"
        yield f"  {case.verdict:<11} {case.target}: {told}"
    for problem in status.problems:
        yield _paint(f"  problem     {printable(problem)}", "yellow")


def _where(found: Sequence[Standing]) -> str:
    """The only one by its name, with the case that says why."""
    if len(found) != 1:
        return ""
    cause = f": {found[0].failing_case}" if found[0].failing_case and not found[0].overdue else ""
    return f" ({name(found[0])}{cause})"


def _are(found: Sequence[Any]) -> str:
    return "is" if len(found) == 1 else "are"


def _since(moments: Iterable[float | None]) -> str:
    known = [moment for moment in moments if moment is not None]
    if not known:
        return ""
    return f" since {_day(min(known))}" if len(known) == 1 else f", the first since {_day(min(known))}"


# --- how copies stand -------------------------------------------------------------------------------------------------


def _copies(status: Status) -> Iterator[str]:
    now, copies = status.population.now, status.copies
    width = max((len(name(each)) for each in copies), default=0)
    for tier, members in groupby(copies, key=lambda each: each.tier):
        found = list(members)
        yield ""
        yield _paint(f"{tier}: {_objectives(found)}", "bold")
        head = f"  {'copy':<{width}}  {'last drill':<16}  {'last good snapshot':<19}  {'next drill':<12}  "
        strip = max(10, min(_STRIP, _width() - len(head)))
        yield f"{head}last {strip}"
        for each in found:
            due = _due(each, now)
            yield (
                f"  {name(each):<{width}}  "
                + _paint(f"{_last(each, now):<16}", _colour(each))
                + f"  {_good(each, now):<19}  "
                + _paint(f"{due:<12}", "red" if each.overdue else "")
                + f"  {_strip(each)[-strip:]}"
            )
    if copies:
        yield f"  {_LEGEND}"
    unlisted = [each for each in copies if each.first_seen is None]
    if unlisted:
        yield f"In no run yet, so not counted: {', '.join(map(name, unlisted))}. The next run begins their calendar."
    if status.others:
        yield (
            f"Not in this catalogue, still counted in its ledger: {', '.join(map(name, status.others[:_LISTED]))}"
            f"{' …' if len(status.others) > _LISTED else ''}. Removed since the last run, or of another catalogue."
        )
    for each in status.left:
        yield f"Left the catalogue: {name(each)} on {_day(each.retired or 0.0)}{_how_it_stood(each)}."


def _how_it_stood(each: Standing) -> str:
    if each.failing_since is not None:
        return f", failing since {_day(each.failing_since)}"
    return f", unverified since {_day(each.unverified_since)}" if each.unverified_since is not None else ""


def _objectives(found: Sequence[Standing]) -> str:
    every = sorted({each.drill_every_seconds for each in found})
    told = "drilled every " + " or ".join(map(format_duration, every))
    for word, objective in (("RPO", "rpo_seconds"), ("RTO", "rto_seconds")):
        wanted = sorted({value for each in found if (value := getattr(each, objective)) is not None})
        told += f", {word} {' or '.join(map(format_duration, wanted))}" if wanted else ""
    return told


def name(each: Standing) -> str:
    """``orders-db/nas``."""
    return f"{each.target}/{each.copy}"


def _last(each: Standing, now: float) -> str:
    if each.last is None:
        return "never"
    return f"{_STATES.get(each.state, each.last.verdict)} {_brief(now - each.last.finished)}"


def _good(each: Standing, now: float) -> str:
    if each.last_good is None:
        return "none"
    if each.last_good.taken_at is None:
        return f"drilled {_brief(now - each.last_good.finished)} ago"
    taken = datetime.fromtimestamp(each.last_good.taken_at, UTC)
    return f"{taken:%m-%d %H:%MZ} {_brief(now - each.last_good.taken_at)}"


def _due(each: Standing, now: float) -> str:
    if each.due_by is None:
        return "not counted"
    if each.overdue:
        return f"OVERDUE {_brief(now - each.due_by)}"
    return f"in {_brief(each.due_by - now)}" if each.due_by > now else f"due {_brief(now - each.due_by)}"


def _strip(each: Standing) -> str:
    signs = [(_SIGNS.get(drill.verdict, "?"), drill.scope == "whole") for drill in each.recent]
    return "".join(sign if whole else {".": ",", "?": "~"}.get(sign, sign.lower()) for sign, whole in signs)


def _colour(each: Standing) -> str:
    return {"failing": "red", "unverified": "yellow", "never drilled": "yellow", "good": "green"}.get(each.state, "")


# --- what was due -----------------------------------------------------------------------------------------------------


def _older(status: Status) -> Iterator[str]:
    """Older snapshots that were drilled beside the newest."""
    found = status.samples
    if not found:
        return
    yield ""
    yield _paint("Older snapshots", "bold")
    for each in found:
        where = printable(f"{each['target']}/{each['copy']}")
        chances = f"; a single damaged one found with {chance(each)}" if chance(each) else ""
        since = f" since {each['since'][:10]}" if each.get("since") else ""
        drilled = f"{each['drilled']} of {each['population']} drilled{since}{chances}"
        yield f"  {where}: {drilled} ({instant(each['seen'])}, {each['rule']})"
        for snapshot in each["failed"][:_LISTED]:
            yield _paint(f"    failed: {printable(snapshot)}", "red")
        if each.get("accepted"):
            yield f"    given up: {printable(', '.join(each['accepted'][:_LISTED]))}" + (
                f" and {len(each['accepted']) - _LISTED} more" if len(each["accepted"]) > _LISTED else ""
            )
        if len(each["failed"]) > _LISTED:
            yield _paint(f"    and {len(each['failed']) - _LISTED} more", "red")


def _reckoning(status: Status) -> Iterator[str]:
    whole, tiers = status.sums
    yield ""
    yield _paint(f"Due in {status.span.title} ({_day(status.span.since)} to {_day(status.span.until)}, UTC)", "bold")
    if not whole.due:
        yield "  No window of a drill ended in it."
        return
    width = max(map(len, ("all", *tiers)))
    yield f"  {'':<{width}}   due =  ran + failed + could not verify + missed + excepted"
    order = {tier: number for number, tier in enumerate(status.plan.tiers)}
    rows = sorted(tiers.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    for tier, totals in [*rows, *([("all", whole)] if len(rows) > 1 else [])]:
        yield f"  {tier:<{width}} {_row(totals)}"
    yield from _missed(status)


def _row(totals: Totals) -> str:
    return (
        f"{totals.due:>5} = {totals.ran:>4} + {totals.failed:>6} + {totals.could_not_verify:>16} + "
        f"{totals.missed:>6} + {totals.excepted:>8}"
    )


def _missed(status: Status) -> Iterator[str]:
    missed: dict[str, list[float]] = {}
    for each in status.population.occasions:
        if each.outcome == "missed" and status.target in ("", each.target):
            missed.setdefault(f"{each.target}/{each.copy}", []).append(each.by)
    for which, ends in sorted(missed.items()):
        more = f", and {len(ends) - _LISTED} before" if len(ends) > _LISTED else ""
        yield f"  missed: {which}: by {', '.join(map(instant, ends[-_LISTED:]))}{more}"


def _exceptions(status: Status) -> Iterator[str]:
    known = exceptions(status)
    if known:
        yield ""
        yield _paint("Exceptions", "bold")
    for each in known:
        where = "/".join(filter(None, [each["target"], each.get("copy"), each["case"], each.get("detail")]))
        days = each["days_left"]
        until = f"expires {each['expires']}" + (f", in {days} d" if days >= 0 else "")
        told = _paint(each["state"].upper() if each["state"] in ("stale", "expired") else each["state"], each["colour"])
        yield f"  {each['id']}  {where}  {until}, approved by {printable(each['approver'])}: {told}{each['hint']}"


def exceptions(status: Status) -> list[dict[str, Any]]:
    """Today's exceptions and what the last run that exercised them said, those that need somebody first."""
    today = datetime.fromtimestamp(status.population.now, UTC).date()
    found = []
    for target in status.plan.targets:
        for each in target.exceptions:
            seen = status.population.exceptions.get(each.id, {})
            state = "expired" if each.expires < today else str(seen.get("state", "not exercised"))
            state = "not exercised" if state == "expired" and each.expires >= today else state  # it was extended
            found.append(_exception(each, state, today, seen))
    urgency = ("expired", "stale", "in force", "not exercised")
    found = [each for each in found if status.target in ("", each["target"])]
    return sorted(found, key=lambda each: (urgency.index(each["state"]), each["expires"]))


def _exception(each: Any, state: str, today: date, seen: dict[str, Any]) -> dict[str, Any]:
    hints = {
        "stale": ": the case passes, remove it",
        "expired": ": what it covered fails now",
        "not exercised": " in any run yet",
    }
    places = {"copy": each.copy_, "detail": each.detail}
    return {
        "id": each.id,
        "target": each.target,
        **{place: value for place, value in places.items() if value},
        "case": each.case,
        "expires": each.expires.isoformat(),
        "days_left": (each.expires - today).days,
        "approver": each.approver,
        "state": state,
        "seen": seen.get("seen"),
        "hint": hints.get(state, ""),
        "colour": {"stale": "yellow", "expired": "red"}.get(state, ""),
    }


# --- what no target covers, and the end -------------------------------------------------------------------------------


def _uncovered(status: Status) -> Iterator[str]:
    if status.uncovered is None:
        return
    yield ""
    yield _paint("Not covered by any target", "bold")
    for store in status.uncovered:
        names = f"{', '.join(store.stores)} ({printable(store.where)})"
        if store.problem:
            yield _paint(f"  {names}: COULD NOT VERIFY: {printable(store.problem)}", "yellow")
        elif not store.count:
            yield f"  {names}: nothing, all {store.listed} objects belong to a target"
        else:
            yield f"  {names}: {store.count} of {store.listed} objects, {format_size(store.size)}"
        for group in store.groups[:_GROUPS]:
            newest = f"newest {instant(group.modified)}" if group.modified else ""
            yield f"    {printable(group.name):<44} {group.count:>7}  {format_size(group.size):>8}  {newest}"
        if len(store.groups) > _GROUPS:
            yield f"    and {len(store.groups) - _GROUPS} more places"


def _end(status: Status) -> Iterator[str]:
    population = status.population
    yield ""
    for line in status.told:
        yield printable(line)
    ended = ", ".join(f"{count} {how}" for how, count in sorted(population.runs.items())) or "none"
    last = f"; last run {status.last_run}, {instant(population.last)}" if population.last is not None else ""
    yield f"Runs in the period: {ended}{last}."
    if population.of_demo:
        yield f"{population.of_demo} runs of the demo estate stand in the same ledger and do not count."
    signed = f", {'all' if status.unsigned == status.entries else status.unsigned} UNSIGNED" if status.unsigned else ""
    yield f"Ledger: {status.where}"
    yield f"  {status.entries} entries{signed}. Check it with restore-drill ledger verify."


# --- words ------------------------------------------------------------------------------------------------------------


def _brief(length: float) -> str:
    """A length of time in its largest unit: ``5 h``."""
    return " ".join(format_duration(max(0.0, round(length))).split()[:2])


def instant(moment: float | None) -> str:
    """``2026-11-23 02:00Z``."""
    return "?" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%MZ}"


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def _width() -> int:
    return max(_NARROWEST, shutil.get_terminal_size((100, 24)).columns)


def _paint(text: str, *colours: str) -> str:
    """In colour on a terminal, unless ``NO_COLOR`` is set (no-color.org)."""
    codes = ";".join(_COLOURS[colour] for colour in colours if colour)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text
