"""``restore-drill plan``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restore_drill.catalogue.load import load
from restore_drill.cli import add_catalogue, dr_plan, find_catalogue, unknown_target
from restore_drill.errors import UsageProblem
from restore_drill.evidence import limits
from restore_drill.lifecycle import fit_demo
from restore_drill.plan import Plan, PlannedTarget
from restore_drill.quantities import format_duration, format_size


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    add_catalogue(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--tier", metavar="NAME", action="append", default=[], help="only targets of this tier")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write a plan for several machines, which pytest --plan FILE follows"
    )
    parser.add_argument(
        "--shards", metavar="N", type=int, help="for so many machines (default: as many as the runs say; --cost: 1)"
    )
    parser.add_argument(
        "--list", action="store_true", help="of --out, --cost: ask stores for the size of what was never drilled"
    )
    parser.add_argument("--cost", action="store_true", help="print what drilling all of it takes a month, and costs")
    parser.add_argument(
        "--price",
        metavar="NAME=PRICE",
        action="append",
        default=[],
        help="of --cost: beside the catalogue's prices, such as machine_hour=0.12 or offsite.egress_gb=0.05",
    )
    parser.add_argument(
        "--samples", metavar="N", type=int, default=0, help="of --cost: with N older snapshots a drill (sample:N)"
    )
    dr_plan.add_options(parser)
    parser.add_argument(
        "target", nargs="*", help=f"only these targets; or the word {dr_plan.WORD}: the plan for a disaster"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print every target with its objectives, copies, cases and limits."""
    if dr_plan.asked_for(arguments):
        return dr_plan.run(arguments)
    plan = fit_demo(load(find_catalogue(arguments)))
    unknown = [name for name in arguments.target if name not in plan.by_name]
    if unknown:
        raise unknown_target(plan, unknown[0])
    targets = [target for target in plan.targets if not arguments.target or target.name in arguments.target]
    if arguments.tier:
        targets = _of_tiers(plan, targets, arguments.tier)
    if arguments.out and arguments.cost:
        raise UsageProblem(
            "--out writes a plan, and --cost prints what it costs", remedy="Use one, and then the other."
        )
    _check_owned(arguments)
    if arguments.out:
        from restore_drill.cli import plan_out

        return plan_out.write(plan, targets, arguments)
    if arguments.cost:
        from restore_drill.cli import plan_cost

        return plan_cost.tell(plan, targets, arguments)
    if arguments.json:
        print(json.dumps([_as_json(target) for target in targets], indent=1))
        return 0
    for target in targets:
        _print(target)
    cases = sum(len(target.cases()) for target in targets)
    print(f"{len(targets)} targets, {sum(len(target.copies) for target in targets)} drills, {cases} cases")
    for name, why in plan.left_out:
        print(f"left out of the demo: {name}: {why}")
    for note in plan.notes:
        print(f"note: {note}")
    return 0


def _check_owned(arguments: argparse.Namespace) -> None:
    """Whether every option has the one that it belongs to: alone it would change nothing, and not say so."""
    given = {"--out": bool(arguments.out), "--cost": arguments.cost}
    owners = {"shards": ("--out", "--cost"), "list": ("--out", "--cost"), "price": ("--cost",), "samples": ("--cost",)}
    for option, whose in owners.items():
        if getattr(arguments, option) and not any(given[owner] for owner in whose):
            raise UsageProblem(
                f"--{option} belongs to {' or '.join(whose)}", remedy=f"Add {whose[0]}, or leave it out."
            )


def _of_tiers(plan: Plan, targets: Sequence[PlannedTarget], tiers: Sequence[str]) -> list[PlannedTarget]:
    for tier in tiers:
        if tier not in plan.tiers:
            known = ", ".join(plan.tiers)
            raise UsageProblem(f"there is no tier {tier!r}", looked_at=plan.catalogue, remedy=f"There are {known}.")
    return [target for target in targets if target.tier in tiers]


def _print(target: PlannedTarget) -> None:
    frozen = ", frozen" if target.model.frozen else ""
    print(f"{target.name} ({target.tier}{frozen}, engine {target.model.engine}): {target.model.description or ''}")
    print(
        f"  RPO {format_duration(target.rpo)}, RTO {format_duration(target.rto)}, "
        f"drilled every {format_duration(target.drill_every)}, owner {target.model.owner or 'not named'}"
    )
    if sandbox := _sandbox(target):
        print(f"  sandbox: {', '.join(f'{name} {_written(name, value)}' for name, value in sandbox.items())}")
    for copy in target.copies:
        print(f"  {copy.name}: {copy.settings.url}/{copy.model.path}")
        print(f"    {', '.join(_names(target, copy.name))}")
        for limit in limits.of(target, copy.name):
            print(f"    not checked: {limit}")
    across = _names(target, "")
    if across:
        print(f"  across copies: {', '.join(across)}")


def _names(target: PlannedTarget, copy: str) -> list[str]:
    return [f"{case.case}({case.detail})" if case.detail else case.case for case in target.cases() if case.copy == copy]


def _sandbox(target: PlannedTarget) -> dict[str, Any]:
    """What the catalogue says of where it is restored; the rest is decided by the run, on its machine."""
    model = target.model.sandbox
    return {name: value for name, value in model if value is not None}


def _written(option: str, value: Any) -> str:
    return format_size(value) if option in ("memory", "disk") else str(value)


def _as_json(target: PlannedTarget) -> dict[str, Any]:
    return {
        "target": target.name,
        "tier": target.tier,
        "engine": target.model.engine,
        "sandbox": _sandbox(target),
        "rpo_seconds": target.rpo.total_seconds(),
        "rto_seconds": target.rto.total_seconds(),
        "drill_every_seconds": target.drill_every.total_seconds(),
        "copies": [
            {
                "copy": copy.name,
                "store": copy.store_name,
                "path": copy.model.path,
                "cases": _names(target, copy.name),
                "limits": limits.of(target, copy.name),
            }
            for copy in target.copies
        ],
        "cases": _names(target, ""),
    }
