"""The account of a drill and of its run: what, why, when, by whom, where, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from restore_drill.reporting.model import Document, Drill
from restore_drill.reporting.words import counted, instant, number, sentence, size, span, took

Fact = tuple[str, str, bool]
_RULES = {"newest": "the newest", "named": "named by whoever started the run", "sampled": "drawn"}
#: What is told of a drill that passed, where there are very many.
_IN_SHORT = ("Snapshot", "Taken", "Object", "SHA-256", "Drilled", "Retest of", "Restored in", "Restored in a")


def facts(drill: Drill) -> Iterator[Fact]:
    """What an auditor asks of a drill: a name, a text, and whether the text is a code (an id, a key, a digest)."""
    yield from _snapshot(drill)
    yield from _choice(drill)
    yield from _course(drill)
    yield from _place(drill)


def short_facts(drill: Drill) -> Iterator[Fact]:
    """The same in short."""
    return (fact for fact in facts(drill) if fact[0] in _IN_SHORT)


def _snapshot(drill: Drill) -> Iterator[Fact]:
    snapshot = drill.snapshot
    if not snapshot:
        yield "Snapshot", "none that could be drilled", False
        return
    yield "Snapshot", str(snapshot.get("id", "")), True
    age = drill.achieved.get("rpo_seconds")
    old = f", {span(age)} old when it was located" if age is not None else ""
    yield "Taken", f"{instant(snapshot.get('taken_at'))}{old}", False
    parents = snapshot.get("parents") or []
    chain = f", with {counted(len(parents), 'parent')}" if parents else ""
    yield "Kind and size", f"{snapshot.get('kind', 'not known')}{chain}, {size(snapshot.get('size'))} stored", False
    digests: Mapping[str, str] = snapshot.get("sha256") or {}
    for key in snapshot.get("artifacts") or []:
        yield "Object", str(key), True
        if key in digests:
            yield "SHA-256", digests[key], True
    keys = drill.data.get("keys") or []
    if keys:
        yield "Decrypted by", ", ".join(map(str, keys)), True


def _choice(drill: Drill) -> Iterator[Fact]:
    why = drill.data.get("why") or {}
    if why:
        of = f" of {counted(why['population'], 'recovery point')}" if why.get("population") else ""
        rule = str(why.get("rule", "not known"))
        if rule == "sampled":
            of = f"{of} older than the newest: {why.get('drawn', 'nothing is known of the draw')}" + (
                f", by the seed {why['seed']}" if why.get("seed") is not None else ""
            )
        yield "Chosen", f"{_RULES.get(rule, rule)}{of}", False
    store = drill.data.get("store")
    if store:
        yield "Store", str(store), False


def _course(drill: Drill) -> Iterator[Fact]:
    data = drill.data
    if data.get("started"):
        yield "Drilled", f"{instant(data['started'])}, {took(data.get('seconds') or 0.0)}; {_scope(data)}", False
    due = data.get("due") or {}
    if due:
        yield "Due by", f"{instant(due.get('by'))}; the drill before ended {instant(due.get('previous'))}", False
    earlier = data.get("retest_of") or {}
    if earlier:
        word = {"error": "could not verify it"}.get(earlier["verdict"], earlier["verdict"])
        yield "Retest of", f"run {earlier['run']}, which {word} ({instant(earlier['finished'])})", False
    if drill.achieved.get("rto_seconds") is not None:
        wanted = drill.objectives.get("rto_seconds")
        clock = str(drill.achieved.get("rto_clock", ""))
        yield "Restored in", f"{took(drill.achieved['rto_seconds'])} of {span(wanted)} allowed", False
        if clock:
            yield "Clock", clock, False
    newest = drill.achieved.get("newest_record_age_seconds")
    if newest is not None:
        yield "Newest record", f"{span(newest)} old", False


def _scope(data: Document) -> str:
    depth = f", depth {data['depth']}" if data.get("depth") else ""
    reached = f", reached: {data['reached']}" if data.get("reached") else ""
    return f"{data.get('scope', 'not known')} drill{depth}{reached}"


def _place(drill: Drill) -> Iterator[Fact]:
    place = drill.data.get("isolation") or {}
    if place:
        image = f", image {place['image']}" if place.get("image") else ""
        yield "Restored in a", f"{place.get('kind')}{image}, network: {place.get('network', 'not known')}", False
        if place.get("image_digest"):
            yield "Image", str(place["image_digest"]), True
        for proof in place.get("proof") or []:
            yield "Proof", str(proof), False
    gone = drill.data.get("disposal") or {}
    if gone:
        when = f" {instant(gone['at'])}" if gone.get("at") else ""
        left = "kept on demand" if gone.get("kept") else "destroyed" if not gone.get("left") else "NOT all destroyed"
        confirmed = gone.get("confirmed") or []
        how = f": {'; '.join(map(str, confirmed))}" if isinstance(confirmed, list) and confirmed else ""
        yield "Restored copy", f"{left}{when}{how}", False


def environment(document: Document) -> Iterator[tuple[str, str]]:
    """Who ran it, where, with what."""
    run = document["run"]
    operator = run.get("operator") or {}
    yield "Run by", f"{operator.get('user', 'not known')} on {operator.get('host', 'not known')}"
    yield "Time", f"{instant(run.get('started'))} to {instant(run.get('finished'))}"
    yield "Ended", _ended(run)
    if run.get("arguments"):
        yield "Arguments", "pytest " + " ".join(map(str, run["arguments"]))
    yield from _selection(run)
    ci = run.get("ci") or {}
    if ci.get("url"):
        yield "Pipeline", str(ci["url"])
    if ci.get("commit"):
        yield "Commit", str(ci["commit"])
    catalogue = document.get("catalogue") or {}
    yield "Catalogue", f"{catalogue.get('path', 'not known')}, sha256 {catalogue.get('sha256', 'not known')}"
    yield from _break_glass(run)
    machine = run.get("machine") or {}
    yield "Machine", f"{machine.get('platform', 'not known')}, {machine.get('cores', '?')} cores"
    yield "Drills at once", str(run.get("concurrency", "not known"))
    yield "Versions", ", ".join(f"{name} {version}" for name, version in (run.get("tools") or {}).items())


def _break_glass(run: Document) -> Iterator[tuple[str, str]]:
    stripped: Any = run.get("break_glass")
    if stripped:
        stayed = ", ".join(stripped.get("environment") or []) or "none"
        opened = stripped.get("opened") or {}
        keys = "; ".join(f"{key} opened {', '.join(what)}" for key, what in opened.items()) or "no key opened anything"
        yield "Break-glass", f"escrowed keys only, variables that stayed: {stayed}; {keys}"


def _ended(run: Document) -> str:
    ended = {
        "complete": "by itself",
        "interrupted": "it was interrupted",
        "crashed": "it crashed",
        "refused": "it was refused",
    }.get(run.get("ended", "complete"), str(run.get("ended")))
    recorded = f"; recorded later by run {run['recorded_by']}" if run.get("recorded_by") else ""
    return sentence(f"{ended}{recorded}")


def _selection(run: Document) -> Iterator[tuple[str, str]]:
    chosen: Any = run.get("selection")
    if chosen:
        yield (
            "Selection",
            f"{number(chosen['cases'])} of {number(chosen['of_cases'])} checks, "
            f"{number(chosen['targets'])} of {number(chosen['of_targets'])} targets",
        )
