"""``restore-drill merge``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill import plan_file
from restore_drill.cli.ledger import of_catalogue
from restore_drill.errors import COULD_NOT_VERIFY, CouldNotVerify, UsageProblem
from restore_drill.evidence import document as documents
from restore_drill.evidence import reading, shape
from restore_drill.evidence.merging import Part, merge
from restore_drill.ledger.statement import evidence_digest
from restore_drill.printable import printable
from restore_drill.reporting import junit
from restore_drill.reporting.files import renderers
from restore_drill.reporting.markdown import append_to_job_page
from restore_drill.run import new_run_id
from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from restore_drill.ledger.base import Ledger
    from restore_drill.policy.population import Population

_EVIDENCE, _JUNIT, _STRICT = "evidence.json", "junit.xml", "junit-strict.xml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("directory", nargs="+", type=Path, help="a shard's report, or what holds just that one")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the joined report is written")
    parser.add_argument(
        "--expect", metavar="N", type=int, default=0, help="how many shards there must be (default: as they say)"
    )
    parser.add_argument(
        "--plan", metavar="FILE", type=Path, help="the plan file that the shards followed: names what a missing one had"
    )
    parser.add_argument(
        "--catalogue", metavar="PATH", help="compare with its ledger, and tell of earlier drills, too (default: do not)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Join the reports of shards; the exit status is that of a run: 0, 1, or 75 where something is not known."""
    parts, problems = _read(arguments.directory)
    if not parts:
        raise UsageProblem(
            "there is no shard's evidence to join",
            looked_at=", ".join(map(str, arguments.directory)),
            remedy="Give the directories that hold the shards' reports.",
        )
    out: Path = arguments.out
    if any(Path(part.where).resolve() == out.resolve() for part in parts):
        raise UsageProblem(
            "the joined report would replace a shard's", looked_at=str(out), remedy="Give another --out."
        )
    shards, without = _junits(parts)
    population, unlike = _ledger(arguments, parts)
    problems += [*without, *unlike]
    planned = plan_file.read(arguments.plan) if arguments.plan else None
    joined = merge(parts, run=new_run_id(time.time()), expect=arguments.expect, problems=problems, planned=planned)
    out.mkdir(parents=True, exist_ok=True)
    documents.write(out / _EVIDENCE, joined)
    joined = reading.load((out / _EVIDENCE).read_bytes())  # as its readers get it
    _write_junit(out, joined, shards, strict=any((Path(part.where) / _STRICT).exists() for part in parts))
    for name, render in renderers(joined, population=population).items():
        write_whole(out / name, render())
    append_to_job_page((out / "summary.md").read_text("utf-8"))
    for line in _lines(joined, out):
        print(printable(line))
    if joined["verdict"] == "failed" or any(junit.others_failed(content) for _, content in shards):
        return 1
    return COULD_NOT_VERIFY if joined["verdict"] == "error" else 0


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(directories: Sequence[Path]) -> tuple[list[Part], list[str]]:
    """The evidence that is there; of what is not, one problem each: its shard will be missing by number, too."""
    parts, problems = [], []
    for directory in directories:
        place = _place(directory)
        if place is None:
            problems.append(f"{directory} holds no {_EVIDENCE}")
            continue
        try:
            document = reading.load((place / _EVIDENCE).read_bytes(), str(place / _EVIDENCE))
        except CouldNotVerify as problem:
            problems.append(str(problem))
            continue
        if wrong := shape.fault(document):
            problems.append(f"{place / _EVIDENCE} is damaged: {wrong}")
        else:
            parts.append(Part(str(place), document))
    return parts, problems


def _ledger(arguments: argparse.Namespace, parts: Sequence[Part]) -> tuple[Population | None, list[str]]:
    """What the ledger knows of all copies, and which shards are not as it has them; nothing where none was named."""
    from restore_drill.ledger.reading import understood
    from restore_drill.policy.population import Population

    if not arguments.catalogue:
        return None, []
    recorded: dict[str, str] = {}
    wanted = {part.document["run"]["id"] for part in parts}
    with of_catalogue(arguments) as (_, ledger), understood(ledger):
        population = Population.of(_documents(ledger, wanted, recorded), now=time.time())
    unlike = []
    for part in parts:
        run = part.document["run"]["id"]
        if run not in recorded:
            unlike.append(f"{_named(part)}: the ledger has no entry of its run {run}")
        elif recorded[run] != evidence_digest(part.document):
            unlike.append(f"{_named(part)}: the ledger's entry of its run {run} says something else")
    return population, unlike


def _documents(ledger: Ledger, wanted: Collection[str], recorded: dict[str, str]) -> Iterator[Mapping[str, Any]]:
    """The evidence of all runs; the digests of those that are wanted are noted in passing."""
    for entry in ledger.entries():
        if entry.kind == "run":
            if entry.run in wanted:
                recorded[entry.run] = evidence_digest(entry.evidence)
            yield entry.evidence


def _named(part: Part) -> str:
    shard = part.document["run"].get("shard", {})
    return f"shard {shard.get('index')} of {shard.get('total')}"


def _place(directory: Path) -> Path | None:
    """The one run that a directory holds: itself, its last one, or, of an artifact that was unpacked, the only one."""
    for place in (directory, directory / "latest"):
        if (place / _EVIDENCE).is_file():
            return place
    # An artifact may hold a run twice: what was the link ``latest`` comes back as a copy.
    found = list({path.read_bytes(): path.parent for path in sorted(directory.rglob(_EVIDENCE))}.values())
    if len(found) > 1:
        raise UsageProblem(
            f"it holds {len(found)} runs", looked_at=str(directory), remedy=f"Name one of them, such as {found[-1]}."
        )
    return found[0] if found else None


def _junits(parts: Sequence[Part]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The shards' JUnit, and which of them have none."""
    found, missing = [], []
    for part in parts:
        path = Path(part.where) / _JUNIT
        name = _named(part)
        try:
            content = path.read_bytes()
            junit.others_failed(content)  # can be read at all
            found.append((name, content))
        except FileNotFoundError:
            missing.append(f"{name} has no junit.xml: the joined one lacks its cases")
        except ValueError as problem:
            missing.append(f"{name} has a junit.xml that cannot be read ({problem}): the joined one lacks its cases")
    return found, missing


# --- writing ----------------------------------------------------------------------------------------------------------


def _write_junit(out: Path, joined: dict[str, Any], shards: Sequence[tuple[str, bytes]], *, strict: bool) -> None:
    """JUnit of all shards; the strict variant where a shard has it."""
    problems = map(printable, joined["problems"])
    content = junit.join(shards, problems, at=joined["run"]["finished"], host=joined["run"]["operator"]["host"])
    write_whole(out / _JUNIT, content)
    if strict:
        write_whole(out / _STRICT, junit.strict(content))


def _lines(joined: dict[str, Any], out: Path) -> Iterator[str]:
    run, counts = joined["run"], joined["counts"]
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "no cases"
    yield f"{joined['verdict']}: {len(run['merged_from'])} of {run['shards']['total']} shards, {told}"
    yield from (f"  {problem}" for problem in joined["problems"])
    yield f"reports: {out}"
