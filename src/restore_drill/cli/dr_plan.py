"""``restore-drill plan dr``: the disaster-recovery plan."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from restore_drill.cli import find_catalogue
from restore_drill.errors import COULD_NOT_VERIFY, UsageProblem
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.plan import Plan

#: The word that asks for it where names of targets may stand.
WORD = "dr"
#: Options of ``plan`` that are about drills.
_NOT_OURS = ("tier", "out", "shards", "list", "cost", "price", "samples")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only the plan for a disaster understands."""
    parser.add_argument("--markdown", action="store_true", help=f"plan {WORD}: print it as Markdown")
    parser.add_argument("--without", action="append", default=[], metavar="STORE",
                        help=f"plan {WORD}: as if this store were lost, too (may be repeated)")  # fmt: skip


def asked_for(arguments: argparse.Namespace) -> bool:
    """Whether the plan for a disaster is meant.

    Raises:
        UsageProblem: Its options were given without it, or more names beside it.
    """
    if arguments.target[:1] != [WORD]:
        if arguments.markdown or arguments.without:
            raise UsageProblem(f"--markdown and --without belong to restore-drill plan {WORD}")
        return False
    if len(arguments.target) > 1:
        raise UsageProblem(f"plan {WORD} is about all targets", remedy="Leave the other names out.")
    others = [f"--{name}" for name in _NOT_OURS if getattr(arguments, name, None)]
    if others or (arguments.json and arguments.markdown):
        raise UsageProblem(f"plan {WORD} takes --json or --markdown, and --without" + "".join(
            f"; {name} is about drills" for name in others
        ))  # fmt: skip
    return True


def run(arguments: argparse.Namespace) -> int:
    """Print it; 1 when something is not proved or comes too late even in parallel, 75 when the ledger cannot be read.

    It is printed whatever could not be read: it is needed most when the rest is lost.
    """
    from restore_drill.catalogue.load import load
    from restore_drill.cli.proved import read
    from restore_drill.lifecycle import fit_demo
    from restore_drill.recovery import dr_text
    from restore_drill.recovery.dr_plan import dr_plan

    plan = fit_demo(load(find_catalogue(arguments), references=False))
    _check_stores(plan, arguments.without)
    known, now = read(plan, [target.name for target in plan.targets]), time.time()
    lost = tuple(dict.fromkeys(arguments.without))
    found = dr_plan(plan, known, now, lost)
    if arguments.json:
        text = json.dumps(dr_text.plain(found, plan.catalogue, now, known.problems), indent=1)
    else:
        write = dr_text.markdown if arguments.markdown else dr_text.lines
        text = "\n".join(write(found, plan.catalogue, now, known.problems))
    print(redact(text))
    if known.problems:
        return COULD_NOT_VERIFY
    return 1 if found.unproved or found.late else 0


def _check_stores(plan: Plan, named: list[str]) -> None:
    known = {copy.store_name for target in plan.targets for copy in target.copies}
    unknown = [name for name in named if name not in known]
    if unknown:
        stores = ", ".join(sorted(known))
        raise UsageProblem(f"no copy lies in a store {unknown[0]!r}", remedy=f"There are {stores}.")
