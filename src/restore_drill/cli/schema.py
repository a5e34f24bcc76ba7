"""``restore-drill schema``."""

from __future__ import annotations

import argparse
import json

from restore_drill.catalogue.schema import json_schema


def configure(parser: argparse.ArgumentParser) -> None:
    """It has no options."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - the signature of a command
    """Print the schema."""
    print(json.dumps(json_schema(), indent=2))
    return 0
