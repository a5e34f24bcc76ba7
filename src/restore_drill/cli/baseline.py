"""``restore-drill baseline``."""

from __future__ import annotations

import argparse
import difflib
import getpass
import json
import os
import time

from restore_drill.catalogue.load import load
from restore_drill.cli import add_catalogue, find_catalogue, unknown_target
from restore_drill.cli.listing import reference
from restore_drill.errors import UsageProblem
from restore_drill.history import History
from restore_drill.lifecycle import start_demo
from restore_drill.plan import Plan, PlannedTarget
from restore_drill.printable import printable
from restore_drill.quantities import format_instant
from restore_drill.sampled import known as known_of
from restore_drill.state import open_state

#: How many of the known names are listed.
_LISTED = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Its subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    initialise = actions.add_parser("init", help="set the state up; harmless when it is already")
    initialise.add_argument("--fresh", action="store_true", help="forget everything that earlier drills found")
    accept = actions.add_parser("accept", help="accept a legitimate change, so that drills stop failing over it")
    accept.add_argument("target")
    what = accept.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", metavar="TABLE", help="rows of this table went, or it went altogether")
    what.add_argument("--size", action="store_true", help="the backup is legitimately smaller")
    what.add_argument("--files", action="store_true", help="files of the tree went")
    what.add_argument("--pin", metavar="KEY", help="this frozen or pinned artifact was legitimately replaced")
    what.add_argument(
        "--snapshot", metavar="ID", help="this older snapshot is lost, and cannot be removed: draw it no more"
    )
    accept.add_argument("--reason", required=True, help="why; stands in the evidence of later drills")
    show = actions.add_parser("show", help="print what is known of a target")
    show.add_argument("target")
    listed = actions.add_parser(
        "reference", help="restore the newest snapshot and print what it consists of, for expect.structure"
    )
    listed.add_argument("target")
    listed.add_argument("--copy", help="the copy (default: the first)")
    for action in (initialise, accept, show, listed):
        add_catalogue(action)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    # The reference may not be written yet, and a shell has emptied the file when it is about to be written again.
    plan = load(find_catalogue(arguments), references=arguments.action != "reference")
    estate = start_demo(plan)
    try:
        history = History(open_state(plan.state))
        if arguments.action == "init":
            return _initialise(history, plan, fresh=arguments.fresh)
        if arguments.target not in plan.by_name:
            raise unknown_target(plan, arguments.target)
        target = plan.by_name[arguments.target]
        if arguments.action == "reference":
            print(reference(plan, target, arguments.copy), end="")
            return 0
        return _accept(history, target, arguments) if arguments.action == "accept" else _show(history, target)
    finally:
        if estate is not None:
            estate.close()


def _initialise(history: History, plan: Plan, *, fresh: bool) -> int:
    created = history.initialise(fresh=fresh)
    print(f"{plan.state.url}: {'initialised' if created else 'was initialised already'}")
    return 0


def _accept(history: History, target: PlannedTarget, arguments: argparse.Namespace) -> int:
    if arguments.table:
        what = [f"rows:{arguments.table}"]
    elif arguments.files:
        what = ["rows:files", "rows:bytes"]
    else:
        what = (
            ["size"]
            if arguments.size
            else [f"pin:{arguments.pin}" if arguments.pin else f"snapshot:{arguments.snapshot}"]
        )
    if not arguments.reason.strip():
        raise UsageProblem("the reason is empty", remedy="Say why: it stands in the evidence of later drills.")
    now = time.time()
    _refuse_unknown(history, target, arguments)  # and when there is no state
    for each in what:
        history.accept(target.name, each, arguments.reason, _user(), now)
    then = "no run draws it any more" if arguments.snapshot else "the next drill that passes becomes the new baseline"
    print(f"{target.name}: accepted; {then}")
    return 0


def _refuse_unknown(all_history: History, target: PlannedTarget, arguments: argparse.Namespace) -> None:
    """Refuse a name that no drill is compared over: what stays red although it was accepted helps nobody.

    Raises:
        UsageProblem: Neither earlier drills nor the catalogue know it.
    """
    history = all_history.target(target.name)
    copies = [history.copy(copy.name) for copy in target.copies]
    if arguments.table:
        rows = target.model.expect.rows
        known = set(rows.tables if rows else ()).union(*(copy.names for copy in copies))
        kind, name = "table", arguments.table
    elif arguments.pin:
        drilled = known_of(all_history, target.name).values()
        older = (each.get("pins", ()) for snapshots in drilled for each in snapshots.values())
        known = set[str]().union(*(copy.pinned for copy in copies), *older)
        kind, name = "pinned artifact", arguments.pin
    elif arguments.snapshot:
        drilled = known_of(all_history, target.name).values()
        known = {str(each.get("id")) for snapshots in drilled for each in snapshots.values() if not each["passed"]}
        kind, name = "older snapshot that failed", arguments.snapshot
    else:
        return
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        some = ", ".join(sorted(known)[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
        hint = f"Did you mean {near[0]}?" if near else f"Known: {some}." if known else "No whole drill has passed yet."
        raise UsageProblem(f"earlier drills of {target.name} know no {kind} {name!r}", remedy=hint)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, in a container
        return str(os.getuid())


def _show(history: History, target: PlannedTarget) -> int:
    name, known = target.name, history.target(target.name)
    for copy in target.copies:
        passed = known.copy(copy.name).last_passed
        if passed is None:
            print(f"{name}/{copy.name}: no whole drill has passed yet")
            continue
        snapshot = printable(passed["snapshot"])
        print(f"{name}/{copy.name}: passed {format_instant(passed['finished_at'])} with snapshot {snapshot}")
        print(f"  counts: {json.dumps(passed['counts'])}")
    return 0
