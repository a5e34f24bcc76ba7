"""``restore-drill clean``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from restore_drill.sandboxes.reaper import reap


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--work-dir", metavar="DIR", default="", help="where drills worked (default: TMPDIR)")
    parser.add_argument("--kept", action="store_true", help="also remove what --keep-restored left")


def run(arguments: argparse.Namespace) -> int:
    """Remove the work directories of runs that no longer exist, and what they made in container engines."""
    removed = reap(Path(arguments.work_dir or tempfile.gettempdir()), kept=arguments.kept, strays=True)
    for path in removed:
        print(f"removed {path}")
    print(f"{len(removed)} leftover{'s' if len(removed) != 1 else ''} removed")
    return 0
