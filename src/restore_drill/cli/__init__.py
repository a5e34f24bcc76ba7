"""``restore-drill``: everything around the drills themselves, which are run by pytest."""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill import __version__
from restore_drill.errors import RestoreDrillError, UsageProblem
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.plan import Plan

#: Command → the module that has ``configure(parser)`` and ``run(arguments) -> int``; imported when it is asked for.
_COMMANDS = {
    "validate": "Check the catalogue: every mistake at once, nothing is read from a store.",
    "plan": "Show what a run would do, without doing it.",
    "doctor": "Check this machine: tools, stores, secrets, disk, state; each line with its remedy.",
    "discover": "Look at a place full of backups, and print a catalogue for it, with the reason for each guess.",
    "init": "Begin a project: a catalogue, and the one line that brings the standard cases in.",
    "baseline": "Initialise the state of earlier drills, accept a change, or show what is known.",
    "clean": "Remove what killed or kept runs left on this machine.",
    "ledger": "Verify, show or export the record of all runs, or make the keys that sign it.",
    "sign-off": "Add a signed review of a run's evidence to the ledger.",
    "merge": "Join the reports of a run's shards into one, and name the shard that is missing.",
    "report": "Render a run or a period again from the ledger: HTML, PDF and others.",
    "controls": "List what frameworks ask for, what the records of a period hold of it, and the gaps.",
    "status": "Tell whether everything that should have been drilled was, and how every copy stands.",
    "retention": "Tell a prune job which snapshots may go and which must stay, and why; nothing is removed.",
    "alert": "Tell what is overdue and what nobody was told before; test the channels.",
    "runbook": "Write the way back for a target: real commands, from the catalogue and its last passed drill.",
    "schema": "Print the catalogue's JSON Schema, for editors.",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status (0 good, 1 something is wrong, 2 it was used wrongly)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold what a terminal cannot show
    argv = sys.argv[1:] if arguments is None else arguments
    parser = _parser(argv)
    parsed = parser.parse_args(argv)
    if not parsed.command:
        parser.print_help()
        return 2
    try:
        status = int(_module(parsed.command).run(parsed))
        sys.stdout.flush()  # here, where a reader that went away is noticed
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RestoreDrillError as problem:
        return _complain(parsed.command, str(problem), 2 if isinstance(problem, UsageProblem) else 1)
    except OSError as problem:
        where = f" ({problem.filename})" if problem.filename else ""
        remedy = "Check that it is there, its permissions, and the space that is left."
        return _complain(parsed.command, f"{problem.strerror or problem}{where}. {remedy}", 1)
    except KeyboardInterrupt:
        return 130
    return status


def _complain(command: str, text: str, status: int) -> int:
    print(redact(f"restore-drill {command}: {text}"), file=sys.stderr)
    return status


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="restore-drill", description="Prove that backups can be restored.")
    parser.add_argument("--version", action="version", version=f"restore-drill {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, purpose in _COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        if name in argv:  # only the one that runs is worth importing
            _module(name).configure(command)
    return parser


def _module(command: str) -> Any:
    return importlib.import_module(f"restore_drill.cli.{command.replace('-', '_')}")


def add_catalogue(parser: argparse.ArgumentParser) -> None:
    """The option by which every command finds its catalogue."""
    parser.add_argument("--catalogue", metavar="PATH", help="the catalogue (default: drills/targets.yaml)")


def find_catalogue(arguments: argparse.Namespace) -> Path:
    """The catalogue that an option, the environment or the current directory names."""
    named = arguments.catalogue or os.environ.get("RESTORE_DRILL_CATALOGUE")
    return Path(named) if named else Path("drills") / "targets.yaml"


def unknown_target(plan: Plan, name: str) -> UsageProblem:
    """The error for a target that the catalogue does not have."""
    near = difflib.get_close_matches(name, plan.by_name, 1)
    known = ", ".join(plan.by_name) or "none"
    hint = f"Did you mean {near[0]}?" if near else f"It has {known}."
    return UsageProblem(f"the catalogue has no target {name!r}", looked_at=plan.catalogue, remedy=hint)
