"""``restore-drill validate``."""

from __future__ import annotations

import argparse

from restore_drill.catalogue.load import load
from restore_drill.cli import add_catalogue, find_catalogue


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    add_catalogue(parser)


def run(arguments: argparse.Namespace) -> int:
    """Load the catalogue; problems are raised, all at once."""
    plan = load(find_catalogue(arguments))
    copies = sum(len(target.copies) for target in plan.targets)
    print(f"{plan.catalogue}: good: {len(plan.targets)} targets, {copies} copies, {len(list(plan.cases()))} cases")
    for note in plan.notes:
        print(f"note: {note}")
    return 0
