"""``restore-drill runbook``: the way back for a target, as Markdown, from the catalogue and its last passed drill."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from restore_drill.cli import add_catalogue, find_catalogue, unknown_target
from restore_drill.errors import UsageProblem
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
    from restore_drill.recovery.known import Known


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("target", nargs="?", help="whose runbook it is")
    parser.add_argument(
        "--copy", metavar="NAME", help="restore this copy (default: the one proved by the newest snapshot)"
    )
    parser.add_argument("--all", action="store_true", help="the runbooks of all targets; needs --out")
    parser.add_argument("--out", metavar="DIR", help="write TARGET.md into this directory instead of the terminal")
    add_catalogue(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write runbooks; 1 when one of them was never proved, or the ledger does not hold together."""
    from restore_drill.catalogue.load import load
    from restore_drill.cli.proved import read
    from restore_drill.lifecycle import fit_demo

    plan = fit_demo(load(find_catalogue(arguments), references=False))
    targets = _targets(arguments, plan)
    known = read(plan, [target.name for target in targets])
    unproved = 0
    for target in targets:
        copy = _copy(target, arguments.copy, known)
        unproved += known.newest(target.name, copy.name) is None
        _write(target, _text(target, copy, known), arguments.out)
    for problem in known.problems:
        print(redact(f"restore-drill runbook: {problem}"), file=sys.stderr)
    return 1 if unproved or known.problems else 0


def _targets(arguments: argparse.Namespace, plan: Plan) -> list[PlannedTarget]:
    if bool(arguments.target) == arguments.all:
        raise UsageProblem("name one target, or give --all", looked_at=plan.catalogue)
    if arguments.all and not arguments.out:
        raise UsageProblem("--all needs --out", remedy="Name the directory that they are written to.")
    if arguments.all:
        found = [target for target in plan.targets if arguments.copy in (None, *target.copies_by_name)]
        if not found:
            copies = ", ".join(dict.fromkeys(copy.name for target in plan.targets for copy in target.copies))
            raise UsageProblem(f"no target has a copy {arguments.copy!r}", remedy=f"There are {copies}.")
        return found
    if arguments.target not in plan.by_name:
        raise unknown_target(plan, arguments.target)
    return [plan.by_name[arguments.target]]


def _copy(target: PlannedTarget, named: str | None, known: Known) -> PlannedCopy:
    """The copy that was named, or the one with the newest proved snapshot, of which the catalogue's first."""
    if named is not None:
        if named not in target.copies_by_name:
            copies = ", ".join(target.copies_by_name)
            raise UsageProblem(f"{target.name} has no copy {named!r}", remedy=f"It has {copies}.")
        return target.copies_by_name[named]
    return known.best_copy(target) or target.copies[0]


def _text(target: PlannedTarget, copy: PlannedCopy, known: Known) -> str:
    from restore_drill.recovery.book import Drilled
    from restore_drill.recovery.guessing import guessed
    from restore_drill.recovery.markdown import render
    from restore_drill.recovery.runbook import compose

    proof, drill = known.newest(target.name, copy.name), known.drills.get((target.name, copy.name))
    if proof is None or drill is None:
        runbook = compose(guessed(target, copy), known.why_not(target.name, copy.name))
    else:
        runbook = compose(Drilled(target, copy, proof, drill), known.doubt(target.name, copy.name))
    return redact(render(runbook, time.time()))


def _write(target: PlannedTarget, document: str, directory: str | None) -> None:
    if directory is None:
        sys.stdout.write(document)
        return
    from restore_drill.whole_files import write_whole

    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    write_whole(path / f"{target.name}.md", document.encode("utf-8", "backslashreplace"))
    print(f"wrote {path / target.name}.md")
