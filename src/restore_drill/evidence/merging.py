"""Evidence of several runs that were parts of one plan, joined into one document; what is missing is named.

A joined document is no entry of the ledger: each shard's run has its own there, and the document says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from restore_drill.errors import UsageProblem
from restore_drill.evidence import surroundings
from restore_drill.evidence.reading import FORM
from restore_drill.plan_file import PlanFile
from restore_drill.quantities import format_duration
from restore_drill.sharding import shard_of

Document = Mapping[str, Any]
_WORST_FIRST = ("failed", "error", "excepted", "passed")
_ENDS = ("crashed", "interrupted", "refused", "complete")
_COUNTED = ("passed", "failed", "error", "excepted")
#: So long after a shard's end another one may begin (seconds): a rerun, or one machine for all, and not the next night.
_SAME_NIGHT = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Part:
    """One shard's evidence.

    Attributes:
        where: Where it was found, for messages.
    """

    where: str
    document: Document

    @property
    def run(self) -> Document:
        """What stands of the run."""
        return self.document["run"]  # type: ignore[no-any-return]

    @property
    def shard(self) -> Document:
        """Which part of which plan it is."""
        return self.run["shard"]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"shard {self.shard['index']} of {self.shard['total']}"


def merge(
    parts: Sequence[Part],
    *,
    run: str,
    expect: int = 0,
    problems: Iterable[str] = (),
    planned: PlanFile | None = None,
) -> dict[str, Any]:
    """Join the evidence of shards.

    Args:
        parts: What was found, in any order.
        run: The id of the joined document.
        expect: How many shards there must be; 0 for as many as they say themselves.
        problems: What else is wrong with the whole, such as a report that could not be read.
        planned: The plan file that they followed; it tells what a shard that is missing had.

    Raises:
        UsageProblem: They are not parts of one plan, or of another one than the file, or one of them is there twice.
    """
    for part in parts:
        _check(part)
    parts = sorted(parts, key=lambda part: int(part.shard["index"]))
    _check_one_plan(parts, expect)
    if planned is not None:
        _check_planned(parts, planned)
    _check_apart(parts)
    missing = sorted(set(range(1, parts[0].shard["total"] + 1)) - {part.shard["index"] for part in parts})
    documents = [part.document for part in parts]
    found = [f"{part}: {problem}" for part in parts for problem in part.document["problems"]]
    found += [_absence(index, parts, planned) for index in missing]
    found += _stale(parts)
    found += problems
    verdicts = [part.document["verdict"] for part in parts]
    samples = _in_order(documents, "samples")
    return {
        "form": FORM,
        "run": _run(parts, run, missing),
        "catalogue": dict(documents[0]["catalogue"]),
        "verdict": _worst(_WORST_FIRST, [*verdicts, *(["error"] if found else [])]),
        "problems": found,
        "counts": {verdict: sum(each["counts"][verdict] for each in documents) for verdict in _COUNTED},
        "not_run": [case for each in documents for case in each["not_run"]],
        "population": _population(documents),
        "exceptions": _exceptions(documents),
        "drills": _in_order(documents, "drills"),
        "targets": _in_order(documents, "targets"),
        **({"sets": sets} if (sets := [each for part in documents for each in part.get("sets", ())]) else {}),
        **({"samples": samples} if samples else {}),
    }


# --- what is refused --------------------------------------------------------------------------------------------------


def _check(part: Part) -> None:
    if "merged_from" in part.run:
        raise _refused("this document was joined already", part, "Join the shards' own reports.")
    if "shard" not in part.run:
        raise _refused("this run is no shard", part, "Run it with --shard I/N, or leave it out.")


def _check_one_plan(parts: Sequence[Part], expect: int) -> None:
    first = parts[0]
    for part in parts:
        if expect and part.shard["total"] != expect:
            raise _refused(f"this is {part}, and {expect} were expected", part, "Mend --expect, or the pipeline.")
        if (part.shard["total"], part.shard["plan"]) != (first.shard["total"], first.shard["plan"]):
            raise _refused(
                f"{part} is of another plan than {first}: another catalogue, another selection, or another number",
                part,
                f"All shards must drill the same commit with the same arguments; {first} is in {first.where}.",
            )
        if ("break_glass" in part.run) != ("break_glass" in first.run):
            raise _refused(
                f"of {part} and {first} one had the keys in escrow alone, and the other had what its machine has",
                part,
                f"All shards must run with --break-glass, or none; {first} is in {first.where}.",
            )


def _check_planned(parts: Sequence[Part], planned: PlanFile) -> None:
    for part in parts:
        if part.shard.get("plan_file") != planned.digest:
            raise _refused(f"{part} followed another plan file, or none", part, "Give the file that all shards got.")


def _check_apart(parts: Sequence[Part]) -> None:
    """The same shard twice, or a copy that two of them drilled: no verdict may count twice, or hide another."""
    shards: dict[int, Part] = {}
    drilled: dict[tuple[str, str], Part] = {}
    for part in parts:
        other = shards.setdefault(part.shard["index"], part)
        if other is not part:
            raise _refused(
                f"{part} is there twice: runs {other.run['id']} and {part.run['id']}",
                part,
                f"Leave out one of them; the other is in {other.where}.",
            )
        for drill in part.document["drills"]:
            key = (drill["target"], drill["copy"])
            if drilled.setdefault(key, part) is not part:
                raise _refused(f"{key[0]}/{key[1]} was drilled by {drilled[key]} and by {part}", part, "")


def _refused(cause: str, part: Part, remedy: str) -> UsageProblem:
    return UsageProblem(cause, looked_at=part.where, remedy=remedy)


# --- the parts of a document ------------------------------------------------------------------------------------------


def _absence(index: int, parts: Sequence[Part], planned: PlanFile | None) -> str:
    """What is not known of a shard that is missing, by name."""
    total = parts[0].shard["total"]
    everything = [each["target"] for each in parts[0].document["population"]]
    if planned is not None:
        names = [name for name, shard in planned.assignment(total).items() if shard == index]
    elif "plan_file" in parts[0].shard:  # without the file, all that is known is what no other shard drilled
        drilled = {drill["target"] for part in parts for drill in part.document["drills"]}
        left = ", ".join(name for name in everything if name not in drilled)
        return f"shard {index} of {total} is missing: --plan FILE names its targets, which are among: {left or 'none'}"
    else:
        names = [name for name in everything if shard_of(name, total) == index]
    its = f"as far as they were selected: {', '.join(names)}" if names else "it has none of the catalogue's"
    return f"shard {index} of {total} is missing: nothing is known of its targets ({its})"


def _stale(parts: Sequence[Part]) -> Iterator[str]:
    """Shards of an earlier night: a pipeline kept their directory, and tonight's shard wrote none."""
    latest = max(parts, key=lambda part: str(part.run["started"]))
    for part in parts:
        try:
            ended, begun = (datetime.fromisoformat(each) for each in (part.run["finished"], latest.run["started"]))
        except ValueError:
            yield f"{part} or {latest} has a time that does not exist"
            continue
        behind = (begun - ended).total_seconds()
        if behind > _SAME_NIGHT:
            yield f"{part} ended {format_duration(behind)} before {latest} began: of an earlier run; drill it again"


def _run(parts: Sequence[Part], run: str, missing: Sequence[int]) -> dict[str, Any]:
    first = parts[0]
    ended = [part.run["ended"] for part in parts] + (["interrupted"] if missing else [])
    found: dict[str, Any] = {
        "id": run,
        "started": min(part.run["started"] for part in parts),
        "finished": max(part.run["finished"] for part in parts),
        "estate": first.run["estate"],
        "operator": surroundings.operator(),
        "arguments": _without_shard(first.run["arguments"]),
        "ci": surroundings.pipeline() or dict(first.run.get("ci", {})),
        "tools": _versions([part.run.get("tools", {}) for part in parts]),
        "concurrency": sum(part.run.get("concurrency", 1) for part in parts),
        "ended": _worst(_ENDS, ended),
        "selection": _selection([part.run["selection"] for part in parts]),
        "merged_from": [part.run["id"] for part in parts],
        "shards": {"total": first.shard["total"], "plan": first.shard["plan"], "missing": list(missing)},
    }
    if stripped := [part.run["break_glass"] for part in parts if "break_glass" in part.run]:
        found["break_glass"] = _break_glass(stripped)
    machines = [part.run["machine"] for part in parts if "machine" in part.run]
    if machines and all(machine == machines[0] for machine in machines):
        found["machine"] = dict(machines[0])  # of several kinds, each drill's own evidence tells
    return found


def _break_glass(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the shards were stripped, and what opened what in all of them."""
    opened: dict[str, list[str]] = {}
    for each in found:
        for key, what in each["opened"].items():
            opened.setdefault(key, []).extend(what)
    return {
        "environment": sorted({name for each in found for name in each["environment"]}),
        "removed": max(each["removed"] for each in found),
        "escrow": {name: places for each in found for name, places in each["escrow"].items()},
        "opened": opened,
    }


def _without_shard(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for argument in arguments:
        if kept and kept[-1] in ("--shard", "--plan"):
            kept[-1] = ""
        elif not argument.startswith(("--shard=", "--plan=")):
            kept.append(argument)
    return [argument for argument in kept if argument]


def _versions(found: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Versions of tools, all of them where shards differ."""
    names = dict.fromkeys(name for tools in found for name in tools)
    return {name: ", ".join(dict.fromkeys(tools[name] for tools in found if name in tools)) for name in names}


def _selection(found: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """What the shards drilled, of what each of them says there is."""
    return {
        "cases": sum(each["cases"] for each in found),
        "of_cases": max(each["of_cases"] for each in found),
        "targets": sum(each["targets"] for each in found),
        "of_targets": max(each["of_targets"] for each in found),
    }


def _population(documents: Sequence[Document]) -> list[Document]:
    """The catalogue as the shards saw it: the same for all, but for what the demo may do without on a machine."""
    found: dict[str, Document] = {}
    for document in documents:
        for member in document["population"]:
            found.setdefault(member["target"], member)
    return list(found.values())


def _exceptions(documents: Sequence[Document]) -> list[Document]:
    """Every exception as the shard saw it that drilled its target; the others have not exercised it."""
    found: dict[tuple[str, ...], Document] = {}
    for document in documents:
        drilled = {drill["target"] for drill in document["drills"]}
        for exception in document["exceptions"]:
            key = tuple(str(exception.get(part, "")) for part in ("id", "target", "copy", "case", "detail"))
            if key not in found or exception["target"] in drilled:
                found[key] = exception
    return list(found.values())


def _in_order(documents: Sequence[Document], part: str) -> list[Document]:
    """Drills, or targets, in the catalogue's order."""
    order = {member["target"]: place for place, member in enumerate(_population(documents))}
    found = [each for document in documents for each in document.get(part, ())]
    return sorted(found, key=lambda each: order.get(each["target"], len(order)))


def _worst(worst_first: Sequence[str], found: Sequence[str]) -> str:
    return next(each for each in worst_first if each in found)
